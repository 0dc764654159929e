//! `awf logs egress -f`: a record that grows, or those of all runs that go on.
//!
//! Must never: lose a line that was written before the end of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;

use super::printer::Printer;
use crate::commands::lines::Line;
use crate::commands::source;
use crate::commands::tail::{Pause, Tail};
use crate::session::live;

/// Looks at files between two looks for runs.
const RUNS: u64 = 5;

/// Follows one file until a signal comes.
pub(super) fn one_file(path: &Path, printer: &mut Printer<impl Write>) -> Result<()> {
    let pause = Pause::new()?;
    let mut tail = Tail::new(path.to_owned());
    loop {
        tail.read(&mut |line| printer.see(line, None))?;
        printer.flush()?;
        if pause.is_over(tail.has_more())? {
            printer.tell_damaged();
            return Ok(());
        }
    }
}

/// Follows all runs, also those that begin meanwhile, until a signal comes.
pub(super) fn all_runs(printer: &mut Printer<impl Write>) -> Result<()> {
    let pause = Pause::new()?;
    let mut runs = Runs::default();
    for look in 0_u64.. {
        if look % RUNS == 0 {
            runs.look(live::look());
        }
        runs.read(printer)?;
        printer.flush()?;
        if pause.is_over(runs.has_more())? {
            break;
        }
    }
    printer.tell_damaged();
    Ok(())
}

/// The runs that are followed.
#[derive(Debug, Default)]
struct Runs {
    /// By id. A run that ended stays, without a file, as long as it is seen: it would be followed again.
    tails: BTreeMap<String, Followed>,
    /// What was said once.
    said: bool,
}

#[derive(Debug)]
struct Followed {
    tail: Option<Tail>,
    /// Whether its awf lives.
    lives: bool,
}

impl Runs {
    fn look(&mut self, seen: live::Seen) {
        if !self.said {
            self.said = true;
            if !seen.complete {
                tracing::warn!("Only root can see which runs go on; name a record with --source");
            } else if seen.runs.is_empty() {
                tracing::info!("No run goes on; waiting for one");
            }
        }
        for followed in self.tails.values_mut() {
            followed.lives = false;
        }
        for run in seen.runs {
            let begin = || Followed { tail: Some(Tail::new(source::record_of(&run))), lives: true };
            self.tails.entry(run.id.clone()).or_insert_with(begin).lives = true;
        }
        self.tails.retain(|_id, followed| followed.lives || followed.tail.is_some());
    }

    fn has_more(&self) -> bool {
        self.tails.values().filter_map(|followed| followed.tail.as_ref()).any(Tail::has_more)
    }

    fn read(&mut self, printer: &mut Printer<impl Write>) -> Result<()> {
        let mut places = BTreeSet::new();
        for (id, followed) in &mut self.tails {
            let Some(tail) = &mut followed.tail else { continue };
            // Runs may share a file: a line that does not say whose it is belongs to the first that reads it.
            let is_first = places.insert(tail.path().to_owned());
            let mut unprinted = None;
            let more = tail.read(&mut |line| {
                if !is_first && Line::parse(line) == Line::Damaged {
                    return Ok(());
                }
                printer.see(line, Some(id)).map_err(|error| {
                    unprinted = Some(error);
                    io::Error::other("not printed").into()
                })
            });
            if let Some(error) = unprinted {
                return Err(error);
            }
            match more {
                Ok(true) => {}
                // Its awf wrote everything before it died.
                Ok(false) if followed.lives => {}
                Ok(false) => {
                    // Of an awf that was killed; another run that writes there will end its line.
                    let rest = tail.rest().filter(|_line| is_first);
                    if let Some(line) = rest {
                        printer.see(&line, Some(id))?;
                    }
                    followed.tail = None;
                }
                Err(error) => {
                    tracing::warn!("run {id} cannot be followed: {error:#}");
                    followed.tail = None;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::commands::tail::tests::{append, place};

    #[test]
    fn runs_are_followed_until_all_that_they_wrote_is_read() {
        let path = place("runs");
        let run = live::tests::live("awf-1-ab12", "", path.parent().unwrap());
        let record =
            crate::commands::golden::RECORD.replace("awf-1795816800000-ab12", "awf-1-ab12");
        let lines: Vec<_> = record.split_inclusive('\n').collect();
        let screen = crate::commands::shown::Screen { columns: 80, colour: false };
        let format = (crate::cli::reading::LineFormat::Json, super::super::Filter::default());
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, format, screen);
        let mut runs = Runs::default();
        let seen = |runs| live::Seen { runs, complete: true, ..live::Seen::default() };
        runs.look(seen(Vec::new()));
        append(&path, lines[0]);
        runs.look(seen(vec![run]));
        runs.read(&mut printer).unwrap();
        append(&path, lines[1]);
        runs.look(seen(Vec::new()));
        runs.read(&mut printer).unwrap();
        runs.read(&mut printer).unwrap();
        assert!(runs.tails.values().all(|followed| followed.tail.is_none()));
        runs.look(seen(Vec::new()));
        assert!(runs.tails.is_empty());
        drop(printer);
        assert_eq!(String::from_utf8(out).unwrap(), lines[..2].concat());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_line_that_a_killed_run_did_not_end_is_shown_once_though_runs_share_the_file() {
        let path = place("shared");
        let [one, other] = ["awf-1-ab12", "awf-2-cd34"]
            .map(|id| live::tests::live(id, "", path.parent().unwrap()));
        let screen = crate::commands::shown::Screen { columns: 80, colour: false };
        let format = (crate::cli::reading::LineFormat::Raw, super::super::Filter::default());
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, format, screen);
        let mut runs = Runs::default();
        let seen = |runs| live::Seen { runs, complete: true, ..live::Seen::default() };
        append(&path, "damaged\ncut");
        runs.look(seen(vec![one, other]));
        runs.read(&mut printer).unwrap();
        runs.look(seen(Vec::new()));
        runs.read(&mut printer).unwrap();
        drop(printer);
        assert_eq!(String::from_utf8(out).unwrap(), "damaged\ncut\n");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
