//! The images of the containers: there, pulled or built.
//!
//! Takes the planned containers and what the daemon has, gives nothing but their presence. Must never pull what is there,
//! or anything at all where the user said so.

use anyhow::{Result, anyhow, bail};
use bollard::body_full;
use bollard::query_parameters::{BuildImageOptions, CreateImageOptions};
use futures_util::StreamExt as _;

use super::Engine;
use crate::cli::Supply;
use crate::host::daemon::{DaemonError, short};
use crate::plan::containers::{Container, Containers};
use crate::speech::waiting;

/// The build files, as they stand in `containers/`.
const AGENT_FILE: &str = include_str!("../../../../containers/agent/Dockerfile");
const SQUID_FILE: &str = include_str!("../../../../containers/squid/Dockerfile");

/// Obtains every image that is missing.
pub async fn obtain(engine: &Engine, containers: &Containers) -> Result<(), DaemonError> {
    for (container, file) in [(&containers.agent, AGENT_FILE), (&containers.proxy, SQUID_FILE)] {
        if containers.daemon.images.contains(&container.image) {
            continue;
        }
        let image = container.image.clone();
        let obtained = match containers.supply {
            Supply::Build if container.is_own => build(engine, &image, file).await,
            Supply::Build | Supply::Pull if container.has_registry => pull(engine, &image).await,
            supply => {
                return Err(DaemonError::NoImage { image, remedy: remedy(container, supply) });
            }
        };
        obtained
            .map_err(|error| DaemonError::NotObtained { image, reason: format!("{error:#}") })?;
    }
    Ok(())
}

fn remedy(container: &Container, supply: Supply) -> &'static str {
    if supply == Supply::Present && container.has_registry {
        "run awf predownload first, or leave --skip-pull out"
    } else {
        "build it with --build-local, or name a registry that has it with --image-registry"
    }
}

async fn pull(engine: &Engine, image: &str) -> Result<()> {
    waiting::begin(format!("pull {image}"));
    let options =
        CreateImageOptions { from_image: Some(image.to_owned()), ..CreateImageOptions::default() };
    let mut steps = engine.docker.create_image(Some(options), None, None);
    while let Some(step) = steps.next().await {
        let step = step.map_err(|error| anyhow!(short(error)))?;
        if let Some(error) = step.error_detail.and_then(|detail| detail.message) {
            bail!(error);
        }
        waiting::detail(step.status.unwrap_or_default());
    }
    waiting::end();
    tracing::info!("Pulled {image}");
    Ok(())
}

async fn build(engine: &Engine, image: &str, file: &str) -> Result<()> {
    waiting::begin(format!("build {image}"));
    let options = BuildImageOptions {
        dockerfile: "Dockerfile".to_owned(),
        t: Some(image.to_owned()),
        rm: true,
        ..BuildImageOptions::default()
    };
    let context = body_full(archive(file)?.into());
    let mut steps = engine.docker.build_image(options, None, Some(context));
    let mut said = String::new();
    while let Some(step) = steps.next().await {
        let step = step.map_err(|error| anyhow!("{}\n{said}", short(error)))?;
        if let Some(error) = step.error_detail.and_then(|detail| detail.message) {
            bail!("{error}\n{said}");
        }
        let text = step.stream.unwrap_or_default();
        said.push_str(&text);
        waiting::detail(text.lines().last().unwrap_or_default());
    }
    waiting::end();
    tracing::info!("Built {image}");
    Ok(())
}

/// A build context of one file, as the daemon wants it.
fn archive(file: &str) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(u64::try_from(file.len())?);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "Dockerfile", file.as_bytes())?;
    Ok(archive.into_inner()?)
}
