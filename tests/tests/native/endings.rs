//! Exit codes and signals.

use std::time::{Duration, Instant};

use awf_tests::Run;
use nix::sys::signal::Signal;

use crate::stage::Conversation;

#[track_caller]
fn ends(line: &str, code: i32) {
    let outcome = Run::new().run(line);
    assert_eq!(outcome.code, code, "{line}: {outcome:#?}");
    let last = format!("Process exiting with code: {code}");
    assert_eq!(outcome.stderr.lines().last(), Some(&*last), "{outcome:#?}");
}

#[test]
fn the_exit_code_is_the_commands_own() {
    for code in [0, 1, 2, 7, 124, 126, 127, 255] {
        ends(&format!("exit {code}"), code);
    }
}

#[test]
fn a_missing_program_is_127_and_a_plain_file_126() {
    ends("no-such-program-anywhere", 127);
    ends("/etc/passwd", 126);
}

#[test]
fn the_end_by_a_signal_is_128_and_its_number() {
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139), ("INT", 130), ("PIPE", 141)]
    {
        ends(&format!("kill -{signal} $$"), code);
        // Not the shell itself, but a child it waits for.
        ends(&format!("bash -c 'kill -{signal} $$'; exit $?"), code);
    }
}

#[test]
fn background_processes_do_not_outlive_the_command() {
    let began = Instant::now();
    let outcome =
        Run::new().run("sleep 301 & disown; setsid sleep 302 & disown; echo done").succeeded();
    assert_eq!(outcome.stdout, "done\n");
    assert!(began.elapsed() < Duration::from_secs(20), "{outcome:#?}");
}

const LOOP: &str = "echo ready; while :; do sleep 0.05; done";

#[test]
fn the_command_is_told_of_interrupt_and_termination() {
    for (signal, name, code) in [(Signal::SIGINT, "INT", 130), (Signal::SIGTERM, "TERM", 143)] {
        let run = Run::new();
        let running =
            Conversation::begin(run.spawn(&format!("trap 'echo told; exit 5' {name}; {LOOP}")));
        running.signal(signal);
        let (said, stderr, ended) = running.end();
        assert_eq!((&*said, ended), ("told\n", Some(code)), "{stderr}");
        let received = format!("[INFO] Received SIG{name}, cleaning up...");
        assert!(stderr.lines().any(|line| line == received), "{stderr}");
        let last = format!("Process exiting with code: {code}");
        assert_eq!(stderr.lines().last(), Some(&*last));
    }
}

#[test]
fn a_command_that_ignores_termination_is_killed() {
    let run = Run::new();
    let running = Conversation::begin(run.spawn(&format!("trap '' INT TERM; {LOOP}")));
    let began = Instant::now();
    running.signal(Signal::SIGTERM);
    let (_said, stderr, ended) = running.end();
    assert_eq!(ended, Some(143), "{stderr}");
    assert!(began.elapsed() < Duration::from_secs(20), "{stderr}");
}

#[test]
fn other_signals_are_passed_on() {
    let run = Run::new();
    let traps = "trap 'echo HUP' HUP; trap 'echo USR1' USR1; trap 'echo USR2' USR2; trap 'echo QUIT; exit 9' QUIT";
    let mut running = Conversation::begin(run.spawn(&format!("{traps}; {LOOP}")));
    for (signal, name) in
        [(Signal::SIGHUP, "HUP"), (Signal::SIGUSR1, "USR1"), (Signal::SIGUSR2, "USR2")]
    {
        running.signal(signal);
        assert_eq!(running.hear(), format!("{name}\n"));
    }
    running.signal(Signal::SIGQUIT);
    let (said, stderr, ended) = running.end();
    assert_eq!((&*said, ended), ("QUIT\n", Some(9)), "{stderr}");
}
