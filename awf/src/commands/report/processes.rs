//! Processes as a tree, as far as the record tells who started whom.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::bounded::Bounded;
use super::fold::Counts;
use super::tables;
use super::words;
use crate::commands::export::text::shown;
use crate::observe::record::Record;

/// Processes in the tree.
const PROCESSES: usize = 1_000;
/// Task names that one process is known by: exec changes them.
const NAMES: usize = 3;
/// Levels that are drawn below one another; what is deeper is drawn at the last.
const LEVELS: usize = 24;

/// A process.
#[derive(Debug, Default)]
struct Process {
    parent: Option<u32>,
    names: Vec<String>,
    exe: Option<String>,
    sha256: Option<String>,
    uid: Option<u32>,
    counts: Counts,
}

/// All of them, by their ids.
#[derive(Debug)]
pub(super) struct Processes {
    known: Bounded<u32, Process>,
    /// Attempts of which nothing tells the process.
    unknown: Counts,
}

impl Default for Processes {
    fn default() -> Self {
        Self { known: Bounded::new(PROCESSES), unknown: Counts::default() }
    }
}

impl Processes {
    pub(super) fn add(&mut self, record: &Record) {
        let who = &record.process;
        let Some(pid) = who.pid else {
            self.unknown.add(record);
            return;
        };
        let Some(process) = self.known.row(pid, record.count) else { return };
        process.counts.add(record);
        if let Some(comm) = &who.comm {
            process.call(comm);
        }
        if let Some(exe) = &who.exe {
            process.exe.get_or_insert_with(|| shown(exe));
        }
        if let Some(digest) = &who.exe_sha256 {
            process.sha256.get_or_insert_with(|| shown(digest));
        }
        process.uid = process.uid.or(who.uid);
        process.parent = process.parent.or(who.ppid);
        for (index, ancestor) in who.ancestors.iter().enumerate() {
            let Some(process) = self.known.row(ancestor.pid, 0) else { return };
            process.call(&ancestor.comm);
            let parent = who.ancestors.get(index + 1).map(|parent| parent.pid);
            process.parent = process.parent.or(parent);
        }
    }

    /// How many made an attempt.
    pub(super) fn active(&self) -> u64 {
        let active = self.known.rows().filter(|(_, process)| process.counts.attempts() > 0);
        u64::try_from(active.count()).unwrap_or(u64::MAX)
    }

    pub(super) fn render(&self) -> Markup {
        if self.known.len() == 0 && self.unknown.attempts() == 0 {
            return html! { p.quiet { "No process tried anything." } };
        }
        let mut drawn = BTreeSet::new();
        let roots = |(pid, process): &(&u32, &Process)| {
            process.parent.is_none_or(|parent| parent == **pid || self.known.get(&parent).is_none())
        };
        let roots: Vec<u32> = self.known.rows().filter(roots).map(|(pid, _)| *pid).collect();
        let tree = self.branch(&roots, &mut drawn, 0);
        // Where ids were used twice, parents may form a ring without a root.
        let rest: Vec<u32> =
            self.known.rows().map(|(pid, _)| *pid).filter(|pid| !drawn.contains(pid)).collect();
        html! {
            div.tree {
                (tree)
                (self.branch(&rest, &mut drawn, LEVELS))
                @if self.unknown.attempts() > 0 {
                    ul { li {
                        div.process {
                            span.who { span.name.quiet { "process not known" } }
                            (tables::badges(&self.unknown))
                        }
                    } }
                }
            }
            (tables::beyond(self.known.beyond(), "processes"))
        }
    }

    /// These processes with those that they started.
    fn branch(&self, pids: &[u32], drawn: &mut BTreeSet<u32>, level: usize) -> Markup {
        let pids: Vec<u32> = pids.iter().copied().filter(|pid| drawn.insert(*pid)).collect();
        html! {
            @if !pids.is_empty() {
                ul {
                    @for pid in pids {
                        @if let Some(process) = self.known.get(&pid) {
                            li {
                                (process.render(pid))
                                @if level < LEVELS { (self.branch(&self.children(pid), drawn, level + 1)) }
                            }
                        }
                    }
                }
            }
        }
    }

    fn children(&self, pid: u32) -> Vec<u32> {
        let children = self.known.rows().filter(|(_, process)| process.parent == Some(pid));
        children.map(|(pid, _)| *pid).collect()
    }
}

impl Process {
    fn call(&mut self, name: &str) {
        let name = shown(name);
        if self.names.len() < NAMES && !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    fn render(&self, pid: u32) -> Markup {
        let uid = self.uid.map(|uid| format!(", uid {uid}")).unwrap_or_default();
        html! {
            div.process {
                span.who {
                    span.name {
                        @if self.names.is_empty() { "?" } @else { (self.names.join(", then ")) }
                    }
                    " " span.quiet { "pid " (pid) (uid) }
                    @if let Some(exe) = &self.exe {
                        span.exe {
                            (exe)
                            @if let Some(digest) = &self.sha256 {
                                span.quiet title={ "SHA-256 " (digest) } {
                                    " sha256:" (digest.chars().take(12).collect::<String>())
                                }
                            }
                        }
                    }
                }
                @if self.counts.attempts() > 0 { (tables::badges(&self.counts)) }
                @if self.counts.sent + self.counts.received > 0 {
                    span.bytes {
                        span title="sent" { "\u{2191} " (words::bytes(self.counts.sent)) }
                        span title="received" { "\u{2193} " (words::bytes(self.counts.received)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::record::{Layer, ProcessInfo};

    #[test]
    fn processes_that_are_each_others_parents_are_drawn_once() {
        let mut processes = Processes::default();
        for (pid, ppid) in [(1, 2), (2, 1), (3, 3)] {
            let process = ProcessInfo { pid: Some(pid), ppid: Some(ppid), ..Default::default() };
            let record = Record { process, ..Record::denied("t".into(), "r".into(), Layer::Relay) };
            processes.add(&record);
        }
        let page = processes.render().into_string();
        for pid in ["pid 1", "pid 2", "pid 3"] {
            assert_eq!(page.matches(pid).count(), 1, "{page}");
        }
    }
}
