//! The Docker runtime: the same sandbox, begun as the first process of a container.
//!
//! The container gives the sandbox its cgroup below awf's (so that the programs govern its first instruction), its name for
//! `docker ps` and an end that the daemon sees. In it `awf init` waits at a [`gate`]; met there, it gets
//! what it would get without Docker, and builds the very same root from the very same spec. So no guarantee depends on
//! which runtime was chosen.
//!
//! Takes an `AgentSpec`, a governed cgroup and the planned containers, gives a [`Prepared`]. Must never go on with a container
//! that the daemon did not put below the governed cgroup.

pub mod engine;
pub mod images;
mod proxy;
mod streams;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep};

pub use engine::{Engine, Left};
pub use proxy::Carried;
pub use streams::Bridges;

use super::native::gate::{self, Met};
use super::native::{self, AgentSpec, watch::Blocked};
use super::{Prepared, Runtime, until_gate};
use crate::enforce::{Cgroup, Profile};
use crate::plan::containers::Containers;
use streams::Streams;

/// How long `awf init` may take to come to the gate once the daemon says that the container runs.
const MEETING: Duration = Duration::from_secs(10);
/// Pause between two looks at the gate.
const PAUSE: Duration = Duration::from_millis(1);

/// Containers of a daemon.
#[derive(Debug)]
pub struct Docker<'a> {
    /// The daemon.
    pub engine: Engine,
    /// What is asked of it.
    pub containers: &'a Containers,
    /// What runs in the container.
    pub spec: &'a AgentSpec,
    /// The cgroup below which the daemon has to put it.
    pub cgroup: &'a Cgroup,
    /// The network namespace with the doors.
    pub namespace: BorrowedFd<'a>,
}

impl Runtime for Docker<'_> {
    async fn prepare(
        self,
        profile: Profile,
        told: impl Fn(Blocked) + Send + 'static,
    ) -> Result<Prepared> {
        // As `awf init` would: afterwards a stream may be a pipe that leads to it.
        native::inspect()?;
        let streams = Streams::of_caller().context("hand the standard streams over")?;
        let met = self.launch().await?;
        let seat = self.cgroup.seat_of(met.process.id())?;
        let seat = seat.with_context(|| {
            format!(
                "the daemon put the container elsewhere than below {}: is it another machine's, or does it see other cgroups?",
                self.cgroup.path().display()
            )
        })?;
        let agent = native::adopt(self.spec, self.namespace, met, streams.ends())?;
        let prepared = until_gate(agent, profile, told).await?;
        Ok(Prepared { seat: Some(seat), streams: streams.handed_over(), ..prepared })
    }
}

impl Docker<'_> {
    /// Has the container made and started, and meets its first process, which may be there before the daemon says so.
    async fn launch(&self) -> Result<Met> {
        let (engine, agent) = (&self.engine, &self.containers.agent);
        engine.create(&agent.name, &agent.body).await?;
        let gate = &self.containers.gate;
        tokio::select! {
            met = meet(gate, None) => met,
            started = engine.start(&agent.name) => {
                started?;
                meet(gate, Some(Instant::now() + MEETING)).await.with_context(|| format!(
                    "meet awf in the container {}; its image may be of another architecture", agent.name
                ))
            }
        }
    }
}

async fn meet(gate: &Path, deadline: Option<Instant>) -> Result<Met> {
    loop {
        match gate::meet(gate) {
            Ok(met) => return Ok(met),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) => {}
            Err(error) => return Err(error).context("meet awf in its container"),
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            bail!("nobody comes to the gate");
        }
        sleep(PAUSE).await;
    }
}
