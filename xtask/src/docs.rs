//! `docs`: what awf says about its own options, kept as files beside the source.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{build, suffixes};

/// Where they lie.
const DIRECTORY: &str = "awf/docs";

/// File, and what awf is asked for it.
const FILES: [(&str, &[&str]); 8] = [
    ("options.md", &["options"]),
    ("awf.1", &["man"]),
    ("awf-config.schema.json", &["config", "schema"]),
    ("egress.schema.json", &["logs", "schema"]),
    ("rules.md", &["logs", "rules"]),
    ("completions/awf.bash", &["completions", "bash"]),
    ("completions/_awf", &["completions", "zsh"]),
    ("completions/awf.fish", &["completions", "fish"]),
];

/// Options of `docs`.
#[derive(Args)]
pub(crate) struct Docs {
    /// Fail if a file is not current, and write nothing.
    #[arg(long)]
    check: bool,
}

impl Docs {
    /// Writes the files, or checks them.
    pub(crate) fn run(self) -> Result<()> {
        if self.check { check() } else { write() }
    }
}

fn write() -> Result<()> {
    // First, because awf is built with it.
    suffixes::write()?;
    let awf = build::tested()?;
    for (file, words) in FILES {
        let path = build::workspace().join(DIRECTORY).join(file);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).context("make the directory of the documents")?;
        }
        fs::write(&path, said(&awf, words)?)
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Fails if a file is not current.
pub(crate) fn check() -> Result<()> {
    let awf = build::tested()?;
    for (file, words) in FILES {
        let path = build::workspace().join(DIRECTORY).join(file);
        let current =
            fs::read(&path).is_ok_and(|text| said(&awf, words).is_ok_and(|said| said == text));
        ensure!(current, "{DIRECTORY}/{file} is not current: run `cargo xtask docs`");
    }
    Ok(())
}

/// What awf says.
fn said(awf: &Path, words: &[&str]) -> Result<Vec<u8>> {
    let output =
        Command::new(awf).args(words).stderr(Stdio::inherit()).output().context("run awf")?;
    ensure!(output.status.success(), "awf {} failed", words.join(" "));
    Ok(output.stdout)
}
