//! One run's lines, counted and followed, and what they come to. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::commands::lines::Line;
use crate::observe::chain::key::PublicKey;
use crate::observe::chain::{Chain, Link, Signature};
use crate::observe::record::{Layer, Record, Verdict};
use crate::observe::summary::{Attempts, Summary};

/// Where the kernel counts what it refuses.
const REFUSALS: [&str; 3] = ["refuse", "drop_packet", "guard_refuse"];

/// What was seen of a run.
#[derive(Debug, Default)]
pub(super) struct Account {
    lines: u64,
    attempts: Attempts,
    rules: BTreeMap<String, u64>,
    /// Refused attempts that the kernel counts, too.
    refused: u64,
    chain: Chain,
    /// Lines that hold in the chain.
    linked: u64,
    /// The first line that does not.
    broken: Option<u64>,
    /// The first line outside of the chain.
    loose: Option<u64>,
    end: Option<Box<Summary>>,
    signature: Option<(Box<Signature>, Option<PublicKey>)>,
    /// The first line behind the end.
    late: Option<u64>,
}

/// How a claim stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is true.
    Holds,
    /// It is not.
    Fails,
    /// The record does not make it.
    Absent,
}

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) state: State,
    pub(super) what: &'static str,
    pub(super) text: String,
}

impl Finding {
    fn new(state: State, what: &'static str, text: &str) -> Self {
        Self { state, what, text: text.to_owned() }
    }

    pub(super) fn fails(what: &'static str, text: &str) -> Self {
        Self::new(State::Fails, what, text)
    }

    fn holds(what: &'static str, text: &str) -> Self {
        Self::new(State::Holds, what, text)
    }
}

impl Account {
    pub(super) const fn lines(&self) -> u64 {
        self.lines
    }

    /// Whether a change of a line could be told.
    pub(super) const fn is_protected(&self) -> bool {
        self.linked > 0 || self.signature.is_some()
    }

    /// Takes a line with its number and its text.
    pub(super) fn see(&mut self, number: u64, text: &[u8], line: Line) {
        self.lines += 1;
        let is_late = match line {
            Line::Signature(_) => self.signature.is_some() || self.end.is_none(),
            Line::Attempt(_) | Line::Summary(_) | Line::Damaged => {
                self.signature.is_some() || self.end.is_some()
            }
        };
        if is_late {
            self.late.get_or_insert(number);
        }
        if let Line::Signature(signature) = line {
            let signer = signature.signer(&self.chain);
            self.signature.get_or_insert((signature, signer));
            return;
        }
        match self.chain.follow(text) {
            Link::Holds => self.linked += 1,
            Link::Broken => _ = self.broken.get_or_insert(number),
            Link::None => _ = self.loose.get_or_insert(number),
        }
        match line {
            Line::Attempt(record) => self.count(&record),
            Line::Summary(summary) => _ = self.end.get_or_insert(summary),
            Line::Signature(_) | Line::Damaged => {}
        }
    }

    fn count(&mut self, record: &Record) {
        let of_verdict = match record.verdict {
            Verdict::Allow => &mut self.attempts.allow,
            Verdict::Deny => &mut self.attempts.deny,
            Verdict::Error => &mut self.attempts.error,
        };
        *of_verdict = of_verdict.saturating_add(record.count);
        let by_kernel = matches!(record.layer, Layer::Kernel | Layer::Lsm | Layer::Guard);
        if by_kernel && record.verdict == Verdict::Deny {
            self.refused = self.refused.saturating_add(record.count);
        }
        if let Some(of_rule) = self.rules.get_mut(&record.rule) {
            *of_rule = of_rule.saturating_add(record.count);
        } else {
            self.rules.insert(record.rule.clone(), record.count);
        }
    }

    /// All claims, and whether they hold; `wanted` must have signed.
    pub(super) fn findings(&self, wanted: Option<&PublicKey>) -> Vec<Finding> {
        let mut findings = vec![self.chain_finding(), self.end_finding()];
        if let Some(end) = &self.end {
            findings.push(complete_finding(end));
            findings.push(self.totals_finding(end));
            findings.push(self.kernel_finding(end));
        }
        findings.push(self.signature_finding(wanted));
        findings
    }

    fn chain_finding(&self) -> Finding {
        let what = "chain";
        if self.linked == 0 && self.broken.is_none() {
            let text = "not chained: a changed line could not be told (--record-chain)";
            return Finding::new(State::Absent, what, text);
        }
        match self.broken.into_iter().chain(self.loose).min() {
            Some(line) => Finding::fails(
                what,
                &format!(
                    "broken: line {line} is not as it was written, or lines are missing before it"
                ),
            ),
            None => Finding::holds(what, &format!("up to {}", self.chain.text())),
        }
    }

