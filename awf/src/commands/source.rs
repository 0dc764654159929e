//! Where logs and records are found: runs that go on, `$AWF_LOGS_DIR`, and what earlier runs left among temporary files, in
//! this order.
//!
//! Takes what the user said and the caller's environment, gives [`Source`]s. Must never: be led by what another user or the
//! agent, which may be the same user, put into a directory that all may write to; what the user names, though, is taken as
//! it is.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use super::plain;
pub use super::plain::{open, resolved};
use crate::host::Caller;
use crate::observe::record::FILE as RECORD;
use crate::session::kept;
use crate::session::live::{self, Live};
use crate::session::run_dir::RUNS;

const ACCESS: &str = "access.log";
const AUDIT: &str = "audit.jsonl";
const MANIFEST: &str = "policy-manifest.json";
/// Before the number, in the names of directories that runs leave among temporary files.
const LOGS_LEFT: &str = "squid-logs-";
/// The same for audit files.
const AUDIT_LEFT: &str = "awf-audit-";
/// Milliseconds by which the clock may have gone back since a run left its logs.
const TOLERANCE: u64 = 60_000;

/// A directory with the logs of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Holds `access.log`, `audit.jsonl` and `egress.jsonl`, as far as they are there.
    pub logs: PathBuf,
    /// How it was found.
    pub found: Found,
}

/// How a source was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It belongs to this run, which goes on.
    Running(String),
    /// The user named it.
    Named,
    /// `$AWF_LOGS_DIR` named it.
    Variable,
    /// A run left it among temporary files.
    Preserved,
}

impl Source {
    /// Finds what `--source` says, or what is newest.
    pub fn find(said: Option<&str>) -> Result<Self> {
        Search::new()?.find(said)
    }

    /// Everything that is found without being named: runs that go on, then `$AWF_LOGS_DIR`, then what earlier runs left;
    /// the newest first.
    pub fn all() -> Result<Vec<Self>> {
        Ok(Search::new()?.all())
    }

    /// The caller's runs that go on; of root, all.
    pub fn own_running() -> Result<Vec<Self>> {
        let running = Search::new()?.running().into_iter();
        Ok(running.filter(|(own, _source)| *own).map(|(_own, source)| source).collect())
    }

    /// The record of every attempt.
    pub fn record(&self) -> PathBuf {
        self.file(RECORD)
    }

    /// Squid's log for people.
    pub fn access(&self) -> PathBuf {
        self.file(ACCESS)
    }

    /// Squid's log for programs.
    pub fn audit(&self) -> PathBuf {
        self.file(AUDIT)
    }

    /// Where the user said where to look, links lead where they lead.
    fn file(&self, name: &str) -> PathBuf {
        let path = self.logs.join(name);
        match self.found {
            Found::Named | Found::Variable => resolved(&path),
            Found::Running(_) | Found::Preserved => path,
        }
    }

    /// The manifest of the policy, if it can be found.
    pub fn manifest(&self) -> Option<PathBuf> {
        let live = match &self.found {
            Found::Running(id) => Live::find(id),
            Found::Named | Found::Variable | Found::Preserved => None,
        };
        let variable =
            Caller::inspect().ok().and_then(|caller| caller.env.get("AWF_AUDIT_DIR").cloned());
        let live = live.map(|live| resolved(&live.audit));
        self.manifest_among(live, variable.map(|path| resolved(Path::new(path.as_str()))))
    }

    fn manifest_among(&self, live: Option<PathBuf>, variable: Option<PathBuf>) -> Option<PathBuf> {
        // Logs and manifest are of one run, so of one owner: a stranger's manifest would explain them wrongly.
        let owner = fs::metadata(&self.logs).ok().map(|facts| facts.uid());
        let of_run = |directory: &PathBuf| {
            let facts = fs::symlink_metadata(directory).ok().filter(fs::Metadata::is_dir);
            let facts = facts.filter(|it| it.uid() == 0 || Some(it.uid()) == owner);
            facts.is_some_and(|it| plain::is_plain(&directory.join(MANIFEST), &[0, it.uid()]))
        };
        let named = |directory: PathBuf| resolved(&directory.join(MANIFEST));
        let found = live.map(|directory| directory.join(MANIFEST)).filter(|path| path.is_file());
        let found = found.or_else(|| Some(self.file(MANIFEST)).filter(|path| path.is_file()));
        let found = found.or_else(|| {
            let beside = self.beside().into_iter().filter(of_run);
            beside.map(|directory| directory.join(MANIFEST)).next()
        });
        found.or_else(|| variable.map(named).filter(|path| path.is_file()))
    }

