//! The shape of a line in `egress.jsonl`: one attempt.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Schema of a record. Additions are free; a change of meaning raises the number.
pub const SCHEMA: &str = "awf-egress/v1";

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It reached the destination, or the proxy tried to reach it.
    Allow,
    /// It was refused.
    Deny,
    /// It was allowed, but ended by a fault on the way: no such name, the origin did not answer. Without a destination: the
    /// run itself was at fault, and the record may lack what follows.
    Error,
}

/// Where the attempt was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// A program on the agent's cgroup.
    Kernel,
    /// A security module's program on the agent's cgroup.
    Lsm,
    /// A program on the proxy's cgroup.
    Guard,
    /// The relay behind the doors.
    Relay,
    /// Squid.
    Proxy,
    /// The name door.
    Name,
    /// The agent's system call filter.
    Seccomp,
}

/// How the name of a destination was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NameSource {
    /// The agent resolved it just before.
    Dns,
    /// TLS server name indication.
    Sni,
    /// HTTP Host header.
    Host,
    /// The client's own CONNECT or request line.
    Request,
    /// The service behind the API proxy's port.
    Api,
    /// The address stands for this service in every run.
    Service,
}

/// The process behind an attempt, as far as it could be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProcessInfo {
    /// Process id in the initial pid namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its parent, if the process still lived when the record was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppid: Option<u32>,
    /// User id in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Task name, told by the kernel at the attempt itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Path of the executable, if the process still lived when the record was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
}

/// One attempt. Absent fields do not apply to its kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// [`SCHEMA`].
    #[serde(rename = "_schema")]
    pub schema: &'static str,
    /// When the attempt was made: RFC 3339, UTC, microseconds.
    pub time: String,
    /// Id of the run.
    pub run: Arc<str>,
    /// What became of it.
    pub verdict: Verdict,
    /// Who judged it.
    pub layer: Layer,
    /// Rule that decided: a rule id of the policy, or the kernel's reason.
    pub rule: String,
    /// The same for a reader.
    pub reason: String,
    /// The process behind it.
    #[serde(flatten)]
    pub process: ProcessInfo,
    /// `tcp`, `udp`, `dns`, the refused socket's family and type, or the refused system call.
    pub protocol: String,
    /// Original destination address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Original destination port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Name asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// Where the name was learnt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_source: Option<NameSource>,
    /// Method of the request, where requests are looked into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Its path, never with the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Local port of the agent's socket: joins the record with Squid's logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_port: Option<u16>,
    /// Bytes from the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
    /// Bytes to the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    /// Life of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Status of the answer: Squid's, or where awf itself asks the server, the server's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_status: Option<u16>,
}

impl Record {
    /// The record as it stands in the file: one line of printable ASCII and its line feed.
    pub fn to_line(&self) -> serde_json::Result<Vec<u8>> {
        let mut line = Vec::with_capacity(512);
        self.serialize(&mut Serializer::with_formatter(&mut line, Printable))?;
        line.push(b'\n');
        Ok(line)
    }

    /// A denial that is still to be filled in: `Record { rule, .., ..Record::denied(time, run, layer) }`.
    pub fn denied(time: String, run: Arc<str>, layer: Layer) -> Self {
        Self {
            schema: SCHEMA,
            time,
            run,
            verdict: Verdict::Deny,
            layer,
            rule: String::new(),
            reason: String::new(),
            process: ProcessInfo::default(),
            protocol: String::new(),
            address: None,
            port: None,
            name: None,
            name_source: None,
            method: None,
            path: None,
            client_port: None,
            bytes_out: None,
            bytes_in: None,
            duration_ms: None,
            proxy_status: None,
        }
    }
}

/// JSON that a terminal shows as it is, and that every reader splits into the same lines: the agent names its processes, and
/// some take U+009B for the start of a control sequence, or U+2028 for the end of a line.
struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for character in fragment.chars() {
            if matches!(character, ' '..='~') {
                write!(writer, "{character}")?;
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_of_printable_ascii_that_says_exactly_what_was_tried() {
        let name = "a\"b\\\n\u{1b}[2J\u{7f}\u{85}\u{9b}1A\u{2028}\u{e9}\u{1f980}";
        let process = ProcessInfo { comm: Some(name.to_owned()), ..ProcessInfo::default() };
        let record = Record { process, ..Record::denied("t".into(), "r".into(), Layer::Kernel) };
        let line = String::from_utf8(record.to_line().unwrap()).unwrap();
        let text = line.strip_suffix('\n').unwrap();
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text}");
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(json["comm"], name);
    }
}
