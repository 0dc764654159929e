//! `--mount`.
//!
//! Owns its notation. Takes the option's values and the caller's variables, gives mounts whose
//! source exists. Must never create a mount point.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};

use super::usage::UsageError;
use crate::host::{Caller, Variables};

const FLAG: &str = "--mount";
const FORM: &str = "write HOST:CONTAINER, HOST:CONTAINER:ro or HOST:CONTAINER:rw";

/// A file or directory of the machine that the sandbox shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path on the machine; exists.
    pub source: PathBuf,
    /// Absolute path as the command sees it; never the root, no `..`.
    pub target: PathBuf,
    /// What the command may do with it.
    pub access: Access,
}

/// What may be done with a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Look only.
    ReadOnly,
    /// Change.
    ReadWrite,
}

/// All mounts in the order given, each once. Workflows written for the original name some of them
/// twice, with and without `/host` before the target; those collapse.
pub(super) fn all(values: &[String], caller: &Caller) -> Result<Vec<Mount>, UsageError> {
    let mut mounts: Vec<Mount> = Vec::new();
    for value in values {
        let mount = parse(value, caller)?;
        match mounts.iter().find(|other| other.target == mount.target) {
            None => mounts.push(mount),
            Some(same) if *same == mount => {}
            Some(other) => {
                let (source, target) = (other.source.display(), other.target.display());
                let problem = format!("{target} already shows {source}, or with another mode");
                return Err(UsageError::value(FLAG, value, problem, "mount each target once"));
            }
        }
    }
    Ok(mounts)
}

/// One value. Variables are replaced first, so that one may hold a whole mount.
fn parse(value: &str, caller: &Caller) -> Result<Mount, UsageError> {
    let refuse = |problem: String, remedy: &str| UsageError::value(FLAG, value, problem, remedy);
    let expanded = expand(value, &caller.env).map_err(|name| {
        refuse(format!("variable {name} is not set"), "set it or write the path itself")
    })?;
    let parts: Vec<&str> = expanded.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [source, target] => (*source, *target, "rw"),
        [source, target, mode] => (*source, *target, *mode),
        _ => return Err(refuse("not two or three parts separated by colons".to_owned(), FORM)),
    };
    let access = match mode {
        "ro" => Access::ReadOnly,
        "rw" => Access::ReadWrite,
        other => return Err(refuse(format!("unknown mode '{}'", other.escape_debug()), FORM)),
    };
    for (side, path) in [("host", source), ("container", target)] {
        if !path.starts_with('/') {
            return Err(refuse(format!("the {side} path is not absolute"), FORM));
        }
    }
    let target = inside(target).map_err(|problem| {
        refuse(problem.to_owned(), "name a place below the root of the sandbox, without ..")
    })?;
    if is_directory(Path::new(source)).is_some_and(|source| Some(!source) == is_directory(&target))
    {
        let problem = "a file cannot be shown in place of a directory, nor the other way round";
        return Err(refuse(problem.to_owned(), "name a container path of the same kind"));
    }
    if is_channel(Path::new(source)) {
        let problem = "the host path is a socket or a FIFO, and whoever listens there acts outside";
        return Err(refuse(problem.to_owned(), "name the files that the command needs"));
    }
    match exists(Path::new(source), caller.euid) {
        Ok(()) => Ok(Mount { source: source.into(), target, access }),
        Err(error) => {
            let problem =
                format!("cannot find the host path '{}' ({error})", source.escape_debug());
            Err(refuse(problem, "name a file or directory that exists"))
        }
    }
}

/// Where the command will see it: without the `/host` that the original's targets carry, with every
/// redundant slash and dot removed.
fn inside(target: &str) -> Result<PathBuf, &'static str> {
    let path = without_prefix(Path::new(target));
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("the container path climbs with ..");
    }
    if path == Path::new("/") { Err("the container path is the whole sandbox") } else { Ok(path) }
}

/// The place without the prefix under which the original shows the same directory once more.
pub(super) fn without_prefix(path: &Path) -> PathBuf {
    let rest = path.strip_prefix("/host");
    rest.map_or_else(|_other| path.into(), |rest| Path::new("/").join(rest)).components().collect()
}

/// Whether what is there is a directory; the sandbox shows most of the machine's paths in place.
fn is_directory(path: &Path) -> Option<bool> {
    fs::metadata(path).ok().map(|facts| facts.is_dir())
}

/// Whether it leads to a process of the host, such as a container daemon.
fn is_channel(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| {
        let kind = facts.file_type();
        kind.is_socket() || kind.is_fifo()
    })
}

/// Whether the path is there. An ordinary user may lack the right to look; root looks again.
fn exists(path: &Path, euid: u32) -> io::Result<()> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && euid != 0 => Ok(()),
        other => other.map(|_facts| ()),
    }
}

