//! Sockets that the system call filter refused: from question to record.

use super::journal::{Journal, monotonic_ns};
use super::processes;
use super::record::{Layer, Record, SCHEMA, Verdict};
use crate::runtime::native::watch::Blocked;

/// Puts a refused socket on record.
pub fn record(journal: &Journal, blocked: Blocked) {
    if !journal.covers(monotonic_ns()) {
        return;
    }
    journal.write(Record {
        schema: SCHEMA,
        time: journal.clock().of_now(),
        run: journal.run(),
        verdict: Verdict::Deny,
        layer: Layer::Seccomp,
        rule: "socket-type".to_owned(),
        reason: "only TCP, UDP, Unix and routing sockets may be made".to_owned(),
        process: processes::describe_stopped(blocked.pid),
        protocol: name(blocked),
        address: None,
        port: None,
        name: None,
        name_source: None,
        client_port: None,
        bytes_out: None,
        bytes_in: None,
        duration_ms: None,
        proxy_status: None,
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
