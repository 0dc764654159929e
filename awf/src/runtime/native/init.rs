//! `awf init`: from a bare process in the agent's cgroup to the command in its sandbox.
//!
//! Three processes, one thread each:
//! 1. the *outer* one, started by the loader: enters the namespaces, starts the next, waits;
//! 2. *process 1* of the new pid namespace: builds the root, keeps the control socket and is the
//!    sandbox's reaper (`reaper`);
//! 3. the *command*, which confines itself (`confine`), proves it, waits for the order
//!    to go and becomes the user's program.
//!
//! The loader's death ends everything twice over: SIGKILL from process to process
//! (`PR_SET_PDEATHSIG`), and end of file on the control socket; the end of process 1 makes the
//! kernel kill the pid namespace. Must never run in a process that has threads.

use std::fs::File;
use std::io::Seek as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use caps::CapSet;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, pipe2, sethostname, setsid};

use super::spec::AgentSpec;
use super::wire::{self, Exit, Notice};
use super::{confine, idmap, reaper, root, stdio, sys};
use crate::enforce::prove;

/// A self-test that runs in exactly the confinement of the command; it hands over report lines.
pub type Probe = fn(&mut dyn FnMut(&str));

/// What init returns where it fails itself; the loader hears the reason on the control socket.
const BROKEN: u8 = 125;

/// The whole of `awf init`. Must be called before the process has a second thread.
pub fn main(probe: Probe) -> ExitCode {
    // Without it there is nobody to tell: someone typed `awf init`.
    let Ok(control) = sys::take_control() else { return ExitCode::from(BROKEN) };
    outer(&control, probe).unwrap_or_else(|error| failed(control.as_fd(), &error))
}

fn failed(control: BorrowedFd<'_>, error: &anyhow::Error) -> ExitCode {
    // If the loader is gone, there is nobody to tell either.
    drop(wire::send(control, &Notice::Failed(format!("{error:#}")), &[]));
    ExitCode::from(BROKEN)
}

fn outer(control: &OwnedFd, probe: Probe) -> Result<ExitCode> {
    let (spec, netns) = receive(control.as_fd()).context("receive the spec")?;
    if spec.uid == 0 || spec.gid == 0 {
        bail!("the command cannot run as root");
    }
    stdio::inspect()?;
    let idmap = spec.map_root.then(|| idmap::exchange_with_root(spec.uid, spec.gid)).transpose();
    let idmap = idmap.context("prepare the translation of owners")?;
    // Out of the user's terminal: Ctrl-C is the loader's to pass on, and must not end this process.
    setsid().context("leave the session")?;
    setns(netns, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(namespaces).context("create namespaces")?;
    sethostname(&spec.hostname).context("set the host name")?;
    let (parent, living) = pipe2(OFlag::O_CLOEXEC).context("make the sign of life")?;
    match sys::fork().context("start process 1")? {
        ForkResult::Child => {
            drop(living);
            Ok(process_one(control, &spec, (idmap, parent), probe)
                .unwrap_or_else(|error| failed(control.as_fd(), &error)))
        }
        ForkResult::Parent { child } => {
            drop(parent);
            // From here on this process only waits.
            for set in [CapSet::Effective, CapSet::Permitted] {
                caps::clear(None, set).context("drop capabilities")?;
            }
            ended(child).map(|exit| ExitCode::from(exit.status()))
        }
    }
}

/// The spec arrives as a memfd, together with the network namespace.
fn receive(control: BorrowedFd<'_>) -> Result<(AgentSpec, OwnedFd)> {
    let Some((handed_in, fds)) = wire::receive(control)? else { bail!("the loader is gone") };
    let Ok([spec, netns]) = <[OwnedFd; 2]>::try_from(fds) else {
        bail!("expected a spec and a network namespace");
    };
    if handed_in {
        wire::send(control, &Notice::Report(prove::handed_in(receive_socket(control)?)), &[])?;
    }
    let mut spec = File::from(spec);
    spec.rewind()?;
    Ok((serde_json::from_reader(std::io::BufReader::new(spec))?, netns))
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

fn process_one(
    control: &OwnedFd,
    spec: &AgentSpec,
    (idmap, parent): (Option<OwnedFd>, OwnedFd),
    probe: Probe,
) -> Result<ExitCode> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("tie process 1 to its parent")?;
    // The kernel tells of later deaths only, and getppid(2) says 0 in a new pid namespace either way.
    let mut sign = [PollFd::new(parent.as_fd(), PollFlags::POLLIN)];
    if poll(&mut sign, PollTimeout::ZERO).context("look for the outer process")? > 0 {
        bail!("the outer process is gone");
    }
    drop(parent);
    prctl::set_dumpable(false).context("close process 1 to inspection")?;
    let mut built = root::enter(spec, idmap.as_ref().map(|fd| fd.as_fd()))?;
    drop(idmap);
    for warning in built.warnings.drain(..) {
        wire::send(control.as_fd(), &Notice::Warning(warning), &[])?;
    }
    let terminal = spec.tty.map(|window| stdio::terminal(window, spec.uid)).transpose();
    let terminal = terminal.context("open a terminal")?;
    let (gate, inner_gate) = wire::pair().context("create the gate")?;
    let reaper = reaper::Reaper::new(built.shared)?;
    match sys::fork().context("start the command's process")? {
        ForkResult::Child => {
            drop(reaper);
            drop(gate);
            let terminal = terminal.map(|(_, slave)| slave);
            Ok(confine::become_command(spec, terminal, &inner_gate, probe))
        }
        ForkResult::Parent { child } => {
            drop(inner_gate);
            if let Some((master, slave)) = terminal {
                drop(slave);
                wire::send(control.as_fd(), &Notice::Terminal, &[master.as_fd()])?;
            }
            let exit = reaper.run(control.as_fd(), gate, child)?;
            wire::send(control.as_fd(), &Notice::Exited(exit), &[])?;
            Ok(ExitCode::from(exit.status()))
        }
    }
}

/// Wait for the end of one child.
fn ended(child: Pid) -> Result<Exit> {
    loop {
        match waitpid(child, None) {
            Ok(status) => {
                if let Some(exit) = exit_of(status) {
                    return Ok(exit);
                }
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait for process 1"),
        }
    }
}

/// How a child ended, if this status is an end at all.
pub(super) fn exit_of(status: WaitStatus) -> Option<Exit> {
    match status {
        WaitStatus::Exited(_, code) => Some(Exit::Code(u8::try_from(code & 0xff).unwrap_or(255))),
        WaitStatus::Signaled(_, signal, _) => {
            Some(Exit::Signal(u8::try_from(signal as i32).unwrap_or(127)))
        }
        _ => None,
    }
}
