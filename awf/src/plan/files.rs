//! Small files that the sandbox finds instead of the machine's.
//!
//! Owns their text. Takes what is opened, gives content. Pure.

use super::addresses;
use crate::policy::{Service, Services};

/// Name of the sandbox to itself, the original's container name.
pub const HOSTNAME: &str = "awf-agent";

/// `/etc/hosts`.
pub fn hosts_file(services: &Services) -> String {
    let agent = addresses::AGENT;
    let own = format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{agent}\t{HOSTNAME}\n"
    );
    let line = |service: &Service| format!("{}\t{}\n", service.address, service.names.join(" "));
    own + &services.iter().map(line).collect::<String>()
}

/// `/etc/resolv.conf`. Any address would do: the kernel leads port 53 to the name door. `ndots:0` spares search-domain detours.
pub fn resolv_conf() -> String {
    format!("nameserver {}\noptions ndots:0\n", addresses::DOOR)
}
