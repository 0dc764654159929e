//! Where the probe aims. Shared with the tests, which look for exactly these addresses and payloads at the sink.

use std::net::{Ipv4Addr, Ipv6Addr};

/// One set of destinations, told from every other by its salt: the control and the confined probe aim at different ones,
/// so what arrives at the sink has one possible sender.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Tells this set from others.
    pub salt: u8,
    /// A public address; the lab answers on all of them.
    pub v4: Ipv4Addr,
    /// The same for IPv6.
    pub v6: Ipv6Addr,
}

impl Target {
    /// The destinations of a salt.
    pub fn of(salt: u8) -> Self {
        Self {
            salt,
            v4: Ipv4Addr::new(203, 0, 114, salt),
            v6: Ipv6Addr::new(0x2600, 0x1ab, 0xe5c, 0, 0, 0, 0, salt.into()),
        }
    }

    /// What a datagram of a vector carries.
    pub fn payload(&self, vector: &str) -> Vec<u8> {
        format!("awf-probe {} {vector};", self.salt).into_bytes()
    }
}
