//! Names: no query for a name that is not allowed leaves, whoever is asked and however.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use awf_tests::{Run, lab};
use serde_json::Value;
use xtask::lab::Mark;
use xtask::vectors::report::End;

use crate::dialogue::{Dialogue, Step};
use crate::probe::{Case, case, control, hold, summary, talk, talk_outside, told};
use crate::wire::{PROXY, connect, framed, get, hello, query, question, say};

/// Addresses are asked for by their own names: one test at a time.
static REVERSE: Mutex<()> = Mutex::new(());

/// A label nobody else asks for; everything below `bulk.test` exists.
fn secret() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("secret-{}-{count}.bulk.test", std::process::id())
}

/// Names that reached the lab's DNS servers and contain the text.
fn leaked(mark: &Mark, text: &str) -> Vec<String> {
    let queries = lab().sink().dns_queries_since(mark).unwrap();
    queries.into_iter().filter(|name| name.contains(text)).collect()
}

fn dialogue(name: &str, to: &str, udp: bool, message: Vec<u8>) -> Dialogue {
    Dialogue { name: name.to_owned(), to: to.to_owned(), udp, steps: vec![Step::Say(message)] }
}

/// Response code of a message, and whether it has an answer (RFC 1035, 4.1.1).
fn code(message: &[u8]) -> Option<(u8, u16)> {
    let flags = message.get(3)?;
    Some((flags & 0xf, u16::from_be_bytes([*message.get(6)?, *message.get(7)?])))
}

/// Query types (RFC 1035, 3.2.2).
const A: u16 = 1;
const PTR: u16 = 12;

const REFUSED: &[&str] = &["errno 111"];
const UNREACHABLE: &[&str] = &["errno 101"];
const FORBIDDEN: &[&str] = &["http 403"];
const PLAIN: (&str, &str) = ("allow", "allow-both-plain");
const DEFAULT: (&str, &str) = ("deny", "deny-default");
const RAW4: (&str, &str) = ("deny", "deny-raw-ipv4");
const RAW6: (&str, &str) = ("deny", "deny-raw-ipv6");

#[test]
fn no_query_leaves_whatever_it_asks_and_whomever() {
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    let name = secret();
    let types = [
        1, 2, 5, 6, 10, 13, 15, 16, 28, 33, 35, 37, 43, 48, 64, 65, 99, 250, 251, 252, 255, 257,
        65280,
    ];
    let mut dialogues: Vec<Dialogue> = types
        .iter()
        .map(|kind| dialogue(&format!("type-{kind}"), "8.8.8.8:53", true, query(&name, *kind)))
        .collect();
    let servers = [
        "8.8.8.8",
        "8.8.4.4",
        "127.0.0.11",
        "127.0.0.53",
        "127.0.0.1",
        "172.30.0.10",
        "10.1.2.3",
        "203.0.113.66",
    ];
    for (index, server) in servers.into_iter().enumerate() {
        let to = format!("{server}:53");
        dialogues.push(dialogue(&format!("udp-{index}"), &to, true, query(&name, A)));
        dialogues.push(dialogue(&format!("tcp-{index}"), &to, false, framed(&query(&name, A))));
    }
    dialogues.push(dialogue("mapped", "[::ffff:8.8.8.8]:53", false, framed(&query(&name, A))));
    let (answers, _outcome) = talk(Run::allowing("example.com"), dialogues.iter());
    for (name, answer) in &answers {
        let tcp = name.starts_with("tcp-") || name == "mapped";
        let message = if tcp { answer.heard.get(2..).unwrap_or_default() } else { &answer.heard };
        // Only the address exists; an odd type may also be called unknown.
        let is_address = name == "type-1" || !name.starts_with("type-");
        let right = match code(message) {
            Some((0, 1)) => is_address,
            Some((0 | 1 | 4 | 5, 0)) => !is_address,
            _ => false,
        };
        assert!(right, "{name}: {}, {:?}", summary(answer), answer.heard);
    }
    assert_eq!(leaked(&mark, &name), [""; 0]);
    ask_outside(&dialogues);
    assert!(leaked(&mark, &name).len() >= types.len(), "positive control");
}

/// Asks the same questions without awf, and tells the report of each.
fn ask_outside(dialogues: &[Dialogue]) {
    let outside = talk_outside(dialogues.iter());
    for dialogue in dialogues {
        let answered = !outside[&dialogue.name].heard.is_empty();
        let uncontrolled = (!answered).then_some("no resolver answers there without awf");
        told(&dialogue.name, End::Refused, false, uncontrolled);
    }
}

