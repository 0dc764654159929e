//! Which key stands for which option.
//!
//! Owns the connection, one line each. Takes the options as typed and the file, fills in what was not
//! typed and notes the place it came from. What the command line says replaces what the file says;
//! lists are not joined. Keys that awf does not obey are refused or told, all at once.

use super::read::Document;
use super::schema::{ApiProxy, File, OneOrMany, Target, Topology};
use crate::cli::legacy;
use crate::cli::options::Args;
use crate::cli::origin::Place;

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
            self.note(option.name, key);
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
    let refused = refused(&file, &filler);
    if !refused.is_empty() {
        return Err(refused);
    }
    for key in unread(&file) {
        notices.push(format!("{}: not read, it has no effect in awf", filler.place(key)));
    }
    network(&mut filler, &file);
    container(&mut filler, &file);
    environment_and_logs(&mut filler, &file);
    api_proxy(&mut filler, &file.api_proxy);
    rates(&mut filler, &file);
    let File { filesystem, chroot, container, api_proxy, .. } = file;
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

fn one_or_many(value: Option<OneOrMany>) -> Option<String> {
    value.map(|value| match value {
        OneOrMany::One(text) => text,
        OneOrMany::Many(list) => list.join(","),
    })
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
    let access = security.enable_host_access;
    filler.switch(
        ("--enable-host-access", "security.enableHostAccess"),
        |args| &mut args.enable_host_access,
        access,
    );
    let ports = one_or_many(security.allow_host_ports);
    filler.text(
        ("--allow-host-ports", "security.allowHostPorts"),
        |args| &mut args.allow_host_ports,
        ports,
    );
    let ports = one_or_many(security.allow_host_service_ports);
    filler.text(
        ("--allow-host-service-ports", "security.allowHostServicePorts"),
        |args| &mut args.allow_host_service_ports,
        ports,
    );
    let host = security.difc_proxy.host;
    filler.text(
        ("--difc-proxy-host", "security.difcProxy.host"),
        |args| &mut args.proxy.difc_proxy_host,
        host,
    );
    let cert = security.difc_proxy.ca_cert;
    filler.text(
        ("--difc-proxy-ca-cert", "security.difcProxy.caCert"),
        |args| &mut args.proxy.difc_proxy_ca_cert,
        cert,
    );
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
}

fn api_proxy(filler: &mut Filler<'_>, it: &ApiProxy) {
    let number = |value: Option<u64>| value.map(|number| number.to_string());
    filler.switch(
        ("--enable-token-steering", "apiProxy.enableTokenSteering"),
        |args| &mut args.budgets.enable_token_steering,
        it.enable_token_steering,
    );
    filler.text(
        ("--max-cache-misses", "apiProxy.maxCacheMisses"),
        |args| &mut args.budgets.max_cache_misses,
        number(it.max_cache_misses),
    );
    filler.text(
        ("--max-permission-denied", "apiProxy.maxPermissionDenied"),
        |args| &mut args.budgets.max_permission_denied,
        number(it.max_permission_denied),
    );
    filler.text(
        ("--max-model-multiplier-cap", "apiProxy.maxModelMultiplierCap"),
        |args| &mut args.budgets.max_model_multiplier_cap,
        it.max_model_multiplier_cap.as_ref().map(|number| number.0.to_string()),
    );
    let targets = it.targets.clone();
    // Antigravity speaks for Gemini, field by field.
    let over = targets.antigravity;
    filler.text(
        ("--gemini-api-target", "apiProxy.targets.antigravity.host"),
        |args| &mut args.api.gemini_api_target,
        over.host,
    );
    filler.text(
        ("--gemini-api-base-path", "apiProxy.targets.antigravity.basePath"),
        |args| &mut args.api.gemini_api_base_path,
        over.base_path,
    );
    hosts_and_paths(
        filler,
        [targets.openai.clone(), targets.anthropic.clone(), targets.gemini, targets.vertex],
    );
    filler.text(
        ("--openai-api-auth-header", "apiProxy.targets.openai.authHeader"),
        |args| &mut args.api.openai_api_auth_header,
        targets.openai.auth_header,
    );
    filler.text(
        ("--openai-base-url-env", "apiProxy.targets.openai.baseUrlEnv"),
        |args| &mut args.api.openai_base_url_env,
        targets.openai.base_url_env,
    );
    filler.text(
        ("--anthropic-api-auth-header", "apiProxy.targets.anthropic.authHeader"),
        |args| &mut args.api.anthropic_api_auth_header,
        targets.anthropic.auth_header,
    );
    filler.text(
        ("--copilot-api-target", "apiProxy.targets.copilot.host"),
        |args| &mut args.api.copilot_api_target,
        targets.copilot.host,
    );
}

fn hosts_and_paths(filler: &mut Filler<'_>, targets: [Target; 4]) {
    let [openai, anthropic, gemini, vertex] = targets;
    let mut text = |flag, key, field, value| filler.text((flag, key), field, value);
    text(
        "--openai-api-target",
        "apiProxy.targets.openai.host",
        |args| &mut args.api.openai_api_target,
        openai.host,
    );
    text(
        "--openai-api-base-path",
        "apiProxy.targets.openai.basePath",
        |args| &mut args.api.openai_api_base_path,
        openai.base_path,
    );
    text(
        "--anthropic-api-target",
        "apiProxy.targets.anthropic.host",
        |args| &mut args.api.anthropic_api_target,
        anthropic.host,
    );
    text(
        "--anthropic-api-base-path",
        "apiProxy.targets.anthropic.basePath",
        |args| &mut args.api.anthropic_api_base_path,
        anthropic.base_path,
    );
    text(
        "--gemini-api-target",
        "apiProxy.targets.gemini.host",
        |args| &mut args.api.gemini_api_target,
        gemini.host,
    );
    text(
        "--gemini-api-base-path",
        "apiProxy.targets.gemini.basePath",
        |args| &mut args.api.gemini_api_base_path,
        gemini.base_path,
    );
    text(
        "--vertex-api-target",
        "apiProxy.targets.vertex.host",
        |args| &mut args.api.vertex_api_target,
        vertex.host,
    );
    text(
        "--vertex-api-base-path",
        "apiProxy.targets.vertex.basePath",
        |args| &mut args.api.vertex_api_base_path,
        vertex.base_path,
    );
}

