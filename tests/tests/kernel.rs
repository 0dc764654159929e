//! The kernel programs on cgroups of their own, without the rest of awf: as root, in the lab's host namespace, whose routes
//! lead out. What is refused here is refused by the programs alone.
//!
//! Every test makes its cgroups and a bpffs in a mount namespace of its own thread, and removes them.

#[path = "../src/bin/probe/target.rs"]
mod target;
#[path = "kernel/peer.rs"]
mod peer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::process::{Command, Output, Stdio};

use awf::enforce::{Cgroup, Contents, EnforceError, Object};
use awf::observe::kernel::count;
use awf::plan::addresses;
use awf::policy::{Opening, Policy, PortRange, Rule, Service, Services, Target as Place};
use awf_common::decide::{Door, Reason};
use awf_common::event::{ClientEnd, Counter, Hook, Refusal};
use awf_tests::bench::{Bench, comm, drain};
use awf_tests::{attempts, kernel_version, lab};
use target::Target;
use xtask::lab::Packet;
use xtask::vectors::report::{End, Kind, Line, tell};
use xtask::vectors::{self, Alone, Vector};

const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// Runs a shell line in a cgroup, in the lab's host namespace.
fn run(cgroup: &Cgroup, line: &str) -> Output {
    let script = format!("echo 0 > {}/cgroup.procs && {line}", cgroup.path().display());
    let output = lab().host_command("/bin/sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Fires vectors of the probe in a cgroup: name to errno.
fn fire(cgroup: &Cgroup, target: &Target, vectors: &str) -> BTreeMap<String, i32> {
    let output = run(cgroup, &format!("{PROBE} fire {} {vectors}", target.salt));
    let reports = attempts::reports(&String::from_utf8(output.stdout).unwrap());
    reports.into_iter().map(|(name, report)| (name, report.errno)).collect()
}

/// The contents for a policy that allows one name and one private address.
fn contents() -> Contents {
    let (policy, _warnings) =
        Policy::resolve(&["example.com".to_owned(), "10.9.9.9".to_owned()], &[]).unwrap();
    let resolver: IpAddr = "8.8.8.8".parse().unwrap();
    let own: IpAddr = "203.0.118.1".parse().unwrap();
    Contents::of(&policy, &[resolver], &[own]).for_kernel(kernel_version())
}

/// The errno of a refused send: chosen by the program where the kernel lets it (5.18), else EPERM.
fn refused() -> i32 {
    if kernel_version() >= (5, 18) { libc::ECONNREFUSED } else { libc::EPERM }
}

fn load() -> Object {
    Object::load(&contents()).expect("the programs load on this kernel")
}

#[test]
fn the_programs_load_and_attach_and_govern_their_cgroups() {
    let bench = Bench::new("load");
    let object = load();
    let links = bench.attach(&object);
    links.verify(bench.agent(), bench.proxy()).unwrap();
    for hook in awf::enforce::object::HOOKS {
        assert!(bench.pins.join(hook.program).exists(), "{} is not pinned", hook.program);
    }
    // Read by the vm tier. The kernel tells since 5.16.
    let ours = aya::programs::loaded_programs()
        .flatten()
        .filter(|program| program.name().starts_with(b"awf_"));
    for program in ours {
        let count = program.verified_instruction_count();
        let count = count.map_or_else(|| "untold".to_owned(), |count| count.to_string());
        println!("verified {} {count}", program.name_as_str().unwrap());
    }
}

/// What refusals are found by: the name of the task, or the option as the record spells it.
fn found_by(refusals: &[Refusal]) -> BTreeSet<String> {
    let option = |one: &Refusal| format!("setsockopt({}, {})", one.kind, one.port);
    refusals.iter().flat_map(|one| [comm(one), option(one)]).collect()
}

/// What the programs alone must stop, as the table says.
fn theirs() -> impl Iterator<Item = &'static Vector> {
    vectors::all().filter(|vector| vector.alone != Alone::Blind)
}

/// What an attempt under the programs came to, and why it proves nothing, if so.
fn judge(vector: &Vector, errno: i32, outside: Option<i32>, arrived: bool) -> Result<Line, String> {
    let expected = attempts::expected(vector);
    let uncontrolled = attempts::judge_control(expected.control, outside, arrived)?;
    let lacking = outside.filter(|errno| *errno != 0);
    match expected.alone {
        Alone::Refuse(right) if errno == right || Some(errno) == lacking => {}
        Alone::Drop => {}
        _ => return Err(format!("errno {errno}, not {:?}", expected.alone)),
    }
    let end = if errno == 0 { End::Contained } else { End::Refused };
    let name = vector.name.to_owned();
    Ok(Line { kind: Kind::ProgramsAlone, name, end, recorded: false, uncontrolled })
}

/// Root, with every capability, a real route and no system call filter, meets the programs alone.
#[test]
fn the_programs_alone_refuse_every_vector_even_to_root() {
    let bench = Bench::new("vectors");
    let sink = lab().sink();
    let names: Vec<&str> = theirs().map(|vector| vector.name).collect();
    let tried: Vec<&str> =
        theirs().filter(|one| one.control.is_tried()).map(|vector| vector.name).collect();
    let mark = sink.mark().unwrap();
    let free = Target::of(20);
    let visitor = attempts::Accomplice::of(PROBE, free.salt);
    let outside = fire(bench.agent(), &free, &tried.join(" "));
    drop(visitor);
    let seen_outside = sink.traffic_since(&mark).unwrap();

    let mut object = load();
    let _links = bench.attach(&object);
    let mark = sink.mark().unwrap();
    let target = Target::of(21);
    let visitor = attempts::Accomplice::of(PROBE, target.salt);
    let errnos = fire(bench.agent(), &target, &names.join(" "));
    drop(visitor);
    let seen = sink.traffic_since(&mark).unwrap();
    let refusals = drain(&mut object);
    let on_record = found_by(&refusals);
    let mut faults = Vec::new();
    for vector in theirs() {
        let carried = |target: &Target, packets: &[Packet]| {
            let payload = target.payload(vector.name);
            packets.iter().any(|packet| attempts::carries(packet, &payload))
        };
        let without = outside.get(vector.name).copied();
        let arrived = carried(&free, &seen_outside);
        let mut line = match judge(vector, errnos[vector.name], without, arrived) {
            Ok(line) => line,
            Err(what) => {
                faults.push(format!("{}: {what}", vector.name));
                continue;
            }
        };
        let label = vector.record.filter(|_record| !attempts::expected(vector).names_caller);
        line.recorded = on_record.contains(label.map_or(vector.name, |record| record.protocol));
        if carried(&target, &seen) {
            line.end = End::Escaped;
            faults.push(format!("{}: the sink saw it", vector.name));
        }
        // What the kernel lacks, the programs cannot see.
        let must_record = matches!(vector.alone, Alone::Refuse(_)) && without.unwrap_or(0) == 0;
        if must_record && !line.recorded {
            faults.push(format!("{} is not on record", vector.name));
        }
        tell(&line).unwrap();
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let aims = [Some(target.v4.into()), Some(target.v6.into())];
    let leaked: Vec<_> = seen.into_iter().filter(|packet| aims.contains(&packet.dst)).collect();
    assert!(leaked.is_empty(), "the sink saw {leaked:#?}");

    let dropped = refusals.iter().filter(|refusal| refusal.hook == Hook::Egress as u8).count();
    assert!(dropped >= 2, "the backstop dropped {dropped} packets");
    let from_hooks =
        |refusal: &&Refusal| ![Hook::Egress as u8, Hook::Ingress as u8].contains(&refusal.hook);
    for refusal in refusals.iter().filter(from_hooks) {
        assert_eq!(refusal.cgroup, bench.agent().id(), "{refusal:?}");
        assert_eq!(refusal.process.uid, 0);
    }
}

#[test]
fn a_program_that_was_never_configured_refuses_everything() {
    let bench = Bench::new("closed");
    let mut closed = contents();
    closed.agent = awf_common::config::Config::CLOSED;
    closed.proxy = awf_common::config::GuardConfig::CLOSED;
    let object = Object::load(&closed).unwrap();
    let _links = bench.attach(&object);
    for cgroup in [bench.agent(), bench.proxy()] {
        // Without a chosen errno, which only the configuration could order.
        let errnos = fire(cgroup, &Target::of(26), "udp-443 tcp-8080 tcp-mapped ping raw-icmp");
        let refused = |errno: &i32| *errno == libc::EPERM;
        assert!(errnos.values().all(refused), "{errnos:?}");
    }
}

#[test]
fn a_process_in_a_cgroup_below_is_refused_and_one_beside_is_not() {
    let bench = Bench::new("below");
    let object = load();
    let _links = bench.attach(&object);
    let below = Cgroup::create(bench.agent().path().join("below")).unwrap();
    let beside = Cgroup::create(bench.parent.join("beside")).unwrap();
    let target = Target::of(22);
    assert_eq!(fire(&below, &target, "udp-443")["udp-443"], refused());
    assert_eq!(fire(&beside, &target, "udp-443")["udp-443"], 0, "positive control");
    below.remove().unwrap();
    beside.remove().unwrap();
}

#[test]
fn pinned_links_refuse_after_the_loader_is_gone() {
    let bench = Bench::new("pins");
    let object = load();
    let links = bench.attach(&object);
    drop(links);
    drop(object);
    let target = Target::of(23);
    assert_eq!(fire(bench.agent(), &target, "udp-443")["udp-443"], refused());
    for hook in awf::enforce::object::HOOKS {
        fs::remove_file(bench.pins.join(hook.program)).unwrap();
    }
    assert_eq!(fire(bench.agent(), &target, "udp-443")["udp-443"], 0, "positive control");
}

#[test]
fn a_replaced_cgroup_is_noticed() {
    let mut bench = Bench::new("replaced");
    let object = load();
    let links = bench.attach(&object);
    let path = bench.agent().path().to_owned();
    bench.agent.take().unwrap().remove().unwrap();
    bench.agent = Some(Cgroup::create(path).unwrap());
    let verified = links.verify(bench.agent(), bench.proxy());
    assert!(matches!(verified, Err(EnforceError::WrongCgroup { .. })), "{verified:?}");
}

/// `BPF_OBJ_GET` and `BPF_LINK_DETACH` (`include/uapi/linux/bpf.h`).
const OBJ_GET: libc::c_long = 7;
const LINK_DETACH: libc::c_long = 34;
const MAP_UPDATE_ELEM: libc::c_long = 2;

/// bpf(2) with an attribute of words.
fn bpf(command: libc::c_long, attribute: &[u64]) -> nix::Result<i32> {
    let address = attribute.as_ptr();
    // SAFETY: the kernel reads the attribute, which outlives the call, as do the buffers it points to.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, address, size_of_val(attribute)) };
    nix::errno::Errno::result(result).map(|result| i32::try_from(result).unwrap())
}

#[test]
fn a_link_detached_by_force_is_noticed() {
    let bench = Bench::new("detached");
    let object = load();
    let links = bench.attach(&object);
    let path = bench.pins.join("awf_connect4");
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let link = bpf(OBJ_GET, &[path.as_ptr() as u64, 0]).unwrap();
    // SAFETY: the kernel has just made it for us.
    let _owned = unsafe { OwnedFd::from_raw_fd(link) };
    links.verify(bench.agent(), bench.proxy()).unwrap();
    bpf(LINK_DETACH, &[u64::try_from(link).unwrap()]).unwrap();
    let verified = links.verify(bench.agent(), bench.proxy());
    assert!(
        matches!(verified, Err(EnforceError::WrongCgroup { program: "awf_connect4", .. })),
        "{verified:?}"
    );
}

#[test]
fn frozen_maps_cannot_be_written() {
    let bench = Bench::new("frozen");
    let object = load();
    let _links = bench.attach(&object);
    let (mut frozen, mut open) = (0, 0);
    for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let descriptor: u64 = entry.file_name().to_str().unwrap().parse().unwrap();
        let info =
            fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap_or_default();
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse::<u64>().ok()
        };
        let Some(is_frozen) = field("frozen:") else { continue };
        let (key, value) = ([0_u64; 64], [0_u64; 512]);
        let update = [descriptor, key.as_ptr() as u64, value.as_ptr() as u64, 0];
        let updated = bpf(MAP_UPDATE_ELEM, &update);
        if is_frozen == 1 {
            assert_eq!(updated, Err(nix::errno::Errno::EPERM), "{info}");
            frozen += 1;
        } else {
            open += 1;
        }
    }
    // The two lists of the guard; the settings are a map whose descriptor the loader has closed.
    assert!(frozen >= 2, "{frozen} maps are frozen, {open} are not");
    drop(object);
}

