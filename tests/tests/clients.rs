//! No client needs to know of a proxy: each one against an allowed and a denied destination, without any proxy variable and
//! with them; then what connections carry: WebSocket, server-sent events, h2, large bodies both ways.
//!
//! A client's denied run is preceded by its positive control: the very same line works in the lab without awf.

use std::fs;
use std::time::Duration;

use awf_tests::{Outcome, Run, Scratch, lab, unconfined};
use serde_json::{Value, json};

/// Programs that cannot be written in one line of shell.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
/// Not pyenv's or another version manager's: Debian's python3-requests and python3-aiohttp belong to this one.
const PYTHON: &str = "/usr/bin/python3";
/// No client may take longer over a refusal, its own start included. Timeouts of clients start at 30 s.
const FAST: Duration = Duration::from_secs(20);

/// A client, and how it fetches something from the lab.
struct Client {
    /// A shell line; runs in an empty directory.
    line: String,
    /// The only name it needs.
    host: &'static str,
    /// What it prints when it succeeded.
    greeting: &'static str,
    /// Part of the path of the program that connects.
    program: &'static str,
}

/// A client that prints a page.
fn page(line: impl Into<String>, program: &'static str) -> Client {
    Client {
        line: line.into(),
        host: "api.example.com",
        greeting: "server=api.example.com",
        program,
    }
}

/// A client that gets the lab's greeting out of a repository or a package.
fn package(line: &str, host: &'static str, program: &'static str) -> Client {
    Client { line: line.to_owned(), host, greeting: "hello from the lab", program }
}

impl Client {
    /// The line in a directory of its own that vanishes with it; `/var/tmp` is private in the sandbox.
    fn complete_line(&self) -> String {
        format!(
            "d=$(mktemp -d -p /var/tmp) && trap 'rm -rf \"$d\"' EXIT && cd \"$d\" && {{ {}; }}",
            self.line
        )
    }

    fn run(&self, allowed: &str, proxy_variables: bool) -> Outcome {
        let run = Run::allowing(allowed).option("--mount", &format!("{SCRIPTS}:{SCRIPTS}:ro"));
        let run = if proxy_variables { run } else { run.without_proxy_variables() };
        run.run(&self.complete_line())
    }

    /// Everything the issue asks of a client.
    #[track_caller]
    fn check(&self) {
        let control = unconfined(&self.complete_line());
        let said = String::from_utf8_lossy(&control.stdout);
        assert!(
            control.status.success() && said.contains(self.greeting),
            "the positive control failed: {control:#?}"
        );
        for proxy_variables in [false, true] {
            self.check_allowed(proxy_variables);
            self.check_denied(proxy_variables);
        }
    }

    #[track_caller]
    fn check_allowed(&self, proxy_variables: bool) {
        let outcome = self.run(self.host, proxy_variables).succeeded();
        assert!(outcome.stdout.contains(self.greeting), "{outcome:#?}");
        let found = carried(&outcome, self.host);
        assert!(found.received > 0 && found.sent > 0, "no record carries bytes:\n{outcome:#?}");
        let denied = outcome.records_where(|record| {
            let layer = record["layer"].as_str().unwrap_or_default();
            record["verdict"] == "deny"
                && !["kernel", "seccomp"].contains(&layer)
                && !is_of_the_proof(record)
        });
        assert!(denied.is_empty(), "{denied:#?}");
    }

    #[track_caller]
    fn check_denied(&self, proxy_variables: bool) {
        let outcome = self.run("example.org", proxy_variables).failed();
        assert!(!outcome.stdout.contains(self.greeting), "{outcome:#?}");
        assert!(outcome.took < FAST, "{outcome:#?}");
        let clients = outcome.stderr.lines().filter(|line| !line.starts_with('[')).count();
        assert!(clients > 0, "the client gave no message:\n{outcome:#?}");
        assert!(reported(&outcome, self.host), "{outcome:#?}");
        let outcome = outcome.recorded(&[
            ("verdict", json!("deny")),
            ("layer", json!("relay")),
            ("rule", json!("deny-default")),
            ("name", json!(self.host)),
            ("port", json!(443)),
        ]);
        let program = |record: &Value| {
            let exe = record["exe"].as_str().unwrap_or_default();
            record["name"] == self.host && exe.contains(self.program)
        };
        assert!(
            !outcome.records_where(program).is_empty(),
            "no record names {}:\n{outcome:#?}",
            self.program
        );
    }
}

