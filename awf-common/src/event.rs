//! What the programs write: the record of a refusal, the origin of a redirected connection, the counters.
//!
//! Owns: layouts (`repr(C)`, explicit zeroed padding, sizes asserted). Addresses and ports are in host byte order.

use crate::limits::{ANCESTORS, COMM_LEN, PART_BYTES, PATH_BYTES};

/// The hook that refused.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `cgroup/sock_create`.
    Create = 1,
    /// `cgroup/connect4` and `connect6`.
    Connect = 2,
    /// `cgroup/sendmsg4` and `sendmsg6`.
    Send = 3,
    /// `cgroup/bind4` and `bind6`.
    Bind = 4,
    /// `cgroup/setsockopt`.
    SetOption = 5,
    /// `cgroup_skb/egress`.
    Egress = 6,
    /// `cgroup_skb/ingress`.
    Ingress = 7,
    /// `lsm_cgroup/socket_create`.
    LsmCreate = 8,
    /// `lsm_cgroup/socket_connect`.
    LsmConnect = 9,
    /// `lsm_cgroup/socket_sendmsg`.
    LsmSend = 10,
    /// `lsm_cgroup/file_receive`.
    LsmReceive = 11,
    /// `lsm_cgroup/unix_stream_connect` and `unix_may_send`.
    LsmUnix = 12,
    /// `lsm_cgroup/userns_create`.
    LsmUserNamespace = 13,
    /// `lsm_cgroup/bpf`.
    LsmBpf = 14,
}

impl Hook {
    /// The hook with this number in an event.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Create,
            2 => Self::Connect,
            3 => Self::Send,
            4 => Self::Bind,
            5 => Self::SetOption,
            6 => Self::Egress,
            7 => Self::Ingress,
            8 => Self::LsmCreate,
            9 => Self::LsmConnect,
            10 => Self::LsmSend,
            11 => Self::LsmReceive,
            12 => Self::LsmUnix,
            13 => Self::LsmUserNamespace,
            14 => Self::LsmBpf,
            _ => return None,
        })
    }

    /// Whether it is a hook of the security module layer.
    pub const fn is_lsm(self) -> bool {
        self as u8 >= Self::LsmCreate as u8
    }

    /// Whether a refusal by it names a destination.
    pub const fn has_destination(self) -> bool {
        matches!(self, Self::Connect | Self::Send | Self::Bind | Self::Egress | Self::Ingress)
    }
}

/// Who an attempt came from.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Real user id in the initial user namespace.
    pub uid: u32,
    /// Task name, zero-terminated.
    pub comm: [u8; COMM_LEN],
    /// When the process was started: `task_struct.start_boottime` of its first thread, nanoseconds since boot. With the process
    /// id it names one process for as long as the machine is up; 0 if the kernel did not tell.
    pub birth_ns: u64,
    /// How many programs it has executed: `task_struct.self_exec_id`.
    pub executions: u32,
    /// Zero.
    pub padding: u32,
}

impl Process {
    /// Stands for a process that is not known.
    pub const NOBODY: Self =
        Self { pid: 0, uid: 0, comm: [0; COMM_LEN], birth_ns: 0, executions: 0, padding: 0 };

    /// The key of its [`Identity`].
    pub const fn key(&self) -> IdentityKey {
        IdentityKey { birth_ns: self.birth_ns, pid: self.pid, executions: self.executions }
    }
}

/// One process while it executes one program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdentityKey {
    /// [`Process::birth_ns`].
    pub birth_ns: u64,
    /// [`Process::pid`].
    pub pid: u32,
    /// [`Process::executions`].
    pub executions: u32,
}

/// A process above another.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Above {
    /// Process id in the initial pid namespace; 0 ends the list.
    pub pid: u32,
    /// Task name, zero-terminated.
    pub comm: [u8; COMM_LEN],
}

/// Who a process is, told by the kernel while the process makes its attempt: true even if nothing is left of it a moment later.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its parent first.
    pub above: [Above; ANCESTORS],
    /// Bytes used of `path`.
    pub used: u32,
    /// 1 if there are parts before those in `path`, 2 as long as nothing of this is written yet.
    pub cut: u32,
    /// Parts of the executable's path, the last one first, each with its terminating zero.
    pub path: [u8; PATH_BYTES + PART_BYTES],
}

impl Identity {
    /// Says nothing.
    pub const UNKNOWN: Self = Self {
        above: [Above { pid: 0, comm: [0; COMM_LEN] }; ANCESTORS],
        used: 0,
        cut: 2,
        path: [0; PATH_BYTES + PART_BYTES],
    };
}

