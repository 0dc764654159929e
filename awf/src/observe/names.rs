//! Names the agent asked for and may not reach: each once.
//!
//! A name that is asked for is an attempt by itself: data can be hidden in it, even though no query ever leaves. Allowed
//! names are on record with the connection that follows.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use awf_common::decide::Transport;
use awf_common::event::{AskerEnd, IdentityKey, Origin, Process};
use aya::maps::{HashMap, MapData};

use super::journal::Journal;
use super::record::{Layer, NameSource, Record, Verdict};
use crate::doors::name::{Asked, Outcome};
use crate::policy::{Decision, Policy, Scheme};

/// Different names remembered. More of them are recorded every time they are asked for.
const REMEMBERED: usize = 16_384;

/// The map of who asks for names.
pub type Askers = HashMap<MapData, AskerEnd, Origin>;

/// Records denied names.
#[derive(Debug)]
pub struct Recorder {
    policy: Arc<Policy>,
    journal: Arc<Journal>,
    askers: Askers,
    /// By process: one that asks first must not hide those that ask later.
    seen: Mutex<HashSet<(IdentityKey, Box<str>)>>,
}

impl Recorder {
    /// A recorder that has seen nothing.
    pub fn new(policy: Arc<Policy>, journal: Arc<Journal>, askers: Askers) -> Self {
        Self { policy, journal, askers, seen: Mutex::default() }
    }

    /// Who sent a question. The entry stays: a client may have several under way.
    fn asker(&self, (transport, client): (Transport, SocketAddr)) -> Option<Origin> {
        let SocketAddr::V4(client) = client else { return None };
        let protocol = match transport {
            Transport::Tcp => 6,
            Transport::Udp => 17,
        };
        let (address, port) = (u32::from(*client.ip()), client.port());
        self.askers.get(&AskerEnd { address, port, protocol }, 0).ok()
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
        let asker = asked.client.and_then(|client| self.asker(client));
        let who = asker.map_or(Process::NOBODY, |asker| asker.process).key();
        if let Ok(mut seen) = self.seen.lock()
            && seen.len() < REMEMBERED
            && !seen.insert((who, asked.name.into()))
        {
            return;
        }
        let time = self.journal.clock().of_now();
        let process = asker.map(|asker| self.journal.processes().describe(&asker.process));
        self.journal.write(Record {
            verdict: if decision.allow { Verdict::Allow } else { Verdict::Deny },
            rule: decision.rule.to_owned(),
            would_deny: decision.would_deny.map(str::to_owned),
            reason: format!("asked for the name, which did not leave the machine ({})", asked.kind),
            protocol: "dns".into(),
            name: Some(Arc::from(asked.name)),
            name_source: Some(NameSource::Dns),
            process: process.unwrap_or_default(),
            cgroup: asker.map(|asker| asker.cgroup),
            cookie: asker.map(|asker| asker.cookie),
            client_port: asked.client.map(|(_transport, client)| client.port()),
            ..Record::denied(time, self.journal.run(), Layer::Name)
        });
    }
}
