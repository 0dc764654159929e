//! Refusals of the kernel: from the ring buffer to records.
//!
//! The ring buffer comes first: as long as there is memory for what waits, it never fills because a record is being written.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use awf_common::decide::Reason;
use awf_common::event::{Counter, Hook, Refusal};
use aya::maps::{MapData, PerCpuArray, RingBuf};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;

use super::calls;
use super::journal::Journal;
use super::record::{Layer, NameSource, Record};
use super::repeats::{Repeated, Repeats};
use crate::doors::names::NameTable;
use crate::plan::addresses;
use crate::policy::Services;

/// How long to wait before repeats are told, milliseconds.
const PERIOD: u16 = 1000;
/// Refusals that may wait to be recorded: enough for a scan of all ports of an address. At 112 bytes each, and as much again while
/// the queue grows, 28 MiB.
const WAITING: usize = 1 << 17;
/// How long the file is waited for before the ring buffer is looked at again.
const PAUSE: Duration = Duration::from_millis(1);
/// Records made before the ring buffer is looked at again: a fraction of a millisecond, in which it cannot fill.
const AT_ONCE: usize = 32;

/// The kernel's counters.
pub type Counts = PerCpuArray<MapData, u64>;

/// What addresses stand for.
#[derive(Debug)]
pub struct Known {
    names: Arc<NameTable>,
    services: Arc<Services>,
}

impl Known {
    /// Names by their synthetic addresses, services by their virtual ones.
    pub fn new(names: Arc<NameTable>, services: Arc<Services>) -> Self {
        Self { names, services }
    }

    /// What the agent meant by this address.
    fn name_of(&self, address: Ipv4Addr) -> Option<(Arc<str>, NameSource)> {
        let resolved = self.names.name_of(address).map(|name| (name, NameSource::Dns));
        resolved.or_else(|| {
            let service = self.services.at(address)?;
            Some((Arc::from(service.name()), NameSource::Service))
        })
    }

    /// Why a port of this machine or of a container is closed, with the flag that would open it.
    fn why_closed(&self, name: Option<&str>, address: Option<IpAddr>, port: u16) -> Option<String> {
        let host = name.map(str::to_owned).or_else(|| Some(address?.to_string()))?;
        self.services.why_closed(&host, port, &addresses::HOST_CALLED)
    }
}

/// The thread that turns refusals into records.
#[derive(Debug)]
pub struct Reader {
    stop: EventFd,
    thread: JoinHandle<()>,
}

impl Reader {
    /// Starts to read.
    pub fn start(ring: RingBuf<MapData>, journal: Arc<Journal>, known: Known) -> Result<Self> {
        let stop = EventFd::new().context("make the stop signal of the refusals' reader")?;
        let stopped = stop.as_fd().try_clone_to_owned().context("share the stop signal")?;
        let thread = thread::Builder::new()
            .name("awf-refusals".into())
            .spawn(move || read(ring, &journal, &known, &stopped))
            .context("start the thread that records the kernel's refusals")?;
        Ok(Self { stop, thread })
    }

    /// Reads what is left and ends.
    pub fn stop(self) {
        if self.stop.write(1).is_err() || self.thread.join().is_err() {
            tracing::error!("the thread that records the kernel's refusals died");
        }
    }
}

fn read(mut ring: RingBuf<MapData>, journal: &Journal, known: &Known, stop: &OwnedFd) {
    let (mut repeats, mut waiting) = (Repeats::default(), VecDeque::new());
    let mut stopping = false;
    loop {
        while waiting.len() < WAITING
            && let Some(item) = ring.next()
        {
            if let Some(refusal) = Refusal::from_bytes(&item) {
                repeats.take(refusal, &mut |repeated| waiting.push_back(repeated));
            }
        }
        if waiting.is_empty() {
            waiting.shrink_to(AT_ONCE);
            // After the stop the ring was looked at once more: what was refused just before the end is in it.
            let woken = if stopping { Woken::Time } else { wait(&ring, stop, &repeats) };
            if woken == Woken::Time {
                repeats.flush(&mut |repeated| waiting.push_back(repeated));
            }
            if stopping && waiting.is_empty() {
                return;
            }
            stopping |= woken == Woken::Stop;
        }
        let mut room = AT_ONCE;
        while room > 0
            && journal.has_room()
            && let Some(repeated) = waiting.pop_front()
        {
            journal.write(to_record(&repeated, journal, known));
            room -= 1;
        }
        if room == AT_ONCE && !waiting.is_empty() {
            thread::sleep(PAUSE);
        }
    }
}

/// What the reader was woken by.
#[derive(PartialEq, Eq)]
enum Woken {
    Refusals,
    Time,
    Stop,
}

fn wait(ring: &RingBuf<MapData>, stop: &OwnedFd, repeats: &Repeats) -> Woken {
    let patience = if repeats.is_waiting() { PollTimeout::from(PERIOD) } else { PollTimeout::NONE };
    let mut waited = [
        PollFd::new(ring.as_fd(), PollFlags::POLLIN),
        PollFd::new(stop.as_fd(), PollFlags::POLLIN),
    ];
    match poll(&mut waited, patience) {
        Ok(0) => Woken::Time,
        Ok(_) if !waited[1].any().unwrap_or(false) => Woken::Refusals,
        Err(Errno::EINTR) => Woken::Refusals,
        Ok(_) | Err(_) => Woken::Stop,
    }
}

