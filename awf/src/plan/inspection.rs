//! What is looked into, and by whom the command has to be believed for it.
//!
//! Takes the settings, the policy and the machine's certificate bundles, gives an [`InspectionPlan`]: what is judged, whose
//! certificates servers may show, and where the command finds a bundle with the authority of this run. Must never hold a
//! key: the authority is made when the run begins.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::api_proxy::ApiProxyPlan;
use super::environment::CA_NAMES;
use super::mounts::{Access, MountOp};
use super::paths::Paths;
use crate::cli::{Settings, UsageError};
use crate::host::Host;
use crate::policy::{Policy, Scheme, UrlRules, credentials};
use crate::runtime::native::look;

/// Where the bundle is shown if the machine has none: a place that is the sandbox's own.
const OWN_BUNDLE: &str = "/run/awf-ca-bundle.pem";

/// Bundles of the distributions. Programs read one of them without being told.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What is looked into.
#[derive(Clone, Debug, Default, Serialize)]
pub struct InspectionPlan {
    /// TLS is ended by awf, and made anew to the server.
    pub tls: bool,
    /// The only URLs of their hosts.
    pub urls: UrlRules,
    /// Kinds of credentials that no URL may hold.
    pub credentials: Vec<&'static str>,
    /// Files with the authorities that may vouch for servers.
    pub authorities: Vec<PathBuf>,
    /// What the command believes besides.
    pub host_bundle: Option<PathBuf>,
    /// File of the run with all of these and the authority of the run.
    pub bundle: PathBuf,
    /// Where the command sees that file.
    pub shown_at: Vec<PathBuf>,
}

impl InspectionPlan {
    /// Decides.
    pub fn decide(
        settings: &Settings,
        host: &Host,
        (policy, api): (&Policy, &ApiProxyPlan),
        paths: &Paths,
    ) -> Result<Self, UsageError> {
        let asked = &settings.inspection;
        let credentials = if asked.dlp { credentials::kinds().collect() } else { Vec::new() };
        if !asked.bump {
            return Ok(Self { credentials, ..Self::default() });
        }
        for pattern in asked.urls.patterns() {
            let host = pattern.host();
            let host = host.filter(|host| !policy.decide(host, 443, Scheme::Tls).allow);
            if let Some(host) = host {
                return Err(UsageError::Value {
                    flag: "--allow-urls",
                    value: pattern.to_string(),
                    problem: format!("{host} is not allowed, and a URL only narrows what is"),
                    remedy: format!("add --allow-domains {host}"),
                });
            }
        }
        Ok(Self {
            tls: true,
            urls: asked.urls.clone(),
            credentials,
            authorities: authorities(settings, &api.authorities),
            host_bundle: host.ca_bundle.clone(),
            bundle: paths.run.join("ca-bundle.pem"),
            shown_at: shown_at(),
        })
    }

    /// What the user is told at the start.
    pub fn summary(&self) -> Option<String> {
        let urls = self.urls.patterns().len();
        let only =
            if urls > 0 { format!(", URLs limited by {urls} patterns") } else { String::new() };
        self.tls.then(|| format!("TLS is looked into by an authority of this run{only}"))
    }

    /// Where the variables of programs point to.
    pub fn for_variables(&self) -> Option<&Path> {
        self.shown_at.first().map(PathBuf::as_path)
    }

    /// Shows the bundle.
    pub fn mounts(&self) -> impl Iterator<Item = MountOp> {
        let source = &self.bundle;
        self.shown_at.iter().map(|target| MountOp::Bind {
            source: source.clone(),
            target: target.clone(),
            access: Access::ReadOnly,
        })
    }
}

/// Whom the command would have believed: the files that `--env` and `--env-file` name, else what the API proxy believes.
fn authorities(settings: &Settings, usual: &[PathBuf]) -> Vec<PathBuf> {
    let named = CA_NAMES.iter().filter_map(|name| {
        settings
            .env
            .get(*name)
            .or_else(|| settings.env_file.get(*name))
            .filter(|path| path.starts_with('/'))
    });
    let mut files: Vec<PathBuf> = Vec::new();
    for file in named.map(|path| on_the_host(settings, Path::new(path))) {
        if !files.contains(&file) {
            files.push(file);
        }
    }
    // The bundle of most programs is replaced, one for node alone adds to it.
    let replaced =
        settings.env.contains_key(CA_NAMES[0]) || settings.env_file.contains_key(CA_NAMES[0]);
    if !replaced {
        files.splice(0..0, usual.iter().cloned());
    }
    files
}

/// A path of the sandbox as the host knows it.
fn on_the_host(settings: &Settings, path: &Path) -> PathBuf {
    let mounts = settings.mounts.iter().rev();
    let mut sources = mounts.filter_map(|mount| {
        let below = path.strip_prefix(&mount.target).ok()?;
        // Joining nothing would add a slash, and a file is no directory.
        let whole = below.as_os_str().is_empty();
        Some(if whole { mount.source.clone() } else { mount.source.join(below) })
    });
    sources.next().unwrap_or_else(|| path.to_owned())
}

/// Over the bundles that the sandbox shows of the host, once each, else at a place of its own.
fn shown_at() -> Vec<PathBuf> {
    let mut real: Vec<PathBuf> = Vec::new();
    let mut shown: Vec<PathBuf> = Vec::new();
    for path in BUNDLES.map(Path::new) {
        let found = look(path).filter(|found| !found.directory && found.real.starts_with("/etc"));
        if let Some(found) = found.filter(|found| !real.contains(&found.real)) {
            real.push(found.real);
            shown.push(path.to_owned());
        }
    }
    if shown.is_empty() {
        shown.push(OWN_BUNDLE.into());
    }
    shown
}
