//! `awf logs -f`: lines as they come, of one run or of all that go on.
//!
//! Takes sources; shows the last lines, then every new one, until the run ends, or a signal comes.

use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::processes::Processes;
use super::show::Manner;
use super::{Kind, Log, to_stdout};
use crate::cli::reading::LogsArgs;
use crate::commands::source::{Found, Source};
use crate::commands::tail::{Pause, Tail};
use crate::exit::Exit;
use crate::session::live::Live;

/// How often new runs are looked for.
const SEARCH: Duration = Duration::from_secs(1);
/// How long a line waits for the process behind it to be put on record.
const PATIENCE: Duration = Duration::from_millis(1500);

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
    to_stdout(|out| following.run(manner, out))
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
    fn run(mut self, manner: &Manner, out: &mut impl Write) -> Result<()> {
        let pause = Pause::new()?;
        let mut searched = Instant::now();
        loop {
            self.beat(manner, out)?;
            if self.runs.is_empty() || pause.is_over()? {
                return Ok(());
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
        let file = source.record();
        if with_pid && !file.exists() {
            tracing::warn!("--with-pid: there is no {}", file.display());
        }
        let record = with_pid.then(|| (Tail::new(file), Processes::default()));
        let tail =
            if from_end { Tail::of_last_lines(&log.path)? } else { Tail::new(log.path.clone()) };
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
        self.log.read(&mut |line| {
            waiting.push_back((now, line.to_vec()));
            Ok(())
        })?;
        let Some((tail, processes)) = &mut self.record else {
            for (_since, line) in self.waiting.drain(..) {
                manner.show((self.kind, &line), None, out)?;
            }
            return Ok(());
        };
        tail.read(&mut |line| {
            processes.learn(line);
            Ok(())
        })?;
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
