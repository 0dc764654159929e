//! What the privileged tiers share: the lab, a way to run awf in it and to look at everything it left, and the same command
//! without awf as positive control.
//!
//! Takes `AWF_BIN` (the awf to test), `AWF_LAB` (a lab that is up) and, in the docker tier, `AWF_TEST_RUNTIME` and
//! `DOCKER_HOST` (the lab's daemon, with images) from `cargo xtask test`. A missing requirement panics:
//! a tier that cannot run fails.

pub mod attempts;
pub mod bench;
pub mod server;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::CA_VARIABLES;
use xtask::docker::Docker;
use xtask::lab::Lab;

/// The lab the tests run in.
pub fn lab() -> Lab {
    Lab::load().expect("no lab is up: run the tests with `cargo xtask test`")
}

/// The awf under test.
pub fn awf() -> PathBuf {
    let path = std::env::var_os("AWF_BIN")
        .expect("AWF_BIN is not set: run the tests with `cargo xtask test`");
    assert!(nix::unistd::geteuid().is_root(), "this tier needs root");
    path.into()
}

/// The Docker daemon of the tier; none where the native runtime is tested.
pub fn docker() -> Option<Docker> {
    let runtime = std::env::var_os("AWF_TEST_RUNTIME")?;
    assert_eq!(runtime, "docker", "AWF_TEST_RUNTIME");
    let docker = Docker::of_the_machine();
    assert!(
        docker.host().is_some(),
        "DOCKER_HOST is not set: run the tests with `cargo xtask test`"
    );
    Some(docker)
}

/// The options that choose the runtime under test. Always given: left alone, awf looks for a daemon of the machine.
pub fn runtime_options() -> Vec<String> {
    let Some(docker) = docker() else { return ["--runtime", "native"].map(str::to_owned).to_vec() };
    let host = docker.host().unwrap_or_default();
    ["--runtime", "docker", "--docker-host", host].map(str::to_owned).to_vec()
}

/// A run of awf in the lab, to be configured.
#[derive(Debug)]
pub struct Run {
    arguments: Vec<OsString>,
    /// Where the run's logs go; a new directory for each run, removed with it.
    pub logs: PathBuf,
    stdin: Option<Vec<u8>>,
    proxy_variables: bool,
    environment: Vec<(String, String)>,
    directory: Option<PathBuf>,
}

/// What a run left.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code; 128 + n for a signal.
    pub code: i32,
    /// What the command wrote.
    pub stdout: String,
    /// What the command and awf wrote.
    pub stderr: String,
    /// Attempts in `egress.jsonl`.
    pub records: Vec<Value>,
    /// Its last line, if the run came to its end.
    pub summary: Option<Value>,
    /// `access.log`.
    pub access_log: String,
    /// From start to end.
    pub took: Duration,
}

static RUNS: AtomicU32 = AtomicU32::new(0);

impl Default for Run {
    fn default() -> Self {
        Self::new()
    }
}

impl Run {
    /// A run with an empty allow list.
    pub fn new() -> Self {
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let logs =
            std::env::temp_dir().join(format!("awf-test-logs-{}-{number}", std::process::id()));
        Self {
            arguments: Vec::new(),
            logs,
            stdin: None,
            proxy_variables: true,
            environment: Vec::new(),
            directory: None,
        }
    }

    /// A run that allows these domains.
    pub fn allowing(domains: &str) -> Self {
        Self::new().option("--allow-domains", domains)
    }

