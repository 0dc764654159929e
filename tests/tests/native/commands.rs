//! The commands that read what a run has left, on real runs.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use awf_tests::{Outcome, Run, Scratch, awf};
use serde_json::Value;

/// A package install: the index and the files are different hosts, and one more is refused on the way.
const INSTALL: &str = "cd $(mktemp -d) && npm install --registry https://npm.lab.test --cafile \"$SSL_CERT_FILE\" --cache cache \
                       --fetch-retries 0 --no-audit --no-fund lab-hello >/dev/null && \
                       curl -fsS http://example.com/ -o /dev/null";

/// awf with these words; reads only, so without a lab.
fn read(words: &[&str]) -> Output {
    Command::new(awf()).args(words).output().expect("awf runs")
}

#[track_caller]
fn said(words: &[&str]) -> String {
    let output = read(words);
    assert!(output.status.success(), "{words:?}: {output:#?}");
    String::from_utf8(output.stdout).expect("text")
}

/// A run whose logs stay below the scratch directory, and the directory.
fn kept(allowed: &str, more: &[&str], line: &str) -> (Scratch, Outcome, String) {
    let scratch = Scratch::new("commands");
    let mut run = Run::allowing(allowed);
    run.logs = scratch.path().join("logs");
    for flag in more {
        run = run.flag(flag);
    }
    let logs = run.logs.display().to_string();
    let output = run.spawn(line).wait_with_output().expect("awf ends");
    let outcome = run.outcome(&output, Duration::ZERO);
    // What the run leaves is removed with the scratch directory.
    std::mem::take(&mut run.logs);
    (scratch, outcome, logs)
}

const MIXED: &str = "curl -sS http://example.com/ -o /dev/null; curl -sS https://denied.example.net/; \
                     echo x >/dev/udp/203.0.113.66/9999; false";

#[test]
fn every_line_that_a_run_writes_keeps_to_the_schema() {
    let hostile = r#"python3 - <<'end'
import socket
open('/proc/self/comm', 'wb').write(b'\x1b]0;"\\\xff')
for name in ('a"b.example.net', 'x\\\\y', 'tab\there', '\x7f.test', 'a' * 300):
    try:
        s = socket.create_connection(('example.com', 80))
        s.sendall(f'GET /"\\ HTTP/1.1\r\nHost: {name}\r\nUser-Agent: "\\\x1b\r\n\r\n'.encode('latin-1'))
        s.recv(10)
    except OSError: pass
end"#;
    let line = format!("{hostile}\n{MIXED}");
    let (_scratch, outcome, logs) = kept("example.com", &["--record-chain"], &line);
    let schema: Value = serde_json::from_str(&said(&["logs", "schema"])).expect("a schema");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let record = fs::read_to_string(Path::new(&logs).join("egress.jsonl")).expect("a record");
    for line in record.lines() {
        let value: Value = serde_json::from_str(line).expect(line);
        if let Err(error) = schema.validate(&value) {
            panic!("{error}: {line}");
        }
    }
    for line in fs::read_to_string(Path::new(&logs).join("audit.jsonl")).expect("a log").lines() {
        let value: Value = serde_json::from_str(line).expect(line);
        assert_eq!(value["event"], "http_access", "{line}");
    }
    assert!(record.lines().count() > 6, "{outcome:#?}");
    let verified = said(&["logs", "verify", "--source", &logs]);
    assert!(verified.contains("ok    chain"), "{verified}");
}

#[test]
fn every_reader_understands_what_a_run_leaves() {
    let (scratch, _outcome, logs) = kept("example.com", &[], MIXED);
    for (words, part) in [
        (&["logs"][..], "denied.example.net"),
        (&["logs", "--format", "json", "--with-pid"], "\"comm\":\"curl\""),
        (&["logs", "stats"], "denied.example.net"),
        (&["logs", "stats", "--format", "json"], "\"deniedRequests\": 1"),
        (&["logs", "summary"], "<details>"),
        (&["logs", "audit"], "deny-default"),
        (&["logs", "egress", "--verdict", "deny"], "203.0.113.66"),
        (&["logs", "egress", "--process", "curl"], "denied.example.net"),
        (&["logs", "export", "--format", "otlp"], "denied.example.net"),
        (&["logs", "export", "--format", "ocsf"], "203.0.113.66"),
        (&["logs", "export", "--format", "sarif"], "denied.example.net"),
        (&["logs", "export", "--format", "prometheus"], "awf_attempts_total"),
        (&["why"], "Denied"),
        (&["report"], "denied.example.net"),
    ] {
        let text = said(&[words, &["--source", &logs]].concat());
        assert!(text.contains(part), "{words:?}: {part:?} is missing:\n{text}");
    }
    // By the manifest that the run left beside its logs.
    let why = read(&["why", "https://denied.example.net/", "--source", &logs]);
    assert_eq!(why.status.code(), Some(1), "{why:#?}");
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("deny-default"), "{why}");
    let page = scratch.path().join("report.html").display().to_string();
    said(&["report", "--source", &logs, "--output", &page]);
    let page = fs::read_to_string(page).expect("a page");
    assert!(page.starts_with("<!DOCTYPE html>") || page.starts_with("<!doctype html>"));
    assert!(!page.contains("http://www") && !page.contains("src="), "no external assets");
}

