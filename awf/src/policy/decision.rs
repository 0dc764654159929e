//! What was decided about one request, and by which rule.
//!
//! Pure data with its texts. The rule ids are those of the original's `policy-manifest.json`, with
//! `deny-malformed-name` for what it had no rule for.

use std::fmt;

use serde::{Serialize, Serializer};

use super::Protocol;

/// The rule that decided. Its text form is its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// `allow-ip-A-B-C-D`, the whole id: the address is listed.
    AllowIp(&'static str),
    /// `allow-PROTOCOL-plain`: the name or a parent of it is listed.
    AllowPlain(Protocol),
    /// `allow-PROTOCOL-regex`: the name fits a listed pattern.
    AllowPattern(Protocol),
    /// `allow-host-access`: a web port of this machine, opened by `--enable-host-access`.
    AllowHostAccess,
    /// `allow-host-port`: a port of this machine, opened by `--allow-host-ports`.
    AllowHostPort,
    /// `allow-host-service-port`: a port of this machine, opened by `--allow-host-service-ports`.
    AllowHostServicePort,
    /// `allow-topology-peer-N`, the whole id: a port that the Nth peer exposes.
    AllowPeer(&'static str),
    /// `allow-api-proxy`: a port of awf's own proxy of model providers.
    AllowApiProxy,
    /// `allow-audit-mode`: nothing allows it, but the run is one that only records that.
    AllowAuditMode,
    /// `deny-unsafe-ports`: not port 80 or 443, or plain HTTP on 443, or not opened of a service.
    DenyUnsafePorts,
    /// `deny-malformed-name`: no resolver would take it.
    DenyMalformedName,
    /// `deny-raw-ipv4`: an IPv4 literal that is not listed.
    DenyRawIpv4,
    /// `deny-raw-ipv6`: an IPv6 literal.
    DenyRawIpv6,
    /// `deny-blocked-plain`: the name, a parent of it, or the address is blocked.
    DenyBlockedPlain,
    /// `deny-blocked-regex`: the name fits a blocked pattern.
    DenyBlockedPattern,
    /// `deny-default`: nothing allows it.
    DenyDefault,
}

impl Rule {
    /// The id.
    pub fn id(self) -> &'static str {
        match self {
            Self::AllowIp(id) | Self::AllowPeer(id) => id,
            Self::AllowPlain(Protocol::Both) => "allow-both-plain",
            Self::AllowPlain(Protocol::Http) => "allow-http-only-plain",
            Self::AllowPlain(Protocol::Https) => "allow-https-only-plain",
            Self::AllowPattern(Protocol::Both) => "allow-both-regex",
            Self::AllowPattern(Protocol::Http) => "allow-http-only-regex",
            Self::AllowPattern(Protocol::Https) => "allow-https-only-regex",
            Self::AllowHostAccess => "allow-host-access",
            Self::AllowHostPort => "allow-host-port",
            Self::AllowHostServicePort => "allow-host-service-port",
            Self::AllowApiProxy => "allow-api-proxy",
            Self::AllowAuditMode => "allow-audit-mode",
            Self::DenyUnsafePorts => "deny-unsafe-ports",
            Self::DenyMalformedName => "deny-malformed-name",
            Self::DenyRawIpv4 => "deny-raw-ipv4",
            Self::DenyRawIpv6 => "deny-raw-ipv6",
            Self::DenyBlockedPlain => "deny-blocked-plain",
            Self::DenyBlockedPattern => "deny-blocked-regex",
            Self::DenyDefault => "deny-default",
        }
    }

    /// Whether the rule lets the request through.
    pub fn allows(self) -> bool {
        match self {
            Self::AllowIp(_)
            | Self::AllowPlain(_)
            | Self::AllowPattern(_)
            | Self::AllowHostAccess
            | Self::AllowHostPort
            | Self::AllowHostServicePort
            | Self::AllowPeer(_)
            | Self::AllowApiProxy
            | Self::AllowAuditMode => true,
            Self::DenyUnsafePorts
            | Self::DenyMalformedName
            | Self::DenyRawIpv4
            | Self::DenyRawIpv6
            | Self::DenyBlockedPlain
            | Self::DenyBlockedPattern
            | Self::DenyDefault => false,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Whether it may pass.
    pub allow: bool,
    /// Id of the rule that decided.
    pub rule: &'static str,
    /// The entry that the rule found, normalised.
    pub entry: Option<String>,
    /// One sentence for a person, without final period.
    pub reason: String,
    /// Id of the rule that would have denied it, had the run not been in audit mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_deny: Option<&'static str>,
}

impl Decision {
    pub(super) fn by(rule: Rule, entry: Option<&str>, reason: String) -> Self {
        let entry = entry.map(str::to_owned);
        Self { allow: rule.allows(), rule: rule.id(), entry, reason, would_deny: None }
    }
}
