//! Who called awf, from where, with which environment.
//!
//! Owns the process environment, the identity behind `sudo` and the current directory. Takes
//! nothing, gives a [`Caller`]. Must never change the environment of the process.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use nix::unistd;

use super::privilege;
use super::{HostError, passwd};

/// Environment variables by name.
pub type Variables = BTreeMap<String, String>;

/// Variables that name a language's tool chain, each beside the directory under it that belongs on
/// PATH. Later ones come earlier on PATH, as in the original.
pub const TOOLCHAINS: [(&str, Option<&str>); 6] = [
    ("CARGO_HOME", Some("bin")),
    ("RUSTUP_HOME", None),
    ("JAVA_HOME", Some("bin")),
    ("DOTNET_ROOT", Some("")),
    ("GOROOT", Some("bin")),
    ("BUN_INSTALL", Some("bin")),
];

/// The person or job that called awf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Effective user id of this process.
    pub euid: u32,
    /// User id of the caller: `SUDO_UID` where sudo was used, else the process's own.
    pub uid: u32,
    /// Group id of the caller, likewise.
    pub gid: u32,
    /// Name of the caller.
    pub user: String,
    /// Home directory of the caller.
    pub home: PathBuf,
    /// The environment as the caller wrote it, whatever sudo did to it since. Variables that are
    /// not UTF-8 are missing and named in `notices`.
    pub env: Variables,
    /// The current directory.
    pub cwd: PathBuf,
    /// Where this process looks for programs. Under sudo that is sudo's path and not the caller's,
    /// so that root does not run what the caller put first.
    pub search_path: String,
    /// What the user should be told once.
    pub notices: Vec<String>,
}

/// What is known about the process before anything is concluded.
#[derive(Debug)]
struct Facts {
    euid: u32,
    uid: u32,
    gid: u32,
    cwd: PathBuf,
    /// The environment of this process.
    env: Variables,
    /// The environment that awf had before it went through sudo.
    before_sudo: Option<Variables>,
    notices: Vec<String>,
}

impl Caller {
    /// Reads the environment and the identity of this process.
    pub fn inspect() -> Result<Self, HostError> {
        let cwd = env::current_dir().map_err(|source| HostError::WorkingDirectory { source })?;
        let mut notices = Vec::new();
        let own = decode(env::vars_os(), &mut notices);
        let before_sudo = own.contains_key("SUDO_UID").then(privilege::before_sudo).flatten();
        let mut caller = Self::conclude(
            Facts {
                euid: unistd::geteuid().as_raw(),
                uid: unistd::getuid().as_raw(),
                gid: unistd::getgid().as_raw(),
                cwd,
                env: own,
                before_sudo: before_sudo.map(|vars| decode(vars.into_iter(), &mut notices)),
                notices,
            },
            &passwd::read(),
        );
        if caller.euid == 0 && caller.uid != 0 {
            let saved = caller.env.get("GITHUB_ENV").and_then(|path| fs::read_to_string(path).ok());
            recover_toolchains(&mut caller.env, &saved.unwrap_or_default());
        }
        Ok(caller)
    }

    /// Everything that follows from the facts without looking at the machine again.
    fn conclude(facts: Facts, passwd: &str) -> Self {
        let Facts { euid, uid, gid, cwd, env: own, before_sudo, notices } = facts;
        let search_path = own.get("PATH").cloned().unwrap_or_default();
        // Without privilege anyone may set these, and they would name a stranger.
        let sudo = |name: &str| own.get(name).filter(|_| euid == 0).cloned();
        let number = |name: &str| sudo(name).and_then(|text| text.parse::<u32>().ok());
        let (sudo_uid, sudo_gid) = (number("SUDO_UID"), number("SUDO_GID"));
        let sudo_user = sudo("SUDO_USER").filter(|_| sudo_uid.is_some());
        // Under a foreign sudo HOME may be root's.
        let home_is_callers = sudo_user.is_none() || before_sudo.is_some();
        let env = before_sudo.filter(|_| sudo_uid.is_some()).unwrap_or(own);
        let uid = sudo_uid.unwrap_or(uid);
        let account = sudo_user
            .and_then(|name| passwd::by_name(passwd, &name))
            .or_else(|| passwd::by_uid(passwd, uid));
        let user = account.as_ref().map_or_else(|| uid.to_string(), |entry| entry.name.clone());
        let home_variable = env.get("HOME").filter(|home| home.starts_with('/')).map(PathBuf::from);
        let home = match account {
            Some(entry) if !home_is_callers => entry.home,
            _ => home_variable.unwrap_or_else(|| PathBuf::from("/root")),
        };
        let gid = sudo_gid.unwrap_or(gid);
        Self { euid, uid, gid, user, home, env, cwd, search_path, notices }
    }
}

#[cfg(test)]
impl Caller {
    /// A caller for tests: root standing in `/`, with an empty environment.
    pub(crate) fn sample() -> Self {
        Self {
            euid: 0,
            uid: 0,
            gid: 0,
            user: "root".to_owned(),
            home: "/root".into(),
            env: Variables::new(),
            cwd: "/".into(),
            search_path: String::new(),
            notices: Vec::new(),
        }
    }
}

