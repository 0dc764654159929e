//! Socket options and ancillary data that choose a way or a header of their own.

use std::net::{Ipv4Addr, Ipv6Addr};

use libc::{AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET};

use crate::sys::{Ancillary, interface, send_to, send_with, set_option, socket};
use crate::target::Target;
use crate::{Attempted, Vector, vector};

/// Wherever loopback is not enough: a port nobody listens on.
const DISCARD: u16 = 9;

pub const VECTORS: &[Vector] = &[
    vector("opt-device", |_, _| {
        let name = interface_name();
        set_option(&socket(AF_INET, SOCK_DGRAM, 0)?, SOL_SOCKET, libc::SO_BINDTODEVICE, &name)
    }),
    vector("opt-ifindex", |_, _| option(SOL_SOCKET, 62, interface())),
    vector("opt-mark", |_, _| option(SOL_SOCKET, libc::SO_MARK, 1)),
    vector("opt-unicast-if", |_, _| option(IPPROTO_IP, libc::IP_UNICAST_IF, interface().to_be())),
    vector("opt-transpar", |_, _| option(IPPROTO_IP, libc::IP_TRANSPARENT, 1)),
    vector("opt-route", |target, _| {
        let socket = socket(AF_INET, SOCK_STREAM, 0)?;
        set_option(&socket, IPPROTO_IP, libc::IP_OPTIONS, &source_route(target))
    }),
    vector("opt-join", |_, _| {
        let request =
            [Ipv4Addr::new(239, 1, 2, 4).octets(), [0; 4], interface().to_ne_bytes()].concat();
        set_option(&socket(AF_INET, SOCK_DGRAM, 0)?, IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &request)
    }),
    vector("opt-group", |_, _| {
        // struct group_req: interface, padding, sockaddr_storage.
        let mut request = vec![0; 136];
        request[..4].copy_from_slice(&interface().to_ne_bytes());
        request[8..10].copy_from_slice(&2_u16.to_ne_bytes());
        request[12..16].copy_from_slice(&[239, 1, 2, 5]);
        set_option(&socket(AF_INET, SOCK_DGRAM, 0)?, IPPROTO_IP, 42, &request)
    }),
    vector("opt-join-src", |_, _| {
        // struct ip_mreq_source: group, interface, source.
        let request = [[239, 1, 2, 6], [0; 4], [203, 0, 115, 1]].concat();
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        set_option(&socket, IPPROTO_IP, libc::IP_ADD_SOURCE_MEMBERSHIP, &request)
    }),
    vector("opt-group6", |_, _| {
        let mut request = vec![0; 136];
        request[..4].copy_from_slice(&interface().to_ne_bytes());
        request[8..10].copy_from_slice(&10_u16.to_ne_bytes());
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x78);
        request[16..32].copy_from_slice(&group.octets());
        set_option(&socket(AF_INET6, SOCK_DGRAM, 0)?, IPPROTO_IPV6, 42, &request)
    }),
    vector("opt-anycast6", |_, _| {
        let address = Ipv6Addr::new(0x2600, 0x77, 0x1ab, 0, 0, 0, 0, 0x99);
        let request = [address.octets().as_slice(), &interface().to_ne_bytes()].concat();
        option6(27, &request)
    }),
    vector("opt-dstopts", |_, _| option6(libc::IPV6_DSTOPTS, &[0, 0, 1, 4, 0, 0, 0, 0])),
    vector("opt-unicast-if6", |_, _| {
        option6(libc::IPV6_UNICAST_IF, &interface().to_be().to_ne_bytes())
    }),
    vector("opt-transpar6", |_, _| option6(libc::IPV6_TRANSPARENT, &1_i32.to_ne_bytes())),
    vector("opt-priority", |_, _| option(SOL_SOCKET, libc::SO_PRIORITY, 6)),
    vector("opt-txtime", |_, _| {
        // struct sock_txtime: CLOCK_MONOTONIC, no flags.
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        set_option(&socket, SOL_SOCKET, libc::SO_TXTIME, &1_u64.to_ne_bytes())
    }),
    // IPV6_FLOWINFO_SEND.
    vector("opt-flowlabel", |_, _| option6(33, &1_i32.to_ne_bytes())),
    vector("msg-mark", |target, name| {
        let mark = 0x77_u32.to_ne_bytes();
        let with = Ancillary { level: SOL_SOCKET, kind: libc::SO_MARK, data: &mark };
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        send_with(&socket, &target.payload(name), (target.v4, 443).into(), &with)
    }),
    vector("opt-join6", |_, _| {
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x77);
        let request = [group.octets().as_slice(), &interface().to_ne_bytes()].concat();
        set_option(
            &socket(AF_INET6, SOCK_DGRAM, 0)?,
            IPPROTO_IPV6,
            libc::IPV6_ADD_MEMBERSHIP,
            &request,
        )
    }),
    vector("opt-rthdr", |target, _| {
        let socket = socket(AF_INET6, SOCK_DGRAM, 0)?;
        set_option(&socket, IPPROTO_IPV6, libc::IPV6_RTHDR, &segment_route(target))
    }),
    vector("opt-hopopts", |_, _| {
        // Needs CAP_NET_RAW: PadN of four bytes.
        let socket = socket(AF_INET6, SOCK_DGRAM, 0)?;
        set_option(&socket, IPPROTO_IPV6, libc::IPV6_HOPOPTS, &[0, 0, 1, 4, 0, 0, 0, 0])
    }),
    vector("msg-pktinfo", |target, name| {
        // Measured: sends a packet for 127.0.0.1 through a real interface.
        let info = [interface().to_ne_bytes(), [0; 4], [0; 4]].concat();
        let with = Ancillary { level: IPPROTO_IP, kind: libc::IP_PKTINFO, data: &info };
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        send_with(&socket, &target.payload(name), (Ipv4Addr::LOCALHOST, DISCARD).into(), &with)
    }),
    vector("msg-pktinfo6", |target, name| {
        let info = [[0; 16].as_slice(), &interface().to_ne_bytes()].concat();
        let with = Ancillary { level: IPPROTO_IPV6, kind: libc::IPV6_PKTINFO, data: &info };
        let socket = socket(AF_INET6, SOCK_DGRAM, 0)?;
        send_with(&socket, &target.payload(name), (Ipv6Addr::LOCALHOST, DISCARD).into(), &with)
    }),
    vector("msg-route", |target, name| {
        // The hook sees loopback; the packet would go to the first hop.
        let route = source_route(target);
        let with = Ancillary { level: IPPROTO_IP, kind: libc::IP_RETOPTS, data: &route };
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        send_with(&socket, &target.payload(name), (Ipv4Addr::LOCALHOST, DISCARD).into(), &with)
    }),
    vector("msg-rthdr", |target, name| {
        // Type 2 (RFC 6275, 6.4), the only one a message may carry.
        let route = [[0, 2, 2, 1, 0, 0, 0, 0].as_slice(), &target.v6.octets()].concat();
        let with = Ancillary { level: IPPROTO_IPV6, kind: libc::IPV6_RTHDR, data: &route };
        let socket = socket(AF_INET6, SOCK_DGRAM, 0)?;
        send_with(&socket, &target.payload(name), (Ipv6Addr::LOCALHOST, DISCARD).into(), &with)
    }),
    vector("late-mark", |target, name| {
        // A refused option must not leave the socket half open.
        let socket = socket(AF_INET, SOCK_DGRAM, 0)?;
        let marked = set_option(&socket, SOL_SOCKET, libc::SO_MARK, &0x77_i32.to_ne_bytes());
        send_to(&socket, &target.payload(name), (target.v4, 443).into(), 0).and(marked)
    }),
];

fn option(level: i32, option: i32, value: u32) -> Attempted {
    set_option(&socket(AF_INET, SOCK_DGRAM, 0)?, level, option, &value.to_ne_bytes())
}

fn option6(option: i32, value: &[u8]) -> Attempted {
    set_option(&socket(AF_INET6, SOCK_DGRAM, 0)?, IPPROTO_IPV6, option, value)
}

fn interface_name() -> Vec<u8> {
    let interfaces = nix::net::if_::if_nameindex().expect("interfaces can be listed");
    let wanted = interface();
    let found = interfaces.into_iter().find(|one| one.index() == wanted);
    found.map(|one| one.name().to_bytes().to_vec()).unwrap_or_default()
}

/// Loose source route over one hop (RFC 791, 3.1), padded to 8 bytes.
fn source_route(target: &Target) -> Vec<u8> {
    let [a, b, c, d] = target.v4.octets();
    vec![131, 7, 4, a, b, c, d, 0]
}

/// Segment routing header with one segment left (RFC 8754, 2).
fn segment_route(target: &Target) -> Vec<u8> {
    [[0, 2, 4, 0, 0, 0, 0, 0].as_slice(), &target.v6.octets()].concat()
}
