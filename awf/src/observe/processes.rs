//! Who a process is. The kernel tells it at the attempt, exactly; where it cannot, procfs is asked, which knows living processes
//! only.
//!
//! Takes the kernel's [`Process`], gives a [`ProcessInfo`]. Must never: describe another process that got the same id since.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use awf_common::event::{Above, Identity, IdentityKey, Process};
use aya::maps::MapData;
use ring::digest::{Context, SHA256};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use super::digest::hexadecimal;
use super::record::{Ancestor, ProcessInfo};

/// What the programs remember of processes.
pub type Identities = aya::maps::HashMap<MapData, IdentityKey, Identity>;

/// Nanoseconds of the unit in which procfs tells when a process was started (`USER_HZ`, proc(5)).
const TICK_NS: u64 = 10_000_000;
/// Processes above one that procfs is asked for.
const ANCESTORS: usize = awf_common::limits::ANCESTORS;

/// Bytes of the largest executable that is digested. The command chooses what it executes: a sparse file of terabytes must hold
/// nothing up.
const LARGEST: u64 = 1 << 29;
/// Bytes that are read in a run before no further executable is digested.
const DIGESTED: u64 = 1 << 33;
/// Seconds a file must be unchanged for its digest to be remembered: one that changes twice in a tick of the clock looks the same.
const SETTLED: i64 = 2;

/// What can be told of processes.
#[derive(Default)]
pub struct Processes {
    identities: Option<Identities>,
    /// `None` if nobody asked for them.
    digests: Option<Digests>,
}

impl Processes {
    /// With what the programs remember, and whether executables are to be digested.
    pub fn new(identities: Option<Identities>, digest: bool) -> Self {
        Self { identities, digests: digest.then(Digests::default) }
    }

    /// Describes the process behind an attempt.
    pub fn describe(&self, process: &Process) -> ProcessInfo {
        if process.pid == 0 {
            return ProcessInfo::default();
        }
        let info = ProcessInfo {
            pid: Some(process.pid),
            uid: Some(process.uid),
            comm: Some(text(&process.comm)),
            ..ProcessInfo::default()
        };
        let known = self.identities.as_ref().and_then(|known| known.get(&process.key(), 0).ok());
        let info = match known.and_then(|identity| told(&identity)) {
            Some((exe, ancestors)) => ProcessInfo { exe: Some(exe), ..with(ancestors, info) },
            None if is_it(process) => ProcessInfo {
                exe: executable(process.pid),
                identity: Some("procfs".to_owned()),
                ..with(above(process.pid), info)
            },
            None => info,
        };
        // It may execute something else by now.
        let is_still = |exe: &String| {
            let now = executable(process.pid);
            now.is_some_and(|now| now.ends_with(exe.trim_start_matches('…'))) && is_it(process)
        };
        let digest = |exe| self.digest(process.pid).filter(|_digest| is_still(exe));
        ProcessInfo { exe_sha256: info.exe.as_ref().and_then(digest), ..info }
    }

    /// Describes the process of a task that is stopped in a system call, of which procfs therefore tells the truth.
    pub fn describe_stopped(&self, task: u32) -> ProcessInfo {
        let status = fs::read_to_string(format!("/proc/{task}/status")).unwrap_or_default();
        let number = |label: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(label))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let pid = number("Tgid:").unwrap_or(task);
        let info = ProcessInfo {
            pid: Some(pid),
            uid: number("Uid:"),
            comm: comm(task),
            exe: executable(pid),
            exe_sha256: self.digest(pid),
            ..ProcessInfo::default()
        };
        with(above(pid), info)
    }

    /// SHA-256 of a process's executable.
    fn digest(&self, pid: u32) -> Option<String> {
        let digests = self.digests.as_ref()?;
        let file = File::open(format!("/proc/{pid}/exe")).ok()?;
        without_holding_others_up(|| digests.of(file))
    }
}

/// Digests of executables.
#[derive(Default)]
struct Digests {
    /// By device, inode, size and time of change in seconds and nanoseconds.
    known: Mutex<HashMap<[i64; 5], String>>,
    /// Bytes read for them.
    read: AtomicU64,
}

