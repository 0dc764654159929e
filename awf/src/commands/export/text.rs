//! Attempts in words. Pure.
//!
//! Must never give a control character, or one that turns the direction of a text: the agent chooses names of processes,
//! paths and hosts, and a reader must see what they are made of.

pub use crate::commands::shown::shown;
use crate::observe::record::{Record, Verdict};

/// What was meant: the name, else the address; `None` for what has no destination.
pub fn target(record: &Record) -> Option<String> {
    let name = record.name.as_deref().map(shown);
    name.or_else(|| record.address.map(|address| address.to_string()))
}

/// The destination with its port, or what was tried instead of a connection.
pub fn destination(record: &Record) -> String {
    match (target(record), record.port) {
        (Some(target), Some(port)) if target.contains(':') => format!("[{target}]:{port}"),
        (Some(target), Some(port)) => format!("{target}:{port}"),
        (Some(target), None) => target,
        (None, _) => shown(&record.protocol),
    }
}

/// The process by its task name, else by its executable.
pub fn process(record: &Record) -> Option<String> {
    let process = &record.process;
    process.comm.as_deref().or(process.exe.as_deref()).map(shown)
}

/// One sentence about an attempt.
pub fn sentence(record: &Record) -> String {
    let verb = match (record.verdict, &record.would_deny) {
        (Verdict::Allow, None) => "allowed",
        (Verdict::Allow, Some(_)) => "let through by audit mode",
        (Verdict::Deny, _) => "denied",
        (Verdict::Error, _) => "failed",
    };
    let times = if record.count > 1 { format!(" {} times", record.count) } else { String::new() };
    let by = process(record).map(|name| format!(" by {name}")).unwrap_or_default();
    let protocol = shown(&record.protocol);
    let protocol = if target(record).is_some() { format!(" ({protocol})") } else { String::new() };
    format!("{verb}{times}: {}{protocol}{by}: {}", destination(record), shown(&record.reason))
}

/// Microseconds since the epoch, or nothing if the text is no time.
pub fn microseconds(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}
