//! The compiler of the system call profile: from [`crate::plan::seccomp`] to one classic BPF program.
//!
//! Takes the rules, gives instructions; [`super::sys::install_filter`] puts them in force. Pure, so that the whole filter can
//! be executed by a host test. Must decide nothing itself, and must not load an argument on the path of a call that no rule
//! tests: such a call is then known to be always allowed, and never runs the filter (the kernel's constant-action bitmap, 5.11).

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, c_long,
    sock_filter,
};

use crate::plan::seccomp::{Call, Calls, GROUPS, Is, Rule, Test, Verdict};

/// Offsets in `struct seccomp_data` (linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// linux/audit.h
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;

/// `__X32_SYSCALL_BIT` (asm/unistd.h). Everything from here on is the x32 ABI.
const X32: u32 = 0x4000_0000;

/// The filter for this machine's architecture.
pub(super) fn program() -> Vec<sock_filter> {
    let rules = GROUPS.iter().flat_map(|group| group.rules);
    let mut code: Vec<_> =
        rules.filter(|rule| rule.verdict != Verdict::Allow).flat_map(compile).collect();
    code.push(end(Verdict::Allow));
    code
}

/// Where the rule does not apply, its code falls out at the end with the call's number loaded.
fn compile(rule: &Rule) -> Vec<sock_filter> {
    let end = end(rule.verdict);
    match rule.calls {
        Calls::OfAnotherAbi => {
            let mut code = vec![load(ARCH), jump(BPF_JEQ, NATIVE, 1, 0), end, load(NUMBER)];
            if cfg!(target_arch = "x86_64") {
                code.extend([jump(BPF_JGE, X32, 0, 1), end]);
            }
            code
        }
        Calls::NewerThan(newest) => vec![jump(BPF_JGE, newest + 1, 0, 1), end],
        Calls::Named(calls) => calls.iter().flat_map(|call| compile_for(call, rule)).collect(),
    }
}

fn compile_for(call: &Call, rule: &Rule) -> Vec<sock_filter> {
    let mut inner = tested(rule.when, rule.verdict);
    if !rule.when.is_empty() {
        inner.push(load(NUMBER));
    }
    let mut code = vec![jump(BPF_JEQ, number(call.number), 0, inner.len())];
    code.append(&mut inner);
    code
}

/// Ends in the verdict if all tests hold, and falls out at the end if one does not.
fn tested(tests: &[Test], verdict: Verdict) -> Vec<sock_filter> {
    let Some((test, others)) = tests.split_first() else { return vec![end(verdict)] };
    let mut inner = tested(others, verdict);
    // The low half of the argument; both architectures are little endian.
    let mut code = vec![load(ARGUMENTS + 8 * test.argument)];
    if test.mask != u32::MAX {
        code.push(step(BPF_ALU | BPF_AND, test.mask));
    }
    let (Is::OneOf(values) | Is::NoneOf(values)) = test.is;
    for (left, value) in (0..values.len()).rev().zip(values) {
        code.push(match test.is {
            Is::OneOf(_) if left == 0 => jump(BPF_JEQ, value.number, 0, inner.len()),
            Is::OneOf(_) => jump(BPF_JEQ, value.number, left, 0),
            Is::NoneOf(_) => jump(BPF_JEQ, value.number, left + inner.len(), 0),
        });
    }
    code.append(&mut inner);
    code
}

