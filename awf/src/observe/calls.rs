//! Calls that the system call filter refused: from question to record.

use super::journal::Journal;
use super::record::{Layer, Record};
use crate::runtime::native::watch::Blocked;

/// Puts a refused call on record.
pub fn record(journal: &Journal, blocked: &Blocked) {
    if !journal.covers_now() {
        return;
    }
    let (rule, protocol) = match blocked.call.name() {
        "socket" | "socketpair" => ("socket-type", socket(blocked.arguments)),
        call => ("system-call", call.to_owned()),
    };
    journal.write(Record {
        rule: rule.to_owned(),
        reason: blocked.rule.reason.to_owned(),
        process: journal.processes().describe_stopped(blocked.pid),
        protocol,
        ..Record::denied(journal.clock().of_now(), journal.run(), Layer::Seccomp)
    });
}

/// The socket that the arguments of socket(2) and socketpair(2) ask for.
fn socket([family, kind, protocol, ..]: [u64; 6]) -> String {
    // The kernel reads three ints, and flags beside the type.
    let int = |argument: u64| i32::try_from(argument & 0xffff_ffff).unwrap_or(-1);
    name(int(family), int(kind) & 0xf, int(protocol))
}

/// Family, type and protocol, by name where readers know one (`linux/socket.h`).
pub(super) fn name(family: i32, kind: i32, protocol: i32) -> String {
    let family = match family {
        libc::AF_UNIX => "unix",
        libc::AF_INET => "inet",
        libc::AF_INET6 => "inet6",
        libc::AF_NETLINK => "netlink",
        libc::AF_PACKET => "packet",
        libc::AF_VSOCK => "vsock",
        libc::AF_ALG => "alg",
        libc::AF_RDS => "rds",
        libc::AF_XDP => "xdp",
        libc::AF_TIPC => "tipc",
        libc::AF_BLUETOOTH => "bluetooth",
        libc::AF_CAN => "can",
        other => return format!("family-{other}/{kind}/{protocol}"),
    };
    match kind {
        libc::SOCK_RAW => format!("{family}/raw/{protocol}"),
        kind => format!("{family}/{kind}/{protocol}"),
    }
}
