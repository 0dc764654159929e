//! `cgroup_skb/egress` and `ingress`: the backstop that judges real packets.
//!
//! Kernel: `net/ipv4/ip_output.c` `ip_finish_output`, `net/core/filter.c` `sk_filter_trim_cap`. Context: any. Since 4.10.
//! Decides on interface, header, address and port together: an address alone is not enough, because a packet to
//! 127.0.0.1 can be made to leave by a real interface (measured).
#![expect(unsafe_code, reason = "context fields are read through the kernel's pointer")]
#![expect(clippy::needless_pass_by_value, reason = "the entry points get their context by value")]

use awf_common::decide::{Reason, packet_stays_inside};
use awf_common::event::{AskerEnd, Hook, Process};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_get_socket_cookie;
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;

use crate::maps::{ASKED, ASKED_BY};
use crate::report::{ALLOW, Attempt, REFUSE, refuse};
use crate::settings;

/// `ETH_P_IP` and `ETH_P_IPV6` (`linux/if_ether.h`) as the context holds them, in network byte order.
const IPV4: u32 = 0x0800_u16.to_be() as u32;
const IPV6: u32 = 0x86dd_u16.to_be() as u32;
/// Loopback is the first interface of every network namespace (`net/core/dev.c`, `dev_index_reserve`; fixed since 3.x).
const LOOPBACK: u32 = 1;
/// IP protocol of datagrams.
const UDP: u8 = 17;
/// Flags of a TCP header (RFC 9293, 3.1).
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

#[cgroup_skb(egress)]
fn awf_egress(ctx: SkBuffContext) -> i32 {
    let seen = look(&ctx);
    if seen.by_loopback && stays_inside(&seen) && has_asker(&ctx, &seen) {
        return ALLOW;
    }
    drop_packet(&seen, Hook::Egress)
}

/// Lets the name door know whose a packet to it is. Only here every such packet has the port it comes from, however it was sent.
/// A question of nobody's must not pass: the door would take it for the last one's who had that port.
#[inline(always)]
fn has_asker(ctx: &SkBuffContext, seen: &Seen) -> bool {
    let agent = settings::agent();
    if seen.port != agent.name_door_port || seen.destination[3] != agent.door {
        return true;
    }
    let (Ok(address), Ok(port)) = (ctx.load(12), ctx.load(20)) else { return false };
    let end = AskerEnd {
        address: u32::from_be(address),
        port: u16::from_be(port),
        protocol: u16::from(seen.protocol),
    };
    // SAFETY: the context is what the helper wants.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // SAFETY: the entry is copied at once; only this socket's own questions write it.
    if let Some(origin) = unsafe { ASKED.get(cookie) } {
        return ASKED_BY.insert(end, origin, 0).is_ok();
    }
    if seen.protocol == UDP {
        return false;
    }
    // The last packets of a stream follow the release of its socket, with which it is forgotten; what it said is said. One that
    // begins unknown is nobody's.
    if ctx.load::<u8>(33).is_ok_and(|flags| flags & (SYN | ACK) == SYN) {
        let _unknown = ASKED_BY.remove(end).is_err();
    }
    true
}

#[cgroup_skb(ingress)]
fn awf_ingress(ctx: SkBuffContext) -> i32 {
    let seen = look(&ctx);
    if seen.by_loopback {
        return ALLOW;
    }
    drop_packet(&seen, Hook::Ingress)
}

/// What the backstop knows of a packet.
struct Seen {
    by_loopback: bool,
    /// Plain header: IPv4 without options, or IPv6 whose next header is the transport.
    plain: bool,
    is_v6: bool,
    protocol: u8,
    destination: [u32; 4],
    port: u16,
}

#[inline(always)]
fn look(ctx: &SkBuffContext) -> Seen {
    // SAFETY: the kernel passes a valid context; the verifier checks the access.
    let interface = unsafe { (*ctx.skb.skb).ifindex };
    let mut seen = Seen {
        by_loopback: interface == LOOPBACK,
        plain: false,
        is_v6: false,
        protocol: 0,
        destination: [0; 4],
        port: 0,
    };
    // The transport header follows the fixed part; both ports are its first two halves.
    match ctx.skb.protocol() {
        IPV4 => {
            seen.plain = ctx.load::<u8>(0) == Ok(0x45);
            seen.protocol = ctx.load(9).unwrap_or(0);
            seen.destination[3] = u32::from_be(ctx.load(16).unwrap_or(0));
            seen.port = u16::from_be(ctx.load(22).unwrap_or(0));
        }
        IPV6 => {
            seen.is_v6 = true;
            seen.plain = true;
            seen.protocol = ctx.load(6).unwrap_or(0);
            seen.destination[0] = u32::from_be(ctx.load(24).unwrap_or(0));
            seen.destination[1] = u32::from_be(ctx.load(28).unwrap_or(0));
            seen.destination[2] = u32::from_be(ctx.load(32).unwrap_or(0));
            seen.destination[3] = u32::from_be(ctx.load(36).unwrap_or(0));
            seen.port = u16::from_be(ctx.load(42).unwrap_or(0));
        }
        _ => {}
    }
    seen
}

#[inline(always)]
fn stays_inside(seen: &Seen) -> bool {
    if !seen.plain || !matches!(seen.protocol, 6 | 17) {
        return false;
    }
    if seen.is_v6 {
        return seen.destination == [0, 0, 0, 1];
    }
    packet_stays_inside(&settings::agent(), seen.destination[3], seen.port)
}

#[inline(always)]
fn drop_packet(seen: &Seen, hook: Hook) -> i32 {
    let attempt = Attempt {
        hook,
        from_proxy: false,
        family: if seen.is_v6 { 10 } else { 2 },
        kind: 0,
        protocol: u32::from(seen.protocol),
        address: seen.destination,
        is_v6: seen.is_v6,
        port: seen.port,
        cookie: 0,
    };
    // A packet may be sent from an interrupt: the current task means nothing here.
    refuse(&attempt, Reason::Packet, &Process::NOBODY, 0);
    REFUSE
}
