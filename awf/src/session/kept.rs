//! The mark on the directories that a run leaves among temporary files, by which readers tell them from what somebody else
//! put beside them.
//!
//! Owns the extended attribute `MARK`: of its class, only root (`CAP_SYS_ADMIN`) sets one and everybody reads it (xattr(7)).
//! It holds the directory's name, so that one which its owner gave another name is none that a run left.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};

const MARK: &str = "security.awf.kept";
/// Longest mark: a name and an id are far shorter.
const LONGEST: usize = 256;

/// A directory that is about to be left. It is held, because its next owner may put another in its place.
pub(super) struct Leaving(File);

impl Leaving {
    pub(super) fn hold(directory: &Path) -> io::Result<Self> {
        open(directory).map(Self)
    }

    /// Marks it as left by this run in this place. Without a mark, which not every file system takes, it is read all the same.
    pub(super) fn mark(&self, place: &Path, run: &str) -> io::Result<()> {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let mark = format!("{name} {run}");
        Ok(fsetxattr(&self.0, MARK, mark.as_bytes(), XattrFlags::empty())?)
    }
}

/// The run that left this directory here, if it has a mark.
pub fn run_of(directory: &Path) -> Option<String> {
    let mut mark = vec![0; LONGEST];
    let length = fgetxattr(open(directory).ok()?, MARK, &mut *mark).ok()?;
    mark.truncate(length);
    let mark = String::from_utf8(mark).ok()?;
    let (name, run) = mark.split_once(' ')?;
    (directory.file_name()?.to_str() == Some(name)).then(|| run.to_owned())
}

fn open(directory: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(directory)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_mark_says_who_left_a_directory_where_it_is_and_nowhere_else() {
        let root = std::env::temp_dir().join(format!("awf-kept-{}", std::process::id()));
        let [here, there] = ["squid-logs-1", "squid-logs-2"].map(|name| root.join(name));
        fs::create_dir_all(&here).unwrap();
        assert_eq!(run_of(&here), None);
        match Leaving::hold(&here).unwrap().mark(&here, "awf-1-ab12") {
            Ok(()) => assert_eq!(run_of(&here).as_deref(), Some("awf-1-ab12")),
            // Of a user who is not root; or the file system has no marks.
            Err(_) => assert_eq!(run_of(&here), None),
        }
        fs::rename(&here, &there).unwrap();
        assert_eq!(run_of(&there), None, "its owner moved it");
        fs::remove_dir_all(&root).unwrap();
    }
}