    fn end_finding(&self) -> Finding {
        match (&self.end, self.late) {
            (None, _) => {
                Finding::fails("end", "missing: the run goes on, was killed, or lines were cut off")
            }
            (Some(_), Some(line)) => {
                Finding::fails("end", &format!("line {line} does not belong there"))
            }
            (Some(end), None) => {
                let exit = end.exit_code.map_or_else(
                    || "there, without an exit code: the run failed".to_owned(),
                    |code| format!("there, with exit code {code}"),
                );
                Finding::holds("end", &exit)
            }
        }
    }

    fn totals_finding(&self, end: &Summary) -> Finding {
        let attempts = |of: &Attempts| {
            [("allow", of.allow), ("deny", of.deny), ("error", of.error)]
                .map(|(name, count)| (name.to_owned(), count))
        };
        let said = BTreeMap::from(attempts(&end.attempts));
        let counted = BTreeMap::from(attempts(&self.attempts));
        let wrong = different(&said, &counted, end.lost.written)
            .or_else(|| different(&end.rules, &self.rules, end.lost.written));
        wrong.map_or_else(
            || {
                let Attempts { allow, deny, error } = self.attempts;
                let counts = format!("{allow} allowed, {deny} denied, {error} failed");
                Finding::holds("totals", &(counts + ", as the end says"))
            },
            |wrong| Finding::fails("totals", &wrong),
        )
    }

    fn kernel_finding(&self, end: &Summary) -> Finding {
        let what = "kernel";
        if !REFUSALS.iter().any(|name| end.kernel.contains_key(*name)) {
            return Finding::new(State::Absent, what, "the end has no counters of the kernel's");
        }
        let counters = REFUSALS.iter().filter_map(|name| end.kernel.get(*name));
        let counted = counters.fold(0_u64, |sum, count| sum.saturating_add(*count));
        let (recorded, lost) = (self.refused, end.lost.total());
        let text = format!("it refused {counted}, {recorded} of them on record");
        match counted.checked_sub(recorded) {
            Some(0) => Finding::holds(what, &text),
            Some(missing) if missing <= lost => {
                Finding::holds(what, &format!("{text}, {missing} lost as the end says"))
            }
            Some(missing) => Finding::fails(
                what,
                &format!("{text}, {lost} lost as the end says: {} missing", missing - lost),
            ),
            None => Finding::fails(
                what,
                &format!(
                    "it refused {counted}, but {recorded} are on record: {} too many",
                    recorded - counted
                ),
            ),
        }
    }

    fn signature_finding(&self, wanted: Option<&PublicKey>) -> Finding {
        let what = "signature";
        match (&self.signature, wanted) {
            (None, None) => {
                let text = if self.linked == 0 {
                    "not signed (--record-key)"
                } else {
                    "not signed: whoever can write the file can make another chain (--record-key)"
                };
                Finding::new(State::Absent, what, text)
            }
            (None, Some(wanted)) => {
                Finding::fails(what, &format!("not signed, and it must be by {wanted}"))
            }
            (Some((_signature, None)), _) => Finding::fails(what, "not a signature of these lines"),
            (Some((_signature, Some(key))), Some(wanted)) if key != wanted => {
                Finding::fails(what, &format!("by {key}, and it must be by {wanted}"))
            }
            (Some((_signature, Some(key))), wanted) => {
                let known = if wanted.is_some() { "" } else { ", whoever that is (--public-key)" };
                Finding::holds(what, &format!("by {key}{known}"))
            }
        }
    }
}

fn complete_finding(end: &Summary) -> Finding {
    let lost = end.lost;
    match (end.complete, lost.total()) {
        (true, 0) => Finding::holds("complete", "the end says that nothing is missing"),
        (false, 0) => {
            Finding::fails("complete", "the end says that attempts may be missing, not how many")
        }
        (_, total) => Finding::fails(
            "complete",
            &format!(
                "the end says that {total} are missing ({} in the kernel's buffer, {} before the disk, {} of unknown origin)",
                lost.ring, lost.written, lost.stray
            ),
        ),
    }
}

/// The first name with another count than was said, unless so many were lost on the way to the disk.
fn different(
    said: &BTreeMap<String, u64>,
    counted: &BTreeMap<String, u64>,
    mut lost: u64,
) -> Option<String> {
    let count = |of: &BTreeMap<String, u64>, name: &str| of.get(name).copied().unwrap_or_default();
    let names: BTreeSet<&String> = said.keys().chain(counted.keys()).collect();
    for name in names {
        let (said, counted) = (count(said, name), count(counted, name));
        let Some(left) = said.checked_sub(counted).and_then(|missing| lost.checked_sub(missing))
        else {
            let name = crate::commands::shown::shown(name);
            return Some(format!("{name}: the end says {said}, the lines say {counted}"));
        };
        lost = left;
    }
    None
}
