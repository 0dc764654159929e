//! The record itself: the agent cannot forge a line of it, cut it short, or hide an attempt among others.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use awf_tests::{Outcome, Run, Scratch, attempts, lab};
use serde_json::Value;
use xtask::vectors::report::End;

use crate::dialogue::{Dialogue, Step};
use crate::probe::{PROBE, case, talk};
use crate::probe::{control, hold, told, with_probe};
use crate::wire::{PROXY, connect, get, hello_with_raw_name, say};

/// A Python line that calls itself by hostile names and is refused under each.
const HOSTILE: &str = r#"
import socket
names = [b'a"}\n{"x":1}', b'\x1b[2J\x07', b'\xff\xfe\x80', b'x\ty\rz', b'\\u0000', b'"']
for port, name in enumerate(names, 7000):
    open('/proc/self/comm', 'wb').write(name)
    try: socket.create_connection(('203.0.115.77', port)); raise SystemExit(1)
    except (ConnectionRefusedError, PermissionError): pass
"#;

/// Why nothing of the kind is tried without awf.
const NO_RECORD: Option<&str> = Some("without awf there is no record to forge");

/// Whether a text could confuse a terminal or a reader of lines.
fn is_clean(text: &str) -> bool {
    text.chars().all(|character| character == '\n' || !character.is_control())
}

/// Every line is one record of this run; the reader has parsed them already.
#[track_caller]
fn are_sound(outcome: &Outcome) {
    let run = &outcome.records[0]["run"];
    for record in &outcome.records {
        let keys = record.as_object().expect("a record is an object");
        assert_eq!((&record["_schema"], &record["run"]), (&Value::from("awf-egress/v1"), run));
        assert!(!keys.contains_key("x"), "{record}");
    }
    assert!(is_clean(&outcome.access_log), "{:?}", outcome.access_log);
}

#[test]
fn a_hostile_task_name_makes_one_honest_line() {
    let line = format!("{}\n", HOSTILE.replace('\'', "'\"'\"'"));
    let outcome = Run::allowing("example.com").run(&format!("python3 -c '{line}'")).succeeded();
    are_sound(&outcome);
    for (number, comm) in [
        "a\"}\n{\"x\":1}",
        "\u{1b}[2J\u{7}",
        "\u{fffd}\u{fffd}\u{fffd}",
        "x\ty\rz",
        "\\u0000",
        "\"",
    ]
    .into_iter()
    .enumerate()
    {
        let port = 7000 + number;
        let found = outcome.records_where(|record| record["port"] == port);
        assert_eq!(found.len(), 1, "{comm:?}: {:#?}", outcome.records);
        assert_eq!((&found[0]["comm"], &found[0]["verdict"]), (&comm.into(), &"deny".into()));
        told(&format!("comm-{number}"), End::Refused, true, NO_RECORD);
    }
}

#[test]
fn a_report_on_a_terminal_shows_no_control_characters_of_the_agent() {
    let script = HOSTILE.replace('\'', "'\"'\"'");
    let line = format!("python3 -c '{script}'; false");
    let outcome = Run::allowing("example.com").run(&line).failed();
    assert!(outcome.stderr.contains("203.0.115.77"), "{}", outcome.stderr);
    assert!(is_clean(&outcome.stderr), "{:?}", outcome.stderr);
    let marks = ["[INFO] ", "[SUCCESS] ", "[WARN] ", "Process exiting with code: "];
    let ours = |line: &str| marks.iter().any(|mark| line.starts_with(mark));
    assert!(outcome.stderr.lines().all(ours), "{:?}", outcome.stderr);
    told("report", End::Refused, true, NO_RECORD);
}

#[test]
fn a_hostile_name_in_a_hello_or_a_request_makes_one_honest_line() {
    let name = "a\"}\n{\"x\":1}\u{1b}[2J.bulk.test";
    let raw = |name: &str, to: &str, steps: Vec<Step>| Dialogue {
        name: name.to_owned(),
        to: to.to_owned(),
        udp: false,
        steps,
    };
    let dialogues = [
        raw("f-sni", "203.0.115.78:443", say(hello_with_raw_name(name.as_bytes()))),
        raw("f-host", "203.0.115.78:80", say(get("/", name))),
        raw(
            "f-path",
            PROXY,
            say(get("http://denied.example.net/\u{1b}[2J\"", "denied.example.net")),
        ),
        raw("f-connect", PROXY, say(connect(&format!("{name}:443")))),
        raw(
            "f-agent",
            PROXY,
            say("GET http://denied.example.net/ HTTP/1.1\r\nHost: denied.example.net\r\n\
                 User-Agent: a\" TCP_TUNNEL:HIER_DIRECT \u{1b}[2J\t{}\r\n\r\n"),
        ),
    ];
    let (answers, outcome) = talk(Run::allowing("example.com"), dialogues.iter());
    are_sound(&outcome);
    for name in answers.keys() {
        let found = outcome.records_where(|record| record["comm"] == name.as_str());
        assert!(!found.is_empty(), "{name} is not on record: {:#?}", outcome.records);
        assert!(found.iter().all(|record| record["verdict"] == "deny"), "{found:#?}");
        told(name, End::Refused, true, NO_RECORD);
    }
    let tunnelled = outcome.access_log.lines().filter(|line| line.contains("TCP_TUNNEL:HIER"));
    assert!(
        tunnelled.clone().all(|line| line.contains('"')),
        "{:?}",
        tunnelled.collect::<Vec<_>>()
    );
}

