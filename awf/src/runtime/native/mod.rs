//! The sandbox: namespaces, mounts and a filter of our own; no daemon, no images.
//!
//! Two halves of one binary. In the loader, [`start`] puts `awf init` into the agent's cgroup, or
//! [`adopt`] takes one that a container engine put there, and [`Agent`] is the loader's end of it; in the new process, [`init::main`] builds the sandbox,
//! lets the probe test it and becomes the command. Takes an [`AgentSpec`], which is complete: no
//! decision is left to this module. Must never start anything outside the cgroup it was given.
//! Needs Linux 5.10; before 5.12 files of root stay closed to the agent (`mount_setattr(2)` translates owners).

mod agent;
mod confine;
pub mod gate;
mod idmap;
pub mod init;
mod kernel_fs;
mod mount;
mod one_shot;
mod places;
mod process;
mod reaper;
mod root;
mod seccomp;
mod spec;
mod stdio;
mod sys;
pub mod watch;
pub mod wire;

use std::path::Path;

pub use agent::{Agent, AgentError, Message, adopt, resize, start, window_of};
pub use process::Process;
pub use spec::{AgentSpec, Need, Resource, Rlimit, Text, Window};
pub use stdio::inspect;
pub use wire::Exit;

use crate::plan::mounts::Found;

/// What lies at a path of this host, for [`crate::plan::mounts::mounts`].
pub fn look(path: &Path) -> Option<Found> {
    let link = path.read_link().ok();
    let real = path.canonicalize().ok()?;
    let directory = real.is_dir();
    Some(Found { link, real, directory })
}
