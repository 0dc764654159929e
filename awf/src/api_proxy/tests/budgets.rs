//! Budgets and models, with a service that tells what it uses.

use serde_json::{Value, json};

use super::stage::{Script, Setting, Stage};
use super::{parsed, saying};
use crate::cli::{Amount, Budgets, Rates};

/// An answer, and at the same time a list of models.
const ANSWER: &str = r#"{"model":"gpt-5-mini","data":[{"id":"gpt-5-mini"},{"id":"gpt-4o"}],
    "usage":{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":{"cached_tokens":0}}}"#;

fn answer(kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
}

async fn stage(budgets: Budgets) -> Stage {
    let answer = answer("application/json", ANSWER);
    Stage::set(Setting { budgets, ..saying(&answer) }).await
}

fn ask(body: &str) -> String {
    let length = body.len();
    format!("POST /chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// The status of a question to a model, and the type of its refusal.
async fn asked(stage: &Stage, model: &str) -> (u16, Value) {
    let answer = stage.ask(&ask(&json!({ "model": model, "messages": [] }).to_string())).await;
    let (status, json) = parsed(&answer);
    let kind = if json["error"].is_object() { &json["error"]["type"] } else { &json["type"] };
    (status, kind.clone())
}

#[tokio::test]
async fn what_is_used_is_written_down() {
    let mut stage = stage(Budgets::default()).await;
    assert_eq!(asked(&stage, "gpt-5-mini").await.0, 200);
    let arrived = stage.arrived().unwrap();
    assert!(arrived.contains("accept-encoding: identity\r\n"), "{arrived}");
    assert!(arrived.ends_with(r#"{"messages":[],"model":"gpt-5-mini"}"#), "{arrived}");
    let lines = stage.usage();
    let [line] = &*lines else { panic!("{lines:?}") };
    let mut line = line.clone();
    for (name, expected) in [("timestamp", true), ("duration_ms", true), ("_schema", true)] {
        assert_eq!(line.as_object_mut().unwrap().remove(name).is_some(), expected, "{name}");
    }
    let expected = json!({
        "event": "token_usage",
        "request_id": "run-1",
        "provider": "openai",
        "model": "gpt-5-mini",
        "path": "/chat/completions",
        "status": 200,
        "streaming": false,
        "input_tokens": 1000,
        "output_tokens": 100,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "response_bytes": ANSWER.len(),
        "ai_credits_this_response": 0.045,
        "ai_credits_total": 0.045,
        "ai_credits_pricing_source": "curated",
        "ai_credits_fallback_pricing_used": false,
    });
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_stream_is_counted_and_asked_to_tell() {
    let events = "data: {\"model\":\"gpt-4o\",\"choices\":[{\"delta\":{\"content\":\"secret\"}}]}\n\n\
        data: {\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n\
        data: [DONE]\n\n";
    let script = Script::Say(answer("text/event-stream; charset=utf-8", events));
    let mut stage = Stage::set(Setting { script, ..Setting::default() }).await;
    let heard = stage.ask(&ask(r#"{"stream":true,"model":"gpt-4o","messages":[]}"#)).await;
    assert!(heard.ends_with(events), "{heard}");
    let arrived = stage.arrived().unwrap();
    let body =
        r#"{"stream":true,"model":"gpt-4o","messages":[],"stream_options":{"include_usage":true}}"#;
    assert!(arrived.ends_with(body), "{arrived}");
    let line = &stage.usage()[0];
    assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&json!(7), &json!(3)));
    assert_eq!(line["streaming"], true);
    assert!(!line.to_string().contains("secret"));
}

#[tokio::test]
async fn a_budget_that_is_used_up_refuses_what_follows() {
    let mut stage = stage(Budgets { runs: Some(1), ..Budgets::default() }).await;
    assert_eq!(asked(&stage, "gpt-5-mini").await.0, 200);
    assert!(stage.arrived().is_some());
    assert_eq!(asked(&stage, "gpt-5-mini").await, (429, json!("max_runs_exceeded")));
    assert_eq!(stage.arrived(), None);
    let (_status, reflect) = parsed(&stage.ask("GET /reflect HTTP/1.1\r\n\r\n").await);
    let runs = json!({"enabled": true, "max_runs": 1, "invocation_count": 1, "remaining_runs": 0});
    assert_eq!(reflect["runs"], runs);
    let report = stage.proxy.report();
    assert_eq!(
        report,
        ["API proxy: 1 request refused: the budget apiProxy.maxTurns (or maxRuns) is used up"]
    );
    let record = stage.record();
    assert_eq!(
        (&record[1]["verdict"], &record[1]["rule"]),
        (&json!("deny"), &json!("budget-runs"))
    );
}

#[tokio::test]
async fn credits_tokens_and_misses_are_counted_from_answers() {
    for (budgets, kind) in [
        (
            Budgets { credits: Some(Amount(0.04)), ..Budgets::default() },
            "ai_credits_limit_exceeded",
        ),
        (
            Budgets { effective_tokens: Some(1400), ..Budgets::default() },
            "effective_tokens_limit_exceeded",
        ),
        (Budgets { cache_misses: Some(1), ..Budgets::default() }, "max_cache_misses_exceeded"),
    ] {
        let mut stage = stage(budgets).await;
        assert_eq!(asked(&stage, "gpt-5-mini").await.0, 200, "{kind}");
        assert!(stage.arrived().is_some());
        assert_eq!(asked(&stage, "gpt-5-mini").await, (403, json!(kind)));
        assert_eq!(stage.arrived(), None);
    }
}

#[tokio::test]
async fn a_model_is_judged_before_the_service_hears_of_it() {
    let denied = Budgets { disallowed: vec!["gpt-4*".to_owned()], ..Budgets::default() };
    let mut stage = stage(denied).await;
    assert_eq!(asked(&stage, "gpt-5-mini").await.0, 200);
    assert!(stage.arrived().is_some());
    assert_eq!(asked(&stage, "gpt-4o").await, (403, json!("model_policy_violation")));
    for body in
        [r#"{"model":"gpt-5","model":"gpt-4o"}"#, r#"{"model":"gpt-5","MODEL":"gpt-4o"}"#, "x"]
    {
        let (status, json) = parsed(&stage.ask(&ask(body)).await);
        assert_eq!((status, &json["error"]), (400, &json!("bad_request")), "{body}");
    }
    assert_eq!(parsed(&stage.ask(&ask("{}")).await).0, 403);
    assert_eq!(stage.arrived(), None);
    let priced = Budgets { credits: Some(Amount(9.0)), ..Budgets::default() };
    let mut stage = super::budgets::stage(priced).await;
    assert_eq!(asked(&stage, "nobody-knows").await, (400, json!("unknown_model_ai_credits")));
    assert_eq!(stage.arrived(), None);
}

#[tokio::test]
async fn a_name_stands_for_a_model_that_is_there() {
    let aliases = [("small".to_owned(), vec!["copilot/*".to_owned(), "openai/*mini*".to_owned()])];
    let mut stage = stage(Budgets { aliases: aliases.into(), ..Budgets::default() }).await;
    for first in [true, false] {
        assert_eq!(asked(&stage, "small").await.0, 200);
        if first {
            let list = stage.arrived().unwrap();
            assert!(list.starts_with("GET /v1/models HTTP/1.1\r\n"), "{list}");
        }
        let arrived = stage.arrived().unwrap();
        assert!(arrived.ends_with(r#"{"messages":[],"model":"gpt-5-mini"}"#), "{arrived}");
    }
    assert_eq!(asked(&stage, "gpt-4o").await.0, 200);
    assert!(stage.arrived().unwrap().contains(r#""model":"gpt-4o""#));
    let (_status, reflect) = parsed(&stage.ask("GET /reflect HTTP/1.1\r\n\r\n").await);
    assert_eq!(reflect["endpoints"][0]["models"], json!(["gpt-5-mini", "gpt-4o"]));
    assert_eq!(reflect["model_aliases"]["small"][0], "copilot/*");
    assert_eq!(stage.record().len(), 3);
}

#[tokio::test]
async fn a_model_is_told_when_little_is_left() {
    let budgets = Budgets { effective_tokens: Some(1600), steering: true, ..Budgets::default() };
    let mut stage = stage(budgets).await;
    asked(&stage, "gpt-5-mini").await;
    let first = stage.arrived().unwrap();
    assert!(!first.contains("WARNING"), "{first}");
    asked(&stage, "gpt-5-mini").await;
    let second = stage.arrived().unwrap();
    let warning = "[AWF TOKEN WARNING] You have used 80% of your effective token budget.";
    assert!(second.contains(warning) && second.contains(r#""role":"system""#), "{second}");
}

#[tokio::test]
async fn too_fast_is_too_many() {
    let rates = Rates { requests_a_minute: 1, requests_an_hour: 9, bytes_a_minute: 1 << 20 };
    let mut stage = stage(Budgets { rates: Some(rates), ..Budgets::default() }).await;
    assert_eq!(asked(&stage, "gpt-5-mini").await.0, 200);
    assert!(stage.arrived().is_some());
    let answer = stage.ask(&ask("{}")).await;
    let (status, json) = parsed(&answer);
    assert_eq!((status, &json["error"]["type"]), (429, &json!("rate_limit_error")));
    assert_eq!(json["error"]["window"], "per_minute");
    let lower = answer.to_ascii_lowercase();
    for field in [
        "retry-after: ",
        "x-ratelimit-limit: 1\r\n",
        "x-ratelimit-reset: ",
        "x-request-id: run-2\r\n",
    ] {
        assert!(lower.contains(field), "{answer}");
    }
    assert_eq!(stage.arrived(), None);
    let (_status, health) = parsed(&stage.ask("GET /health HTTP/1.1\r\n\r\n").await);
    assert_eq!(health["rate_limits"]["openai"]["rpm"]["remaining"], 0);
}

#[tokio::test]
async fn an_answer_that_cannot_be_counted_is_not_passed_on() {
    let packed = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi";
    let free = Stage::set(saying(packed)).await;
    assert!(free.ask(&ask(r#"{"model":"gpt-4o"}"#)).await.ends_with("hi"));
    let budgets = Budgets { cache_misses: Some(5), ..Budgets::default() };
    let counted = Stage::set(Setting { budgets, ..saying(packed) }).await;
    assert_eq!(asked(&counted, "gpt-4o").await.0, 502);
}

#[tokio::test]
async fn who_leaves_early_pays_too() {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 99999\r\n\r\n";
    let script = Script::Say(format!("{head}data: {{\"model\":\"gpt-4o\"}}\n\ndata: {{}}\n\n"));
    let budgets = Budgets { credits: Some(Amount(9.0)), ..Budgets::default() };
    let stage = Stage::set(Setting { script, budgets, ..Setting::default() }).await;
    stage.ask(&ask(r#"{"model":"gpt-4o","messages":["0123456789"]}"#)).await;
    let line = &stage.usage()[0];
    assert_eq!((&line["estimated"], &line["output_tokens"]), (&json!(true), &json!(2)));
    assert!(line["input_tokens"].as_u64().unwrap() > 5, "{line}");
}
