//! `bench`: figures, each beside a baseline of the same run, and targets that are told and never asserted.
//!
//! Takes the built awf and a lab of its own. Every figure is a median of at least nine rounds in which what is compared
//! takes turns, so that a machine that becomes slower or faster meanwhile changes both. Must never fail because of a
//! figure.

mod docker;
mod figure;
mod meter;
mod record;
mod rig;

use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use xtask::docker::Docker;

use crate::setup::{self, Purpose};
use crate::{build, images};
use figure::{Figure, Target, median};
use meter::Meter;
use rig::{Machine, Rig, Sandbox, SquidAlone, cpu_seconds, resident_mib};

/// Rounds of everything that takes longer than a moment.
const ROUNDS: usize = 9;
/// Rounds of a start, which vary more.
const START_ROUNDS: usize = 21;
/// What the sandbox may reach.
const ALLOWED: &str = "example.com,files.test";
/// Bytes of one bulk transfer: 256 MiB.
const BULK_BYTES: u32 = 256 << 20;
/// Bulk transfers that make a GiB.
const BULKS_PER_GIB: f64 = 4.0;

/// Options of `bench`.
#[derive(Args)]
pub(crate) struct Bench {
    /// Only this group of figures.
    name: Option<Group>,
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Measure from within: what bench runs inside and outside of the sandbox.
    #[arg(long, hide = true)]
    meter: Option<Meter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    /// `awf -- true`, and the time to the command's first instruction.
    Start,
    /// The same with the Docker runtime, beside `docker run`.
    Docker,
    /// `awf -- true` with long lists of domains.
    Domains,
    /// `connect()` and refusals.
    Socket,
    /// A new HTTPS connection for each request.
    Request,
    /// One large download, and what the processors do for it.
    Bulk,
    /// Memory of awf and Squid.
    Memory,
    /// Floods of refusals, what of them is on record, and the reading of logs.
    Record,
}

