//! The rules of a run, and which of them decided a request.
//!
//! Takes `policy-manifest.json`, the original's or awf's; gives the rule that was put on record when the request was decided,
//! or, for logs without that, the rule that decides it when all are tried anew. Must never blame a rule that cannot have
//! decided.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context as _, Result};
use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use super::entry::{Entry, Outcome};
use crate::commands::source;
use crate::plan::addresses::API_PROXY;

/// Id of no rule: none of the manifest can have decided.
pub(super) const UNKNOWN: &str = "unknown";

/// The policy of a run. What is not needed is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Manifest {
    rules: Vec<Listed>,
    pub(super) dangerous_ports: Vec<u16>,
    pub(super) dns_servers: Vec<String>,
    pub(super) ssl_bump_enabled: bool,
    pub(super) dlp_enabled: bool,
    pub(super) host_access_enabled: bool,
    allow_host_ports: Option<String>,
    pub(super) topology_peers: Vec<String>,
}

/// A rule as the manifest lists it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    #[serde(default)]
    order: u64,
    action: Action,
    #[serde(default)]
    acl_name: String,
    #[serde(default)]
    protocol: Protocol,
    #[serde(default)]
    domains: Vec<String>,
    #[serde(default)]
    description: String,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    /// It lets through.
    Allow,
    /// It refuses.
    Deny,
}

impl Action {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What a rule is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    Http,
    Https,
    #[default]
    Both,
}

/// A rule that can be tried.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) action: Action,
    pub(super) description: String,
    protocol: Protocol,
    condition: Condition,
}

/// What a rule asks for.
#[derive(Debug)]
enum Condition {
    Everything,
    /// The API proxy is the client.
    FromApiProxy,
    UnsafePort,
    UnsafeTunnelPort,
    Ipv4Literal,
    Ipv6Literal,
    /// One of these names, or a name below one with a dot before it.
    Names(Vec<String>),
    Patterns(Vec<(String, Regex)>),
    /// What a log does not tell.
    Unknowable,
}

/// Ports that `deny-unsafe-ports` leaves alone.
#[derive(Debug)]
struct SafePorts(Vec<(u16, u16)>);

/// Which rule decided, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decided<'a> {
    /// On record, and in the manifest, at this place.
    Recorded(usize),
    /// On record only.
    Elsewhere(&'a str),
    /// By trying all rules.
    Replayed(usize),
    /// No rule of the manifest can have.
    Unknown,
}

/// The rules in their order.
#[derive(Debug, Default)]
pub(super) struct Rules {
    list: Vec<Rule>,
    by_id: HashMap<String, usize>,
    safe: SafePorts,
}

impl Default for SafePorts {
    fn default() -> Self {
        Self(vec![(80, 80), (443, 443)])
    }
}

impl Manifest {
    /// Reads a manifest.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::io::read_to_string(source::open(path)?);
        let text = text.with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))
    }

    /// Makes its rules ready to be tried. Patterns that are none are said.
    pub(super) fn rules(&mut self) -> Rules {
        let mut listed = std::mem::take(&mut self.rules);
        listed.sort_by_key(|rule| rule.order);
        let rules: Vec<Rule> = listed.into_iter().map(Rule::of).collect();
        let by_id = rules.iter().enumerate().map(|(index, rule)| (rule.id.clone(), index));
        Rules {
            by_id: by_id.collect(),
            safe: SafePorts::with(self.allow_host_ports.as_deref().unwrap_or_default()),
            list: rules,
        }
    }
}

impl Rule {
    fn of(listed: Listed) -> Self {
        let condition = Condition::of(&listed);
        let Listed { id, action, protocol, description, .. } = listed;
        Self { id, action, description, protocol, condition }
    }

    fn decides(&self, entry: &Entry<'_>, safe: &SafePorts) -> bool {
        let fits = match self.protocol {
            Protocol::Both => true,
            Protocol::Http => !entry.is_https(),
            Protocol::Https => entry.is_https(),
        };
        fits && self.condition.holds(entry, safe)
    }
}

