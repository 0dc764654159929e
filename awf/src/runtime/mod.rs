//! Step 7 of 9: where things run. Takes an `AgentSpec`, a cgroup and the doors' namespace, gives a [`Prepared`] sandbox that
//! waits at its gate.
//!
//! Owns: the gate. A sandbox that has been prepared has built its root and fired the probe; only a [`Confined`] opens it.
//! Must never: know the policy, or offer a way to start the command without that value.

pub mod docker;
pub mod native;

use std::os::fd::{BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};

use crate::enforce::prove::Report;
use crate::enforce::{Cgroup, Confined, Profile};
use docker::Bridges;
use native::watch::{self, Blocked};
use native::{Agent, AgentSpec, Exit, Message};

/// What a sandbox can be made with.
pub trait Runtime {
    /// Brings a sandbox up to the gate, in a cgroup whose attached programs make this profile. `told` hears of calls that the
    /// system call filter refuses.
    fn prepare(
        self,
        profile: Profile,
        told: impl Fn(Blocked) + Send + 'static,
    ) -> impl Future<Output = Result<Prepared>>;
}

/// Namespaces made by awf itself.
#[derive(Debug)]
pub struct Native(Agent);

impl Native {
    /// Begins to build the sandbox, beside the loading of the programs: nothing is tried in it before they are attached.
    pub fn begin(spec: &AgentSpec, cgroup: &Cgroup, namespace: BorrowedFd<'_>) -> Result<Self> {
        Ok(Self(native::start(spec, cgroup, namespace)?))
    }
}

impl Runtime for Native {
    async fn prepare(
        self,
        profile: Profile,
        told: impl Fn(Blocked) + Send + 'static,
    ) -> Result<Prepared> {
        until_gate(self.0, profile, told).await
    }
}

/// Has a sandbox prove itself, and listens to it until it waits at its gate.
async fn until_gate(
    mut agent: Agent,
    profile: Profile,
    told: impl Fn(Blocked) + Send + 'static,
) -> Result<Prepared> {
    agent.prove(profile)?;
    let mut told = Some(told);
    let (mut reports, mut terminal, mut warnings) = (Vec::new(), None, Vec::new());
    loop {
        match agent.next_message().await?.context("the sandbox died while it was built")? {
            Message::Report(line) => reports.push(serde_json::from_str(&line)?),
            Message::Warning(text) => warnings.push(text),
            Message::Terminal(master) => terminal = Some(master),
            Message::Listener(listener) => {
                let told = told.take().context("a second filter asks")?;
                watch::start(listener, told).context("answer the system call filter")?;
            }
            Message::Ready => {
                let (seat, streams) = (None, Bridges::default());
                return Ok(Prepared { agent, seat, streams, reports, terminal, warnings });
            }
            Message::Failed(reason) => bail!("build the sandbox: {reason}"),
            Message::Exited(exit) => {
                bail!("the sandbox ended ({exit:?}) before its command started")
            }
        }
    }
}

/// A sandbox at its gate.
#[derive(Debug)]
pub struct Prepared {
    agent: Agent,
    /// The cgroup it is in, where that is not the governed one itself but one below it.
    pub seat: Option<Cgroup>,
    streams: Bridges,
    /// What the probe tried.
    pub reports: Vec<Report>,
    /// Master of the command's terminal.
    pub terminal: Option<OwnedFd>,
    /// What is weaker than planned.
    pub warnings: Vec<String>,
}

impl Prepared {
    /// Opens the gate: the command starts.
    pub async fn start(self, confined: Confined) -> Result<Running> {
        // The evidence is used up: it was about this sandbox and no other.
        let Confined { .. } = confined;
        self.agent.go().await.context("start the command")?;
        Ok(Running { agent: self.agent, streams: self.streams })
    }

    /// The first process of the sandbox, of which all others descend.
    pub fn first(&self) -> u32 {
        self.agent.pid()
    }
}

/// A sandbox whose command runs.
#[derive(Debug)]
pub struct Running {
    agent: Agent,
    streams: Bridges,
}

impl Running {
    /// How the command ended; `None` if the sandbox was killed. Cancel safe.
    pub async fn ended(&mut self) -> Result<Option<Exit>> {
        loop {
            match self.agent.next_message().await? {
                Some(Message::Exited(exit)) => return Ok(Some(exit)),
                Some(Message::Failed(reason)) => bail!("run the command: {reason}"),
                Some(Message::Warning(text)) => tracing::warn!("{text}"),
                Some(
                    Message::Report(_)
                    | Message::Ready
                    | Message::Terminal(_)
                    | Message::Listener(_),
                ) => {}
                None => return Ok(None),
            }
        }
    }

    /// The first process of the sandbox, of which all others descend.
    pub fn first(&self) -> u32 {
        self.agent.pid()
    }

    /// Delivers a signal to the command.
    pub async fn signal(&self, number: i32) -> Result<()> {
        Ok(self.agent.signal(number).await?)
    }

    /// Kills everything in the sandbox.
    pub fn kill(&self) -> Result<()> {
        Ok(self.agent.kill()?)
    }

    /// Waits until the outer process of the sandbox has ended, and its last output has been passed on.
    pub async fn gone(self) -> Result<()> {
        self.agent.wait().await?;
        self.streams.finish();
        Ok(())
    }
}