impl Bench {
    /// Measures and prints.
    pub(crate) fn run(self) -> Result<ExitCode> {
        if let Some(meter) = self.meter {
            print(&format!("{}\n", meter.measure()?))?;
            return Ok(ExitCode::SUCCESS);
        }
        let groups = match self.name {
            Some(group) => vec![group],
            None => Group::value_variants().to_vec(),
        };
        let docker = groups.contains(&Group::Docker);
        setup::complete(if docker { Purpose::Docker } else { Purpose::Lab })?;
        ensure!(nix::unistd::geteuid().is_root(), "bench needs root: run it with sudo");
        let rig = Rig::new(build::release()?)?;
        let machine = rig.machine();
        let docker = docker.then(|| images::in_lab(rig.lab())).transpose()?;
        let figures = rig.lab().in_host(|| measure(&machine, docker.as_ref(), &groups))?;
        if self.json {
            for figure in &figures {
                print(&(serde_json::to_string(figure)? + "\n"))?;
            }
        } else {
            print(&figure::table(&figures))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).context("write to stdout")
}

/// Runs on a thread in the lab's host namespace: what it starts is there, too, without a detour.
fn measure(machine: &Machine, docker: Option<&Docker>, groups: &[Group]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let wants = |group| groups.contains(&group);
    let tell = |what: &str| eprintln!("bench: {what}");
    if wants(Group::Start) {
        tell("start");
        figures.extend(start(machine)?);
    }
    if let Some(docker) = docker {
        tell("docker");
        figures.extend(docker::figures(machine, docker)?);
    }
    if wants(Group::Domains) {
        tell("start with 10,000 and 100,000 domains");
        figures.extend(domains(machine)?);
    }
    if wants(Group::Record) {
        tell("floods, and what is on record");
        figures.extend(record::figures(machine)?);
    }
    let brief = |group: &Group| {
        matches!(group, Group::Start | Group::Docker | Group::Domains | Group::Record)
    };
    if !groups.iter().all(brief) {
        let squid = SquidAlone::start(machine)?;
        let mut sandbox = Sandbox::start(machine, ALLOWED)?;
        if wants(Group::Socket) {
            tell("connect() and refusals");
            figures.extend(socket(machine, &mut sandbox)?);
        }
        if wants(Group::Request) {
            tell("HTTPS requests");
            figures.extend(request(machine, &squid, &mut sandbox)?);
        }
        if wants(Group::Bulk) {
            tell("bulk");
            figures.extend(bulk(machine, &squid, &mut sandbox)?);
        }
        if wants(Group::Memory) {
            // After one request at least, else Squid may still be starting.
            requests(|line| sandbox.ask(line), "")?;
            figures.extend(memory(&squid, &sandbox)?);
        }
        sandbox.end()?;
    }
    Ok(figures)
}

/// How long a command takes from its start to its end, in milliseconds.
fn milliseconds(command: &mut Command) -> Result<f64> {
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().context("run")?;
    let took = began.elapsed();
    ensure!(status.success(), "{command:?} failed");
    Ok(took.as_secs_f64() * 1e3)
}

/// How long it takes until bash, started by this command, reads its clock, in milliseconds.
fn until_first_instruction(command: &mut Command) -> Result<f64> {
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("run")?;
    ensure!(output.status.success(), "{command:?} failed");
    let clock: f64 = String::from_utf8(output.stdout)?.trim().parse().context("read the clock")?;
    Ok((clock - began.as_secs_f64()) * 1e3)
}

const READ_CLOCK: &str = "echo $EPOCHREALTIME";

fn start(machine: &Machine) -> Result<Vec<Figure>> {
    let [mut plain, mut awf, mut bash, mut first] = [const { Vec::new() }; 4];
    for _round in 0..START_ROUNDS {
        plain.push(milliseconds(&mut Command::new("true"))?);
        awf.push(milliseconds(machine.awf().args(["--allow-domains", ALLOWED, "--", "true"]))?);
        bash.push(until_first_instruction(Command::new("bash").args(["-c", READ_CLOCK]))?);
        let mut run = machine.awf();
        first.push(until_first_instruction(run.args(["-d", ALLOWED, "--", READ_CLOCK]))?);
    }
    Ok(vec![
        Figure::new("start", median(awf), "ms")
            .beside("true", median(plain))
            .aiming(Target::AtMost(150.0)),
        Figure::new("first-instruction", median(first), "ms")
            .beside("bash", median(bash))
            .aiming(Target::AtMost(60.0)),
    ])
}

fn domains(machine: &Machine) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, count) in [("start-10k", 10_000), ("start-100k", 100_000)] {
        let list = machine.directory.join(name);
        let names = (0..count).map(|n| format!("host-{n}.zone-{}.test", n % 97));
        fs::write(&list, names.collect::<Vec<_>>().join("\n"))
            .context("write a list of domains")?;
        let (mut short, mut long) = (Vec::new(), Vec::new());
        for _round in 0..ROUNDS {
            short.push(milliseconds(machine.awf().args(["-d", ALLOWED, "--", "true"]))?);
            let mut run = machine.awf();
            run.arg("--allow-domains-file").arg(&list);
            long.push(milliseconds(run.args(["--", "true"]))?);
        }
        figures.push(Figure::new(name, median(long), "ms").beside("2 domains", median(short)));
    }
    Ok(figures)
}

fn socket(machine: &Machine, sandbox: &mut Sandbox) -> Result<Vec<Figure>> {
    let (mut free, mut confined) = (Vec::new(), Vec::new());
    let (mut kernel, mut tls) = (Vec::new(), Vec::new());
    for _round in 0..ROUNDS {
        free.push(number(&machine.free(&machine.meter("connect"))?)?);
        confined.push(number(&sandbox.ask(&machine.meter("connect"))?)?);
        kernel.push(number(&sandbox.ask(&machine.meter("refusal"))?)?);
        tls.push(number(&sandbox.ask(&machine.meter("tls-refusal"))?)?);
    }
    Ok(vec![
        Figure::new("connect", median(confined), "us")
            .beside("free", median(free))
            .aiming(Target::RatioAtMost(1.15)),
        Figure::new("refusal-kernel", median(kernel), "us").aiming(Target::AtMost(1000.0)),
        Figure::new("refusal-tls", median(tls), "us").aiming(Target::AtMost(1000.0)),
    ])
}

/// Requests of one round, and how many of them come too early to count.
const REQUESTS: usize = 23;
const WARM_UP: usize = 3;