/// An attempt that must be on record, whatever was done to the record before.
const WITNESS: &str = "udp-443";

#[test]
fn nothing_the_agent_does_to_the_logs_place_removes_a_record() {
    // The logs lie in /tmp, which the sandbox shares with the host, and which the agent may write.
    let run = with_probe(Run::allowing("example.com"));
    let logs = run.logs.display().to_string();
    let script = format!(
        "{PROBE} fire 16 {WITNESS}; ls -la {logs}; \
         for f in egress.jsonl access.log; do : > {logs}/$f; echo forged >> {logs}/$f; \
         ln -sf /dev/null {logs}/$f; done; mv {logs} {logs}.away; rm -rf {logs}; mkdir -p {logs}; \
         echo '{{}}' > {logs}/egress.jsonl; {PROBE} fire 17 {WITNESS}; true"
    );
    let outcome = run.run(&script).succeeded();
    drop(fs::remove_dir_all(format!("{logs}.away")));
    let witnessed = outcome.records_where(|record| record["comm"] == WITNESS);
    assert_eq!(witnessed.len(), 2, "{outcome:#?}");
    are_sound(&outcome);
    assert!(!outcome.access_log.contains("forged"), "{}", outcome.access_log);
    // Positive control: whoever is outside the sandbox can do it.
    let scratch = Scratch::new("logs");
    let place = scratch.path().display().to_string();
    let line = format!("echo x > {place}/egress.jsonl; : > {place}/egress.jsonl; rm -r {place}");
    assert!(awf_tests::unconfined(&line).status.success(), "positive control");
    told("logs-place", End::Refused, true, None);
}

#[test]
fn a_link_where_a_log_would_be_is_not_followed() {
    for name in ["egress.jsonl", "access.log", "audit.jsonl", "cache.log"] {
        let scratch = Scratch::new("links");
        let victim = scratch.path().join("victim");
        fs::write(&victim, "as it was\n").unwrap();
        let run = |logs: &Path| {
            let mut command = lab().host_command(awf_tests::awf());
            command.arg("--proxy-logs-dir").arg(logs);
            command.arg("--audit-dir").arg(scratch.path().join("audit"));
            command.args(["--", "echo ran"]).output().unwrap()
        };
        let free = run(&scratch.path().join("free"));
        assert!(free.status.success() && free.stdout == b"ran\n", "positive control: {free:?}");
        let logs = scratch.path().join("logs");
        fs::create_dir(&logs).unwrap();
        symlink(&victim, logs.join(name)).unwrap();
        let output = run(&logs);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        assert!(output.stdout.is_empty(), "{name}: the command ran without a record: {output:?}");
        let error =
            format!("make {}: Too many levels of symbolic links", logs.join(name).display());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(&error), "{name}: {stderr}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was\n", "{name}");
        told(&format!("link-{name}"), End::Refused, false, None);
    }
}

#[test]
fn a_flood_hides_no_attempt_without_saying_so() {
    // The ring and the queue may overflow; then the loss is counted and said.
    let flood = "python3 -c \"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(40000):
    try: s.sendto(b'x', ('203.0.115.79', 443)); raise SystemExit(1)
    except (ConnectionRefusedError, PermissionError): pass\"";
    let run = with_probe(Run::allowing("example.com"));
    let outcome = run.run(&format!("{flood}; sleep 1; {PROBE} fire 18 {WITNESS}")).succeeded();
    are_sound(&outcome);
    let records = outcome.records_where(|record| record["address"] == "203.0.115.79");
    let recorded: usize = records.into_iter().map(attempts).sum();
    assert_eq!(outcome.records_where(|record| record["comm"] == WITNESS).len(), 1, "{recorded}");
    let said = outcome.stderr.lines().find(|line| line.contains("incomplete"));
    let lost: usize = said.map_or(0, |line| {
        let digits = |word: &str| word.parse().ok();
        line.split(|c: char| !c.is_ascii_digit()).find_map(digits).expect("a number")
    });
    assert_eq!(recorded + lost, 40_000, "{said:?}");
    told("flood", End::Refused, true, NO_RECORD);
}

#[test]
fn a_failed_attempt_between_allowed_ones_is_on_record_by_its_own_process() {
    let cases = [
        case(
            "h-denied",
            PROXY,
            say(connect("denied.example.net:443")),
            &["http 403"],
            ("deny", "deny-default"),
        ),
        case(
            "h-allowed",
            PROXY,
            say(get("http://example.com/", "example.com")),
            &["http 200"],
            ("allow", "allow-both-plain"),
        ),
    ];
    hold(Run::allowing("example.com"), &cases);
    control(&cases);
}
