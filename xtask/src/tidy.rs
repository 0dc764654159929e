//! `tidy`: rules of the house that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::{build, suffixes};

/// Lines of production code in a file (everything before its tests).
const FILE_LINES: usize = 400;
/// Names that say nothing about what a file owns.
const EMPTY_NAMES: [&str; 5] = ["utils", "helpers", "common", "manager", "misc"];
/// How a file lifts the lint; written in two pieces so that this file does not.
const UNSAFE_MARK: &str = concat!("expect(", "unsafe_code");
/// Files that may lift `unsafe_code`: kernel programs, map types, system calls.
const UNSAFE_PLACES: [&str; 8] = [
    "awf-ebpf/src/",
    "awf-common/src/",
    "awf/one-shot/src/",
    "awf/src/doors/namespace.rs",
    "awf/src/enforce/sys.rs",
    "awf/src/enforce/prove/attempts.rs",
    "awf/src/runtime/native/sys.rs",
    "tests/src/bin/probe/",
];

/// Checks every source file, and the one that is made of a dependency's data.
pub(crate) fn run() -> Result<()> {
    let mut faults = Vec::new();
    for crate_name in ["awf", "awf-common", "awf-ebpf", "tests", "xtask"] {
        for file in sources(&build::workspace().join(crate_name))? {
            check(&file, &mut faults)?;
        }
    }
    ensure!(faults.is_empty(), "tidy:\n  {}", faults.join("\n  "));
    suffixes::check()
}

fn check(file: &Path, faults: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(file)?;
    let name = file.strip_prefix(build::workspace()).unwrap_or(file).display().to_string();
    let production = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(&text);
    let lines = production.lines().count();
    if lines > FILE_LINES && !name.starts_with("tests/") {
        faults.push(format!("{name}: {lines} lines of production code, the cap is {FILE_LINES}"));
    }
    if !text.starts_with("//!") && !text.starts_with("#!") {
        faults.push(format!("{name}: does not open with what it owns"));
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    if EMPTY_NAMES.contains(&&*stem) {
        faults.push(format!("{name}: a name that says nothing"));
    }
    if production.contains(UNSAFE_MARK)
        && !UNSAFE_PLACES.iter().any(|place| name.starts_with(place))
    {
        faults.push(format!("{name}: unsafe code outside the places fenced for it"));
    }
    for (number, line) in text.lines().enumerate() {
        if line.contains("TODO") && !name.ends_with("tidy.rs") {
            faults.push(format!("{name}:{}: a TODO without an issue", number + 1));
        }
    }
    Ok(())
}

fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}
