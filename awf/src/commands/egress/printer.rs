//! Lines of records in the wanted format.

use std::io::Write;

use anyhow::Result;

use super::filter::Filter;
use super::pretty::Pretty;
use crate::cli::reading::LineFormat;
use crate::commands::lines::{End, Line};
use crate::commands::shown::{Screen, shown};
use crate::observe::record::Verdict;
use crate::observe::summary::Attempts;
use crate::speech::unseen::shown_json;

/// Prints what fits, and counts.
#[derive(Debug)]
pub(super) struct Printer<W> {
    out: W,
    format: LineFormat,
    filter: Filter,
    pretty: Pretty,
    /// Whether a terminal shows the lines: it is sent nothing that it could obey, even where they are shown as they are.
    terminal: bool,
    end: End,
    damaged: u64,
    /// Attempts that were shown.
    shown: u64,
    attempts: Attempts,
    ended: bool,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(out: W, (format, filter): (LineFormat, Filter), screen: Screen) -> Self {
        Self {
            out,
            format,
            filter,
            pretty: Pretty::new(screen),
            terminal: false,
            end: End::default(),
            damaged: 0,
            shown: 0,
            attempts: Attempts::default(),
            ended: false,
        }
    }

    /// The same on a terminal.
    pub(super) fn on(self, terminal: bool) -> Self {
        Self { terminal, ..self }
    }

    /// Takes a line as it stands in a file; where several runs are followed, with the run whose lines are wanted of that file.
    pub(super) fn see(&mut self, text: &[u8], run: Option<&str>) -> Result<()> {
        if text.trim_ascii().is_empty() {
            return Ok(());
        }
        let line = Line::parse(text);
        if self.end.is_unfinished(text, &line) {
            return Ok(());
        }
        let of_run = match &line {
            Line::Attempt(record) => Some(&record.run),
            Line::Summary(summary) => Some(&summary.run),
            Line::Signature(signature) => Some(&signature.run),
            Line::Damaged => None,
        };
        // Runs may share a directory of logs.
        if run.is_some() && of_run.is_some_and(|id| Some(&**id) != run) {
            return Ok(());
        }
        self.count(&line);
        if !self.is_wanted(&line) {
            return Ok(());
        }
        match self.format {
            LineFormat::Json if line == Line::Damaged => return Ok(()),
            LineFormat::Json | LineFormat::Raw if self.terminal => {
                let text = String::from_utf8_lossy(text.trim_ascii_end());
                let told = if line == Line::Damaged { shown(&text) } else { shown_json(&text) };
                writeln!(self.out, "{told}")?;
            }
            LineFormat::Json | LineFormat::Raw => {
                self.out.write_all(text)?;
                if text.last() != Some(&b'\n') {
                    self.out.write_all(b"\n")?;
                }
            }
            LineFormat::Pretty => {
                let told = self.pretty.line(&line, text, run);
                self.out.write_all(told.as_bytes())?;
            }
        }
        Ok(())
    }

    fn count(&mut self, line: &Line) {
        match line {
            Line::Attempt(record) => {
                self.ended = false;
                let of_verdict = match record.verdict {
                    Verdict::Allow => &mut self.attempts.allow,
                    Verdict::Deny => &mut self.attempts.deny,
                    Verdict::Error => &mut self.attempts.error,
                };
                *of_verdict = of_verdict.saturating_add(record.count);
                if self.filter.fits(record) {
                    self.shown = self.shown.saturating_add(record.count);
                }
            }
            Line::Summary(_) => self.ended = true,
            Line::Signature(_) => {}
            Line::Damaged => self.damaged += 1,
        }
    }

    /// Who asks for some attempts gets these, and for reading the totals beside them.
    fn is_wanted(&self, line: &Line) -> bool {
        match line {
            Line::Attempt(record) => self.filter.fits(record),
            Line::Summary(_) => self.filter.is_open() || self.format == LineFormat::Pretty,
            Line::Signature(_) | Line::Damaged => self.filter.is_open(),
        }
    }

