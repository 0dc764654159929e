//! The example table of the original (reference/awf-surface.md, 7.3) as decisions.

mod audit_mode;

use super::*;

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn policy(allow: &str, block: &str) -> Policy {
    Policy::resolve(&list(allow), &list(block)).expect("a usable policy").0
}

fn warnings(allow: &str, block: &str) -> Vec<String> {
    Policy::resolve(&list(allow), &list(block)).expect("a usable policy").1
}

/// Each request is `get HOST`, `tls HOST` or `tls HOST:PORT`.
fn check(allow: &str, block: &str, allowed: &[&str], denied: &[&str]) {
    let policy = policy(allow, block);
    for (requests, expected) in [(allowed, true), (denied, false)] {
        for request in requests {
            let decision = ask(&policy, request);
            assert_eq!(decision.allow, expected, "{allow} / {block}: {request}: {decision:?}");
            assert_eq!(decision.allow, decision.rule.starts_with("allow-"));
        }
    }
}

fn ask(policy: &Policy, request: &str) -> Decision {
    let (verb, target) = request.split_once(' ').expect("verb and target");
    let (scheme, default) = if verb == "get" { (Scheme::Http, 80) } else { (Scheme::Tls, 443) };
    match target.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) if !target.ends_with(']') => policy.decide(host, port, scheme),
        _ => policy.decide(target, default, scheme),
    }
}

fn rule(allow: &str, block: &str, request: &str) -> &'static str {
    ask(&policy(allow, block), request).rule
}

#[test]
fn a_plain_name_allows_itself_and_its_subdomains() {
    for entry in ["github.com", "GitHub.COM", ".github.com", "github.com.", "github.com/"] {
        check(
            entry,
            "",
            &[
                "tls github.com",
                "tls api.github.com",
                "tls a.b.github.com",
                "get github.com",
                "get api.github.com",
                "tls github.com:80",
                "tls GITHUB.com",
                "tls github.com.",
                "tls github.com..",
                "tls a_b.github.com",
            ],
            &[
                "tls notgithub.com",
                "tls github.com.evil.com",
                "tls github.com:8443",
                "tls github.com:22",
                "get github.com:8080",
                "get github.com:443",
                "tls com",
            ],
        );
    }
    check("com", "", &["tls com", "tls x.com"], &["tls x.org"]);
    check("a", "", &["tls a", "tls x.a"], &["tls aa"]);
    check("all,none", "", &["tls all", "get none"], &["tls example.com"]);
    check("xn--bcher-kva.ch", "", &["tls xn--bcher-kva.ch"], &["tls bücher.ch", "tls bucher.ch"]);
    check("bücher.ch", "", &["tls xn--bcher-kva.ch"], &["tls bücher.ch"]);
    check("git_hub.com", "", &["tls git_hub.com"], &["tls github.com"]);
    check("-github.com", "", &["tls -github.com"], &["tls github.com"]);
}

#[test]
fn an_exact_name_allows_itself_alone() {
    let below = ["tls api.github.com", "get x.github.com", "tls com", "tls xgithub.com"];
    for entry in ["=github.com", "=GitHub.COM.", "=.github.com"] {
        check(entry, "", &["tls github.com", "get GITHUB.com."], &below);
    }
    check("=http://a.com", "", &["get a.com"], &["tls a.com", "get x.a.com"]);
    check("=a.com,x.a.com", "", &["tls a.com", "tls y.x.a.com"], &["tls y.a.com"]);
    check("a.com", "=a.com", &["tls x.a.com"], &["tls a.com"]);
    check("=1.2.3.4", "", &["tls 1.2.3.4"], &["tls 1.2.3.5"]);
    assert_eq!(rule("=a.com", "", "tls a.com"), "allow-both-plain");
    assert_eq!(policy("=a.com,a.com,=x.a.com", ""), policy("a.com", ""));
    for entry in ["=*.a.com", "==a.com", "=", "https://=a.com", "=localhost"] {
        assert!(Policy::resolve(&[entry.to_owned()], &[]).is_err(), "{entry}");
    }
}

