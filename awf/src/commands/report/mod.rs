//! `awf report`: one page about a run, for a browser, that loads nothing.
//!
//! Takes `egress.jsonl`, line by line; gives HTML with its style and drawing in it. Must never: hold more of a record than
//! the page shows, run a script, load anything, or write a text of the agent's but as escaped text.

mod bounded;
mod facts;
mod fold;
mod page;
mod processes;
mod tables;
mod timeline;
mod words;

use anyhow::{Context as _, Result};

use crate::cli::reading::ReportArgs;
use crate::commands::export::opened::Opened;
use crate::commands::export::output;
use crate::exit::Exit;
use fold::Fold;

/// Writes the page.
pub fn write(args: &ReportArgs) -> Result<Exit> {
    let (record, path) = Opened::find(args.source.as_deref(), args.run.as_deref())?;
    let fold = Fold::of(record.lines);
    let fold = fold.with_context(|| format!("read {}", path.display()))?;
    let page = page::render(&fold, record.summary.as_deref());
    output::to(args.output.as_deref(), |out| out.write_all(page.into_string().as_bytes()))?;
    if let Some(path) = &args.output {
        tracing::info!("Report: {}", path.display());
    }
    Ok(Exit::Agent(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::export::opened::RunLines;
    use crate::commands::export::tests::summary;
    use crate::commands::golden;
    use crate::observe::record::{Layer, ProcessInfo, Record};

    fn page(record: &[u8]) -> String {
        page::render(&Fold::of(RunLines::all(record)).unwrap(), Some(&summary())).into_string()
    }

    #[test]
    fn the_golden_record_is_this_page() {
        golden::check("report.html", &page(golden::RECORD.as_bytes()));
    }

    #[test]
    fn a_page_without_a_summary_or_an_attempt_says_so() {
        let page = page::render(&Fold::of(RunLines::all(&b""[..])).unwrap(), None).into_string();
        golden::check("report-empty.html", &page);
        assert!(page.contains("has no summary"), "{page}");
    }

    #[test]
    fn what_the_guard_refused_to_the_proxy_is_no_attempt_of_the_command() {
        let guard = Record {
            name: Some("guarded.example".into()),
            ..Record::denied("t".into(), "r".into(), Layer::Guard)
        };
        let text = [golden::RECORD.as_bytes(), &guard.to_line().unwrap()].concat();
        let text = String::from_utf8(text).unwrap();
        let lines = text.replace("\"deny\": 45", "\"deny\": 46");
        let fold = Fold::of(RunLines::all(lines.as_bytes())).unwrap();
        assert_eq!((fold.totals.refused, fold.guarded), (45, 1));
        let mut summary = summary();
        summary.attempts.deny += 1;
        let page = page::render(&fold, Some(&summary)).into_string();
        assert!(!page.contains("guarded.example") && page.contains("1 connection, by the guard"));
        assert!(!page.contains("The summary counts"), "all lines are there");
    }

    #[test]
    fn no_text_of_a_record_is_markup() {
        let evil = "</style><script>alert(1)</script>\"'&<!--\u{202e}\u{1b}[2J";
        let process = ProcessInfo {
            pid: Some(7),
            comm: Some(evil.into()),
            exe: Some(evil.into()),
            exe_sha256: Some(evil.into()),
            ..ProcessInfo::default()
        };
        let record = Record {
            process,
            rule: evil.into(),
            reason: evil.into(),
            protocol: evil.into(),
            name: Some(evil.into()),
            step: Some(evil.into()),
            ..Record::denied(evil.into(), evil.into(), Layer::Kernel)
        };
        let page = page(&record.to_line().unwrap());
        assert!(
            !page.contains("<script") && !page.contains("<!--") && !page.contains("alert(1)</s")
        );
        assert_eq!(page.matches("</style>").count(), 1);
        assert!(page.chars().all(|character| character == '\n' || !character.is_control()));
        assert!(!page.contains('\u{202e}'));
    }

    #[test]
    fn noise_under_one_rule_does_not_push_out_what_another_refused() {
        let mut lines = Vec::new();
        for number in 0..3_000_u32 {
            let record = Record {
                rule: "deny-default".to_owned(),
                name: Some(format!("n{number}.example").into()),
                ..Record::denied("t".into(), "r".into(), Layer::Relay)
            };
            lines.extend(record.to_line().unwrap());
        }
        let grave = Record {
            rule: "socket-type".to_owned(),
            protocol: "inet/raw/1".to_owned(),
            ..Record::denied("t".into(), "r".into(), Layer::Kernel)
        };
        lines.extend(grave.to_line().unwrap());
        let page = page(&lines);
        let (grave, noise) = (page.find("inet/raw/1"), page.find("refusals by this rule"));
        assert!(grave.is_some() && grave < noise, "{grave:?} {noise:?}");
    }

    #[test]
    fn a_record_of_very_many_destinations_and_processes_is_a_page_that_counts_the_rest() {
        let mut lines = Vec::new();
        for number in 0..3_000_u32 {
            let process = ProcessInfo { pid: Some(number), ..ProcessInfo::default() };
            let record = Record {
                process,
                name: Some(format!("n{number}.example").into()),
                ..Record::denied("t".into(), "r".into(), Layer::Relay)
            };
            lines.extend(record.to_line().unwrap());
        }
        let page = page(&lines);
        assert!(page.contains("3,000") && page.contains("2,000 more"), "{}", page.len());
        assert!(page.len() < 2 << 20, "{}", page.len());
    }
}
