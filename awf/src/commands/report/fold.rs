//! What lines add up to: all that the page is written from.

use std::collections::BTreeSet;
use std::io::{self, BufRead};

use super::bounded::Bounded;
use super::processes::Processes;
use super::timeline::Timeline;
use crate::commands::export::opened::RunLines;
use crate::commands::export::text;
use crate::commands::lines::Line;
use crate::observe::record::{Layer, Record, Verdict};

/// Rows of the table of destinations.
const DESTINATIONS: usize = 1_000;
/// Rows of the table of one rule: noise under one rule must not push out what another one refused.
const REFUSALS: usize = 1_000;
/// Rules that have a table: there are some dozens, unless the record was changed.
const RULES: usize = 100;
/// Processes and ports that are named with a destination.
const NAMED: usize = 4;

/// What became of an attempt, as the page tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Allowed,
    /// Let through by audit mode only.
    Audited,
    Refused,
    Failed,
}

impl Kind {
    pub(super) fn of(record: &Record) -> Self {
        match (record.verdict, &record.would_deny) {
            (Verdict::Allow, None) => Self::Allowed,
            (Verdict::Allow, Some(_)) => Self::Audited,
            (Verdict::Deny, _) => Self::Refused,
            (Verdict::Error, _) => Self::Failed,
        }
    }
}

/// Attempts by what became of them, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) allowed: u64,
    pub(super) audited: u64,
    pub(super) refused: u64,
    pub(super) failed: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Counts {
    pub(super) fn count(&mut self, kind: Kind, count: u64) {
        let slot = match kind {
            Kind::Allowed => &mut self.allowed,
            Kind::Audited => &mut self.audited,
            Kind::Refused => &mut self.refused,
            Kind::Failed => &mut self.failed,
        };
        *slot = slot.saturating_add(count);
    }

    pub(super) fn add(&mut self, record: &Record) {
        self.count(Kind::of(record), record.count);
        self.sent = self.sent.saturating_add(record.bytes_out.unwrap_or(0));
        self.received = self.received.saturating_add(record.bytes_in.unwrap_or(0));
    }

    pub(super) fn attempts(&self) -> u64 {
        let sum = self.allowed.saturating_add(self.audited);
        sum.saturating_add(self.refused).saturating_add(self.failed)
    }
}

/// A few of many.
#[derive(Debug, Default)]
pub(super) struct Few {
    pub(super) named: BTreeSet<String>,
    pub(super) more: bool,
}

impl Few {
    fn add(&mut self, text: String) {
        if self.named.len() < NAMED {
            self.named.insert(text);
        } else if !self.named.contains(&text) {
            self.more = true;
        }
    }
}

/// What was tried at one name or address.
#[derive(Debug, Default)]
pub(super) struct Destination {
    pub(super) counts: Counts,
    pub(super) ports: Few,
    pub(super) processes: Few,
}

/// What tells refusals by one rule apart.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RefusalKey {
    pub(super) destination: String,
    pub(super) protocol: String,
    pub(super) process: String,
}

/// Attempts that were refused alike, or would have been.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    pub(super) count: u64,
    /// Those that audit mode let through.
    pub(super) audited: u64,
    /// The first of them.
    pub(super) reason: String,
    pub(super) layer: Option<Layer>,
    pub(super) time: String,
    pub(super) line: u64,
}

/// The refusals by one rule.
#[derive(Debug)]
pub(super) struct OfRule(pub(super) Bounded<RefusalKey, Refusal>);

impl Default for OfRule {
    fn default() -> Self {
        Self(Bounded::new(REFUSALS))
    }
}

/// The record.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) run: Option<String>,
    pub(super) step: Option<String>,
    pub(super) totals: Counts,
    /// Connections of the proxy's that were refused to it: no attempts of the command's.
    pub(super) guarded: u64,
    pub(super) damaged: u64,
    pub(super) signed: bool,
    /// Lines of other runs in the file, which are not counted.
    pub(super) others: u64,
    pub(super) destinations: Bounded<String, Destination>,
    pub(super) refusals: Bounded<String, OfRule>,
    pub(super) processes: Processes,
    pub(super) timeline: Timeline,
}

impl Fold {
    /// Adds up all lines.
    pub(super) fn of(record: RunLines<impl BufRead>) -> io::Result<Self> {
        let mut fold = Self {
            run: None,
            step: None,
            totals: Counts::default(),
            guarded: 0,
            damaged: 0,
            signed: false,
            others: 0,
            destinations: Bounded::new(DESTINATIONS),
            refusals: Bounded::new(RULES),
            processes: Processes::default(),
            timeline: Timeline::default(),
        };
        fold.others = record.each(|number, line| {
            match line {
                Line::Attempt(record) => fold.add(&record, number),
                Line::Damaged => fold.damaged += 1,
                Line::Signature(_) => fold.signed = true,
                Line::Summary(_) => {}
            }
            Ok(())
        })?;
        Ok(fold)
    }

    fn add(&mut self, record: &Record, line: u64) {
        self.run.get_or_insert_with(|| text::shown(&record.run));
        if let (None, Some(step)) = (&self.step, &record.step) {
            self.step = Some(text::shown(step));
        }
        if !record.is_of_command() {
            self.guarded = self.guarded.saturating_add(record.count);
            return;
        }
        self.totals.add(record);
        self.timeline.add(record);
        self.processes.add(record);
        if let Some(target) = text::target(record)
            && let Some(row) = self.destinations.row(target, record.count)
        {
            row.counts.add(record);
            if let Some(port) = record.port {
                row.ports.add(port.to_string());
            }
            if let Some(process) = text::process(record) {
                row.processes.add(process);
            }
        }
        self.refuse(record, line);
    }

    fn refuse(&mut self, record: &Record, line: u64) {
        let kind = Kind::of(record);
        let rule = match (kind, &record.would_deny) {
            (Kind::Refused, _) => &record.rule,
            (Kind::Audited, Some(rule)) => rule,
            _ => return,
        };
        let key = RefusalKey {
            destination: text::destination(record),
            protocol: text::shown(&record.protocol),
            process: text::process(record).unwrap_or_default(),
        };
        let of_rule = self.refusals.row(rule.clone(), record.count);
        let row = of_rule.and_then(|OfRule(rows)| rows.row(key, record.count));
        let Some(row) = row else { return };
        if row.layer.is_none() {
            row.layer = Some(record.layer);
            row.reason = text::shown(&record.reason);
            row.time.clone_from(&record.time);
            row.line = line;
        }
        row.count += record.count;
        if kind == Kind::Audited {
            row.audited += record.count;
        }
    }
}