/// Sum of a counter over all processors.
pub fn count(counts: &Counts, counter: Counter) -> u64 {
    counts.get(&(counter as u32), 0).map(|slots| slots.iter().sum()).unwrap_or_default()
}

/// The record of a refusal, or of several that are alike.
pub fn to_record(repeated: &Repeated, journal: &Journal, known: &Known) -> Record {
    let Repeated { refusal, count, until_ns } = repeated;
    let reason = Reason::from_number(refusal.reason).unwrap_or(Reason::Internal);
    let address = address_of(refusal);
    let name = match address {
        Some(IpAddr::V4(address)) => known.name_of(address),
        _ => None,
    };
    let (name, name_source) = name.unzip();
    let closed = match reason {
        Reason::Port => known.why_closed(name.as_deref(), address, refusal.port),
        _ => None,
    };
    let layer = match hook_of(refusal) {
        _ if refusal.from_proxy == 1 => Layer::Guard,
        Some(hook) if hook.is_lsm() => Layer::Lsm,
        _ => Layer::Kernel,
    };
    Record {
        rule: reason.name().to_owned(),
        reason: closed.unwrap_or_else(|| explain(reason, refusal).to_owned()),
        process: journal.processes().describe(&refusal.process),
        until: (*count > 1).then(|| journal.clock().of_ktime(*until_ns)),
        count: *count,
        cgroup: Some(refusal.cgroup).filter(|cgroup| *cgroup != 0),
        // Each of several has its own.
        cookie: Some(refusal.cookie).filter(|cookie| *cookie != 0 && *count == 1),
        protocol: protocol_of(refusal),
        address,
        port: has_destination(refusal).then_some(refusal.port),
        name,
        name_source,
        ..Record::denied(journal.clock().of_ktime(refusal.ktime_ns), journal.run(), layer)
    }
}

fn hook_of(refusal: &Refusal) -> Option<Hook> {
    Hook::from_number(refusal.hook)
}

fn has_destination(refusal: &Refusal) -> bool {
    hook_of(refusal).is_some_and(Hook::has_destination)
}

fn address_of(refusal: &Refusal) -> Option<IpAddr> {
    let [a, b, c, d] = refusal.address;
    if !has_destination(refusal) {
        return None;
    }
    if refusal.is_v6 == 0 {
        return Some(IpAddr::V4(Ipv4Addr::from(d)));
    }
    let bits = [a, b, c, d].iter().fold(0_u128, |bits, word| bits << 32 | u128::from(*word));
    Some(IpAddr::V6(Ipv6Addr::from(bits)))
}

/// `tcp`, `udp`, family/type/protocol of a socket that may not be, or the call.
fn protocol_of(refusal: &Refusal) -> String {
    match hook_of(refusal) {
        Some(Hook::SetOption) => {
            return format!("setsockopt({}, {})", refusal.kind, refusal.port);
        }
        Some(Hook::LsmUserNamespace) => return "unshare(user)".into(),
        Some(Hook::LsmBpf) => return "bpf".into(),
        Some(hook) if hook.is_lsm() && !matches!(refusal.family, 2 | 10) => {
            let Refusal { family, kind, protocol, .. } = *refusal;
            return calls::name(family.into(), kind.into(), protocol.into());
        }
        _ => {}
    }
    let family = if refusal.family == 10 { "inet6" } else { "inet" };
    match (refusal.kind, refusal.protocol) {
        (_, 6) => "tcp".into(),
        (_, 17) => "udp".into(),
        (2, 1 | 58) => format!("{family}/ping"),
        (3, protocol) => format!("{family}/raw/{protocol}"),
        (kind, protocol) => format!("{family}/{kind}/{protocol}"),
    }
}

fn explain(reason: Reason, refusal: &Refusal) -> &'static str {
    match reason {
        Reason::SocketType => "only TCP, UDP, Unix and routing sockets may be made",
        Reason::Ipv6 => "IPv6 leads nowhere; clients fall back to IPv4",
        Reason::Udp if refusal.port == 443 => "QUIC is not let out; clients fall back to TCP",
        Reason::Udp => "only DNS may use UDP",
        Reason::Port => "the policy opens TCP ports 80 and 443 only",
        Reason::Door => "this address belongs to awf",
        Reason::SocketOption => "this option chooses a route or an interface",
        Reason::Packet => "a packet reached the backstop",
        Reason::Internal => "awf's program met a state it does not know",
        Reason::InwardAddress => {
            "the name leads to a private, link-local, loopback or metadata address"
        }
        Reason::ForeignSocket => "the socket was made outside the sandbox",
        Reason::UserNamespace => "a user namespace would give capabilities",
        Reason::Bpf => "bpf(2) is not for the command",
    }
}
