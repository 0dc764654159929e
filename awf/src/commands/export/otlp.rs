//! Attempts as OpenTelemetry log records, in the JSON form of OTLP.
//!
//! Takes the record, gives lines; each is the whole body of one request to a collector (`POST /v1/logs`), and the lines
//! together are what collectors read from files. Must never have a line that a collector would refuse for its size.

use std::io::{self, BufRead, Write};
use std::net::IpAddr;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::opened::RunLines;
use super::text;
use crate::commands::lines::Line;
use crate::observe::record::{Record, Verdict, to_line};
use crate::observe::summary::Summary;

/// Log records in one request at most.
const BATCH: usize = 1_000;
/// Bytes of log records with which a request is full, where collectors take 4 MiB and more. One of them has at most some
/// 40 KiB.
const FULL: usize = 1 << 20;

/// Writes requests; gives how many lines were damaged.
pub fn write(
    record: RunLines<impl BufRead>,
    summary: Option<&Summary>,
    out: &mut dyn Write,
) -> io::Result<u64> {
    requests(record, summary, |body| out.write_all(&body))
}

/// Gives requests, a line each, to `see`; gives how many lines of the record were damaged.
pub fn requests(
    record: RunLines<impl BufRead>,
    summary: Option<&Summary>,
    mut see: impl FnMut(Vec<u8>) -> io::Result<()>,
) -> io::Result<u64> {
    let mut batches = Batches::new(summary);
    let mut damaged = 0;
    record.each(|_number, line| {
        let full = match line {
            Line::Attempt(record) => batches.add(&attempt(&record))?,
            Line::Summary(summary) => batches.add(&end(&summary))?,
            Line::Signature(_) => None,
            Line::Damaged => {
                damaged += 1;
                None
            }
        };
        full.map_or(Ok(()), &mut see)
    })?;
    if let Some(body) = batches.rest()? {
        see(body)?;
    }
    Ok(damaged)
}

/// Log records on their way into requests.
#[derive(Debug)]
struct Batches {
    resource: Value,
    version: Option<String>,
    /// As text, which takes a tenth of the memory.
    records: Vec<Box<RawValue>>,
    bytes: usize,
}

impl Batches {
    fn new(summary: Option<&Summary>) -> Self {
        let version = summary.map(|summary| summary.terms.awf.clone());
        Self { resource: resource(summary), version, records: Vec::new(), bytes: 0 }
    }

    /// Takes a log record; gives a request when one is full.
    fn add(&mut self, record: &Value) -> io::Result<Option<Vec<u8>>> {
        let text = String::from_utf8(to_line(record)?).map_err(io::Error::other)?;
        self.bytes += text.len();
        self.records.push(RawValue::from_string(text)?);
        let is_full = self.records.len() >= BATCH || self.bytes >= FULL;
        if is_full { self.rest() } else { Ok(None) }
    }

    /// What is not in a request yet.
    fn rest(&mut self) -> io::Result<Option<Vec<u8>>> {
        let records = std::mem::take(&mut self.records);
        self.bytes = 0;
        if records.is_empty() {
            return Ok(None);
        }
        let scope = Scope { name: "awf", version: self.version.as_deref().unwrap_or_default() };
        let request = Request {
            resource_logs: [ResourceLogs {
                resource: Resource { attributes: &self.resource },
                scope_logs: [ScopeLogs { scope, log_records: records }],
            }],
        };
        Ok(Some(to_line(&request)?))
    }
}

/// `ExportLogsServiceRequest`, with one resource and one scope.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_logs: [ResourceLogs<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    resource: Resource<'a>,
    scope_logs: [ScopeLogs<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: &'a Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    scope: Scope<'a>,
    log_records: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
struct Scope<'a> {
    name: &'a str,
    version: &'a str,
}

