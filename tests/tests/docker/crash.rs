//! Faults between awf and the daemon: either is killed, stopped or slow at the wrong moment. The command's end and exit code
//! never depend on the daemon, and what could not be removed is removed by the next run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use awf_tests::{Run, awf};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::borrowed::Borrowed;
use crate::slow::Slow;
use crate::{AGENT, SQUID, daemon};

/// How long a run may go on without its daemon once the command has ended.
const BOUND: Duration = Duration::from_secs(25);

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).expect("awf runs");
}

/// Strikes awf while its first container is asked for; gives the run's id, awf's exit code and what it said.
fn strike(slow: &Slow, blow: Signal) -> (String, i32, String) {
    let run = Run::new().option("--docker-host", &slow.host());
    let child = run.spawn("true");
    let id = slow.asked();
    signal(&child, blow);
    let output = child.wait_with_output().expect("awf ends");
    let code = output.status.code().or(output.status.signal().map(|signal| 128 + signal));
    (id, code.expect("it ended"), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What there is of a run.
fn left(id: &str) -> Vec<String> {
    let containers = daemon().containers("awf-").expect("the daemon answers");
    let places = ["/run/awf/awf-", "/var/lib/awf/awf-"].map(|place| format!("{place}{id}"));
    let places = places.into_iter().filter(|place| Path::new(place).exists());
    containers.into_iter().filter(|name| name.contains(id)).chain(places).collect()
}

#[test]
fn a_container_that_appears_after_sigterm_is_removed() {
    let slow = Slow::by(Duration::from_millis(300));
    let (id, code, said) = strike(&slow, Signal::SIGTERM);
    assert_eq!(code, 143, "{said}");
    thread::sleep(Duration::from_secs(1));
    assert!(slow.made() > 0, "positive control: the daemon was not asked");
    assert_eq!(left(&id), [""; 0], "{said}");
}

#[test]
fn a_container_that_appears_after_the_death_of_awf_is_removed_by_the_next_run() {
    let slow = Slow::by(Duration::from_millis(300));
    let (id, code, said) = strike(&slow, Signal::SIGKILL);
    assert_eq!(code, 137, "{said}");
    Run::new().run("true").succeeded();
    thread::sleep(Duration::from_secs(1));
    assert!(slow.made() > 0, "positive control: the daemon was not asked");
    assert_eq!(left(&id), [""; 0], "{said}");
}

#[test]
fn a_daemon_that_makes_nothing_does_not_keep_awf_from_ending() {
    let slow = Slow::by(Duration::from_mins(10));
    let began = Instant::now();
    let (id, code, said) = strike(&slow, Signal::SIGTERM);
    assert_eq!(code, 143, "{said}");
    assert!(began.elapsed() < BOUND, "{said}");
    assert!(said.contains("the Docker daemon does not do what it was asked for"), "{said}");
    assert_eq!(left(&id), [""; 0], "{said}");
}

/// What a shell of [`Waiting`] answers with curl's exit code.
const REQUEST: &str = "curl -s -m 20 -o /dev/null http://example.com; echo $?";

/// awf in a lab of its own, with the daemon there.
fn command(lab: &Borrowed, options: &[&str]) -> Command {
    let host = format!("unix://{}/docker.sock", lab.lab().state().display());
    let mut command = lab.lab().host_command(awf());
    command.args(["--runtime", "docker", "--docker-host", &host, "--allow-domains", "example.com"]);
    command.args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A run that answers each line of input with a line of output, and ends with its input.
struct Waiting {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Waiting {
    fn start(lab: &Borrowed) -> Self {
        let line = "while read -r line; do eval \"$line\"; done; exit 7";
        let mut child = command(lab, &["--", line]).spawn().expect("awf starts");
        let said = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut run = Self { child, said };
        assert_eq!(run.ask(REQUEST), "0", "positive control");
        run
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.child.stdin.as_mut().expect("a pipe"), "{line}").expect("it reads");
        let mut answer = String::new();
        self.said.read_line(&mut answer).expect("it answers");
        answer.trim().to_owned()
    }

    /// Ends the command; gives what awf said.
    #[track_caller]
    fn end(mut self) -> String {
        let began = Instant::now();
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output().expect("awf ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(7), "{said}");
        assert!(began.elapsed() < BOUND, "{:?}: {said}", began.elapsed());
        said
    }
}

/// Runs `true`, which must succeed; gives what awf said.
#[track_caller]
fn next(lab: &Borrowed, options: &[&str]) -> String {
    let options = [options, &["--", "true"]].concat();
    let output = command(lab, &options).stdin(Stdio::null()).output().expect("awf runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// Asserts that nothing is left of the run that awf could not take down, after one more run.
#[track_caller]
fn check_next(lab: &Borrowed, said: &str) {
    let words = "clean up: remove containers of /run/awf/";
    let (_before, id) = said.split_once(words).unwrap_or_else(|| panic!("{said}"));
    let run = Path::new("/run/awf").join(id.split([':', ' ']).next().unwrap_or_default());
    check_gone(lab, &run, &next(lab, &[]));
}

#[track_caller]
fn check_gone(lab: &Borrowed, run: &Path, said: &str) {
    assert!(!run.exists(), "{said}");
    let docker = lab.lab().docker().expect("it runs");
    assert_eq!(docker.containers("awf-").expect("it answers"), [""; 0], "{said}");
}

fn a_killed_container_of_squids_is_replaced(lab: &Borrowed) {
    let mut run = Waiting::start(lab);
    let docker = lab.lab().docker().expect("it runs");
    let names = docker.containers("awf-squid-").expect("it answers");
    let [name] = &names[..] else { panic!("{names:?}") };
    docker.ask(&["kill", name]).expect("it runs");
    let retried = REQUEST.replace("curl", "curl --retry 20 --retry-all-errors");
    assert_eq!(run.ask(&retried), "0");
    let said = run.end();
    assert!(said.contains("Squid died and is started again"), "{said}");
    assert_eq!(docker.containers("awf-").expect("it answers"), [""; 0], "{said}");
}

fn a_stopped_daemon_is_not_waited_for(lab: &Borrowed) {
    let mut run = Waiting::start(lab);
    lab.signal_dockerd(Signal::SIGSTOP);
    let served = run.ask(REQUEST);
    let said = run.end();
    lab.signal_dockerd(Signal::SIGCONT);
    assert_eq!(served, "0", "{said}");
    check_next(lab, &said);
}

fn the_orphan_of_a_stopped_daemon_delays_other_runs_little(lab: &Borrowed) {
    let mut run = Waiting::start(lab);
    let docker = lab.lab().docker().expect("it runs");
    let names = docker.containers("awf-agent-").expect("it answers");
    let id = names.first().and_then(|name| name.strip_prefix("awf-agent-")).expect("it runs");
    lab.signal_dockerd(Signal::SIGSTOP);
    run.child.kill().expect("awf can be killed");
    run.child.wait().expect("it ends");
    let began = Instant::now();
    let said = next(lab, &["--runtime", "native"]);
    let took = began.elapsed();
    lab.signal_dockerd(Signal::SIGCONT);
    assert!(said.contains("the daemon does not answer"), "{said}");
    assert!(took < Duration::from_secs(8), "{took:?}: {said}");
    check_gone(lab, &Path::new("/run/awf").join(format!("awf-{id}")), &next(lab, &[]));
}

fn a_killed_daemon_is_not_waited_for(lab: &Borrowed) {
    let mut run = Waiting::start(lab);
    lab.signal_dockerd(Signal::SIGKILL);
    let served = run.ask(REQUEST);
    let said = run.end();
    assert_eq!(served, "0", "{said}");
    lab.lab().docker().expect("it is started again");
    check_next(lab, &said);
}

#[test]
fn a_run_goes_on_and_ends_with_its_code_whatever_becomes_of_the_daemon() {
    // One after the other, on one daemon: making one takes seconds.
    let lab = Borrowed::with(&[AGENT, SQUID]);
    a_killed_container_of_squids_is_replaced(&lab);
    a_stopped_daemon_is_not_waited_for(&lab);
    the_orphan_of_a_stopped_daemon_delays_other_runs_little(&lab);
    a_killed_daemon_is_not_waited_for(&lab);
}