/// Replaces `$NAME` and `${NAME}` in one pass; what a value contains is not replaced again. A
/// dollar sign before anything else stays. Gives the first unset name as error.
fn expand(text: &str, env: &Variables) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        if let Some((name, remainder)) = reference(after) {
            result.push_str(env.get(name).ok_or_else(|| name.to_owned())?);
            rest = remainder;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    Ok(result)
}

/// The name behind a dollar sign and what follows it.
fn reference(after: &str) -> Option<(&str, &str)> {
    if let Some(braced) = after.strip_prefix('{') {
        return braced.split_once('}').filter(|(name, _)| super::variables::is_name(name));
    }
    let end = after.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let (name, remainder) = after.split_at_checked(end.unwrap_or(after.len()))?;
    super::variables::is_name(name).then_some((name, remainder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Caller {
        let env = [("ETC", "/etc"), ("PAIR", "/etc:/e"), ("DOLLAR", "$ETC"), ("EMPTY", "")];
        let env = env.map(|(name, value)| (name.into(), value.into())).into();
        Caller { env, ..Caller::sample() }
    }

    fn mounts(values: &[&str]) -> Result<Vec<Mount>, UsageError> {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        all(&values, &caller())
    }

    #[track_caller]
    fn check(value: &str, source: &str, target: &str, access: Access) {
        let expected = Mount { source: source.into(), target: target.into(), access };
        assert_eq!(mounts(&[value]).unwrap(), [expected]);
    }

    #[track_caller]
    fn check_refused(value: &str, problem: &str) {
        let sentence = mounts(&[value]).unwrap_err().to_string();
        assert!(sentence.starts_with(&format!("--mount '{value}': {problem}")), "{sentence}");
    }

    #[test]
    fn mounts_name_source_target_and_mode() {
        check("/etc:/e", "/etc", "/e", Access::ReadWrite);
        check("/etc:/e:rw", "/etc", "/e", Access::ReadWrite);
        check("/etc:/e:ro", "/etc", "/e", Access::ReadOnly);
        check("/etc/passwd:/p:ro", "/etc/passwd", "/p", Access::ReadOnly);
        check("/etc:/e//f/./g/:ro", "/etc", "/e/f/g", Access::ReadOnly);
    }

    #[test]
    fn variables_are_replaced_once() {
        check("$ETC:${ETC}/x:ro", "/etc", "/etc/x", Access::ReadOnly);
        check("$PAIR:ro", "/etc", "/e", Access::ReadOnly);
        check("/etc:/a$EMPTY/b$", "/etc", "/a/b$", Access::ReadWrite);
        check("/etc:/${x:ro", "/etc", "/${x", Access::ReadOnly);
        check("/etc:/$1", "/etc", "/$1", Access::ReadWrite);
        check_refused("$DOLLAR:/x", "the host path is not absolute");
        check_refused("$MISSING:/x", "variable MISSING is not set");
        check_refused("/etc:${MISSING}", "variable MISSING is not set");
        check_refused("$EMPTY:/x", "the host path is not absolute");
    }

    #[test]
    fn the_prefix_of_the_original_is_dropped() {
        check("/etc:/host/e", "/etc", "/e", Access::ReadWrite);
        check("/etc:/hosted/e", "/etc", "/hosted/e", Access::ReadWrite);
        check("/etc:/host/host/e", "/etc", "/host/e", Access::ReadWrite);
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        check_refused("", "not two or three parts");
        check_refused("/etc", "not two or three parts");
        check_refused("/etc:/a:ro:x", "not two or three parts");
        check_refused("etc:/a", "the host path is not absolute");
        check_refused(":/a", "the host path is not absolute");
        check_refused("/etc:a", "the container path is not absolute");
        check_refused("/etc:", "the container path is not absolute");
        check_refused("/etc:/a:", "unknown mode ''");
        check_refused("/etc:/a:RO", "unknown mode 'RO'");
        check_refused("/etc:/", "the container path is the whole sandbox");
        check_refused("/etc:/host", "the container path is the whole sandbox");
        check_refused("/etc:/host/", "the container path is the whole sandbox");
        check_refused("/etc:/a/../b", "the container path climbs with ..");
        check_refused("/etc:/host/../b", "the container path climbs with ..");
        check_refused("/nowhere:/a", "cannot find the host path '/nowhere'");
        check_refused("/etc/passwd/x:/a", "cannot find the host path '/etc/passwd/x'");
    }

    #[test]
    fn duplicates_collapse_and_contradictions_are_refused() {
        assert_eq!(mounts(&["/etc:/e:ro", "/etc:/host/e:ro", "/usr:/u"]).unwrap().len(), 2);
        for other in ["/usr:/e:ro", "/etc:/e:rw"] {
            let sentence = mounts(&["/etc:/e:ro", other]).unwrap_err().to_string();
            assert!(sentence.contains("/e already shows /etc"), "{sentence}");
        }
        let sentence = mounts(&["/etc:/\u{17}", "/usr:/\u{17}"]).unwrap_err().to_string();
        assert!(sentence.contains("/\u{fffd} already shows /etc"), "{sentence}");
    }
}
