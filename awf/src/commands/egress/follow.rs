//! Records that grow: one file, or those of all runs that go on.
//!
//! Looks at the files at intervals, which works on every file system and for files that come later. Must never: take a file
//! that was replaced or begun anew for the old one, lose a line that was written before the end of a run, or go on when
//! nobody reads.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::printer::Printer;
use crate::commands::lines::LONGEST;
use crate::commands::source;
use crate::session::live;

/// Milliseconds between two looks at files.
const INTERVAL: u16 = 200;
/// Looks at files between two looks for runs.
const RUNS: u64 = 5;

/// Follows one file until a signal comes.
pub(super) fn one_file(path: &Path, printer: &mut Printer<impl Write>) -> Result<()> {
    let pause = Pause::new()?;
    let mut tail = Tail::new(path.to_owned());
    loop {
        tail.read(&mut |line| printer.see(line, None))?;
        printer.flush()?;
        if pause.is_over()? {
            printer.tell_damaged();
            return Ok(());
        }
    }
}

/// Follows all runs, also those that begin meanwhile, until a signal comes.
pub(super) fn all_runs(printer: &mut Printer<impl Write>) -> Result<()> {
    let pause = Pause::new()?;
    let mut runs = Runs::default();
    for look in 0_u64.. {
        if look % RUNS == 0 {
            runs.look(live::look());
        }
        runs.read(printer)?;
        printer.flush()?;
        if pause.is_over()? {
            break;
        }
    }
    printer.tell_damaged();
    Ok(())
}

/// The runs that are followed.
#[derive(Debug, Default)]
struct Runs {
    /// By id. A run that ended stays, without a file, as long as it is seen: it would be followed again.
    tails: BTreeMap<String, Followed>,
    /// What was said once.
    said: bool,
}

#[derive(Debug)]
struct Followed {
    tail: Option<Tail>,
    /// Whether its awf lives.
    lives: bool,
}

impl Runs {
    fn look(&mut self, seen: live::Seen) {
        if !self.said {
            self.said = true;
            if !seen.complete {
                tracing::warn!("Only root can see which runs go on; name a record with --source");
            } else if seen.runs.is_empty() {
                tracing::info!("No run goes on; waiting for one");
            }
        }
        for followed in self.tails.values_mut() {
            followed.lives = false;
        }
        for run in seen.runs {
            let begin = || Followed { tail: Some(Tail::new(run.record())), lives: true };
            self.tails.entry(run.id.clone()).or_insert_with(begin).lives = true;
        }
        self.tails.retain(|_id, followed| followed.lives || followed.tail.is_some());
    }

    fn read(&mut self, printer: &mut Printer<impl Write>) -> Result<()> {
        for (id, followed) in &mut self.tails {
            let Some(tail) = &mut followed.tail else { continue };
            let mut unprinted = None;
            let more = tail.read(&mut |line| {
                printer.see(line, Some(id)).map_err(|error| {
                    unprinted = Some(error);
                    io::Error::other("not printed").into()
                })
            });
            if let Some(error) = unprinted {
                return Err(error);
            }
            match more {
                Ok(true) => {}
                // Its awf wrote everything before it died.
                Ok(false) if followed.lives => {}
                Ok(false) => followed.tail = None,
                Err(error) => {
                    tracing::warn!("run {id} cannot be followed: {error:#}");
                    followed.tail = None;
                }
            }
        }
        Ok(())
    }
}

/// A file that grows.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    file: Option<File>,
    /// How much was read.
    at: u64,
    /// The line whose end is still to come.
    line: Vec<u8>,
}

impl Tail {
    const fn new(path: PathBuf) -> Self {
        Self { path, file: None, at: 0, line: Vec::new() }
    }

    /// Gives the lines that came; whether any byte did.
    fn read(&mut self, see: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        let mut any = false;
        loop {
            if self.file.is_none() {
                if !self.path.exists() {
                    return Ok(any);
                }
                self.file = Some(source::open(&self.path)?);
                self.at = 0;
            }
            any |= self.read_open(see).with_context(|| format!("read {}", self.path.display()))?;
            if !self.is_replaced() {
                return Ok(any);
            }
            // What was never finished is shown as what it is.
            if !self.line.is_empty() {
                see(&std::mem::take(&mut self.line))?;
            }
            self.file = None;
        }
    }