#[test]
fn an_unprivileged_process_cannot_detach_the_programs() {
    let bench = Bench::new("detach");
    let object = load();
    let links = bench.attach(&object);
    // BPF_PROG_DETACH (9) with every attach type, as nobody.
    let script = format!(
        "import ctypes, os, struct\n\
         os.setgroups([]); os.setgid(65534); os.setuid(65534)\n\
         fd = os.open('{}', os.O_RDONLY)\n\
         call = ctypes.CDLL(None, use_errno=True).syscall\n\
         done = [kind for kind in range(64) if call({}, 9, struct.pack('IIII16x', fd, 0, kind, 0), 32) == 0]\n\
         print(done)",
        bench.agent().path().display(),
        libc::SYS_bpf
    );
    let output = Command::new("python3").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "[]\n", "{output:?}");
    links.verify(bench.agent(), bench.proxy()).unwrap();
    assert_eq!(fire(bench.agent(), &Target::of(24), "udp-443")["udp-443"], refused());
}

/// A Python line that sends this many refused datagrams.
fn flood(datagrams: usize) -> String {
    format!(
        "python3 -c \"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range({datagrams}):
    try: s.sendto(b'x', ('203.0.118.9', 443)); raise SystemExit(1)
    except (ConnectionRefusedError, PermissionError): pass\""
    )
}

