//! The options of a run, as typed.
//!
//! Owns the options: the doc comment of each field is its help text, the only place where it is
//! described. Knows no default values, and what a value means is said elsewhere: [`super::settings`]
//! does. What the original had and awf answers in one sentence is in [`super::legacy`].

use serde::Serialize;

use super::config::FileOnly;
use super::legacy::LegacyOption;
use super::origin::Origins;

/// Headings under which `--help` groups the options.
pub(super) const DOMAINS: &str = "Domains";
pub(super) const PROXY: &str = "Proxy";
pub(super) const SERVICES: &str = "This machine and containers";
pub(super) const ENVIRONMENT: &str = "Environment";
pub(super) const API: &str = "API proxy";
pub(super) const BUDGETS: &str = "Limits of the API proxy";
pub(super) const FILES: &str = "Files";
pub(super) const LIMITS: &str = "Limits and terminal";
pub(super) const RUN: &str = "Run and logs";
pub(super) const CONTAINERS: &str = "Containers";

/// The options of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize)]
pub struct Args {
    /// Domains that may be reached, separated by commas: `example.com` with its subdomains,
    /// `=example.com` without them, `*.example.com`, `http://` or `https://` before a name for one
    /// protocol only. Without any, nothing can be reached
    #[arg(short = 'd', long, value_name = "LIST", help_heading = DOMAINS)]
    pub allow_domains: Option<String>,

    /// File with more of them, one or several a line, `#` starts a comment
    #[arg(long, value_name = "FILE", help_heading = DOMAINS)]
    pub allow_domains_file: Option<String>,

    /// Domains that must not be reached, whatever is allowed
    #[arg(long, value_name = "LIST", help_heading = DOMAINS)]
    pub block_domains: Option<String>,

    /// File with more of them, in the same form
    #[arg(long, value_name = "FILE", help_heading = DOMAINS)]
    pub block_domains_file: Option<String>,

    /// Let through what is not allowed and not blocked, too, and record it, to learn what a command
    /// needs (`awf learn`): names of the internet on ports 80 and 443. Everything else stays refused.
    /// Only for commands that are trusted
    #[arg(long, help_heading = DOMAINS)]
    pub audit_mode: bool,

    /// File with more allowed domains in YAML: `version: 1` and `rules:`, a list of `domain:` with
    /// `subdomains:` true or false. May be repeated
    #[arg(long, value_name = "FILE", help_heading = DOMAINS)]
    pub ruleset_file: Vec<String>,

    /// Options of what inspects and forwards.
    #[command(flatten)]
    #[serde(flatten)]
    pub proxy: ProxyArgs,

    /// Let the command reach ports 80 and 443 of this machine, as `host.docker.internal`
    #[arg(long, help_heading = SERVICES)]
    pub enable_host_access: bool,

    /// Ports of this machine that may be reached, too, N or N-M separated by commas, none of them
    /// dangerous (SSH, databases and the like). `localhost` in the allowed domains opens this machine
    /// with the usual ports of development servers
    #[arg(long, value_name = "LIST", help_heading = SERVICES, allow_hyphen_values = true)]
    pub allow_host_ports: Option<String>,

    /// Ports of this machine that may be reached although they may be dangerous, such as those of a
    /// workflow's databases
    #[arg(long, value_name = "LIST", help_heading = SERVICES, allow_hyphen_values = true)]
    pub allow_host_service_ports: Option<String>,

    /// Let the command reach the ports that this running container exposes, by its name. May be
    /// repeated
    #[arg(long, value_name = "CONTAINER", help_heading = SERVICES, allow_hyphen_values = true)]
    pub topology_attach: Vec<String>,

    /// Set a variable for the command; beats every other source. May be repeated
    #[arg(short, long, value_name = "KEY=VALUE", help_heading = ENVIRONMENT)]
    pub env: Vec<String>,

    /// Pass all variables of the caller on, except credentials and those awf sets
    #[arg(long, help_heading = ENVIRONMENT)]
    pub env_all: bool,

    /// File with variables, one KEY=VALUE a line, values as they are, `#` starts a comment line
    #[arg(long, value_name = "FILE", help_heading = ENVIRONMENT)]
    pub env_file: Option<String>,

    /// Never pass this variable, wherever it comes from. May be repeated
    #[arg(long, value_name = "NAME", help_heading = ENVIRONMENT)]
    pub exclude_env: Vec<String>,

    /// Options of the API proxy.
    #[command(flatten)]
    #[serde(flatten)]
    pub api: ApiArgs,

