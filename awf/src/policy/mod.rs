//! Which names and addresses may be reached: what the operator's lists mean.
//!
//! Takes the entries of the allow and block lists, gives a `Policy` that answers for any host, port
//! and scheme. Pure data: knows neither Squid's syntax nor map layouts, and never resolves a name.
//! `proxy::config` renders the same policy for Squid; a test holds the two to the same answers.

mod entry;
mod address;
mod names;
mod breadth;
mod decision;
mod services;
pub mod credentials;
mod urls;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;

pub use address::literal;
pub use decision::{Decision, Rule};
pub use entry::{EntryError, List, Problem};
pub use names::{Found, Names, Pattern, Star};
pub use services::{DANGEROUS_PORTS, Opening, PortRange, Service, Services, Target};
pub use urls::{PatternError, UrlPattern, UrlRules, UrlVerdict};

use address::ends_in_number;
use entry::Subject;

/// The ports that any request may ask for: HTTP and HTTPS (RFC 9110, section 4.2).
const TCP_PORTS: [u16; 2] = [HTTP_PORT, TLS_PORT];
const HTTP_PORT: u16 = 80;
const TLS_PORT: u16 = 443;
/// Longest name and label that a resolver takes (RFC 1035, section 2.3.4). Squid 5.7 cuts longer
/// labels in its query, so it would ask for another name than the one it has judged.
const NAME_MAX_BYTES: usize = 253;
const LABEL_MAX_BYTES: usize = 63;
/// Last labels of names that never lead to the internet.
pub(crate) const LOCAL_DOMAINS: [&str; 4] = ["arpa", "internal", "local", "localhost"];

/// What an entry is valid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// No scheme: plain HTTP on 80, and CONNECT to 443 and 80.
    Both,
    /// `http://`: plain HTTP on port 80.
    Http,
    /// `https://`: CONNECT to port 443.
    Https,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "both",
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// What a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain HTTP, not through CONNECT.
    Http,
    /// CONNECT, or TLS that the relay turns into CONNECT.
    Tls,
}

/// The meaning of an allow and a block list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Policy {
    both: Names,
    http: Names,
    https: Names,
    /// With the id of the rule for each.
    ips: BTreeMap<Ipv4Addr, &'static str>,
    blocked: Names,
    blocked_ips: BTreeSet<Ipv4Addr>,
    /// Whether names that nothing allows are let through.
    #[serde(skip_serializing_if = "is_false")]
    audit_mode: bool,
}

