//! Every attempt of the probe that is a system call or a few, held against its row of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use awf_tests::attempts::{Accomplice, Report, carries, expected, judge_control, reports};
use awf_tests::{Outcome, Run, lab, unconfined};
use serde_json::Value;
use xtask::lab::Packet;
use xtask::vectors::report::{End, Kind, Line, tell};
use xtask::vectors::{self, Vector};

use crate::probe::{PROBE, with_probe};
use crate::target::Target;

#[test]
fn every_row_of_the_table_has_an_attempt_and_every_attempt_a_row() {
    let output = Command::new(PROBE).arg("list").output().unwrap();
    let attempts = String::from_utf8(output.stdout).unwrap();
    let rows: BTreeSet<&str> = vectors::all().map(|vector| vector.name).collect();
    assert_eq!(attempts.lines().collect::<BTreeSet<_>>(), rows);
}

/// What the attempts came to without awf.
struct Outside {
    reports: BTreeMap<String, Report>,
    packets: Vec<Packet>,
    target: Target,
}

impl Outside {
    fn try_all(target: Target) -> Self {
        let sink = lab().sink();
        let mark = sink.mark().unwrap();
        let accomplice = Accomplice::of(PROBE, target.salt);
        let names: Vec<&str> = vectors::all()
            .filter(|vector| vector.control.is_tried())
            .map(|vector| vector.name)
            .collect();
        // Ping sockets are for groups that the namespace names; the sandbox opens them to see the attempt.
        let range = "/proc/sys/net/ipv4/ping_group_range";
        let probe = format!("{}{PROBE} fire {}", accomplice.introduction(), target.salt);
        let output = unconfined(&format!("echo 0 0 > {range}; {probe} {}", names.join(" ")));
        let reports = reports(&String::from_utf8_lossy(&output.stdout));
        Self { reports, packets: sink.traffic_since(&mark).unwrap(), target }
    }

    fn errno(&self, vector: &Vector) -> Option<i32> {
        self.reports.get(vector.name).map(|report| report.errno)
    }

    /// Why there is no control, or what is wrong with it: the attempts must work, or the refusals would prove nothing.
    fn control(&self, vector: &Vector) -> Result<Option<String>, String> {
        let payload = self.target.payload(vector.name);
        let arrived = self.packets.iter().any(|packet| carries(packet, &payload));
        judge_control(expected(vector).control, self.errno(vector), arrived)
    }
}

/// Whether the record of a refusal is complete.
fn is_complete(record: &Value, vector: &Vector, rule: &str, protocol: &str) -> bool {
    let has_destination = matches!(rule, "port" | "udp" | "ipv6");
    let layer = match vector.layer {
        vectors::Layer::Seccomp => "seccomp",
        _ => "kernel",
    };
    let names_caller =
        record["comm"] == vector.name && record["pid"].is_u64() && record["uid"].is_u64();
    let is_nobodys = record.get("comm").is_none() && !expected(vector).names_caller;
    (names_caller || is_nobodys)
        && record["verdict"] == "deny"
        && record["layer"] == layer
        && record["rule"] == rule
        && record["protocol"] == protocol
        && (!has_destination || record["address"].is_string() && record["port"].is_u64())
}

/// Whether the row's record is there; where the kernel has nothing to try, the programs have nothing to tell.
fn judge_record(vector: &Vector, outcome: &Outcome, is_there: bool) -> Result<bool, String> {
    let Some(record) = vector.record else { return Ok(false) };
    let (rule, protocol) = (record.rule, record.protocol);
    if !outcome.records_where(|found| is_complete(found, vector, rule, protocol)).is_empty() {
        return Ok(true);
    }
    if vector.layer == vectors::Layer::Programs && !is_there {
        return Ok(false);
    }
    let found = outcome.records_where(|found| found["comm"] == vector.name);
    Err(format!("no record says {rule}, {protocol}: {found:#?}"))
}

#[test]
fn every_system_call_out_is_refused_and_on_record() {
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    let outside = Outside::try_all(Target::of(11));

    let target = Target::of(12);
    let accomplice = Accomplice::of(PROBE, target.salt);
    let run = with_probe(Run::allowing("example.com"));
    let line = format!("{}{PROBE} fire {}", accomplice.introduction(), target.salt);
    let outcome = run.run(&line).succeeded();
    drop(accomplice);
    let reports = reports(&outcome.stdout);
    let packets = sink.traffic_since(&mark).unwrap();
    let (mut faults, mut latencies) = (Vec::new(), Vec::new());
    for vector in vectors::all() {
        let Report { errno, micros } = reports[vector.name];
        let payload = target.payload(vector.name);
        let escaped = packets.iter().any(|packet| carries(packet, &payload));
        let mut fault = |what: String| faults.push(format!("{}: {what}", vector.name));
        let control = outside.control(vector);
        // What is not tried without awf exists inside at least.
        let is_there = control == Ok(None) || !expected(vector).control.is_tried();
        let uncontrolled = control.unwrap_or_else(|what| {
            fault(what.clone());
            Some(what)
        });
        if !expected(vector).is_right(errno, outside.errno(vector)) {
            fault(format!("errno {errno} instead of {:?}", vector.errnos));
        }
        let recorded = judge_record(vector, &outcome, is_there).unwrap_or_else(|what| {
            fault(what);
            false
        });
        if recorded {
            latencies.push(micros);
        }
        let end = match errno {
            _ if escaped => End::Escaped,
            0 if !vector.errnos.contains(&0) => End::Escaped,
            0 => End::Contained,
            _ => End::Refused,
        };
        let name = vector.name.to_owned();
        tell(&Line { kind: Kind::SystemCalls, name, end, recorded, uncontrolled }).unwrap();
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    let token = format!("awf-probe {} ", target.salt);
    let aims = [Some(target.v4.into()), Some(target.v6.into())];
    let leaks = |packet: &&Packet| aims.contains(&packet.dst) || carries(packet, token.as_bytes());
    let leaked: Vec<_> = packets.iter().filter(leaks).collect();
    assert!(leaked.is_empty(), "the sink saw {leaked:#?}");

    latencies.sort_unstable();
    let (median, worst) = (latencies[latencies.len() / 2], latencies.last().unwrap());
    println!("{} recorded refusals: median {median} us, slowest {worst} us", latencies.len());
}
