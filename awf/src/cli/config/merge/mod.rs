//! Which key stands for which option.
//!
//! Owns the connection, one line each. Takes the options as typed and the file, fills in what was not
//! typed and notes the place it came from. What the command line says replaces what the file says;
//! lists are not joined. Keys that awf does not obey are refused or told, all at once.

mod answers;
mod providers;

use super::read::Document;
use super::schema::{File, Ports};
use crate::cli::legacy;
use crate::cli::options::Args;
use crate::cli::origin::Place;

/// Keys without an option, under whose name complaints about them are made.
const ONLY_HERE: [&str; 10] = [
    "filesystem.allowWrite",
    "chroot.binariesSourcePath",
    "chroot.identity.home",
    "chroot.identity.user",
    "chroot.identity.uid",
    "chroot.identity.gid",
    "container.runnerToolCachePath",
    "container.images",
    "container.images.squid",
    "container.images.agent",
];

/// A filled-in option: its name, the key, and whether the file spoke.
struct Filler<'a> {
    args: &'a mut Args,
    name: &'a str,
    lines: &'a super::read::Lines,
}

impl Filler<'_> {
    fn note(&mut self, flag: &'static str, key: &str) {
        let place = self.place(key);
        self.args.origins.0.insert(flag, place);
    }

    fn place(&self, key: &str) -> Place {
        let line = self.lines.get(key).copied().unwrap_or(1);
        Place { file: self.name.to_owned(), key: key.to_owned(), line }
    }

    /// An option with a value.
    fn text(
        &mut self,
        (flag, key): (&'static str, &str),
        field: fn(&mut Args) -> &mut Option<String>,
        value: Option<String>,
    ) {
        let Some(value) = value else { return };
        let slot = field(self.args);
        if slot.is_none() {
            *slot = Some(value);
            self.note(flag, key);
        }
    }

    /// An option that may be repeated.
    fn list(
        &mut self,
        (flag, key): (&'static str, &str),
        field: fn(&mut Args) -> &mut Vec<String>,
        value: Option<Vec<String>>,
    ) {
        let Some(value) = value else { return };
        let slot = field(self.args);
        if slot.is_empty() {
            *slot = value;
            self.note(flag, key);
        }
    }

    /// An option without a value.
    fn switch(
        &mut self,
        (flag, key): (&'static str, &str),
        field: fn(&mut Args) -> &mut bool,
        value: Option<bool>,
    ) {
        let slot = field(self.args);
        if value == Some(true) && !*slot {
            *slot = true;
            self.note(flag, key);
        }
    }

    /// An option that awf answers in one sentence.
    fn legacy(&mut self, (flag, key): (&str, &str), value: Option<String>) {
        if let Some(option) = legacy::option(flag, value) {
            self.note(option.row.name, key);
            self.args.legacy.push(option);
        }
    }
}

/// Fills in what was not typed.
pub(super) fn fill(
    args: &mut Args,
    document: Document<File>,
    name: &str,
    notices: &mut Vec<String>,
) -> Result<(), Vec<String>> {
    let Document { file, lines } = document;
    let mut filler = Filler { args, name, lines: &lines };
    let refused = answers::refused(&file, &filler);
    if !refused.is_empty() {
        return Err(refused);
    }
    for key in answers::unread(&file) {
        notices.push(format!("{}: not read, it has no effect in awf", filler.place(key)));
    }
    network(&mut filler, &file);
    security(&mut filler, &file);
    container(&mut filler, &file);
    environment_and_logs(&mut filler, &file);
    providers::api_proxy(&mut filler, &file.api_proxy);
    providers::rates(&mut filler, &file);
    let File { filesystem, chroot, container, api_proxy, .. } = file;
    for key in ONLY_HERE {
        if filler.lines.contains_key(key) {
            filler.note(key, key);
        }
    }
    let only = &mut filler.args.file;
    only.allow_write = filesystem.allow_write;
    only.chroot = chroot;
    only.runner_tool_cache = container.runner_tool_cache_path;
    only.images = container.images;
    only.api_proxy = api_proxy;
    Ok(())
}

fn joined(list: Option<Vec<String>>) -> Option<String> {
    list.map(|list| list.join(","))
}

fn network(filler: &mut Filler<'_>, file: &File) {
    let network = file.network.clone();
    let domains = joined(network.allow_domains);
    filler.text(
        ("--allow-domains", "network.allowDomains"),
        |args| &mut args.allow_domains,
        domains,
    );
    let domains = joined(network.block_domains);
    filler.text(
        ("--block-domains", "network.blockDomains"),
        |args| &mut args.block_domains,
        domains,
    );
    let servers = joined(network.dns_servers);
    filler.text(
        ("--dns-servers", "network.dnsServers"),
        |args| &mut args.proxy.dns_servers,
        servers,
    );
    let proxy = network.upstream_proxy;
    filler.text(
        ("--upstream-proxy", "network.upstreamProxy"),
        |args| &mut args.proxy.upstream_proxy,
        proxy,
    );
    let peers = network.topology_attach;
    filler.list(
        ("--topology-attach", "network.topologyAttach"),
        |args| &mut args.topology_attach,
        peers,
    );
    match network.isolation {
        Some(true) => filler.legacy(("--network-isolation", "network.isolation"), None),
        Some(false) => filler.legacy(("--no-network-isolation", "network.isolation"), None),
        None => {}
    }
}

fn security(filler: &mut Filler<'_>, file: &File) {
    let security = file.security.clone();
    if security.legacy_security == Some(true) {
        filler.legacy(("--legacy-security", "security.legacySecurity"), None);
    }
    if security.security_mode.is_some() {
        filler.legacy(("--security-mode", "security.securityMode"), security.security_mode);
    }
    filler.switch(
        ("--ssl-bump", "security.sslBump"),
        |args| &mut args.proxy.ssl_bump,
        security.ssl_bump,
    );
    let urls = joined(security.allow_urls);
    filler.text(("--allow-urls", "security.allowUrls"), |args| &mut args.proxy.allow_urls, urls);
    let dlp = security.enable_dlp;
    filler.switch(("--enable-dlp", "security.enableDlp"), |args| &mut args.proxy.enable_dlp, dlp);
    let audit = security.audit_mode;
    filler.switch(("--audit-mode", "security.auditMode"), |args| &mut args.audit_mode, audit);
    let access = security.enable_host_access;
    filler.switch(
        ("--enable-host-access", "security.enableHostAccess"),
        |args| &mut args.enable_host_access,
        access,
    );
    let ports = security.allow_host_ports.map(Ports::joined);
    filler.text(
        ("--allow-host-ports", "security.allowHostPorts"),
        |args| &mut args.allow_host_ports,
        ports,
    );
    let ports = security.allow_host_service_ports.map(Ports::joined);
    filler.text(
        ("--allow-host-service-ports", "security.allowHostServicePorts"),
        |args| &mut args.allow_host_service_ports,
        ports,
    );
    if security.difc_proxy.host.is_some() {
        filler.legacy(("--difc-proxy-host", "security.difcProxy.host"), security.difc_proxy.host);
    }
    if security.difc_proxy.ca_cert.is_some() {
        let cert = security.difc_proxy.ca_cert;
        filler.legacy(("--difc-proxy-ca-cert", "security.difcProxy.caCert"), cert);
    }
}

fn container(filler: &mut Filler<'_>, file: &File) {
    let it = file.container.clone();
    let mut text = |flag, key, field, value| filler.text((flag, key), field, value);
    text("--memory-limit", "container.memoryLimit", |args| &mut args.memory_limit, it.memory_limit);
    let number = |value: Option<u64>| value.map(|number| number.to_string());
    text("--pids-limit", "container.pidsLimit", |args| &mut args.pids_limit, number(it.pids_limit));
    text("--cpu-limit", "container.cpuLimit", |args| &mut args.cpu_limit, it.cpu_limit);
    let minutes = number(it.agent_timeout);
    text("--agent-timeout", "container.agentTimeout", |args| &mut args.agent_timeout, minutes);
    text("--work-dir", "container.workDir", |args| &mut args.work_dir, it.work_dir);
    text(
        "--container-workdir",
        "container.containerWorkDir",
        |args| &mut args.container_workdir,
        it.container_work_dir,
    );
    text(
        "--image-registry",
        "container.imageRegistry",
        |args| &mut args.image_registry,
        it.image_registry,
    );
    text("--image-tag", "container.imageTag", |args| &mut args.image_tag, it.image_tag);
    text("--agent-image", "container.agentImage", |args| &mut args.agent_image, it.agent_image);
    text("--docker-host", "container.dockerHost", |args| &mut args.docker_host, it.docker_host);
    text("--runtime", "container.runtime", |args| &mut args.runtime, it.runtime);
    filler.switch(("--skip-pull", "container.skipPull"), |args| &mut args.skip_pull, it.skip_pull);
    filler.switch(
        ("--build-local", "container.buildLocal"),
        |args| &mut args.build_local,
        it.build_local,
    );
    filler.switch(("--tty", "container.tty"), |args| &mut args.tty, it.tty);
    filler.list(("--mount", "container.mounts"), |args| &mut args.mount, it.mounts);
    if it.enable_dind == Some(true) {
        filler.legacy(("--enable-dind", "container.enableDind"), None);
    }
    if it.docker_host_path_prefix.is_some() {
        filler.legacy(
            ("--docker-host-path-prefix", "container.dockerHostPathPrefix"),
            it.docker_host_path_prefix,
        );
    }
    if it.container_runtime.is_some() {
        filler.legacy(("--container-runtime", "container.containerRuntime"), it.container_runtime);
    }
}

fn environment_and_logs(filler: &mut Filler<'_>, file: &File) {
    let it = file.environment.clone();
    filler.text(("--env-file", "environment.envFile"), |args| &mut args.env_file, it.env_file);
    filler.switch(("--env-all", "environment.envAll"), |args| &mut args.env_all, it.env_all);
    filler.list(
        ("--exclude-env", "environment.excludeEnv"),
        |args| &mut args.exclude_env,
        it.exclude_env,
    );
    let it = file.logging.clone();
    filler.text(("--log-level", "logging.logLevel"), |args| &mut args.log_level, it.log_level);
    filler.switch(
        ("--diagnostic-logs", "logging.diagnosticLogs"),
        |args| &mut args.diagnostic_logs,
        it.diagnostic_logs,
    );
    filler.text(("--audit-dir", "logging.auditDir"), |args| &mut args.audit_dir, it.audit_dir);
    filler.text(
        ("--proxy-logs-dir", "logging.proxyLogsDir"),
        |args| &mut args.proxy_logs_dir,
        it.proxy_logs_dir,
    );
    filler.text(
        ("--session-state-dir", "logging.sessionStateDir"),
        |args| &mut args.session_state_dir,
        it.session_state_dir,
    );
    filler.switch(
        ("--record-chain", "logging.recordChain"),
        |args| &mut args.record_chain,
        it.record_chain,
    );
    filler.text(("--record-key", "logging.recordKey"), |args| &mut args.record_key, it.record_key);
    filler.switch(
        ("--record-exe-hash", "logging.recordExeHash"),
        |args| &mut args.record_exe_hash,
        it.record_exe_hash,
    );
    filler.switch(
        ("--strict-audit", "logging.strictAudit"),
        |args| &mut args.strict_audit,
        it.strict_audit,
    );
    filler.text(
        ("--otlp-endpoint", "logging.otlpEndpoint"),
        |args| &mut args.otlp_endpoint,
        it.otlp_endpoint,
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::read;
    use super::*;
    use crate::cli::{Request, parse, reference};

    fn from_file(text: &str) -> (Args, Vec<String>) {
        filled(Args::default(), text)
    }

    fn filled(mut args: Args, text: &str) -> (Args, Vec<String>) {
        let mut notices = Vec::new();
        fill(&mut args, read::read(("config", "c.yml"), text).unwrap(), "c.yml", &mut notices)
            .unwrap();
        (args, notices)
    }

    fn typed(line: &[&str]) -> Args {
        let line = ["awf"].iter().chain(line).chain(&["--", "x"]).map(Into::into);
        match parse(line).unwrap() {
            Request::Run(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    /// Every option that has a key, in both notations.
    const FILE: &str = "
network:
  allowDomains: [a.com, '*.b.com']
  blockDomains: [c.a.com]
  dnsServers: [9.9.9.9, '::1']
  upstreamProxy: http://p:3128
  isolation: true
  topologyAttach: [gateway, other]
apiProxy:
  enableTokenSteering: true
  maxCacheMisses: 5
  maxPermissionDenied: 6
  maxModelMultiplierCap: 1.5
  targets:
    openai: {host: o.com, basePath: /o, authHeader: x-o, baseUrlEnv: O_URL}
    anthropic: {host: a.com, basePath: /a, authHeader: x-a}
    gemini: {host: g.com, basePath: /g}
    vertex: {host: v.com, basePath: /v}
    copilot: {host: c.com}
security:
  legacySecurity: true
  securityMode: strict
  sslBump: true
  allowUrls: ['https://a.com/x']
  enableDlp: true
  auditMode: true
  enableHostAccess: true
  allowHostPorts: [3000, 4000-4010]
  allowHostServicePorts: '5432'
  difcProxy: {host: 'd:1', caCert: /d.pem}
container:
  memoryLimit: 1g
  pidsLimit: 7
  cpuLimit: '2'
  agentTimeout: 3
  enableDind: true
  workDir: /w
  containerWorkDir: /c
  imageRegistry: r.example/x
  imageTag: t
  skipPull: true
  buildLocal: true
  agentImage: act
  tty: true
  dockerHost: unix:///d
  dockerHostPathPrefix: /p
  mounts: ['/a:/b', '/c:/d:ro']
  containerRuntime: gvisor
  runtime: native
environment: {envFile: /e, envAll: true, excludeEnv: [X, Y]}
logging: {logLevel: warn, diagnosticLogs: true, auditDir: /ad, proxyLogsDir: /pd, sessionStateDir: /sd, recordChain: true, recordKey: /rk, recordExeHash: true, strictAudit: true, otlpEndpoint: https://o.com}
rateLimiting: {enabled: false, requestsPerMinute: 1, requestsPerHour: 2, bytesPerMinute: 3}
";

    const LINE: &[&str] = &[
        "--allow-domains=a.com,*.b.com",
        "--block-domains=c.a.com",
        "--dns-servers=9.9.9.9,::1",
        "--upstream-proxy=http://p:3128",
        "--network-isolation",
        "--topology-attach=gateway",
        "--topology-attach=other",
        "--enable-token-steering",
        "--max-cache-misses=5",
        "--max-permission-denied=6",
        "--max-model-multiplier-cap=1.5",
        "--openai-api-target=o.com",
        "--openai-api-base-path=/o",
        "--openai-api-auth-header=x-o",
        "--openai-base-url-env=O_URL",
        "--anthropic-api-target=a.com",
        "--anthropic-api-base-path=/a",
        "--anthropic-api-auth-header=x-a",
        "--gemini-api-target=g.com",
        "--gemini-api-base-path=/g",
        "--vertex-api-target=v.com",
        "--vertex-api-base-path=/v",
        "--copilot-api-target=c.com",
        "--legacy-security",
        "--security-mode=strict",
        "--ssl-bump",
        "--allow-urls=https://a.com/x",
        "--enable-dlp",
        "--audit-mode",
        "--enable-host-access",
        "--allow-host-ports=3000,4000-4010",
        "--allow-host-service-ports=5432",
        "--difc-proxy-host=d:1",
        "--difc-proxy-ca-cert=/d.pem",
        "--memory-limit=1g",
        "--pids-limit=7",
        "--cpu-limit=2",
        "--agent-timeout=3",
        "--enable-dind",
        "--work-dir=/w",
        "--container-workdir=/c",
        "--image-registry=r.example/x",
        "--image-tag=t",
        "--skip-pull",
        "--build-local",
        "--agent-image=act",
        "--tty",
        "--docker-host=unix:///d",
        "--docker-host-path-prefix=/p",
        "--mount=/a:/b",
        "--mount=/c:/d:ro",
        "--container-runtime=gvisor",
        "--runtime=native",
        "--env-file=/e",
        "--env-all",
        "--exclude-env=X",
        "--exclude-env=Y",
        "--log-level=warn",
        "--diagnostic-logs",
        "--audit-dir=/ad",
        "--proxy-logs-dir=/pd",
        "--session-state-dir=/sd",
        "--record-chain",
        "--record-key=/rk",
        "--record-exe-hash",
        "--strict-audit",
        "--otlp-endpoint=https://o.com",
        "--no-rate-limit",
        "--rate-limit-rpm=1",
        "--rate-limit-rph=2",
        "--rate-limit-bytes-pm=3",
    ];

    #[test]
    fn a_file_says_the_same_as_a_command_line() {
        let (mut file, notices) = from_file(FILE);
        assert!(notices.is_empty(), "{notices:?}");
        let mut line = typed(LINE);
        let names = |args: &Args| -> BTreeSet<&str> {
            args.legacy.iter().map(|option| option.row.name).collect()
        };
        assert_eq!(names(&file), names(&line));
        for args in [&mut file, &mut line] {
            args.legacy.clear();
            args.command.clear();
            args.file = super::super::FileOnly::default();
        }
        let places = std::mem::take(&mut file.origins.0);
        assert_eq!(file, line);
        // Every option of the line came from a key with a line of its own.
        for option in LINE.iter().map(|word| word.split('=').next().unwrap()) {
            let place = &places[option];
            assert!(place.line > 1, "{option} {place:?}");
        }
        assert_eq!(places["--pids-limit"].to_string(), "container.pidsLimit (c.yml:33)");
    }

    #[test]
    fn the_reference_names_the_key_that_fills_an_option_in() {
        let keys = reference::keys();
        for (option, place) in from_file(FILE).0.origins.0 {
            assert_eq!(keys.get(option), Some(&place.key), "{option}");
        }
    }

    #[test]
    fn the_command_line_beats_the_file_key_by_key_and_lists_are_not_joined() {
        let line = typed(&["-d", "z.com", "--mount", "/z:/z", "--memory-limit", "2g"]);
        let (args, _) = filled(line, FILE);
        assert_eq!(args.allow_domains.as_deref(), Some("z.com"));
        assert_eq!(args.mount, ["/z:/z"]);
        assert_eq!(args.memory_limit.as_deref(), Some("2g"));
        assert_eq!(args.pids_limit.as_deref(), Some("7"));
        for typed in ["--allow-domains", "--mount", "--memory-limit"] {
            assert!(!args.origins.0.contains_key(typed), "{typed}");
        }
    }

    #[test]
    fn antigravity_speaks_for_gemini_field_by_field() {
        let text = "apiProxy: {targets: {antigravity: {host: x.com}, gemini: {host: g.com, basePath: /g}}}";
        let (args, _) = from_file(text);
        assert_eq!(args.api.gemini_api_target.as_deref(), Some("x.com"));
        assert_eq!(args.api.gemini_api_base_path.as_deref(), Some("/g"));
    }

    #[test]
    fn false_and_absent_are_the_same_for_switches() {
        let (args, _) =
            from_file("security: {sslBump: false}\ncontainer: {tty: false, skipPull: false}");
        assert_eq!(args, Args::default());
    }

    #[test]
    fn what_later_versions_write_is_told_and_has_no_effect() {
        let text = "experimental: {a: 1}\nplatform: {type: ghes}\napiProxy: {hostedWeb: true, routing: [], \
                    caCert: /x, requestedModel: m, logging: {}}";
        let (_, notices) = from_file(text);
        assert_eq!(notices.len(), 7, "{notices:?}");
        assert!(notices[0].starts_with("experimental (c.yml:1): not read"), "{notices:?}");
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused_all_at_once() {
        let text = "dind: {}\nrunner: {topology: arc-dind, sysrootImage: x}\ncloudHypervisor: {}\n\
                    enclaves: []\napiProxy: {enabled: false, auth: {}, modelRouter: {}}";
        let document = read::read(("config", "c.yml"), text).unwrap();
        let refused = fill(&mut Args::default(), document, "c.yml", &mut Vec::new()).unwrap_err();
        assert_eq!(refused.len(), 8, "{refused:#?}");
        for line in &refused {
            assert!(line.starts_with("config.") && line.contains("refused, because "), "{line}");
        }
        from_file("runner: {topology: standard}\napiProxy: {enabled: true}");
    }
}
