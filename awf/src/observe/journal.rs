//! `egress.jsonl`: written by one thread, fed by all.
//!
//! Takes records, gives lines, and keeps what the end of the run needs: counts by verdict and the denied destinations.
//! Must never: make an attempt wait. When the disk is full, or the queue is, the record is lost and counted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::chain::Chain;
use super::chain::key::SigningKey;
use super::processes::Processes;
use super::record::{self, Layer, Record, Verdict};
use super::redact::Redactor;
use super::summary::{Attempts, Lost, Summary};

/// Records that may wait for the disk: at 1 KiB each, with all ancestors, 8 MiB.
const QUEUE: usize = 8192;
/// Records among them that are kept free of refusals of the kernel, which wait elsewhere: a flood of them must not push out the
/// end of a connection.
const RESERVED: usize = QUEUE / 4;
/// Nanoseconds of a second.
const SECOND_NS: i64 = 1_000_000_000;
/// Denied destinations kept for the report. A longer list helps nobody; the file has them all.
const DENIALS: usize = 200;
/// Names kept that audit mode let through: the command chooses how many it asks for.
const LET_THROUGH: usize = 16_384;

/// The record of a run, open for writing.
#[derive(Debug)]
pub struct Journal {
    run: Arc<str>,
    step: Option<Arc<str>>,
    clock: Clock,
    processes: Processes,
    queue: Mutex<Option<SyncSender<Record>>>,
    writer: Mutex<Option<JoinHandle<Writer>>>,
    tally: Mutex<Tally>,
    /// Records in the queue.
    waiting: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
    stray: AtomicU64,
    /// The kernel's time since when attempts are the command's; before, they are the probe's.
    since: AtomicU64,
}

/// How a record is kept.
#[derive(Debug, Default)]
pub struct Keeping {
    /// Knows credentials, such as one in a name that was asked for: no line gets one.
    pub redactor: Redactor,
    /// Step of the workflow.
    pub step: Option<Arc<str>>,
    /// Tells who processes are.
    pub processes: Processes,
    /// The chain of the lines, if they are to form one, and what signs its end.
    pub seal: Option<(Chain, Option<SigningKey>)>,
}

/// What the end of the run tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts by what became of them.
    pub attempts: Attempts,
    /// Attempts by the rule that decided.
    pub rules: BTreeMap<String, u64>,
    /// Denied destinations: what was asked for, and what denied it, with the number of attempts.
    pub denials: BTreeMap<Denial, u64>,
    /// Names that only audit mode let through.
    pub let_through: BTreeMap<Arc<str>, LetThrough>,
}

/// A name that only audit mode let through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetThrough {
    /// Task name of the first process that is known.
    pub comm: String,
    /// Connections. Asking for a name and connecting to it are two attempts with one cause; the first alone is none.
    pub count: u64,
}

/// A denied destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    /// Name or address.
    pub target: String,
    /// Port.
    pub port: Option<u16>,
    /// Rule or kernel reason.
    pub rule: String,
    /// Task name of the first process that tried.
    pub comm: String,
}

impl Journal {
    /// Opens a record in a file that exists already (with the wanted owner and mode).
    pub fn open(run: Arc<str>, file: &Path, keeping: Keeping) -> Result<Arc<Self>> {
        let file = File::options()
            .append(true)
            .open(file)
            .with_context(|| format!("open the record {}", file.display()))?;
        let (queue, records) = sync_channel(QUEUE);
        let (lost, waiting) = (Arc::<AtomicU64>::default(), Arc::<AtomicUsize>::default());
        let writer = Writer {
            file: BufWriter::new(file),
            redactor: keeping.redactor,
            seal: keeping.seal,
            waiting: Arc::clone(&waiting),
            lost: Arc::clone(&lost),
        };
        let writer = thread::Builder::new()
            .name("awf-journal".into())
            .spawn(move || writer.write_all(&records))
            .context("start the thread that writes the record")?;
        Ok(Arc::new(Self {
            run,
            step: keeping.step,
            clock: Clock::now(),
            processes: keeping.processes,
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
            tally: Mutex::default(),
            waiting,
            lost,
            stray: AtomicU64::new(0),
            since: AtomicU64::new(u64::MAX),
        }))
    }

