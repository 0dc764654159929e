//! What serves the agent while it runs: doors, relay, record. Started before the agent, stopped after it.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use awf_common::decide::Door;
use awf_common::event::{Counter, Refusal};
use aya::maps::{MapData, RingBuf};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use super::logs;
use super::otlp::Sender;
use crate::api_proxy::{ApiProxy, Way};
use crate::doors::Doors;
use crate::doors::name::NameDoor;
use crate::doors::names::NameTable;
use crate::enforce::{Cgroup, Object, Profile, prove};
use crate::exit::Exit;
use crate::observe::chain::Chain;
use crate::observe::journal::{Journal, Keeping, Tally};
use crate::observe::kernel::{Counts, Known, Reader, count};
use crate::observe::processes::Processes;
use crate::observe::record::{self, Event, SCHEMA};
use crate::observe::redact::Redactor;
use crate::observe::summary::{Lost, Summary, Terms};
use crate::observe::{calls, names};
use crate::plan::{Plan, addresses};
use crate::policy::{Policy, Scheme, Services};
use crate::proxy::Squid;
use crate::relay::{Inspect, Reach, Relay, Upstream};
use crate::runtime::native::watch::Blocked;

/// How long the record may take to show every refusal of the probe. They are in memory already; a loaded machine may still
/// take its time to schedule us.
const PROOF_PATIENCE: Duration = Duration::from_secs(5);
/// How long cut connections may take to end, and denials to reach Squid's log.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// The kernel's counters under the names that a reader sees.
const COUNTED: [(&str, Counter); 9] = [
    ("pass", Counter::Pass),
    ("lead_transparent", Counter::LeadTransparent),
    ("lead_proxy", Counter::LeadProxy),
    ("lead_name", Counter::LeadName),
    ("lead_service", Counter::LeadService),
    ("refuse", Counter::Refuse),
    ("drop_packet", Counter::DropPacket),
    ("guard_refuse", Counter::GuardRefuse),
    ("record_lost", Counter::RecordLost),
];

/// The loader's tasks for one agent.
pub(super) struct Service {
    journal: Arc<Journal>,
    relay: Arc<Relay>,
    names: Arc<NameTable>,
    services: Arc<Services>,
    api: Arc<ApiProxy>,
    counts: Counts,
    /// What the programs had counted before the command began: the proof's attempts.
    before: [u64; COUNTED.len()],
    /// When the command began.
    began: String,
    terms: Terms,
    strict: bool,
    /// Until the proof has been judged, the ring is read by the proof.
    ring: Option<RingBuf<MapData>>,
    reader: Option<Reader>,
    /// Sends the record, where that is asked for.
    sender: Option<Sender>,
    doors: Vec<JoinHandle<()>>,
}

