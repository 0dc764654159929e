//! The proposal as text: for people, for `--allow-domains`, for `--ruleset-file`, for programs.
//!
//! Must never: print what the command chose (names of programs, names it asked for) other than escaped.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::against::Difference;
use super::evidence::{Aside, Class, Evidence, Gathered, Process};
use super::proposal::{Entry, Proposal};
use crate::observe::record::to_line;

/// Members of a section shown at most.
const SHOWN: usize = 50;

/// Everything that is shown.
pub(super) struct Shown<'a> {
    /// The list.
    pub proposal: &'a Proposal,
    /// What records told.
    pub gathered: &'a Gathered,
    /// The comparison, if one was asked for.
    pub difference: Option<&'a Difference>,
    /// Why the list may be too short.
    pub warnings: &'a [String],
    /// How many records were read.
    pub records: usize,
}

/// What is not in the list, section by section.
const SECTIONS: [(Class, &str, &str); 6] = [
    (Class::AnotherFlag, "needs_another_flag", "Needs another flag, if it is needed"),
    (Class::Never, "cannot_be_allowed", "Cannot be allowed"),
    (Class::Denied, "denied", "Not counted; --denied counts it"),
    (Class::Unanswered, "unanswered", "Left out, as nobody answered"),
    (Class::LookedUp, "looked_up", "Left out, as it was only looked up"),
    (Class::Given, "given", "Open without a flag"),
];

impl Shown<'_> {
    /// For people.
    pub(super) fn pretty(&self) -> String {
        let mut text = format!(
            "Entries that cover what was needed: {} (attempts on record: {}, records: {})\n",
            self.proposal.entries.len(),
            self.gathered.attempts,
            self.records
        );
        for warning in self.warnings {
            line(&mut text, &format!("! {}", safe(warning)));
        }
        for entry in &self.proposal.entries {
            line(&mut text, &format!("\n  {}", safe(&entry.text)));
            for fact in facts(entry) {
                line(&mut text, &format!("      {fact}"));
            }
        }
        if !self.proposal.entries.is_empty() {
            line(&mut text, &format!("\n--allow-domains \"{}\"", safe(&self.proposal.list())));
        }
        if !self.proposal.unlistable.is_empty() {
            line(&mut text, "\nNo entry can stand for:");
            for name in self.proposal.unlistable.iter().take(SHOWN) {
                line(&mut text, &format!("  {}", safe(name)));
            }
        }
        for (class, _key, title) in SECTIONS {
            self.section(&mut text, class, title);
        }
        self.comparison(&mut text);
        text
    }

    fn asides(&self, class: Class) -> impl Iterator<Item = (&Aside, &Evidence)> {
        self.gathered.asides.iter().filter(move |(aside, _evidence)| aside.class == class)
    }

    fn section(&self, text: &mut String, class: Class, title: &str) {
        let count = self.asides(class).count();
        if count == 0 {
            return;
        }
        line(text, &format!("\n{title}:"));
        for (aside, evidence) in self.asides(class).take(SHOWN) {
            let by = evidence.by.keys().find_map(title_of).map(|it| format!(", by {it}"));
            let times = times(evidence.attempts);
            let (target, by) = (safe(&aside.target), by.unwrap_or_default());
            line(text, &format!("  {target} ({times}{by}): {}", safe(&aside.remedy)));
        }
        if count > SHOWN {
            line(text, &format!("  ... and {} more", count - SHOWN));
        }
    }

    fn comparison(&self, text: &mut String) {
        let Some(Difference { missing, unused, used }) = self.difference else { return };
        line(text, "\nCompared with the list:");
        for (sign, entries, meaning) in [
            ('+', missing, "needed, but not there"),
            ('-', unused, "there, but not used"),
            ('=', used, "there and used"),
        ] {
            for entry in entries {
                line(text, &format!("{sign} {}  ({meaning})", safe(entry)));
            }
        }
    }

    /// For `--ruleset-file`.
    pub(super) fn ruleset(&self) -> String {
        let mut text = "# Proposed by awf learn.\n".to_owned();
        for warning in self.warnings {
            line(&mut text, &format!("# The list may be too short: {}", safe(warning)));
        }
        line(&mut text, "version: 1");
        if self.proposal.entries.is_empty() {
            line(&mut text, "rules: []");
            return text;
        }
        line(&mut text, "rules:");
        for Entry { text: entry, evidence, .. } in &self.proposal.entries {
            let domain = entry.strip_prefix('=');
            let below = domain.is_none();
            // An entry holds no character that JSON or YAML would escape.
            line(&mut text, &format!("  - domain: \"{}\"", domain.unwrap_or(entry)));
            let (times, last) = (times(evidence.attempts), safe(&evidence.last));
            line(&mut text, &format!("    subdomains: {below} # {times}, last {last}"));
        }
        text
    }

    /// For programs: one line of printable ASCII.
    pub(super) fn json(&self) -> Result<String> {
        let entries: Vec<Value> = self.proposal.entries.iter().map(json_of).collect();
        let mut value = json!({
            "_schema": "awf-learn/v1",
            "records": self.records,
            "attempts": self.gathered.attempts,
            "warnings": self.warnings,
            "allow_domains": self.proposal.list(),
            "entries": entries,
            "unlistable": self.proposal.unlistable,
        });
        if let Value::Object(members) = &mut value {
            for (class, key, _title) in SECTIONS {
                let asides = self.asides(class).map(|(aside, evidence)| {
                    let mut value = json_of_evidence(evidence);
                    if let Value::Object(members) = &mut value {
                        members.insert("target".to_owned(), aside.target.clone().into());
                        members.insert("remedy".to_owned(), aside.remedy.clone().into());
                    }
                    value
                });
                members.insert(key.to_owned(), asides.collect());
            }
            if let Some(difference) = self.difference {
                members.insert("against".to_owned(), serde_json::to_value(difference)?);
            }
        }
        Ok(String::from_utf8(to_line(&value)?)?)
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _always = writeln!(text, "{line}").is_ok();
}

