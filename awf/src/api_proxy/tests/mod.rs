//! Whole requests: raw bytes of a client, a real TLS server, the record.

mod budgets;
pub(crate) mod stage;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use stage::{SECRET, Script, Setting, Stage, connected, visit};

const GET: &str = "GET /models HTTP/1.1\r\nHost: 172.30.0.30:10000\r\n\r\n";

fn saying(answer: &str) -> Setting {
    Setting { script: Script::Say(answer.to_owned()), ..Setting::default() }
}

/// Status and JSON of an answer.
#[track_caller]
fn parsed(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").expect(answer);
    assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
    assert!(!answer.contains("hunter2"), "{answer}");
    let status = head.split(' ').nth(1).unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn a_request_carries_the_real_credential_and_none_of_the_clients() {
    let mut stage = Stage::set(Setting::default()).await;
    let (mut client, served) = connected().await;
    let serving = tokio::spawn(Arc::clone(&stage.proxy).serve(served, visit(10000)));
    let request = "POST /chat/completions?a=b HTTP/1.1\r\n\
        Host: evil.example\r\n\
        Authorization: Bearer sk-placeholder-for-api-proxy\r\n\
        X-Api-Key: own\r\n\
        Cookie: session=own\r\n\
        X-Forwarded-For: own\r\n\
        Connection: keep-alive, X-Hop\r\n\
        X-Hop: own\r\n\
        Content-Type: application/json\r\n\
        Content-Length: 2\r\n\r\n{}";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    serving.await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhi"),
        "{answer}"
    );
    let arrived = stage.arrived().unwrap();
    assert_eq!(
        arrived,
        format!(
            "POST /v1/chat/completions?a=b HTTP/1.1\r\n\
             content-type: application/json\r\n\
             host: api.openai.com\r\n\
             authorization: Bearer {SECRET}\r\n\
             accept-encoding: identity\r\n\
             x-request-id: run-1\r\n\
             content-length: 2\r\n\r\n{{}}"
        )
    );
    let record = stage.record();
    let [line] = &*record else { panic!("{record:?}") };
    let expected = json!({
        "_schema": "awf-egress/v1",
        "event": "attempt",
        "run": "run",
        "cgroup": 1,
        "cookie": 2,
        "verdict": "allow",
        "layer": "relay",
        "rule": "allow-api-proxy",
        "reason": "asked by the API proxy with the caller's credential",
        "comm": "curl",
        "protocol": "tcp",
        "address": "172.30.0.30",
        "port": 443,
        "name": "api.openai.com",
        "name_source": "api",
        "client_port": 40001,
        "bytes_out": request.len(),
        "bytes_in": answer.len(),
        "proxy_status": 200,
        "time": line["time"],
        "duration_ms": line["duration_ms"],
    });
    assert_eq!(*line, expected);
}

