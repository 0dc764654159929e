//! System calls that would lead out and need no privilege: refused, and on record with the process that tried.

use awf_tests::{Outcome, Run, unconfined};
use libc::c_long;
use serde_json::json;

use crate::stage::PYTHON;

/// Makes each call of the command line, `name=number`, in a process of its own and prints the errno, 0 for success.
const MAKE: &str = r"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
user, child = 0x10000000, 17
room = ctypes.create_string_buffer(256)
array = ctypes.create_string_buffer(struct.pack('IIIII', 2, 4, 4, 1, 0), 72)
arguments = {
    'unshare': lambda: (user,),
    'setns': lambda: (os.open('/proc/self/ns/uts', os.O_RDONLY), 0),
    'clone': lambda: (user | child, None, None, None, None),
    'io_uring_setup': lambda: (1, room),
    'bpf': lambda: (0, array, 20),
    'request_key': lambda: (b'user', b'awf-test', None, 0),
    'pidfd_getfd': lambda: (os.pidfd_open(os.getpid()), 0, 0),
}
for name, number in (word.split('=') for word in sys.argv[1:]):
    if os.fork() == 0:
        made = libc.syscall(int(number), *arguments[name]())
        if made == 0 and name == 'clone':
            os._exit(0)
        print(name, ctypes.get_errno() if made < 0 else 0, flush=True)
        os._exit(0)
    os.wait()
";

const CALLS: [(&str, c_long); 7] = [
    ("unshare", libc::SYS_unshare),
    ("setns", libc::SYS_setns),
    ("clone", libc::SYS_clone),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("bpf", libc::SYS_bpf),
    ("request_key", libc::SYS_request_key),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
];

fn line() -> String {
    let calls: Vec<String> =
        CALLS.iter().map(|(name, number)| format!("{name}={number}")).collect();
    format!("{PYTHON} -c \"$MAKE\" {}", calls.join(" "))
}

#[track_caller]
fn is_on_record(outcome: Outcome, rule: &str, protocol: &str) -> Outcome {
    outcome.recorded(&[
        ("verdict", json!("deny")),
        ("layer", json!("seccomp")),
        ("rule", json!(rule)),
        ("protocol", json!(protocol)),
        ("comm", json!("python3")),
    ])
}

#[test]
fn a_call_that_would_lead_out_is_refused_and_on_record() {
    let control = unconfined(&format!("MAKE=\"{MAKE}\"; {}", line()));
    let control = String::from_utf8(control.stdout).expect("text");
    for (name, _number) in CALLS {
        // The key is looked for and does not exist.
        let errno = if name == "request_key" { libc::ENOKEY } else { 0 };
        assert!(control.contains(&format!("{name} {errno}\n")), "the positive control: {control}");
    }
    let run = Run::new().option("--env", &format!("MAKE={MAKE}"));
    let mut outcome = run.run(&format!("{} && exit 1", line())).failed();
    assert!(!outcome.stderr.contains("Blocked"), "no flag would change it: {outcome:#?}");
    for (name, _number) in CALLS {
        assert!(outcome.stdout.contains(&format!("{name} {}\n", libc::EPERM)), "{outcome:#?}");
        outcome = is_on_record(outcome, "system-call", name);
    }
}

#[test]
fn a_netlink_socket_is_for_routes_or_on_record() {
    let line = |protocol| {
        format!("{PYTHON} -c 'import socket; socket.socket(socket.AF_NETLINK, 3, {protocol})'")
    };
    assert!(unconfined(&line(libc::NETLINK_GENERIC)).status.success(), "the positive control");
    let outcome = Run::new().run(&line(libc::NETLINK_ROUTE)).succeeded();
    assert_eq!(outcome.records, [json!(null); 0]);
    let outcome = Run::new().run(&line(libc::NETLINK_GENERIC)).failed();
    is_on_record(outcome, "socket-type", "netlink/raw/16");
}

/// Asks for a listener of its own, then adds a filter that allows everything, then tries to leave.
const FILTER: &str = r"
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
allow = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 1, ctypes.addressof(allow)))
libc.prctl(38, 1, 0, 0, 0)
for flags in (8, 0):
    made = libc.syscall(317 if os.uname().machine == 'x86_64' else 277, 1, flags, program)
    print('filter', 'made' if made >= 0 else ctypes.get_errno())
print('unshare', libc.unshare(0x10000000), ctypes.get_errno())
";

#[test]
fn a_filter_of_the_command_takes_no_call_from_awf() {
    let control = unconfined(&format!("{PYTHON} -c \"{FILTER}\""));
    let said = String::from_utf8_lossy(&control.stdout);
    assert!(said.starts_with("filter made\nfilter made\nunshare 0 "), "{control:#?}");
    let run = Run::new().option("--env", &format!("FILTER={FILTER}"));
    let outcome = run.run(&format!("{PYTHON} -c \"$FILTER\"")).succeeded();
    // One listener for a process and its ancestors (seccomp(2)).
    let expected = format!("filter {}\nfilter made\nunshare -1 {}\n", libc::EBUSY, libc::EPERM);
    assert_eq!(outcome.stdout, expected);
    is_on_record(outcome, "system-call", "unshare");
}
