//! A line on the terminal while something takes longer than a moment.
//!
//! Owns the only such line there is. Must never write to anything but a terminal, where it would fill a log, and never stay
//! when something else is said or the command begins.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes less needs no line, which would only flicker.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the line moves.
const TICK: Duration = Duration::from_millis(120);

/// The line, and how many there were.
static CURRENT: Mutex<(Option<ProgressBar>, u64)> = Mutex::new((None, 0));

/// Something begins that may take long. It takes the place of what was waited for before.
pub(crate) fn begin(what: impl Into<String>) {
    if !super::is_told() || !io::stderr().is_terminal() {
        return;
    }
    end();
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} ({elapsed}) {wide_msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(what.into());
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    let number = current.1 + 1;
    *current = (Some(bar), number);
    drop(current);
    let show = move || {
        thread::sleep(PATIENCE);
        let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(bar), true) = (&current.0, current.1 == number) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
        }
    };
    // Without a thread there is no line, which is no reason to fail.
    let _unseen = thread::Builder::new().name("awf-waiting".into()).spawn(show).is_err();
}

/// What is just being done.
pub(crate) fn detail(text: impl Into<String>) {
    if let Some(bar) = &CURRENT.lock().unwrap_or_else(PoisonError::into_inner).0 {
        bar.set_message(text.into());
    }
}

/// It is done: the line is gone when this returns.
pub(crate) fn end() {
    let bar = CURRENT.lock().unwrap_or_else(PoisonError::into_inner).0.take();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// Standard error, with the line out of the way of what is written.
pub(super) struct Aside;

impl Write for Aside {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().write(buf);
        match &CURRENT.lock().unwrap_or_else(PoisonError::into_inner).0 {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
