//! The line that gh-aw writes into every workflow, with the configuration that it writes beside it (reference:
//! awf-surface.md, section 11): the binary is swapped, and nothing else changes.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use awf_tests::{Scratch, awf, lab};
use serde_json::{Value, json};

use crate::contract::Neighbour;

/// The gateway that every workflow attaches.
const GATEWAY: &str = "awmg-mcpg";

/// Domains of an ordinary list, beside the one that the lab has: 52 in all.
const DOMAINS: &str = "*.githubusercontent.com,api.github.com,api.individual.githubcopilot.com,api.snapcraft.io,\
    archive.ubuntu.com,azure.archive.ubuntu.com,codeload.github.com,crl.geotrust.com,crl.globalsign.com,\
    crl.identrust.com,crl.sectigo.com,crl.thawte.com,crl.usertrust.com,crl.verisign.com,crl3.digicert.com,\
    crl4.digicert.com,crls.ssl.com,docs.github.com,github-cloud.githubusercontent.com,github-cloud.s3.amazonaws.com,\
    github.blog,github.com,github.githubassets.com,host.docker.internal,json-schema.org,json.schemastore.org,\
    keyserver.ubuntu.com,lfs.github.com,ocsp.digicert.com,ocsp.geotrust.com,ocsp.globalsign.com,ocsp.identrust.com,\
    ocsp.sectigo.com,ocsp.ssl.com,ocsp.thawte.com,ocsp.usertrust.com,ocsp.verisign.com,packagecloud.io,\
    packages.cloud.google.com,packages.microsoft.com,ppa.launchpad.net,raw.githubusercontent.com,registry.npmjs.org,\
    s.symcb.com,s.symcd.com,security.ubuntu.com,telemetry.enterprise.githubcopilot.com,telemetry.vercel.com,\
    ts-crl.ws.symantec.com,ts-ocsp.ws.symantec.com,www.googleapis.com";

/// What a workflow has set up before the line runs.
struct Workflow {
    scratch: Scratch,
}

impl Workflow {
    fn new() -> Self {
        let scratch = Scratch::new("golden");
        for directory in ["runner/gh-aw", "workspace", "gh-aw/sandbox/firewall", "tools"] {
            fs::create_dir_all(scratch.path().join(directory)).expect("a directory");
        }
        fs::write(scratch.path().join("runner/gh-aw/prompt.txt"), "do it").expect("a prompt");
        Self { scratch }
    }

    fn path(&self, name: &str) -> String {
        self.scratch.path().join(name).display().to_string()
    }

    fn configure(&self, image_tag: &str) {
        let domains: Vec<&str> = DOMAINS.split(',').chain(["example.com"]).collect();
        assert_eq!(domains.len(), 52);
        let models: Value = (0..60)
            .map(|index| (format!("alias-{index}"), json!(["gpt-5*", "claude-*"])))
            .collect();
        let config = json!({
            "$schema": "https://raw.githubusercontent.com/github/gh-aw-firewall/main/awf-config.schema.json",
            "network": {"allowDomains": domains, "isolation": true, "topologyAttach": [GATEWAY]},
            "apiProxy": {
                "enabled": true, "enableTokenSteering": true, "maxRuns": 500, "maxAiCredits": 1000,
                "maxCacheMisses": 5, "models": models,
            },
            "container": {"imageTag": image_tag, "agentTimeout": 5},
            "logging": {
                "proxyLogsDir": self.path("gh-aw/sandbox/firewall/logs"),
                "auditDir": self.path("gh-aw/sandbox/firewall/audit"),
            },
        });
        fs::write(self.path("runner/gh-aw/awf-config.json"), config.to_string()).expect("write it");
    }

