//! Every attempt of the probe that is a system call or a few.

use std::collections::BTreeMap;

use awf_tests::{Run, lab, unconfined};
use serde_json::Value;
use xtask::lab::Packet;

use crate::probe::{PROBE, lines, with_probe};
use crate::target::Target;

/// What the same attempt does without awf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    /// It succeeds.
    Works,
    /// It succeeds, and its datagram arrives at the sink.
    Arrives,
    /// It may fail: this kernel or machine may lack what it needs.
    MayLack,
}

use Control::{Arrives, MayLack, Works};

/// The probe was killed by the system call filter.
const KILLED: i32 = -1;

/// One attempt and what must become of it.
struct Case {
    name: &'static str,
    control: Control,
    /// Errno values inside that are right.
    errnos: &'static [i32],
    /// Rule and protocol of the record.
    record: Option<(&'static str, &'static str)>,
    /// Who refuses a recorded attempt.
    layer: &'static str,
}

const fn case(
    name: &'static str,
    control: Control,
    errnos: &'static [i32],
    record: Option<(&'static str, &'static str)>,
) -> Case {
    Case { name, control, errnos, record, layer: "kernel" }
}

const fn port(name: &'static str) -> Case {
    case(name, Works, &[libc::ECONNREFUSED], Some(("port", "tcp")))
}

const fn udp(name: &'static str) -> Case {
    case(name, Arrives, &[libc::ECONNREFUSED], Some(("udp", "udp")))
}

const fn v6(name: &'static str, control: Control, protocol: &'static str) -> Case {
    case(name, control, &[libc::ENETUNREACH], Some(("ipv6", protocol)))
}

const fn kind(name: &'static str, control: Control, protocol: &'static str) -> Case {
    case(name, control, &[libc::EPROTONOSUPPORT], Some(("socket-type", protocol)))
}

const fn option(name: &'static str, protocol: &'static str) -> Case {
    case(name, Works, &[libc::EPERM], Some(("socket-option", protocol)))
}

const fn door(name: &'static str, control: Control, protocol: &'static str) -> Case {
    case(name, control, &[libc::EPERM], Some(("door", protocol)))
}

/// A socket that the system call filter refuses.
const fn socket(
    name: &'static str,
    control: Control,
    errnos: &'static [i32],
    protocol: &'static str,
) -> Case {
    Case { layer: "seccomp", ..case(name, control, errnos, Some(("socket-type", protocol))) }
}

/// A right that is not given; no socket and no destination is involved, so it is not on record.
const fn right(name: &'static str, control: Control) -> Case {
    case(name, control, &[libc::EPERM], None)
}

const fn raw(name: &'static str, protocol: &'static str) -> Case {
    socket(name, Arrives, &[libc::EPERM], protocol)
}

const fn family(name: &'static str, control: Control, protocol: &'static str) -> Case {
    socket(name, control, &[libc::EAFNOSUPPORT], protocol)
}

const fn hidden(name: &'static str, control: Control) -> Case {
    case(
        name,
        control,
        &[libc::ENOENT, libc::EACCES, libc::EROFS, libc::EPERM, libc::ENODATA],
        None,
    )
}

