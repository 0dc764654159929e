//! A record that is opened for reading from its beginning, with its end already known.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::commands::lines::{self, Line};
use crate::commands::source;
use crate::observe::summary::Summary;

/// Bytes at the end of a record in which its summary is looked for. One with every rule and program has 6 KiB.
const TAIL: u64 = 256 << 10;

/// A record.
#[derive(Debug)]
pub struct Opened {
    /// What its end says, if it has one.
    pub summary: Option<Box<Summary>>,
    /// Its lines.
    pub lines: BufReader<File>,
}

impl Opened {
    /// Opens the record that `--source` names; gives its path, too.
    pub fn find(said: Option<&str>) -> Result<(Self, PathBuf)> {
        let path = lines::locate(said)?;
        let opened = Self::at(source::open(&path)?, 0);
        Ok((opened.with_context(|| format!("read {}", path.display()))?, path))
    }

    /// A record from this byte on: where the lines of one run begin.
    pub fn at(mut file: File, begin: u64) -> io::Result<Self> {
        let summary = summary(&mut file)?;
        file.seek(SeekFrom::Start(begin))?;
        Ok(Self { summary, lines: BufReader::with_capacity(1 << 16, file) })
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
        let (opened, found) = Opened::find(path.to_str()).unwrap();
        assert_eq!(found, path);
        std::fs::remove_file(path).unwrap();
        assert_eq!(opened.summary.unwrap().exit_code, Some(7));
        let mut count = 0;
        lines::each(opened.lines, |number, _line| {
            count = number;
            Ok::<_, io::Error>(())
        })
        .unwrap();
        assert_eq!(count, golden::RECORD.lines().count() as u64);
    }
}