impl Policy {
    /// Reads both lists: entries already split at commas and lines, not yet trimmed. Gives the
    /// policy with warnings for the operator, or everything that is wrong in either list.
    pub fn resolve(
        allow: &[String],
        block: &[String],
    ) -> Result<(Self, Vec<String>), Vec<EntryError>> {
        let mut policy = Self::default();
        let mut warnings = Vec::new();
        let mut errors = Vec::new();
        for (list, entries) in [(List::Allow, allow), (List::Block, block)] {
            for text in entries.iter().map(|entry| entry.trim()).filter(|entry| !entry.is_empty()) {
                match entry::parse(text, list) {
                    Ok(entry) => warnings.extend(policy.add(entry, list, text)),
                    Err(problem) => {
                        errors.push(EntryError { list, entry: text.to_owned(), problem });
                    }
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        warnings.extend(policy.contradictions());
        policy.both.reduce(None);
        policy.http.reduce(Some(&policy.both));
        policy.https.reduce(Some(&policy.both));
        policy.blocked.reduce(None);
        let mut seen = BTreeSet::new();
        warnings.retain(|warning| seen.insert(warning.clone()));
        Ok((policy, warnings))
    }

    /// The same lists in audit mode, if that is asked for: names that nothing allows and nothing blocks pass, and the decision
    /// says what would have denied them.
    #[must_use]
    pub fn in_audit_mode(self, audit_mode: bool) -> Self {
        Self { audit_mode, ..self }
    }

    /// Whether names that nothing allows are let through.
    pub fn is_in_audit_mode(&self) -> bool {
        self.audit_mode
    }

    /// `enforce` or `audit`, as plan, manifest and record say it.
    pub fn mode(&self) -> &'static str {
        if self.audit_mode { "audit" } else { "enforce" }
    }

    /// Whether a request may pass. `host` in any spelling a client may use: case, trailing dots,
    /// an IP literal in any form `literal` knows.
    pub fn decide(&self, host: &str, port: u16, scheme: Scheme) -> Decision {
        let deny = |rule, reason: &str| Decision::by(rule, None, reason.to_owned());
        if !TCP_PORTS.contains(&port) {
            let reason = format!("port {port} is not allowed, only 80 and 443 are");
            return Decision::by(Rule::DenyUnsafePorts, None, reason);
        }
        if scheme == Scheme::Http && port != HTTP_PORT {
            return deny(Rule::DenyUnsafePorts, "plain HTTP is allowed on port 80 only");
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        match literal(&name) {
            Some(IpAddr::V4(address)) => return self.decide_address(address),
            Some(IpAddr::V6(_)) => {
                return deny(Rule::DenyRawIpv6, "IPv6 literals are never allowed, use the name");
            }
            None => {}
        }
        if !is_resolvable(&name) {
            return deny(Rule::DenyMalformedName, "this is not a name that can be resolved");
        }
        if ends_in_number(&name) {
            return deny(Rule::DenyRawIpv4, "this is neither a name nor an IPv4 address");
        }
        if is_reserved(&name) {
            return deny(Rule::DenyDefault, "no name can ever exist below .invalid");
        }
        self.decide_name(&name, port, scheme)
    }

    /// Ports that any request may ask for.
    pub fn tcp_ports(&self) -> &[u16] {
        &TCP_PORTS
    }

    /// Allowed addresses, without those that are blocked.
    pub fn exact_ips(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.ip_rules().map(|(address, _rule)| address)
    }

    /// Allowed addresses as in `exact_ips`, each with its rule.
    pub fn ip_rules(&self) -> impl Iterator<Item = (Ipv4Addr, Rule)> {
        let unblocked =
            self.ips.iter().filter(|(address, _id)| !self.blocked_ips.contains(address));
        unblocked.map(|(address, id)| (*address, Rule::AllowIp(id)))
    }

    /// Allowed names with this protocol; those of `Both` are not repeated in the other two.
    pub fn names(&self, protocol: Protocol) -> &Names {
        match protocol {
            Protocol::Both => &self.both,
            Protocol::Http => &self.http,
            Protocol::Https => &self.https,
        }
    }

    /// Blocked names, whatever the protocol.
    pub fn blocked(&self) -> &Names {
        &self.blocked
    }

    /// Blocked addresses.
    pub fn blocked_ips(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.blocked_ips.iter().copied()
    }

    /// Files an entry; gives warnings about it.
    fn add(&mut self, entry: entry::Entry, list: List, text: &str) -> Vec<String> {
        let names = match (list, entry.protocol) {
            (List::Block, _) => &mut self.blocked,
            (List::Allow, Protocol::Both) => &mut self.both,
            (List::Allow, Protocol::Http) => &mut self.http,
            (List::Allow, Protocol::Https) => &mut self.https,
        };
        let broad = match &entry.subject {
            Subject::Name(name) => breadth::of_name(name),
            Subject::Pattern(pattern) => breadth::of_pattern(pattern),
            Subject::Exact(_) => None,
            Subject::Address(address) => breadth::of_address(*address),
        };
        match entry.subject {
            Subject::Name(name) => names.insert_plain(name),
            Subject::Exact(name) => names.insert_exact(name),
            Subject::Pattern(pattern) => names.insert_pattern(pattern),
            Subject::Address(address) if list == List::Block => {
                self.blocked_ips.insert(address);
            }
            Subject::Address(address) => {
                // Leaked once per listed address; a policy lives as long as the process.
                let id = || format!("allow-ip-{}", address.to_string().replace('.', "-")).leak();
                self.ips.entry(address).or_insert_with(|| id());
            }
        }
        let read_as = entry.read_as.map(|name| format!("is read as {name}"));
        let broad = broad.filter(|_| list == List::Allow);
        let warnings = read_as.into_iter().chain(broad);
        warnings.map(|warning| format!("{list} domain {text:?} {warning}")).collect()
    }

    /// Entries that stand in both lists, where the operator may not know which one wins.
    fn contradictions(&self) -> Vec<String> {
        let allowed = [&self.both, &self.http, &self.https];
        let names = allowed.into_iter().flat_map(|names| names.plain().chain(names.exact()));
        let names = names.filter(|name| self.blocked.find(name).is_some()).map(str::to_owned);
        let ips = self.blocked_ips.iter().filter(|address| self.ips.contains_key(address));
        names
            .chain(ips.map(Ipv4Addr::to_string))
            .map(|entry| format!("{entry} is allowed and blocked; blocked wins"))
            .collect()
    }

    fn decide_address(&self, address: Ipv4Addr) -> Decision {
        let text = address.to_string();
        if self.blocked_ips.contains(&address) {
            return Decision::by(Rule::DenyBlockedPlain, Some(&text), format!("{text} is blocked"));
        }
        if let Some(id) = self.ips.get(&address) {
            let reason = format!("{text} is in the allowed list");
            return Decision::by(Rule::AllowIp(id), Some(&text), reason);
        }
        let reason = format!("{text} is an address that is not in the allowed list");
        Decision::by(Rule::DenyRawIpv4, None, reason)
    }

    fn decide_name(&self, name: &str, port: u16, scheme: Scheme) -> Decision {
        if let Some(found) = self.blocked.find(name) {
            let rule = match found {
                Found::Plain(_) | Found::Exact(_) => Rule::DenyBlockedPlain,
                Found::Pattern(_) => Rule::DenyBlockedPattern,
            };
            let reason = format!("{name} is blocked by {}", found.entry());
            return Decision::by(rule, Some(found.entry()), reason);
        }
        let special = match (scheme, port) {
            (Scheme::Http, _) => Some(Protocol::Http),
            (Scheme::Tls, TLS_PORT) => Some(Protocol::Https),
            (Scheme::Tls, _) => None,
        };
        for protocol in special.into_iter().chain([Protocol::Both]) {
            if let Some(found) = self.names(protocol).find(name) {
                let rule = match found {
                    Found::Plain(_) | Found::Exact(_) => Rule::AllowPlain(protocol),
                    Found::Pattern(_) => Rule::AllowPattern(protocol),
                };
                let reason = format!("{name} is allowed by {}", found.entry());
                return Decision::by(rule, Some(found.entry()), reason);
            }
        }
        let reason = self.why_not(name);
        if !self.audit_mode {
            return Decision::by(Rule::DenyDefault, None, reason);
        }
        if !is_public(name) {
            let reason =
                format!("{reason}, and audit mode lets names of the internet through only");
            return Decision::by(Rule::DenyDefault, None, reason);
        }
        let would_deny = Some(Rule::DenyDefault.id());
        let passes = Decision::by(
            Rule::AllowAuditMode,
            None,
            format!("{reason}, but let through by audit mode"),
        );
        Decision { would_deny, ..passes }
    }

    fn why_not(&self, name: &str) -> String {
        if self.http.find(name).is_some() {
            format!("{name} is allowed with http:// only (plain HTTP on port 80)")
        } else if self.https.find(name).is_some() {
            format!("{name} is allowed with https:// only (TLS on port 443)")
        } else {
            format!("{name} is not in the allowed list")
        }
    }
}

/// The value for `--allow-domains` that would allow `hosts` beside what is allowed now; `None` when
/// no entry could (IPv6 literals, malformed names). It cannot help against a block list or for a
/// port: ask for hosts denied by `deny-default` or `deny-raw-ipv4` only.
pub fn suggest(hosts: &[&str], current_allow: &[String]) -> Option<String> {
    let current = current_allow.iter().map(|entry| entry.trim()).filter(|entry| !entry.is_empty());
    let mut entries: Vec<String> = current.map(str::to_owned).collect();
    let before = entries.len();
    for host in hosts {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let entry = literal(&host).map_or(host, |address| address.to_string());
        if entry::parse(&entry, List::Allow).is_ok() && !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    (entries.len() > before).then(|| entries.join(","))
}

/// Names that never exist (RFC 6761, section 6.4). awf asks Squid for such a name where a refusal has
/// to be certain, so no list may allow one.
fn is_reserved(name: &str) -> bool {
    name.rsplit('.').next() == Some("invalid")
}

/// Whether a name can be one of the internet: more than one label, and not below a domain that is of the local network alone
/// (RFC 6761 section 6.3, RFC 6762, RFC 8375 and the registry's reservation of `internal`). Behind an upstream proxy nobody sees
/// which address a name leads to, and such names lead to what must not be reached: metadata services of clouds, this machine.
fn is_public(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_rest, last)| !LOCAL_DOMAINS.contains(&last))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Letters, digits, hyphens and underscores in labels of legal length.
fn is_resolvable(name: &str) -> bool {
    let fits = |label: &str| (1..=LABEL_MAX_BYTES).contains(&label.len());
    let byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    name.len() <= NAME_MAX_BYTES && name.bytes().all(byte) && name.split('.').all(fits)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
