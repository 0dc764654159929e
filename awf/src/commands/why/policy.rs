//! The policy that a target is held against: from options as a run reads them, or from the manifest that a run left.
//!
//! Must never: guess what a manifest means. A row that it does not know is an error.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::judged::Ground;
use crate::cli::reading::PolicyArgs;
use crate::cli::{Args, Settings};
use crate::host::{Caller, DaemonError, Host, daemon};
use crate::plan::api_proxy::ApiProxyPlan;
use crate::plan::{self, addresses, services};
use crate::policy::{Opening, Policy, PortRange, Rule, Service, Services, Target};

/// Of options.
pub(super) fn of_options(said: &PolicyArgs) -> Result<Ground> {
    let said = said.clone();
    let args = Args {
        allow_domains: said.allow_domains,
        allow_domains_file: said.allow_domains_file,
        block_domains: said.block_domains,
        block_domains_file: said.block_domains_file,
        ruleset_file: said.ruleset_file,
        enable_host_access: said.enable_host_access,
        allow_host_ports: said.allow_host_ports,
        allow_host_service_ports: said.allow_host_service_ports,
        audit_mode: said.audit_mode,
        config: said.config,
        command: vec!["true".to_owned()],
        ..Args::default()
    };
    let settings = Settings::resolve(&args, &Caller::inspect()?)?;
    let mut host = Host::inspect(Caller::inspect()?)?;
    if let Some(first) = settings.peers.first() {
        let images = &settings.images;
        let daemon = daemon::ask(&images.daemon, &images.wanted());
        let daemon = daemon.as_ref().map_err(|_none| DaemonError::nobody_to_ask(images, first))?;
        host.peers = daemon::peers(daemon, &settings.peers)?;
    }
    of_settings(&settings, &host)
}

/// Of settings, as [`plan::Plan::make`] decides.
pub(super) fn of_settings(settings: &Settings, host: &Host) -> Result<Ground> {
    let allowed = plan::entries(&settings.allow);
    let api = ApiProxyPlan::decide(settings, host, "");
    let (policy, notices) = plan::policy(settings, &[&*allowed, &*api.entries()].concat())?;
    let (services, openness) = services::services(settings, host, &policy, true)?;
    let notices = settings.notices.iter().cloned().chain(notices).chain(openness).collect();
    let urls = settings.inspection.bump.then(|| settings.inspection.urls.clone());
    Ok(Ground { policy, services, urls, allowed, notices, of: "the options".to_owned() })
}

/// `policy-manifest.json`, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    version: u64,
    rules: Vec<Row>,
    #[serde(default)]
    audit_mode: bool,
    #[serde(default)]
    ssl_bump_enabled: bool,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(default)]
    domains: Vec<String>,
    #[serde(default)]
    description: String,
}

/// Of a manifest.
pub(super) fn of_manifest(path: &Path) -> Result<Ground> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    read_manifest(&text).with_context(|| format!("understand {}", path.display()))
}

pub(super) fn read_manifest(text: &str) -> Result<Ground> {
    let manifest: Manifest = serde_json::from_str(text)?;
    if manifest.version != 1 {
        bail!("it is of version {}, and only 1 is known", manifest.version);
    }
    let (mut allow, mut block) = (Vec::new(), Vec::new());
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    for row in &manifest.rules {
        let (list, prefix) = match row.id.as_str() {
            "allow-both-plain" | "allow-both-regex" => (&mut allow, ""),
            "allow-http-only-plain" | "allow-http-only-regex" => (&mut allow, "http://"),
            "allow-https-only-plain" | "allow-https-only-regex" => (&mut allow, "https://"),
            "deny-blocked-plain" | "deny-blocked-regex" => (&mut block, ""),
            id if id.starts_with("allow-ip-") => (&mut allow, ""),
            "allow-audit-mode" | "allow-api-proxy" => (&mut allow, ""),
            id if id.starts_with("allow-") => {
                open(row, &mut services)?;
                continue;
            }
            // What every policy has.
            id if id.starts_with("deny-") => continue,
            id => bail!("the rule {id} is not known"),
        };
        if row.id == "allow-api-proxy" {
            open(row, &mut services)?;
            continue;
        }
        for domain in &row.domains {
            list.push(entry(domain, prefix, row.id.ends_with("-regex"))?);
        }
    }
    let (policy, _warnings) = Policy::resolve(&allow, &block).map_err(|errors| {
        anyhow::anyhow!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    let mut notices = Vec::new();
    if manifest.ssl_bump_enabled {
        notices.push(
            "patterns of --allow-urls are not in the manifest, so URLs are not judged".into(),
        );
    }
    Ok(Ground {
        policy: policy.in_audit_mode(manifest.audit_mode),
        services: Services::new(services.into_values().collect()),
        urls: None,
        allowed: allow,
        notices,
        of: "the run's policy-manifest.json".to_owned(),
    })
}

/// An entry of a list, from what squid.conf has for it.
fn entry(domain: &str, prefix: &str, is_regex: bool) -> Result<String> {
    if !is_regex {
        let address = domain.parse::<Ipv4Addr>().is_ok();
        return Ok(match domain.strip_prefix('.') {
            Some(name) => format!("{prefix}{name}"),
            None if address => domain.to_owned(),
            None => format!("={prefix}{domain}"),
        });
    }
    let inner = domain.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
    let inner = inner.with_context(|| format!("the pattern {domain:?} is not anchored"))?;
    // Dots that are meant are set apart first: what is left of them would stand for any character.
    let name = inner.replace("[a-zA-Z0-9._-]*", "*").replace("[a-zA-Z0-9.-]*", "*");
    let name = name.replace("[.]", "/").replace("\\.", "/");
    if name.contains(['.', '[', ']', '\\', '(', '+', '?', '|']) {
        bail!("the pattern {domain:?} is not one of awf's");
    }
    let name = name.replace('/', ".");
    Ok(format!("{prefix}{name}"))
}

/// Files a row that opens ports of a service.
fn open(row: &Row, services: &mut BTreeMap<String, Service>) -> Result<()> {
    let number = row.id.strip_prefix("allow-topology-peer-").and_then(|it| it.parse::<u32>().ok());
    let (rule, target, address) = match (row.id.as_str(), number) {
        ("allow-host-access", _) => (Rule::AllowHostAccess, Target::Host, addresses::HOST),
        ("allow-host-port", _) => (Rule::AllowHostPort, Target::Host, addresses::HOST),
        ("allow-host-service-port", _) => {
            (Rule::AllowHostServicePort, Target::Host, addresses::HOST)
        }
        ("allow-api-proxy", _) => (Rule::AllowApiProxy, Target::ApiProxy, addresses::API_PROXY),
        (id, Some(number @ 1..)) => {
            let address =
                Ipv4Addr::from(addresses::FIRST_PEER.to_bits().saturating_add(number - 1));
            // Leaked once for each; the process explains and ends.
            (Rule::AllowPeer(id.to_owned().leak()), Target::Peer(address), address)
        }
        (id, _) => bail!("the rule {id} is not known"),
    };
    let (_what, ports) = row.description.rsplit_once(": ").context("a rule names no ports")?;
    let first = row.domains.first().context("a rule names no service")?;
    let service = services.entry(first.clone()).or_insert_with(|| Service {
        names: row.domains.clone(),
        address,
        openings: Vec::new(),
        target,
    });
    for range in ports.split(", ") {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let port = |text: &str| text.parse().with_context(|| format!("{text:?} is no port"));
        let ports = PortRange { low: port(low)?, high: port(high)? };
        service.openings.push(Opening { ports, rule });
    }
    Ok(())
}
