//! Addresses, odd authorities and odd requests at the proxy door.

use awf_tests::{Run, unconfined};

use crate::probe::{Case, case, control, hold, summary, talk, with_probe};
use crate::wire::{PROXY, connect, get, say};

const ALLOWED: &str = "cdn-a.test,example.com";
const PLAIN: (&str, &str) = ("allow", "allow-both-plain");
const DEFAULT: (&str, &str) = ("deny", "deny-default");
const NOT_HTTP: (&str, &str) = ("deny", "deny-not-http");
const PORTS: (&str, &str) = ("deny", "deny-unsafe-ports");
const SCHEME: (&str, &str) = ("deny", "deny-scheme");
const RAW4: (&str, &str) = ("deny", "deny-raw-ipv4");
const RAW6: (&str, &str) = ("deny", "deny-raw-ipv6");
const FORBIDDEN: &[&str] = &["http 403"];

#[test]
fn an_address_is_refused_by_the_proxy_in_every_spelling() {
    let spellings = [
        ("dotted", "203.0.113.66", RAW4),
        ("dot", "203.0.113.66.", NOT_HTTP),
        ("decimal", "3405803842", NOT_HTTP),
        ("hex", "0xcb007142", NOT_HTTP),
        ("hex-parts", "0xcb.0.0x71.0x42", NOT_HTTP),
        ("octal", "0313.0.0161.0102", NOT_HTTP),
        ("short", "203.28994", NOT_HTTP),
        ("short-b", "203.0.28994", NOT_HTTP),
        ("mapped", "[::ffff:203.0.113.66]", RAW4),
        ("mapped-hex", "[::ffff:cb00:7142]", RAW4),
        ("compat", "[::203.0.113.66]", RAW6),
        ("nat64", "[64:ff9b::cb00:7142]", RAW6),
        ("v6", "[2600:1ab::66]", RAW6),
        ("zone", "[fe80::1%25lo]", NOT_HTTP),
        ("loop", "127.0.0.1", RAW4),
        ("loop-short", "127.1", NOT_HTTP),
        ("loop6", "[::1]", RAW6),
        ("zero", "0.0.0.0", RAW4),
        ("zero-short", "0", NOT_HTTP),
        ("metadata", "169.254.169.254", RAW4),
        ("meta-dec", "2852039166", NOT_HTTP),
        ("private", "10.1.2.3", RAW4),
        ("wide", "2０3.0.113.66", NOT_HTTP),
        ("escaped", "203%2e0.113.66", NOT_HTTP),
    ];
    let both = |(name, host, record): &(&str, &str, (&'static str, &'static str))| {
        let url = format!("http://{host}/");
        [
            case(
                &format!("c-{name}"),
                PROXY,
                say(connect(&format!("{host}:443"))),
                FORBIDDEN,
                *record,
            ),
            case(&format!("g-{name}"), PROXY, say(get(&url, host)), FORBIDDEN, *record),
        ]
    };
    let cases: Vec<Case> = spellings.iter().flat_map(both).collect();
    hold(Run::allowing(ALLOWED), &cases);
    control(&cases);
}

