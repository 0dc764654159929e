//! What the programs are loaded with: written into `.rodata` before the load, frozen by the kernel from then on.
//!
//! Owns: the layouts of [`Config`], [`Opening`], [`GuardConfig`], [`Layout`] and [`TaskLayout`]. All but the last two are derived
//! from one `Policy` and its services by `awf`'s `enforce::contents`.
//! Addresses and ports are in host byte order; the programs convert at the edge.

use crate::limits::{OPENINGS, TCP_PORTS};

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
    /// Port of the service door.
    pub service_door_port: u16,
    /// Zero.
    pub padding: u16,
    /// TCP ports that are led to the transparent door; 0 ends the list.
    pub tcp_ports: [u16; TCP_PORTS],
    /// 1 if the kernel has `bpf_set_retval` (5.18); 0 makes every refusal EPERM.
    pub chooses_errno: u32,
    /// 1 if the setsockopt hook may ask who calls (6.1); 0 leaves process and task name out of its records.
    pub options_have_caller: u32,
}

/// A range of TCP ports of one virtual address that is led to the service door.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The virtual address; 0 ends the list.
    pub address: u32,
    /// Lowest port of the range.
    pub low: u16,
    /// Highest port of the range.
    pub high: u16,
}

/// The opened ranges, apart from [`Config`]: the programs copy that one to their stack, of which there are 512 bytes.
pub type Openings = [Opening; OPENINGS];

/// Configuration of the programs on the proxy's cgroup.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// TCP ports the proxy may connect to; 0 ends the list.
    pub tcp_ports: [u16; TCP_PORTS],
    /// Port of the upstream proxy, at addresses that are listed as its own; 0 if there is none.
    pub parent_port: u16,
    /// Zero.
    pub padding: u16,
    /// 1 if the kernel has `bpf_set_retval`.
    pub chooses_errno: u32,
}

/// Where this kernel keeps what the LSM programs read: offsets in bytes, told by its own type information.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// `socket.sk`.
    pub socket_sock: u32,
    /// `sock.__sk_common.skc_family`.
    pub sock_family: u32,
    /// `sock.sk_type`.
    pub sock_type: u32,
    /// `sock.sk_protocol`.
    pub sock_protocol: u32,
    /// `sock.sk_cgrp_data.cgroup`.
    pub sock_cgroup: u32,
    /// `cgroup.kn`.
    pub cgroup_node: u32,
    /// `kernfs_node.id`.
    pub node_id: u32,
}

/// Where this kernel keeps what tells who a process is: offsets in bytes, told by its own type information.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskLayout {
    /// 1 if the others are known and may be used.
    pub known: u32,
    /// `task_struct.group_leader`.
    pub leader: u32,
    /// `task_struct.real_parent`.
    pub parent: u32,
    /// `task_struct.tgid`.
    pub tgid: u32,
    /// `task_struct.comm`.
    pub comm: u32,
    /// `task_struct.start_boottime`.
    pub birth: u32,
    /// `task_struct.self_exec_id`.
    pub executions: u32,
    /// `task_struct.mm`.
    pub mm: u32,
    /// `mm_struct.exe_file`.
    pub exe_file: u32,
    /// `file.f_path.mnt`.
    pub file_mount: u32,
    /// `file.f_path.dentry`.
    pub file_dentry: u32,
    /// `dentry.d_parent`.
    pub dentry_parent: u32,
    /// `dentry.d_name.name`.
    pub dentry_name: u32,
    /// `mount.mnt.mnt_root`.
    pub mount_root: u32,
    /// `mount.mnt`.
    pub mount_inner: u32,
    /// `mount.mnt_parent`.
    pub mount_parent: u32,
    /// `mount.mnt_mountpoint`.
    pub mount_point: u32,
}

impl TaskLayout {
    /// The value in the object file: nothing is read.
    pub const UNKNOWN: Self = Self {
        known: 0,
        leader: 0,
        parent: 0,
        tgid: 0,
        comm: 0,
        birth: 0,
        executions: 0,
        mm: 0,
        exe_file: 0,
        file_mount: 0,
        file_dentry: 0,
        dentry_parent: 0,
        dentry_name: 0,
        mount_root: 0,
        mount_inner: 0,
        mount_parent: 0,
        mount_point: 0,
    };
}

impl Layout {
    /// The value in the object file: with it, no program that reads a kernel object passes the verifier.
    pub const UNKNOWN: Self = Self {
        socket_sock: 0,
        sock_family: 0,
        sock_type: 0,
        sock_protocol: 0,
        sock_cgroup: 0,
        cgroup_node: 0,
        node_id: 0,
    };
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
        service_door_port: 0,
        padding: 0,
        tcp_ports: [0; TCP_PORTS],
        chooses_errno: 0,
        options_have_caller: 0,
    };
}

impl Opening {
    /// Ends the list.
    pub const END: Self = Self { address: 0, low: 0, high: 0 };
    /// The list that opens nothing.
    pub const NONE: Openings = [Self::END; OPENINGS];
}

impl GuardConfig {
    /// Refuses everything.
    pub const CLOSED: Self =
        Self { tcp_ports: [0; TCP_PORTS], parent_port: 0, padding: 0, chooses_errno: 0 };
}

const _: () = assert!(size_of::<Config>() == 3 * 4 + 6 * 2 + 2 * TCP_PORTS + 2 * 4);
const _: () = assert!(size_of::<Opening>() == 8);
const _: () = assert!(size_of::<GuardConfig>() == 2 * TCP_PORTS + 2 * 2 + 4);
const _: () = assert!(size_of::<Layout>() == 7 * 4);
const _: () = assert!(size_of::<TaskLayout>() == 17 * 4);

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya's marker trait for values that may be copied into a map as bytes"
)]
mod pod {
    // SAFETY: `repr(C)`, `Copy`, integers only, and no padding (asserted above).
    unsafe impl aya::Pod for super::Config {}
    // SAFETY: as for `Config`.
    unsafe impl aya::Pod for super::Opening {}
    // SAFETY: as for `Config`.
    unsafe impl aya::Pod for super::GuardConfig {}
    // SAFETY: as for `Config`.
    unsafe impl aya::Pod for super::Layout {}
    // SAFETY: as for `Config`.
    unsafe impl aya::Pod for super::TaskLayout {}
}
