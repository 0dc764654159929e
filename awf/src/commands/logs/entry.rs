//! One request in Squid's logs, whatever the format.
//!
//! Takes nothing but what the parsers found; gives what follows from it: domain, port, outcome. Must never fail on odd values.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use super::processes::Process;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// Squid let it through.
    Allowed,
    /// Squid refused it.
    Denied,
    /// It ended before it was answered: no such name, no valid request, no answer.
    Error,
}

impl Outcome {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Milliseconds since 1970; 0 if the line does not say.
    pub(super) time_ms: i64,
    pub(super) client_ip: Cow<'a, str>,
    pub(super) client_port: Cow<'a, str>,
    /// Host header.
    pub(super) host: Cow<'a, str>,
    pub(super) dest_ip: Cow<'a, str>,
    pub(super) dest_port: Cow<'a, str>,
    /// Version of HTTP.
    pub(super) protocol: Cow<'a, str>,
    pub(super) method: Cow<'a, str>,
    pub(super) status: u32,
    /// Squid's result code; in access.log with the hierarchy behind a colon.
    pub(super) decision: Cow<'a, str>,
    pub(super) url: Cow<'a, str>,
    pub(super) user_agent: Cow<'a, str>,
    /// Rule that was put on record when it was decided.
    pub(super) rule: Option<Cow<'a, str>>,
}

impl Entry<'_> {
    pub(super) fn outcome(&self) -> Outcome {
        if self.decision.starts_with("TCP_DENIED") {
            Outcome::Denied
        } else if self.decision.starts_with("NONE") || matches!(&*self.decision, "" | "-" | ":") {
            Outcome::Error
        } else {
            Outcome::Allowed
        }
    }

    pub(super) fn is_https(&self) -> bool {
        self.method == "CONNECT"
    }

    /// Whether it is a request at all, and not a connection that was closed before one.
    pub(super) fn is_request(&self) -> bool {
        self.url != "error:transaction-end-before-headers"
    }

    /// Whom it is for; `-` if it does not say.
    pub(super) fn domain(&self) -> &str {
        if self.is_https() {
            return without_port(&self.url);
        }
        if !matches!(&*self.host, "-" | "") {
            return without_port(&self.host);
        }
        let is_nobody = self.url.starts_with("error:") || self.url.starts_with('/');
        authority(&self.url).map_or(if is_nobody { "-" } else { &self.url }, without_port)
    }

    /// The port it is for.
    pub(super) fn port(&self) -> u16 {
        let authority = if self.is_https() { Some(&*self.url) } else { authority(&self.url) };
        let said = authority.and_then(port_of);
        let implied = if self.is_https() || self.url.starts_with("https:") { 443 } else { 80 };
        said.unwrap_or(implied)
    }

    /// Whether its refusal is of no interest to a reader: the host is one of awf's own, or has a name of this machine's.
    pub(super) fn is_internal(&self, peers: &[String]) -> bool {
        let domain = self.domain();
        if let Ok(address) = domain.parse::<Ipv4Addr>() {
            let network = |address: Ipv4Addr| address.to_bits() >> 8;
            return network(address) == network(crate::plan::addresses::API_PROXY);
        }
        let is_single_label = domain != "-" && !domain.contains(['.', ':', '[', ']']);
        is_single_label || peers.iter().any(|peer| peer.eq_ignore_ascii_case(domain))
    }

    /// The form of `--format json`: the original's keys and order, then ours.
    pub(super) fn to_json<'b>(
        &'b self,
        process: Option<&'b Process>,
        run: Option<&'b str>,
    ) -> Json<'b> {
        Json { entry: self, process, run }
    }
}

/// See [`Entry::to_json`].
#[derive(Debug)]
pub(super) struct Json<'a> {
    entry: &'a Entry<'a>,
    process: Option<&'a Process>,
    run: Option<&'a str>,
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = self.entry;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &Seconds(entry.time_ms))?;
        map.serialize_entry("clientIp", &entry.client_ip)?;
        map.serialize_entry("clientPort", &entry.client_port)?;
        map.serialize_entry("host", &entry.host)?;
        map.serialize_entry("destIp", &entry.dest_ip)?;
        map.serialize_entry("destPort", &entry.dest_port)?;
        map.serialize_entry("protocol", &entry.protocol)?;
        map.serialize_entry("method", &entry.method)?;
        map.serialize_entry("statusCode", &entry.status)?;
        map.serialize_entry("decision", &entry.decision)?;
        map.serialize_entry("url", &entry.url)?;
        map.serialize_entry("userAgent", &entry.user_agent)?;
        map.serialize_entry("domain", entry.domain())?;
        map.serialize_entry("isAllowed", &(entry.outcome() == Outcome::Allowed))?;
        map.serialize_entry("isHttps", &entry.is_https())?;
        if let Some(process) = self.process {
            map.serialize_entry("pid", &process.pid)?;
            // Arguments are not on record: they may hold credentials.
            map.serialize_entry("cmdline", process.exe.as_deref().unwrap_or(&process.comm))?;
            map.serialize_entry("comm", &process.comm)?;
        }
        map.serialize_entry("outcome", &entry.outcome())?;
        if let Some(rule) = &entry.rule {
            map.serialize_entry("rule", rule)?;
        }
        if let Some(run) = self.run {
            map.serialize_entry("run", run)?;
        }
        map.end()
    }
}

/// Milliseconds as a number of seconds, whole ones without a fraction, as the original's language writes them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(pub(super) i64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 1000 == 0 {
            return serializer.serialize_i64(self.0 / 1000);
        }
        #[expect(clippy::cast_precision_loss, reason = "exact up to the year 287396")]
        serializer.serialize_f64(self.0 as f64 / 1000.0)
    }
}

/// What is between the scheme and the path, without a user.
fn authority(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_user, host)| host);
    (!host.is_empty()).then_some(host)
}

fn port_of(authority: &str) -> Option<u16> {
    authority.rsplit_once(':')?.1.parse().ok()
}

/// A host without a port behind it. More than one colon, and no brackets, is an address of IPv6.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty()
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}