/// Absent from most kernels, so that there is no socket for a program to judge.
const fn absent(name: &'static str) -> Case {
    case(name, MayLack, &[libc::EPROTONOSUPPORT, libc::ESOCKTNOSUPPORT], None)
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    port("tcp-22"), port("tcp-853"), port("tcp-3128"), port("tcp-5432"), port("tcp-8080"), port("tcp-8443"),
    port("tcp-nonblock"), port("tcp-fastopen"), port("tcp-fo-connect"), port("tcp-unspec"), port("tcp-bound"),
    port("tcp-mapped"), port("tcp-metadata"), port("tcp-private"), port("proxy-22"),
    v6("tcp6", Works, "tcp"), v6("tcp6-443", Works, "tcp"), v6("tcp6-80", Works, "tcp"),
    v6("tcp6-nat64", Works, "tcp"), v6("tcp6-6to4", Works, "tcp"),
    kind("mptcp", MayLack, "inet/1/262"), kind("mptcp6", MayLack, "inet6/1/262"),
    absent("sctp"), absent("sctp-many"), absent("sctp6"), absent("dccp"), absent("smc"), absent("l2tp"),
    udp("udp-443"), udp("udp-123"), udp("udp-514"), udp("udp-51820"), udp("udp-connect"), udp("udp-unspec"),
    udp("udp-redirected"), udp("udp-sendmmsg"), udp("udp-broadcast"), udp("udp-mdns"), udp("udp-multicast"),
    udp("udp-metadata"), udp("udp-mapped"), udp("udp-mixed"), udp("proxy-udp"),
    v6("udp6-443", Arrives, "udp"), v6("udp6-53", Arrives, "udp"), v6("udp6-connect", Arrives, "udp"),
    v6("udp6-linklocal", Works, "udp"), v6("udp6-multicast", Arrives, "udp"),
    kind("udplite", MayLack, "inet/2/136"), kind("udplite6", MayLack, "inet6/2/136"),
    kind("ping", Arrives, "inet/ping"), kind("ping-connect", Arrives, "inet/ping"), kind("ping6", Arrives, "inet6/ping"),
    raw("raw-icmp", "inet/raw/1"), raw("raw-other", "inet/raw/253"), raw("raw-header", "inet/raw/255"),
    raw("raw6-icmp", "inet6/raw/58"),
    family("packet", Arrives, "packet/raw/0"), family("packet-dgram", Arrives, "packet/2/0"),
    family("xdp", MayLack, "xdp/raw/0"), family("vsock", MayLack, "vsock/1/0"), family("alg", MayLack, "alg/5/0"),
    family("any-family", Works, "can/raw/0"),
    // These lead nowhere by themselves, so they are not on record.
    case("socketpair", MayLack, &[libc::EAFNOSUPPORT], None), right("nl-route", Works), right("nl-xfrm", MayLack),
    right("nl-netfilter", MayLack), right("nl-diag", Works), right("nl-generic", Works),
    option("opt-device", "setsockopt(1, 25)"), option("opt-ifindex", "setsockopt(1, 62)"),
    option("opt-mark", "setsockopt(1, 36)"), option("opt-unicast-if", "setsockopt(0, 50)"),
    option("opt-transpar", "setsockopt(0, 19)"), option("opt-route", "setsockopt(0, 4)"),
    option("opt-join", "setsockopt(0, 35)"), option("opt-group", "setsockopt(0, 42)"),
    option("opt-join6", "setsockopt(41, 20)"), option("opt-rthdr", "setsockopt(41, 57)"),
    option("opt-hopopts", "setsockopt(41, 54)"),
    case("late-mark", Arrives, &[libc::ECONNREFUSED], Some(("udp", "udp"))),
    // There is no other interface to go to, so these stay on loopback.
    case("msg-pktinfo", Arrives, &[0], None), case("msg-pktinfo6", Arrives, &[0], None),
    case("msg-route", Arrives, &[libc::EPERM], None), case("msg-rthdr", MayLack, &[libc::EPERM, libc::EINVAL], None),
    right("unshare-user", Works), right("unshare-net", Works), right("unshare-mount", Works),
    right("unshare-cgroup", Works), right("unshare-ipc", Works), right("clone-user", Works), right("clone-net", Works),
    right("clone-pid", Works), case("clone3-user", Works, &[libc::ENOSYS], None), right("setns", Works),
    right("mount", Works), right("umount", Works), right("fsopen", Works), right("open-tree", Works),
    right("chroot", Works), right("mknod", Works), right("setuid", Works), right("ptrace-me", Works),
    right("ptrace-parent", Works), right("vm-read", Works), right("pidfd-getfd", Works), right("bpf-next", Works),
    right("bpf-map", Works), right("perf", MayLack), right("keyctl", Works), right("add-key", Works),
    right("request-key", MayLack), right("io-uring", MayLack), right("userfaultfd", MayLack),
    right("file-handle", Works), right("personality", Works), right("reboot", Works), right("init-module", MayLack),
    right("iopl", MayLack), case("call-32", MayLack, &[KILLED], None), case("call-x32", MayLack, &[KILLED], None),
    case("call-unknown", MayLack, &[libc::ENOSYS], None),
    // The doors exist only inside, so that there is nothing to reach outside.
    door("door-clear", MayLack, "tcp"), door("door-proxy", MayLack, "tcp"), door("door-443", MayLack, "tcp"),
    door("door-mapped", MayLack, "tcp"), door("door-udp", Works, "udp"), door("bind-door", Works, "tcp"),
    door("bind-door-udp", Works, "udp"), door("bind-mapped", Works, "tcp"),
    case("bind-53", Works, &[libc::EACCES], None),
    // Root may be kept from these by the machine itself.
    hidden("proc1-root", MayLack), hidden("proc1-cwd", MayLack), hidden("proc1-mem", MayLack),
    hidden("proc1-environ", MayLack), hidden("proc1-fd", MayLack), hidden("sysctl-net", Works),
    hidden("sysctl-kernel", MayLack), hidden("sysrq", MayLack), hidden("kcore", MayLack), hidden("dev-mem", MayLack),
    hidden("cgroup-leave", Works), hidden("cgroup-mkdir", Works), hidden("bpffs", MayLack), right("tiocsti", MayLack),
];

