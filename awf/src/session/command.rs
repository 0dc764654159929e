//! The command's life: gate, signals, time limit, end.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::time::{Instant, interval, sleep_until};

use super::terminal::Terminal;
use crate::enforce::{Cgroup, Links};
use crate::exit::Exit;
use crate::runtime::Running;
use crate::runtime::native::Exit as RanTo;

/// How long a command may take to end after it was told to (the original's).
const GRACE: Duration = Duration::from_secs(3);
/// The same when its time is over (the original's).
const TIMEOUT_GRACE: Duration = Duration::from_secs(10);
/// How often the links are checked while the command runs. Detaching one takes root outside the sandbox; what is bounded
/// here is how long such a run goes on.
const CHECK: Duration = Duration::from_secs(1);

/// The attached programs and whom they govern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Enforcement<'a> {
    pub(super) links: &'a Links,
    pub(super) agent: &'a Cgroup,
    pub(super) proxy: &'a Cgroup,
}

impl Enforcement<'_> {
    /// Whether every link still governs the cgroup it must govern.
    pub(super) fn holds(self) -> Result<()> {
        Ok(self.links.verify(self.agent, self.proxy)?)
    }
}

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

    /// How awf ends if it was told to end already.
    pub(super) async fn pending(&mut self) -> Option<Exit> {
        tokio::select! {
            biased;
            received = self.next() => match received {
                Signal::SIGINT => Some(Exit::Interrupted),
                Signal::SIGTERM => Some(Exit::Terminated),
                _ => None,
            },
            () = std::future::ready(()) => None,
        }
    }

    /// Waits until awf is told to end.
    pub(super) async fn terminated(&mut self) {
        while !matches!(self.next().await, Signal::SIGINT | Signal::SIGTERM) {}
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
    enforcement: Enforcement<'_>,
) -> Result<Exit> {
    // Without a limit: a year, which no timer of the runtime minds.
    let deadline = Instant::now() + timeout.unwrap_or(Duration::from_hours(365 * 24));
    let mut check = interval(CHECK);
    loop {
        tokio::select! {
            ended = running.ended() => {
                // Gone without a word: the sandbox was killed from outside, as by the kernel for memory.
                return Ok(Exit::Agent(ended?.map_or(137, RanTo::status)));
            }
            received = signals.next() => match received {
                Signal::SIGINT | Signal::SIGTERM => {
                    tracing::info!("Received {received}, cleaning up...");
                    end(running, received, GRACE).await?;
                    return Ok(if received == Signal::SIGINT { Exit::Interrupted } else { Exit::Terminated });
                }
                other => running.signal(other as i32).await?,
            },
            () = sleep_until(deadline) => {
                tracing::error!("The command did not end within --agent-timeout and is stopped");
                end(running, Signal::SIGTERM, TIMEOUT_GRACE).await?;
                return Ok(Exit::Timeout);
            }
            () = Terminal::resized(terminal) => {}
            _ = check.tick() => if let Err(error) = enforcement.holds() {
                tracing::error!("enforcement was lost, the command is killed: {error:#}");
                running.kill()?;
                return Ok(Exit::EnforcementLost);
            },
        }
    }
}

/// Tells the command to end and kills it if it does not.
async fn end(running: &mut Running, how: Signal, grace: Duration) -> Result<()> {
    running.signal(how as i32).await?;
    if tokio::time::timeout(grace, running.ended()).await.is_err() {
        running.kill()?;
    }
    Ok(())
}
