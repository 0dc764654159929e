//! Step 2: what the machine is.
//!
//! Owns the read-only inspection of the machine and of the caller. Takes nothing, gives a [`Host`].
//! Only this module and `cli` look at the environment and at kernel interfaces before a session
//! begins. Must never change anything, and must work without privilege so that `awf plan` does.
//! The one act in here is [`privilege::ensure_root`], which replaces the process.

pub mod privilege;
pub mod caller;
pub mod daemon;
pub mod git;
mod cgroup;
mod fit;
mod machine;
pub mod lookup;
mod network;
mod passwd;
mod resolver;

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use self::caller::{Caller, Variables};
pub use self::cgroup::CgroupMount;
pub use self::daemon::{Daemon, DaemonError};
pub use self::machine::{Kernel, SystemDir, SystemDirKind};

/// Why the machine could not be inspected.
#[derive(Debug, Error)]
pub enum HostError {
    /// The current directory is gone or may not be entered.
    #[error("find the current directory: {source}; change to a directory that exists")]
    WorkingDirectory {
        /// What the kernel said.
        source: io::Error,
    },
    /// A file that every Linux has cannot be read.
    #[error("read {}: {source}; awf needs procfs at /proc", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Under which identity the command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentIdentity {
    /// User id, below 1000 only if the user said so, never 0.
    pub uid: u32,
    /// Group id, likewise.
    pub gid: u32,
    /// The machine's name for the user id, `runner` if it has none.
    pub user: String,
    /// What it is told to be its home.
    pub home: PathBuf,
}

/// A running container that may be attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name, as Docker spells it.
    pub name: String,
    /// Its address, as this machine reaches it.
    pub address: Ipv4Addr,
    /// TCP ports that it exposes.
    pub ports: Vec<u16>,
}

/// Facts of the machine; nothing here is a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Who called awf, and from where.
    pub caller: Caller,
    /// Under which identity the command runs.
    pub agent: AgentIdentity,
    /// The cgroup v2 hierarchy; without one awf cannot enforce anything.
    pub cgroup2: Option<CgroupMount>,
    /// The Docker daemon, or why it cannot be used; `None` if nobody asked.
    pub daemon: Option<Result<Daemon, DaemonError>>,
    /// This very program.
    pub program: PathBuf,
    /// The running kernel.
    pub kernel: Kernel,
    /// The active security modules; `None` if the kernel does not show them.
    pub security_modules: Option<Vec<String>>,
    /// The Squid binary.
    pub squid: Option<PathBuf>,
    /// Whether there is a /bin/bash, which runs the command.
    pub bash: bool,
    /// User and group id that Squid can run as: the distribution's account for it, else nobody's.
    pub proxy_account: (u32, u32),
    /// Name servers that Squid may ask, never loopback, never empty.
    pub resolvers: Vec<IpAddr>,
    /// Addresses of the upstream proxy, or why there are none; `None` if nobody asked.
    pub parent: Option<Result<Vec<IpAddr>, String>>,
    /// Those of the server for DNS over HTTPS, likewise.
    pub doh: Option<Result<Vec<IpAddr>, String>>,
    /// Addresses of this machine's interfaces.
    pub own_addresses: Vec<IpAddr>,
    /// Where temporary files go: `TMPDIR`, else `/tmp`.
    pub tmp: PathBuf,
    /// The caller's workspace: `GITHUB_WORKSPACE`, else the current directory.
    pub workspace: PathBuf,
    /// Whether the kernel offers overlayfs now. It may be a module not loaded yet.
    pub overlay: bool,
    /// How `/usr`, `/bin` and their like are laid out.
    pub system_dirs: Vec<SystemDir>,
    /// Directories that earlier workflow steps added to PATH (the file named by `GITHUB_PATH`), in
    /// the order of the file.
    pub path_entries: Vec<String>,
    /// The machine's bundle of certification authorities.
    pub ca_bundle: Option<PathBuf>,
    /// The runner's tool cache: `RUNNER_TOOL_CACHE`, else `~/work/_tool`, if a real directory.
    pub tool_cache: Option<PathBuf>,
    /// Directories of programs in the tool cache.
    pub tool_programs: Vec<PathBuf>,
    /// Files with credentials beside other things.
    pub redacted: Vec<git::Redacted>,
    /// Files that are credentials, where they are not known by name.
    pub secrets: Vec<PathBuf>,
    /// Text of `/etc/passwd`.
    pub accounts: String,
    /// Text of `/etc/group`.
    pub groups: String,
    /// Every mount point, as the sandbox must repeat those below what it shows.
    pub mount_points: Vec<PathBuf>,
    /// Running containers that `--topology-attach` names, as far as they were found.
    pub peers: Vec<Peer>,
    /// How many files a process of the caller may open: soft and hard limit.
    pub open_files: (u64, u64),
    /// What the user should be told once.
    pub notices: Vec<String>,
}