    fn read_open(&mut self, see: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        if file.metadata()?.len() < self.at {
            file.seek(SeekFrom::Start(0))?;
            self.at = 0;
            self.line.clear();
        }
        let mut any = false;
        let mut block = [0; 16 << 10];
        loop {
            let count = file.read(&mut block)?;
            if count == 0 {
                return Ok(any);
            }
            any = true;
            self.at += u64::try_from(count)?;
            for part in
                block.get(..count).unwrap_or_default().split_inclusive(|byte| *byte == b'\n')
            {
                self.line.extend_from_slice(part);
                if part.ends_with(b"\n") || u64::try_from(self.line.len())? >= LONGEST {
                    see(&self.line)?;
                    self.line.clear();
                }
            }
        }
    }

    /// Whether the path leads to another file by now. If it leads nowhere, the old one may still grow: at the end of a run, logs
    /// are moved.
    fn is_replaced(&self) -> bool {
        let place = |facts: fs::Metadata| (facts.dev(), facts.ino());
        let open = self.file.as_ref().and_then(|file| file.metadata().ok()).map(place);
        fs::metadata(&self.path).ok().map(place).is_some_and(|now| Some(now) != open)
    }
}

/// Waits, unless there is a reason to end.
struct Pause(SignalFd);

impl Pause {
    fn new() -> Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block().context("hold signals back")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&signals, flags).context("wait for signals")?))
    }

    /// Waits; true if a signal came or nobody reads any more.
    fn is_over(&self) -> Result<bool> {
        let stdout = io::stdout();
        let mut events = [
            PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdout.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut events, PollTimeout::from(INTERVAL)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait"),
        }
        Ok(events.iter().any(|event| event.any() == Some(true)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A directory of this test's own, and a file in it.
    fn place(name: &str) -> PathBuf {
        let directory =
            std::env::temp_dir().join(format!("awf-tail-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir(&directory).unwrap();
        directory.join("egress.jsonl")
    }

    fn append(path: &Path, text: &str) {
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn read(tail: &mut Tail) -> Vec<String> {
        let lines = RefCell::new(Vec::new());
        tail.read(&mut |line| {
            lines.borrow_mut().push(String::from_utf8(line.to_vec()).unwrap());
            Ok(())
        })
        .unwrap();
        lines.into_inner()
    }

    #[test]
    fn a_line_is_given_when_it_is_whole() {
        let path = place("whole");
        let mut tail = Tail::new(path.clone());
        assert_eq!(read(&mut tail), [""; 0], "the file may come later");
        append(&path, "a\nb");
        assert_eq!(read(&mut tail), ["a\n"]);
        append(&path, "c\n");
        assert_eq!(read(&mut tail), ["bc\n"]);
        assert_eq!(read(&mut tail), [""; 0]);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_file_that_is_cut_or_replaced_is_read_from_its_beginning() {
        let path = place("replaced");
        append(&path, "a\nbcd");
        let mut tail = Tail::new(path.clone());
        assert_eq!(read(&mut tail), ["a\n"]);
        fs::write(&path, "e\n").unwrap();
        assert_eq!(read(&mut tail), ["e\n"]);
        let old = path.with_extension("old");
        append(&path, "f\ng");
        fs::rename(&path, &old).unwrap();
        append(&old, "h\n");
        assert_eq!(read(&mut tail), ["f\n", "gh\n"], "it is still the same file");
        append(&old, "i");
        append(&path, "j\n");
        assert_eq!(read(&mut tail), ["i", "j\n"]);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn runs_are_followed_until_all_that_they_wrote_is_read() {
        let path = place("runs");
        let run = live::tests::live("awf-1-ab12", "", path.parent().unwrap());
        let record =
            crate::commands::golden::RECORD.replace("awf-1795816800000-ab12", "awf-1-ab12");
        let lines: Vec<_> = record.split_inclusive('\n').collect();
        let screen = crate::commands::shown::Screen { columns: 80, colour: false };
        let format = (crate::cli::reading::LineFormat::Json, super::super::Filter::default());
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, format, screen);
        let mut runs = Runs::default();
        let seen = |runs| live::Seen { runs, complete: true, ..live::Seen::default() };
        runs.look(seen(Vec::new()));
        append(&path, lines[0]);
        runs.look(seen(vec![run]));
        runs.read(&mut printer).unwrap();
        append(&path, lines[1]);
        runs.look(seen(Vec::new()));
        runs.read(&mut printer).unwrap();
        runs.read(&mut printer).unwrap();
        assert!(runs.tails.values().all(|followed| followed.tail.is_none()));
        runs.look(seen(Vec::new()));
        assert!(runs.tails.is_empty());
        drop(printer);
        assert_eq!(String::from_utf8(out).unwrap(), lines[..2].concat());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