#[test]
fn every_refusal_is_counted_and_recorded() {
    let bench = Bench::new("counted");
    let mut object = load();
    let _links = bench.attach(&object);
    run(bench.agent(), &flood(500));
    let counts = object.take_counts().unwrap();
    let refusals = drain(&mut object);
    assert_eq!(count(&counts, Counter::Refuse), 500);
    assert_eq!(count(&counts, Counter::RecordLost), 0);
    assert_eq!(refusals.len(), 500);
    for refusal in &refusals {
        assert_eq!(comm(refusal), "python3");
        assert_eq!((refusal.hook, refusal.reason), (Hook::Send as u8, Reason::Udp as u8));
        assert_eq!(Ipv4Addr::from(refusal.address[3]), Ipv4Addr::new(203, 0, 118, 9));
        assert_eq!((refusal.port, refusal.protocol, refusal.from_proxy), (443, 17, 0));
    }
}

#[test]
fn refusals_that_nobody_reads_are_refused_all_the_same_and_counted_as_lost() {
    const FLOOD: usize = 100_000;
    let bench = Bench::new("lost");
    let mut object = load();
    let _links = bench.attach(&object);
    run(bench.agent(), &flood(FLOOD));
    let counts = object.take_counts().unwrap();
    let recorded = u64::try_from(drain(&mut object).len()).unwrap();
    let lost = count(&counts, Counter::RecordLost);
    assert_eq!(count(&counts, Counter::Refuse), u64::try_from(FLOOD).unwrap());
    assert!(lost > 0, "the ring holds {recorded} records: the flood must be larger");
    assert_eq!(recorded + lost, u64::try_from(FLOOD).unwrap());
}

