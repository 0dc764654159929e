//! What is covered and what is not, as the table in `SECURITY.md`.
//!
//! Takes the rows of the table, the kinds of conversations that the escape tier holds, and what awf only tells of or cannot
//! stop. Gives Markdown. Must never claim a cover that no test holds: the limits are said as plainly as the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Group, Layer, Vector, all};

/// A kind of conversation, and the module of the escape tier that holds it.
struct Conversations {
    what: &'static str,
    module: &'static str,
    /// How many of them must be on record.
    recorded: &'static str,
    layer: &'static str,
}

const CONVERSATIONS: &[Conversations] = &[
    Conversations {
        what: "Names: queries of every type, by every way",
        module: "names",
        recorded: "some",
        layer: "doors, proxy",
    },
    Conversations {
        what: "TLS: fronting, false and missing names, other protocols",
        module: "tls",
        recorded: "all",
        layer: "doors",
    },
    Conversations {
        what: "HTTP: tunnels, Host, later requests",
        module: "requests",
        recorded: "all",
        layer: "doors, proxy",
    },
    Conversations {
        what: "HTTP: request smuggling",
        module: "smuggling",
        recorded: "all",
        layer: "doors, proxy",
    },
    Conversations {
        what: "Addresses and authorities in odd spellings",
        module: "authorities",
        recorded: "all",
        layer: "doors, proxy",
    },
    Conversations {
        what: "Allowed names that lead inward",
        module: "guard",
        recorded: "most",
        layer: "guard on the proxy",
    },
    Conversations {
        what: "Other ports and hosts by way of an opened service",
        module: "services",
        recorded: "all",
        layer: "kernel programs, doors",
    },
    Conversations {
        what: "Records: forging, hiding, flooding",
        module: "forgery",
        recorded: "some",
        layer: "record, user",
    },
];

/// What awf does not stop.
struct Limit {
    what: &'static str,
    /// Whether the record shows it.
    is_observed: bool,
    why: &'static str,
}

const LIMITS: &[Limit] = &[
    Limit {
        what: "Data sent to an allowed host",
        is_observed: true,
        why: "the record has the process, the name and the bytes each way",
    },
    Limit {
        what: "What a service of this machine or of a container does for the command once its port is opened",
        is_observed: true,
        why: "it acts outside the sandbox; the record has the process, the port and the bytes each way",
    },
    Limit {
        what: "Names of subdomains below an allowed wildcard",
        is_observed: true,
        why: "they are resolved when connected to; each is on record",
    },
    Limit {
        what: "The virtual host asked for inside an allowed TLS session",
        is_observed: false,
        why: "it is encrypted",
    },
    Limit {
        what: "Timing and sizes of allowed traffic as a channel",
        is_observed: false,
        why: "whoever may speak may modulate",
    },
    Limit {
        what: "Faults of the kernel",
        is_observed: false,
        why: "the sandbox shares the host's kernel",
    },
    Limit {
        what: "Root on the host, outside the sandbox",
        is_observed: false,
        why: "it may detach anything; a loss of the programs ends the run within half a second",
    },
    Limit {
        what: "What the agent leaves in shared directories and somebody runs later",
        is_observed: false,
        why: "it is the purpose of a workspace",
    },
    Limit {
        what: "Finished logs of other runs below /tmp",
        is_observed: false,
        why: "a command that runs as the same user may change them and, where the file system takes no mark of root's upon a run's directory (`security.awf.kept`), put newer ones beside them; name a directory that no run shares with `--proxy-logs-dir`",
    },
];

/// The table.
pub fn markdown() -> String {
    let mut text = String::from(
        "| way out | attempts | on record | stopped by | status |\n|---|--:|--:|---|---|\n",
    );
    let mut groups: BTreeMap<Group, Vec<&Vector>> = BTreeMap::new();
    for vector in all() {
        groups.entry(vector.group).or_default().push(vector);
    }
    let mut line = |what: &str, counts: [&str; 2], by: &str, status: &str| {
        // Writing to a string cannot fail.
        let [attempts, recorded] = counts;
        writeln!(text, "| {what} | {attempts} | {recorded} | {by} | {status} |").is_ok()
    };
    for (group, vectors) in groups {
        let recorded = vectors.iter().filter(|vector| vector.record.is_some()).count();
        let layers: BTreeSet<Layer> = vectors.iter().map(|vector| vector.layer).collect();
        let layers: Vec<&str> = layers.into_iter().map(Layer::name).collect();
        let counts = [vectors.len().to_string(), recorded.to_string()];
        let status = if group == Group::Harmless { "ALLOWED" } else { "ENFORCED" };
        line(group.name(), counts.each_ref().map(String::as_str), &layers.join(", "), status);
    }
    for Conversations { what, module, recorded, layer } in CONVERSATIONS {
        line(what, [&format!("`{module}`"), recorded], layer, "ENFORCED");
    }
    for Limit { what, is_observed, why } in LIMITS {
        let status = if *is_observed { "OBSERVED" } else { "NOT COVERED" };
        line(what, ["", ""], why, status);
    }
    text
}

impl Layer {
    /// As readers know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Programs => "kernel programs",
            Self::Lsm => "LSM programs",
            Self::Seccomp => "system call filter",
            Self::Capability => "capabilities",
            Self::Namespace => "namespaces",
            Self::Mount => "mounts",
            Self::User => "user",
            Self::Doors => "doors",
        }
    }
}

impl Group {
    /// As readers know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP to other ports and addresses",
            Self::Udp => "UDP",
            Self::Ipv6 => "IPv6",
            Self::Ping => "Ping sockets",
            Self::Protocols => "Other IP protocols: SCTP, DCCP, UDP-Lite, L2TP, MPTCP, SMC",
            Self::Raw => "Raw and packet sockets",
            Self::Families => "Other address families",
            Self::Netlink => "Netlink, ioctls of the network",
            Self::Options => "Socket options that choose the way",
            Self::Messages => "Ancillary data that chooses the way",
            Self::Uring => "`io_uring`",
            Self::Inbound => "Answers to visitors",
            Self::Doors => "awf's own doors",
            Self::Host => "Sockets and services of the host",
            Self::Processes => "Other processes and rights",
            Self::Namespaces => "Namespaces and roots",
            Self::Mounts => "Mounts",
            Self::Cgroups => "Cgroups",
            Self::Kernel => "Calls into the kernel",
            Self::Files => "Files of the kernel",
            Self::Devices => "Devices and terminals",
            Self::Harmless => "Allowed, because it acts inside only",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_kind_of_conversation_is_held() {
        let tier = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests/escape");
        for Conversations { module, .. } in CONVERSATIONS {
            assert!(tier.join(module).with_extension("rs").is_file(), "{module}");
        }
    }

    #[test]
    fn the_table_has_a_line_for_everything() {
        let text = markdown();
        let groups: BTreeSet<_> = all().map(|vector| vector.group).collect();
        let lines = 2 + groups.len() + CONVERSATIONS.len() + LIMITS.len();
        assert_eq!(text.lines().count(), lines);
        assert!(text.lines().all(|line| line.matches('|').count() == 6), "{text}");
    }
}
