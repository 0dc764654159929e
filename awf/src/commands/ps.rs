//! `awf ps`: the runs that go on.
//!
//! Takes what runs tell of themselves and their records, gives a table or JSON. Must never need root for what others may read.

use std::io::BufReader;
use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use super::kill::holder::holder;
use super::lines::{self, Line};
use super::shown::{Colour, Screen, shown};
use super::source;
use crate::cli::reading::PsArgs;
use crate::exit::Exit;
use crate::observe::record::{Verdict, to_line};
use crate::observe::summary::Attempts;
use crate::session::live::{self, Live, Seen};
use crate::session::run_dir::RUNS;
use crate::speech;

/// What is not known.
const UNKNOWN: &str = "-";

/// Lists the runs.
pub fn list(args: &PsArgs) -> Result<Exit> {
    let seen = live::look();
    if !seen.complete {
        tracing::warn!("Only root can see which runs go on: sudo awf ps");
    }
    let rows = rows(&seen, Path::new(RUNS), Timestamp::now());
    if args.json {
        speech::print(&String::from_utf8_lossy(&to_line(&rows)?))?;
    } else if !rows.is_empty() {
        speech::print(&table(&rows, Screen::of_stdout()))?;
    }
    if rows.is_empty() && seen.complete {
        tracing::info!("No runs");
    }
    Ok(Exit::Agent(0))
}

/// A run that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Row {
    id: String,
    /// In this pid namespace; absent if its awf is in another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    /// What it tells of itself; nothing if it is of another version of awf.
    #[serde(flatten)]
    told: Option<Told>,
    /// Absent if its record cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Attempts>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Told {
    began: String,
    age_seconds: i64,
    runtime: String,
    uid: u32,
    allowed: Vec<String>,
    logs: String,
}

/// The runs with what their records say, the newest first.
fn rows(seen: &Seen, runs: &Path, now: Timestamp) -> Vec<Row> {
    let told = seen.runs.iter().map(|live| Row {
        id: live.id.clone(),
        pid: holder(&runs.join(&live.id)).map(|awf| awf.pid),
        told: Some(Told {
            began: live.began.clone(),
            age_seconds: age(&live.began, now),
            runtime: live.runtime.clone(),
            uid: live.uid,
            allowed: live.allowed.clone(),
            logs: live.logs.display().to_string(),
        }),
        attempts: attempts(live),
    });
    let silent = seen.silent.iter().map(|run| Row {
        id: run.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        pid: holder(run).map(|awf| awf.pid),
        told: None,
        attempts: None,
    });
    told.chain(silent).collect()
}

/// Seconds since it began.
fn age(began: &str, now: Timestamp) -> i64 {
    began.parse::<Timestamp>().map_or(0, |began| now.as_second() - began.as_second()).max(0)
}

/// What its record says so far.
fn attempts(live: &Live) -> Option<Attempts> {
    let file = source::open(&source::record_of(live)).ok()?;
    let mut counts = Attempts::default();
    let count = |_number, line| {
        // Other runs may have used the same file.
        if let Line::Attempt(record) = line
            && *record.run == *live.id
            && record.is_of_command()
        {
            let of_verdict = match record.verdict {
                Verdict::Allow => &mut counts.allow,
                Verdict::Deny => &mut counts.deny,
                Verdict::Error => &mut counts.error,
            };
            *of_verdict = of_verdict.saturating_add(record.count);
        }
        Ok::<_, std::io::Error>(())
    };
    lines::each(BufReader::with_capacity(64 << 10, file), count).ok()?;
    Some(counts)
}

