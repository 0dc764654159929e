//! Lines of a record for people. Pure.
//!
//! When, what became of it, who, what, and by which rule: in one line where there is room, else the rule on a line of its own.
//! Nothing is cut off, since the end of a name may be what matters.

use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::commands::lines::Line;
use crate::commands::shown::{Colour, Screen, shown};
use crate::observe::record::{Record, Verdict};
use crate::observe::summary::{Attempts, Summary};

/// Columns of who: the longest task name (`TASK_COMM_LEN`) beside a pid of seven digits, if it is not hostile.
const WHO: usize = 23;
/// Columns before who: time and mark.
const BEFORE: usize = 19;
/// Bytes of a damaged line that are shown.
const DAMAGED: usize = 200;

/// Writes lines one below the other.
#[derive(Debug)]
pub(super) struct Pretty {
    screen: Screen,
    /// The day of the last line: said when it changes.
    day: String,
}

impl Pretty {
    pub(super) const fn new(screen: Screen) -> Self {
        Self { screen, day: String::new() }
    }

    /// A line, with its line feed; where several runs are followed, with the id of its run.
    pub(super) fn line(&mut self, line: &Line, text: &[u8], run: Option<&str>) -> String {
        let prefix = run.map(|run| format!("{} ", shown(short(run)))).unwrap_or_default();
        match line {
            Line::Attempt(record) => self.attempt(record, &prefix),
            Line::Summary(summary) => {
                let mark = if summary.complete { Colour::Green } else { Colour::Red };
                self.entry(&prefix, &summary.time, (mark, "end"), &[totals(summary)])
            }
            Line::Signature(signature) => {
                let told = format!("by {} (awf logs verify checks it)", shown(&signature.key));
                self.entry(&prefix, "", (Colour::Grey, "sign"), &[told])
            }
            Line::Damaged => {
                let text = text.get(..DAMAGED).unwrap_or(text).trim_ascii_end();
                let told = shown(&String::from_utf8_lossy(text));
                self.entry(
                    &prefix,
                    "",
                    (Colour::Yellow, "?????"),
                    &["damaged: ".to_owned() + &told],
                )
            }
        }
    }

    fn attempt(&mut self, record: &Record, prefix: &str) -> String {
        let mark = match (record.verdict, &record.would_deny) {
            (Verdict::Allow, None) => (Colour::Green, "allow"),
            (Verdict::Allow, Some(_)) => (Colour::Yellow, "audit"),
            (Verdict::Deny, _) => (Colour::Red, "DENY"),
            (Verdict::Error, _) => (Colour::Yellow, "ERROR"),
        };
        let who = who(record);
        let room = WHO.saturating_sub(who.width());
        let mut what = format!("{who}{} {}", " ".repeat(room), what(record));
        if record.count != 1 {
            what += &format!(" \u{d7}{}", record.count);
        }
        let would = record.would_deny.as_ref();
        let would = would.map(|rule| format!(" (otherwise {})", shown(rule))).unwrap_or_default();
        let why = format!("{}{would}: {}", shown(&record.rule), shown(&record.reason));
        self.entry(prefix, &record.time, mark, &[what, why])
    }

    /// Time and mark, then the parts: one behind the other if there is room, else one below the other.
    fn entry(
        &mut self,
        prefix: &str,
        time: &str,
        (colour, mark): (Colour, &str),
        parts: &[String],
    ) -> String {
        let (day, time) = when(time);
        let mut text = String::new();
        if let Some(day) = day.filter(|day| *day != self.day) {
            text += &self.screen.painted(Colour::Grey, &format!("{day} (UTC)"));
            text.push('\n');
            self.day = day;
        }
        let indent = prefix.width() + BEFORE;
        let room = self.screen.columns.saturating_sub(indent).max(1);
        let joined = parts.join("  ");
        let lines = if joined.width() <= room {
            vec![joined]
        } else {
            parts.iter().flat_map(|part| wrapped(part, room)).collect()
        };
        let mark = self.screen.painted(colour, &format!("{mark:<5}"));
        text += &format!("{prefix}{time:<12} {mark} ");
        let below = format!("\n{}", " ".repeat(indent));
        text += &lines.join(&below);
        text.push('\n');
        text
    }

    /// What a file's lines do not say: that there is no end yet, and how many were shown.
    pub(super) fn end(&self, counted: &Attempts, shown: Option<u64>, ended: bool) -> String {
        let mut text = String::new();
        if !ended {
            let told = format!("No end yet: {}; the run goes on, or was killed", counts(counted));
            text += &(wrapped(&told, self.screen.columns).join("\n") + "\n");
        }
        if let Some(number) = shown {
            text += &format!("Shown: {number}\n");
        }
        text
    }
}

