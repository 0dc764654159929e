//! The directories and files a run leaves to the user: made before, handed over after.
//!
//! Must never: follow a link that somebody put in the way, or leave files that need root to be read.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, lchown,
};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::unistd::{Gid, Uid, chown};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::kept;
use crate::observe::audit::{self, Audit};
use crate::observe::record;
use crate::plan::Plan;
use crate::plan::paths::Paths;

/// Written by Squid.
const PROXY_LOGS: [&str; 3] = ["access.log", "audit.jsonl", "cache.log"];
/// What models use, written by the API proxy. The directory is the original's, where gh-aw looks.
pub(super) const USAGE: &str = "api-proxy-logs/token-usage.jsonl";
/// Names tried for a directory of logs before giving up: the agent can guess them, but not that many.
const NAMES: u64 = 1000;
/// Bytes without which a record is not begun.
const RESERVE: u64 = 4096;

/// Makes the directories and files, and writes Squid's configuration.
pub(super) fn prepare(plan: &Plan, audit: &Audit) -> Result<()> {
    let paths = &plan.paths;
    for directory in [&paths.work, &paths.logs, &paths.audit] {
        make(directory, 0o755)?;
    }
    if let Some(session) = paths.session.as_ref().filter(|session| !session.exists()) {
        make(session, 0o755)?;
        // Where root calls, its files are the agent's in the sandbox.
        let agent = (plan.agent.uid, plan.agent.gid);
        chown_path(session, if plan.owner.0 == 0 { plan.owner } else { agent })?;
    }
    let squid = (plan.squid_child.uid, plan.squid_child.gid);
    for name in PROXY_LOGS {
        create(&paths.logs.join(name), 0o644, squid)?;
    }
    // Root's until it is handed over: the agent may be the caller's user.
    prove_space(&create(&paths.logs.join(record::FILE), 0o644, (0, 0))?)
        .with_context(|| format!("reserve space in {}", paths.logs.display()))?;
    let usage = paths.logs.join(USAGE);
    if let Some(directory) = usage.parent() {
        make(directory, 0o755)?;
        let facts = fs::symlink_metadata(directory);
        if !facts.with_context(|| format!("look at {}", directory.display()))?.is_dir() {
            bail!("{} is a link; remove it", directory.display());
        }
    }
    create(&usage, 0o644, (0, 0))?;
    // Squid's configuration holds the key: for Squid alone.
    chown_path(&paths.proxy, squid)?;
    fs::set_permissions(&paths.proxy, fs::Permissions::from_mode(0o500))
        .context("close the proxy's directory to others")?;
    write(&paths.proxy.join("squid.conf"), &plan.squid.conf, (0o400, squid))?;
    for (name, content) in &plan.squid.files {
        let path = paths.proxy.join(name);
        if let Some(parent) = path.parent().filter(|parent| *parent != paths.proxy) {
            make(parent, 0o755)?;
        }
        write(&path, content, (0o444, squid))?;
    }
    let mut made = Vec::new();
    let written = audit.files.iter().try_for_each(|file| leave_file(file, plan, &mut made));
    if written.is_err() {
        // A run that does not begin leaves nothing.
        for path in &made {
            let _stays = fs::remove_file(path).is_err();
        }
    }
    written
}

/// Writes an audit file, and notes one that was not there before.
fn leave_file(file: &audit::File, plan: &Plan, made: &mut Vec<PathBuf>) -> Result<()> {
    let path = plan.paths.audit.join(&file.name);
    if fs::symlink_metadata(&path).is_err() {
        made.push(path.clone());
    } else if file.keeps {
        return Ok(());
    }
    write(&path, &file.text, (0o644, plan.owner))
}

/// What becomes of the logs at the end of a run, whoever ends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    paths: Paths,
    owner: (u32, u32),
    keep: bool,
}

impl Leaving {
    /// As planned.
    pub(super) fn of(plan: &Plan) -> Self {
        Self { paths: plan.paths.clone(), owner: plan.owner, keep: plan.keep }
    }

    /// Hands the logs over: owned by the user, in place if the user chose it, else beside the work directory, which is
    /// removed. What a user has put into it stays.
    pub(super) fn leave(&self) {
        let paths = &self.paths;
        let usage = paths.logs.join(USAGE);
        for directory in usage.parent().into_iter().chain([&*paths.logs, &*paths.audit]) {
            if let Err(error) = hand_over(directory, self.owner)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!("hand over {}: {error}", directory.display());
            }
        }
        if self.keep {
            tracing::info!("Files kept in {}", paths.work.display());
            return;
        }
        let number = paths.id.trim_start_matches(|byte: char| !byte.is_ascii_digit());
        let number: u64 =
            number.split('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
        for (directory, chosen, name) in [
            (&paths.logs, paths.logs_chosen, "squid-logs"),
            (&paths.audit, paths.audit_chosen, "awf-audit"),
        ] {
            if chosen || !directory.exists() {
                continue;
            }
            let held = kept::Leaving::hold(directory);
            match keep(directory, &paths.tmp, name, number) {
                Ok(place) => {
                    if let Err(error) = held.and_then(|held| held.mark(&place, &paths.id)) {
                        tracing::debug!("{} has no mark of this run: {error}", place.display());
                    }
                    tracing::info!("{name} kept in {}", place.display());
                }
                // The only copy stays where it is.
                Err(error) => {
                    tracing::warn!("logs stay in {}: {error}", directory.display());
                    return;
                }
            }
        }
        remove_work(paths);
    }

