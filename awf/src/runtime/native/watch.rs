//! The loader's answers to the system call filter: always no, and on record.
//!
//! Takes the descriptor on which the filter asks about sockets that no program of ours would see
//! (raw, packet, vsock and the like); refuses each and tells who tried. The caller is stopped in the
//! call meanwhile, so procfs tells the truth about it. When the loader dies, the kernel answers
//! ENOSYS in its place. Must never let a call continue.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::sys;

/// A socket that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// The process, in the loader's pid namespace.
    pub pid: u32,
    /// First argument of socket(2).
    pub family: i32,
    /// Second argument, without flags.
    pub kind: i32,
    /// Third argument.
    pub protocol: i32,
}

/// Answer until the last process under the filter is gone. `told` hears of each refusal before the
/// caller does.
pub fn start(listener: OwnedFd, told: impl Fn(Blocked) + Send + 'static) -> io::Result<()> {
    let serving = move || while answer_one(&listener, &told) {};
    thread::Builder::new().name("awf-watch".into()).spawn(serving).map(drop)
}

/// False when nobody can ask any more.
fn answer_one(listener: &OwnedFd, told: &impl Fn(Blocked)) -> bool {
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(_) => return false,
    }
    let events = fds.map(|fd| fd.revents().unwrap_or(PollFlags::POLLHUP));
    if !events.contains(&PollFlags::POLLIN) {
        return !events.iter().any(|event| event.contains(PollFlags::POLLHUP));
    }
    // An error: the caller was killed between asking and our looking.
    if let Ok(question) = sys::question(listener.as_fd()) {
        let argument = |index: usize| {
            let value = question.data.args.get(index).copied().unwrap_or_default();
            i32::try_from(value & 0xffff_ffff).unwrap_or(-1)
        };
        let (family, kind) = (argument(0), argument(1) & 0xf);
        told(Blocked { pid: question.pid, family, kind, protocol: argument(2) });
        let internet = matches!(family, libc::AF_INET | libc::AF_INET6);
        let errno = if internet { libc::EPERM } else { libc::EAFNOSUPPORT };
        let _gone = sys::refuse(listener.as_fd(), question.id, errno).is_err();
    }
    true
}
