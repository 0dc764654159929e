//! What the sandbox calls itself, and how it finds names: `/etc/hosts` and `/etc/resolv.conf`.
//!
//! Takes the services, gives text. Must never name a server that could be asked.

use super::addresses;
use crate::policy::{Service, Services};

/// Name of the sandbox to itself, the original's container name.
pub(super) const HOSTNAME: &str = "awf-agent";

pub(super) fn hosts_file(services: &Services) -> String {
    let agent = addresses::AGENT;
    let own = format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{agent}\t{HOSTNAME}\n"
    );
    let line = |service: &Service| format!("{}\t{}\n", service.address, service.names.join(" "));
    own + &services.iter().map(line).collect::<String>()
}

/// Any address would do: the kernel leads port 53 to the name door. `ndots:0` spares search-domain detours.
pub(super) fn resolv_conf() -> String {
    format!("nameserver {}\noptions ndots:0\n", addresses::DOOR)
}
