//! To be built.

use anyhow::{Result, bail};

use crate::cli::reading::*;
use crate::exit::Exit;

/// To be built.
pub fn show(_args: &LogsArgs) -> Result<Exit> {
    bail!("not built yet")
}

/// To be built.
pub fn stats(_args: &TotalsArgs) -> Result<Exit> {
    bail!("not built yet")
}

/// To be built.
pub fn summary(_args: &SummaryArgs) -> Result<Exit> {
    bail!("not built yet")
}

/// To be built.
pub fn audit(_args: &AuditArgs) -> Result<Exit> {
    bail!("not built yet")
}
