//! Options of the original that awf answers in one sentence.
//!
//! Owns them, one row each: those whose wish is always fulfilled, and those that are refused with the
//! reason. Takes what was typed or written in the configuration file, gives notices or the refusal.
//! Must never accept in silence what it does not fulfil.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::usage::UsageError;

/// One of them, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyOption {
    /// Which.
    pub row: &'static Row,
    /// Its value, for those that take one.
    pub value: Option<String>,
}

/// What awf answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: it is so anyway.
    Always,
    /// It is so anyway or makes no difference, and the user is told why.
    Told(&'static str),
    /// These values are as good as none, for the reason that follows; all others are refused with
    /// the other reason.
    Values(&'static [&'static str], &'static str, &'static str),
    /// It is refused, for this reason and with this remedy.
    Refused(&'static str),
}

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Name with its dashes.
    pub name: &'static str,
    /// Another name for the same.
    pub alias: Option<&'static str>,
    /// Whether it takes a value.
    pub takes_value: bool,
    /// What awf answers.
    pub answer: Answer,
}

/// Why nothing but the kernel of this machine can be under the agent.
const OTHER_KERNEL: &str = "what awf enforces with sits in this machine's kernel, on the cgroup of the command, and a runtime \
                            with a network or kernel of its own does not pass there; leave it out: --profile full is the \
                            strongest that awf has";

/// Why the DIFC proxy is not served.
const NO_GH_OUTSIDE: &str = "awf runs no gh outside of the sandbox on the command's behalf; attach the DIFC proxy's container with \
                             --topology-attach, mount its certificate with --mount, and let the command's own gh ask it by GH_HOST";

const fn flag(name: &'static str, answer: Answer) -> Row {
    Row { name, alias: None, takes_value: false, answer }
}

const fn valued(name: &'static str, answer: Answer) -> Row {
    Row { name, alias: None, takes_value: true, answer }
}

/// All of them.
pub const TABLE: &[Row] = &[
    flag("--network-isolation", Answer::Always),
    flag(
        "--no-network-isolation",
        Answer::Told("it has no effect: the kernel holds the command's traffic in every run"),
    ),
    flag(
        "--legacy-security",
        Answer::Told(
            "it has no effect: no rule of iptables is made, and what it was needed for (host access, service ports) works \
             without it",
        ),
    ),
    valued(
        "--security-mode",
        Answer::Values(
            &["strict", "compat"],
            "it has no effect: there is one mode, enforced in the kernel",
            "no such mode; leave it out",
        ),
    ),
    flag(
        "--enable-api-proxy",
        Answer::Told("it is deprecated and not needed: the API proxy serves whose key is there"),
    ),
    flag(
        "--no-enable-api-proxy",
        Answer::Refused(
            "the API proxy cannot be switched off, as keys never enter the sandbox; it serves only providers whose key is in \
             awf's environment: unset the keys that it must not use",
        ),
    ),
    Row {
        name: "--enable-dind",
        alias: Some("enable-docker"),
        takes_value: false,
        answer: Answer::Refused(
            "a Docker daemon's socket undoes the sandbox: what is started through it runs outside of its cgroup and network \
             with any directory of this machine, and a pull alone carries data to any registry; start the containers that the \
             command needs before awf, and name them with --topology-attach",
        ),
    },
    valued(
        "--container-runtime",
        Answer::Values(
            &["runc"],
            "it has no effect: awf takes the daemon's own runtime, or none",
            OTHER_KERNEL,
        ),
    ),
    valued(
        "--docker-host-path-prefix",
        Answer::Refused(
            "a daemon that sees other paths than awf is on another machine or in a container of its own, where awf cannot \
             enforce anything; run awf where the daemon runs",
        ),
    ),
    valued("--difc-proxy-host", Answer::Refused(NO_GH_OUTSIDE)),
    valued("--difc-proxy-ca-cert", Answer::Refused(NO_GH_OUTSIDE)),
    flag(
        "--reflect",
        Answer::Refused(
            "let the command ask: awf -- curl -sS http://172.30.0.30:10000/reflect prints the same",
        ),
    ),
    flag("--anthropic-auto-cache", Answer::Refused("awf does not rewrite prompts; leave it out")),
    valued(
        "--anthropic-cache-tail-ttl",
        Answer::Refused("awf does not rewrite prompts; leave it out"),
    ),
    flag("--cloud-hypervisor-preview", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-binary", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-kernel", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-rootfs", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-supervisor", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-vcpus", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-memory-mib", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-api-timeout-ms", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-binary-sha256", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-virtiofsd-sha256", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-kernel-sha256", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-rootfs-sha256", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-supervisor-sha256", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-artifact-manifest", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-artifact-manifest-bundle", Answer::Refused(OTHER_KERNEL)),
    valued("--cloud-hypervisor-artifact-release-tag", Answer::Refused(OTHER_KERNEL)),
];

