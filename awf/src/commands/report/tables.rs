//! Destinations and refusals as tables, which narrow screens show as cards.

use std::cmp::Reverse;

use maud::{Markup, html};

use super::bounded::Bounded;
use super::fold::{Counts, Destination, Few, OfRule, Refusal, RefusalKey};
use super::words;
use crate::commands::export::text::shown;
use crate::observe::rules::{self, Rule, Weight, capital, sentence};

/// Where something was tried: what was refused first, then what was asked for most.
pub(super) fn destinations(rows: &Bounded<String, Destination>) -> Markup {
    if rows.len() == 0 {
        return html! { p.quiet { "No destination was asked for." } };
    }
    let mut sorted: Vec<(&String, &Destination)> = rows.rows().collect();
    sorted.sort_by_key(|(_, row)| (row.counts.refused == 0, Reverse(row.counts.attempts())));
    let audited = rows.rows().any(|(_, row)| row.counts.audited > 0);
    html! {
        table.cards role="table" {
            thead role="rowgroup" { tr role="row" {
                th role="columnheader" scope="col" { "Destination" }
                th.n role="columnheader" scope="col" { "Allowed" }
                @if audited { th.n role="columnheader" scope="col" { "By audit mode" } }
                th.n role="columnheader" scope="col" { "Refused" }
                th.n role="columnheader" scope="col" { "Failed" }
                th.n role="columnheader" scope="col" { "Sent" }
                th.n role="columnheader" scope="col" { "Received" }
                th role="columnheader" scope="col" { "Processes" }
            } }
            tbody role="rowgroup" { @for (target, row) in sorted { tr role="row" {
                th.text role="rowheader" scope="row" {
                    span.mark.(mark(&row.counts)) {}
                    span { (target) span.quiet { (ports(&row.ports)) } }
                }
                (amount("Allowed", row.counts.allowed, words::number))
                @if audited { (amount("By audit mode", row.counts.audited, words::number)) }
                (amount("Refused", row.counts.refused, words::number))
                (amount("Failed", row.counts.failed, words::number))
                (amount("Sent", row.counts.sent, words::bytes))
                (amount("Received", row.counts.received, words::bytes))
                td.text.none[row.processes.named.is_empty()] role="cell" data-label="Processes" { (few(&row.processes)) }
            } } }
        }
        (beyond(rows.beyond(), "destinations"))
    }
}

/// What was refused, by rule: what tells most first.
pub(super) fn refusals(refused: &Bounded<String, OfRule>) -> Markup {
    if refused.len() == 0 {
        return html! { p.quiet { "Nothing was refused." } };
    }
    let mut groups: Vec<(&String, &OfRule)> = refused.rows().collect();
    groups.sort_by_key(|(rule, alike)| (Reverse(rules::about(rule).weight), Reverse(sum(alike))));
    html! {
        @for (rule, alike) in &groups { (group(rule, alike)) }
        (beyond(refused.beyond(), "rules"))
    }
}

fn sum(OfRule(rows): &OfRule) -> u64 {
    rows.rows().map(|(_, row)| row.count).fold(rows.beyond(), u64::saturating_add)
}

/// What one rule refused.
fn group(rule: &str, alike: &OfRule) -> Markup {
    let Rule { title, meaning, remedy, weight, .. } = rules::about(rule);
    let class = if *weight == Weight::Usual { "usual" } else { weight.word() };
    let OfRule(rows) = alike;
    let mut sorted: Vec<(&RefusalKey, &Refusal)> = rows.rows().collect();
    sorted.sort_by_key(|(_, row)| (Reverse(row.count), row.line));
    html! {
        article.rule.(class) {
            header {
                h3 { (capital(title)) }
                span.weight { (weight.word()) }
                code { (shown(rule)) }
                span.count { (words::counted(sum(alike), "attempt", "attempts")) }
            }
            p { (meaning) }
            p.remedy { strong { "What to do: " } (sentence(remedy.text())) }
            table.cards role="table" {
                thead role="rowgroup" { tr role="row" {
                    th role="columnheader" scope="col" { "Tried" }
                    th role="columnheader" scope="col" { "Process" }
                    th role="columnheader" scope="col" { "First at (UTC)" }
                    th.n role="columnheader" scope="col" { "Line" }
                    th.n role="columnheader" scope="col" { "Times" }
                } }
                tbody role="rowgroup" { @for (key, row) in sorted { (refusal(key, row)) } }
            }
            (beyond(rows.beyond(), "refusals by this rule"))
        }
    }
}

fn refusal(key: &RefusalKey, row: &Refusal) -> Markup {
    let is_place = key.destination != key.protocol;
    html! { tr role="row" {
        th.text role="rowheader" scope="row" {
            span {
                (key.destination)
                @if is_place { span.quiet { " " (key.protocol) } }
                @if row.audited > 0 { " " span.badge.audited { "let through" } }
                span.reason { (row.reason) }
            }
        }
        td.text role="cell" data-label="Process" {
            @if key.process.is_empty() { span.quiet { "not known" } } @else { (key.process) }
        }
        td.time role="cell" data-label="First at (UTC)" { (words::time(&row.time).trim_end_matches(" UTC")) }
        td.n role="cell" data-label="Line" { (words::number(row.line)) }
        td.n role="cell" data-label="Times" { (words::number(row.count)) }
    } }
}

/// Attempts in words and numbers.
pub(super) fn badges(counts: &Counts) -> Markup {
    let all = [
        ("allowed", "allowed", counts.allowed),
        ("audited", "by audit mode", counts.audited),
        ("refused", "refused", counts.refused),
        ("failed", "failed", counts.failed),
    ];
    html! {
        span.badges {
            @for (class, word, count) in all.into_iter().filter(|(_, _, count)| *count > 0) {
                span.badge.(class) { (words::number(count)) " " (word) }
            }
        }
    }
}

/// What has no row.
pub(super) fn beyond(attempts: u64, what: &str) -> Markup {
    html! {
        @if attempts > 0 {
            p.quiet.beyond {
                (words::counted(attempts, "more attempt", "more attempts"))
                " of further " (what) " are counted above and stand in the record only."
            }
        }
    }
}

fn amount(label: &str, amount: u64, words: fn(u64) -> String) -> Markup {
    html! {
        @if amount == 0 { td.n.none role="cell" data-label=(label) { "0" } }
        @else { td.n role="cell" data-label=(label) { (words(amount)) } }
    }
}

fn mark(counts: &Counts) -> &'static str {
    match (counts.refused, counts.failed, counts.audited) {
        (1.., ..) => "refused",
        (0, 1.., _) => "failed",
        (0, 0, 1..) => "audited",
        (0, 0, 0) => "allowed",
    }
}

fn ports(ports: &Few) -> String {
    if ports.named.is_empty() { String::new() } else { format!(" :{}", few(ports)) }
}

fn few(few: &Few) -> String {
    let mut text = few.named.iter().cloned().collect::<Vec<_>>().join(", ");
    if few.more {
        text.push_str(", \u{2026}");
    }
    text
}