#[test]
fn connections_from_one_local_port_keep_their_origins_apart() {
    let bench = Bench::new("port");
    let mut object = load();
    let _links = bench.attach(&object);
    let doors = ["127.65.87.70:1", "127.65.87.70:2"];
    let _doors = doors.map(|door| lab().in_host(|| Ok(TcpListener::bind(door)?)).unwrap());
    // Nobody fetches the first origin before the second is stored.
    let line = "python3 -c \"
import socket
def visit(*to):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('127.0.0.1', 45678)); s.connect(to)
    return s
visits = [visit('203.0.118.2', 443), visit('172.30.0.10', 3128)]\"";
    run(bench.agent(), line);
    let origins = object.take_origins().unwrap();
    let asked = [Door::Transparent, Door::Proxy].map(|door| {
        let address = Ipv4Addr::LOCALHOST.to_bits();
        let key = ClientEnd { address, port: 45678, door: door as u16 };
        let origin = origins.get(&key, 0).unwrap();
        (Ipv4Addr::from(origin.address), origin.port)
    });
    let wanted = [(Ipv4Addr::new(203, 0, 118, 2), 443), (Ipv4Addr::new(172, 30, 0, 10), 3128)];
    assert_eq!(asked, wanted);
}

#[test]
fn a_connect_that_failed_gives_its_destination_to_no_other_connection() {
    let bench = Bench::new("failed");
    let mut object = load();
    let _links = bench.attach(&object);
    let _door = lab().in_host(|| Ok(TcpListener::bind("127.65.87.70:1")?)).unwrap();
    // The second socket's first connect fails, because its four numbers are taken; its second one leads nowhere near a door.
    let line = "python3 -c \"
import socket
def bound(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('127.0.0.1', port))
    return s
listener = bound(45680); listener.listen()
first = bound(45679); first.connect(('203.0.118.2', 443))
second = bound(45679); print(second.connect_ex(('203.0.118.9', 443)))
second.connect(('127.0.0.1', 45680))\"";
    let output = run(bench.agent(), line);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "99\n", "{output:?}");
    assert!(output.status.success(), "{output:?}");
    let address = Ipv4Addr::LOCALHOST.to_bits();
    let key = ClientEnd { address, port: 45679, door: Door::Transparent as u16 };
    let origin = object.take_origins().unwrap().get(&key, 0).unwrap();
    assert_eq!(Ipv4Addr::from(origin.address), Ipv4Addr::new(203, 0, 118, 2));
}

