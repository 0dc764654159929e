//! Attempts as OCSF events of class Network Activity (4001), one JSON object a line, with the profiles Host and Security
//! Control.
//!
//! Takes the record, gives as many lines. Must never leave out what OCSF has no place for: that is in `unmapped`.

use std::io::{self, BufRead, Write};
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::opened::RunLines;
use super::text;
use crate::commands::lines::Line;
use crate::observe::record::{ProcessInfo, Record, Verdict, to_line};
use crate::observe::rules::{self, Weight};
use crate::observe::summary::Summary;

/// The version of the schema that the events follow.
const VERSION: &str = "1.8.0";
/// The class, and its category Network Activity.
const CLASS: u32 = 4001;
const CATEGORY: u32 = 4;

/// Writes the events; gives how many lines were damaged.
pub fn write(
    record: RunLines<impl BufRead>,
    summary: Option<&Summary>,
    out: &mut dyn Write,
) -> io::Result<u64> {
    let mut damaged = 0;
    record.each(|number, line| {
        match line {
            Line::Attempt(record) => out.write_all(&to_line(&event(&record, number, summary))?)?,
            Line::Damaged => damaged += 1,
            Line::Summary(_) | Line::Signature(_) => {}
        }
        Ok(())
    })?;
    Ok(damaged)
}

/// An attempt as an event.
fn event(record: &Record, number: u64, summary: Option<&Summary>) -> Value {
    let kind = Kind::of(record);
    let began = milliseconds(&record.time);
    let ended = record.until.as_deref().map_or_else(
        || began.zip(record.duration_ms).map(|(began, life)| began.saturating_add_unsigned(life)),
        milliseconds,
    );
    let duration = record.duration_ms.or_else(|| ended?.checked_sub(began?)?.try_into().ok());
    prune(json!({
        "activity_id": kind.activity.0,
        "activity_name": kind.activity.1,
        "category_uid": CATEGORY,
        "category_name": "Network Activity",
        "class_uid": CLASS,
        "class_name": "Network Activity",
        "type_uid": CLASS * 100 + kind.activity.0,
        "type_name": format!("Network Activity: {}", kind.activity.1),
        "severity_id": kind.severity.0,
        "severity": kind.severity.1,
        "status_id": kind.status.0,
        "status": kind.status.1,
        "status_code": record.rule,
        "status_detail": record.reason,
        "action_id": kind.action.0,
        "action": kind.action.1,
        "disposition_id": kind.disposition.0,
        "disposition": kind.disposition.1,
        "time": began,
        "start_time": began,
        "end_time": ended,
        "duration": duration,
        "count": record.count,
        "message": text::sentence(record),
        "firewall_rule": { "uid": record.would_deny.as_deref().unwrap_or(&record.rule), "name": record.rule },
        "policy": summary.map(|summary| json!({ "name": "awf", "uid": summary.terms.policy_sha256 })),
        "actor": actor(record),
        "device": device(record, summary),
        "src_endpoint": { "uid": record.run, "port": record.client_port },
        "dst_endpoint": destination(record),
        "connection_info": connection(record),
        "traffic": traffic(record),
        "url": url(record),
        "observables": observables(record),
        "metadata": metadata(record, number, summary),
        "unmapped": unmapped(record),
    }))
}

