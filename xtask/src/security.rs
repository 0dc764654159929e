//! `security`: the table of `SECURITY.md`, written from the table of vectors.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use xtask::vectors::coverage;

use crate::build;

const FILE: &str = "SECURITY.md";
/// The table stands between these lines.
const BEGIN: &str = "<!-- made by `cargo xtask security` -->\n";
const END: &str = "<!-- end -->\n";

/// Options of `security`.
#[derive(Args)]
pub(crate) struct Security {
    /// Fail if the table is not current, and write nothing.
    #[arg(long)]
    check: bool,
}

impl Security {
    /// Writes the table, or checks it.
    pub(crate) fn run(self) -> Result<()> {
        if self.check {
            return check();
        }
        let (old, new) = texts()?;
        if old != new {
            fs::write(build::workspace().join(FILE), new).context("write SECURITY.md")?;
        }
        Ok(())
    }
}

/// Fails if the table is not current.
pub(crate) fn check() -> Result<()> {
    let (old, new) = texts()?;
    ensure!(old == new, "{FILE} is not current: run `cargo xtask security`");
    Ok(())
}

/// The file as it is and as it must be.
fn texts() -> Result<(String, String)> {
    let old = fs::read_to_string(build::workspace().join(FILE)).context("read SECURITY.md")?;
    let (head, rest) = old.split_once(BEGIN).context("SECURITY.md has no mark for the table")?;
    let (_table, tail) = rest.split_once(END).context("the table of SECURITY.md has no end")?;
    let new = [head, BEGIN, &coverage::markdown(), END, tail].concat();
    Ok((old, new))
}
