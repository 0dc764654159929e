//! What is looked into: requests in TLS, URLs, credentials. Every refusal has the same request passing without the option.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use awf_tests::{Outcome, Run, unconfined};
use serde_json::{Value, json};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
const PYTHON: &str = "/usr/bin/python3";

fn bumped(domains: &str) -> Run {
    Run::allowing(domains).flag("--ssl-bump").option("--mount", &format!("{SCRIPTS}:{SCRIPTS}:ro"))
}

/// The same run for clients that know of the proxy and for those that do not.
fn both(make: impl Fn() -> Run) -> [Run; 2] {
    [make(), make().without_proxy_variables()]
}

/// A line that asks for each URL with curl, in the version of HTTP, and says status and version.
fn ask(version: &str, urls: &[&str]) -> String {
    let ask = |url: &&str| {
        format!(
            "curl -sS -m 20 --path-as-is --globoff {version} -w '\\n%{{http_code}} %{{http_version}}\\n' '{url}'"
        )
    };
    urls.iter().map(ask).collect::<Vec<_>>().join("; ")
}

fn requests(outcome: &Outcome) -> Vec<&Value> {
    outcome.records_where(|record| record["path"].is_string())
}

fn count(outcome: &Outcome, text: &str) -> usize {
    outcome.stdout.lines().filter(|line| *line == text).count()
}

#[test]
fn requests_in_tls_are_recorded_one_by_one_without_their_query() {
    for (version, number) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let line = format!(
            "curl -sS {version} -w '\\n%{{http_code}} %{{http_version}}\\n' \
             'https://api.example.com/whoami?token=hunter2' https://api.example.com/page -d body"
        );
        let control = unconfined(&line);
        let control = String::from_utf8_lossy(&control.stdout).into_owned();
        assert_eq!(control.matches(&format!("200 {number}\n")).count(), 2, "{control}");
        for run in both(|| bumped("api.example.com")) {
            let outcome = run.run(&line).succeeded();
            assert_eq!(count(&outcome, &format!("200 {number}")), 2, "{outcome:#?}");
            assert!(outcome.stdout.contains("sni=api.example.com"), "{outcome:#?}");
            let found = requests(&outcome);
            assert_eq!(found.len(), 2, "{outcome:#?}");
            for (record, path) in found.iter().zip(["/whoami", "/page"]) {
                let told =
                    ["verdict", "rule", "name", "method", "path"].map(|field| &record[field]);
                let rule = "allow-both-plain";
                assert_eq!(
                    told,
                    [
                        &json!("allow"),
                        &json!(rule),
                        &json!("api.example.com"),
                        &json!("POST"),
                        &json!(path)
                    ]
                );
                assert_eq!(record["proxy_status"], 200);
                assert!(
                    record["bytes_out"].as_u64() > Some(20)
                        && record["bytes_in"].as_u64() > Some(20),
                    "{record}"
                );
            }
            let tcp = outcome.records_where(|record| record["protocol"] == "tcp");
            assert_eq!(tcp.len(), 2, "{outcome:#?}");
            assert!(!format!("{:?}", outcome.records).contains("hunter2"));
        }
    }
}

#[test]
fn only_urls_that_fit_a_pattern_are_asked_for() {
    let urls = [
        "https://api.example.com/allowed/x?y",
        "https://api.example.com/other",
        "https://example.com/other",
    ];
    let statuses = |outcome: &Outcome| {
        let status = |line: &str| {
            line.get(..3).filter(|text| text.parse::<u16>().is_ok()).map(str::to_owned)
        };
        outcome
            .stdout
            .lines()
            .filter(|line| line.ends_with(" 1.1") || line.ends_with(" 2"))
            .filter_map(status)
            .collect::<Vec<_>>()
    };
    for version in ["--http1.1", "--http2"] {
        let line = ask(version, &urls);
        for run in both(|| bumped("*.example.com,example.com")) {
            let outcome = run.run(&line);
            assert_eq!(statuses(&outcome), ["200", "200", "200"], "{outcome:#?}");
        }
        let patterns = "https://*.example.com/allowed/*";
        for run in both(|| bumped("*.example.com,example.com").option("--allow-urls", patterns)) {
            let outcome = run.run(&line);
            assert_eq!(statuses(&outcome), ["200", "403", "200"], "{outcome:#?}");
            assert!(
                outcome.stdout.contains("deny-url") && outcome.stdout.contains("--allow-urls"),
                "{outcome:#?}"
            );
            outcome
                .recorded(&[("rule", json!("allow-url")), ("path", json!("/allowed/x"))])
                .recorded(&[
                    ("verdict", json!("deny")),
                    ("rule", json!("deny-url")),
                    ("path", json!("/other")),
                ]);
        }
    }
}

