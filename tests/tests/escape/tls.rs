//! The transparent door on 443: fronting, lies about the name, other protocols. Allowed are `cdn-a.test` and
//! `example.com`; `cdn-b.test` shares an address with the first.

use awf_tests::{Run, lab};

use crate::dialogue::Step;
use crate::probe::{Case, case, control, hold, reach_outside};
use crate::wire::{
    connect, hello, hello_in_records, hello_with_ech, hello_with_names, hello_with_raw_name, say,
    say_slowly,
};

const ALLOWED: &str = "cdn-a.test,example.com";
const PLAIN: (&str, &str) = ("allow", "allow-both-plain");
const DEFAULT: (&str, &str) = ("deny", "deny-default");
const MISMATCH: (&str, &str) = ("deny", "deny-sni-mismatch");
const NOT_TLS: (&str, &str) = ("deny", "deny-not-tls");
const REFUSED: &[&str] = &["alert 49"];
const DROPPED: &[&str] = &["closed"];
const SERVED: &[&str] = &["tls"];

#[test]
fn a_hello_reaches_only_the_name_that_was_resolved() {
    let cases = [
        case("t-honest", "cdn-a.test:443", say(hello(Some("cdn-a.test"))), SERVED, PLAIN),
        case("t-case", "cdn-a.test:443", say(hello(Some("CDN-a.Test"))), SERVED, PLAIN),
        case("t-silent-name", "cdn-a.test:443", say(hello(None)), SERVED, PLAIN),
        case("t-fronted", "cdn-a.test:443", say(hello(Some("cdn-b.test"))), REFUSED, MISMATCH),
        case("t-swapped", "cdn-a.test:443", say(hello(Some("example.com"))), REFUSED, MISMATCH),
        case("t-disguised", "cdn-b.test:443", say(hello(Some("cdn-a.test"))), REFUSED, MISMATCH),
        case("t-denied", "cdn-b.test:443", say(hello(Some("cdn-b.test"))), REFUSED, DEFAULT),
        case("t-denied-silent", "cdn-b.test:443", say(hello(None)), REFUSED, DEFAULT),
        case("t-parent", "www.example.com:443", say(hello(Some("example.com"))), REFUSED, MISMATCH),
    ];
    let run = Run::allowing(ALLOWED).option("--block-domains", "www.example.com");
    hold(run, &cases);
    reach_outside(cases.iter());
}

#[test]
fn a_hello_to_a_bare_address_leads_to_the_name_it_gives_and_never_to_the_address() {
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    // Nobody else in this tier connects to this address on 443.
    let address = "203.0.116.7:443";
    let cases = [
        case("a-allowed", address, say(hello(Some("example.com"))), SERVED, PLAIN),
        case("a-denied", address, say(hello(Some("attacker.test"))), REFUSED, DEFAULT),
        case("a-unnamed", address, say(hello(None)), REFUSED, ("deny", "deny-raw-ipv4")),
        case(
            "a-mapped",
            "[::ffff:203.0.116.7]:443",
            say(hello(None)),
            REFUSED,
            ("deny", "deny-raw-ipv4"),
        ),
        case(
            "a-metadata",
            "169.254.169.254:443",
            say(hello(None)),
            REFUSED,
            ("deny", "deny-raw-ipv4"),
        ),
    ];
    hold(Run::allowing(ALLOWED), &cases);
    let reached = |packets: Vec<xtask::lab::Packet>| {
        packets.iter().any(|packet| packet.dst.is_some_and(|to| to.to_string() == "203.0.116.7"))
    };
    assert!(!reached(sink.traffic_since(&mark).unwrap()));
    reach_outside(cases.iter());
    assert!(reached(sink.traffic_since(&mark).unwrap()), "positive control");
}

