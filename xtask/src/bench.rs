//! `bench`: figures and ratios.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

/// Options of `bench`.
#[derive(Args)]
pub(crate) struct Bench {}

impl Bench {
    /// Measures.
    pub(crate) fn run(self) -> Result<ExitCode> {
        Ok(ExitCode::SUCCESS)
    }
}
