//! The rule for the proxy: which addresses it may connect to after it resolved an allowed name.
//!
//! An allowed name can be pointed anywhere by whoever owns it, so the proxy must not be able to reach the inside:
//! private, link-local, loopback and metadata addresses. Judged at connect, so there is no gap between check and use.

use crate::config::GuardConfig;
use crate::decide::{Reason, Transport, Verdict, opens};

/// IPv4 blocks that are not the Internet (IANA special-purpose registry, RFC 6890 and later): base, prefix length.
/// The documentation blocks are left out: nothing lives there.
const INWARD4: [(u32, u32); 11] = [
    (0x0000_0000, 8),  // this network
    (0x0a00_0000, 8),  // private
    (0x6440_0000, 10), // carrier-grade NAT
    (0x7f00_0000, 8),  // loopback
    (0xa9fe_0000, 16), // link-local, cloud metadata
    (0xac10_0000, 12), // private
    (0xc000_0000, 24), // IETF protocol assignments
    (0xc0a8_0000, 16), // private
    (0xc612_0000, 15), // benchmarking; awf's synthetic addresses
    (0xe000_0000, 4),  // multicast
    (0xf000_0000, 4),  // reserved, broadcast
];

/// Azure's host agent: a metadata service on a public address (168.63.129.16).
const AZURE_WIRE_SERVER: u32 = 0xa83f_8110;

/// What the lists made by user space say of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed(pub u8);

impl Listed {
    /// Nothing.
    pub const NOT: Self = Self(0);
    /// Named as an IP address in the operator's allow list.
    pub const ALLOWED: Self = Self(1);
    /// An address of this machine, public ones included: behind it are the host's own services.
    pub const OWN: Self = Self(2);
    /// A DNS server the proxy asks.
    pub const RESOLVER: Self = Self(4);
    /// An address of the upstream proxy, wherever it is: the operator named it.
    pub const PARENT: Self = Self(8);

