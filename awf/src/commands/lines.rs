//! The lines of `egress.jsonl`, one by one: memory does not grow with the file.

use std::io::{self, BufRead, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use serde::Deserialize;

use super::source::{Source, resolved};
use crate::observe::chain::Signature;
use crate::observe::record::{Event, Record, SCHEMA};
use crate::observe::summary::Summary;
use crate::session::live::Live;

/// Longest line that is read. The longest that awf writes has some 20 KiB.
pub const LONGEST: u64 = 1 << 20;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// An attempt.
    Attempt(Box<Record>),
    /// The end of the run.
    Summary(Box<Summary>),
    /// The signature of the lines before.
    Signature(Box<Signature>),
    /// No line of a record: cut short by a crash, or changed by somebody.
    Damaged,
}

/// What tells lines apart.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "_schema")]
    schema: String,
    #[serde(default)]
    event: Event,
}

impl Line {
    /// Reads one line, with or without its line feed.
    pub fn parse(text: &[u8]) -> Self {
        let read = || {
            let kind: Kind = serde_json::from_slice(text).ok()?;
            if !is_known(&kind.schema) {
                return None;
            }
            Some(match kind.event {
                Event::Attempt => Self::Attempt(serde_json::from_slice(text).ok()?),
                Event::Summary => Self::Summary(serde_json::from_slice(text).ok()?),
                Event::Signature => Self::Signature(serde_json::from_slice(text).ok()?),
            })
        };
        read().unwrap_or(Self::Damaged)
    }
}

/// Whether lines of this schema can be read: the first version, with or without additions.
pub fn is_known(schema: &str) -> bool {
    let rest = schema.strip_prefix(SCHEMA);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Tells a line that is only still being written, at the end of a record, from one that is damaged: awf writes blocks, which end
/// anywhere.
#[derive(Debug)]
pub struct End {
    /// Of the last whole line.
    run: Option<Arc<str>>,
    goes_on: fn(&str) -> bool,
}

impl Default for End {
    fn default() -> Self {
        Self { run: None, goes_on: |run| Live::find(run).is_some() }
    }
}

impl End {
    /// Takes every line in order.
    pub fn is_unfinished(&mut self, text: &[u8], line: &Line) -> bool {
        let run = match line {
            Line::Attempt(record) => &record.run,
            Line::Summary(summary) => &summary.run,
            Line::Signature(signature) => &signature.run,
            Line::Damaged => {
                let is_cut = !text.ends_with(b"\n") && (text.len() as u64) < LONGEST;
                return is_cut && self.run.as_deref().is_some_and(self.goes_on);
            }
        };
        self.run = Some(Arc::clone(run));
        false
    }
}

/// The record that `--source` names: any file but Squid's logs is one itself, whatever its name.
pub fn locate(said: Option<&str>) -> Result<PathBuf> {
    let named = said.map(Path::new).filter(|path| {
        let name = path.file_name().unwrap_or_default();
        path.is_file() && name != "access.log" && name != "audit.jsonl"
    });
    named.map_or_else(|| Ok(Source::find(said)?.record()), |path| Ok(resolved(path)))
}

/// Reads lines, as they stand in the file, into `line`; false at the end. What is longer than [`LONGEST`] is cut into several.
pub fn next(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    Ok(file.take(LONGEST).read_until(b'\n', line)? > 0)
}

/// Gives every line of a record that holds anything with its number, from 1, to `see`, until it fails.
pub fn each<E: From<io::Error>>(
    mut record: impl BufRead,
    mut see: impl FnMut(u64, Line) -> Result<(), E>,
) -> Result<(), E> {
    let (mut text, mut number, mut end) = (Vec::new(), 0, End::default());
    while next(&mut record, &mut text)? {
        number += 1;
        if text.trim_ascii().is_empty() {
            continue;
        }
        let line = Line::parse(&text);
        if !end.is_unfinished(&text, &line) {
            see(number, line)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::record::Layer;

    #[test]
    fn a_record_is_read_as_it_was_written_and_anything_else_is_damaged() {
        let record = Record::denied("t".into(), "r".into(), Layer::Kernel);
        let text = record.to_line().unwrap();
        assert_eq!(Line::parse(&text), Line::Attempt(Box::new(record)));
        assert_eq!(Line::parse(&text[..text.len() - 3]), Line::Damaged);
        assert_eq!(Line::parse(b"{}"), Line::Damaged);
    }

    #[test]
    fn every_line_of_the_golden_record_but_the_damaged_one_is_read() {
        let mut damaged = 0;
        each(crate::commands::golden::RECORD.as_bytes(), |_number, line| {
            damaged += u32::from(line == Line::Damaged);
            Ok::<_, io::Error>(())
        })
        .unwrap();
        assert_eq!(damaged, 1);
    }

    #[test]
    fn the_line_that_a_run_is_just_writing_is_not_damaged() {
        let text =
            Record::denied("t".into(), "awf-1-ab12".into(), Layer::Kernel).to_line().unwrap();
        let cut = &text[..text.len() - 3];
        let mut living = End { run: None, goes_on: |run| run == "awf-1-ab12" };
        let mut killed = End { run: None, goes_on: |_run| false };
        for (end, is_unfinished) in [(&mut living, true), (&mut killed, false)] {
            assert!(!end.is_unfinished(cut, &Line::Damaged), "whose it is, is not known");
            assert!(!end.is_unfinished(&text, &Line::parse(&text)));
            assert_eq!(end.is_unfinished(cut, &Line::parse(cut)), is_unfinished);
            assert!(!end.is_unfinished(b"{\n", &Line::Damaged), "it has its end");
        }
    }

    #[test]
    fn blank_lines_are_no_lines_but_count() {
        let text = Record::denied("t".into(), "r".into(), Layer::Kernel).to_line().unwrap();
        let file = [b"\n \n", &*text].concat();
        let mut seen = Vec::new();
        each(&*file, |number, line| {
            seen.push((number, line != Line::Damaged));
            Ok::<_, io::Error>(())
        })
        .unwrap();
        assert_eq!(seen, [(3, true)]);
    }

    #[test]
    fn later_versions_are_not_read_as_the_first() {
        for (schema, known) in [("v1", true), ("v1.2", true), ("v10", false), ("v2", false)] {
            assert_eq!(is_known(&format!("awf-egress/{schema}")), known);
        }
    }
}
