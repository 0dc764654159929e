//! Running the probe inside and outside, and holding its answers against a table.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;

use awf_tests::{Outcome, Run, Scratch, unconfined};
use serde_json::Value;

use crate::dialogue::{Answer, Dialogue, Step};

/// The probe's path, the same inside and outside.
pub const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// A run in which the probe is there.
pub fn with_probe(run: Run) -> Run {
    run.option("--mount", &format!("{PROBE}:{PROBE}:ro"))
}

/// What the probe printed: one JSON object per line.
pub fn lines(stdout: &str) -> impl Iterator<Item = Value> {
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
}

/// A conversation and what must become of it inside.
#[derive(Debug)]
pub struct Case {
    pub dialogue: Dialogue,
    /// Summaries (see [`summary`]) that are right.
    pub answers: &'static [&'static str],
    /// Verdict and rule of the record, if there must be one.
    pub record: Option<(&'static str, &'static str)>,
}

/// A TCP conversation.
pub fn case(
    name: &str,
    to: &str,
    steps: Vec<Step>,
    answers: &'static [&'static str],
    record: (&'static str, &'static str),
) -> Case {
    assert!(name.len() <= 15, "{name} does not fit into a task's name");
    let dialogue = Dialogue { name: name.to_owned(), to: to.to_owned(), udp: false, steps };
    Case { dialogue, answers, record: Some(record) }
}

/// Holds the conversations inside, and asserts every answer and record.
#[track_caller]
pub fn hold(run: Run, cases: &[Case]) -> (BTreeMap<String, Answer>, Outcome) {
    let (answers, outcome) = talk(run, cases.iter().map(|case| &case.dialogue));
    let mut wrong = Vec::new();
    for case in cases {
        let name = &case.dialogue.name;
        let answer = summary(&answers[name]);
        if !case.answers.contains(&answer.as_str()) {
            wrong.push(format!("{name}: answered {answer:?}, not {:?}", case.answers));
        }
        let Some((verdict, rule)) = case.record else { continue };
        let records = outcome.records_where(|record| record["comm"] == name.as_str());
        // A connection that is still open when the command ends is cut; a busy machine may notice its end that late.
        let by = |record: &Value| {
            record["rule"] == rule || verdict == "allow" && record["rule"] == "cut"
        };
        let complete = |record: &Value| record["pid"].is_u64() && record["uid"].is_u64();
        let right =
            |record: &&Value| complete(record) && record["verdict"] == verdict && by(record);
        if !records.iter().copied().any(|record| right(&record)) {
            wrong.push(format!(
                "{name}: no record says {verdict} by {rule}; there are {records:#?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}\nawf said: {}", wrong.join("\n"), outcome.stderr);
    (answers, outcome)
}

/// Holds conversations inside.
pub fn talk<'a>(
    run: Run,
    dialogues: impl Iterator<Item = &'a Dialogue>,
) -> (BTreeMap<String, Answer>, Outcome) {
    let script = serde_json::to_vec(&dialogues.collect::<Vec<_>>()).unwrap();
    let outcome = with_probe(run).stdin(script).run(&format!("{PROBE} talk")).succeeded();
    (answers(&outcome.stdout), outcome)
}

/// Holds conversations in the lab without awf.
pub fn talk_outside<'a>(dialogues: impl Iterator<Item = &'a Dialogue>) -> BTreeMap<String, Answer> {
    let scratch = Scratch::new("script");
    let script = scratch.path().join("dialogues.json");
    let text = serde_json::to_vec(&dialogues.collect::<Vec<_>>()).unwrap();
    fs::File::create(&script).unwrap().write_all(&text).unwrap();
    let output = unconfined(&format!("{PROBE} talk < {}", script.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    answers(&String::from_utf8_lossy(&output.stdout))
}

/// Asserts that each conversation reaches a server without awf: whatever it says, it accepts the connection.
#[track_caller]
pub fn reach_outside<'a>(cases: impl Iterator<Item = &'a Case>) {
    for (name, answer) in talk_outside(cases.map(|case| &case.dialogue)) {
        assert_eq!(answer.errno, 0, "positive control {name}: {}", summary(&answer));
    }
}

fn answers(stdout: &str) -> BTreeMap<String, Answer> {
    let answers = lines(stdout).map(|line| serde_json::from_value::<Answer>(line).unwrap());
    answers.map(|answer| (answer.name.clone(), answer)).collect()
}

/// What was heard in a few words: `tls` (a server's hello), `alert N`, `http N` (a CONNECT's 200 is followed by what came
/// after it), `errno N`, `closed`, `silence`, else `other`.
pub fn summary(answer: &Answer) -> String {
    if answer.errno != 0 {
        return format!("errno {}", answer.errno);
    }
    summarise(&answer.heard, answer.closed)
}

fn summarise(heard: &[u8], closed: bool) -> String {
    match heard {
        [] if closed => "closed".to_owned(),
        [] => "silence".to_owned(),
        [22, 3, ..] => "tls".to_owned(),
        [21, 3, _, 0, 2, _, description, ..] => format!("alert {description}"),
        _ => {
            let text = String::from_utf8_lossy(heard);
            let Some(status) = text.strip_prefix("HTTP/1.1 ").or(text.strip_prefix("HTTP/1.0 "))
            else {
                return "other".to_owned();
            };
            let status = &status[..3.min(status.len())];
            let tunnel = b"Connection established\r\n\r\n";
            match heard.windows(tunnel.len()).position(|part| part == tunnel) {
                Some(at) => {
                    format!("http {status}, {}", summarise(&heard[at + tunnel.len()..], closed))
                }
                None => format!("http {status}"),
            }
        }
    }
}
