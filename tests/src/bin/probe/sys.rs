//! System calls that no safe wrapper makes, or that it would not make wrongly enough.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{SockaddrLike as _, SockaddrStorage};

use crate::Attempted;

/// Names the calling task.
pub fn name_task(name: &str) {
    let name = std::ffi::CString::new(name).expect("a name has no zero byte");
    nix::sys::prctl::set_name(&name).expect("a task may name itself");
}

/// socket(2), with numbers.
pub fn socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes numbers.
    let descriptor =
        Errno::result(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// connect(2).
pub fn connect(socket: &OwnedFd, to: SocketAddr) -> Attempted {
    nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(to))
}

/// bind(2).
pub fn bind(socket: &OwnedFd, to: SocketAddr) -> Attempted {
    nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(to))
}

/// send(2).
pub fn send(socket: &OwnedFd, bytes: &[u8]) -> Attempted {
    // SAFETY: pointer and length belong together.
    Errno::result(unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) })
        .map(drop)
}

/// sendto(2).
pub fn send_to(socket: &OwnedFd, bytes: &[u8], to: SocketAddr, flags: i32) -> Attempted {
    let to = SockaddrStorage::from(to);
    // SAFETY: pointers and lengths belong together.
    Errno::result(unsafe {
        let (data, length) = (bytes.as_ptr().cast(), bytes.len());
        libc::sendto(socket.as_raw_fd(), data, length, flags, to.as_ptr(), to.len())
    })
    .map(drop)
}

/// One ancillary message.
pub struct Ancillary<'a> {
    /// Its level.
    pub level: i32,
    /// Its type.
    pub kind: i32,
    /// Its data.
    pub data: &'a [u8],
}

/// sendmsg(2) with one ancillary message.
pub fn send_with(
    socket: &OwnedFd,
    bytes: &[u8],
    to: SocketAddr,
    with: &Ancillary<'_>,
) -> Attempted {
    let to = SockaddrStorage::from(to);
    // Length, level and type, then the data, as CMSG_FIRSTHDR lays it out; u64 for the alignment.
    let mut control = vec![0_u64; 2 + with.data.len().div_ceil(8)];
    let length = 16 + with.data.len();
    let (level, kind) = (with.level.to_ne_bytes(), with.kind.to_ne_bytes());
    let bytes_of_it = [length.to_ne_bytes().as_slice(), &level, &kind, with.data].concat();
    for (index, byte) in bytes_of_it.into_iter().enumerate() {
        control[index / 8] |= u64::from(byte) << (8 * (index % 8));
    }
    let mut piece =
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zero is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = to.as_ptr().cast_mut().cast();
    message.msg_namelen = to.len();
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = length;
    // SAFETY: every pointer is to a local that outlives the call.
    Errno::result(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) }).map(drop)
}

/// setsockopt(2) with raw bytes.
pub fn set_option(socket: &OwnedFd, level: i32, option: i32, value: &[u8]) -> Attempted {
    let length = u32::try_from(value.len()).expect("an option is short");
    // SAFETY: pointer and length belong together.
    Errno::result(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), length)
    })
    .map(drop)
}

/// A system call by number.
pub fn call(number: libc::c_long, arguments: [usize; 6]) -> Result<i64, Errno> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: the callers pass numbers, or pointers to locals that outlive the call.
    Errno::result(unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) })
}

/// Index of the first interface that is not loopback; 1, which is loopback, if there is no other.
pub fn interface() -> u32 {
    let interfaces = nix::net::if_::if_nameindex().expect("interfaces can be listed");
    interfaces
        .into_iter()
        .map(nix::net::if_::Interface::index)
        .find(|index| *index != 1)
        .unwrap_or(1)
}