    /// Limits of the API proxy.
    #[command(flatten)]
    #[serde(flatten)]
    pub budgets: BudgetArgs,

    /// Show a file or directory of this machine in the sandbox, `rw` unless `ro` is said; `$NAME`
    /// and `${NAME}` are replaced. May be repeated
    #[arg(short = 'v', long, value_name = "HOST:CONTAINER[:ro|rw]", help_heading = FILES)]
    pub mount: Vec<String>,

    /// Directory in which the command starts [default: the workspace]
    #[arg(long, value_name = "DIR", help_heading = FILES)]
    pub container_workdir: Option<String>,

    /// Directory for the files of this run, hidden from the command [default: a new one for each
    /// run in the directory for temporary files]
    #[arg(long, value_name = "DIR", help_heading = FILES)]
    pub work_dir: Option<String>,

    /// Memory for the command, without swap: a number and b, k, m or g [default: 6g]
    #[arg(long, value_name = "SIZE", help_heading = LIMITS, allow_hyphen_values = true)]
    pub memory_limit: Option<String>,

    /// Processors for the command, such as 1.5 [default: all]
    #[arg(long, value_name = "CPUS", help_heading = LIMITS, allow_hyphen_values = true)]
    pub cpu_limit: Option<String>,

    /// Number of processes and threads for the command [default: 1000]
    #[arg(long, value_name = "NUMBER", help_heading = LIMITS, allow_hyphen_values = true)]
    pub pids_limit: Option<String>,

    /// Stop the command after so many minutes and end with code 124 [default: never]
    #[arg(long, value_name = "MINUTES", help_heading = LIMITS, allow_hyphen_values = true)]
    pub agent_timeout: Option<String>,

    /// Give the command a terminal
    #[arg(long, help_heading = LIMITS)]
    pub tty: bool,

    /// File with values for options that are not on the command line, in YAML or JSON; - is
    /// standard input. See `awf config schema`
    #[arg(long, value_name = "FILE", help_heading = RUN)]
    pub config: Option<String>,

    /// What the sandbox is made with: auto, docker or native [default: auto]
    #[arg(long, value_name = "NAME", help_heading = RUN)]
    pub runtime: Option<String>,

    /// How much of the kernel must stand behind the sandbox: full (with LSM programs, or no run),
    /// hardened (without them) or auto, the most that the kernel gives [default: auto]
    #[arg(long, value_name = "NAME", help_heading = RUN)]
    pub profile: Option<String>,

    /// Docker daemon on this machine: `unix:///PATH` or `tcp://127.0.0.1:PORT` [default:
    /// `DOCKER_HOST`, else `unix:///var/run/docker.sock`]
    #[arg(long, value_name = "ADDRESS", help_heading = CONTAINERS)]
    pub docker_host: Option<String>,

    /// Image of the agent's container: default, act, or a reference such as ubuntu:24.04 [default:
    /// default]
    #[arg(long, value_name = "IMAGE", help_heading = CONTAINERS)]
    pub agent_image: Option<String>,

    /// Where images are pulled from if they are not there: what stands before their names
    #[arg(long, value_name = "PREFIX", help_heading = CONTAINERS)]
    pub image_registry: Option<String>,

    /// Tag of awf's images, with digests of single ones if wanted [default: this version]
    #[arg(long, value_name = "TAG[,ROLE=DIGEST]", help_heading = CONTAINERS)]
    pub image_tag: Option<String>,

    /// Build awf's images on this machine
    #[arg(short, long, help_heading = CONTAINERS)]
    pub build_local: bool,

    /// Pull no image; one that is missing is an error
    #[arg(long, help_heading = CONTAINERS)]
    pub skip_pull: bool,

    /// Leave the sandbox and its files in place after the run
    #[arg(short, long, help_heading = RUN)]
    pub keep_containers: bool,

    /// What awf says on standard error: debug, info, warn or error [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = RUN)]
    pub log_level: Option<String>,

    /// Directory for the proxy's logs [default: squid-logs in the work directory]
    #[arg(long, value_name = "DIR", help_heading = RUN)]
    pub proxy_logs_dir: Option<String>,

    /// Directory for what was decided and done [default: `AWF_AUDIT_DIR`, else audit in the work
    /// directory]
    #[arg(long, value_name = "DIR", help_heading = RUN)]
    pub audit_dir: Option<String>,

