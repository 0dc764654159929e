//! `test`: the tiers. A missing requirement fails a tier; nothing is skipped in silence.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use xtask::docker::HOST_VARIABLE;
use xtask::lab::Lab;
use xtask::vectors::report::{self, Summary};

use crate::setup::{self, Purpose};
use crate::{build, docs, faults, fuzz, images, security, tidy, vm};

/// Options of `test`.
#[derive(Args)]
pub(crate) struct Test {
    /// The tier; all of them if none is named.
    tier: Option<Tier>,
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// How long each fuzz target runs.
    #[arg(long, value_name = "SECONDS", default_value_t = fuzz::SECONDS)]
    seconds: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// Formatting, lints, documentation, layout rules.
    Style,
    /// Unit, property, golden and table tests. Needs nothing.
    Pure,
    /// Random bytes for everything that reads them, guided by coverage. Needs nothing.
    Fuzz,
    /// The programs on real cgroups, and Squid against the policy. Needs root.
    Kernel,
    /// What the original understands, row by row. Needs root.
    Compat,
    /// Whole runs in the lab. Needs root.
    Native,
    /// Every client, with and without proxy variables, and every runtime. Needs root.
    Clients,
    /// One case for each bypass idea. Needs root.
    Escape,
    /// kill -9, full disks, broken machines. Needs root.
    Fault,
    /// Whole runs with the Docker runtime, on a daemon of the lab's: every tier of whole runs if it is named. Needs root.
    Docker,
    /// The kernel and escape tiers on other kernels, in virtual machines. Needs root. The filter names a kernel.
    Vm,
    /// A hundred faults at random moments; only when it is named. Needs root.
    Soak,
}

const ALL: [Tier; 11] = [
    Tier::Style,
    Tier::Pure,
    Tier::Fuzz,
    Tier::Kernel,
    Tier::Compat,
    Tier::Native,
    Tier::Clients,
    Tier::Escape,
    Tier::Fault,
    Tier::Docker,
    Tier::Vm,
];

/// Tells the tests which runtime to use; see `tests/src/lib.rs`.
pub(crate) const RUNTIME_VARIABLE: &str = "AWF_TEST_RUNTIME";

impl Test {
    /// Runs the tiers.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let bare = matches!(self.tier, Some(Tier::Style | Tier::Pure));
        setup::complete(if bare { Purpose::Run } else { Purpose::Test })?;
        let filter = self.filter.as_deref();
        let tiers: Vec<Tier> = self.tier.map_or_else(|| ALL.to_vec(), |tier| vec![tier]);
        let mut session = None;
        for tier in &tiers {
            let began = Instant::now();
            let name = tier.to_possible_value().map(|value| value.get_name().to_owned());
            let name = name.unwrap_or_default();
            eprintln!("== {name}");
            match tier {
                Tier::Style => style()?,
                Tier::Pure => pure(filter)?,
                Tier::Vm if self.tier.is_none() => vm::slice(&build::tested()?)?,
                Tier::Vm => vm::whole(&build::tested()?, filter)?,
                Tier::Fuzz => fuzz::run(filter, self.seconds)?,
                _ => {
                    if session.is_none() {
                        session = Some(Session::begin()?);
                    }
                    let session = session.as_ref().context("the lab is up")?;
                    session.run_tier(*tier, binaries(*tier, self.tier.is_some()), filter)?;
                }
            }
            eprintln!("== {name}: passed in {} s", began.elapsed().as_secs());
        }
        drop(session);
        Ok(ExitCode::SUCCESS)
    }
}

/// What runs with the Docker runtime when its tier is named, and what of it among all tiers: the rest differs from the
/// native runtime in nothing that these would not show.
const DOCKER: [&str; 6] = ["docker", "native", "escape", "fault", "clients", "runtimes"];
const DOCKER_SLICE: [&str; 2] = ["docker", "native"];

fn binaries(tier: Tier, named: bool) -> &'static [&'static str] {
    match tier {
        Tier::Docker if named => &DOCKER,
        Tier::Docker => &DOCKER_SLICE,
        Tier::Style | Tier::Pure | Tier::Fuzz | Tier::Vm => &[],
        Tier::Kernel => &["kernel", "squid_agreement"],
        Tier::Compat => &["compat"],
        Tier::Native => &["native"],
        Tier::Clients => &["clients", "runtimes"],
        Tier::Escape => &["escape"],
        Tier::Fault | Tier::Soak => &["fault"],
    }
}

