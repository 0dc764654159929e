//! awf's doors and the proxy's address, named directly.

use std::net::Ipv4Addr;

use libc::{AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET};

use crate::sys::{bind, connect, send_to, set_option, socket};
use crate::{Vector, vector};

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
        set_option(&socket, SOL_SOCKET, libc::SO_REUSEADDR, &both)?;
        set_option(&socket, SOL_SOCKET, libc::SO_REUSEPORT, &both)?;
        bind(&socket, (Ipv4Addr::UNSPECIFIED, 53).into())
    }),
    vector("proxy-22", |_, _| {
        connect(&socket(AF_INET, SOCK_STREAM, 0)?, (Ipv4Addr::new(172, 30, 0, 10), 22).into())
    }),
    vector("proxy-udp", |target, name| {
        let proxy = (Ipv4Addr::new(172, 30, 0, 10), 3128);
        send_to(&socket(AF_INET, SOCK_DGRAM, 0)?, &target.payload(name), proxy.into(), 0)
    }),
    vector("door-fastopen", |target, name| {
        let socket = socket(AF_INET, SOCK_STREAM, 0)?;
        send_to(&socket, &target.payload(name), (DOOR, 1).into(), libc::MSG_FASTOPEN)
    }),
    vector("bind-reuseport", |_, _| {
        let socket = socket(AF_INET, SOCK_STREAM, 0)?;
        for option in [libc::SO_REUSEADDR, libc::SO_REUSEPORT] {
            set_option(&socket, SOL_SOCKET, option, &1_i32.to_ne_bytes())?;
        }
        // A classic program that always chooses the first socket of the group.
        let choose = libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0 };
        let program = libc::sock_fprog { len: 1, filter: (&raw const choose).cast_mut() };
        let program = (&raw const program).cast::<u8>();
        // SAFETY: a local structure of this size.
        let bytes = unsafe { std::slice::from_raw_parts(program, size_of::<libc::sock_fprog>()) };
        set_option(&socket, SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, bytes)?;
        bind(&socket, (DOOR, 1).into())
    }),
];
