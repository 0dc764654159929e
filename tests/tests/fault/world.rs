//! A world: a mount namespace, a cgroup and directories of its own inside the lab's host namespace. Unlike a single run
//! in the lab it lives on when awf is killed, as a machine does, so that a next run finds the remains of the last.
//!
//! With the Docker runtime all worlds share `/run/awf` and `/var/lib/awf` with the machine, because the daemon, which is in none
//! of them, must find there what it mounts into containers. What a world has left is told by its cgroup then, and a run of
//! another world may be the one that collects it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

use awf_tests::{Scratch, awf, docker, lab, runtime_options};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::report;
use xtask::lab::{Mark, Packet, Proto, world as played};

/// The only names that any run of this tier may reach.
pub const ALLOWED: &str = "example.com,files.test";

/// A host that is given to options and that awf itself looks for, outside of every sandbox; see `input`.
const NO_HOST: &str = "nothing.invalid";

/// Where they lead; see `xtask::lab::world`.
const ALLOWED_ADDRESSES: [&str; 3] = [played::EXAMPLE_V4, played::EXAMPLE_V6, "93.184.216.42"];

/// Longest wait for anything: far beyond what is ever needed, so that only a hang fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Held by whoever watches the sink; the positive control, which leaks on purpose, waits until nobody does.
static QUIET: RwLock<()> = RwLock::new(());

/// A change that changes nothing.
const SOUND: &str = "true";

/// See the module text.
pub struct World {
    holder: Child,
    cgroup: PathBuf,
    scratch: Scratch,
}

/// What a run printed, and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ended {
    /// The errors that awf reported.
    pub fn errors(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("[ERROR]")).collect()
    }

    /// How many records awf said are missing.
    pub fn lost(&self) -> usize {
        let said = self.stderr.split_once("the record is incomplete: ");
        said.map_or(0, |(_before, number)| number.split(' ').next().unwrap().parse().unwrap())
    }
}

impl World {
    /// A sound machine.
    pub fn new() -> Self {
        Self::broken_by(SOUND)
    }

