//! The exit codes of `awf`, in one table.
//!
//! Owns the numbers and their one-line meanings; `--help` and the manual are rendered from
//! [`TABLE`]. Takes nothing, gives [`Exit`] values. Must never choose which one applies: whoever
//! sees the end of a run does that.
//!
//! A command may end with any code from 0 to 255 and `awf` passes it on, so no code of our own is
//! beyond confusion. The new ones lie in 110..=122: shells use 126 and 127, `timeout` 124 and 125,
//! signals 128 + n, `sysexits.h` 64..=78, `xargs` 123. Standard error always names the case.

use std::process::ExitCode;

use crate::observe::summary::Lost;

/// How a run of `awf` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The command ended by itself (or by a signal, then as 128 + n): its own code.
    Agent(u8),
    /// The arguments or a file they name make no sense; nothing was started.
    Usage,
    /// The sandbox could not be set up for a reason without a code of its own.
    SetUp,
    /// No cgroup v2 hierarchy is mounted and writable.
    NoCgroup2,
    /// The kernel refused to load or attach the programs.
    ProgramsRefused,
    /// No Squid binary on this machine.
    SquidMissing,
    /// An address that awf must listen on is in use.
    PortTaken,
    /// No space left in the work or log directory.
    DiskFull,
    /// Neither root nor able to become root through `sudo -n`.
    NoPrivilege,
    /// The Docker daemon, or an image in it, cannot be used.
    DockerUnusable,
    /// The self-test could not prove that the sandbox is closed; the command was not started.
    Unproved,
    /// Enforcement was lost while the command ran; the command was killed.
    EnforcementLost,
    /// `--strict-audit`: attempts are missing in the record.
    RecordIncomplete,
    /// `--agent-timeout` expired.
    Timeout,
    /// `awf` received SIGINT.
    Interrupted,
    /// `awf` received SIGTERM.
    Terminated,
}

/// Every fixed exit code with its meaning, in ascending order.
pub const TABLE: [(Exit, &str); 15] = [
    (Exit::Usage, "wrong usage; nothing was started"),
    (Exit::SetUp, "the sandbox could not be set up"),
    (Exit::NoCgroup2, "no writable cgroup v2 hierarchy"),
    (Exit::ProgramsRefused, "the kernel refused the eBPF programs"),
    (Exit::SquidMissing, "Squid is not installed"),
    (Exit::PortTaken, "an address awf must listen on is in use"),
    (Exit::DiskFull, "no space left in the work or log directory"),
    (Exit::NoPrivilege, "neither root nor passwordless sudo"),
    (Exit::DockerUnusable, "the Docker daemon or an image cannot be used"),
    (Exit::Unproved, "enforcement could not be proved; the command was not started"),
    (Exit::EnforcementLost, "enforcement was lost; the command was killed"),
    (Exit::RecordIncomplete, "the record is incomplete (--strict-audit)"),
    (Exit::Timeout, "--agent-timeout expired"),
    (Exit::Interrupted, "interrupted (SIGINT)"),
    (Exit::Terminated, "terminated (SIGTERM)"),
];

impl Exit {
    /// The number given to the calling process.
    pub const fn code(self) -> u8 {
        match self {
            Self::Agent(code) => code,
            // The original answers 1 to both, and workflows test for it.
            Self::Usage | Self::SetUp => 1,
            Self::NoCgroup2 => 110,
            Self::ProgramsRefused => 111,
            Self::SquidMissing => 112,
            Self::PortTaken => 113,
            Self::DiskFull => 114,
            Self::NoPrivilege => 115,
            Self::DockerUnusable => 116,
            Self::Unproved => 120,
            Self::EnforcementLost => 121,
            Self::RecordIncomplete => 122,
            Self::Timeout => 124,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl Exit {
    /// How a run ends whose record must be complete. What ended the run otherwise is told first.
    #[must_use]
    pub const fn strict(self, lost: Lost) -> Self {
        match self {
            Self::Agent(_) if lost.total() > 0 => Self::RecordIncomplete,
            other => other,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_of_ours_has_a_code_of_its_own() {
        let codes: Vec<u8> = TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert!(codes.is_sorted());
        let mut unique = codes.clone();
        unique.dedup();
        assert_eq!(unique.len(), codes.len() - 1, "only usage and set-up share a code");
    }

    #[test]
    fn new_codes_stay_clear_of_shells_signals_and_timeout() {
        for (exit, _) in TABLE {
            let original = matches!(exit.code(), 1 | 124 | 130 | 143);
            assert!(original || (110..=122).contains(&exit.code()), "{exit:?}");
        }
    }

    #[test]
    fn the_command_keeps_its_code() {
        for code in [0, 1, 2, 124, 126, 127, 130, 137, 139, 143, 255] {
            assert_eq!(Exit::Agent(code).code(), code);
        }
    }
}
