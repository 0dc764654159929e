//! `test vm`: the privileged tests on the distribution's kernels, each booted in a virtual machine of its own.
//!
//! [`kernel`] fetches, [`machine`] boots, [`guest`] is process 1 in there. Gives one row of a table for each kernel, and
//! the verifier's instruction counts. What is different on a kernel is said by the tests' own tables: a hook that should
//! be there and does not load is a failure, never a skip. Needs root, QEMU and virtiofsd.

pub(crate) mod guest;
mod kernel;
mod machine;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs};

use anyhow::{Context as _, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use xtask::docker::HOST_VARIABLE;
use xtask::vectors::report::{self, Summary};

use crate::test::RUNTIME_VARIABLE;
use crate::{build, images};
use guest::{Job, Work};
use kernel::{Kernel, SERIES, Series};
use machine::Told;

/// The Debian packages this tier needs.
pub(crate) const PACKAGES: [&str; 7] = [
    if cfg!(target_arch = "aarch64") { "qemu-system-arm" } else { "qemu-system-x86" },
    "qemu-system-common",
    // Docker's daemon needs it where AppArmor is active, as on the kernel 5.10.
    "apparmor",
    "kmod",
    "cpio",
    "xz-utils",
    "debian-archive-keyring",
];

/// The job that gives what the tests told of the vectors, and where they tell it.
const VECTORS: &str = "vectors";
const GUESTS_VECTORS: &str = "/run/vectors.jsonl";

/// The jobs that are not tests.
const NO_TESTS: [&str; 5] = ["loopback", "modules", "lab", IMAGES, VECTORS];
/// The job that starts the Docker daemon of the guest's lab and gives it images.
const IMAGES: &str = "images";
/// Where that daemon listens.
const GUESTS_DOCKER: &str = "unix:///run/awf-lab/vm/docker.sock";
/// Of the tests of whole runs with the Docker runtime, those that handle streams, sockets and processes, which LSM programs
/// look at. Emulation is too slow for all of them.
const OF_DOCKER: [(&str, &str); 3] =
    [("docker", "container::"), ("native", "streams::"), ("native", "sockets::")];

/// Loads what the rows of the vectors' table need and this kernel has; a row says itself what a kernel lacks.
const LOAD_MODULES: &str = "for module in rds_tcp tipc tun vhost_net vhost_vsock vsock_loopback loop sctp l2tp_ip \
                            l2tp_ip6 udp_diag; do modprobe -q $module; done; true";

/// The kernel that every run of all tiers boots.
const SLICE: &str = "6.1";

/// The part of the escape tier that it runs there: the table of vectors.
const SLICE_OF_ESCAPE: &str = "vectors::";

/// The part of the fault tier that needs a memory controller, which not every machine has.
const OUT_OF_MEMORY: &str = "memory::";

/// One kernel, and of the escape tier the system calls only.
pub(crate) fn slice(awf: &Path) -> Result<()> {
    run(awf, Some(SLICE), SLICE_OF_ESCAPE)
}

/// Every kernel, or the one whose series is named, and all of the tiers.
pub(crate) fn whole(awf: &Path, series: Option<&str>) -> Result<()> {
    run(awf, series, "")
}

fn run(awf: &Path, series: Option<&str>, of_escape: &str) -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "this tier needs root: run it with sudo");
    let wanted: Vec<&Series> =
        SERIES.iter().filter(|known| series.is_none_or(|name| name == known.name)).collect();
    if wanted.is_empty() {
        let known: Vec<&str> = SERIES.iter().map(|series| series.name).collect();
        bail!("no such kernel; there are: {}", known.join(", "));
    }
    let place = build::target_directory()?.join("vm");
    let jobs = Jobs::build(awf, of_escape)?;
    let mut failed = Vec::new();
    let mut verified = Verified::default();
    for series in wanted {
        // A kernel that does not boot must not hide what failed on those before it.
        match try_series(series, &jobs, &place, &mut verified) {
            Ok(failures) => failed.extend(failures),
            Err(error) => failed.push(format!("the kernel {}: {error:#}", series.name)),
        }
    }
    eprint!("{verified}");
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    Ok(())
}

