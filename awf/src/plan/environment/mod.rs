//! The command's environment.
//!
//! Owns which variable reaches the command and whose value wins. Takes settings, host facts and
//! services, gives names and values and what to tell the user. Pure: must never read the
//! environment of the process itself, and must never print a value, which may be a secret.
//!
//! From weak to strong: the caller's variables (`--env-all`, else a short list), the certificate
//! bundle, `--env-file`, awf's own, `--env`, awf's last word (`AWF_*` and what [`api_proxy`] puts in the
//! place of credentials). This is the original's
//! order with one repair: its documents say that the file beats the caller's variables, and here
//! it does.
//!
//! Not set, and why:
//! - `http_proxy` and `ALL_PROXY`: the original's contract, and plain connections find the
//!   transparent door by themselves.
//! - `JAVA_TOOL_OPTIONS`: the original needs it because the JVM reads no proxy variable. Here the
//!   JVM's connections are led to the door like all others, and the variable would make every JVM
//!   print a line on standard error. For the same reason nothing is put into `~/.m2/settings.xml` and
//!   `~/.gradle/gradle.properties`, where the original writes the proxy.
//! - `AWF_ENSURE_USR_LOCAL_BIN`: the command sees the machine's `/usr/local/bin` itself.
//! - `AWF_ONE_SHOT_TOKENS` and `LD_PRELOAD`, unless [`one_shot`] finds a token to guard.

mod told;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::addresses;
use super::api_proxy::{self, ApiProxyPlan};
use super::inspection::InspectionPlan;
use super::mounts::BINARIES;
use super::one_shot;
use crate::cli::{self, Settings};
use crate::host::caller::TOOLCHAINS;
use crate::host::{Host, Variables};
use crate::policy::{Service, Services, Target};

/// Values longer than this are not passed on with `--env-all`, in bytes. The kernel refuses single
/// strings from 128 KiB on (`MAX_ARG_STRLEN`, execve(2)); the original stops at half.
const MAX_VALUE: usize = 64 << 10;

/// Above this the kernel may refuse to start the command, in bytes: arguments and environment share
/// a quarter of the stack limit, 2 MiB by default (execve(2)).
const MAX_TOTAL: usize = 1_500_000;

/// awf's own path for a caller without PATH.
const STANDARD_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What proxy-aware programs read. Only `--env` may say otherwise.
const PROXY_NAMES: [&str; 10] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// What describes the calling process and would be wrong inside.
const PROCESS_NAMES: [&str; 9] =
    ["PATH", "PWD", "OLDPWD", "SHLVL", "_", "SUDO_COMMAND", "SUDO_USER", "SUDO_UID", "SUDO_GID"];

/// What opens doors elsewhere: the runner's own tokens, credentials that the API proxy keeps for
/// the command, and names with which sidecars find each other. Not even `--env` passes them.
pub(super) const WITHHELD_NAMES: [&str; 25] = [
    "ACTIONS_RUNTIME_TOKEN",
    "ACTIONS_RESULTS_URL",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "MCP_GATEWAY_HOST_DOMAIN",
    "OPENAI_API_KEY",
    "OPENAI_KEY",
    "CODEX_API_KEY",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_API_KEY",
    "COPILOT_GITHUB_TOKEN",
    "COPILOT_PROVIDER_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_GEMINI_BASE_URL",
    "GEMINI_API_BASE_URL",
    "GOOGLE_API_KEY",
    "GOOGLE_VERTEX_BASE_URL",
    "OPENAI_ENDPOINT_OVERRIDE",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITHUB_PERSONAL_ACCESS_TOKEN",
    "GITHUB_API_TOKEN",
    "GITHUB_PAT",
    "GH_ACCESS_TOKEN",
];

/// What is passed on without `--env-all`, besides `OTEL_*`.
const FORWARDED_NAMES: [&str; 17] = [
    "XDG_CONFIG_HOME",
    "GITHUB_SERVER_URL",
    "GITHUB_API_URL",
    "AZURE_CONFIG_DIR",
    "ADO_MCP_AUTH_TOKEN",
    "DOCKER_HOST",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_API_VERSION",
    "DOCKER_DEFAULT_PLATFORM",
    "COPILOT_OTEL_FILE_EXPORTER_PATH",
    "GITHUB_AW_OTEL_TRACE_ID",
    "GITHUB_AW_OTEL_PARENT_SPAN_ID",
    "TERM",
];

