//! The vectors: every known way out of a sandbox that is a system call or a few, as data.
//!
//! Owns the one table that the probe performs, that the escape and kernel tiers hold against what happens, and of which
//! `SECURITY.md` is made. Gives [`all`] and, for one kernel, [`Vector::on`]. Must never hold an attempt: those are the
//! probe's (`tests/src/bin/probe`), and a test shows that both have the same names.

mod build;
mod devices;
mod families;
mod inward;
mod kernel;
mod network;
mod options;
mod processes;
mod sockets;
pub mod coverage;
pub mod report;

/// One way out.
#[derive(Clone, Copy, Debug)]
pub struct Vector {
    /// Its name; the task that tries it is called so, by which its record is found.
    pub name: &'static str,
    /// What it is, in one phrase.
    pub what: &'static str,
    /// Which kind of way it is.
    pub group: Group,
    /// Family, type and protocol of the socket; empty if there is none.
    pub socket: &'static str,
    /// The calls that make it.
    pub call: &'static str,
    /// What it needs to work without awf.
    pub needs: Needs,
    /// What it does without awf.
    pub control: Control,
    /// Which kernels have it.
    pub lives: Lives,
    /// Errno values that are right inside; 0 where it succeeds and leads nowhere.
    pub errnos: &'static [i32],
    /// Its record, if it must be on record.
    pub record: Option<Recorded>,
    /// Who must stop it.
    pub layer: Layer,
    /// What the kernel programs do about it when nothing else is there.
    pub alone: Alone,
    /// Where the idea is from.
    pub reference: &'static str,
}

/// What kind of way out it is; one line of the coverage table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// TCP over IPv4.
    Tcp,
    /// UDP over IPv4.
    Udp,
    /// IPv6, any transport.
    Ipv6,
    /// Ping sockets.
    Ping,
    /// IP protocols with sockets of their own.
    Protocols,
    /// Raw and packet sockets.
    Raw,
    /// Every address family but UNIX, INET, INET6 and NETLINK.
    Families,
    /// Netlink and the network's ioctls.
    Netlink,
    /// Socket options.
    Options,
    /// Ancillary data of a message.
    Messages,
    /// `io_uring`.
    Uring,
    /// What comes from outside first.
    Inbound,
    /// awf's own doors and addresses.
    Doors,
    /// Sockets and services of the host.
    Host,
    /// Other processes.
    Processes,
    /// Namespaces and roots.
    Namespaces,
    /// Mounts.
    Mounts,
    /// Cgroups.
    Cgroups,
    /// Calls into the kernel.
    Kernel,
    /// Files of the kernel.
    Files,
    /// Devices.
    Devices,
    /// Allowed, because it leads nowhere.
    Harmless,
}

/// A privilege.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any process may.
    Nothing,
    /// This capability.
    Capability(&'static str),
    /// User 0.
    Root,
}

/// What an attempt does without awf. It must work: the refusal of what cannot work proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// It succeeds; a connection or a door to the kernel is open.
    Works,
    /// It succeeds, and its payload arrives at the sink.
    Arrives,
    /// It is tried and may fail, for this reason.
    MayLack(&'static str),
    /// It is not tried, for this reason.
    Untried(&'static str),
    /// This kernel has no such thing, so that it must fail. Never in the table: see [`Vector::on`].
    Absent,
}

/// The kernels that have what an attempt needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lives {
    /// First version that has it.
    pub since: (u32, u32),
    /// First version without it.
    pub gone: (u32, u32),
}

/// Rule and protocol of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Kernel's reason or rule of the policy.
    pub rule: &'static str,
    /// As the record spells it.
    pub protocol: &'static str,
}

/// A fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The programs on the agent's cgroup.
    Programs,
    /// The BPF LSM programs.
    Lsm,
    /// The filter of system calls.
    Seccomp,
    /// A capability that is not there.
    Capability,
    /// A network, pid or IPC namespace of the agent's own.
    Namespace,
    /// The agent's own root and mounts.
    Mount,
    /// Another user than root, and the bits of files.
    User,
    /// The doors: whoever answers there judges.
    Doors,
}

/// What the programs do about an attempt by root, with routes and without any other fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    /// Nothing: another layer must.
    Blind,
    /// Refuse with this errno, on record.
    Refuse(i32),
    /// Drop the packets; the caller may not hear of it.
    Drop,
}