#[test]
fn no_spelling_of_a_path_gets_around_a_pattern() {
    let host = "https://api.example.com";
    let paths = [
        "/allowed/../other",
        "/%61llowed/../other",
        "/allowed/%2e%2e/other",
        "/allowed/..%2fother",
        "/allowed/%252e%252e/other",
        "/allowed/..;/other",
        "/ALLOWED/x",
        "//allowed/x",
    ];
    let urls: Vec<String> = paths.iter().map(|path| format!("{host}{path}")).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let good = [format!("{host}/allowed/x"), format!("{host}/%61llowed/x")];
    let line = format!("{}; {}", ask("--http1.1", &urls), ask("--http1.1", &[&good[0], &good[1]]));
    let pattern = "https://api.example.com/allowed/*";
    let outcome = bumped("api.example.com").run(&line);
    assert_eq!(count(&outcome, "200 1.1"), paths.len() + 2, "{outcome:#?}");
    let outcome = bumped("api.example.com").option("--allow-urls", pattern).run(&line);
    assert_eq!(count(&outcome, "403 1.1"), paths.len(), "{outcome:#?}");
    assert_eq!(count(&outcome, "200 1.1"), 2, "{outcome:#?}");
}

#[test]
fn a_host_with_patterns_does_not_answer_in_the_clear() {
    let line = ask("--http1.1", &["http://api.example.com/allowed/x"]);
    for run in both(|| bumped("api.example.com")) {
        let outcome = run.run(&line);
        assert_eq!(count(&outcome, "200 1.1"), 1, "{outcome:#?}");
    }
    for run in both(|| {
        bumped("api.example.com").option("--allow-urls", "https://api.example.com/allowed/*")
    }) {
        let outcome = run.run(&line);
        assert_eq!(count(&outcome, "403 1.1"), 1, "{outcome:#?}");
        outcome.recorded(&[("rule", json!("deny-url")), ("port", json!(80))]);
    }
}

#[test]
fn fronting_inside_tls_ends_here() {
    let front = "curl -sS -m 20 -H 'Host: denied.example.net' https://api.example.com/whoami";
    for version in ["--http1.1", "--http2"] {
        let line = format!("{front} {version}");
        let outcome = Run::allowing("api.example.com").run(&line).succeeded();
        assert!(outcome.stdout.contains("host=denied.example.net"), "{outcome:#?}");
        for run in both(|| bumped("api.example.com")) {
            let outcome = run.run(&line);
            assert!(outcome.stdout.contains("deny-host-mismatch"), "{outcome:#?}");
            outcome.recorded(&[("verdict", json!("deny")), ("rule", json!("deny-host-mismatch"))]);
        }
    }
}

#[test]
fn a_server_that_does_not_prove_its_name_is_not_answered_for() {
    // The lab's certificate is for names of one label below bulk.test.
    let line = "curl -sSk -m 20 https://a.b.bulk.test/whoami";
    let outcome = Run::allowing("bulk.test").run(line).succeeded();
    assert!(outcome.stdout.contains("bulk.test"), "{outcome:#?}");
    for run in both(|| bumped("bulk.test")) {
        let outcome = run.run(line).failed();
        assert!(!outcome.stdout.contains("server="), "{outcome:#?}");
        outcome.recorded(&[
            ("verdict", json!("deny")),
            ("rule", json!("deny-certificate")),
            ("name", json!("a.b.bulk.test")),
        ]);
    }
    bumped("bulk.test").run("curl -sS -m 20 https://a.bulk.test/whoami").succeeded();
}