/// Where the JVM is, and where the dynamic linker looks for its libraries.
const JAVA: &str = "JAVA_HOME";
const LIBRARIES: &str = "LD_LIBRARY_PATH";

/// What programs read to find certification authorities: OpenSSL, node, python requests, curl, git.
pub(super) const CA_NAMES: [&str; 5] = [
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
];

/// The command's environment and how it came about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentEnvironment {
    /// Names and values, sorted by name.
    pub variables: Vec<(String, String)>,
    /// What the user should be told once.
    pub notices: Vec<String>,
}

/// The environment in which the command starts.
pub fn agent_environment(
    settings: &Settings,
    host: &Host,
    (services, inspection): (&Services, &InspectionPlan),
    api: &ApiProxyPlan,
) -> AgentEnvironment {
    let mut notices = Vec::new();
    let mut variables = from_caller(settings, host, &mut notices);
    variables.extend(certificates(settings, host));
    let file = settings.env_file.iter().filter(|(name, _)| !is_withheld(name, settings));
    variables.extend(file.map(|(name, value)| (name.clone(), value.clone())));
    variables.extend(own(settings, host, services));
    from_flags(settings, &mut variables, &mut notices);
    add_java_libraries(settings, host, &mut variables);
    variables.extend(told::last_word(settings, host));
    variables.extend(told::opened(settings, services));
    variables.extend(trusted(settings, inspection));
    let api = api_proxy::environment::variables(api, &host.caller.env, &variables);
    variables.extend(api.clone());
    one_shot::guard(settings, &api, &mut variables);
    let total: usize = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if total > MAX_TOTAL {
        notices.push(format!(
            "the command's environment has {total} bytes; the kernel may refuse to start programs \
             with it (leave variables out with --exclude-env)"
        ));
    }
    AgentEnvironment { variables: variables.into_iter().collect(), notices }
}

/// The machine's certificate bundle under every name that programs know. It beats the caller's own
/// files, which the sandbox may not show; `--env-file` and `--env` can name one that it does.
fn certificates(settings: &Settings, host: &Host) -> Variables {
    let Some(bundle) = host.ca_bundle.as_deref() else { return Variables::new() };
    let wanted = CA_NAMES.iter().filter(|name| !settings.excluded.contains(**name));
    wanted.map(|name| ((*name).to_owned(), text(bundle))).collect()
}

/// The bundle with the authority of this run, whatever else was said: the files that were named are in it.
fn trusted(settings: &Settings, inspection: &InspectionPlan) -> Variables {
    let Some(bundle) = inspection.for_variables() else { return Variables::new() };
    let wanted = CA_NAMES.iter().filter(|name| !settings.excluded.contains(**name));
    let named = wanted.map(|name| ((*name).to_owned(), text(bundle)));
    named.chain([("AWF_SSL_BUMP_ENABLED".to_owned(), "true".to_owned())]).collect()
}

/// What the caller's environment contributes.
fn from_caller(settings: &Settings, host: &Host, notices: &mut Vec<String>) -> Variables {
    let forwarded = |name: &str| {
        let listed = FORWARDED_NAMES.contains(&name) || name.starts_with("OTEL_");
        listed && !(name == "TERM" && settings.tty)
    };
    let mut variables = Variables::new();
    for (name, value) in &host.caller.env {
        let wanted = settings.env_all || forwarded(name);
        if !wanted || is_withheld(name, settings) {
            continue;
        }
        if value.len() > MAX_VALUE {
            let bytes = value.len();
            notices.push(format!(
                "variable {name} is left out: its value has {bytes} bytes, more than 64 KiB"
            ));
            continue;
        }
        variables.insert(name.clone(), value.clone());
    }
    // gh must talk to the server of the workflow and to no other that the runner was set up for.
    variables.remove("GH_HOST");
    let server = server_host(&host.caller.env).filter(|_| !settings.excluded.contains("GH_HOST"));
    variables.extend(server.map(|name| ("GH_HOST".to_owned(), name)));
    variables
}

