//! `cgroup/connect4` and `connect6`: where a connection goes.
//!
//! Kernel: `net/ipv4/tcp_ipv4.c` `tcp_v4_pre_connect`, `net/ipv6/tcp_ipv6.c`, `udp.c` likewise. Context: the calling
//! task. Since 4.17. Returns 1 to go on with the (rewritten) address, 0 to refuse.
#![expect(unsafe_code, reason = "context fields are read and written through the kernel's pointer")]
#![expect(clippy::needless_borrows_for_generic_args, reason = "the stack has no room for a copy")]
#![expect(clippy::needless_pass_by_value, reason = "the entry points get their context by value")]

use awf_common::config::Config;
use awf_common::decide::{Destination, Door, Reason, Transport, Verdict, decide};
use awf_common::event::{Counter, Hook, Origin};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::{bpf_get_current_cgroup_id, bpf_get_socket_cookie, bpf_ktime_get_ns};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

use crate::maps::{ASKED, ORIGIN_OF_SOCKET};
use crate::report::{ALLOW, Attempt, caller, count, refuse_caller};
use crate::settings;

#[cgroup_sock_addr(connect4)]
fn awf_connect4(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Hook::Connect, address4(&ctx))
}

#[cgroup_sock_addr(connect6)]
fn awf_connect6(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Hook::Connect, address6(&ctx))
}

/// The destination as the caller gave it.
#[derive(Clone, Copy)]
pub(crate) struct Asking {
    pub(crate) destination: Destination,
    /// Host-order words, IPv4 in the last one.
    pub(crate) words: [u32; 4],
    /// Whether the context is that of an IPv6 hook: the verifier lets a hook write its own family's fields only, so this
    /// must be a constant at each entry point.
    pub(crate) by_v6_hook: bool,
}

/// The destination of an IPv4 hook.
#[inline(always)]
pub(crate) fn address4(ctx: &SockAddrContext) -> Asking {
    // SAFETY: the kernel passes a valid context; the verifier checks the access.
    let address = u32::from_be(unsafe { (*ctx.sock_addr).user_ip4 });
    Asking { destination: Destination::V4(address), words: [0, 0, 0, address], by_v6_hook: false }
}

/// The destination of an IPv6 hook. IPv4-mapped addresses (`::ffff:0:0/96`, RFC 4291 2.5.5.2) are IPv4: Java connects so.
#[inline(always)]
pub(crate) fn address6(ctx: &SockAddrContext) -> Asking {
    let words = words6(ctx);
    let destination = match words {
        [0, 0, 0xffff, address] => Destination::V4(address),
        [0, 0, 0, 0 | 1] => Destination::V6Local,
        _ => Destination::V6,
    };
    Asking { destination, words, by_v6_hook: true }
}

/// The IPv6 address of the context as host-order words.
#[inline(always)]
pub(crate) fn words6(ctx: &SockAddrContext) -> [u32; 4] {
    // SAFETY: the kernel passes a valid context; the verifier checks the access.
    let first = unsafe { (*ctx.sock_addr).user_ip6[0] };
    // SAFETY: as above.
    let second = unsafe { (*ctx.sock_addr).user_ip6[1] };
    // SAFETY: as above.
    let third = unsafe { (*ctx.sock_addr).user_ip6[2] };
    // SAFETY: as above.
    let fourth = unsafe { (*ctx.sock_addr).user_ip6[3] };
    [u32::from_be(first), u32::from_be(second), u32::from_be(third), u32::from_be(fourth)]
}

/// The port of the context. `user_port` holds it in network byte order in its low half.
#[inline(always)]
pub(crate) fn port(ctx: &SockAddrContext) -> u16 {
    // SAFETY: the kernel passes a valid context; the verifier checks the access.
    let raw = unsafe { (*ctx.sock_addr).user_port };
    #[expect(clippy::cast_possible_truncation, reason = "the kernel fills the low half only")]
    u16::from_be(raw as u16)
}

/// The transport of the context; `None` for anything else, which the creation hook should have refused. The hook is a
/// constant at each entry point: where it is the send hook, the compiler drops all that concerns TCP.
#[inline(always)]
pub(crate) fn transport(ctx: &SockAddrContext, hook: Hook) -> Option<Transport> {
    // SAFETY: the kernel passes a valid context; the verifier checks the access.
    match (unsafe { (*ctx.sock_addr).protocol }, hook) {
        (17, _) => Some(Transport::Udp),
        (6, Hook::Connect) => Some(Transport::Tcp),
        _ => None,
    }
}

