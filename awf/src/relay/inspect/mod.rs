//! What is looked into beyond names: URLs of plain requests and, with `--ssl-bump`, requests in TLS.
//!
//! Owns the rules for URLs and, with them, the authority of the run. TLS of the command is ended here and made anew to the
//! server, through the tunnel that the policy and Squid gave for its name; in between, every request is judged like the
//! connection was. Must never: answer for a server that has not proved its name to us first, let anything pass that is not
//! HTTP, or tell a record or a client the text of a credential.

mod authority;
mod connection;
mod exchange;
mod request;
mod tls;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::ClientConfig;

use crate::api_proxy::client_config;
use crate::plan::inspection::InspectionPlan;
use crate::policy::{UrlRules, credentials};
use authority::Authority;
pub(super) use connection::serve;

/// Rule under which a request with a credential in its URL is refused.
const DENY_DLP: &str = "deny-dlp";
/// Rule under which a request is refused that fits no pattern of `--allow-urls`.
const DENY_URL: &str = "deny-url";

/// What is looked into.
#[derive(Debug, Default)]
pub struct Inspect {
    urls: UrlRules,
    dlp: bool,
    bump: Option<Bump>,
}

/// What TLS is ended and made anew with.
#[derive(Debug)]
struct Bump {
    authority: Authority,
    /// How servers are asked; it keeps sessions for the next connection.
    servers: Arc<ClientConfig>,
    /// What the command believes: PEM.
    bundle: Vec<u8>,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Rule for the record.
    pub(super) rule: &'static str,
    /// The same for a reader of the record.
    pub(super) reason: String,
    /// What the client is told to do.
    pub(super) remedy: String,
}

impl Inspect {
    /// Reads whom to believe and makes the authority, if TLS is looked into. Changes nothing.
    pub fn start(plan: &InspectionPlan) -> Result<Self> {
        let bump = plan.tls.then(|| Bump::start(plan)).transpose()?;
        Ok(Self { urls: plan.urls.clone(), dlp: !plan.credentials.is_empty(), bump })
    }

    /// Writes the bundle that the command believes.
    pub fn publish(&self, file: &Path) -> io::Result<()> {
        let Some(bump) = &self.bump else { return Ok(()) };
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o644);
        options.open(file)?.write_all(&bump.bundle)
    }

    /// Whether TLS is looked into.
    pub(super) fn in_tls(&self) -> bool {
        self.bump.is_some()
    }

    /// What speaks against a plain request that the policy allows. `head` begins with its request line.
    pub(super) fn against_plain(&self, host: &str, head: &[u8]) -> Option<Finding> {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let kind = self.credential_in(line).or_else(|| self.credential_in(host.as_bytes()));
        if let Some(kind) = kind {
            return Some(Finding::credential(kind));
        }
        self.urls.concern(host).then(|| Finding {
            rule: DENY_URL,
            reason: format!("{host} answers to https:// URLs of --allow-urls only"),
            remedy: "ask for it by https://".to_owned(),
        })
    }

    fn credential_in(&self, text: &[u8]) -> Option<&'static str> {
        self.dlp.then(|| credentials::found_in(text)).flatten()
    }
}

impl Bump {
    fn start(plan: &InspectionPlan) -> Result<Self> {
        let authority = Authority::make()?;
        let servers = client_config(&plan.authorities).context(
            "--ssl-bump: read the certification authorities that servers are checked by",
        )?;
        let mut bundle = Vec::new();
        let more = plan.host_bundle.iter().filter(|file| !plan.authorities.contains(file));
        for file in plan.authorities.iter().chain(more) {
            let read = fs::read(file);
            bundle.extend(read.with_context(|| format!("--ssl-bump: read {}", file.display()))?);
            bundle.push(b'\n');
        }
        bundle.extend_from_slice(authority.certificate().as_bytes());
        Ok(Self { authority, servers: Arc::new(servers), bundle })
    }
}

impl Finding {
    fn credential(kind: &str) -> Self {
        Self {
            rule: DENY_DLP,
            reason: format!("the URL holds what looks like a credential: {kind}"),
            remedy: format!(
                "its URL holds what looks like a credential ({kind}); send credentials in header fields only"
            ),
        }
    }
}
