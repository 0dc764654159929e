//! The maps: one set per run, so that equal addresses of two runs never meet.

use awf_common::event::{AskerEnd, COUNTERS, ClientEnd, Identity, IdentityKey, Origin};
use awf_common::limits::{
    ASKED as ASKED_SOCKETS, GUARD_ADDRESSES, IDENTITIES, ORIGINS, REFUSALS_BYTES,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, LruHashMap, PerCpuArray, RingBuf};

/// `BPF_F_RDONLY_PROG` in `include/uapi/linux/bpf.h`: programs may only read; user space freezes its side after the fill.
const READ_ONLY: u32 = 1 << 7;

/// Socket cookie of a redirected connection to what it asked for, until the socket is released.
#[map]
pub(crate) static ORIGIN_OF_SOCKET: LruHashMap<u64, Origin> =
    LruHashMap::with_max_entries(ORIGINS, 0);

/// The client's end of a redirected connection to what it asked for, until the relay has fetched it.
#[map]
pub(crate) static ORIGIN_OF_CLIENT: LruHashMap<ClientEnd, Origin> =
    LruHashMap::with_max_entries(ORIGINS, 0);

/// Socket cookie to the resolver that was asked, until the socket is released. Apart from the connections: a flood of questions
/// must not push out what those asked for.
#[map]
pub(crate) static ASKED: LruHashMap<u64, Origin> = LruHashMap::with_max_entries(ASKED_SOCKETS, 0);

/// The end of a socket that asks for names to what it asked and whose it is, as of its last packet.
#[map]
pub(crate) static ASKED_BY: LruHashMap<AskerEnd, Origin> =
    LruHashMap::with_max_entries(ASKED_SOCKETS, 0);

/// Who the processes are that made attempts.
#[map]
pub(crate) static IDENTITY_OF: LruHashMap<IdentityKey, Identity> =
    LruHashMap::with_max_entries(IDENTITIES, 0);

/// Refusals. Allowed traffic never comes here, so that no flood of it can hide them.
#[map]
pub(crate) static REFUSALS: RingBuf = RingBuf::with_byte_size(REFUSALS_BYTES, 0);

/// [`awf_common::event::Counter`] slots.
#[map]
pub(crate) static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// What is known of an IPv4 address, for the guard: [`awf_common::guard::Listed`] bits.
#[map]
pub(crate) static GUARD_LISTED4: HashMap<u32, u8> =
    HashMap::with_max_entries(GUARD_ADDRESSES, READ_ONLY);

/// The same for IPv6 addresses, as four host-order words.
#[map]
pub(crate) static GUARD_LISTED6: HashMap<[u32; 4], u8> =
    HashMap::with_max_entries(GUARD_ADDRESSES, READ_ONLY);
