//! What records tell about names: which were needed, by whom and how, and what no list of domains is about.
//!
//! Takes the lines of records one by one, gives [`Gathered`]. Pure. Must never: grow without bound, whatever the command
//! asked for, nor count what was let through by audit mode, or refused, as needed unless that is asked for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::health::Health;
use crate::commands::lines::Line;
use crate::commands::why::remedy;
use crate::observe::record::{NameSource, Record, Verdict};
use crate::observe::rules::Remedy;
use crate::plan::addresses::HOST_CALLED;
use crate::policy::{PortRange, Scheme};

/// Names, and other things, that are remembered at most. A list of more is for nobody.
const REMEMBERED: usize = 65_536;
/// Processes remembered for each name.
const PROCESSES: usize = 16;

/// How a name was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Uses {
    /// TLS on port 443.
    pub tls: bool,
    /// Plain HTTP on port 80.
    pub http: bool,
    /// Plain HTTP on port 80 by a client that may have asked the proxy for a tunnel first.
    pub tunnel: bool,
}

impl Uses {
    /// The requests that must be allowed.
    pub(super) fn requests(self) -> impl Iterator<Item = (u16, Scheme)> {
        let all = [
            (self.tls, (443, Scheme::Tls)),
            (self.http, (80, Scheme::Http)),
            (self.tunnel, (80, Scheme::Tls)),
        ];
        all.into_iter().filter_map(|(used, request)| used.then_some(request))
    }

    /// Both together.
    pub(super) fn with(self, other: Self) -> Self {
        Self {
            tls: self.tls || other.tls,
            http: self.http || other.http,
            tunnel: self.tunnel || other.tunnel,
        }
    }
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Process {
    /// Its executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// Its task name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
}

/// What stands behind a name, or behind several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// How often it was asked for.
    pub attempts: u64,
    /// When first: RFC 3339.
    pub first: String,
    /// When last.
    pub last: String,
    /// Bytes from the command.
    pub bytes_out: u64,
    /// Bytes to it.
    pub bytes_in: u64,
    /// How it was used.
    pub uses: Uses,
    /// Attempts of each process.
    pub by: BTreeMap<Process, u64>,
    /// Attempts of processes that are not remembered.
    pub by_others: u64,
    /// Attempts that an ordinary run would have refused.
    pub let_through: u64,
    /// Attempts that were refused.
    pub refused: u64,
}

impl Evidence {
    /// One more attempt, or several alike.
    fn add(&mut self, record: &Record) {
        let bytes = |count: Option<u64>| count.unwrap_or(0).saturating_mul(record.count);
        let until = record.until.as_ref().unwrap_or(&record.time);
        let exe = record.process.exe.clone();
        let process = Process { exe, comm: record.process.comm.clone() };
        self.join(&Self {
            attempts: record.count,
            first: record.time.clone(),
            last: until.clone(),
            bytes_out: bytes(record.bytes_out),
            bytes_in: bytes(record.bytes_in),
            uses: uses(record),
            by: BTreeMap::from([(process, record.count)]),
            by_others: 0,
            let_through: if record.would_deny.is_some() { record.count } else { 0 },
            refused: if record.verdict == Verdict::Deny { record.count } else { 0 },
        });
    }

    /// Both together.
    pub(super) fn join(&mut self, other: &Self) {
        self.attempts = self.attempts.saturating_add(other.attempts);
        if self.first.is_empty() || other.first < self.first {
            self.first.clone_from(&other.first);
        }
        if other.last > self.last {
            self.last.clone_from(&other.last);
        }
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.uses = self.uses.with(other.uses);
        for (process, count) in &other.by {
            if let Some(known) = self.by.get_mut(process) {
                *known = known.saturating_add(*count);
            } else if self.by.len() < PROCESSES {
                self.by.insert(process.clone(), *count);
            } else {
                self.by_others = self.by_others.saturating_add(*count);
            }
        }
        self.by_others = self.by_others.saturating_add(other.by_others);
        self.let_through = self.let_through.saturating_add(other.let_through);
        self.refused = self.refused.saturating_add(other.refused);
    }
}

