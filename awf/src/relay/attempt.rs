//! One connection on its way: what is known of it, and the record of its end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use awf_common::event::Origin;

use super::pump::Counters;
use super::upstream::{Failure, Tag};
use crate::observe::journal::Journal;
use crate::observe::record::{Layer, NameSource, ProcessInfo, Record, Verdict};
use crate::policy::Decision;

/// What is known of a connection so far.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) origin: Origin,
    pub(super) counters: Counters,
    pub(super) client: SocketAddr,
    /// Its requests are put on record one by one.
    pub(super) recorded_elsewhere: Arc<AtomicBool>,
    process: ProcessInfo,
    name: Option<(Arc<str>, NameSource)>,
    user_agent: Option<String>,
    judged: Option<Decision>,
    port: u16,
    began: Instant,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Ending {
    verdict: Verdict,
    layer: Layer,
    rule: String,
    reason: String,
    status: Option<u16>,
}

impl Attempt {
    pub(super) fn new(origin: Origin, client: SocketAddr, process: ProcessInfo) -> Self {
        Self {
            process,
            port: origin.port,
            origin,
            client,
            recorded_elsewhere: Arc::default(),
            counters: Counters::default(),
            name: None,
            user_agent: None,
            judged: None,
            began: Instant::now(),
        }
    }

    /// Remembers whom the connection is for.
    pub(super) fn is_for(&mut self, name: Arc<str>, source: NameSource, port: u16) {
        self.name = Some((name, source));
        self.port = port;
    }

    /// Remembers what the policy says.
    pub(super) fn is_judged(&mut self, decision: &Decision) {
        self.judged = Some(decision.clone());
    }

    /// Remembers what the client calls itself.
    pub(super) fn is_by(&mut self, user_agent: Option<&str>) {
        self.user_agent = user_agent.map(str::to_owned);
    }

    /// Whom the connection is for.
    pub(super) fn name(&self) -> Option<Arc<str>> {
        self.name.as_ref().map(|(name, _source)| Arc::clone(name))
    }

    /// The address the client connected to.
    pub(super) fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.origin.address)
    }

    /// What Squid is told beside the request.
    pub(super) fn tag(&self) -> Tag {
        let client = match self.client {
            SocketAddr::V4(client) => client.port(),
            SocketAddr::V6(client) => client.port(),
        };
        Tag {
            client_port: client,
            original: SocketAddrV4::new(self.address(), self.origin.port),
            name: self.name.as_ref().map_or_else(|| "-".into(), |(name, _source)| Arc::clone(name)),
            pid: self.origin.process.pid,
            user_agent: self.user_agent.clone(),
            comm: self.process.comm.clone().unwrap_or_default(),
        }
    }

    /// The record of its end.
    pub(super) fn record(&self, journal: &Journal, ending: Ending) -> Record {
        let totals = self.counters.totals();
        let (name, name_source) = self.name.clone().unzip();
        let time = journal.clock().of_ktime(self.origin.ktime_ns);
        // What is refused was not let through.
        let would_deny = self.judged.as_ref().and_then(|decision| decision.would_deny);
        let would_deny = would_deny.filter(|_rule| ending.verdict != Verdict::Deny);
        Record {
            would_deny: would_deny.map(str::to_owned),
            verdict: ending.verdict,
            rule: ending.rule,
            reason: ending.reason,
            process: self.process.clone(),
            cgroup: Some(self.origin.cgroup),
            cookie: Some(self.origin.cookie),
            protocol: "tcp".into(),
            address: Some(IpAddr::V4(Ipv4Addr::from(self.origin.address))),
            port: Some(self.port),
            name,
            name_source,
            client_port: Some(self.client.port()),
            bytes_out: Some(totals.sent),
            bytes_in: Some(totals.received),
            duration_ms: u64::try_from(self.began.elapsed().as_millis()).ok(),
            proxy_status: ending.status,
            ..Record::denied(time, journal.run(), ending.layer)
        }
    }
}

