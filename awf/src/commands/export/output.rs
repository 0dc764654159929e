//! Where an export goes: a file, or standard output in pieces, because it may be larger than memory.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, Result};

/// Lets `write` write to the file, or to standard output. A reader that has gone ends it quietly.
pub fn to(path: Option<&Path>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let Some(path) = path else {
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        return match write(&mut out).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                // What is left in the buffer would be written once more when it is dropped.
                let _unread = out.into_parts();
                Ok(())
            }
            other => Ok(other?),
        };
    };
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut out = BufWriter::with_capacity(1 << 16, file);
    write(&mut out).and_then(|()| out.flush()).with_context(|| format!("write {}", path.display()))
}
