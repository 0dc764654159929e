//! Attempts in words. Pure.
//!
//! Must never give a control character, or one that turns the direction of a text: the agent chooses names of processes,
//! paths and hosts, and a reader must see what they are made of.

use crate::observe::record::{Record, Verdict};

/// A text of the agent's with everything escaped that would not be seen as it is.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unseen(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Control and format characters that hide, join or turn text (Unicode, general categories Cc, Cf, Zl and Zp).
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_be_seen_is_spelt_out() {
        assert_eq!(shown("x\u{1b}[2J\u{202e}\n"), "x\\u{1b}[2J\\u{202e}\\u{a}");
        assert_eq!(shown("b\u{fc}cher <b> \"x\""), "b\u{fc}cher <b> \"x\"");
    }
}
