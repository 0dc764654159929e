//! The findings of the review of the original that awf began from, one test for each, under the number it had there.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use awf_tests::attempts::{Accomplice, carries, expected, reports};
use awf_tests::{Run, Scratch, lab, unconfined};
use xtask::vectors::{self, Vector};

use crate::probe::{PROBE, with_probe};
use crate::target::Target;

/// The rows of one finding.
fn rows(finding: &'static str) -> impl Iterator<Item = &'static Vector> {
    vectors::all().filter(move |vector| vector.reference == finding)
}

/// Makes a finding's attempts outside and inside: they work there, and not here, and nothing of them leaves.
#[track_caller]
fn is_closed(finding: &'static str, salts: [u8; 2]) {
    let names: Vec<&str> = rows(finding).map(|vector| vector.name).collect();
    assert!(!names.is_empty(), "no row is from {finding}");
    let sink = lab().sink();
    let fire = |salt: u8, shell: &dyn Fn(&str) -> String| -> BTreeMap<String, i32> {
        let accomplice = Accomplice::of(PROBE, salt);
        let line = format!("{}{PROBE} fire {salt} {}", accomplice.introduction(), names.join(" "));
        let said = reports(&shell(&line));
        said.into_iter().map(|(name, report)| (name, report.errno)).collect()
    };
    let [free, confined] = salts;
    let outside = fire(free, &|line| {
        let range = "echo 0 0 > /proc/sys/net/ipv4/ping_group_range";
        String::from_utf8(unconfined(&format!("{range}; {line}")).stdout).unwrap()
    });
    let mark = sink.mark().unwrap();
    let inside = fire(confined, &|line| {
        with_probe(Run::allowing("example.com")).run(line).succeeded().stdout
    });
    let target = Target::of(confined);
    for vector in rows(finding) {
        let (without, errno) = (outside[vector.name], inside[vector.name]);
        let may_lack = matches!(vector.control, vectors::Control::MayLack(_));
        assert!(without == 0 || may_lack, "{}: fails without awf: {without}", vector.name);
        assert_ne!(errno, 0, "{} works inside", vector.name);
        assert!(expected(vector).is_right(errno, Some(without)), "{}: {errno}", vector.name);
    }
    let leaked = sink.traffic_since(&mark).unwrap().into_iter().find(|packet| {
        packet.dst == Some(target.v6.into())
            || carries(packet, b"awf-probe ") && {
                let token = format!("awf-probe {confined} ");
                carries(packet, token.as_bytes())
            }
    });
    assert_eq!(leaked, None);
}

/// M1: the rules for IPv6 did not mirror those for IPv4.
#[test]
fn m1_ipv6_leads_nowhere() {
    is_closed("M1", [13, 14]);
}

/// M1: a client that prefers IPv6 is served all the same, and by name.
#[test]
fn m1_a_name_with_an_ipv6_address_works_through_the_proxy_and_not_beside_it() {
    let lines = [
        "curl -sS -m 10 https://example.com/",
        "curl -sS -m 10 -g https://[2606:2800:220:1:248:1893:25c8:1946]/ -k",
    ];
    let control = unconfined(lines[1]);
    assert!(control.status.success(), "positive control: {control:?}");
    let run = || Run::allowing("example.com").without_proxy_variables();
    run().run(lines[0]).succeeded();
    let denied = run().run(lines[1]).failed();
    denied.recorded(&[("rule", "ipv6".into()), ("verdict", "deny".into())]);
}

/// M2: the profile of system calls allowed unshare and setns.
#[test]
fn m2_no_namespace_can_be_made_or_entered() {
    is_closed("M2", [15, 19]);
}

/// M3: with Docker's socket in the sandbox, siblings ran outside of it.
#[test]
fn m3_the_socket_of_a_daemon_is_out_of_reach_even_in_a_mounted_directory() {
    let scratch = Scratch::new("docker");
    let path = scratch.path().join("docker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let daemon = std::thread::spawn(move || {
        // One visitor: the control. A second would wait for ever, and get no answer.
        let (mut visitor, _) = listener.accept().unwrap();
        let mut request = [0; 16];
        visitor.read_exact(&mut request).unwrap();
        visitor.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong").unwrap();
        listener
    });
    let line = format!("curl -sS -m 5 --unix-socket {} http://docker/_ping", path.display());
    let control = unconfined(&line);
    assert_eq!(String::from_utf8_lossy(&control.stdout), "pong", "positive control: {control:?}");
    let listener = daemon.join().unwrap();
    let mount = format!("{0}:{0}:rw", scratch.path().display());
    let host = format!("unix://{}", path.display());
    let run = Run::allowing("example.com").option("--mount", &mount);
    let outcome = run.caller_variable("DOCKER_HOST", &host).run(&line).failed();
    assert!(!outcome.stdout.contains("pong"), "{outcome:#?}");
    // Named itself, it is refused before anything runs.
    let mount = format!("{0}:{0}:rw", path.display());
    let outcome = Run::allowing("example.com").option("--mount", &mount).run("echo ran");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{outcome:#?}");
    assert!(outcome.stderr.contains("a socket or a FIFO"), "{outcome:#?}");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "the daemon was reached");
}

/// `/proc/*/environ`: tokens of other processes, awf's caller among them, could be read.
#[test]
fn no_environment_but_the_commands_own_can_be_read() {
    let secret = format!("s3cret-{}", std::process::id());
    let mut holder = lab()
        .host_command("cat")
        .env("AWF_TEST_TOKEN", &secret)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It echoes once it is `cat`, and no longer the shell that became it.
    holder.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    holder.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let line =
        "cat /proc/[0-9]*/environ /proc/[0-9]*/task/*/environ 2>/dev/null | tr '\\0' '\\n'; true";
    let control = unconfined(line);
    let outcome = Run::allowing("example.com")
        .caller_variable("AWF_TEST_TOKEN", &secret)
        .run(line)
        .succeeded();
    drop(holder.stdin.take());
    holder.wait().unwrap();
    let shown = |text: &str| text.lines().any(|line| line.ends_with(&secret));
    assert!(shown(&String::from_utf8_lossy(&control.stdout)), "positive control");
    assert!(outcome.stdout.contains("PATH="), "the command's own environment is there");
    assert!(!shown(&outcome.stdout), "{}", outcome.stdout);
}
