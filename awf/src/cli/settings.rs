//! What the command line means.
//!
//! Owns defaults, precedence (option, then environment, then default) and the order of checks.
//! Takes [`Args`] and the [`Caller`], gives [`Settings`]: after this, no value is a string that
//! still has to be understood, except domains, whose grammar is `policy`'s. Reads the files that options
//! name. Must never change anything.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::api_targets::ApiTargets;
use super::budgets::Budgets;
use super::collector::{self, Collector};
use super::doh::{self, DohServer};
use super::domains::{self, DomainEntry};
use super::effective::Effective;
use super::files::Files;
use super::images::Images;
use super::inspection::Inspection;
use super::legacy;
use super::limits::{self, CpuLimit};
use super::mounts::{self, Mount};
use super::options::Args;
use super::origin::Origins;
use super::record::RecordOptions;
use super::services::{self, HostAccess};
use super::upstream::{self, ParentProxy};
use super::usage::UsageError;
use super::{api_targets, command, config, directories, ruleset, variables};
use crate::host::{Caller, Variables};

/// Memory of the command unless said otherwise, the original's: 6 GiB.
pub const DEFAULT_MEMORY_BYTES: u64 = 6 << 30;

/// Processes of the command unless said otherwise, the original's.
pub const DEFAULT_PIDS: u64 = 1000;

/// Everything the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Domains to allow, as written.
    pub allow: Vec<DomainEntry>,
    /// Domains to block, as written.
    pub block: Vec<DomainEntry>,
    /// Whether what is neither allowed nor blocked is let through and recorded.
    pub audit_mode: bool,
    /// Name servers for the proxy; `None` means those of the machine.
    pub dns_servers: Option<Vec<IpAddr>>,
    /// Who resolves names over HTTPS instead.
    pub doh: Option<DohServer>,
    /// The proxy through which everything leaves.
    pub upstream: Option<ParentProxy>,
    /// Where the record goes when the run is over; `None` means nowhere.
    pub collector: Option<Collector>,
    /// What of this machine may be reached; `None` means nothing.
    pub host_access: Option<HostAccess>,
    /// Containers that may be reached, by name.
    pub peers: Vec<String>,
    /// What is looked into.
    pub inspection: Inspection,
    /// Variables of `--env`.
    pub env: Variables,
    /// Whether all variables of the caller are passed on.
    pub env_all: bool,
    /// Variables of `--env-file`.
    pub env_file: Variables,
    /// Names of `--exclude-env`.
    pub excluded: BTreeSet<String>,
    /// Where the API proxy sends requests.
    pub api: ApiTargets,
    /// How much may be asked of the providers.
    pub budgets: Budgets,
    /// Mounts, no two with the same target.
    pub mounts: Vec<Mount>,
    /// Where the command starts; `None` means the workspace.
    pub container_workdir: Option<PathBuf>,
    /// What the sandbox shows of the user, the tools and the session.
    pub files: Files,
    /// Directory of the run; `None` means a new temporary one.
    pub work_dir: Option<PathBuf>,
    /// Memory limit in bytes.
    pub memory_bytes: u64,
    /// Processor limit; `None` means all.
    pub cpus: Option<CpuLimit>,
    /// Limit of processes and threads.
    pub pids: u64,
    /// How long the command may run; `None` means for ever.
    pub timeout: Option<Duration>,
    /// Whether the command gets a terminal.
    pub tty: bool,
    /// Whether everything stays in place after the run.
    pub keep: bool,
    /// What awf says.
    pub log_level: LogLevel,
    /// Directory of the proxy's logs; `None` means `squid-logs` in the run's directory.
    pub proxy_logs_dir: Option<PathBuf>,
    /// Whether a run that fails leaves what helps to find the fault.
    pub diagnostic_logs: bool,
    /// What protects the record of attempts.
    pub record: RecordOptions,
    /// Directory of the audit files; `None` means `audit` in the run's directory.
    pub audit_dir: Option<PathBuf>,
    /// What the sandbox is made with.
    pub runtime: RuntimeChoice,
    /// How much of the kernel must stand behind the sandbox.
    pub profile: ProfileChoice,
    /// Daemon and images of the Docker runtime.
    pub images: Images,
    /// The command, a line for `bash -c`.
    pub command: String,
    /// Where values come from that were not typed.
    pub origins: Origins,
    /// Every option's value, and who spoke for it.
    pub effective: Effective,
    /// What the user should be told once.
    pub notices: Vec<String>,
}

