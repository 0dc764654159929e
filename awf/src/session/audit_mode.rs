//! The end of a run in audit mode: what an ordinary run would have refused, and the list that allows it.
//!
//! Takes the tally of the run, gives lines. Must never be silent about such a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::observe::journal::{LetThrough, Tally};
use crate::plan::AUDIT_MODE;
use crate::policy::suggest;

/// Names told at most; the record has them all.
const NAMED: usize = 20;

/// What the user is told.
pub(super) fn lines(tally: &Tally, allowed: &[String]) -> Vec<String> {
    let mut told = vec![AUDIT_MODE.to_owned()];
    told.extend(report(&tally.let_through, allowed));
    told
}

fn report(seen: &BTreeMap<Arc<str>, LetThrough>, allowed: &[String]) -> Vec<String> {
    if seen.is_empty() {
        return vec!["Nothing was let through that an ordinary run would refuse".to_owned()];
    }
    let mut told = vec!["An ordinary run would have refused:".to_owned()];
    told.extend(seen.iter().take(NAMED).map(|(name, LetThrough { comm, count })| {
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
    use crate::observe::record::{Layer, ProcessInfo, Record, Verdict};

    #[test]
    fn the_end_of_a_run_names_what_was_let_through_and_the_list() {
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
        let mut tally = Tally::default();
        for record in &records {
            tally.add(record);
        }
        let told = lines(&tally, &["api.github.com".to_owned()]);
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
    fn a_run_that_let_nothing_through_is_marked_all_the_same() {
        let told = lines(&Tally::default(), &[]);
        assert!(told[0].starts_with("AUDIT MODE"), "{told:?}");
        assert_eq!(told[1..], ["Nothing was let through that an ordinary run would refuse"]);
    }
}
