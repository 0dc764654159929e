//! Totals for programs: the original's members in its order, then what awf adds.

use anyhow::Result;
use indexmap::IndexMap;
use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

use super::entry::Seconds;
use super::text;
use super::totals::{Beside, Hits, Tally, Totals, descending};
use crate::observe::record::Layer;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Account<'a> {
    total_requests: u64,
    allowed_requests: u64,
    denied_requests: u64,
    unique_domains: usize,
    time_range: Option<Range>,
    by_domain: &'a IndexMap<String, Tally>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    by_rule: Vec<Evaluated<'a>>,
    failed_requests: u64,
    damaged_lines: u64,
    #[serde(flatten)]
    beside: Option<Record<'a>>,
}

#[derive(Serialize)]
struct Range {
    start: Seconds,
    end: Seconds,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Evaluated<'a> {
    rule_id: &'a str,
    description: &'a str,
    action: &'static str,
    hits: u64,
}

/// What `egress.jsonl` adds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    before_proxy: Before<'a>,
    by_process: Vec<Attributed<'a>>,
    by_protocol: IndexMap<&'a str, Tally>,
    /// Null as long as the run goes on.
    lost: Option<Missing>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Before<'a> {
    denied: u64,
    by_rule: Vec<Judged<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Judged<'a> {
    rule_id: &'a str,
    layer: Layer,
    hits: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attributed<'a> {
    process: &'a str,
    #[serde(flatten)]
    attempts: Tally,
    denied_before_proxy: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Missing {
    ring: u64,
    written: u64,
    stray: u64,
    damaged_lines: u64,
    complete: bool,
}

impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("Tally", 4)?;
        members.serialize_field("allowed", &self.allowed)?;
        members.serialize_field("denied", &self.denied)?;
        members.serialize_field("total", &self.total())?;
        // Where nothing failed, the members are the original's.
        if self.failed > 0 {
            members.serialize_field("failed", &self.failed)?;
        }
        members.end()
    }
}

/// Totals, rules and what the record adds.
pub(super) fn of(totals: &Totals, hits: &[Hits], beside: Option<&Beside>) -> Result<String> {
    let account = Account {
        total_requests: totals.all.total(),
        allowed_requests: totals.all.allowed,
        denied_requests: totals.all.denied,
        unique_domains: totals.domains.len(),
        time_range: totals
            .range
            .map(|(start, end)| Range { start: Seconds(start), end: Seconds(end) }),
        by_domain: &totals.domains,
        by_rule: hits.iter().map(Evaluated::of).collect(),
        failed_requests: totals.all.failed,
        damaged_lines: totals.damaged,
        beside: beside.map(Record::of),
    };
    text::json_indented(&account)
}

impl<'a> Evaluated<'a> {
    fn of(hits: &'a Hits) -> Self {
        Self {
            rule_id: &hits.id,
            description: &hits.description,
            action: hits.action.name(),
            hits: hits.count,
        }
    }
}

impl<'a> Record<'a> {
    fn of(beside: &'a Beside) -> Self {
        let judged = |((rule, layer), hits): (&'a (String, Layer), &u64)| Judged {
            rule_id: rule,
            layer: *layer,
            hits: *hits,
        };
        let process = |(process, attempts): (&'a str, Tally)| Attributed {
            process,
            attempts,
            denied_before_proxy: beside.refused_by.get(process).copied().unwrap_or_default(),
        };
        Self {
            before_proxy: Before {
                denied: beside.unseen(),
                by_rule: beside.refused.iter().map(judged).collect(),
            },
            by_process: descending(&beside.processes, Tally::total)
                .into_iter()
                .map(process)
                .collect(),
            by_protocol: descending(&beside.protocols, Tally::total).into_iter().collect(),
            lost: beside.end.map(|(lost, complete)| Missing {
                ring: lost.ring,
                written: lost.written,
                stray: lost.stray,
                damaged_lines: beside.damaged,
                complete: complete && beside.damaged == 0,
            }),
        }
    }
}
