//! One request on its way: what became of it, and its line in the record.
//!
//! The line is written when the exchange is dropped, so that it is there however the connection ends.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use awf_common::event::Origin;

use super::client::Counters;
use super::local::Figures;
use super::refusal::Refusal;
use crate::observe::journal::Journal;
use crate::observe::record::{Layer, NameSource, ProcessInfo, Record, Verdict};
use crate::plan::addresses;
use crate::plan::api_proxy::Provider;
use crate::relay::Tag;

/// A client at one of the ports.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The port of [`addresses::API_PROXY`] it connected to.
    pub port: u16,
    /// Its own.
    pub client_port: u16,
    /// The kernel's time of the connect.
    pub ktime_ns: u64,
    /// Who it is.
    pub process: ProcessInfo,
    /// Its cgroup and the cookie of its socket.
    pub socket: (u64, u64),
}

impl Visit {
    /// A client as the kernel tells of it.
    pub fn of(origin: &Origin, client: SocketAddr, journal: &Journal) -> Self {
        Self {
            port: origin.port,
            client_port: client.port(),
            ktime_ns: origin.ktime_ns,
            process: journal.processes().describe(&origin.process),
            socket: (origin.cgroup, origin.cookie),
        }
    }
}

/// What became of a request.
#[derive(Debug)]
struct Outcome {
    verdict: Verdict,
    layer: Layer,
    rule: &'static str,
    reason: Cow<'static, str>,
    status: Option<u16>,
}

/// One connection with its one request.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) provider: Provider,
    pub(super) counters: Arc<Counters>,
    visit: Visit,
    target: Option<Arc<str>>,
    began: Instant,
    journal: Arc<Journal>,
    figures: Arc<Figures>,
    /// Nothing until something was asked that is not answered locally.
    outcome: Mutex<Option<Outcome>>,
}

impl Exchange {
    pub(super) fn new(
        (provider, target): (Provider, Option<Arc<str>>),
        visit: Visit,
        journal: Arc<Journal>,
        figures: Arc<Figures>,
    ) -> Self {
        Self {
            provider,
            target,
            visit,
            journal,
            figures,
            counters: Arc::default(),
            began: Instant::now(),
            outcome: Mutex::default(),
        }
    }

    /// What Squid is told of it.
    pub(super) fn tag(&self) -> Tag {
        Tag {
            client_port: self.visit.client_port,
            original: self.provider.address(),
            name: self.target.clone().unwrap_or_else(|| "-".into()),
            pid: self.visit.process.pid.unwrap_or(0),
            user_agent: Some("awf-api-proxy".to_owned()),
            comm: self.visit.process.comm.clone().unwrap_or_default(),
        }
    }

    /// The service is being asked.
    pub(super) fn asks(&self) {
        self.set(Outcome {
            verdict: Verdict::Allow,
            layer: Layer::Relay,
            rule: super::RULE,
            reason: "the connection ended before the service answered".into(),
            status: None,
        });
    }

    /// The service answers.
    pub(super) fn answers(&self, status: u16) {
        self.set(Outcome {
            verdict: Verdict::Allow,
            layer: Layer::Relay,
            rule: super::RULE,
            reason: "asked by the API proxy with the caller's credential".into(),
            status: Some(status),
        });
    }

    /// The service's answer ends too early.
    pub(super) fn breaks_off(&self) {
        if let Ok(mut outcome) = self.outcome.lock()
            && let Some(outcome) = outcome.as_mut()
        {
            outcome.verdict = Verdict::Error;
            outcome.reason = "the service's answer broke off".into();
        }
    }

    /// The service does not answer.
    pub(super) fn is_refused(&self, refusal: &Refusal) {
        self.set(Outcome {
            verdict: refusal.verdict,
            layer: refusal.layer,
            rule: refusal.rule,
            reason: refusal.reason.clone(),
            status: None,
        });
    }

    /// The run it belongs to.
    pub(super) fn run(&self) -> Arc<str> {
        self.journal.run()
    }

    fn set(&self, outcome: Outcome) {
        if let Ok(mut known) = self.outcome.lock()
            && known.replace(outcome).is_none()
        {
            self.figures.begin();
        }
    }

    fn record(&self, outcome: Outcome) -> Record {
        let (sent, received) = self.counters.totals();
        let named = self.target.is_some();
        let time = self.journal.clock().of_ktime(self.visit.ktime_ns);
        Record {
            verdict: outcome.verdict,
            rule: outcome.rule.to_owned(),
            reason: outcome.reason.into_owned(),
            process: self.visit.process.clone(),
            cgroup: Some(self.visit.socket.0),
            cookie: Some(self.visit.socket.1),
            protocol: "tcp".into(),
            address: Some(IpAddr::V4(addresses::API_PROXY)),
            port: Some(if named { super::TLS_PORT } else { self.visit.port }),
            name: self.target.clone(),
            name_source: named.then_some(NameSource::Api),
            client_port: Some(self.visit.client_port),
            bytes_out: Some(sent),
            bytes_in: Some(received),
            duration_ms: u64::try_from(self.began.elapsed().as_millis()).ok(),
            proxy_status: outcome.status,
            ..Record::denied(time, self.journal.run(), outcome.layer)
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let outcome = self.outcome.lock().ok().and_then(|mut outcome| outcome.take());
        let Some(outcome) = outcome else { return };
        self.figures.end(self.began.elapsed(), outcome.verdict != Verdict::Allow);
        if self.journal.covers(self.visit.ktime_ns) {
            self.journal.write(self.record(outcome));
        }
    }
}