/// Whether the report after the run names the host and the flag that would allow it.
fn reported(outcome: &Outcome, host: &str) -> bool {
    let line =
        |part: &str| outcome.stderr.lines().any(|line| line.contains(part) && line.contains(host));
    line("Blocked: ") && line("--allow-domains")
}

/// The proof before the command makes attempts of its own.
fn is_of_the_proof(record: &Value) -> bool {
    record["name"].as_str().is_some_and(|name| name.ends_with(".invalid"))
}

/// Bytes of all allowed connections to a host.
struct Carried {
    sent: u64,
    received: u64,
}

fn carried(outcome: &Outcome, host: &str) -> Carried {
    let records = outcome.records_where(|record| {
        record["verdict"] == "allow" && record["name"] == host && record["protocol"] == "tcp"
    });
    let sum = |field: &str| records.iter().filter_map(|record| record[field].as_u64()).sum();
    Carried { sent: sum("bytes_out"), received: sum("bytes_in") }
}

#[test]
fn curl() {
    page("curl -sS https://api.example.com/whoami", "curl").check();
}

#[test]
fn wget() {
    page(
        "wget -nv -O- --tries=1 --ca-certificate=\"$SSL_CERT_FILE\" https://api.example.com/whoami",
        "wget",
    )
    .check();
}

#[test]
fn git_clone() {
    package(
        "git clone -q https://github.com/lab/hello.git && cat hello/README",
        "github.com",
        "git",
    )
    .check();
}

#[test]
fn pip() {
    let line = format!(
        "{PYTHON} -m pip install -q --no-cache-dir --disable-pip-version-check --retries 0 --target t \
         --cert \"$SSL_CERT_FILE\" --index-url https://pypi.lab.test/simple/ lab-hello \
         && PYTHONPATH=t {PYTHON} -c 'import lab_hello; print(lab_hello.GREETING)'"
    );
    package(&line, "pypi.lab.test", "python").check();
}

#[test]
fn npm() {
    let line = "npm install --registry https://npm.lab.test --cafile \"$SSL_CERT_FILE\" --cache cache --fetch-retries 0 --no-audit --no-fund \
                lab-hello && node -p 'require(\"lab-hello\")'";
    package(line, "npm.lab.test", "node").check();
}

#[test]
fn cargo() {
    let line = "export CARGO_HOME=$PWD/home CARGO_HTTP_CAINFO=$SSL_CERT_FILE CARGO_NET_RETRY=0 \
                CARGO_REGISTRIES_LAB_INDEX=sparse+https://crates.lab.test/ \
                && cargo init -q --vcs none --name client . && cargo add -q --registry lab lab-hello \
                && cargo fetch -q && cat home/registry/src/*/lab-hello-1.0.0/src/lib.rs";
    package(line, "crates.lab.test", "cargo").check();
}

#[test]
fn python_urllib() {
    page(format!("{PYTHON} {SCRIPTS}/get.py urllib https://api.example.com/whoami"), "python")
        .check();
}

#[test]
fn python_http_client() {
    page(format!("{PYTHON} {SCRIPTS}/get.py http.client https://api.example.com/whoami"), "python")
        .check();
}

#[test]
fn python_requests() {
    page(format!("{PYTHON} {SCRIPTS}/get.py requests https://api.example.com/whoami"), "python")
        .check();
}

#[test]
fn python_aiohttp() {
    page(format!("{PYTHON} {SCRIPTS}/get.py aiohttp https://api.example.com/whoami"), "python")
        .check();
}

#[test]
fn node_fetch() {
    page(format!("node {SCRIPTS}/get.mjs fetch https://api.example.com/whoami"), "node").check();
}

#[test]
fn node_https() {
    page(format!("node {SCRIPTS}/get.mjs https https://api.example.com/whoami"), "node").check();
}

#[test]
fn java_http_client() {
    page(format!("java -XX:-UsePerfData -XX:TieredStopAtLevel=1 {SCRIPTS}/Get.java https://api.example.com/whoami"), "java")
        .check();
}

/// gh is written in Go: net/http and crypto/tls, once with Go's own resolver and once with the C library's.
#[test]
fn go() {
    for resolver in ["go", "cgo"] {
        Client {
            line: format!(
                "GH_TOKEN=none GH_CONFIG_DIR=$PWD GH_NO_UPDATE_NOTIFIER=1 GODEBUG=netdns={resolver} \
                 gh api https://api.github.com/whoami"
            ),
            host: "api.github.com",
            greeting: "server=api.github.com",
            program: "/gh",
        }
        .check();
    }
}

