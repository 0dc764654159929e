//! Builds the kernel object: the one place that knows how. Used by `awf/build.rs`.
//!
//! Takes: a target directory and, from the environment, `AWF_EBPF_OBJECT` (a prebuilt object to take as it is) or
//! `AWF_EBPF_STUB=1` (an empty file, for check and clippy without a BPF linker; refused for release builds by `build.rs`).
//! Gives: the path of the object. Must never: download anything.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

/// The BPF target: little-endian, as every machine awf runs on.
const TARGET: &str = "bpfel-unknown-none";

/// A compiler that can make BPF code.
struct Toolchain {
    rustc: PathBuf,
    /// Whether `core` must be compiled too: Debian ships it for BPF, rustup only as source (component rust-src).
    builds_core: bool,
}

/// Puts the kernel object at `object`, building below `target_dir`.
pub(crate) fn place(workspace: &Path, target_dir: &Path, object: &Path) -> Result<()> {
    if env::var_os("AWF_EBPF_STUB").is_some_and(|value| value == "1") {
        return fs::write(object, []).context("write the stub object");
    }
    let built = match env::var_os("AWF_EBPF_OBJECT") {
        Some(given) => PathBuf::from(given),
        None => build(workspace, target_dir)?,
    };
    fs::copy(&built, object)
        .with_context(|| format!("copy the kernel object {}", built.display()))?;
    Ok(())
}

fn build(workspace: &Path, target_dir: &Path) -> Result<PathBuf> {
    let toolchain = find_toolchain()?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace)
        .args(["build", "--package", "awf-ebpf", "--release", "--locked", "--target", TARGET])
        .arg("--target-dir")
        .arg(target_dir)
        .env("RUSTC", &toolchain.rustc)
        // No debug information, hence no BTF: nothing here needs it, and parsing it would double awf's start-up time.
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--remap-path-prefix={}=/awf", workspace.display()))
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTUP_TOOLCHAIN");
    if toolchain.builds_core {
        cargo.args(["-Z", "build-std=core"]).env("RUSTC_BOOTSTRAP", "1");
    } else {
        // Unstable features (inline assembly for BPF) for the crates that need them and no others.
        cargo.env("RUSTC_BOOTSTRAP", "aya_ebpf,aya_ebpf_bindings");
    }
    let status = cargo.status().context("run cargo for the kernel object")?;
    ensure!(
        status.success(),
        "building the kernel object failed (is bpf-linker on the PATH? `cargo xtask setup` installs it)"
    );
    Ok(target_dir.join(TARGET).join("release/awf-ebpf"))
}

/// `AWF_EBPF_RUSTC` if given, else rustup's nightly with rust-src, else the distribution's compiler.
fn find_toolchain() -> Result<Toolchain> {
    let mut candidates: Vec<PathBuf> = Vec::new();
    if let Some(given) = env::var_os("AWF_EBPF_RUSTC") {
        candidates.push(given.into());
    } else {
        candidates.extend(rustup_nightly());
        candidates.push("/usr/bin/rustc".into());
        candidates.push("/usr/bin/rustc-web".into());
    }
    for rustc in candidates {
        let Some(library) = target_library(&rustc) else { continue };
        if library.join(TARGET).join("lib").is_dir() {
            return Ok(Toolchain { rustc, builds_core: false });
        }
        if library.join("src/rust/library/core").is_dir() {
            return Ok(Toolchain { rustc, builds_core: true });
        }
    }
    bail!(
        "no compiler for BPF found: run `cargo xtask setup`, or install rustup's nightly with its rust-src component, \
         or Debian's rustc-web and libstd-rust-web-dev-bpf"
    )
}

fn rustup_nightly() -> Option<PathBuf> {
    let output =
        Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}

/// `<sysroot>/lib/rustlib` of a compiler that runs.
fn target_library(rustc: &Path) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let sysroot = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| Path::new(sysroot.trim()).join("lib/rustlib"))
}
