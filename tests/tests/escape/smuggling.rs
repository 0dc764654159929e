//! Requests that two readers could split differently: whatever becomes of each, the inner one is never made.

use awf_tests::{Run, lab, unconfined};
use xtask::vectors::report::End;

use crate::dialogue::Dialogue;
use crate::probe::{Case, case, control, hold, summary, talk, told};
use crate::requests::arrivals;
use crate::wire::{PROXY, say};

/// Name, header fields of the outer request, and what stands between it and the inner one. `NAME` is the inner host.
#[rustfmt::skip]
const MESSAGES: &[(&str, &str, &str)] = &[
    ("s-clte", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ("s-tecl", "Transfer-Encoding: chunked\r\nContent-Length: 400\r\n", "0\r\n\r\n"),
    ("s-te-odd", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
    ("s-te-space", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
    ("s-te-tab", "Transfer-Encoding:\tchunked\r\n", "0\r\n\r\n"),
    ("s-te-two", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
    ("s-cl-two", "Content-Length: 0\r\nContent-Length: 60\r\n", ""),
    ("s-cl-list", "Content-Length: 0, 60\r\n", ""),
    ("s-cl-plus", "Content-Length: +0\r\n", ""),
    ("s-cl-minus", "Content-Length: -1\r\n", ""),
    ("s-chunk", "Transfer-Encoding: chunked\r\n", "0;x=\"\n\"\r\n\r\n"),
    ("s-chunk-hex", "Transfer-Encoding: chunked\r\n", "0x0\r\n\r\n"),
    ("s-trailer", "Transfer-Encoding: chunked\r\n", "0\r\nHost: NAME\r\n\r\n"),
    ("s-expect", "Expect: 100-continue\r\nContent-Length: 0\r\n", ""),
    ("s-fold", "X: y\r\n Host: NAME\r\n", ""),
    ("s-lf", "X: y\nHost: NAME\r\n", ""),
    ("s-cr", "X: y\rHost: NAME\r\n", ""),
    ("s-zero", "X: y\0Host: NAME\r\n", ""),
    ("s-host-two", "Host: NAME\r\n", ""),
    ("s-upgrade", "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n", ""),
    ("s-override", "X-HTTP-Method-Override: CONNECT\r\nContent-Length: 0\r\n", ""),
    ("s-forwarded", "X-Forwarded-Host: NAME\r\nContent-Length: 0\r\n", ""),
    ("s-original", "X-Original-URL: http://NAME/\r\nContent-Length: 0\r\n", ""),
];

/// Why none of them is made without awf.
const ONLY_INSIDE: &str =
    "the proxy exists only inside; s-control shows that such a name can be reached";

#[test]
fn no_request_can_be_smuggled_past_the_policy() {
    let dialogue = |(name, fields, between): &(&str, &str, &str)| {
        let host = format!("{name}.bulk.test");
        let outer = "POST http://example.com/upload HTTP/1.1\r\nHost: example.com\r\n";
        let inner = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let message = format!("{outer}{fields}\r\n{between}{inner}").replace("NAME", &host);
        let (name, to) = ((*name).to_owned(), PROXY.to_owned());
        Dialogue { name, to, udp: false, steps: say(message) }
    };
    let dialogues: Vec<Dialogue> = MESSAGES.iter().map(dialogue).collect();
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    let (answers, outcome) = talk(Run::allowing("example.com"), dialogues.iter());
    let queries = sink.dns_queries_since(&mark).unwrap();
    let arrivals_inside = arrivals();
    for (name, _fields, _between) in MESSAGES {
        let host = format!("{name}.bulk.test");
        assert!(!queries.contains(&host), "{name}: a query for the inner name left");
        assert!(!arrivals_inside.contains(&host), "{name}: the inner request arrived");
        let records = outcome.records_where(|record| record["comm"] == *name);
        assert!(!records.is_empty(), "{name}: no record");
        let answer = summary(&answers[*name]);
        assert!(answer.starts_with("http ") || answer == "closed", "{name}: {answer}");
        told(name, End::Refused, true, Some(ONLY_INSIDE));
    }
    // The inner names exist, and can be reached.
    let control = "s-control.bulk.test";
    let reached =
        unconfined(&format!("curl -sS -o /dev/null -w '%{{http_code}}' http://{control}/"));
    assert_eq!(String::from_utf8_lossy(&reached.stdout), "200");
    assert!(sink.dns_queries_since(&mark).unwrap().contains(&control.to_owned()));
    assert!(arrivals().contains(control));
}

#[test]
fn a_request_behind_a_denied_one_goes_nowhere() {
    let path = format!("/behind-{}", std::process::id());
    let proxy = format!(
        "GET http://cdn-b.test/ HTTP/1.1\r\nHost: cdn-b.test\r\n\r\n\
         GET http://example.com{path} HTTP/1.1\r\nHost: example.com\r\n\r\n"
    );
    let clear = format!(
        "GET / HTTP/1.1\r\nHost: cdn-b.test\r\n\r\nGET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n"
    );
    let denied = ("deny", "deny-default");
    // Whether a request gets through is a race, so there are many.
    let many: Vec<Case> = (0..20)
        .flat_map(|number| {
            [
                case(&format!("b-proxy-{number}"), PROXY, say(&proxy), &["http 403"], denied),
                case(
                    &format!("b-clear-{number}"),
                    "cdn-b.test:80",
                    say(&clear),
                    &["http 403"],
                    denied,
                ),
            ]
        })
        .collect();
    hold(Run::allowing("example.com"), &many);
    let arrived = arrivals().lines().filter(|line| line.contains(&path)).count();
    assert_eq!(arrived, 0, "requests that are on no record reached the origin behind denied ones");
    control(&many);
}
