//! The proxy door and plain HTTP: fronting, odd authorities, other protocols in tunnels, smuggling. Allowed are
//! `cdn-a.test` and `example.com`; `cdn-b.test` shares an address with the first.

use std::fs;

use awf_tests::{Run, lab};

use crate::dialogue::Step;
use crate::probe::{case, control, hold, reach_outside, talk_outside};
use crate::wire::{PROXY, connect, connect_then, get, hello, say};

const ALLOWED: &str = "cdn-a.test,example.com";
const PLAIN: (&str, &str) = ("allow", "allow-both-plain");
const DEFAULT: (&str, &str) = ("deny", "deny-default");
const FORBIDDEN: &[&str] = &["http 403"];

#[test]
fn a_tunnel_carries_only_tls_for_the_name_it_was_opened_for() {
    const TLS: (&str, &str) = ("deny", "deny-not-tls");
    const MISMATCH: (&str, &str) = ("deny", "deny-sni-mismatch");
    let target = "cdn-a.test:443";
    let early = [connect(target), hello(Some("cdn-b.test"))].concat();
    let nested = connect_then(target, connect("attacker.test:443"));
    let cases = [
        case(
            "p-honest",
            PROXY,
            connect_then(target, hello(Some("cdn-a.test"))),
            &["http 200, tls"],
            PLAIN,
        ),
        case("p-unnamed", PROXY, connect_then(target, hello(None)), &["http 200, tls"], PLAIN),
        case(
            "p-fronted",
            PROXY,
            connect_then(target, hello(Some("cdn-b.test"))),
            &["http 200, alert 49"],
            MISMATCH,
        ),
        case("p-early", PROXY, say(early), &["http 200, alert 49"], MISMATCH),
        case("p-denied", PROXY, say(connect("cdn-b.test:443")), FORBIDDEN, DEFAULT),
        case("p-ssh", PROXY, connect_then(target, b"SSH-2.0-x\r\n"), &["http 200, closed"], TLS),
        case(
            "p-http",
            PROXY,
            connect_then(target, get("/", "cdn-b.test")),
            &["http 200, closed"],
            TLS,
        ),
        case("p-nested", PROXY, nested, &["http 200, closed"], TLS),
        case("p-noise", PROXY, connect_then(target, [0x99; 300]), &["http 200, closed"], TLS),
    ];
    hold(Run::allowing(ALLOWED), &cases);
    // Outside there is no proxy; the servers behind it can be reached.
    let direct = ["cdn-a", "cdn-b", "attacker"]
        .map(|host| case(host, &format!("{host}.test:443"), say(hello(None)), &[], PLAIN));
    reach_outside(direct.iter());
    control(&cases);
}

#[test]
fn a_tunnel_to_port_80_is_plain_http_for_the_same_host() {
    const MISMATCH: (&str, &str) = ("deny", "deny-host-mismatch");
    let to = "cdn-a.test:80";
    let cases = [
        case(
            "q-honest",
            PROXY,
            connect_then(to, get("/whoami", "cdn-a.test")),
            &["http 200, http 200"],
            PLAIN,
        ),
        case(
            "q-fronted",
            PROXY,
            connect_then(to, get("/whoami", "cdn-b.test")),
            &["http 200, http 403"],
            MISMATCH,
        ),
        case(
            "q-absolute",
            PROXY,
            connect_then(to, get("http://cdn-b.test/", "cdn-b.test")),
            &["http 200, http 403"],
            ("deny", "deny-not-origin"),
        ),
        case(
            "q-ssh",
            PROXY,
            connect_then(to, b"SSH-2.0-x\r\n"),
            &["http 200, http 403"],
            ("deny", "deny-not-http"),
        ),
        case(
            "q-tls",
            PROXY,
            connect_then(to, hello(Some("cdn-a.test"))),
            &["http 200, http 403"],
            ("deny", "deny-not-http"),
        ),
    ];
    hold(Run::allowing(ALLOWED), &cases);
    control(&cases);
}

