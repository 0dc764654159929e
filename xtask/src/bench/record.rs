//! The record: how fast refusals are made and written down, what is lost, and how fast a log is counted.
//!
//! Each flood is a run of its own, because what is lost is said by the summary at its end.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::figure::{Figure, Target, median};
use super::rig::Machine;
use super::{ALLOWED, ROUNDS, milliseconds, number};

/// Lines of the log that is counted.
const LINES: usize = 30_000;

pub(super) fn figures(machine: &Machine) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (meter, kernel, written, lost) in [
        ("flood", "flood-refused", "flood-recorded", "flood-lost"),
        ("scan", "scan-refused", "scan-recorded", "scan-lost"),
    ] {
        let [mut free, mut refused, mut recorded, mut missing] = [const { Vec::new() }; 4];
        for _round in 0..ROUNDS {
            free.push(number(&machine.free(&machine.meter(meter))?)?);
            let flood = Flood::run(machine, meter)?;
            refused.push(flood.rate);
            recorded.push(flood.recorded);
            missing.push(flood.lost);
        }
        figures
            .push(Figure::new(kernel, median(refused), "1/s").beside("sent, free", median(free)));
        figures.push(Figure::new(written, median(recorded), "1/s"));
        figures.push(Figure::new(lost, median(missing), "%").aiming(Target::AtMost(0.0)));
    }
    figures.push(stats(machine)?);
    Ok(figures)
}

/// What one run says of a flood.
struct Flood {
    /// Refusals a second, as the command saw them.
    rate: f64,
    /// Attempts on record by seconds of the whole run, its start included.
    recorded: f64,
    /// Part of the refusals that is missing in the record, in percent.
    lost: f64,
}

impl Flood {
    fn run(machine: &Machine, meter: &str) -> Result<Self> {
        let logs = machine.directory.join("flood");
        let mut awf = machine.awf();
        awf.args(["--allow-domains", ALLOWED, "--proxy-logs-dir"]);
        awf.arg(&logs);
        let program = machine.program.display();
        awf.arg("--mount").arg(format!("{program}:{program}:ro"));
        let began = Instant::now();
        let output = awf.args(["--", &machine.meter(meter)]).stdin(Stdio::null()).output()?;
        let took = began.elapsed().as_secs_f64();
        ensure!(output.status.success(), "{output:?}");
        let rate = number(&String::from_utf8_lossy(&output.stdout))?;
        let record = fs::read_to_string(logs.join("egress.jsonl")).context("read the record")?;
        fs::remove_dir_all(&logs).context("remove the record")?;
        let last = record.lines().next_back().context("the record is empty")?;
        let summary: Value = serde_json::from_str(last).context("read the summary")?;
        let count = |value: &Value| value.as_f64().context("the summary lacks a figure");
        let refused = count(&summary["kernel"]["refuse"])?;
        let lost = count(&summary["lost"]["ring"])? + count(&summary["lost"]["written"])?;
        Ok(Self {
            rate,
            recorded: count(&summary["attempts"]["deny"])? / took,
            lost: 100.0 * lost / refused.max(1.0),
        })
    }
}

/// `awf logs stats` beside `wc`.
fn stats(machine: &Machine) -> Result<Figure> {
    let logs = machine.directory.join("stats");
    fs::create_dir(&logs).context("make a directory of logs")?;
    let line = |n: usize| {
        let (client, host) = (30_000 + n % 30_000, n % 97);
        format!(
            "17953095{:02}.578 172.30.0.20:{client} host-{host}.test:443 -:- 1.1 CONNECT 403 \
             TCP_DENIED:HIER_NONE host-{host}.test:443 \"curl/7.88.1\"\n",
            n % 60
        )
    };
    let log = logs.join("access.log");
    fs::write(&log, (0..LINES).map(line).collect::<String>()).context("write a log")?;
    let (mut plain, mut counted) = (Vec::new(), Vec::new());
    for _round in 0..ROUNDS {
        plain.push(milliseconds(Command::new("wc").arg(&log))?);
        let mut awf = machine.plain_awf();
        counted.push(milliseconds(awf.args(["logs", "stats", "--source"]).arg(&logs))?);
    }
    Ok(Figure::new("stats-30k", median(counted), "ms")
        .beside("wc", median(plain))
        .aiming(Target::AtMost(50.0)))
}
