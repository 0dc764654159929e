//! How the audit report is printed for people: the original's shapes, with what the record adds behind them.
//!
//! Takes counts and denials one by one, keeps the first of them; gives text.

use super::entry::Outcome;
use super::manifest::Manifest;
use super::text::{Paint, cell, counted, shown};
use super::totals::{Beside, Hits};
use super::totals_text::{beside_markdown, beside_pretty, iso, rule_lines};
use crate::cli::reading::TotalsFormat;

/// Denials in a report for a terminal, and in one of Markdown: the original's.
const SHOWN: usize = 20;
const LISTED: usize = 50;

/// A denied request.
#[derive(Debug)]
pub(super) struct Denial {
    pub(super) time_ms: i64,
    pub(super) domain: String,
    pub(super) rule: String,
    pub(super) reason: String,
}

/// A report in the making.
pub(super) struct Report<'a> {
    manifest: &'a Manifest,
    markdown: bool,
    denied: u64,
    failed: u64,
    first: Vec<Denial>,
}

impl<'a> Report<'a> {
    pub(super) fn new(manifest: &'a Manifest, format: TotalsFormat) -> Self {
        let markdown = format == TotalsFormat::Markdown;
        Self { manifest, markdown, denied: 0, failed: 0, first: Vec::new() }
    }

    /// Counts a request, and keeps it if it is one of the first denials.
    pub(super) fn count(&mut self, outcome: Outcome, denial: impl FnOnce() -> Denial) {
        let most = if self.markdown { LISTED } else { SHOWN };
        match outcome {
            Outcome::Allowed => {}
            Outcome::Error => self.failed += 1,
            Outcome::Denied => {
                self.denied += 1;
                if self.first.len() < most {
                    self.first.push(denial());
                }
            }
        }
    }

    /// The report.
    pub(super) fn text(
        &self,
        hits: &[Hits],
        (damaged, beside): (u64, Option<&Beside>),
        paint: Paint,
    ) -> String {
        // Rules that the manifest lists are shown even if they decided nothing; unknown ones only if they did.
        let mut out = if self.markdown { self.to_markdown(hits) } else { self.pretty(hits, paint) };
        let notes = [(self.failed, "request"), (damaged, "damaged line")];
        let [failed, damaged] =
            notes.map(|(count, what)| (count > 0).then(|| counted(count, what)));
        let failed = failed.map(|text| format!("{text} failed without being refused"));
        let notes: Vec<String> = failed.into_iter().chain(damaged).collect();
        if !notes.is_empty() {
            out.extend([format!("\n{}\n", paint.yellow(&notes.join("; ")))]);
        }
        match beside {
            Some(beside) if self.markdown => {
                out += &beside_markdown(beside, "\n### Attempts on Record\n\n", "");
            }
            Some(beside) => out += &beside_pretty(beside, paint),
            None => {}
        }
        out
    }

    fn more(&self) -> u64 {
        self.denied.saturating_sub(self.first.len() as u64)
    }

    fn pretty(&self, hits: &[Hits], paint: Paint) -> String {
        let mut out = String::new();
        let mut line = |text: &str| out.extend([text, "\n"]);
        line(&paint.bold("Firewall Audit Report"));
        line(&"─".repeat(60));
        line("");
        line(&paint.bold("Rule Evaluation:"));
        for text in rule_lines(hits, paint) {
            line(&text);
        }
        if self.denied > 0 {
            line("");
            line(&paint.bold(&format!("Denied Requests ({}):", self.denied)));
            for denial in &self.first {
                let time = iso(denial.time_ms);
                let time =
                    time.split_once('T').map_or("", |(_date, time)| time).trim_end_matches('Z');
                let (domain, rule) = (shown(&denial.domain), shown(&denial.rule));
                line(&format!("  {}  {domain}  → {}", paint.gray(time), paint.red(&rule)));
            }
            if self.more() > 0 {
                line(&format!("  ...and {} more", self.more()));
            }
        }
        out
    }

    fn to_markdown(&self, hits: &[Hits]) -> String {
        let policy = self.manifest;
        let on = |flag: bool| if flag { "enabled" } else { "disabled" };
        let servers: Vec<String> = policy.dns_servers.iter().map(|it| cell(it)).collect();
        let mut out = format!(
            "## Firewall Audit Report\n\n### Active Policy\n\n- **SSL Bump**: {}\n- **DLP**: {}\n- **Host Access**: {}\n\
             - **DNS Servers**: {}\n- **Dangerous Ports Blocked**: {}\n\n### Rule Evaluation\n\n\
             | Rule | Action | Hits | Description |\n|------|--------|------|-------------|\n",
            on(policy.ssl_bump_enabled),
            on(policy.dlp_enabled),
            on(policy.host_access_enabled),
            if servers.is_empty() { "-".to_owned() } else { servers.join(", ") },
            policy.dangerous_ports.len(),
        );
        for rule in hits {
            let count = if rule.count > 0 { format!("**{}**", rule.count) } else { "0".to_owned() };
            let (id, description) = (cell(&rule.id), cell(&rule.description));
            out.extend([format!("| {id} | {} | {count} | {description} |\n", rule.action.name())]);
        }
        if self.denied == 0 {
            return out;
        }
        out.extend([format!(
            "\n### Denied Requests ({})\n\n| Timestamp | Domain | Rule | Reason |\n|-----------|--------|------|--------|\n",
            self.denied
        )]);
        for denial in &self.first {
            let (domain, rule) = (cell(&denial.domain), cell(&denial.rule));
            out.extend([format!(
                "| {} | {domain} | {rule} | {} |\n",
                iso(denial.time_ms),
                cell(&denial.reason)
            )]);
        }
        if self.more() > 0 {
            out.extend([format!("\n...and {} more\n", self.more())]);
        }
        out
    }
}
