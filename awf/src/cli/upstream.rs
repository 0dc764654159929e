//! `--upstream-proxy`: the proxy behind which this machine lives.
//!
//! Owns its grammar, and what the caller's proxy variables say. Takes options and environment, gives host,
//! port and the domains that do without it. Must never put a password into a message, or guess between
//! two proxies.

use std::net::IpAddr;

use super::usage::UsageError;
use crate::doors::names;
use crate::host::Variables;
use crate::policy::literal;

/// The option.
const FLAG: &str = "--upstream-proxy";
/// Port unless said otherwise, the original's and Squid's.
const DEFAULT_PORT: u16 = 3128;
/// Variables that name the proxy, in the order in which they are read.
const PROXY_NAMES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"];
/// Variables that name what does without it; the first one counts.
const DIRECT_NAMES: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// A proxy through which everything leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentProxy {
    /// The option or variable that names it.
    pub origin: &'static str,
    /// Name in lower case, or address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Domains that do without it, each with what is below, none below another.
    pub direct: Vec<String>,
}

/// The proxy of the option, else that of the environment.
pub(super) fn parent(
    option: Option<&str>,
    env: &Variables,
    notices: &mut Vec<String>,
) -> Result<Option<ParentProxy>, UsageError> {
    let named = match option {
        Some(text) => Some((FLAG, endpoint(FLAG, text)?)),
        None => detect(env)?,
    };
    let Some((origin, (host, port))) = named else { return Ok(None) };
    let direct = direct(env, notices);
    Ok(Some(ParentProxy { origin, host, port, direct }))
}

/// Host and port.
type Endpoint = (String, u16);

/// What the variables agree on. Empty ones count as unset.
fn detect(env: &Variables) -> Result<Option<(&'static str, Endpoint)>, UsageError> {
    let set =
        |name: &'static str| env.get(name).filter(|text| !text.is_empty()).map(|text| (name, text));
    let mut found = None;
    for (name, text) in PROXY_NAMES.into_iter().filter_map(set) {
        let endpoint = endpoint(name, text)?;
        match &found {
            None => found = Some((name, endpoint)),
            Some((_first, known)) if *known == endpoint => {}
            Some((first, _known)) => {
                let problem = format!("not the proxy that {first} names");
                let remedy = format!("set both alike, or choose one with {FLAG}");
                return Err(UsageError::value(name, &shown(text), problem, remedy));
            }
        }
    }
    Ok(found)
}

/// Host and port of `[http://]HOST[:PORT][/]`.
fn endpoint(origin: &'static str, text: &str) -> Result<Endpoint, UsageError> {
    let refuse = |problem: &str, remedy: &str| {
        let unset = if origin == FLAG { "" } else { ", or unset the variable" };
        UsageError::value(origin, &shown(text), problem, format!("{remedy}{unset}"))
    };
    let form = "write it as http://proxy.example:3128";
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(refuse("only a proxy that is spoken to by plain HTTP can be used", form));
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        let remedy = "name a proxy that knows this machine without them";
        return Err(refuse("a user name or password is passed on to no proxy", remedy));
    }
    let (host, port) = authority(rest).ok_or_else(|| refuse("not a host with a port", form))?;
    let port = match port {
        None => Some(DEFAULT_PORT),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        Some(_) => None,
    };
    let port = port.filter(|port| *port != 0);
    let port = port.ok_or_else(|| refuse("the port is not a number from 1 to 65535", form))?;
    let host = match literal(host) {
        Some(address) if is_plain(host, address) => address.to_string(),
        Some(_) => return Err(refuse("an unusual spelling of an address", form)),
        None => names::canonical(host)
            .map_err(|_problem| refuse("neither a host name nor an address", form))?,
    };
    let is_local = host == "localhost" || host.ends_with(".localhost");
    if is_local || literal(&host).is_some_and(|address| !is_elsewhere(address)) {
        return Err(refuse("not the address of another machine", LOCAL_REMEDY));
    }
    Ok((host, port))
}

