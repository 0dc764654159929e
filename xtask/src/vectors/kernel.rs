//! Calls into the kernel: programs, keys, foreign calling conventions, the machine.

use nix::libc::{EBUSY, EFAULT, EINVAL, ENOSYS, EPERM};

use super::build::{call, right};
use super::{Group, KILLED, Needs, Vector};

const fn kernel(words: [&'static str; 3], path: &'static str) -> Vector {
    call(Group::Kernel, words, path)
}

/// A call for the administrator of the machine, made so wrongly that it changes nothing.
const fn machine(words: [&'static str; 3], path: &'static str, needs: &'static str) -> Vector {
    kernel(words, path).needs(Needs::Capability(needs))
}

pub(super) const TABLE: &[Vector] = &[
    kernel(
        ["bpf-next", "programs of others", "kernel: BPF_PROG_GET_NEXT_ID"],
        "bpf(PROG_GET_NEXT_ID)",
    )
    .recorded("system-call", "bpf")
    .needs(Needs::Capability("CAP_SYS_ADMIN")),
    kernel(["bpf-map", "a map", "CVE-2021-3490"], "bpf(MAP_CREATE)")
        .recorded("system-call", "bpf")
        .needs(Needs::Capability("CAP_BPF")),
    kernel(["perf", "counters of everybody", "CVE-2013-2094"], "perf_event_open")
        .may_lack("a virtual machine may have no counters"),
    kernel(["keyctl", "keys", "CVE-2016-0728"], "keyctl"),
    kernel(["add-key", "a key", "CVE-2016-0728"], "add_key"),
    kernel(
        ["request-key", "a helper of the host, run as root", "kernel: dns_resolver"],
        "request_key",
    )
    .recorded("system-call", "request_key")
    .may_lack("the kernel may lack the resolver's key type"),
    kernel(["io-uring", "calls that no filter sees", "ARMO: Curing"], "io_uring_setup")
        .recorded("system-call", "io_uring_setup")
        .may_lack("the machine may have switched io_uring off")
        .since(5, 1),
    kernel(["userfaultfd", "a fault held open", "kernel: fs/userfaultfd.c"], "userfaultfd")
        .may_lack("the kernel may lack it"),
    kernel(["file-handle", "files past every mount", "shocker.c"], "name_to_handle_at")
        .may_lack("the root's file system may have no handles"),
    kernel(
        [
            "seccomp-notify",
            "a judge of the agent's own",
            "kernel: SECCOMP_FILTER_FLAG_NEW_LISTENER",
        ],
        "seccomp(NEW_LISTENER)",
    )
    .answers(&[EBUSY])
    .since(5, 0),
    kernel(
        ["personality", "memory that is both data and code", "kernel: READ_IMPLIES_EXEC"],
        "personality",
    ),
    kernel(
        ["call-32", "socket by another calling convention", "kernel: arch/x86/entry"],
        "int 0x80",
    )
    .may_lack("the kernel may lack 32-bit calls")
    .answers(&[KILLED]),
    kernel(
        ["call-x32", "a call by the numbers of x32", "kernel: __X32_SYSCALL_BIT"],
        "syscall(0x40000000)",
    )
    .may_lack("most kernels lack x32")
    .answers(&[KILLED]),
    kernel(
        ["call-unknown", "a call nobody knows yet", "kernel: syscall_64.tbl"],
        "syscall(0x3fff0000)",
    )
    .untried("there is no such call anywhere")
    .answers(&[ENOSYS]),
    machine(["reboot", "the end", "kernel: kernel/reboot.c"], "reboot", "CAP_SYS_BOOT"),
    machine(["init-module", "a module", "kernel: kernel/module"], "init_module", "CAP_SYS_MODULE")
        .may_lack("the kernel may lack modules or be locked down"),
    machine(["kexec", "another kernel", "kernel: kernel/kexec.c"], "kexec_load", "CAP_SYS_BOOT")
        .may_lack("the kernel may lack kexec or be locked down"),
    machine(
        ["iopl", "ports of the machine", "kernel: arch/x86/kernel/ioport.c"],
        "iopl",
        "CAP_SYS_RAWIO",
    )
    .may_lack("the kernel may be locked down"),
    machine(["swapon", "memory on disk", "kernel: mm/swapfile.c"], "swapon", "CAP_SYS_ADMIN")
        .may_lack("the kernel may lack swap"),
    machine(
        ["fanotify", "what others open", "kernel: fs/notify/fanotify"],
        "fanotify_init",
        "CAP_SYS_ADMIN",
    )
    .may_lack("the kernel may lack fanotify"),
    machine(["syslog", "the kernel's log", "kernel: kernel/printk"], "syslog", "CAP_SYSLOG"),
    machine(
        ["hostname", "the machine's name", "kernel: kernel/sys.c"],
        "sethostname",
        "CAP_SYS_ADMIN",
    ),
    machine(
        ["settime", "the machine's clock", "kernel: kernel/time"],
        "settimeofday",
        "CAP_SYS_TIME",
    ),
    right(
        Group::Devices,
        ["mknod", "memory of the machine, by number", "kernel: drivers/char/mem.c"],
        "mknodat",
        "CAP_MKNOD",
    ),
    call(Group::Devices, ["tiocsti", "typing for the user", "CVE-2017-5226"], "ioctl(TIOCSTI)")
        .may_lack("the kernel may have switched it off"),
    call(
        Group::Devices,
        ["tioclinux", "typing for the user, on a console", "CVE-2023-1523"],
        "ioctl(TIOCLINUX)",
    )
    .untried("only a console of the machine answers; tiocsti stands for it")
    .answers(&[EPERM, EINVAL, EFAULT]),
];
