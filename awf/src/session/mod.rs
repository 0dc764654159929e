//! Step 9 of 9: the only place where time passes. Acquires what a run needs in order, releases it in reverse, and carries
//! the exit code.
//!
//! Owns: the order. Must never: start the agent before enforcement is proved, let a failed release hide the agent's exit
//! code, or leave something behind that the next run could not collect.

pub mod run_dir;
mod audit_mode;
mod command;
mod diagnostics;
mod guard;
pub mod kept;
pub mod live;
pub(crate) mod locks;
pub mod logs;
mod otlp;
mod service;
mod terminal;

use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use tokio::time::{sleep, timeout};

use crate::doh::Forwarder;
use crate::doors::Doors;
use crate::enforce::profile::Looking;
use crate::enforce::{Cgroup, Links, Object, Profile, prove};
use crate::exit::Exit;
use crate::observe::audit::Audit;
use crate::observe::redact::Redactor;
use crate::observe::report;
use crate::plan::Plan;
use crate::plan::mounts::MountOp;
use crate::policy::Scheme;
use crate::proxy::carrier::Process;
use crate::proxy::{self, Squid};
use crate::relay::{Inspect, capacity};
use crate::runtime::docker::{self, Docker, Engine, Left};
use crate::runtime::native::watch::Blocked;
use crate::runtime::{Native, Prepared, Runtime as _};
use crate::speech::{SUCCESS, waiting};
use command::{Signals, supervise};
use diagnostics::Diagnostics;
use guard::Enforcement;
use live::Live;
use logs::Leaving;
use run_dir::{Owned, RunDir};
use service::{Account, Service};
use terminal::Terminal;

/// How long after the start of the command Squid is started even if nobody has asked for it yet.
const SOON: Duration = Duration::from_millis(100);
/// How long the first process of the sandbox may outlive the command. All it has to do is to see it end.
const LAST_PROCESS: Duration = Duration::from_secs(2);

/// Runs the plan and gives the exit code of awf.
pub async fn run(plan: Plan, audit: &Audit) -> Result<Exit> {
    for notice in &plan.notices {
        tracing::warn!("{notice}");
    }
    tracing::info!("{}", report::allowed(&plan.allowed));
    plan.standing.satisfies(plan.profile)?;
    let inspect = Inspect::start(&plan.inspection)?;
    let looking = plan.standing.clone().look_apart().context("start to look at the kernel")?;
    let mut signals = Signals::catch()?;
    capacity::raise()?;
    tracing::info!("Runtime: {}", plan.runtime);
    let engine = match &plan.containers {
        Some(containers) => {
            let engine = Engine::of(&containers.daemon)?;
            tokio::select! {
                obtained = docker::images::obtain(&engine, containers) => obtained?,
                exit = signals.ending() => return Ok(exit),
            }
            Some(engine)
        }
        None => None,
    };
    waiting::begin("Starting the sandbox");
    let run_dir = RunDir::acquire(&plan.paths.run, owned(&plan), &Live::of(&plan))?;
    let bundle = || inspect.publish(&plan.inspection.bundle).context("write the bundle");
    let outcome = match logs::prepare(&plan, audit).and_then(|()| bundle()) {
        Ok(()) => {
            let mut seen = Diagnostics::new(&plan, audit);
            let begun = (looking, engine.clone(), inspect);
            let outcome = confine_and_run(&plan, begun, &mut signals, &mut seen).await;
            seen.leave(&outcome, engine.as_ref()).await;
            waiting::begin("Cleaning up");
            if let Some(engine) = engine {
                engine.settle().await;
            }
            Leaving::of(&plan).leave();
            outcome
        }
        Err(error) => {
            Leaving::of(&plan).abandon();
            Err(error)
        }
    };
    for error in run_dir.release() {
        tracing::warn!("clean up: {error}");
    }
    waiting::end();
    outcome
}

/// What the run has to take down, whoever does it.
fn owned(plan: &Plan) -> Owned {
    let paths = &plan.paths;
    Owned {
        cgroups: vec![paths.cgroup.clone()],
        containers: plan
            .containers
            .as_ref()
            .filter(|containers| !containers.keep)
            .map(|containers| Left::of(&containers.daemon, &plan.id)),
        pins: paths.pins.clone(),
        logs: Leaving::of(plan),
        directories: vec![paths.proxy.clone(), paths.scratch.clone(), paths.gate.clone()],
        leavings: plan
            .agent
            .mounts
            .iter()
            .filter_map(MountOp::work_dir)
            .filter(|work| !work.starts_with(&paths.scratch))
            .map(Into::into)
            .collect(),
    }
}

/// The cgroups of a run.
struct Cgroups {
    agent: Cgroup,
    proxy: Cgroup,
}

