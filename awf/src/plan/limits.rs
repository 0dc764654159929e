//! What the agent may use of the machine: cgroup controllers where they exist, else limits of each process.

use serde::Serialize;

use crate::cli::Settings;
use crate::cli::settings::{DEFAULT_MEMORY_BYTES, DEFAULT_PIDS};
use crate::host::CgroupMount;
use crate::runtime::native::{Resource, Rlimit};

/// Limits of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Controllers the run's cgroup must give to the agent's.
    pub controllers: Vec<&'static str>,
    /// Control files of the agent's cgroup and what is written to them.
    pub files: Vec<(&'static str, String)>,
    /// Limits of each process: the caller's own, and those for which there is no controller.
    pub rlimits: Vec<Rlimit>,
    /// What the user should know.
    pub notices: Vec<String>,
}

/// Length of the period in which a processor quota counts: the kernel's default (`cpu.max`).
const CPU_PERIOD_US: u64 = 100_000;

/// The kernel's own ceiling of process ids (`PID_MAX_LIMIT`, 64-bit): a larger limit is none, and `pids.max` refuses it.
const PIDS_MAX: u64 = 4_194_304;

impl Limits {
    /// Chooses for each limit the best means this machine has.
    pub fn of(settings: &Settings, cgroup: &CgroupMount, open_files: (u64, u64)) -> Self {
        let mut limits = Self::default();
        // awf raises its own; programs that use select(2) misbehave under a higher one than their caller's.
        let (soft, hard) = open_files;
        limits.rlimits.push(Rlimit { resource: Resource::OpenFiles, soft, hard });
        let has = |controller: &str| cgroup.controllers.iter().any(|name| name == controller);
        let (memory, pids) = (settings.memory_bytes, settings.pids.min(PIDS_MAX));
        if has("memory") {
            limits.controllers.push("memory");
            limits.files.push(("memory.max", memory.to_string()));
            // As in the original: the limit is of memory, not of memory plus swap.
            limits.files.push(("memory.swap.max", "0".to_owned()));
        } else {
            // Not the address space: runtimes like node and Java reserve far more than they use.
            limits.each_process(
                Resource::Data,
                memory,
                (memory != DEFAULT_MEMORY_BYTES, "--memory-limit"),
            );
        }
        if has("pids") {
            limits.controllers.push("pids");
            limits.files.push(("pids.max", pids.to_string()));
        } else {
            limits.each_process(Resource::Processes, pids, (pids != DEFAULT_PIDS, "--pids-limit"));
        }
        if let Some(cpus) = settings.cpus {
            if has("cpu") {
                let quota = u64::from(cpus.millicpus) * CPU_PERIOD_US / 1000;
                limits.controllers.push("cpu");
                limits.files.push(("cpu.max", format!("{quota} {CPU_PERIOD_US}")));
            } else {
                limits.notices.push(
                    "--cpu-limit has no effect: this machine's cgroup v2 hierarchy has no cpu controller".to_owned(),
                );
            }
        }
        limits
    }

    /// Limits each process, and says so if the user asked for the limit.
    fn each_process(&mut self, resource: Resource, value: u64, (asked, flag): (bool, &str)) {
        self.rlimits.push(Rlimit { resource, soft: value, hard: value });
        if !asked {
            return;
        }
        self.notices.push(format!(
            "{flag} holds for each process (user, for the number of processes) and not for all together: the cgroup v2 \
             hierarchy lacks the controller"
        ));
    }
}
