//! Whether the processes of a sandbox are still in the cgroup whose programs govern them.
//!
//! Nothing in a sandbox can leave its cgroup. A service outside that sorts processes into cgroups (cgrulesengd, a container
//! engine) can move one, and then no program sees what it does. The kernel tells nobody of a move, so this looks.

use std::collections::HashSet;
use std::{fs, io};

use super::Cgroup;

/// A process of the family of `first`, itself included, that is alive and not in the cgroup. Between its fork and its
/// entry into its parent's cgroup a new process looks like one, so only one that is found twice has been moved.
pub fn stray(first: u32, cgroup: &Cgroup) -> io::Result<Option<u32>> {
    let family = family(first);
    // Read after the family, so that all of it that is alive must be in it.
    let members = numbers(&fs::read_to_string(cgroup.path().join("cgroup.procs"))?);
    Ok(family.into_iter().find(|pid| !members.contains(pid) && is_alive(*pid)))
}

/// A process and all below it. The kernel gives orphans to process 1 of their pid namespace, so nobody drops out.
fn family(first: u32) -> HashSet<u32> {
    let (mut family, mut found) = (HashSet::new(), vec![first]);
    while let Some(pid) = found.pop() {
        if family.insert(pid) {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            let lists = threads
                .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
            lists.for_each(|list| found.extend(numbers(&list)));
        }
    }
    family
}

fn numbers(text: &str) -> HashSet<u32> {
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Whether a process can still act: `State` of `/proc/pid/status` (proc(5)) is neither zombie nor dead.
fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
}
