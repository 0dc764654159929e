//! What a run leaves: logs, record, audit, and nothing else.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use awf_tests::{Run, Scratch, lab, leftovers};
use serde_json::Value;

use crate::stage::{as_user, bare, complaint, text};

const TRIES: &str = "curl -sS -A 'a \"quoted\" agent' https://example.com/whoami; curl -sS http://example.com/whoami; \
                     curl -sS https://denied.example.net/; curl -sS http://denied.example.net/; curl -sS http://93.184.216.34:8080/; false";

/// A run with one of everything, its logs below the scratch directory.
struct Left {
    scratch: Scratch,
    stderr: String,
}

impl Left {
    fn by(more: &[&str]) -> Self {
        let scratch = Scratch::new("records");
        let ca = lab().ca().display().to_string();
        let (mount, trust) = (format!("{ca}:{ca}:ro"), format!("CURL_CA_BUNDLE={ca}"));
        let known = ["--allow-domains", "example.com", "--mount", &mount, "--env", &trust];
        let output =
            bare(&scratch, &[&known, more, &["--", TRIES]].concat()).output().expect("awf runs");
        assert_eq!(output.status.code(), Some(1), "{output:#?}");
        assert_eq!(text(&output).matches("server=example.com").count(), 2, "{output:#?}");
        Self { scratch, stderr: complaint(&output) }
    }

    /// The only directory in the scratch directory whose name starts so.
    fn directory(&self, start: &str) -> PathBuf {
        let entries = fs::read_dir(self.scratch.path()).expect("it is there").flatten();
        let mut found: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| path.file_name().expect("a name").to_string_lossy().starts_with(start))
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `1795325306.750`
fn is_time(text: &str) -> bool {
    text.split_once('.').is_some_and(|(seconds, milliseconds)| {
        seconds.len() == 10
            && milliseconds.len() == 3
            && is_number(seconds)
            && is_number(milliseconds)
    })
}

/// `name:port`, `address:port` or `-:-`.
fn is_endpoint(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && (is_number(port) || port == "-"))
}

/// The original's format: time, client, host, destination, HTTP version, method, status, decision:hierarchy, URL, agent.
#[track_caller]
fn check_access_line(line: &str) {
    let (fields, agent) = line.split_once(" \"").expect("a quoted agent at the end");
    assert!(agent.ends_with('"'), "{line}");
    let fields: Vec<&str> = fields.split(' ').collect();
    let [time, client, host, destination, version, method, status, decision, url] =
        fields.as_slice()
    else {
        panic!("{} fields: {line}", fields.len());
    };
    let (address, port) = client.rsplit_once(':').expect("a port");
    assert!(is_time(time) && address == "172.30.0.20" && is_number(port), "{line}");
    assert!(host.contains("example."), "{line}");
    assert!(is_endpoint(destination), "{line}");
    assert!(matches!(*version, "1.1" | "1.0" | "2.0"), "{line}");
    assert!(matches!(*method, "CONNECT" | "GET"), "{line}");
    assert!(status.len() == 3 && is_number(status), "{line}");
    let (decision, hierarchy) = decision.split_once(':').expect("a colon");
    assert!(decision.starts_with("TCP_") && hierarchy.starts_with("HIER_"), "{line}");
    assert!(!url.is_empty(), "{line}");
}

#[test]
fn the_access_log_has_the_format_of_the_original() {
    let left = Left::by(&[]);
    let log =
        fs::read_to_string(left.directory("squid-logs-").join("access.log")).expect("it is there");
    log.lines().for_each(check_access_line);
    for expected in [
        " CONNECT 200 TCP_TUNNEL:HIER_DIRECT example.com:443 ",
        " CONNECT 403 TCP_DENIED:HIER_NONE denied.example.net:443 ",
        " GET 200 TCP_MISS:HIER_DIRECT http://example.com/whoami ",
        " GET 403 TCP_DENIED:HIER_NONE http://denied.example.net/ ",
    ] {
        assert!(log.contains(expected), "{expected:?} is missing:\n{log}");
    }
    assert_eq!(log.lines().count(), 4, "{log}");
}

