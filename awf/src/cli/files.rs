//! What the sandbox shows of the user, the tools and the session: `chroot`, `filesystem.allowWrite`,
//! `container.runnerToolCachePath` and `--session-state-dir`.
//!
//! Owns their notation. Takes what the configuration file and the caller said, gives typed values.
//! Whether a path that stays writable lies in something writable is decided in `plan::mounts`, which
//! knows what is mounted. Must never create anything.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::config::schema;
use super::options::Args;
use super::usage::UsageError;
use super::{directories, mounts};
use crate::host::Caller;

/// The key of the paths that stay writable.
pub const ALLOW_WRITE: &str = "filesystem.allowWrite";
/// The key of the home that the command is told.
pub const IDENTITY_HOME: &str = "chroot.identity.home";

/// Letters with which shells and git match several files; one that is meant literally is not worth the doubt.
const GLOB: [char; 6] = ['*', '?', '[', ']', '{', '}'];
/// Ids above are negative numbers to some programs, and the last one means "no change" to the kernel.
const MAX_ID: u32 = i32::MAX as u32;
/// The longest name of an account, `LOGIN_NAME_MAX` without its zero byte being no help: useradd(8) takes 32.
const MAX_NAME: usize = 32;

/// What was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Places in the sandbox that stay writable; `None` means all that are.
    pub allow_write: Option<Vec<PathBuf>>,
    /// Who the command is.
    pub identity: Identity,
    /// Directory of programs that are found first.
    pub binaries: Option<PathBuf>,
    /// The runner's tool cache.
    pub tool_cache: Option<PathBuf>,
    /// Directory for the state of the agent's session.
    pub session_state: Option<PathBuf>,
}

/// Who the command is, as far as it was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its home.
    pub home: Option<PathBuf>,
    /// Its name.
    pub user: Option<String>,
    /// User id, never 0.
    pub uid: Option<u32>,
    /// Group id, never 0.
    pub gid: Option<u32>,
}

impl Files {
    /// Reads everything.
    pub(super) fn of(args: &Args, caller: &Caller) -> Result<Self, UsageError> {
        let file = &args.file;
        let writable = |paths: &Vec<String>| -> Result<Vec<PathBuf>, UsageError> {
            paths.iter().map(|path| stays_writable(path)).collect()
        };
        let directory = |flag, text: &String| directory(flag, text, caller);
        let binaries = file.chroot.binaries_source_path.as_ref();
        let cache = file.runner_tool_cache.as_ref();
        Ok(Self {
            allow_write: file.allow_write.as_ref().map(writable).transpose()?,
            identity: identity(&file.chroot.identity)?,
            binaries: binaries
                .map(|text| directory("chroot.binariesSourcePath", text))
                .transpose()?,
            tool_cache: cache
                .map(|text| directory("container.runnerToolCachePath", text))
                .transpose()?,
            session_state: session_state(args, caller)?,
        })
    }
}

/// The option, else the variable. An empty variable counts as unset.
fn session_state(args: &Args, caller: &Caller) -> Result<Option<PathBuf>, UsageError> {
    let named = args.session_state_dir.as_ref().map(|text| ("--session-state-dir", text));
    let variable = caller.env.get("AWF_SESSION_STATE_DIR").filter(|text| !text.is_empty());
    named
        .or_else(|| variable.map(|text| ("AWF_SESSION_STATE_DIR", text)))
        .map(|(origin, text)| directories::writable(origin, text, caller))
        .transpose()
}

fn stays_writable(text: &str) -> Result<PathBuf, UsageError> {
    let refuse = |problem: &str| {
        let remedy = "name a file or directory by its full path in the sandbox";
        UsageError::value(ALLOW_WRITE, text, problem, remedy)
    };
    if text.contains(GLOB) {
        return Err(refuse("patterns are not matched"));
    }
    plain(text).map_err(refuse)
}

/// An absolute path without anything that would have to be looked up to know where it leads.
fn plain(text: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err("not an absolute path");
    }
    if text.contains(char::is_control) {
        return Err("no path contains a control character");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("the path climbs with ..");
    }
    let path = mounts::without_prefix(path);
    if path.parent().is_none() { Err("that is the whole sandbox") } else { Ok(path) }
}