/// Why something is not in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Class {
    /// Another flag opens it.
    AnotherFlag,
    /// Nothing opens it.
    Never,
    /// It was refused, or audit mode let it through; `--denied` counts it.
    Denied,
    /// It was allowed, but nobody answered, or nothing was transferred.
    Unanswered,
    /// Its name was looked up, but nobody connected to it.
    LookedUp,
    /// The run has it without a flag.
    Given,
}

/// What is not in the list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Aside {
    /// Why not.
    pub class: Class,
    /// Name or address, and port.
    pub target: String,
    /// What helps, or what it is about.
    pub remedy: String,
}

/// Everything that records told.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathered {
    /// Names in canonical form.
    pub needs: BTreeMap<String, Evidence>,
    /// What is not about names.
    pub asides: BTreeMap<Aside, Evidence>,
    /// Attempts on record.
    pub attempts: u64,
    /// Attempts that are not told apart any more, because there are too many different ones.
    pub forgotten: u64,
    /// Names of them that are needed: the list is too short.
    pub forgotten_needs: u64,
}

impl Gathered {
    /// Takes one line of a record. `denied`: what was refused counts as needed.
    pub(super) fn see(&mut self, line: Line, health: &mut Health, denied: bool) {
        match line {
            Line::Attempt(record) => {
                if record.name.is_none()
                    && record.address.is_none()
                    && record.verdict == Verdict::Error
                {
                    health.fault(&record.run);
                } else {
                    health.begin(&record.run);
                }
                if record.is_of_command() {
                    self.attempt(&record, denied);
                }
            }
            Line::Summary(summary) => health.end(&summary),
            Line::Signature(_) => {}
            Line::Damaged => health.damage(),
        }
    }

    fn attempt(&mut self, record: &Record, denied: bool) {
        self.attempts = self.attempts.saturating_add(record.count);
        match sort(record, denied) {
            None => {
                let name = name_of(record).unwrap_or_default();
                match room(&mut self.needs, name) {
                    Some(need) => need.add(record),
                    None => {
                        self.forgotten_needs = self.forgotten_needs.saturating_add(record.count);
                    }
                }
            }
            Some((class, remedy)) => {
                let aside = Aside { class, target: target_of(record), remedy };
                match room(&mut self.asides, aside) {
                    Some(known) => known.add(record),
                    None => self.forgotten = self.forgotten.saturating_add(record.count),
                }
            }
        }
    }

    /// Drops what is said of names that are needed anyway.
    pub(super) fn settle(&mut self) {
        let Self { needs, asides, .. } = self;
        asides.retain(|aside, _evidence| {
            let name = aside.target.rsplit_once(':').map_or(&*aside.target, |(name, _port)| name);
            let weak = matches!(aside.class, Class::LookedUp | Class::Unanswered);
            !(weak && needs.contains_key(name))
        });
        let denied: Vec<String> = asides
            .keys()
            .filter(|aside| aside.class == Class::Denied)
            .filter_map(|aside| aside.target.rsplit_once(':').map(|(name, _port)| name.to_owned()))
            .collect();
        asides.retain(|aside, _evidence| {
            aside.class != Class::LookedUp || !denied.contains(&aside.target)
        });
    }
}

fn room<K: Ord>(map: &mut BTreeMap<K, Evidence>, key: K) -> Option<&mut Evidence> {
    if map.len() >= REMEMBERED && !map.contains_key(&key) {
        return None;
    }
    Some(map.entry(key).or_default())
}

/// The name as the policy compares it.
fn name_of(record: &Record) -> Option<String> {
    let name = record.name.as_ref()?;
    Some(name.trim_end_matches('.').to_ascii_lowercase())
}

fn target_of(record: &Record) -> String {
    let address = || match record.address? {
        IpAddr::V6(address) => Some(format!("[{address}]")),
        IpAddr::V4(address) => Some(address.to_string()),
    };
    let target = name_of(record).or_else(address);
    match (target, record.port) {
        (Some(target), Some(port)) if record.protocol != "tcp" => {
            format!("{} {target}:{port}", record.protocol)
        }
        (Some(name), Some(port)) => format!("{name}:{port}"),
        (Some(name), None) => name,
        (None, _) => record.protocol.clone(),
    }
}