    /// Where a run leaves its manifest, if nobody chose the place.
    fn beside(&self) -> Vec<PathBuf> {
        let name = self.logs.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let within = self.logs.join("audit");
        // Among temporary files, `audit` is anybody's.
        if let Some(number) = name.strip_prefix(LOGS_LEFT) {
            let sibling = self.logs.with_file_name(format!("{AUDIT_LEFT}{number}"));
            // Both of one run, or both of a run that left no marks.
            let of_run = kept::run_of(&sibling) == kept::run_of(&self.logs);
            return [within].into_iter().chain(of_run.then_some(sibling)).collect();
        }
        let above = self.logs.join("..");
        let is_open = fs::metadata(&above).is_ok_and(|facts| facts.mode() & 0o002 != 0);
        (!is_open).then(|| above.join("audit")).into_iter().chain([within]).collect()
    }
}

/// The record of a run that goes on. The directory may be a link of the user's choice; the record may not be one.
pub fn record_of(live: &Live) -> PathBuf {
    resolved(&live.logs).join(RECORD)
}

/// Where to look.
struct Search {
    /// Directories of runs that go on.
    runs: PathBuf,
    /// `$AWF_LOGS_DIR`.
    variable: Option<PathBuf>,
    /// For temporary files.
    tmp: PathBuf,
    /// Whose directories are looked into unasked.
    trusted: [u32; 3],
    /// The caller, whose own runs come first.
    uid: u32,
    /// Tells which run left a directory.
    run_of: fn(&Path) -> Option<String>,
}

