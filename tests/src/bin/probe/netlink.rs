//! Netlink and the network's ioctls. What works is undone at once.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use libc::{AF_INET, AF_NETLINK, SOCK_DGRAM, SOCK_RAW};
use nix::errno::Errno;

use crate::sys::{send, socket};
use crate::{Attempted, Vector, vector};

/// A socket of one protocol, made and closed.
macro_rules! make {
    ($name:literal, $protocol:expr) => {
        vector($name, |_, _| socket(AF_NETLINK, SOCK_RAW, $protocol).map(drop))
    };
}

pub const VECTORS: &[Vector] = &[
    make!("nl-xfrm", libc::NETLINK_XFRM),
    make!("nl-netfilter", libc::NETLINK_NETFILTER),
    make!("nl-diag", libc::NETLINK_SOCK_DIAG),
    make!("nl-audit", libc::NETLINK_AUDIT),
    make!("nl-uevent", libc::NETLINK_KOBJECT_UEVENT),
    make!("nl-generic", libc::NETLINK_GENERIC),
    make!("nl-crypto", libc::NETLINK_CRYPTO),
    vector("nl-route", |target, _| {
        // struct rtmsg: IPv4, /32, table main, protocol boot, scope link, unicast; by loopback.
        let body = [2, 32, 0, 0, 254, 3, 253, 1, 0, 0, 0, 0];
        let to = attribute(1, &Ipv4Addr::new(192, 0, 2, target.salt).octets());
        let body = [body.as_slice(), &to, &attribute(4, &LOOPBACK)].concat();
        make_and_remove([libc::RTM_NEWROUTE, libc::RTM_DELROUTE], &body)
    }),
    vector("nl-link", |target, _| {
        // struct ifinfomsg: any, then IFLA_IFNAME and IFLA_LINKINFO with IFLA_INFO_KIND: a pair of interfaces.
        let name = attribute(3, format!("awfp{}\0", target.salt).as_bytes());
        let kind = attribute(18, &attribute(1, b"veth\0"));
        make_and_remove(
            [libc::RTM_NEWLINK, libc::RTM_DELLINK],
            &[[0; 16].as_slice(), &name, &kind].concat(),
        )
    }),
    vector("nl-address", |target, _| {
        // struct ifaddrmsg: IPv4, /32, permanent, host; by loopback.
        let head = [[2, 32, 0x80, 254].as_slice(), &LOOPBACK].concat();
        let address = attribute(2, &Ipv4Addr::new(127, 7, 7, target.salt).octets());
        make_and_remove([libc::RTM_NEWADDR, libc::RTM_DELADDR], &[head, address].concat())
    }),
    vector("nl-rule", |target, _| {
        // struct fib_rule_hdr: IPv4 to a /32, table main, FR_ACT_TO_TBL.
        let head = [2, 32, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        let to = attribute(1, &Ipv4Addr::new(192, 0, 2, target.salt).octets());
        make_and_remove([libc::RTM_NEWRULE, libc::RTM_DELRULE], &[head.as_slice(), &to].concat())
    }),
    vector("ioctl-route", |target, _| {
        // struct rtentry: the destination at 8, the mask at 40, flags (RTF_UP, RTF_HOST) at 56, the device at 88.
        let mut entry = [0_u64; 15];
        entry[1] = socket_address(Ipv4Addr::new(192, 0, 2, target.salt));
        entry[5] = u64::from(AF_INET.cast_unsigned());
        entry[7] = 5;
        let device = *b"lo\0";
        entry[11] = device.as_ptr() as u64;
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        ioctl(&socket, libc::SIOCADDRT, &mut entry)?;
        ioctl(&socket, libc::SIOCDELRT, &mut entry)
    }),
    vector("ioctl-address", |target, _| {
        // struct ifreq: an alias of loopback, then the address.
        let mut request = request(b"lo:awf");
        request[2] = socket_address(Ipv4Addr::new(127, 7, 8, target.salt));
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        ioctl(&socket, libc::SIOCSIFADDR, &mut request)?;
        request[2] = 0;
        // An alias that goes down is gone.
        ioctl(&socket, libc::SIOCSIFFLAGS, &mut request)
    }),
    vector("ioctl-flags", |_, _| {
        let mut request = request(b"lo");
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        ioctl(&socket, libc::SIOCGIFFLAGS, &mut request)?;
        // What it has already: nothing changes, but the right shows.
        ioctl(&socket, libc::SIOCSIFFLAGS, &mut request)
    }),
];

/// Index of loopback.
const LOOPBACK: [u8; 4] = 1_u32.to_ne_bytes();

/// struct ifreq with its name.
pub fn request(name: &[u8]) -> [u64; 5] {
    let mut bytes = [0; 40];
    bytes[..name.len()].copy_from_slice(name);
    let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    [0, 8, 16, 24, 32].map(word)
}

/// The first half of a struct `sockaddr_in`.
fn socket_address(address: Ipv4Addr) -> u64 {
    let [a, b, c, d] = address.octets();
    u64::from_ne_bytes([2, 0, 0, 0, a, b, c, d])
}

/// ioctl(2) on a structure.
pub fn ioctl(descriptor: &OwnedFd, number: libc::Ioctl, words: &mut [u64]) -> Attempted {
    // SAFETY: the structure is at least as large as the request wants, and outlives the call.
    Errno::result(unsafe { libc::ioctl(descriptor.as_raw_fd(), number, words.as_mut_ptr()) })
        .map(drop)
}

/// An attribute of rtnetlink(7), padded.
fn attribute(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + data.len()).expect("short");
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Makes something and, where that works, removes it again.
fn make_and_remove([make, remove]: [u16; 2], body: &[u8]) -> Attempted {
    let socket = socket(AF_NETLINK, SOCK_RAW, libc::NETLINK_ROUTE)?;
    ask(&socket, make, 0x600, body)?; // NLM_F_CREATE | NLM_F_EXCL
    ask(&socket, remove, 0, body)
}

fn ask(socket: &OwnedFd, kind: u16, flags: u16, body: &[u8]) -> Attempted {
    let mut message = u32::try_from(16 + body.len()).expect("short").to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((flags | 5).to_ne_bytes()); // NLM_F_REQUEST | NLM_F_ACK
    message.extend([0; 8]);
    message.extend(body);
    send(socket, &message)?;
    let mut answer = [0_u8; 512];
    // SAFETY: pointer and length belong together.
    Errno::result(unsafe {
        libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0)
    })?;
    // NLMSG_ERROR: the negative errno follows the header of 16 bytes.
    match i32::from_ne_bytes(answer[16..20].try_into().expect("four bytes")) {
        0 => Ok(()),
        errno => Err(Errno::from_raw(-errno)),
    }
}
