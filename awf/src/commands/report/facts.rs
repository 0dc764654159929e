//! The run itself: by what it was judged, and whether its record is whole.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::fold::Fold;
use super::words;
use crate::commands::export::text::{microseconds, shown};
use crate::observe::summary::Summary;

/// What a reader must know before all else.
pub(super) fn banners(fold: &Fold, summary: Option<&Summary>) -> Markup {
    let audited = fold.totals.audited;
    let audit = audited > 0 || summary.is_some_and(|summary| summary.terms.mode == "audit");
    let missing = missing(fold, summary);
    html! {
        @if audit {
            p.banner.audit role="note" {
                strong { "Audit mode: this run was not confined to its allow list." }
                " " (words::counted(audited, "attempt was", "attempts were"))
                " let through that the policy would have refused."
            }
        }
        @if missing.is_empty() {
            p.banner.whole { strong { "Complete." } " Every attempt of the run is on record." }
        } @else {
            div.banner.missing role="note" {
                strong { "Not complete." }
                ul { @for text in &missing { li { (text) } } }
            }
        }
    }
}

fn missing(fold: &Fold, summary: Option<&Summary>) -> Vec<String> {
    let mut missing = Vec::new();
    if fold.damaged > 0 {
        let lines =
            words::counted(fold.damaged, "line of the record is", "lines of the record are");
        missing.push(format!("{lines} damaged and not counted here."));
    }
    let Some(summary) = summary else {
        missing.push("The record has no summary: the run goes on, or was killed.".to_owned());
        return missing;
    };
    let lost = summary.lost;
    for (count, why) in [
        (lost.ring, "the kernel's buffer was full"),
        (lost.written, "the disk or the queue to it was full"),
        (lost.stray, "a connection's origin was not known; it was closed"),
    ] {
        if count > 0 {
            let attempts = words::counted(count, "attempt is", "attempts are");
            missing.push(format!("{attempts} not on record: {why}."));
        }
    }
    if !summary.complete && lost.total() == 0 {
        missing.push("The run itself counts its record as incomplete.".to_owned());
    }
    let attempts = summary.attempts;
    let told = attempts.allow.saturating_add(attempts.deny).saturating_add(attempts.error);
    let found = fold.totals.attempts().saturating_add(fold.guarded);
    if told != found {
        let (told, found) = (words::number(told), words::number(found));
        missing.push(format!("The summary counts {told} attempts, the lines {found}."));
    }
    missing
}

/// Name and value of what is known of the run.
pub(super) fn list(fold: &Fold, summary: Option<&Summary>) -> Markup {
    let mut facts: Vec<(&str, Markup)> = Vec::new();
    if let Some(summary) = summary {
        facts.push(("Began", html! { (words::time(&summary.began)) }));
        facts.push(("Ended", html! { (words::time(&summary.time)) }));
        if let Some((from, until)) = span(summary) {
            facts.push(("Took", html! { (words::duration(until.saturating_sub(from))) }));
        }
        let code = summary.exit_code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        facts.push(("Exit code", html! { (code) }));
        let terms = &summary.terms;
        facts.push(("Mode", html! { (shown(&terms.mode)) }));
        facts.push(("Profile", html! { (shown(&terms.profile)) }));
        facts.push(("Runtime", html! { (shown(&terms.runtime)) }));
        facts.push(("Processes told by", html! { (shown(&terms.identity)) }));
        facts.push(("awf", html! { (shown(&terms.awf)) }));
        facts.push(("Kernel", html! { (shown(&terms.kernel_release)) }));
        for (name, value) in &terms.github {
            facts.push((job(name), html! { (shown(value)) }));
        }
        facts.push(("Policy (SHA-256)", html! { code { (shown(&terms.policy_sha256)) } }));
    }
    if let Some(step) = &fold.step {
        facts.push(("Step", html! { (step) }));
    }
    if fold.guarded > 0 {
        let refused = words::counted(fold.guarded, "connection", "connections");
        facts.push(("Refused to the proxy", html! { (refused) ", by the guard" }));
    }
    if fold.others > 0 {
        let lines = words::counted(fold.others, "line", "lines");
        facts.push((
            "Other runs",
            html! { (lines) " of the file, not on this page; see " code { "--run" } },
        ));
    }
    if fold.signed {
        facts.push(("Signed", html! { "yes; awf logs verify checks it" }));
    }
    html! {
        dl.facts { @for (name, value) in &facts {
            div { dt { (shown(name)) } dd { (value) } }
        } }
    }
}

/// What a variable of the job is called on the page.
fn job(variable: &str) -> &str {
    match variable {
        "GITHUB_REPOSITORY" => "Repository",
        "GITHUB_WORKFLOW" => "Workflow",
        "GITHUB_WORKFLOW_REF" => "Workflow file",
        "GITHUB_JOB" => "Job",
        "GITHUB_ACTION" => "Action",
        "GITHUB_RUN_ID" => "Workflow run",
        other => other,
    }
}

/// When the run began and ended, in microseconds since the epoch.
pub(super) fn span(summary: &Summary) -> Option<(i64, i64)> {
    microseconds(&summary.began).zip(microseconds(&summary.time))
}

/// What the kernel counted and ran.
pub(super) fn kernel(summary: &Summary) -> Markup {
    let counters = summary.kernel.iter().map(|(name, count)| (name, words::number(*count)));
    let programs = summary.terms.programs.iter().map(|(name, tag)| (name, shown(tag)));
    html! {
        (pairs("Counters of the kernel", ("Counter", "Count"), counters.collect()))
        (pairs("eBPF programs", ("Program", "Digest"), programs.collect()))
    }
}

fn pairs(title: &str, (name, value): (&str, &str), pairs: BTreeMap<&String, String>) -> Markup {
    html! {
        details {
            summary { (title) }
            table.plain {
                thead { tr { th scope="col" { (name) } th.n scope="col" { (value) } } }
                tbody { @for (name, value) in pairs { tr {
                    th scope="row" { (shown(name)) }
                    td.n { (value) }
                } } }
            }
        }
    }
}