#[test]
fn a_redirected_connection_arrives_with_its_origin_and_sees_the_address_it_asked_for() {
    let bench = Bench::new("origin");
    let mut object = load();
    let _links = bench.attach(&object);
    let door = lab().in_host(|| Ok(TcpListener::bind("127.65.87.70:1")?)).unwrap();
    let line = "python3 -c \"
import socket
s = socket.create_connection(('203.0.118.2', 443)); print(s.getpeername()[0], s.getpeername()[1])
print(s.recv(9).decode())\"";
    let (output, client) = std::thread::scope(|scope| {
        let accepting = scope.spawn(|| {
            let (mut stream, client) = door.accept().unwrap();
            stream.write_all(b"from door").unwrap();
            client
        });
        let output = run(bench.agent(), line);
        (output, accepting.join().unwrap())
    });
    assert_eq!(String::from_utf8_lossy(&output.stdout), "203.0.118.2 443\nfrom door\n");
    let IpAddr::V4(address) = client.ip() else { panic!("{client} is not IPv4") };
    let door = Door::Transparent as u16;
    let key = ClientEnd { address: address.to_bits(), port: client.port(), door };
    let origin = object.take_origins().unwrap().get(&key, 0).unwrap();
    assert_eq!((Ipv4Addr::from(origin.address), origin.port), (Ipv4Addr::new(203, 0, 118, 2), 443));
    assert!(origin.process.comm.starts_with(b"python3\0"));
    let counts = object.take_counts().unwrap();
    assert_eq!(count(&counts, Counter::LeadTransparent), 1);
}

/// The host with a range and single ports, and as many ports of a peer as the list holds besides.
fn services() -> Services {
    let service = |name: &str, address, ports: Vec<PortRange>, target| Service {
        names: vec![name.to_owned()],
        address,
        openings: ports
            .into_iter()
            .map(|ports| Opening { ports, rule: Rule::AllowHostPort })
            .collect(),
        target,
    };
    let host = vec![PortRange { low: 3000, high: 3010 }, PortRange::single(443)];
    let peer = (0..62).map(|number| PortRange::single(10_000 + 2 * number)).collect();
    let elsewhere = Place::Peer(Ipv4Addr::new(203, 0, 118, 9));
    Services::new(vec![
        service("host", addresses::HOST, host, Place::Host),
        service("peer", addresses::FIRST_PEER, peer, elsewhere),
    ])
}

/// A rule that branched for each range would make every start slow, and a longer list impossible. The kernel tells since 5.16.
#[test]
fn a_full_list_of_opened_ranges_costs_the_verifier_little() {
    let _bench = Bench::new("ranges");
    let _object = Object::load(&contents().opening(&services()).unwrap()).unwrap();
    let ours = aya::programs::loaded_programs()
        .flatten()
        .filter(|program| program.name().starts_with(b"awf_connect"));
    let most = ours.filter_map(|program| program.verified_instruction_count()).max();
    assert!(most < Some(20_000), "the verifier walked {most:?} instructions");
}

