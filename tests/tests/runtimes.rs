//! Ordinary runtimes work in the sandbox as they do outside: threads, child processes, loopback, compiled code, a browser.
//!
//! Each line is the same outside, which is the positive control, and inside; both must print the same. Go is tried by the
//! clients. .NET cannot be installed from Debian: what it asks of the kernel beyond others is in `runtimes/jit.c`.

use awf_tests::{Outcome, Run, unconfined};
use serde_json::json;

/// Programs that cannot be written in one line of shell.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runtimes");

/// The line in an empty directory that vanishes with it.
fn alone(line: &str) -> String {
    format!("d=$(mktemp -d -p /var/tmp) && trap 'rm -rf \"$d\"' EXIT && cd \"$d\" && {{ {line}; }}")
}

fn inside(run: Run, line: &str) -> Outcome {
    run.option("--mount", &format!("{SCRIPTS}:{SCRIPTS}:ro")).run(&alone(line))
}

/// What the line prints outside.
#[track_caller]
fn outside(line: &str) -> String {
    let control = unconfined(&alone(line));
    let said = String::from_utf8_lossy(&control.stdout).into_owned();
    assert!(control.status.success() && !said.is_empty(), "the positive control: {control:#?}");
    said
}

#[track_caller]
fn works(line: &str) -> Outcome {
    let expected = outside(line);
    let outcome = inside(Run::new(), line).succeeded();
    assert_eq!(outcome.stdout, expected, "{}", outcome.stderr);
    outcome
}

/// Refusals of system calls, one `protocol` each.
fn refused(outcome: &Outcome) -> Vec<String> {
    let records = outcome.records_where(|record| record["layer"] == "seccomp");
    records.iter().filter_map(|record| record["protocol"].as_str().map(str::to_owned)).collect()
}

#[test]
fn node() {
    let outcome = works(&format!("node {SCRIPTS}/node.mjs"));
    // libuv asks for a ring and does without; every worker and child has a loop of its own.
    assert!(refused(&outcome).iter().all(|call| call == "io_uring_setup"), "{outcome:#?}");
}

#[test]
fn python() {
    let outcome = works(&format!(
        "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout key.pem -out cert.pem \
         -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null && /usr/bin/python3 {SCRIPTS}/runtime.py"
    ));
    assert_eq!(refused(&outcome), [""; 0]);
}

#[test]
fn java() {
    let outcome = works(&format!("java {SCRIPTS}/Work.java"));
    assert_eq!(refused(&outcome), [""; 0]);
}

#[test]
fn rust() {
    let outcome = works(&format!(
        "export CARGO_HOME=$PWD/home && cargo init -q --vcs none --name threads . \
         && cp {SCRIPTS}/threads.rs src/main.rs && cargo run -q --offline"
    ));
    assert_eq!(refused(&outcome), [""; 0]);
}

#[test]
fn perl() {
    let outcome = works(&format!("perl {SCRIPTS}/processes.pl"));
    assert_eq!(refused(&outcome), [""; 0]);
}

#[test]
fn compiled_at_run_time() {
    let outcome = works(&format!("gcc -O1 -pthread -o jit {SCRIPTS}/jit.c && ./jit"));
    assert_eq!(refused(&outcome), [""; 0]);
}

#[test]
fn git_and_tar() {
    let outcome = works(
        "git init -q -b main tree && cd tree && git config user.name a && git config user.email a@b.test \
         && seq 1000 > file && git add file && git commit -q -m first && git gc -q && git log --format=%s \
         && git worktree add -q ../other -b other && tar -czf - -C ../other file | tar -xzOf - file | sha256sum",
    );
    assert_eq!(refused(&outcome), [""; 0]);
}

/// A debugger would steer other processes of the sandbox, so it must say that it cannot, and must not hang.
#[test]
fn a_debugger_says_that_it_may_not_trace() {
    let line = "printf 'int main(void){return 0;}' | gcc -g -x c -o program - \
                && DEBUGINFOD_URLS= gdb -nx -q -batch -ex 'set startup-with-shell off' -ex run ./program 2>&1";
    assert!(outside(line).contains("exited normally"), "the positive control");
    let outcome = inside(Run::new(), line).failed();
    let said = &outcome.stdout;
    assert!(said.contains("ptrace: Operation not permitted"), "{outcome:#?}");
    assert!(!said.contains("exited normally"), "{outcome:#?}");
}

/// Its own sandbox is off, as in every container: it would need namespaces.
#[test]
fn chromium() {
    let line = "export HOME=$PWD && mkdir -p .pki/nssdb && certutil -N -d sql:.pki/nssdb --empty-password \
                && certutil -A -d sql:.pki/nssdb -n lab -t C,, -i \"$SSL_CERT_FILE\" \
                && chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync \
                --disable-background-networking --disable-component-update --user-data-dir=$PWD/profile \
                --dump-dom https://example.com/whoami 2>messages || { cat messages; false; }";
    assert!(outside(line).contains("server=example.com"), "the positive control");
    for proxy_variables in [false, true] {
        let run = |allowed| {
            let run = Run::allowing(allowed);
            if proxy_variables { run } else { run.without_proxy_variables() }
        };
        let outcome = inside(run("example.com"), line).succeeded();
        assert!(outcome.stdout.contains("server=example.com"), "{outcome:#?}");
        // It asks udev for devices and does without.
        assert!(refused(&outcome).iter().all(|call| call == "netlink/raw/15"), "{outcome:#?}");
        let outcome = inside(run("example.org"), line);
        assert!(!outcome.stdout.contains("server=example.com"), "{outcome:#?}");
        outcome.recorded(&[
            ("verdict", json!("deny")),
            ("layer", json!("relay")),
            ("rule", json!("deny-default")),
            ("name", json!("example.com")),
            ("port", json!(443)),
        ]);
    }
}
