//! TCP and its relatives, to ports that no policy opens.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;

use libc::{AF_INET, AF_INET6, IPPROTO_TCP, SOCK_NONBLOCK, SOCK_SEQPACKET, SOCK_STREAM};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};

use crate::sys::{connect, send, send_to, set_option, socket};
use crate::target::Target;
use crate::{Attempted, Vector, vector};

/// Where the lab echoes on every address.
const PORT: u16 = 8080;
/// A resolver that the lab plays.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
const IPPROTO_MPTCP: i32 = 262;

pub const VECTORS: &[Vector] = &[
    vector("tcp-22", |target, _| dial((target.v4, 22).into())),
    vector("tcp-853", |target, _| dial((target.v4, 853).into())),
    vector("tcp-3128", |target, _| dial((target.v4, 3128).into())),
    vector("tcp-5432", |target, _| dial((target.v4, 5432).into())),
    vector("tcp-8080", |target, _| dial((target.v4, 8080).into())),
    vector("tcp-8443", |target, _| dial((target.v4, 8443).into())),
    vector("tcp-nonblock", nonblocking),
    vector("tcp-fastopen", |target, name| {
        let socket = socket(AF_INET, SOCK_STREAM, 0)?;
        send_to(&socket, &target.payload(name), (target.v4, PORT).into(), libc::MSG_FASTOPEN)
    }),
    vector("tcp-fo-connect", |target, name| {
        let socket = socket(AF_INET, SOCK_STREAM, 0)?;
        set_option(&socket, IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, &1_i32.to_ne_bytes())?;
        connect(&socket, (target.v4, PORT).into())?;
        send(&socket, &target.payload(name))
    }),
    vector("tcp-unspec", unspec),
    vector("tcp-bound", |target, _| {
        let socket = socket(AF_INET, SOCK_STREAM, 0)?;
        crate::sys::bind(&socket, (Ipv4Addr::UNSPECIFIED, 0).into())?;
        connect(&socket, (target.v4, PORT).into())
    }),
    vector("tcp-repair", repair),
    vector("tcp-53", |target, name| {
        let socket = socket(AF_INET, SOCK_STREAM, 0)?;
        connect(&socket, (RESOLVER, 53).into())?;
        send(&socket, &target.payload(name))
    }),
    vector("tcp-mapped", |target, _| dial((target.v4.to_ipv6_mapped(), PORT).into())),
    vector("tcp6", |target, _| dial((target.v6, PORT).into())),
    vector("tcp6-443", |target, _| dial((target.v6, 443).into())),
    vector("tcp6-80", |target, _| dial((target.v6, 80).into())),
    vector("tcp6-nat64", |target, _| dial((nat64(target.v4), PORT).into())),
    vector("tcp6-6to4", |target, _| {
        let [a, b, c, d] = target.v4.octets().map(u16::from);
        dial((Ipv6Addr::new(0x2002, a << 8 | b, c << 8 | d, 0, 0, 0, 0, 1), PORT).into())
    }),
    vector("tcp6-compat", |target, _| dial((embedded(0, target.v4), PORT).into())),
    vector("tcp6-translate", |target, _| dial((embedded(0xffff_0000, target.v4), PORT).into())),
    vector("tcp6-ula", |_, _| dial((Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), PORT).into())),
    vector("tcp-metadata", |_, _| dial((Ipv4Addr::new(169, 254, 169, 254), PORT).into())),
    vector("tcp-wireserver", |_, _| dial((Ipv4Addr::new(168, 63, 129, 16), PORT).into())),
    vector("tcp-gateway", |_, _| dial((Ipv4Addr::new(172, 17, 0, 1), PORT).into())),
    vector("tcp-class-e", |_, _| dial((Ipv4Addr::new(240, 0, 0, 1), PORT).into())),
    vector("tcp-private", |_, _| dial((Ipv4Addr::new(10, 1, 2, 3), PORT).into())),
    vector("mptcp", |target, _| {
        connect(&socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)?, (target.v4, PORT).into())
    }),
    vector("mptcp6", |target, _| {
        connect(&socket(AF_INET6, SOCK_STREAM, IPPROTO_MPTCP)?, (target.v6, PORT).into())
    }),
    vector("sctp", |_, _| socket(AF_INET, SOCK_STREAM, libc::IPPROTO_SCTP).map(drop)),
    vector("sctp-many", |_, _| socket(AF_INET, SOCK_SEQPACKET, libc::IPPROTO_SCTP).map(drop)),
    vector("sctp6", |_, _| socket(AF_INET6, SOCK_STREAM, libc::IPPROTO_SCTP).map(drop)),
    // SOCK_DCCP is 6 on every architecture but MIPS.
    vector("dccp", |_, _| socket(AF_INET, 6, libc::IPPROTO_DCCP).map(drop)),
    vector("smc", |_, _| socket(AF_INET, SOCK_STREAM, 256).map(drop)),
];

