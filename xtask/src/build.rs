//! Building the workspace's programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The workspace's root.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// The crates that are built for this machine as they are. Whatever is built for a test names all of them: cargo settles the
/// features of dependencies by what is named, and would compile most of them again for every other choice.
pub(crate) const WORKSPACE: [&str; 5] =
    ["--workspace", "--exclude", "awf-ebpf", "--exclude", "awf-one-shot"];

/// The same without the fuzz targets, which need a compiler for C++.
pub(crate) const CRATES: [&str; 7] =
    ["--workspace", "--exclude", "awf-ebpf", "--exclude", "awf-one-shot", "--exclude", "awf-fuzz"];

/// Builds the release of awf, as it is installed, and gives its path.
pub(crate) fn release() -> Result<PathBuf> {
    built("release", &["--release", "--package", "awf"])
}

/// Builds the awf that is tested, with the checks of debug builds and the dependencies of the tests, and gives its path.
pub(crate) fn tested() -> Result<PathBuf> {
    built("debug", &[&CRATES[..], &["--bin", "awf"]].concat())
}

fn built(directory: &str, arguments: &[&str]) -> Result<PathBuf> {
    let mut cargo = cargo();
    let status = cargo.args(["build", "--quiet", "--locked"]).args(arguments).status();
    ensure!(status.context("build awf")?.success(), "awf could not be built");
    let built = target_directory()?.join(host_triple()?).join(directory).join("awf");
    ensure!(built.is_file(), "{} is missing after the build", built.display());
    Ok(built)
}

/// cargo, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .context("ask cargo for the target directory")?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let directory = metadata.get("target_directory").and_then(|value| value.as_str());
    Ok(PathBuf::from(directory.context("cargo names no target directory")?))
}

/// The target of this machine.
pub(crate) fn host_triple() -> Result<String> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("-vV")
        .output()
        .context("ask rustc for the host")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}
