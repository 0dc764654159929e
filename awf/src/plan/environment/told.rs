//! What the command is told of the user's wishes, under the original's names.
//!
//! Takes settings and services, gives variables that no option can change. Pure.

use crate::cli::Settings;
use crate::host::{Host, Variables};
use crate::plan::{addresses, preflight};
use crate::policy::Services;

/// Who the command is, as far as it was said.
fn identity(settings: &Settings) -> Variables {
    let said = &settings.files.identity;
    let identity = [
        ("HOME", said.home.as_deref().map(super::text)),
        ("USER", said.user.clone()),
        ("UID", said.uid.map(|uid| uid.to_string())),
        ("GID", said.gid.map(|gid| gid.to_string())),
    ];
    let identity = identity.into_iter().filter_map(|(name, value)| Some((name, value?)));
    identity.map(|(name, value)| (format!("AWF_CHROOT_IDENTITY_{name}"), value)).collect()
}

/// What the original tells of an opened machine, under its names.
pub(super) fn opened(settings: &Settings, services: &Services) -> Variables {
    let is_open = services.at(addresses::HOST).is_some();
    let Some(access) = settings.host_access.as_ref().filter(|_access| is_open) else {
        return Variables::new();
    };
    let ports: Vec<String> = access.ports.iter().map(ToString::to_string).collect();
    let services: Vec<String> = access.service_ports.iter().map(ToString::to_string).collect();
    // The original tells both what was asked for and what of it is valid; here the rest is an error.
    let lists = [
        ("AWF_ALLOW_HOST_PORTS", ports.clone()),
        ("AWF_VALID_ALLOW_HOST_PORTS", ports),
        ("AWF_HOST_SERVICE_PORTS", services.clone()),
        ("AWF_VALID_HOST_SERVICE_PORTS", services),
    ];
    let lists = lists.into_iter().filter(|(_name, ports)| !ports.is_empty());
    let lists = lists.map(|(name, ports)| (name.to_owned(), ports.join(",")));
    lists.chain([("AWF_ENABLE_HOST_ACCESS".to_owned(), "1".to_owned())]).collect()
}

/// What no option can change: facts of the sandbox that programs inside ask for.
pub(super) fn last_word(settings: &Settings, host: &Host) -> Variables {
    let servers = settings.dns_servers.as_ref().unwrap_or(&host.resolvers);
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let workdir = settings.container_workdir.as_deref().unwrap_or(&host.workspace);
    let mut facts = vec![
        ("AWF_CHROOT_ENABLED".to_owned(), "true".to_owned()),
        ("AWF_DNS_SERVERS".to_owned(), servers.join(",")),
        ("AWF_HOST_PATH".to_owned(), super::host_path(host)),
        ("AWF_NETWORK_ISOLATION".to_owned(), "1".to_owned()),
        ("AWF_USER_GID".to_owned(), host.agent.gid.to_string()),
        ("AWF_USER_UID".to_owned(), host.agent.uid.to_string()),
        ("AWF_WORKDIR".to_owned(), super::text(workdir)),
    ];
    let chains =
        super::toolchains(host).map(|(name, value)| (format!("AWF_{name}"), value.to_owned()));
    facts.extend(chains);
    facts.extend(preflight::variables(&settings.command));
    facts.extend(identity(settings));
    facts.into_iter().collect()
}
