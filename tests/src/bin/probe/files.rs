//! Files of the kernel, devices, and the terminal.

use std::fs::{self, File};
use std::os::fd::IntoRawFd as _;

use nix::errno::Errno;

use crate::mounts::write_file;
use crate::privilege::{at_here, errno_of};
use crate::sys::call;
use crate::{Attempted, Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("proc1-root", |_, _| readable("/proc/1/root/etc/hostname")),
    vector("proc1-cwd", |_, _| {
        fs::read_dir("/proc/1/cwd/").map(drop).map_err(|error| errno_of(&error))
    }),
    vector("proc1-mem", |_, _| readable("/proc/1/mem")),
    vector("proc1-environ", |_, _| {
        fs::read("/proc/1/environ").map(drop).map_err(|error| errno_of(&error))
    }),
    vector("proc1-fd", |_, _| {
        fs::read_dir("/proc/1/fd").map(drop).map_err(|error| errno_of(&error))
    }),
    vector("sysctl-net", |_, _| write_back("/proc/sys/net/ipv4/ip_default_ttl")),
    vector("sysctl-kernel", |_, _| writable("/proc/sys/kernel/core_pattern")),
    vector("sysrq", |_, _| writable("/proc/sysrq-trigger")),
    vector("kcore", |_, _| {
        let mut first = [0; 16];
        let mut file = File::open("/proc/kcore").map_err(|error| errno_of(&error))?;
        // A covered file can be opened, and is empty.
        std::io::Read::read_exact(&mut file, &mut first).map_err(|_| Errno::ENODATA)
    }),
    vector("bpffs", |_, _| {
        // Pinned links would be here.
        let entries = fs::read_dir("/sys/fs/bpf").map_err(|error| errno_of(&error))?;
        if entries.count() == 0 { Err(Errno::ENOENT) } else { Ok(()) }
    }),
    vector("sysctl-forward", |_, _| write_back("/proc/sys/net/ipv4/ip_forward")),
    vector("modprobe-path", |_, _| writable("/proc/sys/kernel/modprobe")),
    vector("usermodehelper", |_, _| writable("/proc/sys/kernel/usermodehelper/bset")),
    vector("binfmt-misc", |_, _| writable("/proc/sys/fs/binfmt_misc/register")),
    vector("uevent-helper", |_, _| writable("/sys/kernel/uevent_helper")),
    vector("dev-mem", |_, _| readable("/dev/mem")),
    vector("dev-kmsg", |_, _| readable("/dev/kmsg")),
    vector("dev-loop", |_, _| readable("/dev/loop-control")),
    vector("dev-fuse", |_, _| readable("/dev/fuse")),
    vector("dev-kvm", |_, _| readable("/dev/kvm")),
    vector("dev-vhost-net", |_, _| readable("/dev/vhost-net")),
    vector("dev-vhost-vsock", |_, _| readable("/dev/vhost-vsock")),
    vector("dev-disk", |_, _| {
        let disks = fs::read_dir("/sys/block").map_err(|error| errno_of(&error))?;
        let paths = disks.flatten().map(|disk| format!("/dev/{}", disk.file_name().display()));
        let mut tried = paths.map(|path| readable(&path));
        tried.find(Result::is_ok).unwrap_or(Err(Errno::ENOENT))
    }),
    vector("dev-tun", |_, _| {
        let mut options = File::options();
        let tun = options.read(true).write(true).open("/dev/net/tun");
        let tun = tun.map_err(|error| errno_of(&error))?;
        let mut request = crate::netlink::request(b"awfp%d");
        request[2] = 0x1001; // IFF_TUN | IFF_NO_PI
        crate::netlink::ioctl(&tun.into(), libc::TUNSETIFF, &mut request)
    }),
    vector("mknod", |_, name| {
        // Memory of the machine, by number: character device 1, 1.
        let path = std::ffi::CString::new(format!("/tmp/{name}-{}", std::process::id()))
            .expect("no zero byte");
        let address = path.as_ptr() as usize;
        call(libc::SYS_mknodat, [at_here(), address, 0o020_600, 0x101, 0, 0])?;
        call(libc::SYS_unlinkat, [at_here(), address, 0, 0, 0, 0]).map(drop)
    }),
    vector("tiocsti", |_, _| type_into_terminal(libc::TIOCSTI)),
    vector("tioclinux", |_, _| type_into_terminal(libc::TIOCLINUX)),
];

fn readable(path: &str) -> Attempted {
    File::open(path).map(drop).map_err(|error| errno_of(&error))
}

fn writable(path: &str) -> Attempted {
    File::options().write(true).open(path).map(drop).map_err(|error| errno_of(&error))
}

/// Writes a setting's own value into it: nothing changes, but the right shows.
fn write_back(path: &str) -> Attempted {
    let value = fs::read_to_string(path).map_err(|error| errno_of(&error))?;
    write_file(path.as_ref(), &value)
}

/// Puts a character into the input of a terminal of our own.
fn type_into_terminal(request: libc::Ioctl) -> Attempted {
    let pair = nix::pty::openpty(None, None)?;
    nix::unistd::setsid()?;
    // The session's leader would be hung up if its terminal closed before the process ends.
    let (_master, terminal) = (pair.master.into_raw_fd(), pair.slave.into_raw_fd());
    // SAFETY: takes a number.
    Errno::result(unsafe { libc::ioctl(terminal, libc::TIOCSCTTY, 0) })?;
    let character = b'x';
    // SAFETY: the pointer is to a local of one byte.
    Errno::result(unsafe { libc::ioctl(terminal, request, &raw const character) }).map(drop)
}
