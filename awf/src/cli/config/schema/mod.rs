//! The keys of the configuration file.
//!
//! Owns their names, shapes and words, the only place where they are described; the JSON Schema is
//! made from it. What is not here is refused. Where a key stands for an option, its words are in
//! [`crate::cli::options`] and `merge` has the connection.

mod api_proxy;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::api_proxy::{
    AnthropicTarget, ApiProxy, CopilotTarget, OpenAiTarget, Pricing, Target, Targets,
};

/// Anything, for what is refused or not read.
pub type Anything = serde_json::Value;

/// Configuration of awf.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(title = "Configuration of awf")]
pub struct File {
    /// Schema that an editor checks the file with.
    #[serde(rename = "$schema")]
    pub schema: Option<String>,
    /// What may be reached.
    pub network: Network,
    /// What may be written.
    pub filesystem: Filesystem,
    /// The API proxy.
    pub api_proxy: ApiProxy,
    /// Inspection and host access.
    pub security: Security,
    /// The sandbox.
    pub container: Container,
    /// What the command sees of its user and tools.
    pub chroot: Chroot,
    /// Variables.
    pub environment: Environment,
    /// What awf says and writes.
    pub logging: Logging,
    /// Rates of the API proxy.
    pub rate_limiting: RateLimiting,
    /// Which GitHub it is; the original dropped it, too.
    pub platform: Platform,
    /// A daemon that sees other files than awf. Refused.
    pub dind: Option<Anything>,
    /// Where the runner runs: standard, or refused.
    pub runner: Runner,
    /// Virtual machines. Refused.
    pub cloud_hypervisor: Option<Anything>,
    /// Enclaves. Refused.
    pub enclaves: Option<Anything>,
    /// Not read; gh-aw writes it for later versions of the original.
    pub experimental: Option<Anything>,
}

/// What may be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Network {
    /// `--allow-domains`.
    pub allow_domains: Option<Vec<String>>,
    /// `--block-domains`.
    pub block_domains: Option<Vec<String>>,
    /// `--dns-servers`.
    pub dns_servers: Option<Vec<String>>,
    /// `--upstream-proxy`.
    pub upstream_proxy: Option<String>,
    /// `--network-isolation`; it is always so.
    pub isolation: Option<bool>,
    /// `--topology-attach`.
    pub topology_attach: Option<Vec<String>>,
}

/// What may be written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Filesystem {
    /// Paths in the sandbox that stay writable; everything else that is mounted is read-only then.
    pub allow_write: Option<Vec<String>>,
}

/// Inspection and host access.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Security {
    /// `--legacy-security`.
    pub legacy_security: Option<bool>,
    /// `--security-mode`.
    pub security_mode: Option<String>,
    /// `--ssl-bump`.
    pub ssl_bump: Option<bool>,
    /// `--allow-urls`.
    pub allow_urls: Option<Vec<String>>,
    /// `--enable-dlp`.
    pub enable_dlp: Option<bool>,
    /// `--audit-mode`.
    pub audit_mode: Option<bool>,
    /// `--enable-host-access`.
    pub enable_host_access: Option<bool>,
    /// `--allow-host-ports`.
    pub allow_host_ports: Option<Ports>,
    /// `--allow-host-service-ports`.
    pub allow_host_service_ports: Option<Ports>,
    /// `--difc-proxy-host` and `--difc-proxy-ca-cert`.
    pub difc_proxy: DifcProxy,
}

/// The DIFC proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DifcProxy {
    /// `--difc-proxy-host`.
    pub host: Option<String>,
    /// `--difc-proxy-ca-cert`.
    pub ca_cert: Option<String>,
}

/// The sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Container {
    /// `--memory-limit`.
    pub memory_limit: Option<String>,
    /// `--pids-limit`.
    #[schemars(range(min = 1))]
    pub pids_limit: Option<u64>,
    /// `--cpu-limit`.
    pub cpu_limit: Option<String>,
    /// `--agent-timeout`.
    #[schemars(range(min = 1))]
    pub agent_timeout: Option<u64>,
    /// `--enable-dind`. Refused.
    pub enable_dind: Option<bool>,
    /// `--work-dir`.
    pub work_dir: Option<String>,
    /// `--container-workdir`.
    pub container_work_dir: Option<String>,
    /// `--image-registry`.
    pub image_registry: Option<String>,
    /// `--image-tag`.
    pub image_tag: Option<String>,
    /// `--skip-pull`.
    pub skip_pull: Option<bool>,
    /// `--build-local`.
    pub build_local: Option<bool>,
    /// `--agent-image`.
    pub agent_image: Option<String>,
    /// `--tty`.
    pub tty: Option<bool>,
    /// `--docker-host`.
    pub docker_host: Option<String>,
    /// `--docker-host-path-prefix`. Refused.
    pub docker_host_path_prefix: Option<String>,
    /// Directory of the runner's tools [default: `RUNNER_TOOL_CACHE`, else `~/work/_tool`].
    pub runner_tool_cache_path: Option<String>,
    /// `--mount`.
    pub mounts: Option<Vec<String>>,
    /// `--container-runtime`.
    pub container_runtime: Option<String>,
    /// `--runtime`.
    pub runtime: Option<String>,
    /// Images by role, with their digests, in place of registry and tag.
    pub images: Option<Images>,
}

