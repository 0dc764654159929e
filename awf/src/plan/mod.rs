//! Step 4 of 9: everything to be done, as plain data. Takes settings, facts and a draw of luck, gives a [`Plan`].
//!
//! Owns: the decisions. After this nothing consults the settings again, and `awf plan` prints exactly what a run does.
//! Must never: change anything on the machine. Before: policy. After: enforce.

pub mod addresses;
pub mod api_proxy;
pub mod containers;
pub mod environment;
mod explain;
pub mod export;
pub mod inspection;
pub mod limits;
pub mod mounts;
mod naming;
pub mod one_shot;
pub mod outward;
pub mod paths;
pub mod preflight;
pub mod seccomp;
pub mod services;
mod terms;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{self, Settings, UsageError};
use crate::enforce::contents::TooManyRanges;
use crate::enforce::{Contents, Standing};
use crate::host::{CgroupMount, Daemon, DaemonError, Host};
use crate::observe::summary::Terms;
use crate::policy::{EntryError, List, Policy, Services};
use crate::proxy::{Ports, child, config};
use crate::runtime::native::{AgentSpec, Text, Window, look};
use api_proxy::ApiProxyPlan;
use containers::Containers;
use export::Export;
use inspection::InspectionPlan;
use limits::Limits;
use mounts::{Custom, Facts};
use naming::{HOSTNAME, hosts_file, resolv_conf};
use outward::Outward;
use paths::Paths;
use services::ServiceError;

/// What the user is told at the start and at the end of a run in audit mode.
pub const AUDIT_MODE: &str = "AUDIT MODE: this run is not confined to the allowed domains; it can reach every name of the internet \
                              that is not blocked, on ports 80 and 443, and all of it is on record";
const AUDIT_MODE_BEHIND_PROXY: &str = "--audit-mode with --upstream-proxy: the proxy resolves the names, so a name that leads to an \
                                       address of its own network is not refused";

/// What a run draws by luck.
#[derive(Clone, Debug)]
pub struct Draw {
    /// Id of the run, unique on this machine.
    pub id: String,
    /// What Squid demands of every connection: 32 hexadecimal digits.
    pub key: String,
    /// Squid's ports.
    pub ports: Ports,
}

/// A run, decided.
#[derive(Debug)]
pub struct Plan {
    /// Id of the run.
    pub id: String,
    /// What may leave.
    pub policy: Policy,
    /// What is opened of this machine and of containers.
    pub services: Services,
    /// This machine's IPv4 addresses, where its services may listen.
    pub own_addresses: Vec<Ipv4Addr>,
    /// The allow list as the user wrote it, for the report.
    pub allowed: Vec<String>,
    /// What the API proxy serves.
    pub api: ApiProxyPlan,
    /// What is looked into.
    pub inspection: InspectionPlan,
    /// How Squid gets out.
    pub outward: Outward,
    /// Where the record goes when the run is over.
    pub export: Option<Export>,
    /// What the kernel is told.
    pub contents: Contents,
    /// The profile this machine should give.
    pub standing: Standing,
    /// The profile it must give.
    pub profile: cli::ProfileChoice,
    /// Squid's configuration and the files it names.
    pub squid: config::Rendered,
    /// How Squid is started.
    pub squid_child: child::Spec,
    /// Squid's ports.
    pub ports: Ports,
    /// What Squid demands of every connection.
    pub key: String,
    /// The sandbox.
    pub agent: AgentSpec,
    /// The containers it runs in; without them, it is made by awf alone.
    pub containers: Option<Containers>,
    /// What the sandbox is made with and why, in one line.
    pub runtime: String,
    /// Limits of the agent's cgroup.
    pub limits: Limits,
    /// Where everything lies.
    pub paths: Paths,
    /// When the command is ended.
    pub timeout: Option<Duration>,
    /// Whether files stay in place after the run.
    pub keep: bool,
    /// Owner of what the run leaves.
    pub owner: (u32, u32),
    /// What the user is told once.
    pub notices: Vec<String>,
    /// How the record is kept.
    pub record: cli::RecordOptions,
    /// What its summary says of the terms, as far as it is known before the run.
    pub terms: Terms,
    /// Step of the workflow that calls awf.
    pub step: Option<String>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The domain lists hold entries that cannot be meant.
    #[error("{}", .0.join("\n"))]
    Domains(Vec<String>),
    /// Another option makes no sense on this machine.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// A path or a list cannot be written in Squid's configuration.
    #[error(transparent)]
    Proxy(#[from] config::SpecError),
    /// Asked for a runtime that this machine does not have.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// A service cannot be opened.
    #[error(transparent)]
    Services(#[from] ServiceError),
    /// Too many ports are opened.
    #[error(transparent)]
    Ports(#[from] TooManyRanges),
    /// No cgroup2.
    #[error(
        "no writable cgroup v2 hierarchy: mount one (mount -t cgroup2 none /sys/fs/cgroup/unified) or boot with \
         systemd.unified_cgroup_hierarchy=1"
    )]
    NoCgroup2,
    /// No bash.
    #[error(
        "/bin/bash is missing, which runs the command: install it (Debian: apt-get install bash, Alpine: apk add bash); awf \
         itself needs neither glibc nor capsh"
    )]
    NoBash,
    /// No Squid.
    #[error(
        "Squid is not installed: apt-get install squid (or the like); awf starts one of its own for each run"
    )]
    SquidMissing,
}

