//! Locks on files of runs: taken, and who holds one, as the kernel tells in `/proc/locks`.
//!
//! Must never: let somebody who may not write to a file keep awf from locking it, or wait for a lock without an end.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{major, minor};

/// Time between two attempts.
const INTERVAL: Duration = Duration::from_millis(20);

/// Locks a file for this process alone, or fails if it is locked. flock(2) asks only whether a file can be read, so nobody else
/// may read this one, whoever made it and when.
pub(super) fn take(path: &Path) -> Result<Flock<File>> {
    lock(open(path)?)
        .map_err(|(_file, errno)| errno)
        .with_context(|| format!("lock {}", path.display()))
}

/// The same, but waits for whoever has it.
pub(super) fn wait(path: &Path, patience: Duration) -> Result<Flock<File>> {
    let mut file = open(path)?;
    let deadline = Instant::now() + patience;
    loop {
        file = match lock(file) {
            Ok(lock) => return Ok(lock),
            Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) => file,
            Err((_file, errno)) => {
                return Err(errno).with_context(|| format!("lock {}", path.display()));
            }
        };
        if Instant::now() >= deadline {
            let holder = holder(path, &["WRITE", "READ"]);
            let holder = holder.map_or_else(
                || "a process that cannot be seen from here".to_owned(),
                |pid| format!("process {pid} ({})", name_of(pid)),
            );
            bail!(
                "{} has been locked for {} seconds by {holder}; end that process if it is no awf that is starting, then try again",
                path.display(),
                patience.as_secs()
            );
        }
        std::thread::sleep(INTERVAL);
    }
}

fn lock(file: File) -> Result<Flock<File>, (File, Errno)> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
}

fn open(path: &Path) -> Result<File> {
    let mut options = File::options();
    let opened = options.create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = opened.with_context(|| format!("open {}", path.display()))?;
    // An earlier version let everybody read it.
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .with_context(|| format!("close {} to others", path.display()))?;
    Ok(file)
}

fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.is_empty() {
        "which has ended and left it to a child".to_owned()
    } else {
        name.trim_end().to_owned()
    }
}

/// The process that took a lock of one of these kinds on this file, if it was in this pid namespace. It may have ended, and
/// its id be another's, if a child of it has the descriptor.
pub(crate) fn holder(path: &Path, kinds: &[&str]) -> Option<u32> {
    let file = place(path)?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| holder_of(line, kinds, file))
}

/// Whether a process has a descriptor that holds the exclusive lock on this file (proc(5), fdinfo).
pub(crate) fn has_descriptor(pid: u32, path: &Path) -> std::io::Result<bool> {
    let Some(file) = place(path) else { return Ok(false) };
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed meanwhile.
        let Ok(facts) = fs::read_to_string(entry?.path()) else { continue };
        let mut locks = facts.lines().filter_map(|line| line.strip_prefix("lock:"));
        if locks.any(|line| holder_of(line, &["WRITE"], file).is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What `/proc/locks` calls a file.
type Place = (u64, u64, u64);

fn place(path: &Path) -> Option<Place> {
    let facts = fs::metadata(path).ok()?;
    Some((major(facts.dev()), minor(facts.dev()), facts.ino()))
}

/// Who holds the lock of a line, if it is this file's: `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF` (proc(5)). Who waits
/// for one has a `->` in front, and who only looks whether it is held locks for reading.
fn holder_of(line: &str, kinds: &[&str], file: Place) -> Option<u32> {
    let mut fields = line.split_whitespace().skip(1);
    let (class, manner, kind) = (fields.next()?, fields.next()?, fields.next()?);
    let pid = fields.next()?.parse().ok()?;
    let mut place = fields.next()?.split(':');
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let place = (number(place.next()?)?, number(place.next()?)?, place.next()?.parse().ok()?);
    let is_meant = (class, manner) == ("FLOCK", "ADVISORY") && kinds.contains(&kind);
    (is_meant && place == file).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_an_exclusive_lock_is_read() {
        let file = (0, 0x1a, 567);
        let of = |line| holder_of(line, &["WRITE"], file);
        assert_eq!(of("3: FLOCK  ADVISORY  WRITE 1234 00:1a:567 0 EOF"), Some(1234));
        for line in [
            "3: -> FLOCK  ADVISORY  WRITE 1234 00:1a:567 0 EOF",
            "3: FLOCK  ADVISORY  READ 1234 00:1a:567 0 EOF",
            "3: POSIX  ADVISORY  WRITE 1234 00:1a:567 0 EOF",
            "3: FLOCK  ADVISORY  WRITE 1234 00:1b:567 0 EOF",
            // Of another pid namespace, as older kernels show it.
            "3: FLOCK  ADVISORY  WRITE -1 00:1a:567 0 EOF",
            "",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn a_lock_that_somebody_keeps_is_not_waited_for_without_end() {
        let path = std::env::temp_dir().join(format!("awf-locks-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let kept = File::open(&path).unwrap();
        kept.lock_shared().unwrap();
        let error = wait(&path, Duration::ZERO).unwrap_err().to_string();
        let holder = format!("by process {} (", std::process::id());
        assert!(
            error.contains("has been locked for 0 seconds") && error.contains(&holder),
            "{error}"
        );
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "whoever may not read it cannot lock it");
        take(&path).unwrap_err();
        drop(kept);
        let lock = wait(&path, Duration::ZERO).unwrap();
        assert!(has_descriptor(std::process::id(), &path).unwrap());
        drop(lock);
        assert!(!has_descriptor(std::process::id(), &path).unwrap());
        fs::remove_file(&path).unwrap();
    }
}
