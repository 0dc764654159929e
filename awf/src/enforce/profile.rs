//! The profile of a run: which layers stand behind the sandbox, and why these.
//!
//! Takes facts of the machine and the operator's demand, gives a [`Standing`]; nothing goes below `hardened`. Owns the one
//! table that says which layer covers what. Must never: call a layer active that was not seen to be.

use std::fmt;
use std::io;
use std::thread::{self, JoinHandle};

use serde::Serialize;

use super::EnforceError;
use super::types::{Types, TypesError};
use crate::cli::ProfileChoice;
use crate::host::Host;

/// How much of the kernel stands behind a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The programs on the cgroups, and LSM programs on the agent's.
    Full,
    /// Everything but the LSM programs.
    Hardened,
}

impl Profile {
    /// As a user writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Hardened => "hardened",
        }
    }
}

/// A profile, and why it is this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The profile.
    pub profile: Profile,
    /// Why.
    pub reason: String,
}

/// Since when the kernel has every hook: `lsm_cgroup` came with 6.0, `userns_create` with 6.1.
const SINCE: (u32, u32) = (6, 1);

impl Standing {
    /// What is to be expected of a machine. Loading may still show that its kernel does not let awf.
    pub fn expected(choice: ProfileChoice, host: &Host) -> Self {
        if choice == ProfileChoice::Hardened {
            return Self::hardened("asked for");
        }
        if host.kernel.version < SINCE {
            return Self::hardened("LSM programs on a cgroup need Linux 6.1 or later");
        }
        match host.security_modules.as_deref() {
            None => Self::hardened(
                "which security modules are active cannot be seen: mount securityfs at /sys/kernel/security",
            ),
            Some(active) if active.iter().any(|name| name == "bpf") => {
                Self { profile: Profile::Full, reason: "the security module bpf is active".into() }
            }
            Some(_) => Self::hardened(
                "the security module bpf is not active: add it to the boot parameter lsm=",
            ),
        }
    }

    /// The floor.
    pub fn hardened(reason: &str) -> Self {
        Self { profile: Profile::Hardened, reason: reason.into() }
    }

    /// Starts to read what loading takes, on a thread of its own: it is needed first of all.
    pub fn look_apart(self) -> io::Result<Looking> {
        let thread = thread::Builder::new().name("awf-types".into()).spawn(|| self.look())?;
        Ok(Looking { thread })
    }

    fn look(self) -> Looked {
        match Types::of_kernel() {
            Ok(types) => Ok((self, Some(types))),
            // Then procfs has to tell who a process is.
            Err(_unknown) if self.profile == Profile::Hardened => Ok((self, None)),
            // Built without it. Any other failure is one of the moment, and no reason for less.
            Err(TypesError::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
                Ok((Self::hardened("the kernel does not describe its types"), None))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// An error if the operator demands more.
    pub fn satisfies(&self, choice: ProfileChoice) -> Result<(), EnforceError> {
        match (choice, self.profile) {
            (ProfileChoice::Full, Profile::Hardened) => {
                Err(EnforceError::NotFull(self.reason.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// What was found: the profile to load for, and the kernel's types, without which it is not `full`.
type Looked = Result<(Standing, Option<Types>), EnforceError>;

/// A look that goes on.
#[derive(Debug)]
pub struct Looking {
    thread: JoinHandle<Looked>,
}

impl Looking {
    /// Waits for its end.
    pub(super) fn done(self) -> Looked {
        let died = |_panic| {
            let error = io::Error::other("the thread that reads it died");
            Err(TypesError::Unreadable(error).into())
        };
        self.thread.join().unwrap_or_else(died)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.profile {
            Profile::Full => write!(f, "full ({})", self.reason),
            Profile::Hardened => write!(f, "hardened, without LSM programs ({})", self.reason),
        }
    }
}

/// Which layers keep one way shut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cover {
    /// The way.
    pub way: &'static str,
    /// The layers, the first to answer first.
    pub layers: Vec<&'static str>,
}

/// Way; layers of every profile; whether LSM programs stand behind them.
const COVERS: [(&str, &[&str], bool); 8] = [
    ("TCP and UDP to any address", &["kernel", "namespaces"], false),
    ("names", &["name", "relay", "proxy", "guard"], false),
    ("raw, ping and other Internet sockets", &["seccomp", "capabilities", "kernel"], false),
    ("other socket families", &["seccomp", "capabilities"], true),
    ("sockets made outside the sandbox", &["descriptors", "namespaces", "seccomp"], true),
    ("Unix sockets of the host", &["mounts", "namespaces"], true),
    ("user namespaces", &["seccomp"], true),
    ("bpf(2)", &["seccomp", "capabilities"], true),
];

/// What covers what under a profile.
pub fn covers(profile: Profile) -> Vec<Cover> {
    let cover = |(way, layers, lsm): (&'static str, &[&'static str], bool)| {
        let lsm = (lsm && profile == Profile::Full).then_some("lsm");
        Cover { way, layers: layers.iter().copied().chain(lsm).collect() }
    };
    COVERS.into_iter().map(cover).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Kernel;

    fn machine(version: (u32, u32), modules: Option<&[&str]>) -> Host {
        Host {
            kernel: Kernel { release: String::new(), version },
            security_modules: modules.map(|names| names.iter().map(ToString::to_string).collect()),
            ..Host::sample()
        }
    }

    #[test]
    fn full_takes_a_kernel_that_has_the_hooks_and_an_active_module() {
        let check = |version, modules, profile, reason| {
            let found = Standing::expected(ProfileChoice::Auto, &machine(version, modules));
            assert_eq!(found.profile, profile, "{version:?} {modules:?}");
            assert!(found.reason.contains(reason), "{}", found.reason);
        };
        check((6, 1), Some(&["lockdown", "bpf"]), Profile::Full, "is active");
        check((7, 3), Some(&["bpf"]), Profile::Full, "is active");
        check((6, 0), Some(&["bpf"]), Profile::Hardened, "Linux 6.1");
        check((6, 12), Some(&["apparmor", "bpfx"]), Profile::Hardened, "lsm=");
        check((6, 12), None, Profile::Hardened, "securityfs");
    }

    #[test]
    fn a_demand_for_full_is_not_met_by_less() {
        let best = machine((6, 12), Some(&["bpf"]));
        let full = Standing::expected(ProfileChoice::Full, &best);
        full.satisfies(ProfileChoice::Full).unwrap();
        let asked = Standing::expected(ProfileChoice::Hardened, &best);
        assert_eq!(asked.profile, Profile::Hardened);
        asked.satisfies(ProfileChoice::Auto).unwrap();
        let error = asked.satisfies(ProfileChoice::Full).unwrap_err().to_string();
        assert_eq!(error, "--profile full cannot be had here: asked for");
    }

    #[test]
    fn every_way_is_covered_without_lsm_programs_too() {
        for (full, hardened) in covers(Profile::Full).iter().zip(covers(Profile::Hardened)) {
            assert!(
                !hardened.layers.is_empty() && !hardened.layers.contains(&"lsm"),
                "{hardened:?}"
            );
            assert!(full.layers.starts_with(&hardened.layers), "{full:?}");
        }
    }
}
