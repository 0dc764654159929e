//! What is opened of this machine and of containers: from what was asked and what was found to [`Services`].
//!
//! Owns virtual addresses of peers, and the web ports that come with host access. Takes settings, the containers that were
//! found and the policy, whose block list wins; gives services and what the user should know. Must never open less than it says.

use std::net::{IpAddr, Ipv4Addr};

use super::addresses;
use crate::cli::{HostAccess, Settings};
use crate::doors::names;
use crate::host::{Host, Peer};
use crate::policy::{Opening, Policy, PortRange, Rule, Scheme, Service, Services, Target};

/// Ports of the host that come with host access: HTTP and HTTPS, as in the original.
const WEB_PORTS: [u16; 2] = [80, 443];
/// awf answers this port itself, wherever it leads (RFC 1035).
const DNS_PORT: u16 = 53;
/// Names inside that are awf's own.
const OWN_NAMES: [&str; 6] =
    ["localhost", "api-proxy", "squid-proxy", "awf-squid", "awf-agent", "awf-api-proxy"];

/// Why services cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// No container of this name was found.
    #[error(
        "--topology-attach '{name}': no container of this name is running, or there is no Docker daemon to ask; start it \
         before awf, or leave the option out"
    )]
    NotRunning {
        /// The container.
        name: String,
    },
    /// Nothing of the container can be reached.
    #[error(
        "--topology-attach '{name}': the container exposes no port, so nothing of it could be reached; name its ports with \
         EXPOSE in its image or --expose when it is started"
    )]
    NoPorts {
        /// The container.
        name: String,
    },
    /// The container has no address of its own.
    #[error(
        "--topology-attach '{name}': {address} is no address of a container but of this machine or of nobody; for a container \
         in the host's network use --enable-host-access with --allow-host-ports"
    )]
    NotAContainer {
        /// The container.
        name: String,
        /// What was found.
        address: Ipv4Addr,
    },
    /// The name cannot be used inside.
    #[error("--topology-attach '{name}': {problem}; give the container another name")]
    Name {
        /// The container.
        name: String,
        /// Why not.
        problem: String,
    },
    /// More containers than addresses for them.
    #[error("--topology-attach: at most {} containers can be attached", addresses::MAX_PEERS)]
    TooManyPeers,
}

/// Decides what is opened. `api_proxy` says whether awf's proxy of model providers runs beside the command.
pub fn services(
    settings: &Settings,
    host: &Host,
    policy: &Policy,
    api_proxy: bool,
) -> Result<(Services, Vec<String>), ServiceError> {
    let mut notices = Vec::new();
    let mut list = Vec::new();
    if let Some(access) = &settings.host_access {
        let names = addresses::HOST_NAMES.map(str::to_owned).to_vec();
        let openings = host_openings(access);
        list.push(Service { names, address: addresses::HOST, openings, target: Target::Host });
    }
    for (name, number) in settings.peers.iter().zip(0_u32..) {
        let service = peer(name, number, host)?;
        let twin = list.iter().any(|other| other.names == service.names);
        if twin {
            return Err(unusable(name, "another container has this name in other letters"));
        }
        list.push(service);
    }
    if api_proxy {
        let (low, high) = addresses::API_PROXY_PORTS;
        let openings = vec![Opening { ports: PortRange { low, high }, rule: Rule::AllowApiProxy }];
        let names = vec!["api-proxy".to_owned()];
        let (address, target) = (addresses::API_PROXY, Target::ApiProxy);
        list.push(Service { names, address, openings, target });
    }
    list.retain(|service| {
        let blocked = service.names.iter().find(|name| policy.blocked().find(name).is_some());
        notices.extend(blocked.map(|name| format!("{name} is opened and blocked; blocked wins")));
        blocked.is_none()
    });
    let services = Services::new(list);
    notices.extend(dns_notice(&services));
    notices.extend(host_notice(settings, policy, &services));
    Ok((services, notices))
}

fn host_openings(access: &HostAccess) -> Vec<Opening> {
    let open = |rule| move |ports| Opening { ports, rule };
    let web = WEB_PORTS.map(PortRange::single).map(open(Rule::AllowHostAccess));
    let ports = access.ports.iter().copied().map(open(Rule::AllowHostPort));
    let services = access.service_ports.iter().copied().map(PortRange::single);
    web.into_iter().chain(ports).chain(services.map(open(Rule::AllowHostServicePort))).collect()
}

