//! The service door: what is opened of the machine opens nothing else, whatever a client calls it.

use awf_tests::server::Server;
use awf_tests::{Run, unconfined};
use xtask::lab::world;

use crate::dialogue::Step;
use crate::probe::{Case, case, control, hold};
use crate::wire::{PROXY, connect, connect_then, get, hello, say};

const FORBIDDEN: &[&str] = &["http 403"];
const REFUSED: &[&str] = &["errno 111"];
const PORTS: (&str, &str) = ("deny", "deny-unsafe-ports");
const CLOSED: (&str, &str) = ("deny", "port");
const OPENED: (&str, &str) = ("allow", "allow-host-port");

fn run(port: &str) -> Run {
    Run::allowing("example.com").flag("--enable-host-access").option("--allow-host-ports", port)
}

#[test]
fn no_other_port_and_no_other_host_is_reached_by_way_of_an_opened_one() {
    // What must not be reached is there.
    let hidden = [Server::at("127.0.0.1:22"), Server::at("127.0.0.1:3201")];
    let _opened = Server::at("127.0.0.1:3200");
    let tunnel = |name: &str, authority: &str, record| {
        case(name, PROXY, say(connect(authority)), FORBIDDEN, record)
    };
    let url = |name: &str, url: &str, record| {
        case(name, PROXY, say(get(url, "host.docker.internal:3200")), FORBIDDEN, record)
    };
    let direct = |name: &str, to: &str, record| case(name, to, Vec::new(), REFUSED, record);
    let cases = [
        direct("s-22", "172.30.0.1:22", CLOSED),
        direct("s-3201", "172.30.0.1:3201", CLOSED),
        direct("s-name-22", "host.docker.internal:22", CLOSED),
        direct("s-next", "172.30.0.2:3200", CLOSED),
        direct("s-peer", "172.30.0.100:3200", CLOSED),
        direct("s-api", "172.30.0.30:10005", CLOSED),
        direct("s-attacker", "attacker.test:3200", CLOSED),
        direct("s-allowed", "example.com:3200", CLOSED),
        case("s-door", "127.65.87.70:3", Vec::new(), &["errno 1"], ("deny", "door")),
        tunnel("t-22", "172.30.0.1:22", PORTS),
        tunnel("t-name-22", "host.docker.internal:22", PORTS),
        tunnel("t-3201", "gateway.docker.internal:3201", PORTS),
        tunnel("t-attacker", "attacker.test:3200", PORTS),
        tunnel("t-allowed", "example.com:3200", PORTS),
        tunnel("t-below", "x.host.docker.internal:3200", PORTS),
        tunnel("t-suffix", "host.docker.internal.attacker.test:3200", PORTS),
        tunnel("t-loop", "127.0.0.1:3200", PORTS),
        tunnel("t-local", "localhost:3200", PORTS),
        tunnel("t-decimal", "2887647233:3200", ("deny", "deny-not-http")),
        tunnel("t-lab", &format!("{}:3200", world::HOST_V4), PORTS),
        url("u-22", "http://host.docker.internal:22/", PORTS),
        url("u-attacker", "http://attacker.test:3200/", PORTS),
        url("u-plain", "http://attacker.test/", ("deny", "deny-default")),
        url("u-user", "http://host.docker.internal:3200@attacker.test/", ("deny", "deny-not-http")),
        url("u-https", "https://host.docker.internal:3200/", ("deny", "deny-scheme")),
        case(
            "v-connect-sni",
            PROXY,
            connect_then("example.com:443", hello(Some("host.docker.internal"))),
            &["http 200, alert 49"],
            ("deny", "deny-sni-mismatch"),
        ),
        case(
            "v-host",
            "example.com:80",
            say(get("/", "host.docker.internal:3200")),
            FORBIDDEN,
            PORTS,
        ),
    ];
    hold(run("3200"), &cases);
    assert!(hidden.iter().all(|server| server.heard().is_empty()), "{hidden:?}");
    for (server, port) in hidden.iter().zip([22, 3201]) {
        let output = unconfined(&format!("curl -sS -m 5 http://127.0.0.1:{port}/"));
        assert_eq!(String::from_utf8_lossy(&output.stdout), server.page(), "positive control");
    }
    control(&cases);
}

#[test]
fn an_opened_port_is_the_hosts_service_whatever_the_client_says() {
    let service = Server::at("127.0.0.1:3202");
    let page = &["http 200"];
    let direct =
        |name: &str, words: Vec<u8>| case(name, "172.30.0.1:3202", say(words), page, OPENED);
    let tunnelled = |name: &str, inside: Vec<u8>| {
        let steps = connect_then("host.docker.internal:3202", inside);
        case(name, PROXY, steps, &["http 200, http 200"], OPENED)
    };
    let second = [
        get("http://host.docker.internal:3202/", "host.docker.internal:3202"),
        get("http://attacker.test/", "attacker.test"),
    ];
    let cases: [Case; 7] = [
        direct("h-host", get("/", "attacker.test")),
        direct("h-url", get("http://attacker.test/", "attacker.test")),
        direct("h-connect", connect("attacker.test:443")),
        direct("h-sni", hello(Some("attacker.test"))),
        tunnelled("h-tunnel", get("http://attacker.test/", "attacker.test")),
        tunnelled("h-nested", connect("attacker.test:443")),
        case("h-second", PROXY, vec![Step::Say(second.concat())], page, OPENED),
    ];
    let (answers, outcome) = hold(run("3202"), &cases);
    for (name, answer) in &answers {
        let text = String::from_utf8_lossy(&answer.heard);
        assert_eq!(text.matches("served-at-127.0.0.1").count(), 1, "{name}: {text}");
    }
    assert_eq!(service.heard().len(), cases.len());
    let others = outcome.records_where(|record| record["name"] == "attacker.test");
    assert!(others.is_empty(), "{others:#?}");
}
