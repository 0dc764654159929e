//! The parts of the root that the kernel fills: `/proc`, `/sys`, `/dev` and the cgroup tree.
//!
//! All are fresh instances that belong to the sandbox's own namespaces; of the host's `/dev` only
//! the harmless nodes are bound. Must never bind a directory of the host's `/proc`, `/sys`
//! or `/dev`: the original's recursive binds showed `/sys/fs/bpf` and the host's terminals.

use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::mount::{KERNEL, Mount, PLAIN, READ_ONLY};
use super::root::{Root, Shape};
use super::sys::attr;

/// Nodes of `/dev` that work without any state of the host.
const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Where programs expect their descriptors.
const DESCRIPTORS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Group `tty`: the number 5 in every distribution's base files.
const TTY_GROUP: &[u8] = b"5";

/// Bytes of `/dev/shm`, as in the original.
const SHM_BYTES: u64 = 64 << 20;

/// Settings of the whole machine; root-only already, read-only as a second fence.
const PROC_READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What tells about the machine, its memory or other users; the list runc applies, and keys.
const HIDDEN: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel/debug",
];

impl Root<'_> {
    /// A procfs of the sandbox's pid namespace; of other users' processes nothing is visible.
    pub(super) fn proc(&mut self) -> Result<()> {
        let proc = Mount::new(c"proc", &[(c"hidepid", b"2")], KERNEL)?;
        self.attach(&proc, Path::new("/proc"))?;
        for path in PROC_READ_ONLY {
            let Ok(place) = self.find(Path::new(path)) else { continue };
            Mount::of_fd(place.as_fd(), KERNEL | READ_ONLY)?
                .attach(place.as_fd())
                .with_context(|| format!("protect {path}"))?;
        }
        self.hide_all("/proc")
    }

    /// A sysfs of the network namespace: only its interfaces are in it.
    pub(super) fn sysfs(&mut self) -> Result<()> {
        let sysfs = Mount::new(c"sysfs", &[], KERNEL | READ_ONLY)?;
        self.attach(&sysfs, Path::new("/sys"))?;
        self.hide_all("/sys")
    }

    /// The agent's own cgroup and what is below; runtimes read their limits there.
    pub(super) fn cgroup2(&mut self) -> Result<()> {
        let cgroup = Mount::new(c"cgroup2", &[], KERNEL | READ_ONLY)?;
        self.attach(&cgroup, Path::new("/sys/fs/cgroup"))
    }

    pub(super) fn devices(&mut self) -> Result<()> {
        self.own_tmpfs(Path::new("/dev"), 0o755, (0, 0), Some(1 << 20))?;
        for node in NODES {
            let path = Path::new("/dev").join(node);
            let device = Mount::of(&path, attr::NOSUID | attr::NOEXEC)
                .with_context(|| format!("copy /dev/{node}"))?;
            let place = self.place(&path, Shape::File)?;
            device.attach(place.as_fd()).with_context(|| format!("attach /dev/{node}"))?;
        }
        let terminals = Mount::new(
            c"devpts",
            &[
                (c"newinstance", b""),
                (c"ptmxmode", b"0666"),
                (c"mode", b"0620"),
                (c"gid", TTY_GROUP),
            ],
            attr::NOSUID | attr::NOEXEC,
        )
        .context("create a devpts")?;
        self.attach(&terminals, Path::new("/dev/pts"))?;
        let shm = Mount::tmpfs(0o1777, (0, 0), Some(SHM_BYTES), PLAIN | attr::NOEXEC)?;
        self.attach(&shm, Path::new("/dev/shm"))?;
        for (link, target) in DESCRIPTORS {
            self.symlink(Path::new(link), Path::new(target))?;
        }
        Ok(())
    }

    fn hide_all(&self, below: &str) -> Result<()> {
        for path in HIDDEN.into_iter().filter(|path| path.starts_with(below)) {
            self.hide(Path::new(path)).with_context(|| format!("hide {path}"))?;
        }
        Ok(())
    }
}