    /// Directory for the state of the agent's session, shown to it as `~/.copilot/session-state`
    /// [default: `AWF_SESSION_STATE_DIR`, else none]
    #[arg(long, value_name = "DIR", help_heading = RUN)]
    pub session_state_dir: Option<String>,

    /// Leave what helps to find a fault in the audit directory if the command fails: messages of
    /// the proxy, mounts, state of the containers
    #[arg(long, help_heading = RUN)]
    pub diagnostic_logs: bool,

    /// Let each line of egress.jsonl cover all lines before, so that `awf logs verify` finds what was
    /// changed
    #[arg(long, help_heading = RUN)]
    pub record_chain: bool,

    /// Sign that chain with the Ed25519 private key (PEM, PKCS#8) in this file, which the command
    /// does not see; with --record-chain or without
    #[arg(long, value_name = "FILE", help_heading = RUN)]
    pub record_key: Option<String>,

    /// Record the SHA-256 of each executable that tries something; the first attempt of each waits for
    /// it
    #[arg(long, help_heading = RUN)]
    pub record_exe_hash: bool,

    /// End with exit code 122 if an attempt was judged but is missing in egress.jsonl
    #[arg(long, help_heading = RUN)]
    pub strict_audit: bool,

    /// Send the record, when it is complete, to this collector of OpenTelemetry logs, an allowed
    /// domain; the variable `OTEL_EXPORTER_OTLP_HEADERS` may hold its credentials
    #[arg(long, value_name = "URL", help_heading = RUN)]
    pub otlp_endpoint: Option<String>,

    /// What the original had and awf answers in one sentence.
    #[arg(skip)]
    #[serde(skip)]
    pub legacy: Vec<LegacyOption>,

    /// What only the configuration file can say.
    #[arg(skip)]
    #[serde(skip)]
    pub file: FileOnly,

    /// Where values come from that were not typed.
    #[arg(skip)]
    #[serde(skip)]
    pub origins: Origins,

    /// Words of the command before `--`; only a command without options can be written there.
    #[arg(hide = true)]
    #[serde(skip)]
    pub words: Vec<String>,

    /// The command. One word is a line for the shell, several are a program and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    #[serde(skip)]
    pub command: Vec<String>,
}

/// Where the API proxy sends requests that carry the caller's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize)]
pub struct ApiArgs {
    /// Server that gets the key of `OPENAI_API_KEY` [default: `OPENAI_API_TARGET`, else
    /// api.openai.com]. It is added to the allowed domains, like those of the next four
    #[arg(long, value_name = "HOST", help_heading = API)]
    pub openai_api_target: Option<String>,

    /// Server that gets the key of `ANTHROPIC_API_KEY` [default: `ANTHROPIC_API_TARGET`, else
    /// api.anthropic.com]
    #[arg(long, value_name = "HOST", help_heading = API)]
    pub anthropic_api_target: Option<String>,

    /// Server that gets the token of `COPILOT_GITHUB_TOKEN`, or the key of
    /// `COPILOT_PROVIDER_API_KEY` [default: `COPILOT_API_TARGET`, else the one that belongs to
    /// `GITHUB_SERVER_URL` or `COPILOT_PROVIDER_BASE_URL`]
    #[arg(long, value_name = "HOST", help_heading = API)]
    pub copilot_api_target: Option<String>,

    /// Server that gets the key of `GEMINI_API_KEY` [default: `GEMINI_API_TARGET`, else
    /// generativelanguage.googleapis.com]
    #[arg(long, value_name = "HOST", help_heading = API)]
    pub gemini_api_target: Option<String>,

    /// Server that gets the key of `GOOGLE_API_KEY` [default: `VERTEX_API_TARGET`, else
    /// aiplatform.googleapis.com]
    #[arg(long, value_name = "HOST", help_heading = API)]
    pub vertex_api_target: Option<String>,

    /// What goes before the path of each request to OpenAI's server [default:
    /// `OPENAI_API_BASE_PATH`, else /v1 for api.openai.com and nothing for others]
    #[arg(long, value_name = "PATH", help_heading = API)]
    pub openai_api_base_path: Option<String>,

    /// Likewise for Anthropic's [default: `ANTHROPIC_API_BASE_PATH`, else nothing]
    #[arg(long, value_name = "PATH", help_heading = API)]
    pub anthropic_api_base_path: Option<String>,

    /// Likewise for Gemini's [default: `GEMINI_API_BASE_PATH`, else nothing]
    #[arg(long, value_name = "PATH", help_heading = API)]
    pub gemini_api_base_path: Option<String>,

