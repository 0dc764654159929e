//! Squid: started, watched, restarted, killed, whatever carries it.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::config::{PROBE_NAME, TLV_KEY};
use super::{Carrier, Demand, Life, Ports, State};
use crate::relay::proxy_header;

/// How long Squid may take to get ready: 30 ms alone, over a second with 100,000 domains, more on a loaded machine.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two probes.
const PROBE_PAUSE: Duration = Duration::from_millis(2);
/// How long one probe may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// How often a running Squid is asked whether it still answers, and how many questions in a row it may leave open: one may
/// have met an awf that was stopped itself. A hung Squid is replaced after 20 s at most.
const CHECK_PAUSE: Duration = Duration::from_secs(5);
const MISSES: u32 = 2;
/// Restarts within a run. More deaths than that are not an accident.
const RESTARTS: u32 = 5;

/// What to watch.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Where Squid listens.
    pub ports: Ports,
    /// The per-run secret.
    pub key: Arc<str>,
    /// File for Squid's own messages.
    pub messages: PathBuf,
}

/// A supervised Squid.
#[derive(Debug)]
pub struct Squid {
    state: watch::Receiver<State>,
    demand: Demand,
    stop: CancellationToken,
    supervisor: JoinHandle<()>,
}

impl Squid {
    /// Starts Squid without waiting for it: early connections wait for [`State::Ready`].
    pub fn start(spec: Spec, carrier: impl Carrier) -> Self {
        let (sender, state) = watch::channel(State::Starting);
        let (demand, stop) = (Demand::default(), CancellationToken::new());
        let signs = (demand.clone(), stop.clone());
        let supervisor = tokio::spawn(supervise(spec, carrier, sender, signs));
        Self { state, demand, stop, supervisor }
    }

    /// To be raised by whoever needs it.
    pub fn demand(&self) -> Demand {
        self.demand.clone()
    }

    /// Its state, to watch.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Kills it. Its log is complete for every connection that was closed before; SIGTERM would take two seconds more and
    /// add nothing (measured).
    pub async fn stop(self) {
        self.stop.cancel();
        if self.supervisor.await.is_err() {
            tracing::error!("the task that watches Squid died");
        }
    }
}

/// Brings Squid up, and up again when it dies, until it is told to stop.
async fn supervise<C: Carrier>(
    spec: Spec,
    carrier: C,
    state: watch::Sender<State>,
    (demand, stop): (Demand, CancellationToken),
) {
    let Some(prepared) = stop.run_until_cancelled(carrier.prepare()).await else { return };
    if C::ON_DEMAND && stop.run_until_cancelled(demand.raised()).await.is_none() {
        return;
    }
    let ended = match prepared {
        Ok(()) => live(&spec, &carrier, &state, &stop).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::error!("Squid could not be started: {error:#}");
    }
    state.send_replace(State::Failed);
}

/// Squid's lives, as many as are granted.
async fn live<C: Carrier>(
    spec: &Spec,
    carrier: &C,
    state: &watch::Sender<State>,
    stop: &CancellationToken,
) -> Result<()> {
    for restart in 0..=RESTARTS {
        let Some(started) = stop.run_until_cancelled(carrier.start()).await else { return Ok(()) };
        let mut squid = started?;
        let life = run_once(spec, &mut squid, state);
        let ended = stop.run_until_cancelled(life).await;
        squid.kill().await;
        let Some(ended) = ended else { return Ok(()) };
        tracing::warn!("Squid {}; see {}", reason(&ended), spec.messages.display());
        state.send_replace(State::Starting);
        if ended.is_err() || restart == RESTARTS {
            break;
        }
        sleep(Duration::from_millis(50 << restart)).await;
    }
    Ok(())
}

fn reason(ended: &Result<End>) -> String {
    match ended {
        Ok(End::Died) => "died and is started again".to_owned(),
        Ok(End::Hung) => "does not answer any more and is started again".to_owned(),
        Err(error) => format!("could not be started: {error:#}"),
    }
}

/// How a life ended that had begun.
enum End {
    Died,
    Hung,
}

/// One life; an error if it was never ready.
async fn run_once(spec: &Spec, squid: &mut impl Life, state: &watch::Sender<State>) -> Result<End> {
    let pid = squid.pid().context("Squid has ended")?;
    tokio::select! {
        ready = wait_until_ready(spec) => ready?,
        how = squid.ended() => bail!("it ended with {}", how.context("wait for Squid")?),
    }
    state.send_replace(State::Ready { pid });
    tokio::select! {
        how = squid.ended() => {
            tracing::debug!("Squid ended with {}", how.context("wait for Squid")?);
            Ok(End::Died)
        }
        () = wait_until_silent(spec) => Ok(End::Hung),
    }
}

/// Ends when Squid takes connections, as the kernel does for it, and answers none.
async fn wait_until_silent(spec: &Spec) {
    let mut misses = 0;
    while misses < MISSES {
        sleep(CHECK_PAUSE).await;
        let silent = timeout(PROBE_PATIENCE, probe(spec)).await.is_err();
        misses = if silent { misses + 1 } else { 0 };
    }
}

async fn wait_until_ready(spec: &Spec) -> Result<()> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        if let Ok(Ok(true)) = timeout(PROBE_PATIENCE, probe(spec)).await {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("it did not answer within {} s", START_PATIENCE.as_secs());
        }
        sleep(PROBE_PAUSE).await;
    }
}

/// Whether a denied CONNECT is answered with 403.
async fn probe(spec: &Spec) -> io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, spec.ports.tunnel)).await?;
    let nobody = std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
    let mut message = proxy_header::encode(nobody, nobody, &[(TLV_KEY, spec.key.as_bytes())])
        .map_err(io::Error::other)?;
    message.extend_from_slice(
        format!("CONNECT {PROBE_NAME}:443 HTTP/1.1\r\nHost: {PROBE_NAME}:443\r\n\r\n").as_bytes(),
    );
    stream.write_all(&message).await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    Ok(answer.ends_with(b" 403"))
}
