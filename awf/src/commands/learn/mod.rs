//! `awf learn`: the smallest allow list that covers what runs needed.
//!
//! Takes records, gives a proposal with its evidence. Must never: be silent about a record from which something is missing,
//! since the list would be too short.

mod against;
mod evidence;
mod health;
mod proposal;
mod show;

use std::io::{BufRead, BufReader};

use anyhow::{Context as _, Result};

use super::{lines, source};
use crate::cli::listed;
use crate::cli::reading::{LearnArgs, ProposalFormat};
use crate::exit::Exit;
use crate::host::Caller;
use crate::plan;
use crate::speech;
use against::Difference;
use evidence::Gathered;
use health::Health;
use proposal::Proposal;
use show::Shown;

/// Something is missing in the list of `--against`.
const MISSING: Exit = Exit::Agent(1);
/// Whether something is missing cannot be told.
const UNTOLD: Exit = Exit::Agent(2);

/// Proposes.
pub fn learn(args: &LearnArgs) -> Result<Exit> {
    match propose(args) {
        Err(error) if args.against.is_some() => {
            speech::error(&error);
            Ok(UNTOLD)
        }
        outcome => outcome,
    }
}

fn propose(args: &LearnArgs) -> Result<Exit> {
    let mut learnt = Learnt::default();
    let said: Vec<Option<&str>> = if args.source.is_empty() {
        vec![None]
    } else {
        args.source.iter().map(|said| Some(said.as_str())).collect()
    };
    for said in said {
        let record = lines::locate(said)?;
        let file = source::open(&record)?;
        let read = learnt.read(BufReader::new(file), &record.display().to_string(), args.denied);
        read.with_context(|| format!("read {}", record.display()))?;
    }
    let list = args.against.as_deref().map(list).transpose()?;
    let (text, missing) = learnt.show(args, list.as_deref())?;
    for warning in &learnt.warnings {
        tracing::warn!("The list may be too short: {warning}");
    }
    speech::print(&text)?;
    Ok(if missing { MISSING } else { Exit::Agent(0) })
}

fn list(said: &str) -> Result<Vec<String>> {
    let caller = Caller::inspect()?;
    Ok(plan::entries(&listed("--against", said, &caller)?))
}

/// What all records told.
#[derive(Default)]
struct Learnt {
    gathered: Gathered,
    warnings: Vec<String>,
    records: usize,
}

impl Learnt {
    fn read(&mut self, file: impl BufRead, name: &str, denied: bool) -> std::io::Result<()> {
        let mut health = Health::default();
        let gathered = &mut self.gathered;
        lines::each(file, |_number, line| {
            gathered.see(line, &mut health, denied);
            Ok::<_, std::io::Error>(())
        })?;
        self.records += 1;
        self.warnings.extend(health.warnings().iter().map(|warning| format!("{name}: {warning}")));
        Ok(())
    }

    /// The text, and whether something is missing in the list.
    fn show(&mut self, args: &LearnArgs, list: Option<&[String]>) -> Result<(String, bool)> {
        self.gathered.settle();
        for (count, what) in [
            (self.gathered.forgotten_needs, "attempts for more names than can be told apart"),
            (self.gathered.forgotten, "attempts of more other kinds than can be told apart"),
        ] {
            if count > 0 {
                self.warnings.push(format!("{what}: {count}"));
            }
        }
        let needs = &self.gathered.needs;
        let proposal = Proposal::of(needs, args.fold.map(usize::from));
        let difference = list.map(|list| Difference::of(&proposal, needs, list)).transpose()?;
        let shown = Shown {
            proposal: &proposal,
            gathered: &self.gathered,
            difference: difference.as_ref(),
            warnings: &self.warnings,
            records: self.records,
        };
        let text = match args.format {
            ProposalFormat::Pretty => shown.pretty(),
            ProposalFormat::List => format!("{}\n", proposal.list()),
            ProposalFormat::Ruleset => shown.ruleset(),
            ProposalFormat::Json => shown.json()?,
        };
        let missing = difference.is_some_and(|difference| !difference.missing.is_empty());
        Ok((text, missing))
    }
}

#[cfg(test)]
mod tests;
