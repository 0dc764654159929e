//! The sandbox's root file system: carries out the list of [`MountOp`]s and moves into it.
//!
//! Runs in process 1 of the new pid namespace (a fresh procfs belongs to the namespace of the
//! process that mounts it). Takes the spec, gives warnings and the shared mounts. Everything is
//! put together below `SCRATCH/root/host` in this mount namespace's own copy of the tree, then
//! `pivot_root(2)` makes `SCRATCH/root` the root and chroot(2) enters `host`: a chrooted process
//! cannot create user namespaces (`current_chrooted()` in `kernel/user_namespace.c`), which holds
//! even without the system call filter.
//! Must never create anything on a host file system except the work directories of the plan.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{Gid, Uid, chroot, fchownat, pivot_root};

use super::mount::{self as mnt, Mount};
use super::one_shot;
use super::spec::AgentSpec;
use crate::plan::mounts::{Access, Fallback, MountOp, Sharing};

/// What is left to do with a finished root.
#[derive(Debug)]
pub(super) struct Built {
    /// For the user.
    pub(super) warnings: Vec<String>,
    /// Overlays over host directories, whose cached names grow stale.
    pub(super) shared: Vec<Mount>,
}

/// A file of the host that is bound somewhere is either a directory or not; so must its target be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Directory,
    File,
}

pub(super) struct Root<'a> {
    pub(super) spec: &'a AgentSpec,
    /// User namespace that describes how owners are translated.
    idmap: Option<BorrowedFd<'a>>,
    /// `SCRATCH/root`
    pub(super) staging: PathBuf,
    /// `SCRATCH/root/host`, the sandbox's `/`.
    pub(super) host: OwnedFd,
    /// Device numbers of file systems made here; only in these may a target be created.
    own: Vec<u64>,
    /// Mounts of the host with translated owners, by mount point.
    layers: BTreeMap<PathBuf, PathBuf>,
    /// How many files the agent sees otherwise than they are.
    pub(super) replaced: usize,
    pub(super) built: Built,
}

/// Build the root and enter it. Afterwards nothing of the host is reachable by any path.
pub(super) fn enter(spec: &AgentSpec, idmap: Option<BorrowedFd<'_>>) -> Result<Built> {
    // Nothing that happens here may be seen outside, and the reverse.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("make the mount namespace private")?;
    let mut root = Root::stage(spec, idmap)?;
    for op in &spec.mounts {
        root.apply(op).with_context(|| format!("mount {op}"))?;
    }
    let Root { staging, built, .. } = root;
    pivot_root(&staging, &staging.join("old")).context("enter the new root")?;
    umount2("/old", MntFlags::MNT_DETACH).context("detach the host's root")?;
    // The agent does not own this tmpfs; read-only anyway, so that not even a process that
    // forgot to drop its rights can plant something at the top.
    let top = open(Path::new("/"))?;
    mnt::restrict(top.as_fd(), Path::new("/"), mnt::READ_ONLY).context("protect the new root")?;
    chroot("/host").context("change the root")?;
    nix::unistd::chdir("/").context("enter the root")?;
    Ok(built)
}

impl<'a> Root<'a> {
    fn stage(spec: &'a AgentSpec, idmap: Option<BorrowedFd<'a>>) -> Result<Self> {
        let staging = spec.scratch.join("root");
        private_dir(&staging)?;
        let top = Mount::tmpfs(0o755, (0, 0), None, mnt::PLAIN).context("create a tmpfs")?;
        top.attach(open(&staging)?.as_fd()).context("attach the new root")?;
        for name in ["host", "old", "empty", "layers", "lower", "private"] {
            mkdirat(&top, name, Mode::from_bits_truncate(0o755))?;
        }
        let host = open(&staging.join("host"))?;
        let own = vec![device(host.as_fd())?];
        let built = Built { warnings: Vec::new(), shared: Vec::new() };
        Ok(Self { spec, idmap, staging, host, own, layers: BTreeMap::new(), replaced: 0, built })
    }

    fn apply(&mut self, op: &MountOp) -> Result<()> {
        match op {
            MountOp::Bind { source, target, access } => self.bind(source, target, *access),
            MountOp::Shared { .. } => self.share(op),
            MountOp::Tmpfs { target, mode, agent } => {
                let owner = if *agent { (self.spec.uid, self.spec.gid) } else { (0, 0) };
                self.own_tmpfs(target, *mode, owner, None)
            }
            MountOp::Directory { target } => self.place(target, Shape::Directory).map(drop),
            MountOp::Symlink { link, target } => self.symlink(link, target),
            MountOp::File { target, content } => self.file(target, content.as_bytes()),
            MountOp::OneShotLibrary { target } => self.file(target, one_shot::BYTES),
            MountOp::Hide { target } => self.hide(target),
            MountOp::Replace { target, content } => self.replace(target, content),
            MountOp::Spare { target } => self.spare(target),
            MountOp::Freeze { target } => self.freeze(target),
            MountOp::Proc => self.proc(),
            MountOp::Sysfs => self.sysfs(),
            MountOp::Cgroup2 => self.cgroup2(),
            MountOp::Devices => self.devices(),
        }
    }

