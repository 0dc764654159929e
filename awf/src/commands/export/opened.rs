//! A record that is opened for reading from its beginning, with its end already known.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::commands::lines::{self, Line};
use crate::commands::source::Source;
use crate::observe::summary::Summary;

/// Bytes at the end of a record in which its summary is looked for. One with every rule and program has 6 KiB.
const TAIL: u64 = 256 << 10;

/// A record.
#[derive(Debug)]
pub struct Opened {
    /// Its file.
    pub path: PathBuf,
    /// What its end says, if it has one.
    pub summary: Option<Box<Summary>>,
    /// Its lines.
    pub lines: BufReader<File>,
}

impl Opened {
    /// Opens the record of a source, or the file that the source is.
    pub fn open(source: &Source) -> Result<Self> {
        let path = if source.logs.is_file() { source.logs.clone() } else { source.record() };
        let read = || {
            let mut file = File::open(&path)?;
            let summary = summary(&mut file)?;
            file.rewind()?;
            Ok::<_, io::Error>((summary, BufReader::with_capacity(1 << 16, file)))
        };
        let (summary, lines) = read().with_context(|| format!("read {}", path.display()))?;
        Ok(Self { path, summary, lines })
    }
}

fn summary(file: &mut File) -> io::Result<Option<Box<Summary>>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    Ok(tail.rsplit(|byte| *byte == b'\n').find_map(|line| match Line::parse(line) {
        Line::Summary(summary) => Some(summary),
        Line::Attempt(_) | Line::Signature(_) | Line::Damaged => None,
    }))
}

/// Gives every line with its number, from 1, to `see`, until it fails.
pub fn each<E: From<io::Error>>(
    mut record: impl BufRead,
    mut see: impl FnMut(u64, Line) -> Result<(), E>,
) -> Result<(), E> {
    let (mut line, mut number) = (Vec::new(), 0);
    while lines::next(&mut record, &mut line)? {
        number += 1;
        see(number, Line::parse(&line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::commands::golden;

    #[test]
    fn the_end_is_known_before_the_first_line_is_read() {
        let path = std::env::temp_dir().join(format!("awf-opened-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        file.write_all(golden::RECORD.as_bytes()).unwrap();
        let source = Source { logs: path.clone(), found: crate::commands::source::Found::Named };
        let opened = Opened::open(&source).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(opened.summary.unwrap().exit_code, Some(7));
        let mut count = 0;
        each(opened.lines, |number, _line| {
            count = number;
            Ok::<_, io::Error>(())
        })
        .unwrap();
        assert_eq!(count, golden::RECORD.lines().count() as u64);
    }
}