/// Adds them to a parser; help does not list them.
pub(super) fn teach(mut command: Command) -> Command {
    for row in TABLE {
        let id = row.name.trim_start_matches('-');
        let action = if row.takes_value { ArgAction::Set } else { ArgAction::SetTrue };
        let mut option =
            Arg::new(id).long(id).hide(true).action(action).help(row.answer.in_words());
        if row.takes_value {
            option = option.value_name("VALUE").allow_hyphen_values(true);
        }
        if let Some(alias) = row.alias {
            option = option.alias(alias);
        }
        command = command.arg(option);
    }
    command
}

impl Answer {
    /// The sentence for a reader.
    pub fn in_words(self) -> String {
        match self {
            Self::Always => "it is always so".to_owned(),
            Self::Told(reason) => reason.to_owned(),
            Self::Values(values, reason, other) => {
                format!("{}: {reason}; other values: refused, because {other}", values.join(", "))
            }
            Self::Refused(reason) => format!("refused, because {reason}"),
        }
    }
}

/// Those that were typed.
pub(super) fn typed(matches: &ArgMatches) -> Vec<LegacyOption> {
    let value = |row: &'static Row| {
        let id = row.name.trim_start_matches('-');
        if row.takes_value {
            let value = matches.try_get_one::<String>(id).ok().flatten()?;
            Some(LegacyOption { row, value: Some(value.clone()) })
        } else {
            let said = matches.try_get_one::<bool>(id).ok().flatten().copied().unwrap_or_default();
            said.then_some(LegacyOption { row, value: None })
        }
    };
    TABLE.iter().filter_map(value).collect()
}

/// The row of a name with its dashes.
pub(super) fn option(name: &str, value: Option<String>) -> Option<LegacyOption> {
    let row = TABLE.iter().find(|row| row.name == name)?;
    Some(LegacyOption { row, value })
}

/// Answers them: notices, or the first refusal.
pub(super) fn settle(
    options: &[LegacyOption],
    notices: &mut Vec<String>,
) -> Result<(), UsageError> {
    for LegacyOption { row, value } in options {
        let name = row.name;
        let value = value.as_deref().unwrap_or_default();
        match row.answer {
            Answer::Always => {}
            Answer::Told(reason) => notices.push(format!("{name}: {reason}")),
            Answer::Values(values, reason, _) if values.contains(&value) => {
                notices.push(format!("{name}: {reason}"));
            }
            Answer::Values(_, _, reason) => {
                return Err(UsageError::Refused {
                    option: format!("{name} '{}'", value.escape_debug()),
                    reason,
                });
            }
            Answer::Refused(reason) => {
                let spelling = row.alias.map(|alias| format!(" (--{alias})")).unwrap_or_default();
                return Err(UsageError::Refused { option: format!("{name}{spelling}"), reason });
            }
        }
    }
    Ok(())
}
