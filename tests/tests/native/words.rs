//! What awf says: the lines that tools look for, the report, the plan, help.

use std::fs::{self, File};
use std::io::Read as _;
use std::process::{Command, Stdio};

use awf_tests::{Run, Scratch, awf};
use nix::pty::openpty;
use serde_json::Value;

use crate::stage::{PYTHON, as_user, bare, complaint, open_to_all, text};

#[test]
fn the_lines_that_tools_look_for_are_there_in_order() {
    for (line, last) in [
        ("true", "[SUCCESS] Command completed successfully"),
        ("exit 7", "[WARN] Command completed with exit code: 7"),
    ] {
        let outcome = Run::allowing("example.com").run(&format!("echo between >&2; {line}"));
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        let at = |text: &str| {
            lines
                .iter()
                .position(|line| line.starts_with(text))
                .unwrap_or_else(|| panic!("{text:?}: {outcome:#?}"))
        };
        let order = [
            at("[INFO] Allowed domains: example.com"),
            at("[SUCCESS] Containers started successfully"),
            at("[INFO] Executing agent command..."),
            at("between"),
            at(last),
        ];
        assert!(order.is_sorted(), "{outcome:#?}");
        let exiting = format!("Process exiting with code: {}", outcome.code);
        assert_eq!(lines.last(), Some(&&*exiting), "{outcome:#?}");
        let marks = ["[DEBUG] ", "[INFO] ", "[SUCCESS] ", "[WARN] ", "[ERROR] "];
        let marked = |line: &&str| marks.iter().any(|mark| line.starts_with(mark));
        let known = |line: &&str| *line == "between" || *line == exiting;
        assert!(lines.iter().all(|line| marked(line) || known(line)), "{outcome:#?}");
        assert!(!outcome.stderr.contains('\u{1b}'), "coloured for no terminal: {outcome:#?}");
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn the_log_level_decides_what_is_said() {
    let said = |level| {
        Run::allowing("example.com")
            .option("--log-level", level)
            .run("curl -s https://denied.example.net/; exit 1")
            .stderr
    };
    let last = "Process exiting with code: 1\n";
    assert_eq!(said("error"), last);
    let warnings = said("warn");
    assert!(warnings.contains("denied.example.net") && !warnings.contains("[INFO]"), "{warnings}");
    assert!(!warnings.contains("[SUCCESS]") && warnings.ends_with(last), "{warnings}");
    assert!(said("debug").contains("[DEBUG] "));
}

#[test]
fn after_a_failure_the_report_names_what_was_denied_and_the_flag() {
    let outcome = Run::allowing("example.com")
        .run("curl -sS https://denied.example.net/; curl -sS https://denied.example.net/; curl -sS http://example.org:8080/")
        .failed();
    let expected = [
        "[WARN]   - Blocked: denied.example.net:443 by curl: domain not in allowlist",
        "[WARN] Allowed domains: example.com",
        "[WARN] To allow them: --allow-domains \"example.com,denied.example.net",
    ];
    for line in expected {
        assert!(
            outcome.stderr.lines().any(|said| said.starts_with(line)),
            "{line:?} is missing: {outcome:#?}"
        );
    }
    assert!(
        outcome
            .stderr
            .lines()
            .any(|said| said.contains("example.org:8080") && said.contains("port 8080")),
        "{outcome:#?}"
    );
}

/// Is refused under a process name, and asks for a domain name, that hold a line of their own.
const FORGERY: &str = r#"
import socket
open("/proc/self/comm", "w").write("x\n[INFO] Hi\r")
socket.socket().connect_ex(("93.184.216.34", 22))
resolver = socket.socket(type=socket.SOCK_DGRAM)
question = b"\0\1\1\0\0\1\0\0\0\0\0\0\x0ba\n[INFO] Ho\3net\0\0\1\0\1"
resolver.sendto(question, ("8.8.8.8", 53))
resolver.recv(512)
exit(1)
"#;

#[test]
fn nothing_the_agent_names_becomes_a_line_of_awf() {
    let outcome = Run::new().run(&format!("{PYTHON} -c '{FORGERY}'")).failed();
    for named in [r"by x\u{a}[INFO] Hi\u{d}:", r"Blocked: a\012\[INFO\]\040Ho.net."] {
        assert!(outcome.stderr.contains(named), "{named}: {outcome:#?}");
    }
    assert!(!outcome.stderr.contains('\r'), "{outcome:#?}");
    assert!(!outcome.stderr.contains("\n[INFO] H"), "{outcome:#?}");
    outcome.recorded(&[("comm", "x\n[INFO] Hi\r".into()), ("port", 22.into())]);
}

#[test]
fn the_proposed_flag_allows_what_was_denied() {
    let line = "curl -sS -o /dev/null https://denied.example.net/ && curl -sS -o /dev/null https://example.org/";
    let outcome = Run::allowing("example.com")
        .run("curl -sS https://denied.example.net/; curl -sS https://example.org/")
        .failed();
    let flag = outcome
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("[WARN] To allow them: --allow-domains "));
    let list = flag.expect("a proposal").trim_matches('"');
    Run::allowing(list).run(line).succeeded();
}

#[test]
fn there_is_no_report_without_denials_or_without_failure() {
    let outcome = Run::allowing("example.com").run("exit 3");
    assert!(!outcome.stderr.contains("locked"), "{outcome:#?}");
    let outcome =
        Run::allowing("example.com").run("curl -s https://denied.example.net/; true").succeeded();
    assert!(!outcome.stderr.contains("locked"), "{outcome:#?}");
}

#[test]
fn a_plan_is_json_and_changes_nothing() {
    let scratch = Scratch::new("plan");
    let inside = |name: &str| scratch.path().join(name).display().to_string();
    let (work, logs, audit) = (inside("work"), inside("logs"), inside("audit"));
    let options = [
        "plan",
        "-d",
        "example.com,*.example.org",
        "--work-dir",
        &work,
        "--proxy-logs-dir",
        &logs,
        "--audit-dir",
        &audit,
    ];
    let options =
        [&options[..], &["-e", "TOKEN=s3cret", "--", "curl", "https://example.com"]].concat();
    let output = bare(&scratch, &options).output().expect("awf runs");
    assert_eq!(output.status.code(), Some(0), "{output:#?}");
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for key in [
        "policy",
        "squid_conf",
        "command",
        "working_directory",
        "uid",
        "gid",
        "environment",
        "mounts",
        "limits",
        "capabilities",
        "seccomp",
        "proxy_logs",
        "audit",
        "notices",
        "origins",
    ] {
        assert!(!plan[key].is_null(), "{key}: {plan:#}");
    }
    assert_eq!((&plan["uid"], &plan["proxy_logs"]), (&Value::from(1000), &Value::from(logs)));
    assert!(plan["environment"].as_array().expect("a list").contains(&Value::from("TOKEN")));
    assert!(!text(&output).contains("s3cret"), "{plan:#}");
    assert_eq!(
        fs::read_dir(scratch.path()).expect("it is there").count(),
        0,
        "the plan made something"
    );
}

#[test]
fn wrong_usage_is_no_run_and_a_failed_start_is_one() {
    let scratch = Scratch::new("usage");
    let say = |words: &[&str]| complaint(&bare(&scratch, words).output().expect("awf runs"));
    let usage = say(&["--memory-limit", "much", "--", "true"]);
    assert!(usage.starts_with("[ERROR] --memory-limit") && !usage.contains("Process"), "{usage}");
    // `full` is refused on most machines, and where it is not, the run succeeds.
    let started = say(&["--profile", "full", "--", "true"]);
    let last = started.lines().last().expect("a line");
    assert!(last.starts_with("Process exiting with code: "), "{started}");
}

/// What awf says on a terminal, its standard output and input being none.
fn on_terminal(variables: &[(&str, &str)]) -> String {
    let scratch = Scratch::new("colour");
    let terminal = openpty(None, None).expect("a terminal");
    let mut command = bare(&scratch, &["--", "true"]);
    command.env_remove("NO_COLOR").env("TERM", "xterm").envs(variables.iter().copied());
    let mut child =
        command.stdout(Stdio::null()).stderr(terminal.slave).spawn().expect("awf starts");
    // The command holds the last copy of the terminal's other side.
    drop(command);
    let mut screen = Vec::new();
    // The end is EIO (`drivers/tty/pty.c`).
    drop(File::from(terminal.master).read_to_end(&mut screen));
    assert!(child.wait().expect("awf ends").success());
    String::from_utf8(screen).expect("text")
}

#[test]
fn lines_are_coloured_on_a_terminal_unless_somebody_minds() {
    let screen = on_terminal(&[]);
    for line in [
        "\u{1b}[34m[INFO] Executing agent command...\u{1b}[39m",
        "\u{1b}[32m[SUCCESS] Command completed successfully\u{1b}[39m",
    ] {
        assert!(screen.contains(line), "{screen:?}");
    }
    assert!(screen.ends_with("Process exiting with code: 0\r\n"), "{screen:?}");
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let screen = on_terminal(&[plain]);
        assert!(screen.contains("[SUCCESS] Command"), "{screen:?}");
        assert!(!screen.contains("\u{1b}[3"), "{plain:?}: {screen:?}");
    }
}