    /// Adds an option with its value.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.into(), value.into()]);
        self
    }

    /// Adds an option without value.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.arguments.push(name.into());
        self
    }

    /// Sets a variable of the caller's environment (not of the command's).
    #[must_use]
    pub fn caller_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets the command see no proxy variable: it must be served all the same.
    #[must_use]
    pub fn without_proxy_variables(mut self) -> Self {
        self.proxy_variables = false;
        self
    }

    /// Feeds the command's standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Runs awf in this directory.
    #[must_use]
    pub fn in_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Starts awf with a shell line and leaves it running.
    pub fn spawn(&self, line: &str) -> Child {
        let lab = lab();
        let mut command = lab.host_command(awf());
        for name in CA_VARIABLES {
            command.env_remove(name);
        }
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
            .args(runtime_options())
            .args(&self.arguments)
            .arg("--proxy-logs-dir")
            .arg(&self.logs);
        if !self.arguments.iter().any(|argument| argument == "--audit-dir") {
            command.arg("--audit-dir").arg(self.logs.join("audit"));
        }
        let ca = lab.ca();
        command.arg("--mount").arg(format!("{0}:{0}:ro", ca.display()));
        for name in CA_VARIABLES {
            command.arg("--env").arg(format!("{name}={}", ca.display()));
        }
        if !self.proxy_variables {
            for name in
                ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy"]
            {
                command.args(["--exclude-env", name]);
            }
        }
        command
            .args(["--", line])
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("awf starts")
    }

    /// Runs a shell line in the sandbox and collects everything.
    pub fn run(self, line: &str) -> Outcome {
        let began = Instant::now();
        let mut child = self.spawn(line);
        let feeder = self.stdin.clone().map(|bytes| {
            let mut pipe = child.stdin.take().expect("standard input is a pipe");
            std::thread::spawn(move || {
                // A command that does not read its input breaks the pipe; that is its right.
                drop(std::io::Write::write_all(&mut pipe, &bytes));
            })
        });
        let output = child.wait_with_output().expect("awf ends");
        if let Some(feeder) = feeder {
            feeder.join().expect("the input was fed");
        }
        self.outcome(&output, began.elapsed())
    }

    /// Collects what an awf that was spawned has left.
    pub fn outcome(&self, output: &Output, took: Duration) -> Outcome {
        use std::os::unix::process::ExitStatusExt as _;
        let read = |name: &str| fs::read_to_string(self.logs.join(name)).unwrap_or_default();
        let lines = read("egress.jsonl");
        let (records, others): (Vec<Value>, Vec<Value>) =
            lines.lines().map(parsed).partition(|line| line["event"] == "attempt");
        let summary = others.into_iter().find(|line| line["event"] == "summary");
        let access_log = read("access.log");
        Outcome {
            code: output
                .status
                .code()
                .or_else(|| output.status.signal().map(|signal| 128 + signal))
                .expect("awf ended"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            records,
            summary,
            access_log,
            took,
        }
    }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// How many attempts the lines of a record stand for that have this part.
pub fn attempts_with(record: &str, part: &str) -> usize {
    let lines = record.lines().filter(|line| line.contains(part)).map(parsed);
    lines.filter(|line| line["event"] == "attempt").map(|line| attempts(&line)).sum()
}

/// How many attempts a record stands for.
pub fn attempts(record: &Value) -> usize {
    record["count"].as_u64().map_or(1, |count| count.try_into().expect("a count"))
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.logs));
    }
}

impl Outcome {
    /// Asserts that the command succeeded, and shows everything if it did not.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "the command failed:\n{self:#?}");
        self
    }

    /// Asserts that the command failed.
    #[track_caller]
    pub fn failed(self) -> Self {
        assert_ne!(self.code, 0, "the command succeeded:\n{self:#?}");
        self
    }

    /// Records for which the predicate holds.
    pub fn records_where(&self, holds: impl Fn(&Value) -> bool) -> Vec<&Value> {
        self.records.iter().filter(|record| holds(record)).collect()
    }

    /// Asserts that a denial is on record whose fields equal these.
    #[track_caller]
    pub fn recorded(self, fields: &[(&str, Value)]) -> Self {
        let found = !self
            .records_where(|record| fields.iter().all(|(name, value)| &record[*name] == value))
            .is_empty();
        assert!(found, "no record has {fields:?}:\n{self:#?}");
        self
    }
}

/// Runs a shell line in the lab's host namespace without awf: the positive control.
pub fn unconfined(line: &str) -> Output {
    let lab = lab();
    let ca = lab.ca();
    let mut command = lab.host_command("/bin/bash");
    for name in CA_VARIABLES {
        command.env(name, &ca);
    }
    command.args(["-c", line]).stdin(Stdio::null()).output().expect("bash starts")
}

/// Major and minor version of the running kernel.
pub fn kernel_version() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs is mounted");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut number = || numbers.next().and_then(Result::ok).expect("a version has two numbers");
    (number(), number())
}

/// A directory for one test, removed when dropped; every user may enter it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it.
    pub fn new(name: &str) -> Self {
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from("/var/tmp")
            .join(format!("awf-test-{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("the scratch directory can be made");
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Everything a run may leave on the machine: compared before and after, it must be the same.
pub fn leftovers() -> Vec<String> {
    let mut found = Vec::new();
    let list = |command: &mut Command| {
        String::from_utf8_lossy(&command.output().expect("the command runs").stdout).into_owned()
    };
    for directory in ["/run/awf", "/var/lib/awf", "/sys/fs/bpf"] {
        if let Ok(entries) = fs::read_dir(directory) {
            found.extend(entries.flatten().map(|entry| entry.path().display().to_string()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    found.extend(mounts.lines().filter(|line| line.contains("awf-1")).map(str::to_owned));
    let cgroups = list(Command::new("find").args(["/sys/fs/cgroup", "-name", "awf-1*"]));
    found.extend(cgroups.lines().map(str::to_owned));
    if let Some(docker) = docker() {
        let containers = docker.containers("awf-").expect("the daemon answers");
        found.extend(containers.into_iter().map(|name| format!("container {name}")));
    }
    found.retain(|entry| !entry.ends_with("/.lock"));
    found.sort();
    found
}
