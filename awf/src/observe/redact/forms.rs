//! In which forms a value may be written.
//!
//! Takes a value, gives it as it is, and as Base64, percent-encoding, JSON and the shell write it. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What no encoder of URLs needs to encode (RFC 3986, 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Shortest piece of Base64, or of a value of several lines, that is looked for.
const SHORTEST: usize = 10;

/// Every form, none shorter than the value or [`SHORTEST`].
pub(super) fn of(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_owned(), value.trim().to_owned()];
    for encoded in [UNRESERVED, NON_ALPHANUMERIC].map(|set| utf8_percent_encode(value, set)) {
        let encoded = encoded.to_string();
        forms.push(encoded.replace("%20", "+"));
        forms.push(lower_digits(&encoded));
        forms.push(encoded);
    }
    let json = serde_json::Value::from(value).to_string();
    forms.push(json.trim_matches('"').to_owned());
    forms.push(value.replace('\'', r"'\''"));
    // A key in lines may be written with other ends of line, or indented.
    let lines = value.trim().lines().filter(|_line| value.trim().contains('\n'));
    forms.extend(lines.map(|line| line.trim().to_owned()).filter(|line| line.len() >= SHORTEST));
    forms.extend(base64(value.as_bytes()));
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// `%2F` as `%2f`.
fn lower_digits(encoded: &str) -> String {
    let mut left = 0;
    let lower = |c: char| {
        if c == '%' {
            left = 2;
            return c;
        }
        let is_digit = left > 0;
        left -= i32::from(is_digit);
        if is_digit { c.to_ascii_lowercase() } else { c }
    };
    encoded.chars().map(lower).collect()
}

/// What of Base64 is the same whatever stands before and after: three alignments, each without the characters in which
/// neighbours take part (RFC 4648, 4).
fn base64(value: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for (before, skip) in [(0, 0), (1, 2), (2, 3)] {
        let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(value.iter().copied()).collect();
        let whole = bytes.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&bytes);
            forms.extend(text.get(skip..whole).map(str::to_owned));
        }
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, written: &str) {
        let found = of(value).iter().any(|form| written.contains(form.as_str()));
        assert!(found, "{written:?} has none of {:?}", of(value));
    }

    #[test]
    fn a_value_is_found_however_it_is_written() {
        let value = "can/ary+key ü'\"1";
        check(value, value);
        check(value, "can%2Fary%2Bkey%20%C3%BC%27%221");
        check(value, "can%2fary%2bkey%20%c3%bc%27%221");
        check(value, "can%2Fary%2Bkey+%C3%BC%27%221");
        check(value, r#"can/ary+key ü'\"1"#);
        check(value, r#"can/ary+key ü'\''"1"#);
        for before in ["", "u", "us", "use", "user:"] {
            let text = format!("{before}{value}:x");
            check(value, &STANDARD_NO_PAD.encode(&text));
            check(value, &URL_SAFE_NO_PAD.encode(&text));
        }
    }

    #[test]
    fn a_key_in_lines_is_found_line_by_line() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAAS\n-----END KEY-----\n";
        check(key, "  MIIEvQIBADANBgkq\r\n");
    }
}
