//! Refusals as SARIF 2.1.0, for code scanning: one result for each rule, destination and process.
//!
//! Takes the record, gives one document. Must never hold more results than code scanning takes, or a text of the agent's
//! that would be a link: SARIF reads `[text](place)` in messages.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use super::opened::RunLines;
use super::text;
use crate::commands::lines::Line;
use crate::observe::digest::sha256;
use crate::observe::record::{Record, Verdict, to_line};
use crate::observe::rules::{self, Weight, sentence};
use crate::observe::summary::Summary;

/// Results at most: what code scanning shows of one run (GitHub's documentation of SARIF support, 2026).
const MAX_RESULTS: usize = 5_000;
/// Results of one rule at most: noise under one rule must not push out what another one refused.
const MAX_OF_RULE: usize = 1_000;
/// Rules at most: there are some dozens, unless the record was changed.
const MAX_RULES: usize = 100;
/// What a path in a URI may not hold as it is (RFC 3986, 3.3).
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// What tells results of one rule apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    destination: String,
    process: String,
}

/// Attempts with one key.
#[derive(Debug)]
struct Alike {
    /// The first of them, and its line.
    first: Box<Record>,
    line: u64,
    count: u64,
}

/// What one rule refused.
#[derive(Debug, Default)]
struct OfRule {
    alike: BTreeMap<Key, Alike>,
    /// Attempts beyond [`MAX_OF_RULE`].
    beyond: u64,
}

#[derive(Debug, Default)]
struct Refusals {
    rules: BTreeMap<String, OfRule>,
    /// Attempts beyond [`MAX_RULES`].
    beyond: u64,
    damaged: u64,
}

/// Writes the document; gives how many lines were damaged.
pub fn write(
    record: RunLines<impl BufRead>,
    summary: Option<&Summary>,
    out: &mut dyn Write,
) -> io::Result<u64> {
    let mut refusals = Refusals::default();
    record.each(|number, line| {
        match line {
            Line::Attempt(record) if !record.is_of_command() => {}
            Line::Attempt(record) => refusals.add(record, number),
            Line::Damaged => refusals.damaged += 1,
            Line::Summary(_) | Line::Signature(_) => {}
        }
        Ok(())
    })?;
    out.write_all(&to_line(&refusals.document(summary))?)?;
    Ok(refusals.damaged)
}

impl Refusals {
    /// Takes what was refused, or would have been without audit mode.
    fn add(&mut self, record: Box<Record>, line: u64) {
        let rule = match (record.verdict, &record.would_deny) {
            (Verdict::Deny, _) => record.rule.clone(),
            (Verdict::Allow, Some(rule)) => rule.clone(),
            (Verdict::Allow, None) | (Verdict::Error, _) => return,
        };
        let process = record.process.exe.as_deref().or(record.process.comm.as_deref());
        let process = process.unwrap_or_default().to_owned();
        let key = Key { destination: text::destination(&record), process };
        if self.rules.len() >= MAX_RULES && !self.rules.contains_key(&rule) {
            self.beyond += record.count;
            return;
        }
        let of_rule = self.rules.entry(rule).or_default();
        if let Some(alike) = of_rule.alike.get_mut(&key) {
            alike.count += record.count;
        } else if of_rule.alike.len() < MAX_OF_RULE {
            of_rule.alike.insert(key, Alike { count: record.count, first: record, line });
        } else {
            of_rule.beyond += record.count;
        }
    }

    /// So many results of each rule that all together are few enough.
    fn share(&self) -> usize {
        let fits = |share: &usize| {
            let results = self.rules.values().map(|of_rule| of_rule.alike.len().min(*share));
            results.sum::<usize>() <= MAX_RESULTS
        };
        (0..=MAX_OF_RULE).rev().find(fits).unwrap_or_default()
    }

    fn document(&self, summary: Option<&Summary>) -> Value {
        let (share, workflow) = (self.share(), summary.and_then(workflow));
        let mut results = Vec::new();
        for (index, (rule, of_rule)) in self.rules.iter().enumerate() {
            for (key, alike) in of_rule.alike.iter().take(share) {
                results.push(result((rule, index), key, alike, workflow.as_deref()));
            }
        }
        let job = summary.and_then(|summary| summary.terms.github.get("GITHUB_JOB"));
        let job = job.map(|job| format!("{}/", utf8_percent_encode(job, PATH)));
        json!({
            "version": "2.1.0",
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "runs": [{
                "tool": { "driver": {
                    "name": "awf",
                    "version": summary.map_or(env!("CARGO_PKG_VERSION"), |summary| &summary.terms.awf),
                    "rules": self.rules.keys().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
                } },
                "automationDetails": { "id": format!("awf/{}", job.unwrap_or_default()) },
                "columnKind": "unicodeCodePoints",
                "invocations": [self.invocation(summary)],
                "results": results,
            }],
        })
    }

