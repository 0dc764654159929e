//! Directories that awf will write to.
//!
//! Owns the check that it can. Takes paths as typed, gives absolute ones. Must never create
//! anything: `awf plan` asks the same questions.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::usage::UsageError;
use crate::host::{self, Caller};

/// File systems of the kernel, which look writable to root.
const KERNEL: [&str; 2] = ["/proc", "/sys"];

/// Checks the directory named by `flag`: one that is there and writable, or that can be made.
pub(super) fn writable(
    flag: &'static str,
    text: &str,
    caller: &Caller,
) -> Result<PathBuf, UsageError> {
    let refuse = |problem: String| {
        let remedy = "name a directory that awf can write to, or that it can create";
        UsageError::value(flag, text, problem, remedy)
    };
    if text.is_empty() {
        return Err(refuse("the name is empty".to_owned()));
    }
    if text.contains('\0') {
        return Err(refuse("no path contains a zero byte".to_owned()));
    }
    // Collecting the components drops a final slash, behind which a link would pass as a directory.
    let path: PathBuf = caller.cwd.join(text).components().collect();
    if path.parent().is_none() {
        return Err(refuse("the root directory cannot be it".to_owned()));
    }
    // Squid's configuration names it, and has no way to quote these.
    if let Some(odd) =
        text.chars().find(|c| c.is_whitespace() || c.is_control() || "\"'#\\".contains(*c))
    {
        return Err(refuse(format!("Squid cannot write to a path with {odd:?}")));
    }
    if KERNEL.iter().any(|place| path.starts_with(place)) {
        return Err(refuse("nothing can be made there".to_owned()));
    }
    match fs::symlink_metadata(&path) {
        Ok(facts) if facts.is_symlink() => {
            // Whoever owns the link could turn it elsewhere while awf writes as root.
            return Err(refuse("it is a symbolic link".to_owned()));
        }
        Ok(facts) if !facts.is_dir() => return Err(refuse("it is not a directory".to_owned())),
        _ => {}
    }
    // Links are followed once, before the command could change them.
    blocking_parent(&path, caller.euid)
        .map_or_else(|| Ok(host::real(&path)), |problem| Err(refuse(problem)))
}

/// What keeps awf from writing to `path` or creating it: the nearest directory that exists decides.
fn blocking_parent(path: &Path, euid: u32) -> Option<String> {
    let existing = path.ancestors().find(|path| path.symlink_metadata().is_ok())?;
    let name = existing.display();
    match fs::metadata(existing) {
        Ok(facts) if !facts.is_dir() => return Some(format!("{name} is not a directory")),
        Err(error) => return Some(format!("{name} cannot be used ({error})")),
        Ok(_directory) => {}
    }
    // An ordinary user becomes root before anything is written, and then this is asked again.
    if euid != 0 {
        return None;
    }
    access(existing, AccessFlags::W_OK | AccessFlags::X_OK)
        .err()
        .map(|error| format!("{name} is not writable ({})", error.desc()))
}

/// Checks a directory inside the sandbox, which need not exist on this machine.
pub(super) fn inside(flag: &'static str, text: &str) -> Result<PathBuf, UsageError> {
    let path = Path::new(text);
    if !path.is_absolute() || text.contains('\0') {
        let remedy = "name the directory by its full path inside the sandbox";
        return Err(UsageError::value(flag, text, "not an absolute path", remedy));
    }
    Ok(super::mounts::without_prefix(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory of this test's own, removed at its end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("awf-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn caller(cwd: &Path, euid: u32) -> Caller {
        Caller { euid, cwd: cwd.to_owned(), ..Caller::sample() }
    }

    #[test]
    fn a_directory_may_exist_or_be_creatable_and_is_not_created() {
        let scratch = Scratch::new("creatable");
        let caller = caller(&scratch.0, 0);
        for text in [".", "new", "new/er", "new/"] {
            let path = writable("--work-dir", text, &caller).unwrap();
            assert_eq!(path, scratch.0.join(text).components().collect::<PathBuf>());
        }
        let absolute = scratch.0.join("x");
        assert_eq!(writable("--work-dir", absolute.to_str().unwrap(), &caller).unwrap(), absolute);
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0);
    }

    #[test]
    fn links_files_and_nonsense_are_refused() {
        let scratch = Scratch::new("refused");
        fs::write(scratch.0.join("file"), "").unwrap();
        symlink("/tmp", scratch.0.join("link")).unwrap();
        symlink("/nowhere", scratch.0.join("dangling")).unwrap();
        let caller = caller(&scratch.0, 0);
        for (text, problem) in [
            ("", "the name is empty"),
            ("/", "the root directory"),
            ("link", "it is a symbolic link"),
            ("link/", "it is a symbolic link"),
            ("dangling", "it is a symbolic link"),
            ("file", "it is not a directory"),
            ("file/x", "is not a directory"),
            ("dangling/x", "cannot be used"),
        ] {
            let sentence = writable("--audit-dir", text, &caller).unwrap_err().to_string();
            assert!(sentence.starts_with(&format!("--audit-dir '{text}': ")), "{sentence}");
            assert!(sentence.contains(problem), "{sentence}");
        }
    }

    #[test]
    fn the_question_of_rights_is_left_to_root() {
        writable("--work-dir", "/etc/awf-x", &caller(Path::new("/"), 1000)).unwrap();
    }

    #[test]
    fn the_place_of_the_command_is_absolute() {
        let check = |text, expected: &str| {
            assert_eq!(inside("--container-workdir", text).unwrap(), Path::new(expected));
        };
        check("/work", "/work");
        check("/host/work", "/work");
        check("/host", "/");
        check("/hosted", "/hosted");
        inside("--container-workdir", "work").unwrap_err();
        inside("--container-workdir", "").unwrap_err();
    }
}
