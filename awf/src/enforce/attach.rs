//! Attaching: one link per program, pinned, and checked against the cgroup it must govern.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

use super::object::{Hook, Object, Side};
use super::{Cgroup, EnforceError, sys};

/// The attached programs. Pins outlive the loader: when it is killed, its links keep enforcing until the next run removes
/// them together with the (killed) cgroup.
#[derive(Debug)]
pub struct Links {
    links: Vec<Link>,
}

impl Links {
    /// Attaches every program to its side's cgroup and pins its link in the bpffs directory `pins`.
    pub fn attach(
        object: &Object,
        agent: &Cgroup,
        proxy: &Cgroup,
        pins: &Path,
    ) -> Result<Self, EnforceError> {
        let mut links = Vec::with_capacity(object.hooks().len());
        for &hook in object.hooks() {
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
            links.push(Link::new(hook, link));
        }
        let links = Self { links };
        links.verify(agent, proxy)?;
        Ok(links)
    }

    /// Checks that every link is alive and still ties its own program to the directory we hold: a removed and re-created
    /// cgroup directory has another id, a link that was detached by force has none, and one that was updated has another
    /// program.
    pub fn verify(&self, agent: &Cgroup, proxy: &Cgroup) -> Result<(), EnforceError> {
        for link in &self.links {
            let expected = match link.hook.side {
                Side::Agent => agent.id(),
                Side::Proxy => proxy.id(),
            };
            let program = link.hook.program;
            let info = link.info();
            let governed = number(&info, "cgroup_id:");
            if governed != Some(expected) {
                return Err(EnforceError::WrongCgroup {
                    program,
                    link: governed.unwrap_or(0),
                    cgroup: expected,
                });
            }
            if number(&info, "prog_id:") != link.program {
                return Err(EnforceError::Replaced { program });
            }
        }
        Ok(())
    }
}

/// An attached program.
#[derive(Debug)]
struct Link {
    hook: Hook,
    descriptor: OwnedFd,
    /// Id of the program that was attached.
    program: Option<u64>,
}

impl Link {
    fn new(hook: Hook, descriptor: OwnedFd) -> Self {
        let mut link = Self { hook, descriptor, program: None };
        link.program = number(&link.info(), "prog_id:");
        link
    }

    /// What the kernel tells of the link (`kernel/bpf/syscall.c`, `bpf_link_show_fdinfo`; `kernel/bpf/cgroup.c`,
    /// `bpf_cgroup_link_show_fdinfo`). Nothing governs nothing.
    fn info(&self) -> String {
        let path = format!("/proc/self/fdinfo/{}", self.descriptor.as_raw_fd());
        fs::read_to_string(path).unwrap_or_default()
    }
}

fn number(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}
