//! `awf doctor` on a sound machine and on every broken one: it names what a run would fail for, with the exit code of that run.

use std::time::Instant;

use awf::exit::Exit;
use awf_tests::awf;
use serde_json::Value;

use crate::world::{Ended, World, finish};

/// Runs `awf doctor` in a world by way of a command line that ends with `"$@"`.
fn doctor_by(world: &World, way: &str, words: &[&str]) -> Ended {
    let began = Instant::now();
    let mut command = world.command("sh");
    // The binary may lie where only root may go: it is handed over as an open file.
    command.args(["-c", &format!("exec 9<\"$0\"; {way}")]).arg(awf()).arg("/proc/self/fd/9");
    finish(command.arg("doctor").args(words).spawn().unwrap(), began)
}

const PLAIN: &str = "exec \"$@\"";

fn finding<'a>(report: &'a Value, name: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("a list");
    findings
        .iter()
        .find(|finding| finding["name"] == name)
        .unwrap_or_else(|| panic!("{name}: {report:#}"))
}

#[track_caller]
fn names(world: &World, way: &str, (name, exit): (&str, Exit), needle: &str) {
    let run = doctor_by(world, way, &["--json"]);
    assert_eq!(run.code, 1, "{run:#?}");
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let found = finding(&report, name);
    assert_eq!((&found["verdict"], &report["ok"]), (&"fail".into(), &false.into()), "{found:#}");
    assert_eq!(found["exit_code"], exit.code(), "{found:#}");
    assert!(found["found"].as_str().unwrap().contains(needle), "{needle:?}: {found:#}");
    assert!(!found["fix"].as_str().unwrap_or_default().is_empty(), "{found:#}");
    assert_eq!(world.left(), [""; 0], "{run:#?}");
    // The same for a reader.
    let run = doctor_by(world, way, &[]);
    assert!(run.code == 1 && run.stdout.contains(&format!("FAIL  {name}")), "{run:#?}");
}

#[track_caller]
fn check(setup: &str, name: &str, exit: Exit, needle: &str) {
    names(&World::broken_by(setup), PLAIN, (name, exit), needle);
}

