//! What a run owns on the machine beside processes: its directories, cgroups and pins; made, locked, removed, and collected
//! after runs that were killed.
//!
//! Owns: `/run/awf/<id>` and everything its `owned.json` lists. A run's directory is locked as long as its awf lives; an
//! unlocked one is an orphan. Must never: touch anything that no owned.json lists.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::fcntl::Flock;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde::{Deserialize, Serialize};

use super::live::Live;
use super::locks;
use super::logs::Leaving;
use crate::enforce::cgroup;
use crate::runtime::docker::Left;

/// Where runs keep what must not survive a boot.
pub const RUNS: &str = "/run/awf";
/// How long a run waits for others that begin, of which each may collect what killed runs left.
const PATIENCE: Duration = Duration::from_mins(1);

/// Everything a run has to take down, in the order of taking down. Written before anything of it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// cgroup directories: killed, then removed. First of all: while a task lives, its programs must stay attached.
    pub cgroups: Vec<PathBuf>,
    /// Containers, whose processes are dead by then.
    pub containers: Option<Left>,
    /// The bpffs with the pins of the links: unmounted, which detaches the programs.
    pub pins: PathBuf,
    /// Directories that are made, and removed with all they hold.
    pub directories: Vec<PathBuf>,
    /// Directories that others make on the way, and that are removed too: work directories of overlays.
    pub leavings: Vec<PathBuf>,
    /// Logs, which are the user's; of an orphan, they are handed over here.
    pub logs: Leaving,
}

/// A run's own directory, locked.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    owned: Owned,
    lock: Flock<File>,
    /// Of another file: what waits for the end of this run must not get in the way of whoever collects its remains.
    alive: Flock<File>,
}

impl RunDir {
    /// Collects orphans, then makes and locks the directory of a run and mounts its bpffs.
    pub fn acquire(path: &Path, owned: Owned, live: &Live) -> Result<Self> {
        let runs = path.parent().context("a run's directory has a parent")?;
        DirBuilder::new()
            .recursive(true)
            .create(runs)
            .with_context(|| format!("make {}", runs.display()))?;
        // Whoever asks for the logs of a run that goes on need not be root.
        fs::set_permissions(runs, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("open {} to readers", runs.display()))?;
        // One at a time: between the making of a directory and its lock it looks like an orphan.
        let turnstile = locks::wait(&runs.join(".lock"), PATIENCE)?;
        collect_orphans(runs);
        DirBuilder::new()
            .mode(0o711)
            .create(path)
            .with_context(|| format!("make the run's directory {}", path.display()))?;
        let lock = locks::take(&path.join("lock"))?;
        let alive = locks::take(&path.join("alive"))?;
        // Squid's user waits for it, and who may read it may lock it: not before it is locked.
        fs::set_permissions(path.join("alive"), fs::Permissions::from_mode(0o644))
            .context("open the sign of life to others")?;
        let run_dir = Self { path: path.to_owned(), owned, lock, alive };
        drop(turnstile);
        run_dir.furnish(live).inspect_err(|_error| {
            // The caller gets no handle: take down what was made. The first error is the one that matters.
            drop(run_dir.take_down());
        })?;
        Ok(run_dir)
    }