/// What awf says on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Steps.
    Debug,
    /// Results.
    Info,
    /// What the user should know.
    Warn,
    /// What went wrong.
    Error,
}

/// What the sandbox is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// Docker if its daemon answers, else native.
    Auto,
    /// Containers.
    Docker,
    /// Namespaces made by awf itself.
    Native,
}

/// How much of the kernel must stand behind the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileChoice {
    /// The most that the machine gives.
    Auto,
    /// With LSM programs, or no run.
    Full,
    /// Without them.
    Hardened,
}

impl Settings {
    /// Gives every value its type, or says which one makes no sense.
    pub fn resolve(args: &Args, caller: &Caller) -> Result<Self, UsageError> {
        let mut notices = Vec::new();
        let args = config::apply(args, caller, &mut notices)?;
        Self::typed(&args, caller, notices).map_err(|error| args.origins.locate(error))
    }

    fn typed(args: &Args, caller: &Caller, mut notices: Vec<String>) -> Result<Self, UsageError> {
        // First errors first: the order of checks is the original's, so that scripts which feed
        // several mistakes at once see the same one.
        let command = command::line(args)?;
        legacy::settle(&args.legacy, &mut notices)?;
        let log_level = log_level(args.log_level.as_deref())?;
        let memory = args.memory_limit.as_deref().map(limits::memory).transpose()?;
        let pids = args.pids_limit.as_deref().map(limits::pids).transpose()?;
        let cpus = args.cpu_limit.as_deref().map(limits::cpus).transpose()?;
        let timeout = args.agent_timeout.as_deref().map(limits::timeout).transpose()?;
        let runtime = runtime(args.runtime.as_deref())?;
        let profile = profile(args.profile.as_deref())?;
        let images = Images::of(args, caller, &mut notices)?;
        let Reach { allow, block, host_access, dns_servers, inspection, upstream, doh } =
            Reach::of(args, caller, &mut notices)?;
        let env = variables::from_flags(&args.env)?;
        let env_file = env_file(args, caller, &mut notices)?;
        let directory = |flag, text: &Option<String>| {
            text.as_deref().map(|text| directories::writable(flag, text, caller)).transpose()
        };
        let api = ApiTargets::resolve(&args.api, &caller.env)?.overridden(&env, &caller.env)?;
        let inside = |text| directories::inside("--container-workdir", text);
        Ok(Self {
            allow,
            block,
            audit_mode: args.audit_mode,
            dns_servers,
            doh,
            upstream,
            collector: collector::of(args.otlp_endpoint.as_deref())?,
            host_access,
            peers: services::peers(&args.topology_attach)?,
            inspection,
            env,
            env_all: args.env_all,
            env_file,
            excluded: excluded(args, caller)?,
            api,
            budgets: Budgets::resolve(args)?,
            mounts: mounts::all(&args.mount, caller)?,
            container_workdir: args.container_workdir.as_deref().map(inside).transpose()?,
            files: Files::of(args, caller)?,
            work_dir: directory("--work-dir", &args.work_dir)?,
            memory_bytes: memory.unwrap_or(DEFAULT_MEMORY_BYTES),
            cpus,
            pids: pids.unwrap_or(DEFAULT_PIDS),
            timeout,
            tty: args.tty,
            keep: args.keep_containers,
            log_level,
            proxy_logs_dir: directory("--proxy-logs-dir", &args.proxy_logs_dir)?,
            diagnostic_logs: args.diagnostic_logs,
            record: RecordOptions::of(args, caller)?,
            audit_dir: audit_dir(args, caller)?,
            runtime,
            profile,
            images,
            command,
            origins: args.origins.clone(),
            effective: Effective::of(args, &caller.env),
            notices,
        })
    }
}

