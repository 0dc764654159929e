//! Keys that awf does not obey, for [`super`]: told where they make no difference, refused where a wish would get lost.

use super::super::schema::{File, Topology};
use super::Filler;

/// Keys that make no difference.
pub(super) fn unread(file: &File) -> impl Iterator<Item = &'static str> {
    without_effect(file).into_iter().filter_map(|(key, there)| there.then_some(key))
}

/// Key, and whether it is there.
fn without_effect(file: &File) -> [(&'static str, bool); 13] {
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
        (
            "container.images.dindStaging",
            images.is_some_and(|images| images.dind_staging.is_some()),
        ),
    ]
}

/// Keys that are not obeyed and whose wish must not get lost.
pub(super) fn refused(file: &File, filler: &Filler<'_>) -> Vec<String> {
    let rows = of_the_api_proxy(file).into_iter().chain(of_the_machine(file));
    rows.filter(|(_key, there, _reason)| *there)
        .map(|(key, _there, reason)| {
            format!("config.{}: refused, because {reason}", filler.place(key))
        })
        .collect()
}

/// Key, whether it is there, and the reason.
type Refusal = (&'static str, bool, &'static str);

fn of_the_api_proxy(file: &File) -> Vec<Refusal> {
    const NO_REWRITING: &str = "awf does not rewrite prompts; leave it out";
    let api = &file.api_proxy;
    vec![
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
    ]
}

fn of_the_machine(file: &File) -> Vec<Refusal> {
    const NO_OTHER_KERNEL: &str =
        "awf enforces in this machine's kernel only; see --container-runtime";
    let images = file.container.images.as_ref();
    let enclaves = images.is_some_and(|images| {
        images.enclave_script.is_some()
            || images.enclave_agent.is_some()
            || images.enclave_mcp_server.is_some()
    });
    vec![
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
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::reference;

    #[test]
    fn what_the_schema_calls_not_read_is_told_and_nothing_else() {
        let described = reference::leaves();
        let described: BTreeSet<&str> = described
            .iter()
            .filter(|(_key, words)| words.contains("Not read"))
            .map(|(key, _words)| key.as_str())
            .collect();
        let told: BTreeSet<&str> =
            without_effect(&File::default()).into_iter().map(|(key, _there)| key).collect();
        assert_eq!(described, told);
    }
}
