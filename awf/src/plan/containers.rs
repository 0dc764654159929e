//! The containers of a run, as the daemon is asked for them.
//!
//! Takes the decided sandbox and the facts of the daemon, gives two requests. Pure. The container of the agent is a place
//! with a cgroup, a name and an end; what the command sees of the machine is built in it by `awf init`, from the same
//! [`AgentSpec`](crate::runtime::native::AgentSpec) as without Docker, so nothing of the mounts is said here.
//! Must never name a fixed container, network, port or file: any number of runs share a daemon.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountType, ResourcesUlimits,
};
use serde::Serialize;

use super::limits::Limits;
use super::paths::Paths;
use super::seccomp::{Call, Calls, GROUPS, Verdict};
use crate::cli::{Images, RuntimeChoice, Settings, Supply};
use crate::host::Host;
use crate::host::daemon::{Daemon, DaemonError, Driver};
use crate::proxy::child;
use crate::runtime::native::Resource;

/// Label with the id of the run, on everything that awf makes in a daemon.
pub const RUN_LABEL: &str = "awf.run";
/// Label that tells the agent's container from the proxy's.
pub const ROLE_LABEL: &str = "awf.role";
/// Where Squid lies in its image.
pub const SQUID: &str = "/usr/sbin/squid";
/// awf itself in either container: the very file that runs outside, so that both ends speak the same version.
const PROGRAM: &str = "/.awf/awf";
/// The directory in which the agent's first process listens for the loader.
const GATE: &str = "/.awf/gate";
/// Held by the loader for its whole life.
const ALIVE: &str = "/.awf/alive";

/// What `awf init` needs to build the sandbox. It gives all of it up before the command starts.
const INIT_CAPABILITIES: [&str; 13] = [
    // Namespaces and mounts.
    "SYS_ADMIN",
    "SYS_CHROOT",
    // The command's identity, and the translation of owners (user_namespaces(7) wants SETFCAP to map root).
    "SETUID",
    "SETGID",
    "SETPCAP",
    "SETFCAP",
    // Overlays act on the host's files with the rights of whoever mounted them.
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "MKNOD",
    // To end the command.
    "KILL",
];

/// The containers of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Containers {
    /// The daemon that runs them.
    pub daemon: Daemon,
    /// For the command.
    pub agent: Container,
    /// For Squid.
    pub proxy: Container,
    /// How a missing image is obtained, and whether a registry has it.
    pub supply: Supply,
    /// The socket of the gate, as the loader sees it.
    pub gate: PathBuf,
    /// Whether they stay after the run.
    pub keep: bool,
}

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub image: String,
    /// Whether a registry can be asked for the image.
    pub has_registry: bool,
    /// Whether awf has the build file of it.
    pub is_own: bool,
    /// The request.
    pub body: ContainerCreateBody,
}

/// What both are made from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The run's directories.
    pub paths: &'a Paths,
    /// Limits of the agent.
    pub limits: &'a Limits,
    /// Where the cgroup2 hierarchy is mounted.
    pub hierarchy: &'a Path,
    /// This very program.
    pub program: &'a Path,
    /// What Squid's process needs to know.
    pub squid: &'a child::Spec,
    /// Whether they stay after the run.
    pub keep: bool,
}

impl Containers {
    /// Decides both.
    pub fn new(daemon: Daemon, images: &Images, facts: &Facts<'_>) -> Self {
        let container = |role: &str, image: String, body: ContainerCreateBody| Container {
            name: format!("awf-{role}-{}", facts.paths.id.trim_start_matches("awf-")),
            has_registry: images.has_registry(&image),
            is_own: images.is_own(&image),
            body: ContainerCreateBody {
                image: Some(image.clone()),
                labels: Some(labels(&facts.paths.id, role)),
                ..body
            },
            image,
        };
        let driver = daemon.driver;
        Self {
            agent: container("agent", images.agent_reference(), agent(facts, driver)),
            proxy: container("squid", images.reference("squid"), proxy(facts, driver)),
            daemon,
            supply: images.supply,
            gate: facts.paths.gate.join("socket"),
            keep: facts.keep,
        }
    }
}

impl Containers {
    /// Lets them outlive their processes until the run removes them, so that their end can be looked at.
    pub fn stay_until_removed(&mut self) {
        for container in [&mut self.agent, &mut self.proxy] {
            if let Some(host) = &mut container.body.host_config {
                host.auto_remove = Some(false);
            }
        }
    }
}

