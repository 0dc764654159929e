//! The base of both images: one that is named, the default one, or one made of the machine's own distribution.
//!
//! The made one holds every package that the images need. It is kept as an archive below the target directory, so that a
//! fresh daemon has it within seconds. Must never write or say where the machine gets its packages from: mirrors are private.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use xtask::docker::Docker;

use super::{Base, RECIPE, VERSION, fingerprint};
use crate::build;
use crate::step::{step, step_hiding};

/// What the Dockerfiles name.
const DEFAULT: &str = "debian:bookworm-slim";
/// Packages of the made base, beside the essential ones: those of both Dockerfiles.
const PACKAGES: &str = "bash,ca-certificates,curl,libcap2-bin,squid";
/// How long a daemon may take to pull the default, in seconds. Without a network it gives up by itself, mostly.
const PULL_SECONDS: &str = "120";
/// Makes the archive: strip.sh ROOT ARCHIVE.
const STRIP: &str = include_str!("strip.sh");

/// The image of this name, pulled if the daemon has no such.
pub(super) fn named(docker: &Docker, reference: &str) -> Result<Base> {
    let id = if let Some(id) = docker.image(reference) {
        id
    } else {
        step(&format!("pull {reference}"), docker.client()?.args(["pull", reference]))?;
        docker.image(reference).context("the image is missing after it was pulled")?
    };
    Ok(Base { reference: reference.to_owned(), id, complete: false })
}

/// The default image, if the daemon can have it.
pub(super) fn pulled(docker: &Docker) -> Option<Base> {
    if docker.image(DEFAULT).is_none() {
        eprintln!("pull {DEFAULT} ...");
        // The client ends with `timeout`, and the daemon stops pulling with the client.
        let client = docker.client().ok()?;
        let mut pull = Command::new("timeout");
        pull.arg(PULL_SECONDS).arg(client.get_program()).args(["pull", "--quiet", DEFAULT]);
        for (name, value) in client.get_envs() {
            match value {
                Some(value) => pull.env(name, value),
                None => pull.env_remove(name),
            };
        }
        let status = pull.stdin(Stdio::null()).stdout(Stdio::null()).status().ok()?;
        if !status.success() {
            eprintln!(
                "{DEFAULT} cannot be pulled: the base is made of this machine's distribution"
            );
            return None;
        }
    }
    named(docker, DEFAULT).ok()
}

/// The base made of the machine's distribution.
pub(super) fn made(docker: &Docker) -> Result<Base> {
    let suite = suite()?;
    let recipe = recipe(&suite);
    let reference = format!("awf-base:{VERSION}");
    if docker.label(&reference, RECIPE).as_ref() != Some(&recipe) {
        let archive = archive(&suite, &recipe)?;
        let label = format!("LABEL {RECIPE}={recipe}");
        let mut import = docker.client()?;
        import.args(["import", "--change", &label, "--change", "CMD [\"bash\"]"]);
        step(&format!("import {reference}"), import.arg(archive).arg(&reference))?;
    }
    let id = docker.image(&reference).context("the base is missing after it was imported")?;
    Ok(Base { reference, id, complete: true })
}

/// Makes the archive of that base, for those who cannot write into the target directory.
pub(crate) fn pack() -> Result<()> {
    let suite = suite()?;
    archive(&suite, &recipe(&suite)).map(drop)
}

/// What the base is made from.
fn recipe(suite: &str) -> String {
    fingerprint(&(suite, PACKAGES, STRIP))
}

/// Name of the machine's release.
fn suite() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("read what this machine runs")?;
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite = suite.map(|suite| suite.trim_matches('"').to_owned());
    suite.context("not a Debian-like release: name a base with `cargo xtask images --base`")
}

/// The archive of the base, made if this target directory has none.
fn archive(suite: &str, recipe: &str) -> Result<PathBuf> {
    let directory = build::target_directory()?.join("images");
    let archive = directory.join(format!("base-{suite}-{recipe}.tar"));
    if archive.is_file() {
        return Ok(archive);
    }
    ensure!(nix::unistd::geteuid().is_root(), "making a base needs root: run it with sudo");
    fs::create_dir_all(&directory).context("make the directory of images")?;
    let work = Work::begin(&directory)?;
    let (root, fresh) = (work.0.join("root"), work.0.join("base.tar"));
    let mirror = mirror(suite)?;
    // In a mount namespace: debootstrap mounts procfs in the root, and one that is interrupted leaves it there.
    let mut bootstrap = Command::new("unshare");
    bootstrap.args(["--mount", "debootstrap", "--variant=minbase"]);
    bootstrap.arg(format!("--include={PACKAGES}")).arg(suite).arg(&root).arg(&mirror);
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    step_hiding("make a base with debootstrap", bootstrap.env("PATH", path), Some(&mirror))?;
    step(
        "pack the base",
        Command::new("sh").args(["-c", STRIP, "strip.sh"]).args([&root, &fresh]),
    )?;
    fs::rename(&fresh, &archive).context("keep the base")?;
    Ok(archive)
}

/// Where this machine's apt gets the release from. Never to be shown.
fn mirror(suite: &str) -> Result<String> {
    let ask = || -> Result<Option<String>> {
        let output = Command::new("apt-get")
            .args([
                "indextargets",
                "--format",
                "$(SITE)",
                "Created-By: Packages",
                "Component: main",
            ])
            .arg(format!("Codename: {suite}"))
            .output()
            .context("ask apt for its sources")?;
        let sites = String::from_utf8_lossy(&output.stdout);
        sites.lines().next().map(location).transpose()
    };
    if let Some(site) = ask()? {
        return Ok(site);
    }
    // Without package lists apt does not know what its sources hold.
    step("update the package lists", Command::new("apt-get").args(["update", "-q"]))?;
    ask()?.with_context(|| format!("apt has no source of {suite}"))
}

/// The place behind a site: apt can read its mirrors from a file (apt-transport-mirror(1)), debootstrap cannot.
fn location(site: &str) -> Result<String> {
    let Some(file) = site.strip_prefix("mirror+file:") else { return Ok(site.to_owned()) };
    let list = fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    let mut lines = list.lines().filter(|line| !line.starts_with('#'));
    let mirror = lines.find_map(|line| line.split_whitespace().next());
    Ok(mirror.with_context(|| format!("{file} names no mirror"))?.to_owned())
}

/// A directory for the time of the making.
struct Work(PathBuf);

impl Work {
    fn begin(directory: &Path) -> Result<Self> {
        let path = directory.join(format!("making-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}
