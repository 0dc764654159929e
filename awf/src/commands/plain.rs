//! Files of a source, opened so that nobody can lead the reader elsewhere.
//!
//! Must never: follow a link that nobody who calls awf has chosen, or wait for what is no plain file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open as open_at_once, openat};
use nix::sys::stat::Mode;

/// Opens a file of a source for reading. Neither it nor its directory may be a link: what the user names is [`resolved`]
/// before. Anything that is no plain file could let the reader wait for ever.
pub fn open(path: &Path) -> Result<File> {
    let opened = open_plainly(path).map_err(|errno| match errno {
        Errno::ELOOP => {
            anyhow::Error::msg("it is a link, which is followed only if --source names it")
        }
        errno => io::Error::from(errno).into(),
    });
    let file = opened.with_context(|| format!("open {}", path.display()))?;
    if !file.metadata().is_ok_and(|facts| facts.is_file()) {
        bail!("{} is not a plain file", path.display());
    }
    Ok(file)
}

fn open_plainly(path: &Path) -> nix::Result<File> {
    let name = path.file_name().ok_or(Errno::EISDIR)?;
    let way = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = open_at_once(directory_of(path), way, Mode::empty())
        .map_err(|errno| if is_link(directory_of(path)) { Errno::ELOOP } else { errno })?;
    let how = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(&directory, name, how, Mode::empty()).map(File::from)
}

/// What a path that the user chose leads to.
pub fn resolved(path: &Path) -> PathBuf {
    let real = (is_link(path) || is_link(directory_of(path))).then(|| path.canonicalize().ok());
    real.flatten().unwrap_or_else(|| path.to_owned())
}

/// Whether a directory holds any of these files, and those that it holds are plain.
pub(super) fn holds(directory: &Path, names: &[&str], owners: Option<&[u32]>) -> bool {
    let mut any = false;
    for name in names {
        match fs::symlink_metadata(directory.join(name)) {
            Ok(facts) if is_trusted(&facts, owners) => any = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return false,
        }
    }
    any
}

/// Whether this is a plain file of one of these owners.
pub(super) fn is_plain(path: &Path, owners: &[u32]) -> bool {
    fs::symlink_metadata(path).is_ok_and(|facts| is_trusted(&facts, Some(owners)))
}

/// A file with a second name may be another's.
fn is_trusted(facts: &fs::Metadata, owners: Option<&[u32]>) -> bool {
    let is_own = |owners: &[u32]| owners.contains(&facts.uid()) && facts.nlink() == 1;
    facts.is_file() && owners.is_none_or(is_own)
}

fn directory_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new("."))
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|facts| facts.is_symlink())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_followed_only_where_it_was_resolved_before() {
        let root = std::env::temp_dir().join(format!("awf-plain-{}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        let [real, by_name, by_directory] =
            ["real/file", "real/link", "alias/file"].map(|path| root.join(path));
        fs::create_dir_all(root.join("real")).unwrap();
        fs::write(&real, "text").unwrap();
        symlink(&real, &by_name).unwrap();
        symlink(root.join("real"), root.join("alias")).unwrap();
        let read = |path: &Path| Ok::<_, anyhow::Error>(io::read_to_string(open(path)?)?);
        assert_eq!(read(&real).unwrap(), "text");
        for path in [&by_name, &by_directory] {
            let error = format!("{:#}", read(path).unwrap_err());
            assert!(error.contains("it is a link"), "{error}");
            assert_eq!(read(&resolved(path)).unwrap(), "text");
        }
        assert_eq!(resolved(Path::new("Cargo.toml")), Path::new("Cargo.toml"));
        open(Path::new("Cargo.toml")).unwrap();
        open(&root.join("real")).unwrap_err();
        fs::remove_dir_all(&root).unwrap();
    }
}
