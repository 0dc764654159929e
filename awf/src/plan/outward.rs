//! How the proxy gets out: whom it asks for addresses, and whether another proxy stands before the Internet.
//!
//! Owns the decision, of which squid.conf, the guard's lists and the forwarder of name queries are made. Takes
//! settings and what this machine knows of the names in them. Must never leave Squid a second way.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Serialize;

use super::api_proxy;
use crate::cli::{self, Settings, UsageError};
use crate::host::Host;

/// Addresses of one upstream proxy that are used; more are one too many to try for a connection.
const MAX_PARENTS: usize = 8;

/// How the proxy gets out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outward {
    /// Name servers that Squid asks, and the guard lets it ask.
    pub resolvers: Vec<IpAddr>,
    /// Addresses of the upstream proxy, all with one port; none if there is no such proxy.
    pub parents: Vec<SocketAddr>,
    /// Domains that are reached without it.
    pub direct: Vec<String>,
    /// Who resolves names over HTTPS.
    pub doh: Option<Doh>,
    /// Loopback address where all of Squid's queries are refused: it asks for every name once, to measure how far away it
    /// is (`netdbPingSite`), also where only the upstream proxy has to know the name.
    pub silent: Option<Ipv4Addr>,
}

/// A resolver over HTTPS, and where Squid asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Doh {
    /// Loopback address of this run's own, on port 53: Squid knows no other port.
    pub listen: Ipv4Addr,
    /// The server's addresses, looked up once.
    pub servers: Vec<SocketAddr>,
    /// Whom its certificate must be for.
    pub host: String,
    /// Path of the URL.
    pub path: String,
    /// Files of authorities that are believed.
    pub authorities: Vec<PathBuf>,
}

impl Outward {
    /// Decides for the run with this id.
    pub fn decide(settings: &Settings, host: &Host, id: &str) -> Result<Self, UsageError> {
        let own = settings.dns_servers.clone();
        let mut outward =
            Self { resolvers: own.unwrap_or_else(|| host.resolvers.clone()), ..Self::default() };
        if let Some(parent) = &settings.upstream {
            outward.parents = parents(parent, host)?;
            outward.direct.clone_from(&parent.direct);
            if outward.direct.is_empty() {
                let listen = loopback(id);
                outward.resolvers = vec![IpAddr::V4(listen)];
                outward.silent = Some(listen);
            }
        }
        if let Some(server) = &settings.doh {
            let addresses =
                known("--dns-over-https", (&server.url, &server.host), host.doh.as_ref())?;
            let listen = loopback(id);
            outward.resolvers = vec![IpAddr::V4(listen)];
            outward.doh = Some(Doh {
                listen,
                servers: addresses.iter().map(|ip| SocketAddr::new(*ip, server.port)).collect(),
                host: server.host.clone(),
                path: server.path.clone(),
                authorities: api_proxy::authorities(host),
            });
        }
        Ok(outward)
    }

    /// What the user is told at the beginning.
    pub fn lines(&self) -> Vec<String> {
        let list = |items: Vec<String>| items.join(", ");
        let parents = list(self.parents.iter().map(ToString::to_string).collect());
        let direct = match &*self.direct {
            [] => String::new(),
            domains => format!(", but not to {}", list(domains.to_vec())),
        };
        let parents = (!parents.is_empty())
            .then(|| format!("Upstream proxy: everything leaves through {parents}{direct}"));
        let doh = self.doh.as_ref().map(|doh| format!("DNS over HTTPS: {} is asked", doh.host));
        parents.into_iter().chain(doh).collect()
    }
}

fn parents(parent: &cli::ParentProxy, host: &Host) -> Result<Vec<SocketAddr>, UsageError> {
    let text = format!("{}:{}", parent.host, parent.port);
    let addresses = known(parent.origin, (&text, &parent.host), host.parent.as_ref())?;
    if let Some(here) = addresses.iter().find(|address| !cli::is_elsewhere(**address)) {
        let problem = format!("{} leads to {here}, which is no other machine", parent.host);
        return Err(UsageError::value(parent.origin, &text, problem, cli::LOCAL_REMEDY));
    }
    let usable = addresses.iter().take(MAX_PARENTS);
    Ok(usable.map(|address| SocketAddr::new(*address, parent.port)).collect())
}

