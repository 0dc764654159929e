//! The names that have a public suffix below them: `awf learn` folds nothing into one, because a wildcard would reach what
//! strangers publish there. The public suffix list can only be asked about single names, so they are kept as a file.
//!
//! Takes the rules of the psl crate that awf is built with, gives the file, or says that it is not theirs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::build;

/// The file.
const FILE: &str = "awf/src/commands/learn/suffix-parents.txt";

/// Writes it.
pub(crate) fn write() -> Result<()> {
    fs::write(build::workspace().join(FILE), text()?).with_context(|| format!("write {FILE}"))
}

/// Fails if it is not what the rules give.
pub(crate) fn check() -> Result<()> {
    let found = fs::read_to_string(build::workspace().join(FILE)).unwrap_or_default();
    ensure!(found == text()?, "{FILE} is not that of the psl crate: run `cargo xtask docs`");
    Ok(())
}

fn text() -> Result<String> {
    let rules = rules()?;
    let text = fs::read_to_string(&rules).with_context(|| format!("read {}", rules.display()))?;
    let names = parents(&text);
    ensure!(!names.is_empty(), "{} holds no rule", rules.display());
    Ok(names.into_iter().flat_map(|name| [name, "\n"]).collect())
}

/// The rules of the psl crate that Cargo.lock names.
fn rules() -> Result<PathBuf> {
    let output = build::cargo()
        // Not offline: on a new machine, packages of members that were not built yet are fetched.
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", &build::host_triple()?])
        .output()
        .context("run cargo metadata")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let manifest = packages.into_iter().flatten().find_map(|package| {
        let is_psl = package.get("name").and_then(Value::as_str) == Some("psl");
        package.get("manifest_path").filter(|_path| is_psl)?.as_str()
    });
    let directory = manifest.and_then(|path| Path::new(path).parent());
    Ok(directory.context("cargo knows no psl crate")?.join("data/rules.txt"))
}

/// The names above all suffixes. An exception makes no suffix; a star stands for a label of one.
fn parents(rules: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let rules = rules.lines().map(str::trim);
    for rule in rules.filter(|rule| !rule.starts_with("//") && !rule.starts_with('!')) {
        let mut name = rule;
        while let Some((_label, parent)) = name.split_once('.') {
            names.insert(parent);
            name = parent;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_above_a_suffix_is_listed_and_no_suffix_without_one_below() {
        let rules =
            "// a comment.example\ncom\nup.railway.app\n*.compute.amazonaws.com\n!city.kobe.jp\n";
        let names: Vec<&str> = parents(rules).into_iter().collect();
        assert_eq!(names, ["amazonaws.com", "app", "com", "compute.amazonaws.com", "railway.app"]);
    }
}
