//! The counters of a run as Prometheus text (exposition format 0.0.4), for a node exporter's text file collector or a push
//! gateway.
//!
//! Takes the record, gives at most some hundreds of samples: rules are many, but not chosen by the agent. Must never have a
//! label whose values the agent chooses.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use super::opened::RunLines;
use crate::commands::lines::Line;
use crate::observe::record::{Layer, Record, Verdict};
use crate::observe::summary::Summary;

/// Series of one counter at most: rules are some dozens, and a changed record must not make more of them.
const MAX_SERIES: usize = 1_000;

/// What the lines add up to.
#[derive(Debug, Default)]
struct Sums {
    attempts: BTreeMap<(Verdict, String, Layer), u64>,
    /// Out and in.
    bytes: (u64, u64),
    damaged: u64,
}

/// Writes the samples; gives how many lines were damaged.
pub fn write(
    record: RunLines<impl BufRead>,
    summary: Option<&Summary>,
    out: &mut dyn Write,
) -> io::Result<u64> {
    let mut sums = Sums::default();
    record.each(|_number, line| {
        match line {
            Line::Attempt(record) if !record.is_of_command() => {}
            Line::Attempt(record) => sums.add(&record),
            Line::Damaged => sums.damaged += 1,
            Line::Summary(_) | Line::Signature(_) => {}
        }
        Ok(())
    })?;
    sums.write(out)?;
    if let Some(summary) = summary {
        end(summary, out)?;
    }
    Ok(sums.damaged)
}

impl Sums {
    fn add(&mut self, record: &Record) {
        let mut key = (record.verdict, record.rule.clone(), record.layer);
        if self.attempts.len() >= MAX_SERIES && !self.attempts.contains_key(&key) {
            "other".clone_into(&mut key.1);
        }
        *self.attempts.entry(key).or_default() += record.count;
        self.bytes.0 += record.bytes_out.unwrap_or(0);
        self.bytes.1 += record.bytes_in.unwrap_or(0);
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        family(
            out,
            "awf_attempts_total",
            "counter",
            "Attempts of the command, by what became of them.",
        )?;
        for ((verdict, rule, layer), count) in &self.attempts {
            let (verdict, layer) = (word(verdict), word(layer));
            let labels = [("verdict", &*verdict), ("rule", rule), ("layer", &*layer)];
            sample(out, "awf_attempts_total", &labels, *count)?;
        }
        family(
            out,
            "awf_bytes_total",
            "counter",
            "Bytes from and to the command, refused connections too.",
        )?;
        sample(out, "awf_bytes_total", &[("direction", "out")], self.bytes.0)?;
        sample(out, "awf_bytes_total", &[("direction", "in")], self.bytes.1)?;
        let help = "Lines of the record that cannot be read.";
        family(out, "awf_record_damaged_lines_total", "counter", help)?;
        sample(out, "awf_record_damaged_lines_total", &[], self.damaged)
    }
}

/// What only the end of a run tells.
fn end(summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let help = "Attempts that were judged but are not on record.";
    family(out, "awf_record_lost_total", "counter", help)?;
    let lost = summary.lost;
    for (place, count) in [("ring", lost.ring), ("written", lost.written), ("stray", lost.stray)] {
        sample(out, "awf_record_lost_total", &[("where", place)], count)?;
    }
    family(out, "awf_record_complete", "gauge", "Whether every attempt is on record.")?;
    sample(out, "awf_record_complete", &[], summary.complete.into())?;
    family(out, "awf_kernel_total", "counter", "What the eBPF programs counted.")?;
    for (counter, count) in summary.kernel.iter().take(MAX_SERIES) {
        sample(out, "awf_kernel_total", &[("counter", counter)], *count)?;
    }
    if let Some(code) = summary.exit_code {
        family(out, "awf_run_exit_code", "gauge", "Exit code of awf.")?;
        sample(out, "awf_run_exit_code", &[], code.into())?;
    }
    let terms = &summary.terms;
    family(out, "awf_run_info", "gauge", "The run, and by what it was judged.")?;
    let labels = [
        ("run", &*summary.run),
        ("version", &terms.awf),
        ("mode", &terms.mode),
        ("profile", &terms.profile),
        ("runtime", &terms.runtime),
        ("identity", &terms.identity),
        ("kernel_release", &terms.kernel_release),
        ("policy_sha256", &terms.policy_sha256),
    ];
    sample(out, "awf_run_info", &labels, 1)
}

fn family(out: &mut dyn Write, name: &str, kind: &str, help: &str) -> io::Result<()> {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn sample(out: &mut dyn Write, name: &str, labels: &[(&str, &str)], value: u64) -> io::Result<()> {
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    match labels.as_slice() {
        [] => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{}}} {value}", labels.join(",")),
    }
}

/// A label's value: backslash, quotation mark and line feed have an escape, other control characters have none.
fn escaped(text: &str) -> String {
    let visible = super::text::shown(&text.replace('\n', " "));
    visible.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The word of the record for a verdict or a layer.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::golden;

    fn exported(text: &str, summary: Option<&Summary>) -> (String, u64) {
        let mut out = Vec::new();
        let damaged = write(RunLines::all(text.as_bytes()), summary, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), damaged)
    }

    #[test]
    fn the_golden_record_has_these_samples() {
        let summary = super::super::tests::summary();
        let (text, damaged) = exported(golden::RECORD, Some(&summary));
        golden::check("export.prom", &text);
        assert_eq!(damaged, 1);
    }

    #[test]
    fn the_lines_of_an_earlier_run_in_the_file_are_not_summed_up() {
        let summary = super::super::tests::summary();
        let text = golden::RECORD.replace("awf-1795816800000-ab12", "earlier") + golden::RECORD;
        let mut out = Vec::new();
        let lines = RunLines::of(text.as_bytes(), std::sync::Arc::clone(&summary.run));
        write(lines, Some(&summary), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("rule=\"udp\",layer=\"kernel\"} 37\n"), "{text}");
    }

    #[test]
    fn a_rule_that_is_no_rule_stays_one_label() {
        let record = Record {
            rule: "a\"} 1\nx{y=\"\\".to_owned(),
            ..Record::denied("t".into(), "r".into(), Layer::Kernel)
        };
        let (text, _damaged) =
            exported(&String::from_utf8(record.to_line().unwrap()).unwrap(), None);
        assert!(text.contains(r#"rule="a\"} 1 x{y=\"\\",layer="kernel"} 1"#), "{text}");
    }

    #[test]
    fn a_record_with_a_million_rules_is_still_some_series() {
        let mut sums = Sums::default();
        for number in 0..MAX_SERIES * 2 {
            let rule = number.to_string();
            sums.add(&Record { rule, ..Record::denied("t".into(), "r".into(), Layer::Kernel) });
        }
        assert_eq!(sums.attempts.len(), MAX_SERIES + 1);
        assert_eq!(sums.attempts.values().sum::<u64>(), 2 * MAX_SERIES as u64);
    }
}