/// The variables of `--env-file`.
fn env_file(
    args: &Args,
    caller: &Caller,
    notices: &mut Vec<String>,
) -> Result<Variables, UsageError> {
    let Some(path) = &args.env_file else { return Ok(Variables::new()) };
    variables::from_file(&caller.cwd.join(path), notices)
}

/// What may be reached, and the way there.
struct Reach {
    allow: Vec<DomainEntry>,
    block: Vec<DomainEntry>,
    host_access: Option<HostAccess>,
    dns_servers: Option<Vec<IpAddr>>,
    inspection: Inspection,
    upstream: Option<ParentProxy>,
    doh: Option<DohServer>,
}

impl Reach {
    fn of(args: &Args, caller: &Caller, notices: &mut Vec<String>) -> Result<Self, UsageError> {
        let mut allow = list(
            ("--allow-domains", &args.allow_domains),
            ("--allow-domains-file", &args.allow_domains_file),
            caller,
        )?;
        ruleset::extend(&mut allow, &args.ruleset_file, caller)?;
        let block = list(
            ("--block-domains", &args.block_domains),
            ("--block-domains-file", &args.block_domains_file),
            caller,
        )?;
        let host_access = services::host_access(args, &mut allow, notices)?;
        let proxy = &args.proxy;
        let dns_servers = proxy.dns_servers.as_deref().map(domains::name_servers).transpose()?;
        let inspection = Inspection::of(proxy, notices)?;
        let upstream = upstream::parent(proxy.upstream_proxy.as_deref(), &caller.env, notices)?;
        let url = proxy.dns_over_https.as_deref();
        let doh = doh::server(url, dns_servers.as_ref(), upstream.as_ref())?;
        Ok(Self { allow, block, host_access, dns_servers, inspection, upstream, doh })
    }
}

/// Names of `--exclude-env`, and of the variable that `--openai-base-url-env` keeps from the command.
fn excluded(args: &Args, caller: &Caller) -> Result<BTreeSet<String>, UsageError> {
    let mut names = variables::excluded(&args.exclude_env)?;
    let secret = api_targets::base_url_variable(&args.api, &caller.env);
    names.extend(secret.map(|(_origin, name)| name.to_owned()));
    Ok(names)
}

