//! Whether what was proved before the command started still holds while it runs.
//!
//! Undoing it takes root outside of the sandbox. The kernel has no event for a detached link or a moved process, so this
//! looks at intervals; what is bounded is how long a run goes on without its programs.

use std::time::Duration;

use anyhow::{Error, Result};
use tokio::sync::watch::Receiver;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::enforce::{Cgroup, EnforceError, Links, Profile, membership};
use crate::proxy::State;

/// A look takes 0.4 ms with ten processes in the sandbox and 1.2 ms with a hundred (measured on a busy machine).
const CHECK: Duration = Duration::from_millis(250);

/// Who is outside of its cgroup is looked for twice more, after this time each.
const AGAIN: Duration = Duration::from_millis(50);

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

    /// Whether a process and all that descend from it are in a cgroup or below it.
    pub(super) async fn has_all_below(
        self,
        first: u32,
        cgroup: &Cgroup,
    ) -> Result<(), EnforceError> {
        let path = || cgroup.path().display().to_string();
        let strays = || {
            let found = membership::strays(first, cgroup);
            found.map_err(|source| EnforceError::Cgroup { path: path(), source })
        };
        let mut suspects = strays()?;
        for _again in 0..2 {
            if suspects.is_empty() {
                break;
            }
            sleep(AGAIN).await;
            let found = strays()?;
            suspects.retain(|pid| found.contains(pid));
        }
        match suspects.into_iter().min() {
            Some(pid) => Err(EnforceError::Moved { pid, cgroup: path() }),
            None => Ok(()),
        }
    }

    /// Watches the enforcement of a sandbox with this first process, and of this Squid.
    pub(super) fn guard(self, sandbox: u32, squid: Receiver<State>) -> Guard<'a> {
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Guard { enforcement: self, sandbox, squid, check }
    }
}

/// See [`Enforcement::guard`].
#[derive(Debug)]
pub(super) struct Guard<'a> {
    enforcement: Enforcement<'a>,
    sandbox: u32,
    squid: Receiver<State>,
    check: Interval,
}

impl Guard<'_> {
    /// Waits until enforcement is lost, and says how. Cancel safe.
    pub(super) async fn lost(&mut self) -> Error {
        loop {
            self.check.tick().await;
            if let Err(error) = self.look().await {
                return error.into();
            }
        }
    }

    /// Whether every link still governs the cgroup it must govern, asked once more at the end.
    pub(super) fn holds(&self) -> Result<(), EnforceError> {
        self.enforcement.holds()
    }

    async fn look(&self) -> Result<(), EnforceError> {
        self.enforcement.holds()?;
        let squid = match *self.squid.borrow() {
            State::Ready { pid } => Some(pid),
            State::Starting | State::Failed => None,
        };
        let sides = [(Some(self.sandbox), self.enforcement.agent), (squid, self.enforcement.proxy)];
        for (first, cgroup) in sides {
            let Some(first) = first else { continue };
            self.enforcement.has_all_below(first, cgroup).await?;
        }
        Ok(())
    }
}
