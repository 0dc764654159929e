//! The Docker daemon of this machine, if it can place containers under awf's programs.
//!
//! Owns the questions to the daemon that must be answered before there is a plan. Takes its address and the images that are
//! wanted, gives a [`Daemon`] or the one reason why there is none. Must never change anything: it pulls nothing and creates
//! nothing. Which daemons are refused, and why, is [`DaemonError`].

use std::collections::BTreeSet;
use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse, SystemInfo, SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum,
};
use bollard::{ClientVersion, Docker};
use nix::sys::utsname::uname;
use serde::Serialize;
use thiserror::Error;

use super::Peer;
use crate::cli::{DaemonAddress, Images};

/// The first version of the interface with private cgroup namespaces: Docker Engine 20.10.
const OLDEST: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };
/// The newest that awf was built for; with an older daemon, the daemon's is spoken.
const NEWEST: ClientVersion = ClientVersion { major_version: 1, minor_version: 52 };
/// How long the daemon may take to answer a question, in seconds. It is on this machine.
const PATIENCE_S: u64 = 10;
/// The same for all questions together.
const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Daemon {
    /// Where it listens.
    pub address: DaemonAddress,
    /// Minor version of the interface that is spoken with it; the major one is 1.
    pub api_minor: usize,
    /// How it makes cgroups.
    pub driver: Driver,
    /// Of the wanted images, those that are there.
    pub images: BTreeSet<String>,
}

/// Who makes the daemon's cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// The daemon itself, by directories.
    Cgroupfs,
    /// systemd, by slices and scopes.
    Systemd,
}

/// Why the daemon cannot be used. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DaemonError {
    /// Nothing answers.
    #[error(
        "no Docker daemon answers at {address} ({reason}); start it, name it with --docker-host, or use --runtime native"
    )]
    Silent {
        /// Where it was looked for.
        address: DaemonAddress,
        /// What happened.
        reason: String,
    },
    /// It answered that it cannot.
    #[error("the Docker daemon at {address} refuses to answer: {reason}")]
    Refused {
        /// Where it listens.
        address: DaemonAddress,
        /// What it said.
        reason: String,
    },
    /// Older than 20.10.
    #[error(
        "the Docker daemon speaks version 1.{found} of its interface and awf needs 1.41 (Docker Engine 20.10); update it, or use --runtime native"
    )]
    TooOld {
        /// What it speaks.
        found: usize,
    },
    /// Its containers are not under this machine's kernel.
    #[error(
        "the Docker daemon runs {found} and this machine Linux {expected}: awf's programs would not govern its containers; use a daemon of this machine, or --runtime native"
    )]
    OtherKernel {
        /// What it said of itself.
        found: String,
        /// This machine's.
        expected: String,
    },
    /// Its user may not place containers.
    #[error(
        "the Docker daemon is rootless and cannot place a container in a cgroup of awf's; use a daemon run by root, or --runtime native"
    )]
    Rootless,
    /// No cgroup v2.
    #[error(
        "the Docker daemon uses cgroup v1, where no eBPF program can govern its containers; boot with systemd.unified_cgroup_hierarchy=1, or use --runtime native"
    )]
    CgroupV1,
    /// An image is missing.
    #[error("the image {image} is not there; {remedy}")]
    NoImage {
        /// Its reference.
        image: String,
        /// What to do.
        remedy: &'static str,
    },
    /// An image could not be pulled or built.
    #[error("obtain the image {image}: {reason}")]
    NotObtained {
        /// Its reference.
        image: String,
        /// What the daemon said.
        reason: String,
    },
    /// No such container, or none that can be reached.
    #[error("--topology-attach {name}: {reason}")]
    Peer {
        /// As the user wrote it.
        name: String,
        /// What is missing.
        reason: String,
    },
}

impl DaemonError {
    /// A container is to be looked up, and no daemon can be asked.
    pub fn nobody_to_ask(images: &Images, name: &str) -> Self {
        let reason = format!(
            "there is no Docker daemon to ask at {}; start it, name it with --docker-host, or leave the option out",
            images.daemon
        );
        Self::Peer { name: name.to_owned(), reason }
    }
}

/// A handle on the daemon, for a version of the interface.
pub fn connect(
    address: &DaemonAddress,
    api_minor: usize,
) -> Result<Docker, bollard::errors::Error> {
    let version = ClientVersion { major_version: 1, minor_version: api_minor };
    match address {
        DaemonAddress::Unix(path) => {
            Docker::connect_with_unix(&path.to_string_lossy(), PATIENCE_S, &version)
        }
        DaemonAddress::Loopback(port) => {
            Docker::connect_with_http(&format!("tcp://127.0.0.1:{port}"), PATIENCE_S, &version)
        }
    }
}

/// Asks the daemon what awf has to know. Blocks; must not be called within an asynchronous task.
pub fn ask(address: &DaemonAddress, wanted: &[String]) -> Result<Daemon, DaemonError> {
    within_reach(address, inspect(address, wanted))
}

/// Looks containers up by name. Blocks, as [`ask`].
pub fn peers(daemon: &Daemon, names: &[String]) -> Result<Vec<Peer>, DaemonError> {
    within_reach(&daemon.address, async {
        let docker = connect(&daemon.address, daemon.api_minor)
            .map_err(|error| silent(&daemon.address, error))?;
        let mut peers = Vec::new();
        for name in names {
            let missing = |reason: String| DaemonError::Peer { name: name.clone(), reason };
            let found = docker
                .inspect_container(name, None)
                .await
                .map_err(|error| missing(format!("{}; start it before awf", short(error))))?;
            peers.push(peer(name, found).map_err(missing)?);
        }
        Ok(peers)
    })
}

