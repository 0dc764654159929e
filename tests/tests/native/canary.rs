//! Canaries: a secret of every kind goes in by every way, and must turn up nowhere it has no business.
//!
//! Four kinds, each value unique to this run:
//! - `kept`: credentials in the caller's environment that awf keeps from the command. Allowed in awf's own environment, where
//!   the caller has put them, and nowhere else on the machine.
//! - `file`: what the credential files of the home say. Allowed in those files only.
//! - `given`: variables that the command gets by contract (`-e`, `--env-file`, `--env-all`, tokens that awf passes on).
//! - `typed`: what the command itself holds: an Authorization header, a user's password, a URL's query.
//!
//! The last two are allowed in the agent's own processes, for which they are meant, and in awf's own command line and
//! environment, where the caller has put them; and where the caller has, such as the file of `--env-file`. They are not
//! allowed in awf's logs and audit files, what it says at its most talkative, its directories in `/run` and `/var/lib`, any
//! other process (init, Squid, the daemon's), or Docker's word on the containers. What an origin is sent is the agent's
//! business and not looked at.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use awf_common::one_shot;
use awf_tests::{Run, Scratch, docker};

use crate::stage::{Conversation, USER, open_to_all};

/// Credentials that no option passes on: the runner's own, the providers', GitHub's.
const KEPT: [&str; 20] = [
    "ACTIONS_RUNTIME_TOKEN",
    "ACTIONS_RESULTS_URL",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "OPENAI_API_KEY",
    "OPENAI_KEY",
    "CODEX_API_KEY",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_API_KEY",
    "COPILOT_GITHUB_TOKEN",
    "COPILOT_PROVIDER_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITHUB_PERSONAL_ACCESS_TOKEN",
    "GITHUB_API_TOKEN",
    "GITHUB_PAT",
    "GH_ACCESS_TOKEN",
];

/// Credentials that `--env-all` passes on, besides those of the standard list of one-shot tokens.
const GIVEN: [&str; 3] = ["CLAUDE_CODE_OAUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "NPM_TOKEN"];

/// Files of a home that hold credentials: the original's thirty, and some that it forgets.
const FILES: &str = "
    .docker/config.json .npmrc .composer/auth.json .ssh/id_rsa .ssh/id_ed25519 .ssh/id_ecdsa .ssh/id_dsa .aws/credentials
    .aws/config .kube/config .azure/credentials .azure/msal_token_cache.bin .azure/msal_token_cache.json
    .azure/accessTokens.json .azure/service_principal_entries.json .cargo/credentials .cargo/credentials.toml
    .claude/.credentials.json .gemini/oauth_creds.json .gemini/google_accounts.json .gemini/access_tokens.json
    .config/gh/hosts.yml .config/gcloud/credentials.db .config/gcloud/access_tokens.db
    .config/gcloud/application_default_credentials.json .config/doctl/config.yaml .config/rclone/rclone.conf
    .config/containers/auth.json .config/pulumi/credentials.json .config/helm/repositories.yaml .netrc .git-credentials
    .config/git/credentials .config/github-copilot/hosts.json .local/share/keyrings/login.keyring .gnupg/secring.gpg
";

/// What the agent can see of processes and files goes to `view`; then the test has time to look from outside.
const LOOK: &str = r#"
    { cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\0' '\n'
      find "$HOME" /run /etc /var /dev/shm /etc/hosts -type f -size -1024k -exec cat {} +
      env; } >view 2>/dev/null
    echo ready; until test -e go; do sleep 0.1; done"#;

/// The canaries of one run.
struct Canaries {
    salt: String,
}

impl Canaries {
    fn new() -> Self {
        let mut random = [0; 8];
        let mut source = fs::File::open("/dev/urandom").expect("random numbers");
        source.read_exact(&mut random).expect("random numbers");
        Self { salt: format!("{:016x}", u64::from_le_bytes(random)) }
    }

    fn of(&self, kind: &str, name: &str) -> String {
        format!("{kind}-{}-{name}", self.salt)
    }

    /// Those of these kinds in some bytes.
    fn among(&self, bytes: &[u8], kinds: &[&str]) -> BTreeSet<String> {
        let text = String::from_utf8_lossy(bytes);
        let mut found = BTreeSet::new();
        for kind in kinds {
            let start = self.of(kind, "");
            for (at, _) in text.match_indices(&start) {
                let end =
                    |letter: char| !letter.is_ascii_alphanumeric() && !"-_./".contains(letter);
                found.insert(text[at..].split(end).next().unwrap_or_default().to_owned());
            }
        }
        found
    }
}

const ALL: [&str; 4] = ["kept", "file", "given", "typed"];
const SECRET: [&str; 2] = ["kept", "file"];

/// Every file below a directory with canaries in it.
fn in_files(canaries: &Canaries, directory: &Path, leaks: &mut Vec<String>) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let mut read = 0;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            read += in_files(canaries, &path, leaks);
        } else if path.is_file()
            && let Ok(bytes) = fs::read(&path)
        {
            read += 1;
            report(canaries.among(&bytes, &ALL), &path.display().to_string(), leaks);
        }
    }
    read
}