#[test]
fn a_plain_request_reaches_only_the_name_that_was_resolved() {
    let to = "cdn-a.test:80";
    let denied = |name: &str, to: &str, host: &str, rule| {
        case(name, to, say(get("/whoami", host)), FORBIDDEN, ("deny", rule))
    };
    let cases = [
        case("h-honest", to, say(get("/whoami", "cdn-a.test")), &["http 200"], PLAIN),
        denied("h-fronted", to, "cdn-b.test", "deny-host-mismatch"),
        denied("h-allowed", to, "example.com", "deny-host-mismatch"),
        denied("h-metadata", to, "169.254.169.254", "deny-host-mismatch"),
        denied("h-denied", "cdn-b.test:80", "cdn-b.test", "deny-default"),
        denied("h-disguised", "cdn-b.test:80", "cdn-a.test", "deny-host-mismatch"),
        denied("h-address", "203.0.113.66:80", "203.0.113.66", "deny-raw-ipv4"),
        denied("h-metadata-ip", "169.254.169.254:80", "169.254.169.254", "deny-raw-ipv4"),
        denied("h-port", to, "cdn-a.test:8080", "deny-unsafe-ports"),
    ];
    hold(Run::allowing(ALLOWED), &cases);
    reach_outside(cases.iter());
}

#[test]
fn nothing_but_plain_requests_of_a_web_client_passes_on_80() {
    let denied = |name: &str, message: &[u8], rule| {
        case(name, "cdn-a.test:80", say(message), FORBIDDEN, ("deny", rule))
    };
    let two = b"GET / HTTP/1.1\r\nHost: cdn-a.test\r\nHost: cdn-b.test\r\n\r\n";
    let cases = [
        denied("h-absolute", &get("http://cdn-b.test/", "cdn-a.test"), "deny-not-origin"),
        denied("h-connect", &connect("attacker.test:443"), "deny-not-origin"),
        denied("h-none", b"GET / HTTP/1.0\r\n\r\n", "deny-no-host"),
        denied("h-two", two, "deny-not-http"),
        denied("h-ssh", b"SSH-2.0-x\r\n", "deny-not-http"),
        denied("h-h2c", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "deny-not-http"),
        denied("h-tls", &hello(Some("cdn-a.test")), "deny-not-http"),
        denied("h-noise", &[0x99; 300], "deny-not-http"),
    ];
    hold(Run::allowing(ALLOWED), &cases);
    reach_outside(cases.iter());
}

#[test]
fn a_later_request_on_the_same_connection_is_not_served() {
    let first =
        |target: &str| format!("GET {target} HTTP/1.1\r\nHost: cdn-a.test\r\n\r\n").into_bytes();
    let both = |first: Vec<u8>, second: Vec<u8>| {
        let heard = Step::Hear(b"cdn-a.test".to_vec());
        vec![Step::Say(first), heard, Step::Pause(50), Step::Say(second)]
    };
    let second = get("/whoami", "cdn-b.test");
    let absolute = get("http://cdn-b.test/whoami", "cdn-b.test");
    let clear = both(first("/whoami"), second.clone());
    let proxy = both(first("http://cdn-a.test/whoami"), absolute);
    let pipelined = say([first("/whoami"), second].concat());
    let cases = [
        case("k-clear", "cdn-a.test:80", clear, &["http 200"], PLAIN),
        case("k-pipelined", "cdn-a.test:80", pipelined, &["http 200"], PLAIN),
        case("k-proxy", PROXY, proxy, &["http 200"], PLAIN),
    ];
    let (answers, outcome) = hold(Run::allowing(ALLOWED), &cases);
    for (name, answer) in &answers {
        let text = String::from_utf8_lossy(&answer.heard).into_owned();
        assert!(answer.closed, "{name}: one connection carries one request: {text}");
        assert_eq!(text.matches("Content-Type:").count(), 1, "{name}: {text}");
        assert!(!text.contains("server=cdn-b.test"), "{name}: {text}");
    }
    assert!(!outcome.access_log.contains("cdn-b.test"), "{}", outcome.access_log);
    let outside = talk_outside(cases.iter().take(2).map(|case| &case.dialogue));
    for (name, answer) in outside {
        let text = String::from_utf8_lossy(&answer.heard).into_owned();
        assert!(text.contains("server=cdn-b.test"), "positive control {name}: {text}");
    }
    control(&cases);
}

#[test]
fn the_bytes_of_a_plain_request_are_counted() {
    let request = get("http://example.com/whoami", "example.com");
    let cases = [
        case("n-proxy", PROXY, say(&request), &["http 200"], PLAIN),
        case("n-clear", "example.com:80", say(get("/whoami", "example.com")), &["http 200"], PLAIN),
    ];
    let (_answers, outcome) = hold(Run::allowing(ALLOWED), &cases);
    for record in outcome.records_where(|record| record["verdict"] == "allow") {
        assert!(record["bytes_out"].as_u64() >= Some(40), "{record:#}");
    }
    control(&cases);
}

/// What reached the lab's web servers. Clients of other tests may send it any bytes.
pub fn arrivals() -> String {
    String::from_utf8_lossy(&fs::read(lab().access_log()).unwrap()).into_owned()
}
