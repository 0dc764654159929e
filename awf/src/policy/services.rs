//! What is meant to be reached on this machine and in containers beside it, by port and not by domain.
//!
//! Takes ranges of ports with the flag that opened each, gives [`Services`], which answers for any host and port. Owns the one
//! list of dangerous ports. Pure data. Must never: open a port of anything but the service it was opened for; the original
//! opened ports of the host for every allowed domain.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Serialize, Serializer};

use super::{Decision, Rule};

/// Ports that are opened only one by one, on purpose: who reaches a login or a database of the machine is hardly confined. The
/// original's longer list; its containers used a shorter one.
pub const DANGEROUS_PORTS: [(u16, &str); 21] = [
    (22, "SSH"),
    (23, "Telnet"),
    (25, "SMTP"),
    (110, "POP3"),
    (143, "IMAP"),
    (445, "SMB"),
    (1433, "SQL Server"),
    (1521, "Oracle"),
    (3306, "MySQL"),
    (3389, "RDP"),
    (5432, "PostgreSQL"),
    (5984, "CouchDB"),
    (6379, "Redis"),
    (6984, "CouchDB with TLS"),
    (8086, "InfluxDB"),
    (8088, "InfluxDB backup"),
    (9200, "Elasticsearch"),
    (9300, "Elasticsearch nodes"),
    (27017, "MongoDB"),
    (27018, "MongoDB shards"),
    (28017, "MongoDB status"),
];

/// Ports from `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The lowest, never 0.
    pub low: u16,
    /// The highest.
    pub high: u16,
}

impl PortRange {
    /// One port.
    pub const fn single(port: u16) -> Self {
        Self { low: port, high: port }
    }

    /// Whether it holds a port.
    pub fn contains(self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
    }

    /// The first dangerous port in it, and what listens there.
    pub fn dangerous(self) -> Option<(u16, &'static str)> {
        DANGEROUS_PORTS.into_iter().find(|(port, _what)| self.contains(*port))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "{}-{}", self.low, self.high)
        }
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a service really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// This machine, as awf sees it.
    Host,
    /// A container with this address.
    Peer(Ipv4Addr),
    /// awf's own proxy of model providers.
    ApiProxy,
}

/// Ports of a service, and what opened them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Opening {
    /// The ports.
    pub ports: PortRange,
    /// The rule that opens them.
    pub rule: Rule,
}

/// One machine or container with what is opened of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its names in lower case, the usual one first; never empty.
    pub names: Vec<String>,
    /// The address it has in the sandbox, where its names lead.
    pub address: Ipv4Addr,
    /// What is opened. The first one that holds a port counts.
    pub openings: Vec<Opening>,
    /// Where connections go.
    pub target: Target,
}

impl Service {
    /// The usual name.
    pub fn name(&self) -> &str {
        self.names.first().map_or("-", String::as_str)
    }

    /// Whether one of its ports may be reached.
    pub fn decide(&self, port: u16) -> Decision {
        match self.openings.iter().find(|opening| opening.ports.contains(port)) {
            Some(Opening { ports, rule }) => {
                let reason = match self.target {
                    Target::Host => format!("port {port} of this machine is opened"),
                    Target::Peer(_) => format!("the container {} exposes port {port}", self.name()),
                    Target::ApiProxy => format!("port {port} belongs to the API proxy"),
                };
                Decision::by(*rule, Some(&ports.to_string()), reason)
            }
            None => Decision::by(Rule::DenyUnsafePorts, None, self.why_closed(port)),
        }
    }

    fn why_closed(&self, port: u16) -> String {
        match self.target {
            Target::Host => {
                let flag = flag_for(port);
                format!("port {port} of this machine is not opened; {flag} {port} would open it")
            }
            Target::Peer(_) => {
                let name = self.name();
                format!("the container {name} does not EXPOSE port {port} to --topology-attach")
            }
            Target::ApiProxy => format!("the API proxy does not use port {port}"),
        }
    }
}