#[test]
fn what_is_not_http_does_not_pass_in_tls() {
    let line = format!(
        "{PYTHON} -c 'import socket, ssl\n\
         context = ssl.create_default_context()\n\
         with context.wrap_socket(socket.create_connection((\"attacker.test\", 443)), server_hostname=\"attacker.test\") as tls:\n  \
             tls.settimeout(10); tls.sendall(b\"SSH-2.0-x\\r\\n\\r\\n\")\n  \
             print(tls.recv(100))'"
    );
    let outcome = Run::allowing("attacker.test").without_proxy_variables().run(&line);
    assert!(outcome.stdout.contains("SSH-2.0-x"), "{outcome:#?}");
    let outcome = bumped("attacker.test").without_proxy_variables().run(&line);
    assert!(!outcome.stdout.contains("SSH-2.0-x"), "{outcome:#?}");
    outcome.recorded(&[("verdict", json!("deny")), ("rule", json!("deny-not-http"))]);
}

#[test]
fn names_that_are_not_allowed_are_denied_as_without() {
    for run in both(|| bumped("example.org")) {
        let outcome = run.run("curl -sS -m 20 https://api.example.com/whoami").failed();
        outcome.recorded(&[("rule", json!("deny-default")), ("name", json!("api.example.com"))]);
    }
}

#[test]
fn clients_believe_the_authority_without_being_told() {
    let bare = "env -u SSL_CERT_FILE -u NODE_EXTRA_CA_CERTS -u REQUESTS_CA_BUNDLE -u CURL_CA_BUNDLE -u GIT_SSL_CAINFO";
    let url = "https://api.example.com/whoami";
    for line in [
        format!("curl -sS {url}"),
        format!("{bare} curl -sS {url}"),
        format!("node {SCRIPTS}/get.mjs fetch {url}"),
        format!("node {SCRIPTS}/get.mjs https {url}"),
        format!("{PYTHON} {SCRIPTS}/get.py urllib {url}"),
        format!("{PYTHON} {SCRIPTS}/get.py requests {url}"),
        format!("{PYTHON} {SCRIPTS}/get.py aiohttp {url}"),
    ] {
        for run in both(|| bumped("api.example.com")) {
            let outcome = run.run(&line).succeeded();
            assert!(outcome.stdout.contains("server=api.example.com"), "{line}: {outcome:#?}");
            assert_eq!(requests(&outcome).len(), 1, "{line}: {outcome:#?}");
        }
    }
    let git = "cd $(mktemp -d -p /var/tmp) && git clone -q https://github.com/lab/hello.git && cat hello/README && \
               cd hello && git push -q origin HEAD:refs/heads/$BRANCH && git push -q origin --delete $BRANCH";
    let branch = format!("BRANCH=bumped-{}", std::process::id());
    for run in both(|| bumped("github.com").option("--env", &branch)) {
        let outcome = run.run(git).succeeded();
        assert!(outcome.stdout.contains("hello from the lab"), "{outcome:#?}");
    }
}

#[test]
fn streams_and_web_sockets_pass_as_they_come() {
    let events = "set -o pipefail; curl -sSN 'https://sse.test/events?n=5&ms=200' | while read -r line; do \
                  [[ $line = data:* ]] && date +%s%3N; done; exit ${PIPESTATUS[0]}";
    for run in both(|| bumped("sse.test")) {
        let outcome = run.run(events).succeeded();
        let times: Vec<i64> =
            outcome.stdout.lines().map(|time| time.parse().expect("a time")).collect();
        assert!(times.len() == 5 && times[4] - times[0] > 500, "{outcome:#?}");
    }
    let socket = format!("{PYTHON} {SCRIPTS}/websocket.py wss://ws.test/ws");
    for run in both(|| bumped("ws.test")) {
        let outcome = run.run(&socket).succeeded();
        assert_eq!(outcome.stdout, "text hello\nbinary True\ntext still there\n");
        let found = requests(&outcome);
        assert_eq!((found.len(), &found[0]["proxy_status"]), (1, &json!(101)), "{outcome:#?}");
        assert!(found[0]["bytes_in"].as_u64() > Some(1 << 20), "{outcome:#?}");
    }
}

