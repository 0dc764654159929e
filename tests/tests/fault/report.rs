//! The tier's own summary: a line of JSON for every fault and every watch of the sink, appended to the file that
//! `AWF_FAULT_REPORT` names. `cargo xtask test` counts them; without the variable nobody wants to know.

use std::fs::File;
use std::io::Write as _;

use serde_json::{Value, json};

/// A fault was injected.
pub fn injected(fault: &str, into: &str) {
    append(&json!({ "fault": fault, "into": into }));
}

/// The sink was watched while faults were injected, and so many things outside of the policy reached it.
pub fn watched(escapes: usize) {
    append(&json!({ "escapes": escapes }));
}

/// A run said that so many records are missing.
pub fn lost(records: usize) {
    append(&json!({ "lost": records }));
}

/// The faults were drawn with this seed.
pub fn seeded(seed: u64) {
    append(&json!({ "seed": seed }));
}

fn append(line: &Value) {
    let Some(path) = std::env::var_os("AWF_FAULT_REPORT") else { return };
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    // One write for each line: other tests append at the same time.
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}
