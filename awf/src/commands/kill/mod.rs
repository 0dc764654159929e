//! `awf kill`: ends a run and everything in it.
//!
//! Takes the beginning of a run's id; asks its awf to end, which takes down the sandbox, and kills it if it does not. Must
//! never: send a signal to any process but that awf. So the process is held by a descriptor before it is looked at again: from
//! then on its id cannot become another's.

pub(super) mod holder;

use std::io::ErrorKind;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cli::reading::KillArgs;
use crate::exit::Exit;
use crate::session::live::{self, Seen};
use crate::session::locks;
use crate::session::run_dir::RUNS;
use crate::speech::{SUCCESS, waiting};
use holder::holder;

/// How long a run may take to end by itself: containers are given 10 seconds, and what is left to do is quick.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a killed process may take to be gone.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// How long the directory may take to be gone when its awf is.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// Milliseconds between two looks at the directory.
const INTERVAL: u8 = 100;
/// User of every awf with a run.
const ROOT: u32 = 0;

/// Ends the run that is meant.
pub fn end(args: &KillArgs) -> Result<Exit> {
    let id = meant(&args.run, &live::look())?;
    let run = Path::new(RUNS).join(&id);
    let awf = Awf::hold(&run, &id, ROOT)?;
    waiting::begin(format!("Waiting for run {id} to end"));
    match awf.end(PATIENCE)? {
        Ended::Whole => tracing::info!(target: SUCCESS, "Run {id} has ended"),
        Ended::Left => tracing::warn!(
            "Run {id} has ended and left {}: kept as it was told to, or the next run removes it",
            run.display()
        ),
        Ended::Killed => tracing::warn!(
            "Run {id} did not end within {} seconds and was killed; the next run will collect what remains",
            PATIENCE.as_secs()
        ),
    }
    Ok(Exit::Agent(0))
}

