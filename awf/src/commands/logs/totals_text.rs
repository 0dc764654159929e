//! How totals are printed: the original's shapes, with what the record adds behind them.
//!
//! Takes totals, gives text. Must never print a name without making it harmless, and, where nothing but the original's facts
//! is known, print anything but what the original prints.

use std::borrow::Cow;
use std::fmt::Write as _;

use anyhow::Result;
use indexmap::IndexMap;

use super::manifest::{Action, Rules, UNKNOWN};
use super::text::{Paint, cell, counted, shortened, shown};
use super::totals::{Beside, Hits, Tally, Totals, descending};
use super::totals_json;
use crate::observe::record::Layer;
use crate::observe::summary::Lost;

/// Longest name that the others of a list are padded to: a terminal has 80 columns.
const WIDEST: usize = 44;
/// Rows of a list of processes.
const ROWS: usize = 15;

/// Everything there is to print.
#[derive(Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) totals: &'a Totals,
    pub(super) rules: &'a Rules,
    /// What the record adds, if there is one.
    pub(super) beside: Option<&'a Beside>,
}

impl Account<'_> {
    /// Hits of rules; none if nothing is known of rules.
    fn hits(&self) -> Vec<Hits> {
        let hits = self.totals.rules.list(self.rules);
        let is_known = |rule: &Hits| rule.id != UNKNOWN;
        if hits.iter().any(is_known) { hits } else { Vec::new() }
    }

    /// For programs.
    pub(super) fn json(&self) -> Result<String> {
        totals_json::of(self.totals, &self.hits(), self.beside)
    }

    /// For people at a terminal.
    pub(super) fn pretty(&self, paint: Paint) -> String {
        let totals = self.totals;
        let mut out = String::new();
        let mut line = |text: String| out.extend([&*text, "\n"]);
        line(paint.bold("Firewall Statistics"));
        line("─".repeat(40));
        line(String::new());
        let all = totals.all;
        let share = |count: u64| percentage(count, all.total());
        line(format!("Total Requests:  {}", all.total()));
        line(format!(
            "Allowed:         {} ({})",
            paint.green(&all.allowed.to_string()),
            share(all.allowed)
        ));
        line(format!(
            "Denied:          {} ({})",
            paint.red(&all.denied.to_string()),
            share(all.denied)
        ));
        if all.failed > 0 {
            line(format!(
                "Failed:          {} ({})",
                paint.yellow(&all.failed.to_string()),
                share(all.failed)
            ));
        }
        line(format!("Unique Domains:  {}", totals.domains.len()));
        if totals.damaged > 0 {
            line(format!("Damaged Lines:   {}", paint.yellow(&totals.damaged.to_string())));
        }
        if let Some((start, end)) = totals.range {
            line(String::new());
            line(paint.gray(&format!("Time Range: {} - {}", iso(start), iso(end))));
        }
        let domains = totals.by_total();
        if !domains.is_empty() {
            line(String::new());
            line(paint.bold("Domains:"));
            let rows =
                domains.iter().map(|(name, tally)| (shown(name), tally_text(*tally, 0, paint)));
            columns(&rows.collect::<Vec<_>>(), &mut line);
        }
        let hits = self.hits();
        if !hits.is_empty() {
            line(paint.bold("Policy Rules:"));
            for text in rule_lines(&hits, paint) {
                line(text);
            }
        }
        if let Some(beside) = self.beside {
            out += &beside_pretty(beside, paint);
        }
        out
    }

    /// For the summary of a workflow; at most that many domains.
    pub(super) fn markdown(&self, most: usize) -> String {
        let totals = self.totals;
        let all = totals.all;
        let domains = totals.by_total();
        let mut out = String::from("<details>\n<summary>Firewall Activity</summary>\n\n");
        let unique = totals.domains.len();
        let mut parts = vec![
            counted(all.total(), "request"),
            format!("{} allowed", all.allowed),
            format!("{} blocked", all.denied),
            counted(unique as u64, "unique domain"),
        ];
        if domains.len() < unique
            && let Some(last) = parts.last_mut()
        {
            let _written = write!(last, " ({} valid)", domains.len()).is_ok();
        }
        if all.failed > 0 {
            parts.push(format!("{} failed", all.failed));
        }
        if totals.damaged > 0 {
            parts.push(counted(totals.damaged, "damaged line"));
        }
        out.extend(["▼ ", &parts.join(" | "), "\n\n"]);
        if !domains.is_empty() {
            out += &domain_table(&domains, most, all.failed > 0);
        }
        let hits = self.hits();
        if !hits.is_empty() {
            out += "<details>\n<summary>Policy Rules</summary>\n\n";
            out += &rule_table(&hits);
            out += "\n</details>\n\n";
        }
        if let Some(beside) = self.beside {
            out += &beside_markdown(
                beside,
                "<details>\n<summary>Attempts on Record</summary>\n\n",
                "</details>\n\n",
            );
        }
        out + "</details>\n"
    }
}