/// What a verdict is in OCSF's numbers and words.
struct Kind {
    activity: (u32, &'static str),
    severity: (u32, &'static str),
    status: (u32, &'static str),
    action: (u32, &'static str),
    disposition: (u32, &'static str),
}

impl Kind {
    fn of(record: &Record) -> Self {
        let (success, failure) = ((1, "Success"), (2, "Failure"));
        let allowed = (1, "Allowed");
        match record.verdict {
            Verdict::Allow => Self {
                activity: match record.bytes_out.or(record.bytes_in) {
                    Some(_) => (6, "Traffic"),
                    None => (1, "Open"),
                },
                severity: if record.would_deny.is_some() {
                    (3, "Medium")
                } else {
                    (1, "Informational")
                },
                status: success,
                action: allowed,
                disposition: match record.would_deny {
                    Some(_) => (15, "Detected"),
                    None => allowed,
                },
            },
            Verdict::Deny => Self {
                activity: (5, "Refuse"),
                severity: match rules::about(&record.rule).weight {
                    Weight::Usual => (2, "Low"),
                    Weight::Notable => (3, "Medium"),
                    Weight::Grave => (4, "High"),
                },
                status: failure,
                action: (2, "Denied"),
                disposition: (2, "Blocked"),
            },
            Verdict::Error => Self {
                activity: (4, "Fail"),
                severity: (2, "Low"),
                status: failure,
                action: allowed,
                disposition: (22, "Error"),
            },
        }
    }
}

fn actor(record: &Record) -> Value {
    let process = &record.process;
    if process.pid.is_none() && process.comm.is_none() && process.exe.is_none() {
        return Value::Null;
    }
    // From the oldest down: each is the parent of the next.
    let mut parent = Value::Null;
    for ancestor in process.ancestors.iter().rev() {
        parent = json!({ "pid": ancestor.pid, "name": ancestor.comm, "parent_process": parent });
    }
    if process.ancestors.is_empty() {
        parent = process.ppid.map_or(Value::Null, |pid| json!({ "pid": pid }));
    }
    json!({ "process": {
        "pid": process.pid,
        "name": process.comm,
        "file": file(process),
        "user": process.uid.map(|uid| json!({ "uid": uid.to_string() })),
        "parent_process": parent,
    } })
}

fn file(process: &ProcessInfo) -> Value {
    let Some(path) = &process.exe else { return Value::Null };
    let hash = |value| json!([{ "algorithm": "SHA-256", "algorithm_id": 3, "value": value }]);
    json!({
        "path": path,
        "name": path.rsplit('/').next(),
        "type": "Regular File",
        "type_id": 1,
        "hashes": process.exe_sha256.as_ref().map(hash),
    })
}

/// The sandbox: to the outside, a machine of its own.
fn device(record: &Record, summary: Option<&Summary>) -> Value {
    json!({
        "uid": record.run,
        "type": "Virtual",
        "type_id": 6,
        "os": {
            "name": "Linux",
            "type": "Linux",
            "type_id": 200,
            "kernel_release": summary.map(|summary| &summary.terms.kernel_release),
        },
    })
}

fn destination(record: &Record) -> Value {
    if text::target(record).is_none() {
        return Value::Null;
    }
    json!({ "hostname": record.name, "ip": record.address, "port": record.port })
}

fn connection(record: &Record) -> Value {
    let number = match record.protocol.as_str() {
        "tcp" => Some(6),
        "udp" | "dns" => Some(17),
        _ => None,
    };
    let version = record.address.map(|address| match address {
        IpAddr::V4(_) => (4, "Internet Protocol version 4 (IPv4)"),
        IpAddr::V6(_) => (6, "Internet Protocol version 6 (IPv6)"),
    });
    let (version, version_name) = version.unzip();
    json!({
        "direction": "Outbound",
        "direction_id": 2,
        "protocol_name": record.protocol,
        "protocol_num": number,
        "protocol_ver": version_name,
        "protocol_ver_id": version,
        "uid": record.cookie.map(|cookie| cookie.to_string()),
    })
}

fn traffic(record: &Record) -> Value {
    if record.bytes_in.is_none() && record.bytes_out.is_none() {
        return Value::Null;
    }
    let sum = record.bytes_in.unwrap_or(0).saturating_add(record.bytes_out.unwrap_or(0));
    json!({ "bytes": sum, "bytes_in": record.bytes_in, "bytes_out": record.bytes_out })
}

fn url(record: &Record) -> Value {
    let path = record.path.as_ref();
    path.map_or(Value::Null, |path| json!({ "hostname": record.name, "path": path }))
}

fn observables(record: &Record) -> Value {
    let name = record.name.as_deref().map(|name| {
        json!({ "name": "dst_endpoint.hostname", "type": "Hostname", "type_id": 1, "value": name })
    });
    let address = record.address.map(|address| {
        json!({ "name": "dst_endpoint.ip", "type": "IP Address", "type_id": 2, "value": address })
    });
    name.into_iter().chain(address).collect()
}

fn metadata(record: &Record, number: u64, summary: Option<&Summary>) -> Value {
    json!({
        "version": VERSION,
        "product": {
            "name": "awf",
            "vendor_name": "awf",
            "version": summary.map(|summary| &summary.terms.awf),
        },
        "profiles": ["host", "security_control"],
        "log_name": "egress.jsonl",
        "log_version": record.schema,
        "correlation_uid": record.run,
        "sequence": number,
        "original_time": record.time,
    })
}

fn unmapped(record: &Record) -> Value {
    json!({
        "layer": record.layer,
        "name_source": record.name_source,
        "method": record.method,
        "proxy_status": record.proxy_status,
        "step": record.step,
        "cgroup": record.cgroup,
    })
}

fn milliseconds(time: &str) -> Option<i64> {
    text::microseconds(time).map(|time| time.div_euclid(1_000))
}

/// The value without members that say nothing.
fn prune(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().map(|(name, value)| (name, prune(value)));
            Value::Object(kept.filter(|(_name, value)| !is_nothing(value)).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(prune).collect()),
        other => other,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::golden;

    #[test]
    fn the_golden_record_has_these_events() {
        let summary = super::super::tests::summary();
        let mut out = Vec::new();
        assert_eq!(
            write(RunLines::all(golden::RECORD.as_bytes()), Some(&summary), &mut out).unwrap(),
            1
        );
        golden::check("export.ocsf.jsonl", &String::from_utf8(out).unwrap());
    }

    /// The class in JSON Schema: nothing beyond its properties is valid.
    const SCHEMA: &str = include_str!("../golden/ocsf-4001.schema.json");

    #[test]
    fn every_event_is_valid_by_the_schema_of_its_class() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let summary = super::super::tests::summary();
        for summary in [None, Some(&*summary)] {
            let mut out = Vec::new();
            write(RunLines::all(golden::RECORD.as_bytes()), summary, &mut out).unwrap();
            for line in out.lines() {
                let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
                let errors: Vec<String> =
                    validator.iter_errors(&event).map(|error| error.to_string()).collect();
                assert!(errors.is_empty(), "{errors:?}: {event}");
            }
        }
    }

    #[test]
    fn a_text_of_the_agents_is_one_string_on_one_line() {
        let name = "a\"}\n{\u{1b}[2J\u{2028}";
        let process = ProcessInfo { comm: Some(name.into()), ..ProcessInfo::default() };
        let time = "2026-11-28T00:00:01.000001Z".to_owned();
        let layer = crate::observe::record::Layer::Kernel;
        let record = Record { process, ..Record::denied(time, "r".into(), layer) };
        let mut out = Vec::new();
        write(RunLines::all(&*record.to_line().unwrap()), None, &mut out).unwrap();
        let event: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(event["actor"]["process"]["name"], name);
        assert_eq!(out.iter().filter(|byte| !matches!(byte, b' '..=b'~')).count(), 1);
    }
}