/// One refused attempt.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub ktime_ns: u64,
    /// cgroup2 id of the calling task.
    pub cgroup: u64,
    /// The socket's cookie (`bpf_get_socket_cookie`), unique as long as the machine is up; 0 where the hook cannot tell.
    pub cookie: u64,
    /// The caller; zero for packets, which have none.
    pub process: Process,
    /// Address family of the socket (`AF_INET` 2, `AF_INET6` 10).
    pub family: u16,
    /// Destination port; for [`Hook::SetOption`] the option's number.
    pub port: u16,
    /// Socket type (`SOCK_STREAM` 1, ..); for [`Hook::SetOption`] the option's level.
    pub kind: u16,
    /// IP protocol.
    pub protocol: u16,
    /// Destination, as four host-order words; IPv4 in the last one.
    pub address: [u32; 4],
    /// [`Hook`].
    pub hook: u8,
    /// [`crate::decide::Reason`].
    pub reason: u8,
    /// 1 if the address is an IPv6 one.
    pub is_v6: u8,
    /// 1 if the proxy was refused, 0 if the agent was.
    pub from_proxy: u8,
    /// Zero.
    pub padding: u32,
}

/// The destination that a redirected connection, or a socket that asks for a name, asked for, and who asked.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `CLOCK_MONOTONIC` nanoseconds of the connect, or of the send.
    pub ktime_ns: u64,
    /// cgroup2 id of the calling task.
    pub cgroup: u64,
    /// The socket's cookie.
    pub cookie: u64,
    /// The caller.
    pub process: Process,
    /// Original IPv4 destination.
    pub address: u32,
    /// Original port.
    pub port: u16,
    /// [`crate::decide::Door`] it was led to.
    pub door: u8,
    /// Zero.
    pub padding: u8,
}

/// The client's end of a redirected connection and the door it leads to: the key under which the relay finds its [`Origin`].
/// The kernel gives one local port to several connections whose destinations differ, and doors are destinations.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientEnd {
    /// Local IPv4 address of the client.
    pub address: u32,
    /// Local port of the client.
    pub port: u16,
    /// The door, by number.
    pub door: u16,
}

/// The end of a socket that asks the name door: the key under which the door finds its [`Origin`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskerEnd {
    /// Local IPv4 address.
    pub address: u32,
    /// Local port.
    pub port: u16,
    /// IP protocol: TCP 6, UDP 17.
    pub protocol: u16,
}

/// Slots of the exact per-CPU counters. Lost records are counted too, so that a loss is always visible.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Attempts that stayed inside.
    Pass = 0,
    /// Attempts led to the transparent door.
    LeadTransparent = 1,
    /// Attempts led to the proxy door.
    LeadProxy = 2,
    /// Attempts led to the name door.
    LeadName = 3,
    /// Attempts refused by a socket hook.
    Refuse = 4,
    /// Packets dropped by the backstop.
    DropPacket = 5,
    /// Refusals of the proxy by its guard.
    GuardRefuse = 6,
    /// Refusals whose record found the ring buffer full.
    RecordLost = 7,
    /// Attempts led to the service door.
    LeadService = 8,
}

/// Number of [`Counter`] slots.
pub const COUNTERS: u32 = 9;

const _: () = assert!(size_of::<Process>() == 40);
const _: () = assert!(size_of::<IdentityKey>() == 16);
const _: () = assert!(size_of::<Identity>() == 20 * ANCESTORS + 8 + PATH_BYTES + PART_BYTES);
const _: () = assert!(size_of::<Refusal>() == 96);
const _: () = assert!(size_of::<Origin>() == 72);
const _: () = assert!(size_of::<ClientEnd>() == 8);
const _: () = assert!(size_of::<AskerEnd>() == 8);

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya's marker trait for values that may be copied out of a map as bytes"
)]
mod pod {
    // SAFETY: `repr(C)`, `Copy`, integers only; every bit pattern is a value.
    unsafe impl aya::Pod for super::Origin {}
    // SAFETY: as for `Origin`.
    unsafe impl aya::Pod for super::ClientEnd {}
    // SAFETY: as for `Origin`.
    unsafe impl aya::Pod for super::AskerEnd {}
    // SAFETY: as for `Origin`.
    unsafe impl aya::Pod for super::IdentityKey {}
    // SAFETY: as for `Origin`.
    unsafe impl aya::Pod for super::Identity {}
}

#[cfg(feature = "user")]
impl Refusal {
    /// Reads a record out of the bytes of the ring buffer; `None` if the length is not that of a record.
    #[expect(unsafe_code, reason = "a record is plain integers")]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: the length was checked, the read is unaligned, and every bit pattern is a `Refusal`.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}
