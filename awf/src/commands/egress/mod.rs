//! To be built.

use anyhow::{Result, bail};

use crate::cli::reading::*;
use crate::exit::Exit;

/// To be built.
pub fn show(_args: &EgressArgs) -> Result<Exit> {
    bail!("not built yet")
}

/// To be built.
pub fn schema() -> Result<Exit> {
    bail!("not built yet")
}
