//! Programs the lab runs: one-shot tools, and servers that stay.
//!
//! Owns the `pids` file of a lab. Takes network namespaces by path. Must never end a process that is not provably the
//! lab's: one inside its namespaces, or one whose recorded id *and* start time still match.

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use std::{
    collections::BTreeSet,
    env, fmt,
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long killed processes may take to disappear.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// How often a condition is looked at while waiting.
const POLL: Duration = Duration::from_millis(2);

/// Every program the lab needs and the Debian package that has it.
pub(super) const PROGRAMS: [(&str, &str); 10] = [
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("openssl", "openssl"),
    ("git", "git"),
    ("dnsmasq", "dnsmasq-base"),
    ("nginx", "nginx-light"),
    ("fcgiwrap", "fcgiwrap"),
    ("tcpdump", "tcpdump"),
    ("python3", "python3"),
];

/// The packages of [`PROGRAMS`].
pub(super) const PACKAGES: [&str; PROGRAMS.len()] = {
    let mut packages = [""; PROGRAMS.len()];
    let mut at = 0;
    while at < PROGRAMS.len() {
        packages[at] = PROGRAMS[at].1;
        at += 1;
    }
    packages
};

/// Finds a program: system directories first, because the PATH may offer slow wrappers (version managers) and sudo's
/// or a user's PATH often lacks the sbin directories.
pub(crate) fn find(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    let found =
        system.into_iter().chain(env::split_paths(&path)).map(|directory| directory.join(program));
    found.into_iter().find(|file| file.is_file()).ok_or_else(|| {
        let package = PROGRAMS.iter().find(|known| known.0 == program).map_or(program, |known| known.1);
        anyhow!("{program} is not installed; `cargo xtask setup` or `apt-get install {package}` brings it")
    })
}

/// A command that finds its program by [`find`].
pub(crate) fn tool(program: &str) -> Result<Command> {
    Ok(Command::new(find(program)?))
}

/// Runs a tool to its end; its error output becomes the error.
pub(super) fn finish(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} failed ({}): {}",
        program.display(),
        output.status,
        said.trim()
    );
    Ok(())
}

/// Runs `act` on a thread of its own inside the network namespace, so that the caller stays where it is.
pub(super) fn inside<T: Send>(
    namespace: &Path,
    act: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let enter_and_act = || {
        let file =
            File::open(namespace).with_context(|| format!("open {}", namespace.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("enter {}", namespace.display()))?;
        act()
    };
    thread::scope(|scope| scope.spawn(enter_and_act).join())
        .map_err(|_payload| anyhow!("the thread inside {} panicked", namespace.display()))?
}

/// Starts a server inside the network namespace and records it in `state/pids`; its output goes to `state/NAME.out`.
pub(super) fn serve(state: &Path, namespace: &Path, name: &str, server: &Command) -> Result<()> {
    let log = File::create(state.join(format!("{name}.out")))
        .with_context(|| format!("create the log of {name}"))?;
    let mut command = tool("nsenter")?;
    command
        .arg(format!("--net={}", namespace.display()))
        .arg(server.get_program())
        .args(server.get_args());
    command
        .current_dir(state)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8");
    // A group of its own: Ctrl-C at the terminal of a test run must not end the lab.
    command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let pid = command.spawn().with_context(|| format!("start {name}"))?.id();
    let started = start_ticks(pid).with_context(|| format!("{name} ended at once"))?;
    let mut pids = OpenOptions::new()
        .create(true)
        .append(true)
        .open(state.join("pids"))
        .context("open the pids file")?;
    writeln!(pids, "{name} {pid} {started}").context("record a server")
}

/// One line of the `pids` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// What it plays, for example `dnsmasq`.
    pub name: String,
    /// Process id in the machine's pid namespace.
    pub pid: u32,
    /// Field 22 of `proc_pid_stat(5)`, in clock ticks since boot: tells a recycled id from the server.
    started: u64,
}

impl Server {
    /// Whether the recorded process, and not a later one of the same id, still runs.
    pub fn is_alive(&self) -> bool {
        start_ticks(self.pid) == Some(self.started)
    }
}

/// The servers recorded in `state`; none when there is no readable record.
pub(super) fn recorded(state: &Path) -> Vec<Server> {
    let text = fs::read_to_string(state.join("pids")).unwrap_or_default();
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let (name, pid, started) = (words.next()?.to_owned(), words.next()?, words.next()?);
        Some(Server { name, pid: pid.parse().ok()?, started: started.parse().ok()? })
    };
    text.lines().filter_map(parse).collect()
}