/// The peer that was asked for with this name.
fn peer(name: &str, number: u32, host: &Host) -> Result<Service, ServiceError> {
    let known = names::canonical(name).map_err(|error| unusable(name, &error.to_string()))?;
    if OWN_NAMES.contains(&&*known)
        || known.ends_with(".localhost")
        || addresses::HOST_NAMES.contains(&&*known)
    {
        return Err(unusable(name, "awf uses this name itself"));
    }
    let Peer { address, ports, .. } = host
        .peers
        .iter()
        .find(|peer| peer.name == name)
        .ok_or_else(|| ServiceError::NotRunning { name: name.to_owned() })?;
    let nobody = address.is_unspecified() || address.is_multicast() || address.is_broadcast();
    if address.is_loopback() || nobody || host.own_addresses.contains(&IpAddr::V4(*address)) {
        return Err(ServiceError::NotAContainer { name: name.to_owned(), address: *address });
    }
    // Leaked once per peer; a policy lives as long as the process.
    let rule = Rule::AllowPeer(format!("allow-topology-peer-{}", number + 1).leak());
    let ports = ports.iter().filter(|port| **port != 0).copied().map(PortRange::single);
    let openings: Vec<Opening> = ports.map(|ports| Opening { ports, rule }).collect();
    if openings.is_empty() {
        return Err(ServiceError::NoPorts { name: name.to_owned() });
    }
    if usize::try_from(number).map_or(true, |number| number >= addresses::MAX_PEERS) {
        return Err(ServiceError::TooManyPeers);
    }
    Ok(Service {
        names: vec![known],
        address: Ipv4Addr::from(addresses::FIRST_PEER.to_bits() + number),
        openings,
        target: Target::Peer(*address),
    })
}

fn unusable(name: &str, problem: &str) -> ServiceError {
    ServiceError::Name { name: name.to_owned(), problem: problem.to_owned() }
}

fn dns_notice(services: &Services) -> Option<String> {
    let opens = |service: &&Service| service.decide(DNS_PORT).allow;
    let name = services.iter().find(opens)?.name();
    Some(format!(
        "port 53 of {name} cannot be reached: awf answers this port itself, wherever it leads"
    ))
}