impl Plan {
    /// Decides everything.
    pub fn make(settings: &Settings, host: &Host, draw: &Draw) -> Result<Self, PlanError> {
        let (daemon, runtime) = containers::choose(settings, host)?;
        let allowed = entries(&settings.allow);
        let api = ApiProxyPlan::decide(settings, host, &draw.id);
        let allow = [&*allowed, &*api.entries()].concat();
        let (policy, warnings) = policy(settings, &allow)?;
        let cgroup = required(host)?;
        let driver = daemon.as_ref().map(|daemon| daemon.driver);
        let paths = Paths::new(&draw.id, settings, host, (cgroup, driver));
        let squid_child = squid_child(daemon.as_ref(), host, &paths)?;
        let outward = Outward::decide(settings, host, &draw.id)?;
        // Also without a credential: then it says what is missing.
        let (services, openness) = services::services(settings, host, &policy, true)?;
        let limits = Limits::of(settings, cgroup, host.open_files);
        let inspection = InspectionPlan::decide(settings, host, (&policy, &api), &paths)?;
        let (agent, mut notices) =
            agent(settings, host, (&services, &api, &inspection), (&paths, &limits))?;
        let known = host.notices.iter().chain(&settings.notices).chain(&warnings);
        notices.splice(0..0, known.chain(&openness).chain(&api.notices).cloned());
        notices.extend(limits.notices.iter().cloned());
        let is_docker = daemon.is_some();
        let containers = daemon.map(|daemon| {
            let facts = containers::Facts {
                paths: &paths,
                limits: &limits,
                hierarchy: &cgroup.mount_point,
                program: &host.program,
                squid: &squid_child,
                keep: settings.keep,
            };
            Containers::new(daemon, &settings.images, &facts)
        });
        Ok(Self {
            containers,
            runtime,
            contents: contents(host, &policy, &outward, &services)?,
            standing: Standing::expected(settings.profile, host),
            profile: settings.profile,
            squid: render(&policy, draw, &outward, &paths)?,
            squid_child,
            terms: terms::of(host, is_docker, &policy),
            export: Export::decide(settings, host, &policy)?,
            policy,
            services,
            own_addresses: host.own_addresses.iter().filter_map(v4).collect(),
            allowed,
            api,
            inspection,
            outward,
            agent,
            limits,
            ports: draw.ports,
            key: draw.key.clone(),
            timeout: settings.timeout,
            keep: settings.keep,
            owner: (host.caller.uid, host.caller.gid),
            notices,
            record: settings.record.clone(),
            step: terms::step(&host.caller.env),
            paths,
            id: draw.id.clone(),
        })
    }
}

/// What the lists mean, `allow` with what awf adds to it, and what the user should know of them.
pub fn policy(settings: &Settings, allow: &[String]) -> Result<(Policy, Vec<String>), PlanError> {
    let (policy, mut warnings) =
        Policy::resolve(allow, &entries(&settings.block)).map_err(|errors| {
            PlanError::Domains(errors.iter().map(|error| located(error, settings)).collect())
        })?;
    if settings.audit_mode {
        warnings.push(AUDIT_MODE.to_owned());
        if settings.upstream.is_some() {
            warnings.push(AUDIT_MODE_BEHIND_PROXY.to_owned());
        }
    }
    Ok((policy.in_audit_mode(settings.audit_mode), warnings))
}

/// Domain entries as the policy takes them.
pub fn entries(list: &[cli::DomainEntry]) -> Vec<String> {
    list.iter().map(|entry| entry.text.clone()).collect()
}

/// What the kernel is told.
fn contents(
    host: &Host,
    policy: &Policy,
    outward: &Outward,
    services: &Services,
) -> Result<Contents, TooManyRanges> {
    let contents = Contents::of(policy, &outward.resolvers, &host.own_addresses)
        .through(&outward.parents, !outward.direct.is_empty());
    Ok(contents.opening(services)?.for_kernel(host.kernel.version))
}

/// What every run needs of the machine: a hierarchy for its cgroups, and a shell.
fn required(host: &Host) -> Result<&CgroupMount, PlanError> {
    if !host.bash {
        return Err(PlanError::NoBash);
    }
    host.cgroup2.as_ref().filter(|mount| mount.writable).ok_or(PlanError::NoCgroup2)
}

