//! `awf doctor`: everything that a run needs of this machine, whether it is there, and the command that helps.
//!
//! Takes the caller, gives a [`Report`]. Asks what a run asks, by the same functions, so that both say the same: a finding's
//! text and exit code are those of the error that would end a run. Without root it says what it could not look at. Must
//! never leave anything behind: what it makes to try something out is gone when it answers.

mod kernel;
mod remedies;
mod surroundings;

use std::fmt;

use anyhow::Error;
use serde::Serialize;

use crate::cli::{Args, Settings, UsageError};
use crate::diagnosis;
use crate::enforce::Standing;
use crate::exit::Exit;
use crate::host::privilege::{self, PrivilegeError, Way};
use crate::host::{Caller, Daemon, DaemonError, Host, daemon};

/// How it is about a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is met.
    Pass,
    /// A run goes on, with less or somewhere else than it could.
    Warn,
    /// No run is possible.
    Fail,
    /// It could not be looked at.
    Unknown,
}

/// One requirement.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Its name, for scripts.
    pub name: &'static str,
    /// How it is about it.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What a run needs it for.
    pub means: &'static str,
    /// The command, or what else there is to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The exit code with which a run would end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
}

impl Finding {
    fn new(name: &'static str, means: &'static str) -> Self {
        let found = String::new();
        Self { name, means, verdict: Verdict::Unknown, found, fix: None, exit_code: None }
    }

    fn pass(self, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Pass, found: found.into(), ..self }
    }

    fn warn(self, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, found: found.into(), fix: Some(fix.into()), ..self }
    }

    /// With the error that would end a run.
    fn fail(self, error: impl Into<Error>, fix: impl Into<String>) -> Self {
        let error = error.into();
        let exit_code = Some(diagnosis::exit_of(&error).code());
        let (found, fix) = (format!("{error:#}"), Some(fix.into()));
        Self { verdict: Verdict::Fail, found, fix, exit_code, ..self }
    }

    fn unknown(self, found: impl Into<String>) -> Self {
        let fix = Some("sudo awf doctor".to_owned());
        Self { verdict: Verdict::Unknown, found: found.into(), fix, ..self }
    }
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether a run is possible, as far as could be seen.
    pub ok: bool,
    /// One for each requirement.
    pub findings: Vec<Finding>,
}

/// What the findings are made from.
struct Facts {
    host: Host,
    /// How awf becomes root.
    way: Result<Way, PrivilegeError>,
    /// What somebody asks for who asks for nothing.
    settings: Settings,
    daemon: Result<Daemon, DaemonError>,
}

impl Facts {
    /// Whether everything can be looked at.
    fn is_root(&self) -> bool {
        matches!(self.way, Ok(Way::Here))
    }
}

/// Looks at everything.
pub fn examine(caller: Caller) -> Result<Report, Error> {
    let settings = default_settings(&caller)?;
    let way = privilege::way(&caller);
    let host = Host::inspect(caller)?;
    let daemon = daemon::ask(&settings.images.daemon, &settings.images.wanted());
    let facts = Facts { host, way, settings, daemon };
    let (programs, standing) = kernel::programs(&facts);
    let findings = vec![
        surroundings::privilege(&facts),
        kernel::version(&facts),
        kernel::cgroup(&facts),
        programs,
        kernel::profile(&standing),
        kernel::filter(),
        kernel::namespaces(&facts),
        kernel::overlay(&facts),
        surroundings::squid(&facts),
        surroundings::docker(&facts),
        surroundings::bash(&facts),
        surroundings::resolver(&facts),
        surroundings::space(&facts),
        surroundings::directories(&facts),
        surroundings::ports(),
        surroundings::open_files(),
        surroundings::leftovers(&facts),
        surroundings::clock(),
    ];
    let ok = findings.iter().all(|finding| finding.verdict != Verdict::Fail);
    Ok(Report { ok, findings })
}

fn default_settings(caller: &Caller) -> Result<Settings, UsageError> {
    let args = Args { command: vec!["true".to_owned()], ..Args::default() };
    Settings::resolve(&args, caller)
}

/// What is to be expected of the kernel before it was asked.
fn expected(facts: &Facts) -> Standing {
    Standing::expected(facts.settings.profile, &facts.host)
}

impl Report {
    /// For scripts: a run is possible, or something is missing that it needs.
    pub fn exit(&self) -> Exit {
        if self.ok { Exit::Agent(0) } else { Exit::SetUp }
    }

    /// As JSON.
    pub fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{text}\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let Finding { name, verdict, found, means, fix, exit_code } = finding;
            let mark = match verdict {
                Verdict::Pass => "ok",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
                Verdict::Unknown => "?",
            };
            let found = found.replace('\n', "\n                       ");
            writeln!(f, "{mark:<5} {name:<16} {found}")?;
            if *verdict == Verdict::Pass {
                continue;
            }
            writeln!(f, "      needed for:      {means}")?;
            if let Some(code) = exit_code {
                writeln!(f, "      a run ends with: exit code {code}")?;
            }
            if let Some(fix) = fix {
                writeln!(f, "      to do:           {fix}")?;
            }
        }
        let count = |verdict| self.findings.iter().filter(|one| one.verdict == verdict).count();
        let (fails, warns) = (count(Verdict::Fail), count(Verdict::Warn));
        match (fails, warns, count(Verdict::Unknown)) {
            (0, 0, 0) => writeln!(f, "Everything that a run needs is there."),
            (0, warns, unknown) => writeln!(
                f,
                "A run is possible as far as could be seen; {warns} to know about, {unknown} not looked at."
            ),
            (fails, ..) => writeln!(f, "No run is possible: {fails} missing."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_examined_and_every_shortcoming_has_something_to_do() {
        let report = examine(Caller::inspect().unwrap()).unwrap();
        let mut names: Vec<_> = report.findings.iter().map(|finding| finding.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "each requirement once");
        for finding in &report.findings {
            assert!(!finding.found.is_empty() && !finding.means.is_empty(), "{finding:?}");
            assert_eq!(finding.fix.is_none(), finding.verdict == Verdict::Pass, "{finding:?}");
            assert_eq!(finding.exit_code.is_some(), finding.verdict == Verdict::Fail);
        }
    }

    #[test]
    fn a_failure_alone_changes_the_exit_code() {
        let finding = || Finding::new("x", "y");
        let report = |finding: Finding| Report {
            ok: finding.verdict != Verdict::Fail,
            findings: vec![finding],
        };
        assert_eq!(report(finding().warn("a", "b")).exit(), Exit::Agent(0));
        let failed = report(finding().fail(crate::plan::PlanError::SquidMissing, "install it"));
        assert_eq!(failed.exit(), Exit::SetUp);
        let text = failed.to_string();
        assert!(text.contains("exit code 112") && text.contains("install it"), "{text}");
    }
}
