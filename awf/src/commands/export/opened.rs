//! The record of one run, opened for reading from its beginning, with its end already known.
//!
//! Several runs may have left their lines in one file. Must never: let the end of one run stand for the lines of another.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::commands::lines::{self, Line};
use crate::commands::shown::shown;
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
    pub lines: RunLines<BufReader<File>>,
}

/// The lines of one run in a file, which may hold those of others.
#[derive(Debug)]
pub struct RunLines<R> {
    file: R,
    /// `None`: whatever run a line is of.
    run: Option<Arc<str>>,
}

impl<R: BufRead> RunLines<R> {
    /// All lines.
    pub const fn all(file: R) -> Self {
        Self { file, run: None }
    }

    /// Those of this run.
    pub const fn of(file: R, run: Arc<str>) -> Self {
        Self { file, run: Some(run) }
    }

    /// Gives every line of the run with its number in the file to `see`; gives how many lines of other runs there are. A
    /// damaged line is nobody's, and may be the run's.
    pub fn each(self, mut see: impl FnMut(u64, Line) -> io::Result<()>) -> io::Result<u64> {
        let mut others = 0;
        lines::each(self.file, |number, line| match (run_of(&line), &self.run) {
            (Some(found), Some(wanted)) if found != wanted => {
                others += 1;
                Ok(())
            }
            _ => see(number, line),
        })?;
        if others > 0 {
            let run = self.run.as_deref().map(shown).unwrap_or_default();
            tracing::warn!("Only run {run}: {others} lines of other runs are left out (--run)");
        }
        Ok(others)
    }
}

impl Opened {
    /// Opens the record that `--source` names, for the run that `--run` names, or for the last one; gives its path, too.
    pub fn find(said: Option<&str>, run: Option<&str>) -> Result<(Self, PathBuf)> {
        let path = lines::locate(said)?;
        let read = || -> Result<Self> {
            let file = source::open(&path)?;
            match run {
                Some(run) => Self::of(file, run),
                None => Ok(Self::last(file)?),
            }
        };
        Ok((read().with_context(|| format!("read {}", path.display()))?, path))
    }

    /// The run with this id, which has just ended and whose first line is not before this byte. Others may write the file, too.
    pub fn ended(mut file: File, begin: u64, run: Arc<str>) -> io::Result<Self> {
        let (summary, _run) = end(&mut file, Some(&run))?;
        file.seek(SeekFrom::Start(begin))?;
        Ok(Self { summary, lines: RunLines::of(buffered(file), run) })
    }

    /// The run whose line is the last.
    fn last(mut file: File) -> io::Result<Self> {
        let (summary, run) = end(&mut file, None)?;
        file.rewind()?;
        Ok(Self { summary, lines: RunLines { file: buffered(file), run } })
    }

    /// The run with this id: its end may be anywhere.
    fn of(mut file: File, run: &str) -> Result<Self> {
        let run: Arc<str> = run.into();
        let (mut summary, mut found) = (None, false);
        lines::each(buffered(file.try_clone()?), |_number, line| {
            if run_of(&line) == Some(&run) {
                found = true;
                if let Line::Summary(end) = line {
                    summary = Some(end);
                }
            }
            Ok::<_, io::Error>(())
        })?;
        if !found {
            bail!("it has no line of run {}", shown(&run));
        }
        file.rewind()?;
        Ok(Self { summary, lines: RunLines::of(buffered(file), run) })
    }
}

fn buffered(file: File) -> BufReader<File> {
    BufReader::with_capacity(1 << 16, file)
}

/// Whose line it is.
fn run_of(line: &Line) -> Option<&Arc<str>> {
    match line {
        Line::Attempt(record) => Some(&record.run),
        Line::Summary(summary) => Some(&summary.run),
        Line::Signature(signature) => Some(&signature.run),
        Line::Damaged => None,
    }
}

/// What the end of a file tells: the summary of a run, and that run.
type End = (Option<Box<Summary>>, Option<Arc<str>>);