impl Search {
    fn new() -> Result<Self> {
        let caller = Caller::inspect()?;
        let directory = |name: &str| {
            let value = caller.env.get(name).filter(|value| !value.is_empty());
            value.map(|value| caller.cwd.join(value))
        };
        Ok(Self {
            runs: PathBuf::from(RUNS),
            variable: directory("AWF_LOGS_DIR"),
            tmp: directory("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp")),
            trusted: [0, caller.euid, caller.uid],
            uid: caller.uid,
            run_of: kept::run_of,
        })
    }

    fn find(&self, said: Option<&str>) -> Result<Source> {
        match said {
            None => self.newest(),
            Some("running") => match self.running().into_iter().next() {
                Some((_own, source)) => Ok(source),
                None => bail!("no run goes on; see awf logs --list"),
            },
            Some(said) => self.named(said),
        }
    }

    fn newest(&self) -> Result<Source> {
        // In this order, and no further than needed: what is not used need not be warned of.
        let own = self.running().into_iter().find(|(own, _source)| *own);
        let found = own.map(|(_own, source)| source).or_else(|| self.named_by_variable());
        let found = found.or_else(|| self.preserved().into_iter().next().map(|left| left.source));
        found.context(
            "No log sources found. Run a command with awf first, or name the logs with --source",
        )
    }

    fn all(&self) -> Vec<Source> {
        let mut sources: Vec<Source> = Vec::new();
        let running = self.running().into_iter().map(|(_own, source)| source);
        let preserved = self.preserved().into_iter().map(|left| left.source);
        for source in running.chain(self.named_by_variable()).chain(preserved) {
            let place = source.logs.canonicalize().ok();
            if !sources.iter().any(|known| known.logs.canonicalize().ok() == place) {
                sources.push(source);
            }
        }
        sources
    }

    /// A directory, a file in it, or a run by its id or the beginning of it.
    fn named(&self, said: &str) -> Result<Source> {
        let path = Path::new(said);
        let directory =
            if path.is_dir() { Some(path) } else { path.parent().filter(|_| path.is_file()) };
        if let Some(directory) = directory {
            let directory =
                if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            return match within(directory) {
                Some(logs) => Ok(Source { logs: resolved(&logs), found: Found::Named }),
                None => {
                    bail!("{} holds no {ACCESS}, no {AUDIT} and no {RECORD}", directory.display())
                }
            };
        }
        let mut runs: Vec<Source> =
            self.running().into_iter().map(|(_own, source)| source).collect();
        runs.retain(|source| matches!(&source.found, Found::Running(id) if id.starts_with(said)));
        if let [one, other, ..] = &*runs {
            bail!("{said} is the beginning of {} and {}", shown(one), shown(other));
        }
        if let Some(source) = runs.pop() {
            return Ok(source);
        }
        let left = format!("{LOGS_LEFT}{}", number_of(said).unwrap_or_default());
        let mut preserved = self.preserved();
        let of_run = |left: &Left| left.run.as_deref() == Some(said);
        let place = preserved.iter().position(of_run);
        let place =
            place.or_else(|| preserved.iter().position(|it| it.source.logs.ends_with(&left)));
        place
            .map(|place| preserved.swap_remove(place).source)
            .with_context(|| format!("Log source not found: {said} is no file, directory or run"))
    }

    /// Runs that go on, and whether they are the caller's own; those first, then the newest. All are root's own.
    fn running(&self) -> Vec<(bool, Source)> {
        let mut seen = live::look_in(&self.runs);
        if !seen.complete {
            warn_once(&format!(
                "Only root can see which runs go on: look into {}",
                self.runs.display()
            ));
        }
        for run in &seen.silent {
            warn_once(&format!("A run goes on whose logs cannot be found: {}", run.display()));
        }
        let is_own = |live: &Live| self.uid == 0 || live.uid == self.uid;
        seen.runs.sort_by_key(|live| !is_own(live));
        let sources = seen.runs.into_iter().filter_map(|live| {
            let logs = resolved(&live.logs);
            if !plain::holds(&logs, &[ACCESS, AUDIT, RECORD], None) {
                warn_once(&format!("Run {} goes on, but its logs cannot be read", live.id));
                return None;
            }
            let own = is_own(&live);
            Some((own, Source { logs, found: Found::Running(live.id) }))
        });
        sources.collect()
    }

    fn named_by_variable(&self) -> Option<Source> {
        let logs = self.variable.as_deref().and_then(within)?;
        Some(Source { logs: resolved(&logs), found: Found::Variable })
    }

    /// What runs left among temporary files, the newest first; what may be somebody else's comes after what surely is not.
    fn preserved(&self) -> Vec<Left> {
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(u64::MAX);
        let mut found: Vec<Left> = Vec::new();
        let (mut foreign, mut odd) = (0_u32, 0_u32);
        for entry in fs::read_dir(&self.tmp).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix(LOGS_LEFT));
            let Some(number) = digits.and_then(|digits| digits.parse().ok()) else { continue };
            // Of the entry itself: a link there leads wherever its owner likes.
            let Some(facts) = entry.metadata().ok().filter(fs::Metadata::is_dir) else { continue };
            let logs = entry.path();
            if !self.trusted.contains(&facts.uid()) {
                foreign += 1;
            } else if within(&logs).as_ref() == Some(&logs) {
                let run = (self.run_of)(&logs);
                // The number is the time of a run's begin: of two, the later one is read.
                let is_to_come = run.is_none() && number > now.saturating_add(TOLERANCE);
                let is_plain = plain::holds(&logs, &[ACCESS, AUDIT, RECORD], Some(&self.trusted));
                if is_plain && !is_to_come {
                    found.push(Left {
                        run,
                        number,
                        source: Source { logs, found: Found::Preserved },
                    });
                } else {
                    odd += 1;
                }
            }
        }
        self.tell_left_alone(foreign, odd);
        let order = |left: &Left| (left.run.is_some(), left.number);
        found.sort_by_key(|left| std::cmp::Reverse(order(left)));
        found
    }

    fn tell_left_alone(&self, foreign: u32, odd: u32) {
        let tmp = self.tmp.display();
        if foreign > 0 {
            tracing::warn!(
                "Left alone, as they belong to other users: {foreign} directories of logs in {tmp}; --source reads one"
            );
        }
        if odd > 0 {
            tracing::warn!(
                "Left alone, as no run leaves links, foreign files or a time to come: {odd} directories of logs in {tmp}; \
                 --source reads one"
            );
        }
    }
}

