//! Why a request is not answered by the service, for the client and for the record.
//!
//! Owns the sentences. Must never hold anything that the client sent, nor a credential.

use std::borrow::Cow;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Body, body};
use crate::observe::record::{Layer, Verdict};
use crate::plan::api_proxy::Provider;
use crate::policy::Decision;
use crate::relay::Failure;

/// A request that the service does not answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(super) status: StatusCode,
    /// What it is, in one word for programs.
    error: &'static str,
    /// The same for a reader.
    pub(crate) reason: Cow<'static, str>,
    /// Rule for the record.
    pub(super) rule: &'static str,
    pub(super) verdict: Verdict,
    pub(super) layer: Layer,
    /// JSON in another shape, and more fields.
    shape: Option<Box<Shape>>,
}

/// What a client hears in a shape of its own.
#[derive(Debug)]
struct Shape {
    value: Value,
    fields: Vec<(&'static str, String)>,
}

impl Refusal {
    /// Refused here.
    pub(super) const fn denied(
        status: StatusCode,
        error: &'static str,
        rule: &'static str,
        reason: &'static str,
    ) -> Self {
        let (verdict, layer) = (Verdict::Deny, Layer::Relay);
        let reason = Cow::Borrowed(reason);
        Self { status, error, reason, rule, verdict, layer, shape: None }
    }

    /// Not understood, or understood by two readers in two ways.
    pub(super) const fn malformed(reason: &'static str) -> Self {
        Self::denied(StatusCode::BAD_REQUEST, "bad_request", "api-malformed", reason)
    }

    /// The service was allowed but did not answer.
    pub(super) fn failed(status: StatusCode, reason: String) -> Self {
        Self {
            status,
            error: "upstream_error",
            reason: Cow::Owned(reason),
            rule: super::RULE,
            verdict: Verdict::Error,
            layer: Layer::Relay,
            shape: None,
        }
    }

    /// The caller has no credential for the service. Statuses are the original's: clients know what to make of them.
    pub(super) fn unconfigured(provider: Provider) -> Self {
        let status = match provider {
            Provider::OpenAi => StatusCode::NOT_FOUND,
            Provider::Anthropic | Provider::Copilot => StatusCode::FORBIDDEN,
            Provider::Gemini | Provider::Vertex => StatusCode::SERVICE_UNAVAILABLE,
        };
        let names = provider.variables().join(" or ");
        let title = provider.title();
        let reason = format!(
            "no credential for {title}: set {names} in the environment in which awf is called"
        );
        let rule = "api-not-configured";
        Self {
            reason: Cow::Owned(reason),
            ..Self::denied(status, "provider_not_configured", rule, "")
        }
    }

    /// A budget allows no more. The client hears the value.
    pub(super) fn of_budget(
        (status, error, rule): (StatusCode, &'static str, &'static str),
        reason: String,
        value: Value,
    ) -> Self {
        let shape = Some(Box::new(Shape { value, fields: Vec::new() }));
        Self { reason: Cow::Owned(reason), shape, ..Self::denied(status, error, rule, "") }
    }

    /// The same with more fields in the answer.
    pub(super) fn with_fields(mut self, fields: Vec<(&'static str, String)>) -> Self {
        if let Some(shape) = &mut self.shape {
            shape.fields = fields;
        }
        self
    }

    /// The policy denies the service's server.
    pub(super) fn by_policy(decision: &Decision) -> Self {
        let reason = Cow::Owned(decision.reason.clone());
        Self { reason, ..Self::denied(StatusCode::FORBIDDEN, "denied", decision.rule, "") }
    }

    /// There is no way to the server.
    pub(super) fn by_way(failure: &Failure) -> Self {
        let reason = failure.to_string();
        let (rule, layer) = match failure {
            Failure::Denied(_) => ("proxy-denied", Layer::Proxy),
            Failure::Inward(_) => ("inward-address", Layer::Proxy),
            Failure::Unresolved(_)
            | Failure::NoWay(_)
            | Failure::Unreachable(_)
            | Failure::Broken(_) => {
                let failed = Self::failed(StatusCode::BAD_GATEWAY, reason);
                return Self { layer: Layer::Proxy, ..failed };
            }
        };
        let reason = Cow::Owned(reason);
        Self { reason, layer, ..Self::denied(StatusCode::FORBIDDEN, "denied", rule, "") }
    }

    /// The answer to the client.
    pub(super) fn response(&self) -> Response<Body> {
        let mut response = Response::new(body(self.json()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.shape.iter().flat_map(|shape| &shape.fields) {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(*name, value);
            }
        }
        response
    }

    /// The answer to a client whose request is not one that an HTTP library should see.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let json = self.json();
        let status = self.status;
        let length = json.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n{json}"
        )
        .into_bytes()
    }

    fn json(&self) -> String {
        if let Some(shape) = &self.shape {
            return shape.value.to_string();
        }
        let retryable = self.verdict == Verdict::Error;
        let message = format!("awf: {}", self.reason);
        json!({ "error": self.error, "message": message, "retryable": retryable }).to_string()
    }
}