fn squid_child(
    daemon: Option<&Daemon>,
    host: &Host,
    paths: &Paths,
) -> Result<child::Spec, PlanError> {
    let in_image = |_daemon| Some(PathBuf::from(containers::SQUID));
    let squid = daemon.map_or_else(|| host.squid.clone(), in_image);
    Ok(child::Spec {
        squid: squid.ok_or(PlanError::SquidMissing)?,
        cgroup_procs: paths.proxy_cgroup.join("cgroup.procs"),
        uid: host.proxy_account.0,
        gid: host.proxy_account.1,
        config: paths.proxy.join("squid.conf"),
        // Squid takes letters and digits only.
        service: paths.id.chars().filter(char::is_ascii_alphanumeric).collect(),
    })
}

fn v4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

/// An error of the domain lists, with the place where the entry was written.
fn located(error: &EntryError, settings: &Settings) -> String {
    let list = match error.list {
        List::Allow => &settings.allow,
        List::Block => &settings.block,
    };
    let place = list.iter().find(|entry| entry.text.trim() == error.entry);
    place.map_or_else(|| error.to_string(), |entry| format!("{}: {error}", entry.origin))
}

fn render(
    policy: &Policy,
    draw: &Draw,
    outward: &Outward,
    paths: &Paths,
) -> Result<config::Rendered, config::SpecError> {
    config::render(&config::Spec {
        policy,
        tunnel_port: draw.ports.tunnel,
        forward_port: draw.ports.forward,
        accel_port: draw.ports.accel,
        key: &draw.key,
        outward,
        logs: &paths.logs,
        conf_dir: &paths.proxy,
        agent_ip: addresses::AGENT,
    })
}

/// The sandbox, and what the user should know of it.
fn agent(
    settings: &Settings,
    host: &Host,
    (services, api, inspection): (&Services, &ApiProxyPlan, &InspectionPlan),
    (paths, limits): (&Paths, &Limits),
) -> Result<(AgentSpec, Vec<String>), UsageError> {
    let environment = environment::agent_environment(settings, host, (services, inspection), api);
    let custom: Vec<Custom> = settings.mounts.iter().map(Custom::of).collect();
    let mut secrets = host.secrets.clone();
    secrets.extend(settings.record.key.as_ref().map(|key| key.file.clone()));
    let hide = [paths.work.clone(), paths.logs.clone(), paths.audit.clone()];
    let facts = Facts {
        home: &host.caller.home,
        told_home: &host.agent.home,
        user: &host.agent.user,
        workspace: &host.workspace,
        uid: host.agent.uid,
        caller_uid: host.caller.uid,
        gid: host.agent.gid,
        hostname: HOSTNAME,
        hosts: &hosts_file(services),
        resolv_conf: &resolv_conf(),
        passwd: &host.accounts,
        group: &host.groups,
        tool_cache: host.tool_cache.as_deref(),
        binaries: settings.files.binaries.as_deref(),
        session: paths.session.as_deref(),
        custom: &custom,
        allow_write: settings.files.allow_write.as_deref(),
        redacted: &host.redacted,
        secrets: &secrets,
        hide: &hide,
        scratch: &paths.scratch,
        run: &paths.id,
        mount_points: &host.mount_points,
        sockets_guarded: false,
        gemini: api.routes.iter().any(|route| {
            matches!(route.provider, api_proxy::Provider::Gemini | api_proxy::Provider::Vertex)
        }),
    };
    let pair = |(name, value): (String, String)| (Text::from(name), Text::from(value));
    let mounts = mounts::mounts(&facts, &look).map_err(|wrong| settings.origins.locate(wrong))?;
    let mut mounts = one_shot::with_library(mounts, &environment.variables);
    mounts.extend(inspection.mounts());
    let mut notices = environment.notices;
    notices.extend(mounts.iter().filter_map(mounts::MountOp::warning));
    let spec = AgentSpec {
        argv: ["/bin/bash", "-c", &settings.command].map(Text::from).to_vec(),
        env: environment.variables.into_iter().map(pair).collect(),
        needs: preflight::needs(&settings.command, host),
        // The original starts in the home directory, but everybody calls it with `--container-workdir "$PWD"`.
        cwd: settings.container_workdir.clone().unwrap_or_else(|| host.workspace.clone()),
        uid: host.agent.uid,
        gid: host.agent.gid,
        groups: vec![host.agent.gid],
        hostname: HOSTNAME.to_owned(),
        tty: settings.tty.then_some(Window { rows: 24, columns: 120 }),
        rlimits: limits.rlimits.clone(),
        mounts,
        scratch: paths.scratch.clone(),
        map_root: host.caller.uid == 0,
    };
    Ok((spec, notices))
}
