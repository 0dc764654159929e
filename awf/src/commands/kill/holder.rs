//! Which process is a run's awf: the one that holds the lock of the run's `alive`, as the kernel tells in `/proc/locks`.
//!
//! Must never: take the word of a file for it, nor a process that is not root's, since anybody may lock what he may read.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::stat::{major, minor};

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) struct Holder {
    /// Its id, in this pid namespace.
    pub(in crate::commands) pid: u32,
    /// Its user.
    pub(in crate::commands) uid: u32,
}

/// The awf of the run with this directory, if it lives in this pid namespace.
pub(in crate::commands) fn holder(run: &Path) -> Option<Holder> {
    let facts = fs::metadata(run.join("alive")).ok()?;
    let file = (major(facts.dev()), minor(facts.dev()), facts.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().find_map(|line| holder_of(line, file))?;
    let uid = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    Some(Holder { pid, uid })
}

/// Who holds the lock of a line, if it is this file's: `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF` (proc(5)). Who waits
/// for one has a `->` in front, and who only looks whether it is held locks for reading.
fn holder_of(line: &str, file: (u64, u64, u64)) -> Option<u32> {
    let mut fields = line.split_whitespace().skip(1);
    let kind = [fields.next()?, fields.next()?, fields.next()?];
    let pid = fields.next()?.parse().ok()?;
    let mut place = fields.next()?.split(':');
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let place = (number(place.next()?)?, number(place.next()?)?, place.next()?.parse().ok()?);
    (kind == ["FLOCK", "ADVISORY", "WRITE"] && place == file).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_an_exclusive_lock_is_read() {
        let file = (0, 0x1a, 567);
        assert_eq!(holder_of("3: FLOCK  ADVISORY  WRITE 1234 00:1a:567 0 EOF", file), Some(1234));
        for line in [
            "3: -> FLOCK  ADVISORY  WRITE 1234 00:1a:567 0 EOF",
            "3: FLOCK  ADVISORY  READ 1234 00:1a:567 0 EOF",
            "3: POSIX  ADVISORY  WRITE 1234 00:1a:567 0 EOF",
            "3: FLOCK  ADVISORY  WRITE 1234 00:1b:567 0 EOF",
            // Of another pid namespace, as older kernels show it.
            "3: FLOCK  ADVISORY  WRITE -1 00:1a:567 0 EOF",
            "",
        ] {
            assert_eq!(holder_of(line, file), None, "{line}");
        }
    }

    #[test]
    fn a_lock_of_ours_is_ours() {
        let runs = std::env::temp_dir().join(format!("awf-holder-{}", std::process::id()));
        let live = crate::session::live::tests::live("awf-1-ab12", "", Path::new("/logs"));
        let held = crate::session::live::tests::pretend(&runs, &live);
        let run = runs.join("awf-1-ab12");
        let uid = nix::unistd::geteuid().as_raw();
        assert_eq!(holder(&run), Some(Holder { pid: std::process::id(), uid }));
        drop(held);
        assert_eq!(holder(&run), None);
        fs::remove_dir_all(&runs).unwrap();
    }
}
