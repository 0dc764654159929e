//! Sockets below TCP and UDP: raw and packet sockets.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;

use libc::{AF_INET, AF_INET6, AF_PACKET, SOCK_RAW};
use nix::errno::Errno;

use crate::sys::{interface, send_to, set_option, socket};
use crate::target::Target;
use crate::udp::echo;
use crate::{Attempted, Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("raw-icmp", |target, name| {
        let socket = socket(AF_INET, SOCK_RAW, libc::IPPROTO_ICMP)?;
        send_to(&socket, &echo(8, target, name), (target.v4, 0).into(), 0)
    }),
    vector("raw-other", |target, name| raw(target, name, 253)),
    vector("raw-header", own_header),
    vector("raw6-icmp", |target, name| {
        let socket = socket(AF_INET6, SOCK_RAW, libc::IPPROTO_ICMPV6)?;
        send_to(&socket, &echo(128, target, name), (target.v6, 0).into(), 0)
    }),
    vector("packet", |target, name| frame(target, name, SOCK_RAW)),
    vector("packet-dgram", |target, name| frame(target, name, libc::SOCK_DGRAM)),
    vector("raw-igmp", |target, name| raw(target, name, 2)),
    vector("raw-ipip", |target, name| raw(target, name, 4)),
    vector("raw-udp", |target, name| raw(target, name, libc::IPPROTO_UDP)),
    vector("raw-gre", |target, name| raw(target, name, libc::IPPROTO_GRE)),
    vector("raw-esp", |target, name| raw(target, name, libc::IPPROTO_ESP)),
    vector("raw6-header", own_header6),
];

/// Any protocol; the payload starts where its header would.
fn raw(target: &Target, name: &str, protocol: i32) -> Attempted {
    let socket = socket(AF_INET, SOCK_RAW, protocol)?;
    let bytes = [[0; 16].as_slice(), &target.payload(name)].concat();
    send_to(&socket, &bytes, (target.v4, 0).into(), 0)
}

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

/// An IPv6 header of our own (RFC 8200, 3), with no next header.
fn own_header6(target: &Target, name: &str) -> Attempted {
    let socket = socket(AF_INET6, SOCK_RAW, libc::IPPROTO_RAW)?;
    let payload = target.payload(name);
    let length = u16::try_from(payload.len()).expect("short").to_be_bytes();
    let head = [[0x60, 0, 0, 0, length[0], length[1], 59, 64].as_slice(), &[0; 16]].concat();
    let packet = [head.as_slice(), &target.v6.octets(), &payload].concat();
    send_to(&socket, &packet, (target.v6, 0).into(), 0)
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