/// What the allow list says about the host, beside what is opened.
fn host_notice(settings: &Settings, policy: &Policy, services: &Services) -> Option<String> {
    let [name, ..] = addresses::HOST_NAMES;
    let allows = |port, scheme| policy.decide(name, port, scheme).allow;
    if !allows(443, Scheme::Tls) && !allows(80, Scheme::Http) {
        return None;
    }
    match (&settings.host_access, services.at(addresses::HOST)) {
        (None, _) => Some(format!(
            "{name} is in the allowed domains, but nothing answers there without --enable-host-access"
        )),
        (Some(access), Some(_)) if !access.by_localhost => Some(format!(
            "--enable-host-access and {name} in the allowed domains: the command can reach services of this machine; only for \
             commands that may"
        )),
        (Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn peer_of(name: &str, address: [u8; 4], ports: &[u16]) -> Peer {
        Peer { name: name.to_owned(), address: address.into(), ports: ports.to_vec() }
    }

    fn machine(peers: Vec<Peer>) -> Host {
        let own_addresses = vec!["172.17.0.1".parse().unwrap(), "100.64.77.2".parse().unwrap()];
        Host { own_addresses, peers, ..Host::sample() }
    }

    fn asked(options: &[&str], host: &Host) -> Settings {
        let line = ["awf"].iter().chain(options).chain(&["--", "true"]).map(Into::into);
        let Ok(cli::Request::Run(args)) = cli::parse(line) else { panic!("{options:?}") };
        Settings::resolve(&args, &host.caller).unwrap()
    }

    fn decided(options: &[&str], host: &Host) -> Result<(Services, Vec<String>), ServiceError> {
        let settings = asked(options, host);
        let texts = |list: &[cli::DomainEntry]| {
            list.iter().map(|entry| entry.text.clone()).collect::<Vec<_>>()
        };
        let policy = Policy::resolve(&texts(&settings.allow), &texts(&settings.block));
        services(&settings, host, &policy.unwrap().0, false)
    }

    fn lines(options: &[&str]) -> Vec<String> {
        decided(options, &machine(Vec::new())).unwrap().0.lines().collect()
    }

    #[test]
    fn nothing_is_opened_unasked() {
        let (services, notices) = decided(&[], &machine(Vec::new())).unwrap();
        assert_eq!((services, notices), (Services::default(), Vec::new()));
    }

    #[test]
    fn host_access_opens_the_web_ports_and_what_is_listed() {
        let host = "host.docker.internal (172.30.0.1) is this machine, ports 80,443";
        assert_eq!(lines(&["--enable-host-access"]), [host]);
        let options = ["--enable-host-access", "--allow-host-ports=3000-3010,80"];
        assert_eq!(lines(&options), [format!("{host},3000-3010,80")]);
        assert_eq!(lines(&["--allow-host-service-ports=5432"]), [format!("{host},5432")]);
        let all = ",3000,3001,4000,4200,5000,5173,8000,8080,8081,8888,9000,9090";
        assert_eq!(lines(&["-d", "localhost"]), [format!("{host}{all}")]);
    }

    #[test]
    fn a_peer_gets_an_address_and_its_exposed_ports() {
        let found = vec![
            peer_of("other", [172, 17, 0, 9], &[1]),
            peer_of("Gateway", [172, 17, 0, 2], &[8080, 0, 9090]),
            peer_of("db", [172, 17, 0, 3], &[5432]),
        ];
        let options = ["--topology-attach=Gateway", "--topology-attach=db"];
        let (services, notices) = decided(&options, &machine(found)).unwrap();
        let expected = [
            "gateway (172.30.0.100) is the container at 172.17.0.2, ports 8080,9090",
            "db (172.30.0.101) is the container at 172.17.0.3, ports 5432",
        ];
        assert_eq!(services.lines().collect::<Vec<_>>(), expected);
        assert_eq!(notices, [""; 0]);
        let rule = |host, port| services.named(host).unwrap().decide(port).rule;
        assert_eq!(rule("gateway", 9090), "allow-topology-peer-1");
        assert_eq!(rule("db", 5432), "allow-topology-peer-2");
        assert_eq!(rule("db", 22), "deny-unsafe-ports");
    }

    #[test]
    fn a_peer_that_cannot_be_reached_is_an_error_with_a_remedy() {
        let check = |option: &str, peer: Peer, expected: &str| {
            let sentence = decided(&[option], &machine(vec![peer])).unwrap_err().to_string();
            assert!(sentence.contains(expected), "{sentence}");
        };
        let peer = |address| peer_of("web", address, &[80]);
        check("--topology-attach=db", peer([172, 17, 0, 2]), "'db': no container of this name");
        check("--topology-attach=web", peer_of("web", [172, 17, 0, 2], &[]), "EXPOSE");
        check("--topology-attach=web", peer_of("web", [172, 17, 0, 2], &[0]), "EXPOSE");
        for address in [[127, 0, 0, 1], [0, 0, 0, 0], [172, 17, 0, 1], [224, 0, 0, 1], [255; 4]] {
            check("--topology-attach=web", peer(address), "--enable-host-access");
        }
        for name in ["api-proxy", "Localhost", "x.localhost", "host.docker.internal", "web.1"] {
            let peer = peer_of(name, [172, 17, 0, 2], &[80]);
            check(&format!("--topology-attach={name}"), peer, "another name");
        }
        let twins =
            vec![peer_of("web", [172, 17, 0, 2], &[80]), peer_of("Web", [172, 17, 0, 3], &[80])];
        let options = ["--topology-attach=web", "--topology-attach=Web"];
        let sentence = decided(&options, &machine(twins)).unwrap_err().to_string();
        assert!(sentence.contains("in other letters"), "{sentence}");
    }

    #[test]
    fn the_block_list_wins() {
        for blocked in ["host.docker.internal", "*.internal", "docker.internal"] {
            let options = ["--enable-host-access", "--block-domains", blocked];
            let (services, notices) = decided(&options, &machine(Vec::new())).unwrap();
            assert_eq!(services.iter().count(), 0, "{blocked}");
            assert!(notices[0].contains("blocked wins"), "{notices:?}");
        }
    }

    #[test]
    fn what_the_allow_list_means_for_the_host_is_said() {
        let notices = |options: &[&str]| decided(options, &machine(Vec::new())).unwrap().1;
        let alone = notices(&["-d", "host.docker.internal"]);
        assert!(alone[0].contains("without --enable-host-access"), "{alone:?}");
        let both = notices(&["-d", "https://host.docker.internal", "--enable-host-access"]);
        assert!(both[0].contains("only for commands that may"), "{both:?}");
        assert_eq!(notices(&["-d", "localhost"]), [""; 0], "the keyword has its own warning");
        let dns = notices(&["--allow-host-service-ports=53"]);
        assert!(dns[0].contains("port 53"), "{dns:?}");
    }

    #[test]
    fn the_api_proxy_is_there_only_when_told() {
        let host = machine(Vec::new());
        let settings = asked(&[], &host);
        let (services, _) = services(&settings, &host, &Policy::default(), true).unwrap();
        let proxy = services.named("api-proxy").unwrap();
        assert_eq!((proxy.address, proxy.target), (addresses::API_PROXY, Target::ApiProxy));
        assert!(proxy.decide(10_004).allow && !proxy.decide(10_005).allow);
    }
}
