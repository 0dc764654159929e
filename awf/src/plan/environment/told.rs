//! What the command is told of the user's wishes, under the original's names.
//!
//! Takes settings and services, gives variables that no option can change. Pure.

use crate::cli::Settings;
use crate::host::Variables;
use crate::plan::addresses;
use crate::policy::Services;

/// Who the command is, as far as it was said.
pub(super) fn identity(settings: &Settings) -> Variables {
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