/// The last part of a run's id: what tells runs apart at a glance.
fn short(run: &str) -> &str {
    run.rsplit('-').next().unwrap_or(run)
}

/// Day and time of day.
fn when(time: &str) -> (Option<String>, String) {
    match time.parse::<Timestamp>() {
        Ok(time) => {
            let text = format!("{time:.3}");
            let (day, time) = text.split_once('T').unwrap_or_default();
            (Some(day.to_owned()), time.trim_end_matches('Z').to_owned())
        }
        Err(_) => (None, shown(time)),
    }
}

fn who(record: &Record) -> String {
    let process = &record.process;
    let name = process.comm.as_deref().or(process.exe.as_deref()).map(shown);
    match (name, process.pid) {
        (Some(name), Some(pid)) => format!("{name} {pid}"),
        (Some(name), None) => name,
        (None, Some(pid)) => pid.to_string(),
        (None, None) => "-".to_owned(),
    }
}

fn what(record: &Record) -> String {
    let place = match (&record.name, record.address) {
        (Some(name), _) => Some(shown(name)),
        (None, Some(address)) if address.is_ipv6() => Some(format!("[{address}]")),
        (None, Some(address)) => Some(address.to_string()),
        (None, None) => None,
    };
    let Some(mut place) = place else { return shown(&record.protocol) };
    if let Some(port) = record.port.filter(|port| *port != 0) {
        place += &format!(":{port}");
    }
    place += &record.path.as_deref().map(shown).unwrap_or_default();
    match (&record.method, &*record.protocol) {
        (Some(method), _) => format!("{} {place}", shown(method)),
        (None, "tcp") => place,
        (None, other) => format!("{} {place}", shown(other)),
    }
}

fn counts(attempts: &Attempts) -> String {
    let Attempts { allow, deny, error } = attempts;
    format!("{allow} allowed, {deny} denied, {error} failed")
}

fn totals(summary: &Summary) -> String {
    let exit = summary
        .exit_code
        .map_or_else(|| "the run failed".to_owned(), |code| format!("exit code {code}"));
    let missing = match (summary.complete, summary.lost.total()) {
        (true, 0) => "nothing is missing".to_owned(),
        (_, 0) => "SOME MAY BE MISSING".to_owned(),
        (_, number) => format!("{number} ARE MISSING"),
    };
    let mode = if summary.terms.mode == "audit" { " (audit mode)" } else { "" };
    format!("{exit}{mode}: {}; {missing}", counts(&summary.attempts))
}

/// A text in lines of at most so many columns: divided between words, and within those that are longer.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_inclusive(' ') {
        if !line.is_empty() && line.width() + word.trim_end().width() > columns {
            lines.push(std::mem::take(&mut line));
        }
        for character in word.chars() {
            if character != ' ' && line.width() + character.width().unwrap_or(0) > columns {
                lines.push(std::mem::take(&mut line));
            }
            line.push(character);
        }
    }
    lines.push(line);
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::observe::record::{Layer, ProcessInfo};

    proptest! {
        #[test]
        fn no_name_leaves_its_line_or_is_cut(
            name in any::<String>(), comm in any::<String>(), reason in "[a-z ]{0,200}", columns in 40..200_usize,
        ) {
            let process = ProcessInfo { comm: Some(comm), ..ProcessInfo::default() };
            let record = Record {
                process, reason, name: Some(name.as_str().into()), rule: "r".to_owned(), port: Some(1),
                ..Record::denied("2026-11-28T00:00:00.000001Z".to_owned(), "r".into(), Layer::Relay)
            };
            let mut pretty = Pretty::new(Screen { columns, colour: false });
            let text = pretty.line(&Line::Attempt(Box::new(record)), b"", Some("awf-1-ab12"));
            for line in text.lines() {
                prop_assert!(line.width() <= columns, "{line:?}");
                prop_assert!(!line.contains(char::is_control));
            }
            let squeezed = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert!(squeezed(&text).contains(&squeezed(&shown(&name))));
        }
    }

    #[test]
    fn a_time_that_is_none_is_shown_as_it_is() {
        assert_eq!(when("x\n"), (None, r"x\u{a}".to_owned()));
        assert_eq!(
            when("2026-11-28T00:00:01.000001Z"),
            (Some("2026-11-28".to_owned()), "00:00:01.000".to_owned())
        );
    }
}