#[test]
fn an_odd_authority_or_request_is_refused_by_the_proxy() {
    let tunnel = |name: &str, authority: &str, record| {
        case(name, PROXY, say(connect(authority)), FORBIDDEN, record)
    };
    let url = |name: &str, url: &str, record| {
        case(name, PROXY, say(get(url, "example.com")), FORBIDDEN, record)
    };
    let method = |name: &str, method: &str, record| {
        let head = format!(
            "{method} http://attacker.test/ HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n"
        );
        case(name, PROXY, say(head), FORBIDDEN, record)
    };
    let cases = [
        tunnel("u-user", "example.com@attacker.test:443", NOT_HTTP),
        tunnel("u-user-port", "example.com:443@attacker.test:443", NOT_HTTP),
        tunnel("u-hash", "attacker.test#.example.com:443", NOT_HTTP),
        tunnel("u-question", "attacker.test?.example.com:443", NOT_HTTP),
        tunnel("u-slash", "attacker.test/.example.com:443", NOT_HTTP),
        tunnel("u-back", "attacker.test\\.example.com:443", NOT_HTTP),
        tunnel("u-escape", "example.com%00.attacker.test:443", NOT_HTTP),
        tunnel("u-tab", "example.com\tattacker.test:443", NOT_HTTP),
        tunnel("u-suffix", "example.com.attacker.test:443", DEFAULT),
        tunnel("u-prefix", "evilexample.com:443", DEFAULT),
        tunnel("u-homoglyph", "xn--exmple-4nf.com:443", DEFAULT),
        tunnel("u-local", "localhost:443", DEFAULT),
        tunnel("u-22", "example.com:22", PORTS),
        tunnel("u-8443", "example.com:8443", PORTS),
        tunnel("u-proxy", "172.30.0.10:3128", PORTS),
        tunnel("u-port-0", "example.com:0", NOT_HTTP),
        tunnel("u-port-big", "example.com:65979", NOT_HTTP),
        tunnel("u-port-plus", "example.com:+443", NOT_HTTP),
        tunnel("u-port-text", "example.com:443abc", NOT_HTTP),
        tunnel("u-port-none", "example.com", NOT_HTTP),
        url("v-other", "http://attacker.test/", DEFAULT),
        url("v-user", "http://example.com@attacker.test/", NOT_HTTP),
        url("v-back", "http://attacker.test\\@example.com/", NOT_HTTP),
        url("v-22", "http://example.com:22/", PORTS),
        url("v-443", "http://example.com:443/", PORTS),
        url("v-https", "https://example.com/", SCHEME),
        url("v-ftp", "ftp://example.com/file", SCHEME),
        url("v-gopher", "gopher://example.com/", SCHEME),
        url("v-manager", "cache_object://localhost/info", NOT_HTTP),
        url("v-menu", "/squid-internal-mgr/menu", ("deny", "deny-not-proxy-request")),
        url("v-self", "http://172.30.0.10:3128/squid-internal-mgr/info", PORTS),
        url("v-visible", "http://awf.invalid/squid-internal-mgr/info", DEFAULT),
        url("v-urn", "urn:example:x", NOT_HTTP),
        method("w-put", "PUT", DEFAULT),
        method("w-delete", "DELETE", DEFAULT),
        method("w-trace", "TRACE", DEFAULT),
        method("w-options", "OPTIONS", DEFAULT),
        method("w-purge", "PURGE", DEFAULT),
        method("w-own", "LEAK", DEFAULT),
        method("w-lower", "connect", DEFAULT),
    ];
    hold(Run::allowing(ALLOWED), &cases);
    control(&cases);
}

#[test]
fn the_cache_manager_cannot_be_reached_through_an_allowed_name() {
    let request = get("http://example.com/squid-internal-mgr/info", "example.com");
    let dialogue = case("manager", PROXY, say(request), &[], PLAIN).dialogue;
    let (answers, _outcome) = talk(Run::allowing(ALLOWED), [&dialogue].into_iter());
    let text = String::from_utf8_lossy(&answers["manager"].heard).into_owned();
    assert!(!text.contains("Squid Object Cache"), "{text}");
    assert!(["http 403", "http 404"].contains(&summary(&answers["manager"]).as_str()), "{text}");
}

#[test]
fn curl_cannot_use_an_address_in_any_spelling_with_or_without_the_proxy() {
    let spellings = [
        "203.0.113.66",
        "3405803842",
        "0xcb007142",
        "0xcb.0.0x71.0x42",
        "0313.0.0161.0102",
        "203.28994",
    ];
    let line = |after: &str| {
        let fetch = "curl -s -k -m 5 -o /dev/null -w '%{http_code} '";
        spellings
            .iter()
            .map(|host| format!("{fetch} http://{host}/; {fetch} https://{host}/"))
            .collect::<Vec<_>>()
            .join("; ")
            + after
    };
    let control = unconfined(&line(""));
    assert!(String::from_utf8_lossy(&control.stdout).starts_with("200 200 "), "{control:?}");
    for run in [Run::allowing(ALLOWED), Run::allowing(ALLOWED).without_proxy_variables()] {
        let outcome = with_probe(run).run(&line("; true")).succeeded();
        let codes: Vec<&str> = outcome.stdout.split_whitespace().collect();
        assert_eq!(codes.len(), 2 * spellings.len(), "{outcome:#?}");
        assert!(codes.chunks(2).all(|pair| pair == ["403", "000"]), "{codes:?}");
        let denied = outcome.records_where(|record| {
            let named = record["address"] == "203.0.113.66" || record["name"] == "203.0.113.66";
            record["verdict"] == "deny" && record["comm"] == "curl" && named
        });
        assert_eq!(denied.len(), codes.len(), "{:#?}", outcome.records);
    }
}