/// Fetches and boots one kernel, prints its rows, and gives what failed on it.
fn try_series(
    series: &Series,
    jobs: &Jobs<'_>,
    place: &Path,
    verified: &mut Verified,
) -> Result<Vec<String>> {
    let kernel = Kernel::of(series, &place.join("kernels")).context("fetch it")?;
    let place = place.join(series.name);
    let (told, boots) = boot(&kernel, jobs, &place)?;
    let again = if boots > 1 { "  (booted twice)" } else { "" };
    let mut failed = Vec::new();
    for job in &told {
        if !is_sound(job) {
            failed.push(format!("{} on {}:\n{}", job.name, kernel.release, job.lines.join("\n")));
        }
        eprintln!("{:<30} {}{again}", kernel.release, row(job));
    }
    if let Err(error) = check_vectors(&told, &place) {
        failed.push(format!("vectors on {}: {error:#}", kernel.release));
    }
    verified.add(&kernel.release, &told);
    Ok(failed)
}

/// Whether a job succeeded, and if it is a test, whether it tested something: a filter that matches none proves nothing.
fn is_sound(job: &Told) -> bool {
    let mut counts = job.lines.iter().filter_map(|line| line.strip_prefix("test result: ok. "));
    job.code == 0
        && (NO_TESTS.contains(&job.name.as_str())
            || counts.any(|counts| !counts.starts_with("0 passed")))
}

/// A job in a line.
fn row(job: &Told) -> String {
    let verdict = if is_sound(job) { "passed" } else { "FAILED" };
    let mut results = job.lines.iter().filter_map(|line| line.strip_prefix("test result: "));
    let counts =
        results.next_back().and_then(|line| line.split_once("; 0 ignored")).unwrap_or_default().0;
    format!("{:<8} {verdict} in {:>4} s  {counts}", job.name, job.seconds)
}

/// Prints what the tests told of the vectors, which they wrote into a file of the guest. Something must be there, but no escape.
fn check_vectors(told: &[Told], place: &Path) -> Result<()> {
    let job = told.iter().find(|job| job.name == VECTORS).context("they were not asked for")?;
    ensure!(job.code == 0, "the tests told nothing");
    let path = place.join("vectors.jsonl");
    fs::write(&path, job.lines.join("\n"))?;
    let summary = Summary::read(&path)?;
    eprintln!("{}", summary.counts());
    ensure!(!summary.is_empty(), "the tests told nothing");
    summary.check()
}

/// What a kernel says on its console of a fault of its own.
const KERNEL_FAULTS: [&str; 3] = ["Kernel panic", "BUG:", "Oops"];

/// Boots once, and once more if the guest died without a fault of its kernel: emulated ones do, rarely. What the first one
/// left is kept. Gives the jobs, and how often it booted.
fn boot(kernel: &Kernel, jobs: &Jobs<'_>, place: &Path) -> Result<(Vec<Told>, u8)> {
    let progress = ProgressBar::new_spinner().with_prefix(kernel.release.clone());
    progress.set_style(ProgressStyle::with_template("{spinner} {prefix}: {msg} ({elapsed})")?);
    progress.enable_steady_tick(Duration::from_millis(120));
    let work = jobs.work(kernel)?;
    let kept = place.with_added_extension("first");
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    let first = machine::boot(kernel, &work, place, &progress).map(|told| (told, 1));
    let told = first.or_else(|error| {
        let console = fs::read(place.join("console")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        if KERNEL_FAULTS.iter().any(|fault| console.contains(fault)) {
            return Err(error);
        }
        fs::rename(place, &kept)?;
        eprintln!("{error:#}; its files are in {} now; once more", kept.display());
        Ok((machine::boot(kernel, &work, place, &progress)?, 2))
    });
    progress.finish_and_clear();
    told
}

/// The programs that the guests run.
struct Jobs<'a> {
    /// Filter of the escape tier.
    of_escape: &'a str,
    xtask: PathBuf,
    awf: PathBuf,
    tests: Vec<(String, PathBuf)>,
}

impl<'a> Jobs<'a> {
    fn build(awf: &Path, of_escape: &'a str) -> Result<Self> {
        if of_escape.is_empty() {
            // A guest builds images on this; it sees the target directory but cannot write into it.
            images::base::pack()?;
        }
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
        Ok(Self {
            of_escape,
            xtask: std::env::current_exe()?,
            awf: awf.to_owned(),
            tests: tests.collect(),
        })
    }

