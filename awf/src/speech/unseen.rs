//! Text that somebody else chose, without its tricks: for whatever awf says or shows.
//!
//! Must never: let a name move the cursor, hide itself or turn the text around it.

use std::fmt::Write as _;

/// A text with everything escaped that would not be seen as it is.
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

/// Characters that hide, join or turn text: control (Unicode category Cc), format (Cf) and separators of lines (Zl, Zp), and
/// those that take no room but mean something beside others (marks of variation, fillers).
pub const fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The same for a line of JSON, which stays JSON and means the same: where it is valid, such characters are within strings.
pub(crate) fn shown_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if is_unseen(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String does not fail.
                let _written = write!(shown, "\\u{unit:04x}").is_ok();
            }
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_seen_for_what_it_is() {
        assert_eq!(
            shown("x\u{1b}[2J\n\u{202e}y\u{200b}z\u{e0041}"),
            r"x\u{1b}[2J\u{a}\u{202e}y\u{200b}z\u{e0041}"
        );
        assert_eq!(shown("b\u{fc}cher \u{1f980} \"<&"), "b\u{fc}cher \u{1f980} \"<&");
    }

    #[test]
    fn json_means_the_same_without_tricks() {
        let json = "{\"a\":\"\u{9b}A\u{202e}b\u{e0041}\u{fc}\"}";
        let told = shown_json(json);
        assert_eq!(told, "{\"a\":\"\\u009bA\\u202eb\\udb40\\udc41\u{fc}\"}");
        let value = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&told), value(json));
    }
}