/// What the end of a run tells.
#[derive(Debug)]
pub(super) struct Account {
    /// How the run ends, if it came to an end by itself: what is missing in the record may have changed it.
    pub(super) exit: Option<Exit>,
    /// What was tried.
    pub(super) tally: Tally,
    /// Records that are missing, in user space and in the kernel.
    pub(super) lost: Lost,
    /// What the programs counted.
    pub(super) counters: Vec<(&'static str, u64)>,
    /// What budgets refused, a sentence each.
    pub(super) budgets: Vec<String>,
}

impl Service {
    /// Opens the record and serves the doors.
    pub(super) fn start(
        plan: &Plan,
        object: &mut Object,
        doors: Doors,
        (squid, inspect): (&Squid, Inspect),
        redactor: Redactor,
    ) -> Result<Self> {
        let (run, file) = (Arc::from(plan.id.as_str()), plan.paths.logs.join(record::FILE));
        let (keeping, terms) = keeping(plan, object, redactor)?;
        let journal = Journal::open(Arc::clone(&run), &file, keeping)?;
        let names = NameTable::new(addresses::SYNTHETIC, addresses::SYNTHETIC_PREFIX);
        let names = Arc::new(names.context("make the table of names")?);
        let policy = Arc::new(plan.policy.clone());
        let upstream = Upstream {
            ports: plan.ports,
            key: Arc::from(plan.key.as_str()),
            state: squid.state(),
            demand: squid.demand(),
        };
        let send =
            |export| Sender::new(export, Way::Squid(upstream.clone()), &file, Arc::clone(&run));
        let sender = plan.export.as_ref().map(send).transpose()?;
        let api = ApiProxy::new(
            plan.api.clone(),
            Arc::clone(&policy),
            Way::Squid(upstream.clone()),
            Arc::clone(&journal),
            Some(&plan.paths.logs.join(logs::USAGE)),
        )
        .context("open the record of what models use")?;
        let services = Arc::new(plan.services.clone());
        let reach = Reach {
            services: Arc::clone(&services),
            own: plan.own_addresses.clone(),
            api: Arc::clone(&api),
        };
        let relay = Relay::new(
            object.take_origins()?,
            Arc::clone(&names),
            Arc::clone(&policy),
            (upstream, reach, inspect),
            Arc::clone(&journal),
        );
        let recorder = names::Recorder::new(policy, Arc::clone(&journal), object.take_askers()?);
        let name_door = Arc::new(name_door(&names, &plan.policy, &services, recorder));
        let doors = serve(doors, &relay, name_door)?;
        Ok(Self {
            counts: object.take_counts()?,
            ring: Some(object.take_refusals()?),
            journal,
            relay,
            names,
            services,
            api,
            reader: None,
            sender,
            doors,
            before: [0; COUNTED.len()],
            began: String::new(),
            terms,
            strict: plan.record.strict,
        })
    }

    /// Records calls that the system call filter refuses.
    pub(super) fn recorder(&self) -> impl Fn(Blocked) + Send + 'static {
        let journal = Arc::clone(&self.journal);
        move |blocked| calls::record(&journal, &blocked)
    }

    /// The refusals of the probe.
    pub(super) fn probe_refusals(&mut self, agent: &Cgroup, profile: Profile) -> Vec<Refusal> {
        let ring = self.ring.as_mut();
        ring.map(|ring| prove::collect(ring, agent, profile, PROOF_PATIENCE)).unwrap_or_default()
    }

    /// Puts attempts on record from now on. Call it before the command starts.
    pub(super) fn begin_record(&mut self) -> Result<()> {
        self.journal.begin();
        self.began = self.journal.clock().of_now();
        if let Some(ring) = &mut self.ring {
            // What the proof left.
            while ring.next().is_some() {}
        }
        self.before = COUNTED.map(|(_name, counter)| count(&self.counts, counter));
        if let Some(ring) = self.ring.take() {
            let known = Known::new(Arc::clone(&self.names), Arc::clone(&self.services));
            let reader = Reader::start(ring, Arc::clone(&self.journal), known)?;
            self.reader = Some(reader);
        }
        Ok(())
    }

    /// The record.
    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Ends everything in the order in which the record stays complete: connections, Squid, the kernel's refusals, the file.
    pub(super) async fn stop(mut self, squid: Squid, mut exit: Option<Exit>) -> Account {
        self.relay.close(CLOSE_PATIENCE).await;
        // The way to a collector leads through Squid, which then ends after the record is closed. No connection of the
        // agent's is left by now, so that the record lacks nothing.
        let way = if let Some(sender) = self.sender.take() {
            Some((sender, squid))
        } else {
            squid.stop().await;
            None
        };
        if let Some(reader) = self.reader.take() {
            reader.stop();
        }
        self.doors.iter().for_each(JoinHandle::abort);
        let counters: Vec<(&str, u64)> = COUNTED
            .iter()
            .zip(self.before)
            .map(|((name, counter), before)| {
                (*name, count(&self.counts, *counter).saturating_sub(before))
            })
            .collect();
        let ring = count(&self.counts, Counter::RecordLost);
        let mut all_lost = Lost { ring, ..Lost::default() };
        let tally = self.journal.close(|tally, lost| {
            all_lost = Lost { ring, ..lost };
            if self.strict {
                exit = exit.map(|exit| exit.strict(all_lost));
            }
            // Before the command began there was nothing to sum up.
            (!self.began.is_empty()).then(|| self.summary(tally, all_lost, (&counters, exit)))
        });
        if let Some((sender, squid)) = way {
            sender.send().await;
            squid.stop().await;
        }
        Account { exit, tally, lost: all_lost, counters, budgets: self.api.report() }
    }

