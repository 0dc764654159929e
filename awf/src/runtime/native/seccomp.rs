//! The system call filter of the command: what it refuses and with which errno.
//!
//! Gives one classic BPF program; [`super::sys::install_filter`] puts it in force. Pure, so that
//! the whole filter can be executed by a host test.
//!
//! A list of refusals, not of permissions: errno values stay what programs expect, and a call
//! that this list does not name is allowed without running the filter at all (the kernel's
//! constant-action bitmap, 5.11). Calls newer than the list are answered with ENOSYS, so a kernel
//! update cannot open a hole. Must never be the only fence: no capability, no namespace rights and
//! the cgroup programs stand behind it.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, c_long,
    sock_filter,
};

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

/// The newest call this list was checked against: `rseq_slice_yield`, the last number of
/// `arch/x86/entry/syscalls/syscall_64.tbl` and of the generic table.
const NEWEST: u32 = 471;

/// `open_tree_attr` (Linux 6.15), not in the libc crate yet; the same number everywhere.
const OPEN_TREE_ATTR: c_long = 467;

/// The type in the second argument of socket(2), without `SOCK_CLOEXEC` and `SOCK_NONBLOCK`
/// (linux/net.h).
const SOCK_TYPE_MASK: u32 = 0xf;

/// The obsolete type that also reaches packets (linux/net.h).
const SOCK_PACKET: u32 = 10;

/// Every namespace flag of clone(2), `CLONE_NEWTIME` included (linux/sched.h).
const NAMESPACES: u32 = 0x7e02_0080;

/// Refused with EPERM whatever the arguments.
const REFUSED: &[c_long] = &[
    // Namespaces and roots.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    // Mounts, old and new interface.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_mount_setattr,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    // io_uring makes sockets of families that the filter on socket() refuses (measured on 6.18).
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Kernel programs and observation.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_syslog,
    // Keys: request_key(2) starts a host helper as root, outside the cgroup (measured 6.1 to 7.3).
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Other processes and their descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // Files by handle reach past every mount.
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // The machine.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
];

/// Refused with EPERM; calls of x86 only.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
];
#[cfg(target_arch = "aarch64")]
const REFUSED_HERE: &[c_long] = &[];

/// The filter for this machine's architecture.
pub(super) fn program() -> Vec<sock_filter> {
    let mut filter = Filter::default();
    filter.load(ARCH);
    filter.unless_equal(NATIVE, Verdict::Kill);
    filter.load(NUMBER);
    if cfg!(target_arch = "x86_64") {
        filter.from(X32, Verdict::Kill);
    }
    filter.from(NEWEST + 1, Verdict::Errno(libc::ENOSYS));
    for &call in REFUSED.iter().chain(REFUSED_HERE) {
        filter.when_equal(number(call), Verdict::Errno(libc::EPERM));
    }
    // glibc, musl and Go fall back to clone(2), whose flags can be read; clone3's lie in memory.
    filter.when_equal(number(libc::SYS_clone3), Verdict::Errno(libc::ENOSYS));
    conditional(&mut filter);
    filter.end(Verdict::Allow);
    filter.code
}

/// Calls whose arguments decide. The kernel uses the low 32 bits of each of these arguments, so
/// the filter looks at just those.
fn conditional(filter: &mut Filter) {
    filter.on(number(libc::SYS_clone), |f| {
        f.load(argument(0));
        f.push(BPF_ALU | BPF_AND | BPF_K, 0, 0, NAMESPACES);
        f.unless_equal(0, Verdict::Errno(libc::EPERM));
    });
    filter.on(number(libc::SYS_socket), |f| {
        f.load(argument(0));
        // A way past the programs, which see TCP and UDP only: told to the loader, which refuses.
        f.one_of(&[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK], Verdict::Ask);
        f.when_equal(libc::AF_UNIX.cast_unsigned(), Verdict::Allow);
        f.on(libc::AF_NETLINK.cast_unsigned(), |f| {
            // getaddrinfo(3) and getifaddrs(3) ask the routing tables; nothing else is needed.
            f.load(argument(2));
            f.unless_equal(libc::NETLINK_ROUTE.cast_unsigned(), Verdict::Errno(libc::EPERM));
        });
        // The kernel would refuse raw sockets for want of a capability, and nobody would know.
        f.load(argument(1));
        f.push(BPF_ALU | BPF_AND | BPF_K, 0, 0, SOCK_TYPE_MASK);
        f.when_equal(libc::SOCK_RAW.cast_unsigned(), Verdict::Ask);
        f.when_equal(SOCK_PACKET, Verdict::Ask);
    });
    filter.on(number(libc::SYS_socketpair), |f| {
        f.load(argument(0));
        f.one_of(&[libc::AF_UNIX], Verdict::Errno(libc::EAFNOSUPPORT));
    });
    filter.on(number(libc::SYS_personality), |f| {
        f.load(argument(0));
        // 0 is what everyone has; all ones asks without changing.
        f.when_equal(u32::MAX, Verdict::Allow);
        f.unless_equal(0, Verdict::Errno(libc::EPERM));
    });
    filter.on(number(libc::SYS_ioctl), |f| {
        f.load(argument(1));
        // Both put characters into a terminal as if its user had typed them (asm/ioctls.h).
        f.when_equal(0x5412, Verdict::Errno(libc::EPERM)); // TIOCSTI
        f.when_equal(0x541c, Verdict::Errno(libc::EPERM)); // TIOCLINUX
    });
}

/// Offset of the low half of argument `index`; both architectures are little endian.
fn argument(index: u32) -> u32 {
    ARGUMENTS + 8 * index
}

