//! Becoming root.
//!
//! Owns the way awf starts itself again through sudo. Takes the caller, gives nothing back but a
//! reason when it fails: on success the process has been replaced. Must never ask for a password
//! and never loop.
//!
//! sudo gives the new process an environment of its own, and no option of sudo changes that well:
//! `--preserve-env` needs a permission that few have, leaves out `PATH`, `HOME` and the `LD_*` that
//! the dynamic linker takes from any set-uid program, and sudo-rs ignores it; with a list of names,
//! sudo writes the values into its log (measured with 1.9.13). So awf leaves that environment
//! alone, good enough for root, and reads its caller's where the kernel keeps it: in
//! `/proc/PID/environ` of the sudo process, which was awf before. There it is data: no variable of
//! the caller acts on the process of root.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::iter;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use caps::Capability;
use nix::unistd;
use thiserror::Error;

use super::caller::Caller;
use super::machine;

/// Tells the sudo that awf called from any other.
const ELEVATED: &str = "AWF_ELEVATED";

/// How far up that sudo can be: itself, above its monitor if it made a terminal, and one to spare.
const ANCESTORS: usize = 3;

/// Why awf could not become root.
#[derive(Clone, Debug, Error)]
pub enum PrivilegeError {
    /// No sudo on this machine.
    #[error("awf needs root and sudo is not installed; run awf as root or install sudo")]
    NoSudo,
    /// sudo is there and says no.
    #[error(
        "awf needs root and `sudo -n` refused ({reason}); run awf as root, or let {user} run it \
         without password by this line in sudoers: {user} ALL=(root) NOPASSWD: {program}"
    )]
    Refused {
        /// What sudo said.
        reason: String,
        /// Name of the caller, for the sudoers line.
        user: String,
        /// Path of this program, for the sudoers line.
        program: String,
    },
    /// sudo started awf again, and not as root.
    #[error("sudo started awf as user {euid} and not as root; run awf as root")]
    StillUnprivileged {
        /// The effective user id found.
        euid: u32,
    },
    /// Root in name only, as in a container.
    #[error(
        "awf is root without the capability {missing}; give it to the container or service that awf runs in"
    )]
    Capability {
        /// The first one that is missing.
        missing: String,
    },
    /// sudo could not be started, or our own path is unknown.
    #[error("start awf again through sudo: {source}; run awf as root")]
    Start {
        /// What the kernel said.
        source: Arc<io::Error>,
    },
}

/// How awf becomes root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is.
    Here,
    /// Through a sudo that does not ask.
    Sudo {
        /// That sudo.
        sudo: PathBuf,
        /// This program.
        program: PathBuf,
    },
}

/// Returns if this process is root. Otherwise replaces it by itself under `sudo -n`, with the same
/// arguments; [`Caller::inspect`] finds the same environment there.
pub fn ensure_root(caller: &Caller) -> Result<(), PrivilegeError> {
    match way(caller)? {
        Way::Here => Ok(()),
        Way::Sudo { sudo, program } => {
            let args: Vec<OsString> = env::args_os().skip(1).collect();
            Err(start(elevated(&sudo, &program).args(args).exec()))
        }
    }
}

fn start(source: io::Error) -> PrivilegeError {
    PrivilegeError::Start { source: Arc::new(source) }
}

/// Finds the way, and goes no step of it.
pub fn way(caller: &Caller) -> Result<Way, PrivilegeError> {
    if caller.euid == 0 {
        return has_capabilities().map(|()| Way::Here);
    }
    if caller.env.contains_key(ELEVATED) || before_sudo().is_some() {
        return Err(PrivilegeError::StillUnprivileged { euid: caller.euid });
    }
    let sudo = machine::find_program("sudo", &caller.search_path, &["/usr/bin"])
        .ok_or(PrivilegeError::NoSudo)?;
    let program = env::current_exe().map_err(start)?;
    // Ask first, because sudo's own exit code would be lost in awf's. With the program itself: a
    // sudoers file that allows awf need not allow anything else.
    let probe =
        elevated(&sudo, &program).arg("--version").stdin(Stdio::null()).output().map_err(start)?;
    if !probe.status.success() {
        let reason = String::from_utf8_lossy(&probe.stderr);
        let reason = reason.lines().next().map_or_else(|| probe.status.to_string(), str::to_owned);
        let (user, program) = (caller.user.clone(), program.display().to_string());
        return Err(PrivilegeError::Refused { reason, user, program });
    }
    Ok(Way::Sudo { sudo, program })
}

