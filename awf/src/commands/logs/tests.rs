//! Every command in every format over the logs in `golden/`: the original's in both of its formats, and ours.

use std::collections::BTreeSet;

use super::*;
use crate::cli::reading::{Decision, LineFormat};
use crate::commands::golden;

const CASES: [&str; 3] = ["original", "original-audit", "ours"];

fn source(case: &str) -> Source {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/golden").join(case);
    Source { logs: place, found: Found::Named }
}

fn manner(format: LineFormat) -> Manner {
    Manner { format, paint: Paint(false), terminal: false, run: None }
}

fn lines_of(case: &str, manner: &Manner, with_pid: bool) -> (Vec<u8>, u64) {
    let source = source(case);
    let log = Log::for_lines(&source).unwrap();
    let processes = with_pid.then(|| processes_of(&source).unwrap());
    let mut out = Vec::new();
    let file = (log.kind, log.open().unwrap());
    let damaged = show::file(file, manner, processes.as_ref(), &mut out).unwrap();
    (out, damaged)
}

fn text_of(case: &str, manner: &Manner, with_pid: bool) -> String {
    String::from_utf8(lines_of(case, manner, with_pid).0).unwrap()
}

fn audit_args(format: TotalsFormat) -> AuditArgs {
    AuditArgs { format, source: None, rule: None, domain: None, decision: None }
}

fn audit_of(case: &str, args: &AuditArgs, paint: Paint) -> String {
    let source = source(case);
    let mut manifest = Manifest::read(&source.manifest().unwrap()).unwrap();
    let rules = manifest.rules();
    let audit = audit::Audit { source: &source, manifest: &manifest, rules: &rules, args };
    let mut out = Vec::new();
    audit.print(paint, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// What is sent to a terminal: nothing that it obeys but our own colours.
#[track_caller]
fn assert_harmless(text: &str) {
    let stripped = text.replace('\u{1b}', "");
    assert!(!stripped.contains(|it: char| it.is_control() && it != '\n'), "{text:?}");
    let colours = ["[32m", "[31m", "[33m", "[90m", "[39m", "[1m", "[22m"];
    for rest in text.split('\u{1b}').skip(1) {
        assert!(colours.iter().any(|colour| rest.starts_with(colour)), "{rest:?}");
    }
}

#[test]
fn lines_are_shown_in_every_format() {
    for case in CASES {
        let pretty = text_of(case, &manner(LineFormat::Pretty), false);
        assert_harmless(&pretty);
        golden::check(&format!("logs/{case}-lines.txt"), &pretty);
        let json = text_of(case, &manner(LineFormat::Json), false);
        for line in json.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object());
        }
        golden::check(&format!("logs/{case}-lines.jsonl"), &json);
        let log = Log::for_lines(&source(case)).unwrap();
        let whole = fs::read(&log.path).unwrap();
        let raw: Vec<u8> = whole
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|line| line.len() > 1)
            .collect::<Vec<_>>()
            .concat();
        assert_eq!(lines_of(case, &manner(LineFormat::Raw), false).0, raw, "as they are");
    }
    let terminal = Manner { terminal: true, paint: Paint(true), ..manner(LineFormat::Raw) };
    assert_harmless(&text_of("original", &terminal, false));
    let coloured = Manner { format: LineFormat::Pretty, ..terminal };
    let text = text_of("original", &coloured, false);
    assert_harmless(&text);
    golden::check("logs/original-lines-coloured.txt", &text);
    assert_eq!(lines_of("original", &coloured, false).1, 2);
}

#[test]
fn processes_of_a_run_that_is_over_are_named() {
    golden::check("logs/ours-lines-pid.txt", &text_of("ours", &manner(LineFormat::Pretty), true));
    golden::check("logs/ours-lines-pid.jsonl", &text_of("ours", &manner(LineFormat::Json), true));
    assert_harmless(&text_of("ours", &manner(LineFormat::Pretty), true));
}

#[test]
fn requests_are_counted_in_every_format() {
    for case in CASES {
        let counted = Counted::of(&source(case)).unwrap();
        let account = counted.account();
        let pretty = account.pretty(Paint(false));
        assert_harmless(&pretty);
        assert_harmless(&account.pretty(Paint(true)));
        golden::check(&format!("logs/{case}-stats.txt"), &pretty);
        golden::check(&format!("logs/{case}-summary.md"), &account.markdown(usize::MAX));
        let json = account.json().unwrap();
        golden::check(&format!("logs/{case}-stats.json"), &json);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let rules: u64 = json["byRule"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|rule| rule["hits"].as_u64())
            .sum();
        assert_eq!(json["totalRequests"], rules, "rules and totals agree");
    }
    let coloured = Counted::of(&source("ours")).unwrap();
    golden::check("logs/ours-stats-coloured.txt", &coloured.account().pretty(Paint(true)));
}

