//! What awf says: `[LEVEL] text` lines on standard error, and nothing on standard output but what was asked for.
//!
//! Must never let a text that it passes on (the agent chooses the names of processes and of what it asks for) begin a line
//! of its own or move the cursor.

use std::fmt;
use std::io::{self, Write as _};

use anyhow::Result;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::LogLevel;
use crate::exit::Exit;

/// Sets what is said from now on.
pub(crate) fn begin(level: LogLevel) {
    let level = match level {
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        // They would be told on the same closed standard error, and end awf in the middle of a run.
        .log_internal_errors(false)
        .event_format(Line);
    // Set already in a process that runs twice, as tests do.
    let _again = subscriber.try_init().is_err();
}

/// Prints to standard output. A reader that has gone is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The line that tools look for at the end of a run.
pub(crate) fn last_word(exit: Exit) {
    tracing::info!("Process exiting with code: {}", exit.code());
}

/// An error with its causes, once.
pub(crate) fn error(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some errors name their cause already, where it belongs in the sentence.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    // A reader that has gone must not change the exit code.
    let _unheard = writeln!(io::stderr(), "[ERROR] {text}").is_err();
}

/// The original's format.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        ctx.format_fields(Writer::new(&mut text), event)?;
        writeln!(writer, "[{}] {}", event.metadata().level(), shown(&text))
    }
}

/// A text with its control characters escaped.
fn shown(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.into() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_begin_a_line_or_move_the_cursor() {
        assert_eq!(
            shown("by a\n[INFO] b\r\u{1b}[2J\u{9b}A"),
            r"by a\u{a}[INFO] b\u{d}\u{1b}[2J\u{9b}A"
        );
        assert_eq!(shown("b\u{fc}cher \"x\" 'y' \\"), "b\u{fc}cher \"x\" 'y' \\");
    }
}