fn report(found: BTreeSet<String>, place: &str, leaks: &mut Vec<String>) {
    leaks.extend(found.into_iter().map(|canary| format!("{canary} in {place}")));
}

/// Environments and command lines of all processes but awf's own. Gives in how many of the agent's a canary was.
fn in_processes(canaries: &Canaries, awf: u32, leaks: &mut Vec<String>) -> usize {
    let mut seen = 0;
    for entry in fs::read_dir("/proc").expect("list processes").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(owner) = entry.metadata().map(|status| status.uid()) else { continue };
        if pid == awf {
            continue;
        }
        for name in ["environ", "cmdline"] {
            let path = entry.path().join(name);
            // A process may have ended meanwhile.
            let Ok(bytes) = fs::read(&path) else { continue };
            let kinds = if owner == USER { &SECRET[..] } else { &ALL };
            seen += usize::from(owner == USER && !canaries.among(&bytes, &ALL).is_empty());
            let command = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let place = format!("{} ({})", path.display(), command.trim());
            report(canaries.among(&bytes, kinds), &place, leaks);
        }
    }
    seen
}

/// A home with a canary in every credential file.
fn home(canaries: &Canaries, scratch: &Scratch) -> PathBuf {
    let home = scratch.path().join("home");
    for name in FILES.split_whitespace() {
        let path = home.join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("make it");
        fs::write(path, canaries.of("file", name)).expect("write");
    }
    home
}

/// A talkative run with canaries in it, whose command looks around and waits.
fn run(canaries: &Canaries, scratch: &Scratch) -> Run {
    let path = |name: &str| scratch.path().join(name);
    fs::create_dir_all(path("workspace")).expect("make it");
    open_to_all(&path("workspace"));
    let file = format!("FROM_FILE={}\n", canaries.of("given", "FROM_FILE"));
    fs::write(path("variables"), file).expect("write");
    let home = home(canaries, scratch).display().to_string();
    let mut run = Run::allowing("example.com").caller_variable("HOME", &home);
    for name in KEPT {
        run = run.caller_variable(name, &canaries.of("kept", name));
    }
    let tokens = one_shot::TOKENS.into_iter().filter(|name| !KEPT.contains(name));
    for name in tokens.chain(GIVEN) {
        run = run.caller_variable(name, &canaries.of("given", name));
    }
    let work = path("work");
    fs::create_dir_all(&work).expect("make it");
    run.in_directory(path("workspace"))
        .flag("--env-all")
        .flag("--keep-containers")
        .option("--log-level", "debug")
        .option("--work-dir", &work.display().to_string())
        .option("--audit-dir", &path("audit").display().to_string())
        .option("--env-file", &path("variables").display().to_string())
        .option("-e", &format!("FROM_FLAG={}", canaries.of("given", "FROM_FLAG")))
        .option("-e", &format!("GH_TOKEN={}", canaries.of("kept", "GH_TOKEN-by-flag")))
}

