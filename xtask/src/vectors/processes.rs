//! Other processes, namespaces, mounts and cgroups.

use nix::libc::{ENOENT, ENOSYS, EPERM, ESRCH};

use super::build::{call, elsewhere, hidden, right};
use super::{Control, Group, Layer, Needs, Vector};

const INIT: &str =
    "process 1 of the machine may refuse root; its twins for a process of the host are controlled";
const ROOT: &str = "CAP_SYS_ADMIN";

/// A way into another namespace, by the call that the record names.
const fn namespace(words: [&'static str; 3], flag: &'static str, recorded: &'static str) -> Vector {
    call(Group::Namespaces, words, flag).recorded("system-call", recorded)
}

const fn unshare(words: [&'static str; 3], flag: &'static str) -> Vector {
    namespace(words, flag, "unshare")
}

const fn clone(words: [&'static str; 3], flag: &'static str) -> Vector {
    namespace(words, flag, "clone")
}

const fn mount(words: [&'static str; 3], call_path: &'static str) -> Vector {
    call(Group::Mounts, words, call_path).needs(Needs::Capability(ROOT))
}

const fn process(words: [&'static str; 3], call: &'static str) -> Vector {
    elsewhere(Group::Processes, words, call, &[ESRCH, EPERM])
}

const fn outside_file(words: [&'static str; 3], call: &'static str) -> Vector {
    hidden(Group::Processes, words, call).answers(&[ENOENT]).by(Layer::Namespace)
}

pub(super) const TABLE: &[Vector] = &[
    unshare(["unshare-user", "a user namespace", "M2"], "unshare(CLONE_NEWUSER)"),
    unshare(["unshare-net", "a network namespace", "M2"], "unshare(CLONE_NEWNET)"),
    unshare(["unshare-mount", "a mount namespace", "M2"], "unshare(CLONE_NEWNS)"),
    unshare(["unshare-cgroup", "a cgroup namespace", "M2"], "unshare(CLONE_NEWCGROUP)"),
    unshare(["unshare-ipc", "an IPC namespace", "M2"], "unshare(CLONE_NEWIPC)"),
    unshare(["unshare-pid", "a pid namespace", "M2"], "unshare(CLONE_NEWPID)"),
    unshare(["unshare-uts", "a UTS namespace", "M2"], "unshare(CLONE_NEWUTS)"),
    unshare(["unshare-time", "a time namespace", "M2"], "unshare(CLONE_NEWTIME)")
        .may_lack("the kernel may lack time namespaces")
        .since(5, 6),
    clone(["clone-user", "a user namespace for a child", "M2"], "clone(CLONE_NEWUSER)"),
    clone(["clone-net", "a network namespace for a child", "M2"], "clone(CLONE_NEWNET)"),
    clone(["clone-pid", "a pid namespace for a child", "M2"], "clone(CLONE_NEWPID)"),
    clone(["clone3-user", "flags that no filter can read", "M2"], "clone3(CLONE_NEWUSER)")
        .answers(&[ENOSYS])
        .unrecorded(),
    namespace(["setns", "a namespace of our own", "M2"], "setns", "setns"),
    unshare(["setns-outside", "the host's network namespace", "M2"], "open+setns")
        .answers(&[ENOENT])
        .unrecorded()
        .by(Layer::Namespace),
    call(Group::Namespaces, ["chroot", "another root", "M2"], "chroot")
        .needs(Needs::Capability("CAP_SYS_CHROOT")),
    mount(["mount", "a file system", "M2"], "mount(tmpfs)"),
    mount(["mount-cgroup", "the cgroup tree, writable", "CVE-2022-0492"], "mount(cgroup2)"),
    mount(["mount-bpffs", "pinned programs", "kernel: kernel/bpf/inode.c"], "mount(bpf)"),
    mount(["mount-debugfs", "the kernel's insides", "kernel: fs/debugfs"], "mount(debugfs)")
        .may_lack("the kernel may be locked down"),
    mount(["mount-proc", "processes, unmasked", "CVE-2019-16884"], "mount(proc)"),
    mount(["umount", "what covers a file", "CVE-2019-16884"], "umount2"),
    mount(["fsopen", "the new interface", "CVE-2022-0185"], "fsopen"),
    mount(["open-tree", "a detached copy", "kernel: fs/namespace.c"], "open_tree"),
    call(
        Group::Cgroups,
        ["clone3-cgroup", "a child in another cgroup", "kernel: CLONE_INTO_CGROUP"],
        "clone3(CLONE_INTO_CGROUP)",
    )
    .answers(&[ENOSYS, ENOENT])
    .since(5, 7),
    hidden(
        Group::Cgroups,
        ["cgroup-leave", "out of the cgroup", "gh-aw: cgroup.procs"],
        "write(cgroup.procs)",
    ),
    hidden(
        Group::Cgroups,
        ["cgroup-mkdir", "a cgroup of our own", "kernel: kernel/cgroup"],
        "mkdir",
    ),
    hidden(
        Group::Cgroups,
        ["release-agent", "a program run by the kernel", "CVE-2022-0492"],
        "open(release_agent)",
    )
    .may_lack("cgroup v1 may not be mounted"),
    call(
        Group::Processes,
        ["ptrace-me", "being traced", "kernel: kernel/ptrace.c"],
        "ptrace(TRACEME)",
    ),
    call(
        Group::Processes,
        ["ptrace-parent", "tracing the parent", "kernel: kernel/ptrace.c"],
        "ptrace(SEIZE)",
    ),
    call(
        Group::Processes,
        ["ptrace-outside", "tracing a process of the host", "harden-runner: worker's memory"],
        "ptrace(SEIZE)",
    )
    .answers(&[EPERM, ESRCH]),
    call(
        Group::Processes,
        ["vm-read", "another's memory", "kernel: mm/process_vm_access.c"],
        "process_vm_readv",
    ),
    call(
        Group::Processes,
        ["vm-outside", "memory of a process of the host", "harden-runner: worker's memory"],
        "process_vm_readv",
    )
    .answers(&[EPERM, ESRCH]),
    call(
        Group::Processes,
        ["pidfd-getfd", "a descriptor of a child", "kernel: pidfd_getfd"],
        "pidfd_getfd",
    )
    .recorded("system-call", "pidfd_getfd")
    .since(5, 6),
    process(
        ["signal-outside", "a signal to a process of the host", "kernel: kernel/signal.c"],
        "kill",
    ),
    process(
        ["pidfd-signal", "the same by descriptor", "kernel: pidfd_send_signal"],
        "pidfd_open+pidfd_send_signal",
    )
    .since(5, 3),
    process(
        ["priority", "the priority of a process of the host", "kernel: kernel/sys.c"],
        "setpriority",
    ),
    process(
        ["madvise-outside", "pages of a process of the host", "kernel: mm/madvise.c"],
        "pidfd_open+process_madvise",
    )
    .since(5, 10),
    outside_file(
        ["mem-outside", "memory of a process of the host", "harden-runner: worker's memory"],
        "open(/proc/PID/mem)",
    ),
    outside_file(
        ["environ-any", "a secret in any environment", "/proc/*/environ"],
        "read(/proc/*/environ)",
    ),
    hidden(
        Group::Processes,
        ["proc1-root", "the root of process 1", "gh-aw: /proc/1/root"],
        "open(/proc/1/root)",
    )
    .may_lack(INIT),
    hidden(
        Group::Processes,
        ["proc1-cwd", "the directory of process 1", "CVE-2024-21626"],
        "open(/proc/1/cwd)",
    )
    .may_lack(INIT),
    hidden(
        Group::Processes,
        ["proc1-mem", "the memory of process 1", "gh-aw: /proc/1/mem"],
        "open(/proc/1/mem)",
    )
    .may_lack(INIT),
    hidden(
        Group::Processes,
        ["proc1-environ", "the environment of process 1", "/proc/*/environ"],
        "read(/proc/1/environ)",
    )
    .may_lack(INIT),
    hidden(
        Group::Processes,
        ["proc1-fd", "descriptors of process 1", "CVE-2024-21626"],
        "open(/proc/1/fd)",
    )
    .may_lack(INIT),
    right(
        Group::Processes,
        ["setuid", "user 0", "kernel: kernel/sys.c"],
        "setresuid",
        "CAP_SETUID",
    ),
    right(
        Group::Processes,
        ["capset", "every capability", "kernel: kernel/capability.c"],
        "capset",
        "all",
    ),
    call(
        Group::Processes,
        ["kill-everybody", "a signal to all", "kernel: kernel/signal.c"],
        "kill(-1)",
    )
    .control(Control::Untried("it would end the machine; signal-outside stands for it"))
    .answers(&[0])
    .by(Layer::Namespace),
];