/// What the probe says of an attempt.
#[derive(Debug)]
struct Report {
    errno: i32,
    micros: u64,
}

fn reports(stdout: &str) -> BTreeMap<String, Report> {
    let report = |line: Value| {
        let name = line["name"].as_str().unwrap().to_owned();
        let killed = line["signal"] == "SIGSYS";
        let errno =
            if killed { KILLED } else { i32::try_from(line["errno"].as_i64().unwrap()).unwrap() };
        assert!(killed || line["signal"].is_null(), "{line}");
        (name, Report { errno, micros: line["micros"].as_u64().unwrap_or(0) })
    };
    lines(stdout).map(report).collect()
}

/// Whether a packet carries these bytes.
fn carries(packet: &Packet, bytes: &[u8]) -> bool {
    packet.payload.windows(bytes.len()).any(|part| part == bytes)
}

/// What is wrong with the attempts without awf: they must work, or the refusals would prove nothing.
fn faults_outside(target: &Target) -> Vec<String> {
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    // Ping sockets are for groups that the namespace names; the sandbox opens them to see the attempt.
    let range = "/proc/sys/net/ipv4/ping_group_range";
    let output = unconfined(&format!("echo 0 0 > {range}; {PROBE} fire {}", target.salt));
    let reports = reports(&String::from_utf8_lossy(&output.stdout));
    let packets = sink.traffic_since(&mark).unwrap();
    assert_eq!(reports.len(), CASES.len(), "every vector of the probe needs a case");
    let mut faults = Vec::new();
    for case in CASES {
        let report = reports.get(case.name).unwrap_or_else(|| panic!("{} is not tried", case.name));
        if case.control != MayLack && report.errno != 0 {
            faults.push(format!("{}: does not work without awf: {report:?}", case.name));
        }
        let payload = target.payload(case.name);
        if case.control == Arrives && !packets.iter().any(|packet| carries(packet, &payload)) {
            faults.push(format!("{}: its datagram did not arrive without awf", case.name));
        }
    }
    faults
}

/// Whether the record of a refusal is complete.
fn is_complete(record: &Value, case: &Case, rule: &str, protocol: &str) -> bool {
    let has_destination = matches!(rule, "port" | "udp" | "ipv6");
    record["comm"] == case.name
        && record["verdict"] == "deny"
        && record["layer"] == case.layer
        && record["rule"] == rule
        && record["protocol"] == protocol
        && record["pid"].is_u64()
        && record["uid"].is_u64()
        && (!has_destination || record["address"].is_string() && record["port"].is_u64())
}

#[test]
fn every_system_call_out_is_refused_at_once_and_on_record() {
    let sink = lab().sink();
    let mark = sink.mark().unwrap();
    let mut faults = faults_outside(&Target::of(11));

    let target = Target::of(12);
    let run = with_probe(Run::allowing("example.com"));
    let outcome = run.run(&format!("{PROBE} fire {}", target.salt)).succeeded();
    let reports = reports(&outcome.stdout);
    let mut latencies = Vec::new();
    for case in CASES {
        let Report { errno, micros } = reports[case.name];
        if !case.errnos.contains(&errno) {
            faults.push(format!("{}: errno {errno} instead of {:?}", case.name, case.errnos));
        }
        // Generous: the machine of a test may be busy. What is usual is printed below.
        assert!(micros < 1_000_000, "{}: refused after {micros} us", case.name);
        let Some((rule, protocol)) = case.record else { continue };
        latencies.push(micros);
        if outcome.records_where(|record| is_complete(record, case, rule, protocol)).is_empty() {
            let there = outcome.records_where(|record| record["comm"] == case.name);
            faults.push(format!("{}: no record says {rule}, {protocol}: {there:#?}", case.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    let token = format!("awf-probe {} ", target.salt);
    let aims = [Some(target.v4.into()), Some(target.v6.into())];
    let leaks = |packet: &Packet| aims.contains(&packet.dst) || carries(packet, token.as_bytes());
    let leaked: Vec<_> = sink.traffic_since(&mark).unwrap().into_iter().filter(leaks).collect();
    assert!(leaked.is_empty(), "the sink saw {leaked:#?}");

    latencies.sort_unstable();
    let (median, worst) = (latencies[latencies.len() / 2], latencies.last().unwrap());
    println!("{} recorded refusals: median {median} us, slowest {worst} us", latencies.len());
}