    fn bind(&mut self, source: &Path, target: &Path, access: Access) -> Result<()> {
        let attributes = match access {
            Access::ReadOnly => mnt::PLAIN | mnt::READ_ONLY,
            Access::ReadWrite | Access::Own => mnt::PLAIN,
        };
        let mount = Mount::of(source, attributes).context("copy the mount")?;
        let shape = match fstat(mount.as_fd())?.st_mode & libc::S_IFMT {
            libc::S_IFDIR => Shape::Directory,
            // The plan has none; one that took a file's place since is another way to a process of the host.
            libc::S_IFSOCK | libc::S_IFIFO => bail!("it has become a socket or a FIFO"),
            _ => Shape::File,
        };
        if access == Access::Own {
            self.map_owners(&mount);
        }
        let place = self.place(target, shape)?;
        mount.attach(place.as_fd()).context("attach the mount")
    }

    pub(super) fn own_tmpfs(
        &mut self,
        target: &Path,
        mode: u32,
        owner: (u32, u32),
        size: Option<u64>,
    ) -> Result<()> {
        let mount = Mount::tmpfs(mode, owner, size, mnt::PLAIN).context("create a tmpfs")?;
        self.own.push(device(mount.as_fd())?);
        self.attach(&mount, target)
    }

    /// Attach `mount` on the directory `target`.
    pub(super) fn attach(&self, mount: &Mount, target: &Path) -> Result<()> {
        let place = self.place(target, Shape::Directory)?;
        mount.attach(place.as_fd()).with_context(|| format!("attach {}", target.display()))
    }

    fn share(&mut self, op: &MountOp) -> Result<()> {
        let MountOp::Shared { source, target, access, sharing, fallback } = op else {
            return Ok(());
        };
        let overlay = match sharing {
            Sharing::Direct => return self.bind(source, target, *access),
            Sharing::Through { mount_point, work } => {
                let layer = if *access == Access::Own { self.layer(mount_point) } else { None };
                let layer = layer.as_deref().unwrap_or(mount_point);
                let lower = self.lower(source, target)?;
                Self::through((source, work), mount_point, (layer, &lower))
            }
            Sharing::Onto if *access == Access::ReadOnly => {
                self.onto(source, mnt::PLAIN | mnt::READ_ONLY)
            }
            Sharing::Onto => self.onto(source, mnt::PLAIN),
        };
        let place = target.display();
        let reason = match overlay {
            Ok(mount) => {
                self.attach(&mount, target)?;
                if *sharing == Sharing::Onto && *access != Access::ReadOnly {
                    // What is created there is in memory.
                    self.own.push(device(mount.as_fd())?);
                }
                self.built.shared.push(mount);
                return Ok(());
            }
            Err(reason) => format!("{reason:#}"),
        };
        match fallback {
            Fallback::Private => {
                self.warn(format!("{place} is private to the agent: {reason}"));
                self.own_tmpfs(target, 0o1777, (0, 0), None)
            }
            Fallback::Direct => {
                self.warn(format!(
                    "Unix sockets of the host in {place} stay reachable for the agent: {reason}"
                ));
                self.bind(source, target, *access)
            }
        }
    }

    /// The host's directory itself as the upper layer: both sides write to the same files.
    /// `layer` is where the mount at `mount_point` is to be entered.
    fn through(
        (source, work): (&Path, &Path),
        mount_point: &Path,
        (layer, lower): (&Path, &OwnedFd),
    ) -> Result<Mount> {
        private_dir(work)?;
        let inside = |path: &Path| -> Result<OwnedFd> {
            open(&layer.join(path.strip_prefix(mount_point).context("path outside its mount")?))
        };
        let (upper, work) = (inside(source)?, inside(work)?);
        Mount::overlay(lower.as_fd(), upper.as_fd(), work.as_fd(), mnt::PLAIN)
            .context("overlayfs refuses the directory")
    }

    /// The host's directory as the lower layer: the agent sees it, its own writes stay in memory.
    fn onto(&self, source: &Path, attributes: u64) -> Result<Mount> {
        let number = self.built.shared.len();
        let private = self.staging.join(format!("private/{number}"));
        let [upper, work] = ["upper", "work"].map(|name| private.join(name));
        DirBuilder::new().recursive(true).create(&work)?;
        std::fs::create_dir(&upper)?;
        let mode = source.metadata()?.permissions();
        std::fs::set_permissions(&upper, mode)?;
        let (lower, upper, work) = (open(source)?, open(&upper)?, open(&work)?);
        Mount::overlay(lower.as_fd(), upper.as_fd(), work.as_fd(), attributes)
            .context("overlayfs refuses the directory")
    }

