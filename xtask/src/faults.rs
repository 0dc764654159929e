//! What the fault tier tells of itself: every injected fault and every watch of the sink is a line of JSON in a file, which
//! the tests append to (`tests/tests/fault/report.rs`) and this counts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::build;

/// The test of random faults, and how many of them make a soak.
pub(crate) const SOAK: &str = "faults_at_random_moments";
const SOAK_COUNT: &str = "100";

/// Variables for the tests. An operator's own count goes first.
pub(crate) fn variables(soak: bool) -> Result<Vec<(&'static str, String)>> {
    let mut variables = vec![("AWF_FAULT_REPORT", path()?.display().to_string())];
    if soak && env::var_os("AWF_FAULT_COUNT").is_none() {
        variables.push(("AWF_FAULT_COUNT", SOAK_COUNT.to_owned()));
    }
    Ok(variables)
}

/// Begins a new report.
pub(crate) fn begin() -> Result<()> {
    let path = path()?;
    fs::write(&path, "").with_context(|| format!("begin {}", path.display()))
}

/// Prints the counts; nothing if no fault was injected, which a soak must. An escape is an error, whatever the tests made of it.
pub(crate) fn tell(soak: bool) -> Result<()> {
    let text = fs::read_to_string(path()?).context("read what the tests told of faults")?;
    let summary = Summary::of(&text)?;
    if !summary.faults.is_empty() {
        eprintln!("{}", summary.text());
    }
    ensure!(!soak || !summary.faults.is_empty(), "no fault was injected");
    ensure!(summary.escapes == 0, "the tests told of {} escapes", summary.escapes);
    Ok(())
}

fn path() -> Result<PathBuf> {
    Ok(build::target_directory()?.join("faults.jsonl"))
}

/// Counts of a report.
#[derive(Default)]
struct Summary {
    /// By kind, and by what they were injected into.
    faults: BTreeMap<String, BTreeMap<String, u64>>,
    watches: u64,
    escapes: u64,
    lost: u64,
    seeds: Vec<u64>,
}

impl Summary {
    fn of(text: &str) -> Result<Self> {
        let mut summary = Self::default();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line)?;
            if let (Some(fault), Some(into)) = (line["fault"].as_str(), line["into"].as_str()) {
                let kinds = summary.faults.entry(fault.to_owned()).or_default();
                *kinds.entry(into.to_owned()).or_default() += 1;
            }
            if let Some(escapes) = line["escapes"].as_u64() {
                summary.watches += 1;
                summary.escapes += escapes;
            }
            summary.lost += line["lost"].as_u64().unwrap_or(0);
            summary.seeds.extend(line["seed"].as_u64());
        }
        Ok(summary)
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        let mut total = 0;
        for (fault, places) in &self.faults {
            let sum: u64 = places.values().sum();
            total += sum;
            let mut places: Vec<_> = places.iter().collect();
            places.sort_by_key(|(_place, count)| std::cmp::Reverse(**count));
            let named: Vec<_> =
                places.iter().take(6).map(|(place, count)| format!("{place} {count}")).collect();
            let more = if places.len() > 6 { ", ..." } else { "" };
            lines.push(format!("{sum:>6}  {fault} ({}{more})", named.join(", ")));
        }
        let seeds: Vec<_> =
            self.seeds.iter().map(|seed| format!("AWF_FAULT_SEED={seed}")).collect();
        lines.push(format!(
            "faults injected: {total}; escapes: {} in {} watches of the sink; records that runs said are lost: {}; {}",
            self.escapes,
            self.watches,
            self.lost,
            seeds.join(" ")
        ));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_by_kind_and_place() {
        let text = "{\"fault\":\"SIGKILL\",\"into\":\"Squid\"}\n{\"fault\":\"SIGKILL\",\"into\":\"Awf\"}\n\
                    {\"fault\":\"SIGKILL\",\"into\":\"Awf\"}\n{\"escapes\":0}\n{\"lost\":7}\n{\"seed\":3}\n";
        let text = Summary::of(text).unwrap().text();
        assert_eq!(
            text,
            "     3  SIGKILL (Awf 2, Squid 1)\n\
             faults injected: 3; escapes: 0 in 1 watches of the sink; records that runs said are lost: 7; AWF_FAULT_SEED=3"
        );
    }
}