/// A line of the record of [`TRIES`].
#[track_caller]
fn check_attempt(record: &Value, line: &str) {
    assert!(line.starts_with("{\"_schema\":\"awf-egress/v1\","), "{line}");
    let word = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let time = word("time");
    assert!(time.len() == 27 && time.ends_with('Z') && time.contains('T'), "{line}");
    assert!(word("run").starts_with("awf-"), "{line}");
    assert!(matches!(&*word("verdict"), "allow" | "deny" | "error"), "{line}");
    assert!(
        matches!(
            &*word("layer"),
            "kernel" | "guard" | "relay" | "proxy" | "name" | "seccomp" | "lsm"
        ),
        "{line}"
    );
    assert!(
        !word("rule").is_empty() && !word("reason").is_empty() && !word("protocol").is_empty(),
        "{line}"
    );
    if record["protocol"] == "tcp" {
        assert!(word("address").parse::<IpAddr>().is_ok(), "{line}");
        assert!(
            record["port"].is_u64() && record["pid"].is_u64() && record["uid"] == 1000,
            "{line}"
        );
        assert_eq!(word("comm"), "curl", "{line}");
    }
    if record["verdict"] == "allow" && record["protocol"] == "tcp" {
        for number in
            ["bytes_out", "bytes_in", "duration_ms", "client_port", "ppid", "cgroup", "cookie"]
        {
            assert!(record[number].is_u64(), "{number}: {line}");
        }
        assert_eq!(record["layer"], "proxy", "{line}");
        // A connection of plain HTTP has as many answers as requests.
        assert!(record["port"] == 80 || record["proxy_status"] == 200, "{line}");
        assert!(word("exe").ends_with("/curl"), "{line}");
        assert!(record["bytes_in"].as_u64() > Some(100), "{line}");
        assert!(record["bytes_out"].as_u64() > Some(50), "{line}");
    }
}

#[test]
fn the_record_keeps_to_its_schema() {
    let left = Left::by(&[]);
    let log = fs::read_to_string(left.directory("squid-logs-").join("egress.jsonl"))
        .expect("it is there");
    let records: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let (summary, attempts) = records.split_last().expect("lines");
    assert_eq!((&summary["event"], &summary["complete"]), (&"summary".into(), &true.into()));
    assert_eq!(summary["exit_code"], 1);
    for (record, line) in attempts.iter().zip(log.lines()) {
        check_attempt(record, line);
    }
    let count = |name: &str, verdict: &str| {
        records
            .iter()
            .filter(|record| {
                record["name"] == name
                    && record["verdict"] == verdict
                    && record["protocol"] == "tcp"
            })
            .count()
    };
    assert_eq!(count("example.com", "allow"), 2, "{log}");
    assert_eq!(count("denied.example.net", "deny"), 2, "{log}");
    let by_kernel = |record: &&Value| {
        record["layer"] == "kernel"
            && record["address"] == "93.184.216.34"
            && record["port"] == 8080
    };
    assert_eq!(records.iter().filter(by_kernel).count(), 1, "{log}");
}

#[test]
fn the_record_and_the_access_log_can_be_joined() {
    let left = Left::by(&[]);
    let logs = left.directory("squid-logs-");
    let read = |name: &str| fs::read_to_string(logs.join(name)).expect("it is there");
    for line in read("egress.jsonl").lines() {
        let record: Value = serde_json::from_str(line).expect(line);
        if record["protocol"] == "tcp" && record["layer"] != "kernel" {
            let client = format!(" 172.30.0.20:{} ", record["client_port"]);
            assert_eq!(read("access.log").matches(&client).count(), 1, "{line}");
        }
    }
}

