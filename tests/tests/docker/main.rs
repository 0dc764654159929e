//! What only the Docker runtime has: a daemon, images, containers. Everything that both runtimes promise is in the binaries of
//! the other tiers, which `cargo xtask test docker` runs with this runtime.

mod borrowed;
mod container;
mod contract;
mod crash;
mod daemon;
mod golden;
mod images;
mod slow;
mod systemd;

use awf_tests::docker;
use xtask::docker::Docker;

/// The images, as `cargo xtask images` tags them.
pub(crate) const AGENT: &str = concat!("awf-agent:", env!("CARGO_PKG_VERSION"));
pub(crate) const SQUID: &str = concat!("awf-squid:", env!("CARGO_PKG_VERSION"));

/// The daemon of the tier.
pub(crate) fn daemon() -> Docker {
    docker().expect("no daemon: run the tests with `cargo xtask test docker`")
}