/// Start time of a process; `None` when it is gone or a zombie.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything; the fields after its end are plain: state is 3, start time is 22.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if matches!(fields.next(), Some("Z" | "X") | None) {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// What tells one namespace file from all others: the same numbers are behind `/run/netns/X` and `/proc/PID/ns/net`.
type Identity = (u64, u64);

fn identity(namespace: &Path) -> Option<Identity> {
    fs::metadata(namespace).map(|meta| (meta.dev(), meta.ino())).ok()
}

fn namespace_of(process: impl fmt::Display) -> Option<Identity> {
    identity(Path::new(&format!("/proc/{process}/ns/net")))
}

/// Ids of all living processes with a network namespace out of `namespaces`.
fn residents(namespaces: &BTreeSet<Identity>) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| namespace_of(pid).is_some_and(|id| namespaces.contains(&id)))
        .filter(|pid| start_ticks(*pid).is_some())
        .collect()
}

/// Kills whatever runs inside the namespaces, is recorded in `state` or found by `others`, and waits until it is gone.
///
/// A namespace that lost its name (`ip netns delete` by somebody) is still known by the recorded servers that live in
/// it; their unrecorded children are found through it.
pub(super) fn kill_all(
    state: &Path,
    namespaces: &[PathBuf],
    others: impl Fn() -> Vec<u32>,
) -> Result<()> {
    let servers = recorded(state);
    let alive = servers.iter().filter(|server| server.is_alive());
    let own = namespace_of("self").context("look at the own network namespace")?;
    let named: BTreeSet<_> = namespaces.iter().filter_map(|path| identity(path)).collect();
    ensure!(!named.contains(&own), "this process is inside the lab it should end: leave it first");
    // A server recorded in the instant before it entered its namespace still shows the machine's.
    let lived_in = alive.filter_map(|server| namespace_of(server.pid)).filter(|id| *id != own);
    let wanted: BTreeSet<_> = named.iter().copied().chain(lived_in).collect();
    kill_until_gone(|| {
        let strays = servers.iter().filter(|server| server.is_alive()).map(|server| server.pid);
        residents(&wanted).into_iter().chain(strays).chain(others()).collect()
    })?;
    for server in servers {
        reap(Pid::from_raw(i32::try_from(server.pid).context("a process id beyond its type")?));
    }
    Ok(())
}

/// Kills what `find` finds, again and again until it finds nothing that lives.
pub(super) fn kill_until_gone(find: impl Fn() -> Vec<u32>) -> Result<()> {
    wait_until(KILL_PATIENCE, "end the lab's processes", || {
        let found: BTreeSet<u32> = find().into_iter().collect();
        let alive = found.into_iter().filter(|pid| start_ticks(*pid).is_some());
        let mut gone = true;
        for pid in alive {
            gone = false;
            let pid = Pid::from_raw(i32::try_from(pid).context("a process id beyond its type")?);
            match kill(pid, Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => reap(pid),
                Err(error) => return Err(error).with_context(|| format!("kill process {pid}")),
            }
        }
        Ok(gone)
    })
}

/// Collects a dead child of ours. Most are children of an earlier xtask, now init's: then there is nothing to collect.
fn reap(pid: Pid) {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(_) | Err(_) => {}
    }
}

/// Waits until `done` says true; gives up with an error naming the attempt.
pub(super) fn wait_until(
    patience: Duration,
    attempt: &str,
    mut done: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let begin = Instant::now();
    while !done()? {
        ensure!(begin.elapsed() < patience, "{attempt}: not done within {patience:?}");
        thread::sleep(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_has_a_start_time() {
        assert!(start_ticks(std::process::id()).is_some_and(|ticks| ticks > 0));
    }

    #[test]
    fn a_recycled_process_id_is_not_the_server() {
        let server = Server { name: "x".into(), pid: std::process::id(), started: 1 };
        assert!(!server.is_alive());
    }

    #[test]
    fn broken_lines_of_the_record_are_ignored() {
        let directory = env::temp_dir().join(format!("awf-lab-pids-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("pids"), "nginx 12 34\nhalf\nx y z\n").unwrap();
        let expected = vec![Server { name: "nginx".into(), pid: 12, started: 34 }];
        assert_eq!(recorded(&directory), expected);
        fs::remove_dir_all(&directory).unwrap();
    }
}