/// The run, by the semantic conventions as far as they have a word.
fn resource(summary: Option<&Summary>) -> Value {
    let mut all = Attributes::default();
    all.text("service.name", Some("awf"));
    let Some(summary) = summary else { return all.0.into() };
    let (terms, job) =
        (&summary.terms, |name: &str| summary.terms.github.get(name).map(String::as_str));
    all.text("service.version", Some(&terms.awf));
    all.text("service.instance.id", Some(&summary.run));
    all.text("os.type", Some("linux"));
    all.text("os.version", Some(&terms.kernel_release));
    all.text("cicd.pipeline.name", job("GITHUB_WORKFLOW"));
    all.text("cicd.pipeline.run.id", job("GITHUB_RUN_ID"));
    all.text("cicd.pipeline.task.name", job("GITHUB_JOB"));
    all.text("vcs.repository.name", job("GITHUB_REPOSITORY"));
    all.text("awf.mode", Some(&terms.mode));
    all.text("awf.profile", Some(&terms.profile));
    all.text("awf.runtime", Some(&terms.runtime));
    all.text("awf.policy.sha256", Some(&terms.policy_sha256));
    all.0.into()
}

/// An attempt.
fn attempt(record: &Record) -> Value {
    let (number, word) = match (record.verdict, &record.would_deny) {
        (Verdict::Allow, None) => (9, "INFO"),
        (Verdict::Allow, Some(_)) | (Verdict::Deny, _) => (13, "WARN"),
        (Verdict::Error, _) => (17, "ERROR"),
    };
    let ended = record.until.as_deref().unwrap_or(&record.time);
    json!({
        "timeUnixNano": nanoseconds(&record.time),
        "observedTimeUnixNano": nanoseconds(ended),
        "severityNumber": number,
        "severityText": word,
        "eventName": "awf.egress.attempt",
        "body": { "stringValue": text::sentence(record) },
        "attributes": attributes(record),
    })
}

fn attributes(record: &Record) -> Vec<Value> {
    let mut all = Attributes::default();
    all.word("awf.verdict", record.verdict);
    all.word("awf.layer", record.layer);
    all.text("awf.rule", Some(&record.rule));
    all.text("awf.would_deny", record.would_deny.as_deref());
    all.text("awf.reason", Some(&record.reason));
    all.number("awf.count", Some(record.count));
    all.text("awf.run", Some(&record.run));
    all.text("awf.step", record.step.as_deref());
    all.text(
        "server.address",
        record
            .name
            .as_deref()
            .map(str::to_owned)
            .or_else(|| record.address.map(|address| address.to_string())),
    );
    all.number("server.port", record.port);
    all.text("destination.address", record.address.map(|address| address.to_string()));
    all.number("destination.port", record.port);
    all.number("source.port", record.client_port);
    match record.protocol.as_str() {
        transport @ ("tcp" | "udp") => all.text("network.transport", Some(transport)),
        "dns" => all.text("network.protocol.name", Some("dns")),
        other => all.text("awf.protocol", Some(other)),
    }
    all.text(
        "network.type",
        record.address.map(|address| match address {
            IpAddr::V4(_) => "ipv4",
            IpAddr::V6(_) => "ipv6",
        }),
    );
    all.word("awf.name_source", record.name_source);
    let process = &record.process;
    all.number("process.pid", process.pid);
    all.number("process.parent_pid", process.ppid);
    all.text("process.executable.path", process.exe.as_deref());
    all.text("awf.process.executable.sha256", process.exe_sha256.as_deref());
    all.number("process.user.id", process.uid);
    all.text("awf.process.comm", process.comm.as_deref());
    all.list(
        "awf.process.ancestors",
        process.ancestors.iter().map(|ancestor| format!("{} {}", ancestor.pid, ancestor.comm)),
    );
    all.number("awf.cgroup", record.cgroup);
    all.number("awf.socket.cookie", record.cookie);
    all.text("http.request.method", record.method.as_deref());
    all.text("url.path", record.path.as_deref());
    all.number("awf.proxy.status", record.proxy_status);
    all.number("awf.bytes.out", record.bytes_out);
    all.number("awf.bytes.in", record.bytes_in);
    all.number("awf.duration_ms", record.duration_ms);
    all.0
}