    /// The run's id.
    pub fn run(&self) -> Arc<str> {
        Arc::clone(&self.run)
    }

    /// Tells who processes are.
    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    /// Converts the kernel's times.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Begins: what was tried before was the probe's doing and is no record of the command.
    pub fn begin(&self) {
        self.since.store(self.clock.kernel_ns(), Ordering::Release);
    }

    /// Whether an attempt of this time is the command's.
    pub fn covers(&self, ktime_ns: u64) -> bool {
        ktime_ns >= self.since.load(Ordering::Acquire)
    }

    /// Whether an attempt made now is the command's.
    pub fn covers_now(&self) -> bool {
        self.covers(self.clock.kernel_ns())
    }

    /// Queues a record. Without room it is lost.
    pub fn write(&self, record: Record) {
        let record = Record { step: self.step.clone(), ..record };
        if let Ok(mut tally) = self.tally.lock() {
            tally.add(&record);
        }
        let count = record.count;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let is_queued = self
            .queue
            .lock()
            .is_ok_and(|queue| queue.as_ref().is_some_and(|queue| queue.try_send(record).is_ok()));
        if !is_queued {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Whether a record that can wait may be queued now. A part of the queue is for those that cannot.
    pub fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < QUEUE - RESERVED
    }

    /// Says since when nobody can know that the record is complete.
    pub fn enforcement_lost(&self, reason: &anyhow::Error) {
        self.write(Record {
            verdict: Verdict::Error,
            rule: "enforcement-lost".to_owned(),
            reason: format!("{reason:#}"),
            ..Record::denied(self.clock.of_now(), self.run(), Layer::Kernel)
        });
    }

    /// Counts a connection to a door that no program led there.
    pub fn stray(&self, peer: SocketAddr) {
        self.stray.fetch_add(1, Ordering::Relaxed);
        tracing::warn!("closed a connection from {peer} whose origin is unknown");
    }

    /// Writes what is queued, and at last what `conclude` makes of the tally and of what is lost by then.
    pub fn close(&self, conclude: impl FnOnce(&Tally, Lost) -> Option<Summary>) -> Tally {
        drop(self.queue.lock().ok().and_then(|mut queue| queue.take()));
        let tally = self.tally.lock().map(|tally| tally.clone()).unwrap_or_default();
        let writer = self.writer.lock().ok().and_then(|mut writer| writer.take());
        let Some(writer) = writer.map(JoinHandle::join) else { return tally };
        let stray = self.stray.load(Ordering::Relaxed);
        let lost = Lost { ring: 0, written: self.lost.load(Ordering::Relaxed), stray };
        match (writer, conclude(&tally, lost)) {
            (Ok(mut writer), Some(summary)) => writer.end(&summary),
            (Ok(_writer), None) => {}
            (Err(_panic), _) => tracing::error!("the thread that writes the record died"),
        }
        tally
    }
}

impl Tally {
    /// Counts a record.
    pub fn add(&mut self, record: &Record) {
        if record.would_deny.is_some() {
            self.add_let_through(record);
        }
        *self.rules.entry(record.rule.clone()).or_default() += record.count;
        match record.verdict {
            Verdict::Allow => self.attempts.allow += record.count,
            Verdict::Error => self.attempts.error += record.count,
            Verdict::Deny => {
                self.attempts.deny += record.count;
                self.add_denial(record);
            }
        }
    }

    fn add_let_through(&mut self, record: &Record) {
        let Some(name) = &record.name else { return };
        if self.let_through.len() >= LET_THROUGH && !self.let_through.contains_key(name) {
            return;
        }
        let known = self.let_through.entry(Arc::clone(name)).or_default();
        if known.comm.is_empty() {
            known.comm = record.process.comm.clone().unwrap_or_default();
        }
        known.count += if record.protocol == "dns" { 0 } else { record.count };
    }

