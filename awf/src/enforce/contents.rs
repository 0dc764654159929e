//! From the policy to what the kernel is told: pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use awf_common::config::{self, Config, GuardConfig, Openings};
use awf_common::guard::Listed;
use awf_common::limits::{OPENINGS, TCP_PORTS};

use crate::plan::addresses;
use crate::policy::{Policy, Services};

/// Everything the kernel is told, as plain data. Addresses are host-order numbers, as the programs compare them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// For the programs on the agent's cgroup.
    pub agent: Config,
    /// What the service door opens.
    pub openings: Openings,
    /// For the guard on the proxy's cgroup.
    pub proxy: GuardConfig,
    /// What the guard knows of single IPv4 addresses: [`Listed`] bits.
    pub listed4: BTreeMap<u32, u8>,
    /// What the guard knows of single IPv6 addresses, as four host-order words.
    pub listed6: BTreeMap<[u32; 4], u8>,
}

/// More ranges of ports than the kernel is told. Fewer would close what the user opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} ranges of ports are opened on this machine and in containers, and at most {OPENINGS} can be; join neighbours to \
     ranges, such as 8000-8010"
)]
pub struct TooManyRanges {
    /// How many, with neighbours joined.
    pub count: usize,
}

impl Contents {
    /// Derives the contents. `own` are the addresses of this machine.
    pub fn of(policy: &Policy, resolvers: &[IpAddr], own: &[IpAddr]) -> Self {
        let mut contents = Self {
            agent: Config {
                door: u32::from(addresses::DOOR),
                agent: u32::from(addresses::AGENT),
                proxy: u32::from(addresses::PROXY),
                proxy_port: addresses::PROXY_PORT,
                transparent_door_port: addresses::TRANSPARENT_DOOR_PORT,
                proxy_door_port: addresses::PROXY_DOOR_PORT,
                name_door_port: addresses::NAME_DOOR_PORT,
                service_door_port: addresses::SERVICE_DOOR_PORT,
                padding: 0,
                tcp_ports: port_list(policy.tcp_ports()),
                chooses_errno: 0,
                options_have_caller: 0,
            },
            openings: config::Opening::NONE,
            proxy: GuardConfig { tcp_ports: port_list(policy.tcp_ports()), ..GuardConfig::CLOSED },
            listed4: BTreeMap::new(),
            listed6: BTreeMap::new(),
        };
        for address in policy.exact_ips() {
            contents.list(IpAddr::V4(address), Listed::ALLOWED);
        }
        for address in resolvers {
            contents.list(*address, Listed::RESOLVER);
        }
        for address in own {
            contents.list(*address, Listed::OWN);
        }
        contents
    }

    /// The same contents for a proxy that goes through another one, at these addresses and their port. Unless something
    /// does without it, nothing else is open to it any more.
    #[must_use]
    pub fn through(mut self, parents: &[SocketAddr], something_direct: bool) -> Self {
        for parent in parents {
            self.list(parent.ip(), Listed::PARENT);
            self.proxy.parent_port = parent.port();
        }
        if !parents.is_empty() && !something_direct {
            self.proxy.tcp_ports = port_list(&[]);
        }
        self
    }

    /// The same contents with these services opened.
    pub fn opening(mut self, services: &Services) -> Result<Self, TooManyRanges> {
        let ranges = services.ranges();
        if ranges.len() > OPENINGS {
            return Err(TooManyRanges { count: ranges.len() });
        }
        for (slot, (address, range)) in self.openings.iter_mut().zip(ranges) {
            *slot =
                config::Opening { address: address.to_bits(), low: range.low, high: range.high };
        }
        Ok(self)
    }

    /// The same contents for a kernel of this version: from 5.18 on a program may choose the errno of a refusal
    /// (`bpf_set_retval`), from 6.1 on the setsockopt hook may ask who calls. Told by version, because asking would cost a
    /// load on every start; a kernel that lacks a helper under a later number refuses the load, and thereby closes.
    #[must_use]
    pub fn for_kernel(mut self, version: (u32, u32)) -> Self {
        let chooses_errno = u32::from(version >= (5, 18));
        self.agent.chooses_errno = chooses_errno;
        self.proxy.chooses_errno = chooses_errno;
        self.agent.options_have_caller = u32::from(version >= (6, 1));
        self
    }