impl Cgroups {
    fn create(plan: &Plan) -> Result<Self> {
        let paths = &plan.paths;
        if let Some(above) = paths.cgroup.parent() {
            // Slices have a common one, which may be missing.
            fs::create_dir_all(above).with_context(|| format!("make {}", above.display()))?;
        }
        let parent = Cgroup::create(paths.cgroup.clone())?;
        for controller in &plan.limits.controllers {
            parent
                .limit("cgroup.subtree_control", &format!("+{controller}"))
                .with_context(|| format!("use the {controller} controller"))?;
        }
        let agent = Cgroup::create(paths.agent_cgroup.clone())?;
        for (file, value) in &plan.limits.files {
            agent.limit(file, value).with_context(|| format!("set {file} to {value}"))?;
        }
        Ok(Self { agent, proxy: Cgroup::create(paths.proxy_cgroup.clone())? })
    }
}

/// From the cgroups to the end of the command, and back.
async fn confine_and_run(
    plan: &Plan,
    (looking, engine, inspect): (Looking, Option<Engine>, Inspect),
    signals: &mut Signals,
    seen: &mut Diagnostics<'_>,
) -> Result<Exit> {
    let began = Instant::now();
    // Loading is mostly the kernel's verifier at work; doors, cgroups and, without a daemon, the sandbox are made meanwhile.
    let (contents, empty) = (plan.contents.clone(), plan.paths.scratch.clone());
    let loading = Object::load_apart(contents, looking, empty)
        .context("start the thread that loads the programs")?;
    let doors = Doors::open()?;
    let cgroups = Cgroups::create(plan)?;
    let namespace = doors.namespace.try_clone().context("keep the agent's namespace")?;
    let sandbox = Sandbox::begin(plan, engine.as_ref(), &cgroups.agent, namespace.as_fd())?;
    let loaded =
        loading.join().map_err(|_panic| anyhow!("the thread that loads the programs died"))?;
    let mut object = loaded?;
    object.standing().satisfies(plan.profile)?;
    let links = Links::attach(&object, &cgroups.agent, &cgroups.proxy, &plan.paths.pins)?;
    tell_of_start(plan, &object);
    tracing::debug!("programs attached after {:?}", began.elapsed());

    let _forwarder = forward_queries(plan).await?;
    let squid = start_squid(plan, engine.as_ref());
    let redactor = seen.redactor();
    let mut service = Service::start(plan, &mut object, doors, (&squid, inspect), redactor)?;

    // Another run may hold the name; then that run's socket is what the probe must not reach.
    let host_socket = SocketAddr::from_abstract_name(prove::attempts::HOST_SOCKET)
        .and_then(|name| UnixListener::bind_addr(&name));
    let (agent, proxy) = (&cgroups.agent, &cgroups.proxy);
    let profile = object.standing().profile;
    let prepared = sandbox.prepare(profile, service.recorder());
    let outcome = tokio::select! {
        // First: a signal of the terminal reaches the sandbox's first process, too, as long as it has no session of its own.
        biased;
        exit = signals.ending() => Ok(exit),
        prepared = prepared => match prepared {
            Ok(prepared) => {
                tracing::debug!("sandbox at its gate after {:?}", began.elapsed());
                drop(host_socket);
                seen.see_sandbox(prepared.first());
                let enforcement = Enforcement { links: &links, agent, proxy, profile };
                prove_and_run(plan, prepared, &mut service, signals, (enforcement, &squid)).await
            }
            Err(error) => Err(error),
        },
    };
    // Nothing of the agent may live on while its connections are cut and, at last, its programs detached.
    if let Err(error) = agent.kill() {
        tracing::warn!("kill the command's last processes: {error}");
    }
    if let Some(killed @ 1..) = agent.killed_for_memory() {
        tracing::warn!(
            "out of memory: the kernel killed {killed} of the command's processes; see --memory-limit"
        );
    }
    let account = service.stop(squid, outcome.as_ref().ok().copied()).await;
    let outcome = outcome.map(|exit| account.exit.unwrap_or(exit));
    seen.see_end(agent, &account);
    if let Ok(exit) = &outcome {
        tell(plan, *exit, &account, &seen.redactor());
    }
    outcome
}

/// Serves Squid's name queries, where they go over HTTPS or nowhere.
async fn forward_queries(plan: &Plan) -> Result<Option<Forwarder>> {
    if let Some(listen) = plan.outward.silent {
        return Forwarder::silent(listen).await.map(Some);
    }
    let Some(doh) = &plan.outward.doh else { return Ok(None) };
    let policy = plan.policy.clone();
    let judge = move |name: &str| {
        let allows = |port, scheme| policy.decide(name, port, scheme).allow;
        allows(443, Scheme::Tls) || allows(80, Scheme::Http)
    };
    Forwarder::start(doh, judge).await.map(Some)
}

fn start_squid(plan: &Plan, engine: Option<&Engine>) -> Squid {
    let messages = plan.paths.logs.join("cache.log");
    let key = Arc::from(plan.key.as_str());
    let spec = proxy::Spec { ports: plan.ports, key, messages: messages.clone() };
    match (engine, &plan.containers) {
        (Some(engine), Some(containers)) => {
            Squid::start(spec, docker::Carried::new(engine.clone(), containers.proxy.clone()))
        }
        _ => Squid::start(spec, Process { child: plan.squid_child.clone(), messages }),
    }
}