/// Whether a name from outside stays outside.
fn is_withheld(name: &str, settings: &Settings) -> bool {
    PROXY_NAMES.contains(&name) || is_withheld_even_by_flag(name, settings)
}

/// Likewise for `--env`, which may set the proxy names: set to nothing, they show that no client
/// needs them.
fn is_withheld_even_by_flag(name: &str, settings: &Settings) -> bool {
    cli::is_reserved(name)
        || PROCESS_NAMES.contains(&name)
        || WITHHELD_NAMES.contains(&name)
        || settings.excluded.contains(name)
}

/// The host name of `GITHUB_SERVER_URL` unless it is the public one.
pub(super) fn server_host(env: &Variables) -> Option<String> {
    let url = env.get("GITHUB_SERVER_URL")?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let name = rest.split(['/', ':', '?', '#']).next()?;
    (!name.is_empty() && name != "github.com").then(|| name.to_owned())
}

/// What awf sets unless `--env` says otherwise.
fn own(settings: &Settings, host: &Host, services: &Services) -> Variables {
    let home = text(&host.agent.home);
    let mut variables = proxy(services);
    variables.extend(toolchains(host).map(|(name, value)| (name.to_owned(), value.to_owned())));
    // Whoever excludes one of these wants it unset. Interception does not depend on the proxy's.
    variables.retain(|name, _| !settings.excluded.contains(name));
    let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
    set("PATH", search_path(settings, host));
    set("NPM_CONFIG_PREFIX", format!("{home}/.npm-global"));
    set("USER", host.agent.user.clone());
    set("LOGNAME", host.agent.user.clone());
    set("HOME", home);
    if settings.tty {
        set("FORCE_COLOR", "1".to_owned());
        set("TERM", "xterm-256color".to_owned());
        set("COLUMNS", "120".to_owned());
    } else {
        set("NO_COLOR", "1".to_owned());
    }
    variables
}