    fn add_denial(&mut self, record: &Record) {
        let target = match (&record.name, &record.address) {
            (Some(name), _) => name.to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => record.protocol.clone(),
        };
        let denial = Denial {
            target,
            port: record.port.filter(|port| *port != 0),
            rule: record.rule.clone(),
            comm: record.process.comm.clone().unwrap_or_default(),
        };
        if let Some(count) = self.denials.get_mut(&denial) {
            *count += record.count;
        } else if self.denials.len() < DENIALS {
            self.denials.insert(denial, record.count);
        }
    }
}

/// What writes lines.
#[derive(Debug)]
struct Writer {
    file: BufWriter<File>,
    redactor: Redactor,
    seal: Option<(Chain, Option<SigningKey>)>,
    waiting: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
}

impl Writer {
    /// Flushes whenever the queue is empty, so that a reader sees an attempt at once and a flood is written in blocks.
    fn write_all(mut self, records: &Receiver<Record>) -> Self {
        while let Ok(record) = records.recv() {
            let mut next = Some(record);
            while let Some(record) = next {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                if self.write(record.to_line()).is_err() {
                    self.lost.fetch_add(record.count, Ordering::Relaxed);
                }
                next = records.try_recv().ok();
            }
            if self.file.flush().is_err() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        self
    }

    fn write(&mut self, line: serde_json::Result<Vec<u8>>) -> std::io::Result<()> {
        let line = self.redactor.line(line?);
        match &mut self.seal {
            Some((chain, _key)) => {
                // A line that is lost is no link.
                let mut next = *chain;
                self.file.write_all(&next.seal(line))?;
                *chain = next;
                Ok(())
            }
            None => self.file.write_all(&line),
        }
    }

    /// Writes the last lines.
    fn end(&mut self, summary: &Summary) {
        let written = self.write(record::to_line(summary)).and_then(|()| self.sign(&summary.run));
        if let Err(error) = written.and_then(|()| self.file.flush()) {
            tracing::warn!("the record lacks its end: {error}");
        }
    }

    fn sign(&mut self, run: &Arc<str>) -> std::io::Result<()> {
        let Some((chain, Some(key))) = &self.seal else { return Ok(()) };
        self.file.write_all(&record::to_line(&chain.sign(key, Arc::clone(run)))?)
    }
}

/// Turns the kernel's monotonic times into dates.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Nanoseconds between the Unix epoch and the boot.
    boot_ns: i128,
    /// Nanoseconds by which our time namespace puts `CLOCK_MONOTONIC` forward.
    offset_ns: i64,
}

impl Clock {
    /// Compares both clocks now.
    fn now() -> Self {
        // Absent from kernels without time namespaces (CONFIG_TIME_NS, since 5.6).
        let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        let clock = Self { boot_ns: 0, offset_ns: monotonic_offset(&offsets).unwrap_or(0) };
        let boot_ns = Timestamp::now().as_nanosecond() - i128::from(clock.kernel_ns());
        Self { boot_ns, ..clock }
    }

    /// Now by the clock of the programs (`bpf_ktime_get_ns`), which knows no namespaces.
    fn kernel_ns(&self) -> u64 {
        // It cannot fail: the kernel always has this clock.
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
        let now = now.map_or(0, |now| now.tv_sec() * SECOND_NS + now.tv_nsec());
        u64::try_from(now - self.offset_ns).unwrap_or(0)
    }

    /// The date of a time of the kernel's: RFC 3339, UTC, microseconds.
    pub fn of_ktime(&self, ktime_ns: u64) -> String {
        Self::text(self.boot_ns + i128::from(ktime_ns))
    }

    /// The date of now.
    pub fn of_now(&self) -> String {
        Self::text(Timestamp::now().as_nanosecond())
    }

    fn text(nanoseconds: i128) -> String {
        let timestamp = Timestamp::from_nanosecond(nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH);
        format!("{timestamp:.6}")
    }
}

/// Nanoseconds of the line `monotonic SECONDS NANOSECONDS` (`time_namespaces(7)`).
fn monotonic_offset(offsets: &str) -> Option<i64> {
    let line = offsets.lines().find_map(|line| line.strip_prefix("monotonic"))?;
    let mut numbers = line.split_whitespace().map(str::parse::<i64>);
    Some(numbers.next()?.ok()? * SECOND_NS + numbers.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_time_namespace_is_read() {
        let offsets = "monotonic        -100         5\nboottime           7         0\n";
        assert_eq!(monotonic_offset(offsets), Some(-99_999_999_995));
        assert_eq!(monotonic_offset(""), None);
    }
}
