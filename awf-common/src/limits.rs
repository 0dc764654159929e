//! Sizes that both sides of the kernel boundary must agree on.
//!
//! Owns: capacities and lengths. Must never: hold an address or a port (those are policy: `plan::addresses` in `awf`).

/// Bytes of a task's name, with its terminating zero: `TASK_COMM_LEN` in `include/linux/sched.h`.
pub const COMM_LEN: usize = 16;
/// TCP ports that can be led to the transparent door.
pub const TCP_PORTS: usize = 16;
/// Ranges of ports of the host and of peers that can be led to the service door. Each is looked at on every connection, so the
/// list is short; one that does not fit is refused before the run.
pub const OPENINGS: usize = 64;
/// Connections whose original destination is remembered at a time. The least recently used one is forgotten first;
/// a forgotten one is closed by the relay, never passed.
pub const ORIGINS: u32 = 16_384;
/// Sockets that ask for names of which is remembered whose they are and which resolver they asked: the answer seems to come from it.
pub const ASKED: u32 = 8_192;
/// Bytes of the ring buffer for refusals: a power of two and a multiple of the page size, as the kernel wants it
/// (`kernel/bpf/ringbuf.c`). At 104 bytes a record (8 of them header) it holds 80,659 refusals that user space has not read yet: a
/// scan of all ports of an address is on record even if nobody reads meanwhile.
pub const REFUSALS_BYTES: u32 = 8 * 1024 * 1024;
/// Processes whose identity is remembered at a time. The least recently used one is forgotten first; of a forgotten one, procfs
/// is asked.
pub const IDENTITIES: u32 = 2_048;
/// Processes above one that are told with it.
pub const ANCESTORS: usize = 8;
/// Parts of a path that are told, and bytes for all of them. A longer path is told from its end.
pub const PATH_PARTS: usize = 24;
/// See [`PATH_PARTS`].
pub const PATH_BYTES: usize = 512;
/// Bytes of one part of a path, with its terminating zero: `NAME_MAX` in `include/uapi/linux/limits.h`, and one.
pub const PART_BYTES: usize = 256;
/// Single addresses that the proxy guard knows, of each family.
pub const GUARD_ADDRESSES: u32 = 4_096;
