//! Datagrams.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd as _;

use libc::{AF_INET, AF_INET6, SOCK_DGRAM};
use nix::errno::Errno;
use nix::sys::socket::{SockaddrLike as _, SockaddrStorage};

use crate::sys::{connect, interface, send, send_to, set_option, socket};
use crate::target::Target;
use crate::{Attempted, Vector, vector};

const IPPROTO_UDPLITE: i32 = 136;
const IPPROTO_L2TP: i32 = 115;

pub const VECTORS: &[Vector] = &[
    vector("udp-443", |target, name| datagram(target, name, 443)),
    vector("udp-123", |target, name| datagram(target, name, 123)),
    vector("udp-514", |target, name| datagram(target, name, 514)),
    vector("udp-51820", |target, name| datagram(target, name, 51820)),
    vector("udp-connect", |target, name| {
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        connect(&socket, (target.v4, 443).into())?;
        send(&socket, &target.payload(name))
    }),
    vector("udp-unspec", |target, name| {
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        connect(&socket, (Ipv4Addr::LOCALHOST, 9).into())?;
        crate::tcp::dissolve(&socket)?;
        connect(&socket, (target.v4, 443).into())?;
        send(&socket, &target.payload(name))
    }),
    vector("udp-redirected", |target, name| {
        // A socket connected to a resolver may still send elsewhere.
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        connect(&socket, (target.v4, 53).into())?;
        send_to(&socket, &target.payload(name), (target.v4, 443).into(), 0)
    }),
    vector("udp-sendmmsg", sendmmsg),
    vector("udp-broadcast", |target, name| {
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        set_option(&socket, libc::SOL_SOCKET, libc::SO_BROADCAST, &1_i32.to_ne_bytes())?;
        send_to(&socket, &target.payload(name), (Ipv4Addr::BROADCAST, 137).into(), 0)
    }),
    vector("udp-mdns", |target, name| {
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        send_to(&socket, &target.payload(name), (Ipv4Addr::new(224, 0, 0, 251), 5353).into(), 0)
    }),
    vector("udp-multicast", |target, name| {
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        send_to(&socket, &target.payload(name), (Ipv4Addr::new(239, 1, 2, 3), 1900).into(), 0)
    }),
    vector("udp-metadata", |target, name| {
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        send_to(&socket, &target.payload(name), (Ipv4Addr::new(169, 254, 169, 254), 80).into(), 0)
    }),
    vector("udp-mapped", |target, name| {
        let socket = socket(AF_INET6, SOCK_DGRAM, 0)?;
        send_to(&socket, &target.payload(name), (target.v4.to_ipv6_mapped(), 443).into(), 0)
    }),
    vector("udp-mixed", |target, name| {
        // An IPv6 socket takes an IPv4 address as it is.
        let socket = socket(AF_INET6, SOCK_DGRAM, 0)?;
        send_to(&socket, &target.payload(name), (target.v4, 443).into(), 0)
    }),
    vector("udp6-443", |target, name| {
        let socket = socket(AF_INET6, SOCK_DGRAM, 0)?;
        send_to(&socket, &target.payload(name), (target.v6, 443).into(), 0)
    }),
    vector("udp6-53", |target, name| {
        let socket = socket(AF_INET6, SOCK_DGRAM, 0)?;
        send_to(&socket, &target.payload(name), (target.v6, 53).into(), 0)
    }),
    vector("udp6-connect", |target, name| {
        let socket = socket(AF_INET6, SOCK_DGRAM, 0)?;
        connect(&socket, (target.v6, 443).into())?;
        send(&socket, &target.payload(name))
    }),
    vector("udp6-linklocal", |target, name| {
        let socket = socket(AF_INET6, SOCK_DGRAM, 0)?;
        send_to(
            &socket,
            &target.payload(name),
            scoped(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77)),
            0,
        )
    }),
    vector("udp6-multicast", |target, name| {
        let socket = socket(AF_INET6, SOCK_DGRAM, 0)?;
        send_to(
            &socket,
            &target.payload(name),
            scoped(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)),
            0,
        )
    }),
    vector("udplite", |target, name| {
        let socket = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE)?;
        connect(&socket, (target.v4, 443).into())?;
        send(&socket, &target.payload(name))
    }),
    vector("udplite6", |target, name| {
        let socket = socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDPLITE)?;
        connect(&socket, (target.v6, 443).into())?;
        send(&socket, &target.payload(name))
    }),
    vector("l2tp", |_, _| socket(AF_INET, SOCK_DGRAM, IPPROTO_L2TP).map(drop)),
    vector("ping", |target, name| {
        let socket = socket(AF_INET, SOCK_DGRAM, libc::IPPROTO_ICMP)?;
        send_to(&socket, &echo(8, target, name), (target.v4, 0).into(), 0)
    }),
    vector("ping-connect", |target, name| {
        let socket = socket(AF_INET, SOCK_DGRAM, libc::IPPROTO_ICMP)?;
        connect(&socket, (target.v4, 0).into())?;
        send(&socket, &echo(8, target, name))
    }),
    vector("ping6", |target, name| {
        let socket = socket(AF_INET6, SOCK_DGRAM, libc::IPPROTO_ICMPV6)?;
        send_to(&socket, &echo(128, target, name), (target.v6, 0).into(), 0)
    }),
];

fn datagram(target: &Target, name: &str, port: u16) -> Attempted {
    let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
    send_to(&socket, &target.payload(name), (target.v4, port).into(), 0)
}

fn scoped(address: Ipv6Addr) -> SocketAddr {
    SocketAddrV6::new(address, 5353, 0, interface()).into()
}

/// An ICMP echo request (RFC 792, RFC 4443); the kernel writes id and checksum of ping sockets.
pub fn echo(kind: u8, target: &Target, name: &str) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 1, 0, 1], target.payload(name).as_slice()].concat()
}

/// Three datagrams in one call; success only if all of them went.
fn sendmmsg(target: &Target, name: &str) -> Attempted {
    let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
    let payload = target.payload(name);
    let ports = [443, 123, 1194];
    let addresses = ports.map(|port| SockaddrStorage::from(SocketAddr::from((target.v4, port))));
    let mut piece =
        libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    let mut messages = addresses.each_ref().map(|address| {
        // SAFETY: all zero is an empty message.
        let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
        message.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
        message.msg_hdr.msg_namelen = address.len();
        message.msg_hdr.msg_iov = &raw mut piece;
        message.msg_hdr.msg_iovlen = 1;
        message
    });
    // SAFETY: three messages, whose pointers are to locals that outlive the call.
    let sent =
        Errno::result(unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), 3, 0) })?;
    if sent == 3 { Ok(()) } else { Err(Errno::EPERM) }
}