/// A row as it must turn out on one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// What it does without awf.
    pub control: Control,
    /// What the programs do alone.
    pub alone: Alone,
    /// Whether the record names the process.
    pub names_caller: bool,
    chooses_errno: bool,
    errnos: &'static [i32],
    layer: Layer,
}

impl Vector {
    /// The row on a kernel of this version. Before 5.18 a program cannot choose the errno of a refusal (`bpf_set_retval`), so
    /// that it is EPERM; before 6.1 the setsockopt hook cannot tell who called.
    pub fn on(&self, version: (u32, u32)) -> Expected {
        let chooses_errno = version >= (5, 18);
        let lives = (self.lives.since..self.lives.gone).contains(&version);
        Expected {
            control: if lives { self.control } else { Control::Absent },
            alone: match self.alone {
                Alone::Refuse(_) if !chooses_errno => Alone::Refuse(nix::libc::EPERM),
                alone => alone,
            },
            names_caller: version >= (6, 1)
                || self.record.is_none_or(|record| record.rule != "socket-option"),
            chooses_errno,
            errnos: self.errnos,
            layer: self.layer,
        }
    }
}

impl Expected {
    /// Whether an attempt inside may end so. What failed without awf may fail the same way inside.
    pub fn is_right(&self, errno: i32, outside: Option<i32>) -> bool {
        let by_program = self.layer == Layer::Programs && !self.chooses_errno;
        self.errnos.contains(&errno)
            || by_program && errno == nix::libc::EPERM
            || errno != 0 && outside == Some(errno)
    }
}

impl Control {
    /// Whether it is tried without awf.
    pub fn is_tried(self) -> bool {
        !matches!(self, Self::Untried(_))
    }
}

/// The task was killed by the system call filter: takes the place of an errno.
pub const KILLED: i32 = -1;

/// The whole table.
pub fn all() -> impl Iterator<Item = &'static Vector> {
    let tables = [
        network::TABLE,
        network::IPV6,
        sockets::TABLE,
        families::TABLE,
        options::TABLE,
        inward::TABLE,
        processes::TABLE,
        kernel::TABLE,
        devices::TABLE,
    ];
    tables.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_fit_into_a_tasks_name() {
        let names: BTreeSet<_> = all().map(|vector| vector.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(names.iter().all(|name| (1..=15).contains(&name.len())), "{names:?}");
    }

    #[test]
    fn every_row_says_what_it_is_how_it_is_done_and_where_it_is_from() {
        for vector in all() {
            let said = [vector.what, vector.call, vector.reference].map(str::is_empty);
            assert_eq!(said, [false; 3], "{}", vector.name);
            assert!(!vector.errnos.is_empty(), "{}", vector.name);
        }
    }

    #[test]
    fn what_may_not_be_controlled_says_why() {
        for vector in all() {
            let (Control::MayLack(why) | Control::Untried(why)) = vector.control else { continue };
            assert!(why.len() > 8, "{}", vector.name);
        }
    }

    #[test]
    fn only_a_layer_that_can_tell_is_asked_for_a_record() {
        for vector in all().filter(|vector| vector.record.is_some()) {
            let tells = matches!(vector.layer, Layer::Programs | Layer::Seccomp);
            assert!(tells, "{}", vector.name);
        }
    }

    #[test]
    fn the_table_is_as_long_as_promised() {
        assert!(all().count() >= 150, "{}", all().count());
    }

    #[test]
    fn old_kernels_choose_no_errno_and_a_kernel_without_the_thing_must_fail() {
        let row = |name| all().find(|vector| vector.name == name).unwrap();
        let tcp = row("tcp-22");
        assert_eq!(tcp.on((6, 1)).alone, Alone::Refuse(nix::libc::ECONNREFUSED));
        assert_eq!(tcp.on((5, 10)).alone, Alone::Refuse(nix::libc::EPERM));
        assert!(tcp.on((5, 10)).is_right(nix::libc::EPERM, Some(0)));
        assert!(!tcp.on((6, 1)).is_right(nix::libc::EPERM, Some(0)));
        assert!(!tcp.on((6, 1)).is_right(0, Some(0)));
        let uring = row("uring-socket");
        assert_eq!(uring.on((5, 10)).control, Control::Absent);
        assert_eq!(uring.on((6, 1)).control, Control::Arrives);
    }
}
