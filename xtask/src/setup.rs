//! `setup`: what a bare machine lacks. Idempotent; asks before it installs, unless told not to or in CI.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use xtask::lab;

use crate::step::step;
use crate::vm;

/// What awf needs on a Debian-like machine, for running and for linking.
const PACKAGES: [&str; 4] = ["squid", "iproute2", "gcc", "libc6-dev"];

/// What compiles the kernel programs where rustup's nightly with rust-src is not there to do it.
const COMPILER: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// What bpf-linker is built against where there is no released LLVM for it.
const LLVM: [&str; 4] = ["llvm-22-dev", "libpolly-22-dev", "zlib1g-dev", "libzstd-dev"];

/// Programs that the clients tier needs, each with the package that brings it where it is missing.
const CLIENTS: [(&str, &str); 10] = [
    ("curl", "curl"),
    ("dig", "bind9-dnsutils"),
    ("wget", "wget"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("javac", "default-jdk-headless"),
    ("gh", "gh"),
    ("gdb", "gdb"),
    ("chromium", "chromium"),
    ("certutil", "libnss3-tools"),
];

/// Packages that the clients tier needs beside them.
const PYTHON: [&str; 3] = ["python3-requests", "python3-aiohttp", "python3-pip"];

/// Programs of the Docker runtime's images and of the lab's daemon, each with the package that brings it where it is missing:
/// beside another vendor's packages Debian's cannot be installed.
const DOCKER: [(&str, &str); 5] = [
    ("dockerd", "docker.io"),
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("debootstrap", "debootstrap"),
];

/// What newer releases package apart from the daemon.
const DOCKER_CLIENT: (&str, &str) = ("docker", "docker-cli");

/// What compiles libFuzzer.
const FUZZER: &str = "g++";

/// What a machine must be able to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Build awf and run it.
    Run,
    /// The same in the lab.
    Lab,
    /// The same with a Docker daemon, or make the images of one.
    Docker,
    /// Run every test.
    Test,
}

/// Where Debian's package puts LLVM 22, for bpf-linker's build.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// Options of `setup`.
#[derive(Args)]
pub(crate) struct Setup {
    /// Install without asking.
    #[arg(long, short)]
    yes: bool,
}

impl Setup {
    /// Installs what is missing.
    pub(crate) fn run(&self) -> Result<()> {
        ensure(self.yes, Purpose::Test)
    }
}

/// What `run`, `test` and `bench` call first: does nothing on a machine that has everything.
pub(crate) fn complete(purpose: Purpose) -> Result<()> {
    ensure(false, purpose)
}

fn ensure(yes: bool, purpose: Purpose) -> Result<()> {
    let packages = missing_packages(purpose)?;
    let linker = find("bpf-linker").is_none();
    let built = linker.then(|| "bpf-linker (built from the crate registry)".to_owned());
    let wanted: Vec<String> = packages.iter().cloned().chain(built).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    eprintln!("awf needs: {}", wanted.join(", "));
    ensure!(yes || env::var_os("CI").is_some() || asked()?, "nothing was installed");
    if !packages.is_empty() {
        step("update the package lists", root("apt-get").args(["update", "-q"]))?;
        step(
            "install packages",
            root("apt-get")
                .args(["install", "-y", "-q", "--no-install-recommends"])
                .args(&packages)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )?;
    }
    if linker {
        step(
            "build bpf-linker",
            Command::new("cargo")
                .args(["install", "bpf-linker", "--no-default-features", "--features", "llvm-22"])
                .env("LLVM_PREFIX", LLVM_PREFIX)
                .env("LLVM_SYS_221_PREFIX", LLVM_PREFIX),
        )?;
    }
    Ok(())
}

/// Packages that are wanted and that dpkg does not report as installed.
fn missing_packages(purpose: Purpose) -> Result<Vec<String>> {
    if find("dpkg-query").is_none() {
        eprintln!(
            "not a Debian-like machine: install Squid, iproute2 and a BPF compiler yourself (see README)"
        );
        return Ok(Vec::new());
    }
    let mut wanted: Vec<&str> = PACKAGES.to_vec();
    if !nightly_has_sources() {
        wanted.extend(COMPILER);
    }
    if find("bpf-linker").is_none() {
        wanted.extend(LLVM);
    }
    if purpose != Purpose::Run {
        wanted.extend(lab::requirements());
    }
    if matches!(purpose, Purpose::Docker | Purpose::Test) {
        wanted.extend(missing(&DOCKER));
        if find(DOCKER_CLIENT.0).is_none() && has_package(DOCKER_CLIENT.1) {
            wanted.push(DOCKER_CLIENT.1);
        }
    }
    if purpose == Purpose::Test {
        wanted.extend(PYTHON);
        wanted.extend(vm::PACKAGES);
        wanted.push(FUZZER);
        wanted.extend(missing(&CLIENTS));
    }
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(&wanted)
        .stderr(Stdio::null())
        .output()
        .context("ask dpkg what is installed")?;
    let known = String::from_utf8_lossy(&output.stdout);
    let installed: Vec<&str> =
        known.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    Ok(wanted
        .into_iter()
        .filter(|package| !installed.contains(package))
        .map(str::to_owned)
        .collect())
}

/// Packages of the programs that are not there.
fn missing(programs: &'static [(&str, &str)]) -> impl Iterator<Item = &'static str> {
    programs.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package)
}

/// Whether apt knows a package of this name.
fn has_package(name: &str) -> bool {
    let mut query = Command::new("apt-cache");
    query.args(["show", name]).stdout(Stdio::null()).stderr(Stdio::null());
    query.status().is_ok_and(|status| status.success())
}

/// Whether rustup's nightly can compile `core` for BPF.
fn nightly_has_sources() -> bool {
    let output = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--print", "sysroot"])
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| {
        let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success()
            && Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").is_dir()
    })
}

fn asked() -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("not a terminal: run `cargo xtask setup --yes`");
    }
    eprint!("Install them now? [Y/n] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "" | "y" | "Y" | "yes"))
}

/// A command that needs root.
fn root(program: &str) -> Command {
    if nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("--preserve-env=DEBIAN_FRONTEND").arg(program);
    command
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .chain([Path::new("/usr/sbin").to_owned()])
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