/// A directory of the machine that is shown read-only: a real one, since a link's owner could turn it elsewhere.
fn directory(flag: &'static str, text: &str, caller: &Caller) -> Result<PathBuf, UsageError> {
    let refuse = |problem: &str| {
        let remedy = "name a directory of this machine by its full path, without a link";
        UsageError::value(flag, text, problem, remedy)
    };
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(refuse("not an absolute path"));
    }
    if text.contains(|c: char| c == ':' || c.is_control()) {
        return Err(refuse("a colon or a control character in it would split PATH"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(refuse("the path climbs with .."));
    }
    let path: PathBuf = path.components().collect();
    if path.parent().is_none() {
        return Err(refuse("that is the whole machine"));
    }
    match fs::symlink_metadata(&path) {
        Ok(facts) if facts.is_symlink() => Err(refuse("it is a symbolic link")),
        Ok(facts) if !facts.is_dir() => Err(refuse("it is not a directory")),
        // An ordinary user may lack the right to look; root looks again.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && caller.euid != 0 => Ok(path),
        Err(error) => Err(refuse(&format!("it cannot be found ({error})"))),
        Ok(_directory) => Ok(path),
    }
}

fn identity(said: &schema::Identity) -> Result<Identity, UsageError> {
    let id = |flag: &'static str, id: Option<u32>| match id {
        Some(wrong) if wrong == 0 || wrong > MAX_ID => {
            let remedy = format!("give a number from 1 to {MAX_ID}; the command is never root");
            Err(UsageError::value(flag, &wrong.to_string(), "no id for the command", remedy))
        }
        id => Ok(id),
    };
    let home = said.home.as_deref().map(|text| {
        let remedy = "name a directory by its full path in the sandbox";
        // It becomes a field of /etc/passwd.
        let colon = text.contains(':').then_some("a home cannot contain a colon");
        colon
            .map_or_else(|| plain(text), Err)
            .map_err(|problem| UsageError::value(IDENTITY_HOME, text, problem, remedy))
    });
    Ok(Identity {
        home: home.transpose()?,
        user: said.user.as_deref().map(user).transpose()?,
        uid: id("chroot.identity.uid", said.uid)?,
        gid: id("chroot.identity.gid", said.gid)?,
    })
}