    fn list(&mut self, address: IpAddr, listed: Listed) {
        match address {
            IpAddr::V4(address) => self.list4(address, listed),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(mapped) => self.list4(mapped, listed),
                None => *self.listed6.entry(words(address)).or_insert(0) |= listed.0,
            },
        }
    }

    fn list4(&mut self, address: Ipv4Addr, listed: Listed) {
        *self.listed4.entry(u32::from(address)).or_insert(0) |= listed.0;
    }
}

/// The first [`TCP_PORTS`] ports, zero-ended. A longer list opens fewer ports than asked, never more.
fn port_list(ports: &[u16]) -> [u16; TCP_PORTS] {
    let mut list = [0; TCP_PORTS];
    for (slot, port) in list.iter_mut().zip(ports) {
        *slot = *port;
    }
    list
}

fn words(address: Ipv6Addr) -> [u32; 4] {
    let bits = u128::from(address);
    #[expect(clippy::cast_possible_truncation, reason = "a word is taken of it")]
    [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
}

#[cfg(test)]
mod tests {
    use awf_common::decide::{Destination, Door, Transport, Verdict, decide, packet_stays_inside};
    use awf_common::guard::{self, is_inward4};
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{Opening, PortRange, Rule, Scheme, Service, Target};

    /// Single ports and a range of the host, and ports of a peer.
    fn services() -> Services {
        let service = |name: &str, address, openings: &[(u16, u16)], target| Service {
            names: vec![name.to_owned()],
            address,
            openings: openings
                .iter()
                .map(|(low, high)| Opening {
                    ports: PortRange { low: *low, high: *high },
                    rule: Rule::AllowHostPort,
                })
                .collect(),
            target,
        };
        let host = [(80, 80), (443, 443), (3000, 8080), (8000, 9000)];
        Services::new(vec![
            service("host", addresses::HOST, &host, Target::Host),
            service("peer", PEER, &[(22, 22), (8080, 8080)], Target::Peer(PEER)),
        ])
    }

    const PEER: Ipv4Addr = addresses::FIRST_PEER;

    /// Addresses inside, outside and on both lists.
    fn address() -> impl Strategy<Value = Ipv4Addr> {
        let known = [
            "172.30.0.1",
            "172.30.0.100",
            "10.0.0.1",
            "169.254.169.254",
            "93.184.216.34",
            "172.30.0.10",
            "172.30.0.20",
        ];
        prop_oneof![
            prop::sample::select(known.map(|text| text.parse().unwrap()).to_vec()),
            Just(addresses::DOOR),
            any::<u32>().prop_map(Ipv4Addr::from),
        ]
    }

    fn port() -> impl Strategy<Value = u16> {
        prop_oneof![prop::sample::select(vec![0, 22, 53, 80, 443, 3128, 8080]), any::<u16>()]
    }

    fn policy() -> impl Strategy<Value = Policy> {
        let entry = prop_oneof![
            address().prop_map(|address| address.to_string()),
            prop::sample::select(vec!["example.com".to_owned(), "*.example.org".to_owned()]),
        ];
        let list = || prop::collection::vec(entry.clone(), 0..5);
        let accepted = |(allow, block): (Vec<String>, Vec<String>)| {
            Policy::resolve(&allow, &block).ok().map(|(policy, _warnings)| policy)
        };
        (list(), list()).prop_filter_map("a list with an address of nobody", accepted)
    }

    /// Whether the policy lets any request to this host and port through.
    fn allows(policy: &Policy, host: &str, port: u16) -> bool {
        [Scheme::Tls, Scheme::Http].iter().any(|scheme| policy.decide(host, port, *scheme).allow)
    }

    #[test]
    fn more_ranges_than_the_kernel_is_told_are_an_error() {
        let opened = |count: u16| {
            let ports = (0..count).map(|number| PortRange::single(1000 + 2 * number));
            let openings = ports.map(|ports| Opening { ports, rule: Rule::AllowHostPort });
            let (names, address) = (vec!["host".to_owned()], addresses::HOST);
            let openings = openings.collect();
            let service = Service { names, address, openings, target: Target::Host };
            let contents = Contents::of(&Policy::default(), &[], &[]);
            contents.opening(&Services::new(vec![service]))
        };
        let full = opened(64).unwrap();
        assert!(full.openings.iter().all(|opening| opening.address == addresses::HOST.to_bits()));
        assert_eq!(opened(65), Err(TooManyRanges { count: 65 }));
    }

    #[test]
    fn behind_an_upstream_proxy_nothing_else_is_open_unless_something_does_without_it() {
        let policy = Policy::resolve(&["1.2.3.4".to_owned()], &[]).unwrap().0;
        let parents = ["10.0.0.1:8080", "[fd00::1]:8080"].map(|text| text.parse().unwrap());
        let contents = Contents::of(&policy, &[], &[]);
        assert_eq!(contents.clone().through(&[], false), contents);
        let passes = |contents: &Contents, address: [u8; 4], port| {
            let number = u32::from(Ipv4Addr::from(address));
            let listed = Listed(contents.listed4.get(&number).copied().unwrap_or_default());
            let inward = is_inward4(number);
            guard::decide(&contents.proxy, Transport::Tcp, inward, port, listed) == Verdict::Pass
        };
        let closed = contents.clone().through(&parents, false);
        let open = contents.through(&parents, true);
        for (contents, direct) in [(&closed, false), (&open, true)] {
            assert!(passes(contents, [10, 0, 0, 1], 8080));
            assert!(!passes(contents, [10, 0, 0, 1], 443));
            assert!(!passes(contents, [10, 0, 0, 2], 8080));
            assert_eq!(passes(contents, [93, 184, 216, 34], 443), direct);
            assert_eq!(passes(contents, [1, 2, 3, 4], 443), direct);
            assert_eq!(contents.listed6.len(), 1);
        }
    }

    proptest! {
        #[test]
        fn the_kernel_leads_to_the_relay_or_keeps_inside_and_never_lets_out(
            policy in policy(), address in address(), port in port(), is_tcp: bool, open: bool,
        ) {
            let services = if open { services() } else { Services::default() };
            let contents = Contents::of(&policy, &[], &[]).opening(&services).unwrap();
            let (config, openings) = (contents.agent, contents.openings);
            let is_service = services.at(address).is_some_and(|one| one.decide(port).allow);
            let transport = if is_tcp { Transport::Tcp } else { Transport::Udp };
            let local = address.is_loopback() || address.is_unspecified();
            let own = local || address == addresses::AGENT;
            match decide(&config, &openings, transport, Destination::V4(address.into()), port) {
                Verdict::Pass => prop_assert!(own),
                Verdict::Lead(Door::Transparent) => {
                    prop_assert!(!is_service && is_tcp && policy.tcp_ports().contains(&port));
                }
                Verdict::Lead(Door::Proxy) => prop_assert!(is_tcp && address == addresses::PROXY),
                Verdict::Lead(Door::Service) => prop_assert!(is_tcp && is_service),
                Verdict::Lead(Door::Name) => prop_assert_eq!(port, 53),
                // The other direction: the kernel stands in the way of nothing that is allowed.
                Verdict::Refuse(_) => {
                    let elsewhere = is_tcp && !own && address != addresses::PROXY;
                    prop_assert!(!(elsewhere && allows(&policy, "www.example.org", port)));
                    prop_assert!(!(is_tcp && is_service));
                }
            }
            if packet_stays_inside(&config, address.into(), port) {
                prop_assert!(own);
            }
        }

        #[test]
        fn the_guard_opens_inward_addresses_only_where_the_policy_names_them(
            policy in policy(),
            (address, own, resolver) in (address(), address(), address()),
            port in port(),
        ) {
            let contents = Contents::of(&policy, &[resolver.into()], &[own.into()]);
            let number = u32::from(address);
            let listed = Listed(contents.listed4.get(&number).copied().unwrap_or_default());
            let inward = is_inward4(number);
            let passes = |transport| {
                guard::decide(&contents.proxy, transport, inward, port, listed) == Verdict::Pass
            };
            let asks = port == 53 && address == resolver;
            prop_assert!(!passes(Transport::Udp) || asks);
            if passes(Transport::Tcp) && !asks {
                prop_assert!(policy.tcp_ports().contains(&port));
                let named = allows(&policy, &address.to_string(), port);
                prop_assert!(named || (!inward && address != own));
            }
            if policy.blocked_ips().any(|blocked| blocked == address) {
                prop_assert!(!listed.says(Listed::ALLOWED));
            }
        }
    }
}
