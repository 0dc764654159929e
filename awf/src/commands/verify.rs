//! To be built.

use anyhow::{Result, bail};

use crate::cli::reading::*;
use crate::exit::Exit;

/// To be built.
pub fn verify(_args: &VerifyArgs) -> Result<Exit> {
    bail!("not built yet")
}
