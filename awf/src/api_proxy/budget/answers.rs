//! What a client hears whose request is more than a budget allows.
//!
//! Owns the sentences and shapes, which are the original's: programs know them. Budgets that are used up for good answer 403,
//! not 429, after which clients would ask again.

use hyper::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::rates::Exceeded;
use super::rounded;
use crate::api_proxy::refusal::Refusal;
use crate::plan::api_proxy::Provider;

/// A refusal with the original's JSON, `{"error": {"type", "message", ...}}`.
fn refusal(
    status: StatusCode,
    (kind, rule): (&'static str, &'static str),
    message: String,
    more: Value,
) -> Refusal {
    let mut error = json!({ "type": kind, "message": message });
    if let (Value::Object(error), Value::Object(more)) = (&mut error, more) {
        error.extend(more);
    }
    Refusal::of_budget((status, kind, rule), message, json!({ "error": error }))
}

pub(super) fn effective_tokens(total: f64, most: u64) -> Refusal {
    let total = (total * 100.0).round() / 100.0;
    refusal(
        StatusCode::FORBIDDEN,
        ("effective_tokens_limit_exceeded", "budget-effective-tokens"),
        format!("Maximum effective tokens exceeded ({total} / {most})."),
        json!({ "total_effective_tokens": total, "max_effective_tokens": most }),
    )
}

pub(super) fn runs(count: u64, most: u64) -> Refusal {
    refusal(
        StatusCode::TOO_MANY_REQUESTS,
        ("max_runs_exceeded", "budget-runs"),
        format!("Maximum LLM invocations exceeded ({count} / {most})."),
        json!({ "invocation_count": count, "max_runs": most }),
    )
}

pub(super) fn cache_misses(count: u64, most: u64) -> Refusal {
    refusal(
        StatusCode::FORBIDDEN,
        ("max_cache_misses_exceeded", "budget-cache-misses"),
        format!("Maximum consecutive cache misses exceeded ({count} / {most})."),
        json!({ "consecutive_cache_misses": count, "max_cache_misses": most }),
    )
}

pub(super) fn permission_denied(count: u64, most: u64) -> Refusal {
    refusal(
        StatusCode::FORBIDDEN,
        ("permission_denied_limit_exceeded", "budget-permission-denied"),
        format!(
            "Permission denied limit exceeded ({count} / {most}). The run has been stopped due to repeated permission \
             errors: check that all API keys and tokens are correctly configured."
        ),
        json!({ "denied_count": count, "max_permission_denied": most }),
    )
}

pub(super) fn credits(total: f64, most: f64, is_hard: bool) -> Refusal {
    let total = rounded(total);
    let mut more = json!({ "total_ai_credits": total, "max_ai_credits": most });
    if is_hard && let Value::Object(more) = &mut more {
        more.insert("hard_cap".to_owned(), true.into());
    }
    refusal(
        StatusCode::FORBIDDEN,
        ("ai_credits_limit_exceeded", "budget-ai-credits"),
        format!("Maximum AI credits exceeded ({total} / {most})."),
        more,
    )
}

pub(super) fn multiplier(model: &str, weight: f64, cap: f64) -> Refusal {
    let model = shown(model);
    refusal(
        StatusCode::BAD_REQUEST,
        ("model_multiplier_cap_exceeded", "model-multiplier"),
        format!(
            "Model multiplier cap exceeded: model \"{model}\" has multiplier {weight} which exceeds the configured \
             maximum of {cap}."
        ),
        json!({ "model": model, "model_multiplier": weight, "max_model_multiplier": cap }),
    )
}

pub(super) fn unverifiable(cap: f64) -> Refusal {
    refusal(
        StatusCode::BAD_REQUEST,
        ("model_multiplier_cap_unverifiable", "model-multiplier"),
        format!(
            "The request names no model, so that its multiplier cannot be compared with the maximum of {cap}."
        ),
        json!({ "max_model_multiplier": cap }),
    )
}

pub(super) fn policy(model: Option<&str>) -> Refusal {
    let model = model.map(shown);
    let message = match &model {
        Some(model) => {
            format!("Model \"{model}\" is not permitted by the model policy of this run.")
        }
        None => "The request names no model, and this run has a policy for models.".to_owned(),
    };
    let names = ("model_policy_violation", "model-policy");
    refusal(StatusCode::FORBIDDEN, names, message, json!({ "model": model }))
}

/// Not wrapped in `error`, like the original's.
pub(super) fn unpriced(model: &str) -> Refusal {
    let model = shown(model);
    let message = format!(
        "Model \"{model}\" has no AI credits pricing and no default pricing is configured. Set \
         apiProxy.defaultAiCreditsPricing in the AWF config (e.g. {{\"input\": 3.0, \"output\": 15.0}}) or its price in \
         apiProxy.providers."
    );
    let kind = "unknown_model_ai_credits";
    let value = json!({ "type": kind, "message": message, "model": model });
    Refusal::of_budget((StatusCode::BAD_REQUEST, kind, "model-unpriced"), message, value)
}

pub(super) fn rate(provider: Provider, exceeded: &Exceeded) -> Refusal {
    let Exceeded { window, limit, wait } = exceeded;
    let message = format!("Rate limit exceeded for {} provider: {limit} {window}", provider.name());
    let value = json!({
        "error": {
            "type": "rate_limit_error",
            "message": message,
            "provider": provider.name(),
            "limit": limit,
            "window": window,
            "retry_after": wait,
        },
    });
    let reset = Timestamp::now().as_second().saturating_add(i64::try_from(*wait).unwrap_or(3600));
    let names = (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "rate-limit");
    Refusal::of_budget(names, message, value).with_fields(vec![
        ("retry-after", wait.to_string()),
        ("x-ratelimit-limit", limit.to_string()),
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset", reset.to_string()),
    ])
}

/// A name that the client wrote, short and printable: it comes to the user's terminal and into the record.
fn shown(model: &str) -> String {
    model.chars().filter(|letter| !letter.is_control()).take(100).collect()
}