#[tokio::test]
async fn an_answer_flows_as_it_comes() {
    let wait = Arc::new(Notify::new());
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = format!("{head}{}", chunk("data: one\n\n"));
    let script = Script::Twice(first, Arc::clone(&wait), chunk("data: two\n\n") + "0\r\n\r\n");
    let stage = Stage::set(Setting { script, ..Setting::default() }).await;
    let (mut client, served) = tokio::io::duplex(1 << 16);
    let serving = tokio::spawn(Arc::clone(&stage.proxy).serve(served, visit(10000)));
    client.write_all(GET.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("data: one\n\n") {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
    }
    wait.notify_one();
    client.read_to_end(&mut answer).await.unwrap();
    serving.await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("data: two\n\n") && answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_body_of_unknown_length_flows_too() {
    let mut stage = Stage::set(Setting::default()).await;
    let text = "x".repeat(100_000);
    let head = "POST /files HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = stage.ask(&format!("{head}{:x}\r\n{text}\r\n0\r\n\r\n", text.len())).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let arrived = stage.arrived().unwrap();
    assert!(arrived.contains("transfer-encoding: chunked\r\n"), "{arrived}");
    let (_head, body) = arrived.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.matches('x').count(), text.len());
}

#[tokio::test]
async fn bytes_that_were_read_before_are_part_of_the_request() {
    let mut stage = Stage::set(Setting::default()).await;
    let (first, rest) = GET.split_at(20);
    let (mut client, served) = tokio::io::duplex(1 << 16);
    let proxy = Arc::clone(&stage.proxy);
    let serving = tokio::spawn(proxy.serve_rest(served, first.into(), visit(10000)));
    client.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    serving.await.unwrap();
    assert!(stage.arrived().unwrap().starts_with("GET /v1/models HTTP/1.1\r\n"));
    assert_eq!(stage.record()[0]["bytes_out"], GET.len());
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_not_followed() {
    let redirect =
        "HTTP/1.1 307 Elsewhere\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n";
    let mut stage = Stage::set(saying(redirect)).await;
    let answer = stage.ask(GET).await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 307 "), "{answer}");
    assert!(answer.contains("location: https://evil.example/\r\n"), "{answer}");
    assert!(stage.arrived().is_some() && stage.arrived().is_none());
    assert_eq!(stage.record()[0]["proxy_status"], 307);
}

#[tokio::test]
async fn a_connection_has_one_request() {
    let mut stage = Stage::set(Setting::default()).await;
    let answer = stage.ask(&format!("{GET}{GET}")).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    assert!(stage.arrived().is_some() && stage.arrived().is_none());
    assert_eq!(stage.record().len(), 1);
}

#[tokio::test]
async fn what_two_readers_could_take_for_two_things_reaches_nobody() {
    let mut stage = Stage::set(Setting::default()).await;
    let requests = [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\nAuthorization: evil\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\rAuthorization: evil\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n Authorization: folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET https://api.openai.com/v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n",
        "CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET //evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1/../../x HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for request in requests {
        let (status, _json) = parsed(&stage.ask(request).await);
        assert_eq!(status, 400, "{request:?}");
        assert_eq!(stage.arrived(), None, "{request:?}");
    }
    let record = stage.record();
    assert_eq!(record.len(), requests.len());
    for line in record {
        assert_eq!((&line["verdict"], &line["rule"]), (&json!("deny"), &json!("api-malformed")));
    }
}

#[tokio::test]
async fn an_upgrade_is_refused_or_ignored() {
    let mut stage = Stage::set(Setting::default()).await;
    let upgrade = |to: &str| {
        format!("GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n\r\n")
    };
    assert_eq!(parsed(&stage.ask(&upgrade("WebSocket")).await).0, 501);
    assert_eq!(stage.arrived(), None);
    assert!(stage.ask(&upgrade("h2c")).await.starts_with("HTTP/1.1 200 "));
    let arrived = stage.arrived().unwrap();
    assert!(!arrived.contains("upgrade"), "{arrived}");
}

#[tokio::test]
async fn too_large_a_request_is_refused() {
    let mut stage = Stage::set(Setting::default()).await;
    let request =
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 67108865\r\nExpect: 100-continue\r\n\r\n";
    let (status, json) = parsed(&stage.ask(request).await);
    assert_eq!((status, &json["error"]), (413, &json!("payload_too_large")));
    assert_eq!(stage.arrived(), None);
}

#[tokio::test]
async fn a_service_without_credential_says_what_is_missing() {
    let stage = Stage::set(Setting { vars: Vec::new(), ..Setting::default() }).await;
    for (port, expected, variable) in [
        (10000, 404, "OPENAI_API_KEY"),
        (10001, 403, "ANTHROPIC_API_KEY"),
        (10002, 403, "COPILOT_PROVIDER_API_KEY or COPILOT_GITHUB_TOKEN"),
        (10003, 503, "GEMINI_API_KEY"),
        (10004, 503, "GOOGLE_API_KEY"),
    ] {
        let post = "POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
        let (status, json) = parsed(&stage.ask_at(port, post).await);
        assert_eq!((status, &json["error"]), (expected, &json!("provider_not_configured")));
        assert_eq!(json["retryable"], false);
        assert!(json["message"].as_str().unwrap().contains(variable), "{json}");
        let health = stage.ask_at(port, "GET /health HTTP/1.1\r\n\r\n").await;
        assert_eq!(parsed(&health).0, if port == 10000 { 200 } else { 503 });
    }
    let record = stage.record();
    let lines = record.iter().map(|line| (line["port"].as_u64(), line["rule"].as_str()));
    let expected = (10000..10005).map(|port| (Some(port), Some("api-not-configured")));
    assert!(lines.eq(expected), "{record:?}");
}

#[tokio::test]
async fn some_things_are_answered_here() {
    let mut stage = Stage::set(Setting::default()).await;
    let (status, health) = parsed(&stage.ask("GET /health HTTP/1.1\r\n\r\n").await);
    assert_eq!((status, &health["status"]), (200, &json!("healthy")));
    let providers = json!({"openai": true, "anthropic": false, "copilot": false, "gemini": false, "vertex": false});
    assert_eq!(health["providers"], providers);
    assert_eq!(health["metrics_summary"]["total_requests"], 0);
    for port in 10000..10005 {
        let (status, reflect) = parsed(&stage.ask_at(port, "GET /reflect HTTP/1.1\r\n\r\n").await);
        assert_eq!((status, reflect["endpoints"].as_array().unwrap().len()), (200, 5));
        let openai = json!({
            "provider": "openai",
            "port": 10000,
            "base_url": "http://172.30.0.30:10000",
            "configured": true,
            "models": null,
            "models_url": "http://172.30.0.30:10000/v1/models",
        });
        assert_eq!(reflect["endpoints"][0], openai);
        assert_eq!(parsed(&stage.ask_at(port, "GET /metrics HTTP/1.1\r\n\r\n").await).0, 404);
    }
    assert_eq!(parsed(&stage.ask("PUT /health HTTP/1.1\r\n\r\n").await).0, 405);
    assert_eq!(stage.arrived(), None);
    stage.ask(GET).await;
    let (_status, health) = parsed(&stage.ask("GET /health HTTP/1.1\r\n\r\n").await);
    let figures = &health["metrics_summary"];
    assert_eq!((&figures["total_requests"], &figures["active_requests"]), (&json!(1), &json!(0)));
    assert_eq!(stage.record().len(), 1);
}

#[tokio::test]
async fn a_server_that_cannot_show_who_it_is_gets_no_credential() {
    for setting in [
        Setting { certified: "evil.example", ..Setting::default() },
        Setting { believed: false, ..Setting::default() },
    ] {
        let mut stage = Stage::set(setting).await;
        let (status, json) = parsed(&stage.ask(GET).await);
        assert_eq!((status, &json["retryable"]), (502, &json!(true)), "{json}");
        assert!(json["message"].as_str().unwrap().contains("TLS with api.openai.com"), "{json}");
        assert_eq!(stage.arrived(), None);
        assert_eq!(stage.record()[0]["verdict"], "error");
    }
}

#[tokio::test]
async fn a_server_that_the_policy_denies_is_not_asked() {
    let mut stage = Stage::set(Setting { blocked: "openai.com", ..Setting::default() }).await;
    assert_eq!(parsed(&stage.ask(GET).await).0, 403);
    assert_eq!(stage.arrived(), None);
    let record = stage.record();
    assert_eq!(record[0]["rule"], "deny-blocked-plain");
    assert_eq!(record[0]["name"], "api.openai.com");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_on_record() {
    let stage = Stage::set(saying("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")).await;
    stage.ask(GET).await;
    assert_eq!(stage.record()[0]["verdict"], "error");
    let stage = Stage::set(saying("nonsense")).await;
    assert_eq!(parsed(&stage.ask(GET).await).0, 502);
    assert_eq!(stage.record()[0]["verdict"], "error");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along_but_not_its_record() {
    let ended = Arc::new(Notify::new());
    let script = Script::Hold(Arc::clone(&ended));
    let mut stage = Stage::set(Setting { script, ..Setting::default() }).await;
    for cut in [false, true] {
        let (mut client, served) = tokio::io::duplex(1 << 16);
        let serving = tokio::spawn(Arc::clone(&stage.proxy).serve(served, visit(10000)));
        client.write_all(GET.as_bytes()).await.unwrap();
        stage.next_arrived().await;
        if cut {
            serving.abort();
        } else {
            drop(client);
        }
        ended.notified().await;
        let _cut = serving.await;
    }
    let record = stage.record();
    assert_eq!(record.len(), 2);
    for line in record {
        assert_eq!(
            (&line["rule"], &line["proxy_status"]),
            (&json!("allow-api-proxy"), &Value::Null)
        );
    }
}

#[tokio::test]
async fn nothing_that_prints_holds_a_credential() {
    let stage = Stage::set(Setting::default()).await;
    stage.ask(GET).await;
    assert!(!format!("{:?} {:#?}", stage.proxy, stage.proxy).contains("hunter2"));
}
