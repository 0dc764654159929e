//! Commands and callers that push: floods, full pipes, closed descriptors, large environments, many processes.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::report;
use crate::shell::{REQUEST, Shell};
use crate::world::{Watch, World, ended, finish, id_of, send};

#[test]
fn a_flood_of_refusals_is_recorded_or_counted_as_lost() {
    let world = World::new();
    let logs = world.path().join("logs");
    let line = "python3 - <<'end'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
refused = 0
for _ in range(100000):
    try: s.sendto(b'x', ('203.0.113.66', 9999))
    except OSError: refused += 1
print(refused)
end";
    let run = world.run(&["--proxy-logs-dir", logs.to_str().unwrap()], line);
    assert_eq!((run.code, run.stdout.as_str()), (0, "100000\n"), "{run:#?}");
    let records = std::fs::read_to_string(logs.join("egress.jsonl")).unwrap();
    let recorded = awf_tests::attempts_with(&records, "203.0.113.66");
    let lost = run.lost();
    assert_eq!(recorded + lost, 100_000, "{recorded} recorded, {lost} lost: {run:#?}");
    // Repeats are told together.
    assert!(records.lines().count() < 1_000, "{}", records.lines().count());
    for line in records.lines() {
        serde_json::from_str::<serde_json::Value>(line)
            .unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert_eq!(world.left(), [""; 0]);
}

/// None is like another, so that none can be told together. The ring buffer holds them all, however slow awf is.
#[test]
fn a_scan_of_all_ports_is_recorded_port_by_port() {
    let world = World::new();
    let logs = world.path().join("logs");
    let line = "python3 - <<'end'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(1024, 65536):
    try: s.sendto(b'x', ('203.0.113.66', port))
    except OSError: continue
    raise SystemExit(1)
end";
    let run = world.run(&["--strict-audit", "--proxy-logs-dir", logs.to_str().unwrap()], line);
    assert_eq!((run.code, run.lost()), (0, 0), "{run:#?}");
    let records = std::fs::read_to_string(logs.join("egress.jsonl")).unwrap();
    let ports: std::collections::BTreeSet<u64> = records
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|record| record["address"] == "203.0.113.66")
        .map(|record| record["port"].as_u64().unwrap())
        .collect();
    assert!(ports.into_iter().eq(1024..65_536));
}

#[test]
fn a_flood_while_awf_is_stopped_is_refused_as_ever_and_what_the_record_lacks_is_counted() {
    const FLOOD: usize = 100_000;
    let world = World::new();
    let watch = Watch::begin();
    let logs = world.path().join("logs");
    let mut shell = Shell::start_with(&world, &["--proxy-logs-dir", logs.to_str().unwrap()]);
    assert_eq!(shell.ask("echo started"), "started");
    assert!(send(shell.awf(), Signal::SIGSTOP), "awf runs");
    report::injected("flood during SIGSTOP", "the ring buffer");
    let flood = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a = (\"203.0.113.66\", 9999)";
    let count = format!("{flood}; print(sum(s.connect_ex(a) == 111 for _ in range({FLOOD})))");
    assert_eq!(shell.ask(&format!("python3 -c '{count}'")), FLOOD.to_string());
    send(shell.awf(), Signal::SIGCONT);
    assert_eq!(shell.ask(REQUEST), "0");
    let run = shell.end();
    assert_eq!(run.code, 0, "{run:#?}");
    let records = std::fs::read_to_string(logs.join("egress.jsonl")).unwrap();
    let recorded = awf_tests::attempts_with(&records, "203.0.113.66");
    assert!(run.lost() > 0, "the ring buffer holds {FLOOD} refusals: {run:#?}");
    assert_eq!(recorded + run.lost(), FLOOD, "{run:#?}");
    report::lost(run.lost());
    watch.saw_nothing_else();
}

#[test]
fn a_reader_of_standard_error_that_leaves_changes_neither_the_command_nor_its_exit_code() {
    let world = World::new();
    for kept in ["2>&1 >/dev/null | head -c 1", "2>&1 | head -n 1"] {
        let began = Instant::now();
        let mark = world.path().join("ended");
        let mut command = world.command("bash");
        let pipeline =
            format!("set -o pipefail; \"$@\" {kept} >/dev/null; echo ${{PIPESTATUS[0]}}");
        command.args(["-c", &pipeline, "bash"]).arg(awf_tests::awf());
        command.args(awf_tests::runtime_options()).args([
            "--allow-domains",
            crate::world::ALLOWED,
            "--log-level",
            "debug",
            "--",
        ]);
        let line = format!(
            "sleep 0.3; curl -s http://denied.example.net -o /dev/null; touch {}; exit 7",
            mark.display()
        );
        let run = finish(command.arg(line).spawn().unwrap(), began);
        assert_eq!((run.code, run.stdout.as_str()), (0, "7\n"), "{kept}: {run:#?}");
        std::fs::remove_file(&mark).expect("the command reached its end");
        assert_eq!(world.left(), [""; 0], "{kept}");
    }
}

#[test]
fn closed_standard_streams_are_no_harm() {
    let world = World::new();
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let began = Instant::now();
        let mut command = world.command("sh");
        command.args(["-c", &format!("exec \"$@\" {closed}"), "sh"]).arg(awf_tests::awf());
        command.args(awf_tests::runtime_options()).args([
            "--allow-domains",
            crate::world::ALLOWED,
            "--",
        ]);
        let line = "echo out; echo err >&2; read -r line; for fd in 0 1 2; do readlink /proc/self/fd/$fd; done; exit 7";
        let run = finish(command.arg(line).spawn().unwrap(), began);
        assert_eq!(run.code, 7, "{closed}: {run:#?}");
        assert!(!run.stdout.contains("socket:"), "{closed}: {run:#?}");
        assert_eq!(world.left(), [""; 0], "{closed}");
    }
}

