//! The loader's answers to the system call filter: always no, and on record.
//!
//! Takes the descriptor on which the filter asks about calls that would lead out past the programs on
//! the cgroup ([`Verdict::Record`]); refuses each and tells who tried. The caller is stopped in the
//! call meanwhile, so procfs tells the truth about it. When the loader dies, the kernel answers
//! ENOSYS in its place. Must never let a call continue.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::sys;
use crate::plan::seccomp::{Call, Rule, Verdict, rule_for};

/// A call that was refused.
#[derive(Debug, Clone, Copy)]
pub struct Blocked {
    /// The process, in the loader's pid namespace.
    pub pid: u32,
    /// The rule that refused it.
    pub rule: &'static Rule,
    /// Which call.
    pub call: &'static Call,
    /// Its arguments, as far as they are numbers.
    pub arguments: [u64; 6],
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
        let (pid, arguments) = (question.pid, question.data.args);
        let found = rule_for(question.data.nr.into(), &arguments);
        if let Some((rule, call)) = found {
            told(Blocked { pid, rule, call, arguments });
        }
        let errno = match found.map(|(rule, _call)| rule.verdict) {
            Some(Verdict::Record(errno)) => errno,
            _ => Errno::EPERM,
        };
        let _gone = sys::refuse(listener.as_fd(), question.id, errno as i32).is_err();
    }
    true
}
