//! Names the agent asked for and may not reach: each once.
//!
//! A name that is asked for is an attempt by itself: data can be hidden in it, even though no query ever leaves. Allowed
//! names are on record with the connection that follows.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::journal::Journal;
use super::record::{Layer, NameSource, Record, Verdict};
use crate::doors::name::{Asked, Outcome};
use crate::policy::{Decision, Policy, Scheme};

/// Different names remembered. More of them are recorded every time they are asked for.
const REMEMBERED: usize = 16_384;

/// Records denied names.
#[derive(Debug)]
pub struct Recorder {
    policy: Arc<Policy>,
    journal: Arc<Journal>,
    seen: Mutex<HashSet<Box<str>>>,
}

impl Recorder {
    /// A recorder that has seen nothing.
    pub fn new(policy: Arc<Policy>, journal: Arc<Journal>) -> Self {
        Self { policy, journal, seen: Mutex::default() }
    }

    /// Records a question if its name is denied and new.
    pub fn record(&self, asked: &Asked<'_>) {
        if !self.journal.covers_now() {
            return;
        }
        match asked.outcome {
            Outcome::Host(_) | Outcome::HostNoData | Outcome::Pointer(_) | Outcome::Refused => {
                return;
            }
            Outcome::Synthetic(_) | Outcome::NoData | Outcome::NoSuchName | Outcome::Exhausted => {}
        }
        let by_tls = self.policy.decide(asked.name, 443, Scheme::Tls);
        let by_http = self.policy.decide(asked.name, 80, Scheme::Http);
        let listed = |decision: &Decision| decision.allow && decision.would_deny.is_none();
        if listed(&by_tls) || listed(&by_http) {
            return;
        }
        let decision = by_tls;
        if let Ok(mut seen) = self.seen.lock()
            && seen.len() < REMEMBERED
            && !seen.insert(asked.name.into())
        {
            return;
        }
        let time = self.journal.clock().of_now();
        self.journal.write(Record {
            verdict: if decision.allow { Verdict::Allow } else { Verdict::Deny },
            rule: decision.rule.to_owned(),
            would_deny: decision.would_deny.map(str::to_owned),
            reason: format!("asked for the name, which did not leave the machine ({})", asked.kind),
            protocol: "dns".into(),
            name: Some(Arc::from(asked.name)),
            name_source: Some(NameSource::Dns),
            client_port: asked.client.map(|client| client.port()),
            ..Record::denied(time, self.journal.run(), Layer::Name)
        });
    }
}
