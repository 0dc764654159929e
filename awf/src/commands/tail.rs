//! Files that grow, looked at at intervals: that works on every file system and for files that come later.
//!
//! Takes paths, gives whole lines. Must never: take a file that was replaced or begun anew for the old one, lose a line that was
//! written, or go on when nobody reads.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::lines::LONGEST;
use super::source;

/// Milliseconds between two looks at files.
const INTERVAL: u16 = 200;
/// Bytes that are read before a signal is looked for again.
const TURN: u64 = 1 << 20;
/// Lines shown at first, as tail(1) does.
const FIRST: usize = 10;
/// Bytes in which they are looked for.
const FIRST_BYTES: u64 = 1 << 16;

/// A file that grows.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    file: Option<File>,
    /// How much was read.
    at: u64,
    /// The line whose end is still to come.
    line: Vec<u8>,
    /// Whether the last look ended before the file did.
    more: bool,
}

impl Tail {
    /// From the beginning of a file, which may come later.
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, file: None, at: 0, line: Vec::new(), more: false }
    }

    /// From the last lines of a file on.
    pub(super) fn of_last_lines(path: &Path) -> Result<Self> {
        let mut file = source::open(path)?;
        let at = seek_last(&mut file).with_context(|| format!("read {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file: Some(file), at, line: Vec::new(), more: false })
    }

    /// Whether there is more to read at once.
    pub(super) const fn has_more(&self) -> bool {
        self.more
    }

    /// The file that is followed.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The line whose end will not come, when nobody writes any more.
    pub(super) fn rest(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.line)).filter(|line| !line.is_empty())
    }

    /// Gives the lines that came, at most those of a turn; whether any byte did.
    pub(super) fn read(&mut self, see: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool> {
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
            if self.more || !self.is_replaced() {
                return Ok(any);
            }
            // What was never finished is shown as what it is.
            if let Some(line) = self.rest() {
                see(&line)?;
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
        let turn = self.at.saturating_add(TURN);
        loop {
            self.more = self.at >= turn;
            if self.more {
                return Ok(any);
            }
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
pub(super) struct Pause(SignalFd);

impl Pause {
    /// Holds SIGINT and SIGTERM back from now on.
    pub(super) fn new() -> Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block().context("hold signals back")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&signals, flags).context("wait for signals")?))
    }

    /// Waits, unless there is more to read; true if a signal came or nobody reads any more.
    pub(super) fn is_over(&self, more: bool) -> Result<bool> {
        let interval = if more { 0 } else { INTERVAL };
        let stdout = io::stdout();
        let mut events = [
            PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdout.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut events, PollTimeout::from(interval)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait"),
        }
        Ok(events.iter().any(|event| event.any() == Some(true)))
    }
}

/// Goes to the beginning of the last lines.
fn seek_last(file: &mut File) -> io::Result<u64> {
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
    file.seek(SeekFrom::Start(begin + start as u64))
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;
    use std::io::Write as _;
    use std::ops::Add as _;

    use super::*;

    /// A directory of this test's own, and a file in it.
    pub(in crate::commands) fn place(name: &str) -> PathBuf {
        let directory =
            std::env::temp_dir().join(format!("awf-tail-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir(&directory).unwrap();
        directory.join("egress.jsonl")
    }

    /// Writes at the end of a file.
    pub(in crate::commands) fn append(path: &Path, text: &str) {
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
    fn a_long_file_is_read_in_turns_between_which_a_signal_is_seen() {
        let path = place("turns");
        append(&path, &"x".repeat(99_999).add("\n").repeat(25));
        let mut tail = Tail::new(path.clone());
        let (first, more) = (read(&mut tail).len(), tail.has_more());
        assert!(first < 15 && more, "{first}");
        let mut all = first;
        while tail.has_more() {
            all += read(&mut tail).len();
        }
        assert_eq!(all, 25);
        append(&path, "cut");
        assert_eq!(read(&mut tail), [""; 0]);
        assert_eq!(tail.rest().as_deref(), Some(&b"cut"[..]));
        assert_eq!(tail.rest(), None);
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
    fn the_last_lines_come_first_and_no_line_in_halves() {
        let path = place("last");
        let lines: String =
            (1..=30).fold(String::new(), |text, number| text + &format!("line {number}\n"));
        append(&path, &lines);
        let mut tail = Tail::of_last_lines(&path).unwrap();
        let first = read(&mut tail);
        assert_eq!((first.len(), &*first[0], &*first[9]), (10, "line 21\n", "line 30\n"));
        append(&path, "half");
        assert_eq!(read(&mut tail), [""; 0]);
        append(&path, " and half\nx\n");
        assert_eq!(read(&mut tail), ["half and half\n", "x\n"]);
        fs::write(&path, "a\n").unwrap();
        assert_eq!(read(&mut tail), ["a\n"], "emptied");
        let mut tail = Tail::of_last_lines(&path).unwrap();
        assert_eq!(read(&mut tail), ["a\n"], "fewer lines than that");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
