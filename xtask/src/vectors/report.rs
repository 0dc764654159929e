//! What the tiers say of each vector and conversation, and the table made of it.
//!
//! The tests append lines to the file that `AWF_VECTORS_REPORT` names; whoever runs them reads it afterwards. One vector may
//! be told of several times (inside, its control, another test): [`Summary`] puts that together.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// Names the file.
pub const VARIABLE: &str = "AWF_VECTORS_REPORT";

/// So many are named of those that were not controlled for one reason; the report has all.
const NAMED: usize = 8;

/// Against what it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// System calls, against all of awf.
    SystemCalls,
    /// System calls, against the kernel programs alone.
    ProgramsAlone,
    /// Conversations with servers, against all of awf.
    Conversations,
}

/// How it ended inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// It succeeded as the policy wants: nothing to close.
    Allowed,
    /// It succeeded and led nowhere.
    Contained,
    /// It was refused.
    Refused,
    /// It got out.
    Escaped,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Against what.
    pub kind: Kind,
    /// Name of the vector, or of the test and the conversation.
    pub name: String,
    /// How it ended.
    pub end: End,
    /// Whether it is on record.
    pub recorded: bool,
    /// Why it was not shown to work without awf; nothing if it was.
    pub uncontrolled: Option<String>,
}

/// Appends a line to the report, if one is wanted. One write for each line: tests of several threads and processes share it.
pub fn tell(line: &Line) -> io::Result<()> {
    let Some(path) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    File::options().create(true).append(true).open(path)?.write_all(&text)
}

/// A whole report.
#[derive(Debug, Default)]
pub struct Summary {
    lines: BTreeMap<(Kind, String), Line>,
}

impl Summary {
    /// Reads a report; one that nobody wrote is empty.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let mut summary = Self::default();
        for line in text.lines() {
            summary.add(&serde_json::from_str(line)?);
        }
        Ok(summary)
    }

    /// Whether nothing was told.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Fails if anything got out, whatever the tests made of it.
    pub fn check(&self) -> Result<()> {
        let escaped = self.lines.values().filter(|line| line.end == End::Escaped);
        let names: Vec<&str> = escaped.map(|line| line.name.as_str()).collect();
        ensure!(names.is_empty(), "escapes: {}", names.join(", "));
        Ok(())
    }

    /// The table alone, without what was not controlled.
    pub fn counts(&self) -> String {
        let heads = [
            "tried",
            "controlled",
            "refused",
            "contained",
            "allowed",
            "recorded",
            "closed",
            "escapes",
        ];
        let cells = |name: &str, cells: [String; 8]| {
            format!("{name:<16}{}\n", cells.map(|cell| format!("{cell:>12}")).concat())
        };
        let mut table = cells("", heads.map(str::to_owned));
        for (kind, name) in [
            (Kind::SystemCalls, "system calls"),
            (Kind::ProgramsAlone, "programs alone"),
            (Kind::Conversations, "conversations"),
        ] {
            let row = self.row(kind);
            if row != [0; 8] {
                table += &cells(name, row.map(|count| count.to_string()));
            }
        }
        table
    }

    fn add(&mut self, line: &Line) {
        let key = (line.kind, line.name.clone());
        let known = self.lines.entry(key).or_insert_with(|| line.clone());
        known.end = known.end.max(line.end);
        known.recorded |= line.recorded;
        if line.uncontrolled.is_none() {
            known.uncontrolled = None;
        }
    }

    fn row(&self, kind: Kind) -> [usize; 8] {
        let of_kind = || self.lines.values().filter(move |line| line.kind == kind);
        let ended = |end: End| of_kind().filter(|line| line.end == end).count();
        let controlled = of_kind().filter(|line| line.uncontrolled.is_none()).count();
        let is_closed = |line: &&Line| {
            line.uncontrolled.is_none() && matches!(line.end, End::Refused | End::Contained)
        };
        [
            of_kind().count(),
            controlled,
            ended(End::Refused),
            ended(End::Contained),
            ended(End::Allowed),
            of_kind().filter(|line| line.recorded).count(),
            of_kind().filter(is_closed).count(),
            ended(End::Escaped),
        ]
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.counts())?;
        let mut open: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in self.lines.values() {
            if let Some(why) = &line.uncontrolled {
                open.entry(why).or_default().push(&line.name);
            }
        }
        for (why, names) in open {
            let named = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
            let more = if names.len() > NAMED { ", ..." } else { "" };
            writeln!(f, "not controlled here ({}): {why}\n  {named}{more}", names.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, end: End, why: Option<&str>) -> Line {
        let uncontrolled = why.map(str::to_owned);
        Line { kind: Kind::SystemCalls, name: name.into(), end, recorded: false, uncontrolled }
    }

    fn summary(lines: &[Line]) -> Summary {
        let mut summary = Summary::default();
        for line in lines {
            summary.add(line);
        }
        summary
    }

    #[test]
    fn what_was_not_controlled_is_not_closed() {
        let told =
            summary(&[line("a", End::Refused, Some("no module")), line("b", End::Refused, None)]);
        assert_eq!(told.row(Kind::SystemCalls), [2, 1, 2, 0, 0, 0, 1, 0]);
        told.check().unwrap();
        assert!(told.to_string().contains("not controlled here (1): no module\n  a"), "{told}");
    }

    #[test]
    fn a_control_counts_wherever_it_was_made_and_an_escape_is_never_covered() {
        let first = line("a", End::Escaped, Some("later"));
        let told = summary(&[first, line("a", End::Refused, None)]);
        assert_eq!(told.row(Kind::SystemCalls), [1, 1, 0, 0, 0, 0, 0, 1]);
        told.check().unwrap_err();
    }

    #[test]
    fn a_line_can_be_read_back() {
        let said = line("a", End::Contained, Some("why"));
        let text = serde_json::to_string(&said).unwrap();
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), said);
    }
}
