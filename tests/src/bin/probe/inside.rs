//! What lies around the attempt: the doors, other processes, procfs, the cgroup tree, the terminal.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::IntoRawFd as _;
use std::path::PathBuf;

use libc::{AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM};
use nix::errno::Errno;

use crate::privilege::errno_of;
use crate::sys::{bind, connect, send_to, socket};
use crate::{Attempted, Vector, vector};

/// awf's doors (`plan::addresses`).
const DOOR: Ipv4Addr = Ipv4Addr::new(127, 65, 87, 70);

pub const VECTORS: &[Vector] = &[
    vector("door-clear", |_, _| connect(&socket(AF_INET, SOCK_STREAM, 0)?, (DOOR, 1).into())),
    vector("door-proxy", |_, _| connect(&socket(AF_INET, SOCK_STREAM, 0)?, (DOOR, 2).into())),
    vector("door-443", |_, _| connect(&socket(AF_INET, SOCK_STREAM, 0)?, (DOOR, 443).into())),
    vector("door-mapped", |_, _| {
        connect(&socket(AF_INET6, SOCK_STREAM, 0)?, (DOOR.to_ipv6_mapped(), 1).into())
    }),
    vector("door-udp", |target, name| {
        send_to(&socket(AF_INET, SOCK_DGRAM, 0)?, &target.payload(name), (DOOR, 1).into(), 0)
    }),
    vector("bind-door", |_, _| bind(&socket(AF_INET, SOCK_STREAM, 0)?, (DOOR, 4000).into())),
    vector("bind-door-udp", |_, _| bind(&socket(AF_INET, SOCK_DGRAM, 0)?, (DOOR, 5300).into())),
    vector("bind-mapped", |_, _| {
        bind(&socket(AF_INET6, SOCK_STREAM, 0)?, (DOOR.to_ipv6_mapped(), 4000).into())
    }),
    vector("bind-53", |_, _| {
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        let both = 1_i32.to_ne_bytes();
        crate::sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, &both)?;
        crate::sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, &both)?;
        bind(&socket, (Ipv4Addr::UNSPECIFIED, 53).into())
    }),
    vector("proxy-22", |_, _| {
        connect(&socket(AF_INET, SOCK_STREAM, 0)?, (Ipv4Addr::new(172, 30, 0, 10), 22).into())
    }),
    vector("proxy-udp", |target, name| {
        let proxy = (Ipv4Addr::new(172, 30, 0, 10), 3128);
        send_to(&socket(AF_INET, SOCK_DGRAM, 0)?, &target.payload(name), proxy.into(), 0)
    }),
    vector("proc1-root", |_, _| open("/proc/1/root/etc/hostname")),
    vector("proc1-cwd", |_, _| {
        fs::read_dir("/proc/1/cwd/").map(drop).map_err(|error| errno_of(&error))
    }),
    vector("proc1-mem", |_, _| open("/proc/1/mem")),
    vector("proc1-environ", |_, _| {
        fs::read("/proc/1/environ").map(drop).map_err(|error| errno_of(&error))
    }),
    vector("proc1-fd", |_, _| {
        fs::read_dir("/proc/1/fd").map(drop).map_err(|error| errno_of(&error))
    }),
    vector("sysctl-net", |_, _| write_back("/proc/sys/net/ipv4/ip_default_ttl")),
    vector("sysctl-kernel", |_, _| open_to_write("/proc/sys/kernel/core_pattern")),
    vector("sysrq", |_, _| open_to_write("/proc/sysrq-trigger")),
    vector("kcore", |_, _| {
        let mut first = [0; 16];
        let mut file = File::open("/proc/kcore").map_err(|error| errno_of(&error))?;
        // A covered file can be opened, and is empty.
        std::io::Read::read_exact(&mut file, &mut first).map_err(|_| Errno::ENODATA)
    }),
    vector("dev-mem", |_, _| {
        File::options().read(true).open("/dev/mem").map(drop).map_err(|e| errno_of(&e))
    }),
    vector("cgroup-leave", |_, _| {
        // Into the directory where it is already: nothing changes, but the right shows.
        write_file(&own_cgroup().join("cgroup.procs"), "0")
    }),
    vector("cgroup-mkdir", |_, name| {
        let place = own_cgroup().join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&place).map_err(|error| errno_of(&error))?;
        fs::remove_dir(&place).map_err(|error| errno_of(&error))
    }),
    vector("bpffs", |_, _| {
        // Pinned links would be here.
        let entries = fs::read_dir("/sys/fs/bpf").map_err(|error| errno_of(&error))?;
        if entries.count() == 0 { Err(Errno::ENOENT) } else { Ok(()) }
    }),
    vector("tiocsti", |_, _| type_into_terminal()),
];

fn open(path: &str) -> Attempted {
    File::open(path).map(drop).map_err(|error| errno_of(&error))
}

fn open_to_write(path: &str) -> Attempted {
    File::options().write(true).open(path).map(drop).map_err(|error| errno_of(&error))
}

fn write_file(path: &std::path::Path, text: &str) -> Attempted {
    let mut file = File::options().write(true).open(path).map_err(|error| errno_of(&error))?;
    file.write_all(text.as_bytes()).map_err(|error| errno_of(&error))
}

/// Writes a setting's own value into it: nothing changes, but the right shows.
fn write_back(path: &str) -> Attempted {
    let value = fs::read_to_string(path).map_err(|error| errno_of(&error))?;
    write_file(path.as_ref(), &value)
}

/// The cgroup2 directory this process is in, as far as it sees one.
fn own_cgroup() -> PathBuf {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = table.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| fields.split(' ').nth(4))?
    });
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    PathBuf::from(mount.unwrap_or("/sys/fs/cgroup")).join(own)
}

/// Puts a character into the input of a terminal of our own.
fn type_into_terminal() -> Attempted {
    let pair = nix::pty::openpty(None, None)?;
    nix::unistd::setsid()?;
    // The session's leader would be hung up if its terminal closed before the process ends.
    let (_master, terminal) = (pair.master.into_raw_fd(), pair.slave.into_raw_fd());
    // SAFETY: takes a number.
    Errno::result(unsafe { libc::ioctl(terminal, libc::TIOCSCTTY, 0) })?;
    let character = b'x';
    // SAFETY: the pointer is to a local of one byte.
    Errno::result(unsafe { libc::ioctl(terminal, libc::TIOCSTI, &raw const character) }).map(drop)
}
