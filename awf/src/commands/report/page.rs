//! The page as a whole. Pure.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::fold::Fold;
use super::{facts, tables, words};
use crate::commands::export::text::shown;
use crate::observe::summary::Summary;

/// The style: in the page, because the page loads nothing.
const STYLE: &str = include_str!("style.css");
/// Nothing is loaded, run or sent, whatever else might be wrong with the page.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Writes the page.
pub(super) fn render(fold: &Fold, summary: Option<&Summary>) -> Markup {
    let run = summary.map(|summary| shown(&summary.run)).or_else(|| fold.run.clone());
    let run = run.unwrap_or_else(|| "unknown run".to_owned());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta name="generator" content="awf";
                title { "Egress report: " (run) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the report" }
                header.top {
                    p.kicker { "awf egress report" }
                    h1 { (run) }
                    (mode(summary))
                    nav aria-label="Parts of the report" {
                        a href="#timeline" { "Timeline" }
                        a href="#refusals" { "Refusals" }
                        a href="#destinations" { "Destinations" }
                        a href="#processes" { "Processes" }
                        a href="#run" { "Run" }
                    }
                }
                main id="main" { (parts(fold, summary)) }
                footer { p { "Written by awf from egress.jsonl, all times UTC. Names are shown as processes chose them, with unseen characters spelt out." } }
            }
        }
    }
}

fn mode(summary: Option<&Summary>) -> Markup {
    let (class, word) = match summary.map(|summary| summary.terms.mode.as_str()) {
        Some("enforce") => ("enforce", "enforced"),
        Some("audit") => ("audit", "audit mode: not enforced"),
        _ => ("unknown", "mode not known"),
    };
    html! { p.mode.(class) { (word) } }
}

fn parts(fold: &Fold, summary: Option<&Summary>) -> Markup {
    html! {
        (facts::banners(fold, summary))
        (totals(fold))
        section id="timeline" aria-labelledby="h-timeline" {
            h2 id="h-timeline" { "Timeline" }
            (fold.timeline.clone().render(summary.and_then(facts::span)))
        }
        section id="refusals" aria-labelledby="h-refusals" {
            h2 id="h-refusals" { "Refusals" }
            (tables::refusals(&fold.refusals))
        }
        section id="destinations" aria-labelledby="h-destinations" {
            h2 id="h-destinations" { "Destinations" }
            (tables::destinations(&fold.destinations))
        }
        section id="processes" aria-labelledby="h-processes" {
            h2 id="h-processes" { "Processes" }
            (fold.processes.render())
        }
        section id="run" aria-labelledby="h-run" {
            h2 id="h-run" { "Run" }
            (facts::list(fold, summary))
            @if let Some(summary) = summary { (facts::kernel(summary)) }
        }
    }
}

/// The numbers at the top.
fn totals(fold: &Fold) -> Markup {
    let totals = &fold.totals;
    let places = u64::try_from(fold.destinations.len()).unwrap_or(u64::MAX);
    let cards = [
        ("", "Attempts", words::number(totals.attempts())),
        ("allowed", "Allowed", words::number(totals.allowed)),
        ("audited", "By audit mode", words::number(totals.audited)),
        ("refused", "Refused", words::number(totals.refused)),
        ("failed", "Failed", words::number(totals.failed)),
        ("", "Sent", words::bytes(totals.sent)),
        ("", "Received", words::bytes(totals.received)),
        ("", "Destinations", words::number(places)),
        ("", "Processes", words::number(fold.processes.active())),
    ];
    let shown = |class: &str| class != "audited" || totals.audited > 0;
    html! {
        dl.totals aria-label="Totals" {
            @for (class, name, value) in cards.iter().filter(|(class, ..)| shown(class)) {
                div.(class) { dt { (name) } dd { (value) } }
            }
        }
    }
}
