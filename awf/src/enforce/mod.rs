//! Step 5 of 9: the kernel obeys. Takes a cgroup and the contents of the maps, gives a [`Confined`].
//!
//! Owns: the kernel object, its maps, links and pins, and the proof that they hold. Before: plan. After: proxy.
//! Must never: leave a program unattached in silence, attach by anything but a link, or let a [`Confined`] exist whose
//! refusals were not seen in the record.

pub mod contents;
pub mod object;
pub mod profile;
pub mod types;
pub mod attach;
pub mod cgroup;
pub mod membership;
pub mod prove;
mod sys;

pub use attach::Links;
pub use cgroup::Cgroup;
pub use contents::Contents;
pub use object::Object;
pub use profile::{Profile, Standing};
pub use prove::Confined;

/// Why enforcement could not be set up. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    /// The object file could not be used by this kernel.
    #[error(
        "the kernel refused program {program}: {reason}; awf needs Linux 5.10 or later with CONFIG_CGROUP_BPF"
    )]
    Program {
        /// Name of the program.
        program: &'static str,
        /// What the kernel said, with the end of the verifier's log.
        reason: String,
    },
    /// The object could not be parsed, or its maps not be made.
    #[error(
        "the kernel refused awf's programs: {0}; run as root on Linux 5.10 or later with CONFIG_BPF_SYSCALL"
    )]
    Load(#[from] aya::EbpfError),
    /// The kernel's type information could not be used, although it runs LSM programs.
    #[error("{0}; --profile hardened does without")]
    Types(#[from] types::TypesError),
    /// The operator demands more than this machine gives.
    #[error("--profile full cannot be had here: {0}")]
    NotFull(String),
    /// A map could not be filled or frozen.
    #[error("map {map}: {source}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A program could not be attached.
    #[error(
        "attach {program} to {cgroup}: {source}; a program attached by another tool with exclusive flags to a parent cgroup \
         does this, or, for awf_lsm programs, tools that hold the kernel's few places (--profile hardened does without)"
    )]
    Attach {
        /// Name of the program.
        program: &'static str,
        /// Path of the cgroup.
        cgroup: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A link governs another cgroup than the one the agent is in.
    #[error(
        "the link of {program} governs cgroup {link} and not {cgroup}: somebody replaced the cgroup or, if it is 0, detached \
         the program"
    )]
    WrongCgroup {
        /// Name of the program.
        program: &'static str,
        /// cgroup id of the link; 0 if it governs none.
        link: u64,
        /// cgroup id of the directory.
        cgroup: u64,
    },
    /// A link has another program than the one that was attached.
    #[error("somebody replaced {program} on its link")]
    Replaced {
        /// Name of the program.
        program: &'static str,
    },
    /// A process is out of reach of the programs.
    #[error("process {pid} was moved out of cgroup {cgroup}")]
    Moved {
        /// Its id.
        pid: u32,
        /// Path of the cgroup it belongs to.
        cgroup: String,
    },
    /// The cgroup could not be made or used.
    #[error("cgroup {path}: {source}")]
    Cgroup {
        /// Path of the directory or file.
        path: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// An attempt that had to be refused was not, or was not recorded.
    #[error("the proof failed: {0}")]
    Unproved(String),
}
