//! The rule: what becomes of one attempt of the agent.
//!
//! Takes the configuration, what is opened beside the web ports, and a destination, gives a [`Verdict`]. The kernel programs call exactly this function.
//! Must never: pass anything that leaves the agent's loopback interface.

use crate::config::{Config, Opening};
use crate::errno;
use crate::limits::OPENINGS;

/// Transport of an attempt. Everything else is refused when the socket is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// A datagram, connected or not.
    Udp,
}

/// Where an attempt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An IPv4 address, host byte order. IPv4-mapped IPv6 addresses count as this.
    V4(u32),
    /// `::1` or `::`, which connect to this host.
    V6Local,
    /// Any other IPv6 address.
    V6,
}

/// A listening socket of the loader inside the agent's network namespace.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// For clients that know of no proxy.
    Transparent = 1,
    /// For clients that speak to the proxy's virtual address.
    Proxy = 2,
    /// For resolvers.
    Name = 3,
    /// For opened ports of the host and of peers.
    Service = 4,
}

/// Why an attempt was refused, in the record and in the counters.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not TCP or UDP over IPv4 or IPv6.
    SocketType = 1,
    /// IPv6 that leaves the host.
    Ipv6 = 2,
    /// UDP to anything but a resolver or the agent itself.
    Udp = 3,
    /// A TCP port that the policy does not open.
    Port = 4,
    /// A door named directly, which only a redirect may reach.
    Door = 5,
    /// A socket option that chooses the route or the interface.
    SocketOption = 6,
    /// A packet that reached the backstop although the socket hooks should have stopped it.
    Packet = 7,
    /// The programs met a state they do not know.
    Internal = 8,
    /// An address that the proxy must not reach, whatever name led to it.
    InwardAddress = 9,
    /// A socket that was made outside the sandbox: used, received, or spoken to.
    ForeignSocket = 10,
    /// A user namespace of the agent's own, in which it would have capabilities.
    UserNamespace = 11,
    /// bpf(2).
    Bpf = 12,
}

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Stays inside the agent's namespace.
    Pass,
    /// Led to a door of the loader.
    Lead(Door),
    /// Refused.
    Refuse(Reason),
}

impl Reason {
    /// The errno the caller sees where the kernel lets us choose it. `ENETUNREACH` makes happy-eyeballs clients try
    /// IPv4 at once; `ECONNREFUSED` makes QUIC clients fall back to TCP at once (both measured).
    #[inline(always)]
    pub const fn errno(self) -> u8 {
        match self {
            Self::SocketType => errno::EPROTONOSUPPORT,
            Self::Ipv6 => errno::ENETUNREACH,
            Self::Udp | Self::Port => errno::ECONNREFUSED,
            // For the guard it is the errno that Squid names in its answer, and nothing else on Squid's way gives it.
            Self::InwardAddress
            | Self::Door
            | Self::SocketOption
            | Self::Packet
            | Self::Internal
            | Self::ForeignSocket
            | Self::UserNamespace
            | Self::Bpf => errno::EPERM,
        }
    }

    /// The reason with this number in an event.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::SocketType,
            2 => Self::Ipv6,
            3 => Self::Udp,
            4 => Self::Port,
            5 => Self::Door,
            6 => Self::SocketOption,
            7 => Self::Packet,
            8 => Self::Internal,
            9 => Self::InwardAddress,
            10 => Self::ForeignSocket,
            11 => Self::UserNamespace,
            12 => Self::Bpf,
            _ => return None,
        })
    }

    /// Its name in the record.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SocketType => "socket-type",
            Self::Ipv6 => "ipv6",
            Self::Udp => "udp",
            Self::Port => "port",
            Self::Door => "door",
            Self::SocketOption => "socket-option",
            Self::Packet => "packet",
            Self::Internal => "internal",
            Self::InwardAddress => "inward-address",
            Self::ForeignSocket => "foreign-socket",
            Self::UserNamespace => "user-namespace",
            Self::Bpf => "bpf",
        }
    }
}

/// Where the opened ranges lie: in user space an array, in a program read-only memory that no slice may stand for, because
/// the compiler believes to know what is in it.
pub trait Opened {
    /// The range at this index, which is below [`OPENINGS`].
    fn at(&self, index: usize) -> Opening;
}

impl Opened for crate::config::Openings {
    #[inline(always)]
    fn at(&self, index: usize) -> Opening {
        self.get(index).copied().unwrap_or(Opening::END)
    }
}

/// DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// Judges a connect or an addressed send of the agent.
#[inline(always)]
pub fn decide(
    config: &Config,
    opened: &impl Opened,
    transport: Transport,
    destination: Destination,
    port: u16,
) -> Verdict {
    let address = match destination {
        Destination::V4(address) => address,
        Destination::V6Local => return Verdict::Pass,
        Destination::V6 => return Verdict::Refuse(Reason::Ipv6),
    };
    // A configuration that was never written is all zero; its door would be 0.0.0.0.
    if config.door == 0 {
        return Verdict::Refuse(Reason::Internal);
    }
    if address == config.door && port != DNS_PORT {
        return Verdict::Refuse(Reason::Door);
    }
    if port == DNS_PORT {
        return Verdict::Lead(Door::Name);
    }
    if is_own(config, address) {
        return Verdict::Pass;
    }
    match transport {
        Transport::Udp => Verdict::Refuse(Reason::Udp),
        Transport::Tcp if address == config.proxy => {
            if port == config.proxy_port {
                Verdict::Lead(Door::Proxy)
            } else {
                Verdict::Refuse(Reason::Port)
            }
        }
        // Before the web ports, so that 443 of an opened address is the service and not a web server by name.
        Transport::Tcp if is_opened(opened, address, port) => Verdict::Lead(Door::Service),
        Transport::Tcp if opens(&config.tcp_ports, port) => Verdict::Lead(Door::Transparent),
        Transport::Tcp => Verdict::Refuse(Reason::Port),
    }
}

/// Judges a packet that an agent's socket is about to send, by its real header: the authority behind the socket hooks.
/// The caller has checked that it leaves by loopback, is TCP or UDP and carries no IP options.
#[inline(always)]
pub fn packet_stays_inside(config: &Config, destination: u32, port: u16) -> bool {
    if config.door == 0 {
        return false;
    }
    if destination == config.door {
        return port == config.transparent_door_port
            || port == config.proxy_door_port
            || port == config.name_door_port
            || port == config.service_door_port;
    }
    is_own(config, destination)
}

/// Whether an address is the agent's own: 127.0.0.0/8, its virtual address, or 0.0.0.0, which connects to this host.
#[inline(always)]
fn is_own(config: &Config, address: u32) -> bool {
    address >> 24 == 127 || address == config.agent || address == 0
}

/// Whether a range holds this port of this address. The bound is a constant and the memory frozen, so the verifier walks the
/// loop once, as far as the list goes.
#[inline(always)]
fn is_opened(opened: &impl Opened, address: u32, port: u16) -> bool {
    for index in 0..OPENINGS {
        let range = opened.at(index);
        if range.address == 0 {
            return false;
        }
        if range.address == address && range.low <= port && port <= range.high {
            return port != 0;
        }
    }
    false
}

