//! Names that the operator allowed and their owner pointed inward: the proxy itself must not connect there.

use std::net::TcpListener;

use awf_tests::{Run, lab};

use crate::probe::{Case, case, control, hold, talk_outside};
use crate::wire::{PROXY, connect, get, hello, say};

const INWARD: (&str, &str) = ("deny", "inward-address");

/// Name, and the address at the guard.
const NAMES: [(&str, &str); 9] = [
    ("private", "10.1.2.3"),
    ("metadata", "169.254.169.254"),
    ("loop", "127.0.0.1"),
    ("zero", "0.0.0.0"),
    ("cgnat", "100.64.1.1"),
    ("loop6", "::1"),
    ("ula", "fd00::1"),
    ("linklocal6", "fe80::1"),
    ("mapped", "10.1.2.3"),
];

pub fn everything() -> String {
    NAMES.map(|(name, _address)| format!("{name}.test")).join(",")
}

#[test]
fn an_allowed_name_that_leads_inward_is_refused_by_the_guard() {
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    let cases: Vec<Case> = NAMES
        .iter()
        .flat_map(|(name, _address)| {
            let host = format!("{name}.test");
            [
                case(
                    &format!("t-{name}"),
                    &format!("{host}:443"),
                    say(hello(Some(&host))),
                    &["alert 49"],
                    INWARD,
                ),
                case(
                    &format!("p-{name}"),
                    PROXY,
                    say(connect(&format!("{host}:443"))),
                    &["http 403"],
                    INWARD,
                ),
            ]
        })
        .collect();
    let (_answers, outcome) = hold(Run::allowing(&everything()), &cases);
    for (name, address) in NAMES {
        let refused = outcome.records_where(|record| {
            let guard = record["layer"] == "guard" && record["rule"] == "inward-address";
            guard && record["comm"] == "squid" && record["address"] == address
        });
        // Squid does not even try what it cannot: an address without a route, or none at all.
        let tried = outcome
            .records_where(|record| record["comm"] == "squid" && record["address"] == address);
        assert!(
            !refused.is_empty() || tried.is_empty() && address.contains(':'),
            "{name}: {:#?}",
            outcome.records
        );
    }
    let inward = ["10.1.2.3", "169.254.169.254", "100.64.1.1", "fd00::1", "fe80::1"];
    let port = |port: Option<u16>| port == Some(443);
    let packets = sink.traffic_since(&mark).unwrap();
    let leaked = packets.iter().find(|packet| {
        let there = packet.dst.is_some_and(|to| inward.contains(&to.to_string().as_str()));
        there && port(packet.dport) && packet.proto == xtask::lab::Proto::Tcp
    });
    assert_eq!(leaked, None);
    let direct = case("direct", "private.test:443", say(hello(None)), &[], INWARD);
    assert_eq!(talk_outside([&direct.dialogue].into_iter())["direct"].errno, 0, "positive control");
    control(&cases);
}

#[test]
fn plain_http_to_a_name_that_leads_inward_is_refused() {
    let secret = lab()
        .in_host(|| Ok(TcpListener::bind("127.0.0.1:80")?))
        .expect("port 80 of the lab's host is free");
    let cases =
        plain_requests().into_iter().map(|case| Case { record: None, ..case }).collect::<Vec<_>>();
    let (answers, outcome) = hold(Run::allowing(&everything()), &cases);
    for address in ["169.254.169.254", "10.1.2.3", "127.0.0.1"] {
        let refused = outcome
            .records_where(|record| record["layer"] == "guard" && record["address"] == address);
        assert!(!refused.is_empty(), "{address}: {:#?}", outcome.records);
    }
    for (name, answer) in answers {
        let text = String::from_utf8_lossy(&answer.heard).into_owned();
        assert!(!text.contains("secret") && !text.contains("internal service"), "{name}: {text}");
    }
    secret.set_nonblocking(true).unwrap();
    assert!(secret.accept().is_err(), "the host's own port 80 was reached");
    control(&cases);
}

/// Plain requests, through both doors, to names that lead inward.
pub fn plain_requests() -> Vec<Case> {
    const REFUSED: &[&str] = &["http 403", "http 503"];
    let both = |name: &&str| {
        let host = format!("{name}.test");
        let url = format!("http://{host}/latest/");
        [
            case(
                &format!("t-{name}"),
                &format!("{host}:80"),
                say(get("/latest/", &host)),
                REFUSED,
                INWARD,
            ),
            case(&format!("p-{name}"), PROXY, say(get(&url, &host)), REFUSED, INWARD),
        ]
    };
    ["metadata", "private", "loop"].iter().flat_map(both).collect()
}

#[test]
fn a_name_with_a_good_and_a_bad_address_works_through_the_good_one() {
    let outcome = Run::allowing("mixed.test").run(
        "for i in 1 2 3 4; do curl -sS -m 10 https://mixed.test/ http://mixed.test/ || exit 1; done; \
         unset https_proxy HTTPS_PROXY http_proxy HTTP_PROXY; curl -sS -m 10 https://mixed.test/",
    );
    let outcome = outcome.succeeded();
    assert!(!outcome.stdout.contains("internal"), "{}", outcome.stdout);
}

#[test]
fn a_listed_address_opens_that_address_and_no_other() {
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    let cases = [
        case(
            "i-listed",
            "203.0.117.9:80",
            say(get("/", "203.0.117.9")),
            &["http 200"],
            ("allow", "allow-ip-203-0-117-9"),
        ),
        case(
            "i-listed-tls",
            "203.0.117.9:443",
            say(hello(None)),
            &["tls", "alert 112"],
            ("allow", "allow-ip-203-0-117-9"),
        ),
        case(
            "i-proxy",
            PROXY,
            say(get("http://203.0.117.9/", "203.0.117.9")),
            &["http 200"],
            ("allow", "allow-ip-203-0-117-9"),
        ),
        case(
            "i-next",
            "203.0.117.10:80",
            say(get("/", "203.0.117.10")),
            &["http 403"],
            ("deny", "deny-raw-ipv4"),
        ),
        case(
            "i-lie",
            "203.0.117.10:80",
            say(get("/", "203.0.117.9")),
            &["http 200"],
            ("allow", "allow-ip-203-0-117-9"),
        ),
        case("i-port", "203.0.117.9:8080", say("x"), &["errno 111"], ("deny", "port")),
    ];
    hold(Run::allowing("203.0.117.9"), &cases);
    let packets = sink.traffic_since(&mark).unwrap();
    let to = |address: &str| {
        packets.iter().any(|packet| packet.dst.is_some_and(|to| to.to_string() == address))
    };
    assert!(to("203.0.117.9"), "positive control");
    assert!(!to("203.0.117.10"), "the address beside the listed one was reached");
    control(&cases);
}
