//! A process, whoever started it: watched and killed by descriptor, so that its number can never mean another.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::sys;

/// A process, a child or not.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    pidfd: AsyncFd<OwnedFd>,
}

impl Process {
    /// The one that has this id now.
    pub fn find(pid: u32) -> io::Result<Self> {
        let id = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::NotFound)?;
        Self::of(pid, pidfd_open(id, PidfdFlags::empty())?)
    }

    /// The one that a pidfd refers to.
    pub(super) fn of(pid: u32, pidfd: OwnedFd) -> io::Result<Self> {
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
        Ok(pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL)?)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.get_ref().as_fd()
    }
}
