//! The loader's end of a sandbox: starting it, listening to it, ending it.
//!
//! Owns the outer `awf init` process and the control socket, whoever started the process. Dropping
//! the [`Agent`] kills the sandbox. Must never let the command start by itself: that takes
//! [`Agent::go`].

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Process;
use super::gate::Met;
use super::spec::{AgentSpec, Window};
use super::sys;
use super::wire::{self, Exit, Notice, Order, Start};
use crate::enforce::{Cgroup, Profile};

/// Why a sandbox could not be started or reached.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The spec cannot be written as JSON; a path that is not UTF-8.
    #[error("write the agent's spec")]
    Spec(#[source] serde_json::Error),
    /// clone3(2) or execve(2) failed.
    #[error("start the agent's first process in its cgroup")]
    Spawn(#[source] io::Error),
    /// The control socket failed.
    #[error("talk to the agent's first process")]
    Control(#[source] io::Error),
}

/// What the sandbox tells the loader.
#[derive(Debug)]
pub enum Message {
    /// A line of the probe's report.
    Report(String),
    /// The probe has ended; the command waits for [`Agent::go`].
    Ready,
    /// Something is weaker than planned; worth telling the user once.
    Warning(String),
    /// The master of the command's terminal.
    Terminal(OwnedFd),
    /// The descriptor on which the system call filter asks; give it to [`super::watch`] at once,
    /// or the probe waits.
    Listener(OwnedFd),
    /// The sandbox could not be built; the command did not run.
    Failed(String),
    /// The command has ended.
    Exited(Exit),
}

/// A running sandbox.
#[derive(Debug)]
pub struct Agent {
    control: AsyncFd<OwnedFd>,
    outer: Process,
    /// Whether its end is still to be collected, which only a parent can.
    to_reap: bool,
}

/// Start `awf init` in a cgroup and hand it the spec and the network namespace. It builds the sandbox and waits for
/// [`Agent::prove`]: no program need be attached yet.
///
/// Must be called within a tokio runtime, on a thread that lives as long as the sandbox should:
/// the kernel ties the new process to the *thread* that made it (`PR_SET_PDEATHSIG`).
pub fn start(
    spec: &AgentSpec,
    cgroup: &Cgroup,
    namespace: BorrowedFd<'_>,
) -> Result<Agent, AgentError> {
    let memory = written(spec)?;
    let (ours, theirs) = wire::pair().map_err(|error| AgentError::Control(error.into()))?;
    let spawned = sys::spawn_init(theirs.as_fd(), cgroup.as_fd()).map_err(AgentError::Spawn)?;
    drop(theirs);
    let outer = Process::of(spawned.pid.as_raw().cast_unsigned(), spawned.pidfd);
    let agent =
        outer.and_then(|outer| Agent::new(ours, outer, true)).map_err(AgentError::Control)?;
    agent.introduce(&[memory.as_fd(), namespace])?;
    Ok(agent)
}

/// Hand the spec, the network namespace, the loader's own view of the file system and `streams` as standard streams to an
/// `awf init` that a container engine started. What it builds is the very sandbox that [`start`] makes.
pub fn adopt(
    spec: &AgentSpec,
    namespace: BorrowedFd<'_>,
    met: Met,
    streams: &[OwnedFd; 3],
) -> Result<Agent, AgentError> {
    let memory = written(spec)?;
    let mounts = File::open("/proc/self/ns/mnt").map_err(AgentError::Control)?;
    let agent = Agent::new(met.control, met.process, false).map_err(AgentError::Control)?;
    let [stdin, stdout, stderr] = streams;
    agent.introduce(&[
        memory.as_fd(),
        namespace,
        mounts.as_fd(),
        stdin.as_fd(),
        stdout.as_fd(),
        stderr.as_fd(),
    ])?;
    Ok(agent)
}

fn written(spec: &AgentSpec) -> Result<OwnedFd, AgentError> {
    let text = serde_json::to_vec(spec).map_err(AgentError::Spec)?;
    let memory = memfd_create(c"awf-spec", MFdFlags::MFD_CLOEXEC);
    let mut file = File::from(memory.map_err(|error| AgentError::Control(error.into()))?);
    file.write_all(&text).map_err(AgentError::Control)?;
    Ok(file.into())
}

impl Agent {
    fn new(control: OwnedFd, outer: Process, to_reap: bool) -> io::Result<Self> {
        fcntl(&control, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self {
            control: sys::watch(control, Interest::READABLE | Interest::WRITABLE)?,
            outer,
            to_reap,
        })
    }

    /// The first words: what to build.
    fn introduce(&self, fds: &[BorrowedFd<'_>]) -> Result<(), AgentError> {
        let start = Start { contained: fds.len() > 2 };
        wire::send(self.control.get_ref().as_fd(), &start, fds).map_err(AgentError::Control)
    }

    /// Let the probe try the ways out, now that programs are attached that make this profile. Where those of the LSM layer
    /// are among them, a socket goes along that must not arrive. A sandbox that is gone by now is no error yet: it may have
    /// said why, which [`Agent::next_message`] gives.
    pub fn prove(&self, profile: Profile) -> Result<(), AgentError> {
        let handed_in = profile == Profile::Full;
        let control = self.control.get_ref().as_fd();
        let send = || -> io::Result<()> {
            wire::send(control, &Order::Prove { handed_in }, &[])?;
            if handed_in {
                wire::send(control, &(), &[UnixDatagram::unbound()?.as_fd()])?;
            }
            Ok(())
        };
        match send() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            sent => sent.map_err(AgentError::Control),
        }
    }

    /// The outer process as seen by the loader. It is in the agent's cgroup.
    pub fn pid(&self) -> u32 {
        self.outer.id()
    }

    /// The next message; `None` when the sandbox is gone. After [`Message::Exited`] nothing else
    /// follows; `None` without it means that the sandbox was killed. Cancel safe.
    pub async fn next_message(&mut self) -> Result<Option<Message>, AgentError> {
        let received = self.control.async_io(Interest::READABLE, |fd| wire::receive(fd.as_fd()));
        let Some((notice, mut fds)) = received.await.map_err(AgentError::Control)? else {
            return Ok(None);
        };
        Ok(Some(match (notice, fds.pop()) {
            (Notice::Report(line), _) => Message::Report(line),
            (Notice::Ready, _) => Message::Ready,
            (Notice::Warning(text), _) => Message::Warning(text),
            (Notice::Terminal, Some(master)) => Message::Terminal(master),
            (Notice::Terminal, None) => {
                Message::Failed("the terminal arrived without its descriptor".to_owned())
            }
            (Notice::Listener, Some(listener)) => Message::Listener(listener),
            (Notice::Listener, None) => {
                Message::Failed("the filter's listener arrived without its descriptor".to_owned())
            }
            (Notice::Failed(text), _) => Message::Failed(text),
            (Notice::Exited(exit), _) => Message::Exited(exit),
        }))
    }

    /// Let the command start. Only after enforcement is proved.
    pub async fn go(&self) -> Result<(), AgentError> {
        self.order(Order::Go).await
    }

    /// Deliver a signal to the command; those that a terminal's keys send reach its whole group.
    pub async fn signal(&self, number: i32) -> Result<(), AgentError> {
        self.order(Order::Signal(number)).await
    }

    async fn order(&self, order: Order) -> Result<(), AgentError> {
        let sent =
            self.control.async_io(Interest::WRITABLE, |fd| wire::send(fd.as_fd(), &order, &[]));
        sent.await.map_err(AgentError::Control)
    }

    /// Kill the sandbox with everything in it.
    pub fn kill(&self) -> Result<(), AgentError> {
        self.outer.kill().map_err(AgentError::Control)
    }

    /// Wait until the outer process has ended, which it does last of all.
    pub async fn wait(mut self) -> Result<(), AgentError> {
        self.outer.ended().await.map_err(AgentError::Control)?;
        self.reap().map_err(AgentError::Control)
    }

    fn reap(&mut self) -> io::Result<()> {
        if self.to_reap {
            waitid(Id::PIDFd(self.outer.as_fd()), WaitPidFlag::WEXITED)?;
            self.to_reap = false;
        }
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both can only fail for a process that is already gone.
        drop(self.kill());
        drop(self.reap());
    }
}

/// The size of the user's terminal; `None` if it is none.
pub fn window_of(terminal: BorrowedFd<'_>) -> Option<Window> {
    sys::window_of(terminal)
}

/// Tell the command's terminal the size of the user's.
pub fn resize(master: BorrowedFd<'_>, window: Window) -> io::Result<()> {
    sys::set_window(master, window)
}