#[test]
fn a_pattern_allows_whole_names_that_fit() {
    for entry in ["*.github.com", "*.GitHub.com", "**.github.com", "*.github.com."] {
        let allowed = ["tls api.github.com", "tls a.b.github.com", "tls A.GitHub.com."];
        check(entry, "", &allowed, &["tls github.com", "tls evilgithub.com"]);
    }
    check("*github.com", "", &["tls github.com", "tls evilgithub.com", "tls a.github.com"], &[]);
    check("github.*", "", &["tls github.com", "tls github.evil.com"], &["tls a.github.com"]);
    check(
        "api-*.example.com",
        "",
        &["tls api-v1.example.com", "tls api-.example.com", "tls api-x.evil.example.com"],
        &["tls api.example.com"],
    );
    check(
        "*-*.example.com",
        "",
        &["tls a-b.example.com", "tls x.a-b.example.com"],
        &["tls ab.example.com"],
    );
    check(
        "a.*.github.com",
        "",
        &["tls a.b.github.com", "tls a.b.c.github.com"],
        &["tls a.github.com"],
    );
    check("*.a.*.com", "", &["tls x.a.y.com"], &["tls x.a.com"]);
    check("*.*.github.com", "", &["tls a.b.github.com"], &["tls a.github.com"]);
    check("*.com", "", &["tls any.com"], &["tls com", "tls any.org"]);
}

#[test]
fn a_scheme_narrows_method_and_port() {
    let http = ["get legacy.com", "get a.legacy.com"];
    check("http://legacy.com", "", &http, &["tls legacy.com", "tls legacy.com:80"]);
    for entry in ["https://s.com", "HTTPS://s.com", "https://s.com/"] {
        check(entry, "", &["tls s.com", "tls a.s.com"], &["tls s.com:80", "get s.com"]);
    }
    check(
        "https://*.github.com",
        "",
        &["tls a.github.com"],
        &["tls a.github.com:80", "get a.github.com"],
    );
    check(
        "http://*.github.com",
        "",
        &["get a.github.com"],
        &["tls a.github.com:80", "tls a.github.com"],
    );
    check("http://a.com,https://a.com", "", &["get a.com", "tls a.com"], &["tls a.com:80"]);
}

#[test]
fn an_address_is_allowed_exactly_and_in_every_spelling() {
    let spellings = [
        "tls 1.2.3.4",
        "get 1.2.3.4",
        "tls 1.2.3.4:80",
        "tls 0x01020304",
        "tls 16909060",
        "get 1.2.772",
        "tls 01.02.03.04",
        "tls 1.2.3.4.",
        "tls [::ffff:1.2.3.4]",
        "tls [::ffff:102:304]",
    ];
    check("1.2.3.4", "", &spellings, &["tls 1.2.3.5", "tls 1.2.3.4:8443", "tls a.1.2.3.4"]);
    check("172.30.0.1", "", &["get 172.30.0.1"], &[]);
    check(
        "github.com",
        "",
        &[],
        &[
            "tls 0x7f000001",
            "tls 2130706433",
            "tls 127.1",
            "tls 0177.0.0.1",
            "tls [::ffff:1.2.3.4]",
            "tls 1.2.3.4.",
            "tls [::1]",
            "tls ::1:443",
            "tls 1.2.3.4.5",
            "tls 0x",
        ],
    );
    // A pattern never reaches addresses.
    check("1*,*a", "", &["tls 1a"], &["tls 1.2.3.4", "tls 0xa", "tls 1.0xa"]);
}

#[test]
fn the_block_list_beats_everything() {
    let internal = [
        "tls internal.example.com",
        "get internal.example.com",
        "tls a.internal.example.com",
        "tls INTERNAL.example.com.",
        "tls internal.example.com:80",
    ];
    check(
        "example.com",
        "internal.example.com",
        &["tls example.com", "tls api.example.com"],
        &internal,
    );
    check("example.com", "https://internal.example.com", &["get example.com"], &internal);
    check(
        "example.com",
        "internal-*.example.com",
        &["tls internal.example.com"],
        &["tls internal-a.example.com", "get internal-a.example.com."],
    );
    check("a.com", "a.com", &[], &["tls a.com", "get a.com", "tls b.a.com"]);
    check("1.2.3.4", "1.2.3.4", &[], &["tls 1.2.3.4", "get 0x01020304"]);
    check("https://a.com,http://a.com", "*a.com", &[], &["tls a.com", "get a.com"]);
    // Neither an underscore nor an overlap in the block list is a way around it.
    let odd = ["tls a_b.x.b.com", "tls x-a_b.b.com", "tls a_b.c.b.com"];
    check("b.com", "x.b.com,*.x.b.com,x-*.b.com,*.c.b.com", &["tls a_b.b.com"], &odd);
    assert_eq!(policy("1.2.3.4", "1.2.3.4").exact_ips().count(), 0);
}

