//! Death, stop and farewell at any moment: no packet outside of the policy, no process left, and the next run removes the
//! rest.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use awf_tests::{docker, unconfined};
use nix::sys::signal::Signal;

use crate::faults::{Blow, Fault, RESTLESS, Victim, await_member, inject, member, wait_for_start};
use crate::shell::{REQUEST, Shell};
use crate::world::{
    PATIENCE, Watch, World, command_line, ended, finish, id_of, leaks_of, send, strike,
};

/// When to strike after a process was born: at every step of a start, which takes longer with a daemon.
fn moments(step: usize) -> impl Iterator<Item = Duration> {
    let slower = if docker().is_some() { 4 } else { 1 };
    (0..=150).step_by(step).map(move |moment| Duration::from_millis(moment * slower))
}

/// Strikes the victim at every moment, each time in a run of its own.
fn sweep(victim: Victim, step: usize, blows: &[Blow]) {
    let watch = Watch::begin();
    let faults: Vec<Fault> = moments(step)
        .zip(blows.iter().cycle())
        .map(|(moment, blow)| Fault { victim, blow: *blow, moment })
        .collect();
    let todo = Mutex::new(faults.into_iter());
    thread::scope(|scope| {
        for _worker in 0..3 {
            scope.spawn(|| {
                let world = World::new();
                loop {
                    let Some(fault) = todo.lock().unwrap().next() else { return };
                    inject(&world, &fault, &[]);
                }
            });
        }
    });
    watch.saw_nothing_else();
}

fn kills(victim: Victim) {
    sweep(victim, 10, &[Blow::Kill]);
}

fn farewells(victim: Victim) {
    sweep(victim, 30, &[Blow::Term]);
}

/// A stop of a hundred milliseconds lets everybody else run into it.
fn stops(victim: Victim) {
    const LONG: Duration = Duration::from_millis(100);
    sweep(victim, 20, &[Blow::Pause(LONG), Blow::KillStopped(LONG)]);
}

#[test]
fn what_the_restless_command_tries_reaches_the_sink_without_awf() {
    let leaks = leaks_of(|| drop(unconfined(&format!("timeout 3 bash -c '{RESTLESS}'"))));
    let leaks = leaks.join("\n");
    for needle in
        ["203.0.113.66", "2600:1ab::66", "93.184.216.38", "leak.attacker.test", "dport: Some(9999)"]
    {
        assert!(leaks.contains(needle), "{needle} is missing in:\n{leaks}");
    }
}

#[test]
fn awf_may_be_killed_at_any_moment_of_its_start() {
    kills(Victim::Awf);
}

#[test]
fn awf_may_be_killed_while_the_command_tries_everything() {
    kills(Victim::BusyAwf);
}

#[test]
fn squid_may_be_killed_at_any_moment() {
    kills(Victim::Squid);
}

#[test]
fn the_first_process_of_the_sandbox_may_be_killed_at_any_moment() {
    kills(Victim::Outer);
}

#[test]
fn process_1_of_the_sandbox_may_be_killed_at_any_moment() {
    kills(Victim::One);
}

#[test]
fn the_command_may_be_killed_at_any_moment() {
    kills(Victim::Command);
}

#[test]
fn awf_may_be_stopped_at_any_moment_of_its_start() {
    stops(Victim::Awf);
}

#[test]
fn awf_may_be_stopped_while_the_command_tries_everything() {
    stops(Victim::BusyAwf);
}

#[test]
fn squid_may_be_stopped_at_any_moment() {
    stops(Victim::Squid);
}

#[test]
fn the_first_process_of_the_sandbox_may_be_stopped_at_any_moment() {
    stops(Victim::Outer);
}

#[test]
fn process_1_of_the_sandbox_may_be_stopped_at_any_moment() {
    stops(Victim::One);
}

#[test]
fn the_command_may_be_stopped_at_any_moment() {
    stops(Victim::Command);
}

#[test]
fn sigterm_to_awf_while_the_command_tries_everything_ends_the_run() {
    farewells(Victim::BusyAwf);
}

#[test]
fn sigterm_to_squid_is_made_good_at_any_moment() {
    farewells(Victim::Squid);
}

#[test]
fn sigterm_to_the_first_process_of_the_sandbox_ends_the_run_at_any_moment() {
    farewells(Victim::Outer);
}

#[test]
fn sigterm_to_process_1_of_the_sandbox_changes_nothing_at_any_moment() {
    farewells(Victim::One);
}

#[test]
fn sigterm_to_the_command_ends_the_run_at_any_moment() {
    farewells(Victim::Command);
}

#[test]
fn sigterm_ends_awf_at_any_moment_of_its_start() {
    let world = World::new();
    for delay in moments(10) {
        let began = Instant::now();
        let child = world.awf().args(["--", "sleep 60"]).spawn().unwrap();
        thread::sleep(delay);
        strike(id_of(&child), Signal::SIGTERM, "Awf");
        let run = finish(child, began);
        assert_eq!(run.code, 143, "after {delay:?}: {run:#?}");
        world.dies_out(&format!("SIGTERM after {delay:?}"));
        assert_eq!(world.left(), [""; 0], "after {delay:?}: {run:#?}");
    }
}