/// The flag that opens a port of the host.
fn flag_for(port: u16) -> &'static str {
    match PortRange::single(port).dangerous() {
        Some(_) => "--allow-host-service-ports",
        None => "--allow-host-ports",
    }
}

/// Everything that is opened beside the domains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Services(Vec<Service>);

impl Services {
    /// These services, no two with one name or address.
    pub fn new(services: Vec<Service>) -> Self {
        Self(services)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Service> {
        self.0.iter()
    }

    /// The service that a client means by a name in lower case, or by a virtual address.
    pub fn named(&self, host: &str) -> Option<&Service> {
        let host = host.trim_end_matches('.');
        let address = host.parse::<Ipv4Addr>().ok();
        let is_it = |service: &&Service| {
            service.names.iter().any(|name| name == host) || Some(service.address) == address
        };
        self.0.iter().find(is_it)
    }

    /// The service at a virtual address.
    pub fn at(&self, address: Ipv4Addr) -> Option<&Service> {
        self.0.iter().find(|service| service.address == address)
    }

    /// Why a port of the host or of a peer is closed, with the flag that would open it; `None` for any other host. `host_names`
    /// are what the host is called, which need not be opened at all.
    pub fn why_closed(&self, host: &str, port: u16, host_names: &[&str]) -> Option<String> {
        if let Some(service) = self.named(host) {
            let decision = service.decide(port);
            return (!decision.allow).then_some(decision.reason);
        }
        host_names.contains(&host.trim_end_matches('.')).then(|| {
            let more = match port {
                80 | 443 => String::new(),
                _ => format!(" with {} {port}", flag_for(port)),
            };
            format!("this machine is not opened; --enable-host-access{more} would open it")
        })
    }

    /// The ranges of each address, in order and without overlaps, as few as possible.
    pub fn ranges(&self) -> Vec<(Ipv4Addr, PortRange)> {
        let mut all = Vec::new();
        for service in &self.0 {
            let mut ranges: Vec<_> = service.openings.iter().map(|opening| opening.ports).collect();
            ranges.sort_unstable();
            let mut merged: Vec<PortRange> = Vec::new();
            for range in ranges {
                match merged.last_mut() {
                    Some(last) if range.low <= last.high.saturating_add(1) => {
                        last.high = last.high.max(range.high);
                    }
                    _ => merged.push(range),
                }
            }
            all.extend(merged.into_iter().map(|range| (service.address, range)));
        }
        all
    }

    /// One line for each that the user asked for, for a reader.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let asked = self.0.iter().filter(|service| service.target != Target::ApiProxy);
        asked.map(|service| {
            let ports = service.openings.iter().map(|opening| opening.ports.to_string());
            let ports = ports.collect::<Vec<_>>().join(",");
            let place = match service.target {
                Target::Host => "this machine".to_owned(),
                Target::Peer(address) => format!("the container at {address}"),
                Target::ApiProxy => "the API proxy".to_owned(),
            };
            format!("{} ({}) is {place}, ports {ports}", service.name(), service.address)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
    const PEER: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 100);

    fn opening(low: u16, high: u16, rule: Rule) -> Opening {
        Opening { ports: PortRange { low, high }, rule }
    }

    fn services() -> Services {
        Services::new(vec![
            Service {
                names: vec!["host.docker.internal".into(), "gateway.docker.internal".into()],
                address: HOST,
                openings: vec![
                    opening(80, 80, Rule::AllowHostAccess),
                    opening(443, 443, Rule::AllowHostAccess),
                    opening(80, 90, Rule::AllowHostPort),
                    opening(3000, 3010, Rule::AllowHostPort),
                    opening(3011, 3011, Rule::AllowHostPort),
                    opening(5432, 5432, Rule::AllowHostServicePort),
                ],
                target: Target::Host,
            },
            Service {
                names: vec!["gateway".into()],
                address: PEER,
                openings: vec![opening(8080, 8080, Rule::AllowPeer("allow-topology-peer-1"))],
                target: Target::Peer(Ipv4Addr::new(172, 17, 0, 2)),
            },
        ])
    }

    #[track_caller]
    fn check(host: &str, port: u16, rule: &str) {
        let services = services();
        let decision = services.named(host).unwrap().decide(port);
        assert_eq!(decision.rule, rule, "{decision:?}");
        assert_eq!(decision.allow, rule.starts_with("allow-"));
    }

    #[test]
    fn a_port_is_opened_by_the_first_rule_that_holds_it() {
        check("host.docker.internal", 80, "allow-host-access");
        check("host.docker.internal.", 443, "allow-host-access");
        check("gateway.docker.internal", 90, "allow-host-port");
        check("172.30.0.1", 3005, "allow-host-port");
        check("172.30.0.1", 5432, "allow-host-service-port");
        check("gateway", 8080, "allow-topology-peer-1");
        check("172.30.0.100", 8080, "allow-topology-peer-1");
    }

    #[test]
    fn every_other_port_is_closed_and_the_reason_names_the_flag() {
        for port in [0, 22, 79, 91, 444, 2999, 3012, 8080, 65535] {
            check("host.docker.internal", port, "deny-unsafe-ports");
        }
        check("gateway", 443, "deny-unsafe-ports");
        let services = services();
        let why = |host, port| services.why_closed(host, port, &["host.docker.internal"]);
        assert!(why("172.30.0.1", 22).unwrap().contains("--allow-host-service-ports 22"));
        assert!(why("host.docker.internal", 9999).unwrap().contains("--allow-host-ports 9999"));
        assert!(why("gateway", 443).unwrap().contains("EXPOSE port 443"));
        assert_eq!(why("host.docker.internal", 80), None);
        assert_eq!(why("example.com", 3000), None);
        let none = Services::default();
        let why = |port| none.why_closed("host.docker.internal", port, &["host.docker.internal"]);
        let with = "--enable-host-access with --allow-host-ports 3000 would";
        assert!(why(3000).unwrap().contains(with));
        assert!(why(443).unwrap().contains("--enable-host-access would"));
        assert_eq!(none.why_closed("other", 3000, &["host.docker.internal"]), None);
    }

    #[test]
    fn no_other_host_is_a_service() {
        for host in ["example.com", "172.30.0.2", "x.gateway", "x.host.docker.internal", ""] {
            assert_eq!(services().named(host), None, "{host}");
        }
        assert_eq!(services().at(PEER).map(Service::name), Some("gateway"));
        assert_eq!(services().at(Ipv4Addr::new(172, 17, 0, 2)), None);
    }

    #[test]
    fn ranges_are_merged_within_an_address_only() {
        let ranges: Vec<_> = services().ranges();
        let range = |low, high| PortRange { low, high };
        let expected = [
            (HOST, range(80, 90)),
            (HOST, range(443, 443)),
            (HOST, range(3000, 3011)),
            (HOST, range(5432, 5432)),
            (PEER, range(8080, 8080)),
        ];
        assert_eq!(ranges, expected);
        let top = |low| opening(low, 65535, Rule::AllowHostPort);
        let openings = vec![top(65535), top(65000)];
        let host = Service { openings, ..services().0.remove(0) };
        assert_eq!(Services::new(vec![host]).ranges(), [(HOST, range(65000, 65535))]);
    }

    #[test]
    fn dangerous_ports_are_found_inside_ranges() {
        let check = |low, high, expected| {
            assert_eq!(PortRange { low, high }.dangerous().map(|(port, _what)| port), expected);
        };
        check(22, 22, Some(22));
        check(20, 25, Some(22));
        check(1, 65535, Some(22));
        check(5985, 6378, None);
        check(1, 20, None);
        check(28017, 28017, Some(28017));
        assert!(DANGEROUS_PORTS.is_sorted_by(|(low, _), (high, _)| low < high));
    }
}
