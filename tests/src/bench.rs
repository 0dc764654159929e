//! Cgroups of a test's own with the kernel programs on them, and nothing else of awf.
//!
//! Gives [`Bench`], and what the programs told of refusals. Owns a directory of the hierarchy and a bpffs in a mount
//! namespace of the test's thread; both go when it is dropped.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use awf::enforce::{Cgroup, Links, Object};
use awf::host::{Caller, Host};
use awf_common::event::Refusal;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::Scratch;

/// The tests look at maps of the whole process and listen on fixed addresses: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Cgroups and a bpffs, removed when dropped.
#[derive(Debug)]
pub struct Bench {
    /// The agent's cgroup, until a test takes it.
    pub agent: Option<Cgroup>,
    proxy: Option<Cgroup>,
    /// The directory of both.
    pub parent: PathBuf,
    /// The bpffs.
    pub pins: PathBuf,
    _scratch: Scratch,
    _alone: MutexGuard<'static, ()>,
}

impl Bench {
    /// Makes everything; waits until no other test of the process has one.
    pub fn new(name: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // Mounts of this thread end with it. Its children inherit them.
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace can be made");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none).expect("it is ours");
        let scratch = Scratch::new(name);
        let pins = scratch.path().to_owned();
        mount(Some("bpf"), &pins, Some("bpf"), MsFlags::empty(), none).expect("a bpffs");
        let host = Host::inspect(Caller::inspect().expect("a caller")).expect("a host");
        let hierarchy = host.cgroup2.expect("this tier needs a mounted cgroup2 hierarchy").base;
        let parent = hierarchy.join(format!("awf-test-{name}-{}", std::process::id()));
        fs::create_dir(&parent).expect("a cgroup");
        let child = |name| Some(Cgroup::create(parent.join(name)).expect("a cgroup"));
        let (agent, proxy) = (child("agent"), child("proxy"));
        Self { agent, proxy, parent, pins, _scratch: scratch, _alone: alone }
    }

    /// The agent's cgroup.
    pub fn agent(&self) -> &Cgroup {
        self.agent.as_ref().expect("nobody took it")
    }

    /// The proxy's cgroup.
    pub fn proxy(&self) -> &Cgroup {
        self.proxy.as_ref().expect("nobody takes it")
    }

    /// Attaches the programs, and checks that they govern the cgroups.
    pub fn attach(&self, object: &Object) -> Links {
        Links::attach(object, self.agent(), self.proxy(), &self.pins).expect("the programs attach")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for cgroup in [self.agent.take(), self.proxy.take()].into_iter().flatten() {
            drop(cgroup.remove());
        }
        drop(awf::enforce::cgroup::remove(&self.parent));
        if let Err(error) = nix::mount::umount(&self.pins) {
            eprintln!("the test's bpffs stays: {error}");
        }
    }
}

/// Reads the ring until it is empty.
pub fn drain(object: &mut Object) -> Vec<Refusal> {
    let mut ring = object.take_refusals().expect("the ring");
    let mut refusals = Vec::new();
    while let Some(item) = ring.next() {
        refusals.push(Refusal::from_bytes(&item).expect("a refusal"));
    }
    refusals
}

/// The name of the task that was refused.
pub fn comm(refusal: &Refusal) -> String {
    String::from_utf8_lossy(&refusal.process.comm).trim_end_matches('\0').to_owned()
}