#[test]
fn odd_queries_leave_no_more_than_plain_ones() {
    let _alone = REVERSE.lock().unwrap_or_else(PoisonError::into_inner);
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    let name = secret();
    let first = query("example.com", A);
    let long = format!("{}.{}.{}.{name}", "a".repeat(63), "b".repeat(63), "c".repeat(63));
    // Two questions in one message, two messages in one stream, a query behind an answer, other operations and classes.
    let mut two = first.clone();
    two[5] = 2;
    two.extend(question(&name, A));
    let mut notify = query(&name, A);
    notify[2] = 0x20;
    let mut update = query(&name, A);
    update[2] = 0x28;
    let mut chaos = query(&name, 16);
    let end = chaos.len();
    chaos[end - 1] = 3;
    let mut response = query(&name, A);
    response[2] = 0x81;
    let mut option = query(&name, A);
    option[11] = 1;
    option.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 20, 0xfd, 0xe9, 0, 16]);
    option.extend(b"data-in-option-x");
    let mut upper = name.to_ascii_uppercase();
    upper.replace_range(..6, "SeCrEt");
    let to = "8.8.8.8:53";
    let dialogues = [
        dialogue("long", to, true, query(&long, A)),
        dialogue("mixed-case", to, true, query(&upper, A)),
        dialogue("two-questions", to, true, two),
        dialogue("notify", to, true, notify),
        dialogue("update", to, true, update),
        dialogue("chaos", to, true, chaos),
        dialogue("response", to, true, response),
        dialogue("option", to, true, option),
        dialogue("pipelined", to, false, [framed(&first), framed(&query(&name, A))].concat()),
        dialogue(
            "behind",
            to,
            false,
            [framed(&first), framed(b"x"), framed(&query(&name, A))].concat(),
        ),
        dialogue("reverse", to, true, query("66.113.0.203.in-addr.arpa", PTR)),
        dialogue("allowed-child", to, true, query(&format!("{name}.example.com"), A)),
    ];
    let (_answers, _outcome) = talk(Run::allowing("example.com"), dialogues.iter());
    assert_eq!(leaked(&mark, &name), [""; 0]);
    assert_eq!(leaked(&mark, "arpa"), [""; 0]);
    ask_outside(&dialogues);
    assert!(!leaked(&mark, &name).is_empty(), "positive control");
}

#[test]
fn other_ways_to_a_resolver_are_closed() {
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    let name = secret();
    let tls = |server: &str| say(hello(Some(server)));
    let message = framed(&query(&name, A));
    let cases = [
        case("d-dot", "8.8.8.8:853", tls("dns.google"), REFUSED, ("deny", "port")),
        case("d-doh", "8.8.8.8:443", tls("dns.google"), &["alert 49"], ("deny", "deny-default")),
        case(
            "d-doh-bare",
            "8.8.8.8:443",
            say(hello(None)),
            &["alert 49"],
            ("deny", "deny-raw-ipv4"),
        ),
        case("d-raw-443", "8.8.8.8:443", say(&message), &["closed"], ("deny", "deny-not-tls")),
        case("d-raw-80", "8.8.8.8:80", say(&message), &["http 403"], ("deny", "deny-not-http")),
        case("d-5353", "8.8.8.8:5353", say(&message), REFUSED, ("deny", "port")),
        case("d-v6", "[2001:4860:4860::8888]:53", say(&message), UNREACHABLE, ("deny", "ipv6")),
        case(
            "d-v6-dot",
            "[2001:4860:4860::8888]:853",
            tls("dns.google"),
            UNREACHABLE,
            ("deny", "ipv6"),
        ),
        case(
            "d-proxy",
            PROXY,
            say(connect("8.8.8.8:53")),
            &["http 403"],
            ("deny", "deny-unsafe-ports"),
        ),
        case(
            "d-proxy-doh",
            PROXY,
            say(connect("8.8.8.8:443")),
            &["http 403"],
            ("deny", "deny-raw-ipv4"),
        ),
    ];
    hold(Run::allowing("example.com"), &cases);
    assert_eq!(leaked(&mark, &name), [""; 0]);
    assert_eq!(leaked(&mark, "dns.google"), [""; 0]);
    control(&cases);
}

/// Attempts to make somebody resolve each of the names, or look for the name of an address.
fn indirect_questions(names: &[String]) -> Vec<Case> {
    let tunnel = |name: &str, index: usize, port: u16, record| {
        let authority = format!("{}:{port}", names[index]);
        case(name, PROXY, say(connect(&authority)), FORBIDDEN, record)
    };
    let url = |index: usize| format!("http://{}/", names[index]);
    let to = |index: usize, port: u16| format!("{}:{port}", names[index]);
    let bare = "203.0.113.66";
    vec![
        tunnel("n-connect", 0, 443, DEFAULT),
        tunnel("n-connect-80", 1, 80, DEFAULT),
        tunnel("n-connect-22", 2, 22, ("deny", "deny-unsafe-ports")),
        case("n-get", PROXY, say(get(&url(3), &names[3])), FORBIDDEN, DEFAULT),
        case("n-host", PROXY, say(get("http://example.com/", &names[4])), &["http 200"], PLAIN),
        case("n-clear-tls", &to(5, 443), say(hello(Some(&names[5]))), &["alert 49"], DEFAULT),
        case("n-clear", &to(6, 80), say(get("/", &names[6])), FORBIDDEN, DEFAULT),
        case(
            "n-bare-tls",
            &format!("{bare}:443"),
            say(hello(Some(&names[7]))),
            &["alert 49"],
            DEFAULT,
        ),
        case("n-bare", &format!("{bare}:80"), say(get("/", &names[8])), FORBIDDEN, DEFAULT),
        tunnel("n-suffix", 9, 443, DEFAULT),
        case("n-ptr4", PROXY, say(connect("203.0.113.66:443")), FORBIDDEN, RAW4),
        case("n-ptr6", PROXY, say(connect("[2600:1ab::66]:443")), FORBIDDEN, RAW6),
        case("n-ptr-get", PROXY, say(get("http://203.0.113.66/", "example.com")), FORBIDDEN, RAW4),
    ]
}

