//! The process that becomes Squid: awf, executed under another name. It gives up everything Squid does not need, then executes it.
//!
//! Takes awf's process id and a [`Spec`] as its only argument, in JSON. Must never: keep a capability.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, execv, getppid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

/// What the child needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// `cgroup.procs` of the proxy's cgroup.
    pub cgroup_procs: PathBuf,
    /// User id Squid runs as.
    pub uid: u32,
    /// Group id Squid runs as.
    pub gid: u32,
    /// Program.
    pub squid: PathBuf,
    /// Configuration file.
    pub config: PathBuf,
    /// Service name, unique per run: names Squid's shared memory.
    pub service: String,
}

/// Becomes Squid. Returns only with an error.
pub fn main(spec: &str) -> Result<()> {
    let (awf, spec): (i32, Spec) =
        serde_json::from_str(spec).context("read the proxy's start instruction")?;
    tie_to(awf)?;
    // First of all: from here on the guard judges every socket of this process.
    fs::write(&spec.cgroup_procs, "0").context("enter the proxy's cgroup")?;
    hide_shared_memory()?;
    drop_privileges(&spec)?;
    // A change of user id clears the death signal (prctl(2)).
    tie_to(awf)?;
    let arguments: Vec<CString> =
        spec.arguments().into_iter().map(CString::new).collect::<Result<_, _>>()?;
    let program = CString::new(spec.squid.as_os_str().as_bytes())?;
    let error = execv(&program, &arguments).err();
    Err(anyhow::anyhow!("execute {}: {error:?}", spec.squid.display()))
}

impl Spec {
    /// The command line, program first.
    pub fn arguments(&self) -> Vec<String> {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let options = ["-N", "-n", &self.service, "-f"].map(str::to_owned);
        [vec![text(&self.squid)], options.to_vec(), vec![text(&self.config)]].concat()
    }
}

/// Lets the death of awf kill this process. The kernel tells of later deaths only: an awf that died before this call is no
/// longer the parent.
fn tie_to(awf: i32) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("tie the proxy's life to awf's")?;
    ensure!(getppid().as_raw() == awf, "awf is gone");
    Ok(())
}

/// Stale shared memory of another user's Squid would be fatal at start (measured): this one sees none but its own.
fn hide_shared_memory() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC)
        .context("give the proxy its own mounts")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("keep the proxy's mounts to itself")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), flags, Some("size=16m,mode=1777"))
        .context("give the proxy its own /dev/shm")?;
    Ok(())
}

fn drop_privileges(spec: &Spec) -> Result<()> {
    prctl::set_no_new_privs().context("forbid the proxy new privileges")?;
    caps::clear(None, caps::CapSet::Ambient).context("drop ambient capabilities")?;
    caps::clear(None, caps::CapSet::Bounding).context("drop the capability bounding set")?;
    let (uid, gid) = (Uid::from_raw(spec.uid), Gid::from_raw(spec.gid));
    setgroups(&[gid]).context("drop supplementary groups")?;
    setresgid(gid, gid, gid).context("become the proxy's group")?;
    // Leaving uid 0 empties the permitted and effective sets (capabilities(7)).
    setresuid(uid, uid, uid).context("become the proxy's user")?;
    Ok(())
}