    /// The last record.
    fn summary(
        &self,
        tally: &Tally,
        lost: Lost,
        (counters, exit): (&[(&'static str, u64)], Option<Exit>),
    ) -> Summary {
        Summary {
            schema: SCHEMA.into(),
            event: Event::Summary,
            time: self.journal.clock().of_now(),
            run: self.journal.run(),
            began: self.began.clone(),
            exit_code: exit.map(Exit::code),
            complete: lost.total() == 0,
            lost,
            attempts: tally.attempts,
            rules: tally.rules.clone(),
            kernel: counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            terms: self.terms.clone(),
        }
    }
}

/// How the record is kept, and what its summary says of the terms.
fn keeping(plan: &Plan, object: &mut Object, redactor: Redactor) -> Result<(Keeping, Terms)> {
    let identities = object.take_identities()?;
    let identity = if identities.is_some() { "kernel" } else { "procfs" };
    let terms = Terms {
        profile: object.standing().profile.name().to_owned(),
        identity: identity.to_owned(),
        programs: object.digests(),
        ..plan.terms.clone()
    };
    let record = &plan.record;
    let key = || record.key.as_ref().map(|key| key.key.clone());
    let keeping = Keeping {
        redactor,
        step: plan.step.as_deref().map(Arc::from),
        processes: Processes::new(identities, record.exe_hash),
        seal: record.chain.then(|| (Chain::new(), key())),
    };
    Ok((keeping, terms))
}

/// Serves the doors until the relay is closed and the tasks are ended.
fn serve(
    doors: Doors,
    relay: &Arc<Relay>,
    name_door: Arc<NameDoor>,
) -> Result<Vec<JoinHandle<()>>> {
    let stream = |listener| TcpListener::from_std(listener).context("serve a door");
    relay.open(Door::Transparent, stream(doors.transparent)?);
    relay.open(Door::Proxy, stream(doors.proxy)?);
    relay.open(Door::Service, stream(doors.service)?);
    Ok(vec![
        tokio::spawn(Arc::clone(&name_door).serve_tcp(stream(doors.name_tcp)?)),
        tokio::spawn(name_door.serve_udp(UdpSocket::from_std(doors.name_udp)?)),
    ])
}

fn name_door(
    names: &Arc<NameTable>,
    policy: &Policy,
    services: &Services,
    recorder: names::Recorder,
) -> NameDoor {
    let mut hosts: HashMap<String, Ipv4Addr> = [
        ("squid-proxy".to_owned(), addresses::PROXY),
        ("awf-squid".to_owned(), addresses::PROXY),
        ("awf-agent".to_owned(), addresses::AGENT),
        ("api-proxy".to_owned(), addresses::API_PROXY),
        ("awf-api-proxy".to_owned(), addresses::API_PROXY),
    ]
    .into();
    for service in services.iter() {
        hosts.extend(service.names.iter().map(|name| (name.clone(), service.address)));
    }
    let policy = policy.clone();
    let favour = move |name: &str| {
        // Not what audit mode lets through: everything would be a favourite.
        [(443, Scheme::Tls), (80, Scheme::Http)].into_iter().any(|(port, scheme)| {
            let decision = policy.decide(name, port, scheme);
            decision.allow && decision.would_deny.is_none()
        })
    };
    NameDoor::new(Arc::clone(names), hosts, favour, move |asked| recorder.record(asked))
}