fn load(offset: u32) -> sock_filter {
    step(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn end(verdict: Verdict) -> sock_filter {
    step(
        BPF_RET,
        match verdict {
            Verdict::Allow => libc::SECCOMP_RET_ALLOW,
            Verdict::Refuse(errno) => libc::SECCOMP_RET_ERRNO | (errno as i32).cast_unsigned(),
            // The loader answers: `watch`.
            Verdict::Record(_) => libc::SECCOMP_RET_USER_NOTIF,
            Verdict::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        },
    )
}

fn step(code: u32, k: u32) -> sock_filter {
    // All operation codes of classic BPF are below 256 (linux/bpf_common.h).
    sock_filter { code: u16::try_from(code | BPF_K).unwrap_or(0), jt: 0, jf: 0, k }
}

/// Distances are counted from the next instruction. None is longer than the code of one rule for one call, so 8 bits suffice.
fn jump(test: u32, value: u32, met: usize, unmet: usize) -> sock_filter {
    let distance = |steps| u8::try_from(steps).unwrap_or(u8::MAX);
    sock_filter { jt: distance(met), jf: distance(unmet), ..step(BPF_JMP | test, value) }
}

fn number(call: c_long) -> u32 {
    // Call numbers are small and positive; one that is not would match nothing.
    u32::try_from(call).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::seccomp::rule_for;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const ASK: u32 = libc::SECCOMP_RET_USER_NOTIF;
    const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

    fn errno(value: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | value.cast_unsigned()
    }

    /// Run the filter as the kernel does. `None` if it loads a word that is not known.
    fn run(program: &[sock_filter], word: impl Fn(u32) -> Option<u32>) -> Option<u32> {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            let code = u32::from(step.code);
            let jump = |met: bool| usize::from(if met { step.jt } else { step.jf });
            match code {
                _ if code == BPF_LD | BPF_W | BPF_ABS => accumulator = word(step.k)?,
                _ if code == BPF_ALU | BPF_AND | BPF_K => accumulator &= step.k,
                _ if code == BPF_JMP | BPF_JEQ | BPF_K => at += jump(accumulator == step.k),
                _ if code == BPF_JMP | BPF_JGE | BPF_K => at += jump(accumulator >= step.k),
                _ if code == BPF_RET | BPF_K => return Some(step.k),
                _ => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    fn answer(program: &[sock_filter], arch: u32, call: u32, args: &[u64]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => call,
            ARCH => arch,
            _ => {
                let argument = args.get((offset as usize - 16) / 8).copied().unwrap_or(0);
                u32::try_from(argument & 0xffff_ffff).unwrap()
            }
        };
        run(program, |offset| Some(word(offset))).unwrap()
    }

    #[track_caller]
    fn check(call: c_long, args: &[u64], expected: u32) {
        let answer = answer(&program(), NATIVE, number(call), args);
        assert_eq!(answer, expected, "call {call} {args:x?}");
    }

    #[test]
    fn ordinary_calls_pass() {
        for call in [libc::SYS_read, libc::SYS_execve, libc::SYS_futex, libc::SYS_connect, 471] {
            check(call, &[], ALLOW);
        }
    }

    #[test]
    fn the_filter_answers_what_the_table_says() {
        let program = program();
        let values = [0, 1, 2, 3, 10, 12, 16, 0x11, 40, 0x5412, 0x5423, 0x1000_0000, 0xffff_ffff];
        for (call, first) in (0..=471).flat_map(|call| values.map(|first| (call, first))) {
            for (second, third) in values.iter().flat_map(|second| [(*second, 0), (*second, 12)]) {
                let args = [first, second, third, 0, 0, 0];
                let rule = rule_for(call, &args);
                let expected = rule.map_or(Verdict::Allow, |(rule, _call)| rule.verdict);
                let answer = answer(&program, NATIVE, number(call), &args);
                assert_eq!(answer, end(expected).k, "call {call} {args:x?}");
            }
        }
    }

    /// The kernel does the same when it fills its bitmap.
    #[test]
    fn a_call_whose_arguments_no_rule_tests_never_runs_the_filter() {
        let program = program();
        let known = |call| {
            move |offset| match offset {
                NUMBER => Some(number(call)),
                ARCH => Some(NATIVE),
                _ => None,
            }
        };
        let unknown: Vec<_> =
            (0..=471).filter(|&call| run(&program, known(call)).is_none()).collect();
        let mut tested = [
            libc::SYS_clone,
            libc::SYS_ioctl,
            libc::SYS_seccomp,
            libc::SYS_personality,
            libc::SYS_socket,
            libc::SYS_socketpair,
        ];
        tested.sort_unstable();
        assert_eq!(unknown, tested);
    }

    #[test]
    fn attempts_to_leave_are_asked_about_and_the_rest_is_refused_at_once() {
        for call in [
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_request_key,
            libc::SYS_pidfd_getfd,
        ] {
            check(call, &[], ASK);
        }
        for call in [
            libc::SYS_mount,
            libc::SYS_fsopen,
            libc::SYS_open_tree,
            467,
            libc::SYS_chroot,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_keyctl,
            libc::SYS_userfaultfd,
            libc::SYS_perf_event_open,
            libc::SYS_io_uring_enter,
            libc::SYS_open_by_handle_at,
            libc::SYS_init_module,
            libc::SYS_kexec_load,
            libc::SYS_clock_settime,
            libc::SYS_quotactl,
        ] {
            check(call, &[], errno(libc::EPERM));
        }
    }

    #[test]
    fn calls_nobody_knows_yet_do_not_exist() {
        check(472, &[], errno(libc::ENOSYS));
        check(0x3fff_ffff, &[], errno(libc::ENOSYS));
        check(libc::SYS_clone3, &[], errno(libc::ENOSYS));
    }

    #[test]
    fn another_calling_convention_is_fatal() {
        assert_eq!(answer(&program(), 0x4000_0003, number(libc::SYS_read), &[]), KILL, "i386");
        assert_eq!(answer(&program(), 0x4000_0028, number(libc::SYS_read), &[]), KILL, "arm");
        if cfg!(target_arch = "x86_64") {
            check(0x4000_0000, &[], KILL);
            check(-1, &[], KILL);
        }
    }

    #[test]
    fn threads_and_processes_are_cloned_but_namespaces_are_not() {
        check(libc::SYS_clone, &[0x11], ALLOW);
        check(libc::SYS_clone, &[0x003d_0f00], ALLOW); // pthread_create of glibc
        for bit in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000_u64] {
            check(libc::SYS_clone, &[bit | 0x11], ASK);
        }
        check(libc::SYS_clone, &[0x4000_0000], ASK);
        check(libc::SYS_clone, &[0xffff_ffff_1000_0000], ASK);
    }

    #[test]
    fn sockets_are_of_four_families() {
        for family in 0..64 {
            let expected = match family {
                1 | 2 | 10 | 16 => ALLOW,
                _ => ASK,
            };
            check(libc::SYS_socket, &[family, 1, 0], expected);
            // The kernel reads an int: high bits do not hide a family.
            check(libc::SYS_socket, &[family | 1 << 32, 1, 0], expected);
        }
        check(libc::SYS_socket, &[2, 1, 6], ALLOW);
        // SOCK_STREAM with both flags, then raw sockets with and without.
        check(libc::SYS_socket, &[2, 1 | 0o2_004_000, 6], ALLOW);
        for raw in [3, 3 | 0o2_004_000, 10] {
            check(libc::SYS_socket, &[2, raw, 255], ASK);
            check(libc::SYS_socket, &[10, raw, 58], ASK);
        }
        check(libc::SYS_socket, &[16, 3, 0], ALLOW);
        check(libc::SYS_socket, &[16, 3, 12], ASK); // netfilter
        check(libc::SYS_socketpair, &[1, 1, 0], ALLOW);
        check(libc::SYS_socketpair, &[40, 1, 0], ASK);
    }

    #[test]
    fn nobody_types_for_the_user() {
        check(libc::SYS_ioctl, &[0, 0x5413], ALLOW);
        check(libc::SYS_ioctl, &[0, 0x5412], errno(libc::EPERM));
        check(libc::SYS_ioctl, &[0, 0xffff_ffff_0000_5412], errno(libc::EPERM));
        check(libc::SYS_ioctl, &[0, 0x541c], errno(libc::EPERM));
        check(libc::SYS_ioctl, &[0, 0x5423], errno(libc::EPERM)); // TIOCSETD
    }

    #[test]
    fn a_filter_of_the_commands_own_has_no_listener() {
        check(libc::SYS_seccomp, &[1, 1], ALLOW); // TSYNC
        for flags in [8, 9, 1 << 32 | 8] {
            check(libc::SYS_seccomp, &[1, flags], errno(libc::EBUSY));
        }
    }

    #[test]
    fn personality_can_be_asked_but_not_changed() {
        check(libc::SYS_personality, &[0xffff_ffff], ALLOW);
        check(libc::SYS_personality, &[0], ALLOW);
        check(libc::SYS_personality, &[0x0040_0000], errno(libc::EPERM));
    }
}