#[test]
fn a_sound_machine_passes_and_nothing_is_left() {
    let world = World::new();
    let run = doctor_by(&world, PLAIN, &["--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:#?}");
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    for name in ["root", "kernel", "cgroup2", "programs", "squid", "bash", "space", "ports"] {
        assert_eq!(finding(&report, name)["verdict"], "pass", "{report:#}");
    }
    assert_eq!(world.left(), [""; 0]);
}

/// As in `broken.rs`.
const CGROUP2: &str = "for place in $(sed -n 's/.* \\(\\/[^ ]*\\) [^ ]* .*- cgroup2 .*/\\1/p' /proc/self/mountinfo); do";

#[test]
fn cgroups_that_are_missing_or_frozen_are_named() {
    let needle = "no writable cgroup v2 hierarchy";
    check(
        &format!("{CGROUP2} mount -t tmpfs hidden $place; done"),
        "cgroup2",
        Exit::NoCgroup2,
        needle,
    );
    let frozen = format!("{CGROUP2} mount -o remount,bind,ro $place; done");
    check(&frozen, "cgroup2", Exit::NoCgroup2, needle);
}

#[test]
fn missing_and_broken_programs_are_named() {
    let remove = "for place in /usr/sbin /usr/local/sbin /usr/bin /usr/local/bin /usr/local/squid/sbin; do \
                  if [ -e $place/squid ]; then mount --bind /dev/null $place/squid; fi; done";
    if awf_tests::docker().is_none() {
        check(remove, "squid", Exit::SquidMissing, "Squid is not installed");
    }
    let broken = "printf '#!/bin/sh\\nexit 1\\n' >squid; chmod 755 squid; \
                  mount --bind squid $(command -v squid || echo /usr/sbin/squid)";
    check(broken, "squid", Exit::SetUp, "does not say its version");
    let remove = "mount --bind /dev/null $(readlink -f /bin/bash)";
    check(remove, "bash", Exit::SetUp, "/bin/bash is missing");
}

#[test]
fn a_kernel_that_refuses_programs_is_named() {
    // Makes bpf(2) fail with EPERM, as the default profile of container engines does: BPF of linux/bpf_common.h.
    let refuse = "exec python3 -c 'import ctypes, os, struct, sys
step = lambda code, jf, k: struct.pack(\"HBBI\", code, 0, jf, k)
code = step(0x20, 0, 0) + step(0x15, 1, 321) + step(0x06, 0, 0x50001) + step(0x06, 0, 0x7fff0000)
buffer = ctypes.create_string_buffer(code)
program = struct.pack(\"HxxxxxxP\", 4, ctypes.addressof(buffer))
assert ctypes.CDLL(None).prctl(22, 2, ctypes.create_string_buffer(program)) == 0
os.execv(sys.argv[1], sys.argv[1:])' \"$@\"";
    names(&World::new(), refuse, ("programs", Exit::ProgramsRefused), "the kernel refused");
}

#[test]
fn a_root_that_is_none_is_named() {
    let take = "exec setpriv --bounding-set -sys_admin \"$@\"";
    names(&World::new(), take, ("root", Exit::NoPrivilege), "CAP_SYS_ADMIN");
    let world =
        World::broken_by("if [ -e /usr/bin/sudo ]; then mount --bind /dev/null /usr/bin/sudo; fi");
    let drop = "exec setpriv --reuid 65534 --regid 65534 --clear-groups env PATH=/nowhere \"$@\"";
    names(&world, drop, ("root", Exit::NoPrivilege), "sudo is not installed");
    let world = World::new();
    let sudo = world.path().join("sudo");
    std::fs::write(&sudo, "#!/bin/sh\necho 'sudo: a password is required' >&2; exit 1\n").unwrap();
    assert!(world.inside("chmod 755 sudo").success());
    let drop = "exec setpriv --reuid 65534 --regid 65534 --clear-groups env PATH=\"$PWD:/usr/bin:/bin\" \"$@\"";
    names(&world, drop, ("root", Exit::NoPrivilege), "a password is required");
}

#[test]
fn without_root_it_says_what_it_could_not_look_at() {
    let world = World::new();
    let sudo = world.path().join("sudo");
    std::fs::write(&sudo, "#!/bin/sh\nexit 0\n").unwrap();
    assert!(world.inside("chmod 755 sudo").success());
    let drop = "exec setpriv --reuid 65534 --regid 65534 --clear-groups env PATH=\"$PWD:/usr/bin:/bin\" \"$@\"";
    let run = doctor_by(&world, drop, &["--json"]);
    assert_eq!(run.code, 0, "{run:#?}");
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(finding(&report, "root")["verdict"], "pass", "{report:#}");
    let programs = finding(&report, "programs");
    assert_eq!(
        (&programs["verdict"], &programs["fix"]),
        (&"unknown".into(), &"sudo awf doctor".into())
    );
}

#[test]
fn taken_ports_and_too_few_files_are_named() {
    let taken = "exec unshare --net sh -c 'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range; ip link set lo up; \
                 exec \"$@\"' sh python3 -c 'import socket,sys,subprocess
kept = []
for port in range(20000, 20192):
    s = socket.socket(); s.bind((\"127.0.0.1\", port)); s.listen(); kept.append(s)
sys.exit(subprocess.call(sys.argv[1:], pass_fds=[9]))' \"$@\"";
    names(
        &World::new(),
        taken,
        ("ports", Exit::PortTaken),
        "no three neighbouring free loopback ports",
    );
    let few = "exec prlimit --nofile=64:64 setpriv --bounding-set -sys_resource \"$@\"";
    names(&World::new(), few, ("open-files", Exit::SetUp), "open only 64 files");
}

#[test]
fn places_that_are_full_or_frozen_are_named() {
    let full = "mkdir full; mount -t tmpfs -o size=64k full full; head -c 1m /dev/zero >full/ballast 2>/dev/null || true";
    let there = "TMPDIR=$PWD/full; export TMPDIR; exec \"$@\"";
    names(&World::broken_by(full), there, ("space", Exit::DiskFull), "bytes are left");
    let full = "mkdir full; mount -t tmpfs -o nr_inodes=4 full full; \
                for i in 1 2 3 4; do touch full/$i 2>/dev/null || true; done";
    names(&World::broken_by(full), there, ("space", Exit::DiskFull), "no inode is left");
    for place in ["/run/awf", "/var/lib/awf"] {
        let frozen = format!("mount --bind {place} {place}; mount -o remount,bind,ro {place}");
        check(&frozen, "directories", Exit::SetUp, place);
    }
}

#[test]
fn what_a_killed_run_has_left_is_named_with_what_removes_it() {
    let world = World::new();
    let mut child = world.awf().args(["--", "sleep 60"]).spawn().unwrap();
    let began = Instant::now();
    while world.run_cgroup("agent").is_none_or(|group| !group.join("cgroup.procs").exists()) {
        assert!(began.elapsed().as_secs() < 20, "the run does not begin");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    world.dies_out("killed");
    let report = |run: Ended| serde_json::from_str::<Value>(&run.stdout).expect("JSON");
    let left = report(doctor_by(&world, PLAIN, &["--json"]));
    let found = finding(&left, "leftovers");
    assert_eq!(found["verdict"], "warn", "{found:#}");
    assert_eq!(world.run(&[], "true").code, 0);
    let left = report(doctor_by(&world, PLAIN, &["--json"]));
    assert_eq!(finding(&left, "leftovers")["verdict"], "pass", "{left:#}");
}

#[test]
fn on_a_terminal_a_line_shows_while_a_run_waits_and_is_gone_when_it_begins() {
    use std::io::Read as _;
    let world = World::new();
    let held = world.hold_turnstile();
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let mut command = world.awf();
    command.args(["--", "true"]).env("TERM", "xterm").stderr(terminal.slave);
    let child = command.spawn().unwrap();
    drop(command);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    drop(held);
    let mut screen = Vec::new();
    drop(std::fs::File::from(terminal.master).read_to_end(&mut screen));
    let run = finish(child, Instant::now());
    let screen = String::from_utf8_lossy(&screen);
    assert_eq!(run.code, 0, "{screen:?}");
    let line = screen.find("Starting the sandbox").unwrap_or_else(|| panic!("{screen:?}"));
    let began = screen.find("Executing agent command").expect("it began");
    let last = screen.rfind("Starting the sandbox").unwrap_or_default();
    assert!(line < began && last < began, "{screen:?}");
}
