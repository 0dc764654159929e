//! `sock_ops`: ties the client's end of a redirected connection to what it asked for, before the SYN leaves.
//!
//! Kernel: `net/ipv4/tcp_output.c` `tcp_connect` calls `BPF_SOCK_OPS_TCP_CONNECT_CB` when the local port is chosen and
//! nothing was sent yet, so the relay's accept can never be first. Since 4.13. The return value is not a verdict.
#![expect(unsafe_code, reason = "kernel helpers")]
#![expect(clippy::needless_pass_by_value, reason = "the entry point gets its context by value")]

use awf_common::config::Config;
use awf_common::decide::Door;
use awf_common::event::ClientEnd;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_get_socket_cookie;
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;

use crate::maps::{ORIGIN_OF_CLIENT, ORIGIN_OF_SOCKET};
use crate::settings;

/// `BPF_SOCK_OPS_TCP_CONNECT_CB` in `include/uapi/linux/bpf.h`.
const TCP_CONNECT: u32 = 3;

#[sock_ops]
fn awf_origin(ctx: SockOpsContext) -> u32 {
    if ctx.op() != TCP_CONNECT {
        return 1;
    }
    // SAFETY: the context is what the helper wants.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // SAFETY: the entry is copied at once; only this socket's own connect writes it.
    if let Some(origin) = unsafe { ORIGIN_OF_SOCKET.get(cookie) } {
        // It may be of an earlier connect that failed: this connection leads elsewhere, and its local port may be another's.
        let agent = settings::agent();
        let (address, port) = (u32::from_be(ctx.remote_ip4()), u32::from_be(ctx.remote_port()));
        if address != agent.door || port != u32::from(door_port(&agent, origin.door)) {
            return 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a port has 16 bits")]
        let client = ClientEnd {
            address: u32::from_be(ctx.local_ip4()),
            port: ctx.local_port() as u16,
            door: u16::from(origin.door),
        };
        // A failed insert leaves the relay without the entry, and it closes such a connection.
        let _failed = ORIGIN_OF_CLIENT.insert(client, *origin, 0).is_err();
    }
    1
}

/// The port of a door that streams are led to, by the door's number; zero for any other.
#[inline(always)]
fn door_port(agent: &Config, door: u8) -> u16 {
    if door == Door::Transparent as u8 {
        agent.transparent_door_port
    } else if door == Door::Proxy as u8 {
        agent.proxy_door_port
    } else if door == Door::Service as u8 {
        agent.service_door_port
    } else {
        0
    }
}
