//! The steps of building a root file system, as data.
//!
//! Owns the types that the plan gives, that travel to `awf init`, and that it carries out. Must
//! never hold anything that depends on the moment of carrying out.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One step of building the sandbox's root file system. Targets are paths in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountOp {
    /// A file or directory of the host at `target`, without the mounts below it.
    Bind {
        /// Path on the host.
        source: PathBuf,
        /// Path in the sandbox.
        target: PathBuf,
        /// What the agent may do there.
        access: Access,
    },
    /// A writable directory of the host, where the host's Unix sockets cannot be connected to.
    Shared {
        /// Path on the host, without symlinks.
        source: PathBuf,
        /// Path in the sandbox.
        target: PathBuf,
        /// Never [`Access::ReadOnly`].
        access: Access,
        /// How.
        sharing: Sharing,
        /// And if that fails.
        fallback: Fallback,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// Path in the sandbox.
        target: PathBuf,
        /// Permissions.
        mode: u32,
        /// Owned by the agent, else by root.
        agent: bool,
    },
    /// An empty directory that belongs to the root file system.
    Directory {
        /// Path in the sandbox.
        target: PathBuf,
    },
    /// A symbolic link.
    Symlink {
        /// Path in the sandbox.
        link: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// A file that exists only in the sandbox.
    File {
        /// Path in the sandbox.
        target: PathBuf,
        /// The whole of it.
        content: String,
    },
    /// The preload library for one-shot tokens.
    OneShotLibrary {
        /// Path in the sandbox.
        target: PathBuf,
    },
    /// Cover a file or directory, if it is there.
    Hide {
        /// Path in the sandbox.
        target: PathBuf,
    },
    /// Show other content in place of a file, if it is there. The agent owns what it sees, may replace
    /// it by renaming, as git does, and keeps it for itself.
    Replace {
        /// Path in the sandbox.
        target: PathBuf,
        /// The whole of it.
        content: String,
    },
    /// Keep a part of what a later [`Self::Freeze`] makes read-only as it is.
    Spare {
        /// Path in the sandbox.
        target: PathBuf,
    },
    /// Make what is mounted at a place read-only.
    Freeze {
        /// Path in the sandbox.
        target: PathBuf,
    },
    /// Fresh `/proc`.
    Proc,
    /// Fresh `/sys`.
    Sysfs,
    /// The agent's cgroup at `/sys/fs/cgroup`.
    Cgroup2,
    /// Minimal `/dev`.
    Devices,
}

/// What the agent may do in a mount of the host's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Read and execute.
    ReadOnly,
    /// As the files' owners and modes allow.
    ReadWrite,
    /// The same; and where `awf` was called by the real root, root's files are the agent's there.
    /// Never for a directory that others use too: in `/tmp` it would open their files.
    Own,
}

/// How a writable directory is shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// As the upper layer of an overlay: both sides write the same files. Overlayfs wants `work`
    /// in the same mount and outside of the directory.
    Through {
        /// The mount that holds both directories.
        mount_point: PathBuf,
        /// Made for this step, and left behind by it.
        work: PathBuf,
    },
    /// As the lower layer: the agent reads the host's files, its own writes stay in memory.
    Onto,
    /// Plainly. The host's sockets in it are reachable.
    Direct,
}

/// What to do where overlayfs does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// Give the agent an empty directory of its own.
    Private,
    /// Share as [`Sharing::Direct`].
    Direct,
}

impl fmt::Display for MountOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { source, target, access } => {
                let access = match access {
                    Access::ReadOnly => "read-only",
                    Access::ReadWrite | Access::Own => "writable",
                };
                write!(f, "{} at {} ({access})", source.display(), target.display())
            }
            Self::Shared { source, target, .. } => {
                write!(f, "{} at {} (shared)", source.display(), target.display())
            }
            Self::Tmpfs { target, .. } => write!(f, "{} (in memory)", target.display()),
            Self::Directory { target } => write!(f, "{} (empty)", target.display()),
            Self::Symlink { link, target } => {
                write!(f, "{} (link to {})", link.display(), target.display())
            }
            Self::File { target, .. } => write!(f, "{} (generated)", target.display()),
            Self::OneShotLibrary { target } => {
                write!(f, "{} (library for one-shot tokens)", target.display())
            }
            Self::Hide { target } => write!(f, "{} (hidden)", target.display()),
            Self::Replace { target, .. } => {
                write!(f, "{} (without its credentials)", target.display())
            }
            Self::Spare { target } => write!(f, "{} (stays writable)", target.display()),
            Self::Freeze { target } => write!(f, "{} (read-only from here on)", target.display()),
            Self::Proc => f.write_str("/proc (own processes only)"),
            Self::Sysfs => f.write_str("/sys (read-only)"),
            Self::Cgroup2 => f.write_str("/sys/fs/cgroup (own cgroup, read-only)"),
            Self::Devices => f.write_str("/dev (minimal)"),
        }
    }
}

impl MountOp {
    /// What the user should know about this step before it happens.
    pub fn warning(&self) -> Option<String> {
        let Self::Shared { target, sharing, access, .. } = self else { return None };
        let target = target.display();
        match sharing {
            Sharing::Through { .. } => None,
            Sharing::Onto if *access == Access::ReadOnly => None,
            Sharing::Onto => Some(format!("the agent's writes to {target} stay in the sandbox")),
            Sharing::Direct => {
                Some(format!("Unix sockets of the host in {target} are reachable for the agent"))
            }
        }
    }

    /// What of the host it shows, and where.
    pub fn shown(&self) -> Option<(&Path, &Path)> {
        match self {
            Self::Bind { source, target, .. } | Self::Shared { source, target, .. } => {
                Some((source, target))
            }
            _ => None,
        }
    }

    /// Where it puts a mount of files, the host's or its own.
    pub fn place(&self) -> Option<&Path> {
        match self {
            Self::Bind { target, .. }
            | Self::Shared { target, .. }
            | Self::Tmpfs { target, .. }
            | Self::Directory { target } => Some(target),
            _ => None,
        }
    }

    /// Whether the agent may change files of the host through it.
    pub fn is_writable(&self) -> bool {
        match self {
            Self::Bind { access, .. } | Self::Shared { access, .. } => *access != Access::ReadOnly,
            _ => false,
        }
    }

    /// The directory this step creates on the host, to be removed after the run.
    pub fn work_dir(&self) -> Option<&Path> {
        match self {
            Self::Shared { sharing: Sharing::Through { work, .. }, .. } => Some(work),
            _ => None,
        }
    }
}
