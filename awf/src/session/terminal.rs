//! The command's terminal: bytes and size, passed between the user's terminal and the sandbox's.
//!
//! Owns the raw mode of the user's terminal while it lives. Must never leave the terminal raw.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::command::Signals;
use crate::runtime::native::{resize, window_of};
use crate::speech;

/// How long the last output of a command that was stopped is waited for.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// A terminal in use.
#[derive(Debug)]
pub(super) struct Terminal {
    master: OwnedFd,
    output_ended: oneshot::Receiver<()>,
    saved: Option<Termios>,
}

impl Terminal {
    /// Starts to pass bytes. Threads, not tasks: a terminal may block for hours.
    pub(super) fn join(master: OwnedFd) -> Result<Self> {
        let copy = || master.try_clone().map(File::from).context("share the terminal");
        let (from, mut to) = (copy()?, copy()?);
        let (ending, output_ended) = oneshot::channel();
        thread::Builder::new()
            .name("awf-tty-out".into())
            .spawn(move || {
                pass(from, io::stdout());
                // Nobody waits any more where awf was told to end.
                let _unheard = ending.send(()).is_err();
            })
            .context("start the terminal's output")?;
        let saved = raw_mode().context("set the terminal to raw mode")?;
        // Ends with the process: nothing can interrupt its read.
        thread::Builder::new()
            .name("awf-tty-in".into())
            .spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = io::stdin().read(&mut buffer) {
                    if to.write_all(buffer.get(..count).unwrap_or_default()).is_err() {
                        return;
                    }
                }
                // End of input is a key on a terminal: VEOF, control-D by default (termios(3)).
                let _unheard = to.write_all(&[4]).is_err();
            })
            .context("start the terminal's input")?;
        let terminal = Self { master, output_ended, saved };
        terminal.fit();
        Ok(terminal)
    }

    /// Waits until the user's terminal has a new size, and passes it on. Never ends without a terminal.
    pub(super) async fn resized(terminal: Option<&Self>) {
        let (Some(terminal), Ok(mut change)) = (terminal, signal(SignalKind::window_change()))
        else {
            return std::future::pending().await;
        };
        change.recv().await;
        terminal.fit();
    }

    /// Waits for the last output and restores the user's terminal. A reader that does not read must not hold awf when it was
    /// told to end, before (`ending`) or now.
    pub(super) async fn leave(mut self, ending: bool, signals: &mut Signals) {
        let limit = async {
            if ending {
                sleep(LAST_OUTPUT).await;
            } else {
                let _how = signals.ending().await;
            }
        };
        tokio::select! {
            _ = &mut self.output_ended => {}
            () = limit => tracing::warn!("the terminal's last output was not read"),
        }
    }

    fn fit(&self) {
        if let Some(size) = window_of(io::stdout().as_fd())
            && let Err(error) = resize(self.master.as_fd(), size)
        {
            tracing::debug!("set the size of the command's terminal: {error}");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _gone = tcsetattr(io::stdin(), SetArg::TCSADRAIN, saved).is_err();
            speech::raw(false);
        }
    }
}

/// Copies until the sandbox's side is closed: the kernel says EIO then (`drivers/tty/pty.c`).
fn pass(mut from: File, mut to: impl io::Write) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let written = to.write_all(buffer.get(..count).unwrap_or_default());
        if written.and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

/// Hands every key to the sandbox's terminal, which interprets it; `None` if standard input is not a terminal.
fn raw_mode() -> nix::Result<Option<Termios>> {
    let input = io::stdin();
    if !input.is_terminal() {
        return Ok(None);
    }
    let saved = tcgetattr(&input)?;
    let mut raw = saved.clone();
    cfmakeraw(&mut raw);
    tcsetattr(&input, SetArg::TCSADRAIN, &raw)?;
    speech::raw(true);
    Ok(Some(saved))
}
