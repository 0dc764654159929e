//! Step 6 of 9: Squid answers. Takes a rendered configuration and a cgroup with the guard on it, gives a running Squid.
//!
//! Owns: Squid's process, one per run, restarted when it dies. Must never: run it with a capability, outside its cgroup, or
//! before the guard is attached.

pub mod config;
pub mod carrier;
pub mod child;
pub mod hold;
pub mod ports;
mod squid;

pub use carrier::{Carrier, Demand, Life};
pub use ports::Ports;
pub use squid::{Spec, Squid};

/// What connections may expect of Squid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not ready yet.
    Starting,
    /// A denied CONNECT was answered with 403: listeners, key and rules work.
    Ready {
        /// Squid's process.
        pid: u32,
    },
    /// It died too often, or never came up.
    Failed,
}