impl Host {
    /// Looks at the machine on behalf of `caller`.
    pub fn inspect(caller: Caller) -> Result<Self, HostError> {
        let mut notices = caller.notices.clone();
        let resolvers = resolver::inspect(&mut notices);
        let accounts = passwd::read();
        Ok(Self {
            agent: agent_identity(&caller, &accounts),
            proxy_account: passwd::proxy_account(&accounts),
            accounts,
            groups: machine::groups(),
            mount_points: machine::mount_points()?,
            parent: None,
            doh: None,
            own_addresses: network::own_addresses(),
            cgroup2: cgroup::inspect()?,
            daemon: None,
            program: machine::program()?,
            kernel: machine::kernel()?,
            security_modules: machine::security_modules(),
            squid: machine::squid(&caller.search_path),
            bash: machine::bash(),
            resolvers,
            tmp: real(
                &machine::absolute_variable(&caller.env, "TMPDIR")
                    .unwrap_or_else(|| PathBuf::from("/tmp")),
            ),
            workspace: machine::absolute_variable(&caller.env, "GITHUB_WORKSPACE")
                .unwrap_or_else(|| caller.cwd.clone()),
            overlay: machine::overlay(),
            system_dirs: machine::system_dirs(),
            path_entries: machine::path_entries(&caller.env),
            ca_bundle: machine::ca_bundle(),
            tool_cache: machine::tool_cache(&caller),
            tool_programs: Vec::new(),
            redacted: Vec::new(),
            secrets: Vec::new(),
            peers: Vec::new(),
            open_files: machine::open_files(),
            caller,
            notices,
        })
    }
}

#[cfg(test)]
impl Host {
    /// A machine for tests, called by ada, who has an empty environment.
    pub(crate) fn sample() -> Self {
        let home = PathBuf::from("/home/ada");
        let user = "ada".to_owned();
        Self {
            agent: AgentIdentity { uid: 1001, gid: 1002, user: user.clone(), home: home.clone() },
            caller: Caller { uid: 1001, gid: 1002, user, home: home.clone(), ..Caller::sample() },
            cgroup2: None,
            daemon: None,
            program: "/usr/local/bin/awf".into(),
            kernel: Kernel { release: "6.1.0-test".to_owned(), version: (6, 1) },
            security_modules: None,
            squid: Some("/usr/sbin/squid".into()),
            bash: true,
            proxy_account: (13, 13),
            parent: None,
            doh: None,
            own_addresses: Vec::new(),
            accounts: String::new(),
            groups: String::new(),
            mount_points: Vec::new(),
            resolvers: vec![IpAddr::from([9, 9, 9, 9])],
            tmp: "/tmp".into(),
            workspace: home.join("work"),
            overlay: true,
            system_dirs: Vec::new(),
            path_entries: Vec::new(),
            ca_bundle: Some("/etc/ssl/certs/ca-certificates.crt".into()),
            tool_cache: None,
            tool_programs: Vec::new(),
            redacted: Vec::new(),
            secrets: Vec::new(),
            peers: Vec::new(),
            open_files: (1024, 1024),
            notices: Vec::new(),
        }
    }
}

/// The identity of the command: the caller's, lifted out of the range of system accounts, because a
/// daemon's uid could own files of the machine that are visible in the sandbox.
fn agent_identity(caller: &Caller, passwd: &str) -> AgentIdentity {
    const FIRST_ORDINARY_ID: u32 = 1000;
    let uid = caller.uid.max(FIRST_ORDINARY_ID);
    let gid = caller.gid.max(FIRST_ORDINARY_ID);
    let user = passwd::by_uid(passwd, uid).map_or_else(|| "runner".to_owned(), |entry| entry.name);
    AgentIdentity { uid, gid, user, home: caller.home.clone() }
}

/// The path without links, as far as it exists.
pub fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    there.map_or_else(
        || path.to_owned(),
        |(above, real)| {
            let rest = path.strip_prefix(above).unwrap_or_else(|_outside| Path::new(""));
            real.join(rest).components().collect()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_accounts_become_the_first_ordinary_one() {
        let passwd = "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";
        let check = |uid, gid, expected: (u32, u32, &str)| {
            let agent = agent_identity(&Caller { uid, gid, ..Caller::sample() }, passwd);
            assert_eq!((agent.uid, agent.gid, agent.user.as_str()), expected);
        };
        check(0, 0, (1000, 1000, "ada"));
        check(999, 121, (1000, 1000, "ada"));
        check(1000, 100, (1000, 1000, "ada"));
        check(1001, 1002, (1001, 1002, "runner"));
    }

    #[test]
    fn this_machine_can_be_inspected() {
        let caller = Caller::inspect().unwrap();
        let host = Host::inspect(caller).unwrap();
        assert!(host.workspace.is_absolute() && host.tmp.is_absolute());
        assert!(!host.resolvers.is_empty());
        assert!(host.resolvers.iter().all(|server| !server.is_loopback()));
        assert!(host.agent.uid >= 1000 && host.agent.gid >= 1000);
    }
}
