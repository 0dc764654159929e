//! The caller's standard streams, as what may be handed into a container.
//!
//! They go as they are, by descriptor, and not through the daemon: the command's pipes, files and terminal are the caller's
//! own. Except sockets, which the LSM programs keep out of the sandbox whoever sends them: these end in a pipe here, and a
//! thread moves the bytes. Must never lose what the command wrote before it ended.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use nix::unistd::pipe2;

/// How long the last output of a command may take to reach a caller that reads slowly.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// The three streams on their way.
#[derive(Debug)]
pub(super) struct Streams {
    ends: [OwnedFd; 3],
    bridges: Bridges,
}

/// Threads that move bytes between the caller's sockets and the command's pipes.
#[derive(Debug, Default)]
pub struct Bridges {
    out: Vec<JoinHandle<()>>,
}

impl Streams {
    pub(super) fn of_caller() -> io::Result<Self> {
        let mut bridges = Bridges::default();
        let stdin = if is_socket(&io::stdin())? {
            let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
            // Ends with the process: nothing can interrupt its read.
            drop(bridge("awf-stdin", own(&io::stdin())?, write)?);
            read
        } else {
            own(&io::stdin())?
        };
        let mut outward = |name, stream: &dyn AsFd| -> io::Result<OwnedFd> {
            if !is_socket(&stream.as_fd())? {
                return own(&stream.as_fd());
            }
            let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
            bridges.out.push(bridge(name, read, own(&stream.as_fd())?)?);
            Ok(write)
        };
        let stdout = outward("awf-stdout", &io::stdout())?;
        let stderr = outward("awf-stderr", &io::stderr())?;
        Ok(Self { ends: [stdin, stdout, stderr], bridges })
    }

    /// What becomes the command's streams.
    pub(super) fn ends(&self) -> &[OwnedFd; 3] {
        &self.ends
    }

    /// Closes this side's copies: a pipe ends when the command's ends are closed.
    pub(super) fn handed_over(self) -> Bridges {
        self.bridges
    }
}

impl Bridges {
    /// Waits until everything that the command wrote has been passed on; not for ever.
    pub fn finish(self) {
        let deadline = Instant::now() + LAST_OUTPUT;
        while self.out.iter().any(|thread| !thread.is_finished()) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn own(stream: &impl AsFd) -> io::Result<OwnedFd> {
    stream.as_fd().try_clone_to_owned()
}

fn is_socket(stream: &impl AsFd) -> io::Result<bool> {
    Ok(fstat(stream.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFSOCK)
}

fn bridge(name: &str, from: OwnedFd, to: OwnedFd) -> io::Result<JoinHandle<()>> {
    let (mut from, mut to) = (File::from(from), File::from(to));
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Whoever breaks the stream has ended it.
        let _broken = io::copy(&mut from, &mut to).is_err();
    })
}
