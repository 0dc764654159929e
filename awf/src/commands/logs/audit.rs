//! `awf logs audit`: which rule decided each request.
//!
//! Takes a source with its manifest; gives the requests, one by one for programs, or what they add up to for people. The
//! refusals that Squid never saw follow those of its log. Must never hold more denials than it prints.

use std::fs;
use std::io::{BufReader, Write};

use anyhow::{Result, bail};
use serde::Serialize;

use super::attempts::{self, Line, Read};
use super::audit_text::{Denial, Report};
use super::denials::Denials;
use super::entry::{Entry, Outcome, Seconds};
use super::manifest::{Manifest, Rules};
use super::text::{self, Paint};
use super::totals::{Beside, RuleHits, process_of};
use super::{Log, tell_damaged};
use crate::cli::reading::{AuditArgs, Decision, TotalsFormat};
use crate::commands::source::{self, Source};
use crate::observe::record::Layer;

/// What is asked, and what it is asked of.
#[derive(Clone, Copy)]
pub(super) struct Audit<'a> {
    pub(super) source: &'a Source,
    pub(super) manifest: &'a Manifest,
    pub(super) rules: &'a Rules,
    pub(super) args: &'a AuditArgs,
}

/// A request, in the original's form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    timestamp: Seconds,
    domain: &'a str,
    method: &'a str,
    status: u32,
    decision: Outcome,
    matched_rule: &'a str,
    match_reason: &'a str,
    url: &'a str,
    #[serde(flatten)]
    unseen: Option<Unseen<'a>>,
}

/// What is known beside that of an attempt that Squid never saw.
#[derive(Serialize)]
struct Unseen<'a> {
    layer: Layer,
    protocol: &'a str,
    process: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    count: u64,
}