/// The id of the one run that is meant: its beginning, or its last part, by which `awf logs egress -f` calls it.
fn meant(said: &str, seen: &Seen) -> Result<String> {
    let told = seen.runs.iter().map(|live| live.id.clone());
    let silent = seen.silent.iter().filter_map(|run| run.file_name());
    let mut ids: Vec<String> =
        told.chain(silent.map(|name| name.to_string_lossy().into_owned())).collect();
    if let Some(id) = ids.iter().find(|id| *id == said) {
        return Ok(id.clone());
    }
    let is_meant = |id: &String| id.starts_with(said) || id.rsplit('-').next() == Some(said);
    ids.retain(|id| !said.is_empty() && is_meant(id));
    match (&*ids, seen.complete) {
        ([id], _) => Ok(id.clone()),
        ([], true) => bail!("no run '{}' goes on; see awf ps", said.escape_debug()),
        ([], false) => {
            bail!("only root can see which runs go on: sudo awf kill {}", said.escape_debug())
        }
        (several, _) => {
            bail!("'{}' may be {}; say more of it", said.escape_debug(), several.join(" or "))
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Nothing is left of it.
    Whole,
    /// By itself, but its directory stays.
    Left,
    /// By force.
    Killed,
}

/// A run's awf, held so that nothing else can be taken for it.
#[derive(Debug)]
struct Awf<'a> {
    run: &'a Path,
    id: &'a str,
    process: OwnedFd,
}

impl<'a> Awf<'a> {
    fn hold(run: &'a Path, id: &'a str, owner: u32) -> Result<Self> {
        let elsewhere = "its awf is in another pid namespace, such as a container's: end it there";
        let first = holder(run)
            .with_context(|| format!("run {id} cannot be ended from here: {elsewhere}"))?;
        let pid = i32::try_from(first.pid).ok().and_then(Pid::from_raw);
        let pid = pid.context("the kernel told a process id that is none")?;
        let process = pidfd_open(pid, PidfdFlags::empty())
            .with_context(|| format!("hold process {} of run {id}", first.pid))?;
        // It still has the lock, so it is the one that is held.
        if holder(run) != Some(first) {
            bail!("run {id} has just ended; see awf ps");
        }
        if first.uid != owner {
            bail!("process {} of user {} is not the awf of run {id}", first.pid, first.uid);
        }
        // The kernel notes who took a lock, which a child may keep: the id can have become another's since.
        match locks::has_descriptor(first.pid, &run.join("alive")) {
            Ok(true) => {}
            Ok(false) => bail!(
                "process {} does not hold the lock of run {id}, so it is not its awf; whoever does keeps a dead run's lock: \
                 fuser {}/alive",
                first.pid,
                run.display()
            ),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                bail!("run {id} is root's to end: sudo awf kill {id}")
            }
            Err(error) => {
                return Err(error).with_context(|| format!("look at the awf of run {id}"));
            }
        }
        Ok(Self { run, id, process })
    }

    fn end(&self, patience: Duration) -> Result<Ended> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            let is_gone = self.is_gone()?;
            if !self.run.exists() {
                return Ok(Ended::Whole);
            }
            if is_gone {
                std::thread::sleep(AFTERWARDS);
                return Ok(if self.run.exists() { Ended::Left } else { Ended::Whole });
            }
        }
        self.signal(Signal::KILL)?;
        let deadline = Instant::now() + LAST_PATIENCE;
        while Instant::now() < deadline {
            if self.is_gone()? {
                return Ok(Ended::Killed);
            }
        }
        bail!("run {} was killed and does not end: its awf hangs in the kernel", self.id)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.process, signal) {
            // It was quicker.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(rustix::io::Errno::PERM) => {
                bail!("run {0} is root's to end: sudo awf kill {0}", self.id)
            }
            Err(error) => Err(error).with_context(|| format!("signal the awf of run {}", self.id)),
        }
    }

    /// Waits a moment for the end of the process.
    fn is_gone(&self) -> Result<bool> {
        let mut events = [PollFd::new(self.process.as_fd(), PollFlags::POLLIN)];
        match poll(&mut events, PollTimeout::from(INTERVAL)) {
            Ok(number) => Ok(number > 0),
            Err(nix::errno::Errno::EINTR) => Ok(false),
            Err(error) => Err(error).context("wait for the end of the run"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::process::{Child, Command};

    use super::*;
    use crate::session::live::tests::live;

    fn seen(ids: &[&str]) -> Seen {
        let runs = ids.iter().map(|id| live(id, "", Path::new("/logs"))).collect();
        Seen { runs, silent: vec![PathBuf::from("/run/awf/awf-9-old1")], complete: true }
    }

    #[test]
    fn a_run_is_meant_by_what_tells_it_from_others() {
        let seen = seen(&["awf-1-ab12", "awf-12-cd34", "awf-13-ef56"]);
        let meant = |said: &str| meant(said, &seen).map_err(|error| error.to_string());
        for (said, id) in [
            ("awf-1-ab12", "awf-1-ab12"),
            ("awf-1-", "awf-1-ab12"),
            ("awf-12", "awf-12-cd34"),
            ("cd34", "awf-12-cd34"),
            ("awf-9", "awf-9-old1"),
        ] {
            assert_eq!(meant(said).unwrap(), id);
        }
        assert!(meant("awf-1").unwrap_err().contains("awf-1-ab12 or awf-12-cd34 or awf-13-ef56"));
        assert!(meant("").unwrap_err().contains("no run '' goes on"));
        assert!(meant("b\u{1b}").unwrap_err().contains(r"no run 'b\u{1b}' goes on"));
        let blind = Seen::default();
        assert!(super::meant("x", &blind).unwrap_err().to_string().contains("sudo awf kill x"));
    }

    /// A process that holds the lock of a run and does this on SIGTERM.
    fn pretend(name: &str, on_term: &str) -> (PathBuf, Child) {
        let run = std::env::temp_dir().join(format!("awf-kill-{name}-{}", std::process::id()));
        fs::create_dir_all(&run).unwrap();
        let script = format!("trap '{on_term}' TERM; touch ready; while :; do sleep 0.05; done");
        let mut command = Command::new("flock");
        command.args(["--no-fork", "alive", "sh", "-c", &script]).current_dir(&run);
        let child = command.spawn().unwrap();
        while !run.join("ready").exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        (run, child)
    }

    fn ended(name: &str, on_term: &str, patience: u64) -> (Ended, PathBuf) {
        let (run, mut child) = pretend(name, on_term);
        let awf = Awf::hold(&run, "awf-1-ab12", nix::unistd::geteuid().as_raw()).unwrap();
        let ended = awf.end(Duration::from_millis(patience)).unwrap();
        drop(child.wait());
        (ended, run)
    }

    #[test]
    fn a_run_ends_whole_or_leaves_something_or_is_killed() {
        let (end, run) = ended("whole", "rm -r \"$PWD\"; exit 0", 10_000);
        assert_eq!((end, run.exists()), (Ended::Whole, false));
        let (end, run) = ended("left", "exit 0", 10_000);
        assert_eq!((end, run.exists()), (Ended::Left, true));
        fs::remove_dir_all(run).unwrap();
        let (end, run) = ended("killed", "", 300);
        assert_eq!((end, run.exists()), (Ended::Killed, true));
        fs::remove_dir_all(run).unwrap();
    }

    #[test]
    fn a_process_of_somebody_else_gets_no_signal() {
        let (run, mut child) = pretend("other", "exit 0");
        let error = Awf::hold(&run, "awf-1-ab12", 12_345).unwrap_err().to_string();
        assert!(error.contains("is not the awf of run awf-1-ab12"), "{error}");
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        let error = Awf::hold(&run, "awf-1-ab12", 0).unwrap_err().to_string();
        assert!(error.contains("another pid namespace"), "{error}");
        fs::remove_dir_all(run).unwrap();
    }

    #[test]
    fn who_took_a_lock_and_left_it_to_a_child_gets_no_signal() {
        let run = std::env::temp_dir().join(format!("awf-kill-inherited-{}", std::process::id()));
        fs::create_dir_all(&run).unwrap();
        let alive = fs::File::create(run.join("alive")).unwrap();
        alive.lock().unwrap();
        let mut child = Command::new("sleep").arg("60").stdout(alive).spawn().unwrap();
        let uid = nix::unistd::geteuid().as_raw();
        assert_eq!(holder(&run).unwrap().pid, std::process::id(), "the kernel still says so");
        let error = Awf::hold(&run, "awf-1-ab12", uid).unwrap_err().to_string();
        assert!(error.contains("does not hold the lock of run awf-1-ab12"), "{error}");
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_dir_all(run).unwrap();
    }
}