    /// Lets the reader see what was printed.
    pub(super) fn flush(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }

    /// Says at the end of a file what its lines do not.
    pub(super) fn end(&mut self) -> Result<()> {
        if self.format == LineFormat::Pretty {
            let shown = (!self.filter.is_open()).then_some(self.shown);
            let told = self.pretty.end(&self.attempts, shown, self.ended);
            self.out.write_all(told.as_bytes())?;
        }
        self.flush()?;
        self.tell_damaged();
        Ok(())
    }

    /// Says how many lines could not be read.
    pub(super) fn tell_damaged(&self) {
        match self.damaged {
            0 => {}
            1 => tracing::warn!("1 line of the record is damaged"),
            number => tracing::warn!("{number} lines of the record are damaged"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::golden::{self, RECORD};

    fn printed(format: LineFormat, filter: Filter, screen: Screen) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, (format, filter), screen);
        for line in RECORD.split_inclusive('\n') {
            printer.see(line.as_bytes(), None).unwrap();
        }
        printer.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    const NARROW: Screen = Screen { columns: 80, colour: false };

    fn denied() -> Filter {
        let args = crate::cli::reading::EgressArgs {
            follow: false,
            format: LineFormat::Pretty,
            source: None,
            verdict: Some("deny".to_owned()),
            rule: None,
            domain: Some("example".to_owned()),
            process: None,
        };
        Filter::of(&args)
    }

    #[test]
    fn the_golden_record_in_every_format() {
        let pretty = |filter, screen| printed(LineFormat::Pretty, filter, screen);
        let narrow = pretty(Filter::default(), NARROW);
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        assert!(!narrow.contains('\u{1b}') && !narrow.contains('\u{202e}'), "{narrow}");
        golden::check("egress-pretty.txt", &narrow);
        golden::check("egress-denied.txt", &pretty(denied(), NARROW));
        golden::check(
            "egress-wide.txt",
            &pretty(Filter::default(), Screen { columns: 160, colour: true }),
        );
        golden::check("egress-denied.jsonl", &printed(LineFormat::Json, denied(), NARROW));
        assert_eq!(printed(LineFormat::Raw, Filter::default(), NARROW), RECORD);
        let whole = RECORD
            .split_inclusive('\n')
            .filter(|line| Line::parse(line.as_bytes()) != Line::Damaged);
        assert_eq!(printed(LineFormat::Json, Filter::default(), NARROW), whole.collect::<String>());
    }

    #[test]
    fn of_a_file_with_several_runs_only_the_wanted_ones_lines_are_shown() {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, (LineFormat::Pretty, Filter::default()), NARROW);
        for line in RECORD.split_inclusive('\n').take(4) {
            printer.see(line.as_bytes(), Some("awf-1-cdef")).unwrap();
            printer.see(line.as_bytes(), Some("awf-1795816800000-ab12")).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("ab12 00:00:0").count(), 4, "{text}");
        assert!(!text.contains("cdef"), "{text}");
    }

    #[test]
    fn a_terminal_is_sent_nothing_that_it_could_obey() {
        for format in [LineFormat::Raw, LineFormat::Json] {
            for terminal in [true, false] {
                let mut out = Vec::new();
                let how = (format, Filter::default());
                let mut printer = Printer::new(&mut out, how, NARROW).on(terminal);
                let line = RECORD.lines().next().unwrap();
                let line = line.replacen("\"reason\": \"", "\"reason\": \"\u{9b}2J\u{202e}", 1);
                assert!(line.contains('\u{202e}') && Line::parse(line.as_bytes()) != Line::Damaged);
                printer.see(line.as_bytes(), None).unwrap();
                printer.see("damaged \u{1b}]0;x\u{7}\n".as_bytes(), None).unwrap();
                let text = String::from_utf8(out).unwrap();
                let unseen = text.replace('\n', "").contains(crate::commands::shown::is_unseen);
                assert_eq!(unseen, !terminal, "{text}");
            }
        }
    }
}
