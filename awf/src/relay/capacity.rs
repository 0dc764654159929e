//! How many connections the limit of open files lets awf serve at a time.
//!
//! Takes the limit that awf was called with and raises it as far as the machine allows; the command gets the caller's back
//! (`plan::limits`). Must never: let a connection take the last descriptors, on which watching the enforcement depends.

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Connections served at a time; more wait in the door's backlog. Squid needs two descriptors for each tunnel.
const CONNECTIONS: u64 = 4096;
/// Descriptors of a connection: the client's, Squid's, and both ends of a pipe for each direction.
const EACH: u64 = 6;
/// Everything else: doors, programs, links, maps, logs, the sandbox, the command's terminal.
const OWN: u64 = 256;
/// With fewer connections than this, an ordinary package manager fails for no visible reason.
const FEWEST: u64 = 16;

/// Raises the limit of open files. Before Squid is started, which inherits it.
pub fn raise() -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("ask for the open files")?;
    let wanted = OWN + EACH * CONNECTIONS;
    if soft < wanted
        && setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted.max(hard)).is_err()
        && soft < hard
    {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("allow more open files")?;
    }
    ensure!(
        connections() >= usize::try_from(FEWEST)?,
        "awf may open only {hard} files and is not allowed to raise that: raise the limit (ulimit -Hn {wanted})"
    );
    Ok(())
}

/// Connections that may be served at a time.
pub fn connections() -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _hard)| soft);
    let connections = soft.saturating_sub(OWN) / EACH;
    usize::try_from(connections.min(CONNECTIONS)).unwrap_or_default()
}