/// Looks at the end of a file for the summary of this run, or of the one whose line is the last.
fn end(file: &mut File, run: Option<&Arc<str>>) -> io::Result<End> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let mut wanted = run.cloned();
    for line in tail.rsplit(|byte| *byte == b'\n').map(Line::parse) {
        let Some(run) = run_of(&line) else { continue };
        if wanted.get_or_insert_with(|| Arc::clone(run)) != run {
            continue;
        }
        if let Line::Summary(summary) = line {
            return Ok((Some(summary), wanted));
        }
    }
    Ok((None, wanted))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::commands::golden;

    const ID: &str = "awf-1795816800000-ab12";

    /// What is opened of a file with this text, and the numbers of its lines.
    fn opened(
        test: &str,
        text: &str,
        run: Option<&str>,
    ) -> Result<(Option<Box<Summary>>, Vec<u64>, u64)> {
        let path = std::env::temp_dir().join(format!("awf-opened-{test}-{}", std::process::id()));
        fs::write(&path, text).unwrap();
        let found = Opened::find(path.to_str(), run);
        fs::remove_file(&path).unwrap();
        let (opened, _path) = found?;
        let mut numbers = Vec::new();
        let others = opened.lines.each(|number, _line| {
            numbers.push(number);
            Ok(())
        })?;
        Ok((opened.summary, numbers, others))
    }

    #[test]
    fn the_end_is_known_before_the_first_line_is_read() {
        let (summary, numbers, others) = opened("whole", golden::RECORD, None).unwrap();
        assert_eq!(summary.unwrap().exit_code, Some(7));
        assert_eq!((numbers.len(), others), (golden::RECORD.lines().count(), 0));
    }

    #[test]
    fn of_several_runs_in_one_file_the_last_is_read_or_the_one_that_is_named() {
        let whole: Vec<&str> = golden::RECORD.lines().collect();
        let first = whole[..3].join("\n").replace(ID, "first") + "\n";
        let text = first.clone() + golden::RECORD;
        let (last, numbers, others) = opened("last", &text, None).unwrap();
        assert_eq!(&*last.unwrap().run, ID);
        assert_eq!((numbers.first(), others), (Some(&4), 3));
        let (earlier, numbers, others) = opened("named", &text, Some("first")).unwrap();
        assert_eq!(earlier, None, "the end of the other run is not its end");
        // The damaged line is nobody's.
        assert_eq!((&numbers[..3], numbers.len(), others), (&[1, 2, 3][..], 4, 16));
        let (named, ..) = opened("again", &text, Some(ID)).unwrap();
        assert_eq!(&*named.unwrap().run, ID);
        let error = opened("none", &text, Some("awf-9")).unwrap_err();
        assert!(format!("{error:#}").contains("no line of run awf-9"), "{error:#}");
    }

    #[test]
    fn the_end_of_a_run_is_found_before_what_another_wrote_meanwhile() {
        let line = golden::RECORD.lines().next().unwrap().replace(ID, "second") + "\n";
        let path = std::env::temp_dir().join(format!("awf-opened-ended-{}", std::process::id()));
        fs::write(&path, line.repeat(2) + golden::RECORD + &line).unwrap();
        let begin = u64::try_from(line.len()).unwrap();
        let opened = Opened::ended(File::open(&path).unwrap(), begin, ID.into()).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(&*opened.summary.unwrap().run, ID);
        let mut runs = Vec::new();
        let others = opened.lines.each(|_number, line| {
            runs.extend(run_of(&line).cloned());
            Ok(())
        });
        assert_eq!(others.unwrap(), 2);
        assert!(!runs.is_empty() && runs.iter().all(|run| &**run == ID), "{runs:?}");
    }

    #[test]
    fn a_run_that_goes_on_behind_another_has_no_end() {
        let first = golden::RECORD.lines().next().unwrap().replace(ID, "second");
        let text = format!("{}{first}\n", golden::RECORD);
        let (summary, numbers, _others) = opened("on", &text, None).unwrap();
        assert_eq!(summary, None);
        assert_eq!(numbers.len(), 2, "its line and the damaged one");
    }
}
