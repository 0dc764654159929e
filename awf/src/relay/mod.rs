//! Step 6 of 9: from the doors to Squid and to services. Takes redirected connections, learns whom they are for, and lets
//! through what the policy and Squid both allow, and what is opened of this machine and of containers.
//!
//! Owns: the connections, from accept to the record of their end. Every name is judged twice, here by the `Policy` itself
//! and by Squid from the configuration derived from it; an attempt passes only if both say yes, so neither a mistake in the
//! rendering nor a quirk of Squid's parsing can widen the policy. Must never: connect to anything but Squid and services, trust the
//! address a client connected to, or let bytes pass whose destination is not known by name.

pub mod client_hello;
pub mod http_head;
pub mod proxy_header;
pub mod pump;
pub mod capacity;
mod attempt;
mod explicit;
mod first_bytes;
mod inspect;
mod service;
mod transparent;
mod upstream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use awf_common::decide::Door;
use awf_common::event::{ClientEnd, Origin};
use aya::maps::{HashMap, MapData};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api_proxy::Visit;
use crate::doors::names::NameTable;
use crate::observe::journal::Journal;
use crate::plan::addresses;
use crate::plan::api_proxy::Provider;
use crate::policy::{Decision, Policy, Scheme};
use attempt::{Attempt, Ending};
pub(crate) use first_bytes::{Unclear, read_head};
pub use inspect::Inspect;
pub use service::Reach;
pub(crate) use transparent::say;
pub use upstream::Upstream;
pub(crate) use upstream::{Failure, Tag};

/// Denied attempts that wait to be shown to Squid for its log. More are on our own record only.
const MARKERS: usize = 64;
/// Pause after a failed accept (out of descriptors), so that the loop does not spin.
const AFTER_ERROR: Duration = Duration::from_millis(10);

/// How long connections whose client is gone may take to end by themselves, and Squid to write them down. A few milliseconds,
/// but on a busy machine.
const ENDING: Duration = Duration::from_secs(1);

/// The map of what redirected connections asked for.
pub type Origins = HashMap<MapData, ClientEnd, Origin>;

/// What every connection needs.
#[derive(Debug)]
pub struct Relay {
    origins: Mutex<Origins>,
    names: Arc<NameTable>,
    policy: Arc<Policy>,
    upstream: Upstream,
    reach: Reach,
    inspect: Inspect,
    journal: Arc<Journal>,
    connections: Arc<Semaphore>,
    markers: Arc<Semaphore>,
    tasks: TaskTracker,
    doors: TaskTracker,
    cut: CancellationToken,
}

impl Relay {
    /// A relay that serves nothing yet.
    pub fn new(
        origins: Origins,
        names: Arc<NameTable>,
        policy: Arc<Policy>,
        (upstream, reach, inspect): (Upstream, Reach, Inspect),
        journal: Arc<Journal>,
    ) -> Arc<Self> {
        Arc::new(Self {
            origins: Mutex::new(origins),
            names,
            policy,
            upstream,
            reach,
            inspect,
            journal,
            connections: Arc::new(Semaphore::new(capacity::connections())),
            markers: Arc::new(Semaphore::new(MARKERS)),
            tasks: TaskTracker::new(),
            doors: TaskTracker::new(),
            cut: CancellationToken::new(),
        })
    }

    /// Serves a door until the relay is closed.
    pub fn open(self: &Arc<Self>, door: Door, listener: TcpListener) {
        self.doors.spawn(Arc::clone(self).serve(door, listener));
    }

