//! Moves bytes between the agent and Squid once a connection is allowed.
//!
//! Takes both sockets for good and counts what it delivered each way. It never looks at the bytes
//! and never keeps a connection half alive: an end of stream is passed on as such, a failed read on
//! one side ends both at once, a failed write as soon as that side's last words are delivered.
//! Dropping the future closes both sockets (that is how a tunnel is cut).
//!
//! The first MiB is copied, because that is quicker for the small exchanges most connections are;
//! what follows is spliced through a pipe and never enters this process (splice(2)).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// Bytes of the copy buffer, which exists only while a chunk is in flight.
const CHUNK: usize = 16 * 1024;

/// Bytes kept of an answer: Squid's own refusals have heads of some 400.
const MAX_ANSWER: usize = 2048;

/// Bytes per direction after which copying gives way to splicing.
const COPY_FIRST: usize = 1 << 20;

/// Bytes the splice pipe is asked to hold, and the fewest that make splicing worth it. A user may
/// have 64 MiB in pipes by default (pipe(7), `pipe-user-pages-soft`); beyond that the kernel keeps
/// pipes at 64 KiB, and later at 8 KiB.
const PIPE: i32 = 512 * 1024;
const SMALLEST_PIPE: i32 = 64 * 1024;

/// Bytes delivered so far, readable while the pump runs.
#[derive(Debug, Default)]
pub struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
    answer: Mutex<Vec<u8>>,
}

/// Bytes delivered, seen from the agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// From the agent to Squid.
    pub sent: u64,
    /// From Squid to the agent.
    pub received: u64,
}

impl Counters {
    /// The counts of this moment. After [`pump`] has failed or was dropped they are the final ones.
    pub fn totals(&self) -> Totals {
        Totals {
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
        }
    }

    /// Counts bytes that reached Squid before the pump ran, such as the `ClientHello`.
    pub fn add_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The first bytes that were received, if they begin an HTTP/1 answer; at most one copied chunk.
    pub fn answer(&self) -> Vec<u8> {
        self.answer.lock().map(|answer| answer.clone()).unwrap_or_default()
    }

    /// Counts bytes that reached the agent before the pump ran.
    pub fn add_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Moves bytes both ways until both sides have ended or one has failed.
pub async fn pump(
    mut client: TcpStream,
    mut upstream: TcpStream,
    counters: &Counters,
) -> io::Result<Totals> {
    let (client_reads, client_writes) = client.split();
    let (upstream_reads, upstream_writes) = upstream.split();
    let (sent, received) = tokio::try_join!(
        carry(client_reads, upstream_writes, Tally { count: &counters.sent, answer: None }),
        carry(
            upstream_reads,
            client_writes,
            Tally { count: &counters.received, answer: Some(&counters.answer) },
        ),
    )?;
    sent.and(received)?;
    Ok(counters.totals())
}

/// Where the bytes of a direction are noted.
#[derive(Clone, Copy)]
struct Tally<'a> {
    count: &'a AtomicU64,
    answer: Option<&'a Mutex<Vec<u8>>>,
}

impl Tally<'_> {
    fn add(self, bytes: usize) {
        self.count.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Keeps the beginning of an answer. Only the first chunk can be one; TLS never is.
    fn note(self, chunk: &[u8]) {
        if let Some(answer) = self.answer
            && self.count.load(Ordering::Relaxed) == 0
            && chunk.starts_with(b"HTTP/1.")
            && let Ok(mut answer) = answer.lock()
        {
            answer.extend_from_slice(chunk.get(..MAX_ANSWER).unwrap_or(chunk));
        }
    }
}

/// Why a direction could not be carried to its end.
enum Broken {
    Reading(io::Error),
    Writing(io::Error),
}

/// Moves one direction to its end, and passes that end on.
///
/// The outer error is the reader's and ends the other direction too. The inner one is the writer's:
/// that peer is gone, but an answer it sent before (a server that refuses an upload and closes) is
/// still waiting in the other direction, which ends by itself behind it.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    tally: Tally<'_>,
) -> io::Result<io::Result<()>> {
    match carry_all(&mut from, &mut to, tally).await {
        Ok(()) => Ok(to.shutdown().await),
        Err(Broken::Writing(error)) => Ok(Err(error)),
        Err(Broken::Reading(error)) => Err(error),
    }
}

