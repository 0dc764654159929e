//! `awf logs -f`: lines as they come, of one run or of all that go on.
//!
//! Takes sources; shows the last lines, then every new one, until the run ends, or a signal comes.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
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
        following.runs.push(Followed::begin(&source, args.with_pid, true)?);
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
            let more = self.runs.iter().any(Followed::has_more);
            if self.runs.is_empty() || pause.is_over(more)? {
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
            followed.ended = !followed.runs.is_empty()
                && followed.runs.iter().all(|id| Live::find(id).is_none());
            let mut manner = manner.clone();
            if self.several && !followed.runs.is_empty() {
                manner.run = Some(followed.runs.join(" "));
            }
            followed.beat(&manner, out)?;
        }
        out.flush()?;
        self.runs.retain(|followed| {
            for id in followed.runs.iter().filter(|_id| followed.ended) {
                tracing::info!("Run {id} has ended");
            }
            !followed.ended
        });
        Ok(())
    }

    /// Looks for runs that are not followed yet.
    fn look(&mut self, first: bool) -> Result<()> {
        for source in Source::own_running()? {
            // Runs may share a directory of logs: its lines are shown once, until the last of them has ended.
            if let Some(followed) = self.runs.iter_mut().find(|it| it.logs == source.logs) {
                followed.add(&source);
                continue;
            }
            match Followed::begin(&source, self.with_pid, first) {
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
    logs: PathBuf,
    /// Ids of the runs that write there, if any goes on.
    runs: Vec<String>,
    kind: Kind,
    log: Tail,
    /// Of the record, where processes are asked for.
    record: Option<(Tail, Processes)>,
    /// Lines that wait for the record.
    waiting: VecDeque<(Instant, Vec<u8>)>,
    ended: bool,
}

impl Followed {
    fn begin(source: &Source, with_pid: bool, from_end: bool) -> Result<Self> {
        let log = Log::for_lines(source)?;
        let file = source.record();
        if with_pid && !file.exists() {
            tracing::warn!("--with-pid: there is no {}", file.display());
        }
        let record = with_pid.then(|| (Tail::new(file), Processes::default()));
        let tail =
            if from_end { Tail::of_last_lines(&log.path)? } else { Tail::new(log.path.clone()) };
        let mut followed = Self {
            logs: source.logs.clone(),
            runs: Vec::new(),
            kind: log.kind,
            log: tail,
            record,
            waiting: VecDeque::new(),
            ended: false,
        };
        followed.add(source);
        Ok(followed)
    }

    fn add(&mut self, source: &Source) {
        if let Found::Running(id) = &source.found
            && !self.runs.contains(id)
        {
            self.runs.push(id.clone());
        }
    }

    fn has_more(&self) -> bool {
        self.log.has_more() || self.record.as_ref().is_some_and(|(tail, _)| tail.has_more())
    }

    fn beat(&mut self, manner: &Manner, out: &mut impl Write) -> Result<()> {
        let now = Instant::now();
        let waiting = &mut self.waiting;
        self.log.read(&mut |line| {
            waiting.push_back((now, line.to_vec()));
            Ok(())
        })?;
        self.ended &= !self.has_more();
        if let Some(line) = self.ended.then(|| self.log.rest()).flatten() {
            self.waiting.push_back((now, line));
        }
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
        self.ended &= !tail.has_more();
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::reading::LineFormat;
    use crate::commands::logs::text::Paint;
    use crate::commands::tail::tests::{append, place};

    #[test]
    fn runs_that_share_a_directory_are_followed_as_one_to_its_last_byte() {
        let path = place("logs-shared");
        let logs = path.parent().unwrap().to_owned();
        let log = logs.join("access.log");
        append(&log, "one\n");
        let source = |id: &str| Source { logs: logs.clone(), found: Found::Running(id.to_owned()) };
        let mut followed = Followed::begin(&source("awf-1-none"), false, true).unwrap();
        followed.add(&source("awf-2-none"));
        followed.add(&source("awf-1-none"));
        assert_eq!(followed.runs, ["awf-1-none", "awf-2-none"]);
        append(&log, "cut");
        let manner = Manner {
            format: LineFormat::Raw,
            paint: Paint::of_stdout(),
            terminal: false,
            run: None,
        };
        let mut following =
            Following { all: true, with_pid: false, runs: vec![followed], several: false };
        let mut out = Vec::new();
        // None of them goes on.
        following.beat(&manner, &mut out).unwrap();
        assert!(following.runs.is_empty());
        assert_eq!(String::from_utf8(out).unwrap(), "one\ncut\n");
        fs::remove_dir_all(&logs).unwrap();
    }
}
