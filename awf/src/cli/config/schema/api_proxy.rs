//! The keys of the API proxy, for [`super`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Anything, Positive, Price};

/// The API proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiProxy {
    /// Must be true if it is there: the API proxy serves whose key is there.
    pub enabled: Option<bool>,
    /// `--enable-token-steering`.
    pub enable_token_steering: Option<bool>,
    /// Old name of `maxTurns`.
    #[schemars(range(min = 1))]
    pub max_runs: Option<u64>,
    /// Answers of models in this run before more requests are refused.
    #[schemars(range(min = 1))]
    pub max_turns: Option<u64>,
    /// Credits, a cent each, that the run may use before requests are refused; never more than
    /// 10000.
    pub max_ai_credits: Option<Positive>,
    /// `--max-cache-misses`.
    #[schemars(range(min = 1))]
    pub max_cache_misses: Option<u64>,
    /// `--max-permission-denied`.
    #[schemars(range(min = 1))]
    pub max_permission_denied: Option<u64>,
    /// Names of models that stand for the first of a list that the provider has.
    pub models: Option<BTreeMap<String, Vec<String>>>,
    /// Servers of the providers.
    pub targets: Targets,
    /// Weighted tokens that the run may use before requests are refused.
    #[schemars(range(min = 1))]
    pub max_effective_tokens: Option<u64>,
    /// Prices of models that are not known.
    pub default_ai_credits_pricing: Option<Pricing>,
    /// Prices of models by provider, in dollars for one token, as models.dev writes them:
    /// `<provider>.models.<model>.cost.{input,output,cache_read,cache_write}`.
    pub providers: Option<BTreeMap<String, Anything>>,
    /// Weights of models.
    pub model_multipliers: Option<BTreeMap<String, Positive>>,
    /// Weight of the other models.
    pub default_model_multiplier: Option<Positive>,
    /// `--max-model-multiplier-cap`.
    pub max_model_multiplier_cap: Option<Positive>,
    /// Models that may be asked, patterns with `*`; no other.
    pub allowed_models: Option<Vec<String>>,
    /// Models that may not be asked, patterns with `*`.
    pub disallowed_models: Option<Vec<String>>,
    /// Model that the workflow asked for. Not read.
    pub requested_model: Option<String>,
    /// Another model in place of one that is not there. Refused.
    pub model_fallback: Option<Anything>,
    /// A router in front of models. Refused.
    pub model_router: Option<Anything>,
    /// `--anthropic-auto-cache`. Refused.
    pub anthropic_auto_cache: Option<bool>,
    /// `--anthropic-cache-tail-ttl`. Refused.
    pub anthropic_cache_tail_ttl: Option<String>,
    /// Logs of the original's proxy program. Not read.
    pub logging: Option<Anything>,
    /// Captures of the original's proxy program. Refused: they hold prompts.
    pub diagnostics: Option<Anything>,
    /// Keys by `OpenID` Connect. Refused.
    pub auth: Option<Anything>,
    /// Not read; gh-aw writes it for later versions of the original.
    pub hosted_web: Option<Anything>,
    /// Not read; gh-aw writes it for later versions of the original.
    pub routing: Option<Anything>,
    /// Not read; gh-aw writes it for later versions of the original.
    pub ca_cert: Option<Anything>,
}

/// Servers of the providers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Targets {
    /// `OpenAI`.
    pub openai: OpenAiTarget,
    /// Anthropic.
    pub anthropic: AnthropicTarget,
    /// Gemini.
    pub gemini: Target,
    /// Vertex.
    pub vertex: Target,
    /// Antigravity, which stands for Gemini.
    pub antigravity: Target,
    /// Copilot.
    pub copilot: CopilotTarget,
}

/// Server of `OpenAI`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OpenAiTarget {
    /// `--openai-api-target`.
    pub host: Option<String>,
    /// `--openai-api-base-path`.
    pub base_path: Option<String>,
    /// `--openai-api-auth-header`.
    pub auth_header: Option<String>,
    /// `--openai-base-url-env`.
    pub base_url_env: Option<String>,
}

/// Server of Anthropic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AnthropicTarget {
    /// `--anthropic-api-target`.
    pub host: Option<String>,
    /// `--anthropic-api-base-path`.
    pub base_path: Option<String>,
    /// `--anthropic-api-auth-header`.
    pub auth_header: Option<String>,
}

/// Server of another provider, whose name stands above it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Target {
    /// `--<provider>-api-target`.
    pub host: Option<String>,
    /// `--<provider>-api-base-path`.
    pub base_path: Option<String>,
}

/// Server of Copilot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CopilotTarget {
    /// `--copilot-api-target`.
    pub host: Option<String>,
    /// More headers for each request. Refused.
    pub extra_headers: Option<Anything>,
    /// More fields for each request. Refused.
    pub extra_body_fields: Option<Anything>,
    /// Session that requests name. Not read.
    pub session_id: Option<String>,
}

/// Prices, in dollars for a million tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pricing {
    /// Of what is asked.
    pub input: Option<Price>,
    /// Of what is answered.
    pub output: Option<Price>,
    /// Of what is asked and known.
    pub cached_input: Option<Price>,
    /// Of what is asked and kept.
    pub cache_write: Option<Price>,
}
