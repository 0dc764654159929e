//! Detached mounts: made, described, and then attached at one place.
//!
//! Uses the mount interface of Linux 5.2 and `mount_setattr` of 5.12: a mount is complete,
//! read-only included, before anyone can see it, and no path is looked up twice. Older kernels get
//! a mount's attributes right after it is attached, while nobody lives in the sandbox yet. Takes
//! host paths, gives [`Mount`]s. Must never resolve a path of the sandbox; that is
//! [`super::root`]'s work.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::fstatvfs;

use super::sys::{self, attr};

/// Nothing gains rights and no device works through it.
pub(super) const PLAIN: u64 = attr::NOSUID | attr::NODEV;
/// Kernel file systems: additionally nothing executes.
pub(super) const KERNEL: u64 = PLAIN | attr::NOEXEC;
/// Additionally not writable.
pub(super) const READ_ONLY: u64 = attr::RDONLY;

/// A mount that is not attached anywhere yet, or whose place is known to the caller.
#[derive(Debug)]
pub(super) struct Mount {
    fd: OwnedFd,
    /// Attributes that this kernel takes only when the mount is attached.
    late: u64,
}

impl Mount {
    /// What lies at `source` on the host, without the mounts below it.
    pub(super) fn of(source: &Path, attributes: u64) -> io::Result<Self> {
        let fd = sys::open_tree(source)?;
        let late = match sys::mount_setattr(fd.as_fd(), attributes, None) {
            Err(error) if is_missing(&error) => attributes,
            set => set.map(|()| 0)?,
        };
        Ok(Self { fd, late })
    }

    /// What `place` refers to, again, without the mounts below it.
    pub(super) fn of_fd(place: BorrowedFd<'_>, attributes: u64) -> io::Result<Self> {
        let name = format!("/proc/self/fd/{}", place.as_raw_fd());
        Self::of(Path::new(&name), attributes)
    }

    /// Translate owners by a user namespace. Only before attaching.
    pub(super) fn map_owners(&self, userns: BorrowedFd<'_>) -> io::Result<()> {
        sys::mount_setattr(self.as_fd(), 0, Some(userns))
    }

    /// A new file system of a type, with options `(key, value)`; an empty value is a flag.
    pub(super) fn new(
        kind: &CStr,
        options: &[(&CStr, &[u8])],
        attributes: u64,
    ) -> io::Result<Self> {
        let fs = sys::fsopen(kind)?;
        for (key, value) in options {
            if value.is_empty() {
                sys::fsconfig_flag(fs.as_fd(), key)?;
            } else {
                sys::fsconfig_set(fs.as_fd(), key, value)?;
            }
        }
        Ok(Self { fd: sys::fsmount(fs.as_fd(), attributes)?, late: 0 })
    }

    /// A tmpfs whose top directory belongs to `uid` and `gid`.
    pub(super) fn tmpfs(
        mode: u32,
        (uid, gid): (u32, u32),
        size: Option<u64>,
        attributes: u64,
    ) -> io::Result<Self> {
        let (mode, uid, gid) = (format!("{mode:o}"), uid.to_string(), gid.to_string());
        let size = size.map(|bytes| bytes.to_string());
        let mut options: Vec<(&CStr, &[u8])> =
            vec![(c"mode", mode.as_bytes()), (c"uid", uid.as_bytes()), (c"gid", gid.as_bytes())];
        if let Some(size) = &size {
            options.push((c"size", size.as_bytes()));
        }
        Self::new(c"tmpfs", &options, attributes)
    }

    /// `upper` seen through an overlay, with `lower` below it.
    ///
    /// Sockets and FIFOs are found by inode, and the overlay has inodes of its own: what listens
    /// on the other side of an overlay cannot be connected to. Nothing is stored in `upper` but
    /// what the agent writes: without index, metacopy and `redirect_dir` new directories are not
    /// marked (`ovl_allow_offline_changes` in fs/overlayfs/overlayfs.h), without uuid the top
    /// directory is not.
    pub(super) fn overlay(
        lower: BorrowedFd<'_>,
        upper: BorrowedFd<'_>,
        work: BorrowedFd<'_>,
        attributes: u64,
    ) -> io::Result<Self> {
        // Named by descriptor: fsconfig(2) takes 255 bytes at most, nothing needs escaping, and
        // the sandbox's mountinfo does not tell where on the host the directory lies.
        let [lower, upper, work] =
            [lower, upper, work].map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let always: [(&CStr, &[u8]); 7] = [
            (c"lowerdir", lower.as_bytes()),
            (c"upperdir", upper.as_bytes()),
            (c"workdir", work.as_bytes()),
            (c"index", b"off"),
            (c"metacopy", b"off"),
            (c"redirect_dir", b"nofollow"),
            (c"xino", b"off"),
        ];
        // Without `volatile` (5.10) unmounting would wait until the whole file system below is on
        // disk. `uuid` can be null since 6.6; kernels before that store none.
        let recent: [(&CStr, &[u8]); 2] = [(c"volatile", b""), (c"uuid", b"null")];
        Self::new(c"overlay", &[&always[..], &recent[..]].concat(), attributes)
            .or_else(|_| Self::new(c"overlay", &[&always[..], &recent[..1]].concat(), attributes))
    }

    /// Make it visible at `target`.
    pub(super) fn attach(&self, target: BorrowedFd<'_>) -> io::Result<()> {
        sys::move_mount(self.as_fd(), target)?;
        if self.late == 0 {
            return Ok(());
        }
        let place = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        remount(self.as_fd(), Path::new(&place), self.late)
    }
}

/// Add attributes to what is mounted at `place`, which `fd` refers to.
pub(super) fn restrict(fd: BorrowedFd<'_>, place: &Path, attributes: u64) -> io::Result<()> {
    match sys::mount_setattr(fd, attributes, None) {
        Err(error) if is_missing(&error) => remount(fd, place, attributes),
        set => set,
    }
}

/// The same for the mount that `fd` is the root of.
pub(super) fn restrict_fd(fd: BorrowedFd<'_>, attributes: u64) -> io::Result<()> {
    restrict(fd, Path::new(&format!("/proc/self/fd/{}", fd.as_raw_fd())), attributes)
}

/// As `mount_setattr`, by mount(2): that one sets every attribute, so those it has are set again.
fn remount(fd: BorrowedFd<'_>, place: &Path, attributes: u64) -> io::Result<()> {
    // The four attributes have the same bits in statvfs(3), mount(2) and mount_setattr(2).
    let present = fstatvfs(fd)?.flags().bits() & (attr::RDONLY | KERNEL);
    let flags = MsFlags::from_bits_truncate(present | attributes);
    let none = None::<&str>;
    Ok(mount(none, place, none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, none)?)
}

/// Whether the kernel lacks the call.
fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOSYS)
}

impl AsFd for Mount {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
