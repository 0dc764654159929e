//! `test fuzz`: hostile bytes for everything in awf that reads them, guided by coverage. The targets are in `tests/fuzz/src/bin`.
//!
//! Owns: building all targets at once, running each from its seeds and from what earlier runs found, and the table of
//! what came of it. Everything grown goes to `fuzz` in the target directory. No sanitizer: that is what keeps it on
//! stable Rust, and the code under test is safe Rust, whose checks stay on. Not built by cargo-fuzz: that counts the edges of
//! every dependency too, and takes ten minutes for it; see `tests/fuzz/rustc`. A crash fails the tier and leaves the input that
//! caused it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context as _, Result, ensure};

use crate::build;

/// Time for each target where nothing else is said: half a minute for all of them.
pub(crate) const SECONDS: u64 = 4;
/// Targets that run at the same time.
const JOBS: usize = 2;
/// Seconds after which one input counts as a hang, and MiB after which it counts as a leak.
const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=1024"];

/// What came of one target.
struct Outcome {
    target: String,
    executions: u64,
    /// Edges of the program that were reached.
    coverage: u64,
    /// Inputs that reached something that neither seeds nor earlier runs did.
    found: u64,
    /// What libFuzzer said, if it ended otherwise than by the time being up, or tried nothing.
    failure: Option<String>,
}

/// Runs the targets whose name contains the filter.
pub(crate) fn run(filter: Option<&str>, seconds: u64) -> Result<()> {
    let crate_dir = build::workspace().join("tests/fuzz");
    let mut targets = Vec::new();
    for entry in fs::read_dir(crate_dir.join("src/bin")).context("list the fuzz targets")? {
        let path = entry?.path();
        targets.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    targets.retain(|target| filter.is_none_or(|filter| target.contains(filter)));
    ensure!(!targets.is_empty(), "no fuzz target is called like that");
    targets.sort();
    let place = build::target_directory()?.join("fuzz");
    build_all(&crate_dir, &targets)?;

    let binaries = build::target_directory()?.join(build::host_triple()?).join("debug");
    let (queue, outcomes) = (Mutex::new(targets.into_iter()), Mutex::new(Vec::new()));
    let work = || -> Result<()> {
        while let Some(target) = queue.lock().ok().and_then(|mut queue| queue.next()) {
            let mut command = Command::new(binaries.join(&target));
            let outcome = fuzz(&mut command, target, (&crate_dir, &place), seconds)?;
            outcomes.lock().ok().context("a run of another target died")?.push(outcome);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..JOBS).map(|_job| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().ok().context("a worker died")?)
    })?;
    let mut outcomes = outcomes.into_inner().ok().context("a run of a target died")?;
    outcomes.sort_by(|one, other| one.target.cmp(&other.target));
    report(&outcomes, &binaries)
}

fn build_all(crate_dir: &Path, targets: &[String]) -> Result<()> {
    let mut cargo = build::cargo();
    cargo.args(["build", "--quiet", "--locked"]).args(build::WORKSPACE);
    cargo.args(targets.iter().flat_map(|target| ["--bin", target]));
    let built = cargo.env("RUSTC_WORKSPACE_WRAPPER", crate_dir.join("rustc")).status();
    ensure!(
        built.context("build the fuzz targets")?.success(),
        "the fuzz targets could not be built"
    );
    Ok(())
}

fn fuzz(
    command: &mut Command,
    target: String,
    (crate_dir, place): (&Path, &Path),
    seconds: u64,
) -> Result<Outcome> {
    let [corpus, artifacts]: [PathBuf; 2] =
        ["corpus", "artifacts"].map(|name| place.join(name).join(&target));
    for directory in [&corpus, &artifacts] {
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    }
    let output = command
        .arg(corpus)
        .arg(crate_dir.join("seeds").join(&target))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg("-print_final_stats=1")
        .args(LIMITS)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run the fuzz target {target}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = |mark: &str| {
        let number = said.rsplit_once(mark)?.1.split_whitespace().next()?;
        number.parse().ok()
    };
    let executions = last("stat::number_of_executed_units:").unwrap_or_default();
    Ok(Outcome {
        executions,
        coverage: last(" cov:").unwrap_or_default(),
        found: last("stat::new_units_added:").unwrap_or_default(),
        target,
        failure: (!output.status.success() || executions == 0).then_some(said),
    })
}

fn report(outcomes: &[Outcome], binaries: &Path) -> Result<()> {
    eprintln!("target           executions  coverage  new inputs   failed");
    let mut failed = 0;
    for Outcome { target, executions, coverage, found, failure } in outcomes {
        let fails = u8::from(failure.is_some());
        eprintln!("{target:15} {executions:>11} {coverage:>9} {found:>11} {fails:>8}");
        failed += fails;
    }
    for Outcome { target, failure, .. } in outcomes {
        if let Some(said) = failure {
            explain(target, said, binaries);
        }
    }
    ensure!(failed == 0, "{failed} fuzz targets crashed or tried nothing");
    Ok(())
}

/// Shows why a target failed, and how to see it again.
fn explain(target: &str, said: &str, binaries: &Path) {
    let cause = |line: &&str| line.starts_with("thread '") || line.contains("ERROR: libFuzzer");
    let lines = said.lines().skip_while(|line| !cause(line));
    let lines: Vec<&str> = lines.take_while(|line| !line.starts_with("SUMMARY")).collect();
    eprintln!("\n{target}:\n{}", if lines.is_empty() { said.to_owned() } else { lines.join("\n") });
    if let Some((_, path)) = said.rsplit_once("Test unit written to ") {
        let path = path.lines().next().unwrap_or_default();
        eprintln!("again: {} {path}", binaries.join(target).display());
    }
}
