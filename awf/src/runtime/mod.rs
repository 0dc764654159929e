//! Step 7 of 9: where things run. Takes an `AgentSpec`, a governed cgroup and the doors' namespace, gives a [`Prepared`]
//! sandbox that waits at its gate.
//!
//! Owns: the gate. A sandbox that has been prepared has built its root and fired the probe; only a [`Confined`] opens it.
//! Must never: know the policy, or offer a way to start the command without that value.

pub mod native;

use std::os::fd::{BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};

use crate::enforce::prove::Report;
use crate::enforce::{Confined, Profile};
use native::watch::{self, Blocked};
use native::{Agent, AgentSpec, Exit, Message};

/// What a sandbox stands on.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// Directory of a cgroup whose programs are attached.
    pub cgroup: BorrowedFd<'a>,
    /// The network namespace with the doors.
    pub namespace: BorrowedFd<'a>,
    /// What the attached programs make.
    pub profile: Profile,
}

/// What a sandbox can be made with. `Docker` joins here.
pub trait Runtime {
    /// Starts a sandbox, up to the gate. `told` hears of calls that the system
    /// call filter refuses.
    fn prepare(
        &self,
        spec: &AgentSpec,
        ground: Ground<'_>,
        told: impl Fn(Blocked) + Send + 'static,
    ) -> impl Future<Output = Result<Prepared>>;
}

/// Namespaces made by awf itself.
#[derive(Clone, Copy, Debug)]
pub struct Native;

impl Runtime for Native {
    async fn prepare(
        &self,
        spec: &AgentSpec,
        ground: Ground<'_>,
        told: impl Fn(Blocked) + Send + 'static,
    ) -> Result<Prepared> {
        let mut told = Some(told);
        let mut agent = native::start(spec, ground)?;
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
                Message::Ready => return Ok(Prepared { agent, reports, terminal, warnings }),
                Message::Failed(reason) => bail!("build the sandbox: {reason}"),
                Message::Exited(exit) => {
                    bail!("the sandbox ended ({exit:?}) before its command started")
                }
            }
        }
    }
}

/// A sandbox at its gate.
#[derive(Debug)]
pub struct Prepared {
    agent: Agent,
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
        Ok(Running { agent: self.agent })
    }
}

/// A sandbox whose command runs.
#[derive(Debug)]
pub struct Running {
    agent: Agent,
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

    /// Waits until the outer process of the sandbox has ended.
    pub async fn gone(self) -> Result<()> {
        Ok(self.agent.wait().await?)
    }
}