async fn carry_all(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    tally: Tally<'_>,
) -> Result<(), Broken> {
    let mut copied: usize = 0;
    while copied < COPY_FIRST {
        match copy_chunk(from, to, tally).await? {
            0 => return Ok(()),
            bytes => copied = copied.saturating_add(bytes),
        }
    }
    match Pipe::new() {
        Some(pipe) => pipe.carry_all(from.as_ref(), to.as_ref(), tally).await,
        // Slower, but no reason to break a connection.
        None => loop {
            if copy_chunk(from, to, tally).await? == 0 {
                return Ok(());
            }
        },
    }
}

/// Moves what is there, at most one chunk; 0 at the end of the stream.
///
/// The buffer is made after the wait: a thousand idle tunnels must not hold a thousand buffers.
async fn copy_chunk(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    tally: Tally<'_>,
) -> Result<usize, Broken> {
    from.readable().await.map_err(Broken::Reading)?;
    let mut chunk = Vec::with_capacity(CHUNK);
    from.read_buf(&mut chunk).await.map_err(Broken::Reading)?;
    tally.note(&chunk);
    to.write_all(&chunk).await.map_err(Broken::Writing)?;
    tally.add(chunk.len());
    Ok(chunk.len())
}

/// The pipe that bulk data of one direction goes through.
struct Pipe {
    exit: OwnedFd,
    entry: OwnedFd,
    capacity: usize,
}

impl Pipe {
    /// `None`: no descriptors are left, or no pipe that is large enough.
    fn new() -> Option<Self> {
        let (exit, entry) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok()?;
        let capacity = fcntl(&entry, FcntlArg::F_SETPIPE_SZ(PIPE))
            .or_else(|_| fcntl(&entry, FcntlArg::F_GETPIPE_SZ))
            .ok()
            .filter(|capacity| *capacity >= SMALLEST_PIPE)?;
        Some(Self { exit, entry, capacity: usize::try_from(capacity).ok()? })
    }

