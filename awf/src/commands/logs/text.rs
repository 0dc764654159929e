//! Text that the sandboxed command chose, made harmless for where it is shown.
//!
//! Takes any text; gives text without control characters, for a terminal, a Markdown table, or JSON. Must never change text
//! that is harmless.

use std::borrow::Cow;
use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use crate::commands::shown::{self, Screen, is_unseen};

/// For a terminal.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unseen) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(shown::shown(text))
}

/// For a cell of a Markdown table, where HTML is read too: what could mean something is written as an entity.
pub(super) fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in shown(text).chars() {
        match character {
            '&' | '<' | '>' | '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '#' | '@' | '!'
            | '"' | '\'' | '$' => {
                // Writing to a String does not fail.
                let _written = write!(safe, "&#{};", u32::from(character)).is_ok();
            }
            _ => safe.push(character),
        }
    }
    safe
}

/// The end of a text that is longer than that many characters.
pub(super) fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= most {
        return Cow::Borrowed(text);
    }
    let end = text.chars().skip(length - most.saturating_sub(1));
    Cow::Owned(std::iter::once('…').chain(end).collect())
}

/// As JSON on one line.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    Ok(harmless(&serde_json::to_string(value)?))
}

/// As JSON, indented by two spaces.
pub(super) fn json_indented(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value)?;
    // The line feeds are the indentation's: those of strings are escaped.
    Ok(text.lines().map(|line| harmless(line) + "\n").collect())
}

/// Escapes what JSON leaves as it is: such characters are within strings.
fn harmless(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if is_unseen(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _written = write!(safe, "\\u{unit:04x}").is_ok();
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

/// A number of things, in the singular or plural.
pub(super) fn counted(count: u64, singular: &str) -> String {
    format!("{count} {singular}{}", if count == 1 { "" } else { "s" })
}

/// Colours, if the output goes to a terminal that knows them and nobody minds (no-color.org).
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    pub(super) fn of_stdout() -> Self {
        Self(Screen::of_stdout().colour)
    }

    /// Select Graphic Rendition (ECMA-48).
    fn with(self, (begin, end): (u8, u8), text: &str) -> String {
        if self.0 { format!("\u{1b}[{begin}m{text}\u{1b}[{end}m") } else { text.to_owned() }
    }

    pub(super) fn green(self, text: &str) -> String {
        self.with((32, 39), text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.with((31, 39), text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.with((33, 39), text)
    }

    pub(super) fn gray(self, text: &str) -> String {
        self.with((90, 39), text)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with((1, 22), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_shown_and_not_obeyed() {
        assert_eq!(
            shown("a\u{1b}[2J\u{9b}1A\u{202e}b\u{fc}"),
            "a\\u{1b}[2J\\u{9b}1A\\u{202e}b\u{fc}"
        );
        assert_eq!(cell("a|<b>_\u{fc}"), "a&#124;&#60;b&#62;&#95;\u{fc}");
        assert_eq!(
            json(&"\u{9b}\u{1b}\u{fc}\u{e0041}").unwrap(),
            "\"\\u009b\\u001b\u{fc}\\udb40\\udc41\""
        );
        assert_eq!(shortened("abcdef", 4), "…def");
        assert_eq!(shortened("abcd", 4), "abcd");
    }
}