#[test]
fn git_push() {
    let line = "git clone -q https://github.com/lab/hello.git && cd hello && git push -q origin HEAD:refs/heads/$BRANCH \
                && git ls-remote origin && git push -q origin --delete $BRANCH";
    for proxy_variables in [false, true] {
        let branch = format!("pushed-{}-{proxy_variables}", std::process::id());
        let run = Run::allowing("github.com").option("--env", &format!("BRANCH={branch}"));
        let run = if proxy_variables { run } else { run.without_proxy_variables() };
        let outcome = run.run(&format!("cd $(mktemp -d -p /var/tmp) && {line}")).succeeded();
        assert!(outcome.stdout.contains(&format!("refs/heads/{branch}")), "{outcome:#?}");
    }
}

#[test]
fn plain_http() {
    let line = "curl -sS -w '%{http_code}' http://api.example.com/whoami";
    let control = unconfined(line);
    assert!(String::from_utf8_lossy(&control.stdout).ends_with("200"), "{control:#?}");
    for proxy_variables in [false, true] {
        let run = |allowed| {
            if proxy_variables {
                Run::allowing(allowed)
            } else {
                Run::allowing(allowed).without_proxy_variables()
            }
        };
        let outcome = run("api.example.com").run(line).succeeded();
        assert!(
            outcome.stdout.contains("server=api.example.com") && outcome.stdout.contains("port=80"),
            "{outcome:#?}"
        );
        let found = carried(&outcome, "api.example.com");
        assert!(found.received > 100 && found.sent > 50, "{outcome:#?}");
        // A client of plain HTTP is told in its own language, with the remedy.
        let outcome = run("example.org").run(&format!("{line}; exit 1"));
        assert!(outcome.stdout.ends_with("403"), "{outcome:#?}");
        assert!(
            outcome.stdout.contains("api.example.com")
                && outcome.stdout.contains("--allow-domains"),
            "{outcome:#?}"
        );
        outcome.recorded(&[
            ("verdict", json!("deny")),
            ("rule", json!("deny-default")),
            ("name", json!("api.example.com")),
            ("port", json!(80)),
        ]);
    }
}

#[test]
fn web_sockets_on_both_ports() {
    for (scheme, port) in [("wss", 443), ("ws", 80)] {
        let line = format!("{PYTHON} {SCRIPTS}/websocket.py {scheme}://ws.test/ws");
        let expected = "text hello\nbinary True\ntext still there\n";
        let control = unconfined(&line);
        assert_eq!(String::from_utf8_lossy(&control.stdout), expected, "{control:#?}");
        for proxy_variables in [false, true] {
            let run = |allowed| {
                let run =
                    Run::allowing(allowed).option("--mount", &format!("{SCRIPTS}:{SCRIPTS}:ro"));
                if proxy_variables { run } else { run.without_proxy_variables() }
            };
            let outcome = run("ws.test").run(&line).succeeded();
            assert_eq!(outcome.stdout, expected);
            let found = carried(&outcome, "ws.test");
            assert!(found.sent > 1 << 20 && found.received > 1 << 20, "{outcome:#?}");
            let outcome = run("example.org").run(&line).failed();
            assert!(outcome.took < FAST && reported(&outcome, "ws.test"), "{outcome:#?}");
            outcome.recorded(&[
                ("verdict", json!("deny")),
                ("rule", json!("deny-default")),
                ("name", json!("ws.test")),
                ("port", json!(port)),
            ]);
        }
    }
}

#[test]
fn server_sent_events_arrive_one_by_one() {
    for scheme in ["https", "http"] {
        for proxy_variables in [false, true] {
            let run = Run::allowing("sse.test");
            let run = if proxy_variables { run } else { run.without_proxy_variables() };
            let outcome = run
                .run(&format!(
                    "set -o pipefail; curl -sSN '{scheme}://sse.test/events?n=5&ms=200' | while read -r line; do \
                     [[ $line = data:* ]] && echo \"$(date +%s%3N) $line\"; done; exit ${{PIPESTATUS[0]}}"
                ))
                .succeeded();
            let times: Vec<i64> = outcome
                .stdout
                .lines()
                .enumerate()
                .map(|(number, line)| {
                    let (time, event) = line.split_once(' ').expect("a time and an event");
                    assert_eq!(event, format!("data: event {number}"));
                    time.parse().expect("a time")
                })
                .collect();
            assert_eq!(times.len(), 5, "{outcome:#?}");
            // Held back until the end they would all come at once.
            assert!(times[4] - times[0] > 500, "{outcome:#?}");
        }
    }
}