/// Whether awf obeys SIGTERM while its reader does not read.
#[track_caller]
fn check_full_pipe(options: &[&str]) {
    let world = World::new();
    let mut command = world.awf();
    command.args(options).args(["--", "exec cat /dev/zero"]).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let pipe = child.stdout.take().unwrap();
    // Time enough to start and to fill 64 KiB.
    thread::sleep(Duration::from_secs(1));
    send(id_of(&child), Signal::SIGTERM);
    let status = ended(&mut child, Duration::from_secs(20));
    if status.is_none() {
        drop(pipe);
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("{options:?}: awf hangs when nobody reads its output");
    }
    assert_eq!(status.unwrap().code(), Some(143), "{options:?}");
    world.dies_out("full pipe");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn a_full_pipe_does_not_keep_awf_from_ending() {
    check_full_pipe(&[]);
}

#[test]
fn a_full_pipe_behind_a_terminal_does_not_keep_awf_from_ending() {
    check_full_pipe(&["--tty"]);
}

#[test]
fn a_reader_that_leaves_ends_the_command_as_in_any_pipeline() {
    let world = World::new();
    let began = Instant::now();
    let mut child = world.awf().args(["--", "yes"]).spawn().unwrap();
    let mut some = [0; 2];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut some).unwrap();
    drop(child.stdout.take());
    let run = finish(child, began);
    assert!(run.code == 141 || run.code == 1, "SIGPIPE or EPIPE: {run:#?}");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn a_large_environment_arrives() {
    let world = World::new();
    let began = Instant::now();
    let mut command = world.awf();
    for number in 0..64 {
        command.env(format!("LARGE_{number}"), "x".repeat(1000));
    }
    command.env("ONE", "y".repeat(65_536));
    let line = "echo ${#ONE} $(env | grep -c ^LARGE_)";
    let run = finish(command.args(["--env-all", "--", line]).spawn().unwrap(), began);
    assert_eq!((run.code, run.stdout.as_str()), (0, "65536 64\n"), "{run:#?}");
}

#[test]
fn a_command_that_forks_without_end_is_limited_and_leaves_no_process() {
    let world = World::new();
    // Not by a shell: bash tries again for 15 s before it believes that it may not fork.
    let line = "exec python3 - <<'end'
import os, time
made = 0
for _ in range(400):
    try: child = os.fork()
    except BlockingIOError: break
    if child == 0:
        os.setsid()
        time.sleep(1000)
    made += 1
print(made, flush=True)
os._exit(3)
end";
    let run = world.run(&["--pids-limit", "100"], line);
    assert_eq!(run.code, 3, "{run:#?}");
    assert!(run.stdout.trim().parse::<u32>().is_ok_and(|made| made <= 100), "{run:#?}");
    world.dies_out("a fork bomb");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn processes_that_outlive_the_command_end_with_it() {
    let world = World::new();
    let run = world.run(&[], "for i in 1 2 3; do (trap '' TERM HUP INT; setsid nohup sleep 1000) >/dev/null 2>&1 & done; exit 5");
    assert_eq!(run.code, 5, "{run:#?}");
    world.dies_out("daemons");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn thousands_of_connections_at_once_are_served_or_refused_and_end() {
    let world = World::new();
    let line = "python3 - <<'end'
import socket
kept, failed = [], 0
for _ in range(3000):
    s = socket.socket(); s.settimeout(2)
    try: s.connect(('203.0.113.66', 443)); kept.append(s)
    except OSError: failed += 1; s.close()
    if len(kept) > 500: kept.pop(0).close()
print('done')
end
curl -s -m 20 -o /dev/null https://example.com; echo $?";
    let run = world.run(&[], line);
    assert_eq!((run.code, run.stdout.as_str()), (0, "done\n0\n"), "{run:#?}");
    assert_eq!(world.left(), [""; 0]);
}