#[test]
fn the_remains_of_a_killed_run_are_there_until_the_next_run_removes_them_and_no_other_run() {
    let world = World::new();
    let began = Instant::now();
    let mut orphan = world.awf().args(["--", "echo started; sleep 60"]).spawn().unwrap();
    wait_for_start(&mut orphan);
    let line = "echo started; read line; echo $line";
    let mut neighbour = world.awf().args(["--", line]).stdin(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(neighbour.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "started");
    // Where worlds share a directory, another world's run must not be the next.
    let turnstile = world.hold_turnstile();
    orphan.kill().unwrap();
    orphan.wait().unwrap();
    let both = world.left();
    drop(turnstile);

    let next = world.run(&[], "true");
    assert_eq!(next.code, 0, "{next:#?}");
    let collected = next.stderr.contains("Removed what a killed run left behind");
    assert!(collected || docker().is_some(), "{next:#?}");
    let one = world.left();
    assert!(!one.is_empty() && one.len() < both.len(), "before {both:#?}, after {one:#?}");
    assert!(one.iter().all(|thing| both.contains(thing)), "before {both:#?}, after {one:#?}");

    writeln!(neighbour.stdin.take().unwrap(), "undisturbed").unwrap();
    assert_eq!(said.next().unwrap().unwrap(), "undisturbed");
    let neighbour = finish(neighbour, began);
    assert_eq!(neighbour.code, 0, "{neighbour:#?}");
    world.dies_out("all runs have ended");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn a_killed_squid_is_replaced_and_connections_in_flight_end() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    assert_eq!(shell.ask(REQUEST), "0");
    // Prints its size when the first bytes are there, and curl's exit code at the end.
    shell
        .tell("{ curl -s --limit-rate 1m -o big -m 60 https://files.test/1GiB; echo ended $?; } &");
    shell.ask("until [ -s big ]; do sleep 0.01; done; echo flowing");
    let first = await_member(&world, shell.awf(), Victim::Squid);
    send(first, Signal::SIGKILL);
    let in_flight = shell.hear();
    assert!(in_flight.starts_with("ended ") && in_flight != "ended 0", "{in_flight}");
    // The very next request may meet the moment before the death is noticed.
    let answers: Vec<String> = (0..50)
        .map(|_| shell.ask(REQUEST))
        .scan(false, |over, answer| (!std::mem::replace(over, answer == "0")).then_some(answer))
        .collect();
    assert_eq!(answers.last().unwrap(), "0", "{answers:?}");
    assert!(answers.len() < 20, "{answers:?}");
    assert_ne!(member(&world, shell.awf(), Victim::Squid), Some(first));
    let denied = shell.ask("curl -s -m 20 -o /dev/null https://denied.example.net; echo $?");
    assert_ne!(denied, "0", "the new Squid allows more");
    let run = shell.end();
    assert!(run.stderr.contains("Squid died and is started again"), "{run:#?}");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn a_squid_that_keeps_dying_leaves_a_run_that_fails_fast_and_ends_well() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    assert_eq!(shell.ask(REQUEST), "0");
    let began = Instant::now();
    let mut deaths = 0;
    // Restarts come ever later; three seconds without one means that awf has given up.
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_secs(4) && began.elapsed() < PATIENCE {
        if let Some(pid) = member(&world, shell.awf(), Victim::Squid) {
            send(pid, Signal::SIGKILL);
            deaths += 1;
            last = Instant::now();
            while !command_line(pid).is_empty() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert!((2..20).contains(&deaths), "{deaths} deaths");
    let asked = Instant::now();
    assert_ne!(shell.ask(REQUEST), "0");
    assert!(asked.elapsed() < Duration::from_secs(5), "a request hangs without Squid");
    assert_eq!(shell.ask("echo alive"), "alive");
    let run = shell.end();
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn a_command_that_ignores_sigterm_is_killed() {
    let world = World::new();
    let began = Instant::now();
    let line = "trap '' TERM INT HUP; echo started; while :; do sleep 1; done";
    let mut child = world.awf().args(["--", line]).spawn().unwrap();
    wait_for_start(&mut child);
    send(id_of(&child), Signal::SIGTERM);
    assert!(ended(&mut child, Duration::from_secs(20)).is_some());
    let run = finish(child, began);
    assert_eq!(run.code, 143, "{run:#?}");
    world.dies_out("SIGTERM ignored");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn a_run_directory_full_of_nonsense_does_not_stop_the_next_run() {
    let world = World::new();
    let runs = world.file("/run/awf");
    // Names of its own: other worlds may share the directory.
    let place = |name: &str| {
        let world = world.path().file_name().unwrap().to_str().unwrap();
        runs.join(format!("{world}-{name}"))
    };
    for (name, text) in [("a", "{"), ("b", "{\"cgroups\":[]}"), ("c", "")] {
        fs::create_dir(place(name)).unwrap();
        fs::write(place(name).join("owned.json"), text).unwrap();
    }
    fs::write(place("file"), "not a run").unwrap();
    let run = world.run(&[], "echo ran");
    let left = ["a", "b", "c", "file"].map(|name| place(name).exists());
    fs::remove_dir_all(place("b")).unwrap();
    fs::remove_file(place("file")).unwrap();
    assert_eq!((run.code, run.stdout.as_str()), (0, "ran\n"), "{run:#?}");
    assert!(run.stderr.contains("-b/owned.json is of another version"), "{run:#?}");
    assert_eq!(left, [false, true, false, true], "{run:#?}");
    assert_eq!(world.left(), [""; 0]);
}