/// What the record adds, for people at a terminal; begins with an empty line.
pub(super) fn beside_pretty(beside: &Beside, paint: Paint) -> String {
    let mut out = String::new();
    let mut line = |text: String| out.extend([&*text, "\n"]);
    if !beside.refused.is_empty() {
        line(String::new());
        line(paint.bold(&format!("Denied Before the Proxy ({}):", beside.unseen())));
        let rows = beside.refused.iter().map(|((rule, layer), count)| {
            (shown(rule), format!("{} by {}", paint.red(&format!("{count} denied")), judge(*layer)))
        });
        columns(&rows.collect::<Vec<_>>(), &mut line);
    }
    for (title, map) in [("By Process:", &beside.processes), ("By Protocol:", &beside.protocols)] {
        if map.is_empty() {
            continue;
        }
        line(String::new());
        line(paint.bold(title));
        let all = descending(map, Tally::total);
        let rows = all.iter().take(ROWS).map(|(name, tally)| {
            // None of protocols: there is nothing more to tell of them.
            let early = beside.refused_by.get(*name).copied().unwrap_or_default();
            let name = shortened(&shown(name), WIDEST).into_owned();
            (name.into(), tally_text(*tally, early, paint))
        });
        columns(&rows.collect::<Vec<_>>(), &mut line);
        if let Some(more @ 1..) = all.len().checked_sub(ROWS) {
            line(format!("  ...and {more} more"));
        }
    }
    line(String::new());
    let lost = lost_text(beside);
    line(if is_whole(beside) { lost } else { paint.yellow(&lost) });
    out
}

/// The same as Markdown, with what stands before and behind it.
pub(super) fn beside_markdown(beside: &Beside, before: &str, behind: &str) -> String {
    let mut out = before.to_owned();
    if !beside.refused.is_empty() {
        out += "| Denied before the proxy by | Layer | Attempts |\n|------|-------|---------:|\n";
        for ((rule, layer), count) in &beside.refused {
            out.extend([format!("| {} | {} | {count} |\n", cell(rule), judge(*layer))]);
        }
        out += "\n";
    }
    out += &attempt_table("Process", &beside.processes, Some(&beside.refused_by));
    out += &attempt_table("Protocol", &beside.protocols, None);
    out + &lost_text(beside) + "\n\n" + behind
}

/// A table of attempts; `early` are those that were denied before the proxy.
fn attempt_table(
    title: &str,
    map: &IndexMap<String, Tally>,
    early: Option<&IndexMap<String, u64>>,
) -> String {
    if map.is_empty() {
        return String::new();
    }
    let (more, rule) =
        if early.is_some() { (" Before the Proxy |", "-----------------:|") } else { ("", "") };
    let mut out = format!(
        "| {title} | Allowed | Denied | Failed |{more}\n|------|--------:|-------:|-------:|{rule}\n"
    );
    let all = descending(map, Tally::total);
    for (name, tally) in all.iter().take(ROWS) {
        let Tally { allowed, denied, failed } = tally;
        let shown = cell(&shortened(&shown(name), 2 * WIDEST));
        out.extend([format!("| {shown} | {allowed} | {denied} | {failed} |")]);
        if let Some(early) = early {
            out.extend([format!(" {} |", early.get(*name).copied().unwrap_or_default())]);
        }
        out += "\n";
    }
    out += "\n";
    if let Some(more @ 1..) = all.len().checked_sub(ROWS) {
        out.extend([format!("...and {more} more\n\n")]);
    }
    out
}

const fn judge(layer: Layer) -> &'static str {
    match layer {
        Layer::Kernel => "the kernel",
        Layer::Lsm => "the kernel (LSM)",
        Layer::Guard => "the guard",
        Layer::Relay => "the relay",
        Layer::Proxy => "the proxy",
        Layer::Name => "the name server",
        Layer::Seccomp => "seccomp",
    }
}

fn is_whole(beside: &Beside) -> bool {
    beside.damaged == 0 && beside.end.is_none_or(|(_lost, complete)| complete)
}

