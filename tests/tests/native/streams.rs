//! Standard streams, and the terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use awf_tests::{Run, Scratch, awf, lab};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::{Pid, ttyname};

use crate::stage::{PATIENCE, PYTHON, bare};

#[test]
fn standard_input_arrives_complete() {
    let bytes: Vec<u8> = (0_u32..16 << 20).flat_map(u32::to_le_bytes).collect();
    let control = {
        let mut child = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sha256sum starts");
        child.stdin.take().expect("a pipe").write_all(&bytes).expect("sha256sum reads");
        child.wait_with_output().expect("sha256sum ends").stdout
    };
    let outcome = Run::new().stdin(bytes).run("sha256sum").succeeded();
    assert_eq!(outcome.stdout.as_bytes(), control);
}

#[test]
fn the_end_of_standard_input_is_seen() {
    assert_eq!(Run::new().run("wc -c").succeeded().stdout, "0\n");
    assert_eq!(Run::new().stdin("abc").run("wc -c").succeeded().stdout, "3\n");
}

#[test]
fn a_command_that_reads_nothing_ends_all_the_same() {
    let outcome = Run::new().stdin(vec![b'x'; 4 << 20]).run("true").succeeded();
    assert!(outcome.took < Duration::from_secs(20), "{:?}", outcome.took);
}

#[test]
fn output_and_error_stay_apart_and_unchanged() {
    let line = format!(
        "{PYTHON} -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000); \
         sys.stderr.buffer.write(bytes(reversed(range(256))) * 1000)'"
    );
    let run = Run::new().option("--log-level", "error");
    let output = run.spawn(&line).wait_with_output().expect("awf ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, (0..=255).collect::<Vec<u8>>().repeat(1000));
    let mut expected = (0..=255).rev().collect::<Vec<u8>>().repeat(1000);
    expected.extend(b"Process exiting with code: 0\n");
    assert!(output.stderr == expected, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_datagram_socket_is_no_standard_output() {
    // It may send to every name of the namespace in which it was made.
    let scratch = Scratch::new("datagram");
    let (ours, _theirs) = UnixDatagram::pair().expect("a pair");
    let place = |name: &str| scratch.path().join(name).display().to_string();
    let output = lab()
        .host_command(awf())
        .args([
            "--proxy-logs-dir",
            &place("logs"),
            "--audit-dir",
            &place("audit"),
            "--",
            "echo ran",
        ])
        .stdin(Stdio::null())
        .stdout(OwnedFd::from(ours))
        .output()
        .expect("awf ends");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("put a pipe between"), "{said}");
}

#[test]
fn streams_can_be_opened_by_name() {
    let outcome = Run::new()
        .stdin("in")
        .run("cat /dev/stdin > /dev/stdout; echo err > /dev/stderr")
        .succeeded();
    assert_eq!(outcome.stdout, "in");
    assert!(outcome.stderr.lines().any(|line| line == "err"), "{outcome:#?}");
}

#[test]
fn a_closed_reader_ends_the_command() {
    let run = Run::new();
    let mut child = run.spawn("yes; echo \"${PIPESTATUS[0]}\" >&2");
    let mut first = [0; 2];
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut first).expect("some output");
    drop(stdout);
    let output = child.wait_with_output().expect("awf ends");
    assert_eq!(&first, b"y\n");
    assert!(
        String::from_utf8_lossy(&output.stderr).lines().any(|line| line == "141"),
        "{output:#?}"
    );
}

#[test]
fn without_tty_nothing_is_a_terminal() {
    let line = "for fd in 0 1 2; do test -t $fd && echo $fd; done; test -n \"$FORCE_COLOR\" && echo colour; \
                (: < /dev/tty) 2> /dev/null && echo terminal; echo \"$NO_COLOR\"";
    assert_eq!(Run::new().run(line).succeeded().stdout, "1\n");
}

#[test]
fn with_tty_everything_is_a_terminal_also_behind_pipes() {
    let line = "for fd in 0 1 2; do test -t $fd && echo $fd; done; stty size; echo $TERM $FORCE_COLOR $COLUMNS; \
                tty; (: < /dev/tty) && echo controlled; echo -n \"$NO_COLOR\"";
    let outcome = Run::new().flag("--tty").run(line).succeeded();
    let lines: Vec<&str> = outcome.stdout.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        ["0", "1", "2", "24 120", "xterm-256color 1 120", "/dev/pts/0", "controlled"],
        "{outcome:#?}"
    );
}

/// awf on a terminal of the test's own.
struct OnTerminal {
    child: Child,
    master: File,
    slave: OwnedFd,
    said: Receiver<Vec<u8>>,
    screen: String,
    _scratch: Scratch,
}

impl OnTerminal {
    fn start(line: &str) -> Self {
        let scratch = Scratch::new("tty");
        let size = Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("a terminal");
        let stdio = || Stdio::from(slave.try_clone().expect("one more descriptor"));
        let child = bare(&scratch, &["--tty", "--", line])
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .spawn()
            .expect("awf starts");
        let master = File::from(master);
        let mut reader = master.try_clone().expect("one more descriptor");
        let (tell, said) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if tell.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, master, slave, said, screen: String::new(), _scratch: scratch }
    }

    /// Waits until the screen shows the words, and forgets what is before them.
    #[track_caller]
    fn expect(&mut self, words: &str) {
        loop {
            if let Some(at) = self.screen.find(words) {
                self.screen.drain(..at + words.len());
                return;
            }
            let Ok(bytes) = self.said.recv_timeout(PATIENCE) else {
                panic!("{words:?} did not appear; the screen shows {:?}", self.screen);
            };
            self.screen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    fn is_raw(&self) -> bool {
        let state = tcgetattr(&self.slave).expect("the terminal's state");
        !state.local_flags.contains(LocalFlags::ICANON)
    }
}

#[test]
fn a_terminal_passes_keys_and_sizes_through() {
    let mut terminal = OnTerminal::start(
        "trap 'echo resized $(stty size)' WINCH; trap 'echo interrupted; exit 3' INT; \
         echo size $(stty size); read -r word; echo got $word; while :; do sleep 0.05; done",
    );
    terminal.expect("size 33 77");
    assert!(terminal.is_raw());
    terminal.master.write_all(b"w\xc3\xb6rd\r").expect("type");
    terminal.expect("got w\u{f6}rd");
    let name = ttyname(&terminal.slave).expect("the terminal's name");
    let resized = Command::new("stty").args(["rows", "40", "cols", "90", "-F"]).arg(name).status();
    assert!(resized.expect("stty runs").success());
    // The terminal is not awf's controlling one, so the kernel does not send it.
    let awf = Pid::from_raw(terminal.child.id().try_into().expect("a process id"));
    kill(awf, Signal::SIGWINCH).expect("awf can be signalled");
    terminal.expect("resized 40 90");
    terminal.master.write_all(&[3]).expect("type control-C");
    terminal.expect("interrupted");
    let status = terminal.child.wait().expect("awf ends");
    assert_eq!(status.code(), Some(3));
    assert!(!terminal.is_raw(), "the terminal was left raw");
}

#[test]
fn a_terminal_is_restored_when_awf_is_terminated() {
    let mut terminal = OnTerminal::start("echo begun; sleep 300");
    terminal.expect("begun");
    assert!(terminal.is_raw());
    let awf = Pid::from_raw(terminal.child.id().try_into().expect("a process id"));
    kill(awf, Signal::SIGTERM).expect("awf can be signalled");
    let status = terminal.child.wait().expect("awf ends");
    assert_eq!(status.code(), Some(143));
    assert!(!terminal.is_raw(), "the terminal was left raw");
}