/// What to do about a proxy on this machine.
pub const LOCAL_REMEDY: &str =
    "name the proxy behind it, or an address at which other machines reach it";

/// Whether an address can be another machine's.
pub fn is_elsewhere(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    let address = address.to_canonical();
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || broadcast)
}

/// Host and, if there is a colon behind it, port.
fn authority(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        let host = host.parse::<std::net::Ipv6Addr>().is_ok().then_some(host)?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

/// Whether an address is spelled as everybody reads it.
fn is_plain(text: &str, address: IpAddr) -> bool {
    text.contains(':') || text == address.to_string()
}

/// Without what could be a password.
fn shown(text: &str) -> String {
    let Some((before, host)) = text.rsplit_once('@') else { return text.to_owned() };
    let scheme = before.split_once("://").map(|(scheme, _rest)| format!("{scheme}://"));
    format!("{}***@{host}", scheme.unwrap_or_default())
}

/// The domains that do without the proxy, in order.
fn direct(env: &Variables, notices: &mut Vec<String>) -> Vec<String> {
    let set =
        |name: &'static str| env.get(name).filter(|text| !text.is_empty()).map(|text| (name, text));
    let Some((name, list)) = DIRECT_NAMES.into_iter().find_map(set) else { return Vec::new() };
    let mut ignored = Vec::new();
    let mut domains: Vec<String> = Vec::new();
    for item in list.split([',', ' ', '\t']).filter(|item| !item.is_empty()) {
        let address = literal(item);
        let domain = item.strip_prefix("*.").or_else(|| item.strip_prefix('.')).unwrap_or(item);
        match names::canonical(domain) {
            // Never leaves anyway.
            Ok(domain) if domain == "localhost" => {}
            _ if address.is_some_and(|address| !is_elsewhere(address)) => {}
            Ok(domain) if address.is_none() => domains.push(domain),
            _ => ignored.push(item.escape_debug().to_string()),
        }
    }
    if !ignored.is_empty() {
        notices.push(format!(
            "{name}: {} ignored; only domains such as .corp.example do without the upstream proxy",
            ignored.join(", ")
        ));
    }
    let below = |one: &String, other: &String| {
        one.strip_suffix(other.as_str()).is_some_and(|front| front.ends_with('.'))
    };
    let widest = |domain: &&String| !domains.iter().any(|other| below(domain, other));
    let mut direct: Vec<String> = domains.iter().filter(widest).cloned().collect();
    direct.sort();
    direct.dedup();
    direct
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn asked(option: Option<&str>, env: &[(&str, &str)]) -> Result<Option<ParentProxy>, String> {
        parent(option, &variables(env), &mut Vec::new()).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check(text: &str, host: &str, port: u16) {
        let proxy = asked(Some(text), &[]).unwrap().unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), (host, port), "{text}");
    }

    #[test]
    fn a_proxy_is_a_host_with_a_port() {
        check("http://p:3128", "p", 3128);
        check("p:3128", "p", 3128);
        check("p", "p", 3128);
        check("HTTP://Proxy.Corp.Example./", "proxy.corp.example", 3128);
        check("http://10.0.0.1:8080/", "10.0.0.1", 8080);
        check("[fd00::1]:8080", "fd00::1", 8080);
        check("http://[2001:DB8::1]", "2001:db8::1", 3128);
    }

    #[test]
    fn what_is_no_proxy_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "neither a host name"),
            ("http://", "neither a host name"),
            ("https://p:3128", "plain HTTP"),
            ("socks5://p:1", "plain HTTP"),
            ("://p", "plain HTTP"),
            ("http://u:secret@p:3128", "password is passed on to no proxy"),
            ("u:secret@p", "password is passed on to no proxy"),
            ("p:99999", "the port is not"),
            ("p:0", "the port is not"),
            ("p:", "the port is not"),
            ("p:+1", "the port is not"),
            ("p:1:2", "the port is not"),
            ("p/path", "neither a host name"),
            ("p q", "neither a host name"),
            ("p\"", "neither a host name"),
            ("p#x", "neither a host name"),
            ("p;x", "neither a host name"),
            ("p\\x", "neither a host name"),
            ("http://p\nq", "neither a host name"),
            ("localhost:3128", "another machine"),
            ("x.localhost", "another machine"),
            ("127.0.0.1:3128", "another machine"),
            ("http://127.9.9.9", "another machine"),
            ("[::1]:3128", "another machine"),
            ("[::ffff:127.0.0.1]", "another machine"),
            ("0.0.0.0", "another machine"),
            ("127.1", "unusual spelling"),
            ("0x7f000001", "unusual spelling"),
            ("1.2.3.4.", "unusual spelling"),
            ("::1", "port"),
            ("[::1", "not a host"),
            ("[::1]x", "not a host"),
            ("[p]:1", "not a host"),
        ] {
            let complaint = asked(Some(text), &[]).unwrap_err();
            assert!(complaint.starts_with("--upstream-proxy '"), "{complaint}");
            assert!(complaint.contains(reason), "{text:?}: {complaint}");
            assert!(!complaint.contains("secret"), "{complaint}");
        }
    }

    #[test]
    fn the_environment_names_the_proxy_if_the_option_does_not() {
        let proxy = |env: &[(&str, &str)]| {
            asked(None, env).unwrap().map(|proxy| (proxy.origin, proxy.host, proxy.port))
        };
        assert_eq!(proxy(&[]), None);
        assert_eq!(proxy(&[("https_proxy", ""), ("HTTP_PROXY", "")]), None);
        let p = || "p".to_owned();
        assert_eq!(proxy(&[("HTTP_PROXY", "p:1")]), Some(("HTTP_PROXY", p(), 1)));
        let alike = [("https_proxy", "http://p/"), ("HTTPS_PROXY", ""), ("HTTP_PROXY", "P:3128")];
        assert_eq!(proxy(&alike), Some(("https_proxy", p(), 3128)));
        let differing = [("https_proxy", "p:1"), ("http_proxy", "http://u:secret@p:2")];
        let complaint = asked(None, &differing).unwrap_err();
        assert!(
            complaint.starts_with("http_proxy '") && !complaint.contains("secret"),
            "{complaint}"
        );
        let differing = [("https_proxy", "p:1"), ("HTTPS_PROXY", "p:2")];
        let complaint = asked(None, &differing).unwrap_err();
        assert!(complaint.contains("not the proxy that https_proxy names"), "{complaint}");
        let chosen = asked(Some("q"), &differing).unwrap().unwrap();
        assert_eq!((chosen.origin, chosen.host.as_str()), ("--upstream-proxy", "q"));
        let complaint = asked(None, &[("http_proxy", "http://127.0.0.1:3128")]).unwrap_err();
        assert!(complaint.contains("or unset the variable"), "{complaint}");
    }

    #[test]
    fn domains_without_the_proxy_are_the_widest_and_the_rest_is_told() {
        let list = "localhost,127.0.0.1, ::1,.Corp.Example,a.corp.example,*.b.com b.com,10.0.0.0/8,1.2.3.4,*,c.com:80,d_d.e";
        let mut notices = Vec::new();
        let env = variables(&[("no_proxy", list), ("NO_PROXY", "z.com")]);
        let proxy = parent(Some("p"), &env, &mut notices).unwrap().unwrap();
        assert_eq!(proxy.direct, ["b.com", "corp.example", "d_d.e"]);
        let [notice] = &*notices else { panic!("{notices:?}") };
        assert!(
            notice.starts_with("no_proxy: 10.0.0.0/8, 1.2.3.4, *, c.com:80 ignored"),
            "{notice}"
        );
        let mut notices = Vec::new();
        assert_eq!(parent(None, &env, &mut notices).unwrap(), None);
        assert!(notices.is_empty(), "{notices:?}");
    }
}