fn dial(to: SocketAddr) -> Attempted {
    let family = if to.is_ipv4() { AF_INET } else { AF_INET6 };
    connect(&socket(family, SOCK_STREAM, 0)?, to)
}

/// RFC 6052: an IPv4 address behind a translator.
pub fn nat64(address: Ipv4Addr) -> Ipv6Addr {
    embedded(0x0064_ff9b_0000_0000_0000_0000, address)
}

/// An IPv4 address behind the 96 bits of a prefix.
fn embedded(prefix: u128, address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(prefix << 32 | u128::from(address.to_bits()))
}

/// Becomes connected without a word to the other side, then speaks.
fn repair(target: &Target, name: &str) -> Attempted {
    let socket = socket(AF_INET, SOCK_STREAM, 0)?;
    let set = |on: i32| set_option(&socket, IPPROTO_TCP, libc::TCP_REPAIR, &on.to_ne_bytes());
    set(1)?;
    connect(&socket, (target.v4, PORT).into())?;
    // struct tcp_repair_window: where the other's window stands and how large it is.
    let window = [0_u32, 65_535, 65_535, 65_535, 0].map(u32::to_ne_bytes).concat();
    set_option(&socket, IPPROTO_TCP, libc::TCP_REPAIR_WINDOW, &window)?;
    // Off, without the probe for a window that would be answered by a reset.
    set(-1)?;
    send(&socket, &target.payload(name))
}

/// A refusal must come from connect(2) itself, not after a wait.
fn nonblocking(target: &Target, _: &str) -> Attempted {
    let socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)?;
    match connect(&socket, (target.v4, PORT).into()) {
        Err(Errno::EINPROGRESS) => {}
        other => return other,
    }
    let mut waited = [PollFd::new(std::os::fd::AsFd::as_fd(&socket), PollFlags::POLLOUT)];
    poll(&mut waited, PollTimeout::from(2000_u16))?;
    // A refusal that comes late is told apart by another errno.
    match getsockopt(&socket, sockopt::SocketError)? {
        0 => Ok(()),
        _late => Err(Errno::EALREADY),
    }
}

/// Connects to itself, dissolves the connection and uses the socket again.
fn unspec(target: &Target, _: &str) -> Attempted {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|_| Errno::EIO)?;
    let socket = socket(AF_INET, SOCK_STREAM, 0)?;
    connect(&socket, listener.local_addr().map_err(|_| Errno::EIO)?)?;
    dissolve(&socket)?;
    connect(&socket, (target.v4, PORT).into())
}

/// connect(2) with `AF_UNSPEC`.
pub fn dissolve(socket: &std::os::fd::OwnedFd) -> Attempted {
    let nobody = libc::sockaddr { sa_family: 0, sa_data: [0; 14] };
    // SAFETY: the pointer is to a local of the given length.
    Errno::result(unsafe { libc::connect(socket.as_raw_fd(), &raw const nobody, 16) }).map(drop)
}