    /// The pipe is emptied before it is filled again, so `EAGAIN` can only mean that the socket has
    /// nothing (when filling) or takes nothing (when emptying), and waiting for that socket is
    /// right.
    async fn carry_all(
        &self,
        from: &TcpStream,
        to: &TcpStream,
        tally: Tally<'_>,
    ) -> Result<(), Broken> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        loop {
            let fill = || Ok(splice(from, None, &self.entry, None, self.capacity, flags)?);
            let filled = from.async_io(Interest::READABLE, fill).await;
            let mut held = filled.map_err(Broken::Reading)?;
            if held == 0 {
                return Ok(());
            }
            while held > 0 {
                let empty = || Ok(splice(&self.exit, None, to, None, held, flags)?);
                let emptied = to.async_io(Interest::WRITABLE, empty).await;
                let moved = emptied.map_err(Broken::Writing)?;
                held = held.saturating_sub(moved);
                tally.add(moved);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::net::TcpListener;

    /// Both ends of a connection over loopback.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    /// Bytes that betray loss, repetition and reordering.
    fn pattern(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    }

    async fn send(to: &mut WriteHalf<'_>, bytes: &[u8]) {
        to.write_all(bytes).await.unwrap();
        to.shutdown().await.unwrap();
    }

    async fn receive(from: &mut ReadHalf<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    /// Sends these bytes both ways at once and checks that both arrive, with their counts.
    async fn check_exchange(up: usize, down: usize) {
        let ((mut agent, client), (mut squid, upstream)) = (pair().await, pair().await);
        let (up, down) = (pattern(up, 88_172), pattern(down, 463_325));
        let (mut agent_reads, mut agent_writes) = agent.split();
        let (mut squid_reads, mut squid_writes) = squid.split();
        let counters = Counters::default();
        let (totals, (), (), at_squid, at_agent) = tokio::join!(
            pump(client, upstream, &counters),
            send(&mut agent_writes, &up),
            send(&mut squid_writes, &down),
            receive(&mut squid_reads),
            receive(&mut agent_reads),
        );
        let want = Totals {
            sent: u64::try_from(up.len()).unwrap(),
            received: u64::try_from(down.len()).unwrap(),
        };
        assert_eq!(totals.unwrap(), want);
        assert_eq!(counters.totals(), want);
        assert!(at_squid == up && at_agent == down, "bytes differ");
    }

    #[tokio::test]
    async fn every_byte_arrives_in_order_both_ways() {
        for (up, down) in [(0, 0), (1, 0), (0, 70_000), (300, 5_000_001), (9_000_000, 9_000_000)] {
            check_exchange(up, down).await;
        }
        check_exchange(COPY_FIRST, COPY_FIRST + 1).await;
    }

    #[tokio::test]
    async fn an_end_of_stream_is_passed_on_while_the_other_way_stays_open() {
        for bulk in [10, 3_000_000] {
            let ((mut agent, client), (mut squid, upstream)) = (pair().await, pair().await);
            let question = pattern(bulk, 7);
            let counters = Counters::default();
            let dialogue = async {
                let (mut squid_reads, mut squid_writes) = squid.split();
                let (mut agent_reads, mut agent_writes) = agent.split();
                let ((), got) =
                    tokio::join!(send(&mut agent_writes, &question), receive(&mut squid_reads));
                assert_eq!(got.len(), bulk);
                // The agent has ended; a late answer must still reach it.
                tokio::time::sleep(Duration::from_millis(20)).await;
                send(&mut squid_writes, b"late answer").await;
                assert_eq!(receive(&mut agent_reads).await, b"late answer");
            };
            let (totals, ()) = tokio::join!(pump(client, upstream, &counters), dialogue);
            assert_eq!(totals.unwrap().received, 11);
        }
    }

    #[tokio::test]
    async fn an_error_on_one_side_ends_both() {
        for bulk in [10, 3_000_000] {
            let ((mut agent, client), (mut squid, upstream)) = (pair().await, pair().await);
            let counters = Counters::default();
            let dialogue = async {
                let mut got = vec![0; bulk];
                let sent = pattern(bulk, 5);
                tokio::join!(async { agent.write_all(&sent).await.unwrap() }, async {
                    squid.read_exact(&mut got).await.unwrap()
                },);
                // Closing with zero linger resets the connection.
                squid.set_zero_linger().unwrap();
                drop(squid);
                let end = agent.read(&mut [0; 1]).await;
                assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
            };
            let (result, ()) = tokio::join!(pump(client, upstream, &counters), dialogue);
            result.unwrap_err();
            assert_eq!(counters.totals().sent, u64::try_from(bulk).unwrap());
        }
    }

    #[tokio::test]
    async fn an_answer_sent_before_the_upload_was_read_still_arrives() {
        for read_first in [10, 3_000_000] {
            let ((mut agent, client), (mut squid, upstream)) = (pair().await, pair().await);
            let counters = Counters::default();
            let server = async {
                squid.read_exact(&mut vec![0; read_first]).await.unwrap();
                squid.write_all(b"too large").await.unwrap();
                // Closed with unread bytes, so that the kernel resets the connection.
                drop(squid);
            };
            let client_side = async {
                let (mut reads, mut writes) = agent.split();
                let mut answer = [0; 9];
                let upload = pattern(20_000_000, 3);
                let (_, got) =
                    tokio::join!(writes.write_all(&upload), reads.read_exact(&mut answer));
                got.unwrap();
                assert_eq!(&answer, b"too large");
            };
            let (result, (), ()) =
                tokio::join!(pump(client, upstream, &counters), server, client_side);
            result.unwrap_err();
        }
    }

    #[tokio::test]
    async fn counts_grow_while_the_pump_runs_and_dropping_it_cuts_both_sides() {
        let ((mut agent, client), (mut squid, upstream)) = (pair().await, pair().await);
        let counters = std::sync::Arc::new(Counters::default());
        counters.add_sent(100);
        counters.add_received(1);
        let watched = std::sync::Arc::clone(&counters);
        let task = tokio::spawn(async move { pump(client, upstream, &counters).await });
        agent.write_all(b"hello").await.unwrap();
        squid.read_exact(&mut [0; 5]).await.unwrap();
        while watched.totals().sent < 105 {
            tokio::task::yield_now().await;
        }
        assert_eq!(watched.totals(), Totals { sent: 105, received: 1 });
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(agent.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(squid.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_idle_tunnel_costs_little_memory() {
        let ((_agent, client), (_squid, upstream)) = (pair().await, pair().await);
        let counters = Counters::default();
        let future = pump(client, upstream, &counters);
        let size = size_of_val(&future);
        assert!(size < 2048, "{size} bytes");
    }
}
