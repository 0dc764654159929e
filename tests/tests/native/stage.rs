//! What the other modules share: raw commands, users, waiting.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use awf_tests::{Scratch, awf, lab, runtime_options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Those that take the whole machine take it one after the other: a daemon that is asked for twenty containers beside
/// gigabytes in TLS does not answer in time.
pub(crate) fn heavy() -> MutexGuard<'static, ()> {
    static HEAVY: Mutex<()> = Mutex::new(());
    HEAVY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The interpreter of the distribution, not a version manager's.
pub(crate) const PYTHON: &str = "/usr/bin/python3";
/// An ordinary user: the first one, which is also whom awf runs root's commands as.
pub(crate) const USER: u32 = 1000;
/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// awf in the lab with exactly these arguments. Its logs and everything else in its temporary directory go to `scratch`.
pub(crate) fn bare(scratch: &Scratch, arguments: &[&str]) -> Command {
    // A subcommand must stand first.
    let verbs = usize::from(arguments.first() == Some(&"plan"));
    let (verb, options) = arguments.split_at(verbs);
    let mut command = lab().host_command(awf());
    command.args(verb).args(runtime_options()).args(options);
    command.env("TMPDIR", scratch.path()).stdin(Stdio::null());
    command
}

/// A program as an ordinary user in the lab's host namespace, without awf.
pub(crate) fn as_user(program: impl AsRef<OsStr>) -> Command {
    let mut command = lab().host_command("setpriv");
    let id = USER.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(program);
    command
}

/// Lets everybody do everything with a file or directory.
pub(crate) fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("change the mode");
}

/// What a command wrote to its standard output.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it wrote to standard error.
pub(crate) fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An awf that runs, and what its command says line by line.
pub(crate) struct Conversation {
    pub(crate) child: Child,
    lines: BufReader<ChildStdout>,
}

impl Conversation {
    /// Waits for the command to say that it is ready.
    pub(crate) fn begin(mut child: Child) -> Self {
        let lines = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let mut conversation = Self { child, lines };
        assert_eq!(conversation.hear(), "ready\n");
        conversation
    }

    /// The next line.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line
    }

    /// Signals awf.
    pub(crate) fn signal(&self, signal: Signal) {
        let awf = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill(awf, signal).expect("awf can be signalled");
    }

    /// The rest of what the command said, what was said on standard error, and awf's exit code.
    pub(crate) fn end(mut self) -> (String, String, Option<i32>) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        let output = self.child.wait_with_output().expect("awf ends");
        (rest, complaint(&output), output.status.code())
    }
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