    /// Likewise for Vertex's [default: `VERTEX_API_BASE_PATH`, else nothing]
    #[arg(long, value_name = "PATH", help_heading = API)]
    pub vertex_api_base_path: Option<String>,

    /// Header in which OpenAI's server gets the key [default: `AWF_OPENAI_AUTH_HEADER`, else
    /// authorization]
    #[arg(long, value_name = "HEADER", help_heading = API)]
    pub openai_api_auth_header: Option<String>,

    /// Likewise for Anthropic's [default: `AWF_ANTHROPIC_AUTH_HEADER`, else x-api-key]
    #[arg(long, value_name = "HEADER", help_heading = API)]
    pub anthropic_api_auth_header: Option<String>,

    /// Variable with the URL of OpenAI's server, https only
    #[arg(long, value_name = "NAME", help_heading = API)]
    pub openai_base_url_env: Option<String>,
}

/// How names are found, what is looked into and through whom it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize)]
pub struct ProxyArgs {
    /// Name servers that the proxy asks, as addresses separated by commas [default: those of this
    /// machine]
    #[arg(long, value_name = "LIST", help_heading = PROXY)]
    pub dns_servers: Option<String>,

    /// Let the proxy find names by DNS over HTTPS, at `https://dns.google/dns-query` unless another
    /// URL is given
    #[arg(long, value_name = "URL", help_heading = PROXY, num_args = 0..=1,
        default_missing_value = "https://dns.google/dns-query")]
    pub dns_over_https: Option<String>,

    /// Proxy through which everything leaves, `http://HOST:PORT`, port 3128 unless given [default:
    /// `https_proxy` or `http_proxy`, whose `no_proxy` counts as well]
    #[arg(long, value_name = "URL", help_heading = PROXY)]
    pub upstream_proxy: Option<String>,

    /// Decrypt TLS with an authority of this run's own, so that requests are judged and recorded,
    /// not only names
    #[arg(long, help_heading = PROXY)]
    pub ssl_bump: bool,

    /// With --ssl-bump: URLs that may be asked for, separated by commas, such as
    /// `https://github.com/my-org/*`. A host of any of them answers to nothing else
    #[arg(long, value_name = "LIST", help_heading = PROXY)]
    pub allow_urls: Option<String>,

    /// Refuse requests whose URL holds what looks like a credential; with --ssl-bump also over TLS
    #[arg(long, help_heading = PROXY)]
    pub enable_dlp: bool,
}

/// How much the command may ask of the providers.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize)]
pub struct BudgetArgs {
    /// Requests a minute to each provider [default: none, 600 if another rate is given]
    #[arg(long, value_name = "NUMBER", help_heading = BUDGETS, allow_hyphen_values = true)]
    pub rate_limit_rpm: Option<String>,

    /// Requests an hour to each provider [default: none, 10000 if another rate is given]
    #[arg(long, value_name = "NUMBER", help_heading = BUDGETS, allow_hyphen_values = true)]
    pub rate_limit_rph: Option<String>,

    /// Bytes of requests a minute to each provider [default: none, 52428800 if another rate is
    /// given]
    #[arg(long, value_name = "NUMBER", help_heading = BUDGETS, allow_hyphen_values = true)]
    pub rate_limit_bytes_pm: Option<String>,

    /// No rate, whatever else is said
    #[arg(long, help_heading = BUDGETS)]
    pub no_rate_limit: bool,

    /// Answers in a row that used nothing of a provider's cache, before requests are refused
    /// [default: none]
    #[arg(long, value_name = "NUMBER", help_heading = BUDGETS, allow_hyphen_values = true)]
    pub max_cache_misses: Option<String>,

    /// Answers 401 or 403 of the providers before requests are refused: the key is wrong then
    /// [default: none]
    #[arg(long, value_name = "NUMBER", help_heading = BUDGETS, allow_hyphen_values = true)]
    pub max_permission_denied: Option<String>,

    /// Tell the model in its requests when 80, 90, 95 and 99 percent of a budget or of
    /// --agent-timeout are used
    #[arg(long, help_heading = BUDGETS)]
    pub enable_token_steering: bool,

    /// Weights of models, MODEL:NUMBER separated by commas
    #[arg(long, value_name = "LIST", help_heading = BUDGETS)]
    pub max_model_multiplier: Option<String>,

    /// Refuse models whose weight is more than this
    #[arg(long, value_name = "NUMBER", help_heading = BUDGETS, allow_hyphen_values = true)]
    pub max_model_multiplier_cap: Option<String>,
}
