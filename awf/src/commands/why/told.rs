//! One record in full: who did what, which rule decided, what it means and what helps.

use std::io::BufRead;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::remedy;
use super::safe;
use crate::commands::lines::{self, Line};
use crate::observe::record::{Layer, Record, Verdict, to_line};
use crate::observe::rules::{self, Remedy};

/// A record that is told.
pub(super) struct Told<'a> {
    /// Its line.
    pub number: u64,
    /// What it says.
    pub record: &'a Record,
    /// What the allow list of its run held, as far as that is known.
    pub allowed: &'a [String],
}

/// The line that is asked for, else the last one with a refusal of the command's.
pub(super) fn find(mut file: impl BufRead, wanted: Option<u64>) -> Result<(u64, Record)> {
    let (mut line, mut number, mut last) = (Vec::new(), 0, None);
    while lines::next(&mut file, &mut line)? {
        number += 1;
        match wanted {
            Some(wanted) if wanted == number => match Line::parse(&line) {
                Line::Attempt(record) => return Ok((number, *record)),
                Line::Damaged => bail!("line {number} is damaged"),
                Line::Summary(_) => bail!("line {number} is the summary of the run, no attempt"),
                Line::Signature(_) => bail!("line {number} is a signature, no attempt"),
            },
            Some(_) => {}
            None => {
                if let Line::Attempt(record) = Line::parse(&line)
                    && record.verdict == Verdict::Deny
                    && record.is_of_command()
                {
                    last = Some((number, *record));
                }
            }
        }
    }
    match wanted {
        Some(wanted) => bail!("it has {number} lines, and no line {wanted}"),
        None => last.context("nothing in it was refused; name another line with --line"),
    }
}

impl Told<'_> {
    fn target(&self) -> String {
        let address = self.record.address.map(|address| address.to_string());
        self.record.name.as_deref().map(str::to_owned).or(address).unwrap_or_default()
    }

    /// What helps; nothing for what passed.
    fn remedy(&self) -> Option<Remedy> {
        let Record { verdict, rule, would_deny, port, .. } = self.record;
        let rule = match verdict {
            Verdict::Deny => rule,
            Verdict::Allow | Verdict::Error => would_deny.as_ref()?,
        };
        Some(remedy::of(rule, &self.target(), *port, self.allowed))
    }

    /// For people.
    pub(super) fn pretty(&self) -> String {
        let record = self.record;
        let verdict = match record.verdict {
            Verdict::Allow => "Allowed",
            Verdict::Deny => "Denied",
            Verdict::Error => "Allowed, but it failed",
        };
        let mut rows = vec![("line", self.number.to_string()), ("what", self.what())];
        rows.push(("who", self.who()));
        if !record.process.ancestors.is_empty() {
            let above = record.process.ancestors.iter();
            let above = above.map(|it| format!("{} ({})", safe(&it.comm), it.pid));
            rows.push(("started by", above.collect::<Vec<_>>().join(" < ")));
        }
        rows.push(("when", when(record)));
        rows.push(("run", safe(&record.run)));
        if let Some(step) = &record.step {
            rows.push(("step", safe(step)));
        }
        let about = rules::about(&record.rule);
        rows.push(("rule", format!("{}: {}", safe(&record.rule), about.title)));
        rows.push(("meaning", about.meaning.to_owned()));
        if let Some(rule) = &record.would_deny {
            let rule = safe(rule);
            rows.push(("otherwise", format!("{rule} would have denied it outside audit mode")));
        }
        rows.push(("layer", layer(record.layer).to_owned()));
        rows.push(("reason", safe(&record.reason)));
        rows.extend(bytes(record).map(|bytes| ("bytes", bytes)));
        if let Some(remedy) = self.remedy() {
            let label = if remedy.allows() { "remedy" } else { "no flag helps" };
            rows.push((label, safe(remedy.text())));
        }
        let rows = rows.iter().map(|(label, text)| format!("  {label:<13} {text}\n"));
        format!("{verdict}\n{}", rows.collect::<String>())
    }

    fn what(&self) -> String {
        let record = self.record;
        let mut target = self.target();
        if let Some(port) = record.port {
            let bare_v6 = record.name.is_none() && target.contains(':');
            target =
                if bare_v6 { format!("[{target}]:{port}") } else { format!("{target}:{port}") };
        }
        let mut what =
            format!("{} {}", safe(&record.protocol), safe(&target)).trim_end().to_owned();
        if let (Some(method), Some(path)) = (&record.method, &record.path) {
            what = format!("{what}, {} {}", safe(method), safe(path));
        }
        if let (Some(address), Some(_name)) = (record.address, &record.name) {
            // The guard judges what the name really leads to.
            let place = if record.layer == Layer::Guard { "" } else { " in the sandbox" };
            what = format!("{what}, at {address}{place}");
        }
        what
    }

    fn who(&self) -> String {
        let process = &self.record.process;
        let exe = process.exe.as_deref().or(process.comm.as_deref());
        let Some(exe) = exe else { return "not known".to_owned() };
        let mut who = safe(exe);
        if let Some(comm) = &process.comm {
            who = format!("{who}, task \"{}\"", safe(comm));
        }
        for (what, number) in [("process", process.pid), ("user", process.uid)] {
            if let Some(number) = number {
                who = format!("{who}, {what} {number}");
            }
        }
        match &process.exe_sha256 {
            Some(hash) => format!("{who}, SHA-256 {}", safe(hash)),
            None => who,
        }
    }

    /// For programs: one line of printable ASCII.
    pub(super) fn json(&self) -> Result<String> {
        let remedy = self.remedy();
        let value = json!({
            "_schema": "awf-why/v1",
            "line": self.number,
            "record": self.record,
            "meaning": rules::about(&self.record.rule).meaning,
            "layer": layer(self.record.layer),
            "remedy": remedy.as_ref().map(Remedy::text),
            "can_be_allowed": remedy.as_ref().map(Remedy::allows),
        });
        Ok(String::from_utf8(to_line(&value)?)?)
    }
}

fn when(record: &Record) -> String {
    match (&record.until, record.count) {
        (Some(until), count) => {
            format!("from {} to {}, {count} times", safe(&record.time), safe(until))
        }
        (None, 1) => safe(&record.time),
        (None, count) => format!("{}, {count} times", safe(&record.time)),
    }
}

fn bytes(record: &Record) -> Option<String> {
    let (out, received) = (record.bytes_out?, record.bytes_in?);
    let took = record.duration_ms.map(|took| format!(" in {took} ms")).unwrap_or_default();
    Some(format!("{out} out, {received} in{took}"))
}

/// A layer in words.
fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Kernel => "kernel: a program on the command's cgroup, before anything left",
        Layer::Lsm => "kernel: a security module's program on the command's cgroup",
        Layer::Guard => "guard: a program on the proxy's cgroup, after the name was resolved",
        Layer::Relay => "relay: awf itself, before the proxy was asked",
        Layer::Proxy => "proxy: Squid",
        Layer::Name => "name door: awf's resolver, which no query leaves",
        Layer::Seccomp => "seccomp: the system call filter of the sandbox",
    }
}