#[test]
fn what_learn_proposes_is_enough_and_one_entry_fewer_is_not() {
    let (_scratch, outcome, logs) = kept("npm.lab.test,example.com,unused.test", &[], INSTALL);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let list = said(&["learn", "--source", &logs, "--format", "list"]);
    let entries: Vec<&str> = list.trim().split(',').collect();
    assert_eq!(entries.len(), 2, "{list}");
    let (_scratch, outcome, _logs) = kept(list.trim(), &[], INSTALL);
    assert_eq!(outcome.code, 0, "{list}: {outcome:#?}");
    for missing in &entries {
        let fewer: Vec<&str> = entries.iter().copied().filter(|entry| entry != missing).collect();
        let (_scratch, outcome, _logs) = kept(&fewer.join(","), &[], INSTALL);
        assert_ne!(outcome.code, 0, "without {missing}: {outcome:#?}");
    }
}

#[test]
fn audit_mode_lets_through_what_no_list_knows_and_says_so() {
    let line = "curl -fsS https://files.test/ -o /dev/null; echo files $?; curl -fsS http://blocked.test/ -o /dev/null; \
                echo blocked $?; curl -fsS http://93.184.216.34/ -o /dev/null; echo number $?; \
                (echo x >/dev/udp/203.0.113.66/9999) 2>/dev/null; echo udp $?";
    let run = Run::allowing("example.com").option("--block-domains", "blocked.test");
    let control = run.run(line);
    assert!(
        control.stdout.contains("files ") && !control.stdout.contains("files 0"),
        "{control:#?}"
    );
    let run = Run::allowing("example.com").option("--block-domains", "blocked.test");
    let outcome = run.flag("--audit-mode").run(line);
    assert!(
        outcome.stdout.contains("files 0") || outcome.stdout.contains("files 22"),
        "{outcome:#?}"
    );
    for refused in ["blocked 0", "number 0", "udp 0"] {
        assert!(!outcome.stdout.contains(refused), "{outcome:#?}");
    }
    let passed = outcome.records_where(|record| record["would_deny"] == "deny-default");
    assert!(passed.iter().any(|record| record["name"] == "files.test"), "{outcome:#?}");
    assert_eq!(outcome.summary.as_ref().expect("a summary")["mode"], "audit");
    assert!(outcome.stderr.to_lowercase().contains("audit mode"), "{outcome:#?}");
}

#[test]
fn a_run_is_listed_while_it_goes_on_and_can_be_ended_by_its_id() {
    let run = Run::allowing("example.com");
    let child = run.spawn("curl -sS https://denied.example.net/; sleep 300");
    let record = run.logs.join("egress.jsonl");
    let began = Instant::now();
    let id = loop {
        let text = fs::read_to_string(&record).unwrap_or_default();
        if let Some(line) = text.lines().find(|line| line.contains("denied.example.net")) {
            let line: Value = serde_json::from_str(line).expect(line);
            break line["run"].as_str().expect("an id").to_owned();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no record: {text}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let listed = said(&["ps"]);
    let row = listed.lines().find(|row| row.contains(&id)).expect("the run is listed");
    assert!(row.contains("native") || row.contains("docker"), "{listed}");
    let live = said(&["logs", "egress", "--source", &id]);
    assert!(live.contains("denied.example.net"), "{live}");
    let killed = read(&["kill", &id]);
    assert!(killed.status.success(), "{killed:#?}");
    let output = child.wait_with_output().expect("awf ends");
    assert_eq!(output.status.code(), Some(143), "{output:#?}");
    assert!(!said(&["ps", "--json"]).contains(&id));
    let outcome = run.outcome(&output, began.elapsed());
    assert_eq!(outcome.summary.expect("a summary")["exit_code"], 143);
}

#[test]
fn a_signed_record_is_known_by_its_key_and_any_change_is_found() {
    let scratch = Scratch::new("signed");
    let place = |name: &str| scratch.path().join(name).display().to_string();
    let openssl = |words: &[&str]| {
        assert!(Command::new("openssl").args(words).status().expect("openssl runs").success());
    };
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", &place("key")]);
    openssl(&["pkey", "-in", &place("key"), "-pubout", "-out", &place("public")]);
    let mut run = Run::allowing("example.com").option("--record-key", &place("key"));
    run.logs = scratch.path().join("logs");
    let logs = run.logs.display().to_string();
    let line = format!("cat {}; {MIXED}", place("key"));
    let output = run.spawn(&line).wait_with_output().expect("awf ends");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("PRIVATE"), "{output:#?}");
    let words = ["logs", "verify", "--source", &logs, "--public-key", &place("public")];
    let verified = said(&words);
    assert!(verified.contains("ok    signature"), "{verified}");
    let file = Path::new(&logs).join("egress.jsonl");
    let text = fs::read_to_string(&file).expect("a record");
    fs::write(&file, text.replacen("denied.example.net", "denied.example.com", 1)).expect("write");
    let output = read(&words);
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
}
