//! What a run's requests add up to.
//!
//! Takes entries one by one and, apart from them, the attempts that Squid never saw; gives [`Totals`]. Must never grow with
//! the length of a log: what the command can invent without end (names, processes) is kept up to a limit, and the rest is
//! counted together.

use std::collections::BTreeMap;
use std::io::BufRead;

use anyhow::Result;
use indexmap::IndexMap;

use super::attempts::{self, Line, Read};
use super::denials::Denials;
use super::entry::{Entry, Outcome};
use super::manifest::{Action, Decided, Rules, UNKNOWN};
use crate::observe::record::{Layer, Verdict};
use crate::observe::summary::Lost;

/// Names and processes that are told apart: some 64 MiB at the very worst.
const MOST: usize = 16_384;
/// Bytes of the longest name that is: that of an executable's path (`PATH_MAX`, limits.h).
const LONGEST: usize = 4096;
/// What stands for the others.
pub(super) const OTHERS: &str = "(others)";

/// Requests or attempts by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) allowed: u64,
    pub(super) denied: u64,
    pub(super) failed: u64,
}

impl Tally {
    fn add(&mut self, outcome: Outcome, count: u64) {
        let counter = match outcome {
            Outcome::Allowed => &mut self.allowed,
            Outcome::Denied => &mut self.denied,
            Outcome::Error => &mut self.failed,
        };
        *counter = counter.saturating_add(count);
    }

    pub(super) const fn total(self) -> u64 {
        self.allowed.saturating_add(self.denied).saturating_add(self.failed)
    }
}

/// How often a rule decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hits {
    pub(super) id: String,
    pub(super) description: String,
    pub(super) action: Action,
    pub(super) count: u64,
}

/// Hits of all rules: those of the manifest in their order, then those that only the log names.
#[derive(Debug, Default)]
pub(super) struct RuleHits {
    listed: Vec<u64>,
    allowing: IndexMap<String, u64>,
    denying: IndexMap<String, u64>,
}

impl RuleHits {
    pub(super) fn add(&mut self, rules: &Rules, decided: Decided<'_>, outcome: Outcome) {
        match decided {
            Decided::Recorded(index) | Decided::Replayed(index) => {
                if self.listed.len() <= index {
                    self.listed.resize(index + 1, 0);
                }
                if let Some(hits) = self.listed.get_mut(index) {
                    *hits += 1;
                }
            }
            Decided::Elsewhere(_) | Decided::Unknown => {
                let others = match outcome {
                    Outcome::Allowed => &mut self.allowing,
                    Outcome::Denied | Outcome::Error => &mut self.denying,
                };
                change(others, rules.id(decided), |hits| *hits += 1);
            }
        }
    }

    /// For printing.
    pub(super) fn list(&self, rules: &Rules) -> Vec<Hits> {
        let listed = rules.iter().enumerate().map(|(index, rule)| Hits {
            id: rule.id.clone(),
            description: rule.description.clone(),
            action: rule.action,
            count: self.listed.get(index).copied().unwrap_or_default(),
        });
        let allowing = self.allowing.iter().map(|(id, hits)| (id, Action::Allow, hits));
        let denying = self.denying.iter().map(|(id, hits)| (id, Action::Deny, hits));
        let others = allowing.chain(denying).map(|(id, action, hits)| Hits {
            id: id.clone(),
            description: if id == UNKNOWN { "no rule is known to have decided" } else { "" }
                .to_owned(),
            action,
            count: *hits,
        });
        listed.chain(others).collect()
    }
}

/// Changes the value of a key, or of [`OTHERS`] if there are too many keys.
fn change<V: Default>(map: &mut IndexMap<String, V>, key: &str, change: impl FnOnce(&mut V)) {
    // First without `entry`, which would make a String for every line of a log.
    if let Some(value) = map.get_mut(key) {
        return change(value);
    }
    let key = if map.len() < MOST && key.len() <= LONGEST { key } else { OTHERS };
    change(map.entry(key.to_owned()).or_default());
}

/// What requests add up to.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) all: Tally,
    /// Milliseconds of the first and of the last line.
    pub(super) range: Option<(i64, i64)>,
    /// In the order in which they were first asked for.
    pub(super) domains: IndexMap<String, Tally>,
    pub(super) rules: RuleHits,
    pub(super) damaged: u64,
}

impl Totals {
    /// Counts one. `peers` are containers whose refusals are of no interest.
    pub(super) fn add(&mut self, entry: &Entry<'_>, peers: &[String], rules: &Rules) {
        if entry.time_ms != 0 {
            let (first, last) = self.range.get_or_insert((entry.time_ms, entry.time_ms));
            *first = entry.time_ms.min(*first);
            *last = entry.time_ms.max(*last);
        }
        let outcome = entry.outcome();
        if !entry.is_request() || (outcome == Outcome::Denied && entry.is_internal(peers)) {
            return;
        }
        self.all.add(outcome, 1);
        self.rules.add(rules, rules.decided(entry), outcome);
        let domain = entry.domain();
        // Without a host it is for nobody.
        if domain != "-" || entry.url == "-" {
            change(&mut self.domains, domain, |tally| tally.add(outcome, 1));
        }
    }

