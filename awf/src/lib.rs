//! awf runs a command so that it can reach the domains you allow and nothing else.
//!
//! The modules are the steps of a run, in order; [`run`] walks them.
//!
//! 1. [`cli`]: what the user asked
//! 2. [`host`]: what the machine is
//! 3. [`policy`]: what may leave
//! 4. [`plan`]: everything to be done, as plain data; nothing on the machine has changed up to here
//! 5. [`enforce`]: the kernel obeys
//! 6. [`doors`], [`relay`], [`api_proxy`], [`proxy`], [`doh`]: the only way out
//! 7. [`runtime`]: where things run
//! 8. [`observe`]: what happened
//! 9. [`session`]: acquires in order, releases in reverse
//!
//! Beside them, [`commands`] reads what runs have left, and [`doctor`] says what a machine lacks.

pub mod cli;
pub mod host;
pub mod policy;
pub mod plan;
pub mod enforce;
pub mod doors;
pub mod relay;
pub mod api_proxy;
pub mod proxy;
pub mod doh;
pub mod runtime;
pub mod observe;
pub mod session;
pub mod commands;
pub mod exit;
pub mod doctor;
mod diagnosis;
mod speech;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use cli::{Args, Request, RuntimeChoice, Settings};
use enforce::prove;
use exit::Exit;
use host::{Caller, DaemonError, Host};
use observe::audit::Audit;
use observe::digest::hexadecimal;
use plan::{Draw, Plan};
use proxy::Ports;

/// Name under which awf executes itself to become Squid; see [`proxy::child`].
pub const PROXY_CHILD: &str = "awf-proxy";

/// Does what the arguments ask and gives the exit code; says on standard error why, if it fails.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    if arguments.first().is_some_and(|name| name == PROXY_CHILD) {
        let spec = arguments.get(1).map(|spec| spec.to_string_lossy()).unwrap_or_default();
        return report(proxy::child::main(&spec).map(|()| Exit::SetUp)).into();
    }
    match cli::parse(arguments) {
        // Before anything makes a thread.
        Ok(Request::Init(gate)) => runtime::native::init::main(gate.as_ref(), probe),
        Ok(Request::Hold { alive, messages, program }) => {
            proxy::hold::main(&alive, &messages, &program).unwrap_or_else(|error| {
                speech::error(&error);
                Exit::SetUp.into()
            })
        }
        request => {
            let is_run = matches!(request, Ok(Request::Run(_)));
            let exit = report(request.map_err(Into::into).and_then(obey));
            // As in the original: wrong usage is no run.
            if is_run && exit != Exit::Usage {
                speech::last_word(exit);
            }
            exit.into()
        }
    }
}

/// The probe of the sandbox's first process: reports as lines of JSON.
fn probe(say: &mut dyn FnMut(&str)) {
    prove::attempts::fire(&mut |report| {
        // A report that cannot be written is missing, and a missing one fails the proof.
        say(&serde_json::to_string(report).unwrap_or_default());
    });
}

fn obey(request: Request) -> Result<Exit> {
    match request {
        Request::Init(_) | Request::Hold { .. } => Ok(Exit::SetUp),
        Request::Say(text) => speech::print(&text).map(|()| Exit::Agent(0)),
        Request::Plan(args) => {
            let (_plan, audit) = decide(&args, false)?;
            speech::print(&format!("{:#}\n", audit.plan)).map(|()| Exit::Agent(0))
        }
        Request::Predownload(args) => predownload(*args),
        Request::CheckConfig(name) => check_config(&name),
        Request::Doctor { json } => examine(json),
        Request::Read(reading) => {
            speech::begin(cli::LogLevel::Info, &Caller::inspect()?.env);
            commands::obey(&reading)
        }
        Request::Run(args) => {
            let (plan, audit) = decide(&args, true)?;
            let runtime = workers()?;
            // On this very thread: the kernel ties the sandbox's life to the thread that starts it.
            let outcome = runtime.block_on(session::run(plan, &audit));
            // A thread may still wait for terminal input; the process must not wait for it.
            runtime.shutdown_background();
            outcome
        }
    }
}

