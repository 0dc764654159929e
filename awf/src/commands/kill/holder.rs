//! Which process is a run's awf: the one that holds the lock of the run's `alive`, as the kernel tells in `/proc/locks`.
//!
//! Must never: take the word of a file for it, nor a process that is not root's, since anybody may lock what he may read.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::session::locks;

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
    // Who only looks whether it is held locks for reading.
    let pid = locks::holder(&run.join("alive"), &["WRITE"])?;
    let uid = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    Some(Holder { pid, uid })
}

#[cfg(test)]
mod tests {
    use super::*;

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
