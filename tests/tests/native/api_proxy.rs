//! The API proxy: services are asked with the caller's keys, which the command does not have.

use std::fs;
use std::path::Path;

use awf_tests::{Outcome, Run, lab};
use serde_json::Value;

/// What must be nowhere.
const KEY: &str = "sk-hunter2-real";

/// Ways to fetch a URL: as the variables say (which except the API proxy), as a proxy request, through a tunnel.
const WAYS: [&str; 3] = [
    "curl -sS -m 20",
    "curl -sS -m 20 --noproxy '' -x http://172.30.0.10:3128",
    "curl -sS -m 20 --noproxy '' -p -x http://172.30.0.10:3128",
];

/// A caller with a key for a service that the lab plays.
fn with_key() -> Run {
    let ca = lab().ca().display().to_string();
    Run::new()
        .caller_variable("OPENAI_API_KEY", KEY)
        .caller_variable("SSL_CERT_FILE", &ca)
        .option("--openai-api-target", "api.example.com")
}

fn of_service(outcome: &Outcome) -> Vec<&Value> {
    outcome.records_where(|record| record["protocol"] == "tcp")
}

/// Asserts that a directory's files do not have the key.
fn without_key(directory: &Path) {
    for entry in fs::read_dir(directory).expect("list the logs") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            without_key(&path);
        } else {
            let bytes = fs::read(&path).expect("read a log");
            assert!(!String::from_utf8_lossy(&bytes).contains("hunter2"), "{}", path.display());
        }
    }
}

#[test]
fn a_service_is_asked_by_every_name_and_way() {
    let fetch = |url: &str| WAYS.map(|way| format!("{way} {url}/whoami")).join("; ");
    let line = format!("{}; {}", fetch("$OPENAI_BASE_URL"), fetch("http://api-proxy:10000"));
    for run in [with_key(), with_key().without_proxy_variables()] {
        let outcome = run.run(&line).succeeded();
        let served = "server=api.example.com host=api.example.com sni=api.example.com";
        assert_eq!(outcome.stdout.matches(served).count(), 6, "{outcome:#?}");
        let records = of_service(&outcome);
        assert_eq!(records.len(), 6, "{outcome:#?}");
        for record in records {
            assert_eq!(record["rule"], "allow-api-proxy", "{record}");
            assert_eq!(
                (&record["name"], &record["proxy_status"]),
                (&"api.example.com".into(), &200.into())
            );
            assert_eq!(record["comm"], "curl", "{record}");
        }
        let tunnels = outcome.access_log.matches("CONNECT 200").count();
        assert_eq!(tunnels, 6, "{outcome:#?}");
    }
}

#[test]
fn the_key_is_nowhere_inside_and_in_no_log() {
    let run = with_key().flag("--env-all");
    let logs = run.logs.clone();
    let line = "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; \
                curl -sS $OPENAI_BASE_URL/whoami; curl -sS $OPENAI_BASE_URL/health $OPENAI_BASE_URL/reflect; \
                curl -sS -X TRACE $OPENAI_BASE_URL/x; curl -sS --path-as-is $OPENAI_BASE_URL/../x; sleep 0.2";
    let child = run.spawn(line);
    let output = child.wait_with_output().expect("awf ends");
    without_key(&logs);
    let outcome = run.outcome(&output, std::time::Duration::ZERO);
    assert!(outcome.stdout.contains("OPENAI_API_KEY=sk-placeholder-for-api-proxy"), "{outcome:#?}");
    assert!(outcome.stdout.contains("\"openai\":true"), "{outcome:#?}");
    assert!(
        !outcome.stdout.contains("hunter2") && !outcome.stderr.contains("hunter2"),
        "{outcome:#?}"
    );
}