/// A domain list: what the option says, then what the file says.
fn list(
    (flag, text): (&'static str, &Option<String>),
    (file_flag, path): (&'static str, &Option<String>),
    caller: &Caller,
) -> Result<Vec<DomainEntry>, UsageError> {
    let mut entries = text.as_deref().map_or_else(Vec::new, |text| domains::from_flag(flag, text));
    if let Some(path) = path {
        entries.extend(domains::from_file(file_flag, &caller.cwd.join(path))?);
    }
    Ok(entries)
}

/// The option, else the variable. An empty variable counts as unset, as in shells' `${X:-}`.
fn audit_dir(args: &Args, caller: &Caller) -> Result<Option<PathBuf>, UsageError> {
    let named = args.audit_dir.as_ref().map(|text| ("--audit-dir", text));
    let variable = caller.env.get("AWF_AUDIT_DIR").filter(|text| !text.is_empty());
    named
        .or_else(|| variable.map(|text| ("AWF_AUDIT_DIR", text)))
        .map(|(origin, text)| directories::writable(origin, text, caller))
        .transpose()
}

fn log_level(text: Option<&str>) -> Result<LogLevel, UsageError> {
    match text {
        Some("debug") => Ok(LogLevel::Debug),
        None | Some("info") => Ok(LogLevel::Info),
        Some("warn") => Ok(LogLevel::Warn),
        Some("error") => Ok(LogLevel::Error),
        Some(other) => {
            let remedy = "choose debug, info, warn or error";
            Err(UsageError::value("--log-level", other, "no such level", remedy))
        }
    }
}

fn runtime(text: Option<&str>) -> Result<RuntimeChoice, UsageError> {
    match text {
        None | Some("auto") => Ok(RuntimeChoice::Auto),
        Some("docker") => Ok(RuntimeChoice::Docker),
        Some("native") => Ok(RuntimeChoice::Native),
        Some(other) => {
            let remedy = "choose auto, docker or native";
            Err(UsageError::value("--runtime", other, "no such runtime", remedy))
        }
    }
}

fn profile(text: Option<&str>) -> Result<ProfileChoice, UsageError> {
    match text {
        None | Some("auto") => Ok(ProfileChoice::Auto),
        Some("full") => Ok(ProfileChoice::Full),
        Some("hardened") => Ok(ProfileChoice::Hardened),
        Some(other) => {
            let remedy = "choose auto, full or hardened";
            Err(UsageError::value("--profile", other, "no such profile", remedy))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Request, parse};

    fn resolve_as(caller: &Caller, line: &[&str]) -> Result<Settings, UsageError> {
        Settings::resolve(&args(line), caller)
    }

    fn args(line: &[&str]) -> Args {
        let line = ["awf"].iter().chain(line).chain(&["--", "true"]).map(Into::into);
        match parse(line).unwrap() {
            Request::Run(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn resolve(line: &[&str]) -> Result<Settings, UsageError> {
        resolve_as(&Caller::sample(), line)
    }

    /// Those of somebody who said nothing about containers.
    fn images() -> Images {
        Images::of(&Args::default(), &Caller::sample(), &mut Vec::new()).unwrap()
    }

    #[test]
    fn a_bare_command_gets_the_defaults() {
        let expected = Settings {
            allow: Vec::new(),
            block: Vec::new(),
            audit_mode: false,
            dns_servers: None,
            doh: None,
            upstream: None,
            collector: None,
            host_access: None,
            inspection: Inspection::default(),
            peers: Vec::new(),
            env: Variables::new(),
            env_all: false,
            env_file: Variables::new(),
            excluded: BTreeSet::new(),
            api: ApiTargets::default(),
            budgets: Budgets::default(),
            mounts: Vec::new(),
            container_workdir: None,
            files: Files::default(),
            work_dir: None,
            memory_bytes: 6_442_450_944,
            cpus: None,
            pids: 1000,
            timeout: None,
            tty: false,
            keep: false,
            log_level: LogLevel::Info,
            proxy_logs_dir: None,
            diagnostic_logs: false,
            record: RecordOptions::default(),
            audit_dir: None,
            runtime: RuntimeChoice::Auto,
            profile: ProfileChoice::Auto,
            images: images(),
            command: "true".to_owned(),
            origins: Origins::default(),
            effective: resolve(&[]).unwrap().effective,
            notices: Vec::new(),
        };
        assert_eq!(resolve(&[]).unwrap(), expected);
    }

    #[test]
    fn the_docker_socket_is_refused_under_both_names() {
        for name in ["--enable-dind", "--enable-docker"] {
            let error = resolve(&[name]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("--topology-attach"), "{error}");
        }
    }

    #[test]
    fn the_difc_proxy_is_refused_with_what_to_do_instead() {
        for option in ["--difc-proxy-host=awmg-cli-proxy:18443", "--difc-proxy-ca-cert=/ca.crt"] {
            let error = resolve(&[option]).unwrap_err().to_string();
            assert!(error.contains("--difc-proxy") && error.contains("GH_HOST"), "{error}");
        }
    }

    #[test]
    fn every_option_arrives() {
        let settings = resolve(&[
            "--allow-domains=a.com,b.com",
            "--block-domains=c.com",
            "--dns-servers=9.9.9.9",
            "--enable-host-access",
            "--allow-host-ports=3000-3010",
            "--allow-host-service-ports=5432",
            "--topology-attach=gateway",
            "-e",
            "A=1",
            "--env-all",
            "--exclude-env=X",
            "--openai-api-target=o.example",
            "-v",
            "/etc:/e:ro",
            "--container-workdir=/e",
            "--work-dir=/tmp/awf-none",
            "--memory-limit=1g",
            "--cpu-limit=0.5",
            "--pids-limit=5",
            "--agent-timeout=2",
            "--tty",
            "-k",
            "--log-level=warn",
            "--proxy-logs-dir=/tmp",
            "--audit-dir=/tmp",
            "--runtime=native",
            "--profile=full",
        ])
        .unwrap();
        assert_eq!((settings.allow.len(), settings.block.len()), (2, 1));
        assert_eq!(settings.dns_servers, Some(vec!["9.9.9.9".parse().unwrap()]));
        let host = settings.host_access.unwrap();
        assert_eq!(
            (host.ports[0].high, host.service_ports, host.by_localhost),
            (3010, vec![5432], false)
        );
        assert_eq!(settings.peers, ["gateway"]);
        assert_eq!((settings.env["A"].as_str(), settings.env_all), ("1", true));
        assert!(settings.excluded.contains("X"));
        assert_eq!(settings.api.openai.host.as_deref(), Some("o.example"));
        assert_eq!(settings.mounts.len(), 1);
        assert_eq!(settings.container_workdir, Some("/e".into()));
        assert_eq!(settings.work_dir, Some("/tmp/awf-none".into()));
        assert_eq!((settings.memory_bytes, settings.pids), (1 << 30, 5));
        assert_eq!(settings.cpus, Some(CpuLimit { millicpus: 500 }));
        assert_eq!(settings.timeout, Some(Duration::from_mins(2)));
        assert!(settings.tty && settings.keep);
        assert_eq!((settings.log_level, settings.runtime), (LogLevel::Warn, RuntimeChoice::Native));
        assert_eq!(settings.profile, ProfileChoice::Full);
        assert_eq!(
            (settings.proxy_logs_dir, settings.audit_dir),
            (Some("/tmp".into()), Some("/tmp".into()))
        );
    }

    #[test]
    fn levels_runtimes_and_profiles_are_exact_words() {
        for line in [
            ["--log-level", "INFO"],
            ["--log-level", ""],
            ["--runtime", "podman"],
            ["--runtime", ""],
            ["--profile", "hard"],
        ] {
            let sentence = resolve(&line).unwrap_err().to_string();
            assert!(sentence.starts_with(&format!("{} '{}': ", line[0], line[1])), "{sentence}");
        }
        assert!(LogLevel::Debug < LogLevel::Error);
    }

    #[test]
    fn the_first_mistake_in_order_is_told() {
        let sentence =
            resolve(&["-v", "x", "--dns-servers", "x", "--memory-limit", "x"]).unwrap_err();
        assert!(sentence.to_string().starts_with("--memory-limit"));
        let sentence = resolve(&["-v", "x", "--dns-servers", "x"]).unwrap_err();
        assert!(sentence.to_string().starts_with("--dns-servers"));
    }

    #[test]
    fn the_audit_directory_may_come_from_the_environment() {
        let mut caller = Caller::sample();
        caller.env.insert("AWF_AUDIT_DIR".to_owned(), "/tmp/audit".to_owned());
        let check = |caller: &Caller, line: &[&str], expected: Option<&str>| {
            let found = resolve_as(caller, line).unwrap().audit_dir;
            assert_eq!(found, expected.map(PathBuf::from));
        };
        check(&caller, &[], Some("/tmp/audit"));
        check(&caller, &["--audit-dir", "/tmp/other"], Some("/tmp/other"));
        caller.env.insert("AWF_AUDIT_DIR".to_owned(), String::new());
        check(&caller, &[], None);
        caller.env.insert("AWF_AUDIT_DIR".to_owned(), "/etc/passwd".to_owned());
        let sentence = resolve_as(&caller, &[]).unwrap_err().to_string();
        assert!(sentence.starts_with("AWF_AUDIT_DIR '/etc/passwd': it is not a directory"));
    }

    #[test]
    fn an_option_that_is_not_needed_any_more_is_taken_and_told() {
        let notices = resolve(&["--enable-api-proxy"]).unwrap().notices;
        assert!(notices[0].starts_with("--enable-api-proxy: it is deprecated"), "{notices:?}");
    }

    #[test]
    fn an_empty_domain_list_allows_nothing_and_is_no_mistake() {
        assert!(resolve(&["--allow-domains", ""]).unwrap().allow.is_empty());
    }

    #[test]
    fn files_are_found_from_where_the_caller_stands() {
        let mut caller = Caller::sample();
        caller.cwd = "/nowhere".into();
        let sentence =
            resolve_as(&caller, &["--allow-domains-file", "list"]).unwrap_err().to_string();
        assert!(sentence.starts_with("--allow-domains-file '/nowhere/list': "), "{sentence}");
    }
}