/// What a run left among temporary files.
struct Left {
    /// The run, if the directory has its mark.
    run: Option<String>,
    /// Of its name.
    number: u64,
    source: Source,
}

/// Warns, but not of the same again: who follows logs looks every second.
fn warn_once(text: &str) {
    if is_new(text) {
        tracing::warn!("{text}");
    }
}

fn is_new(text: &str) -> bool {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned())
}

/// The directory with logs: this one, or the one that runs make below.
fn within(directory: &Path) -> Option<PathBuf> {
    let holds = |directory: &Path| {
        [ACCESS, AUDIT, RECORD].iter().any(|name| directory.join(name).is_file())
    };
    let places = [directory.to_owned(), directory.join("squid-logs")];
    places.into_iter().find(|place| holds(place))
}

/// What is between the dashes of a run's id.
fn number_of(id: &str) -> Option<&str> {
    let digits = id.strip_prefix("awf-")?.split('-').next()?;
    (!digits.is_empty()).then_some(digits)
}

fn shown(source: &Source) -> String {
    match &source.found {
        Found::Running(id) => id.clone(),
        Found::Named | Found::Variable | Found::Preserved => source.logs.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::live::tests::{live, pretend};

    /// A place of its own for a test, with what it holds.
    fn place(name: &str, files: &[&str]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("awf-source-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    fn search(root: &Path) -> Search {
        let uid = nix::unistd::geteuid().as_raw();
        Search {
            runs: root.join("runs"),
            variable: None,
            tmp: root.join("tmp"),
            trusted: [uid; 3],
            uid,
            run_of: |_directory| None,
        }
    }

    #[test]
    fn runs_that_go_on_come_first_then_the_variable_then_what_is_newest() {
        let root = place(
            "order",
            &[
                "now/egress.jsonl",
                "var/squid-logs/access.log",
                "tmp/squid-logs-9/access.log",
                "tmp/squid-logs-100/audit.jsonl",
                "tmp/squid-logs-x/access.log",
                "tmp/squid-logs-200/other",
            ],
        );
        let mut search = search(&root);
        let names = |search: &Search| -> Vec<String> {
            let relative =
                |source: &Source| source.logs.strip_prefix(&root).unwrap().display().to_string();
            search.all().iter().map(relative).collect()
        };
        let preserved = ["tmp/squid-logs-100", "tmp/squid-logs-9"];
        assert_eq!(names(&search), preserved);
        search.variable = Some(root.join("var"));
        assert_eq!(names(&search), ["var/squid-logs", preserved[0], preserved[1]]);
        let uid = search.uid;
        let mut own = live("awf-5-aaaa", "2026-11-28T00:00:00.000000Z", &root.join("now"));
        own.uid = uid;
        let held = pretend(&search.runs, &own);
        assert_eq!(search.find(None).unwrap().found, Found::Running("awf-5-aaaa".to_owned()));
        assert_eq!(search.find(Some("running")).unwrap().logs, root.join("now"));
        assert_eq!(search.find(Some("awf-5")).unwrap().logs, root.join("now"));
        drop(held);
        assert_eq!(search.find(None).unwrap().found, Found::Variable);
        search.find(Some("running")).unwrap_err();
        assert_eq!(search.find(Some("awf-9-ffff")).unwrap().logs, root.join("tmp/squid-logs-9"));
        search.trusted = [uid + 1; 3];
        assert_eq!(names(&search), ["var/squid-logs"], "of another user");
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_is_named_may_be_a_directory_or_a_file_in_it() {
        let root = place("named", &["a/audit.jsonl", "b/egress.jsonl", "c/other"]);
        let search = search(&root);
        for said in ["a", "a/audit.jsonl", "b"] {
            let path = root.join(said);
            let source = search.find(path.to_str()).unwrap();
            assert_eq!(source.found, Found::Named);
            assert!(path.starts_with(&source.logs));
        }
        for said in ["c", "c/other", "none", "awf-7"] {
            search.find(root.join(said).to_str()).unwrap_err();
        }
        search.find(Some("awf-")).unwrap_err();
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_link_among_temporary_files_leads_nowhere() {
        let root = place("link", &["elsewhere/access.log", "tmp/.keep"]);
        std::os::unix::fs::symlink(root.join("elsewhere"), root.join("tmp/squid-logs-1")).unwrap();
        assert!(search(&root).all().is_empty());
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_somebody_else_put_among_temporary_files_is_not_taken_for_the_newest() {
        let root = place(
            "planted",
            &[
                "tmp/squid-logs-18446744073709551615/egress.jsonl",
                "tmp/squid-logs-7/audit.jsonl",
                "tmp/squid-logs-6/egress.jsonl",
                "tmp/squid-logs-5/egress.jsonl",
                "tmp/squid-logs-4/egress.jsonl",
                "secret",
            ],
        );
        let logs = |number: &str| root.join("tmp").join(format!("squid-logs-{number}"));
        std::os::unix::fs::symlink(root.join("secret"), logs("7").join("access.log")).unwrap();
        fs::hard_link(root.join("secret"), logs("6").join("access.log")).unwrap();
        let mut search = search(&root);
        assert_eq!(search.find(None).unwrap().logs, logs("5"));
        search.run_of =
            |directory| directory.ends_with("squid-logs-4").then(|| "awf-3-ab12".to_owned());
        assert_eq!(search.find(None).unwrap().logs, logs("4"), "only root can have marked it");
        assert_eq!(search.find(Some("awf-3-ab12")).unwrap().logs, logs("4"));
        assert_eq!(search.find(Some("awf-5-ab12")).unwrap().logs, logs("5"));
        let source = search.find(logs("7").to_str()).unwrap();
        assert_eq!(source.access(), root.join("secret"), "links of what is named are followed");
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_manifest_among_temporary_files_is_no_runs() {
        let files = [
            "tmp/squid-logs-1/access.log",
            "tmp/audit/policy-manifest.json",
            "tmp/own/access.log",
            "tmp/squid-logs-2/access.log",
            "tmp/awf-audit-2/other",
        ];
        let root = place("planted-manifest", &files);
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
        fs::set_permissions(root.join("tmp"), open).unwrap();
        let link = root.join("tmp/awf-audit-2/policy-manifest.json");
        std::os::unix::fs::symlink(root.join(files[1]), link).unwrap();
        for logs in ["tmp/squid-logs-1", "tmp/own", "tmp/squid-logs-2"] {
            let source = Source { logs: root.join(logs), found: Found::Named };
            assert_eq!(source.manifest_among(None, None), None, "{logs}");
        }
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_manifest_is_where_runs_leave_it() {
        let files = [
            "tmp/squid-logs-1/access.log",
            "tmp/awf-audit-1/policy-manifest.json",
            "work/squid-logs/access.log",
            "work/audit/policy-manifest.json",
            "far/policy-manifest.json",
            "lone/squid-logs/access.log",
        ];
        let root = place("manifest", &files);
        let of = |logs: &str, live: Option<&str>, variable: Option<&str>| {
            let source = Source { logs: root.join(logs), found: Found::Named };
            let path = |name: &str| root.join(name);
            source.manifest_among(live.map(path), variable.map(path))
        };
        let far = root.join(files[4]);
        assert_eq!(of("tmp/squid-logs-1", None, None), Some(root.join(files[1])));
        assert!(
            of("work/squid-logs", None, Some("far"))
                .unwrap()
                .ends_with("audit/policy-manifest.json")
        );
        assert_eq!(of("work/squid-logs", Some("far"), None), Some(far.clone()));
        assert_eq!(of("lone/squid-logs", None, Some("far")), Some(far));
        assert_eq!(of("lone/squid-logs", None, None), None);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_same_is_warned_of_once() {
        assert!(is_new("of a run") && !is_new("of a run") && is_new("of another"));
    }
}