fn style() -> Result<()> {
    tidy::run()?;
    security::check()?;
    docs::check()?;
    check("formatting", build::cargo().args(["fmt", "--all", "--check"]))?;
    check(
        "lints",
        build::cargo()
            .args(["clippy", "--quiet", "--locked", "--all-targets"])
            .args(build::CRATES)
            .args(["--", "--deny", "warnings"]),
    )?;
    // Alone: beside the others it would get their features, and std with them.
    check(
        "lints of the preload library",
        build::cargo()
            .args(["clippy", "--quiet", "--locked", "--package", "awf-one-shot", "--all-targets"])
            .args(["--", "--deny", "warnings"]),
    )?;
    check(
        "lints of the kernel programs",
        build::cargo()
            .args(["clippy", "--quiet", "--locked", "--package", "awf-ebpf", "--bins"])
            // Without std nothing can unwind.
            .args(["--config", "profile.dev.panic='abort'"])
            .args(["--", "--deny", "warnings"]),
    )?;
    check(
        "documentation",
        build::cargo()
            .args(["doc", "--quiet", "--locked", "--no-deps", "--document-private-items"])
            .args(build::CRATES)
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )
}

fn pure(filter: Option<&str>) -> Result<()> {
    // Alone, as for the lints.
    let library = ["test", "--quiet", "--locked", "--package", "awf-one-shot"];
    check("tests of the preload library", build::cargo().args(library).args(filter))?;
    let unprivileged = ["test", "--quiet", "--locked", "--lib", "--bins"];
    let mut tests = build::cargo();
    check("tests", tests.args(unprivileged).args(build::CRATES).arg("--").args(filter))
}

/// Everything the privileged tiers share: the built awf, and a lab of their own.
struct Session {
    awf: PathBuf,
    lab: String,
}

impl Session {
    fn begin() -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "this tier needs root: run it with sudo");
        let awf = build::tested()?;
        let lab = format!("test{}", std::process::id());
        Lab::up(&lab)?;
        Ok(Self { awf, lab })
    }

    /// Runs a tier, and prints what it told of vectors and faults, however it ended.
    fn run_tier(&self, tier: Tier, binaries: &[&str], filter: Option<&str>) -> Result<()> {
        let soak = tier == Tier::Soak;
        let filter = filter.or_else(|| soak.then_some(faults::SOAK));
        ensure!(has_tests(binaries, filter)?, "no test of the tier is called like that");
        let report = match env::var_os(report::VARIABLE) {
            Some(path) => PathBuf::from(path),
            None => build::target_directory()?.join("vectors.jsonl"),
        };
        fs::write(&report, "").with_context(|| format!("begin {}", report.display()))?;
        faults::begin()?;
        let mut variables = faults::variables(soak)?;
        if tier == Tier::Docker {
            let docker = images::in_lab(&Lab::named(&self.lab)?)?;
            variables.push((HOST_VARIABLE, docker.host().unwrap_or_default().to_owned()));
            variables.push((RUNTIME_VARIABLE, "docker".to_owned()));
        }
        let ended = binaries.iter().try_for_each(|binary| {
            let mut test = test_binary(binary, filter);
            test.env_remove(RUNTIME_VARIABLE).env_remove(HOST_VARIABLE);
            test.envs(variables.iter().map(|(name, value)| (name, value)))
                .env("AWF_BIN", &self.awf)
                .env("AWF_LAB", &self.lab)
                .env(report::VARIABLE, &report);
            // awf gives files to whoever called sudo; the tests call it as root.
            for caller in ["SUDO_UID", "SUDO_GID", "SUDO_USER"] {
                test.env_remove(caller);
            }
            check(binary, &mut test)
        });
        // Both are printed, and what the tests themselves found is said first.
        let must_tell = tier == Tier::Escape && filter.is_none();
        let (of_vectors, of_faults) = (tell_vectors(&report, must_tell), faults::tell(soak));
        ended.and(of_vectors).and(of_faults)
    }
}

/// Prints what the tests told of the vectors; an escape is an error, whatever the tests made of it.
fn tell_vectors(report: &Path, must_tell: bool) -> Result<()> {
    let summary = Summary::read(report).context("read what the tier told")?;
    if !summary.is_empty() {
        eprintln!("{summary}\n{}", report.display());
    }
    ensure!(!must_tell || !summary.is_empty(), "the tests told nothing of the vectors");
    summary.check()
}

/// Whether the filter leaves any test in the tier: a binary without one succeeds.
fn has_tests(binaries: &[&str], filter: Option<&str>) -> Result<bool> {
    for binary in binaries {
        let listed = test_binary(binary, filter)
            .args(["--list", "--format", "terse"])
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("list the tests of {binary}"))?;
        ensure!(listed.status.success(), "the tests of {binary} cannot be listed");
        if String::from_utf8_lossy(&listed.stdout).lines().any(|line| line.ends_with(": test")) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn test_binary(binary: &str, filter: Option<&str>) -> Command {
    let mut command = build::cargo();
    command
        .args(["test", "--locked"])
        .args(build::CRATES)
        .args(["--test", binary, "--"])
        .args(filter);
    command
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(error) = Lab::named(&self.lab).and_then(|lab| lab.down()) {
            eprintln!("the lab {} could not be taken down: {error:#}", self.lab);
        }
    }
}

fn check(what: &str, command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("run {what}"))?;
    ensure!(status.success(), "{what} failed");
    Ok(())
}
