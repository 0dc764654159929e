//! `cgroup/recvmsg4/6` and `getpeername4/6`: the client sees the address it asked for, not the door.
//!
//! Kernel: `udp_recvmsg`, `inet_getname`. Since 5.2 and 5.8. Purely cosmetic: these hooks cannot refuse and change no
//! verdict; dig and c-ares check that the answer comes from the server they asked.
#![expect(unsafe_code, reason = "context fields are read and written through the kernel's pointer")]
#![expect(clippy::needless_pass_by_value, reason = "the entry points get their context by value")]

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_get_socket_cookie;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

use crate::connect::{address4, address6, rewrite};
use crate::maps::{ASKED, ORIGIN_OF_SOCKET};
use crate::report::ALLOW;
use crate::settings;
use awf_common::decide::Destination;

#[cgroup_sock_addr(recvmsg4)]
fn awf_recvmsg4(ctx: SockAddrContext) -> i32 {
    restore(&ctx, address4(&ctx).destination, false)
}

#[cgroup_sock_addr(recvmsg6)]
fn awf_recvmsg6(ctx: SockAddrContext) -> i32 {
    restore(&ctx, address6(&ctx).destination, true)
}

#[cgroup_sock_addr(getpeername4)]
fn awf_getpeername4(ctx: SockAddrContext) -> i32 {
    restore(&ctx, address4(&ctx).destination, false)
}

#[cgroup_sock_addr(getpeername6)]
fn awf_getpeername6(ctx: SockAddrContext) -> i32 {
    restore(&ctx, address6(&ctx).destination, true)
}

/// If the other end is a door, writes the address the socket had asked for.
#[inline(always)]
fn restore(ctx: &SockAddrContext, peer: Destination, by_v6_hook: bool) -> i32 {
    if peer != Destination::V4(settings::agent().door) {
        return ALLOW;
    }
    // SAFETY: the context is what the helper wants.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    for memory in [&ORIGIN_OF_SOCKET, &ASKED] {
        // SAFETY: the entry is copied out at once; a concurrent overwrite could only change what the client is told.
        if let Some(origin) = unsafe { memory.get(cookie) } {
            rewrite(ctx, origin.address, origin.port, by_v6_hook);
            break;
        }
    }
    ALLOW
}
