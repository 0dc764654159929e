//! The command's standard streams: which kinds may be passed in, and the terminal it may get.
//!
//! Descriptors 0 to 2 are the only objects of the host that cross into the sandbox as they are.
//! Must never let one through that is a way out by itself.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::sys::socket::sockopt::SockType as TypeOption;
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike as _, SockaddrStorage, getpeername, getsockname,
    getsockopt,
};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{Uid, fchown};

use super::spec::Window;
use super::sys;

/// The file system of anonymous pipes (`PIPEFS_MAGIC` of linux/magic.h).
const PIPEFS: FsType = FsType(0x5049_5045);

/// Refuse streams that would undo the confinement.
///
/// A network socket made outside the agent's cgroup is bound to the outer network for ever: cgroup
/// programs follow the socket's birthplace. A directory leads around the new root by `openat`.
pub fn inspect() -> Result<()> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    for (name, fd) in
        [("stdin", stdin.as_fd()), ("stdout", stdout.as_fd()), ("stderr", stderr.as_fd())]
    {
        check(fd).with_context(|| format!("refusing {name}"))?;
    }
    Ok(())
}

fn check(fd: BorrowedFd<'_>) -> Result<()> {
    let kind = match fstat(fd) {
        Ok(stat) => stat.st_mode & libc::S_IFMT,
        // A closed stream is no way out.
        Err(nix::errno::Errno::EBADF) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match kind {
        libc::S_IFDIR => bail!("it is a directory of the host; redirect it from a file or a pipe"),
        libc::S_IFSOCK => {
            let address: SockaddrStorage = getsockname(fd.as_raw_fd())?;
            if address.family() != Some(AddressFamily::Unix) {
                bail!("it is a network socket from outside the sandbox; put a pipe between");
            }
            // Its names are the host's: a datagram may go to any of them, as an unconnected stream may.
            if getsockopt(&fd, TypeOption)? == SockType::Datagram
                || getpeername::<SockaddrStorage>(fd.as_raw_fd()).is_err()
            {
                bail!("it is a socket that can choose whom it speaks to; put a pipe between");
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Let the agent reopen its pipes through `/dev/stdout` and the like. Only anonymous pipes: a
/// named file keeps its owner.
pub(super) fn give_pipes_to(uid: u32) -> Result<()> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    for fd in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        let anonymous = fstatfs(fd).is_ok_and(|fs| fs.filesystem_type() == PIPEFS);
        if anonymous {
            fchown(fd, Some(Uid::from_raw(uid)), None)?;
        }
    }
    Ok(())
}

/// A new terminal of the sandbox's devpts: master and slave. Call inside the new root.
pub(super) fn terminal(window: Window, uid: u32) -> Result<(OwnedFd, OwnedFd)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = open("/dev/ptmx", flags, Mode::empty()).context("open /dev/ptmx")?;
    let slave = sys::open_terminal(master.as_fd()).context("open the other end")?;
    sys::set_window(slave.as_fd(), window).context("set its size")?;
    fchown(&slave, Some(Uid::from_raw(uid)), None).context("give it to the agent")?;
    Ok((master, slave))
}
