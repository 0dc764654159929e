//! `awf logs`: the lines of Squid's log, one by one.
//!
//! Takes lines, gives them as they are, for people, or for programs. A line that cannot be read is shown, and counted. Must
//! never send a control character to a terminal.

use std::io::{BufRead, Write};

use anyhow::Result;
use serde::Serialize;

use super::Kind;
use super::entry::{Entry, Outcome};
use super::processes::{Process, Processes};
use super::text::{self, Paint, shown};
use crate::cli::reading::LineFormat;
use crate::commands::lines;

/// How lines are shown.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) format: LineFormat,
    pub(super) paint: Paint,
    /// Whether a terminal shows them: it is sent nothing that it could obey, even where lines are shown as they are.
    pub(super) terminal: bool,
    /// The run whose lines they are, where lines of several are mixed.
    pub(super) run: Option<String>,
}

/// A line that is damaged, in JSON.
#[derive(Serialize)]
struct Damaged<'a> {
    damaged: &'a str,
}

impl Manner {
    /// Shows a line, if it holds anything; false if it is damaged.
    pub(super) fn show(
        &self,
        (kind, line): (Kind, &[u8]),
        processes: Option<&Processes>,
        out: &mut impl Write,
    ) -> Result<bool> {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            return Ok(true);
        }
        let text = String::from_utf8_lossy(line);
        let entry = kind.parse(&text);
        let process = entry.as_ref().and_then(|entry| processes?.of(entry));
        match (self.format, &entry) {
            (LineFormat::Raw, _) if !self.terminal => {
                out.write_all(line)?;
                writeln!(out)?;
            }
            (LineFormat::Json, Some(entry)) => {
                writeln!(out, "{}", text::json(&entry.to_json(process, self.run.as_deref()))?)?;
            }
            // One object on each line, whatever happens.
            (LineFormat::Json, None) => {
                writeln!(out, "{}", text::json(&Damaged { damaged: &text })?)?;
            }
            (LineFormat::Pretty, Some(entry)) => writeln!(out, "{}", self.pretty(entry, process))?,
            (LineFormat::Raw, _) | (LineFormat::Pretty, None) => writeln!(out, "{}", shown(&text))?,
        }
        Ok(entry.is_some())
    }

    fn pretty(&self, entry: &Entry<'_>, process: Option<&Process>) -> String {
        let time = jiff::Timestamp::from_millisecond(entry.time_ms).unwrap_or_default();
        let time = format!("{time:.3}").replace('T', " ");
        let time = time.trim_end_matches('Z');
        let outcome = entry.outcome();
        let (method, target, status) = (shown(&entry.method), target(entry), entry.status);
        let target = shown(&target);
        let word = outcome.name().to_ascii_uppercase();
        let mut text = format!("[{time}] {method} {target} → {status} ({word})");
        if !matches!(&*entry.user_agent, "-" | "") {
            text = text + " [" + &shown(&entry.user_agent) + "]";
        }
        if let Some(process) = process {
            text.extend([format!(" <PID:{} {}>", process.pid, shown(&process.comm))]);
        }
        let text = match outcome {
            Outcome::Allowed => self.paint.green(&text),
            Outcome::Denied => self.paint.red(&text),
            Outcome::Error => self.paint.yellow(&text),
        };
        match &self.run {
            Some(run) => format!("{} {text}", self.paint.gray(&shown(run))),
            None => text,
        }
    }
}

/// The domain, with the port if it is not the usual one.
fn target(entry: &Entry<'_>) -> String {
    let domain = entry.domain();
    let port =
        if entry.is_https() { entry.port().to_string() } else { entry.dest_port.to_string() };
    let is_usual = match &*port {
        "443" | "-" | "" => true,
        "80" => !entry.is_https(),
        _ => false,
    };
    if is_usual { domain.to_owned() } else { format!("{domain}:{port}") }
}

/// Shows a whole file, and gives the number of damaged lines.
pub(super) fn file(
    (kind, mut file): (Kind, impl BufRead),
    manner: &Manner,
    processes: Option<&Processes>,
    out: &mut impl Write,
) -> Result<u64> {
    let (mut line, mut damaged) = (Vec::new(), 0);
    while lines::next(&mut file, &mut line)? {
        damaged += u64::from(!manner.show((kind, &line), processes, out)?);
    }
    Ok(damaged)
}