/// The daemon that the run uses, if any, and the line that says so.
pub fn choose(settings: &Settings, host: &Host) -> Result<(Option<Daemon>, String), DaemonError> {
    let native = |why: &str| (None, format!("native ({why})"));
    let docker = |daemon: &Daemon| (Some(daemon.clone()), format!("docker ({})", daemon.address));
    Ok(match (settings.runtime, &host.daemon) {
        (RuntimeChoice::Native, _) => native("as asked for"),
        (RuntimeChoice::Auto, Some(Ok(daemon))) => match missing_image(&settings.images, daemon) {
            Some(image) => native(&format!("the Docker daemon has no image {image}")),
            None => docker(daemon),
        },
        (RuntimeChoice::Auto, Some(Err(error))) => native(&error.to_string()),
        (RuntimeChoice::Auto | RuntimeChoice::Docker, None) => native("nobody asked"),
        (RuntimeChoice::Docker, Some(daemon)) => docker(daemon.as_ref().map_err(Clone::clone)?),
    })
}

/// An image that is neither there nor to be had, which is no reason to fail where the other runtime does as well.
fn missing_image(images: &Images, daemon: &Daemon) -> Option<String> {
    let obtainable = |image: &String| match images.supply {
        Supply::Build => images.is_own(image) || images.has_registry(image),
        Supply::Pull => images.has_registry(image),
        Supply::Present => false,
    };
    images.wanted().into_iter().find(|image| !daemon.images.contains(image) && !obtainable(image))
}

