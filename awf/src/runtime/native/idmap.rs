//! The owner translation for an `awf` that the real root called: root's files appear as the
//! agent's, the agent's new files are root's.
//!
//! Gives a user namespace that nobody lives in; only its id map counts
//! (`mount_setattr(2)`, `MOUNT_ATTR_IDMAP`). Must never be used for a mount of system files.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid};

use super::sys;

/// A user namespace in which `id` and root change places, for users and groups alike.
/// Must be called before the pid namespace is unshared: it forks.
pub(super) fn exchange_with_root(uid: u32, gid: u32) -> Result<OwnedFd> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    match sys::fork().context("start a helper")? {
        ForkResult::Child => {
            drop(ours);
            // The namespace lives as long as this process: until the parent holds its file, or is gone.
            if unshare(CloneFlags::CLONE_NEWUSER).is_ok() && theirs.write_all(b"x").is_ok() {
                let _end = theirs.read(&mut [0]).is_err();
            }
            drop(theirs);
            loop {
                let _dead = raise(Signal::SIGKILL).is_err();
            }
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            let namespace = described(&mut ours, child, uid, gid);
            kill(child, Signal::SIGKILL).context("end the helper")?;
            waitpid(child, None).context("wait for the helper")?;
            namespace
        }
    }
}

fn described(signal: &mut UnixStream, child: Pid, uid: u32, gid: u32) -> Result<OwnedFd> {
    let mut ready = [0];
    signal.read_exact(&mut ready).context("create a user namespace")?;
    fs::write(format!("/proc/{child}/uid_map"), exchange(uid)).context("write its uid map")?;
    fs::write(format!("/proc/{child}/gid_map"), exchange(gid)).context("write its gid map")?;
    let file = fs::File::open(format!("/proc/{child}/ns/user")).context("open it")?;
    Ok(file.into())
}

/// Lines of `user_namespaces(7)`: first id on disk, first id as seen, count.
fn exchange(id: u32) -> String {
    let between = id.saturating_sub(1);
    let above = id.saturating_add(1);
    // The kernel refuses a line of zero ids.
    let middle = if between == 0 { String::new() } else { format!("1 1 {between}\n") };
    format!("0 {id} 1\n{id} 0 1\n{above} {above} {}\n{middle}", u32::MAX - above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_but_the_two_keeps_their_number() {
        assert_eq!(exchange(1000), "0 1000 1\n1000 0 1\n1001 1001 4294966294\n1 1 999\n");
        assert_eq!(exchange(1), "0 1 1\n1 0 1\n2 2 4294967293\n");
    }
}