fn within_reach<T>(
    address: &DaemonAddress,
    asking: impl Future<Output = Result<T, DaemonError>>,
) -> Result<T, DaemonError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| silent(address, error))?;
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_elapsed| Err(silent(address, "it takes too long")))
    })
}

async fn inspect(address: &DaemonAddress, wanted: &[String]) -> Result<Daemon, DaemonError> {
    let refused = |error: bollard::errors::Error| DaemonError::Refused {
        address: address.clone(),
        reason: short(error),
    };
    let docker =
        connect(address, NEWEST.minor_version).map_err(|error| silent(address, short(error)))?;
    let docker = docker.negotiate_version().await.map_err(|error| silent(address, short(error)))?;
    let version = docker.client_version();
    if version < OLDEST {
        return Err(DaemonError::TooOld { found: version.minor_version });
    }
    let driver = judge(&docker.info().await.map_err(refused)?, &release())?;
    let mut images = BTreeSet::new();
    for image in wanted {
        if docker.inspect_image(image).await.is_ok() {
            images.insert(image.clone());
        }
    }
    Ok(Daemon { address: address.clone(), api_minor: version.minor_version, driver, images })
}

/// Whether containers of a daemon that says this of itself can be governed from here.
fn judge(info: &SystemInfo, release: &str) -> Result<Driver, DaemonError> {
    let kernel = info.kernel_version.as_deref().unwrap_or_default();
    if info.os_type.as_deref() != Some("linux") || kernel != release {
        let system = info.os_type.as_deref().unwrap_or("another system");
        let found = format!("{system} {kernel}");
        return Err(DaemonError::OtherKernel { found, expected: release.to_owned() });
    }
    let options = info.security_options.iter().flatten();
    if options.clone().any(|option| option.starts_with("name=rootless")) {
        return Err(DaemonError::Rootless);
    }
    if info.cgroup_version != Some(SystemInfoCgroupVersionEnum::_2) {
        return Err(DaemonError::CgroupV1);
    }
    match info.cgroup_driver {
        Some(SystemInfoCgroupDriverEnum::SYSTEMD) => Ok(Driver::Systemd),
        Some(SystemInfoCgroupDriverEnum::CGROUPFS) => Ok(Driver::Cgroupfs),
        _ => Err(DaemonError::Rootless),
    }
}

fn peer(name: &str, found: ContainerInspectResponse) -> Result<Peer, String> {
    if !found.state.and_then(|state| state.running).unwrap_or(false) {
        return Err("the container does not run; start it before awf".to_owned());
    }
    let networks = found.network_settings.and_then(|settings| settings.networks);
    let addresses = networks.unwrap_or_default().into_values();
    let mut addresses = addresses.filter_map(|network| network.ip_address?.parse().ok());
    let address = addresses.next().ok_or("the container has no IPv4 address of its own")?;
    let exposed = found.config.and_then(|config| config.exposed_ports).unwrap_or_default();
    let mut ports: Vec<u16> = exposed
        .iter()
        .filter_map(|port| port.strip_suffix("/tcp").unwrap_or(port).parse().ok())
        .collect();
    ports.sort_unstable();
    Ok(Peer { name: name.to_owned(), address, ports })
}

fn release() -> String {
    uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

fn silent(address: &DaemonAddress, reason: impl std::fmt::Display) -> DaemonError {
    DaemonError::Silent { address: address.clone(), reason: reason.to_string() }
}

/// What the daemon or the kernel said, without the library's frame around it.
pub fn short(error: bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message,
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(&other);
            while let Some(cause) = source {
                text = cause.to_string();
                source = cause.source();
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> SystemInfo {
        SystemInfo {
            os_type: Some("linux".into()),
            kernel_version: Some("6.1.0".into()),
            cgroup_version: Some(SystemInfoCgroupVersionEnum::_2),
            cgroup_driver: Some(SystemInfoCgroupDriverEnum::CGROUPFS),
            security_options: Some(vec!["name=seccomp,profile=default".into()]),
            ..SystemInfo::default()
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut SystemInfo), expected: &str) {
        let mut info = info();
        change(&mut info);
        let found = match judge(&info, "6.1.0") {
            Ok(driver) => format!("{driver:?}"),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn daemons_that_cannot_be_governed_are_refused_with_the_reason() {
        check(|_info| (), "Cgroupfs");
        check(|info| info.cgroup_driver = Some(SystemInfoCgroupDriverEnum::SYSTEMD), "Systemd");
        check(|info| info.cgroup_driver = Some(SystemInfoCgroupDriverEnum::NONE), "rootless");
        check(|info| info.cgroup_driver = None, "rootless");
        check(|info| info.security_options = Some(vec!["name=rootless".into()]), "rootless");
        check(|info| info.cgroup_version = Some(SystemInfoCgroupVersionEnum::_1), "cgroup v1");
        check(|info| info.cgroup_version = None, "cgroup v1");
        check(|info| info.kernel_version = Some("5.15.0-linuxkit".into()), "linux 5.15.0-linuxkit");
        check(|info| info.os_type = Some("windows".into()), "windows");
    }

    #[test]
    fn a_daemon_that_is_not_there_is_said_to_be_so() {
        let nowhere = DaemonAddress::Unix("/nowhere/docker.sock".into());
        let error = ask(&nowhere, &[]).unwrap_err().to_string();
        assert!(error.contains("unix:///nowhere/docker.sock"), "{error}");
        assert!(error.contains("--runtime native"), "{error}");
    }
}
