//! Who tried what: every record names the process that made the attempt, also when nothing is left of it.

use std::collections::BTreeMap;

use awf_tests::{Run, Scratch, attempts, unconfined};
use serde_json::Value;

/// Processes of the crowd.
const CROWD: usize = 50;
/// Connections of each.
const EACH: usize = 200;

#[test]
fn two_processes_that_are_gone_are_both_named_with_executable_and_parent() {
    let line = "(exec -a one bash -c 'echo \"GET / HTTP/1.0\r\n\r\n\" >/dev/tcp/example.com/80' & \
                exec -a two python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
                s.sendto(b\"x\", (\"203.0.113.66\", 9999))' & wait) 2>/dev/null; true";
    let control = unconfined("echo x >/dev/udp/203.0.113.66/9999");
    assert!(control.status.success(), "{control:#?}");
    let outcome = Run::allowing("example.com").run(line).succeeded();
    let one = outcome.records_where(|record| record["protocol"] == "tcp");
    let two = outcome.records_where(|record| record["rule"] == "udp");
    for (records, comm, exe) in [(one, "bash", "/bash"), (two, "python3", "/python3")] {
        let [record] = records[..] else { panic!("{comm}: {outcome:#?}") };
        assert_eq!(record["comm"], comm, "{outcome:#?}");
        assert!(record["exe"].as_str().is_some_and(|path| path.contains(exe)), "{outcome:#?}");
        let parent = &record["ancestors"][0];
        assert_eq!(
            (&parent["pid"], &parent["comm"]),
            (&record["ppid"], &"bash".into()),
            "{record}"
        );
        let above = record["ancestors"].as_array().expect("ancestors");
        assert!(above.iter().any(|above| above["comm"] == "awf"), "{record}");
    }
}

/// Each process asks for a name of its own and calls itself by it.
#[test]
fn ten_thousand_connections_of_fifty_processes_are_each_on_record_with_pid_and_name() {
    let line = format!(
        "python3 - <<'end'
import os, socket
def be(number):
    name = f'p{{number}}'
    open('/proc/self/comm', 'w').write(name)
    for _ in range({EACH}):
        with socket.create_connection((name + '.denied.test', 80), 30) as s:
            s.sendall(f'GET / HTTP/1.1\\r\\nHost: {{name}}.denied.test\\r\\n\\r\\n'.encode())
            while s.recv(4096): pass
for number in range({CROWD}):
    if os.fork() == 0:
        be(number)
        os._exit(0)
for _ in range({CROWD}): assert os.wait()[1] == 0
end"
    );
    let outcome = Run::allowing("example.com").run(&line).succeeded();
    let mut seen: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for record in outcome.records_where(|record| record["protocol"] == "tcp") {
        let name = record["name"].as_str().expect("a name").strip_suffix(".denied.test");
        let name = name.expect("a name of the crowd");
        let pid = record["pid"].as_u64().expect("a process");
        let (known, count) = seen.entry(name).or_insert((pid, 0));
        *count += 1;
        assert_eq!((*known, &record["comm"]), (pid, &name.into()), "{record}");
        assert!(record["exe"].as_str().is_some_and(|exe| exe.contains("/python3")), "{record}");
    }
    assert_eq!(seen.len(), CROWD);
    assert!(seen.values().all(|(_pid, count)| *count == EACH), "{seen:?}");
    let mut pids: Vec<u64> = seen.values().map(|(pid, _count)| *pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), CROWD);
    for record in outcome.records_where(|record| record["protocol"] == "dns") {
        let name = record["name"].as_str().and_then(|name| name.strip_suffix(".denied.test"));
        assert_eq!(record["pid"], seen[name.expect("a name of the crowd")].0, "{record}");
    }
    let summary = outcome.summary.as_ref().expect("a summary");
    assert_eq!(summary["complete"], true, "{summary}");
}

/// Each way by a process of its own that calls itself by the name it asks for, and is gone before anybody can look.
#[test]
fn a_name_that_is_only_looked_up_is_on_record_with_its_process() {
    let line = "python3 - <<'end'
import os, socket
def message(name):
    labels = b''.join(bytes([len(part)]) + part.encode() for part in name.split('.'))
    return bytes.fromhex('123401000001000000000000') + labels + bytes.fromhex('0000010001')
def sent(server, question):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(question, server)
def connected(server, question):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(server)
    s.send(question)
def mapped(server, question):
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(question, ('::ffff:' + server[0], server[1]))
def stream(server, question):
    s = socket.create_connection(server)
    s.sendall(len(question).to_bytes(2, 'big') + question)
    assert s.recv(2)
for way in (sent, connected, mapped, stream):
    for turn in range(3):
        if os.fork() == 0:
            name = f'{way.__name__}{turn}'
            open('/proc/self/comm', 'w').write(name)
            way(('192.0.2.53', 53), message(name + '.denied.test'))
            os._exit(0)
for _ in range(12): assert os.wait()[1] == 0
end
sleep 0.2";
    let outcome = Run::allowing("example.com").run(line).succeeded();
    let records = outcome.records_where(|record| record["protocol"] == "dns");
    assert_eq!(records.len(), 12, "{outcome:#?}");
    for record in records {
        let comm = record["comm"].as_str().expect("a process");
        assert_eq!(record["name"], format!("{comm}.denied.test"), "{record}");
        assert!(record["exe"].as_str().is_some_and(|exe| exe.contains("/python3")), "{record}");
        assert_eq!(record["ancestors"][0]["comm"], "python3", "{record}");
    }
}

