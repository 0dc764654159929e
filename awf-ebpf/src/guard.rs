//! The guard on the proxy's cgroup: an allowed name cannot be pointed inward.
//!
//! Same hooks as the agent's, other rule ([`awf_common::guard`]). Squid answers 503 for a refused address and tries the
//! name's next one; the access log shows errno 1 and the address.
#![expect(unsafe_code, reason = "map entries are read through the kernel's pointer")]
#![expect(clippy::needless_pass_by_value, reason = "the entry points get their context by value")]

use awf_common::decide::{Destination, Reason, Verdict};
use awf_common::event::Hook;
use awf_common::guard::{Listed, decide, is_inward4, is_inward6};
use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr};
use aya_ebpf::programs::{SockAddrContext, SockContext};

use crate::connect::{Asking, address4, address6, attempt, port, transport};
use crate::maps::{GUARD_LISTED4, GUARD_LISTED6};
use crate::report::{ALLOW, caller, refuse_caller};
use crate::settings;
use crate::socket::create;

#[cgroup_sock(sock_create)]
fn awf_guard_create(ctx: SockContext) -> i32 {
    create(&ctx, true, settings::proxy().chooses_errno != 0)
}

#[cgroup_sock_addr(connect4)]
fn awf_guard_connect4(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Hook::Connect, address4(&ctx))
}

#[cgroup_sock_addr(connect6)]
fn awf_guard_connect6(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Hook::Connect, address6(&ctx))
}

#[cgroup_sock_addr(sendmsg4)]
fn awf_guard_sendmsg4(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Hook::Send, address4(&ctx))
}

#[cgroup_sock_addr(sendmsg6)]
fn awf_guard_sendmsg6(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Hook::Send, address6(&ctx))
}

#[inline(always)]
fn judge(ctx: &SockAddrContext, hook: Hook, asking: Asking) -> i32 {
    let config = settings::proxy();
    let port = port(ctx);
    let verdict = match transport(ctx, hook) {
        None => Verdict::Refuse(Reason::SocketType),
        Some(transport) => {
            let (inward, listed) = known(asking);
            decide(&config, transport, inward, port, listed)
        }
    };
    match verdict {
        Verdict::Pass => ALLOW,
        // The rule never leads the proxy anywhere; treat it as the broken state it would be.
        Verdict::Lead(_) => refuse_caller(
            &attempt(ctx, hook, asking, port, true),
            Reason::Internal,
            &caller(),
            false,
        ),
        Verdict::Refuse(reason) => {
            let chooses_errno = config.chooses_errno != 0;
            refuse_caller(&attempt(ctx, hook, asking, port, true), reason, &caller(), chooses_errno)
        }
    }
}

/// Whether the address is inward, and what the lists say of it.
#[inline(always)]
fn known(asking: Asking) -> (bool, Listed) {
    let (inward, bits) = match asking.destination {
        // SAFETY: the entry is copied at once, and the map is frozen.
        Destination::V4(address) => (is_inward4(address), unsafe { GUARD_LISTED4.get(address) }),
        Destination::V6 | Destination::V6Local => {
            // SAFETY: as above.
            (is_inward6(asking.words), unsafe { GUARD_LISTED6.get(asking.words) })
        }
    };
    (inward, Listed(bits.copied().unwrap_or(0)))
}