/// Whether a zero-ended list of ports holds this one.
#[inline(always)]
pub(crate) fn opens(ports: &[u16], port: u16) -> bool {
    port != 0 && ports.contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn config() -> Config {
        let mut config = Config {
            door: u32::from(Ipv4Addr::new(127, 65, 87, 70)),
            agent: u32::from(Ipv4Addr::new(172, 30, 0, 20)),
            proxy: u32::from(Ipv4Addr::new(172, 30, 0, 10)),
            proxy_port: 3128,
            transparent_door_port: 1,
            proxy_door_port: 2,
            name_door_port: 53,
            service_door_port: 3,
            ..Config::CLOSED
        };
        config.tcp_ports[0] = 80;
        config.tcp_ports[1] = 443;
        config
    }

    /// The host at 172.30.0.1 with single ports and a range, a peer at 172.30.0.100.
    fn openings() -> crate::config::Openings {
        let mut list = Opening::NONE;
        let ranges = [(1, 80, 80), (1, 443, 443), (1, 3000, 3010), (100, 8080, 8080)];
        for (slot, (last, low, high)) in list.iter_mut().zip(ranges) {
            *slot = Opening { address: u32::from(Ipv4Addr::new(172, 30, 0, last)), low, high };
        }
        list
    }

    fn check(transport: Transport, address: &str, port: u16, expected: Verdict) {
        let destination = Destination::V4(u32::from(address.parse::<Ipv4Addr>().unwrap()));
        let verdict = decide(&config(), &openings(), transport, destination, port);
        assert_eq!(verdict, expected, "{address}:{port}");
    }

    use Transport::{Tcp, Udp};
    use Verdict::{Lead, Pass, Refuse};

    #[test]
    fn web_ports_of_any_address_are_led_to_the_transparent_door() {
        check(Tcp, "93.184.216.34", 443, Lead(Door::Transparent));
        check(Tcp, "198.18.0.7", 80, Lead(Door::Transparent));
        check(Tcp, "169.254.169.254", 80, Lead(Door::Transparent));
    }

    #[test]
    fn other_ports_are_refused() {
        for port in [0, 1, 2, 22, 25, 79, 81, 442, 444, 3128, 5432, 8080, 8443, 65535] {
            check(Tcp, "93.184.216.34", port, Refuse(Reason::Port));
        }
    }

    #[test]
    fn only_the_proxy_port_of_the_proxy_address_leads_to_the_proxy_door() {
        check(Tcp, "172.30.0.10", 3128, Lead(Door::Proxy));
        check(Tcp, "172.30.0.10", 443, Refuse(Reason::Port));
        check(Udp, "172.30.0.10", 3128, Refuse(Reason::Udp));
    }

    #[test]
    fn opened_ports_of_an_address_are_led_to_the_service_door_and_no_others() {
        for port in [80, 443, 3000, 3007, 3010] {
            check(Tcp, "172.30.0.1", port, Lead(Door::Service));
            check(Udp, "172.30.0.1", port, Refuse(Reason::Udp));
        }
        for port in [0, 22, 81, 2999, 3011, 8080, 65535] {
            check(Tcp, "172.30.0.1", port, Refuse(Reason::Port));
        }
        check(Tcp, "172.30.0.100", 8080, Lead(Door::Service));
        check(Tcp, "172.30.0.100", 3000, Refuse(Reason::Port));
        check(Tcp, "172.30.0.100", 443, Lead(Door::Transparent));
        check(Tcp, "172.30.0.2", 3000, Refuse(Reason::Port));
        check(Tcp, "93.184.216.34", 3000, Refuse(Reason::Port));
        check(Tcp, "172.30.0.1", 53, Lead(Door::Name));
    }

    #[test]
    fn the_last_range_of_a_full_list_counts_and_port_0_never_does() {
        let address = u32::from(Ipv4Addr::new(172, 30, 0, 1));
        let mut full = [Opening { address, low: 0, high: 0 }; OPENINGS];
        full[OPENINGS - 1] = Opening { address, low: 9000, high: 9000 };
        let verdict = |port| decide(&config(), &full, Tcp, Destination::V4(address), port);
        assert_eq!((verdict(9000), verdict(0)), (Lead(Door::Service), Refuse(Reason::Port)));
        full[0] = Opening::END;
        let verdict = decide(&config(), &full, Tcp, Destination::V4(address), 9000);
        assert_eq!(verdict, Refuse(Reason::Port), "an end is an end");
    }

    #[test]
    fn every_resolver_is_led_to_the_name_door() {
        for address in
            ["8.8.8.8", "127.0.0.11", "127.0.0.53", "127.65.87.70", "172.30.0.20", "0.0.0.0"]
        {
            check(Udp, address, 53, Lead(Door::Name));
            check(Tcp, address, 53, Lead(Door::Name));
        }
    }

    #[test]
    fn datagrams_go_nowhere_else() {
        for port in [0, 123, 443, 5353] {
            check(Udp, "93.184.216.34", port, Refuse(Reason::Udp));
            check(Udp, "224.0.0.251", port, Refuse(Reason::Udp));
            check(Udp, "255.255.255.255", port, Refuse(Reason::Udp));
        }
    }

    #[test]
    fn the_agent_reaches_itself() {
        for address in ["127.0.0.1", "127.255.255.254", "172.30.0.20", "0.0.0.0"] {
            check(Tcp, address, 8080, Pass);
            check(Udp, address, 8080, Pass);
        }
    }

    #[test]
    fn a_door_cannot_be_named_directly() {
        for port in [0, 1, 2, 3, 80, 443, 3128] {
            check(Tcp, "127.65.87.70", port, Refuse(Reason::Door));
        }
    }

    #[test]
    fn ipv6_leaves_only_to_the_host_itself() {
        let check = |transport, destination, port, expected| {
            assert_eq!(decide(&config(), &openings(), transport, destination, port), expected);
        };
        check(Tcp, Destination::V6, 443, Refuse(Reason::Ipv6));
        check(Udp, Destination::V6, 53, Refuse(Reason::Ipv6));
        check(Tcp, Destination::V6Local, 443, Pass);
    }

    #[test]
    fn an_unwritten_configuration_refuses_every_ipv4_destination() {
        for address in [0, 1, u32::from(Ipv4Addr::LOCALHOST), u32::MAX] {
            for port in [0, 53, 80, 443] {
                let destination = Destination::V4(address);
                let verdict = decide(&Config::CLOSED, &openings(), Tcp, destination, port);
                assert_eq!(verdict, Refuse(Reason::Internal));
                assert!(!packet_stays_inside(&Config::CLOSED, address, port));
            }
        }
    }

    #[test]
    fn whatever_is_passed_or_led_is_also_let_through_by_the_backstop() {
        let config = config();
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let address = u32::try_from(state >> 32).unwrap();
            let port = u16::try_from((state >> 16) & 0xffff).unwrap();
            let verdict = decide(&config, &openings(), Tcp, Destination::V4(address), port);
            let passes = verdict == Pass;
            if passes && address != 0 {
                assert!(packet_stays_inside(&config, address, port));
            }
            if packet_stays_inside(&config, address, port) {
                assert!(address >> 24 == 127 || address == config.agent || address == 0);
            }
        }
        for port in [1, 2, 3, 53] {
            assert!(packet_stays_inside(&config, config.door, port));
        }
        assert!(!packet_stays_inside(&config, config.door, 80));
    }
}
