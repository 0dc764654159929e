//! Whether the processes of a sandbox are still in the cgroup whose programs govern them.
//!
//! Nothing in a sandbox can leave its cgroup. A service outside that sorts processes into cgroups (cgrulesengd, a container
//! engine) can move one, and then no program sees what it does. The kernel tells nobody of a move, so this looks.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::Cgroup;

/// The family of `first`, itself included, as far as it is alive and not in the cgroup. Between its fork and its entry into
/// its parent's cgroup a new process looks like one of these, so only one that is found again has been moved.
pub fn strays(first: u32, cgroup: &Cgroup) -> io::Result<HashSet<u32>> {
    let mut family = family(first)?;
    // Read after the family, so that all of it that is alive must be in it.
    let members = cgroup.members()?;
    family.retain(|pid| !members.contains(pid) && is_alive(*pid));
    Ok(family)
}

/// A process and all below it. The kernel gives orphans to process 1 of their pid namespace, so nobody drops out.
fn family(first: u32) -> io::Result<HashSet<u32>> {
    let children = |thread: &Path| fs::read_to_string(thread.join("children"));
    let (mut family, mut found) = (HashSet::new(), vec![first]);
    while let Some(pid) = found.pop() {
        if family.insert(pid) {
            found.extend(
                threads(pid).flat_map(|one| children(&one)).flat_map(|list| numbers(&list)),
            );
        }
    }
    // Nobody is seen where the kernel was built without CONFIG_PROC_CHILDREN.
    match threads(first).next() {
        Some(thread) if family.len() == 1 => children(&thread).map(|_none| family),
        _ => Ok(family),
    }
}

fn threads(pid: u32) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

fn numbers(text: &str) -> HashSet<u32> {
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Whether a process can still act: one of its threads has memory, which an ending one gives up first.
fn is_alive(pid: u32) -> bool {
    threads(pid).any(|thread| fs::read_link(thread.join("exe")).is_ok())
}