/// The end of the run: with it, a collector knows whether it has everything.
fn end(summary: &Summary) -> Value {
    let attempts = summary.attempts;
    let whole = if summary.complete { "complete" } else { "incomplete" };
    let body = format!(
        "run ended: {} attempts allowed, {} denied, {} failed; the record is {whole}",
        attempts.allow, attempts.deny, attempts.error
    );
    let mut all = Attributes::default();
    all.text("awf.run", Some(&summary.run));
    all.text("awf.began", Some(&summary.began));
    all.number("awf.exit_code", summary.exit_code);
    all.text("awf.record", Some(whole));
    all.number("awf.record.lost", Some(summary.lost.total()));
    all.number("awf.attempts.allow", Some(attempts.allow));
    all.number("awf.attempts.deny", Some(attempts.deny));
    all.number("awf.attempts.error", Some(attempts.error));
    for (counter, count) in &summary.kernel {
        all.number(&format!("awf.kernel.{counter}"), Some(*count));
    }
    let (number, word) = if summary.complete { (9, "INFO") } else { (17, "ERROR") };
    json!({
        "timeUnixNano": nanoseconds(&summary.time),
        "observedTimeUnixNano": nanoseconds(&summary.time),
        "severityNumber": number,
        "severityText": word,
        "eventName": "awf.run.end",
        "body": { "stringValue": body },
        "attributes": all.0,
    })
}

/// `KeyValue`s; numbers of 64 bits are text in the JSON form.
#[derive(Debug, Default)]
struct Attributes(Vec<Value>);

impl Attributes {
    fn text(&mut self, key: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.0.push(json!({ "key": key, "value": { "stringValue": value.as_ref() } }));
        }
    }

    fn number(&mut self, key: &str, value: Option<impl Into<u64>>) {
        if let Some(value) = value {
            // Signed in the protocol; nothing that awf counts goes so far.
            let value = i64::try_from(value.into()).unwrap_or(i64::MAX).to_string();
            self.0.push(json!({ "key": key, "value": { "intValue": value } }));
        }
    }

    /// A word of the record.
    fn word(&mut self, key: &str, value: impl Serialize) {
        if let Ok(Value::String(word)) = serde_json::to_value(value) {
            self.text(key, Some(word));
        }
    }

    fn list(&mut self, key: &str, values: impl Iterator<Item = String>) {
        let values: Vec<Value> = values.map(|value| json!({ "stringValue": value })).collect();
        if !values.is_empty() {
            self.0.push(json!({ "key": key, "value": { "arrayValue": { "values": values } } }));
        }
    }
}

/// Nanoseconds since the epoch as text; "0" is OTLP's word for unknown.
fn nanoseconds(time: &str) -> String {
    let time = text::microseconds(time).and_then(|time| time.checked_mul(1_000));
    time.filter(|time| *time > 0).unwrap_or(0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::golden;
    use crate::observe::record::{Layer, ProcessInfo};

    #[test]
    fn the_golden_record_is_this_request() {
        let summary = super::super::tests::summary();
        let mut out = Vec::new();
        assert_eq!(
            write(RunLines::all(golden::RECORD.as_bytes()), Some(&summary), &mut out).unwrap(),
            1
        );
        let body: Value = serde_json::from_slice(&out).unwrap();
        golden::check("export.otlp.json", &format!("{body:#}\n"));
    }

    #[test]
    fn long_lines_fill_a_request_before_there_are_many_of_them() {
        let exe = Some("x".repeat(20 << 10));
        let process = ProcessInfo { exe, ..ProcessInfo::default() };
        let record = Record { process, ..Record::denied("t".into(), "r".into(), Layer::Kernel) };
        let (lines, mut sizes) = (record.to_line().unwrap().repeat(200), Vec::new());
        let see = |body: Vec<u8>| {
            sizes.push(body.len());
            Ok(())
        };
        requests(RunLines::all(&*lines), None, see).unwrap();
        assert!(sizes.len() >= lines.len() / FULL, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size < 2 * FULL), "{sizes:?}");
    }

    #[test]
    fn a_long_record_is_several_requests_and_none_is_empty() {
        let line = Record::denied("t".into(), "r".into(), Layer::Kernel).to_line().unwrap();
        for (records, sizes) in [(0, vec![]), (BATCH, vec![BATCH]), (BATCH + 1, vec![BATCH, 1])] {
            let mut out = Vec::new();
            write(RunLines::all(&*line.repeat(records)), None, &mut out).unwrap();
            let bodies: Vec<Value> =
                out.lines().map(|body| serde_json::from_str(&body.unwrap()).unwrap()).collect();
            let logs = |body: &Value| body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].clone();
            let found: Vec<usize> =
                bodies.iter().map(|body| logs(body).as_array().unwrap().len()).collect();
            assert_eq!(found, sizes);
        }
    }
}
