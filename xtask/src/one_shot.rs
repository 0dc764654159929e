//! Builds the preload library for one-shot tokens: the one place that knows how. Used by `awf/build.rs`.
//!
//! Takes: the target of awf, a target directory and, from the environment, `AWF_EBPF_STUB=1` (an empty file, for check and
//! clippy). Gives: the library, for the same architecture, but dynamic and without any library that it needs.
//! Must never: download anything.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// No start files and no libraries: what the library calls is in every process that can load it. `now`: if something were
/// missing, the program would end at its start, where the proof sees it, rather than at a call. Both hashes: musl and glibc.
const FLAGS: [&str; 5] = [
    "-Ctarget-feature=-crt-static",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-Wl,-z,now,-z,relro,--hash-style=both",
    "-Cpanic=abort",
];

/// Puts the library at `library`, building below `target_dir`.
pub(crate) fn place(workspace: &Path, target_dir: &Path, library: &Path) -> Result<()> {
    if env::var_os("AWF_EBPF_STUB").is_some_and(|value| value == "1") {
        return fs::write(library, []).context("write the stub library");
    }
    let target = env::var("TARGET").context("cargo sets TARGET")?;
    let remap = format!("--remap-path-prefix={}=/awf", workspace.display());
    let flags = FLAGS.iter().copied().chain([&*remap]).collect::<Vec<_>>();
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace)
        .args(["build", "--package", "awf-one-shot", "--release", "--locked", "--target", &target])
        .arg("--target-dir")
        .arg(target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // One object: what core brings along and nobody uses is left out, its unwinding tables above all.
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()
        .context("run cargo for the preload library")?;
    ensure!(status.success(), "building the preload library failed");
    let built = target_dir.join(target).join("release/libawf_one_shot.so");
    fs::copy(&built, library)
        .with_context(|| format!("copy the preload library {}", built.display()))?;
    Ok(())
}