/// Applies the rule to a connect or an addressed send.
#[inline(always)]
pub(crate) fn judge(ctx: &SockAddrContext, hook: Hook, asking: Asking) -> i32 {
    let config = settings::agent();
    let port = port(ctx);
    // Told in its place: there is no room on the stack for the process twice.
    let mut origin = Origin {
        // SAFETY: takes no argument.
        ktime_ns: unsafe { bpf_ktime_get_ns() },
        // SAFETY: as above.
        cgroup: unsafe { bpf_get_current_cgroup_id() },
        // SAFETY: the context is what the helper wants.
        cookie: unsafe { bpf_get_socket_cookie(ctx.as_ptr()) },
        process: caller(),
        address: 0,
        port,
        door: 0,
        padding: 0,
    };
    let verdict = match transport(ctx, hook) {
        Some(transport) => {
            decide(&config, &settings::Services, transport, asking.destination, port)
        }
        None => Verdict::Refuse(Reason::SocketType),
    };
    let reason = match verdict {
        Verdict::Pass => {
            count(Counter::Pass);
            return ALLOW;
        }
        Verdict::Lead(door) => match lead(ctx, &config, (door, asking), &mut origin) {
            Ok(()) => return ALLOW,
            Err(reason) => reason,
        },
        Verdict::Refuse(reason) => reason,
    };
    let attempt = attempt(ctx, hook, asking, port, false);
    refuse_caller(&attempt, reason, &origin.process, config.chooses_errno != 0)
}

/// What the record of a refusal needs of a context.
#[inline(always)]
pub(crate) fn attempt(
    ctx: &SockAddrContext,
    hook: Hook,
    asking: Asking,
    port: u16,
    from_proxy: bool,
) -> Attempt {
    let context: *mut bpf_sock_addr = ctx.sock_addr;
    Attempt {
        hook,
        from_proxy,
        // SAFETY: the kernel passes a valid context; the verifier checks the access.
        family: unsafe { (*context).family },
        // SAFETY: as above.
        kind: unsafe { (*context).type_ },
        // SAFETY: as above.
        protocol: unsafe { (*context).protocol },
        address: asking.words,
        is_v6: matches!(asking.destination, Destination::V6 | Destination::V6Local),
        port,
        // SAFETY: the context is what the helper wants.
        cookie: unsafe { bpf_get_socket_cookie(ctx.as_ptr()) },
    }
}

/// Rewrites the destination to a door and remembers what was asked.
#[inline(always)]
fn lead(
    ctx: &SockAddrContext,
    config: &Config,
    (door, asking): (Door, Asking),
    origin: &mut Origin,
) -> Result<(), Reason> {
    let Destination::V4(address) = asking.destination else {
        return Err(Reason::Internal);
    };
    let (counter, door_port) = match door {
        Door::Name => (Counter::LeadName, config.name_door_port),
        Door::Transparent => (Counter::LeadTransparent, config.transparent_door_port),
        Door::Proxy => (Counter::LeadProxy, config.proxy_door_port),
        Door::Service => (Counter::LeadService, config.service_door_port),
    };
    count(counter);
    origin.address = address;
    origin.door = door as u8;
    let memory = if matches!(door, Door::Name) { &ASKED } else { &ORIGIN_OF_SOCKET };
    let remembered = memory.insert(origin.cookie, &*origin, 0);
    // A connection whose destination could not be remembered would reach the door without a name: refuse it here, at once.
    remembered.map_err(|_full| Reason::Internal)?;
    rewrite(ctx, config.door, door_port, asking.by_v6_hook);
    Ok(())
}

/// Writes a new address into the context. Volatile: LLVM merges neighbouring context writes, which the verifier refuses.
#[inline(always)]
pub(crate) fn rewrite(ctx: &SockAddrContext, address: u32, port: u16, by_v6_hook: bool) {
    let field = if by_v6_hook {
        // SAFETY: the kernel passes a valid context; the verifier checks the access.
        unsafe { &raw mut (*ctx.sock_addr).user_ip6[3] }
    } else {
        // SAFETY: as above.
        unsafe { &raw mut (*ctx.sock_addr).user_ip4 }
    };
    // SAFETY: as above; the hooks that call this may write their family's address.
    unsafe { field.write_volatile(address.to_be()) };
    // SAFETY: as above.
    let field = unsafe { &raw mut (*ctx.sock_addr).user_port };
    // SAFETY: as above; they may write the port, too.
    unsafe { field.write_volatile(u32::from(port.to_be())) };
}