#[test]
fn squid_asks_for_allowed_names_only() {
    let _alone = REVERSE.lock().unwrap_or_else(PoisonError::into_inner);
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    let mut names: Vec<String> = (0..10).map(|_| secret()).collect();
    names[9] = format!("example.com.{}", names[9]);
    let mut cases = indirect_questions(&names);
    let allowed = say(get("http://api.example.com/", "api.example.com"));
    cases.push(case("n-allowed", PROXY, allowed, &["http 200"], PLAIN));
    let (_answers, outcome) = hold(Run::allowing("example.com"), &cases);
    let queries = sink.dns_queries_since(&mark).unwrap();
    for name in &names {
        let left = queries.iter().any(|query| query.contains(name.as_str()));
        assert!(!left, "{name} left: {queries:?}");
    }
    assert_eq!(leaked(&mark, "arpa"), [""; 0]);
    assert!(queries.contains(&"api.example.com".to_owned()), "positive control: {queries:?}");
    // Asking for a name is an attempt of its own.
    let asked = |record: &Value| record["layer"] == "name" && record["name"] == names[5].as_str();
    assert_eq!(outcome.records_where(asked).len(), 1, "{:#?}", outcome.records);
    control(&cases);
}

#[test]
fn the_resolver_of_every_language_asks_nobody() {
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    let names: Vec<String> = (0..4).map(|_| secret()).collect();
    let line = format!(
        "getent hosts {}; dig +short +tries=1 +time=2 {} TXT @8.8.8.8; curl -sS -m 5 https://{}/; \
         python3 -c 'import socket; print(socket.getaddrinfo(\"{}\", 443))'",
        names[0], names[1], names[2], names[3]
    );
    let outcome = Run::allowing("example.com").without_proxy_variables().run(&line);
    for name in &names {
        assert_eq!(leaked(&mark, name), [""; 0], "{outcome:#?}");
        let recorded = outcome
            .records_where(|record| record["name"] == name.as_str() && record["verdict"] == "deny");
        assert!(!recorded.is_empty(), "{name} is not on record: {outcome:#?}");
    }
    drop(awf_tests::unconfined(&line));
    for name in &names {
        assert!(!leaked(&mark, name).is_empty(), "positive control: {name}");
    }
}

#[test]
fn a_search_domain_of_the_agents_own_leads_no_query_out() {
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    let names: Vec<String> = (0..3).map(|_| secret()).collect();
    let line = format!(
        "LOCALDOMAIN={} getent hosts www; LOCALDOMAIN={} RES_OPTIONS=ndots:5 getent ahosts a.b.example.com; \
         dig +short +tries=1 +time=2 +search +domain={} www @8.8.8.8; true",
        names[0], names[1], names[2]
    );
    Run::allowing("example.com").run(&line).succeeded();
    for name in &names {
        assert_eq!(leaked(&mark, name), [""; 0]);
    }
    drop(awf_tests::unconfined(&line));
    for (number, name) in names.iter().enumerate() {
        assert!(!leaked(&mark, name).is_empty(), "positive control: {name}");
        told(&format!("search-{number}"), End::Refused, false, None);
    }
}

#[test]
fn an_allowed_alias_leads_to_no_query_for_what_it_stands_for() {
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    let line = "curl -sS -m 10 -o /dev/null http://alias.test/; dig +short +tries=1 +time=2 alias.test CNAME @8.8.8.8; \
                getent hosts alias.test";
    let outcome = Run::allowing("alias.test").without_proxy_variables().run(line).succeeded();
    let queries = sink.dns_queries_since(&mark).unwrap();
    assert!(queries.contains(&"alias.test".to_owned()), "{queries:?}: {outcome:#?}");
    assert_eq!(leaked(&mark, "goproxy.lab.test"), [""; 0]);
    assert!(!outcome.stdout.contains("goproxy.lab.test"), "{}", outcome.stdout);
    // The name itself stays denied, and without awf it is asked for.
    let direct = "curl -sS -m 5 -o /dev/null http://goproxy.lab.test/";
    let denied = Run::allowing("alias.test").without_proxy_variables().run(&format!("{direct} -f"));
    denied.failed().recorded(&[("name", "goproxy.lab.test".into()), ("verdict", "deny".into())]);
    assert_eq!(leaked(&mark, "goproxy.lab.test"), [""; 0]);
    assert!(awf_tests::unconfined(direct).status.success(), "positive control");
    assert!(!leaked(&mark, "goproxy.lab.test").is_empty(), "positive control");
    told("alias", End::Refused, true, None);
}
