//! Where everything of a run lies.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cli::Settings;
use crate::host::{CgroupMount, Host};
use crate::session::run_dir::RUNS;

/// Directories of a run; none exists yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// Id of the run.
    pub id: String,
    /// The run's own directory: lock, list of what it owns.
    pub run: PathBuf,
    /// bpffs with the pins.
    pub pins: PathBuf,
    /// Squid's configuration.
    pub proxy: PathBuf,
    /// Staging of the sandbox's root and work directories of its overlays; on the root file system, because an overlay's
    /// work directory must lie on the mount of what it shares.
    pub scratch: PathBuf,
    /// Parent of the run's cgroups.
    pub cgroup: PathBuf,
    /// The agent's cgroup.
    pub agent_cgroup: PathBuf,
    /// The proxy's cgroup.
    pub proxy_cgroup: PathBuf,
    /// Directory of the run as the user knows it.
    pub work: PathBuf,
    /// Whether it was the user's choice; then it may hold things that are not awf's.
    pub work_chosen: bool,
    /// Squid's logs and `egress.jsonl`.
    pub logs: PathBuf,
    /// Whether the logs' place was the user's choice; if not, they are moved beside the work directory at the end.
    pub logs_chosen: bool,
    /// Audit files.
    pub audit: PathBuf,
    /// The same for the audit files.
    pub audit_chosen: bool,
    /// Where logs that were in the work directory go at the end.
    pub tmp: PathBuf,
}

impl Paths {
    /// Decides every path.
    pub fn new(id: &str, settings: &Settings, host: &Host, cgroup: &CgroupMount) -> Self {
        let run = PathBuf::from(RUNS).join(id);
        let cgroup = cgroup.base.join(id);
        let work = settings.work_dir.clone().unwrap_or_else(|| host.tmp.join(id));
        Self {
            pins: run.join("pins"),
            proxy: run.join("proxy"),
            scratch: PathBuf::from("/var/lib/awf").join(id),
            agent_cgroup: cgroup.join("agent"),
            proxy_cgroup: cgroup.join("proxy"),
            cgroup,
            logs: settings.proxy_logs_dir.clone().unwrap_or_else(|| work.join("squid-logs")),
            logs_chosen: settings.proxy_logs_dir.is_some(),
            audit: settings.audit_dir.clone().unwrap_or_else(|| work.join("audit")),
            audit_chosen: settings.audit_dir.is_some(),
            tmp: host.tmp.clone(),
            work_chosen: settings.work_dir.is_some(),
            work,
            run,
            id: id.to_owned(),
        }
    }
}
