//! Address families beside the internet's.

use libc::{AF_INET, AF_INET6, AF_NETLINK, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM};
use nix::errno::Errno;

use crate::sys::socket;
use crate::target::Target;
use crate::{Attempted, Vector, vector};

/// One type of one family, made and closed.
macro_rules! make {
    ($name:literal, $family:expr, $kind:expr, $protocol:expr) => {
        vector($name, |_, _| socket($family, $kind, $protocol).map(drop))
    };
}

pub const VECTORS: &[Vector] = &[
    vector("any-family", any_family),
    make!("xdp", libc::AF_XDP, SOCK_RAW, 0),
    make!("vsock", libc::AF_VSOCK, SOCK_STREAM, 0),
    make!("vsock-dgram", libc::AF_VSOCK, SOCK_DGRAM, 0),
    make!("alg", libc::AF_ALG, SOCK_SEQPACKET, 0),
    make!("rds", libc::AF_RDS, SOCK_SEQPACKET, 0),
    make!("tipc", libc::AF_TIPC, SOCK_SEQPACKET, 0),
    make!("tipc-rdm", libc::AF_TIPC, libc::SOCK_RDM, 0),
    // The protocol names the family of the transport.
    make!("rxrpc", libc::AF_RXRPC, SOCK_DGRAM, AF_INET),
    make!("kcm", KCM, SOCK_DGRAM, 0),
    make!("smc-family", SMC, SOCK_STREAM, 0),
    make!("caif", libc::AF_CAIF, SOCK_STREAM, 0),
    make!("nfc", libc::AF_NFC, SOCK_RAW, 0),
    make!("x25", libc::AF_X25, SOCK_SEQPACKET, 0),
    make!("ax25", libc::AF_AX25, SOCK_DGRAM, 0),
    make!("netrom", libc::AF_NETROM, SOCK_SEQPACKET, 0),
    make!("rose", libc::AF_ROSE, SOCK_SEQPACKET, 0),
    make!("appletalk", libc::AF_APPLETALK, SOCK_DGRAM, 0),
    make!("ipx", libc::AF_IPX, SOCK_DGRAM, 0),
    make!("bluetooth", libc::AF_BLUETOOTH, SOCK_SEQPACKET, 0),
    make!("can", libc::AF_CAN, SOCK_RAW, 1),
    make!("qipcrtr", QIPCRTR, SOCK_DGRAM, 0),
    make!("mctp", MCTP, SOCK_DGRAM, 0),
    // PF_KEY_V2 (RFC 2367, 1.3).
    make!("pf-key", libc::AF_KEY, SOCK_RAW, 2),
    make!("llc", libc::AF_LLC, SOCK_STREAM, 0),
    make!("pppox", libc::AF_PPPOX, SOCK_STREAM, 0),
    make!("phonet", libc::AF_PHONET, SOCK_DGRAM, 0),
    make!("ieee802154", libc::AF_IEEE802154, SOCK_DGRAM, 0),
    make!("atm", libc::AF_ATMPVC, SOCK_DGRAM, 0),
    vector("socketpair", |_, _| {
        let mut pair = [0; 2];
        // SAFETY: the array has room for two descriptors.
        Errno::result(unsafe {
            libc::socketpair(libc::AF_TIPC, SOCK_SEQPACKET, 0, pair.as_mut_ptr())
        })
        .map(drop)
    }),
];

/// Not in the libc crate (linux/socket.h).
const KCM: i32 = 41;
const QIPCRTR: i32 = 42;
const SMC: i32 = 43;
const MCTP: i32 = 45;

/// Every family but the four that programs need, with every type: none may exist.
fn any_family(_: &Target, _: &str) -> Attempted {
    let mut answer = Errno::EAFNOSUPPORT;
    for family in 0..64 {
        if [libc::AF_UNIX, AF_INET, AF_INET6, AF_NETLINK].contains(&family) {
            continue;
        }
        for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET] {
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
