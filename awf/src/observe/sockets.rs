//! Sockets that the system call filter refused: from question to record.

use super::journal::{Journal, monotonic_ns};
use super::processes;
use super::record::{Layer, Record};
use crate::runtime::native::watch::Blocked;

/// Puts a refused socket on record.
pub fn record(journal: &Journal, blocked: Blocked) {
    if !journal.covers(monotonic_ns()) {
        return;
    }
    journal.write(Record {
        rule: "socket-type".to_owned(),
        reason: "only TCP, UDP, Unix and routing sockets may be made".to_owned(),
        process: processes::describe_stopped(blocked.pid),
        protocol: name(blocked),
        ..Record::denied(journal.clock().of_now(), journal.run(), Layer::Seccomp)
    });
}

/// Family, type and protocol, by name where readers know one (`linux/socket.h`).
fn name(blocked: Blocked) -> String {
    let Blocked { family, kind, protocol, .. } = blocked;
    let family = match family {
        libc::AF_INET => "inet",
        libc::AF_INET6 => "inet6",
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