    fn furnish(&self, live: &Live) -> Result<()> {
        fs::write(self.path.join("owned.json"), serde_json::to_vec(&self.owned)?)
            .context("write down what the run owns")?;
        live.tell(&self.path)?;
        for directory in &self.owned.directories {
            make_private(directory)?;
        }
        make_private(&self.owned.pins)?;
        // A file system of the run's own: pins live as long as it is mounted, and nobody else's tools see them.
        mount(Some("bpf"), &self.owned.pins, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .context("mount a bpffs for the pins of the run's links")?;
        Ok(())
    }

    /// Removes everything the run owns. Goes on after an error and gives them all.
    pub fn release(self) -> Vec<String> {
        let errors = self.take_down();
        drop(self.alive);
        drop(self.lock);
        errors
    }

    fn take_down(&self) -> Vec<String> {
        take_down(&self.path, &self.owned, Left::remove)
    }
}

fn take_down(path: &Path, owned: &Owned, remove: impl FnOnce(&Left) -> Result<()>) -> Vec<String> {
    let mut errors = Errors::default();
    for directory in &owned.cgroups {
        errors.note("kill what is in", directory, cgroup::kill(directory));
    }
    if let Some(left) = &owned.containers {
        errors.note(
            "remove containers of",
            path,
            remove(left).map_err(|error| io::Error::other(format!("{error:#}"))),
        );
    }
    for directory in &owned.cgroups {
        errors.note("stop the slice of", directory, stop_slice(directory));
        errors.note("remove cgroup", directory, cgroup::remove(directory));
    }
    if is_mounted(&owned.pins) {
        let unmounted = umount2(&owned.pins, MntFlags::MNT_DETACH);
        errors.note("unmount", &owned.pins, unmounted.map_err(Into::into));
    }
    for directory in owned.directories.iter().chain(&owned.leavings) {
        errors.note("remove", directory, fs::remove_dir_all(directory));
    }
    // Last: as long as it is there, a next run knows what is left to do.
    if errors.0.is_empty() {
        errors.note("remove", path, fs::remove_dir_all(path));
    }
    errors.0
}

/// Where systemd makes the cgroups of containers, it has taken over those that awf made for them, and keeps units of them.
fn stop_slice(cgroup: &Path) -> io::Result<()> {
    if cgroup.extension().is_none_or(|extension| extension != "slice") {
        return Ok(());
    }
    let name = cgroup.file_name().unwrap_or_default();
    let ended = Command::new("systemctl").args(["--quiet", "stop"]).arg(name).output()?;
    if ended.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&ended.stderr).trim().to_owned()))
}

/// What went wrong while taking down.
#[derive(Default)]
struct Errors(Vec<String>);

impl Errors {
    /// Writes it down, except that something was not there.
    fn note(&mut self, what: &str, place: &Path, done: io::Result<()>) {
        if let Err(error) = done
            && error.kind() != io::ErrorKind::NotFound
        {
            self.0.push(format!("{what} {}: {error}", place.display()));
        }
    }
}

/// Takes down runs whose awf is dead.
fn collect_orphans(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if !path.is_dir() {
            continue;
        }
        let Ok(lock) = locks::take(&path.join("lock")) else {
            continue;
        };
        let errors = collect(&path);
        drop(lock);
        if errors.is_empty() {
            tracing::info!("Removed what a killed run left behind: {}", path.display());
        }
        for error in errors {
            tracing::warn!("A killed run could not be cleaned up: {error}");
        }
    }
}

/// Takes down one run whose awf is dead.
fn collect(path: &Path) -> Vec<String> {
    let text = fs::read(path.join("owned.json")).unwrap_or_default();
    match serde_json::from_slice::<Owned>(&text) {
        Ok(owned) => {
            owned.logs.leave();
            take_down(path, &owned, Left::remove_of_orphan)
        }
        // Killed while the list was written, which is before anything on it is made.
        Err(error) if error.is_eof() => {
            fs::remove_dir_all(path).err().map(|error| error.to_string()).into_iter().collect()
        }
        // Forgetting the list would leave everything on it for good.
        Err(error) => vec![format!(
            "{}/owned.json is of another version of awf ({error}); use that version once, or remove what it lists",
            path.display()
        )],
    }
}

fn make_private(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(path)
        .with_context(|| format!("make {}", path.display()))
}

/// Whether a directory is a mount point: its device differs from its parent's.
fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
    match (device(path), path.parent().map(device)) {
        (Ok(inner), Some(Ok(outer))) => inner != outer,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_with_list(name: &str, list: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("awf-run-dir-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("owned.json"), list).unwrap();
        path
    }

    #[test]
    fn a_list_that_was_never_finished_owns_nothing() {
        for list in ["", "{\"cgroups\":["] {
            let path = run_with_list("cut", list);
            assert_eq!(collect(&path), Vec::<String>::new());
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_list_of_another_version_is_kept_and_said() {
        let path = run_with_list("other", "{\"cgroups\":[],\"pins\":\"/nowhere\"}");
        let errors = collect(&path);
        assert!(errors.len() == 1 && errors[0].contains("another version"), "{errors:?}");
        assert!(path.join("owned.json").exists());
        fs::remove_dir_all(&path).unwrap();
    }
}
