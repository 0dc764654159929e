//! What the kernel must give: version, cgroups, programs, system call filter, namespaces, overlays.
//!
//! Tries it out where that takes root: a cgroup is made and removed, the programs are loaded and let go, namespaces are entered by
//! a thread that ends.

use std::fs;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, Error, anyhow};
use nix::sched::{CloneFlags, unshare};

use super::{Facts, Finding, expected};
use crate::enforce::{Cgroup, Contents, EnforceError, Object, Profile, Standing};
use crate::plan::PlanError;
use crate::policy::Policy;

/// The first kernel that everything was seen to work on.
const OLDEST: (u32, u32) = (5, 10);
/// What the system call filter needs of seccomp(2).
const ACTIONS: [&str; 3] = ["errno", "user_notif", "kill_process"];

pub(super) fn version(facts: &Facts) -> Finding {
    let finding = Finding::new("kernel", "the programs that enforce; Linux 5.10 or later");
    let kernel = &facts.host.kernel;
    let found = format!("Linux {}", kernel.release);
    if kernel.version >= OLDEST {
        return finding.pass(found);
    }
    let reason = format!("{found} is older than 5.10");
    let error = EnforceError::Program { program: "(all)", reason };
    finding.fail(error, "boot Linux 5.10 or later; 6.1 or later for profile full")
}

pub(super) fn cgroup(facts: &Facts) -> Finding {
    let finding = Finding::new("cgroup2", "the cgroups that the programs are attached to");
    let fix = "sudo mount -t cgroup2 none /sys/fs/cgroup/unified (make the directory first), or boot with \
               systemd.unified_cgroup_hierarchy=1";
    let Some(mount) = facts.host.cgroup2.as_ref().filter(|mount| mount.writable) else {
        return finding.fail(PlanError::NoCgroup2, fix);
    };
    let place = mount.mount_point.display();
    if !facts.is_root() {
        return finding.pass(format!("mounted at {place}"));
    }
    let trial = mount.base.join(format!("awf-doctor-{}", std::process::id()));
    match Cgroup::create(trial).map(|cgroup| cgroup.remove()) {
        Ok(Ok(())) => finding.pass(format!("at {place}, cgroups can be made")),
        Ok(Err(error)) => finding.warn(format!("a cgroup could not be removed: {error}"), fix),
        Err(error) => finding.fail(error, fix),
    }
}

/// Loads the programs, which says more about the kernel's configuration than any file, and lets go of them.
pub(super) fn programs(facts: &Facts) -> (Finding, Standing) {
    let finding = Finding::new("programs", "loading the eBPF programs that enforce");
    let standing = expected(facts);
    if !facts.is_root() {
        return (finding.unknown("only root can load programs"), standing);
    }
    match load(facts, &standing) {
        Ok(standing) => (finding.pass("the kernel loads all of them"), standing),
        Err(error) => {
            let fix = "use a kernel with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF, and in a container give it bpf(2): \
                       docker run --privileged, or a seccomp profile that allows it";
            (finding.fail(error, fix), standing)
        }
    }
}

fn load(facts: &Facts, standing: &Standing) -> Result<Standing, Error> {
    let host = &facts.host;
    let contents = Contents::of(&Policy::default(), &host.resolvers, &host.own_addresses)
        .for_kernel(host.kernel.version);
    let looking = standing.clone().look_apart().context("start to look at the kernel")?;
    // There is no such directory: then loading takes a few milliseconds longer, and nothing has to be made.
    let loading = Object::load_apart(contents, looking, PathBuf::from("/proc/self/fdinfo/none"));
    let loaded = loading.context("start the thread that loads the programs")?.join();
    let object = loaded.map_err(|_panic| anyhow!("the thread that loads the programs died"))??;
    Ok(object.standing().clone())
}

pub(super) fn profile(standing: &Standing) -> Finding {
    let finding = Finding::new("profile", "LSM programs as a second layer (--profile full)");
    match standing.profile {
        Profile::Full => finding.pass(standing.to_string()),
        Profile::Hardened => {
            let fix = "boot Linux 6.1 or later with bpf in the boot parameter lsm= (see /sys/kernel/security/lsm), and \
                       sudo mount -t securityfs none /sys/kernel/security";
            finding.warn(standing.to_string(), fix)
        }
    }
}

pub(super) fn filter() -> Finding {
    let finding = Finding::new("seccomp", "the filter of system calls");
    let path = "/proc/sys/kernel/seccomp/actions_avail";
    let fix = "use a kernel with CONFIG_SECCOMP_FILTER";
    match fs::read_to_string(path) {
        Ok(text) => {
            let has = |action: &&str| text.split_whitespace().any(|word| word == *action);
            let missing: Vec<&str> = ACTIONS.into_iter().filter(|action| !has(action)).collect();
            if missing.is_empty() {
                return finding.pass("filters can refuse, report and kill");
            }
            finding.fail(anyhow!("seccomp lacks {}", missing.join(", ")), fix)
        }
        Err(error) => finding.fail(Error::new(error).context(format!("read {path}")), fix),
    }
}

pub(super) fn namespaces(facts: &Facts) -> Finding {
    let finding = Finding::new("namespaces", "the sandbox's own network, files and processes");
    let fix = "give the machine or container namespaces: sudo sysctl user.max_net_namespaces=1000 (likewise mnt, pid, ipc, \
               uts), docker run --privileged";
    if !facts.is_root() {
        let missing = ["net", "mnt", "pid", "ipc", "uts"]
            .into_iter()
            .find(|kind| fs::symlink_metadata(format!("/proc/self/ns/{kind}")).is_err());
        return match missing {
            Some(kind) => finding.fail(anyhow!("the kernel has no {kind} namespaces"), fix),
            None => finding.unknown("the kernel has them; only root can try them"),
        };
    }
    let wanted = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    // They end with the thread.
    match thread::spawn(move || unshare(wanted)).join() {
        Ok(Ok(())) => finding.pass("all kinds can be made"),
        Ok(Err(errno)) => finding.fail(Error::new(errno).context("make namespaces"), fix),
        Err(_panic) => finding.unknown("the thread that tries them died"),
    }
}

pub(super) fn overlay(facts: &Facts) -> Finding {
    let finding = Finding::new("overlayfs", "the sandbox's view of /tmp and home directories");
    if facts.host.overlay {
        return finding.pass("the kernel offers it");
    }
    finding.warn("the kernel does not offer it now; it may be a module", "sudo modprobe overlay")
}