#[test]
fn a_long_summary_is_cut() {
    let counted = Counted::of(&source("original")).unwrap();
    let text = counted.account().markdown(2);
    assert!(
        text.contains("\n...and ")
            && text.lines().filter(|line| line.contains(".test |")).count() == 2,
        "{text}"
    );
}

#[test]
fn every_request_is_audited_in_every_format() {
    for case in CASES {
        let pretty = audit_of(case, &audit_args(TotalsFormat::Pretty), Paint(false));
        assert_harmless(&pretty);
        golden::check(&format!("logs/{case}-audit.txt"), &pretty);
        golden::check(
            &format!("logs/{case}-audit.md"),
            &audit_of(case, &audit_args(TotalsFormat::Markdown), Paint(false)),
        );
        let json = audit_of(case, &audit_args(TotalsFormat::Json), Paint(false));
        let items: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert!(items.iter().all(|item| item["matchedRule"].is_string()));
        golden::check(&format!("logs/{case}-audit.json"), &json);
    }
}

#[test]
fn an_audit_can_be_narrowed() {
    let rules = |args: &AuditArgs| -> BTreeSet<String> {
        let items: Vec<serde_json::Value> =
            serde_json::from_str(&audit_of("ours", args, Paint(false))).unwrap();
        items.iter().map(|item| item["matchedRule"].as_str().unwrap().to_owned()).collect()
    };
    let set = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let json = audit_args(TotalsFormat::Json);
    let rule = AuditArgs { rule: Some("udp".into()), ..json.clone() };
    assert_eq!(rules(&rule), set(&["udp"]));
    let domain = AuditArgs { domain: Some("EVIL".into()), ..json.clone() };
    assert_eq!(rules(&domain), set(&["deny-default"]));
    let failed = AuditArgs { decision: Some(Decision::Error), ..json.clone() };
    assert_eq!(rules(&failed), set(&["allow-both-plain"]));
    let nothing = AuditArgs { rule: Some("none".into()), ..json };
    assert_eq!(audit_of("ours", &nothing, Paint(false)), "[]\n\n");
}