#[test]
fn opened_ports_are_led_to_the_service_door_and_all_others_refused() {
    let bench = Bench::new("service");
    let opened = contents().opening(&services()).unwrap();
    assert!(opened.openings.iter().all(|one| one.address != 0), "the list is full");
    let mut object = Object::load(&opened).expect("the programs load with a full list");
    let _links = bench.attach(&object);
    let door = ["127.65.87.70:1", "127.65.87.70:3"];
    let _doors = door.map(|door| lab().in_host(|| Ok(TcpListener::bind(door)?)).unwrap());
    let (ok, closed, door) = (0, refused(), libc::EPERM);
    let cases = [
        ("tcp 172.30.0.1 3000", ok),
        ("tcp 172.30.0.1 3010", ok),
        ("tcp ::ffff:172.30.0.1 3005", ok),
        ("tcp 172.30.0.1 443", ok),
        ("tcp 172.30.0.100 10122", ok),
        ("tcp 172.30.0.100 443", ok),
        ("tcp 172.30.0.1 2999", closed),
        ("tcp 172.30.0.1 3011", closed),
        ("tcp 172.30.0.1 22", closed),
        ("tcp 172.30.0.100 10121", closed),
        ("tcp 172.30.0.100 3000", closed),
        ("tcp 172.30.0.2 3000", closed),
        ("tcp 93.184.216.34 3000", closed),
        ("udp 172.30.0.1 3000", closed),
        ("tcp 127.65.87.70 3", door),
    ];
    let answers = attempt(bench.agent(), &cases.map(|(attempt, _answer)| attempt));
    let answers: Vec<_> =
        cases.iter().map(|(attempt, _answer)| *attempt).zip(answers.iter().copied()).collect();
    assert_eq!(answers, cases);
    let counts = object.take_counts().unwrap();
    assert_eq!(count(&counts, Counter::LeadService), 5);
    // A web port that is not opened of a peer: the relay refuses it, with the story.
    assert_eq!(count(&counts, Counter::LeadTransparent), 1);
    let refusals = drain(&mut object);
    let by_port = |one: &&Refusal| one.reason == Reason::Port as u8;
    assert_eq!((refusals.len(), refusals.iter().filter(by_port).count()), (9, 7));
}

#[test]
fn a_query_to_any_resolver_is_led_to_the_name_door_and_answered_by_whom_it_asked() {
    let bench = Bench::new("names");
    let mut object = load();
    let _links = bench.attach(&object);
    let door = lab().in_host(|| Ok(UdpSocket::bind("127.65.87.70:53")?)).unwrap();
    let line = "python3 -c \"
import socket
for server in ('8.8.8.8', '127.0.0.11', '203.0.118.3'):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
    s.sendto(b'question', (server, 53)); print(*s.recvfrom(99)[1])\"";
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3 {
                let mut question = [0; 64];
                let (_length, client) = door.recv_from(&mut question).unwrap();
                door.send_to(b"answer", client).unwrap();
            }
        });
        run(bench.agent(), line)
    });
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "8.8.8.8 53\n127.0.0.11 53\n203.0.118.3 53\n");
    assert_eq!(count(&object.take_counts().unwrap(), Counter::LeadName), 3);
}

/// The door would take it for one of the process that had the port before.
#[test]
fn a_question_whose_asker_is_forgotten_does_not_reach_the_name_door() {
    let bench = Bench::new("forgotten");
    let mut object = load();
    let _links = bench.attach(&object);
    let door = lab().in_host(|| Ok(UdpSocket::bind("127.65.87.70:53")?)).unwrap();
    // More sockets than are remembered, in several processes that may have so many, push out the one that is still to ask.
    let line = "python3 -c \"
import os, resource, signal, socket
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
def asking(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('127.0.0.1', port)); s.connect(('192.0.2.53', 53))
    return s
first = asking(45681); first.send(b'first'); first.close()
second = asking(45681)
each = min(hard - 64, 5000)
ready, done = os.pipe()
crowd = []
for _ in range(12000 // each + 1):
    child = os.fork()
    if child == 0:
        others = [asking(0) for _ in range(each)]
        os.write(done, b'.'); signal.pause()
    crowd.append(child)
os.close(done)
for _ in crowd: assert os.read(ready, 1)
try: second.send(b'second')
except OSError as error: print(error.errno)
asking(0).send(b'last')
for child in crowd: os.kill(child, signal.SIGKILL)\"";
    let output = run(bench.agent(), line);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{output:?}");
    let heard = || {
        let mut question = [0; 64];
        let (length, client) = door.recv_from(&mut question).unwrap();
        (question[..length].to_vec(), client.port())
    };
    assert_eq!(heard(), (b"first".to_vec(), 45681));
    assert_eq!(heard().0, b"last");
    let refusals = drain(&mut object);
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].reason, Reason::Packet as u8);
}

