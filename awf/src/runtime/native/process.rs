//! A process that somebody else started: watched and killed by descriptor, so that its number can never mean another.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::sys;

/// A process that is not a child.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    pidfd: AsyncFd<OwnedFd>,
}

impl Process {
    /// The one that has this id now.
    pub fn find(pid: u32) -> io::Result<Self> {
        let pidfd = sys::open_process(pid.cast_signed())?;
        Ok(Self { pid, pidfd: sys::watch(pidfd, Interest::READABLE)? })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Waits for its end. Cancel safe.
    pub async fn ended(&self) -> io::Result<()> {
        self.pidfd.readable().await.map(drop)
    }

    /// Kills it; an error if it is gone.
    pub fn kill(&self) -> io::Result<()> {
        sys::kill(self.pidfd.get_ref().as_fd())
    }
}