/// A CONNECT to an allowed host with a TLS hello for another, and one that the policy denied, which Squid was shown.
#[test]
fn what_the_relay_refused_on_an_open_tunnel_is_counted_and_audited_as_denied() {
    let place = std::env::temp_dir().join(format!("awf-logs-tunnel-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    let golden = source("ours").logs;
    fs::copy(golden.join("policy-manifest.json"), place.join("policy-manifest.json")).unwrap();
    let lines = |name: &str, port: &str| {
        let whole = fs::read_to_string(golden.join(name)).unwrap();
        whole.lines().find(|line| line.contains(port)).unwrap().to_owned() + "\n"
    };
    let logged = lines("audit.jsonl", "\"client_port\":40001")
        + &lines("audit.jsonl", "\"client_port\":40004");
    let tunnel = lines("egress.jsonl", "\"client_port\": 40001")
        .replace(
            "\"verdict\": \"allow\", \"layer\": \"proxy\"",
            "\"verdict\": \"deny\", \"layer\": \"relay\"",
        )
        .replace("allow-both-plain", "deny-sni-mismatch");
    fs::write(place.join("audit.jsonl"), logged).unwrap();
    fs::write(
        place.join("egress.jsonl"),
        tunnel + &lines("egress.jsonl", "\"client_port\": 40004"),
    )
    .unwrap();
    let source = Source { logs: place.clone(), found: Found::Named };
    let counted = Counted::of(&source).unwrap().account().json().unwrap();
    let counted: serde_json::Value = serde_json::from_str(&counted).unwrap();
    let args = AuditArgs { decision: Some(Decision::Denied), ..audit_args(TotalsFormat::Json) };
    let mut manifest = Manifest::read(&place.join("policy-manifest.json")).unwrap();
    let rules = manifest.rules();
    let mut out = Vec::new();
    let audit = audit::Audit { source: &source, manifest: &manifest, rules: &rules, args: &args };
    audit.print(Paint(false), &mut out).unwrap();
    fs::remove_dir_all(place).unwrap();
    assert_eq!((&counted["allowedRequests"], &counted["deniedRequests"]), (&1.into(), &1.into()));
    assert_eq!(counted["beforeProxy"]["denied"], 1, "{counted}");
    assert_eq!(counted["beforeProxy"]["byRule"][0]["ruleId"], "deny-sni-mismatch");
    let items: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
    let rules: Vec<&str> = items.iter().map(|item| item["matchedRule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["deny-default", "deny-sni-mismatch"]);
}

#[test]
fn a_filter_that_fits_nothing_is_no_error_in_any_format_where_there_is_but_a_record() {
    let place = std::env::temp_dir().join(format!("awf-logs-record-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    let golden = source("ours").logs;
    let allowed = golden::RECORD.lines().next().unwrap();
    fs::write(place.join("egress.jsonl"), format!("{allowed}\n")).unwrap();
    let source = Source { logs: place.clone(), found: Found::Named };
    let mut manifest = Manifest::read(&golden.join("policy-manifest.json")).unwrap();
    let rules = manifest.rules();
    let print = |format| {
        let args = AuditArgs { domain: Some("nomatch".into()), ..audit_args(format) };
        let audit =
            audit::Audit { source: &source, manifest: &manifest, rules: &rules, args: &args };
        audit.print(Paint(false), &mut Vec::new())
    };
    let formats = [TotalsFormat::Pretty, TotalsFormat::Markdown, TotalsFormat::Json];
    let printed = formats.map(print);
    fs::write(place.join("egress.jsonl"), "").unwrap();
    let of_nothing = formats.map(print);
    fs::remove_dir_all(place).unwrap();
    assert!(printed.iter().all(Result::is_ok), "{printed:?}");
    assert!(of_nothing.iter().all(Result::is_err), "{of_nothing:?}");
}

#[test]
fn an_empty_list_says_where_logs_would_be() {
    let text = list(&[]);
    assert_eq!(text.lines().count(), 4);
    let running = Source { logs: "/tmp/x".into(), found: Found::Running("awf-1-aaaa".into()) };
    assert_eq!(list(&[running]), "Log sources:\n  [running] awf-1-aaaa (goes on, /tmp/x)\n");
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Lines that are nearly right.
    fn nearly() -> impl Strategy<Value = String> {
        let field = "[a-z0-9:.\"\\\\\\[\\]\u{1b}\u{9b}\u{202e}|<{}% -]{0,12}";
        prop::collection::vec(field, 0..14).prop_map(|fields| {
            let mut line = String::from("1795309539.570 172.30.0.20:1");
            for field in fields {
                line = line + " " + &field;
            }
            line + " \"x\""
        })
    }

    fn check(line: &str) -> Result<(), TestCaseError> {
        for kind in [Kind::Access, Kind::Audit] {
            for format in [LineFormat::Raw, LineFormat::Pretty, LineFormat::Json] {
                let manner = Manner { format, paint: Paint(false), terminal: true, run: None };
                let mut out = Vec::new();
                let file = (kind, line.as_bytes());
                show::file(file, &manner, None, &mut out).unwrap();
                let text = String::from_utf8(out).unwrap();
                prop_assert!(!text.contains(|it: char| it.is_control() && it != '\n'), "{text:?}");
            }
            let mut totals = Totals::default();
            if let Some(entry) = kind.parse(line) {
                totals.add(&entry, &[], &Rules::default());
                let account = Account { totals: &totals, rules: &Rules::default(), beside: None };
                for text in
                    [account.pretty(Paint(false)), account.json().unwrap(), account.markdown(9)]
                {
                    prop_assert!(
                        !text.contains(|it: char| it.is_control() && it != '\n'),
                        "{text:?}"
                    );
                }
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn no_text_brings_a_parser_down_or_reaches_a_terminal(line in "\\PC{0,80}|(?s:.{0,80})") {
            check(&line)?;
        }

        #[test]
        fn nor_does_a_line_that_is_nearly_right(line in nearly()) {
            check(&line)?;
        }

        #[test]
        fn nor_do_hostile_values(host in "(?s:.{1,20})", agent in "(?s:.{0,20})") {
            let json = serde_json::json!({
                "timestamp": host, "host": host, "client": agent, "dest": host, "method": agent,
                "status": 1, "decision": agent, "url": host, "rule": agent,
            });
            check(&json.to_string())?;
            check(&format!("1.5 a:1 {host} -:- 1.1 GET 1 {agent}:x {host} \"{agent}\""))?;
        }
    }
}