fn labels(run: &str, role: &str) -> HashMap<String, String> {
    [(RUN_LABEL, run), (ROLE_LABEL, role)]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// What both have in common: nothing of the image is run or written, and nothing is logged by the daemon.
fn common(facts: &Facts<'_>, cgroup: &Path, driver: Driver, mounts: Vec<Mount>) -> HostConfig {
    HostConfig {
        cgroup_parent: Some(cgroup_parent(cgroup, facts.hierarchy, driver)),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        ipc_mode: Some("private".to_owned()),
        // A daemon may give each container another range of users: the files of the run are this machine's.
        userns_mode: Some("host".to_owned()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        readonly_rootfs: Some(true),
        privileged: Some(false),
        auto_remove: Some(!facts.keep),
        init: Some(false),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        mounts: Some(mounts),
        ..HostConfig::default()
    }
}

fn agent(facts: &Facts<'_>, driver: Driver) -> ContainerCreateBody {
    let mounts = vec![
        bind(facts.program, PROGRAM, true),
        bind(&facts.paths.alive, ALIVE, true),
        bind(&facts.paths.gate, GATE, false),
    ];
    let security = [
        "no-new-privileges".to_owned(),
        format!("seccomp={}", seccomp()),
        // Both would refuse the mounts of which the command's root is made.
        "apparmor=unconfined".to_owned(),
        "label=disable".to_owned(),
    ];
    let host = HostConfig {
        network_mode: Some("none".to_owned()),
        cap_add: Some(INIT_CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(security.to_vec()),
        ulimits: Some(ulimits(facts.limits)),
        ..limited(common(facts, &facts.paths.agent_cgroup, driver, mounts), facts.limits)
    };
    ContainerCreateBody {
        entrypoint: Some(vec![PROGRAM.to_owned()]),
        cmd: Some(vec!["init".to_owned(), format!("{GATE}/socket"), ALIVE.to_owned()]),
        user: Some("0:0".to_owned()),
        env: Some(Vec::new()),
        working_dir: Some("/".to_owned()),
        // As the first process of its namespace init hears no other; its end is the sandbox's.
        stop_signal: Some("SIGKILL".to_owned()),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// The same Squid as without Docker, with the same files at the same places, on the machine's own network: its ports are on
/// loopback, and whoever does not know the run's key is not served.
fn proxy(facts: &Facts<'_>, driver: Driver) -> ContainerCreateBody {
    let Facts { paths, squid, .. } = *facts;
    let mounts = vec![
        bind(facts.program, PROGRAM, true),
        bind(&paths.alive, ALIVE, true),
        bind(&paths.proxy, &paths.proxy.to_string_lossy(), true),
        bind(&paths.logs, &paths.logs.to_string_lossy(), false),
    ];
    let host = HostConfig {
        network_mode: Some("host".to_owned()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        ..common(facts, &paths.proxy_cgroup, driver, mounts)
    };
    let messages = paths.logs.join("cache.log");
    let hold = ["hold".to_owned(), ALIVE.to_owned(), messages.to_string_lossy().into_owned()];
    ContainerCreateBody {
        entrypoint: Some(vec![PROGRAM.to_owned()]),
        cmd: Some(hold.into_iter().chain(squid.arguments()).collect()),
        user: Some(format!("{}:{}", squid.uid, squid.gid)),
        env: Some(vec!["PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned()]),
        working_dir: Some("/".to_owned()),
        stop_signal: Some("SIGKILL".to_owned()),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

fn bind(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

/// As the driver wants it: a path from the hierarchy's root, or the name of a slice, which tells its place.
fn cgroup_parent(cgroup: &Path, hierarchy: &Path, driver: Driver) -> String {
    match driver {
        Driver::Cgroupfs => Path::new("/")
            .join(cgroup.strip_prefix(hierarchy).unwrap_or(cgroup))
            .display()
            .to_string(),
        Driver::Systemd => cgroup.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    }
}

/// The limits of the agent's cgroup once more: systemd writes those of a slice over when it takes it over.
fn limited(mut host: HostConfig, limits: &Limits) -> HostConfig {
    for (file, value) in &limits.files {
        let number = || value.parse().ok();
        match *file {
            "memory.max" => {
                host.memory = number();
                host.memory_swap = number();
            }
            "pids.max" => host.pids_limit = number(),
            "cpu.max" => {
                let mut parts = value.split(' ').map(|part| part.parse().ok());
                host.cpu_quota = parts.next().flatten();
                host.cpu_period = parts.next().flatten();
            }
            _ => {}
        }
    }
    host
}

/// The caller's limit of open files, which the daemon's own may be below.
fn ulimits(limits: &Limits) -> Vec<ResourcesUlimits> {
    let files = limits.rlimits.iter().filter(|limit| limit.resource == Resource::OpenFiles);
    files
        .map(|limit| ResourcesUlimits {
            name: Some("nofile".to_owned()),
            soft: i64::try_from(limit.soft).ok(),
            hard: i64::try_from(limit.hard).ok(),
        })
        .collect()
}

/// Names of the groups of rules that `awf init` must still be able to break.
const NEEDED_BY_INIT: [&str; 3] = ["conventions", "namespaces", "files and mounts"];

/// The filter of the container, for whoever executes something in it: the rules that hold for everybody. Those that put an
/// attempt on record are left to the command's own filter, because the stricter answer of two filters wins.
fn seccomp() -> String {
    let mut names: Vec<&str> = Vec::new();
    for group in GROUPS.iter().filter(|group| !NEEDED_BY_INIT.contains(&group.name)) {
        for rule in group.rules.iter().filter(|rule| rule.when.is_empty()) {
            if let (Verdict::Refuse(_), Calls::Named(calls)) = (rule.verdict, &rule.calls) {
                names.extend(calls.iter().map(Call::name));
            }
        }
    }
    names.retain(|name| !["sethostname", "seccomp"].contains(name));
    serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM }],
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_a_path_or_the_name_of_a_slice() {
        let check = |cgroup: &str, driver, expected: &str| {
            let hierarchy = Path::new("/sys/fs/cgroup/unified");
            assert_eq!(cgroup_parent(&hierarchy.join(cgroup), hierarchy, driver), expected);
        };
        check("awf-1/agent", Driver::Cgroupfs, "/awf-1/agent");
        check("awf.slice/awf-1.slice/awf-1-agent.slice", Driver::Systemd, "awf-1-agent.slice");
    }

    #[test]
    fn the_containers_filter_keeps_from_init_nothing_that_it_needs() {
        let filter = seccomp();
        for needed in ["mount", "unshare", "setns", "pivot_root", "seccomp", "sethostname", "clone"]
        {
            assert!(!filter.contains(&format!("\"{needed}\"")), "{needed}: {filter}");
        }
        for refused in ["kexec_load", "init_module", "ptrace", "keyctl", "perf_event_open"] {
            assert!(filter.contains(&format!("\"{refused}\"")), "{refused}: {filter}");
        }
        // On record only if the command's own filter is the one that answers.
        assert!(!filter.contains("io_uring_setup") && !filter.contains("\"bpf\""));
    }
}
