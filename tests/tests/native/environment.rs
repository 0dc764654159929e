//! The command's environment.

use std::collections::BTreeMap;
use std::fs;

use awf_tests::{Run, Scratch};

/// The environment as the command sees it; a value may span lines.
fn environment(run: Run) -> BTreeMap<String, String> {
    let outcome = run.run("env -0").succeeded();
    let pairs = outcome.stdout.split('\0').filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_contract_of_the_original_holds() {
    let found = environment(
        Run::new()
            .caller_variable("SECRET_OF_THE_CALLER", "x")
            .caller_variable("GITHUB_TOKEN", "x"),
    );
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "https_proxy"] {
        assert_eq!(found[name], "http://172.30.0.10:3128", "{name}");
    }
    assert_eq!(found.get("http_proxy"), None);
    for name in ["NO_PROXY", "no_proxy"] {
        assert!(found[name].split(',').any(|part| part == "localhost"), "{name}");
    }
    assert_eq!((&*found["SQUID_PROXY_HOST"], &*found["SQUID_PROXY_PORT"]), ("squid-proxy", "3128"));
    assert_eq!((&*found["AWF_USER_UID"], &*found["AWF_USER_GID"]), ("1000", "1000"));
    assert_eq!(
        (&*found["NO_COLOR"], &*found["HOME"]),
        ("1", &*std::env::var("HOME").expect("a home"))
    );
    for name in [
        "SECRET_OF_THE_CALLER",
        "GITHUB_TOKEN",
        "LD_PRELOAD",
        "SUDO_UID",
        "AWF_ELEVATED",
        "AWF_BIN",
    ] {
        assert_eq!(found.get(name), None, "{name}");
    }
}

#[test]
fn the_proxy_of_the_contract_answers() {
    let outcome = Run::allowing("example.com")
        .run("getent ahostsv4 squid-proxy | head -1 | cut -d' ' -f1; curl -sS --noproxy '' -x http://$SQUID_PROXY_HOST:$SQUID_PROXY_PORT https://example.com/whoami")
        .succeeded();
    assert!(outcome.stdout.starts_with("172.30.0.10\nserver=example.com"), "{outcome:#?}");
}

#[test]
fn variables_reach_the_command_as_they_were_given() {
    let scratch = Scratch::new("environment");
    let file = scratch.path().join("file");
    fs::write(&file, "# a comment\nFROM_FILE=file value\nBOTH=file\nQUOTED=\"as it is\"\n")
        .expect("write");
    let found = environment(
        Run::new()
            .option("--env-file", &file.display().to_string())
            .option("-e", "BOTH=flag")
            .option("--env", "ODD=a=b 'c' \"d\" $HOME\nsecond line \u{fc}")
            .option("--env", "EMPTY=")
            .option("--env", "TWICE=1")
            .option("--env", "TWICE=2"),
    );
    for (name, value) in [
        ("FROM_FILE", "file value"),
        ("BOTH", "flag"),
        ("QUOTED", "\"as it is\""),
        ("ODD", "a=b 'c' \"d\" $HOME\nsecond line \u{fc}"),
        ("EMPTY", ""),
        ("TWICE", "2"),
    ] {
        assert_eq!(found[name], value, "{name}");
    }
}

#[test]
fn the_callers_environment_is_passed_on_only_when_asked_for() {
    let run = || {
        Run::new()
            .caller_variable("PLAIN", "value")
            .caller_variable("UNWANTED", "value")
            .caller_variable("GITHUB_TOKEN", "secret")
            .caller_variable("ACTIONS_RUNTIME_TOKEN", "secret")
            .caller_variable("HTTP_PROXY", "http://198.51.100.7:3128")
            .caller_variable("AWF_USER_UID", "0")
            .option("--exclude-env", "UNWANTED")
    };
    let found = environment(run());
    assert_eq!(found.get("PLAIN"), None);
    let found = environment(run().flag("--env-all"));
    assert_eq!(found["PLAIN"], "value");
    assert_eq!(found["HTTP_PROXY"], "http://172.30.0.10:3128");
    assert_eq!(found["AWF_USER_UID"], "1000");
    for name in ["UNWANTED", "GITHUB_TOKEN", "ACTIONS_RUNTIME_TOKEN"] {
        assert_eq!(found.get(name), None, "{name}");
    }
}

#[test]
fn names_of_awf_are_refused_before_anything_starts() {
    let outcome = Run::new().option("--env", "AWF_USER_UID=0").run("echo started");
    assert_eq!((outcome.code, &*outcome.stdout), (1, ""), "{outcome:#?}");
    assert!(outcome.stderr.contains("AWF_USER_UID"), "{outcome:#?}");
    // What others may not hear is not repeated.
    let outcome = Run::new().option("--env", "AWF_TOKEN=s3cret").run("echo started").failed();
    assert!(!outcome.stderr.contains("s3cret"), "{outcome:#?}");
}
