//! `--diagnostic-logs`: what helps to find a fault, left in the audit directory if a run fails.
//!
//! Takes looks at the sandbox while it is there, gives files in `diagnostics/`. Must never: fail a run, write a text that did not
//! go through the redactor, or look at anything if it was not asked for.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, lchown};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::logs::{self, Held};
use super::service::Account;
use crate::enforce::Cgroup;
use crate::exit::Exit;
use crate::observe::audit::{Audit, PLAN};
use crate::observe::redact::Redactor;
use crate::plan::Plan;
use crate::runtime::docker::Engine;

/// Lines of Squid's own messages that are kept (the original's).
const LAST_LINES: usize = 200;
/// What a cgroup tells of itself (cgroup-v2.rst).
const CGROUP_FILES: [&str; 8] = [
    "cgroup.events",
    "cpu.stat",
    "memory.current",
    "memory.events",
    "memory.max",
    "memory.peak",
    "pids.events",
    "pids.peak",
];

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Diagnostics<'a> {
    plan: &'a Plan,
    audit: &'a Audit,
    seen: Vec<(String, String)>,
}

impl<'a> Diagnostics<'a> {
    /// Nothing yet.
    pub(super) fn new(plan: &'a Plan, audit: &'a Audit) -> Self {
        Self { plan, audit, seen: Vec::new() }
    }

    /// For what else is written.
    pub(super) fn redactor(&self) -> Redactor {
        self.audit.redactor.clone()
    }

    /// Looks at a sandbox that waits at its gate.
    pub(super) fn see_sandbox(&mut self, first: u32) {
        if !self.audit.diagnostic {
            return;
        }
        let read = |name: &str| fs::read_to_string(format!("/proc/{first}/{name}"));
        match read("mountinfo") {
            Ok(text) => {
                let mounts: Vec<Value> = text.lines().filter_map(mount).collect();
                self.note("awf-agent.mounts.json", format!("{:#}\n", Value::from(mounts)));
            }
            Err(error) => self.note("awf-agent.mounts.json", format!("{}\n", failed(&error))),
        }
        self.note("awf-agent.status", read("status").unwrap_or_else(|error| failed(&error)));
    }

    /// Looks at what the agent's cgroup and the programs counted, after the command's end.
    pub(super) fn see_end(&mut self, agent: &Cgroup, account: &Account) {
        if !self.audit.diagnostic {
            return;
        }
        let file = |name: &str| {
            let text = fs::read_to_string(agent.path().join(name)).ok()?;
            Some((name.to_owned(), text.trim_end().into()))
        };
        let cgroup: serde_json::Map<String, Value> =
            CGROUP_FILES.into_iter().filter_map(file).collect();
        let counters: serde_json::Map<String, Value> = account
            .counters
            .iter()
            .map(|(name, count)| ((*name).into(), (*count).into()))
            .collect();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kernel = json!({
            "kernel": release.trim_end(),
            "profile": self.plan.standing,
            "runtime": self.plan.runtime,
            "counters": counters,
            "records": account.tally.attempts,
            "lost": account.lost,
            "cgroup": cgroup,
        });
        self.note("kernel.json", format!("{kernel:#}\n"));
    }

    /// Leaves everything if the run failed.
    pub(super) async fn leave(mut self, outcome: &Result<Exit>, engine: Option<&Engine>) {
        let state = match outcome {
            Ok(Exit::Agent(0)) => return,
            Ok(exit) => format!("{}\n", exit.code()),
            Err(error) => format!("{} {error:#}\n", crate::diagnosis::exit_of(error).code()),
        };
        if !self.audit.diagnostic {
            return;
        }
        self.note("awf-agent.state", state);
        if let (Some(engine), Some(containers)) = (engine, &self.plan.containers) {
            for (role, container) in [("agent", &containers.agent), ("squid", &containers.proxy)] {
                let found = engine.describe(&container.name).await;
                let text = found.unwrap_or_else(|error| json!({"error": format!("{error:#}")}));
                self.note(&format!("awf-{role}.container.json"), format!("{text:#}\n"));
            }
        }
        self.note("awf-squid.log", last_lines(&self.plan.paths.logs.join("cache.log")));
        self.note(PLAN, format!("{:#}\n", self.audit.plan));
        match self.write() {
            Ok(()) => {
                tracing::info!("Diagnostics are in the directory diagnostics of the audit files");
            }
            Err(error) => tracing::warn!("diagnostics could not be left: {error:#}"),
        }
    }

    fn note(&mut self, name: &str, text: String) {
        self.seen.push((name.to_owned(), text));
    }

    fn write(&self) -> Result<()> {
        let (audit, owner) = (&self.plan.paths.audit, self.plan.owner);
        let place = || format!("make diagnostics in {}", audit.display());
        let held = Held::open(audit).with_context(place)?;
        let directory = held.path().join("diagnostics");
        match DirBuilder::new().mode(0o755).create(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_directory =
                    fs::symlink_metadata(&directory).is_ok_and(|facts| facts.is_dir());
                ensure!(is_directory, "diagnostics in {} is not a directory", audit.display());
            }
            made => made.with_context(place)?,
        }
        for (name, text) in &self.seen {
            let text = self.audit.redactor.text(text);
            logs::write(&directory.join(name), &text, (0o644, owner))?;
        }
        lchown(&directory, Some(owner.0), Some(owner.1)).with_context(place)
    }
}

fn failed(error: &io::Error) -> String {
    format!("could not be read: {error}")
}

/// A line of proc(5) mountinfo.
fn mount(line: &str) -> Option<Value> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root, target, options) = (before.next()?, before.next()?, before.next()?);
    let mut after = after.split(' ');
    let (kind, source) = (after.next()?, after.next()?);
    Some(
        json!({"target": target, "source": source, "root": root, "type": kind, "options": options}),
    )
}

/// The end of a file, which is the agent's to fill only through Squid.
fn last_lines(path: &Path) -> String {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return format!("{}: {}\n", path.display(), failed(&error)),
    };
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
    last.iter().flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_the_last_ones() {
        let path = std::env::temp_dir().join(format!("awf-lines-{}", std::process::id()));
        fs::write(&path, (0..300).map(|n| n.to_string()).collect::<Vec<_>>().join("\n") + "\n")
            .unwrap();
        let text = last_lines(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!((text.lines().count(), text.lines().next()), (200, Some("100")));
        assert!(last_lines(&path).contains("could not be read"));
    }

    #[test]
    fn a_mount_is_told_by_its_parts() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let expected = json!({"target": "/mnt2", "source": "/dev/root", "root": "/mnt1",
            "type": "ext3", "options": "rw,noatime"});
        assert_eq!(mount(line), Some(expected));
        assert_eq!(mount("nonsense"), None);
    }
}
