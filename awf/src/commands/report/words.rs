//! Numbers and times for readers. Pure.

use jiff::Timestamp;

use crate::commands::export::text::shown;

/// A number with its thousands apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its noun.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// Bytes in the unit in which they have one to three digits.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = UNITS.iter();
    let mut name = unit.next().copied().unwrap_or_default();
    while let (true, Some(next)) = (tenths >= 10_240, unit.as_slice().first()) {
        tenths /= 1024;
        name = next;
        unit.next();
    }
    if tenths < 100 {
        return format!("{}.{} {name}", tenths / 10, tenths % 10);
    }
    format!("{} {name}", tenths / 10)
}

/// Microseconds in the unit in which they are a small number.
pub(super) fn duration(microseconds: i64) -> String {
    let milliseconds = microseconds / 1_000;
    match milliseconds {
        ..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 if milliseconds % 1_000 < 100 => format!("{} s", milliseconds / 1_000),
        1_000..60_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        60_000..3_600_000 => two(milliseconds / 1_000, (60, "min"), "s"),
        3_600_000..86_400_000 => two(milliseconds / 60_000, (60, "h"), "min"),
        _ => two(milliseconds / 3_600_000, (24, "d"), "h"),
    }
}

fn two(count: i64, (of, great): (i64, &str), small: &str) -> String {
    match count % of {
        0 => format!("{} {great}", count / of),
        rest => format!("{} {great} {rest} {small}", count / of),
    }
}

/// A time of the record with milliseconds; as it is, if it is none.
pub(super) fn time(text: &str) -> String {
    let time: Result<Timestamp, _> = text.parse();
    time.map_or_else(|_error| shown(text), |time| format!("{} UTC", split(time).join(" ")))
}

/// The time of the day, with milliseconds.
pub(super) fn clock(microseconds: i64) -> String {
    let time = Timestamp::from_microsecond(microseconds).map(split);
    time.map(|[_date, clock]| clock).unwrap_or_default()
}

fn split(time: Timestamp) -> [String; 2] {
    let text = format!("{time:.3}");
    let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
    [date.to_owned(), clock.trim_end_matches('Z').to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_readers_write_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 1_023, 1_024, 10_240, 4_801_233, u64::MAX].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "10 KiB", "4.5 MiB", "16383 PiB"]
        );
        assert_eq!(
            [50_000, 3_500_000, 125_000_000, 3_600_000_000, 90_000_000_000].map(duration),
            ["50 ms", "3.5 s", "2 min 5 s", "1 h", "1 d 1 h"]
        );
        assert_eq!(time("2026-11-28T00:00:01.000001Z"), "2026-11-28 00:00:01.000 UTC");
        assert_eq!(time("\u{1b}"), "\\u{1b}");
        assert_eq!(clock(1_000_000), "00:00:01.000");
    }
}