#[test]
fn http_2() {
    let line = "curl -sS --http2 -w '%{http_version}' https://h2.test/whoami";
    for proxy_variables in [false, true] {
        let run = Run::allowing("h2.test");
        let run = if proxy_variables { run } else { run.without_proxy_variables() };
        let outcome = run.run(line).succeeded();
        assert!(
            outcome.stdout.contains("http=HTTP/2.0") && outcome.stdout.ends_with("\n2"),
            "{outcome:#?}"
        );
        assert!(carried(&outcome, "h2.test").received > 0, "{outcome:#?}");
    }
}

#[test]
fn a_gibibyte_comes_down_complete_and_counted() {
    let line = "curl -sS -o /dev/null -w '%{size_download}' https://files.test/1GiB";
    for proxy_variables in [false, true] {
        let run = Run::allowing("files.test");
        let run = if proxy_variables { run } else { run.without_proxy_variables() };
        let outcome = run.run(line).succeeded();
        assert_eq!(outcome.stdout, "1073741824");
        counted(carried(&outcome, "files.test").received, 1 << 30);
    }
}

#[test]
fn half_a_gibibyte_goes_up_complete_and_counted() {
    let line = "head -c 524288000 /dev/zero | curl -sS -T - https://files.test/upload";
    for proxy_variables in [false, true] {
        let run = Run::allowing("files.test");
        let run = if proxy_variables { run } else { run.without_proxy_variables() };
        let outcome = run.run(line).succeeded();
        let seen: Value = serde_json::from_str(&outcome.stdout).expect("the server's count");
        assert_eq!(seen["bytes"], 524_288_000);
        counted(carried(&outcome, "files.test").sent, 524_288_000);
    }
}

#[test]
fn bytes_arrive_unchanged_in_both_directions() {
    let down = "curl -sS https://files.test/pattern/67108864 | sha256sum | cut -d' ' -f1";
    let round = format!(
        "{down}; curl -sS https://files.test/pattern/67108864 | curl -sS -T - 'https://files.test/upload?sha256=1'"
    );
    let control = String::from_utf8(unconfined(down).stdout).expect("a hash");
    assert_eq!(control.trim().len(), 64);
    let outcome = Run::allowing("files.test").without_proxy_variables().run(&round).succeeded();
    let (got, seen) = outcome.stdout.split_once('\n').expect("two answers");
    assert_eq!(got, control.trim());
    let seen: Value = serde_json::from_str(seen).expect("the server's count");
    assert_eq!((&seen["bytes"], &seen["sha256"]), (&json!(67_108_864), &json!(control.trim())));
}

#[test]
fn plain_http_carries_large_bodies_too() {
    let line = "curl -sS -o /dev/null -w '%{size_download} ' http://files.test/pattern/104857600 \
                && head -c 104857600 /dev/zero | curl -sS -T - http://files.test/upload";
    let outcome = Run::allowing("files.test").without_proxy_variables().run(line).succeeded();
    assert!(outcome.stdout.starts_with("104857600 {\"bytes\": 104857600}"), "{outcome:#?}");
    let found = carried(&outcome, "files.test");
    counted(found.received, 104_857_600);
    counted(found.sent, 104_857_600);
}

/// TLS and HTTP add something to what was asked for, but not a twentieth.
#[track_caller]
fn counted(bytes: u64, body: u64) {
    assert!(
        (body..body + body / 20).contains(&bytes),
        "{bytes} bytes on record for a body of {body}"
    );
}

/// A line of the lab's web server for each request that reached it: what was denied must not be there.
#[test]
fn a_denied_client_never_reaches_the_server() {
    let scratch = Scratch::new("reach");
    let marker = format!("/marker-{}", scratch.path().file_name().expect("a name").display());
    let line = format!(
        "curl -sS https://denied.example.net{marker}; curl -sS http://denied.example.net{marker}; false"
    );
    let hits = || {
        // Other tests send it bytes that are no text.
        let log = fs::read(lab().access_log()).expect("the server's log");
        let log = String::from_utf8_lossy(&log);
        log.lines().filter(|line| line.contains(&marker)).count()
    };
    for proxy_variables in [false, true] {
        let run = Run::allowing("example.com");
        let run = if proxy_variables { run } else { run.without_proxy_variables() };
        run.run(&line).failed();
    }
    assert_eq!(hits(), 0);
    assert!(!unconfined(&line).stdout.is_empty());
    assert_eq!(hits(), 2, "the positive control");
}