    async fn serve(self: Arc<Self>, door: Door, listener: TcpListener) {
        self.cut.run_until_cancelled(self.accept_all(door, &listener)).await;
        // What still waits in the backlog is connected, as far as its client knows.
        let Ok(backlog) = listener.into_std() else { return };
        loop {
            match backlog.accept() {
                Ok((_client, peer)) => self.turn_away(door, peer),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_empty) => return,
            }
        }
    }

    /// Records a connection that nobody serves any more.
    fn turn_away(&self, door: Door, peer: SocketAddr) {
        let Some(origin) = self.take_origin(peer, door) else {
            self.journal.stray(peer);
            return;
        };
        let attempt =
            Attempt::new(origin, peer, self.journal.processes().describe(&origin.process));
        if self.journal.covers(origin.ktime_ns) {
            self.journal.write(attempt.record(&self.journal, Ending::cut(&attempt)));
        }
    }

    async fn accept_all(self: &Arc<Self>, door: Door, listener: &TcpListener) {
        loop {
            let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await else { return };
            let Ok((client, peer)) = listener.accept().await else {
                tokio::time::sleep(AFTER_ERROR).await;
                continue;
            };
            let relay = Arc::clone(self);
            self.tasks.spawn(async move {
                relay.serve_connection(door, client, peer).await;
                drop(permit);
            });
        }
    }

    /// Ends every connection and waits for their records, and for the denials still on their way to Squid's log. Called when
    /// no client lives any more: most connections end by themselves, only what is still open then is cut.
    pub async fn close(&self, patience: Duration) {
        self.tasks.close();
        self.doors.close();
        let _open = tokio::time::timeout(ENDING, self.tasks.wait()).await.is_err();
        self.cut.cancel();
        // The doors first: until they are shut, connections are still being taken.
        let _late = tokio::time::timeout(patience, self.doors.wait()).await.is_err();
        let _late = tokio::time::timeout(patience, self.tasks.wait()).await.is_err();
    }

    async fn serve_connection(self: Arc<Self>, door: Door, client: TcpStream, peer: SocketAddr) {
        // Without it every small answer waits for a delayed acknowledgement (40 ms).
        let _slower = client.set_nodelay(true).is_err();
        let Some(origin) = self.take_origin(peer, door) else {
            // A connection that no program led here, or whose origin was pushed out: never guess.
            self.journal.stray(peer);
            return;
        };
        let cut = self.cut.clone();
        if is_for_api_proxy(&origin) {
            // It keeps the record of its requests itself, also when it is cut.
            let serving =
                Arc::clone(&self.reach.api).serve(client, Visit::of(&origin, peer, &self.journal));
            let _cut = cut.run_until_cancelled(serving).await.is_none();
            return;
        }
        let process = self.journal.processes().describe(&origin.process);
        let mut attempt = Attempt::new(origin, peer, process);
        let ending = cut
            .run_until_cancelled(async {
                match door {
                    Door::Transparent => transparent::serve(&self, &mut attempt, client).await,
                    Door::Proxy => explicit::serve(&self, &mut attempt, client).await,
                    Door::Service => service::serve(&self, &mut attempt, client).await,
                    Door::Name => Ending::internal("the name door does not lead to the relay"),
                }
            })
            .await
            .unwrap_or_else(|| Ending::cut(&attempt));
        let elsewhere = attempt.recorded_elsewhere.load(Ordering::Relaxed);
        if !elsewhere && self.journal.covers(attempt.origin.ktime_ns) {
            self.journal.write(attempt.record(&self.journal, ending));
        }
    }

    /// What the connection asked for; the entry is removed, so that the port's next user cannot inherit it.
    fn take_origin(&self, peer: SocketAddr, door: Door) -> Option<Origin> {
        let SocketAddr::V4(peer) = peer else { return None };
        let (address, port) = (u32::from(*peer.ip()), peer.port());
        let key = ClientEnd { address, port, door: door as u16 };
        let mut origins = self.origins.lock().ok()?;
        let origin = origins.get(&key, 0).ok()?;
        let _gone = origins.remove(&key).is_err();
        drop(origins);
        Some(origin)
    }

    /// Judges a request for a domain. Where no list could allow what it asks for, the reason names the flag that would.
    fn decide(&self, attempt: &mut Attempt, (host, port): (&str, u16), scheme: Scheme) -> Decision {
        let decision = self.policy.decide(host, port, scheme);
        attempt.is_judged(&decision);
        match self.reach.why_closed(host, port).filter(|_reason| !decision.allow) {
            Some(reason) => Decision { reason, ..decision },
            None => decision,
        }
    }

    /// The name the agent resolved to get this address.
    fn resolved_name(&self, address: u32) -> Option<Arc<str>> {
        self.names.name_of(Ipv4Addr::from(address))
    }

    /// Shows a denied attempt to Squid, so that its log has it too.
    fn show_denial(self: &Arc<Self>, attempt: &Attempt, request: upstream::Request) {
        if !self.journal.covers(attempt.origin.ktime_ns) {
            return;
        }
        let Ok(permit) = Arc::clone(&self.markers).try_acquire_owned() else { return };
        let relay = Arc::clone(self);
        let tag = attempt.tag();
        self.tasks.spawn(async move {
            if let Err(error) = relay.upstream.show(&tag, &request).await {
                tracing::debug!("a denial is missing in Squid's log: {error}");
            }
            drop(permit);
        });
    }
}

/// Whether a connection was made to one of the API proxy's ports.
fn is_for_api_proxy(origin: &Origin) -> bool {
    Ipv4Addr::from(origin.address) == addresses::API_PROXY && Provider::at(origin.port).is_some()
}
