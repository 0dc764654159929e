//! Squid's loopback ports, chosen per run.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::IntoRawFd as _;

/// The three listeners of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// CONNECT only.
    pub tunnel: u16,
    /// Proxy-form requests, no CONNECT.
    pub forward: u16,
    /// Origin-form requests to port 80.
    pub accel: u16,
}

/// No ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no three neighbouring free loopback ports between {LOWEST} and {end} for Squid: end what listens there, or raise \
     net.ipv4.ip_local_port_range"
)]
pub struct NoPort {
    /// First port that was not tried.
    pub end: u16,
}

/// Lowest port tried: below lie ports that services are configured to use.
const LOWEST: u16 = 20_000;
/// Sets of three tried before giving up.
const TRIES: u16 = 64;

impl Ports {
    /// Finds three neighbouring free ports below the ephemeral range. In that range a connect to a port nobody listens on
    /// yet can pick the same port as its source and connect to itself, and Squid could not bind it any more (measured).
    pub fn choose(seed: u16) -> Result<Self, NoPort> {
        let end = ephemeral_start().max(LOWEST + 3 * TRIES);
        let sets = (end - LOWEST) / 3;
        for step in 0..TRIES {
            let set = seed.wrapping_add(step.wrapping_mul(37)) % sets;
            let first = LOWEST + 3 * set;
            let ports = Self { tunnel: first, forward: first + 1, accel: first + 2 };
            // Two runs that begin at once would both find them free. A datagram socket of the same number, which Squid has no use
            // for, is held until this process ends.
            let Ok(held) = UdpSocket::bind((Ipv4Addr::LOCALHOST, first)) else { continue };
            if ports.are_free() {
                let _until_the_end = held.into_raw_fd();
                return Ok(ports);
            }
        }
        Err(NoPort { end })
    }

    fn are_free(self) -> bool {
        [self.tunnel, self.forward, self.accel]
            .into_iter()
            .all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
    }
}

/// First port of `ip_local_port_range` (`Documentation/networking/ip-sysctl.rst`; default 32768).
fn ephemeral_start() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_begin_at_once_have_ports_of_their_own() {
        let [one, other] = [7, 7].map(|seed| Ports::choose(seed).unwrap());
        assert_ne!(one, other);
    }
}