/// The two largest units.
fn told_age(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

fn table(rows: &[Row], screen: Screen) -> String {
    let head = ["RUN", "AGE", "PID", "RUNTIME", "ALLOW", "DENY", "ERROR"].map(str::to_owned);
    let cells: Vec<[String; 7]> = std::iter::once(head).chain(rows.iter().map(cells)).collect();
    let mut widths = [0; 7];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let room = screen.columns.saturating_sub(widths.iter().map(|width| width + 2).sum());
    let domains = rows.iter().map(|row| domains(row, room));
    let last = std::iter::once("DOMAINS".to_owned()).chain(domains);
    let mut text = String::new();
    for (at, (row, last)) in cells.iter().zip(last).enumerate() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let space = " ".repeat(width - cell.width());
            // Numbers stand below each other by their last digits.
            let parts =
                if column == 2 || column > 3 { [&space, cell, "  "] } else { [cell, &space, "  "] };
            line += &parts.concat();
        }
        line += &last;
        let line = line.trim_end();
        text += &if at == 0 { screen.painted(Colour::Grey, line) } else { line.to_owned() };
        text.push('\n');
    }
    text
}

fn cells(row: &Row) -> [String; 7] {
    let unknown = || UNKNOWN.to_owned();
    let told = |text: &dyn Fn(&Told) -> String| row.told.as_ref().map_or_else(unknown, text);
    let count = |of: fn(&Attempts) -> u64| {
        row.attempts.as_ref().map_or_else(unknown, |attempts| of(attempts).to_string())
    };
    [
        shown(&row.id),
        told(&|told| told_age(told.age_seconds)),
        row.pid.map_or_else(unknown, |pid| pid.to_string()),
        told(&|told| shown(&told.runtime)),
        count(|attempts| attempts.allow),
        count(|attempts| attempts.deny),
        count(|attempts| attempts.error),
    ]
}

/// As many of the allowed domains as there is room for, and how many more there are.
fn domains(row: &Row, room: usize) -> String {
    let Some(told) = &row.told else { return UNKNOWN.to_owned() };
    let more = |number: usize| if number == 0 { String::new() } else { format!(" +{number}") };
    let mut text = String::new();
    for (at, domain) in told.allowed.iter().enumerate() {
        let longer = format!("{text}{}{}", if at == 0 { "" } else { ", " }, shown(domain));
        let left = told.allowed.len() - at;
        if longer.width() + more(left - 1).width() > room {
            return if at == 0 { left.to_string() } else { text + &more(left) };
        }
        text = longer;
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::commands::golden;
    use crate::session::live::tests::{live, pretend};

    #[test]
    fn runs_are_listed_with_what_their_records_say() {
        let runs = std::env::temp_dir().join(format!("awf-ps-{}", std::process::id()));
        let logs = runs.join("logs");
        fs::create_dir_all(&logs).unwrap();
        fs::write(logs.join("egress.jsonl"), golden::RECORD).unwrap();
        let first = Live {
            allowed: ["github.com", "*.github.com", "https://x.example", "a\u{202e}b.example"]
                .map(str::to_owned)
                .into(),
            ..live("awf-1795816800000-ab12", "2026-11-28T00:00:00.000000Z", &logs)
        };
        let other = Live {
            runtime: "docker".to_owned(),
            allowed: Vec::new(),
            ..live("awf-1795816860000-cd34", "2026-11-28T00:01:00.000000Z", Path::new("/none"))
        };
        let _held = [pretend(&runs, &first), pretend(&runs, &other)];
        let mute = runs.join("awf-1-ef56");
        let seen = Seen { silent: vec![mute], ..live::look_in(&runs) };
        let now = "2026-11-28T03:02:01Z".parse().unwrap();
        let mut rows = rows(&seen, &runs, now);
        assert_eq!(rows[0].pid, Some(std::process::id()));
        for (at, row) in rows.iter_mut().enumerate() {
            row.pid = row.pid.map(|_pid| 4000 + u32::try_from(at).unwrap());
            if let Some(told) = &mut row.told {
                told.logs = "/logs".to_owned();
            }
        }
        golden::check("ps.txt", &table(&rows, Screen { columns: 80, colour: false }));
        golden::check("ps-wide.txt", &table(&rows, Screen { columns: 150, colour: true }));
        golden::check("ps.json", &String::from_utf8(to_line(&rows).unwrap()).unwrap());
        fs::remove_dir_all(&runs).unwrap();
    }

    #[test]
    fn an_age_is_told_by_its_two_largest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m01s"),
            (3599, "59m59s"),
            (3661, "1h01m"),
            (90_000, "1d01h"),
        ] {
            assert_eq!(told_age(seconds), text);
        }
    }
}