    /// The run, and what is missing of it.
    fn invocation(&self, summary: Option<&Summary>) -> Value {
        let lost = summary.map_or(0, |summary| summary.lost.total());
        let mut notes = Vec::new();
        let mut note = |level: &str, text: String| {
            notes.push(json!({ "level": level, "message": { "text": text } }));
        };
        if self.damaged > 0 {
            note("error", format!("{} lines of the record are damaged.", self.damaged));
        }
        if lost > 0 {
            note("error", format!("{lost} attempts are not on record."));
        }
        let share = self.share();
        let left_out = |of_rule: &OfRule| {
            of_rule.alike.values().skip(share).map(|alike| alike.count).sum::<u64>()
                + of_rule.beyond
        };
        let rules = self
            .rules
            .iter()
            .map(|(rule, of_rule)| (without_links(&text::shown(rule)), left_out(of_rule)));
        for (rule, count) in rules.chain([("further rules".to_owned(), self.beyond)]) {
            if count > 0 {
                note("warning", format!("{rule}: {count} more attempts are in the record only."));
            }
        }
        let Some(summary) = summary else {
            note("error", "The record has no summary: the run goes on, or was killed.".to_owned());
            return json!({ "executionSuccessful": false, "toolExecutionNotifications": notes });
        };
        if summary.terms.mode == "audit" {
            note("warning", "Audit mode: names that are not allowed were let through.".to_owned());
        }
        let mut invocation = json!({
            "executionSuccessful": summary.complete,
            "startTimeUtc": summary.began,
            "endTimeUtc": summary.time,
            "toolExecutionNotifications": notes,
        });
        if let (Some(code), Value::Object(members)) = (summary.exit_code, &mut invocation) {
            members.insert("exitCode".to_owned(), code.into());
        }
        invocation
    }
}

const fn level(weight: Weight) -> &'static str {
    match weight {
        Weight::Usual => "note",
        Weight::Notable => "warning",
        Weight::Grave => "error",
    }
}

/// A rule, as code scanning shows it.
fn descriptor(rule: &str) -> Value {
    let about = rules::about(rule);
    let (help, remedy) = (about.meaning, sentence(about.remedy.text()));
    let level = level(about.weight);
    let severity = match about.weight {
        Weight::Usual => "2.0",
        Weight::Notable => "5.0",
        Weight::Grave => "8.0",
    };
    json!({
        "id": rule,
        "name": pascal(rule),
        "shortDescription": { "text": sentence(about.title) },
        "fullDescription": { "text": help },
        "help": {
            "text": format!("{help} {remedy}"),
            "markdown": format!("{help}\n\n**What to do:** {remedy}"),
        },
        "defaultConfiguration": { "level": level },
        "properties": { "tags": ["security", "network"], "precision": "very-high", "security-severity": severity },
    })
}

/// Attempts that one rule, whose place among all rules is known, refused alike.
fn result((rule, index): (&str, usize), key: &Key, alike: &Alike, workflow: Option<&str>) -> Value {
    let about = rules::about(rule);
    let level = level(about.weight);
    let record = Record { count: alike.count, ..(*alike.first).clone() };
    let message =
        format!("{}. {}", without_links(&text::sentence(&record)), sentence(about.remedy.text()));
    let line = json!({ "artifactLocation": { "uri": "egress.jsonl" }, "region": { "startLine": alike.line } });
    // Code scanning shows results at a file of the repository: where the job is written, if that is known.
    let place = match workflow {
        Some(file) => json!({ "artifactLocation": { "uri": file }, "region": { "startLine": 1 } }),
        None => line.clone(),
    };
    let identity = [rule, &*key.destination, &*key.process].join("\0");
    json!({
        "ruleId": rule,
        "ruleIndex": index,
        "level": level,
        "message": { "text": message },
        "occurrenceCount": alike.count,
        "locations": [{ "physicalLocation": place }],
        "relatedLocations": [{
            "id": 1,
            "physicalLocation": line,
            "message": { "text": "The first of these attempts in the record" },
        }],
        "partialFingerprints": { "awf/v1": sha256(identity.as_bytes()) },
    })
}

/// `deny-default` as `DenyDefault`, which is how SARIF wants names of rules.
fn pascal(rule: &str) -> String {
    let words = rule.split(|character: char| !character.is_ascii_alphanumeric());
    words
        .flat_map(|word| {
            let mut rest = word.chars();
            let first = rest.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(rest)
        })
        .collect()
}