#[test]
fn large_bodies_pass_complete_and_counted_both_ways() {
    let _alone = crate::stage::heavy();
    for version in ["--http1.1", "--http2"] {
        let down = format!(
            "curl -sS {version} -o /dev/null -w '%{{size_download}}' https://files.test/pattern/104857600"
        );
        let outcome = bumped("files.test").run(&down).succeeded();
        assert_eq!(outcome.stdout, "104857600");
        assert_eq!(requests(&outcome)[0]["bytes_in"], 104_857_600, "{outcome:#?}");
        let up = format!(
            "head -c 104857600 /dev/zero | curl -sS {version} -T - https://files.test/upload"
        );
        let outcome = bumped("files.test").run(&up).succeeded();
        assert!(outcome.stdout.contains("104857600"), "{outcome:#?}");
        assert!(requests(&outcome)[0]["bytes_out"].as_u64() > Some(104_857_600), "{outcome:#?}");
    }
}

/// Files below `directory` that hold a key: as PEM, or what every DER form of one for P-256 begins with (RFC 5958).
fn keys_below(directory: &Path) -> String {
    let der = r"\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
    let found = Command::new("grep")
        .env("LC_ALL", "C")
        .args(["-rlaP", &format!("PRIVATE KEY|{der}")])
        .arg(directory)
        .output()
        .expect("grep starts");
    String::from_utf8_lossy(&found.stdout).into_owned()
}

#[test]
fn the_authoritys_key_is_in_no_file() {
    let _alone = crate::stage::heavy();
    let run = bumped("api.example.com");
    // Only what is new and small: machines have old keys, and large files.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    let inside = format!(
        "curl -sS https://api.example.com/whoami; \
         find /run /tmp /var/tmp /etc/ssl/certs -xdev -type f -newermt @{} -size -64k \
         -exec grep -lsa -e 'PRIVATE[ ]KEY' {{}} +; echo looked; sleep 8",
        now.as_secs()
    );
    let mut child = run.spawn(&inside);
    let bundles = || {
        let list = Command::new("find")
            .args(["/run/awf", "-name", "ca-bundle.pem"])
            .output()
            .expect("find");
        String::from_utf8_lossy(&list.stdout).into_owned()
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fs::read_to_string(run.logs.join("egress.jsonl"))
        .is_ok_and(|log| log.contains("/whoami"))
    {
        assert!(Instant::now() < deadline, "the command did not ask: {:?}", child.wait());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!bundles().is_empty());
    for directory in [Path::new("/run/awf"), Path::new("/var/lib/awf"), &run.logs] {
        assert_eq!(keys_below(directory), "");
    }
    let output = child.wait_with_output().expect("awf ends");
    let outcome = run.outcome(&output, Duration::ZERO).succeeded();
    let after = outcome.stdout.split_once("server=").expect("it was asked").1;
    assert_eq!(after.lines().skip(1).collect::<Vec<_>>(), ["looked"], "{outcome:#?}");
}

#[test]
fn credentials_do_not_leave_in_urls() {
    let key = format!("ghp_{}", "aB3".repeat(12));
    let secret = format!("/whoami?k={key}");
    let coded = secret.replace("ghp", "%67%68%70");
    let path = format!("/{key}");
    let ask_all = |scheme: &str| {
        let urls: Vec<String> = [&secret, &coded, &path, "/whoami?bearer=x"]
            .iter()
            .map(|path| format!("{scheme}://api.example.com{path}"))
            .collect();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        ask("--http1.1", &urls)
    };
    for (scheme, bump) in [("http", false), ("http", true), ("https", true)] {
        let make =
            || if bump { bumped("api.example.com") } else { Run::allowing("api.example.com") };
        for run in both(make) {
            let outcome = run.run(&ask_all(scheme));
            assert_eq!(count(&outcome, "200 1.1"), 4, "{outcome:#?}");
        }
        for run in both(|| make().flag("--enable-dlp")) {
            let outcome = run.run(&ask_all(scheme));
            assert_eq!(count(&outcome, "403 1.1"), 4, "{scheme}: {outcome:#?}");
            let denied = outcome.records_where(|record| record["rule"] == "deny-dlp");
            assert_eq!(denied.len(), 4, "{outcome:#?}");
            assert!(
                denied[0]["reason"]
                    .as_str()
                    .is_some_and(|reason| reason.contains("GitHub personal token"))
            );
            let told = format!("{:?}{}{}", outcome.records, outcome.access_log, outcome.stderr);
            assert!(!told.contains(&key[4..]), "{outcome:#?}");
            assert_eq!(
                outcome.stderr.contains("not seen without --ssl-bump"),
                !bump,
                "{outcome:#?}"
            );
        }
    }
}
