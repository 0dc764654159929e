//! A cgroup2 directory of a run: made, identified, limited, killed.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::EnforceError;

/// How long killed tasks may take to leave before the directory counts as stuck. A task in uninterruptible sleep (a dead
/// network file system) is the only known reason to take long.
const REAP: Duration = Duration::from_secs(5);

/// A directory of the cgroup2 hierarchy that this run owns.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    directory: OwnedFd,
    id: u64,
}

impl Cgroup {
    /// Makes a directory that must not exist yet.
    pub fn create(path: PathBuf) -> Result<Self, EnforceError> {
        fs::create_dir(&path)
            .map_err(|source| EnforceError::Cgroup { path: path.display().to_string(), source })?;
        Self::open(path)
    }

    fn open(path: PathBuf) -> Result<Self, EnforceError> {
        let failed = |source| EnforceError::Cgroup { path: path.display().to_string(), source };
        let directory = File::open(&path).map_err(failed)?;
        // The inode number of a cgroup directory is the cgroup's id (`kernel/cgroup/cgroup.c`, since 5.5).
        let id = directory.metadata().map_err(failed)?.ino();
        Ok(Self { directory: directory.into(), id, path })
    }

    /// Its path in the mounted hierarchy.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its id, as `bpf_get_current_cgroup_id` and the links tell it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Writes a control file, such as `memory.max`. `Ok(false)` if this hierarchy does not have the controller.
    pub fn limit(&self, file: &str, value: &str) -> io::Result<bool> {
        match fs::write(self.path.join(file), value) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Processes that the kernel killed because its memory limit was reached. `None` without the controller.
    pub fn killed_for_memory(&self) -> Option<u64> {
        let events = fs::read_to_string(self.path.join("memory.events")).ok()?;
        events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
    }

    /// Every process in it and below.
    pub fn members(&self) -> io::Result<HashSet<u32>> {
        let mut members = HashSet::new();
        visit(&self.path, &mut |directory| members.extend(processes(directory)))?;
        Ok(members)
    }

    /// The cgroup below this one (or this one) that a process is in; `None` if it is elsewhere.
    pub fn seat_of(&self, pid: u32) -> Result<Option<Self>, EnforceError> {
        let failed =
            |source| EnforceError::Cgroup { path: self.path.display().to_string(), source };
        let mut seat = None;
        let mut look = |directory: &Path| {
            if processes(directory).any(|member| member == pid) {
                seat = Some(directory.to_owned());
            }
        };
        visit(&self.path, &mut look).map_err(failed)?;
        seat.map(Self::open).transpose()
    }

    /// Kills every task in it and below, and waits until they are gone.
    pub fn kill(&self) -> io::Result<()> {
        kill(&self.path)
    }

    /// Kills what is left and removes the directory.
    pub fn remove(&self) -> io::Result<()> {
        remove(&self.path)
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Kills every task of a cgroup directory (`cgroup.kill`, 5.14; else one by one) and waits until they are gone.
pub fn kill(path: &Path) -> io::Result<()> {
    let deadline = Instant::now() + REAP;
    loop {
        if is_empty(path)? {
            return Ok(());
        }
        if fs::write(path.join("cgroup.kill"), "1").is_err() {
            kill_each(path)?;
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("tasks in {} do not die", path.display()),
            ));
        }
        thread::sleep(Duration::from_micros(500));
    }
}

/// Kills what is left in a cgroup directory and removes it, with the directories the agent may have made in it.
pub fn remove(path: &Path) -> io::Result<()> {
    kill(path)?;
    for directory in below(path)? {
        match remove(&directory) {
            // A container engine removes its own.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    fs::remove_dir(path)
}

/// The cgroups right below one.
fn below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.push(entry.path());
        }
    }
    Ok(directories)
}

/// Shows a cgroup and all below it. What disappears meanwhile was empty.
fn visit(path: &Path, show: &mut impl FnMut(&Path)) -> io::Result<()> {
    show(path);
    for directory in below(path)? {
        match visit(&directory, show) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            seen => seen?,
        }
    }
    Ok(())
}

fn processes(directory: &Path) -> impl Iterator<Item = u32> {
    let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>().into_iter()
}

/// Whether no live task is in it or below (`populated` of `cgroup.events`, since 4.2).
fn is_empty(path: &Path) -> io::Result<bool> {
    Ok(fs::read_to_string(path.join("cgroup.events"))?.lines().any(|line| line == "populated 0"))
}

fn kill_each(path: &Path) -> io::Result<()> {
    visit(path, &mut |directory| {
        for pid in processes(directory) {
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            // Gone already is as good as killed.
            let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).is_err();
        }
    })
}
