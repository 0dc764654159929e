//! The shape of a line in `egress.jsonl`: one attempt, or several that are alike.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};

/// Schema of a record. Additions are free; a change of meaning raises the number.
pub const SCHEMA: &str = "awf-egress/v1";

/// Name of the file of a run's records.
pub const FILE: &str = "egress.jsonl";

/// What a line is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// An attempt: [`Record`].
    #[default]
    Attempt,
    /// The end of the run: [`super::summary::Summary`], the last line but for a signature.
    Summary,
    /// The signature of all lines before: [`super::chain::Signature`].
    Signature,
}

/// What became of an attempt.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessInfo {
    /// Process id in the initial pid namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppid: Option<u32>,
    /// User id in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Task name, told by the kernel at the attempt itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Path of the executable, as the command sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// `procfs` if the kernel could not tell executable and ancestors, so that they were looked up after the attempt: by then, the
    /// process may have executed something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// SHA-256 of the executable, if asked for and it was still running: hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_sha256: Option<String>,
    /// Who started it: its parent first, up to the first process of the sandbox or [`awf_common::limits::ANCESTORS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<Ancestor>,
}

/// A process above one that is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ancestor {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Task name.
    pub comm: String,
}

/// One attempt. Absent fields do not apply to its kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// [`SCHEMA`].
    #[serde(rename = "_schema")]
    pub schema: Cow<'static, str>,
    /// [`Event::Attempt`].
    #[serde(default)]
    pub event: Event,
    /// When the attempt was made: RFC 3339, UTC, microseconds.
    pub time: String,
    /// When the last of them was made, where the record stands for several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How many attempts it stands for: they are alike in all that a record tells but the time.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
    /// Id of the run.
    pub run: Arc<str>,
    /// What became of it.
    pub verdict: Verdict,
    /// Who judged it.
    pub layer: Layer,
    /// Rule that decided: a rule id of the policy, or the kernel's reason.
    pub rule: String,
    /// Rule that would have denied it, had the run not been in audit mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_deny: Option<String>,
    /// The same for a reader.
    pub reason: String,
    /// The process behind it.
    #[serde(flatten)]
    pub process: ProcessInfo,
    /// Step of the workflow: job and action, where the caller's environment tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Arc<str>>,
    /// The kernel's id of the cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<u64>,
    /// The kernel's id of the socket, unique as long as the machine is up (`SO_COOKIE`, socket(7)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<u64>,
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
    /// The record as it stands in the file.
    pub fn to_line(&self) -> serde_json::Result<Vec<u8>> {
        to_line(self)
    }

    /// Whether the command tried it. The guard judges the proxy's own connections, and the attempt of the command's that was
    /// behind one has a record of its own.
    pub fn is_of_command(&self) -> bool {
        self.layer != Layer::Guard
    }

    /// A denial that is still to be filled in: `Record { rule, .., ..Record::denied(time, run, layer) }`.
    pub fn denied(time: String, run: Arc<str>, layer: Layer) -> Self {
        Self {
            schema: SCHEMA.into(),
            event: Event::Attempt,
            time,
            until: None,
            count: 1,
            run,
            verdict: Verdict::Deny,
            layer,
            rule: String::new(),
            would_deny: None,
            reason: String::new(),
            process: ProcessInfo::default(),
            step: None,
            cgroup: None,
            cookie: None,
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_one(count: &u64) -> bool {
    *count == 1
}

const fn one() -> u64 {
    1
}

/// A value as a line of the file: printable ASCII and its line feed.
pub fn to_line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(512);
    value.serialize(&mut Serializer::with_formatter(&mut line, Printable))?;
    line.push(b'\n');
    Ok(line)
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
        let mut rest = fragment;
        while !rest.is_empty() {
            let plain = rest.bytes().take_while(|byte| matches!(byte, b' '..=b'~')).count();
            let (shown, other) = rest.split_at(plain);
            writer.write_all(shown.as_bytes())?;
            let mut characters = other.chars();
            let Some(character) = characters.next() else { break };
            rest = characters.as_str();
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
