//! `cgroup/sock_create`, `sock_release`, `bind4/6` and `setsockopt`: what sockets may exist and how they may be set up.
//!
//! Kernel: `net/ipv4/af_inet.c` `inet_create`, `inet_release`, `inet_bind_sk`; `kernel/bpf/cgroup.c`
//! `__cgroup_bpf_run_filter_setsockopt`. Context: the calling task. Since: 4.10, 5.9, 4.17, 5.3.
//! The creation hook sees only `AF_INET` and `AF_INET6`; other families end in the agent's seccomp filter.
#![expect(unsafe_code, reason = "context fields are read through the kernel's pointer")]
#![expect(clippy::needless_pass_by_value, reason = "the entry points get their context by value")]

use awf_common::decide::Reason;
use awf_common::event::Hook;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{bpf_get_current_cgroup_id, bpf_get_socket_cookie};
use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr, cgroup_sockopt};
use aya_ebpf::programs::{SockAddrContext, SockContext, SockoptContext};

use crate::maps::{ASKED, ORIGIN_OF_SOCKET};
use crate::report::{ALLOW, Attempt, REFUSE, caller, option_caller, refuse, refuse_caller};
use crate::{identity, settings};

const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;

/// Allow-list of what a socket may be. The connect and send hooks never see UDP-Lite, SCTP, DCCP, L2TP or ping sockets
/// (measured), so they must not come into being.
#[inline(always)]
pub(crate) fn is_tcp_or_udp(kind: u32, protocol: u32) -> bool {
    (kind == SOCK_STREAM && protocol == IPPROTO_TCP)
        || (kind == SOCK_DGRAM && protocol == IPPROTO_UDP)
}

#[cgroup_sock(sock_create)]
fn awf_create(ctx: SockContext) -> i32 {
    create(&ctx, false, settings::agent().chooses_errno != 0)
}

/// Shared with the guard: the proxy needs TCP and UDP only, too.
#[inline(always)]
pub(crate) fn create(ctx: &SockContext, from_proxy: bool, chooses_errno: bool) -> i32 {
    let process = caller();
    if !from_proxy {
        identity::remember(&process);
    }
    // SAFETY: the kernel passes a valid context; the verifier checks the access.
    let kind = unsafe { (*ctx.sock).type_ };
    // SAFETY: as above.
    let protocol = unsafe { (*ctx.sock).protocol };
    if is_tcp_or_udp(kind, protocol) {
        return ALLOW;
    }
    // SAFETY: as above.
    let family = unsafe { (*ctx.sock).family };
    let attempt = Attempt {
        hook: Hook::Create,
        from_proxy,
        family,
        kind,
        protocol,
        address: [0; 4],
        is_v6: false,
        port: 0,
        cookie: 0,
    };
    refuse_caller(&attempt, Reason::SocketType, &process, chooses_errno)
}

/// Forgets what the socket asked for. The return value is ignored by the kernel.
#[cgroup_sock(sock_release)]
fn awf_release(ctx: SockContext) -> i32 {
    // SAFETY: the context is a socket, as the helper wants.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // A miss is the normal case: most sockets were never redirected.
    let _missed = ORIGIN_OF_SOCKET.remove(cookie).is_err();
    let _missed = ASKED.remove(cookie).is_err();
    ALLOW
}

/// The address of the doors is not the agent's to listen on.
#[cgroup_sock_addr(bind4)]
fn awf_bind4(ctx: SockAddrContext) -> i32 {
    // SAFETY: the kernel passes a valid context; the verifier checks the access.
    let address = u32::from_be(unsafe { (*ctx.sock_addr).user_ip4 });
    bind(&ctx, address)
}

#[cgroup_sock_addr(bind6)]
fn awf_bind6(ctx: SockAddrContext) -> i32 {
    // SAFETY: as in `awf_bind4`. Only the mapped form of the door's address matters.
    let address = u32::from_be(unsafe { (*ctx.sock_addr).user_ip6[3] });
    bind(&ctx, address)
}

#[inline(always)]
fn bind(ctx: &SockAddrContext, address: u32) -> i32 {
    let config = settings::agent();
    if config.door != 0 && address != config.door {
        return ALLOW;
    }
    // SAFETY: as in `awf_bind4`.
    let family = unsafe { (*ctx.sock_addr).family };
    // SAFETY: as in `awf_bind4`.
    let kind = unsafe { (*ctx.sock_addr).type_ };
    // SAFETY: as in `awf_bind4`.
    let protocol = unsafe { (*ctx.sock_addr).protocol };
    let attempt = Attempt {
        hook: Hook::Bind,
        from_proxy: false,
        family,
        kind,
        protocol,
        address: [0, 0, 0, address],
        is_v6: false,
        port: crate::connect::port(ctx),
        cookie: 0,
    };
    refuse_caller(&attempt, Reason::Door, &caller(), config.chooses_errno != 0)
}

/// `SOL_SOCKET` on every architecture awf runs on.
const SOL_SOCKET: i32 = 1;
const SOL_IP: i32 = 0;
const SOL_IPV6: i32 = 41;

/// Options that choose the interface or the route, make the kernel send packets of its own (multicast joins), or let a
/// header differ from what the connect hook saw (measured ways out: `ebpf` table "bypass matrix").
/// Numbers: `asm-generic/socket.h`, `linux/in.h`, `linux/in6.h`.
#[inline(always)]
fn chooses_the_way(level: i32, option: i32) -> bool {
    match level {
        // SO_BINDTODEVICE, SO_MARK, SO_BINDTOIFINDEX
        SOL_SOCKET => matches!(option, 25 | 36 | 62),
        // IP_HDRINCL, IP_OPTIONS, IP_TRANSPARENT, memberships, IP_UNICAST_IF
        SOL_IP => matches!(option, 3 | 4 | 19 | 35 | 39 | 41 | 42 | 46 | 48 | 50),
        // IPV6_2292RTHDR, IPV6_2292PKTOPTIONS, joins, extension headers, IPV6_TRANSPARENT, IPV6_UNICAST_IF
        SOL_IPV6 => matches!(option, 5 | 6 | 20 | 27 | 42 | 46 | 48 | 54 | 55 | 57 | 59 | 75 | 76),
        _ => false,
    }
}

#[cgroup_sockopt(setsockopt)]
fn awf_setsockopt(ctx: SockoptContext) -> i32 {
    // SAFETY: the kernel passes a valid context; the verifier checks the access.
    let level = unsafe { (*ctx.sockopt).level };
    // SAFETY: as above.
    let option = unsafe { (*ctx.sockopt).optname };
    if !chooses_the_way(level, option) {
        // 0 lets the kernel use the caller's own buffer, whatever its size. Volatile, because LLVM merges neighbouring
        // context writes into one that the verifier refuses (measured).
        // SAFETY: as above.
        let length = unsafe { &raw mut (*ctx.sockopt).optlen };
        // SAFETY: as above; this hook may write the field.
        unsafe { length.write_volatile(0) };
        return ALLOW;
    }
    let attempt = Attempt {
        hook: Hook::SetOption,
        from_proxy: false,
        family: 0,
        kind: level.unsigned_abs(),
        protocol: 0,
        address: [0; 4],
        is_v6: false,
        port: u16::try_from(option).unwrap_or(u16::MAX),
        cookie: 0,
    };
    // EPERM, which is what this refusal is to be: `bpf_set_retval` is not available to this hook on every kernel.
    // SAFETY: takes no argument.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    refuse(&attempt, Reason::SocketOption, &option_caller(), cgroup);
    REFUSE
}
