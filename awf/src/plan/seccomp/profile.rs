//! Every rule of the system call profile. Data only; what it means is told by the module above.

use libc::{c_int, c_long};
use nix::errno::Errno::{EAFNOSUPPORT, EBUSY, ENOSYS, EPERM};

use super::Verdict::{Allow, Kill, Record, Refuse};
use super::{Call, Calls, Group, Is, Rule, Test, Value, Verdict};

macro_rules! calls {
    ($($call:ident),* $(,)?) => { &[$(Call { name: stringify!($call), number: libc::$call }),*] };
}

macro_rules! values {
    ($($value:ident),* $(,)?) => { &[$(value(stringify!($value), libc::$value)),*] };
}

/// The profile.
pub const GROUPS: &[Group] = &[
    Group { name: "conventions", rules: CONVENTIONS },
    Group { name: "namespaces", rules: NAMESPACES },
    Group { name: "files and mounts", rules: MOUNTS },
    Group { name: "sockets", rules: SOCKETS },
    Group { name: "kernel interfaces", rules: KERNEL },
    Group { name: "keys", rules: KEYS },
    Group { name: "other processes", rules: PROCESSES },
    Group { name: "terminals", rules: TERMINALS },
    Group { name: "the machine", rules: MACHINE },
    Group { name: "looked at and allowed", rules: ALLOWED },
];

const CONVENTIONS: &[Rule] = &[
    Rule {
        calls: Calls::OfAnotherAbi,
        when: &[],
        verdict: Kill,
        reason: "i386 and x32 number their calls differently, so that no other rule would mean anything",
    },
    Rule {
        // `rseq_slice_yield`, the last one in arch/x86/entry/syscalls/syscall_64.tbl and in the generic table.
        calls: Calls::NewerThan(471),
        when: &[],
        verdict: Refuse(ENOSYS),
        reason: "a kernel update must not open a way that nobody has looked at",
    },
];

const NAMESPACES: &[Rule] = &[
    rule(
        calls![SYS_unshare, SYS_setns],
        Record(EPERM),
        "inside a new user namespace a process has every capability, and with them mounts and raw sockets",
    ),
    rule_when(
        calls![SYS_clone],
        &[Test { argument: 0, mask: NAMESPACE_FLAGS, is: Is::NoneOf(&[value("0", 0)]) }],
        Record(EPERM),
        "the flags of unshare(2) do the same in clone(2)",
    ),
    rule(
        calls![SYS_clone3],
        Refuse(ENOSYS),
        "its flags lie in memory, where no filter can read them; C libraries and Go fall back to clone(2)",
    ),
    rule(&[call("listns", 470)], Refuse(EPERM), "it tells of namespaces outside of the sandbox"),
];

const MOUNTS: &[Rule] = &[
    rule(
        calls![SYS_mount, SYS_umount2, SYS_chroot, SYS_pivot_root],
        Refuse(EPERM),
        "what is hidden stays hidden, and what is read-only stays so",
    ),
    rule(
        calls![SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_open_tree, SYS_move_mount],
        Refuse(EPERM),
        "the same through the newer interface",
    ),
    rule(
        &[call("mount_setattr", libc::SYS_mount_setattr), call("open_tree_attr", 467)],
        Refuse(EPERM),
        "the same through its later additions",
    ),
    rule(
        calls![SYS_name_to_handle_at, SYS_open_by_handle_at],
        Refuse(EPERM),
        "a file handle reaches past every mount",
    ),
];