impl Ending {
    /// The policy denied it.
    pub(super) fn denied(decision: &Decision) -> Self {
        Self {
            verdict: Verdict::Deny,
            layer: Layer::Relay,
            rule: decision.rule.to_owned(),
            reason: decision.reason.clone(),
            status: None,
        }
    }

    /// The relay denied it for what the client sent.
    pub(super) fn refused(rule: &str, reason: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Deny,
            layer: Layer::Relay,
            rule: rule.to_owned(),
            reason: reason.into(),
            status: None,
        }
    }

    /// Bytes passed.
    pub(super) fn allowed(decision: &Decision, status: Option<u16>) -> Self {
        Self {
            verdict: Verdict::Allow,
            layer: Layer::Proxy,
            rule: decision.rule.to_owned(),
            reason: decision.reason.clone(),
            status,
        }
    }

    /// Bytes passed to a service.
    pub(super) fn served(decision: &Decision) -> Self {
        Self { layer: Layer::Relay, ..Self::allowed(decision, None) }
    }

    /// A service did not take the connection.
    pub(super) fn unserved(decision: &Decision, reason: String) -> Self {
        Self { verdict: Verdict::Error, reason, ..Self::served(decision) }
    }

    /// The way to Squid, or from Squid to the origin, failed.
    pub(super) fn failed(decision: &Decision, failure: &Failure) -> Self {
        let (verdict, layer, rule) = match failure {
            Failure::Denied(_) => (Verdict::Deny, Layer::Proxy, "proxy-denied"),
            Failure::Inward(_) => (Verdict::Deny, Layer::Proxy, "inward-address"),
            Failure::Unresolved(_)
            | Failure::NoWay(_)
            | Failure::Unreachable(_)
            | Failure::Broken(_) => (Verdict::Error, Layer::Proxy, decision.rule),
        };
        Self {
            verdict,
            layer,
            rule: rule.to_owned(),
            reason: failure.to_string(),
            status: failure.status(),
        }
    }

    /// The client went away before it said what it wanted.
    pub(super) fn abandoned() -> Self {
        Self::refused(
            "client-left",
            "the client closed the connection before it named a destination",
        )
    }

    /// A state that must not be.
    pub(super) fn internal(reason: &str) -> Self {
        Self::refused("internal", reason)
    }

    /// The run ended while the connection was open.
    pub(super) fn cut(attempt: &Attempt) -> Self {
        let Some(decision) = &attempt.judged else {
            return Self::refused("cut", "the run ended before the client named a destination");
        };
        if !decision.allow {
            return Self::denied(decision);
        }
        let reason = format!("{}; the run ended while the connection was open", decision.reason);
        Self { reason, ..Self::served(decision) }
    }
}

#[cfg(test)]
mod tests {
    use awf_common::event::Process;

    use super::*;
    use crate::policy::{Policy, Scheme};

    #[test]
    fn a_connection_that_the_run_cuts_keeps_its_verdict_and_without_one_is_denied() {
        let origin = Origin {
            ktime_ns: 1,
            cgroup: 1,
            cookie: 1,
            process: Process::NOBODY,
            address: 0,
            port: 443,
            door: 0,
            padding: 0,
        };
        let client = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let mut attempt = Attempt::new(origin, client, ProcessInfo::default());
        let told = |attempt: &Attempt| {
            let Ending { verdict, rule, .. } = Ending::cut(attempt);
            (verdict, rule)
        };
        assert_eq!(told(&attempt), (Verdict::Deny, "cut".to_owned()));
        attempt.is_judged(&Policy::default().decide("a.test", 443, Scheme::Tls));
        assert_eq!(told(&attempt), (Verdict::Deny, "deny-default".to_owned()));
        let audited = Policy::default().in_audit_mode(true);
        attempt.is_judged(&audited.decide("a.test", 443, Scheme::Tls));
        assert_eq!(told(&attempt), (Verdict::Allow, "allow-audit-mode".to_owned()));
    }
}
