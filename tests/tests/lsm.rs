//! The LSM programs: what each refuses, what must go on working, and whole runs under the profile they make.
//!
//! Part of the tier that boots other kernels: where the security module `bpf` is not active, or the kernel does not let its
//! programs be loaded, these tests hold awf to say so and to be `hardened`. Every attempt is first made in a cgroup that
//! has all other programs: what works there and not with the LSM programs is refused by them alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use awf::cli::ProfileChoice;
use awf::enforce::types::Types;
use awf::enforce::{Cgroup, Contents, Object, Profile, Standing};
use awf::host::{Caller, Host};
use awf::policy::Policy;
use awf_common::decide::Reason;
use awf_common::event::{Hook, Refusal};
use awf_tests::bench::{Bench, comm, drain};
use awf_tests::{Run, Scratch, awf, kernel_version, lab};

const PYTHON: &str = "/usr/bin/python3";
const ATTEMPTS: &str = include_str!("lsm/attempts.py");

/// An attempt that the LSM programs must refuse: its name in the script, the errno, the record.
type Refused = (&'static str, i32, Hook, Reason);

const REFUSED: &[Refused] = &[
    ("vsock", libc::EPROTONOSUPPORT, Hook::LsmCreate, Reason::SocketType),
    ("alg", libc::EPROTONOSUPPORT, Hook::LsmCreate, Reason::SocketType),
    ("packet", libc::EPROTONOSUPPORT, Hook::LsmCreate, Reason::SocketType),
    ("rds", libc::EPROTONOSUPPORT, Hook::LsmCreate, Reason::SocketType),
    ("tipc", libc::EPROTONOSUPPORT, Hook::LsmCreate, Reason::SocketType),
    ("netlink-generic", libc::EPROTONOSUPPORT, Hook::LsmCreate, Reason::SocketType),
    // Inherited: these two hooks must look at the calling task's cgroup, not at the socket's.
    ("tcp-connect", libc::EPERM, Hook::LsmConnect, Reason::ForeignSocket),
    ("tcp-send", libc::EPERM, Hook::LsmSend, Reason::ForeignSocket),
    ("udp-send", libc::EPERM, Hook::LsmSend, Reason::ForeignSocket),
    ("rights-tcp", libc::EPERM, Hook::LsmReceive, Reason::ForeignSocket),
    ("rights-udp", libc::EPERM, Hook::LsmReceive, Reason::ForeignSocket),
    ("rights-unix", libc::EPERM, Hook::LsmReceive, Reason::ForeignSocket),
    ("pidfd-getfd", libc::EPERM, Hook::LsmReceive, Reason::ForeignSocket),
    ("unix-stream", libc::EPERM, Hook::LsmUnix, Reason::ForeignSocket),
    ("unix-seqpacket", libc::EPERM, Hook::LsmUnix, Reason::ForeignSocket),
    ("unix-abstract", libc::EPERM, Hook::LsmUnix, Reason::ForeignSocket),
    ("unix-datagram", libc::EPERM, Hook::LsmUnix, Reason::ForeignSocket),
    ("unix-connected", libc::EPERM, Hook::LsmUnix, Reason::ForeignSocket),
    ("user-namespace", libc::EPERM, Hook::LsmUserNamespace, Reason::UserNamespace),
    ("bpf", libc::EPERM, Hook::LsmBpf, Reason::Bpf),
];

/// What programs do every day.
const WORKS: &[&str] = &[
    "own-tcp",
    "own-accept",
    "own-udp",
    "own-unix",
    "own-datagram",
    "own-pair",
    "own-rights",
    "rights-pipe",
    "given-stream",
    "given-datagram",
    "routes",
    "root-namespace",
];

/// What this machine is to be expected to give.
fn expected() -> Standing {
    Standing::expected(ProfileChoice::Auto, &Host::inspect(Caller::inspect().unwrap()).unwrap())
}

/// Makes attempts from within the agent's cgroup: name to errno.
fn fire(agent: &Cgroup, names: &[&str]) -> BTreeMap<String, i32> {
    let output = Command::new(PYTHON)
        .args(["-c", ATTEMPTS])
        .arg(agent.path().join("cgroup.procs"))
        .args(names)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let report = |line: &str| {
        let (name, errno) = line.split_once(' ').unwrap();
        (name.to_owned(), errno.parse().unwrap())
    };
    let reports: BTreeMap<String, i32> = lines.lines().map(report).collect();
    assert_eq!(reports.len(), names.len(), "{reports:?}");
    reports
}

fn contents() -> Contents {
    let (policy, _warnings) = Policy::resolve(&[], &[]).unwrap();
    Contents::of(&policy, &[], &[]).for_kernel((6, 1))
}

/// Whether the kernel lists the security module `bpf`, in awf's absence.
fn is_bpf_active() -> bool {
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    modules.trim().split(',').any(|module| module == "bpf")
}

/// The programs with those of the LSM layer; `None` where this machine is rightly `hardened`.
fn load_full() -> Option<Object> {
    let standing = expected();
    if standing.profile == Profile::Hardened {
        eprintln!("row: {standing}");
        let is_right = kernel_version() < (6, 1) || !is_bpf_active();
        assert!(is_right, "nothing stands in the way of LSM programs: {standing}");
        return None;
    }
    let types = Types::of_kernel().unwrap();
    let object = Object::load_as(&contents(), standing, Some(&types)).unwrap();
    eprintln!("row: {}", object.standing());
    if object.standing().profile == Profile::Full {
        return Some(object);
    }
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap();
    assert!(!lockdown.contains("[none]"), "nothing forbids LSM programs: {}", object.standing());
    None
}

#[test]
fn every_hook_refuses_what_no_other_program_does_and_puts_it_on_record() {
    let Some(mut full) = load_full() else { return };
    for module in ["vsock", "af_alg", "rds_tcp", "tipc"] {
        // Compiled in on some kernels; where the family is really missing, the control says so.
        let _status = Command::new("modprobe").args(["-q", module]).status();
    }
    let names: Vec<&str> = REFUSED.iter().map(|row| row.0).collect();
    {
        let bench = Bench::new("lsm-control");
        let _links = bench.attach(&Object::load(&contents()).unwrap());
        for (name, errno) in fire(bench.agent(), &names) {
            assert_eq!(errno, 0, "{name} does not work without the LSM programs");
        }
    }
    let bench = Bench::new("lsm");
    let _links = bench.attach(&full);
    let errnos = fire(bench.agent(), &names);
    let refusals = drain(&mut full);
    let mut wrong = Vec::new();
    for (name, errno, hook, reason) in REFUSED {
        if errnos[*name] != *errno {
            wrong.push(format!("{name}: errno {} instead of {errno}", errnos[*name]));
        }
        let is_it = |refusal: &&Refusal| {
            comm(refusal) == *name
                && refusal.hook == *hook as u8
                && refusal.reason == *reason as u8
                && refusal.cgroup == bench.agent().id()
        };
        if refusals.iter().find(is_it).is_none() {
            wrong.push(format!("{name}: not on record"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{refusals:#?}");
}

#[test]
fn what_programs_do_every_day_goes_on_working() {
    let Some(mut full) = load_full() else { return };
    let bench = Bench::new("lsm-works");
    let _links = bench.attach(&full);
    for (name, errno) in fire(bench.agent(), WORKS) {
        assert_eq!(errno, 0, "{name}: {}", std::io::Error::from_raw_os_error(errno));
    }
    let refusals = drain(&mut full);
    assert!(refusals.is_empty(), "{refusals:#?}");
}

/// The one line in which a run says its profile.
fn said(stderr: &str) -> &str {
    let lines: Vec<&str> = stderr.lines().filter(|line| line.contains("Profile: ")).collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    lines[0]
}

const EVERYDAY: &str = r"
import os, socket, threading
a, b = socket.socketpair()
a.send(b'x'); assert b.recv(1) == b'x'
server = socket.socket(); server.bind(('127.0.0.1', 0)); server.listen()
client = socket.create_connection(server.getsockname())
served, _ = server.accept()
served.send(b'x'); assert client.recv(1) == b'x'
path = '/tmp/lsm-%d' % os.getpid()
listener = socket.socket(socket.AF_UNIX); listener.bind(path); listener.listen()
visitor = socket.socket(socket.AF_UNIX); visitor.connect(path)
os.unlink(path)
assert socket.if_nameindex()
print('everyday works')
";

#[test]
fn a_run_says_its_profile_and_serves_its_command() {
    let full = load_full().is_some();
    let line = format!(
        "curl -sS https://example.com/whoami; curl -sS https://denied.example.net/; {PYTHON} -c \"{EVERYDAY}\""
    );
    let outcome = Run::allowing("example.com").run(&line).succeeded();
    let profile =
        if full { "Profile: full (" } else { "Profile: hardened, without LSM programs (" };
    assert!(said(&outcome.stderr).contains(profile), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("server=example.com"), "{outcome:#?}");
    assert!(outcome.stdout.contains("everyday works"), "{outcome:#?}");
    let denied = |record: &serde_json::Value| {
        record["verdict"] == "deny" && record["name"] == "denied.example.net"
    };
    assert!(!outcome.records_where(denied).is_empty(), "{outcome:#?}");
    assert!(outcome.records_where(|record| record["layer"] == "lsm").is_empty(), "{outcome:#?}");
}

#[test]
fn a_run_that_must_be_full_is_full_or_does_not_start() {
    let full = load_full().is_some();
    let outcome = Run::new().option("--profile", "full").run("echo ran");
    if full {
        assert!(outcome.succeeded().stdout.contains("ran"));
    } else {
        assert_eq!(outcome.code, 111, "{outcome:#?}");
        assert!(outcome.stdout.is_empty(), "{outcome:#?}");
        assert!(outcome.stderr.contains("--profile full cannot be had here: "), "{outcome:#?}");
    }
    let hardened = Run::new().option("--profile", "hardened").run("echo ran").succeeded();
    assert!(said(&hardened.stderr).contains("hardened, without LSM programs (asked for)"));
}

#[test]
fn a_unix_socket_as_standard_output_works_and_a_network_socket_is_refused() {
    let scratch = Scratch::new("stdout");
    let run = |stdout: OwnedFd| {
        let mut command = lab().host_command(awf());
        command
            .args(awf_tests::runtime_options())
            .arg("--proxy-logs-dir")
            .arg(scratch.path().join("logs"));
        command.arg("--audit-dir").arg(scratch.path().join("audit"));
        command.args(["--", "echo through"]).stdin(Stdio::null()).stdout(stdout);
        let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let (code, stderr) = run(theirs.into());
    assert_eq!(code, Some(0), "{stderr}");
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through\n");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (code, stderr) = run(socket.into());
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("refusing stdout"), "{stderr}");
}
