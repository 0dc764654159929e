//! `install`: a release build, put where users look for programs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::build;
use crate::setup::{self, Purpose};

/// Options of `install`.
#[derive(Args)]
pub(crate) struct Install {
    /// Directory whose `bin` receives the program.
    #[arg(long, default_value = "/usr/local")]
    prefix: PathBuf,
}

impl Install {
    /// Builds and installs.
    pub(crate) fn run(&self) -> Result<()> {
        setup::complete(Purpose::Run)?;
        let built = build::release()?;
        let bin = self.prefix.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("make {}", bin.display()))?;
        let target = bin.join("awf");
        // Beside the target and then renamed: a running awf keeps its file, and nobody sees half a program.
        let fresh = bin.join(".awf.new");
        fs::copy(&built, &fresh).with_context(|| format!("copy awf to {}", fresh.display()))?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
        fs::rename(&fresh, &target).with_context(|| format!("install {}", target.display()))?;
        eprintln!("installed {}", target.display());
        Ok(())
    }
}