/// A sandbox in the making. Until enforcement is attached, nothing but `awf init` runs in it.
enum Sandbox<'a> {
    Native(Native),
    Docker(Docker<'a>),
}

impl<'a> Sandbox<'a> {
    fn begin(
        plan: &'a Plan,
        engine: Option<&Engine>,
        cgroup: &'a Cgroup,
        namespace: BorrowedFd<'a>,
    ) -> Result<Self> {
        let spec = &plan.agent;
        match (engine.cloned(), &plan.containers) {
            (Some(engine), Some(containers)) => {
                Ok(Self::Docker(Docker { engine, containers, spec, cgroup, namespace }))
            }
            _ => Native::begin(spec, cgroup, namespace).map(Self::Native),
        }
    }

    async fn prepare(
        self,
        profile: Profile,
        told: impl Fn(Blocked) + Send + 'static,
    ) -> Result<Prepared> {
        match self {
            Self::Native(native) => native.prepare(profile, told).await,
            Self::Docker(docker) => docker.prepare(profile, told).await,
        }
    }
}

/// Judges the probe, opens the gate, waits for the end.
async fn prove_and_run(
    plan: &Plan,
    mut prepared: Prepared,
    service: &mut Service,
    signals: &mut Signals,
    (enforcement, squid): (Enforcement<'_>, &Squid),
) -> Result<Exit> {
    for warning in prepared.warnings.drain(..) {
        tracing::warn!("{warning}");
    }
    let Enforcement { agent, profile, .. } = enforcement;
    let seat = prepared.seat.as_ref().unwrap_or(agent);
    let refusals = service.probe_refusals(seat, profile);
    let confined = prove::judge(&prepared.reports, &refusals, seat, profile)?;
    // The sandbox is in its cgroup by now: check once more that the links govern that very directory.
    enforcement.holds()?;
    enforcement.has_all_below(prepared.first(), agent).await?;
    service.begin_record()?;
    if let Some(exit) = signals.pending().await {
        return Ok(exit);
    }
    let terminal = prepared.terminal.take().map(Terminal::join).transpose()?;
    waiting::end();
    let native = plan.containers.is_none().then_some(" (native: a sandbox and no container)");
    let kind = native.unwrap_or_default();
    tracing::info!(target: SUCCESS, "Containers started successfully{kind}");
    tracing::info!("Executing agent command...");
    let mut running = prepared.start(confined).await?;
    let demand = squid.demand();
    tokio::spawn(async move {
        sleep(SOON).await;
        demand.raise();
    });
    let guarded = (enforcement.guard(running.first(), squid.state()), service.journal());
    let exit = supervise(&mut running, signals, terminal.as_ref(), plan.timeout, guarded).await?;
    // A first process that was stopped from outside never ends: given up, it is killed.
    if let Ok(gone) = timeout(LAST_PROCESS, running.gone()).await {
        gone?;
    }
    if let Some(terminal) = terminal {
        terminal.leave(!matches!(exit, Exit::Agent(_)), signals).await;
    }
    Ok(exit)
}

/// Says what stands behind the sandbox and what is open in it.
fn tell_of_start(plan: &Plan, object: &Object) {
    tracing::info!("Profile: {}", object.standing());
    if let Some(summary) = plan.inspection.summary() {
        tracing::info!("{summary}");
    }
    if let Some(summary) = plan.api.summary() {
        tracing::info!("{summary}");
    }
    for line in plan.services.lines() {
        tracing::info!("Opened: {line}");
    }
    for line in plan.outward.lines() {
        tracing::info!("{line}");
    }
}

/// Says how it ended, what was denied, and what is missing in the record. A name that was asked for may hold a credential.
fn tell(plan: &Plan, exit: Exit, account: &Account, redactor: &Redactor) {
    if plan.policy.is_in_audit_mode() {
        for line in audit_mode::lines(&account.tally, &plan.allowed) {
            tracing::warn!("{}", redactor.text(&line));
        }
    }
    match exit.code() {
        0 => tracing::info!(target: SUCCESS, "Command completed successfully"),
        code => {
            for line in report::denials(&account.tally, &plan.allowed, &plan.services) {
                tracing::warn!("{}", redactor.text(&line));
            }
            tracing::warn!("Command completed with exit code: {code}");
        }
    }
    for line in &account.budgets {
        tracing::warn!("{line}");
    }
    if account.lost.total() > 0 {
        tracing::warn!(
            "the record is incomplete: {} attempts were judged but not written down",
            account.lost.total()
        );
    }
    if fs::exists(&plan.paths.logs).unwrap_or(false) {
        tracing::debug!("record: {}", plan.paths.logs.display());
    }
}