/// What a run needs of root: programs and namespaces, the agent's network, its user, its files, its end.
const NEEDED: [Capability; 8] = [
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_CHOWN,
    Capability::CAP_KILL,
    Capability::CAP_SYS_CHROOT,
];

fn has_capabilities() -> Result<(), PrivilegeError> {
    // A kernel that does not tell is asked by doing.
    let Ok(held) = caps::read(None, caps::CapSet::Effective) else { return Ok(()) };
    match NEEDED.into_iter().find(|capability| !held.contains(capability)) {
        Some(missing) => Err(PrivilegeError::Capability { missing: missing.to_string() }),
        None => Ok(()),
    }
}

/// `sudo -n ... PROGRAM`, without the program's arguments.
fn elevated(sudo: &Path, program: &Path) -> Command {
    let mut command = Command::new(sudo);
    command.env(ELEVATED, "1").args(["--non-interactive", "--user=root", "--"]).arg(program);
    command
}

/// The environment that awf had before it went through sudo. `None` if it did not.
pub(super) fn before_sudo() -> Option<Vec<(OsString, OsString)>> {
    let parents = iter::successors(Some(unistd::getppid().as_raw()), |pid| parent(*pid));
    parents.take(ANCESTORS).filter_map(environment).find_map(without_marker)
}

/// The environment with which a process was started.
fn environment(pid: i32) -> Option<Vec<(OsString, OsString)>> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let pair = |entry: &[u8]| {
        // From the second byte on: a name is not empty, but may start with `=`.
        let end = 1 + entry.get(1..)?.iter().position(|byte| *byte == b'=')?;
        let (name, value) = entry.split_at_checked(end)?;
        Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.get(1..)?.to_vec())))
    };
    Some(bytes.split(|byte| *byte == 0).filter_map(pair).collect())
}

/// The same environment without the marker, if the marker is there.
fn without_marker(mut vars: Vec<(OsString, OsString)>) -> Option<Vec<(OsString, OsString)>> {
    let before = vars.len();
    vars.retain(|(name, _)| name != ELEVATED);
    (vars.len() < before).then_some(vars)
}

/// The parent of a process: the second field of proc(5) `stat` behind the program's name, which is
/// in parentheses and may contain some.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn nothing_of_the_caller_is_in_the_arguments_of_sudo() {
        let command = elevated(Path::new("/usr/bin/sudo"), Path::new("/opt/awf"));
        let words: Vec<_> = command.get_args().collect();
        assert_eq!(words, ["--non-interactive", "--user=root", "--", "/opt/awf"]);
    }

    #[test]
    fn the_environment_of_a_process_is_read_as_it_was_given() {
        let mut child = Command::new("/bin/cat")
            .env_clear()
            .envs([("A", "1"), ("B", "x=y\nz"), ("LD_LIBRARY_PATH", "/l"), ("E", "")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its answer shows that it runs: the kernel notes the environment late in execve(2).
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"?").unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let (found, above) = (environment(pid), parent(pid));
        drop(stdin);
        child.wait().unwrap();
        let expected = [("A", "1"), ("B", "x=y\nz"), ("E", ""), ("LD_LIBRARY_PATH", "/l")];
        assert_eq!(found, Some(variables(&expected)));
        assert_eq!(above, i32::try_from(std::process::id()).ok());
    }

    #[test]
    fn only_the_sudo_that_awf_called_counts() {
        assert_eq!(without_marker(variables(&[("A", "1")])), None);
        let marked = variables(&[("A", "1"), (ELEVATED, "1")]);
        assert_eq!(without_marker(marked), Some(variables(&[("A", "1")])));
    }

    #[test]
    fn a_process_that_is_gone_has_neither_parent_nor_environment() {
        assert_eq!((parent(i32::MAX), environment(i32::MAX)), (None, None));
    }

    #[test]
    fn a_second_attempt_is_refused() {
        let env = [(ELEVATED.to_owned(), "1".to_owned())].into();
        let caller = Caller { euid: 1001, env, ..Caller::sample() };
        let refusal = ensure_root(&caller).unwrap_err();
        assert!(matches!(refusal, PrivilegeError::StillUnprivileged { euid: 1001 }));
    }
}
