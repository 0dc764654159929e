//! Attaching: one link per program, pinned, and checked against the cgroup it must govern.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

use super::object::{HOOKS, Hook, Object, Side};
use super::{Cgroup, EnforceError, sys};

/// The attached programs. Pins outlive the loader: when it is killed, its links keep enforcing until the next run removes
/// them together with the (killed) cgroup.
#[derive(Debug)]
pub struct Links {
    links: Vec<(Hook, OwnedFd)>,
}

impl Links {
    /// Attaches every program to its side's cgroup and pins its link in the bpffs directory `pins`.
    pub fn attach(
        object: &Object,
        agent: &Cgroup,
        proxy: &Cgroup,
        pins: &Path,
    ) -> Result<Self, EnforceError> {
        let mut links = Vec::with_capacity(HOOKS.len());
        for hook in HOOKS {
            let cgroup = match hook.side {
                Side::Agent => agent,
                Side::Proxy => proxy,
            };
            let failed = |source| EnforceError::Attach {
                program: hook.program,
                cgroup: cgroup.path().display().to_string(),
                source,
            };
            let link = sys::create_link(object.program(hook)?, cgroup.as_fd(), hook.attach_type)
                .map_err(failed)?;
            sys::pin(link.as_fd(), &pins.join(hook.program)).map_err(failed)?;
            links.push((hook, link));
        }
        let links = Self { links };
        links.verify(agent, proxy)?;
        Ok(links)
    }

    /// Checks that every link is alive and governs the directory we hold: a removed and re-created cgroup directory has
    /// another id, and a link that was detached by force has none.
    pub fn verify(&self, agent: &Cgroup, proxy: &Cgroup) -> Result<(), EnforceError> {
        for (hook, link) in &self.links {
            let expected = match hook.side {
                Side::Agent => agent.id(),
                Side::Proxy => proxy.id(),
            };
            let governed = governed_cgroup(link);
            if governed != Some(expected) {
                return Err(EnforceError::WrongCgroup {
                    program: hook.program,
                    link: governed.unwrap_or(0),
                    cgroup: expected,
                });
            }
        }
        Ok(())
    }
}

/// The `cgroup_id` line of a link's fdinfo (`kernel/bpf/cgroup.c`, `bpf_cgroup_link_show_fdinfo`).
fn governed_cgroup(link: &OwnedFd) -> Option<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", link.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("cgroup_id:"))?.trim().parse().ok()
}
