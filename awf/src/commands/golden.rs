//! For tests: output compared with files that a reader can look at.

use std::fs;
use std::path::PathBuf;

/// A record with every class of outcome, one damaged line and a summary.
pub(super) const RECORD: &str = include_str!("golden/ours/egress.jsonl");

/// Asserts that `text` is what the file holds; with `AWF_WRITE_GOLDEN` in the environment, writes the file instead.
#[track_caller]
pub(super) fn check(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/commands/golden").join(name);
    if std::env::var_os("AWF_WRITE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == wanted, "{name} differs; look at it, then AWF_WRITE_GOLDEN=1:\n{text}");
}
