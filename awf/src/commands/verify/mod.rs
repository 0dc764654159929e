//! `awf logs verify`: whether a record is whole, unchanged, and signed by whom.
//!
//! Takes a record as a file, which may hold those of several runs one after the other; gives one finding for each thing that
//! it claims. Must never: hold more of the file than a line, or take what is missing for what holds.

mod account;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::lines::{self, Line};
use super::shown::{Colour, Screen, shown};
use super::source;
use crate::cli::reading::VerifyArgs;
use crate::exit::Exit;
use crate::observe::chain::key::PublicKey;
use crate::speech;
use account::{Account, Finding, State};

/// Says what holds, and ends with 1 if anything does not.
pub fn verify(args: &VerifyArgs) -> Result<Exit> {
    let wanted = args.public_key.as_deref().map(key).transpose()?;
    let path = lines::locate(args.source.as_deref())?;
    let mut file = Contents::default();
    file.read(BufReader::new(source::open(&path)?))
        .with_context(|| format!("read {}", path.display()))?;
    let (text, holds) = file.report(&path, wanted, Screen::of_stdout());
    speech::print(&text)?;
    Ok(Exit::Agent(u8::from(!holds)))
}

fn key(path: &Path) -> Result<PublicKey> {
    PublicKey::read(path).with_context(|| {
        let name = path.display();
        format!("read --public-key {name}; `openssl pkey -pubout` gives the one of a private key")
    })
}

/// What a file holds.
#[derive(Debug, Default)]
struct Contents {
    lines: u64,
    /// Lines that cannot be read, and the first of them.
    damaged: (u64, u64),
    /// By the ids of the runs, in the order in which they begin.
    runs: BTreeMap<Arc<str>, Account>,
    order: Vec<Arc<str>>,
}

impl Contents {
    fn read(&mut self, mut file: impl BufRead) -> std::io::Result<()> {
        let mut text = Vec::new();
        while lines::next(&mut file, &mut text)? {
            self.lines += 1;
            let line = Line::parse(&text);
            let run = match &line {
                Line::Attempt(record) => &record.run,
                Line::Summary(summary) => &summary.run,
                Line::Signature(signature) => &signature.run,
                Line::Damaged => {
                    self.damaged.0 += 1;
                    if self.damaged.0 == 1 {
                        self.damaged.1 = self.lines;
                    }
                    continue;
                }
            };
            if !self.runs.contains_key(run) {
                self.order.push(Arc::clone(run));
            }
            self.runs.entry(Arc::clone(run)).or_default().see(self.lines, &text, line);
        }
        Ok(())
    }

    /// The text, and whether all holds.
    fn report(&self, path: &Path, wanted: Option<PublicKey>, screen: Screen) -> (String, bool) {
        let mut text =
            format!("{}: {}\n", shown(&path.to_string_lossy()), count(self.lines, "line"));
        let mut failed = 0;
        let mut say = |text: &mut String, finding: &Finding| {
            failed += u64::from(finding.state == State::Fails);
            // Writing to a string cannot fail.
            let _written = writeln!(text, "  {}", told(finding, screen)).is_ok();
        };
        if self.order.is_empty() {
            say(&mut text, &Finding::fails("lines", "no line of a run can be read"));
        }
        if let (number @ 1.., first) = self.damaged {
            let damaged =
                format!("{} cannot be read, the first is line {first}", count(number, "line"));
            say(&mut text, &Finding::fails("lines", &damaged));
        }
        for run in &self.order {
            let Some(account) = self.runs.get(run) else { continue };
            let _written =
                writeln!(text, "run {}: {}", shown(run), count(account.lines(), "line")).is_ok();
            for finding in account.findings(wanted.as_ref()) {
                say(&mut text, &finding);
            }
        }
        let end = if failed == 0 {
            let bare = self.runs.values().any(|account| !account.is_protected());
            let colour = if bare { Colour::Yellow } else { Colour::Green };
            let mark = screen.painted(colour, "ok");
            let but = if bare { ", but nothing protects it against changes" } else { "" };
            format!("{mark}: all that the record claims holds{but}\n")
        } else {
            let mark = screen.painted(Colour::Red, "NOT OK");
            let verb = if failed == 1 { "does" } else { "do" };
            format!("{mark}: {failed} of the record's claims {verb} not hold\n")
        };
        text += &end;
        (text, failed == 0)
    }
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn told(finding: &Finding, screen: Screen) -> String {
    let (colour, mark) = match finding.state {
        State::Holds => (Colour::Green, "ok   "),
        State::Fails => (Colour::Red, "FAILS"),
        State::Absent => (Colour::Yellow, "-    "),
    };
    format!("{} {:<10} {}", screen.painted(colour, mark), finding.what, finding.text)
}

#[cfg(test)]
mod tests;