    /// A machine changed by a shell line: what it mounts is seen in this world only. The line runs in `$PWD`, a new
    /// directory of this world.
    pub fn broken_by(setup: &str) -> Self {
        if setup != SOUND {
            report::injected("broken machine", "the world");
        }
        let scratch = Scratch::new("world");
        fs::create_dir(scratch.path().join("tmp")).unwrap();
        let name = scratch.path().file_name().unwrap().to_str().unwrap();
        let cgroup = runs_base().join(name.replace("awf-test-", ""));
        fs::create_dir_all(cgroup.join("self")).expect("the world's cgroup can be made");
        offer_controllers(&cgroup);
        let own = if docker().is_some() {
            ""
        } else {
            "mount -t tmpfs world /run/awf; mount -t tmpfs world /var/lib/awf;"
        };
        let script = format!(
            "set -e; cd \"$1\"; mkdir -p /run/awf /var/lib/awf; {own} {setup}; echo ready; read -r _end"
        );
        let mut holder = lab()
            .host_command("/bin/sh")
            .args(["-c", &script, "sh"])
            .arg(scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the world could not be made by: {setup}");
        Self { holder, cgroup, scratch }
    }

    /// A directory of this world.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// A file of this world as seen from outside.
    pub fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.holder.id()))
    }

    /// A command in this world. Its process id is the program's.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let enter = "echo $$ >\"$1/self/cgroup.procs\"; pid=$2; shift 2; \
                     exec nsenter --mount=/proc/$pid/ns/mnt --net=/proc/$pid/ns/net sh -c 'cd \"$0\" && exec \"$@\"' \"$@\"";
        let mut command = Command::new("/bin/sh");
        command
            .args(["-ec", enter, "sh"])
            .arg(&self.cgroup)
            .arg(self.holder.id().to_string())
            .arg(self.path())
            .arg(program)
            .env("TMPDIR", self.tmp())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// awf in this world, with the lab's CA for the command, ready for `--` or more options.
    pub fn awf(&self) -> Command {
        let ca = lab().ca();
        let mut command = self.command(awf());
        command.args(runtime_options()).args(["--allow-domains", ALLOWED]);
        command.arg("--mount").arg(format!("{0}:{0}:ro", ca.display()));
        command.arg("--env").arg(format!("CURL_CA_BUNDLE={}", ca.display()));
        command
    }

    /// Runs awf with these options and a shell line.
    pub fn run(&self, options: &[&str], line: &str) -> Ended {
        let began = Instant::now();
        finish(self.awf().args(options).args(["--", line]).spawn().unwrap(), began)
    }

    /// `TMPDIR` of the runs.
    pub fn tmp(&self) -> PathBuf {
        self.path().join("tmp")
    }

    /// Runs a shell line as another root of this world.
    pub fn inside(&self, line: &str) -> std::process::ExitStatus {
        self.command("sh").args(["-c", line]).status().unwrap()
    }

    /// The agent's or the proxy's cgroup of the only run, if it has been made.
    pub fn run_cgroup(&self, side: &str) -> Option<PathBuf> {
        let run = self.runs().into_iter().next()?;
        Some(self.cgroup.join(run).join(side))
    }

    /// Ids of the runs whose cgroups there are.
    pub fn runs(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.cgroup).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("awf-")).collect()
    }

    /// Keeps every run from collecting orphans, and so from starting, until it is dropped.
    pub fn hold_turnstile(&self) -> Flock<File> {
        let lock = File::options().create(true).append(true).open(self.file("/run/awf/.lock"));
        Flock::lock(lock.unwrap(), FlockArg::LockExclusive).expect("it can be locked")
    }

    /// The cgroup that awf itself is in.
    pub fn outside(&self) -> PathBuf {
        self.cgroup.join("self")
    }

    /// Processes of all runs, awf included.
    pub fn processes(&self) -> Vec<i32> {
        members(&self.cgroup)
    }

    /// Asserts that every process of every run ends soon.
    #[track_caller]
    pub fn dies_out(&self, context: &str) {
        let began = Instant::now();
        loop {
            let alive = self.processes();
            if alive.is_empty() {
                return;
            }
            if began.elapsed() > Duration::from_secs(5) {
                let names: Vec<_> = alive.iter().map(|pid| (pid, command_line(*pid))).collect();
                panic!("{context}: still alive: {names:?}");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Everything that runs have left in this world, except logs that are the user's.
    pub fn left(&self) -> Vec<String> {
        let mut found = Vec::new();
        let daemon = docker();
        let own = daemon.is_some().then(|| self.own_run_directories());
        let is_own = |name: &str| own.as_ref().is_none_or(|own| own.contains(name));
        if let Some(daemon) = &daemon {
            let world = self.cgroup.file_name().unwrap().to_str().unwrap();
            let containers = daemon.containers_below(world).expect("the daemon answers");
            found.extend(containers.into_iter().map(|name| format!("container {name}")));
        }
        let mut list = |directory: &Path, ours: &dyn Fn(&str) -> bool| {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if ours(&entry.file_name().to_string_lossy()) {
                    found.push(entry.path().display().to_string());
                }
            }
        };
        list(&self.file("/run/awf"), &|name| name != ".lock" && is_own(name));
        list(&self.file("/var/lib/awf"), &is_own);
        list(&self.tmp(), &|name| name.starts_with("awf-1"));
        list(&self.cgroup, &|name| name.starts_with("awf-"));
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.holder.id())).unwrap();
        let mine = self.path().display().to_string();
        let runs = |line: &&str| line.contains("/awf-1") && !line.contains(&mine);
        found.extend(mounts.lines().filter(runs).map(str::to_owned));
        found.sort();
        found
    }

    /// Those of the runs in `/run/awf` that have their cgroup in this world. One that was killed before it wrote down what
    /// it owns has made nothing yet but its directory.
    fn own_run_directories(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.file("/run/awf")).into_iter().flatten().flatten();
        let world = format!("{}/", self.cgroup.display());
        let is_own = |path: &Path| {
            let owned = fs::read_to_string(path.join("owned.json")).unwrap_or_default();
            owned.contains(&world)
        };
        let own = entries.filter(|entry| is_own(&entry.path()));
        own.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let group = self.cgroup.display();
        // Reached with living processes only when a test has failed; they must not disturb the others.
        let script = format!(
            "for procs in $(find {group} -name cgroup.procs); do for pid in $(cat $procs); do kill -9 $pid; done; done; \
             sleep 0.05; find {group} -depth -type d -exec rmdir {{}} +"
        );
        let quick = format!("rmdir {group}/self {group} 2>/dev/null || {{ {script}; }}");
        drop(Command::new("sh").args(["-c", &quick]).stderr(Stdio::null()).status());
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// Collects a run's output and end. Kills it, and fails, when it hangs.
#[track_caller]
pub fn finish(child: Child, began: Instant) -> Ended {
    finish_in(child, began, "")
}

/// The same, with words for the message.
#[track_caller]
pub fn finish_in(mut child: Child, began: Instant, context: &str) -> Ended {
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let status = ended(&mut child, PATIENCE);
    let hung = status.is_none();
    let status = status.unwrap_or_else(|| {
        child.kill().unwrap();
        child.wait().unwrap()
    });
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap();
    let took = began.elapsed();
    let text = |reader: thread::JoinHandle<Vec<u8>>| {
        let began = Instant::now();
        while !reader.is_finished() {
            let over = began.elapsed() > PATIENCE;
            assert!(!over, "{context}: a process that outlives awf holds its output");
            thread::sleep(Duration::from_millis(1));
        }
        String::from_utf8_lossy(&reader.join().unwrap()).into_owned()
    };
    let ended = Ended { code, stdout: text(stdout), stderr: text(stderr), took };
    assert!(!hung, "{context}: awf hangs: {ended:#?}");
    ended
}