/// What the command chose, as a terminal may see it.
fn safe(text: &str) -> String {
    text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

fn times(attempts: u64) -> String {
    match attempts {
        1 => "1 attempt".to_owned(),
        attempts => format!("{attempts} attempts"),
    }
}

/// Evidence in lines.
fn facts(entry: &Entry) -> Vec<String> {
    let Entry { names, evidence, .. } = entry;
    let ports: Vec<&str> = [(evidence.uses.tls, "TLS 443"), (evidence.uses.http, "HTTP 80")]
        .into_iter()
        .filter_map(|(used, port)| used.then_some(port))
        .collect();
    let mut first = format!(
        "{}, {}; {} B out, {} B in",
        times(evidence.attempts),
        ports.join(" and "),
        evidence.bytes_out,
        evidence.bytes_in
    );
    for (count, what) in
        [(evidence.let_through, "let through by audit mode"), (evidence.refused, "refused")]
    {
        if count > 0 {
            first = format!("{first}; {count} of them {what}");
        }
    }
    let when = if evidence.first == evidence.last {
        format!("at {}", safe(&evidence.first))
    } else {
        format!("from {} to {}", safe(&evidence.first), safe(&evidence.last))
    };
    let mut lines = vec![first, when];
    let by: Vec<String> = evidence
        .by
        .iter()
        .filter_map(|(process, count)| Some(format!("{} ({count})", title_of(process)?)))
        .collect();
    if !by.is_empty() {
        let others = if evidence.by_others > 0 { " and others" } else { "" };
        lines.push(format!("by {}{others}", by.join(", ")));
    }
    if names.len() > 1 {
        let more = if names.len() > 8 { ", ..." } else { "" };
        let names: Vec<String> = names.iter().take(8).map(|name| safe(name)).collect();
        lines.push(format!("for {}{more}", names.join(", ")));
    }
    lines
}

/// A process in words.
fn title_of(process: &Process) -> Option<String> {
    match (&process.exe, &process.comm) {
        (Some(exe), Some(comm)) if exe.rsplit('/').next() == Some(comm) => Some(safe(exe)),
        (Some(exe), Some(comm)) => Some(format!("{} as \"{}\"", safe(exe), safe(comm))),
        (Some(one), None) | (None, Some(one)) => Some(safe(one)),
        (None, None) => None,
    }
}

fn json_of(entry: &Entry) -> Value {
    let mut value = json_of_evidence(&entry.evidence);
    if let Value::Object(members) = &mut value {
        members.insert("entry".to_owned(), entry.text.clone().into());
        members.insert("names".to_owned(), entry.names.clone().into());
    }
    value
}

fn json_of_evidence(evidence: &Evidence) -> Value {
    let processes = evidence.by.iter().map(
        |(process, count)| json!({ "exe": process.exe, "comm": process.comm, "attempts": count }),
    );
    json!({
        "attempts": evidence.attempts,
        "first": evidence.first,
        "last": evidence.last,
        "bytes_out": evidence.bytes_out,
        "bytes_in": evidence.bytes_in,
        "tls": evidence.uses.tls,
        "http": evidence.uses.http,
        "let_through": evidence.let_through,
        "refused": evidence.refused,
        "processes": processes.collect::<Vec<_>>(),
        "attempts_of_others": evidence.by_others,
    })
}
