//! Process 1 of the sandbox: passes orders in and notices out, and collects the dead.
//!
//! Takes the control socket, the gate to the command's process and that process; gives its exit.
//! Returning ends process 1, and with it everything in the pid namespace, as in a container.
//! Must never execute anything, and never read the control socket after the loader's end of file.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::init::exit_of;
use super::mount::Mount;
use super::sys;
use super::wire::{self, Exit, Notice, Order};
use crate::enforce::prove;

/// How long a change on the host's side of a shared directory may stay unseen, in milliseconds.
/// An overlay keeps names it has looked up, misses included (measured on 6.18: a file created or
/// replaced by the host stays invisible), so the cached names are dropped this often. Dropping
/// costs the agent one lookup for each name it uses again.
const STALE_MS: u16 = 1000;

pub(super) struct Reaper {
    deaths: SignalFd,
    shared: Vec<Mount>,
}

impl Reaper {
    /// Must exist before the command's process, or its death could go unnoticed.
    pub(super) fn new(shared: Vec<Mount>) -> Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block().context("block SIGCHLD")?;
        let deaths = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .context("watch for SIGCHLD")?;
        Ok(Self { deaths, shared })
    }

    /// Serve until `command` ends.
    pub(super) fn run(&self, control: BorrowedFd<'_>, gate: OwnedFd, command: Pid) -> Result<Exit> {
        self.keep_capabilities()?;
        let mut gate = Some(gate);
        loop {
            let [told, gated, died] = self.wait(control, gate.as_ref())?;
            // Notices first: a process that failed says why before it ends.
            if gated
                && let Some(open) = &gate
                && !pass_notice(control, open.as_fd())?
            {
                gate = None;
            }
            if told {
                obey(control, gate.as_ref(), command)?;
            }
            if died && let Some(exit) = self.collect(command)? {
                if let Some(open) = &gate {
                    while pass_notice(control, open.as_fd())? {}
                }
                return Ok(exit);
            }
        }
    }

    /// What is ready: the control socket, the gate, a death. None of them after [`STALE_MS`].
    fn wait(&self, control: BorrowedFd<'_>, gate: Option<&OwnedFd>) -> Result<[bool; 3]> {
        let idle = self.shared.is_empty();
        let timeout = if idle { PollTimeout::NONE } else { PollTimeout::from(STALE_MS) };
        // A closed gate is replaced by a socket that is watched anyway.
        let gate = gate.map_or(control, |fd| fd.as_fd());
        let mut fds =
            [control, gate, self.deaths.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, timeout) {
            Ok(0) => {
                self.shared.iter().try_for_each(|mount| sys::forget_names(mount.as_fd()))?;
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait for events"),
        }
        Ok(fds.map(|fd| fd.any().unwrap_or(true)))
    }

    /// Of root's powers, keep the one to signal the agent and the one to refresh shared mounts.
    fn keep_capabilities(&self) -> Result<()> {
        let mut keep = caps::CapsHashSet::from([Capability::CAP_KILL]);
        if !self.shared.is_empty() {
            keep.insert(Capability::CAP_SYS_ADMIN);
        }
        caps::set(None, CapSet::Effective, &keep).context("drop effective capabilities")?;
        caps::set(None, CapSet::Permitted, &keep).context("drop permitted capabilities")
    }

    /// Collect every zombie; the exit of `command` if it is among them.
    fn collect(&self, command: Pid) -> Result<Option<Exit>> {
        while let Ok(Some(_)) = self.deaths.read_signal() {}
        let mut exit = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(exit),
                Ok(status) => {
                    if status.pid() == Some(command) {
                        exit = exit_of(status);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("collect the dead"),
            }
        }
    }
}

/// Forward one notice of the command's process. False once it has executed the command.
fn pass_notice(control: BorrowedFd<'_>, gate: BorrowedFd<'_>) -> Result<bool> {
    match wire::receive::<Notice>(gate).context("read the gate")? {
        Some((notice, fds)) => {
            let fds: Vec<_> = fds.iter().map(OwnedFd::as_fd).collect();
            wire::send(control, &notice, &fds).context("tell the loader")?;
            Ok(true)
        }
        None => Ok(false),
    }
}

fn obey(control: BorrowedFd<'_>, gate: Option<&OwnedFd>, command: Pid) -> Result<()> {
    match wire::receive(control).context("read an order")? {
        None => bail!("the loader is gone"),
        Some((Order::Signal(number), _)) => deliver(number, command),
        Some((order, _)) => {
            if let Order::Prove { handed_in: true } = order {
                let report = prove::handed_in(receive_socket(control)?);
                wire::send(control, &Notice::Report(report), &[]).context("tell the loader")?;
            }
            if let Some(gate) = gate {
                wire::send(gate.as_fd(), &order, &[]).context("pass the order on")?;
            }
            Ok(())
        }
    }
}

/// An attempt of the proof: a socket from outside, which is closed at once if it gets through.
fn receive_socket(control: BorrowedFd<'_>) -> Result<nix::Result<()>> {
    match wire::receive::<()>(control) {
        // A refused descriptor is missing, and the message marked as cut short; nix calls that ENOBUFS.
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(Err(Errno::EPERM)),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(Ok(())),
    }
}

/// Keys of a terminal reach the whole foreground group, so those signals do here, too (as soon
/// as there is a group); others are meant for one process.
fn deliver(number: i32, command: Pid) -> Result<()> {
    let signal = Signal::try_from(number).context("not a signal")?;
    let target = match signal {
        Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTSTP | Signal::SIGWINCH => {
            Pid::from_raw(-command.as_raw())
        }
        _ => command,
    };
    match kill(target, signal).or_else(|_| kill(command, signal)) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).context("signal the command"),
    }
}

/// Undo what [`Reaper::new`] did to the signal mask; for the command's process.
pub(super) fn unblock_signals() -> nix::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}
