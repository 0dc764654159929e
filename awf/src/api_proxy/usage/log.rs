//! `token-usage.jsonl`: one line for each answer of a model, in the original's shape, which gh-aw reads.
//!
//! Must never hold a word of a question or an answer, or a credential.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Mutex;

use serde::Serialize;

/// Schema of a line. The original writes its own release here; readers look at what is before the slash.
const SCHEMA: &str = concat!("token-usage/v", env!("CARGO_PKG_VERSION"));

/// A line. Absent fields do not apply.
#[derive(Debug, Serialize)]
pub(in crate::api_proxy) struct Line<'a> {
    #[serde(rename = "_schema")]
    schema: &'static str,
    timestamp: String,
    event: &'static str,
    request_id: &'a str,
    provider: &'static str,
    model: &'a str,
    path: &'a str,
    status: u16,
    streaming: bool,
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    reasoning_tokens: u64,
    duration_ms: u64,
    response_bytes: u64,
    /// Whether a count was not told by the provider; awf's own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    x_initiator: Option<&'a str>,
    #[serde(flatten)]
    cost: Cost,
}

/// What an answer costs of the budgets that are limited.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(in crate::api_proxy) struct Cost {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api_proxy) effective_tokens_this_response: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api_proxy) effective_tokens_total: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api_proxy) model_multiplier: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api_proxy) ai_credits_this_response: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api_proxy) ai_credits_total: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api_proxy) ai_credits_pricing_source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api_proxy) ai_credits_fallback_pricing_used: Option<bool>,
}

/// An answer of a model, for its line.
#[derive(Debug)]
pub(in crate::api_proxy) struct Answer {
    pub(in crate::api_proxy) request_id: String,
    pub(in crate::api_proxy) provider: &'static str,
    pub(in crate::api_proxy) model: String,
    pub(in crate::api_proxy) path: String,
    pub(in crate::api_proxy) status: u16,
    pub(in crate::api_proxy) streams: bool,
    pub(in crate::api_proxy) initiator: Option<String>,
}

/// The file.
#[derive(Debug)]
pub(in crate::api_proxy) struct Log(Mutex<Option<File>>);

impl Log {
    /// A log in a file that exists already; without one, nothing is written.
    pub(in crate::api_proxy) fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(|path| File::options().append(true).open(path)).transpose()?;
        Ok(Self(Mutex::new(file)))
    }

    /// Writes a line. A file that takes no more is given up, and said once.
    pub(in crate::api_proxy) fn write(
        &self,
        answer: &Answer,
        (seen, asked): (&super::observed::Seen, u64),
        duration_ms: u64,
        cost: Cost,
    ) {
        let (usage, estimated) = seen.usage(asked);
        let line = Line {
            schema: SCHEMA,
            timestamp: format!("{:.3}", jiff::Timestamp::now()),
            event: "token_usage",
            request_id: &answer.request_id,
            provider: answer.provider,
            model: usage.model.as_deref().unwrap_or(&answer.model),
            path: &answer.path,
            status: answer.status,
            streaming: answer.streams,
            input_tokens: usage.input,
            output_tokens: usage.output,
            cache_read_tokens: usage.cache_read,
            cache_write_tokens: usage.cache_write,
            reasoning_tokens: usage.reasoning,
            duration_ms,
            response_bytes: seen.bytes,
            estimated,
            x_initiator: answer.initiator.as_deref(),
            cost,
        };
        let Ok(mut text) = serde_json::to_vec(&line) else { return };
        text.push(b'\n');
        let Ok(mut file) = self.0.lock() else { return };
        if let Some(Err(error)) = file.as_mut().map(|file| file.write_all(&text)) {
            tracing::warn!("token-usage.jsonl: {error}; what is used from now on is not in it");
            *file = None;
        }
    }
}
