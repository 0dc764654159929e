//! What awf says: `[LEVEL] text` lines on standard error, and nothing on standard output but what was asked for.
//!
//! Owns the form of these lines, the original's: tools look for some of them. Must never let a text that it passes on (the
//! agent chooses the names of processes and of what it asks for) begin a line of its own, move the cursor or turn
//! the text around it, nor colour what does not go to a terminal.

pub(crate) mod unseen;
pub(crate) mod waiting;

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::LogLevel;
use crate::exit::Exit;
use crate::host::Variables;
use unseen::shown;
use waiting::Aside;

/// Target of an event of level INFO that is told as `[SUCCESS]`.
pub(crate) const SUCCESS: &str = "success";

/// Whether the terminal does not begin a line at a line feed alone, because the command has it.
static RAW: AtomicBool = AtomicBool::new(false);
/// What was decided at the beginning; until then nothing but errors is said, and plainly.
static MANNER: OnceLock<Manner> = OnceLock::new();

#[derive(Clone, Copy, Debug)]
struct Manner {
    level: LogLevel,
    colour: bool,
}

/// Sets what is said from now on, and whether in colour: on a terminal that knows it and if nobody minds (no-color.org).
pub(crate) fn begin(level: LogLevel, caller: &Variables) {
    let is_set = |name: &str| caller.get(name).is_some_and(|value| !value.is_empty());
    let dumb = caller.get("TERM").is_none_or(|terminal| terminal == "dumb");
    let colour = io::stderr().is_terminal() && !is_set("NO_COLOR") && !dumb;
    let Manner { level, colour } = *MANNER.get_or_init(|| Manner { level, colour });
    let level = match level {
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| Aside)
        // They would be told on the same closed standard error, and end awf in the middle of a run.
        .log_internal_errors(false)
        .event_format(Line { colour });
    // Set already in a process that runs twice, as tests do.
    let _again = subscriber.try_init().is_err();
}

/// Whether results are told.
fn is_told() -> bool {
    MANNER.get().is_some_and(|manner| manner.level <= LogLevel::Info)
}

/// Says how lines must end while the user's terminal is in raw mode.
pub(crate) fn raw(raw: bool) {
    RAW.store(raw && io::stderr().is_terminal(), Ordering::Relaxed);
}

/// Prints to standard output. A reader that has gone is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    waiting::end();
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The line that tools look for at the end of a run: the original's, without a level and whatever the level.
pub(crate) fn last_word(exit: Exit) {
    waiting::end();
    // A reader that has gone must not change the exit code.
    let _unheard = writeln!(io::stderr(), "Process exiting with code: {}", exit.code()).is_err();
}

/// An error with its causes, once.
pub(crate) fn error(error: &anyhow::Error) {
    waiting::end();
    let colour = MANNER.get().is_some_and(|manner| manner.colour);
    let line = painted(colour.then_some(RED), &format!("[ERROR] {}", told(error)));
    let _unheard = writeln!(io::stderr(), "{line}").is_err();
}

/// Some errors have several lines, such as those that show a place in a file; a text from elsewhere may have some too, which
/// must not look like what awf says of itself.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some errors name their cause already, where it belongs in the sentence.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.lines().map(shown).collect::<Vec<_>>().join("\n  ")
}

/// The original's format, and its colours for whole lines.
struct Line {
    colour: bool,
}

/// Select Graphic Rendition (ECMA-48): foreground colours.
const RED: u8 = 31;

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
        let (name, colour) = mark(event.metadata());
        let line = painted(self.colour.then_some(colour), &format!("[{name}] {}", shown(&text)));
        let end = if RAW.load(Ordering::Relaxed) { "\r\n" } else { "\n" };
        write!(writer, "{line}{end}")
    }
}

/// The word and the colour of an event.
fn mark(metadata: &Metadata<'_>) -> (&'static str, u8) {
    match *metadata.level() {
        Level::ERROR => ("ERROR", RED),
        Level::WARN => ("WARN", 33),
        Level::INFO if metadata.target() == SUCCESS => ("SUCCESS", 32),
        Level::INFO => ("INFO", 34),
        Level::DEBUG | Level::TRACE => ("DEBUG", 90),
    }
}

fn painted(colour: Option<u8>, line: &str) -> String {
    colour.map_or_else(|| line.to_owned(), |colour| format!("\u{1b}[{colour}m{line}\u{1b}[39m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_begin_a_line_or_move_the_cursor() {
        assert_eq!(
            shown("by a\n[INFO] b\r\u{1b}[2J\u{9b}A\u{202e}c"),
            r"by a\u{a}[INFO] b\u{d}\u{1b}[2J\u{9b}A\u{202e}c"
        );
        assert_eq!(shown("b\u{fc}cher \"x\" 'y' \\"), "b\u{fc}cher \"x\" 'y' \\");
    }

    #[test]
    fn nor_can_an_error() {
        let cause =
            anyhow::anyhow!("unknown variant `\u{1b}]0;x\u{7}`\n[INFO] all is well\u{202e}");
        let error = cause.context("read the manifest");
        assert_eq!(
            told(&error),
            "read the manifest: unknown variant `\\u{1b}]0;x\\u{7}`\n  [INFO] all is well\\u{202e}"
        );
    }
}