/// A name that useradd(8) would take.
fn user(text: &str) -> Result<String, UsageError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if first && text.len() <= MAX_NAME && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    let remedy = "a name has at most 32 letters, digits, '_', '-' and '.' and starts with a letter";
    Err(UsageError::value("chroot.identity.user", text, "not the name of a user", remedy))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn files(change: impl FnOnce(&mut Args)) -> Result<Files, String> {
        let mut args = Args::default();
        change(&mut args);
        Files::of(&args, &Caller::sample()).map_err(|error| error.to_string())
    }

    #[test]
    fn silence_changes_nothing() {
        assert_eq!(files(|_args| ()).unwrap(), Files::default());
    }

    #[test]
    fn places_that_stay_writable_are_plain_full_paths() {
        let of = |paths: &[&str]| {
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            files(|args| args.file.allow_write = Some(paths)).map(|files| files.allow_write)
        };
        assert_eq!(of(&[]).unwrap(), Some(Vec::new()));
        let two = ["/w/a/", "/host/w//b/."];
        assert_eq!(of(&two).unwrap(), Some(vec!["/w/a".into(), "/w/b".into()]));
        for (path, problem) in [
            ("", "not an absolute path"),
            ("w", "not an absolute path"),
            ("/", "the whole sandbox"),
            ("/host/", "the whole sandbox"),
            ("/x/../y", "climbs"),
            ("/x/*", "patterns"),
            ("/x/[a]", "patterns"),
            ("/x/{a,b}", "patterns"),
            ("/x?", "patterns"),
            ("/x\n", "control"),
        ] {
            let sentence = of(&["/w", path]).unwrap_err();
            let begin = format!("filesystem.allowWrite '{}': ", path.escape_debug());
            assert!(sentence.starts_with(&begin) && sentence.contains(problem), "{sentence}");
        }
    }

    #[test]
    fn directories_of_tools_are_real_and_there() {
        let scratch = std::env::temp_dir().join(format!("awf-files-{}", std::process::id()));
        fs::create_dir(&scratch).unwrap();
        fs::write(scratch.join("file"), "").unwrap();
        symlink(&scratch, scratch.join("link")).unwrap();
        let at = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
        for key in ["chroot.binariesSourcePath", "container.runnerToolCachePath"] {
            let of = |path: &str| {
                files(|args| {
                    let slot = if key.starts_with("chroot") {
                        &mut args.file.chroot.binaries_source_path
                    } else {
                        &mut args.file.runner_tool_cache
                    };
                    *slot = Some(path.to_owned());
                })
            };
            let found = of(&at("")).unwrap();
            assert_eq!(found.binaries.or(found.tool_cache), Some(scratch.clone()));
            for path in [
                "",
                "x",
                "/",
                "/a:b",
                "/a\nb",
                "/nowhere",
                "/tmp/..",
                &at("file"),
                &at("link"),
                &at("link/"),
            ] {
                let sentence = of(path).unwrap_err();
                let begin = format!("{key} '{}': ", path.escape_debug());
                assert!(sentence.starts_with(&begin), "{sentence}");
            }
        }
        fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn the_command_is_somebody_but_never_root() {
        let of = |identity: schema::Identity| files(|args| args.file.chroot.identity = identity);
        let said = schema::Identity {
            home: Some("/home/runner/".to_owned()),
            user: Some("runner".to_owned()),
            uid: Some(1),
            gid: Some(MAX_ID),
        };
        let found = of(said).unwrap().identity;
        assert_eq!(found.home, Some("/home/runner".into()));
        assert_eq!(
            (found.user.as_deref(), found.uid, found.gid),
            (Some("runner"), Some(1), Some(MAX_ID))
        );
        let none = schema::Identity::default;
        for (key, value, said) in [
            ("uid", "0", schema::Identity { uid: Some(0), ..none() }),
            ("uid", "4294967295", schema::Identity { uid: Some(u32::MAX), ..none() }),
            ("gid", "0", schema::Identity { gid: Some(0), ..none() }),
            ("home", "x", schema::Identity { home: Some("x".into()), ..none() }),
            ("home", "/", schema::Identity { home: Some("/".into()), ..none() }),
            ("home", "/a:b", schema::Identity { home: Some("/a:b".into()), ..none() }),
            ("home", "/a/../b", schema::Identity { home: Some("/a/../b".into()), ..none() }),
            ("user", "", schema::Identity { user: Some(String::new()), ..none() }),
            ("user", "a:b", schema::Identity { user: Some("a:b".into()), ..none() }),
            ("user", "1", schema::Identity { user: Some("1".into()), ..none() }),
        ] {
            let sentence = of(said).unwrap_err();
            let begin = format!("chroot.identity.{key} '{value}': ");
            assert!(sentence.starts_with(&begin), "{sentence}");
        }
    }

    #[test]
    fn the_state_of_a_session_has_an_option_and_a_variable() {
        let mut caller = Caller::sample();
        caller.env.insert("AWF_SESSION_STATE_DIR".to_owned(), "/tmp/state".to_owned());
        let of = |said: Option<&str>, caller: &Caller| {
            let said = said.map(str::to_owned);
            let args = Args { session_state_dir: said, ..Args::default() };
            Files::of(&args, caller).map(|files| files.session_state).map_err(|e| e.to_string())
        };
        assert_eq!(of(None, &caller).unwrap(), Some("/tmp/state".into()));
        assert_eq!(of(Some("/tmp/other"), &caller).unwrap(), Some("/tmp/other".into()));
        assert!(of(Some("/etc/passwd"), &caller).unwrap_err().starts_with("--session-state-dir '"));
        caller.env.insert("AWF_SESSION_STATE_DIR".to_owned(), "/proc/x".to_owned());
        assert!(of(None, &caller).unwrap_err().starts_with("AWF_SESSION_STATE_DIR '"));
        caller.env.insert("AWF_SESSION_STATE_DIR".to_owned(), String::new());
        assert_eq!(of(None, &caller).unwrap(), None);
    }
}
