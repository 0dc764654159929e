//! Enforcement taken away while the command runs, by another root: noticed, said, and the end of the run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use awf::exit::Exit;
use awf_tests::docker;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::bpf;
use crate::faults::{RESTLESS, Victim, await_member, find, wait_for_start};
use crate::report;
use crate::shell::{REQUEST, Shell};
use crate::world::{Ended, Watch, World, finish, id_of, members, send};

/// Asserts that awf said that enforcement was lost, on standard error and on record, and that nothing left meanwhile. Where
/// chance decides what awf sees first, there are several `needles`.
#[track_caller]
fn check_loss(fault: &str, needles: &[&str], harm: impl FnOnce(&World, i32)) {
    let world = World::new();
    let watch = Watch::begin();
    let logs = world.path().join("logs");
    let began = Instant::now();
    let mut awf = world.awf();
    let mut child = awf.arg("--proxy-logs-dir").arg(&logs).args(["--", RESTLESS]).spawn().unwrap();
    wait_for_start(&mut child);
    report::injected(fault, "the running command");
    harm(&world, id_of(&child));
    let harmed = Instant::now();
    let run = finish(child, began);
    // Two looks are a quarter of a second apart.
    assert!(harmed.elapsed() < Duration::from_secs(10), "{run:#?}");
    lost(&run, &logs, needles);
    watch.saw_nothing_else();
    world.dies_out(fault);
    assert_eq!(world.left(), [""; 0], "{run:#?}");
}

#[track_caller]
fn lost(run: &Ended, logs: &Path, needles: &[&str]) {
    let fits = |text: &str| needles.iter().any(|needle| text.contains(needle));
    assert_eq!(run.code, i32::from(Exit::EnforcementLost.code()), "{run:#?}");
    let [error] = run.errors()[..] else { panic!("{run:#?}") };
    assert!(error.contains("enforcement was lost") && fits(error), "{run:#?}");
    let records = fs::read_to_string(logs.join("egress.jsonl")).unwrap();
    let mut records = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let said = records.any(|record| {
        record["rule"] == "enforcement-lost" && fits(record["reason"].as_str().unwrap())
    });
    assert!(said, "the record is silent: {run:#?}");
}

fn run_cgroup(world: &World, side: &str) -> PathBuf {
    world.run_cgroup(side).expect("a run has cgroups")
}

/// A link of the run with this attach type.
fn link(world: &World, side: &str, attach_type: u32) -> std::os::fd::OwnedFd {
    let links = bpf::links_of(&run_cgroup(world, side));
    let wanted = Some(u64::from(attach_type));
    links
        .into_iter()
        .find(|link| bpf::told(link, "attach_type:") == wanted)
        .expect("it is attached")
}

#[test]
fn a_detached_link_ends_the_run() {
    check_loss("link detached", &["detached the program"], |world, _awf| {
        bpf::detach(&link(world, "agent", bpf::CONNECT4));
    });
}

#[test]
fn a_detached_link_of_the_guard_ends_the_run() {
    check_loss("link detached", &["awf_guard_connect4"], |world, _awf| {
        bpf::detach(&link(world, "proxy", bpf::CONNECT4));
    });
}

#[test]
fn all_links_detached_end_the_run_and_still_nothing_leaves() {
    check_loss("all links detached", &["detached the program"], |world, _awf| {
        let links = bpf::links_of(&run_cgroup(world, "agent"));
        assert!(links.len() > 10, "{}", links.len());
        links.iter().for_each(bpf::detach);
    });
}

#[test]
fn a_replaced_program_ends_the_run() {
    check_loss("program replaced", &["somebody replaced awf_connect4"], |world, _awf| {
        bpf::disarm_connect4(&link(world, "agent", bpf::CONNECT4));
    });
}

/// Moves a process to the cgroup that awf itself is in.
fn take_out(world: &World, pid: i32) {
    fs::write(world.outside().join("cgroup.procs"), pid.to_string()).unwrap();
}

#[test]
fn a_command_that_was_moved_to_another_cgroup_ends_the_run() {
    check_loss("process moved", &["was moved out of"], |world, awf| {
        take_out(world, await_member(world, awf, Victim::Command));
    });
}