impl Condition {
    fn of(listed: &Listed) -> Self {
        if listed.acl_name == "all" {
            return Self::Everything;
        }
        if listed.domains.iter().any(|domain| domain == "*") {
            return Self::FromApiProxy;
        }
        if listed.domains.is_empty() {
            return match &*listed.id {
                "deny-unsafe-ports" => Self::UnsafePort,
                "deny-connect-unsafe-ports" => Self::UnsafeTunnelPort,
                "deny-raw-ipv4" => Self::Ipv4Literal,
                "deny-raw-ipv6" => Self::Ipv6Literal,
                _ => Self::Unknowable,
            };
        }
        let is_pattern = |domain: &String| {
            domain.contains(['^', '$', '*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '\\'])
        };
        if listed.acl_name.contains("regex") || listed.domains.iter().any(is_pattern) {
            return Self::Patterns(patterns(&listed.id, &listed.domains));
        }
        Self::Names(listed.domains.iter().map(|domain| domain.to_ascii_lowercase()).collect())
    }

    fn holds(&self, entry: &Entry<'_>, safe: &SafePorts) -> bool {
        let domain = entry.domain();
        match self {
            Self::Everything => true,
            Self::FromApiProxy => entry.client_ip.parse() == Ok(API_PROXY),
            Self::UnsafePort => !safe.has(entry.port()),
            Self::UnsafeTunnelPort => entry.is_https() && entry.port() != 443,
            Self::Ipv4Literal => domain.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6Literal => domain.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok(),
            Self::Names(names) => names.iter().any(|name| is_below(domain, name)),
            Self::Patterns(patterns) => patterns.iter().any(|(_text, it)| it.is_match(domain)),
            Self::Unknowable => false,
        }
    }

    /// The entry of the rule's list that a domain matches.
    fn entry_for(&self, domain: &str) -> Option<&str> {
        match self {
            Self::Names(names) => {
                names.iter().find(|name| is_below(domain, name)).map(String::as_str)
            }
            Self::Patterns(patterns) => {
                let matching = patterns.iter().find(|(_text, it)| it.is_match(domain));
                matching.map(|(text, _it)| text.as_str())
            }
            Self::Everything
            | Self::FromApiProxy
            | Self::UnsafePort
            | Self::UnsafeTunnelPort
            | Self::Ipv4Literal
            | Self::Ipv6Literal
            | Self::Unknowable => None,
        }
    }
}

/// Squid compares without regard to case, and anywhere in the name. Size and time are bounded: the file may be anybody's.
fn patterns(id: &str, domains: &[String]) -> Vec<(String, Regex)> {
    let compiled = domains.iter().filter_map(|text| {
        match RegexBuilder::new(text).case_insensitive(true).size_limit(1 << 20).build() {
            Ok(regex) => Some((text.clone(), regex)),
            Err(_invalid) => {
                tracing::warn!("{id} of the manifest has a pattern that cannot be tried: {text}");
                None
            }
        }
    });
    compiled.collect()
}

/// Whether a domain is the listed one or, where that begins with a dot, one below it.
fn is_below(domain: &str, listed: &str) -> bool {
    let Some(suffix) = listed.strip_prefix('.') else { return domain.eq_ignore_ascii_case(listed) };
    if domain.eq_ignore_ascii_case(suffix) {
        return true;
    }
    let tail = domain.len().checked_sub(listed.len()).and_then(|start| domain.get(start..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(listed))
}

impl SafePorts {
    /// Those, and the ports and ranges in a list with commas.
    fn with(list: &str) -> Self {
        let mut safe = Self::default();
        for item in list.split(',') {
            let (low, high) =
                item.trim().split_once('-').unwrap_or_else(|| (item.trim(), item.trim()));
            if let (Ok(low), Ok(high)) = (low.parse(), high.parse()) {
                safe.0.push((low, high));
            }
        }
        safe
    }

    fn has(&self, port: u16) -> bool {
        self.0.iter().any(|(low, high)| (*low..=*high).contains(&port))
    }
}

impl Rules {
    /// Which rule decided a request.
    pub(super) fn decided<'a>(&self, entry: &'a Entry<'_>) -> Decided<'a> {
        if let Some(id) = entry.rule.as_deref() {
            return self.by_id.get(id).map_or(Decided::Elsewhere(id), |it| Decided::Recorded(*it));
        }
        let action = match entry.outcome() {
            Outcome::Denied => Action::Deny,
            // What failed later had been let through.
            Outcome::Allowed | Outcome::Error => Action::Allow,
        };
        let decides = |rule: &Rule| rule.action == action && rule.decides(entry, &self.safe);
        self.list.iter().position(decides).map_or(Decided::Unknown, Decided::Replayed)
    }

    /// The rules in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.list.iter()
    }

    /// The id of a rule that decided.
    pub(super) fn id<'a>(&'a self, decided: Decided<'a>) -> &'a str {
        match decided {
            Decided::Recorded(index) | Decided::Replayed(index) => {
                self.list.get(index).map_or(UNKNOWN, |rule| &*rule.id)
            }
            Decided::Elsewhere(id) => id,
            Decided::Unknown => UNKNOWN,
        }
    }

    /// Why that rule, for a reader.
    pub(super) fn reason(&self, decided: Decided<'_>, domain: &str) -> String {
        let rule = |index: usize| self.list.get(index);
        match decided {
            Decided::Recorded(index) => rule(index).map_or_else(String::new, |rule| {
                format!("recorded when decided: {}", rule.description)
            }),
            Decided::Elsewhere(_id) => "recorded when decided".to_owned(),
            Decided::Replayed(index) => rule(index).map_or_else(String::new, |rule| {
                match rule.condition.entry_for(domain) {
                    Some(entry) => format!("{domain} matches {entry}"),
                    None => format!("first rule that fits: {}", rule.description),
                }
            }),
            Decided::Unknown => "rule not identified".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::logs::access;

    fn rules() -> Rules {
        let mut manifest: Manifest =
            serde_json::from_str(include_str!("../golden/original/policy-manifest.json")).unwrap();
        manifest.rules()
    }

    #[track_caller]
    fn check(client: &str, method: &str, (decision, url): (&str, &str), expected: &str) {
        let host = url.strip_prefix("http://").map_or(url, |rest| rest.trim_end_matches('/'));
        let text = format!("1.5 {client}:1 {host} -:- 1.1 {method} 403 {decision}:X {url} \"-\"");
        let entry = access::parse(&text).unwrap();
        let rules = rules();
        assert_eq!(rules.id(rules.decided(&entry)), expected, "{text}");
    }

    #[test]
    fn old_logs_are_explained_by_trying_all_rules() {
        let agent = "172.30.0.20";
        let (denied, allowed) = ("TCP_DENIED", "TCP_TUNNEL");
        check(agent, "CONNECT", (denied, "evil.test:443"), "deny-default");
        check(agent, "CONNECT", (denied, "api.example.test:8443"), "deny-unsafe-ports");
        check(agent, "CONNECT", (denied, "api.example.test:80"), "deny-connect-unsafe-ports");
        check(agent, "CONNECT", (denied, "192.0.2.1:443"), "deny-raw-ipv4");
        check(agent, "CONNECT", (denied, "ads.example.test:443"), "deny-blocked-plain");
        check(agent, "CONNECT", (allowed, "API.example.test:443"), "allow-both-plain");
        check(agent, "CONNECT", (allowed, "a.b.example.test:443"), "allow-both-plain");
        check(agent, "CONNECT", (allowed, "badexample.test:443"), "unknown");
        check(agent, "CONNECT", (allowed, "x1.pattern.test:443"), "allow-both-regex");
        check(agent, "GET", ("TCP_MISS", "http://plain.test/"), "allow-http-only-plain");
        check(agent, "CONNECT", (allowed, "plain.test:443"), "unknown");
        check("172.30.0.30", "CONNECT", (allowed, "model.test:443"), "allow-from-api-proxy");
        check(agent, "CONNECT", ("NONE_NONE", "gone.example.test:443"), "allow-both-plain");
        check(agent, "CONNECT", ("NONE_NONE", "gone.test:443"), "unknown");
    }

    #[test]
    fn a_rule_on_record_is_believed() {
        let mut manifest = Manifest::default();
        let text = "1.5 192.0.2.9:1 - -:- 1.1 GET 403 TCP_DENIED:X http://a.test/ \"-\"";
        let mut entry = access::parse(text).unwrap();
        entry.rule = Some("deny-method".into());
        let rules = manifest.rules();
        assert_eq!(rules.decided(&entry), Decided::Elsewhere("deny-method"));
    }
}
