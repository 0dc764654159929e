//! Where logs and records are found.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// A directory with the logs of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Holds `access.log`, `audit.jsonl` and `egress.jsonl`, as far as they are there.
    pub logs: PathBuf,
    /// How it was found.
    pub found: Found,
}

/// How a source was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It belongs to this run, which goes on.
    Running(String),
    /// The user named it.
    Named,
    /// `$AWF_LOGS_DIR` named it.
    Variable,
    /// A run left it among temporary files.
    Preserved,
}

impl Source {
    /// Finds what `--source` says, or what is newest.
    pub fn find(said: Option<&str>) -> Result<Self> {
        match said {
            Some(said) => Ok(Self { logs: PathBuf::from(said), found: Found::Named }),
            None => bail!("no logs found; name them with --source"),
        }
    }

    /// The record of every attempt.
    pub fn record(&self) -> PathBuf {
        self.logs.join("egress.jsonl")
    }

    /// The manifest of the policy, if it can be found beside the logs.
    pub fn manifest(&self) -> Option<PathBuf> {
        let beside = [
            self.logs.join("policy-manifest.json"),
            self.logs.join("../audit/policy-manifest.json"),
        ];
        beside.into_iter().find(|path| path.is_file())
    }
}
