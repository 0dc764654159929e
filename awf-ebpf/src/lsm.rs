//! `lsm_cgroup`: what the cgroup's socket hooks cannot see. Loaded where the kernel runs it (profile `full`).
//!
//! Kernel: `security/security.c`, `net/socket.c`, `net/unix/af_unix.c`, `fs/file.c` `receive_fd`. Since 6.0 (`userns_create` 6.1),
//! with `bpf` among the active security modules. Context: the calling task, which every kernel so far also looks at where
//! it means to look at the socket (`kernel/bpf/bpf_lsm.c` `bpf_lsm_find_cgroup_shim` compares a pointer's type with a
//! structure's). Only the connect and send hooks lean on that; a test pins it.
//!
//! A socket is foreign if it was made in another cgroup: all other programs follow a socket's birthplace, so it would carry
//! the agent past them. The kernel's objects are read at offsets that its own type information tells ([`settings::layout`]);
//! the verifier checks their types, and a read that faults gives zero, which is nobody's cgroup.
#![expect(unsafe_code, reason = "kernel objects are read through the kernel's pointers")]
#![expect(clippy::needless_pass_by_value, reason = "the entry points get their context by value")]

use core::ffi::c_void;

use awf_common::config::Layout;
use awf_common::decide::Reason;
use awf_common::event::Hook;
use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_current_uid_gid, bpf_sock_from_file,
};
use aya_ebpf::macros::lsm_cgroup;
use aya_ebpf::programs::LsmContext;

use crate::report::{ALLOW, Attempt, caller, refuse_caller};
use crate::settings;

/// An object of the kernel.
type Object = *const c_void;

/// `linux/socket.h`
const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
/// `linux/netlink.h`
const NETLINK_ROUTE: u32 = 0;

/// Families that nothing else of awf's judges never come into being, and their modules are not loaded for the agent.
#[lsm_cgroup(hook = "socket_create")]
fn awf_lsm_create(ctx: LsmContext) -> i32 {
    let (family, kind, protocol) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    match (family, protocol) {
        (AF_UNIX | AF_INET | AF_INET6, _) | (AF_NETLINK, NETLINK_ROUTE) => ALLOW,
        _ => refuse(Hook::LsmCreate, Reason::SocketType, [family, kind, protocol]),
    }
}

#[lsm_cgroup(hook = "socket_connect")]
fn awf_lsm_connect(ctx: LsmContext) -> i32 {
    inherited(ctx.arg(0), Hook::LsmConnect)
}

#[lsm_cgroup(hook = "socket_sendmsg")]
fn awf_lsm_sendmsg(ctx: LsmContext) -> i32 {
    inherited(ctx.arg(0), Hook::LsmSend)
}

/// A Unix socket that was inherited is a stream the caller gave (standard output, as a rule); where it may lead is judged
/// by the two hooks below.
#[inline(always)]
fn inherited(socket: Object, hook: Hook) -> i32 {
    let layout = settings::layout();
    let sock = sock_of(socket, &layout);
    if is_own(sock, &layout) || kind_of(sock, &layout)[0] == AF_UNIX {
        return ALLOW;
    }
    refuse(hook, Reason::ForeignSocket, kind_of(sock, &layout))
}

/// Descriptors that come in by `SCM_RIGHTS` or `pidfd_getfd(2)`: no socket from outside, of whatever family.
#[lsm_cgroup(hook = "file_receive")]
fn awf_lsm_receive(ctx: LsmContext) -> i32 {
    // SAFETY: takes a file, as the hook's argument is one.
    let socket: Object = unsafe { bpf_sock_from_file(ctx.arg(0)) }.cast();
    if socket.is_null() {
        return ALLOW;
    }
    let layout = settings::layout();
    let sock = sock_of(socket, &layout);
    if is_own(sock, &layout) {
        return ALLOW;
    }
    refuse(Hook::LsmReceive, Reason::ForeignSocket, kind_of(sock, &layout))
}

/// A service of the host behind a path or an abstract name.
#[lsm_cgroup(hook = "unix_stream_connect")]
fn awf_lsm_unix_connect(ctx: LsmContext) -> i32 {
    let (layout, listener) = (settings::layout(), ctx.arg(1));
    if is_own(listener, &layout) {
        return ALLOW;
    }
    refuse(Hook::LsmUnix, Reason::ForeignSocket, kind_of(listener, &layout))
}

/// The same for datagrams, except from an inherited socket: awf takes none as a standard stream.
#[lsm_cgroup(hook = "unix_may_send")]
fn awf_lsm_unix_send(ctx: LsmContext) -> i32 {
    let layout = settings::layout();
    let receiver = sock_of(ctx.arg(1), &layout);
    if is_own(receiver, &layout) || !is_own(sock_of(ctx.arg(0), &layout), &layout) {
        return ALLOW;
    }
    refuse(Hook::LsmUnix, Reason::ForeignSocket, kind_of(receiver, &layout))
}

/// awf's own first process makes one while it still is root, for translated owners; the agent never is root.
#[lsm_cgroup(hook = "userns_create")]
fn awf_lsm_userns(_ctx: LsmContext) -> i32 {
    // SAFETY: takes no argument. The low half is the user id in the initial user namespace.
    if unsafe { bpf_get_current_uid_gid() } << 32 == 0 {
        return ALLOW;
    }
    refuse(Hook::LsmUserNamespace, Reason::UserNamespace, [0; 3])
}

#[lsm_cgroup(hook = "bpf")]
fn awf_lsm_bpf(_ctx: LsmContext) -> i32 {
    refuse(Hook::LsmBpf, Reason::Bpf, [0; 3])
}

/// `socket.sk`; null for a socket that is being closed.
#[inline(always)]
fn sock_of(socket: Object, layout: &Layout) -> Object {
    field(socket, layout.socket_sock)
}

/// Family, type and protocol.
#[inline(always)]
fn kind_of(sock: Object, layout: &Layout) -> [u32; 3] {
    if sock.is_null() {
        return [0; 3];
    }
    let number = |offset| u32::from(field::<u16>(sock, offset));
    [number(layout.sock_family), number(layout.sock_type), number(layout.sock_protocol)]
}

/// Whether the socket was made in the calling task's cgroup. The agent cannot make cgroups, so it has one only.
#[inline(always)]
fn is_own(sock: Object, layout: &Layout) -> bool {
    if sock.is_null() {
        return false;
    }
    let cgroup: Object = field(sock, layout.sock_cgroup);
    let node: Object = field(cgroup, layout.cgroup_node);
    // SAFETY: takes no argument.
    field::<u64>(node, layout.node_id) == unsafe { bpf_get_current_cgroup_id() }
}

/// A field of a kernel object.
#[inline(always)]
fn field<T: Copy>(object: Object, offset: u32) -> T {
    // SAFETY: the verifier knows the object's type and checks that a `T` lies there; the kernel handles a fault.
    let place = unsafe { object.byte_add(offset as usize) };
    // SAFETY: as above.
    unsafe { place.cast::<T>().read_volatile() }
}

#[inline(always)]
fn refuse(hook: Hook, reason: Reason, [family, kind, protocol]: [u32; 3]) -> i32 {
    let attempt = Attempt {
        hook,
        from_proxy: false,
        family,
        kind,
        protocol,
        address: [0; 4],
        is_v6: false,
        port: 0,
        cookie: 0,
    };
    refuse_caller(&attempt, reason, &caller(), settings::agent().chooses_errno != 0)
}
