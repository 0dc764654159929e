//! Every option with input that is missing, nonsense or not usable: exit code 1, a message that names the option, nothing
//! changed.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::world::{World, ended, finish, id_of, send};

/// What makes the odd files of the table, in `$PWD`.
const ODD: &str = "mkdir dir ro; mount -t tmpfs -o ro ro ro; ln -s /tmp link; touch file; echo 'bad..name' >bad; \
                   head -c 100 /dev/urandom >noise; printf 'a.com\\0b.com\\n' >zero; mkfifo fifo; \
                   openssl genpkey -algorithm ed25519 >shared-key; chown 1000 shared-key; chmod 640 shared-key; \
                   printf 'version: 1\nrules:\n  - domain: bad..name\n' >rules; \
                   python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'";

/// Option and value; `@` stands for this world's directory.
const NONSENSE: &[(&str, &str)] = &[
    ("--allow-domains", "bad..name"),
    ("--allow-domains", "exa mple.com"),
    ("--allow-domains", "*"),
    ("--allow-domains", "ftp://example.com"),
    ("--allow-domains", "example.com:8443"),
    ("--allow-domains-file", "@/missing"),
    ("--allow-domains-file", "@/dir"),
    ("--allow-domains-file", "@/noise"),
    ("--allow-domains-file", "@/zero"),
    ("--allow-domains-file", "@/bad"),
    ("--allow-domains-file", "/dev/zero"),
    ("--allow-domains-file", ""),
    ("--block-domains", "bad..name"),
    ("--block-domains-file", "@/missing"),
    ("--block-domains-file", "@/dir"),
    ("--block-domains-file", "@/bad"),
    ("--config", ""),
    ("--config", "@/missing"),
    ("--config", "@/dir"),
    ("--config", "@/noise"),
    ("--config", "@/zero"),
    ("--openai-api-auth-header", "not a header"),
    ("--anthropic-api-auth-header", "host"),
    ("--openai-base-url-env", "NOT_SET"),
    ("--openai-base-url-env", "1 x"),
    ("--rate-limit-rpm", "0"),
    ("--rate-limit-rph", "-1"),
    ("--rate-limit-bytes-pm", "1k"),
    ("--no-rate-limit=yes", ""),
    ("--enable-token-steering=yes", ""),
    ("--max-cache-misses", "none"),
    ("--max-permission-denied", "0"),
    ("--max-model-multiplier", "gpt-5"),
    ("--max-model-multiplier", "gpt-5:0"),
    ("--max-model-multiplier-cap", "inf"),
    ("--allow-domains", "=*.example.com"),
    ("--ruleset-file", ""),
    ("--ruleset-file", "@/missing"),
    ("--ruleset-file", "@/dir"),
    ("--ruleset-file", "@/bad"),
    ("--ruleset-file", "@/noise"),
    ("--ruleset-file", "@/rules"),
    ("--dns-servers", ""),
    ("--dns-servers", "dns.example.com"),
    ("--dns-servers", "1.1.1.1,,x"),
    ("--dns-over-https=", ""),
    ("--dns-over-https=http://dns.google/dns-query", ""),
    ("--dns-over-https=https://dns google/", ""),
    ("--dns-over-https=https://nothing.invalid/dns-query", ""),
    ("--upstream-proxy", ""),
    ("--upstream-proxy", "https://proxy.example:3128"),
    ("--upstream-proxy", "socks5://proxy.example:1"),
    ("--upstream-proxy", "http://user:secret@proxy.example"),
    ("--upstream-proxy", "http://127.0.0.1:3128"),
    ("--upstream-proxy", "proxy.example:99999"),
    ("--upstream-proxy", "http://nothing.invalid:3128"),
    ("--env", "NOTHING"),
    ("--env", "=x"),
    ("--env", "A B=x"),
    ("--env", "AWF_X=x"),
    ("--env", "AWF_ONE_SHOT_TOKENS=A B"),
    ("--env", "AWF_ONE_SHOT_TOKENS=LD_PRELOAD"),
    ("--env-file", "@/missing"),
    ("--env-file", "@/dir"),
    ("--env-file", "@/noise"),
    ("--exclude-env", ""),
    ("--exclude-env", "A=B"),
    ("--mount", ""),
    ("--mount", "nonsense"),
    ("--mount", "@/missing:/x"),
    ("--mount", "@/dir:/"),
    ("--mount", "@/dir:/x:rx"),
    ("--mount", "@/dir:/x/../../y"),
    ("--mount", "@/file:/etc"),
    ("--mount", "@/socket:/x"),
    ("--mount", "@/fifo:/x"),
    ("--container-workdir", "relative"),
    ("--container-workdir", ""),
    ("--work-dir", ""),
    ("--work-dir", "/"),
    ("--work-dir", "@/file"),
    ("--work-dir", "@/file/x"),
    ("--work-dir", "@/link"),
    ("--work-dir", "@/ro/x"),
    ("--work-dir", "/proc/awf"),
    ("--work-dir", "@/with blank"),
    ("--proxy-logs-dir", ""),
    ("--proxy-logs-dir", "@/file"),
    ("--proxy-logs-dir", "@/link"),
    ("--proxy-logs-dir", "@/ro"),
    ("--proxy-logs-dir", "/proc/awf"),
    ("--proxy-logs-dir", "@/with blank"),
    ("--audit-dir", ""),
    ("--audit-dir", "@/file"),
    ("--audit-dir", "@/link"),
    ("--audit-dir", "@/ro"),
    ("--audit-dir", "/proc/awf"),
    ("--session-state-dir", ""),
    ("--session-state-dir", "/"),
    ("--session-state-dir", "@/file"),
    ("--session-state-dir", "@/link"),
    ("--session-state-dir", "@/ro/x"),
    ("--session-state-dir", "/proc/awf"),
    ("--otlp-endpoint", ""),
    ("--otlp-endpoint", "http://otel.example"),
    ("--otlp-endpoint", "https://otel.example:4318"),
    ("--otlp-endpoint", "https://192.0.2.1"),
    ("--otlp-endpoint", "https://me:secret@otel.example"),
    ("--otlp-endpoint", "https://not-allowed.example"),
    ("--memory-limit", ""),
    ("--memory-limit", "0g"),
    ("--memory-limit", "much"),
    ("--cpu-limit", "0"),
    ("--cpu-limit", "-1"),
    ("--cpu-limit", "all"),
    ("--pids-limit", "0"),
    ("--pids-limit", "few"),
    ("--agent-timeout", "0"),
    ("--agent-timeout", "soon"),
    ("--profile", ""),
    ("--profile", "half"),
    ("--runtime", "podman"),
    ("--runtime", ""),
    ("--enable-host-access=yes", ""),
    ("--allow-host-ports", ""),
    ("--allow-host-ports", "http"),
    ("--allow-host-service-ports", ""),
    ("--allow-host-service-ports", "0"),
    ("--topology-attach", ""),
    ("--topology-attach", "two words"),
    ("--openai-api-target", "two words"),
    ("--openai-api-target", "192.0.2.1"),
    ("--anthropic-api-target", "two words"),
    ("--copilot-api-target", "two words"),
    ("--gemini-api-target", "two words"),
    ("--vertex-api-target", "two words"),
    ("--openai-api-base-path", "/v1?key"),
    ("--anthropic-api-base-path", "two words"),
    ("--gemini-api-base-path", "two words"),
    ("--vertex-api-base-path", "two words"),
    ("--allow-urls", ""),
    ("--allow-urls", "https://*/*"),
    ("--allow-urls", "http://example.com/x"),
    // Without --ssl-bump.
    ("--allow-urls", "https://example.com/x"),
    ("--audit-mode=yes", ""),
    ("--ssl-bump=yes", ""),
    ("--enable-dlp=yes", ""),
    ("--docker-host", ""),
    ("--docker-host", "docker.sock"),
    ("--docker-host", "tcp://192.0.2.1:2375"),
    ("--agent-image", ""),
    ("--agent-image", "two words"),
    ("--image-registry", ""),
    ("--image-registry", "two words"),
    ("--image-tag", ""),
    ("--image-tag", "two words"),
    ("--image-tag", "latest,squid=sha256:short"),
    ("--build-local=yes", ""),
    ("--skip-pull=yes", ""),
    ("--skip-pull", "--build-local"),
    // Refused whatever else is said.
    ("--enable-dind", "--tty"),
    ("--enable-docker", "--tty"),
    ("--log-level", "loud"),
    ("--log-level", ""),
    ("--tty=yes", ""),
    ("--diagnostic-logs=yes", ""),
    ("--record-chain=yes", ""),
    ("--record-exe-hash=yes", ""),
    ("--strict-audit=yes", ""),
    ("--record-key", ""),
    ("--record-key", "@/missing"),
    ("--record-key", "@/dir"),
    ("--record-key", "@/fifo"),
    ("--record-key", "@/noise"),
    ("--record-key", "@/shared-key"),
    ("--env-all=yes", ""),
    ("--keep-containers=yes", ""),
    ("--no-such-option", ""),
];