impl Digests {
    fn of(&self, file: File) -> Option<String> {
        let facts = file.metadata().ok()?;
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (inode, size) = (number(facts.ino()), number(facts.size()));
        let key = [number(facts.dev()), inode, size, facts.ctime(), facts.ctime_nsec()];
        if let Some(known) = self.known.lock().ok()?.get(&key) {
            return Some(known.clone());
        }
        if facts.size() > LARGEST || self.read.fetch_add(facts.size(), Ordering::Relaxed) > DIGESTED
        {
            return None;
        }
        let mut digest = Digest(Context::new(&SHA256));
        io::copy(&mut file.take(facts.size()), &mut digest).ok()?;
        let digest = hexadecimal(digest.0.finish().as_ref());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        if number(now) - facts.ctime() > SETTLED {
            self.known.lock().ok()?.insert(key, digest.clone());
        }
        Some(digest)
    }
}

/// Reading a large file takes time. Where that is a thread of the runtime, another one takes over its other work.
fn without_holding_others_up<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
            block_in_place(work)
        }
        _ => work(),
    }
}

impl fmt::Debug for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processes").finish_non_exhaustive()
    }
}

/// What is written to it is digested.
struct Digest(Context);

impl io::Write for Digest {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.update(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Executable and ancestors as the kernel told them; `None` if it was still about to.
fn told(identity: &Identity) -> Option<(String, Vec<Ancestor>)> {
    let used = usize::try_from(identity.used).ok()?;
    if identity.cut > 1 || used == 0 {
        return None;
    }
    let parts = identity.path.get(..used)?.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    let parts: Vec<String> =
        parts.rev().map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    let start = if identity.cut == 1 { "…/" } else { "/" };
    let told = |above: &Above| Ancestor { pid: above.pid, comm: text(&above.comm) };
    let ancestors = identity.above.iter().take_while(|above| above.pid != 0).map(told).collect();
    Some((as_seen(&format!("{start}{}", parts.join("/"))), ancestors))
}

/// Adds who is above; whoever started awf has no part in it.
fn with(ancestors: Vec<Ancestor>, info: ProcessInfo) -> ProcessInfo {
    let own = std::process::id();
    let ppid = ancestors.first().map(|parent| parent.pid);
    let ancestors = ancestors.into_iter().take_while(|above| above.pid != own).collect();
    ProcessInfo { ppid, ancestors, ..info }
}

fn above(pid: u32) -> Vec<Ancestor> {
    let parent = |pid: &u32| stat(*pid, 1).and_then(|pid| u32::try_from(pid).ok());
    let pids = std::iter::successors(parent(&pid), parent).take_while(|pid| *pid != 0);
    pids.take(ANCESTORS).map(|pid| Ancestor { pid, comm: comm(pid).unwrap_or_default() }).collect()
}

/// Whether the process with this id is still the one that made the attempt, as far as can be told.
fn is_it(process: &Process) -> bool {
    // Field 22 of /proc/pid/stat: start in ticks since boot.
    process.birth_ns == 0 || stat(process.pid, 19) == Some(process.birth_ns / TICK_NS)
}

fn executable(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(as_seen(&path.to_string_lossy()))
}

/// A path as the command itself sees it: the kernel tells us where its root is staged.
fn as_seen(path: &str) -> String {
    path.strip_prefix("/host").filter(|path| path.starts_with('/')).unwrap_or(path).to_owned()
}

fn comm(pid: u32) -> Option<String> {
    let comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(comm.trim_ascii_end()).into_owned())
}

/// A number of `/proc/pid/stat`, counted from behind the name, which may hold anything but is closed by the last parenthesis
/// (proc(5)).
fn stat(pid: u32, number: usize) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_name, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(number)?.parse().ok()
}

/// Up to the first zero.
fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_from_its_end_and_without_the_place_where_the_root_is_staged() {
        let mut identity = Identity { cut: 0, ..Identity::UNKNOWN };
        let parts = b"curl\0bin\0usr\0host\0";
        identity.path[..parts.len()].copy_from_slice(parts);
        identity.used = u32::try_from(parts.len()).unwrap();
        identity.above[0].pid = 7;
        identity.above[0].comm[..2].copy_from_slice(b"sh");
        let parent = Ancestor { pid: 7, comm: "sh".into() };
        assert_eq!(told(&identity), Some(("/usr/bin/curl".into(), vec![parent])));
        identity.cut = 1;
        assert_eq!(told(&identity).unwrap().0, "…/host/usr/bin/curl");
        assert_eq!(told(&Identity::UNKNOWN), None);
    }

    #[test]
    fn another_process_with_the_same_id_is_not_described() {
        let pid = std::process::id();
        let processes = Processes::default();
        let living = Process { pid, ..Process::NOBODY };
        assert!(processes.describe(&living).exe.is_some());
        let dead = Process { birth_ns: 1, ..living };
        assert_eq!(processes.describe(&dead).exe, None);
    }
}
