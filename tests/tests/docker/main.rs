//! What only the Docker runtime has: a daemon, images, containers. Everything that both runtimes promise is in the binaries of
//! the other tiers, which `cargo xtask test docker` runs with this runtime.

use awf_tests::docker;
use xtask::docker::Docker;

/// As `cargo xtask images` tags it.
const AGENT: &str = concat!("awf-agent:", env!("CARGO_PKG_VERSION"));

fn daemon() -> Docker {
    docker().expect("no daemon: run the tests with `cargo xtask test docker`")
}

#[test]
fn the_daemon_answers_and_has_both_images() {
    let daemon = daemon();
    assert_ne!(daemon.version().expect("it answers"), "");
    for image in [AGENT, concat!("awf-squid:", env!("CARGO_PKG_VERSION"))] {
        assert!(daemon.image(image).is_some(), "{image}");
    }
}

#[test]
fn a_container_runs_without_any_network() {
    // Nothing but the table's head.
    let routes = ["run", "--rm", "--network", "none", AGENT, "sh", "-c", "wc -l </proc/net/route"];
    assert_eq!(daemon().ask(&routes).expect("it runs"), "1");
}
