//! `cgroup/sendmsg4` and `sendmsg6`: datagrams with an address of their own.
//!
//! Kernel: `net/ipv4/udp.c` `udp_sendmsg`, `net/ipv6/udp.c` `udpv6_sendmsg`. Context: the sending task. Since 4.18.
//! An IPv4-mapped destination comes to `sendmsg4`.
#![expect(clippy::needless_pass_by_value, reason = "the entry points get their context by value")]

use awf_common::event::Hook;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

use crate::connect::{address4, address6, judge};

#[cgroup_sock_addr(sendmsg4)]
fn awf_sendmsg4(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Hook::Send, address4(&ctx))
}

#[cgroup_sock_addr(sendmsg6)]
fn awf_sendmsg6(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Hook::Send, address6(&ctx))
}
