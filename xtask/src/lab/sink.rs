//! The sink: proof of what left the lab's host namespace, and of what did not.
//!
//! Reads the capture of tcpdump on the internet's end of the wire and the query log of dnsmasq. Before every answer it
//! sends markers the way the packets go and waits for them in the files, so that an answer is complete up to the moment
//! of the question; it fails, rather than answering, when the record is late or lost a packet. Must never change what
//! it observes: markers are filtered out, and they are the only packets it sends.

use super::{
    packet::{FILE_HEADER, Packet, read_records},
    process::{inside, wait_until},
    world,
};
use anyhow::{Context as _, Result, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    net::UdpSocket,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// Name of the capture in the state directory.
pub(super) const CAPTURE: &str = "packets.pcap";
/// Name of the DNS server's log in the state directory.
const QUERIES: &str = "dnsmasq.log";
/// How long a marker may take. Milliseconds are usual; the rest is for busy machines.
const PATIENCE: Duration = Duration::from_secs(5);
/// First bytes of a marker packet.
const MAGIC: &[u8] = b"awf-lab-marker ";
/// Zone of the names that mark a position in the query log.
const MARKER_ZONE: &str = "marker.lab.invalid";
/// Port of the marker packets; discard (RFC 863).
const MARKER_PORT: u16 = 9;

/// A moment in the record; later questions are asked "since" it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Offset in the capture, in bytes.
    packets: u64,
    /// Offset in the query log, in bytes.
    queries: u64,
}

/// How far the capture was read: everything before it is counted.
#[derive(Debug, Clone, Copy)]
struct Position {
    offset: u64,
    packets: u64,
}

/// The record of one lab. Cheap to make; safe to share between threads.
#[derive(Debug)]
pub struct Sink {
    state: PathBuf,
    host: PathBuf,
    internet: PathBuf,
    wire: &'static str,
    read: Mutex<Position>,
}

impl Sink {
    pub(super) fn new(state: &Path, namespaces: &super::network::Namespaces) -> Self {
        let start = Position { offset: FILE_HEADER as u64, packets: 0 };
        Self {
            state: state.to_owned(),
            host: namespaces.host_path(),
            internet: namespaces.internet_path(),
            wire: super::network::WIRE,
            read: Mutex::new(start),
        }
    }

    /// Marks the present moment: everything sent before it is outside of the answers.
    pub fn mark(&self) -> Result<Mark> {
        let packets = self.catch_up()?.offset;
        Ok(Mark { packets, queries: self.catch_up_queries()? })
    }

    /// Every packet that left the host namespace between `mark` and now, in order of arrival. IPv6 and ARP chatter is
    /// included; see [`Packet::is_noise`].
    pub fn packets_since(&self, mark: &Mark) -> Result<Vec<Packet>> {
        let end = self.catch_up()?.offset;
        let mut packets = read_records(&self.bytes(CAPTURE, mark.packets, end)?).0;
        packets.retain(|packet| !is_marker(packet));
        Ok(packets)
    }

    /// Every packet since `mark` that is somebody's doing: [`Self::packets_since`] without the noise.
    pub fn traffic_since(&self, mark: &Mark) -> Result<Vec<Packet>> {
        let mut packets = self.packets_since(mark)?;
        packets.retain(|packet| !packet.is_noise());
        Ok(packets)
    }

    /// The names asked of the lab's DNS servers between `mark` and now, one entry per query, in order and lower case.
    pub fn dns_queries_since(&self, mark: &Mark) -> Result<Vec<String>> {
        // A query still on the wire is not in the log: first let every packet arrive.
        self.catch_up()?;
        let end = self.catch_up_queries()?;
        let log = self.bytes(QUERIES, mark.queries, end)?;
        Ok(String::from_utf8_lossy(&log).lines().filter_map(query_name).collect())
    }

    /// Waits until everything sent so far is in the capture, and proves that nothing was lost.
    ///
    /// The wire is a queue per processor (the sender's softirq backlog), so one marker is sent from each processor. The
    /// interface counts what enters it independently of tcpdump: a smaller number of records means lost packets.
    fn catch_up(&self) -> Result<Position> {
        let mut position = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let entered = inside(&self.internet, || received(self.wire))?;
        let marker = [MAGIC, nonce().as_bytes()].concat();
        let mut missing = inside(&self.host, || send_from_every_processor(&marker))?;
        wait_until(
            PATIENCE,
            "wait for the sink to record a marker (is its tcpdump alive?)",
            || {
                let (packets, used) =
                    read_records(&self.bytes(CAPTURE, position.offset, u64::MAX)?);
                missing -= packets.iter().filter(|packet| packet.payload == marker).count();
                position.offset += used as u64;
                position.packets += packets.len() as u64;
                Ok(missing == 0)
            },
        )?;
        let recorded = position.packets;
        ensure!(
            recorded >= entered,
            "the sink lost packets: {entered} entered the wire, {recorded} are recorded"
        );
        Ok(*position)
    }

