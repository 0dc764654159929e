//! How reading commands show text on standard output: what the agent chose without its tricks, and colours on a terminal only.
//!
//! Must never: let a name move the cursor, hide itself or turn the text around it; nor say by colour alone.

use std::io::{self, BufWriter, IsTerminal as _, StdoutLock};

use anyhow::Result;
use terminal_size::{Width, terminal_size_of};

use crate::exit::Exit;
use crate::host::Caller;
pub use crate::speech::unseen::{is_unseen, shown};

/// Columns where there is no terminal, as in logs of workflows.
const COLUMNS: usize = 80;
/// No line is narrower, however small a terminal claims to be.
const NARROWEST: usize = 40;

/// What standard output is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Columns of a line.
    pub columns: usize,
    /// Whether colours are wanted and understood.
    pub colour: bool,
}

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Let through.
    Green,
    /// Refused.
    Red,
    /// Look at it.
    Yellow,
    /// Beside the point.
    Grey,
}

impl Screen {
    /// That of this process.
    pub fn of_stdout() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let columns = terminal_size_of(&stdout)
            .filter(|_size| terminal)
            .map_or(COLUMNS, |(Width(columns), _height)| usize::from(columns));
        Self { columns: columns.max(NARROWEST), colour: terminal && wants_colour() }
    }

    /// The text in a colour, if there are any.
    pub fn painted(self, colour: Colour, text: &str) -> String {
        let number = match colour {
            Colour::Green => 32,
            Colour::Red => 31,
            Colour::Yellow => 33,
            Colour::Grey => 90,
        };
        if self.colour { format!("\u{1b}[{number}m{text}\u{1b}[39m") } else { text.to_owned() }
    }
}

/// Whether nobody minds (no-color.org).
fn wants_colour() -> bool {
    let Ok(caller) = Caller::inspect() else { return false };
    let set = caller.env.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    !set && caller.env.get("TERM").is_some_and(|terminal| terminal != "dumb")
}

/// Standard output for many lines.
pub fn out() -> BufWriter<StdoutLock<'static>> {
    crate::speech::waiting::end();
    BufWriter::with_capacity(64 << 10, io::stdout().lock())
}

/// The end of a command that wrote much: a reader that has gone has seen enough.
pub fn ended(written: Result<()>) -> Result<Exit> {
    let gone = |error: &anyhow::Error| {
        let cause = error.downcast_ref::<io::Error>();
        cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    match written {
        Err(error) if !gone(&error) => Err(error),
        _ => Ok(Exit::Agent(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let failed = |kind: io::ErrorKind| ended(Err(io::Error::from(kind).into()));
        assert_eq!(failed(io::ErrorKind::BrokenPipe).unwrap(), Exit::Agent(0));
        failed(io::ErrorKind::StorageFull).unwrap_err();
    }
}
