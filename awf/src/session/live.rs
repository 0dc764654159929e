//! What a run tells of itself while it goes on, for `awf logs` and `awf ps`, which need not be root.
//!
//! Owns `/run/awf/<id>/logs.json`, which every user may read. Takes a plan, gives [`Live`] runs. Must never tell what the
//! audit files, which others may read too, do not tell; nor take a run that was killed for one that goes on.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::run_dir::RUNS;
use crate::observe::record;
use crate::plan::Plan;

const FILE: &str = "logs.json";

/// A run that goes on. Additions to the file are free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Id of the run.
    pub id: String,
    /// Process id of its awf, in the pid namespace of that awf.
    pub pid: u32,
    /// When it began: RFC 3339, UTC, microseconds.
    pub began: String,
    /// Where Squid's logs and `egress.jsonl` are, until the end of the run.
    pub logs: PathBuf,
    /// Where the policy's manifest is, until the end of the run.
    pub audit: PathBuf,
    /// User id of who called awf: the owner of what the run leaves.
    pub uid: u32,
    /// The allow list as the user wrote it.
    pub allowed: Vec<String>,
    /// `native` or `docker`.
    pub runtime: String,
}

impl Live {
    /// A run that begins now, in this process.
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            id: plan.id.clone(),
            pid: std::process::id(),
            began: format!("{:.6}", jiff::Timestamp::now()),
            logs: plan.paths.logs.clone(),
            audit: plan.paths.audit.clone(),
            uid: plan.owner.0,
            allowed: plan.allowed.clone(),
            runtime: plan.terms.runtime.clone(),
        }
    }

    /// Writes it into the run's directory, whole or not at all.
    pub(super) fn tell(&self, run: &Path) -> Result<()> {
        let draft = run.join(format!(".{FILE}"));
        let telling = || {
            let mut options = File::options();
            let mut file = options.write(true).create_new(true).mode(0o644).open(&draft)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            // Whatever the umask is.
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            fs::rename(&draft, run.join(FILE))
        };
        telling().map_err(|error: io::Error| error).context("write down where the run's logs are")
    }

    /// Its record.
    pub fn record(&self) -> PathBuf {
        self.logs.join(record::FILE)
    }

    /// The run with this id, if it goes on.
    pub fn find(id: &str) -> Option<Self> {
        // It may be from a file that anybody wrote, and lead anywhere.
        if Path::new(id).file_name() != Some(OsStr::new(id)) {
            return None;
        }
        Self::read(&Path::new(RUNS).join(id))
    }

    fn read(run: &Path) -> Option<Self> {
        let text = fs::read(run.join(FILE)).ok()?;
        let live: Self = serde_json::from_slice(&text).ok()?;
        is_alive(run).then_some(live)
    }
}

/// The runs that were seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Runs that go on, the newest first.
    pub runs: Vec<Live>,
    /// Runs that go on but do not say where their logs are: of another version of awf.
    pub silent: Vec<PathBuf>,
    /// Whether it could be seen which runs there are.
    pub complete: bool,
}

/// Looks for runs.
pub fn look() -> Seen {
    look_in(Path::new(RUNS))
}

/// Looks for runs in this directory.
pub fn look_in(runs: &Path) -> Seen {
    let entries = match fs::read_dir(runs) {
        Ok(entries) => entries,
        Err(error) => {
            return Seen { complete: error.kind() == io::ErrorKind::NotFound, ..Seen::default() };
        }
    };
    let mut seen = Seen { complete: true, ..Seen::default() };
    for run in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        match Live::read(&run) {
            Some(live) => seen.runs.push(live),
            None if is_alive(&run) => seen.silent.push(run),
            None => {}
        }
    }
    seen.runs.sort_by(|one, other| (&other.began, &other.id).cmp(&(&one.began, &one.id)));
    seen
}

/// Whether a run's awf lives: it holds the lock of this file for its whole life.
fn is_alive(run: &Path) -> bool {
    let Ok(file) = File::open(run.join("alive")) else { return false };
    matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_file, Errno::EWOULDBLOCK)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Makes a directory of a run that goes on as long as the file is held.
    pub(crate) fn pretend(runs: &Path, live: &Live) -> Flock<File> {
        let run = runs.join(&live.id);
        fs::create_dir_all(&run).unwrap();
        live.tell(&run).unwrap();
        let alive = File::create(run.join("alive")).unwrap();
        Flock::lock(alive, FlockArg::LockExclusiveNonblock).unwrap()
    }

    pub(crate) fn live(id: &str, began: &str, logs: &Path) -> Live {
        Live {
            id: id.to_owned(),
            pid: 1,
            began: began.to_owned(),
            logs: logs.to_owned(),
            audit: logs.join("audit"),
            uid: 1001,
            allowed: vec!["github.com".to_owned()],
            runtime: "native".to_owned(),
        }
    }

    #[test]
    fn runs_that_go_on_are_seen_newest_first_and_killed_ones_are_not() {
        let runs = std::env::temp_dir().join(format!("awf-live-{}", std::process::id()));
        let old = live("awf-1-aaaa", "2026-11-28T00:00:00.000000Z", Path::new("/old"));
        let new = live("awf-2-bbbb", "2026-11-28T00:00:01.000000Z", Path::new("/new"));
        let dead = live("awf-3-cccc", "2026-11-28T00:00:02.000000Z", Path::new("/dead"));
        let _held = [pretend(&runs, &old), pretend(&runs, &new)];
        drop(pretend(&runs, &dead));
        let mute = pretend(&runs, &live("awf-4-dddd", "", Path::new("/mute")));
        fs::write(runs.join("awf-4-dddd").join(FILE), "{}").unwrap();
        let seen = look_in(&runs);
        assert_eq!(seen.runs, [new, old]);
        assert_eq!(seen.silent, [runs.join("awf-4-dddd")]);
        assert!(seen.complete);
        drop(mute);
        fs::remove_dir_all(&runs).unwrap();
        assert!(look_in(&runs).complete, "without the directory there is no run");
    }
}