/// Keeps what is UTF-8: everything else could not be shown, logged or compared faithfully.
fn decode(
    vars: impl Iterator<Item = (OsString, OsString)>,
    notices: &mut Vec<String>,
) -> Variables {
    let mut env = Variables::new();
    for (name, value) in vars {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => {
                env.insert(name, value);
            }
            (Ok(name), Err(_)) => {
                notices.push(format!("variable {name} is left out: its value is not UTF-8"));
            }
            (Err(name), _) => {
                let shown = name.to_string_lossy().into_owned();
                notices.push(format!("variable {shown} is left out: its name is not UTF-8"));
            }
        }
    }
    env
}

/// Gives back tool chain variables that sudo removed, out of the file in which a GitHub runner
/// keeps what earlier steps exported. Values over several lines are no directories: not read.
fn recover_toolchains(env: &mut Variables, saved: &str) {
    for (name, value) in saved.lines().filter_map(|line| line.split_once('=')) {
        if TOOLCHAINS.iter().any(|(toolchain, _)| *toolchain == name) {
            env.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nada:x:1001:1002::/home/ada:/bin/sh\n";

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn facts(euid: u32, vars: &[(&str, &str)]) -> Facts {
        let (uid, gid) = if euid == 0 { (0, 0) } else { (euid, 1002) };
        let env = variables(vars);
        let (before_sudo, notices) = (None, Vec::new());
        Facts { euid, uid, gid, cwd: "/work".into(), env, before_sudo, notices }
    }

    fn caller(euid: u32, vars: &[(&str, &str)]) -> Caller {
        Caller::conclude(facts(euid, vars), PASSWD)
    }

    fn identity(caller: &Caller) -> (u32, u32, &str, &str) {
        (caller.uid, caller.gid, &caller.user, caller.home.to_str().unwrap())
    }

    #[test]
    fn sudo_names_the_person_behind_root() {
        let ada =
            [("SUDO_UID", "1001"), ("SUDO_GID", "1002"), ("SUDO_USER", "ada"), ("HOME", "/root")];
        assert_eq!(identity(&caller(0, &ada)), (1001, 1002, "ada", "/home/ada"));
        let unknown = [("SUDO_UID", "5"), ("SUDO_GID", "5"), ("SUDO_USER", "x"), ("HOME", "/h")];
        assert_eq!(identity(&caller(0, &unknown)), (5, 5, "5", "/h"));
    }

    #[test]
    fn sudo_variables_mean_nothing_without_privilege() {
        let vars = [("SUDO_UID", "0"), ("SUDO_GID", "0"), ("SUDO_USER", "root"), ("HOME", "/h")];
        assert_eq!(identity(&caller(1001, &vars)), (1001, 1002, "ada", "/h"));
        let mut facts = facts(1001, &vars);
        facts.before_sudo = Some(variables(&[("HOME", "/other")]));
        assert_eq!(Caller::conclude(facts, PASSWD).env["HOME"], "/h");
    }

    #[test]
    fn home_falls_back_to_the_variable_and_then_to_root() {
        assert_eq!(identity(&caller(0, &[("HOME", "/custom")])), (0, 0, "root", "/custom"));
        assert_eq!(identity(&caller(0, &[])), (0, 0, "root", "/root"));
        assert_eq!(identity(&caller(0, &[("HOME", "relative")])), (0, 0, "root", "/root"));
        assert_eq!(identity(&caller(0, &[("SUDO_UID", "no")])), (0, 0, "root", "/root"));
    }

    #[test]
    fn an_elevated_awf_sees_the_environment_of_its_caller() {
        let sudo = [("SUDO_UID", "1001"), ("SUDO_GID", "1002"), ("SUDO_USER", "ada")];
        let mut facts =
            facts(0, &[&sudo[..], &[("HOME", "/root"), ("PATH", "/usr/sbin")]].concat());
        let before =
            variables(&[("PATH", "/opt/tool"), ("HOME", "/github/home"), ("SUDO_UID", "7")]);
        facts.before_sudo = Some(before.clone());
        let caller = Caller::conclude(facts, PASSWD);
        assert_eq!(identity(&caller), (1001, 1002, "ada", "/github/home"));
        assert_eq!(caller.env, before);
        assert_eq!(caller.search_path, "/usr/sbin", "root keeps looking where sudo lets it");
    }

    #[test]
    fn variables_that_are_not_utf8_are_left_out_aloud() {
        let vars = [(OsString::from("BAD"), OsString::from_vec(vec![0xff]))];
        let mut notices = Vec::new();
        assert!(decode(vars.into_iter(), &mut notices).is_empty());
        assert_eq!(notices, ["variable BAD is left out: its value is not UTF-8"]);
    }

    #[test]
    fn tool_chains_lost_to_sudo_come_back_without_overriding() {
        let mut env = variables(&[("GOROOT", "/now")]);
        recover_toolchains(&mut env, "GOROOT=/old\nJAVA_HOME=/jdk\nSECRET=x\nA<<EOF\nb\nEOF\n");
        assert_eq!(env, variables(&[("GOROOT", "/now"), ("JAVA_HOME", "/jdk")]));
    }
}
