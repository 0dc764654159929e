//! Golden files, and that every answer is the policy's own.

use super::judged::answer;
use super::target::Means;
use super::*;
use crate::cli::{Request, Settings, parse};
use crate::commands::golden::{self, RECORD};
use crate::host::Host;

fn ground(options: &[&str]) -> Ground {
    let line = ["awf"].iter().chain(options).chain(&["--", "true"]).map(Into::into);
    let Ok(Request::Run(args)) = parse(line) else { panic!("{options:?}") };
    let host = Host::sample();
    policy::of_settings(&Settings::resolve(&args, &host.caller).unwrap(), &host).unwrap()
}

const OPTIONS: &[&str] = &[
    "--allow-domains=example.com,=exact.org,http://plain.net,https://tls.net,*.wild.dev,192.0.2.1",
    "--block-domains=bad.example.com",
    "--enable-host-access",
    "--allow-host-ports=3000",
];

/// Target, whether it is allowed, rule and layer.
const TARGETS: &[(&str, bool, &str, &str)] = &[
    ("https://example.com/a?b", true, "allow-both-plain", "Squid"),
    ("Sub.EXAMPLE.com.", true, "allow-both-plain", "Squid"),
    ("example.com:80", true, "allow-both-plain", "Squid"),
    ("exact.org", true, "allow-both-plain", "Squid"),
    ("www.exact.org", false, "deny-default", "relay"),
    ("http://plain.net", true, "allow-http-only-plain", "Squid"),
    ("https://plain.net", false, "deny-default", "relay"),
    ("https://user:pass@tls.net/", true, "allow-https-only-plain", "Squid"),
    ("a.wild.dev", true, "allow-both-regex", "Squid"),
    ("bad.example.com", false, "deny-blocked-plain", "relay"),
    ("evil.com", false, "deny-default", "relay"),
    ("example.com:22", false, "port", "kernel"),
    ("ssh://git@example.com/x", false, "port", "kernel"),
    ("tcp://example.com:5432", false, "port", "kernel"),
    ("udp://example.com:443", false, "udp", "kernel"),
    ("udp://9.9.9.9:53", true, "pass", "kernel"),
    ("9.9.9.9", false, "deny-raw-ipv4", "relay"),
    ("192.0.2.1", true, "allow-ip-192-0-2-1", "Squid"),
    ("0x7f.1:8080", true, "pass", "kernel"),
    ("2001:db8::1", false, "ipv6", "kernel"),
    ("[2001:db8::1]:443", false, "ipv6", "kernel"),
    ("[::ffff:9.9.9.9]:443", false, "deny-raw-ipv4", "relay"),
    ("localhost:3000", true, "pass", "kernel"),
    ("host.docker.internal:3000", true, "allow-host-port", "relay"),
    ("http://host.docker.internal", true, "allow-host-access", "relay"),
    ("172.30.0.1:5432", false, "port", "kernel"),
    ("a..b", false, "deny-malformed-name", "name door"),
    ("intranet", false, "deny-default", "name door"),
    ("x.invalid", false, "deny-default", "name door"),
];

#[test]
fn a_target_is_judged_as_a_run_judges_it() {
    let ground = ground(OPTIONS);
    let mut text = String::new();
    for (target, allowed, rule, layer) in TARGETS {
        let answer = answer(&Target::parse(target).unwrap(), &ground);
        assert_eq!(answer.allowed, *allowed, "{target}");
        let json: serde_json::Value = serde_json::from_str(&answer.json().unwrap()).unwrap();
        assert_eq!(
            (json["decision"]["rule"].as_str(), json["layer"].as_str()),
            (Some(*rule), Some(*layer)),
            "{target}"
        );
        text = text + "$ awf why " + target + "\n" + &answer.pretty() + "\n";
    }
    golden::check("why-targets.txt", &text);
    let json = answer(&Target::parse("evil.com").unwrap(), &ground).json().unwrap();
    golden::check("why-target.json", &json);
}