/// Finding L4 of the review: logs could be read by root only.
#[test]
fn everything_a_run_leaves_can_be_read_by_everybody() {
    let left = Left::by(&[]);
    let (logs, audit) = (left.directory("squid-logs-"), left.directory("awf-audit-"));
    for file in [
        logs.join("access.log"),
        logs.join("audit.jsonl"),
        logs.join("cache.log"),
        logs.join("egress.jsonl"),
        audit.join("squid.conf"),
    ] {
        let output = as_user("cat").arg(&file).output().expect("cat runs");
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{}: {output:#?}",
            file.display()
        );
    }
    let audit_log = fs::read_to_string(logs.join("audit.jsonl")).expect("it is there");
    for line in audit_log.lines() {
        let entry: Value = serde_json::from_str(line).expect(line);
        for key in [
            "_schema",
            "timestamp",
            "event",
            "client",
            "host",
            "dest",
            "method",
            "status",
            "decision",
            "url",
        ] {
            assert!(!entry[key].is_null(), "{key}: {line}");
        }
        assert!(
            entry["_schema"].as_str().is_some_and(|schema| schema.starts_with("audit/v")),
            "{line}"
        );
    }
}

#[test]
fn what_a_run_behind_sudo_leaves_belongs_to_the_user() {
    use std::os::unix::fs::MetadataExt as _;
    let scratch = Scratch::new("records");
    let output = bare(&scratch, &["--", "true"])
        .envs([("SUDO_UID", "1000"), ("SUDO_GID", "1000")])
        .output()
        .expect("awf runs");
    assert_eq!(output.status.code(), Some(0), "{output:#?}");
    let left = Left { scratch, stderr: String::new() };
    for directory in [left.directory("squid-logs-"), left.directory("awf-audit-")] {
        let entries =
            fs::read_dir(&directory).expect("it is there").flatten().map(|entry| entry.path());
        for path in entries.chain([directory.clone()]) {
            let facts = fs::metadata(&path).expect("it is there");
            assert_eq!((facts.uid(), facts.gid()), (1000, 1000), "{}", path.display());
        }
    }
}

/// gh-aw's logs lie in a directory that the command may write, and awf hands them over as root.
#[test]
fn the_command_cannot_lead_the_handing_over_to_files_of_others() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let scratch = Scratch::new("led");
    let shared = scratch.path().join("shared");
    let victim = scratch.path().join("victim");
    fs::create_dir_all(shared.join("above")).expect("a directory");
    fs::create_dir(&victim).expect("a directory");
    fs::write(victim.join("file"), "of root").expect("a file");
    for directory in [&shared, &shared.join("above")] {
        chown(directory, Some(1000), Some(1000)).expect("the user's");
    }
    let shown = shared.display();
    let mut run = Run::new()
        .caller_variable("SUDO_UID", "1000")
        .caller_variable("SUDO_GID", "1000")
        .option("--mount", &format!("{shown}:{shown}:rw"));
    run.logs = shared.join("above/logs");
    let line = format!(
        "cd {shown} && mv above elsewhere && mkdir above && ln -s {} above/logs && echo led",
        victim.display()
    );
    let outcome = run.run(&line);
    let facts = fs::metadata(victim.join("file")).expect("it is there");
    assert_eq!((facts.uid(), facts.gid()), (0, 0), "{outcome:#?}");
    // Either the command could not move what holds the logs, or awf saw that they are not there any more.
    assert!(
        !outcome.stdout.contains("led") || outcome.stderr.contains("hand over"),
        "{outcome:#?}"
    );
}

#[test]
fn the_audited_configuration_does_not_give_the_key_away() {
    let left = Left::by(&[]);
    let conf =
        fs::read_to_string(left.directory("awf-audit-").join("squid.conf")).expect("it is there");
    assert!(conf.contains("<key>"), "{conf}");
    let words = conf.split(|letter: char| !letter.is_ascii_hexdigit());
    assert_eq!(words.filter(|word| word.len() >= 32).count(), 0, "{conf}");
}

