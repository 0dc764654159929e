//! Running the probe inside and outside, and holding its answers against a table.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;

use awf_tests::{Outcome, Run, Scratch, kernel_version, unconfined};
use serde_json::Value;

use xtask::vectors::report::{End, Kind, Line, tell};

use crate::dialogue::{Answer, Dialogue, Step};
use crate::wire::PROXY;

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

/// Holds the conversations inside, asserts every answer and record, and tells the report of each.
#[track_caller]
pub fn hold(run: Run, cases: &[Case]) -> (BTreeMap<String, Answer>, Outcome) {
    let (answers, outcome) = talk(run, cases.iter().map(|case| &case.dialogue));
    let mut wrong = Vec::new();
    for case in cases {
        let name = &case.dialogue.name;
        let answer = summary(&answers[name]);
        if !is_right(&answer, case.answers) {
            wrong.push(format!("{name}: answered {answer:?}, not {:?}", case.answers));
        }
        let Some((verdict, rule)) = case.record else { continue };
        let records = outcome.records_where(|record| record["comm"] == name.as_str());
        let complete = |record: &Value| record["pid"].is_u64() && record["uid"].is_u64();
        let right = |record: &&Value| {
            complete(record) && record["verdict"] == verdict && record["rule"] == rule
        };
        if !records.iter().copied().any(|record| right(&record)) {
            wrong.push(format!(
                "{name}: no record says {verdict} by {rule}; there are {records:#?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}\nawf said: {}", wrong.join("\n"), outcome.stderr);
    for case in cases {
        let name = &case.dialogue.name;
        let is_allowed = case.record.is_some_and(|(verdict, _rule)| verdict == "allow");
        // What is allowed works, and thereby is its own control.
        let (end, why) = if is_allowed {
            (End::Allowed, None)
        } else {
            (
                End::Refused,
                Some("nobody answers without awf at what it names, or a twin is controlled"),
            )
        };
        told(name, end, case.record.is_some(), why);
    }
    (answers, outcome)
}

/// Whether an answer is one of those; before 5.18 a program's refusal is always EPERM.
fn is_right(answer: &str, answers: &[&str]) -> bool {
    let is_refusal = || answers.iter().any(|right| right.starts_with("errno "));
    answers.contains(&answer) || kernel_version() < (5, 18) && answer == "errno 1" && is_refusal()
}

/// Connects without awf to what each conversation names, and tells the report where that works. Called last in a test: it
/// makes the very traffic that must not be there before.
pub fn control(cases: &[Case]) {
    let destinations: Vec<Dialogue> =
        cases.iter().filter_map(|case| connection(&case.dialogue)).collect();
    for (name, answer) in talk_outside(destinations.iter()) {
        if answer.errno == 0 {
            told(&name, End::Allowed, false, None);
        }
    }
}

/// Tells the report of a conversation, under the name of its test.
pub fn told(name: &str, end: End, recorded: bool, uncontrolled: Option<&str>) {
    let name = format!("{}/{name}", std::thread::current().name().unwrap_or_default());
    let uncontrolled = uncontrolled.map(str::to_owned);
    tell(&Line { kind: Kind::Conversations, name, end, recorded, uncontrolled }).unwrap();
}

/// The connection alone that a conversation is about: the proxy exists only inside, so for a request to it what it names.
fn connection(dialogue: &Dialogue) -> Option<Dialogue> {
    let to = if dialogue.to == PROXY { named(&dialogue.steps)? } else { dialogue.to.clone() };
    Some(Dialogue { to, steps: Vec::new(), ..dialogue.clone() })
}

/// `host:port` of a request's first line, as far as anybody could connect to it.
fn named(steps: &[Step]) -> Option<String> {
    let Some(Step::Say(bytes)) = steps.first() else { return None };
    let text = String::from_utf8_lossy(bytes);
    let mut words = text.split_whitespace();
    let (_method, target) = (words.next()?, words.next()?);
    let authority = target.split_once("://").map_or(target, |(_scheme, rest)| rest);
    let authority = authority.split('/').next()?;
    let has_port =
        authority.rsplit_once(':').is_some_and(|(_host, port)| port.parse::<u16>().is_ok());
    Some(if has_port { authority.to_owned() } else { format!("{authority}:80") })
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
        told(&name, End::Allowed, false, None);
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