    /// The mount at `mount_point` with translated owners, attached out of the agent's reach.
    /// Overlayfs follows the translation of its upper layer since Linux 5.19.
    fn layer(&mut self, mount_point: &Path) -> Option<PathBuf> {
        self.idmap?;
        if let Some(layer) = self.layers.get(mount_point) {
            return Some(layer.clone());
        }
        let layer = self.staging.join(format!("layers/{}", self.layers.len()));
        match self.make_layer(mount_point, &layer) {
            Ok(()) => {
                self.layers.insert(mount_point.to_owned(), layer.clone());
                Some(layer)
            }
            Err(reason) => {
                self.unmapped(&format!("{reason:#}"));
                None
            }
        }
    }

    fn make_layer(&self, mount_point: &Path, layer: &Path) -> Result<()> {
        let mount = Mount::of(mount_point, mnt::PLAIN)?;
        if let Some(idmap) = self.idmap {
            mount.map_owners(idmap)?;
        }
        std::fs::create_dir(layer)?;
        mount.attach(open(layer)?.as_fd())?;
        Ok(())
    }

    fn map_owners(&mut self, mount: &Mount) {
        if let Some(idmap) = self.idmap
            && let Err(reason) = mount.map_owners(idmap)
        {
            self.unmapped(&reason.to_string());
        }
    }

    fn unmapped(&mut self, reason: &str) {
        let uid = self.spec.uid;
        self.warn(format!("files of root stay closed to the agent (uid {uid}): {reason}"));
    }

    fn warn(&mut self, text: String) {
        if !self.built.warnings.contains(&text) {
            self.built.warnings.push(text);
        }
    }

    pub(super) fn symlink(&self, link: &Path, target: &Path) -> Result<()> {
        let (parent, name) = self.parent(link)?;
        match nix::unistd::symlinkat(target, &parent, name) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn file(&self, target: &Path, content: &[u8]) -> Result<()> {
        let (parent, name) = self.parent(target)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = openat(&parent, name, flags, Mode::from_bits_truncate(0o644))?;
        io::Write::write_all(&mut File::from(file), content)?;
        Ok(())
    }

    /// Cover a file with `/dev/null` or a directory with nothing, if it is there at all.
    pub(super) fn hide(&self, target: &Path) -> Result<()> {
        let place = match self.find(target) {
            Ok(place) => place,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let cover = if is_dir(place.as_fd())? {
            Mount::tmpfs(0o555, (0, 0), None, mnt::KERNEL | mnt::READ_ONLY)?
        } else {
            Mount::of(Path::new("/dev/null"), super::sys::attr::NOSUID | mnt::READ_ONLY)?
        };
        cover.attach(place.as_fd()).context("attach the cover")
    }

    /// Look `target` up as the agent would: symlinks lead to places inside the sandbox only.
    pub(super) fn find(&self, target: &Path) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.host, target, how)
    }

    /// The place `target`, created if it is missing and lies in a file system of the sandbox.
    pub(super) fn place(&self, target: &Path, shape: Shape) -> Result<OwnedFd> {
        match self.find(target) {
            Ok(place) => return Ok(place),
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error).context("look the target up"),
        }
        let (parent, name) = self.parent(target)?;
        match shape {
            Shape::Directory => mkdirat(&parent, name, Mode::from_bits_truncate(0o755))?,
            Shape::File => {
                let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
                drop(openat(&parent, name, flags, Mode::from_bits_truncate(0o644))?);
            }
        }
        let own = openat(&parent, name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        // What is missing between the agent's home and a mount below it belongs to the agent too.
        let above = fstat(&parent)?;
        let (uid, gid) = (Uid::from_raw(above.st_uid), Gid::from_raw(above.st_gid));
        fchownat(&parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok(own)
    }

    fn parent<'p>(&self, target: &'p Path) -> Result<(OwnedFd, &'p Path)> {
        let (Some(parent), Some(Component::Normal(name))) =
            (target.parent(), target.components().next_back())
        else {
            bail!("not a place for a file: {}", target.display());
        };
        let directory = self.place(parent, Shape::Directory)?;
        if !self.own.contains(&device(directory.as_fd())?) {
            bail!(
                "{} does not exist, and awf creates nothing in directories of the host",
                target.display()
            );
        }
        Ok((directory, Path::new(name)))
    }
}

pub(super) fn open(path: &Path) -> Result<OwnedFd> {
    openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("open {}", path.display()))
}

/// Create a directory that only root may enter, with its parents.
fn private_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("create {}", path.display()))
}

fn device(fd: BorrowedFd<'_>) -> Result<u64> {
    Ok(fstat(fd)?.st_dev)
}

fn is_dir(fd: BorrowedFd<'_>) -> Result<bool> {
    let mode = fstat(fd)?.st_mode;
    Ok(mode & libc::S_IFMT == libc::S_IFDIR)
}
