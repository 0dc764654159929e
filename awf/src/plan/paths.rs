//! Where everything of a run lies.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cli::Settings;
use crate::host::daemon::Driver;
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
    /// Where the loader and the first process of a container meet.
    pub gate: PathBuf,
    /// A file that the loader has locked for its whole life.
    pub alive: PathBuf,
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
    /// Directory for the state of the agent's session.
    pub session: Option<PathBuf>,
    /// Where logs that were in the work directory go at the end.
    pub tmp: PathBuf,
}

impl Paths {
    /// Decides every path. `driver` makes the cgroups of containers, if there are any.
    pub fn new(
        id: &str,
        settings: &Settings,
        host: &Host,
        (hierarchy, driver): (&CgroupMount, Option<Driver>),
    ) -> Self {
        let run = PathBuf::from(RUNS).join(id);
        let [cgroup, agent_cgroup, proxy_cgroup] = cgroups(id, hierarchy, driver);
        let work = settings.work_dir.clone().unwrap_or_else(|| host.tmp.join(id));
        Self {
            pins: run.join("pins"),
            proxy: run.join("proxy"),
            scratch: PathBuf::from("/var/lib/awf").join(id),
            agent_cgroup,
            proxy_cgroup,
            cgroup,
            gate: run.join("gate"),
            alive: run.join("alive"),
            logs: settings.proxy_logs_dir.clone().unwrap_or_else(|| work.join("squid-logs")),
            logs_chosen: settings.proxy_logs_dir.is_some(),
            audit: settings.audit_dir.clone().unwrap_or_else(|| work.join("audit")),
            audit_chosen: settings.audit_dir.is_some(),
            session: settings.files.session_state.clone(),
            tmp: host.tmp.clone(),
            work_chosen: settings.work_dir.is_some(),
            work,
            run,
            id: id.to_owned(),
        }
    }
}

/// The cgroup of a run, the agent's and the proxy's. systemd takes slices only, whose names tell their place (systemd.slice(5)).
fn cgroups(id: &str, hierarchy: &CgroupMount, driver: Option<Driver>) -> [PathBuf; 3] {
    if driver == Some(Driver::Systemd) {
        let name = format!("awf-{}", id.trim_start_matches("awf-").replace('-', "_"));
        let run = hierarchy.mount_point.join("awf.slice").join(format!("{name}.slice"));
        let [agent, proxy] =
            ["agent", "proxy"].map(|side| run.join(format!("{name}-{side}.slice")));
        return [run, agent, proxy];
    }
    let run = hierarchy.base.join(id);
    let [agent, proxy] = ["agent", "proxy"].map(|side| run.join(side));
    [run, agent, proxy]
}