#[test]
fn logs_go_where_they_always_went_unless_told_otherwise() {
    let left = Left::by(&[]);
    let logs = left.directory("squid-logs-");
    let name = logs.file_name().expect("a name").to_string_lossy().into_owned();
    let number = name.strip_prefix("squid-logs-").expect("its name");
    assert!(number.len() == 13 && is_number(number), "{name}: not milliseconds since 1970");
    // Nothing but these two is left in the temporary directory.
    assert_eq!(fs::read_dir(left.scratch.path()).expect("it is there").count(), 2);

    let chosen = Scratch::new("chosen");
    let (logs, audit) = (chosen.path().join("deep/logs"), chosen.path().join("deep/audit"));
    let text = |path: &Path| path.display().to_string();
    let left = Left::by(&["--proxy-logs-dir", &text(&logs), "--audit-dir", &text(&audit)]);
    assert_eq!(
        fs::read_dir(left.scratch.path()).expect("it is there").count(),
        0,
        "{}",
        left.stderr
    );
    assert!(logs.join("access.log").exists() && audit.join("squid.conf").exists());
}

#[test]
fn a_run_leaves_nothing_on_the_machine() {
    for line in ["true", "false", "sleep 300 & disown; setsid sleep 300 & exit 3", "kill -9 $$"] {
        let run = Run::new();
        let id_of = |directory: &Path| {
            let log = fs::read_to_string(directory.join("egress.jsonl")).unwrap_or_default();
            let first: Value =
                serde_json::from_str(log.lines().next().expect("a record")).expect("JSON");
            first["run"].as_str().expect("an id").to_owned()
        };
        let child = run.spawn(&format!("curl -s https://denied.example.net/; {line}"));
        let output = child.wait_with_output().expect("awf ends");
        let id = id_of(&run.logs);
        // Other runs may be under way beside this test: only what carries this run's name counts.
        let left: Vec<String> =
            leftovers().into_iter().filter(|entry| entry.contains(&id)).collect();
        assert_eq!(left, [""; 0], "{line}: {output:#?}");
        for place in ["/tmp", "/var/lib/awf", "/run/awf", "/"] {
            let names = fs::read_dir(place).into_iter().flatten().flatten();
            let own: Vec<_> = names
                .map(|entry| entry.path())
                .filter(|path| path.to_string_lossy().contains(&id))
                .collect();
            assert!(own.is_empty(), "{line}: {own:?} {output:#?}");
        }
        let processes = fs::read_dir("/proc").expect("it is there").flatten().filter_map(|entry| {
            let cgroup = fs::read_to_string(entry.path().join("cgroup")).ok()?;
            let command = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            (cgroup.contains(&id) || command.contains(&id)).then_some(command)
        });
        assert_eq!(processes.collect::<Vec<_>>(), [""; 0], "{line}");
    }
}

/// From the loader, and all the same by the rules for everybody: through Squid, to no address inside.
#[test]
fn a_record_is_sent_to_an_allowed_collector_and_nowhere_else() {
    let sent_to = |host: &str| {
        Run::allowing(&format!("example.com,{host}"))
            .caller_variable("SSL_CERT_FILE", &lab().ca().display().to_string())
            .option("--otlp-endpoint", &format!("https://{host}/v1/logs"))
            .run("curl -sS https://example.com")
            .succeeded()
    };
    let outcome = sent_to("api.example.com");
    let said = "[INFO] Record sent to api.example.com in 1 requests";
    assert!(outcome.stderr.contains(said), "{outcome:#?}");
    let shown = |line: &&str| line.contains("api.example.com:443") && line.contains("CONNECT 200");
    assert_eq!(outcome.access_log.lines().filter(shown).count(), 1, "{outcome:#?}");
    for (host, why) in [("pypi.lab.test", "status 4"), ("private.test", "private")] {
        let outcome = sent_to(host);
        let warned = outcome.stderr.lines().find(|line| line.contains("the record was not sent"));
        assert!(warned.is_some_and(|line| line.contains(why)), "{host}: {outcome:#?}");
    }
}
