//! Places that the host does not have, and files that the agent sees otherwise than they are.
//!
//! Works on the root that [`super::root`] builds. Must never create anything on a file system of the host.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchown};

use super::mount::{self as mnt, Mount};
use super::root::{Root, Shape, open};

/// Where the files lie that the agent sees in place of the host's.
const REPLACED: &str = "/run/.awf-replaced";

impl Root<'_> {
    /// The lower layer of an overlay over the host's directory `source`: empty, but for the places of later
    /// mounts that the host does not have. So they exist in the overlay and nowhere else.
    pub(super) fn lower(&self, source: &Path, target: &Path) -> Result<OwnedFd> {
        let layers = self.staging.join("lower");
        let layer = layers.join(std::fs::read_dir(&layers)?.count().to_string());
        let owner = (Some(self.spec.uid), Some(self.spec.gid));
        let mut used = false;
        for op in &self.spec.mounts {
            let below = op.place().and_then(|place| place.strip_prefix(target).ok());
            let Some(below) = below.filter(|below| *below != Path::new("")) else { continue };
            if source.join(below).symlink_metadata().is_ok() {
                continue;
            }
            used = true;
            let is_file = op.shown().is_some_and(|(source, _target)| !source.is_dir());
            let directory = if is_file { below.parent().unwrap_or(below) } else { below };
            let mut path = layer.clone();
            DirBuilder::new().recursive(true).mode(0o755).create(&path)?;
            for part in directory {
                path.push(part);
                if !path.is_dir() {
                    DirBuilder::new().mode(0o755).create(&path)?;
                    chown(&path, owner.0, owner.1)?;
                }
            }
            if is_file {
                drop(File::create(layer.join(below))?);
            }
        }
        open(&if used { layer } else { self.staging.join("empty") })
    }

    /// Puts a file of the agent's own in place of the host's. A mount cannot be renamed over, which is how git
    /// and editors write; so what is mounted there is a link, and they replace what it leads to.
    pub(super) fn replace(&mut self, target: &Path, content: &str) -> Result<()> {
        let place = match self.find(target) {
            Ok(place) => place,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let agent = (self.spec.uid, self.spec.gid);
        if self.replaced == 0 {
            self.own_tmpfs(Path::new(REPLACED), 0o711, (0, 0), None)?;
        }
        let number = self.replaced;
        self.replaced += 1;
        let name = target.file_name().context("a file has a name")?;
        let directory = Path::new(REPLACED).join(number.to_string());
        let owner = (Some(Uid::from_raw(agent.0)), Some(Gid::from_raw(agent.1)));
        let made = self.place(&directory, Shape::Directory)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = openat(&made, name, flags, Mode::from_bits_truncate(0o644))?;
        fchown(&file, owner.0, owner.1)?;
        io::Write::write_all(&mut File::from(file), content.as_bytes())?;
        nix::unistd::fchownat(&made, ".", owner.0, owner.1, nix::fcntl::AtFlags::empty())?;
        let link = Path::new(REPLACED).join(format!("{number}.link"));
        self.symlink(&link, &directory.join(name))?;
        let parent = self.find(Path::new(REPLACED))?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let link =
            openat(&parent, link.file_name().context("it has a name")?, flags, Mode::empty())?;
        let mount = Mount::of_fd(link.as_fd(), mnt::PLAIN).context("copy the link")?;
        mount.attach(place.as_fd()).context("attach the link")
    }

    /// A mount of its own for a part of one that is about to become read-only.
    pub(super) fn spare(&self, target: &Path) -> Result<()> {
        let place = self.find(target)?;
        let mount = Mount::of_fd(place.as_fd(), mnt::PLAIN).context("copy the mount")?;
        mount.attach(place.as_fd()).context("attach the mount")
    }

    /// Makes the mount at `target` read-only.
    pub(super) fn freeze(&self, target: &Path) -> Result<()> {
        let place = self.find(target)?;
        mnt::restrict_fd(place.as_fd(), mnt::READ_ONLY).context("make it read-only")
    }
}
