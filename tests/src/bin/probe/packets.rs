//! Sockets below TCP and UDP: raw, packet, netlink, and every other family.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;

use libc::{AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, SOCK_RAW, SOCK_SEQPACKET};
use nix::errno::Errno;

use crate::sys::{interface, send, send_to, set_option, socket};
use crate::target::Target;
use crate::udp::echo;
use crate::{Attempted, Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("raw-icmp", |target, name| {
        let socket = socket(AF_INET, SOCK_RAW, libc::IPPROTO_ICMP)?;
        send_to(&socket, &echo(8, target, name), (target.v4, 0).into(), 0)
    }),
    vector("raw-other", |target, name| {
        let socket = socket(AF_INET, SOCK_RAW, 253)?;
        send_to(&socket, &target.payload(name), (target.v4, 0).into(), 0)
    }),
    vector("raw-header", own_header),
    vector("raw6-icmp", |target, name| {
        let socket = socket(AF_INET6, SOCK_RAW, libc::IPPROTO_ICMPV6)?;
        send_to(&socket, &echo(128, target, name), (target.v6, 0).into(), 0)
    }),
    vector("packet", |target, name| frame(target, name, SOCK_RAW)),
    vector("packet-dgram", |target, name| frame(target, name, libc::SOCK_DGRAM)),
    vector("xdp", |_, _| socket(libc::AF_XDP, SOCK_RAW, 0).map(drop)),
    vector("vsock", |_, _| socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0).map(drop)),
    vector("alg", |_, _| socket(libc::AF_ALG, SOCK_SEQPACKET, 0).map(drop)),
    vector("any-family", any_family),
    vector("socketpair", |_, _| {
        let mut pair = [0; 2];
        // SAFETY: the array has room for two descriptors.
        Errno::result(unsafe {
            libc::socketpair(libc::AF_TIPC, SOCK_SEQPACKET, 0, pair.as_mut_ptr())
        })
        .map(drop)
    }),
    vector("nl-route", |target, _| route(target)),
    vector("nl-xfrm", |_, _| socket(AF_NETLINK, SOCK_RAW, libc::NETLINK_XFRM).map(drop)),
    vector("nl-netfilter", |_, _| socket(AF_NETLINK, SOCK_RAW, libc::NETLINK_NETFILTER).map(drop)),
    vector("nl-diag", |_, _| socket(AF_NETLINK, SOCK_RAW, libc::NETLINK_SOCK_DIAG).map(drop)),
    vector("nl-generic", |_, _| socket(AF_NETLINK, SOCK_RAW, libc::NETLINK_GENERIC).map(drop)),
];

/// An IPv4 header of our own with another destination than the address given to the call.
fn own_header(target: &Target, name: &str) -> Attempted {
    let socket = socket(AF_INET, SOCK_RAW, libc::IPPROTO_RAW)?;
    set_option(&socket, libc::IPPROTO_IP, libc::IP_HDRINCL, &1_i32.to_ne_bytes())?;
    let payload = target.payload(name);
    let length = u16::try_from(28 + payload.len()).expect("short").to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend([0; 4]);
    packet.extend(target.v4.octets());
    let udp = u16::try_from(8 + payload.len()).expect("short").to_be_bytes();
    packet.extend([0x77, 0x77, 1, 0xbb, udp[0], udp[1], 0, 0]);
    packet.extend(payload);
    send_to(&socket, &packet, (Ipv4Addr::new(203, 0, 115, 1), 0).into(), 0)
}

/// A frame with the local experimental `EtherType` (IEEE 802, 88-B5), past the whole IP stack.
fn frame(target: &Target, name: &str, kind: i32) -> Attempted {
    let socket = socket(AF_PACKET, kind, 0)?;
    let mut to = libc::sockaddr_ll {
        sll_family: 17,
        sll_protocol: 0x88b5_u16.to_be(),
        sll_ifindex: i32::try_from(interface()).expect("an interface has a small number"),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0xff; 8],
    };
    let mut frame = Vec::new();
    if kind == SOCK_RAW {
        frame.extend([0xff; 6]);
        frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    }
    frame.extend(target.payload(name));
    // SAFETY: pointers and lengths belong together.
    Errno::result(unsafe {
        let (data, length) = (frame.as_ptr().cast(), frame.len());
        libc::sendto(socket.as_raw_fd(), data, length, 0, (&raw mut to).cast(), 20)
    })
    .map(drop)
}

/// Every family but the four that programs need, with every type: none may exist.
fn any_family(_: &Target, _: &str) -> Attempted {
    let mut answer = Errno::EAFNOSUPPORT;
    for family in 0..64 {
        if [libc::AF_UNIX, AF_INET, AF_INET6, AF_NETLINK].contains(&family) {
            continue;
        }
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET] {
            match socket(family, kind, 0) {
                Ok(_socket) => return Ok(()),
                Err(Errno::EAFNOSUPPORT) => {}
                // Says that the family is there, but not for us or not so.
                Err(other) => answer = other,
            }
        }
    }
    Err(answer)
}

/// Adds a route by rtnetlink(7) and, where that works, removes it again.
fn route(target: &Target) -> Attempted {
    let socket = socket(AF_NETLINK, SOCK_RAW, libc::NETLINK_ROUTE)?;
    let message = |kind: u16, flags: u16| {
        let mut message = Vec::new();
        message.extend(44_u32.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((flags | 5).to_ne_bytes()); // NLM_F_REQUEST | NLM_F_ACK
        message.extend([0; 8]);
        // struct rtmsg: IPv4, /32, table main, protocol boot, scope link, unicast.
        message.extend([2, 32, 0, 0, 254, 3, 253, 1, 0, 0, 0, 0]);
        message.extend([8, 0, 1, 0]); // RTA_DST
        message.extend(Ipv4Addr::new(192, 0, 2, target.salt).octets());
        message.extend([8, 0, 4, 0, 1, 0, 0, 0]); // RTA_OIF: loopback
        message
    };
    let ask = |bytes: &[u8]| {
        send(&socket, bytes)?;
        let mut answer = [0_u8; 256];
        // SAFETY: pointer and length belong together.
        Errno::result(unsafe {
            libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0)
        })?;
        // NLMSG_ERROR: the negative errno follows the header of 16 bytes.
        match i32::from_ne_bytes(answer[16..20].try_into().expect("four bytes")) {
            0 => Ok(()),
            errno => Err(Errno::from_raw(-errno)),
        }
    };
    ask(&message(libc::RTM_NEWROUTE, 0x600))?; // NLM_F_CREATE | NLM_F_EXCL
    ask(&message(libc::RTM_DELROUTE, 0))
}
