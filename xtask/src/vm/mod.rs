//! `test vm`: the privileged tests on the distribution's kernels, each booted in a virtual machine of its own.
//!
//! [`kernel`] fetches, [`machine`] boots, [`guest`] is process 1 in there. Gives one row of a table for each kernel, and
//! the verifier's instruction counts. What is different on a kernel is said by the tests' own tables: a hook that should
//! be there and does not load is a failure, never a skip. Needs root, QEMU and virtiofsd.

pub(crate) mod guest;
mod kernel;
mod machine;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::build;
use guest::{Job, Work};
use kernel::{Kernel, SERIES, Series};
use machine::Told;

/// The Debian packages this tier needs.
pub(crate) const PACKAGES: [&str; 6] = [
    if cfg!(target_arch = "aarch64") { "qemu-system-arm" } else { "qemu-system-x86" },
    "qemu-system-common",
    "kmod",
    "cpio",
    "xz-utils",
    "debian-archive-keyring",
];

/// The kernel that every continuous integration boots.
pub(crate) const SLICE: &str = "6.1";

/// Boots every kernel, or the one whose series is named.
pub(crate) fn test(awf: &Path, series: Option<&str>) -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "this tier needs root: run it with sudo");
    let wanted: Vec<&Series> =
        SERIES.iter().filter(|known| series.is_none_or(|name| name == known.name)).collect();
    if wanted.is_empty() {
        let known: Vec<&str> = SERIES.iter().map(|series| series.name).collect();
        bail!("no such kernel; there are: {}", known.join(", "));
    }
    let place = build::target_directory()?.join("vm");
    let jobs = Jobs::build(awf)?;
    let mut failed = Vec::new();
    let mut table = Table::default();
    for series in wanted {
        let kernel = Kernel::of(series, &place.join("kernels"))
            .with_context(|| format!("fetch the kernel {}", series.name))?;
        let told = boot(&kernel, &jobs, &place.join(series.name))?;
        for job in told.iter().filter(|job| job.code != 0) {
            failed.push(format!("{} on {}:\n{}", job.name, kernel.release, job.lines.join("\n")));
        }
        table.add(&kernel.release, &told);
    }
    table.print();
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    Ok(())
}

/// Boots once, and once more if the guest died: emulated kernels do, rarely.
fn boot(kernel: &Kernel, jobs: &Jobs, place: &Path) -> Result<Vec<Told>> {
    let progress = ProgressBar::new_spinner().with_prefix(kernel.release.clone());
    progress.set_style(ProgressStyle::with_template("{spinner} {prefix}: {msg} ({elapsed})")?);
    progress.enable_steady_tick(Duration::from_millis(120));
    let work = jobs.work(kernel)?;
    let told = machine::boot(kernel, &work, place, &progress).or_else(|error| {
        eprintln!("{error:#}; once more");
        machine::boot(kernel, &work, place, &progress)
    });
    progress.finish_and_clear();
    told
}

/// The programs that the guests run.
struct Jobs {
    xtask: PathBuf,
    awf: PathBuf,
    tests: Vec<(String, PathBuf)>,
}

impl Jobs {
    fn build(awf: &Path) -> Result<Self> {
        let output = build::cargo()
            .args([
                "test",
                "--locked",
                "--package",
                "awf-tests",
                "--no-run",
                "--message-format=json",
            ])
            .output()
            .context("build the tests")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let messages =
            text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let tests = messages.filter_map(|message| {
            let name = message.pointer("/target/name")?.as_str()?.to_owned();
            Some((name, message.get("executable")?.as_str()?.into()))
        });
        Ok(Self { xtask: std::env::current_exe()?, awf: awf.to_owned(), tests: tests.collect() })
    }

    /// What a kernel's guest has to do: bring up a lab of its own, then the tests.
    fn work(&self, kernel: &Kernel) -> Result<Work> {
        let mut jobs = vec![self.job("lab", &self.xtask, &["lab", "up"])];
        for (name, filter) in [("kernel", ""), ("escape", "")] {
            let test = self.tests.iter().find(|(known, _program)| known == name);
            let (_name, program) =
                test.with_context(|| format!("the test {name} was not built"))?;
            let mut arguments = vec!["--nocapture", "--test-threads=2"];
            arguments.extend(Some(filter).filter(|filter| !filter.is_empty()));
            jobs.push(self.job(name, program, &arguments));
        }
        let shared = vec![build::workspace().to_owned(), build::target_directory()?];
        Ok(Work { modules: kernel.modules.clone(), shared, jobs })
    }

    fn job(&self, name: &str, program: &Path, arguments: &[&str]) -> Job {
        let awf = self.awf.display().to_string();
        let environment = [("AWF_LAB", "vm".to_owned()), ("AWF_BIN", awf)];
        Job {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        }
    }
}

/// What is printed at the end.
#[derive(Default)]
struct Table {
    rows: Vec<String>,
}

impl Table {
    fn add(&mut self, release: &str, told: &[Told]) {
        for job in told {
            let verdict = if job.code == 0 { "passed" } else { "FAILED" };
            let counts = job.lines.iter().rev().find_map(|line| line.strip_prefix("test result: "));
            let counts = counts.unwrap_or_default().split(" filtered").next().unwrap_or_default();
            self.rows.push(format!(
                "{release:<30} {:<8} {verdict} in {:>4} s  {counts}",
                job.name, job.seconds
            ));
        }
    }

    fn print(&self) {
        for row in &self.rows {
            eprintln!("{row}");
        }
    }
}