    /// Waits until every query that has arrived is in the log; gives the log's length in bytes.
    ///
    /// The questions come from the internet's own side, so they are not in the capture. Queries over TCP are handled by
    /// a child of dnsmasq and can be late by the time it takes to log one line.
    fn catch_up_queries(&self) -> Result<u64> {
        let ask_all = || world::DNS_V4.into_iter().chain(world::DNS_V6).try_for_each(ask);
        inside(&self.internet, ask_all)?;
        Ok(fs::metadata(self.state.join(QUERIES)).context("look at the query log")?.len())
    }

    fn bytes(&self, name: &str, start: u64, end: u64) -> Result<Vec<u8>> {
        let path = self.state.join(name);
        let attempt = || format!("read {}", path.display());
        let mut file = File::open(&path).with_context(attempt)?;
        file.seek(SeekFrom::Start(start)).with_context(attempt)?;
        let mut bytes = Vec::new();
        file.take(end.saturating_sub(start)).read_to_end(&mut bytes).with_context(attempt)?;
        Ok(bytes)
    }
}

fn is_marker(packet: &Packet) -> bool {
    packet.payload.starts_with(MAGIC) && packet.dport == Some(MARKER_PORT)
}

/// A text no other marker of any process has.
fn nonce() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let time =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}-{time}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Sends the marker once per processor this process may use; gives how many were sent. Runs on a thread of its own,
/// whose binding to a processor ends with it.
fn send_from_every_processor(marker: &[u8]) -> Result<usize> {
    let socket = UdpSocket::bind((world::HOST_V4, 0)).context("open the sink's marker socket")?;
    let mut sent = 0;
    for processor in 0..CpuSet::count() {
        let mut only = CpuSet::new();
        only.set(processor)?;
        if sched_setaffinity(Pid::from_raw(0), &only).is_ok() {
            socket.send_to(marker, (world::MARKER_V4, MARKER_PORT)).context("send a marker")?;
            sent += 1;
        }
    }
    ensure!(sent > 0, "no processor to send a marker from");
    Ok(sent)
}

/// Packets that entered through the interface, by its own count; must run inside the namespace.
fn received(interface: &str) -> Result<u64> {
    // proc_pid_net(5): two header lines, then `name: bytes packets ...`.
    let table =
        fs::read_to_string("/proc/thread-self/net/dev").context("read the interface counters")?;
    let row =
        table.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'));
    let count = row.and_then(|row| row.split_whitespace().nth(1)?.parse().ok());
    count.with_context(|| format!("no counters for {interface}"))
}

/// Asks a DNS server for a marker name and waits for its answer, which comes after the query was logged.
fn ask(server: &str) -> Result<()> {
    let any = if server.contains(':') { "::" } else { "0.0.0.0" };
    let socket = UdpSocket::bind((any, 0)).context("open a socket for a DNS marker")?;
    socket.set_read_timeout(Some(PATIENCE)).context("limit the wait for a DNS marker")?;
    socket.connect((server, 53)).with_context(|| format!("connect to {server}"))?;
    socket.send(&question(MARKER_ZONE)).with_context(|| format!("ask {server}"))?;
    socket.recv(&mut [0; 512]).with_context(|| format!("wait for an answer of {server}"))?;
    Ok(())
}

/// A DNS query for the A record of `name`; RFC 1035, 4.1.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x4c, 0x41, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// The name in a log line like `... dnsmasq[7]: query[AAAA] example.com from 100.64.77.2`; none for markers and answers.
fn query_name(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(": query[")?;
    let name = rest.split_once("] ")?.1.rsplit_once(" from ")?.0.to_ascii_lowercase();
    (name != MARKER_ZONE).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_from_the_log() {
        let line = "Nov 22 04:38:46 dnsmasq[7]: query[AAAA] Example.COM from 100.64.77.2";
        assert_eq!(query_name(line).as_deref(), Some("example.com"));
    }

    #[test]
    fn answers_and_markers_are_not_queries() {
        assert_eq!(query_name("Nov 22 04:38:46 dnsmasq[7]: config example.com is NXDOMAIN"), None);
        assert_eq!(query_name("dnsmasq[7]: query[A] marker.lab.invalid from 8.8.8.8"), None);
    }

    #[test]
    fn no_two_markers_are_alike() {
        assert_ne!(nonce(), nonce());
    }
}