#[test]
fn the_name_in_a_hello_is_read_however_it_is_cut() {
    let honest = hello(Some("cdn-a.test"));
    let fronted = hello(Some("cdn-b.test"));
    let cases = [
        case("c-segments", "cdn-a.test:443", say_slowly(&honest, 20), SERVED, PLAIN),
        case("c-records", "cdn-a.test:443", say(hello_in_records("cdn-a.test", 24)), SERVED, PLAIN),
        case("c-bytes", "cdn-a.test:443", say(hello_in_records("cdn-a.test", 1)), SERVED, PLAIN),
        case(
            "c-both",
            "cdn-a.test:443",
            say_slowly(&hello_in_records("cdn-a.test", 11), 7),
            SERVED,
            PLAIN,
        ),
        case("c-seg-front", "cdn-a.test:443", say_slowly(&fronted, 20), REFUSED, MISMATCH),
        case(
            "c-rec-front",
            "cdn-a.test:443",
            say(hello_in_records("cdn-b.test", 9)),
            REFUSED,
            MISMATCH,
        ),
    ];
    hold(Run::allowing(ALLOWED), &cases);
    reach_outside(cases.iter());
}

#[test]
fn a_hello_with_a_malformed_name_is_dropped() {
    // What an encrypted hello names stays invisible: it goes to the server that the outer name leads to, like HTTP/2
    // streams that name another authority. Only that server can tell.
    let names = hello_with_names("cdn-a.test", "cdn-b.test");
    let cases = [
        case("m-encrypted", "cdn-a.test:443", say(hello_with_ech("cdn-a.test")), SERVED, PLAIN),
        case("m-ech-front", "cdn-a.test:443", say(hello_with_ech("cdn-b.test")), REFUSED, MISMATCH),
        case("m-two-names", "cdn-a.test:443", say(names), DROPPED, NOT_TLS),
        case(
            "m-zero",
            "cdn-a.test:443",
            say(hello_with_raw_name(b"cdn-a.test\0.cdn-b.test")),
            DROPPED,
            NOT_TLS,
        ),
        case(
            "m-space",
            "cdn-a.test:443",
            say(hello_with_raw_name(b"cdn-a.test ")),
            DROPPED,
            NOT_TLS,
        ),
        case("m-empty", "cdn-a.test:443", say(hello_with_raw_name(b"")), DROPPED, NOT_TLS),
        case(
            "m-high",
            "cdn-a.test:443",
            say(hello_with_raw_name("cdn-ａ.test".as_bytes())),
            DROPPED,
            NOT_TLS,
        ),
        case(
            "m-address",
            "cdn-a.test:443",
            say(hello_with_raw_name(b"203.0.113.66")),
            DROPPED,
            NOT_TLS,
        ),
    ];
    hold(Run::allowing(ALLOWED), &cases);
    reach_outside(cases.iter());
}

/// Everything that is no TLS, to the attacker's echo and to an allowed server.
fn other_protocols(to: &str) -> Vec<Case> {
    let noise: Vec<u8> =
        (0..=255_u8).map(|number| number.wrapping_mul(167).wrapping_add(1)).collect();
    let messages: [(&str, Vec<u8>); 10] = [
        ("o-ssh", b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
        ("o-http", b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n".to_vec()),
        ("o-noise", noise),
        ("o-connect", connect("attacker.test:443")),
        ("o-socks", vec![5, 1, 0]),
        ("o-smtp", b"EHLO example.com\r\n".to_vec()),
        ("o-h2c", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("o-ssl2", vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80]),
        ("o-alert", vec![21, 3, 3, 0, 2, 2, 40]),
        ("o-data", vec![23, 3, 3, 0, 4, b'd', b'a', b't', b'a']),
    ];
    messages
        .into_iter()
        .map(|(name, message)| case(name, to, say(message), DROPPED, NOT_TLS))
        .collect()
}

#[test]
fn nothing_but_tls_passes_on_443() {
    let cases = other_protocols("example.com:443");
    hold(Run::allowing(ALLOWED), &cases);
    reach_outside(other_protocols("attacker.test:443").iter());
    control(&cases);
}

#[test]
fn what_follows_a_good_hello_belongs_to_the_same_connection() {
    // A second hello for another name cannot change where the bytes go: the origin sees it as a fault.
    let twice = [hello(Some("cdn-a.test")), hello(Some("cdn-b.test"))].concat();
    let cases = [
        case("f-twice", "cdn-a.test:443", say(twice), &["tls", "alert 10", "alert 80"], PLAIN),
        case(
            "f-half-close",
            "cdn-a.test:443",
            vec![Step::Say(hello(Some("cdn-a.test")))],
            SERVED,
            PLAIN,
        ),
    ];
    hold(Run::allowing(ALLOWED), &cases);
    reach_outside(cases.iter());
}