impl Audit<'_> {
    /// Prints what is asked for.
    pub(super) fn print(self, paint: Paint, out: &mut impl Write) -> Result<()> {
        if self.args.format == TotalsFormat::Json {
            return self.items(out);
        }
        let mut report = Report::new(self.manifest, self.args.format);
        let mut hits = RuleHits::default();
        let mut seen = 0_u64;
        let mut denials = Denials::of(self.source);
        let damaged = self.each_entry(|entry| {
            seen += 1;
            denials.learn(entry);
            let decided = self.rules.decided(entry);
            let (outcome, rule) = (entry.outcome(), self.rules.id(decided));
            if !self.wants(entry.domain(), rule, outcome) {
                return Ok(());
            }
            hits.add(self.rules, decided, outcome);
            report.count(outcome, || Denial {
                time_ms: entry.time_ms,
                domain: entry.domain().to_owned(),
                rule: rule.to_owned(),
                reason: self.rules.reason(decided, entry.domain()),
            });
            Ok(())
        })?;
        let beside = self.beside(&mut denials)?;
        self.must_have(seen + beside.as_ref().map_or(0, |it| it.attempts))?;
        let text = report.text(&hits.list(self.rules), (damaged, beside.as_ref()), paint);
        Ok(writeln!(out, "{text}")?)
    }

    /// One item after the other.
    fn items(self, out: &mut impl Write) -> Result<()> {
        let (mut seen, mut printed) = (0_u64, 0_u64);
        let mut item = |item: &Item<'_>, out: &mut dyn Write| -> Result<()> {
            out.write_all(if printed == 0 { b"[" } else { b"," })?;
            printed += 1;
            for line in text::json_indented(item)?.lines() {
                write!(out, "\n  {line}")?;
            }
            Ok(())
        };
        let mut denials = Denials::of(self.source);
        self.each_entry(|entry| {
            seen += 1;
            denials.learn(entry);
            let decided = self.rules.decided(entry);
            let (domain, rule) = (entry.domain(), self.rules.id(decided));
            if !self.wants(domain, rule, entry.outcome()) {
                return Ok(());
            }
            let shown = Item {
                timestamp: Seconds(entry.time_ms),
                domain,
                method: &entry.method,
                status: entry.status,
                decision: entry.outcome(),
                matched_rule: rule,
                match_reason: &self.rules.reason(decided, domain),
                url: &entry.url,
                unseen: None,
            };
            item(&shown, out)
        })?;
        let attempts = self.each_unseen(&mut denials, |line, (layer, count)| {
            if !self.wants(subject(line), &line.rule, Outcome::Denied) {
                return Ok(());
            }
            let shown = Item {
                timestamp: Seconds(milliseconds(&line.time)),
                domain: subject(line),
                method: "-",
                status: 0,
                decision: Outcome::Denied,
                matched_rule: &line.rule,
                match_reason: &line.reason,
                url: &destination(line),
                unseen: Some(Unseen {
                    layer,
                    protocol: &line.protocol,
                    process: process_of(line),
                    pid: line.pid,
                    count,
                }),
            };
            item(&shown, out)
        })?;
        self.must_have(seen + attempts)?;
        out.write_all(if printed == 0 { b"[]" } else { b"\n]" })?;
        Ok(out.write_all(b"\n\n")?)
    }

    /// Gives every request of Squid's log, and the number of damaged lines at the end.
    fn each_entry(self, mut see: impl FnMut(&Entry<'_>) -> Result<()>) -> Result<u64> {
        let Some(log) = Log::for_totals(self.source) else { return Ok(0) };
        let damaged = log.each(|entry| if entry.is_request() { see(entry) } else { Ok(()) })?;
        tell_damaged(damaged, &log.path);
        Ok(damaged)
    }

    /// Gives every refusal that Squid never saw, and the number of all attempts on record at the end.
    fn each_unseen(
        self,
        denials: &mut Denials,
        mut see: impl FnMut(&Line<'_>, (Layer, u64)) -> Result<()>,
    ) -> Result<u64> {
        let Some(file) = self.record()? else { return Ok(0) };
        let mut attempts = 0;
        attempts::each(file, |read| {
            let Read::Attempt(line, verdict, layer) = read else { return Ok(()) };
            attempts += 1;
            match denials.unseen(&line, (verdict, layer)) {
                0 => Ok(()),
                count => see(&line, (layer, count)),
            }
        })?;
        Ok(attempts)
    }

    /// What the record adds up to, as far as it is asked for.
    fn beside(self, denials: &mut Denials) -> Result<Option<Beside>> {
        let Some(file) = self.record()? else { return Ok(None) };
        let keep = |line: &Line<'_>, outcome| self.wants(subject(line), &line.rule, outcome);
        let beside = Beside::read(file, denials, keep)?;
        tell_damaged(beside.damaged, &self.source.record());
        Ok(Some(beside))
    }

    fn record(self) -> Result<Option<BufReader<fs::File>>> {
        let path = self.source.record();
        if fs::metadata(&path).map_or(0, |facts| facts.len()) == 0 {
            return Ok(None);
        }
        Ok(Some(BufReader::with_capacity(1 << 16, source::open(&path)?)))
    }

    fn wants(self, domain: &str, rule: &str, outcome: Outcome) -> bool {
        let args = self.args;
        let decision = match args.decision {
            None => true,
            Some(Decision::Allowed) => outcome == Outcome::Allowed,
            Some(Decision::Denied) => outcome == Outcome::Denied,
            Some(Decision::Error) => outcome == Outcome::Error,
        };
        let has = |text: &String| domain.to_lowercase().contains(&text.to_lowercase());
        decision
            && args.rule.as_deref().is_none_or(|wanted| wanted == rule)
            && args.domain.as_ref().is_none_or(has)
    }

    /// `seen`: requests and attempts, whatever was asked for.
    fn must_have(self, seen: u64) -> Result<()> {
        if seen == 0 {
            bail!("No log entries found in {}", self.source.logs.display());
        }
        Ok(())
    }
}

/// What an attempt was for, in the place of a domain.
fn subject<'a>(line: &'a Line<'_>) -> &'a str {
    [&*line.name, &*line.address].into_iter().find(|text| !text.is_empty()).unwrap_or("-")
}

/// The same with the port.
fn destination(line: &Line<'_>) -> String {
    let subject = subject(line);
    match line.port {
        Some(port) if subject.contains(':') => format!("[{subject}]:{port}"),
        Some(port) => format!("{subject}:{port}"),
        None => subject.to_owned(),
    }
}

fn milliseconds(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond)
}