/// Waits for the end of a process, so long at most.
pub fn ended(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < patience {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}

fn reader<T: Read + Send + 'static>(pipe: Option<T>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            drop(pipe.read_to_end(&mut bytes));
        }
        bytes
    })
}

/// Sends a signal to a process, which may be gone: then it is not sent.
pub fn send(pid: i32, signal: Signal) -> bool {
    kill(Pid::from_raw(pid), signal).is_ok()
}

/// The same, and counts as a fault if it was sent.
pub fn strike(pid: i32, signal: Signal, into: &str) {
    if send(pid, signal) {
        report::injected(signal.as_str(), into);
    }
}

/// Processes of a cgroup and of those below it.
pub fn members(cgroup: &Path) -> Vec<i32> {
    let here = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> = here.lines().filter_map(|pid| pid.parse().ok()).collect();
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten();
    let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    pids.extend(below.flat_map(|entry| members(&entry.path())));
    pids.sort_unstable();
    pids
}

/// A child's process id as the kernel calls use it.
pub fn id_of(child: &Child) -> i32 {
    child.id().try_into().unwrap()
}

/// Children of all threads of a process.
pub fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// The words of a process's command line; empty once it is gone.
pub fn command_line(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words =
        bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    words.filter(|word| !word.is_empty()).collect()
}

/// Where the lab's sink is watched from.
pub struct Watch {
    mark: Mark,
    _quiet: RwLockReadGuard<'static, ()>,
}

impl Watch {
    pub fn begin() -> Self {
        let quiet = QUIET.read().unwrap_or_else(PoisonError::into_inner);
        Self { mark: lab().sink().mark().unwrap(), _quiet: quiet }
    }

    /// Asserts that nothing left since but what the policy of this tier allows.
    #[track_caller]
    pub fn saw_nothing_else(self) {
        let leaks = leaks_since(&self.mark);
        report::watched(leaks.len());
        assert!(leaks.is_empty(), "outside of the policy: {leaks:#?}");
    }
}

/// Gives everything outside of the policy that leaves while `act` runs, when nobody else watches.
pub fn leaks_of(act: impl FnOnce()) -> Vec<String> {
    let _alone = QUIET.write().unwrap_or_else(PoisonError::into_inner);
    let mark = lab().sink().mark().unwrap();
    act();
    leaks_since(&mark)
}

fn leaks_since(mark: &Mark) -> Vec<String> {
    let sink = lab().sink();
    let asked = sink.dns_queries_since(mark).unwrap();
    let names = asked
        .into_iter()
        .filter(|name| name != NO_HOST && !ALLOWED.split(',').any(|allowed| name == allowed));
    let packets = sink.traffic_since(mark).unwrap();
    let packets = packets
        .iter()
        .filter(|packet| !is_within_policy(packet))
        .map(|packet| format!("{packet:?}"));
    names.map(|name| format!("DNS query for {name}")).chain(packets).collect()
}

/// TCP to the allowed names, and questions to the name servers: their content is checked by name.
fn is_within_policy(packet: &Packet) -> bool {
    let Some(dst) = packet.dst.map(|dst| dst.to_string()) else { return false };
    let is_name_server =
        played::DNS_V4.into_iter().chain(played::DNS_V6).any(|server| server == dst);
    match packet.proto {
        Proto::Tcp | Proto::Udp if is_name_server => packet.dport == Some(53),
        // An answer that arrives after Squid's death is refused by the kernel.
        Proto::Icmp | Proto::Icmpv6 => is_name_server,
        Proto::Tcp => ALLOWED_ADDRESSES.contains(&&*dst) && matches!(packet.dport, Some(80 | 443)),
        _ => false,
    }
}

/// Where awf, called from this process's cgroup, makes the cgroups of a run: beside its own.
fn runs_base() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts
        .lines()
        .rev()
        .find(|line| line.contains(" - cgroup2 "))
        .expect("a cgroup2 is mounted");
    let mount = PathBuf::from(mount.split(' ').nth(4).unwrap());
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/").map(str::to_owned)).unwrap();
    match Path::new(&own).parent() {
        Some(parent) => mount.join(parent),
        None => mount,
    }
}

/// Lets the runs of a world use the controllers that this machine gives.
fn offer_controllers(cgroup: &Path) {
    let offered = fs::read_to_string(cgroup.join("cgroup.controllers")).unwrap_or_default();
    for controller in offered.split_whitespace() {
        drop(fs::write(cgroup.join("cgroup.subtree_control"), format!("+{controller}")));
    }
}