#[test]
fn an_answer_comes_while_it_is_made_and_a_body_of_any_size_goes() {
    let line = "curl -sSN \"$OPENAI_BASE_URL/events?n=3&ms=100\" | grep -c '^data: '; \
                head -c 3000000 /dev/zero | curl -sS -H 'Transfer-Encoding: chunked' --data-binary @- $OPENAI_BASE_URL/upload";
    let outcome = with_key().run(line).succeeded();
    assert!(outcome.stdout.starts_with("3\n"), "{outcome:#?}");
    assert!(outcome.stdout.contains("\"bytes\": 3000000"), "{outcome:#?}");
}

#[test]
fn without_a_key_the_service_says_what_is_missing_and_other_ports_are_closed() {
    let line = "curl -sS -w ' %{http_code}\\n' http://172.30.0.30:10001/v1/messages; \
                curl -sS -m 5 http://172.30.0.30:10005/; curl -sS -m 5 http://172.30.0.30:22/";
    let outcome = Run::new().run(line);
    assert!(outcome.stdout.contains("set ANTHROPIC_API_KEY"), "{outcome:#?}");
    assert!(outcome.stdout.trim_end().ends_with(" 403"), "{outcome:#?}");
    assert_ne!(outcome.code, 0, "{outcome:#?}");
    let rules = of_service(&outcome).into_iter().map(|record| record["rule"].as_str());
    assert!(rules.clone().any(|rule| rule == Some("api-not-configured")), "{outcome:#?}");
}

#[test]
fn a_model_is_found_counted_and_refused_when_the_budget_is_used_up() {
    let config = std::env::temp_dir().join(format!("awf-budgets-{}.json", std::process::id()));
    let said = r#"{"apiProxy": {"enabled": true, "enableTokenSteering": true, "maxRuns": 2, "maxAiCredits": 1,
        "maxCacheMisses": 5, "models": {"small": ["copilot/*", "openai/gpt-5*mini*"]}}}"#;
    fs::write(&config, said).expect("write the configuration");
    let line = |body: &str| {
        format!(
            "curl -sS -m 20 -w ' %{{http_code}}\\n' $OPENAI_BASE_URL/chat/completions -d '{body}'; "
        )
    };
    let small = line(r#"{"model":"small","messages":[]}"#);
    let stream = line(r#"{"model":"small","stream":true,"messages":[]}"#);
    let unknown = line(r#"{"model":"nobody-knows","messages":[]}"#);
    let run = with_key().option("--config", &config.display().to_string());
    let logs = run.logs.clone();
    let child = run.spawn(&format!("{unknown}{small}{stream}{small}"));
    let output = child.wait_with_output().expect("awf ends");
    let usage = fs::read_to_string(logs.join("api-proxy-logs/token-usage.jsonl"));
    let outcome = run.outcome(&output, std::time::Duration::ZERO);
    fs::remove_file(&config).expect("remove the configuration");
    let codes: Vec<&str> =
        outcome.stdout.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    let is_code = |word: &&str| word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit());
    let codes: Vec<&str> = codes.into_iter().filter(is_code).collect();
    assert_eq!(codes, ["400", "200", "200", "429"], "{outcome:#?}");
    assert!(outcome.stdout.contains("unknown_model_ai_credits"), "{outcome:#?}");
    assert!(outcome.stdout.contains("max_runs_exceeded"), "{outcome:#?}");
    let usage = usage.expect("read what was used");
    let lines: Vec<Value> =
        usage.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines.len(), 2, "{usage}");
    for (line, streams) in lines.iter().zip([false, true]) {
        assert_eq!((&line["model"], &line["provider"]), (&"gpt-5-mini".into(), &"openai".into()));
        assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&1000.into(), &100.into()));
        assert_eq!(line["streaming"], streams, "{line}");
    }
    let rules: Vec<&str> =
        of_service(&outcome).iter().filter_map(|record| record["rule"].as_str()).collect();
    let expected = ["model-unpriced", "allow-api-proxy", "allow-api-proxy", "budget-runs"];
    assert_eq!(rules, expected, "{outcome:#?}");
    assert!(
        outcome.stderr.contains("1 request refused: the budget apiProxy.maxTurns"),
        "{outcome:#?}"
    );
}
