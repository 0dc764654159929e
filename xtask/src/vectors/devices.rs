//! Files of the kernel, and devices.

use super::build::{elsewhere, hidden};
use super::{Group, Needs, Vector};

const MACHINE: &str = "the machine may keep even root from it";
const DEVICE: &str = "the machine may lack the device";

const fn file(words: [&'static str; 3], path: &'static str) -> Vector {
    hidden(Group::Files, words, path).may_lack(MACHINE)
}

const fn device(words: [&'static str; 3], path: &'static str) -> Vector {
    hidden(Group::Devices, words, path).may_lack(DEVICE)
}

pub(super) const TABLE: &[Vector] = &[
    hidden(
        Group::Files,
        ["sysctl-net", "settings of the network", "kernel: net/ipv4/sysctl_net_ipv4.c"],
        "write(/proc/sys/net)",
    ),
    hidden(
        Group::Files,
        ["sysctl-forward", "forwarding between interfaces", "kernel: net/ipv4/devinet.c"],
        "write(/proc/sys/net)",
    ),
    file(
        ["sysctl-kernel", "a program run by the kernel", "kernel: fs/coredump.c"],
        "open(core_pattern)",
    ),
    file(
        ["modprobe-path", "a program run by the kernel", "kernel: modprobe_path"],
        "open(/proc/sys/kernel/modprobe)",
    ),
    file(
        ["usermodehelper", "rights of the kernel's helpers", "kernel: kernel/umh.c"],
        "open(usermodehelper/bset)",
    ),
    file(
        ["binfmt-misc", "a program run for a file's magic", "kernel: fs/binfmt_misc.c"],
        "open(binfmt_misc/register)",
    ),
    file(
        ["uevent-helper", "a program run for a device", "kernel: lib/kobject_uevent.c"],
        "open(/sys/kernel/uevent_helper)",
    ),
    file(
        ["sysrq", "keys of the console", "kernel: drivers/tty/sysrq.c"],
        "open(/proc/sysrq-trigger)",
    ),
    file(["kcore", "memory of the kernel", "kernel: fs/proc/kcore.c"], "read(/proc/kcore)"),
    file(["bpffs", "pinned programs", "kernel: kernel/bpf/inode.c"], "readdir(/sys/fs/bpf)"),
    elsewhere(
        Group::Files,
        ["proc-net", "connections of the host", "kernel: fs/proc/proc_net.c"],
        "read(/proc/net/tcp)",
        &[nix::libc::ENOENT],
    )
    .needs(Needs::Nothing),
    device(["dev-mem", "memory of the machine", "kernel: drivers/char/mem.c"], "open(/dev/mem)"),
    device(["dev-kmsg", "the kernel's log", "kernel: kernel/printk"], "open(/dev/kmsg)"),
    device(["dev-disk", "a disk of the machine", "kernel: block"], "open(/dev/...)"),
    device(
        ["dev-loop", "a file as a disk", "kernel: drivers/block/loop.c"],
        "open(/dev/loop-control)",
    ),
    device(["dev-fuse", "a file system of our own", "kernel: fs/fuse"], "open(/dev/fuse)"),
    device(["dev-kvm", "a virtual machine", "kernel: virt/kvm"], "open(/dev/kvm)"),
    device(
        ["dev-tun", "an interface of our own", "kernel: drivers/net/tun.c"],
        "open+ioctl(TUNSETIFF)",
    ),
    device(
        ["dev-vhost-net", "a network of the hypervisor's", "kernel: drivers/vhost/net.c"],
        "open(/dev/vhost-net)",
    ),
    device(
        ["dev-vhost-vsock", "a guest of our own", "kernel: drivers/vhost/vsock.c"],
        "open(/dev/vhost-vsock)",
    ),
];