/// Says what is wrong with a configuration file, or what the user should know about it.
fn check_config(name: &str) -> Result<Exit> {
    let caller = Caller::inspect()?;
    speech::begin(cli::LogLevel::Info, &caller.env);
    for notice in cli::config::check(name, &caller)? {
        tracing::warn!("{notice}");
    }
    speech::print(&format!("{name}: ok\n"))?;
    Ok(Exit::Agent(0))
}

/// Says what this machine lacks.
fn examine(json: bool) -> Result<Exit> {
    let caller = Caller::inspect()?;
    speech::begin(cli::LogLevel::Info, &caller.env);
    speech::waiting::begin("Looking at this machine");
    let report = doctor::examine(caller)?;
    speech::print(&if json { report.json() } else { report.to_string() })?;
    Ok(report.exit())
}

/// Obtains the images of the Docker runtime.
fn predownload(mut args: Args) -> Result<Exit> {
    args.runtime = Some("docker".to_owned());
    // Without a command there is nothing to decide about, and any will do.
    args.command = vec!["true".to_owned()];
    let (plan, _audit) = decide(&args, true)?;
    let containers = plan.containers.context("the Docker runtime has containers")?;
    let engine = runtime::docker::Engine::of(&containers.daemon)?;
    workers()?.block_on(runtime::docker::images::obtain(&engine, &containers))?;
    for container in [&containers.agent, &containers.proxy] {
        tracing::info!("Present: {}", container.image);
    }
    Ok(Exit::Agent(0))
}

fn workers() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("awf-worker")
        .enable_all()
        .build()
        .context("start the runtime")
}

/// The pure part of a run, and becoming root where it must be.
fn decide(args: &Args, privileged: bool) -> Result<(Plan, Audit)> {
    let caller = Caller::inspect()?;
    let settings = Settings::resolve(args, &caller)?;
    speech::begin(settings.log_level, &caller.env);
    if privileged {
        host::privilege::ensure_root(&caller)?;
    }
    let mut host = Host::inspect(caller)?;
    host.fit(&settings.files, &settings.mounts, &settings.env);
    if settings.runtime != RuntimeChoice::Native || !settings.peers.is_empty() {
        let images = &settings.images;
        let daemon = host::daemon::ask(&images.daemon, &images.wanted());
        if let Some(first) = settings.peers.first() {
            let daemon =
                daemon.as_ref().map_err(|_none| DaemonError::nobody_to_ask(images, first))?;
            host.peers = host::daemon::peers(daemon, &settings.peers)?;
        }
        host.daemon = Some(daemon);
    }
    host.parent = settings.upstream.as_ref().map(|it| host::lookup::addresses(&it.host));
    host.doh = settings.doh.as_ref().map(|it| host::lookup::addresses(&it.host));
    let draw = draw()?;
    let mut plan = Plan::make(&settings, &host, &draw)?;
    if let (Some(containers), true) = (&mut plan.containers, settings.diagnostic_logs) {
        containers.stay_until_removed();
    }
    let audit = Audit::of(&settings, &host, &plan);
    plan.terms.policy_sha256.clone_from(&audit.policy_sha256);
    Ok((plan, audit))
}

/// Draws a run's id, key and ports.
fn draw() -> Result<Draw> {
    let mut luck = [0_u8; 20];
    let file = std::fs::File::open("/dev/urandom").context("open /dev/urandom")?;
    std::io::Read::read_exact(&mut &file, &mut luck).context("read /dev/urandom")?;
    let (key, rest) = luck.split_at(16);
    let seed = rest.first_chunk::<2>().map_or(0, |pair| u16::from_ne_bytes(*pair));
    let milliseconds = jiff::Timestamp::now().as_millisecond();
    Ok(Draw {
        id: format!("awf-{milliseconds}-{}", hexadecimal(rest.get(2..4).unwrap_or_default())),
        key: hexadecimal(key),
        ports: Ports::choose(seed)?,
    })
}

fn report(outcome: Result<Exit>) -> Exit {
    outcome.unwrap_or_else(|error| {
        let exit = diagnosis::exit_of(&error);
        speech::error(&error);
        exit
    })
}