#[test]
fn an_empty_list_denies_everything() {
    for allow in ["", " , ,,", "\t"] {
        check(
            allow,
            "",
            &[],
            &["tls github.com", "get github.com", "tls 1.2.3.4", "tls ", "tls ."],
        );
    }
}

#[test]
fn names_that_no_resolver_takes_are_denied_below_an_allowed_name() {
    let policy = policy("example.com,*.example.org", "");
    let long_label = format!("{}.example.com", "a".repeat(64));
    let long_name = format!("{}example.com", "a.".repeat(122));
    for host in [
        "a..example.com",
        ".example.com",
        "a#b.example.com",
        "a/b.example.com",
        "u@example.com",
        "a b.example.com",
        "a%2e.example.com",
        "b\u{fc}.example.com",
        &long_label,
        &long_name,
        "",
        "[a]",
        "*.example.com",
        "example.com\0",
        "example.com:443",
    ] {
        let decision = policy.decide(host, 443, Scheme::Tls);
        assert_eq!(decision.rule, "deny-malformed-name", "{host:?}");
    }
    assert!(policy.decide(&format!("{}.example.com", "a".repeat(63)), 443, Scheme::Tls).allow);
    assert!(policy.decide(&format!("{}example.com", "a.".repeat(121)), 443, Scheme::Tls).allow);
}

#[test]
fn nothing_below_invalid_is_ever_allowed() {
    check(
        "ready.*,*d",
        "",
        &["tls ready.com"],
        &["tls ready.awf.invalid", "get x.invalid.", "tls invalid"],
    );
}

#[test]
fn decisions_carry_the_ids_of_the_original() {
    let allow = "a.com,*.b.com,http://c.com,http://*.d.com,https://e.com,https://*.f.com,1.2.3.4";
    let block = "x.a.com,y*.a.com";
    for (request, id) in [
        ("tls a.com", "allow-both-plain"),
        ("get w.b.com", "allow-both-regex"),
        ("get c.com", "allow-http-only-plain"),
        ("get w.d.com", "allow-http-only-regex"),
        ("tls e.com", "allow-https-only-plain"),
        ("tls w.f.com", "allow-https-only-regex"),
        ("tls 1.2.3.4", "allow-ip-1-2-3-4"),
        ("tls a.com:22", "deny-unsafe-ports"),
        ("get a.com:443", "deny-unsafe-ports"),
        ("tls 1.2.3.5", "deny-raw-ipv4"),
        ("tls [::1]", "deny-raw-ipv6"),
        ("tls x.a.com", "deny-blocked-plain"),
        ("tls y1.a.com", "deny-blocked-regex"),
        ("tls a..com", "deny-malformed-name"),
        ("tls z.com", "deny-default"),
    ] {
        assert_eq!(rule(allow, block, request), id, "{request}");
    }
    let decision = ask(&policy(allow, block), "tls c.com");
    assert_eq!(decision.reason, "c.com is allowed with http:// only (plain HTTP on port 80)");
    let json = serde_json::to_string(&ask(&policy(allow, block), "tls q.a.com")).expect("json");
    assert_eq!(
        json,
        r#"{"allow":true,"rule":"allow-both-plain","entry":"a.com","reason":"q.a.com is allowed by a.com"}"#
    );
}

