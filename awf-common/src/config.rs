//! What the programs are loaded with: written into `.rodata` before the load, frozen by the kernel from then on.
//!
//! Owns: the layouts of [`Config`] and [`GuardConfig`]. Derived from one `Policy` by `awf`'s `enforce::contents`.
//! Addresses and ports are in host byte order; the programs convert at the edge.

use crate::limits::TCP_PORTS;

/// Configuration of the programs on the agent's cgroup.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Loopback address of all doors.
    pub door: u32,
    /// The agent's own address, on an interface that leads nowhere.
    pub agent: u32,
    /// The proxy's virtual address.
    pub proxy: u32,
    /// The proxy's virtual TCP port.
    pub proxy_port: u16,
    /// Port of the transparent door.
    pub transparent_door_port: u16,
    /// Port of the proxy door.
    pub proxy_door_port: u16,
    /// Port of the name door, TCP and UDP.
    pub name_door_port: u16,
    /// TCP ports that are led to the transparent door; 0 ends the list.
    pub tcp_ports: [u16; TCP_PORTS],
    /// 1 if the kernel has `bpf_set_retval` (5.18); 0 makes every refusal EPERM.
    pub chooses_errno: u32,
    /// 1 if the setsockopt hook may ask who calls (6.1); 0 leaves process and task name out of its records.
    pub options_have_caller: u32,
}

/// Configuration of the programs on the proxy's cgroup.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// TCP ports the proxy may connect to; 0 ends the list.
    pub tcp_ports: [u16; TCP_PORTS],
    /// 1 if the kernel has `bpf_set_retval`.
    pub chooses_errno: u32,
}

impl Config {
    /// Refuses everything: the value in the object file, so that a program that was never configured denies.
    pub const CLOSED: Self = Self {
        door: 0,
        agent: 0,
        proxy: 0,
        proxy_port: 0,
        transparent_door_port: 0,
        proxy_door_port: 0,
        name_door_port: 0,
        tcp_ports: [0; TCP_PORTS],
        chooses_errno: 0,
        options_have_caller: 0,
    };
}

impl GuardConfig {
    /// Refuses everything.
    pub const CLOSED: Self = Self { tcp_ports: [0; TCP_PORTS], chooses_errno: 0 };
}

const _: () = assert!(size_of::<Config>() == 3 * 4 + 4 * 2 + 2 * TCP_PORTS + 2 * 4);
const _: () = assert!(size_of::<GuardConfig>() == 2 * TCP_PORTS + 4);

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya's marker trait for values that may be copied into a map as bytes"
)]
mod pod {
    // SAFETY: `repr(C)`, `Copy`, integers only, and no padding (asserted above).
    unsafe impl aya::Pod for super::Config {}
    // SAFETY: as for `Config`.
    unsafe impl aya::Pod for super::GuardConfig {}
}