#[test]
fn a_plan_says_where_each_setting_comes_from() {
    let scratch = Scratch::new("origins");
    let file = scratch.path().join("awf.yml");
    fs::write(&file, "network:\n  allowDomains: [example.com]\n").expect("write it");
    let name = file.display().to_string();
    let line = ["plan", "--config", &name, "--pids-limit", "50", "--", "true"];
    let output = bare(&scratch, &line)
        .env("ANTHROPIC_API_TARGET", "a.example.com")
        .output()
        .expect("awf runs");
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for (option, value, from) in [
        ("--allow-domains", "example.com", format!("{name}:2 network.allowDomains")),
        ("--pids-limit", "50", "command line".to_owned()),
        ("--anthropic-api-target", "a.example.com", "environment ANTHROPIC_API_TARGET".to_owned()),
        ("--memory-limit", "6g", "default".to_owned()),
    ] {
        let said = &plan["origins"][option];
        assert_eq!((&said["value"], &said["from"]), (&value.into(), &from.into()), "{option}");
    }
}

#[test]
fn a_plan_needs_no_privilege() {
    // A user may not look into the directory of the build.
    let scratch = Scratch::new("plan");
    let program = scratch.path().join("awf");
    fs::copy(awf(), &program).expect("copy awf");
    let tmp = scratch.path().join("tmp");
    fs::create_dir(&tmp).expect("make it");
    open_to_all(&tmp);
    let output = as_user(&program)
        .args(["plan", "-d", "example.com", "--", "true"])
        .env("TMPDIR", &tmp)
        .current_dir("/")
        .output()
        .expect("awf runs");
    assert_eq!(output.status.code(), Some(0), "{output:#?}");
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(plan["uid"], 1000);
    assert_eq!(fs::read_dir(&tmp).expect("it is there").count(), 0, "the plan made something");
}

