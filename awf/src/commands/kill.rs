//! To be built.

use anyhow::{Result, bail};

use crate::cli::reading::*;
use crate::exit::Exit;

/// To be built.
pub fn end(_args: &KillArgs) -> Result<Exit> {
    bail!("not built yet")
}