/// The median time of a request, in milliseconds, each on a connection of its own.
fn requests(run: impl FnOnce(&str) -> Result<String>, options: &str) -> Result<f64> {
    let line = format!(
        "for i in $(seq {REQUESTS}); do echo url=https://example.com/; echo output=/dev/null; done | \
         curl -sS -K - --http1.1 -H 'Connection: close' --no-sessionid {options} \
         -w '%{{num_connects}} %{{time_total}}\\n'"
    );
    let text = run(&line)?;
    let alone = text.lines().skip(WARM_UP).filter_map(|line| line.strip_prefix("1 "));
    let times = alone.map(number).collect::<Result<Vec<_>>>()?;
    ensure!(times.len() == REQUESTS - WARM_UP, "a request failed or shared a connection: {text}");
    Ok(median(times) * 1e3)
}

fn request(machine: &Machine, squid: &SquidAlone, sandbox: &mut Sandbox) -> Result<Vec<Figure>> {
    let [mut direct, mut alone, mut awf] = [const { Vec::new() }; 3];
    for _round in 0..ROUNDS {
        direct.push(requests(|line| machine.free(line), "")?);
        alone.push(requests(|line| machine.free(line), &squid.option())?);
        awf.push(requests(|line| sandbox.ask(line), "")?);
    }
    let alone = median(alone);
    Ok(vec![
        Figure::new("request-squid", alone, "ms").beside("direct", median(direct)),
        Figure::new("request", median(awf), "ms")
            .beside("Squid alone", alone)
            .aiming(Target::RatioAtMost(2.0)),
    ])
}

fn bulk(machine: &Machine, squid: &SquidAlone, sandbox: &mut Sandbox) -> Result<Vec<Figure>> {
    let line = |options: &str| {
        let last = BULK_BYTES - 1;
        format!(
            "curl -sS -r 0-{last} {options} -o /dev/null -w '%{{speed_download}}' https://files.test/1GiB"
        )
    };
    let squid_in_run = sandbox.squid()?;
    let [mut direct, mut alone, mut awf] = [const { Vec::new() }; 3];
    let [mut alone_cpu, mut awf_cpu] = [const { Vec::new() }; 2];
    for _round in 0..ROUNDS {
        direct.push(number(&machine.free(&line(""))?)?);
        let before = cpu_seconds(&[squid.id()])?;
        alone.push(number(&machine.free(&line(&squid.option()))?)?);
        alone_cpu.push(cpu_seconds(&[squid.id()])? - before);
        let before = cpu_seconds(&[sandbox.id(), squid_in_run])?;
        awf.push(number(&sandbox.ask(&line(""))?)?);
        awf_cpu.push(cpu_seconds(&[sandbox.id(), squid_in_run])? - before);
    }
    let mib = |rates: Vec<f64>| median(rates) / f64::from(1 << 20);
    let (direct, alone, awf) = (mib(direct), mib(alone), mib(awf));
    let gib = |seconds: Vec<f64>| median(seconds) * BULKS_PER_GIB;
    Ok(vec![
        Figure::new("bulk-squid", alone, "MiB/s").beside("direct", direct),
        Figure::new("bulk", awf, "MiB/s")
            .beside("Squid alone", alone)
            .aiming(Target::RatioAtLeast(0.6)),
        Figure::new("bulk-cpu", gib(awf_cpu), "s/GiB").beside("Squid alone", gib(alone_cpu)),
    ])
}

fn memory(squid: &SquidAlone, sandbox: &Sandbox) -> Result<Vec<Figure>> {
    Ok(vec![
        Figure::new("rss-awf", resident_mib(sandbox.id())?, "MiB").aiming(Target::AtMost(15.0)),
        Figure::new("rss-squid", resident_mib(sandbox.squid()?)?, "MiB")
            .beside("Squid alone", resident_mib(squid.id())?),
    ])
}

fn number(text: &str) -> Result<f64> {
    text.trim().parse().with_context(|| format!("not a figure: {text:?}"))
}

/// Tries again until `found` gives something or patience ends.
fn patiently<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(thing) = found() {
            return Ok(thing);
        }
        ensure!(began.elapsed() < Duration::from_secs(30), "{what}: nothing within 30 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}