#[test]
fn urls_and_audit_mode_are_judged_too() {
    let urls = ground(&["--allow-domains=a.com", "--ssl-bump", "--allow-urls=https://a.com/x/*"]);
    let allowed =
        |target: &str, ground: &Ground| answer(&Target::parse(target).unwrap(), ground).allowed;
    assert!(allowed("https://a.com/x/1", &urls) && !allowed("https://a.com/y", &urls));
    let audited = ground(&["--audit-mode", "--block-domains=bad.com"]);
    assert!(allowed("any.com", &audited) && !allowed("bad.com", &audited));
    let text = answer(&Target::parse("any.com").unwrap(), &audited).pretty();
    golden::check("why-audit-mode.txt", &text);
}

#[test]
fn what_is_no_target_is_refused_with_an_example() {
    for text in ["", "https://", ":443", "a:x", "a:0", "a:70000", "[::1]x", "gopher://a", "udp://a"]
    {
        assert!(Target::parse(text).is_err(), "{text:?}");
    }
    let odd = Target::parse("ws://a.com?q").unwrap();
    assert_eq!((odd.port, odd.means, odd.path.as_deref()), (80, Means::Http, Some("/?q")));
}

#[test]
fn records_are_told_in_full() {
    let told = |number: Option<u64>| {
        let (number, record) = told::find(RECORD.as_bytes(), number).unwrap();
        let allowed = ["api.github.com".to_owned()];
        let told = told::Told { number, record: &record, allowed: &allowed };
        (told.pretty(), told.json().unwrap())
    };
    let mut text = String::new();
    let lines = u64::try_from(RECORD.lines().count()).unwrap();
    for number in (1..=lines).filter(|number| told::find(RECORD.as_bytes(), Some(*number)).is_ok())
    {
        text = text + &told(Some(number)).0 + "\n";
    }
    assert!(text.chars().all(|c| c == '\n' || (' '..='~').contains(&c)));
    golden::check("why-records.txt", &text);
    let (last, json) = told(None);
    assert!(last.starts_with("Denied\n  line          13\n"), "{last}");
    golden::check("why-record.json", &json);
    for (number, complaint) in [(7, "damaged"), (lines, "summary"), (99, "no line 99")] {
        let error = told::find(RECORD.as_bytes(), Some(number)).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
}

#[test]
fn a_manifest_is_read_back_as_the_policy_it_was_made_of() {
    let row = |id: &str, domains: &[&str], description: &str| serde_json::json!({ "id": id, "domains": domains, "description": description });
    let manifest = serde_json::json!({ "version": 1, "auditMode": false, "rules": [
        row("allow-host-access", &["host.docker.internal"], "ports of this machine: 80, 443"),
        row("allow-host-port", &["host.docker.internal"], "ports of this machine: 3000"),
        row("deny-unsafe-ports", &[], "any port but 80 (plain HTTP) and 443 (TLS)"),
        row("deny-blocked-plain", &[".bad.example.com"], ""),
        row("allow-ip-192-0-2-1", &["192.0.2.1"], ""),
        row("allow-http-only-plain", &[".plain.net"], ""),
        row("allow-https-only-plain", &[".tls.net"], ""),
        row("allow-both-plain", &[".example.com", "exact.org"], ""),
        row("allow-both-regex", &["^[a-zA-Z0-9.-]*[.]wild[.]dev$"], ""),
        row("deny-default", &[], ""),
    ]});
    let read = policy::read_manifest(&manifest.to_string()).unwrap();
    assert_eq!(read.policy, ground(OPTIONS).policy);
    for (target, allowed, ..) in TARGETS {
        assert_eq!(answer(&Target::parse(target).unwrap(), &read).allowed, *allowed, "{target}");
    }
    let odd = manifest.to_string().replace("allow-both-plain", "allow-something");
    assert!(policy::read_manifest(&odd).is_err());
    let odd = manifest.to_string().replace("[a-zA-Z0-9.-]*", ".*");
    assert!(policy::read_manifest(&odd).is_err());
}
