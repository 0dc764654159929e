//! One builder at a time: the lock on the directory of all labs.
//!
//! Owns the existence of `/run/awf-lab`: makes it when it is first needed and removes it with the last lab. Must never be
//! held while a test runs.

use super::{ROOT, docker, publish};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// Keeps two xtasks from building or removing labs at the same time: a lock on the directory of all labs.
#[derive(Debug)]
pub(super) struct Lock {
    /// Held open for its lock.
    directory: File,
}

impl Lock {
    pub(super) fn take() -> Result<Self> {
        loop {
            fs::create_dir_all(ROOT).context("create /run/awf-lab")?;
            publish(Path::new(ROOT), 0o755)?;
            let directory = File::open(ROOT).context("open /run/awf-lab")?;
            directory.lock().context("lock /run/awf-lab")?;
            // The former holder may have removed the directory while we waited: then ours is not the one on disk.
            let ours = directory.metadata().context("look at /run/awf-lab")?.ino();
            if fs::metadata(ROOT).is_ok_and(|on_disk| on_disk.ino() == ours) {
                return Ok(Self { directory });
            }
        }
    }

    /// Gives the lock up, and the directory too if no lab is left in it.
    pub(super) fn release(self) -> Result<()> {
        match fs::remove_dir(ROOT) {
            Ok(()) => docker::remove_places(),
            Err(error) => {
                let needed = error.kind() == ErrorKind::DirectoryNotEmpty;
                ensure!(needed, "remove {ROOT}: {error}");
            }
        }
        self.directory.unlock().context("unlock /run/awf-lab")
    }
}