/// Images by role, each a full reference with digest. Those of roles that awf does not have are not
/// read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Images {
    /// The proxy.
    pub squid: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// Not read.
    pub api_proxy: Option<String>,
    /// Not read.
    pub cli_proxy: Option<String>,
    /// Not read.
    pub build_tools: Option<String>,
    /// Not read.
    pub doh_proxy: Option<String>,
    /// Refused.
    pub enclave_script: Option<String>,
    /// Refused.
    pub enclave_agent: Option<String>,
    /// Refused.
    pub enclave_mcp_server: Option<String>,
    /// Not read.
    pub dind_staging: Option<String>,
}

/// What the command sees of its user and tools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Chroot {
    /// Directory that is shown read-only and comes first in PATH.
    pub binaries_source_path: Option<String>,
    /// The user that the command is.
    pub identity: Identity,
}

/// The user that the command is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Identity {
    /// Value of HOME.
    pub home: Option<String>,
    /// Value of USER and LOGNAME.
    pub user: Option<String>,
    /// User id.
    #[schemars(range(min = 1))]
    pub uid: Option<u32>,
    /// Group id.
    #[schemars(range(min = 1))]
    pub gid: Option<u32>,
}

/// Variables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Environment {
    /// `--env-file`.
    pub env_file: Option<String>,
    /// `--env-all`.
    pub env_all: Option<bool>,
    /// `--exclude-env`.
    pub exclude_env: Option<Vec<String>>,
}

/// What awf says and writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Logging {
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--diagnostic-logs`.
    pub diagnostic_logs: Option<bool>,
    /// `--audit-dir`.
    pub audit_dir: Option<String>,
    /// `--proxy-logs-dir`.
    pub proxy_logs_dir: Option<String>,
    /// `--session-state-dir`.
    pub session_state_dir: Option<String>,
    /// `--record-chain`.
    pub record_chain: Option<bool>,
    /// `--record-key`.
    pub record_key: Option<String>,
    /// `--record-exe-hash`.
    pub record_exe_hash: Option<bool>,
    /// `--strict-audit`.
    pub strict_audit: Option<bool>,
    /// `--otlp-endpoint`.
    pub otlp_endpoint: Option<String>,
}

/// Rates of the API proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RateLimiting {
    /// false is `--no-rate-limit`.
    pub enabled: Option<bool>,
    /// `--rate-limit-rpm`.
    #[schemars(range(min = 1))]
    pub requests_per_minute: Option<u64>,
    /// `--rate-limit-rph`.
    #[schemars(range(min = 1))]
    pub requests_per_hour: Option<u64>,
    /// `--rate-limit-bytes-pm`.
    #[schemars(range(min = 1))]
    pub bytes_per_minute: Option<u64>,
}

/// Which GitHub it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Platform {
    /// Not read.
    #[serde(rename = "type")]
    pub kind: Option<PlatformKind>,
}

/// Kinds of GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum PlatformKind {
    /// The public one.
    #[serde(rename = "github.com")]
    Public,
    /// Enterprise Server.
    #[serde(rename = "ghes")]
    Server,
    /// Enterprise Cloud.
    #[serde(rename = "ghec")]
    Cloud,
    /// Enterprise Cloud with runners of one's own.
    #[serde(rename = "ghec-self-hosted")]
    CloudSelfHosted,
}

/// Where the runner runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Runner {
    /// standard; arc-dind is refused.
    pub topology: Option<Topology>,
    /// An image with the runner's files. Refused.
    pub sysroot_image: Option<String>,
}

/// Kinds of runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Topology {
    /// On the machine of the daemon.
    Standard,
    /// In a pod beside the daemon's.
    ArcDind,
}

/// A port or range, or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Ports {
    /// One number.
    Number(u16),
    /// Separated by commas.
    Text(String),
    /// One each.
    Several(Vec<PortWord>),
}

/// A port or range.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PortWord {
    /// One number.
    Number(u16),
    /// N or N-M.
    Text(String),
}

impl Ports {
    /// As on the command line, separated by commas.
    pub(super) fn joined(self) -> String {
        let word = |word| match word {
            PortWord::Number(number) => number.to_string(),
            PortWord::Text(text) => text,
        };
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
            Self::Several(words) => words.into_iter().map(word).collect::<Vec<_>>().join(","),
        }
    }
}

/// A number above 0, as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Positive(
    #[schemars(with = "f64", extend("exclusiveMinimum" = 0))] pub serde_json::Number,
);

/// A number that is not below 0, as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Price(#[schemars(with = "f64", range(min = 0))] pub serde_json::Number);