fn rates(filler: &mut Filler<'_>, file: &File) {
    let it = &file.rate_limiting;
    let number = |value: Option<u64>| value.map(|number| number.to_string());
    filler.switch(
        ("--no-rate-limit", "rateLimiting.enabled"),
        |args| &mut args.budgets.no_rate_limit,
        it.enabled.map(|enabled| !enabled),
    );
    filler.text(
        ("--rate-limit-rpm", "rateLimiting.requestsPerMinute"),
        |args| &mut args.budgets.rate_limit_rpm,
        number(it.requests_per_minute),
    );
    filler.text(
        ("--rate-limit-rph", "rateLimiting.requestsPerHour"),
        |args| &mut args.budgets.rate_limit_rph,
        number(it.requests_per_hour),
    );
    filler.text(
        ("--rate-limit-bytes-pm", "rateLimiting.bytesPerMinute"),
        |args| &mut args.budgets.rate_limit_bytes_pm,
        number(it.bytes_per_minute),
    );
}

/// Keys that make no difference.
fn unread(file: &File) -> Vec<&'static str> {
    let api = &file.api_proxy;
    let images = file.container.images.as_ref();
    [
        ("experimental", file.experimental.is_some()),
        ("platform.type", file.platform.kind.is_some()),
        ("apiProxy.hostedWeb", api.hosted_web.is_some()),
        ("apiProxy.routing", api.routing.is_some()),
        ("apiProxy.caCert", api.ca_cert.is_some()),
        ("apiProxy.requestedModel", api.requested_model.is_some()),
        ("apiProxy.logging", api.logging.is_some()),
        ("apiProxy.targets.copilot.sessionId", api.targets.copilot.session_id.is_some()),
        ("container.images.apiProxy", images.is_some_and(|images| images.api_proxy.is_some())),
        ("container.images.cliProxy", images.is_some_and(|images| images.cli_proxy.is_some())),
        ("container.images.buildTools", images.is_some_and(|images| images.build_tools.is_some())),
        ("container.images.dohProxy", images.is_some_and(|images| images.doh_proxy.is_some())),
    ]
    .into_iter()
    .filter_map(|(key, there)| there.then_some(key))
    .collect()
}

/// Keys that are not obeyed and whose wish must not get lost.
fn refused(file: &File, filler: &Filler<'_>) -> Vec<String> {
    const NO_OTHER_KERNEL: &str =
        "awf enforces in this machine's kernel only; see --container-runtime";
    const NO_REWRITING: &str = "awf does not rewrite prompts; leave it out";
    let api = &file.api_proxy;
    let images = file.container.images.as_ref();
    let enclaves = images.is_some_and(|images| {
        images.enclave_script.is_some()
            || images.enclave_agent.is_some()
            || images.enclave_mcp_server.is_some()
    });
    let rows: [(&str, bool, &str); 15] = [
        (
            "apiProxy.enabled",
            api.enabled == Some(false),
            "the API proxy cannot be switched off; unset the keys that it must not use",
        ),
        (
            "apiProxy.modelFallback",
            api.model_fallback.is_some(),
            "awf takes no other model than asked",
        ),
        ("apiProxy.modelRouter", api.model_router.is_some(), "awf knows no routers"),
        ("apiProxy.anthropicAutoCache", api.anthropic_auto_cache == Some(true), NO_REWRITING),
        ("apiProxy.anthropicCacheTailTtl", api.anthropic_cache_tail_ttl.is_some(), NO_REWRITING),
        (
            "apiProxy.diagnostics",
            api.diagnostics.is_some(),
            "what it captures are prompts; leave it out",
        ),
        (
            "apiProxy.auth",
            api.auth.is_some(),
            "awf gets no keys by OpenID Connect; get one before and put it into the environment of awf",
        ),
        (
            "apiProxy.targets.copilot.extraHeaders",
            api.targets.copilot.extra_headers.is_some(),
            "awf adds only the key to a request",
        ),
        (
            "apiProxy.targets.copilot.extraBodyFields",
            api.targets.copilot.extra_body_fields.is_some(),
            "awf adds only the key to a request",
        ),
        ("dind", file.dind.is_some(), "the daemon must be on this machine and see its files"),
        (
            "runner.topology",
            file.runner.topology == Some(Topology::ArcDind),
            "the daemon must be on this machine and see its files",
        ),
        (
            "runner.sysrootImage",
            file.runner.sysroot_image.is_some(),
            "the command sees this machine's files, not an image's",
        ),
        ("cloudHypervisor", file.cloud_hypervisor.is_some(), NO_OTHER_KERNEL),
        ("enclaves", file.enclaves.is_some(), "awf has one sandbox for each run; leave it out"),
        ("container.images", enclaves, "awf has one sandbox for each run; leave the enclaves' out"),
    ];
    let rows = rows.into_iter().filter(|(_key, there, _reason)| *there);
    rows.map(|(key, _there, reason)| {
        format!("config.{}: refused, because {reason}", filler.place(key))
    })
    .collect()
}
