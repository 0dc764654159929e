//! Whether what was proved before the command started still holds while it runs.
//!
//! Undoing it takes root outside of the sandbox. The kernel has no event for a detached link or a moved process, so this
//! looks at intervals; what is bounded is how long a run goes on without its programs.

use std::time::Duration;

use anyhow::{Error, Result};
use tokio::sync::watch::Receiver;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::enforce::{Cgroup, EnforceError, Links, Profile, membership};
use crate::proxy::State;

/// A look takes 0.4 ms with ten processes in the sandbox and 1.2 ms with a hundred (measured on a busy machine).
const CHECK: Duration = Duration::from_millis(250);

/// The attached programs and whom they govern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Enforcement<'a> {
    pub(super) links: &'a Links,
    pub(super) agent: &'a Cgroup,
    pub(super) proxy: &'a Cgroup,
    /// What the programs make.
    pub(super) profile: Profile,
}

impl<'a> Enforcement<'a> {
    /// Whether every link still governs the cgroup it must govern.
    pub(super) fn holds(self) -> Result<(), EnforceError> {
        self.links.verify(self.agent, self.proxy)
    }

    /// Watches the enforcement of a sandbox with this first process, and of this Squid.
    pub(super) fn guard(self, sandbox: u32, squid: Receiver<State>) -> Guard<'a> {
        let mut check = interval(CHECK);
        // After a stop of awf, two looks must not follow each other at once.
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Guard { enforcement: self, sandbox, squid, suspects: [None; 2], check }
    }
}

/// See [`Enforcement::guard`].
#[derive(Debug)]
pub(super) struct Guard<'a> {
    enforcement: Enforcement<'a>,
    sandbox: u32,
    squid: Receiver<State>,
    /// Who was outside of the agent's and of the proxy's cgroup at the last look.
    suspects: [Option<u32>; 2],
    check: Interval,
}

impl Guard<'_> {
    /// Waits until enforcement is lost, and says how. Cancel safe.
    pub(super) async fn lost(&mut self) -> Error {
        loop {
            self.check.tick().await;
            if let Err(error) = self.look() {
                return error.into();
            }
        }
    }

    fn look(&mut self) -> Result<(), EnforceError> {
        self.enforcement.holds()?;
        let squid = match *self.squid.borrow() {
            State::Ready { pid } => Some(pid),
            State::Starting | State::Failed => None,
        };
        let sides = [(Some(self.sandbox), self.enforcement.agent), (squid, self.enforcement.proxy)];
        for ((first, cgroup), suspect) in sides.into_iter().zip(&mut self.suspects) {
            let path = || cgroup.path().display().to_string();
            let found = first.map(|first| membership::stray(first, cgroup)).transpose();
            let found = found.map_err(|source| EnforceError::Cgroup { path: path(), source })?;
            let found = found.flatten();
            let before = std::mem::replace(suspect, found);
            if let Some(pid) = found.filter(|_pid| found == before) {
                return Err(EnforceError::Moved { pid, cgroup: path() });
            }
        }
        Ok(())
    }
}