/// Makes the attempts it reads, one a line, and prints the errno of each.
const ATTEMPTS: &str = "python3 -c \"
import socket
for kind, host, port in [l.split() for l in open('/proc/self/fd/0')]:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        s = socket.socket(family, socket.SOCK_DGRAM if kind == 'udp' else socket.SOCK_STREAM); s.settimeout(3)
        s.sendto(b'x', (host, int(port))) if kind == 'udp' else s.connect((host, int(port)))
        print(0)
    except OSError as error: print(error.errno)\"";

/// Makes attempts in a cgroup: the errno of each.
fn attempt(cgroup: &Cgroup, attempts: &[&str]) -> Vec<i32> {
    let script = format!("echo 0 > {}/cgroup.procs && {ATTEMPTS}", cgroup.path().display());
    let mut command = lab().host_command("/bin/sh");
    let command = command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let asked: String = attempts.iter().map(|attempt| (*attempt).to_owned() + "\n").collect();
    child.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    said.lines().map(|answer| answer.parse::<i32>().unwrap()).collect()
}

/// Any process in the proxy's cgroup, root or not, meets the guard.
#[test]
fn the_guard_lets_the_proxy_reach_the_internet_and_its_resolver_only() {
    // Squid tells the two refusals apart by their errno, and so does the relay that reads Squid's answer.
    let (ok, closed, inward) = (0, refused(), libc::EPERM);
    let bench = Bench::new("guard");
    let mut object = load();
    let _links = bench.attach(&object);
    let cases = [
        ("tcp 93.184.216.34 443", ok),
        ("tcp 93.184.216.34 80", ok),
        ("tcp 2606:2800:220:1:248:1893:25c8:1946 443", ok),
        ("tcp 8.8.8.8 53", ok),
        ("udp 8.8.8.8 53", ok),
        ("tcp 93.184.216.34 22", closed),
        ("tcp 93.184.216.34 8443", closed),
        ("udp 93.184.216.34 443", closed),
        ("udp 8.8.4.4 53", closed),
        ("tcp 8.8.4.4 53", closed),
        ("tcp 10.1.2.3 443", inward),
        ("tcp 169.254.169.254 80", inward),
        ("tcp 127.0.0.1 443", inward),
        ("tcp 0.0.0.0 443", inward),
        ("tcp 100.64.77.1 443", inward),
        ("tcp 172.30.0.10 443", inward),
        ("tcp 198.18.0.1 443", inward),
        ("tcp 168.63.129.16 80", inward),
        ("tcp ::ffff:10.1.2.3 443", inward),
        ("tcp ::1 443", inward),
        ("tcp fd00::1 443", inward),
        ("tcp 2002:a01:203::1 443", inward),
        // Our own public address, and a private one that the operator listed.
        ("tcp 203.0.118.1 443", inward),
        ("tcp 10.9.9.9 443", ok),
        ("tcp 10.9.9.9 22", closed),
    ];
    let answers = attempt(bench.proxy(), &cases.map(|(attempt, _answer)| attempt));
    let answers: Vec<_> = cases.iter().map(|(attempt, _)| *attempt).zip(answers).collect();
    assert_eq!(answers, cases);
    let refused = cases.iter().filter(|(_, answer)| *answer != ok).count();
    let counts = object.take_counts().unwrap();
    let refusals = drain(&mut object);
    assert_eq!(refusals.len(), refused);
    assert_eq!(count(&counts, Counter::GuardRefuse), u64::try_from(refused).unwrap());
    assert!(refusals.iter().all(|refusal| refusal.from_proxy == 1 && comm(refusal) == "python3"));
    let kinds = fire(bench.proxy(), &Target::of(25), "ping raw-icmp mptcp udplite");
    let right = [libc::EPROTONOSUPPORT, libc::EPERM];
    assert!(kinds.values().all(|errno| right.contains(errno)), "{kinds:?}");
}