#[test]
fn a_squid_that_was_moved_to_another_cgroup_ends_the_run() {
    check_loss("process moved", &["/proxy"], |world, awf| {
        take_out(world, await_member(world, awf, Victim::Squid));
    });
}

#[test]
fn a_cgroup_that_was_removed_and_made_again_ends_the_run() {
    // Moving its processes out comes first, and takes a while: either may be seen. Of a container it is all that is seen: links
    // outlive a cgroup as long as one below it has sockets.
    let needles: &[&str] = match docker() {
        Some(_) => &["out of cgroup"],
        None => &["out of cgroup", "somebody replaced the cgroup"],
    };
    check_loss("cgroup re-created", needles, |world, _awf| {
        let agent = run_cgroup(world, "agent");
        let began = Instant::now();
        // The command starts new processes without pause; removing works only without any.
        loop {
            let members = members(&agent);
            for pid in &members {
                drop(fs::write(world.outside().join("cgroup.procs"), pid.to_string()));
            }
            // A container has a cgroup of its own below.
            for below in fs::read_dir(&agent).unwrap().flatten() {
                drop(fs::remove_dir(below.path()));
            }
            if fs::remove_dir(&agent).is_ok() {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "still there: {members:?}");
        }
        fs::create_dir(&agent).unwrap();
    });
}

#[test]
fn children_that_come_and_go_are_not_taken_for_moved() {
    let world = World::new();
    let line = "for i in $(seq 3); do (for i in $(seq 500); do /bin/true & done; wait) & done; wait; echo done";
    let run = world.run(&[], line);
    assert_eq!((run.code, run.stdout.as_str()), (0, "done\n"), "{run:#?}");
}

#[test]
fn removed_pins_change_nothing() {
    let world = World::new();
    let watch = Watch::begin();
    let mut shell = Shell::start(&world);
    assert_eq!(shell.ask(REQUEST), "0");
    let run = world.runs().pop().unwrap();
    report::injected("pins removed", "the running command");
    let unmounted = world.inside(&format!("umount -l /run/awf/{run}/pins"));
    assert!(unmounted.success());
    let attempts = "echo x >/dev/udp/203.0.113.66/9999; echo x >/dev/tcp/8.8.8.8/53";
    assert_eq!(shell.ask(&format!("{{ {attempts}; }} 2>/dev/null; echo tried")), "tried");
    // Longer than awf looks away.
    assert_eq!(shell.ask("sleep 1; echo slept"), "slept");
    assert_eq!(shell.ask(REQUEST), "0");
    let run = shell.end();
    assert_eq!(run.code, 0, "{run:#?}");
    watch.saw_nothing_else();
    assert_eq!(world.left(), [""; 0], "{run:#?}");
}

#[test]
fn maps_that_hold_the_policy_cannot_be_written_and_the_others_open_nothing() {
    let world = World::new();
    let watch = Watch::begin();
    let began = Instant::now();
    let mut child = world.awf().args(["--", RESTLESS]).spawn().unwrap();
    let awf = id_of(&child);
    find(&world, &mut child, Victim::Command).unwrap();
    wait_for_start(&mut child);
    let mut links = bpf::links_of(&run_cgroup(&world, "agent"));
    links.extend(bpf::links_of(&run_cgroup(&world, "proxy")));
    let (mut frozen, mut open) = (0, 0);
    for map in bpf::maps_of(&links) {
        let is_frozen = bpf::told(&map, "frozen:") == Some(1);
        if is_frozen {
            assert_eq!(bpf::write(&map, 0, 255), Err(Errno::EPERM));
            frozen += 1;
            continue;
        }
        report::injected("map written", "a map that stays open");
        open += 1;
        for byte in 0..=255 {
            let _no_such_key = bpf::write(&map, byte, byte);
        }
    }
    // The settings of both sides and the two lists of the guard.
    assert!(frozen >= 3 && open >= 2, "{frozen} frozen, {open} open");
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "{:#?}", finish(child, began));
    send(awf, Signal::SIGTERM);
    let run = finish(child, began);
    assert_eq!(run.code, 143, "{run:#?}");
    watch.saw_nothing_else();
    assert_eq!(world.left(), [""; 0], "{run:#?}");
}