    /// Removes what [`prepare`] made before it failed.
    pub(super) fn abandon(&self) {
        let paths = &self.paths;
        let logs =
            PROXY_LOGS.iter().chain([&record::FILE, &USAGE]).map(|name| paths.logs.join(name));
        for file in logs {
            let is_empty = fs::symlink_metadata(&file).is_ok_and(|facts| facts.len() == 0);
            let _stays = is_empty && fs::remove_file(&file).is_err();
        }
        let usage = paths.logs.join(USAGE);
        let _stays = usage.parent().is_some_and(|directory| fs::remove_dir(directory).is_err());
        for (directory, chosen) in
            [(&paths.logs, paths.logs_chosen), (&paths.audit, paths.audit_chosen)]
        {
            let _stays = !chosen && fs::remove_dir(directory).is_err();
        }
        remove_work(paths);
    }
}

/// Removes the work directory; one that the user chose only if nothing is left in it.
fn remove_work(paths: &Paths) {
    let removed = if paths.work_chosen {
        fs::remove_dir(&paths.work)
    } else {
        fs::remove_dir_all(&paths.work)
    };
    if let Err(error) = removed
        && !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty)
    {
        tracing::warn!("remove {}: {error}", paths.work.display());
    }
}

/// Moves a directory beside the work directory, under a name that nobody took yet: `mkdir` decides that, and a rename onto
/// the empty directory it made cannot be led elsewhere.
fn keep(directory: &Path, beside: &Path, name: &str, number: u64) -> io::Result<PathBuf> {
    for step in 0..NAMES {
        let target = beside.join(format!("{name}-{}", number.saturating_add(step)));
        match DirBuilder::new().mode(0o755).create(&target) {
            Ok(()) => return fs::rename(directory, &target).map(|()| target),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn make(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("make the directory {}", path.display()))
}

/// Makes or empties a file with an owner and a mode. A link in its place is refused.
fn create(path: &Path, mode: u32, owner: (u32, u32)) -> Result<File> {
    let making = || {
        let file = File::options()
            .create(true)
            .append(true)
            .mode(mode)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        fchown(&file, Some(owner.0), Some(owner.1))?;
        Ok(file)
    };
    making().map_err(|error: io::Error| error).with_context(|| format!("make {}", path.display()))
}

/// Writes a file, in the place of what was there.
pub(super) fn write(path: &Path, content: &str, (mode, owner): (u32, (u32, u32))) -> Result<()> {
    let mut file = create(path, mode, owner)?;
    file.set_len(0)
        .and_then(|()| file.write_all(content.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}

/// A run whose record cannot begin must not begin. Nothing is written: another run may be writing to the same file.
fn prove_space(record: &File) -> io::Result<()> {
    let length = record.metadata()?.len();
    match fallocate(record, FallocateFlags::KEEP_SIZE, length, RESERVE) {
        // Not every file system can tell; the first line will.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// A directory that is held open and that no link led to. Where it lies in what the command may write, the command can move
/// what is above it and put a link to any place of the machine there.
pub(super) struct Held(OwnedFd);

impl Held {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        Ok(Self(openat2(AT_FDCWD, directory, how)?))
    }

    /// The way to it for this process.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Gives a directory of logs to the user.
fn hand_over(directory: &Path, owner: (u32, u32)) -> io::Result<()> {
    let held = Held::open(directory)?;
    for entry in fs::read_dir(held.path())? {
        let path = entry?.path();
        let facts = fs::symlink_metadata(&path)?;
        // A file with a second name may be another's.
        if facts.is_dir() || facts.nlink() > 1 {
            continue;
        }
        lchown(path, Some(owner.0), Some(owner.1))?;
    }
    fchown(&held.0, Some(owner.0), Some(owner.1))
}

fn chown_path(path: &Path, (uid, gid): (u32, u32)) -> Result<()> {
    chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .with_context(|| format!("give {} its owner", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_proved_without_touching_what_others_write() {
        let path = std::env::temp_dir().join(format!("awf-logs-space-{}", std::process::id()));
        fs::write(&path, "a line\n").unwrap();
        let record = File::options().append(true).open(&path).unwrap();
        prove_space(&record).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a line\n");
        let reader = File::open(&path).unwrap();
        assert!(prove_space(&reader).is_err(), "it is asked for, not assumed");
        fs::remove_file(&path).unwrap();
    }
}
