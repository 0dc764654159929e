//! The end of a run in audit mode: what an ordinary run would have refused, and the list that allows it.
//!
//! Takes the record of the run, gives lines. Must never be silent about such a run, nor keep more than the names it tells.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use crate::commands::lines::{self, Line};
use crate::observe::record::Record;
use crate::plan::AUDIT_MODE;
use crate::policy::suggest;

/// Names told at most; the record has them all.
const NAMED: usize = 20;
/// Names remembered at most: the command chooses how many it asks for.
const REMEMBERED: usize = 16_384;

/// Who asked for a name first, and how often it was asked for.
struct Seen {
    comm: String,
    count: u64,
}

/// What the user is told.
pub(super) fn lines(logs: &Path, allowed: &[String]) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let record = logs.join("egress.jsonl");
    let read = File::open(&record).and_then(|file| {
        lines::each(BufReader::new(file), |line| {
            if let Line::Attempt(attempt) = line {
                note(&mut seen, *attempt);
            }
        })
    });
    let mut told = vec![AUDIT_MODE.to_owned()];
    if let Err(error) = read {
        told.push(format!("What it let through cannot be told: {}: {error}", record.display()));
    }
    told.extend(report(&seen, allowed));
    told
}

/// Asking for a name and connecting to it are two attempts with one cause.
fn note(seen: &mut BTreeMap<Arc<str>, Seen>, attempt: Record) {
    let Record { would_deny: Some(_rule), name: Some(name), process, count, protocol, .. } =
        attempt
    else {
        return;
    };
    let count = if protocol == "dns" { 0 } else { count };
    if let Some(known) = seen.get_mut(&name) {
        known.count += count;
        if known.comm.is_empty() {
            known.comm = process.comm.unwrap_or_default();
        }
    } else if seen.len() < REMEMBERED {
        seen.insert(name, Seen { comm: process.comm.unwrap_or_default(), count });
    }
}

fn report(seen: &BTreeMap<Arc<str>, Seen>, allowed: &[String]) -> Vec<String> {
    if seen.is_empty() {
        return vec!["Nothing was let through that an ordinary run would refuse".to_owned()];
    }
    let mut told = vec!["An ordinary run would have refused:".to_owned()];
    told.extend(seen.iter().take(NAMED).map(|(name, Seen { comm, count })| {
        let by = if comm.is_empty() { String::new() } else { format!(" by {comm}") };
        let times = match count {
            0 => " (only looked up)".to_owned(),
            1 => String::new(),
            count => format!(" ({count} times)"),
        };
        format!("  - Would block: {name}{by}{times}")
    }));
    if seen.len() > NAMED {
        told.push(format!("  ... and {} more; see awf learn --denied", seen.len() - NAMED));
    }
    let names = seen.iter().filter(|(_name, seen)| seen.count > 0).map(|(name, _seen)| &**name);
    let names: Vec<&str> = names.take(NAMED).collect();
    if let Some(list) = suggest(&names, allowed) {
        told.push(format!("To allow them: --allow-domains \"{list}\""));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::record::{Layer, ProcessInfo, Verdict};

    #[test]
    fn the_end_of_a_run_names_what_was_let_through_and_the_list() {
        let directory = std::env::temp_dir().join(format!("awf-audited-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let attempt = |name: &str, protocol: &str, count, would_deny: Option<&str>| Record {
            verdict: Verdict::Allow,
            name: Some(name.into()),
            protocol: protocol.to_owned(),
            count,
            would_deny: would_deny.map(str::to_owned),
            process: ProcessInfo { comm: Some("python3".to_owned()), ..ProcessInfo::default() },
            ..Record::denied("t".into(), "r".into(), Layer::Proxy)
        };
        let records = [
            attempt("pypi.example.org", "dns", 1, Some("deny-default")),
            attempt("pypi.example.org", "tcp", 2, Some("deny-default")),
            attempt("looked.up.example", "dns", 1, Some("deny-default")),
            attempt("api.github.com", "tcp", 1, None),
        ];
        let text: Vec<u8> = records.iter().flat_map(|record| record.to_line().unwrap()).collect();
        std::fs::write(directory.join("egress.jsonl"), text).unwrap();
        let told = lines(&directory, &["api.github.com".to_owned()]);
        std::fs::remove_dir_all(&directory).unwrap();
        let expected = [
            AUDIT_MODE,
            "An ordinary run would have refused:",
            "  - Would block: looked.up.example by python3 (only looked up)",
            "  - Would block: pypi.example.org by python3 (2 times)",
            "To allow them: --allow-domains \"api.github.com,pypi.example.org\"",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_run_without_a_record_is_marked_all_the_same() {
        let told = lines(Path::new("/nowhere"), &[]);
        assert!(told[0].starts_with("AUDIT MODE") && told[1].contains("/nowhere"), "{told:?}");
    }
}
