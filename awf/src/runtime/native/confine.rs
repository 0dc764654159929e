//! The last steps of the command's process: every right it must not have is given up here.
//!
//! Order matters: what needs a right comes before that right goes, and the probe runs after
//! everything, in exactly the state the command will have. Takes the spec, the terminal and the
//! gate; ends in execve(2). Must never touch the control socket, nor run anything of the user's
//! before the order to go.

use std::ffi::{CString, OsStr};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use caps::{CapSet, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{self, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{
    AccessFlags, Gid, Uid, access, dup2_stderr, dup2_stdin, dup2_stdout, setresgid, setresuid,
    setsid,
};

use super::init::Probe;
use super::spec::{AgentSpec, Need, Resource, Text};
use super::wire::{self, Notice, Order};
use super::{one_shot, reaper, seccomp, stdio, sys};

/// Confine this process, let `probe` test it when enforcement is attached, wait for the order and become the command.
pub(super) fn become_command(
    spec: &AgentSpec,
    terminal: Option<OwnedFd>,
    gate: &OwnedFd,
    probe: Probe,
) -> ExitCode {
    match confined(spec, terminal, gate, probe) {
        Ok(true) => execute(spec),
        Ok(false) => ExitCode::SUCCESS,
        Err(error) => {
            drop(wire::send(gate.as_fd(), &Notice::Failed(format!("{error:#}")), &[]));
            ExitCode::from(125)
        }
    }
}

/// False when there is nobody left to give the order.
fn confined(
    spec: &AgentSpec,
    terminal: Option<OwnedFd>,
    gate: &OwnedFd,
    probe: Probe,
) -> Result<bool> {
    default_signals().context("reset signals")?;
    setsid().context("start a session")?;
    match terminal {
        Some(terminal) => take_terminal(&terminal).context("take the terminal")?,
        None => stdio::give_pipes_to(spec.uid).context("hand the pipes over")?,
    }
    limit(spec).context("set resource limits")?;
    drop_rights(spec)?;
    sys::close_at_exec().context("mark descriptors")?;
    prctl::set_no_new_privs().context("set no_new_privs")?;
    let listener =
        sys::install_filter(&seccomp::program()).context("install the system call filter")?;
    wire::send(gate.as_fd(), &Notice::Listener, &[listener.as_fd()])?;
    // Only the loader may answer.
    drop(listener);

    let Some((Order::Prove { .. }, _)) = wire::receive(gate.as_fd())? else { return Ok(false) };
    let mut report = |line: &str| {
        // A lost line makes the proof incomplete, and an incomplete proof is refused.
        drop(wire::send(gate.as_fd(), &Notice::Report(line.to_owned()), &[]));
    };
    probe(&mut report);
    one_shot::prove(spec)?;
    wire::send(gate.as_fd(), &Notice::Ready, &[])?;
    let Some((Order::Go, _)) = wire::receive(gate.as_fd())? else { return Ok(false) };
    if let Err(reason) = nix::unistd::chdir(&spec.cwd) {
        let text = format!("starting in / instead of {}: {reason}", spec.cwd.display());
        wire::send(gate.as_fd(), &Notice::Warning(text), &[])?;
    }
    Ok(true)
}

/// The Rust runtime ignores SIGPIPE and process 1 blocks SIGCHLD; the command expects neither.
fn default_signals() -> Result<()> {
    sys::default_action(Signal::SIGPIPE)?;
    Ok(reaper::unblock_signals()?)
}

fn take_terminal(terminal: &OwnedFd) -> Result<()> {
    sys::control_terminal(terminal.as_fd())?;
    dup2_stdin(terminal)?;
    dup2_stdout(terminal)?;
    dup2_stderr(terminal)?;
    Ok(())
}

fn limit(spec: &AgentSpec) -> Result<()> {
    for wish in &spec.rlimits {
        let resource = match wish.resource {
            Resource::AddressSpace => resource::Resource::RLIMIT_AS,
            Resource::Core => resource::Resource::RLIMIT_CORE,
            Resource::Data => resource::Resource::RLIMIT_DATA,
            Resource::OpenFiles => resource::Resource::RLIMIT_NOFILE,
            Resource::Processes => resource::Resource::RLIMIT_NPROC,
        };
        let (_, most) = getrlimit(resource)?;
        let hard = wish.hard.min(most);
        setrlimit(resource, wish.soft.min(hard), hard)?;
    }
    Ok(())
}

fn drop_rights(spec: &AgentSpec) -> Result<()> {
    sys::empty_bounding_set().context("empty the bounding set")?;
    let groups: Vec<_> = spec.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
    nix::unistd::setgroups(&groups).context("set groups")?;
    let (uid, gid) = (Uid::from_raw(spec.uid), Gid::from_raw(spec.gid));
    setresgid(gid, gid, gid).context("change the group")?;
    setresuid(uid, uid, uid).context("change the user")?;
    // Leaving uid 0 has emptied permitted, effective and ambient; the rest goes here, and a
    // securebits setting of the caller that would have kept them makes no difference.
    let none = CapsHashSet::new();
    for set in [CapSet::Ambient, CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        match set {
            CapSet::Ambient => caps::clear(None, set),
            _ => caps::set(None, set, &none),
        }
        .with_context(|| format!("empty the {set:?} capabilities"))?;
    }
    if getuids() != [uid; 3] {
        bail!("the kernel kept another user id");
    }
    Ok(())
}

fn getuids() -> [Uid; 3] {
    match nix::unistd::getresuid() {
        Ok(ids) => [ids.real, ids.effective, ids.saved],
        Err(_) => [Uid::from_raw(0); 3],
    }
}

/// Become the command. Returns only if that fails, with the shell's codes: 127 not found, 126
/// found but not executable.
fn execute(spec: &AgentSpec) -> ExitCode {
    if let Some(need) = spec.needs.iter().find(|need| !is_there(need, spec)) {
        drop(writeln!(io::stderr(), "awf: {} is missing: {}", need.program, need.why));
        return ExitCode::from(127);
    }
    let Some(Text(program)) = spec.argv.first() else { return ExitCode::from(127) };
    let reason = match replace(program, spec) {
        Ok(never) => match never {},
        Err(reason) => reason,
    };
    // The terminal or pipe of the command is all that is left to speak to.
    drop(writeln!(io::stderr(), "awf: {}: {}", program.display(), reason.desc()));
    ExitCode::from(if matches!(reason, Errno::ENOENT | Errno::ENOTDIR) { 127 } else { 126 })
}

/// Whether the command could execute it.
fn is_there(need: &Need, spec: &AgentSpec) -> bool {
    let more = need.places.iter().map(|place| place.join(&need.program));
    let more = more.map(|path| path.into_os_string().as_bytes().to_vec());
    candidates(need.program.as_ref(), spec).into_iter().chain(more).any(|path| {
        let path = Path::new(OsStr::from_bytes(&path));
        path.is_file() && access(path, AccessFlags::X_OK).is_ok()
    })
}

fn replace(program: &OsStr, spec: &AgentSpec) -> nix::Result<std::convert::Infallible> {
    let argv = texts(spec.argv.iter().map(|Text(arg)| arg.as_bytes().to_vec()))?;
    let env = texts(
        spec.env
            .iter()
            .map(|(Text(name), Text(value))| [name.as_bytes(), b"=", value.as_bytes()].concat()),
    )?;
    let mut worst = Errno::ENOENT;
    for candidate in candidates(program, spec) {
        let path = CString::new(candidate).map_err(|_nul| Errno::EINVAL)?;
        match nix::unistd::execve(&path, &argv, &env) {
            // Like a shell, go on to the next directory, but remember that there was a file.
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(Errno::EACCES) => worst = Errno::EACCES,
            // A script without `#!` is run by sh, as POSIX wants of execvp.
            Err(Errno::ENOEXEC) => {
                let script =
                    [vec![c"sh".to_owned(), path], argv.get(1..).unwrap_or_default().to_vec()];
                return nix::unistd::execve(c"/bin/sh", &script.concat(), &env);
            }
            other => return other,
        }
    }
    Err(worst)
}

fn texts(parts: impl Iterator<Item = Vec<u8>>) -> nix::Result<Vec<CString>> {
    parts.map(|part| CString::new(part).map_err(|_nul| Errno::EINVAL)).collect()
}

/// Where the program may lie: as it was named, or in each directory of the command's own PATH.
fn candidates(program: &OsStr, spec: &AgentSpec) -> Vec<Vec<u8>> {
    let name = program.as_bytes();
    if name.is_empty() || name.contains(&b'/') {
        return vec![name.to_vec()];
    }
    let path = spec.env.iter().find(|(Text(key), _)| key == "PATH").map(|(_, Text(path))| path);
    let path = path.map_or(&b"/usr/local/bin:/usr/bin:/bin"[..], |path| path.as_bytes());
    path.split(|&byte| byte == b':')
        .map(|directory| Path::new(OsStr::from_bytes(directory)).join(program))
        .map(|file| file.into_os_string().as_bytes().to_vec())
        .collect()
}
