//! What the targets share: a caller, and what any text or record of awf's must be.

use awf::host::Caller;
use awf::observe::record::Record;
use serde_json::Value;

/// An ordinary user in a directory where nothing is, with a few variables.
pub fn caller() -> Caller {
    let env = [("HOME", "/home/user"), ("EMPTY", ""), ("PAIR", "/usr:/u")];
    Caller {
        euid: 1000,
        uid: 1000,
        gid: 1000,
        user: "user".to_owned(),
        home: "/home/user".into(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        cwd: "/nowhere".into(),
        search_path: String::new(),
        notices: Vec::new(),
    }
}

/// Asserts that printing a text cannot move a terminal's cursor or change what stands on it.
pub fn is_presentable(text: &str) {
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}

/// Asserts that a record is written as one line of JSON; gives what a reader finds in it.
pub fn is_one_line_of(record: &Record) -> Value {
    let line = record.to_line().expect("a record is JSON");
    let (last, text) = line.split_last().expect("a line");
    assert_eq!(*last, b'\n');
    assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~')), "{}", line.escape_ascii());
    let json: Value = serde_json::from_slice(text).expect("a line is JSON");
    assert_eq!(json["run"], *record.run);
    json
}