    /// The line, word by word.
    fn run(&self, runtime: &[&str], harness: &str) -> Output {
        let (temporary, work, shared) =
            (self.path("runner"), self.path("workspace"), self.path("gh-aw"));
        let mut command: Command = lab().host_command(awf());
        command
            .current_dir(&work)
            .envs([
                ("RUNNER_TEMP", temporary.as_str()),
                ("GITHUB_WORKSPACE", &work),
                ("GITHUB_TOKEN", "ghs_canary0123456789"),
                ("COPILOT_GITHUB_TOKEN", "ghu_canary0123456789"),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary-oidc"),
                ("GITHUB_REPOSITORY", "owner/repo"),
            ])
            .args(["--config", &self.path("runner/gh-aw/awf-config.json")])
            .args(["--container-workdir", &work])
            .args(["--mount", &format!("{temporary}/gh-aw:{temporary}/gh-aw:ro")])
            .args(["--mount", &format!("{temporary}/gh-aw:/host{temporary}/gh-aw:ro")])
            .args(["--mount", &format!("{0}:{0}:ro", self.path("tools"))])
            .args(["--env-all", "--exclude-env", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
            .args(["--exclude-env", "COPILOT_GITHUB_TOKEN", "--exclude-env", "MCP_GATEWAY_API_KEY"])
            .args([
                "--mount",
                &format!("{shared}:{shared}:rw"),
                "--log-level",
                "info",
                "--skip-pull",
            ])
            // The lab's authority, which a workflow has no need of.
            .args(["--mount", &format!("{0}:{0}:ro", lab().ca().display())])
            .arg("--env")
            .arg(format!("CURL_CA_BUNDLE={}", lab().ca().display()))
            .args(runtime)
            .args(["--", "/bin/bash", "-c", harness])
            .stdin(Stdio::null());
        command.output().expect("awf runs")
    }
}

/// What an engine's harness does, in short.
const HARNESS: &str = "set -e
    export PATH=\"$PATH:/usr/bin\"
    test \"$PWD\" = \"$GITHUB_WORKSPACE\"
    cat \"$RUNNER_TEMP/gh-aw/prompt.txt\"; echo
    curl -sS -o /dev/null -w 'allowed %{http_code}\\n' https://example.com/
    curl -sS -o /dev/null -m 5 -w 'denied %{http_code}\\n' https://example.org/ || true
    curl -s -o /dev/null -w 'gateway %{http_code}\\n' http://awmg-mcpg:8080/
    curl -sS http://172.30.0.30:10000/health; echo
    echo result >\"$GITHUB_WORKSPACE/result\"
    echo \"token ${GITHUB_TOKEN:-none} $GITHUB_REPOSITORY\"
    env";

fn check(workflow: &Workflow, output: &Output, runtime: &str) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{runtime}: {stdout}\n{stderr}");
    for part in
        ["do it", "allowed 200", "denied 000", "gateway 400", "healthy", "token none owner/repo"]
    {
        assert!(stdout.contains(part), "{runtime}: {part}: {stdout}\n{stderr}");
    }
    assert!(
        !stdout.contains("canary") && !stderr.contains("canary"),
        "{runtime}: {stdout}\n{stderr}"
    );
    assert_eq!(stderr.lines().last(), Some("Process exiting with code: 0"), "{runtime}: {stderr}");
    for part in
        ["Allowed domains: ", "Executing agent command...", "Command completed successfully"]
    {
        assert!(stderr.contains(part), "{runtime}: {part}: {stderr}");
    }
    let logs = workflow.path("gh-aw/sandbox/firewall/logs");
    let audit = workflow.path("gh-aw/sandbox/firewall/audit");
    for file in [
        format!("{logs}/access.log"),
        format!("{logs}/audit.jsonl"),
        format!("{logs}/egress.jsonl"),
        format!("{audit}/policy-manifest.json"),
        format!("{audit}/awf-resolved-config.json"),
        format!("{audit}/squid.conf"),
    ] {
        let facts =
            fs::metadata(&file).unwrap_or_else(|error| panic!("{runtime}: {file}: {error}"));
        assert!(facts.permissions().mode() & 0o444 == 0o444, "{file} is for root only");
        let text = fs::read_to_string(&file).expect("text");
        assert!(!text.contains("canary"), "{file}");
    }
    let access = fs::read_to_string(format!("{logs}/access.log")).expect("a log");
    assert!(access.contains("example.com:443") && access.contains("example.org"), "{access}");
    let result = Path::new(&workflow.path("workspace/result")).metadata().expect("the result");
    assert_eq!(result.size(), 7);
    for directory in
        ["gh-aw/sandbox/firewall/logs", "gh-aw/sandbox/firewall/audit", "workspace/result"]
    {
        let path = workflow.path(directory);
        let removed = fs::remove_dir_all(&path).or_else(|_file| fs::remove_file(&path));
        removed.expect("remove what the run left");
    }
}

#[test]
fn the_line_of_a_workflow_runs_on_both_runtimes() {
    let gateway = Neighbour::called(GATEWAY.to_owned());
    let workflow = Workflow::new();
    workflow.configure(env!("CARGO_PKG_VERSION"));
    for runtime in ["docker", "native"] {
        let output = workflow.run(&["--runtime", runtime], HARNESS);
        check(&workflow, &output, runtime);
    }
    // As it is written, with the original's tag and digests: those images are not awf's, and auto does without.
    let digest = "0123456789abcdef".repeat(4);
    workflow.configure(&format!("0.28.4,squid=sha256:{digest},agent=sha256:{digest}"));
    let output = workflow.run(&[], HARNESS);
    check(&workflow, &output, "auto");
    drop(gateway);
}