/// What proxy-aware programs need.
fn proxy(services: &Services) -> Variables {
    let url = format!("http://{}:{}", addresses::PROXY, addresses::PROXY_PORT);
    let direct = format!(
        "localhost,127.0.0.1,::1,0.0.0.0,{},{},{}{},api-proxy",
        addresses::PROXY,
        addresses::AGENT,
        direct_services(services),
        addresses::API_PROXY
    );
    BTreeMap::from([
        ("HTTP_PROXY", url.clone()),
        ("HTTPS_PROXY", url.clone()),
        ("https_proxy", url),
        ("NO_PROXY", direct.clone()),
        ("no_proxy", direct),
        ("SQUID_PROXY_HOST", "squid-proxy".to_owned()),
        ("SQUID_PROXY_PORT", addresses::PROXY_PORT.to_string()),
    ])
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// Peers, then this machine, each with a comma behind it: the original's order.
fn direct_services(services: &Services) -> String {
    let of = |wanted: fn(&Service) -> bool| services.iter().filter(move |service| wanted(service));
    let peers = of(|service| matches!(service.target, Target::Peer(_)));
    let host = of(|service| service.target == Target::Host);
    let peers = peers.map(|service| format!("{},", service.name()));
    peers.chain(host.map(|service| format!("{},{},", service.name(), service.address))).collect()
}

/// The tool chains that the caller knows.
fn toolchains(host: &Host) -> impl Iterator<Item = (&'static str, &str)> {
    TOOLCHAINS.iter().filter_map(|(name, _)| {
        let value = host.caller.env.get(*name).filter(|value| value.starts_with('/'))?;
        Some((*name, value.as_str()))
    })
}

/// PATH for the command: tool chains, what earlier workflow steps added, then the caller's own. The
/// first mention of a directory counts.
fn search_path(settings: &Settings, host: &Host) -> String {
    let home = text(&host.agent.home);
    let binaries = settings.files.binaries.iter().map(|_shown| BINARIES.to_owned());
    let mut front: Vec<String> = binaries.chain([format!("{home}/.npm-global/bin")]).collect();
    let known: Vec<(&str, &str)> = toolchains(host).collect();
    for (name, directory) in TOOLCHAINS.iter().rev() {
        let Some(directory) = directory else { continue };
        if let Some((_, root)) = known.iter().find(|(known, _)| known == name) {
            let path: PathBuf = Path::new(root).join(directory).components().collect();
            front.push(text(&path));
        }
    }
    if !known.iter().any(|(name, _)| *name == "CARGO_HOME") {
        front.push(format!("{home}/.cargo/bin"));
    }
    let mut seen: Vec<String> = Vec::new();
    let path = host_path(host);
    for directory in front.into_iter().chain(path.split(':').map(str::to_owned)) {
        if !directory.is_empty() && !seen.contains(&directory) {
            seen.push(directory);
        }
    }
    seen.join(":")
}

/// The caller's PATH with what the runner will put before it for the next step: later lines of the
/// runner's file come first.
fn host_path(host: &Host) -> String {
    let home = text(&host.agent.home);
    let known = host.caller.env.get("PATH").filter(|path| !path.is_empty()).cloned();
    let known = known.unwrap_or_else(|| {
        let tools =
            host.tool_programs.iter().fold(String::new(), |all, path| all + ":" + &text(path));
        format!("{home}/.local/bin:{STANDARD_PATH}{tools}")
    });
    let mut directories: Vec<&str> = known.split(':').collect();
    for entry in &host.path_entries {
        if !directories.contains(&entry.as_str()) {
            directories.insert(0, entry);
        }
    }
    directories.join(":")
}

/// Lays `--env` over everything so far.
fn from_flags(settings: &Settings, variables: &mut Variables, notices: &mut Vec<String>) {
    for (name, value) in &settings.env {
        if name == one_shot::LIST {
            continue;
        }
        if is_withheld_even_by_flag(name, settings) {
            notices.push(format!("--env {name} is left out: awf never passes this variable on"));
            continue;
        }
        variables.insert(name.clone(), value.clone());
    }
    // Two spellings of one list: programs differ in which they read.
    if let Some(list) =
        settings.env.get("NO_PROXY").filter(|_| !settings.env.contains_key("no_proxy"))
    {
        variables.insert("no_proxy".to_owned(), list.clone());
    }
}

/// The JVM's libraries on the library path, before what is there: the original's contract.
fn add_java_libraries(settings: &Settings, host: &Host, variables: &mut Variables) {
    if [JAVA, LIBRARIES].iter().any(|name| settings.excluded.contains(*name)) {
        return;
    }
    let Some((_, java)) = toolchains(host).find(|(name, _)| *name == JAVA) else { return };
    let mut path = format!("{java}/lib:{java}/lib/server");
    if let Some(known) = variables.get(LIBRARIES).filter(|known| !known.is_empty()) {
        path = format!("{path}:{known}");
    }
    variables.insert(LIBRARIES.to_owned(), path);
}

/// A path as text. Every path here came from text.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Peer;
    use crate::plan::services;
    use crate::policy::Policy;
    use std::net::Ipv4Addr;

    /// The environment of a caller with these variables who typed these options.
    fn environment(vars: &[(&str, &str)], options: &[&str]) -> AgentEnvironment {
        let mut host = Host::sample();
        let address = Ipv4Addr::new(172, 17, 0, 2);
        host.peers.push(Peer { name: "gateway".to_owned(), address, ports: vec![8080] });
        host.caller.env =
            vars.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        decided(&settings(options, &host), &host)
    }

    fn decided(settings: &Settings, host: &Host) -> AgentEnvironment {
        let policy = Policy::default();
        let (services, _) = services::services(settings, host, &policy, true).unwrap();
        let api = ApiProxyPlan::decide(settings, host, "run");
        agent_environment(settings, host, (&services, &InspectionPlan::default()), &api)
    }

    fn settings(options: &[&str], host: &Host) -> Settings {
        let line = ["awf"].iter().chain(options).chain(&["--", "true"]).map(Into::into);
        let Ok(cli::Request::Run(args)) = cli::parse(line) else { panic!("{options:?}") };
        Settings::resolve(&args, &host.caller).unwrap()
    }

    fn value<'a>(environment: &'a AgentEnvironment, name: &str) -> Option<&'a str> {
        let found = environment.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    #[track_caller]
    fn check(vars: &[(&str, &str)], options: &[&str], name: &str, expected: Option<&str>) {
        assert_eq!(value(&environment(vars, options), name), expected, "{name}");
    }

    #[test]
    fn a_bare_caller_gets_exactly_the_contract() {
        let direct =
            "localhost,127.0.0.1,::1,0.0.0.0,172.30.0.10,172.30.0.20,172.30.0.30,api-proxy";
        let bundle = "/etc/ssl/certs/ca-certificates.crt";
        let proxy = "http://172.30.0.10:3128";
        let expected = [
            ("AWF_API_PROXY_IP", "172.30.0.30"),
            ("AWF_CHROOT_ENABLED", "true"),
            ("AWF_DNS_SERVERS", "9.9.9.9"),
            ("AWF_HOST_PATH", "/usr/bin"),
            ("AWF_NETWORK_ISOLATION", "1"),
            ("AWF_USER_GID", "1002"),
            ("AWF_USER_UID", "1001"),
            ("AWF_WORKDIR", "/home/ada/work"),
            ("CURL_CA_BUNDLE", bundle),
            ("GIT_SSL_CAINFO", bundle),
            ("HOME", "/home/ada"),
            ("HTTPS_PROXY", proxy),
            ("HTTP_PROXY", proxy),
            ("LOGNAME", "ada"),
            ("NODE_EXTRA_CA_CERTS", bundle),
            ("NO_COLOR", "1"),
            ("NO_PROXY", direct),
            ("NPM_CONFIG_PREFIX", "/home/ada/.npm-global"),
            ("PATH", "/home/ada/.npm-global/bin:/home/ada/.cargo/bin:/usr/bin"),
            ("REQUESTS_CA_BUNDLE", bundle),
            ("SQUID_PROXY_HOST", "squid-proxy"),
            ("SQUID_PROXY_PORT", "3128"),
            ("SSL_CERT_FILE", bundle),
            ("USER", "ada"),
            ("https_proxy", proxy),
            ("no_proxy", direct),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let found = environment(&[("PATH", "/usr/bin"), ("SECRET", "x")], &[]);
        assert_eq!(found, AgentEnvironment { variables: expected, notices: Vec::new() });
    }

    #[test]
    fn without_env_all_a_short_list_is_passed_on() {
        for name in FORWARDED_NAMES {
            let expected = Some("v");
            check(&[(name, "v")], &[], name, expected);
        }
        check(&[("OTEL_SERVICE_NAME", "v")], &[], "OTEL_SERVICE_NAME", Some("v"));
        check(&[("LANG", "v")], &[], "LANG", None);
        check(&[("LANG", "v")], &["--env-all"], "LANG", Some("v"));
        check(&[("TERM", "v")], &["--exclude-env", "TERM"], "TERM", None);
        // As the caller wrote it, above what a program would assume.
        check(&[("XDG_CONFIG_HOME", "/x")], &[], "XDG_CONFIG_HOME", Some("/x"));
        for name in ["XDG_DATA_HOME", "XDG_RUNTIME_DIR", "GH_AW_OTLP_ENDPOINTS"] {
            check(&[(name, "v")], &[], name, None);
            check(&[(name, "v")], &["--env-all"], name, Some("v"));
        }
    }

    #[test]
    fn a_terminal_brings_colours() {
        check(&[("TERM", "dumb")], &["--tty"], "TERM", Some("xterm-256color"));
        check(&[], &["--tty"], "FORCE_COLOR", Some("1"));
        check(&[], &["--tty"], "COLUMNS", Some("120"));
        check(&[], &["--tty"], "NO_COLOR", None);
        check(&[("TERM", "dumb")], &[], "TERM", Some("dumb"));
    }

    #[test]
    fn withheld_names_never_pass_from_the_caller() {
        for name in PROCESS_NAMES.iter().chain(&WITHHELD_NAMES).chain(&PROXY_NAMES) {
            let found = environment(&[(*name, "from-outside")], &["--env-all"]);
            let leaked = found.variables.iter().find(|(_, value)| value == "from-outside");
            // PATH passes by way of the rebuilt path only.
            assert!(leaked.is_none_or(|(found, _)| found == "AWF_HOST_PATH"), "{name}");
        }
        check(&[("AWF_USER_UID", "0")], &["--env-all"], "AWF_USER_UID", Some("1001"));
        check(&[("AWF_SKIP_IPTABLES_INIT", "1")], &["--env-all"], "AWF_SKIP_IPTABLES_INIT", None);
        check(&[("AWF_REFLECT_ENABLED", "1")], &["--env-all"], "AWF_REFLECT_ENABLED", Some("1"));
    }

    #[test]
    fn withheld_names_never_pass_by_flag_and_the_user_is_told() {
        for name in ["PATH", "GITHUB_TOKEN", "OPENAI_API_KEY", "X"] {
            let assignment = format!("{name}=from-flag");
            let found = environment(&[], &["-e", &assignment, "--exclude-env", "X"]);
            assert!(value(&found, name).is_none_or(|value| value != "from-flag"), "{name}");
            assert_eq!(found.notices.len(), 1);
            assert!(found.notices[0].contains(name) && !found.notices[0].contains("from-flag"));
        }
    }

    #[test]
    fn stronger_layers_win() {
        let path = std::env::temp_dir().join(format!("awf-environment-{}", std::process::id()));
        let text = "A=file\nB=file\nHOME=/file\nHTTP_PROXY=file\nGH_TOKEN=file\nX=file\n\
            SSL_CERT_FILE=/file\n";
        std::fs::write(&path, text).unwrap();
        let caller = ["A", "B", "C", "HOME", "SSL_CERT_FILE"].map(|name| (name, "caller"));
        let file = path.to_str().unwrap();
        let found = environment(
            &caller,
            &["--env-all", "--env-file", file, "-e", "B=flag", "--exclude-env", "X"],
        );
        std::fs::remove_file(&path).unwrap();
        assert_eq!(value(&found, "A"), Some("file"), "file over caller");
        assert_eq!(value(&found, "B"), Some("flag"), "flag over file");
        assert_eq!(value(&found, "C"), Some("caller"));
        assert_eq!(value(&found, "HOME"), Some("/home/ada"), "awf's own over file");
        assert_eq!(value(&found, "HTTP_PROXY"), Some("http://172.30.0.10:3128"));
        assert_eq!(value(&found, "SSL_CERT_FILE"), Some("/file"), "file over bundle over caller");
        assert_eq!((value(&found, "GH_TOKEN"), value(&found, "X")), (None, None));
        check(&[], &["-e", "HOME=/x"], "HOME", Some("/x"));
        check(&[], &["-e", "SQUID_PROXY_HOST=x"], "SQUID_PROXY_HOST", Some("x"));
    }

    #[test]
    fn a_client_can_be_shown_to_need_no_proxy_variable() {
        check(&[], &["-e", "HTTP_PROXY="], "HTTP_PROXY", Some(""));
        check(&[], &["-e", "http_proxy=x"], "http_proxy", Some("x"));
        let mut options = Vec::new();
        for name in PROXY_NAMES {
            options.extend(["--exclude-env", name]);
        }
        let found = environment(&[], &options);
        assert!(PROXY_NAMES.iter().all(|name| value(&found, name).is_none()));
    }

    #[test]
    fn direct_hosts_are_one_list_in_two_spellings() {
        check(&[], &["-e", "NO_PROXY=a"], "no_proxy", Some("a"));
        check(&[], &["-e", "NO_PROXY=a", "-e", "no_proxy=b"], "no_proxy", Some("b"));
    }

    #[test]
    fn tool_chains_are_found_on_path_and_by_name() {
        let vars = [
            ("PATH", "/a:/b:/jdk/bin"),
            ("JAVA_HOME", "/jdk"),
            ("GOROOT", "/go"),
            ("CARGO_HOME", "/cargo"),
            ("RUSTUP_HOME", "/rustup"),
            ("DOTNET_ROOT", "/dotnet/"),
            ("BUN_INSTALL", "relative"),
            ("LD_LIBRARY_PATH", "/python/lib"),
        ];
        let path = "/home/ada/.npm-global/bin:/go/bin:/dotnet:/jdk/bin:/cargo/bin:/a:/b";
        check(&vars, &[], "PATH", Some(path));
        check(&vars, &[], "AWF_HOST_PATH", Some("/a:/b:/jdk/bin"));
        check(&vars, &[], "JAVA_HOME", Some("/jdk"));
        check(&vars, &[], "AWF_JAVA_HOME", Some("/jdk"));
        check(&vars, &[], "RUSTUP_HOME", Some("/rustup"));
        check(&vars, &[], "BUN_INSTALL", None);
        check(&vars, &[], "LD_LIBRARY_PATH", Some("/jdk/lib:/jdk/lib/server"));
        let all = Some("/jdk/lib:/jdk/lib/server:/python/lib");
        check(&vars, &["--env-all"], "LD_LIBRARY_PATH", all);
        check(&vars, &["-e", "GOROOT=/mine"], "GOROOT", Some("/mine"));
        check(&vars, &["--exclude-env", "GOROOT"], "GOROOT", None);
        check(&vars, &["--exclude-env", "JAVA_HOME"], "LD_LIBRARY_PATH", None);
    }

    #[test]
    fn earlier_steps_of_a_workflow_come_first_on_path() {
        let mut host = Host::sample();
        host.caller.env = [("PATH".to_owned(), "/usr/bin:/known".to_owned())].into();
        host.path_entries = vec!["/first".into(), "/known".into(), "/last".into()];
        assert_eq!(host_path(&host), "/last:/first:/usr/bin:/known");
        host.tool_programs = vec!["/opt/cache/node/22/x64/bin".into()];
        assert_eq!(
            host_path(&host),
            "/last:/first:/usr/bin:/known",
            "a caller with PATH needs no search"
        );
        host.caller.env.clear();
        host.path_entries.clear();
        let tools = ":/opt/cache/node/22/x64/bin";
        assert_eq!(host_path(&host), format!("/home/ada/.local/bin:{STANDARD_PATH}{tools}"));
    }

    #[test]
    fn what_the_file_says_of_the_user_is_told() {
        let mut host = Host::sample();
        let mut settings = settings(&[], &host);
        settings.files.binaries = Some("/x".into());
        settings.files.identity.home = Some("/h".into());
        settings.files.identity.uid = Some(7);
        host.fit(&settings.files, &[], &Variables::new());
        let found = decided(&settings, &host);
        for (name, expected) in [
            ("HOME", Some("/h")),
            ("USER", Some("runner")),
            ("AWF_USER_UID", Some("7")),
            ("AWF_CHROOT_IDENTITY_HOME", Some("/h")),
            ("AWF_CHROOT_IDENTITY_UID", Some("7")),
            ("AWF_CHROOT_IDENTITY_GID", None),
            ("NPM_CONFIG_PREFIX", Some("/h/.npm-global")),
        ] {
            assert_eq!(value(&found, name), expected, "{name}");
        }
        let path = value(&found, "PATH").unwrap();
        assert!(path.starts_with("/tmp/awf-runner-bin:/h/.npm-global/bin:"), "{path}");
    }

    #[test]
    fn the_needs_of_a_command_are_told() {
        let mut host = Host::sample();
        host.caller.env.insert("COPILOT_GITHUB_TOKEN".to_owned(), "x".to_owned());
        let told = |command: &str| {
            let mut settings = settings(&[], &host);
            settings.command = command.to_owned();
            let found = decided(&settings, &host);
            ["AWF_REQUIRE_NODE", "AWF_PREFLIGHT_BINARY"]
                .map(|name| value(&found, name).map(str::to_owned))
        };
        assert_eq!(told("copilot -p x"), [Some("1".to_owned()), None]);
        assert_eq!(told("codex exec x"), [None, Some("codex".to_owned())]);
        assert_eq!(told("curl x"), [None, None], "a token alone says nothing about the command");
    }

    #[test]
    fn gh_is_told_of_an_enterprise_server_only() {
        let server = "https://git.corp.example:8443/x";
        check(&[("GITHUB_SERVER_URL", server)], &[], "GH_HOST", Some("git.corp.example"));
        let github = [("GITHUB_SERVER_URL", "https://github.com"), ("GH_HOST", "other")];
        check(&github, &["--env-all"], "GH_HOST", None);
        check(&github, &["--env-all", "-e", "GH_HOST=mine"], "GH_HOST", Some("mine"));
        check(&[("GITHUB_SERVER_URL", "nonsense")], &[], "GH_HOST", None);
    }

    #[test]
    fn huge_values_are_left_out_aloud() {
        let (fits, huge) = ("x".repeat(MAX_VALUE), "x".repeat(MAX_VALUE + 1));
        let found = environment(&[("FITS", &fits), ("HUGE", &huge)], &["--env-all"]);
        assert_eq!((value(&found, "FITS"), value(&found, "HUGE")), (Some(fits.as_str()), None));
        assert_eq!(
            found.notices,
            ["variable HUGE is left out: its value has 65537 bytes, more than 64 KiB"]
        );
        let names: Vec<String> = (0..25).map(|number| format!("V{number}")).collect();
        let many: Vec<(&str, &str)> =
            names.iter().map(|name| (name.as_str(), fits.as_str())).collect();
        let found = environment(&many, &["--env-all"]);
        assert!(found.notices[0].contains("the kernel may refuse"), "{:?}", found.notices);
    }

    #[test]
    fn a_machine_without_bundle_names_none() {
        let mut host = Host::sample();
        host.ca_bundle = None;
        let found = decided(&settings(&[], &host), &host);
        assert!(CA_NAMES.iter().all(|name| value(&found, name).is_none()));
    }

    #[test]
    fn what_is_opened_needs_no_proxy_and_is_told() {
        let direct = |more: &str| {
            format!(
                "localhost,127.0.0.1,::1,0.0.0.0,172.30.0.10,172.30.0.20,{more}172.30.0.30,api-proxy"
            )
        };
        let both = ["--enable-host-access", "--topology-attach", "gateway"];
        let list = direct("gateway,host.docker.internal,172.30.0.1,");
        check(&[], &both, "NO_PROXY", Some(&list));
        check(&[], &both, "no_proxy", Some(&list));
        let list = direct("host.docker.internal,172.30.0.1,");
        check(&[], &["--allow-host-service-ports", "5432"], "NO_PROXY", Some(&list));
        check(&[], &["--topology-attach=gateway"], "NO_PROXY", Some(&direct("gateway,")));
        check(&[], &["--topology-attach=gateway"], "AWF_ENABLE_HOST_ACCESS", None);
        check(&[], &both, "AWF_ENABLE_HOST_ACCESS", Some("1"));
        check(&[], &both, "AWF_ALLOW_HOST_PORTS", None);
        let ports = ["--enable-host-access", "--allow-host-ports", "3000-3010,80"];
        check(&[], &ports, "AWF_ALLOW_HOST_PORTS", Some("3000-3010,80"));
        check(&[], &ports, "AWF_VALID_ALLOW_HOST_PORTS", Some("3000-3010,80"));
        let service = ["--allow-host-service-ports", "5432,6379"];
        check(&[], &service, "AWF_HOST_SERVICE_PORTS", Some("5432,6379"));
        check(&[], &service, "AWF_VALID_HOST_SERVICE_PORTS", Some("5432,6379"));
    }

    #[test]
    fn the_place_of_the_command_is_told() {
        check(&[], &["--container-workdir", "/w"], "AWF_WORKDIR", Some("/w"));
        check(&[], &["--dns-servers", "1.1.1.1,::1"], "AWF_DNS_SERVERS", Some("1.1.1.1,::1"));
    }
}