/// The workflow's file in its repository: `owner/name/.github/workflows/ci.yml@refs/heads/main` has it.
fn workflow(summary: &Summary) -> Option<String> {
    let github = &summary.terms.github;
    let (path, _reference) = github.get("GITHUB_WORKFLOW_REF")?.split_once('@')?;
    let path = path.strip_prefix(github.get("GITHUB_REPOSITORY")?)?.strip_prefix('/')?;
    let inside =
        path.starts_with(".github/workflows/") && !path.split('/').any(|part| part == "..");
    inside.then(|| utf8_percent_encode(path, PATH).to_string())
}

/// The text with everything escaped that SARIF would read as a link (2.1.0, 3.11.6).
fn without_links(text: &str) -> String {
    text.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::golden;
    use crate::observe::record::{Layer, ProcessInfo};

    fn exported(record: &[u8], summary: Option<&Summary>) -> Value {
        let mut out = Vec::new();
        write(RunLines::all(record), summary, &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn the_golden_record_is_this_document() {
        let summary = super::super::tests::summary();
        let document = exported(golden::RECORD.as_bytes(), Some(&summary));
        golden::check("export.sarif.json", &format!("{document:#}\n"));
    }

    #[test]
    fn repeats_are_one_result_with_their_number() {
        let line = Record::denied("t".into(), "r".into(), Layer::Kernel).to_line().unwrap();
        let document = exported(&line.repeat(3), None);
        let results = document["runs"][0]["results"].as_array().unwrap();
        assert_eq!((results.len(), results[0]["occurrenceCount"].as_u64()), (1, Some(3)));
    }

    fn refused(rule: &str, number: usize) -> Vec<u8> {
        let name = Some(format!("n{number:05}.example").into());
        let record = Record {
            rule: rule.to_owned(),
            name,
            ..Record::denied("t".into(), "r".into(), Layer::Relay)
        };
        record.to_line().unwrap()
    }

    #[test]
    fn noise_under_some_rules_does_not_push_out_what_another_refused() {
        let mut lines: Vec<u8> =
            (0..MAX_OF_RULE + 5).flat_map(|number| refused("deny-default", number)).collect();
        lines.extend(refused("socket-type", 0));
        let run = exported(&lines, None)["runs"][0].clone();
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), MAX_OF_RULE + 1);
        assert_eq!(results[MAX_OF_RULE]["ruleId"], "socket-type");
        let notes = run["invocations"][0]["toolExecutionNotifications"].to_string();
        assert!(notes.contains("deny-default: 5 more attempts are in the record only"), "{notes}");
    }

    #[test]
    fn many_rules_share_what_code_scanning_takes() {
        let mut refusals = Refusals::default();
        for rule in 0..10 {
            for number in 0..MAX_OF_RULE {
                let Line::Attempt(record) = Line::parse(&refused(&format!("rule-{rule}"), number))
                else {
                    panic!("no attempt")
                };
                refusals.add(record, 1);
            }
        }
        assert_eq!(refusals.share(), MAX_RESULTS / 10);
        let document = refusals.document(None);
        let run = &document["runs"][0];
        assert_eq!(run["results"].as_array().unwrap().len(), MAX_RESULTS);
        let notes = run["invocations"][0]["toolExecutionNotifications"].to_string();
        assert_eq!(notes.matches("500 more attempts").count(), 10);
    }

    #[test]
    fn a_name_cannot_be_a_link() {
        let comm = Some("[click](https://evil.example)".to_owned());
        let process = ProcessInfo { comm, ..ProcessInfo::default() };
        let record = Record { process, ..Record::denied("t".into(), "r".into(), Layer::Kernel) };
        let document = exported(&record.to_line().unwrap(), None);
        let text = document["runs"][0]["results"][0]["message"]["text"].as_str().unwrap();
        assert!(text.contains(r"\[click\](https"), "{text}");
    }

    #[test]
    fn results_are_shown_at_the_workflow_if_it_is_known() {
        let mut summary = super::super::tests::summary();
        let file = "o/r/.github/workflows/c i.yml@refs/heads/main".to_owned();
        summary.terms.github.insert("GITHUB_WORKFLOW_REF".to_owned(), file);
        assert_eq!(workflow(&summary).as_deref(), Some(".github/workflows/c%20i.yml"));
        let file = "o/r/.github/workflows/../../x@y".to_owned();
        summary.terms.github.insert("GITHUB_WORKFLOW_REF".to_owned(), file);
        assert_eq!(workflow(&summary), None);
    }
}