/// What the machine said of a name.
fn known<'a>(
    origin: &'static str,
    (value, name): (&str, &str),
    answer: Option<&'a Result<Vec<IpAddr>, String>>,
) -> Result<&'a [IpAddr], UsageError> {
    let refuse = |reason: &str| {
        let problem = format!("{name} cannot be resolved: {reason}");
        UsageError::value(origin, value, problem, "check the name, or write its address")
    };
    match answer {
        Some(Ok(addresses)) => Ok(addresses),
        Some(Err(reason)) => Err(refuse(reason)),
        None => Err(refuse("nobody was asked")),
    }
}

/// An address for this run that nobody else uses, apart from the first ones, where programs and distributions put
/// theirs. Two runs whose ids are mixed (FNV-1a) to the same one of eight million do not both start.
fn loopback(id: &str) -> Ipv4Addr {
    let mixed = id
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [_, first, second, third] = mixed.to_be_bytes();
    Ipv4Addr::new(127, 64 + first % 128, second, 1 + third % 254)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Request;

    fn decided(options: &[&str], host: &Host) -> Result<Outward, String> {
        let line = ["awf"].iter().chain(options).chain(&["--", "true"]).map(Into::into);
        let Ok(Request::Run(args)) = cli::parse(line) else {
            return Err(format!("{options:?} is no run"));
        };
        let settings = Settings::resolve(&args, &host.caller).map_err(|error| error.to_string())?;
        Outward::decide(&settings, host, "awf-1-abcd").map_err(|error| error.to_string())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn without_options_the_machines_servers_are_asked_and_nobody_stands_between() {
        let outward = decided(&[], &Host::sample()).unwrap();
        assert_eq!(outward, Outward { resolvers: vec![ip("9.9.9.9")], ..Outward::default() });
        assert_eq!(outward.lines(), [""; 0]);
    }

    #[test]
    fn an_upstream_proxy_is_its_addresses() {
        let parent = Some(Ok(vec![ip("10.0.0.1"), ip("fd00::1")]));
        let mut host = Host { parent, ..Host::sample() };
        host.caller.env.insert("no_proxy".to_owned(), ".corp.example".to_owned());
        let outward = decided(&["--upstream-proxy", "p:8080"], &host).unwrap();
        let parents = ["10.0.0.1:8080", "[fd00::1]:8080"].map(|text| text.parse().unwrap());
        assert_eq!(outward.parents, parents);
        assert_eq!(outward.direct, ["corp.example"]);
        assert_eq!((outward.silent, &*outward.resolvers), (None, &[ip("9.9.9.9")][..]));
        let [line] = &*outward.lines() else { panic!() };
        assert!(line.contains("10.0.0.1:8080") && line.contains("corp.example"), "{line}");
        host.caller.env.clear();
        let outward = decided(&["--upstream-proxy", "p:8080"], &host).unwrap();
        let silent = outward.silent.expect("nobody is asked");
        assert_eq!(outward.resolvers, [IpAddr::V4(silent)]);
    }

    #[test]
    fn names_without_an_address_and_with_one_of_this_machine_are_refused() {
        for (answer, reason) in [
            (None, "nobody was asked"),
            (Some(Err("no such name".to_owned())), "no such name"),
            (Some(Ok(vec![ip("10.0.0.1"), ip("127.0.1.1")])), "leads to 127.0.1.1"),
        ] {
            let host = Host { parent: answer, ..Host::sample() };
            let complaint = decided(&["--upstream-proxy", "p"], &host).unwrap_err();
            assert!(complaint.starts_with("--upstream-proxy 'p:3128': "), "{complaint}");
            assert!(complaint.contains(reason), "{complaint}");
        }
    }

    #[test]
    fn with_dns_over_https_squid_asks_this_run_only() {
        let host = Host { doh: Some(Ok(vec![ip("8.8.8.8")])), ..Host::sample() };
        let outward = decided(&["--dns-over-https", "https://dns.google"], &host).unwrap();
        let [IpAddr::V4(own)] = *outward.resolvers else { panic!("{:?}", outward.resolvers) };
        assert!(own.is_loopback() && (64..192).contains(&own.octets()[1]), "{own}");
        assert_ne!(loopback("awf-1-abcd"), loopback("awf-1-abce"));
        let doh = outward.doh.unwrap();
        assert_eq!((&*doh.host, &*doh.path, doh.listen), ("dns.google", "/dns-query", own));
        assert_eq!(doh.servers, ["8.8.8.8:443".parse().unwrap()]);
    }
}
