//! `awf hold`: the first process of Squid's container. Runs a program for as long as the loader lives, and no longer.
//!
//! Takes a file that the loader has locked for its whole life, a file for the program's messages, and the program. The death
//! of a process outside of the container is invisible inside; a lock that the kernel gives up with its owner is not.
//! Must never outlive either of the two: the end of a container's first process ends all others.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg};

/// What ended.
enum End {
    Loader,
    Program(u8),
}

/// Runs the program. Gives its exit code, or 1 if the loader was the first to go.
pub fn main(alive: &Path, messages: &Path, program: &[String]) -> Result<ExitCode> {
    let lock = File::open(alive).with_context(|| format!("open {}", alive.display()))?;
    let (program, arguments) = program.split_first().context("no program to run")?;
    let messages = File::options().append(true).open(messages).context("open the message file")?;
    let (sender, ended) = mpsc::channel();
    let of_loader = sender.clone();
    // A lock that cannot be waited for says nothing of the loader: taken for its end.
    spawn(
        "awf-alive",
        move || {
            drop(Flock::lock(lock, FlockArg::LockShared));
            End::Loader
        },
        of_loader,
    )?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(messages.try_clone().context("share the message file")?)
        .stderr(messages)
        .spawn()
        .with_context(|| format!("execute {program}"))?;
    spawn(
        "awf-program",
        move || {
            let code = child.wait().ok().and_then(|status| status.code());
            End::Program(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
        },
        sender,
    )?;
    Ok(match ended.recv() {
        Ok(End::Program(code)) => ExitCode::from(code),
        Ok(End::Loader) | Err(_) => ExitCode::FAILURE,
    })
}

fn spawn(
    name: &str,
    wait: impl FnOnce() -> End + Send + 'static,
    sender: mpsc::Sender<End>,
) -> Result<()> {
    let waiting = move || {
        // Nobody listens once the other has ended.
        let _late = sender.send(wait()).is_err();
    };
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(waiting);
    spawned.map(drop).with_context(|| format!("start the thread {name}"))
}