/// Everything in a directory.
fn listing(world: &World) -> Vec<String> {
    let find = std::process::Command::new("find").arg(world.path()).output().unwrap();
    let mut lines: Vec<String> =
        String::from_utf8(find.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn nonsense_is_refused_with_the_options_name_before_anything_changes() {
    let world = World::broken_by(ODD);
    let mut wrong = Vec::new();
    for (option, value) in NONSENSE {
        let value = value.replace('@', world.path().to_str().unwrap());
        let before = (world.left(), listing(&world));
        let words = if option.contains('=') { vec![*option] } else { vec![*option, &value] };
        let run = world.run(&words, "echo the command ran");
        let name = option.split('=').next().unwrap();
        let named = matches!(run.errors()[..], [error] if error.contains(name));
        let untouched = (world.left(), listing(&world)) == before;
        if run.code != 1 || !run.stdout.is_empty() || !named || !untouched {
            wrong.push(format!("{option} {value:?}: untouched {untouched}, {run:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} are wrong:\n{}",
        wrong.len(),
        NONSENSE.len(),
        wrong.join("\n")
    );
}

/// A configuration file in one line of YAML, and what the error must name; `@` stands for this world's directory.
const NONSENSE_IN_THE_FILE: &[(&str, &str)] = &[
    ("filesystem: { allowWrite: [relative] }", "filesystem.allowWrite"),
    ("filesystem: { allowWrite: ['/tmp/../etc'] }", "filesystem.allowWrite"),
    ("filesystem: { allowWrite: ['/tmp/*'] }", "filesystem.allowWrite"),
    ("filesystem: { allowWrite: ['/usr'] }", "filesystem.allowWrite"),
    ("filesystem: { allowWrite: ['/tmp/nowhere/at/all'] }", "filesystem.allowWrite"),
    ("filesystem: { allowWrite: ['/'] }", "filesystem.allowWrite"),
    ("chroot: { binariesSourcePath: '/' }", "chroot.binariesSourcePath"),
    ("chroot: { binariesSourcePath: '@/file' }", "chroot.binariesSourcePath"),
    ("chroot: { binariesSourcePath: '@/link' }", "chroot.binariesSourcePath"),
    ("chroot: { binariesSourcePath: '/a:b' }", "chroot.binariesSourcePath"),
    ("chroot: { identity: { home: relative } }", "chroot.identity.home"),
    ("chroot: { identity: { home: /proc/x } }", "chroot.identity.home"),
    ("chroot: { identity: { user: 'two words' } }", "chroot.identity.user"),
    ("chroot: { identity: { uid: 0 } }", "chroot.identity.uid"),
    ("chroot: { identity: { uid: 4294967295 } }", "chroot.identity.uid"),
    ("chroot: { identity: { gid: 0 } }", "chroot.identity.gid"),
    ("container: { runnerToolCachePath: '@/missing' }", "container.runnerToolCachePath"),
    ("container: { runnerToolCachePath: '@/link' }", "container.runnerToolCachePath"),
    ("container: { images: { squid: 'x' } }", "container.images"),
    ("container: { images: { squid: 'x', agent: 'y' } }", "container.images.squid"),
    ("container: { images: { }, imageTag: '1' }", "container.images"),
    ("logging: { sessionStateDir: '@/file' }", "--session-state-dir"),
    ("logging: { otlpEndpoint: 'http://otel.example' }", "--otlp-endpoint"),
];

#[test]
fn nonsense_in_the_configuration_file_is_refused_by_the_name_of_its_key() {
    let world = World::broken_by(ODD);
    let mut wrong = Vec::new();
    let file = world.path().join("awf.yml");
    for (text, name) in NONSENSE_IN_THE_FILE {
        std::fs::write(&file, text.replace('@', world.path().to_str().unwrap())).unwrap();
        let before = (world.left(), listing(&world));
        let run = world.run(&["--config", file.to_str().unwrap()], "echo the command ran");
        let named = matches!(run.errors()[..], [error] if error.contains(name) && error.contains("awf.yml:1"));
        let untouched = (world.left(), listing(&world)) == before;
        if run.code != 1 || !run.stdout.is_empty() || !named || !untouched {
            wrong.push(format!("{text}: untouched {untouched}, {run:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_error_does_not_repeat_its_cause() {
    let world = World::new();
    for option in ["--allow-domains-file", "--block-domains-file", "--env-file"] {
        let run = world.run(&[option, "/missing"], "true");
        assert_eq!(run.stderr.matches("No such file").count(), 1, "{run:#?}");
    }
}

#[test]
fn every_option_is_in_the_table_and_none_does_without_its_value() {
    let world = World::new();
    let awf = |words: &[&str]| {
        let mut command = world.command(awf_tests::awf());
        finish(command.args(words).spawn().unwrap(), Instant::now())
    };
    let help = awf(&["--help"]).stdout;
    let options = help.lines().map(str::trim).filter(|line| line.starts_with('-'));
    let mut seen = 0;
    for (name, value) in options
        .filter_map(|line| line[line.find("--")?..].split_once([' ', '\n']).or(Some((line, ""))))
    {
        let name = &name[name.find("--").unwrap()..];
        if ["--help", "--version"].contains(&name.trim_end_matches(',')) {
            continue;
        }
        seen += 1;
        assert!(
            NONSENSE.iter().any(|(option, _)| option.split('=').next() == Some(name)),
            "{name} is missing"
        );
        if value.trim_start().starts_with('<') {
            let run = awf(&[name]);
            assert!(run.code == 1 && run.stderr.contains(name), "{name} without a value: {run:#?}");
        }
    }
    assert!(seen > 15, "{help}");
}

#[test]
fn waiting_for_a_list_that_nobody_writes_can_be_interrupted() {
    let world = World::broken_by("mkfifo fifo");
    let mut child =
        world.awf().args(["--allow-domains-file", "fifo", "--", "true"]).spawn().unwrap();
    assert!(
        ended(&mut child, Duration::from_millis(300)).is_none(),
        "a list may come through a pipe"
    );
    send(id_of(&child), Signal::SIGTERM);
    assert!(ended(&mut child, Duration::from_secs(10)).is_some());
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn directories_named_by_options_keep_what_was_in_them() {
    let world = World::broken_by(
        "mkdir work work/logs logs audit; touch work/a work/logs/b logs/c audit/d",
    );
    let path = |name: &str| world.path().join(name).to_str().unwrap().to_owned();
    let named = [
        vec!["--work-dir".to_owned(), path("work")],
        vec!["--proxy-logs-dir".to_owned(), path("logs"), "--audit-dir".to_owned(), path("audit")],
        vec![
            "--work-dir".to_owned(),
            path("work"),
            "--proxy-logs-dir".to_owned(),
            path("work/logs"),
        ],
    ];
    for options in named {
        let words: Vec<&str> = options.iter().map(String::as_str).collect();
        let run = world.run(&words, "true");
        assert_eq!(run.code, 0, "{run:#?}");
        for file in ["work/a", "work/logs/b", "logs/c", "audit/d"] {
            assert!(world.path().join(file).exists(), "{words:?} removed {file}: {run:#?}");
        }
    }
}

#[test]
fn logs_inside_the_work_directory_stay_where_the_user_wanted_them() {
    let world = World::new();
    let (work, logs) = (world.path().join("work"), world.path().join("work/logs"));
    let options =
        ["--work-dir", work.to_str().unwrap(), "--proxy-logs-dir", logs.to_str().unwrap()];
    let run = world.run(&options, "true");
    assert_eq!(run.code, 0, "{run:#?}");
    assert!(logs.join("egress.jsonl").exists(), "{run:#?}");
}