fn uses(record: &Record) -> Uses {
    let stream = record.protocol == "tcp";
    let plain = stream && record.port == Some(80);
    // On the proxy's own port a client asks for plain HTTP as such, or for a tunnel to port 80; the record has both alike.
    let tunnel = plain && record.name_source == Some(NameSource::Request);
    Uses { tls: stream && record.port == Some(443), http: plain, tunnel }
}

/// Why an attempt is no evidence for a name; `None` if it is.
fn sort(record: &Record, denied: bool) -> Option<(Class, String)> {
    let name = name_of(record);
    let of_rule = || of_rule(record, name.as_deref());
    let say = |class, text: &str| Some((class, text.to_owned()));
    let asked = record.would_deny.is_some() || record.rule == "deny-default";
    if record.protocol == "dns" {
        return if asked {
            say(Class::LookedUp, "nobody connected to it")
        } else {
            Some(of_rule())
        };
    }
    if record.name_source == Some(NameSource::Api) || record.rule == "allow-api-proxy" {
        return say(
            Class::Given,
            "the API proxy reaches it for the command, as its credential is there",
        );
    }
    if let Some(flag) = service_flag(record, name.as_deref()) {
        return Some((Class::AnotherFlag, flag));
    }
    let web = record.protocol == "tcp" && matches!(record.port, Some(80 | 443));
    match record.verdict {
        Verdict::Allow if record.bytes_in == Some(0) => {
            say(Class::Unanswered, "it ended before anything came back")
        }
        Verdict::Allow if record.would_deny.is_some() && !denied => {
            say(Class::Denied, "audit mode let it through")
        }
        Verdict::Allow if name.is_some() && web => None,
        Verdict::Allow => say(Class::Never, "it is no request for a name on port 80 or 443"),
        Verdict::Error => Some((Class::Unanswered, record.reason.clone())),
        Verdict::Deny if record.rule == "deny-default" && web => match of_rule() {
            (Class::AnotherFlag, remedy) if remedy.starts_with("--allow-domains") => {
                if denied {
                    None
                } else {
                    say(Class::Denied, "nothing allows it")
                }
            }
            other => Some(other),
        },
        Verdict::Deny => Some(of_rule()),
    }
}

fn of_rule(record: &Record, name: Option<&str>) -> (Class, String) {
    let address = record.address.map(|address| address.to_string());
    let target = name.or(address.as_deref()).unwrap_or_default();
    match remedy::of(&record.rule, target, record.port, &[]) {
        Remedy::Flag(text) => (Class::AnotherFlag, text.into_owned()),
        Remedy::Never(text) => (Class::Never, text.into_owned()),
    }
}

/// The flag that opened a service.
fn service_flag(record: &Record, name: Option<&str>) -> Option<String> {
    let port = record.port.unwrap_or_default();
    let name = name.unwrap_or_default();
    let is_service =
        record.name_source == Some(NameSource::Service) && record.verdict != Verdict::Deny;
    match record.rule.as_str() {
        "allow-host-access" => Some("--enable-host-access".to_owned()),
        "allow-host-port" => Some(format!("--enable-host-access --allow-host-ports {port}")),
        "allow-host-service-port" => Some(format!("--allow-host-service-ports {port}")),
        rule if rule.starts_with("allow-topology-peer") => {
            Some(format!("--topology-attach {name}"))
        }
        _ if is_service && HOST_CALLED.contains(&name) => Some(match port {
            80 | 443 => "--enable-host-access".to_owned(),
            port if PortRange::single(port).dangerous().is_some() => {
                format!("--allow-host-service-ports {port}")
            }
            port => format!("--enable-host-access --allow-host-ports {port}"),
        }),
        _ if is_service => Some(format!("--topology-attach {name}")),
        _ => None,
    }
}