    /// What a kernel's guest has to do: bring up a lab of its own, then the tests.
    fn work(&self, kernel: &Kernel) -> Result<Work> {
        let mut jobs = vec![
            self.job("loopback", Path::new("/sbin/ip"), &["link", "set", "lo", "up"]),
            self.job("modules", Path::new("/bin/sh"), &["-c", LOAD_MODULES]),
            self.job("lab", &self.xtask, &["lab", "up"]),
        ];
        for (name, filter) in
            [("kernel", ""), ("lsm", ""), ("escape", self.of_escape), ("fault", OUT_OF_MEMORY)]
        {
            let mut arguments = vec!["--nocapture", "--test-threads=2"];
            arguments.extend(Some(filter).filter(|filter| !filter.is_empty()));
            jobs.push(self.job(name, self.test(name)?, &arguments));
        }
        jobs.push(self.job(VECTORS, Path::new("/bin/cat"), &[GUESTS_VECTORS]));
        if self.of_escape.is_empty() {
            jobs.push(self.job(IMAGES, &self.xtask, &["images", "--lab"]));
            for (name, filter) in OF_DOCKER {
                let mut job =
                    self.job(name, self.test(name)?, &[filter, "--nocapture", "--test-threads=1"]);
                let of_docker = [(RUNTIME_VARIABLE, "docker"), (HOST_VARIABLE, GUESTS_DOCKER)];
                let of_docker = of_docker.map(|(name, value)| (name.to_owned(), value.to_owned()));
                job.environment.extend(of_docker);
                jobs.push(job);
            }
        }
        let shared = vec![build::workspace().to_owned(), build::target_directory()?];
        Ok(Work { modules: kernel.modules.clone(), shared, jobs })
    }

    fn test(&self, name: &str) -> Result<&Path> {
        let test = self.tests.iter().find(|(known, _program)| known == name);
        let (_name, program) = test.with_context(|| format!("the test {name} was not built"))?;
        Ok(program)
    }

    fn job(&self, name: &str, program: &Path, arguments: &[&str]) -> Job {
        let awf = self.awf.display().to_string();
        let environment = [
            ("AWF_LAB", "vm".to_owned()),
            ("AWF_BIN", awf),
            (report::VARIABLE, GUESTS_VECTORS.to_owned()),
        ];
        Job {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        }
    }
}

/// How many instructions the verifier walked through, by program and kernel.
#[derive(Default)]
struct Verified {
    kernels: Vec<String>,
    programs: BTreeMap<String, BTreeMap<String, String>>,
}

impl Verified {
    /// Reads the lines `verified PROGRAM COUNT` of the kernel tier.
    fn add(&mut self, release: &str, told: &[Told]) {
        self.kernels.push(release.to_owned());
        for line in told.iter().flat_map(|job| &job.lines) {
            if let ["verified", program, count] = line.split(' ').collect::<Vec<_>>().as_slice() {
                let counts = self.programs.entry((*program).to_owned()).or_default();
                counts.insert(release.to_owned(), (*count).to_owned());
            }
        }
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<18}", "verifier's steps")?;
        self.kernels.iter().try_for_each(|kernel| write!(f, "{kernel:>32}"))?;
        for (program, counts) in &self.programs {
            write!(f, "\n{program:<18}")?;
            for kernel in &self.kernels {
                write!(f, "{:>32}", counts.get(kernel).map_or("-", String::as_str))?;
            }
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, code: i32, line: &str) -> Told {
        Told { name: name.to_owned(), code, seconds: 1, lines: vec![line.to_owned()] }
    }

    #[test]
    fn a_test_that_ran_nothing_or_did_not_end_is_not_sound() {
        assert!(is_sound(&told("kernel", 0, "test result: ok. 3 passed; 0 failed; 0 ignored")));
        assert!(is_sound(&told("lab", 0, "")));
        assert!(!is_sound(&told("kernel", 0, "test result: ok. 0 passed; 0 failed; 0 ignored")));
        assert!(!is_sound(&told("kernel", 0, "")));
        assert!(!is_sound(&told("kernel", 101, "test result: ok. 3 passed; 0 failed; 0 ignored")));
        assert!(!is_sound(&told("lab", 1, "")));
    }
}