    /// Whether all of `other` is said.
    #[inline(always)]
    pub const fn says(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Judges a connect or an addressed send of the proxy. `inward` is [`is_inward4`] or [`is_inward6`] of the address.
#[inline(always)]
pub fn decide(
    config: &GuardConfig,
    transport: Transport,
    inward: bool,
    port: u16,
    listed: Listed,
) -> Verdict {
    if port == 53 && listed.says(Listed::RESOLVER) {
        return Verdict::Pass;
    }
    if matches!(transport, Transport::Udp) {
        return Verdict::Refuse(Reason::Udp);
    }
    if port != 0 && port == config.parent_port && listed.says(Listed::PARENT) {
        return Verdict::Pass;
    }
    if !opens(&config.tcp_ports, port) {
        return Verdict::Refuse(Reason::Port);
    }
    if listed.says(Listed::ALLOWED) {
        return Verdict::Pass;
    }
    if inward || listed.says(Listed::OWN) {
        return Verdict::Refuse(Reason::InwardAddress);
    }
    Verdict::Pass
}

/// Whether an IPv4 address is not the Internet.
#[inline(always)]
pub fn is_inward4(address: u32) -> bool {
    let mut index = 0;
    while index < INWARD4.len() {
        let (base, prefix) = INWARD4[index];
        if address >> (32 - prefix) == base >> (32 - prefix) {
            return true;
        }
        index += 1;
    }
    address == AZURE_WIRE_SERVER
}

/// Whether an IPv6 address is not plain global unicast (`2000::/3`, RFC 4291), or embeds an IPv4 address that could be
/// inward: Teredo `2001::/32` and the rest of `2001::/23`, 6to4 `2002::/16`. Documentation `2001:db8::/32` counts as inward too.
#[inline(always)]
pub fn is_inward6(words: [u32; 4]) -> bool {
    let first = words[0];
    first >> 29 != 1
        || first >> 9 == 0x2001_0000 >> 9
        || first == 0x2001_0db8
        || first >> 16 == 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn inward(text: &str) -> bool {
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return is_inward4(u32::from(address));
        }
        let bits = u128::from(text.parse::<Ipv6Addr>().unwrap());
        let word = |shift: u32| u32::try_from((bits >> shift) & 0xffff_ffff).unwrap();
        is_inward6([word(96), word(64), word(32), word(0)])
    }

    #[test]
    fn private_loopback_link_local_and_metadata_addresses_are_inward() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "100::1",
        ] {
            assert!(inward(text), "{text}");
        }
    }

    #[test]
    fn internet_addresses_are_not() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.216.34",
            "100.63.255.255",
            "100.128.0.1",
            "126.0.0.1",
            "128.0.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "192.169.0.1",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.113.66",
            "223.255.255.255",
            "2606:2800:220::1",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
        ] {
            assert!(!inward(text), "{text}");
        }
    }

    fn judge(transport: Transport, address: &str, port: u16, listed: Listed) -> Verdict {
        let mut config = GuardConfig::CLOSED;
        config.tcp_ports[0] = 80;
        config.tcp_ports[1] = 443;
        decide(&config, transport, inward(address), port, listed)
    }

    use Transport::{Tcp, Udp};
    use Verdict::{Pass, Refuse};

    #[test]
    fn an_inward_resolver_answers_on_port_53_only() {
        assert_eq!(judge(Udp, "10.0.0.53", 53, Listed::RESOLVER), Pass);
        assert_eq!(judge(Tcp, "10.0.0.53", 53, Listed::RESOLVER), Pass);
        assert_eq!(judge(Udp, "10.0.0.53", 443, Listed::RESOLVER), Refuse(Reason::Udp));
        assert_eq!(judge(Tcp, "10.0.0.53", 443, Listed::RESOLVER), Refuse(Reason::InwardAddress));
    }

    #[test]
    fn no_other_resolver_is_asked() {
        assert_eq!(judge(Udp, "9.9.9.9", 53, Listed::NOT), Refuse(Reason::Udp));
        assert_eq!(judge(Tcp, "9.9.9.9", 53, Listed::NOT), Refuse(Reason::Port));
    }

    #[test]
    fn the_operator_may_name_an_inward_address_but_never_opens_another_port() {
        assert_eq!(judge(Tcp, "10.1.2.3", 443, Listed::ALLOWED), Pass);
        assert_eq!(judge(Tcp, "10.1.2.3", 22, Listed::ALLOWED), Refuse(Reason::Port));
    }

    #[test]
    fn the_hosts_own_public_address_is_inward() {
        let own = judge(Tcp, "93.184.216.34", 443, Listed::OWN);
        assert_eq!(own, Refuse(Reason::InwardAddress));
        assert_eq!(judge(Tcp, "93.184.216.34", 443, Listed::NOT), Pass);
        assert_eq!(judge(Tcp, "93.184.216.34", 443, Listed(1 | 2)), Pass);
    }

    #[test]
    fn the_upstream_proxy_is_reached_wherever_it_is_at_its_port_only() {
        let mut config = GuardConfig::CLOSED;
        config.tcp_ports[0] = 443;
        config.parent_port = 3128;
        let judge = |transport, address, port, listed| {
            decide(&config, transport, inward(address), port, listed)
        };
        let own = Listed(Listed::PARENT.0 | Listed::OWN.0);
        for (address, listed) in [("10.0.0.1", Listed::PARENT), ("172.17.0.1", own)] {
            assert_eq!(judge(Tcp, address, 3128, listed), Pass);
            assert_eq!(judge(Tcp, address, 443, listed), Refuse(Reason::InwardAddress));
            assert_eq!(judge(Tcp, address, 3129, listed), Refuse(Reason::Port));
            assert_eq!(judge(Udp, address, 3128, listed), Refuse(Reason::Udp));
        }
        assert_eq!(judge(Tcp, "10.0.0.2", 3128, Listed::NOT), Refuse(Reason::Port));
        assert_eq!(judge(Tcp, "10.0.0.2", 3128, Listed(7)), Refuse(Reason::Port));
        let zero = decide(&GuardConfig::CLOSED, Tcp, true, 0, Listed::PARENT);
        assert_eq!(zero, Refuse(Reason::Port));
    }

    #[test]
    fn an_unwritten_configuration_opens_no_port() {
        for port in [0, 53, 80, 443] {
            let judged = decide(&GuardConfig::CLOSED, Tcp, false, port, Listed::NOT);
            assert_eq!(judged, Refuse(Reason::Port));
        }
    }
}
