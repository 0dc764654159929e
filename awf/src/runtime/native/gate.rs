//! Where the loader and an `awf init` in a container meet: a Unix socket in a directory that only root may enter.
//!
//! Init listens and the loader connects, not the reverse: where LSM programs govern the container, nothing in it may connect
//! to a socket of the host. Takes the path on either side, gives the control socket. Must never wait for ever: a container
//! that somebody starts again has no loader.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen,
    socket, sockopt,
};

use super::Process;

/// How long init waits for the loader, which is there before the container is.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks whether the loader is still alive.
const LOOK_MS: u16 = 100;

/// In the container: take the first connection. The loader keeps `alive` locked; its death is invisible in here otherwise.
pub(super) fn wait_for_loader(path: &Path, alive: &Path) -> io::Result<OwnedFd> {
    let mut alive = File::open(alive)?;
    let listener = seqpacket()?;
    bind(listener.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&listener, Backlog::new(1)?)?;
    let mut waited = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let deadline = Instant::now() + PATIENCE;
    while poll(&mut waited, PollTimeout::from(LOOK_MS))? == 0 {
        alive = match Flock::lock(alive, FlockArg::LockSharedNonblock) {
            Err((alive, _locked)) if Instant::now() < deadline => alive,
            Ok(_) | Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
    }
    // Whatever the type of its connections, accepting one is the same call.
    let (control, _loader) = UnixListener::from(listener).accept()?;
    Ok(control.into())
}

/// An `awf init` that was met.
#[derive(Debug)]
pub struct Met {
    /// The control socket.
    pub control: OwnedFd,
    /// The process that listens.
    pub process: Process,
}

/// In the loader: connect. An error as long as nobody listens.
pub fn meet(path: &Path) -> io::Result<Met> {
    let control = seqpacket()?;
    connect(control.as_raw_fd(), &UnixAddr::new(path)?)?;
    // Of a listener the kernel tells who listened (unix(7), SO_PEERCRED).
    let listener = getsockopt(&control, sockopt::PeerCredentials)?.pid();
    Ok(Met { control, process: Process::find(listener.cast_unsigned())? })
}

fn seqpacket() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
}
