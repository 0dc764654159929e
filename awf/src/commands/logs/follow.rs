//! `awf logs -f`: lines as they come, of one run or of all that go on.
//!
//! Takes sources; shows the last lines, then every new one, until the run ends, or a signal does. Looks at the files again and
//! again, five times a second: cheap, and right wherever they lie. Must never show half a line.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::processes::Processes;
use super::show::Manner;
use super::{Kind, Log, to_stdout};
use crate::cli::reading::LogsArgs;
use crate::commands::lines::LONGEST;
use crate::commands::source::{self, Found, Source};
use crate::exit::Exit;
use crate::session::live::Live;

/// How often files are looked at.
const BEAT: Duration = Duration::from_millis(200);
/// How often new runs are looked for.
const SEARCH: Duration = Duration::from_secs(1);
/// How long a line waits for the process behind it to be put on record.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Lines shown at first, as tail(1) does.
const FIRST: usize = 10;
/// Bytes in which they are looked for.
const FIRST_BYTES: u64 = 1 << 16;

/// Shows lines until there are no more.
pub(super) fn follow(args: &LogsArgs, manner: &Manner) -> Result<Exit> {
    let source = Source::find(args.source.as_deref())?;
    let all = args.source.is_none() && matches!(source.found, Found::Running(_));
    let mut following =
        Following { all, with_pid: args.with_pid, runs: Vec::new(), several: false };
    if all {
        following.look(true)?;
    } else {
        following.runs.push(Followed::begin(source, args.with_pid, true)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("start the runtime")?;
    to_stdout(|out| runtime.block_on(following.run(manner, out)))
}

/// Everything that is followed.
struct Following {
    /// Whether runs that begin later are followed too.
    all: bool,
    with_pid: bool,
    runs: Vec<Followed>,
    /// Whether it ever was more than one: then lines tell whose they are.
    several: bool,
}

impl Following {
    async fn run(mut self, manner: &Manner, out: &mut impl Write) -> Result<()> {
        let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
        let mut searched = Instant::now();
        loop {
            self.beat(manner, out)?;
            if self.runs.is_empty() {
                return Ok(());
            }
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                () = tokio::time::sleep(BEAT) => {}
            }
            if self.all && searched.elapsed() >= SEARCH {
                searched = Instant::now();
                self.look(false)?;
            }
        }
    }

    /// Shows what is new, and forgets runs that have ended.
    fn beat(&mut self, manner: &Manner, out: &mut impl Write) -> Result<()> {
        self.several |= self.runs.len() > 1;
        for followed in &mut self.runs {
            // Looked at before the last lines are read, so that none is missed.
            followed.ended = match &followed.source.found {
                Found::Running(id) => Live::find(id).is_none(),
                Found::Named | Found::Variable | Found::Preserved => false,
            };
            let mut manner = manner.clone();
            if let (true, Found::Running(id)) = (self.several, &followed.source.found) {
                manner.run = Some(id.clone());
            }
            followed.beat(&manner, out)?;
        }
        out.flush()?;
        self.runs.retain(|followed| {
            if let (true, Found::Running(id)) = (followed.ended, &followed.source.found) {
                tracing::info!("Run {id} has ended");
            }
            !followed.ended
        });
        Ok(())
    }

    /// Looks for runs that are not followed yet.
    fn look(&mut self, first: bool) -> Result<()> {
        for source in Source::own_running()? {
            if self.runs.iter().any(|followed| followed.source == source) {
                continue;
            }
            match Followed::begin(source, self.with_pid, first) {
                Ok(followed) => self.runs.push(followed),
                // It may have ended meanwhile.
                Err(error) => tracing::debug!("{error:#}"),
            }
        }
        if first && self.runs.is_empty() {
            bail!("the run has just ended; see awf logs --list");
        }
        Ok(())
    }
}

/// One source.
struct Followed {
    source: Source,
    kind: Kind,
    log: Tail,
    /// Of the record, where processes are asked for.
    record: Option<(Tail, Processes)>,
    /// Lines that wait for the record.
    waiting: VecDeque<(Instant, Vec<u8>)>,
    ended: bool,
}

impl Followed {
    fn begin(source: Source, with_pid: bool, from_end: bool) -> Result<Self> {
        let log = Log::for_lines(&source)?;
        let record = with_pid.then(|| Tail::open(&source.record(), false));
        let record = record.and_then(|record| match record {
            Ok(tail) => Some((tail, Processes::default())),
            Err(error) => {
                tracing::warn!("--with-pid: {error:#}");
                None
            }
        });
        let tail = Tail::open(&log.path, from_end)?;
        Ok(Self {
            source,
            kind: log.kind,
            log: tail,
            record,
            waiting: VecDeque::new(),
            ended: false,
        })
    }

    fn beat(&mut self, manner: &Manner, out: &mut impl Write) -> Result<()> {
        let now = Instant::now();
        let waiting = &mut self.waiting;
        self.log.read(&mut |line| waiting.push_back((now, line.to_vec())))?;
        let Some((tail, processes)) = &mut self.record else {
            for (_since, line) in self.waiting.drain(..) {
                manner.show((self.kind, &line), None, out)?;
            }
            return Ok(());
        };
        tail.read(&mut |line| processes.learn(line))?;
        while let Some((since, line)) = self.waiting.front() {
            let text = String::from_utf8_lossy(line);
            let known = self.kind.parse(&text).is_none_or(|entry| processes.of(&entry).is_some());
            if !known && !self.ended && since.elapsed() < PATIENCE {
                break;
            }
            manner.show((self.kind, line), Some(processes), out)?;
            self.waiting.pop_front();
        }
        Ok(())
    }
}

/// The growing end of a file.
struct Tail {
    file: File,
    /// A line of which the end is still to come.
    begun: Vec<u8>,
}

impl Tail {
    /// Opens a file, from its last lines on or from the beginning.
    fn open(path: &Path, from_end: bool) -> Result<Self> {
        let mut file = source::open(path)?;
        if from_end {
            seek_last(&mut file).with_context(|| format!("read {}", path.display()))?;
        }
        Ok(Self { file, begun: Vec::new() })
    }

    /// Gives every line that has become whole.
    fn read(&mut self, see: &mut impl FnMut(&[u8])) -> io::Result<()> {
        if self.file.metadata()?.len() < self.file.stream_position()? {
            // Emptied by somebody.
            self.file.rewind()?;
            self.begun.clear();
        }
        let mut chunk = vec![0; 1 << 16];
        loop {
            let read = self.file.read(&mut chunk)?;
            let Some(mut rest) = chunk.get(..read).filter(|chunk| !chunk.is_empty()) else {
                return Ok(());
            };
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let (line, after) = rest.split_at_checked(end + 1).unwrap_or((rest, &[]));
                self.begun.extend_from_slice(line);
                see(&self.begun);
                self.begun.clear();
                rest = after;
            }
            self.begun.extend_from_slice(rest);
            if self.begun.len() as u64 > LONGEST {
                // No log has such lines: shown as damaged, so that memory does not grow.
                see(&self.begun);
                self.begun.clear();
            }
        }
    }
}

