//! `awf init`: from a bare process in the agent's cgroup to the command in its sandbox.
//!
//! Three processes, one thread each:
//! 1. the *outer* one, started by the loader or as the first process of a container: enters the
//!    namespaces, starts the next, waits;
//! 2. *process 1* of the new pid namespace: builds the root, keeps the control socket and is the
//!    sandbox's reaper (`reaper`);
//! 3. the *command*, which confines itself (`confine`), waits until the programs are attached,
//!    proves it, waits for the order to go and becomes the user's program.
//!
//! The loader's death ends everything twice over: SIGKILL from process to process
//! (`PR_SET_PDEATHSIG`), and end of file on the control socket; the end of process 1 makes the
//! kernel kill the pid namespace. Must never run in a process that has threads.

use std::fs::File;
use std::io::Seek as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
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
use nix::unistd::{
    ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, sethostname, setsid,
};

use super::spec::AgentSpec;
use super::wire::{self, Exit, Notice, Start};
use super::{confine, gate, idmap, reaper, root, stdio, sys};

/// A self-test that runs in exactly the confinement of the command; it hands over report lines.
pub type Probe = fn(&mut dyn FnMut(&str));

/// What init returns where it fails itself; the loader hears the reason on the control socket.
const BROKEN: u8 = 125;

/// The whole of `awf init`. Must be called before the process has a second thread. `gate` is where
/// to wait for the loader, in a container, and what it has locked; without it, the loader has left the control socket behind.
pub fn main(gate: Option<&(PathBuf, PathBuf)>, probe: Probe) -> ExitCode {
    // Executed through /proc/self/exe, it would be `exe` to whoever reads the record.
    let _nameless = prctl::set_name(c"awf").is_err();
    let wait = |(socket, alive): &(PathBuf, PathBuf)| gate::wait_for_loader(socket, alive);
    let control = gate.map_or_else(sys::take_control, wait);
    // Without it there is nobody to tell: someone typed `awf init`, or restarted a container.
    let Ok(control) = control else { return ExitCode::from(BROKEN) };
    outer(&control, probe).unwrap_or_else(|error| failed(control.as_fd(), &error))
}

fn failed(control: BorrowedFd<'_>, error: &anyhow::Error) -> ExitCode {
    // If the loader is gone, there is nobody to tell either.
    drop(wire::send(control, &Notice::Failed(format!("{error:#}")), &[]));
    ExitCode::from(BROKEN)
}

fn outer(control: &OwnedFd, probe: Probe) -> Result<ExitCode> {
    let (spec, Handed { netns, mounts }) = receive(control.as_fd()).context("receive the spec")?;
    if spec.uid == 0 || spec.gid == 0 {
        bail!("the command cannot run as root");
    }
    stdio::inspect()?;
    let idmap = spec.map_root.then(|| idmap::exchange_with_root(spec.uid, spec.gid)).transpose();
    let idmap = idmap.context("prepare the translation of owners")?;
    // Out of the user's terminal: Ctrl-C is the loader's to pass on, and must not end this process.
    // The first process of a container leads a session of its own already.
    if mounts.is_none() {
        setsid().context("leave the session")?;
    }
    // Before the fork: whoever executes something in the container joins the namespaces of its first process.
    setns(netns, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
    unshare(CloneFlags::CLONE_NEWPID).context("create a pid namespace")?;
    let (parent, living) = pipe2(OFlag::O_CLOEXEC).context("make the sign of life")?;
    match sys::fork().context("start process 1")? {
        ForkResult::Child => {
            drop(living);
            Ok(process_one(control, &spec, Outside { parent, mounts, idmap }, probe)
                .unwrap_or_else(|error| failed(control.as_fd(), &error)))
        }
        ForkResult::Parent { child } => {
            drop((parent, mounts, idmap));
            // From here on this process only waits.
            for set in [CapSet::Effective, CapSet::Permitted] {
                caps::clear(None, set).context("drop capabilities")?;
            }
            ended(child).map(|exit| ExitCode::from(exit.status()))
        }
    }
}

/// Namespaces that the loader hands over.
struct Handed {
    netns: OwnedFd,
    /// The loader's own, where this process is in a container.
    mounts: Option<OwnedFd>,
}

/// The spec arrives as a memfd, together with namespaces and, in a container, the standard streams.
fn receive(control: BorrowedFd<'_>) -> Result<(AgentSpec, Handed)> {
    let Some((start, fds)) = wire::receive::<Start>(control)? else { bail!("the loader is gone") };
    let mut fds = fds.into_iter();
    let mut next = || fds.next().context("a descriptor of the loader's is missing");
    let (spec, netns) = (next()?, next()?);
    let mounts = if start.contained {
        let mounts = next()?;
        dup2_stdin(next()?)?;
        dup2_stdout(next()?)?;
        dup2_stderr(next()?)?;
        Some(mounts)
    } else {
        None
    };
    let mut spec = File::from(spec);
    spec.rewind()?;
    let spec = serde_json::from_reader(std::io::BufReader::new(spec))?;
    Ok((spec, Handed { netns, mounts }))
}

/// What process 1 gets from the outer one.
struct Outside {
    /// Closed when that one is gone.
    parent: OwnedFd,
    /// The loader's mount namespace, where this is a container.
    mounts: Option<OwnedFd>,
    /// How owners are translated.
    idmap: Option<OwnedFd>,
}

fn process_one(
    control: &OwnedFd,
    spec: &AgentSpec,
    Outside { parent, mounts, idmap }: Outside,
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
    if let Some(mounts) = mounts {
        // Not the container's file system is shown to the command but chosen parts of the host's.
        setns(mounts, CloneFlags::CLONE_NEWNS).context("enter the loader's mount namespace")?;
    }
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(namespaces).context("create namespaces")?;
    sethostname(&spec.hostname).context("set the host name")?;
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

/// Wait for the end of one child. In a container others end here, too, whose parents have left them.
fn ended(child: Pid) -> Result<Exit> {
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid() == Some(child) => {
                if let Some(exit) = exit_of(status) {
                    return Ok(exit);
                }
            }
            Ok(_other) => {}
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
