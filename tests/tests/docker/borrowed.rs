//! A lab of a test's own, for faults of the daemon: the tier's daemon serves other tests at the same time.

use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use xtask::lab::Lab;

use crate::daemon;

/// A lab, taken down when dropped.
pub(crate) struct Borrowed(Lab);

impl Borrowed {
    /// One with a daemon that has these images of the tier's.
    pub(crate) fn with(images: &[&str]) -> Self {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("docker-{}-{number}", std::process::id());
        let lab = Lab::up(&name).expect("a lab comes up");
        let borrowed = Self(lab);
        let own = borrowed.0.docker().expect("its daemon starts");
        let mut save = daemon().client().expect("docker is installed");
        let mut save =
            save.arg("save").args(images).stdout(Stdio::piped()).spawn().expect("it runs");
        let mut load = own.client().expect("docker is installed");
        let archive = save.stdout.take().expect("a pipe");
        let loaded =
            load.arg("load").stdin(archive).stdout(Stdio::null()).status().expect("it runs");
        assert!(loaded.success() && save.wait().expect("it ends").success());
        borrowed
    }

    pub(crate) fn lab(&self) -> &Lab {
        &self.0
    }

    /// Sends a signal to dockerd and nothing else.
    pub(crate) fn signal_dockerd(&self, signal: Signal) {
        let pid = fs::read_to_string(self.0.state().join("docker.pid")).expect("its pid file");
        let pid = Pid::from_raw(pid.trim().parse().expect("a process id"));
        kill(pid, signal).expect("dockerd runs");
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.0.down().expect("the lab ends");
    }
}