/// Goes to the beginning of the last lines.
fn seek_last(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let begin = length.saturating_sub(FIRST_BYTES);
    file.seek(SeekFrom::Start(begin))?;
    let mut end = Vec::new();
    file.take(FIRST_BYTES).read_to_end(&mut end)?;
    // The line feed at the very end does not begin a line.
    let feeds = end.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let is_last = |index: usize| index + 1 == end.len();
    let before = feeds.map(|(index, _)| index).filter(|index| !is_last(*index)).nth(FIRST - 1);
    // With fewer lines than that: the whole file, or what is whole of its end.
    let start = match before {
        Some(index) => index + 1,
        None if begin == 0 => 0,
        None => end.iter().position(|byte| *byte == b'\n').map_or(end.len(), |index| index + 1),
    };
    file.seek(SeekFrom::Start(begin + start as u64))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_lines_come_first_and_no_line_in_halves() {
        let path = std::env::temp_dir().join(format!("awf-follow-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        let lines: String =
            (1..=30).fold(String::new(), |text, number| text + &format!("line {number}\n"));
        file.write_all(lines.as_bytes()).unwrap();
        let mut tail = Tail::open(&path, true).unwrap();
        let read = |tail: &mut Tail| {
            let mut lines = Vec::new();
            tail.read(&mut |line| lines.push(String::from_utf8_lossy(line).trim_end().to_owned()))
                .unwrap();
            lines
        };
        let first = read(&mut tail);
        assert_eq!((first.len(), &*first[0], &*first[9]), (10, "line 21", "line 30"));
        file.write_all(b"half").unwrap();
        assert!(read(&mut tail).is_empty());
        file.write_all(b" and half\nx\n").unwrap();
        assert_eq!(read(&mut tail), ["half and half", "x"]);
        fs::write(&path, "a\n").unwrap();
        assert_eq!(read(&mut tail), ["a"], "emptied");
        let mut tail = Tail::open(&path, true).unwrap();
        assert_eq!(read(&mut tail), ["a"], "fewer lines than that");
        fs::remove_file(&path).unwrap();
    }
}
