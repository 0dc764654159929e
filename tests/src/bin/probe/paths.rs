//! Datagrams by unusual calls.

use std::ffi::CString;
use std::fs;
use std::io::{Seek as _, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use libc::{AF_INET, IPPROTO_IP, SOCK_DGRAM, SOL_SOCKET};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use crate::privilege::{descriptor, errno_of};
use crate::sys::{bind, call, connect, name_task, send_to, set_option, socket};
use crate::target::Target;
use crate::{Attempted, Vector, vector};

/// Options of UDP (linux/udp.h).
const SOL_UDP: i32 = 17;
const UDP_SEGMENT: i32 = 103;

pub const VECTORS: &[Vector] = &[
    vector("udp-segment", |target, name| {
        let length = i32::try_from(target.payload(name).len()).expect("short");
        with_option(target, name, [SOL_UDP, UDP_SEGMENT], &length.to_ne_bytes())
    }),
    vector("udp-recverr", |target, name| {
        with_option(target, name, [IPPROTO_IP, libc::IP_RECVERR], &1_i32.to_ne_bytes())
    }),
    vector("udp-zerocopy", |target, name| {
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        set_option(&socket, SOL_SOCKET, libc::SO_ZEROCOPY, &1_i32.to_ne_bytes())?;
        let to = (target.v4, 443).into();
        send_to(&socket, &target.payload(name), to, libc::MSG_ZEROCOPY)
    }),
    vector("udp-foreign", |target, name| {
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        // The first is refused inside, the second is not; a refused option must not leave the socket half open.
        for option in [libc::IP_TRANSPARENT, libc::IP_FREEBIND] {
            set_option(&socket, IPPROTO_IP, option, &1_i32.to_ne_bytes()).ok();
        }
        bind(&socket, (Ipv4Addr::new(203, 0, 115, 9), 0).into())?;
        send_to(&socket, &target.payload(name), (target.v4, 443).into(), 0)
    }),
    vector("udp-splice", |target, name| {
        let (reader, mut writer) = std::io::pipe().map_err(|error| errno_of(&error))?;
        writer.write_all(&target.payload(name)).map_err(|error| errno_of(&error))?;
        splice(&reader.into(), target, name)
    }),
    vector("udp-vmsplice", |target, name| {
        let (reader, writer) = std::io::pipe().map_err(|error| errno_of(&error))?;
        let payload = target.payload(name);
        let piece =
            libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
        let writer = descriptor(writer.as_raw_fd());
        call(libc::SYS_vmsplice, [writer, (&raw const piece) as usize, 1, 0, 0, 0])?;
        splice(&reader.into(), target, name)
    }),
    vector("udp-sendfile", |target, name| {
        let mut file = fs::File::from(memory(name)?);
        file.write_all(&target.payload(name)).map_err(|error| errno_of(&error))?;
        file.rewind().map_err(|error| errno_of(&error))?;
        let socket = connected(target)?;
        let (to, from) = (descriptor(socket.as_raw_fd()), descriptor(file.as_raw_fd()));
        let length = target.payload(name).len();
        call(libc::SYS_sendfile, [to, from, 0, length, 0, 0]).map(drop)
    }),
    vector("memfd-exec", execute),
];

fn with_option(target: &Target, name: &str, [level, option]: [i32; 2], value: &[u8]) -> Attempted {
    let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
    set_option(&socket, level, option, value)?;
    send_to(&socket, &target.payload(name), (target.v4, 443).into(), 0)
}

fn connected(target: &Target) -> Result<OwnedFd, Errno> {
    let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
    connect(&socket, (target.v4, 443).into())?;
    Ok(socket)
}

/// From a pipe into a datagram.
fn splice(pipe: &OwnedFd, target: &Target, name: &str) -> Attempted {
    let socket = connected(target)?;
    let (from, to) = (descriptor(pipe.as_raw_fd()), descriptor(socket.as_raw_fd()));
    call(libc::SYS_splice, [from, 0, to, 0, target.payload(name).len(), 0]).map(drop)
}

/// A file without a name.
fn memory(name: &str) -> Result<OwnedFd, Errno> {
    let name = CString::new(name).expect("a name has no zero byte");
    let made = call(libc::SYS_memfd_create, [name.as_ptr() as usize, 0, 0, 0, 0, 0])?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(made).expect("a descriptor")) })
}

/// Runs a copy of this program that no directory shows, which sends.
fn execute(target: &Target, name: &str) -> Attempted {
    let mut copy = fs::File::from(memory(name)?);
    let program = fs::read("/proc/self/exe").map_err(|error| errno_of(&error))?;
    copy.write_all(&program).map_err(|error| errno_of(&error))?;
    let words = ["probe", "send", &target.salt.to_string(), name]
        .map(|word| CString::new(word).expect("a word has no zero byte"));
    // SAFETY: the attempt's process has no other thread.
    let child = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let failed = nix::unistd::fexecve(copy, &words, &[] as &[CString; 0]);
            let errno = failed.err().map_or(0, |errno| errno as i32);
            // SAFETY: ends the child.
            unsafe { libc::_exit(errno) }
        }
    };
    match waitpid(child, None)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        WaitStatus::Exited(_, errno) => Err(Errno::from_raw(errno)),
        _ => Err(Errno::EIO),
    }
}

/// What the copy does: the errno is its exit code.
pub fn send_as(target: &Target, name: &str) {
    name_task(name);
    let sent = socket(AF_INET, SOCK_DGRAM, 0)
        .and_then(|socket| send_to(&socket, &target.payload(name), (target.v4, 443).into(), 0));
    std::process::exit(sent.err().map_or(0, |errno| errno as i32));
}