#[test]
fn the_summary_counts_what_the_lines_stand_for_and_what_the_kernel_refused() {
    let line = "python3 - <<'end'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(5000):
    try: s.sendto(b'x', ('203.0.113.66', 9000 + n % 7))
    except OSError: pass
end
curl -sS http://denied.example.net/ -o /dev/null; curl -sS http://example.com/ -o /dev/null; exit 3";
    let outcome = Run::allowing("example.com").run(line);
    assert_eq!(outcome.code, 3, "{outcome:#?}");
    let sum = |holds: &dyn Fn(&Value) -> bool| -> usize {
        outcome.records_where(holds).into_iter().map(attempts).sum()
    };
    let summary = outcome.summary.as_ref().expect("a summary");
    for verdict in ["allow", "deny", "error"] {
        let said = &summary["attempts"][verdict];
        assert_eq!(said, sum(&|record| record["verdict"] == verdict), "{verdict}: {summary}");
    }
    assert_eq!(summary["exit_code"], 3, "{summary}");
    assert_eq!(
        summary["kernel"]["refuse"],
        sum(&|record| record["layer"] == "kernel"),
        "{summary}"
    );
    assert_eq!(summary["rules"]["udp"], 5000, "{summary}");
    let lines = outcome.records_where(|record| record["rule"] == "udp").len();
    assert!(lines < 100, "{lines}");
    let programs = summary["programs"].as_object().expect("programs");
    assert!(programs.len() > 15 && programs.values().all(|tag| tag.as_str().unwrap().len() == 16));
    assert_eq!(summary["identity"], "kernel", "{summary}");
}

#[test]
fn executables_are_digested_where_that_is_asked_for() {
    let line = "curl -sS http://denied.example.net/ -o /dev/null; sha256sum $(command -v curl)";
    let outcome = Run::allowing("example.com").flag("--record-exe-hash").run(line).succeeded();
    let [record] = outcome.records_where(|record| record["protocol"] == "tcp")[..] else {
        panic!("{outcome:#?}")
    };
    let digest = record["exe_sha256"].as_str().expect("a digest");
    assert!(outcome.stdout.contains(digest), "{outcome:#?}");
}

/// A file of a terabyte of nothing executes as well as the program at its beginning.
#[test]
fn an_executable_without_end_holds_nothing_up() {
    let scratch = Scratch::new("endless");
    let line = "cp \"$(command -v curl)\" endless && truncate -s 1T endless; \
                for i in 1 2 3; do ./endless -sS -m 5 https://denied.example.net/; done; \
                curl -sS https://denied.example.net/; ls -l endless";
    let run = Run::allowing("example.com").flag("--record-exe-hash").in_directory(scratch.path());
    let outcome = run.run(line).succeeded();
    assert!(outcome.stdout.contains("1099511627776"), "positive control: {outcome:#?}");
    let denied = outcome.records_where(|record| record["rule"] == "deny-default");
    assert_eq!(denied.len(), 4, "{outcome:#?}");
    for record in denied {
        let is_endless = record["exe"].as_str().expect("an executable").ends_with("/endless");
        assert_eq!(record["exe_sha256"].is_null(), is_endless, "{record}");
    }
}

/// Connected, as far as their process knows, and gone with it before anybody accepts.
#[test]
fn connections_of_the_last_moment_are_on_record() {
    let line = "exec python3 -c \"
import os, socket
kept = []
for _ in range(400):
    s = socket.socket(); s.connect(('203.0.113.66', 443)); kept.append(s)
os._exit(0)\"";
    let outcome = Run::allowing("example.com").run(line).succeeded();
    let records = outcome.records_where(|record| record["protocol"] == "tcp");
    assert_eq!(records.len(), 400, "{:#?}", outcome.summary);
    assert!(records.iter().all(|record| record["verdict"] == "deny"), "{records:#?}");
}