#[test]
fn help_and_version_need_nothing() {
    let say = |option: &str| Command::new(awf()).arg(option).output().expect("awf runs");
    for option in ["-h", "--help"] {
        let output = say(option);
        assert_eq!((output.status.code(), &*complaint(&output)), (Some(0), ""));
        for word in ["--allow-domains", "--proxy-logs-dir", "awf plan", "Exit codes"] {
            assert!(
                option == "-h" && word == "Exit codes" || text(&output).contains(word),
                "{option} {word}"
            );
        }
    }
    for option in ["-V", "--version"] {
        let output = say(option);
        let version = text(&output);
        let parts: Vec<&str> = version.trim_end().split('.').collect();
        assert!(output.status.success() && parts.len() == 3, "{version}");
        assert!(parts.iter().all(|part| part.parse::<u32>().is_ok()), "{version}");
    }
}

#[test]
fn several_words_are_a_program_and_its_arguments() {
    let scratch = Scratch::new("words");
    let words = [
        "--log-level",
        "error",
        "--",
        PYTHON,
        "-c",
        "import sys; print(sys.argv[1:])",
        "a b",
        "$HOME",
        "'",
        "*",
    ];
    let output = bare(&scratch, &words).output().expect("awf runs");
    assert_eq!(text(&output), "['a b', '$HOME', \"'\", '*']\n", "{output:#?}");
    let output =
        bare(&scratch, &["--log-level", "error", "--", "echo one | tr o 0; echo $((1 + 1))"])
            .output()
            .expect("awf runs");
    assert_eq!(text(&output), "0ne\n2\n", "{output:#?}");
}