/// What is missing.
fn lost_text(beside: &Beside) -> String {
    let mut lost = Vec::new();
    match beside.end {
        None => lost.push("not known before the run ends".to_owned()),
        Some((Lost { ring: 0, written: 0, stray: 0 }, true)) => {}
        Some((Lost { ring, written, stray }, _complete)) => lost.push(format!(
            "{} (ring buffer {ring}, not written {written}, of unknown origin {stray})",
            counted(ring.saturating_add(written).saturating_add(stray), "attempt")
        )),
    }
    if beside.damaged > 0 {
        lost.push(format!("{} of egress.jsonl", counted(beside.damaged, "damaged line")));
    }
    let lost = lost.join(", ");
    format!("Lost: {}", if lost.is_empty() { "nothing" } else { &lost })
}

/// `early` of the denied ones never came to the proxy.
fn tally_text(tally: Tally, early: u64, paint: Paint) -> String {
    let early = if early > 0 { format!(" ({early} before the proxy)") } else { String::new() };
    let denied = format!("{} denied{early}", tally.denied);
    let denied = if tally.denied == 0 { paint.gray(&denied) } else { paint.red(&denied) };
    let mut text = format!("{}, {denied}", paint.green(&format!("{} allowed", tally.allowed)));
    if tally.failed > 0 {
        text = text + ", " + &paint.yellow(&format!("{} failed", tally.failed));
    }
    text
}

/// Two columns; the first as wide as its longest cell and two more, unless that is a monster.
fn columns(rows: &[(Cow<'_, str>, String)], line: &mut impl FnMut(String)) {
    let width = |name: &str| name.chars().count();
    let widest = rows.iter().map(|(name, _)| width(name)).filter(|width| *width <= WIDEST).max();
    let widest = widest.unwrap_or_default() + 2;
    for (name, rest) in rows {
        let gap = " ".repeat(widest.saturating_sub(width(name)).max(2));
        line(format!("  {name}{gap}{rest}"));
    }
}

/// Lines of rules: id, action, hits, description.
pub(super) fn rule_lines(hits: &[Hits], paint: Paint) -> Vec<String> {
    let widest = hits.iter().map(|rule| rule.id.chars().count()).filter(|it| *it <= WIDEST).max();
    let widest = widest.unwrap_or_default() + 2;
    let line = |rule: &Hits| {
        let id = shown(&rule.id);
        let action = format!("{:<5}", rule.action.name());
        let action = match rule.action {
            Action::Allow => paint.green(&action),
            Action::Deny => paint.red(&action),
        };
        let count = format!("{} hits", rule.count);
        let count = if rule.count == 0 { paint.gray(&count) } else { count };
        format!("  {id:<widest$}{action} {count}  {}", shown(&rule.description))
            .trim_end()
            .to_owned()
    };
    hits.iter().map(line).collect()
}

fn rule_table(hits: &[Hits]) -> String {
    let mut out = String::from(
        "| Rule | Action | Description | Hits |\n|------|--------|-------------|------|\n",
    );
    for rule in hits {
        let mark = match rule.action {
            Action::Allow => "✅",
            Action::Deny => "🚫",
        };
        let (id, description) = (cell(&rule.id), cell(&rule.description));
        let (action, count) = (rule.action.name(), rule.count);
        out.extend([format!("| {id} | {mark} {action} | {description} | {count} |\n")]);
    }
    out
}

fn domain_table(domains: &[(&str, Tally)], most: usize, failed: bool) -> String {
    let (title, rule) = if failed { (" Failed |", "--------|") } else { ("", "") };
    let mut out =
        format!("| Domain | Allowed | Denied |{title}\n|--------|---------|--------|{rule}\n");
    for (name, tally) in domains.iter().take(most) {
        out.extend([format!("| {} | {} | {} |", cell(name), tally.allowed, tally.denied)]);
        if failed {
            out.extend([format!(" {} |", tally.failed)]);
        }
        out += "\n";
    }
    out += "\n";
    if let Some(more @ 1..) = domains.len().checked_sub(most) {
        out.extend([format!("...and {more} more\n\n")]);
    }
    out
}

fn percentage(count: u64, total: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let share = if total == 0 { 0.0 } else { count as f64 * 100.0 / total as f64 };
    format!("{share:.1}%")
}

/// RFC 3339 with milliseconds.
pub(super) fn iso(time_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
    format!("{time:.3}")
}
