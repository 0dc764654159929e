//! The command's life: gate, signals, time limit, end.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::guard::Guard;
use super::terminal::Terminal;
use crate::exit::Exit;
use crate::observe::journal::Journal;
use crate::runtime::Running;
use crate::runtime::native::Exit as RanTo;

/// How long a command may take to end after it was told to (the original's).
const GRACE: Duration = Duration::from_secs(3);
/// The same when its time is over (the original's).
const TIMEOUT_GRACE: Duration = Duration::from_secs(10);

/// Signals that awf passes on.
pub(super) struct Signals {
    interrupt: Stream,
    terminate: Stream,
    others: Vec<(Stream, Signal)>,
}

impl Signals {
    /// Takes them over from their default actions. Before the command starts: a signal in between must not kill awf alone.
    pub(super) fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).context("catch signals");
        let others = [
            (SignalKind::hangup(), Signal::SIGHUP),
            (SignalKind::quit(), Signal::SIGQUIT),
            (SignalKind::user_defined1(), Signal::SIGUSR1),
            (SignalKind::user_defined2(), Signal::SIGUSR2),
        ];
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            others: others
                .into_iter()
                .map(|(kind, number)| Ok((catch(kind)?, number)))
                .collect::<Result<_>>()?,
        })
    }

    /// Waits until awf is told to end, and says how it then ends. Other signals stay for the command.
    pub(super) async fn ending(&mut self) -> Exit {
        let (signal, exit) = tokio::select! {
            _ = self.interrupt.recv() => (Signal::SIGINT, Exit::Interrupted),
            _ = self.terminate.recv() => (Signal::SIGTERM, Exit::Terminated),
        };
        tracing::info!("Received {signal}, cleaning up...");
        exit
    }

    /// How awf ends if it was told to end already.
    pub(super) async fn pending(&mut self) -> Option<Exit> {
        tokio::select! {
            biased;
            exit = self.ending() => Some(exit),
            () = std::future::ready(()) => None,
        }
    }

    /// The next signal.
    async fn next(&mut self) -> Signal {
        let Self { interrupt, terminate, others } = self;
        let others = std::future::poll_fn(|context| {
            for (stream, number) in others.iter_mut() {
                if stream.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        });
        tokio::select! {
            _ = interrupt.recv() => Signal::SIGINT,
            _ = terminate.recv() => Signal::SIGTERM,
            number = others => number,
        }
    }
}

/// Waits for the command's end and says what awf's exit code is.
pub(super) async fn supervise(
    running: &mut Running,
    signals: &mut Signals,
    terminal: Option<&Terminal>,
    timeout: Option<Duration>,
    (mut guard, journal): (Guard<'_>, &Journal),
) -> Result<Exit> {
    // Without a limit: a year, which no timer of the runtime minds.
    let deadline = Instant::now() + timeout.unwrap_or(Duration::from_hours(365 * 24));
    loop {
        tokio::select! {
            ended = running.ended() => {
                // Gone without a word: the sandbox was killed from outside, as by the kernel for memory.
                let exit = Exit::Agent(ended?.map_or(137, RanTo::status));
                // Since the last look there was time enough for a detached program to matter.
                return Ok(guard.holds().map_or_else(|error| lost(&error.into(), journal), |()| exit));
            }
            received = signals.next() => match received {
                Signal::SIGINT | Signal::SIGTERM => {
                    let say = || tracing::info!("Received {received}, cleaning up...");
                    end(running, received, GRACE, say).await?;
                    return Ok(if received == Signal::SIGINT { Exit::Interrupted } else { Exit::Terminated });
                }
                other => running.signal(other as i32).await?,
            },
            () = sleep_until(deadline) => {
                let say = || {
                    tracing::error!("The command did not end within --agent-timeout and is stopped");
                };
                end(running, Signal::SIGTERM, TIMEOUT_GRACE, say).await?;
                return Ok(Exit::Timeout);
            }
            () = Terminal::resized(terminal) => {}
            error = guard.lost() => {
                running.kill()?;
                return Ok(lost(&error, journal));
            }
        }
    }
}

/// Says and records that enforcement was lost.
fn lost(error: &anyhow::Error, journal: &Journal) -> Exit {
    tracing::error!("enforcement was lost, the command is killed: {error:#}");
    journal.enforcement_lost(error);
    Exit::EnforcementLost
}

/// Tells the command to end and kills it if it does not. Speaks after acting: who reads it may be slow.
async fn end(
    running: &mut Running,
    how: Signal,
    grace: Duration,
    say: impl FnOnce(),
) -> Result<()> {
    running.signal(how as i32).await?;
    say();
    if tokio::time::timeout(grace, running.ended()).await.is_err() {
        running.kill()?;
    }
    Ok(())
}