/// Requests with secrets in them, allowed and denied, with and without TLS.
fn requests(canaries: &Canaries) -> String {
    let [bearer, password, query] =
        ["bearer", "password", "query"].map(|name| canaries.of("typed", name));
    let ask = |way: &str, url: &str| {
        format!(
            "curl -sS -m 20 {way} -H 'Authorization: Bearer {bearer}' '{url}/whoami?token={query}' >/dev/null 2>&1\n\
             curl -sS -m 20 {way} -u 'user:{password}' '{url}/whoami' >/dev/null 2>&1\n"
        )
    };
    let urls = ["example.com", "example.org"].iter();
    let urls = urls.flat_map(|host| [format!("http://{host}"), format!("https://{host}")]);
    urls.flat_map(|url| ["", "--noproxy '*'"].map(|way| ask(way, &url))).collect()
}

/// Docker keeps the containers of a run that keeps its files.
fn remove_containers(log: &str) {
    let Some(docker) = docker() else { return };
    let first = log.lines().next().expect("a record");
    let record: serde_json::Value = serde_json::from_str(first).expect("a record is JSON");
    let filter = format!("label=awf.run={}", record["run"].as_str().expect("an id"));
    let kept = docker.ask(&["ps", "--all", "--quiet", "--filter", &filter]).expect("a list");
    for container in kept.split_whitespace() {
        docker.ask(&["rm", "--force", container]).expect("it can be removed");
    }
}

#[test]
fn a_secret_turns_up_nowhere_it_has_no_business() {
    let canaries = Canaries::new();
    let scratch = Scratch::new("canary");
    let run = run(&canaries, &scratch);
    let child = run.spawn(&format!("{}{LOOK}", requests(&canaries)));
    let conversation = Conversation::begin(child);
    let (mut leaks, mut control) = (Vec::new(), Vec::new());
    in_files(&canaries, scratch.path(), &mut control);
    let expected = FILES.split_whitespace().count() + 1;
    assert!(
        control.len() >= expected,
        "positive control: the files that were written: {control:?}"
    );

    let seen = in_processes(&canaries, conversation.child.id(), &mut leaks);
    assert!(seen > 1, "positive control: the agent's own processes have what they were given");
    let owned = || ["/run/awf", "/var/lib/awf"].map(PathBuf::from);
    for directory in owned() {
        in_files(&canaries, &directory, &mut leaks);
    }
    if let Some(docker) = docker() {
        let mut inspected = 0;
        for container in docker.containers("awf-").expect("the daemon answers") {
            // Those of other tests may be gone by now.
            let Ok(word) = docker.ask(&["inspect", &container]) else { continue };
            inspected += 1;
            report(
                canaries.among(word.as_bytes(), &ALL),
                &format!("container {container}"),
                &mut leaks,
            );
        }
        assert!(inspected > 1, "positive control: the run's own containers are there");
    }

    let view = scratch.path().join("workspace/view");
    let view = fs::read(view).expect("what the agent saw");
    let given = canaries.among(&view, &["given", "typed"]);
    for expected in ["ADO_MCP_AUTH_TOKEN", "FROM_FILE", "FROM_FLAG", "CLAUDE_CODE_OAUTH_TOKEN"] {
        let expected = canaries.of("given", expected);
        assert!(given.contains(&expected), "positive control: {expected} is not in {given:?}");
    }
    report(canaries.among(&view, &SECRET), "what the agent sees", &mut leaks);

    fs::write(scratch.path().join("workspace/go"), "").expect("let it end");
    let logs = run.logs.clone();
    let (stdout, stderr, code) = conversation.end();
    assert_eq!(code, Some(0), "{stderr}");
    report(canaries.among(stdout.as_bytes(), &ALL), "standard output", &mut leaks);
    report(canaries.among(stderr.as_bytes(), &ALL), "standard error", &mut leaks);
    let own = [logs.clone(), scratch.path().join("audit"), scratch.path().join("work")];
    let files: usize =
        own.iter().chain(&owned()).map(|path| in_files(&canaries, path, &mut leaks)).sum();
    assert!(files >= 3, "the record, the log and the audit file are there: {files}");
    let log = fs::read_to_string(logs.join("egress.jsonl")).expect("the record");
    remove_containers(&log);
    assert!(log.contains("example.org"), "positive control: the requests are on record: {log}");
    assert!(leaks.is_empty(), "secrets leaked:\n  {}", leaks.join("\n  "));
}
