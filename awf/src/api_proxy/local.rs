//! What the API proxy answers by itself: `/health`, `/reflect`, and that there is no `/metrics`.
//!
//! Takes the plan, figures and budgets of this run, gives JSON in the original's shapes. Must never give a credential, or
//! whether one is right: it does not know. `models` is null until a name of `apiProxy.models` made awf ask for the list;
//! nothing is asked before, so that nothing could still complete.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::asking::Desk;
use super::{Body, body};
use crate::plan::addresses;
use crate::plan::api_proxy::{ApiProxyPlan, Provider};

/// The original's name of itself.
const SERVICE: &str = "awf-api-proxy";

/// Figures of this run.
#[derive(Debug, Default)]
pub(super) struct Figures {
    requests: AtomicU64,
    errors: AtomicU64,
    active: AtomicU64,
    milliseconds: AtomicU64,
}

impl Figures {
    pub(super) fn begin(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self, took: Duration, failed: bool) {
        self.active.fetch_sub(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.milliseconds.fetch_add(milliseconds, Ordering::Relaxed);
    }

    fn summary(&self) -> Value {
        let [requests, errors, active, milliseconds] =
            [&self.requests, &self.errors, &self.active, &self.milliseconds]
                .map(|figure| figure.load(Ordering::Relaxed));
        let ended = requests.saturating_sub(active);
        json!({
            "total_requests": requests,
            "total_errors": errors,
            "active_requests": active,
            "avg_latency_ms": milliseconds.checked_div(ended).unwrap_or(0),
        })
    }
}

/// The answer, if the path is one of ours.
pub(super) fn answer(
    (method, path): (&Method, &str),
    provider: Provider,
    plan: &ApiProxyPlan,
    (figures, desk): (&Figures, &Desk),
) -> Option<Response<Body>> {
    let (status, value) = match path {
        "/health" if provider == Provider::OpenAi => (StatusCode::OK, health(plan, figures, desk)),
        "/health" => health_of(provider, plan),
        "/reflect" => (StatusCode::OK, reflect(plan, desk)),
        // The original sends it on to the service, with the key.
        "/metrics" => (StatusCode::NOT_FOUND, json!({ "error": "not_found" })),
        _ => return None,
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response =
            say(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "method_not_allowed" }));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(response);
    }
    Some(say(status, &value))
}

fn say(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(body(value.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn health(plan: &ApiProxyPlan, figures: &Figures, desk: &Desk) -> Value {
    let served = |provider: Provider| {
        (provider.name().to_owned(), Value::from(plan.route(provider).is_some()))
    };
    json!({
        "status": "healthy",
        "service": SERVICE,
        "squid_proxy": format!("http://{}:{}", addresses::PROXY, addresses::PROXY_PORT),
        "providers": Provider::ALL.into_iter().map(served).collect::<Map<_, _>>(),
        "key_validation": { "complete": true, "results": {} },
        "models_fetch_complete": true,
        "metrics_summary": figures.summary(),
        "rate_limits": desk.ledger.rates(),
    })
}

fn health_of(provider: Provider, plan: &ApiProxyPlan) -> (StatusCode, Value) {
    let service = format!("{SERVICE}-{}", provider.name());
    if plan.route(provider).is_some() {
        (StatusCode::OK, json!({ "status": "healthy", "service": service }))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not_configured", "service": service }))
    }
}

fn reflect(plan: &ApiProxyPlan, desk: &Desk) -> Value {
    let endpoint = |provider: Provider| {
        let url = provider.url();
        let models = match provider {
            Provider::OpenAi | Provider::Anthropic => Some("/v1/models"),
            Provider::Copilot => Some("/models"),
            Provider::Gemini => Some("/v1beta/models"),
            Provider::Vertex => None,
        };
        json!({
            "provider": provider.name(),
            "port": provider.port(),
            "base_url": url,
            "configured": plan.route(provider).is_some(),
            "models": desk.lists.known(provider),
            "models_url": models.map(|path| format!("{url}{path}")),
        })
    };
    let mut told = desk.ledger.reflect();
    if let Value::Object(told) = &mut told {
        let endpoints = Provider::ALL.into_iter().map(endpoint).collect();
        told.insert("endpoints".to_owned(), Value::Array(endpoints));
        told.insert("models_fetch_complete".to_owned(), true.into());
    }
    told
}
