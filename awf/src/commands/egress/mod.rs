//! `awf logs egress`, `schema` and `rules`: the record of every attempt, line by line, and what stands in it.
//!
//! Takes records as files, also while they grow; gives their lines on standard output, and what cannot be read as a number on
//! standard error. Must never: hold more of a file than a line, or end because one is damaged.

mod filter;
mod follow;
mod pretty;
mod printer;
mod rules;
mod schema;

use std::io::{self, BufReader, IsTerminal as _};

use anyhow::{Context as _, Result};

use super::lines;
use super::shown::{Screen, ended, out};
use super::source;
use crate::cli::reading::EgressArgs;
use crate::exit::Exit;
use crate::speech;
use filter::Filter;
use printer::Printer;

/// Shows a record, or several that grow.
pub fn show(args: &EgressArgs) -> Result<Exit> {
    let (screen, terminal) = (Screen::of_stdout(), io::stdout().is_terminal());
    let filter = Filter::of(args);
    if args.follow && args.source.is_none() {
        let mut printer = Printer::new(out(), (args.format, filter), screen).on(terminal);
        return ended(follow::all_runs(&mut printer));
    }
    let path = lines::locate(args.source.as_deref())?;
    let mut printer = Printer::new(out(), (args.format, filter), screen).on(terminal);
    if args.follow {
        return ended(follow::one_file(&path, &mut printer));
    }
    let mut file = BufReader::with_capacity(64 << 10, source::open(&path)?);
    let mut text = Vec::new();
    let mut print = || {
        while lines::next(&mut file, &mut text)
            .with_context(|| format!("read {}", path.display()))?
        {
            printer.see(&text, None)?;
        }
        printer.end()
    };
    ended(print())
}

/// Prints what the rules mean.
pub fn rules() -> Result<Exit> {
    speech::print(&rules::page())?;
    Ok(Exit::Agent(0))
}

/// Prints the schema of a line.
pub fn schema() -> Result<Exit> {
    speech::print(&format!("{:#}\n", schema::schema()))?;
    Ok(Exit::Agent(0))
}
