//! Keys of the API proxy, for [`super`].

use super::super::schema::{ApiProxy, File, Targets};
use super::Filler;

pub(super) fn api_proxy(filler: &mut Filler<'_>, it: &ApiProxy) {
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
    targets(filler, it.targets.clone());
}

fn targets(filler: &mut Filler<'_>, targets: Targets) {
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
    let (openai, anthropic) = (targets.openai, targets.anthropic);
    hosts_and_paths(
        filler,
        [
            (openai.host, openai.base_path),
            (anthropic.host, anthropic.base_path),
            (targets.gemini.host, targets.gemini.base_path),
            (targets.vertex.host, targets.vertex.base_path),
        ],
    );
    filler.text(
        ("--openai-api-auth-header", "apiProxy.targets.openai.authHeader"),
        |args| &mut args.api.openai_api_auth_header,
        openai.auth_header,
    );
    filler.text(
        ("--openai-base-url-env", "apiProxy.targets.openai.baseUrlEnv"),
        |args| &mut args.api.openai_base_url_env,
        openai.base_url_env,
    );
    filler.text(
        ("--anthropic-api-auth-header", "apiProxy.targets.anthropic.authHeader"),
        |args| &mut args.api.anthropic_api_auth_header,
        anthropic.auth_header,
    );
    filler.text(
        ("--copilot-api-target", "apiProxy.targets.copilot.host"),
        |args| &mut args.api.copilot_api_target,
        targets.copilot.host,
    );
}

/// Host and base path of a server.
type Server = (Option<String>, Option<String>);

fn hosts_and_paths(filler: &mut Filler<'_>, servers: [Server; 4]) {
    let [openai, anthropic, gemini, vertex] = servers;
    let mut text = |flag, key, field, value| filler.text((flag, key), field, value);
    text(
        "--openai-api-target",
        "apiProxy.targets.openai.host",
        |args| &mut args.api.openai_api_target,
        openai.0,
    );
    text(
        "--openai-api-base-path",
        "apiProxy.targets.openai.basePath",
        |args| &mut args.api.openai_api_base_path,
        openai.1,
    );
    text(
        "--anthropic-api-target",
        "apiProxy.targets.anthropic.host",
        |args| &mut args.api.anthropic_api_target,
        anthropic.0,
    );
    text(
        "--anthropic-api-base-path",
        "apiProxy.targets.anthropic.basePath",
        |args| &mut args.api.anthropic_api_base_path,
        anthropic.1,
    );
    text(
        "--gemini-api-target",
        "apiProxy.targets.gemini.host",
        |args| &mut args.api.gemini_api_target,
        gemini.0,
    );
    text(
        "--gemini-api-base-path",
        "apiProxy.targets.gemini.basePath",
        |args| &mut args.api.gemini_api_base_path,
        gemini.1,
    );
    text(
        "--vertex-api-target",
        "apiProxy.targets.vertex.host",
        |args| &mut args.api.vertex_api_target,
        vertex.0,
    );
    text(
        "--vertex-api-base-path",
        "apiProxy.targets.vertex.basePath",
        |args| &mut args.api.vertex_api_base_path,
        vertex.1,
    );
}

pub(super) fn rates(filler: &mut Filler<'_>, file: &File) {
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
