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
    vector("udp-67", |target, name| datagram(target, name, 67)),
    vector("udp-69", |target, name| datagram(target, name, 69)),
    vector("udp-137", |target, name| datagram(target, name, 137)),
    vector("udp-161", |target, name| datagram(target, name, 161)),
    vector("udp-853", |target, name| datagram(target, name, 853)),
    vector("udp-1194", |target, name| datagram(target, name, 1194)),
    vector("udp-2152", |target, name| datagram(target, name, 2152)),
    vector("udp-3478", |target, name| datagram(target, name, 3478)),
    vector("udp-4500", |target, name| datagram(target, name, 4500)),
    vector("udp-4789", |target, name| datagram(target, name, 4789)),
    vector("udp-53", |target, name| to(target, name, (crate::tcp::RESOLVER, 53).into())),
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
    vector("udp-unspec-to", |target, name| {
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        connect(&socket, (Ipv4Addr::LOCALHOST, 9).into())?;
        crate::tcp::dissolve(&socket)?;
        send_to(&socket, &target.payload(name), (target.v4, 443).into(), 0)
    }),
    vector("udp-redirected", |target, name| {
        // A socket connected to a resolver may still send elsewhere.
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        connect(&socket, (target.v4, 53).into())?;
        send_to(&socket, &target.payload(name), (target.v4, 443).into(), 0)
    }),
    vector("udp-sendmmsg", sendmmsg),
    vector("udp-mmsg-mixed", mixed_sendmmsg),
    vector("udp-broadcast", |target, name| {
        to_many(target, name, (Ipv4Addr::BROADCAST, 137).into())
    }),
    // The broadcast address of the lab's wire.
    vector("udp-directed", |target, name| {
        to_many(target, name, (Ipv4Addr::new(100, 64, 77, 3), 9).into())
    }),
    vector("udp-mdns", |target, name| group(target, name, [224, 0, 0, 251], 5353)),
    vector("udp-llmnr", |target, name| group(target, name, [224, 0, 0, 252], 5355)),
    vector("udp-ssdp", |target, name| group(target, name, [239, 255, 255, 250], 1900)),
    vector("udp-ws-discover", |target, name| group(target, name, [239, 255, 255, 250], 3702)),
    vector("udp-multicast", |target, name| group(target, name, [239, 1, 2, 3], 1900)),
    vector("udp-class-e", |target, name| group(target, name, [240, 0, 0, 1], 443)),
    vector("udp-metadata", |target, name| group(target, name, [169, 254, 169, 254], 80)),
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
    vector("udp6-nat64", |target, name| {
        let socket = socket(AF_INET6, SOCK_DGRAM, 0)?;
        let to = (crate::tcp::nat64(target.v4), 443);
        send_to(&socket, &target.payload(name), to.into(), 0)
    }),
    vector("udp6-dhcp", |target, name| {
        let socket = socket(AF_INET6, SOCK_DGRAM, 0)?;
        let servers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
        let to = SocketAddrV6::new(servers, 547, 0, interface());
        send_to(&socket, &target.payload(name), to.into(), 0)
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
    vector("l2tp6", |_, _| socket(AF_INET6, SOCK_DGRAM, IPPROTO_L2TP).map(drop)),
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
    vector("ping6-connect", |target, name| {
        let socket = socket(AF_INET6, SOCK_DGRAM, libc::IPPROTO_ICMPV6)?;
        connect(&socket, (target.v6, 0).into())?;
        send(&socket, &echo(128, target, name))
    }),
];

fn datagram(target: &Target, name: &str, port: u16) -> Attempted {
    to(target, name, (target.v4, port).into())
}

fn to(target: &Target, name: &str, to: SocketAddr) -> Attempted {
    send_to(&socket(AF_INET, SOCK_DGRAM, 0)?, &target.payload(name), to, 0)
}

fn group(target: &Target, name: &str, address: [u8; 4], port: u16) -> Attempted {
    to(target, name, (Ipv4Addr::from(address), port).into())
}

fn to_many(target: &Target, name: &str, to: SocketAddr) -> Attempted {
    let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_BROADCAST, &1_i32.to_ne_bytes())?;
    send_to(&socket, &target.payload(name), to, 0)
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
    let sent = send_many(target, name, [443, 123, 1194].map(|port| (target.v4, port).into()))?;
    if sent == 3 { Ok(()) } else { Err(Errno::EPERM) }
}

/// A datagram to this host and two to the target; where not all went, the rest is tried again.
fn mixed_sendmmsg(target: &Target, name: &str) -> Attempted {
    let own = (Ipv4Addr::LOCALHOST, 9).into();
    let target_port = |port| SocketAddr::from((target.v4, port));
    match send_many(target, name, [own, target_port(443), target_port(123)])? {
        3 => Ok(()),
        _some => send_many(target, name, [443, 123, 1194].map(target_port)).map(drop),
    }
}

fn send_many(target: &Target, name: &str, to: [SocketAddr; 3]) -> Result<i32, Errno> {
    let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
    let payload = target.payload(name);
    let addresses = to.map(SockaddrStorage::from);
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
    Errno::result(unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), 3, 0) })
}