    /// Domains, those with the most requests first.
    pub(super) fn by_total(&self) -> Vec<(&str, Tally)> {
        let named = self.domains.iter().filter(|(name, _tally)| *name != "-");
        let mut list: Vec<_> = named.map(|(name, tally)| (name.as_str(), *tally)).collect();
        list.sort_by_key(|(_name, tally)| std::cmp::Reverse(tally.total()));
        list
    }
}

/// What the record has beside Squid's logs.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Refusals that Squid never saw, by rule and by who judged.
    pub(super) refused: BTreeMap<(String, Layer), u64>,
    /// The same by process.
    pub(super) refused_by: IndexMap<String, u64>,
    /// Lines of attempts, whether they were kept or not.
    pub(super) attempts: u64,
    /// All attempts by process.
    pub(super) processes: IndexMap<String, Tally>,
    /// All attempts by protocol.
    pub(super) protocols: IndexMap<String, Tally>,
    /// What is missing, and whether nothing is; known at the end of a run.
    pub(super) end: Option<(Lost, bool)>,
    pub(super) damaged: u64,
}

impl Beside {
    /// Reads a record, as far as it is to be kept.
    pub(super) fn read(
        file: impl BufRead,
        denials: &mut Denials,
        keep: impl Fn(&Line<'_>, Outcome) -> bool,
    ) -> Result<Self> {
        let mut beside = Self::default();
        attempts::each(file, |line| {
            match line {
                Read::Attempt(line, verdict, layer) => {
                    let outcome = match verdict {
                        Verdict::Allow => Outcome::Allowed,
                        Verdict::Deny => Outcome::Denied,
                        Verdict::Error => Outcome::Error,
                    };
                    beside.attempts += 1;
                    let unseen = denials.unseen(&line, (verdict, layer));
                    if layer != Layer::Guard && keep(&line, outcome) {
                        beside.add(&line, outcome, (layer, unseen));
                    }
                }
                Read::End(lost, complete) => beside.end_with(lost, complete),
                Read::Other => {}
                Read::Damaged => beside.damaged += 1,
            }
            Ok(())
        })?;
        Ok(beside)
    }

    fn add(&mut self, line: &Line<'_>, outcome: Outcome, (layer, unseen): (Layer, u64)) {
        let process = process_of(line);
        change(&mut self.processes, process, |tally| tally.add(outcome, line.count));
        change(&mut self.protocols, &line.protocol, |tally| tally.add(outcome, line.count));
        if unseen == 0 {
            return;
        }
        let rule = (line.rule.clone().into_owned(), layer);
        let known = self.refused.len() < MOST || self.refused.contains_key(&rule);
        let rule = if known { rule } else { (OTHERS.to_owned(), layer) };
        let count = self.refused.entry(rule).or_default();
        *count = count.saturating_add(unseen);
        change(&mut self.refused_by, process, |count| *count = count.saturating_add(unseen));
    }

    /// A directory that several runs used has several ends.
    fn end_with(&mut self, lost: Lost, complete: bool) {
        let (sum, whole) = self.end.unwrap_or_else(|| (Lost::default(), true));
        let sum = Lost {
            ring: sum.ring + lost.ring,
            written: sum.written + lost.written,
            stray: sum.stray + lost.stray,
        };
        self.end = Some((sum, whole && complete));
    }

    /// Refusals that Squid never saw.
    pub(super) fn unseen(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// What a process is called: by what it runs, else by the name it gave itself.
pub(super) fn process_of<'a>(line: &'a Line<'_>) -> &'a str {
    match (&*line.exe, &*line.comm) {
        ("", "") => "(unknown)",
        ("", comm) => comm,
        (exe, _comm) => exe,
    }
}

/// The largest first; equal ones in the order in which they came.
pub(super) fn descending<V: Copy>(
    map: &IndexMap<String, V>,
    size: impl Fn(V) -> u64,
) -> Vec<(&str, V)> {
    let mut list: Vec<_> = map.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    list.sort_by_key(|(_name, value)| std::cmp::Reverse(size(*value)));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_invented_without_end_is_counted_together_at_last() {
        let mut map = IndexMap::new();
        for number in 0..MOST + 5 {
            change(&mut map, &number.to_string(), |count: &mut u64| *count += 1);
        }
        change(&mut map, &"x".repeat(LONGEST + 1), |count| *count += 1);
        change(&mut map, "0", |count| *count += 1);
        assert_eq!((map.len(), map[OTHERS], map["0"]), (MOST + 1, 6, 2));
    }
}