fn number(call: c_long) -> u32 {
    // Call numbers are small and positive; one that is not would match nothing.
    u32::try_from(call).unwrap_or(u32::MAX)
}

#[derive(Clone, Copy)]
enum Verdict {
    Allow,
    Errno(i32),
    /// Ask the loader, which always refuses: [`super::watch`].
    Ask,
    Kill,
}

impl Verdict {
    fn value(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(),
            Self::Ask => libc::SECCOMP_RET_USER_NOTIF,
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// A program under construction. Each test is followed by its verdict, so no jump is longer than
/// one block and the 8-bit jump offsets always suffice.
#[derive(Default)]
struct Filter {
    code: Vec<sock_filter>,
}

impl Filter {
    fn push(&mut self, code: u32, jt: u8, jf: u8, k: u32) {
        // All operation codes of classic BPF are below 256 (linux/bpf_common.h).
        self.code.push(sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k });
    }

    fn load(&mut self, offset: u32) {
        self.push(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset);
    }

    fn end(&mut self, verdict: Verdict) {
        self.push(BPF_RET | BPF_K, 0, 0, verdict.value());
    }

    fn when_equal(&mut self, value: u32, verdict: Verdict) {
        self.push(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
        self.end(verdict);
    }

    fn unless_equal(&mut self, value: u32, verdict: Verdict) {
        self.push(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, value);
        self.end(verdict);
    }

    fn from(&mut self, value: u32, verdict: Verdict) {
        self.push(BPF_JMP | BPF_JGE | BPF_K, 0, 1, value);
        self.end(verdict);
    }

    /// A verdict unless the loaded word is one of `families`.
    fn one_of(&mut self, families: &[i32], otherwise: Verdict) {
        let length = u8::try_from(families.len()).unwrap_or(u8::MAX);
        for (distance, family) in (1..=length).rev().zip(families) {
            self.push(BPF_JMP | BPF_JEQ | BPF_K, distance, 0, family.cast_unsigned());
        }
        self.end(otherwise);
    }

    /// A block for one call, or one value of the loaded word, which ends in `Allow` where it does not end otherwise.
    fn on(&mut self, call: u32, block: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        block(&mut inner);
        inner.end(Verdict::Allow);
        let length = u8::try_from(inner.code.len()).unwrap_or(u8::MAX);
        self.push(BPF_JMP | BPF_JEQ | BPF_K, 0, length, call);
        self.code.append(&mut inner.code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const ASK: u32 = libc::SECCOMP_RET_USER_NOTIF;
    const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

    fn errno(value: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | value.cast_unsigned()
    }

    /// Run the filter as the kernel does, on one call.
    fn run(arch: u32, call: u32, args: &[u64]) -> u32 {
        let program = program();
        let word = |offset: u32| match offset {
            NUMBER => call,
            ARCH => arch,
            _ => {
                let argument = args.get((offset as usize - 16) / 8).copied().unwrap_or(0);
                u32::try_from(argument & 0xffff_ffff).unwrap()
            }
        };
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            let code = u32::from(step.code);
            let jump = |met: bool| usize::from(if met { step.jt } else { step.jf });
            match code {
                _ if code == BPF_LD | BPF_W | BPF_ABS => accumulator = word(step.k),
                _ if code == BPF_ALU | BPF_AND | BPF_K => accumulator &= step.k,
                _ if code == BPF_JMP | BPF_JEQ | BPF_K => at += jump(accumulator == step.k),
                _ if code == BPF_JMP | BPF_JGE | BPF_K => at += jump(accumulator >= step.k),
                _ if code == BPF_RET | BPF_K => return step.k,
                _ => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    #[track_caller]
    fn check(call: c_long, args: &[u64], expected: u32) {
        assert_eq!(run(NATIVE, number(call), args), expected, "call {call} {args:x?}");
    }

    #[test]
    fn ordinary_calls_pass() {
        for call in [libc::SYS_read, libc::SYS_execve, libc::SYS_futex, libc::SYS_connect, 470] {
            check(call, &[], ALLOW);
        }
    }

    #[test]
    fn every_listed_call_is_refused() {
        for &call in REFUSED.iter().chain(REFUSED_HERE) {
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
        assert_eq!(run(0x4000_0003, number(libc::SYS_read), &[]), KILL, "i386");
        assert_eq!(run(0x4000_0028, number(libc::SYS_read), &[]), KILL, "arm");
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
            check(libc::SYS_clone, &[bit | 0x11], errno(libc::EPERM));
        }
        check(libc::SYS_clone, &[0x4000_0000], errno(libc::EPERM));
        check(libc::SYS_clone, &[0xffff_ffff_1000_0000], errno(libc::EPERM));
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
        check(libc::SYS_socket, &[16, 3, 12], errno(libc::EPERM)); // netfilter
        check(libc::SYS_socketpair, &[1, 1, 0], ALLOW);
        check(libc::SYS_socketpair, &[40, 1, 0], errno(libc::EAFNOSUPPORT));
    }

    #[test]
    fn nobody_types_for_the_user() {
        check(libc::SYS_ioctl, &[0, 0x5413], ALLOW);
        check(libc::SYS_ioctl, &[0, 0x5412], errno(libc::EPERM));
        check(libc::SYS_ioctl, &[0, 0xffff_ffff_0000_5412], errno(libc::EPERM));
        check(libc::SYS_ioctl, &[0, 0x541c], errno(libc::EPERM));
    }

    #[test]
    fn personality_can_be_asked_but_not_changed() {
        check(libc::SYS_personality, &[0xffff_ffff], ALLOW);
        check(libc::SYS_personality, &[0], ALLOW);
        check(libc::SYS_personality, &[0x0040_0000], errno(libc::EPERM));
    }
}
