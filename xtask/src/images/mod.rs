//! `images`: the two images of the Docker runtime, built from `containers/` on top of a base that is pulled, named or made.
//!
//! Takes a daemon; gives it `awf-agent:VERSION` and `awf-squid:VERSION`. What is there and would become the same is left alone:
//! each image carries a label with the fingerprint of all it was made from. Must never fetch anything for the daemon of a lab.

pub(crate) mod base;

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::{env, fs};

use anyhow::{Context as _, Result};
use clap::Args;
use xtask::docker::Docker;
use xtask::lab::{self, Lab};

use crate::build;
use crate::setup::{self, Purpose};
use crate::step::step;

/// Tag of all images.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The images: directories of `containers/`, and parts of the images' names.
const IMAGES: [&str; 2] = ["agent", "squid"];
/// What an image was made from.
const RECIPE: &str = "awf.recipe";

/// Options of `images`.
#[derive(Args)]
pub(crate) struct Images {
    /// Build on this image, best named with its digest; by default debian:bookworm-slim, or where that cannot be had, a base made
    /// of this machine's distribution.
    #[arg(long, value_name = "REFERENCE")]
    base: Option<String>,
    /// The daemon to build with; by default the one Docker's client would use.
    #[arg(long, value_name = "URL")]
    docker_host: Option<String>,
    /// Build with the daemon of the lab, which is brought up if it is not.
    #[arg(long, conflicts_with = "docker_host")]
    lab: bool,
}

impl Images {
    /// Builds the images.
    pub(crate) fn run(self) -> Result<()> {
        setup::complete(Purpose::Docker)?;
        let docker = match (self.lab, &self.docker_host) {
            (true, _) => lab::up()?.docker()?,
            (false, Some(host)) => Docker::at(host),
            (false, None) => Docker::of_the_machine(),
        };
        docker.version().context("no Docker daemon answers (`--lab` brings one up)")?;
        let base = match &self.base {
            Some(reference) => base::named(&docker, reference)?,
            None if self.lab => base::made(&docker)?,
            None => base::pulled(&docker).map_or_else(|| base::made(&docker), Ok)?,
        };
        build_all(&docker, &base)?;
        for image in IMAGES {
            eprintln!("{} is ready", name(image));
        }
        Ok(())
    }
}

/// What images are built on.
struct Base {
    reference: String,
    /// Of its content.
    id: String,
    /// Whether it already holds all packages, so that nothing needs to be fetched.
    complete: bool,
}

/// The lab's daemon with both images in it.
pub(crate) fn in_lab(lab: &Lab) -> Result<Docker> {
    let docker = lab.docker()?;
    let base = base::made(&docker)?;
    build_all(&docker, &base)?;
    Ok(docker)
}

/// The full name of an image.
pub(crate) fn name(image: &str) -> String {
    format!("awf-{image}:{VERSION}")
}

fn build_all(docker: &Docker, base: &Base) -> Result<()> {
    IMAGES.iter().try_for_each(|image| build(docker, base, image))
}

fn build(docker: &Docker, base: &Base, image: &str) -> Result<()> {
    let context = build::workspace().join("containers").join(image);
    let file = context.join("Dockerfile");
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let recipe = fingerprint(&(text, &base.id));
    let tag = name(image);
    if docker.label(&tag, RECIPE).as_ref() == Some(&recipe) {
        return Ok(());
    }
    let mut command = docker.client()?;
    command.args(["build", "--build-arg", &format!("BASE={}", base.reference), "--tag", &tag]);
    command.args(["--label", &format!("{RECIPE}={recipe}")]);
    if base.complete {
        command.args(["--network", "none"]);
    }
    step(&format!("build {tag}"), command.arg(context))
}

fn fingerprint(of: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