const SOCKETS: &[Rule] = &[
    rule_when(
        calls![SYS_socket],
        &[test(0, Is::NoneOf(values![AF_UNIX, AF_INET, AF_INET6, AF_NETLINK]))],
        Record(EAFNOSUPPORT),
        "awf's programs judge TCP and UDP; vsock, packet, RDS and the rest would go past them",
    ),
    rule_when(
        calls![SYS_socket],
        &[
            test(0, Is::OneOf(values![AF_INET, AF_INET6])),
            Test { argument: 1, mask: TYPE_BITS, is: Is::OneOf(RAW) },
        ],
        Record(EPERM),
        "a raw socket writes its own packets; the kernel would refuse it too, but off the record",
    ),
    rule_when(
        calls![SYS_socket],
        &[test(0, Is::OneOf(values![AF_NETLINK])), test(2, Is::NoneOf(values![NETLINK_ROUTE]))],
        Record(EPERM),
        "programs ask the routing tables; every other netlink family configures or watches the kernel",
    ),
    rule_when(
        calls![SYS_socketpair],
        &[test(0, Is::NoneOf(values![AF_UNIX]))],
        Record(EAFNOSUPPORT),
        "a pair is two sockets of a family that socket(2) would refuse",
    ),
];

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER` (linux/seccomp.h).
const NEW_LISTENER: Value = value("SECCOMP_FILTER_FLAG_NEW_LISTENER", 1 << 3);

const KERNEL: &[Rule] = &[
    rule_when(
        calls![SYS_seccomp],
        &[Test { argument: 1, mask: NEW_LISTENER.number, is: Is::OneOf(&[NEW_LISTENER]) }],
        Refuse(EBUSY),
        "once the loader is gone, a listener of the command's own would answer what this filter asks",
    ),
    rule(
        calls![SYS_io_uring_setup],
        Record(EPERM),
        "a ring makes sockets of any family, and no filter sees its calls",
    ),
    rule(
        calls![SYS_io_uring_enter, SYS_io_uring_register],
        Refuse(EPERM),
        "they use a ring, and there is none",
    ),
    rule(
        calls![SYS_bpf],
        Record(EPERM),
        "it loads and detaches kernel programs, awf's own among them",
    ),
    rule(
        calls![SYS_perf_event_open, SYS_userfaultfd, SYS_fanotify_init],
        Refuse(EPERM),
        "they observe the kernel or hold it up, which exploits need and programs do without",
    ),
    rule(calls![SYS_syslog], Refuse(EPERM), "the kernel's log tells of the host"),
    rule(
        &[call("lsm_set_self_attr", 460)],
        Refuse(EPERM),
        "another profile of the security module may be a looser one",
    ),
    rule_when(
        calls![SYS_personality],
        &[test(0, Is::NoneOf(&[value("0", 0), value("0xffffffff", -1)]))],
        Refuse(EPERM),
        "it turns address randomisation off and old behaviour on; asking is allowed",
    ),
    rule(
        OLD,
        Refuse(EPERM),
        "ports, segments and interfaces of long ago: rights over the machine or attack surface",
    ),
];

const KEYS: &[Rule] = &[
    rule(
        calls![SYS_request_key],
        Record(EPERM),
        "the kernel starts a helper for it: as root, on the host's network, outside of the cgroup",
    ),
    rule(
        calls![SYS_add_key, SYS_keyctl],
        Refuse(EPERM),
        "the kernel's keys belong to the user of the host, not to a sandbox",
    ),
];

const PROCESSES: &[Rule] = &[
    rule(
        calls![SYS_pidfd_getfd],
        Record(EPERM),
        "a socket of a process outside of the cgroup keeps that process's way out",
    ),
    rule(
        calls![SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp],
        Refuse(EPERM),
        "who steers another process acts in its name; debuggers pay for it",
    ),
];

const TERMINALS: &[Rule] = &[
    // Numbers: asm-generic/ioctls.h
    rule_when(
        calls![SYS_ioctl],
        &[test(1, Is::OneOf(&[value("TIOCSTI", 0x5412), value("TIOCLINUX", 0x541c)]))],
        Refuse(EPERM),
        "they put characters into a terminal as if its user had typed them",
    ),
    rule_when(
        calls![SYS_ioctl],
        &[test(1, Is::OneOf(&[value("TIOCSETD", 0x5423)]))],
        Refuse(EPERM),
        "line disciplines load kernel modules, and some of them are network interfaces",
    ),
    rule(calls![SYS_vhangup], Refuse(EPERM), "the terminal is the user's"),
];

const MACHINE: &[Rule] = &[
    rule(
        calls![SYS_init_module, SYS_finit_module, SYS_delete_module],
        Refuse(EPERM),
        "a module is the kernel",
    ),
    rule(
        calls![SYS_kexec_load, SYS_kexec_file_load, SYS_reboot],
        Refuse(EPERM),
        "they replace or stop the kernel",
    ),
    rule(
        calls![SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex],
        Refuse(EPERM),
        "the clock is the machine's",
    ),
    rule(
        calls![SYS_sethostname, SYS_setdomainname],
        Refuse(EPERM),
        "the name of the sandbox is awf's to give",
    ),
    rule(
        calls![SYS_swapon, SYS_swapoff, SYS_quotactl, SYS_quotactl_fd, SYS_acct],
        Refuse(EPERM),
        "memory, disks and accounting are the administrator's",
    ),
];

const ALLOWED: &[Rule] = &[
    rule(
        calls![SYS_seccomp, SYS_prctl],
        Allow,
        "filters only add up; no option gives a right back",
    ),
    rule(
        calls![SYS_landlock_create_ruleset, SYS_landlock_add_rule, SYS_landlock_restrict_self],
        Allow,
        "a program may fence itself in",
    ),
    rule(
        &[call("statmount", 457), call("listmount", 458)],
        Allow,
        "they tell of the sandbox's own mounts",
    ),
    rule(&[call("lsm_get_self_attr", 459), call("lsm_list_modules", 461)], Allow, "they only tell"),
    rule(
        calls![SYS_memfd_create, SYS_memfd_secret, SYS_execveat],
        Allow,
        "memory, and programs in it, have no more rights than files",
    ),
    rule(
        calls![SYS_pidfd_open, SYS_pidfd_send_signal, SYS_process_madvise, SYS_process_mrelease],
        Allow,
        "they reach the sandbox's own processes only",
    ),
    rule(calls![SYS_membarrier, SYS_rseq, SYS_futex_waitv], Allow, "language runtimes need them"),
];

/// Calls that only old programs and administrators make.
#[cfg(target_arch = "x86_64")]
const OLD: &[Call] = calls![
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
    SYS_uselib,
    SYS_ustat,
    SYS_sysfs,
    SYS__sysctl,
    SYS_lookup_dcookie,
    SYS_nfsservctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Call] = calls![SYS_lookup_dcookie, SYS_nfsservctl];

/// A call that the libc crate does not know yet; newer calls have one number everywhere.
const fn call(name: &'static str, number: c_long) -> Call {
    Call { name, number }
}

const fn value(name: &'static str, number: c_int) -> Value {
    Value { name, number: number.cast_unsigned() }
}

const fn rule(calls: &'static [Call], verdict: Verdict, reason: &'static str) -> Rule {
    rule_when(calls, &[], verdict, reason)
}

const fn rule_when(
    calls: &'static [Call],
    when: &'static [Test],
    verdict: Verdict,
    reason: &'static str,
) -> Rule {
    Rule { calls: Calls::Named(calls), when, verdict, reason }
}

/// A test of a whole argument.
const fn test(argument: u32, is: Is) -> Test {
    Test { argument, mask: ALL, is }
}

/// Whole arguments.
const ALL: u32 = u32::MAX;
/// Every namespace flag of clone(2), `CLONE_NEWTIME` included (linux/sched.h).
const NAMESPACE_FLAGS: u32 = 0x7e02_0080;
/// The type in the second argument of socket(2), without `SOCK_CLOEXEC` and `SOCK_NONBLOCK` (linux/net.h).
const TYPE_BITS: u32 = 0xf;
const RAW: &[Value] = &[value("SOCK_RAW", libc::SOCK_RAW), value("SOCK_PACKET", 10)];