#[test]
fn overlaps_leave_the_widest_entries() {
    let plain = |names: &Names| names.plain().map(str::to_owned).collect::<Vec<_>>();
    let patterns = |names: &Names| names.patterns().map(ToString::to_string).collect::<Vec<_>>();
    let both = policy("github.com,api.github.com,*.github.com,GITHUB.com.,github.com", "");
    assert_eq!(plain(both.names(Protocol::Both)), ["github.com"]);
    assert_eq!(patterns(both.names(Protocol::Both)), [""; 0]);
    let mixed = policy(
        "a.com,http://x.a.com,https://*.a.com,http://b.com,https://x.b.com,x.c.com,*.c.com",
        "",
    );
    assert_eq!(plain(mixed.names(Protocol::Both)), ["a.com", "x.c.com"]);
    assert_eq!(patterns(mixed.names(Protocol::Both)), ["*.c.com"]);
    assert_eq!(plain(mixed.names(Protocol::Http)), ["b.com"]);
    assert_eq!(plain(mixed.names(Protocol::Https)), ["x.b.com"]);
    assert!(mixed.names(Protocol::Https).patterns().next().is_none());
    assert_eq!(plain(policy("", "b.com,a.b.com,http://c.b.com").blocked()), ["b.com"]);
}

#[test]
fn the_same_lists_in_any_order_are_the_same_policy() {
    assert_eq!(
        policy("a.com,b.com,*.c.com", "x.a.com,1.1.1.1"),
        policy("*.c.com,b.com,A.com", "1.1.1.1,x.a.com")
    );
}

#[test]
fn every_error_of_both_lists_is_reported() {
    let errors =
        Policy::resolve(&list("a.com,b.com/x, c.com:1 "), &list("10.0.0.0/8")).expect_err("errors");
    let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 3);
    assert_eq!(
        shown.first().map(String::as_str),
        Some(
            "allowed domain \"b.com/x\": has a path, but only whole domains can be listed; write b.com"
        )
    );
    assert_eq!(errors.get(1).map(|e| e.entry.as_str()), Some("c.com:1"));
    assert!(shown.last().is_some_and(|text| text.starts_with("blocked domain \"10.0.0.0/8\"")));
}

#[test]
fn an_entry_in_an_error_cannot_paint_over_the_terminal() {
    let errors = Policy::resolve(&list("a\u{202e}b\u{1b}[2J"), &[]).expect_err("errors");
    assert!(errors.iter().all(|e| !e.to_string().contains(['\u{202e}', '\u{1b}'])));
}

#[test]
fn broad_and_contradicting_entries_warn_once() {
    assert_eq!(warnings("github.com,*.github.com,1.2.3.4", "x.github.com"), [""; 0]);
    assert_eq!(warnings("com,com", "").len(), 1);
    assert_eq!(warnings("", "com"), [""; 0]);
    assert_eq!(warnings("169.254.169.254", "").len(), 1);
    assert_eq!(
        warnings("bücher.ch", ""),
        ["allowed domain \"bücher.ch\" is read as xn--bcher-kva.ch"]
    );
    assert_eq!(
        warnings("a.b.com,1.2.3.4", "b.com,1.2.3.4"),
        [
            "a.b.com is allowed and blocked; blocked wins",
            "1.2.3.4 is allowed and blocked; blocked wins"
        ]
    );
}

#[test]
fn a_suggestion_allows_what_it_is_for() {
    let current = list(" a.com,*.b.com");
    let value =
        suggest(&["X.org.", "0x01020304", "[::1]", "x.org"], &current).expect("a suggestion");
    assert_eq!(value, "a.com,*.b.com,x.org,1.2.3.4");
    check(&value, "", &["tls x.org", "get x.org", "tls 1.2.3.4", "tls a.com"], &[]);
    assert_eq!(suggest(&["[::1]", "a b"], &current), None);
    assert_eq!(suggest(&["x.org"], &[]), Some("x.org".to_owned()));
}

#[test]
fn a_hundred_thousand_names_resolve_and_answer_at_once() {
    let allow: Vec<String> =
        (0..100_000).map(|i| format!("host{i}.zone{}.example", i % 997)).collect();
    let (policy, _) = Policy::resolve(&allow, &[]).expect("a usable policy");
    assert_eq!(policy.names(Protocol::Both).plain().len(), 100_000);
    let started = std::time::Instant::now();
    for i in 0..10_000 {
        assert!(
            policy.decide(&format!("a.host{i}.zone{}.example", i % 997), 443, Scheme::Tls).allow
        );
        assert!(!policy.decide(&format!("a.zone{i}.example"), 443, Scheme::Tls).allow);
    }
    // Scanning would take minutes; the bound only tells the two apart on a slow machine.
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}
