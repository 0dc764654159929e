//! The lines of `egress.jsonl`, one by one: memory does not grow with the file.

use std::io::{self, BufRead, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Result;

use serde::Deserialize;

use super::source::{Source, resolved};
use crate::observe::chain::Signature;
use crate::observe::record::{Event, Record};
use crate::observe::summary::Summary;

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
            if !kind.schema.starts_with("awf-egress/v1") {
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

/// Gives every line of a record with its number, from 1, to `see`, until it fails.
pub fn each<E: From<io::Error>>(
    mut record: impl BufRead,
    mut see: impl FnMut(u64, Line) -> Result<(), E>,
) -> Result<(), E> {
    let (mut line, mut number) = (Vec::new(), 0);
    while next(&mut record, &mut line)? {
        number += 1;
        see(number, Line::parse(&line))?;
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
}
