//! The addresses inside the sandbox, each written once.
//!
//! Owns every fixed address and port that the agent can see or that leads to a door of awf. They
//! exist only in the agent's own network namespace, so any number of runs can use the same ones.
//! Takes and gives plain data. Must never name an address of the machine. Ports are in host order.

use std::net::Ipv4Addr;

/// Where proxy-aware clients find the proxy: the original's address, so that workflows which wrote
/// it down keep working. Virtual: connections to it are led to [`PROXY_DOOR_PORT`].
pub const PROXY: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 10);

/// Port of [`PROXY`], Squid's customary one and the original's.
pub const PROXY_PORT: u16 = 3128;

/// The agent's own address, the original's. On an interface that leads nowhere, because resolvers
/// with `AI_ADDRCONFIG` (RFC 3493) believe a host with loopback alone to be offline.
pub const AGENT: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 20);

/// Where the API proxy is: the original's address, which programs inside must not proxy.
pub const API_PROXY: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 30);

/// Ports of [`API_PROXY`], one for each provider: the original's.
pub const API_PROXY_PORTS: (u16, u16) = (10_000, 10_004);

/// Where this machine is, as far as it is opened: the original's gateway. Virtual, like the peers: connections to what is
/// opened are led to [`SERVICE_DOOR_PORT`].
pub const HOST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);

/// Names of [`HOST`], as Docker gives them.
pub const HOST_NAMES: [&str; 2] = ["host.docker.internal", "gateway.docker.internal"];

/// Whatever may stand for [`HOST`] in a request.
pub const HOST_CALLED: [&str; 3] = [HOST_NAMES[0], HOST_NAMES[1], "172.30.0.1"];

/// The first peer; the others follow, up to the end of the network.
pub const FIRST_PEER: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 100);

/// How many peers there can be: 172.30.0.255 is a broadcast address, which some clients refuse to connect to.
pub const MAX_PEERS: usize = 155;

/// First address of the range from which the name door answers. RFC 2544 sets it aside for
/// benchmarks, so no real destination hides behind it.
pub const SYNTHETIC: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);

/// Length in bits of the prefix of [`SYNTHETIC`]: 131,072 addresses, enough to use none twice.
pub const SYNTHETIC_PREFIX: u8 = 15;

/// The address of all doors: loopback, so that nothing but the agent reaches them, and away from
/// 127.0.0.1 and 127.0.0.53, where the agent's own servers and resolvers want to listen. The
/// numbers behind 127 are "AWF" in ASCII.
pub const DOOR: Ipv4Addr = Ipv4Addr::new(127, 65, 87, 70);

/// Door for clients that know of no proxy. Below 1024, like the others, so that the agent cannot
/// take its place without a capability that it does not have.
pub const TRANSPARENT_DOOR_PORT: u16 = 1;

/// Door for clients that speak to a proxy.
pub const PROXY_DOOR_PORT: u16 = 2;

/// Door for opened ports of the host and of peers.
pub const SERVICE_DOOR_PORT: u16 = 3;

/// Door for name queries, UDP and TCP: the port that resolvers expect (RFC 1035).
pub const NAME_DOOR_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_loopback_privileged_and_distinct() {
        let ports = [TRANSPARENT_DOOR_PORT, PROXY_DOOR_PORT, SERVICE_DOOR_PORT, NAME_DOOR_PORT];
        assert!(DOOR.is_loopback() && ports.is_sorted_by(|low, high| low < high));
        assert!(ports.iter().all(|port| *port < 1024));
    }

    #[test]
    fn the_host_is_called_by_its_address_too() {
        assert_eq!(HOST_CALLED[2], HOST.to_string());
    }

    #[test]
    fn peers_end_before_the_broadcast_address() {
        let last = FIRST_PEER.to_bits() + u32::try_from(MAX_PEERS).unwrap() - 1;
        assert_eq!(Ipv4Addr::from(last), Ipv4Addr::new(172, 30, 0, 254));
    }

    #[test]
    fn the_synthetic_range_is_aligned_and_holds_none_of_the_others() {
        let network = |address: Ipv4Addr| address.to_bits() >> (32 - SYNTHETIC_PREFIX);
        assert_eq!(network(SYNTHETIC) << (32 - SYNTHETIC_PREFIX), SYNTHETIC.to_bits());
        for other in [PROXY, AGENT, API_PROXY, HOST, FIRST_PEER, DOOR] {
            assert_ne!(network(other), network(SYNTHETIC));
        }
    }
}
