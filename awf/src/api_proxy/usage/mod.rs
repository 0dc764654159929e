//! What an answer used: tokens by kind, in the shapes of all providers.
//!
//! Takes JSON of an answer or of an event in it, gives [`Usage`]. Pure. Must never look at what was said, only at the counts
//! beside it.

pub(super) mod observed;
pub(super) mod log;

use serde_json::Value;

/// Tokens of one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// The model that answered, as it calls itself.
    pub(super) model: Option<String>,
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cache_read: u64,
    pub(super) cache_write: u64,
    pub(super) reasoning: u64,
    /// Whether `input` counts what came from the cache or went into it.
    pub(super) inclusive: bool,
    /// Whether `output` lacks the tokens of `reasoning`.
    pub(super) apart: bool,
    /// Whether a provider told any of it.
    pub(super) told: bool,
    /// Whether the split of a bill was told, which beats everything else.
    pub(super) billed: bool,
}

impl Usage {
    /// Takes what an answer or an event tells. What comes later counts.
    pub(super) fn absorb(&mut self, value: &Value) {
        if let Value::Array(parts) = value {
            for part in parts {
                self.absorb(part);
            }
            return;
        }
        // OpenAI's responses and Anthropic's messages are inside of their events.
        for inner in ["response", "message"] {
            if let Some(inner) = value.get(inner).filter(|inner| inner.is_object()) {
                self.absorb_flat(inner);
            }
        }
        self.absorb_flat(value);
    }

    fn absorb_flat(&mut self, value: &Value) {
        let named = value.get("model").or_else(|| value.get("modelVersion"));
        if let Some(model) = named.and_then(Value::as_str).filter(|model| !model.is_empty()) {
            self.model = Some(model.chars().take(MAX_MODEL).collect());
        }
        if !self.billed {
            if let Some(usage) = value.get("usage").filter(|usage| usage.is_object()) {
                self.absorb_usage(usage);
            }
            if let Some(usage) = value.get("usageMetadata").filter(|usage| usage.is_object()) {
                self.absorb_gemini(usage);
            }
        }
        let bill = value.get("copilot_usage").or_else(|| value.get("usage")?.get("copilot_usage"));
        if let Some(details) = bill.and_then(|bill| bill.get("token_details")?.as_array()) {
            self.absorb_bill(details);
        }
    }

    /// `OpenAI`'s two protocols and Anthropic's, told apart by their names.
    fn absorb_usage(&mut self, usage: &Value) {
        set(&mut self.input, usage, &["prompt_tokens", "input_tokens"]);
        set(&mut self.output, usage, &["completion_tokens", "output_tokens"]);
        set(&mut self.cache_read, usage, &["cache_read_input_tokens"]);
        set(&mut self.cache_write, usage, &["cache_creation_input_tokens"]);
        let details = |name: &str| ["prompt", "input"].map(|kind| format!("{kind}_{name}"));
        for name in details("tokens_details") {
            if let Some(details) = usage.get(name) {
                set(&mut self.cache_read, details, &["cached_tokens"]);
            }
        }
        for name in ["completion_tokens_details", "output_tokens_details"] {
            if let Some(details) = usage.get(name) {
                set(&mut self.reasoning, details, &["reasoning_tokens"]);
            }
        }
        let anthropic = ["cache_read_input_tokens", "cache_creation_input_tokens"];
        let is_openai = usage.get("prompt_tokens").is_some()
            || usage.get("input_tokens_details").is_some()
            || usage.get("total_tokens").is_some();
        if is_openai {
            self.inclusive = true;
        } else if anthropic.iter().any(|name| usage.get(name).is_some()) {
            self.inclusive = false;
        }
        self.told = true;
    }

    fn absorb_gemini(&mut self, usage: &Value) {
        set(&mut self.input, usage, &["promptTokenCount"]);
        set(&mut self.output, usage, &["candidatesTokenCount"]);
        set(&mut self.cache_read, usage, &["cachedContentTokenCount"]);
        set(&mut self.reasoning, usage, &["thoughtsTokenCount"]);
        (self.inclusive, self.apart, self.told) = (true, true, true);
    }

    /// Copilot's own split, which is what it bills.
    fn absorb_bill(&mut self, details: &[Value]) {
        let mut sums = [0_u64; 4];
        for detail in details {
            let kind = detail.get("token_type").and_then(Value::as_str).unwrap_or_default();
            let count = detail.get("token_count").and_then(Value::as_u64).unwrap_or(0);
            let place = ["input", "cache_read", "cache_write", "output"];
            if let Some(index) = place.iter().position(|name| *name == kind)
                && let Some(sum) = sums.get_mut(index)
            {
                *sum = sum.saturating_add(count);
            }
        }
        [self.input, self.cache_read, self.cache_write, self.output] = sums;
        (self.inclusive, self.told, self.billed) = (false, true, true);
    }

    /// Tokens that were asked and are in no cache.
    pub(super) fn fresh(&self) -> u64 {
        let cached = self.cache_read.saturating_add(self.cache_write);
        if self.inclusive { self.input.saturating_sub(cached) } else { self.input }
    }

    /// Tokens that were asked, wherever they came from.
    pub(super) fn asked(&self) -> u64 {
        self.fresh().saturating_add(self.cache_read).saturating_add(self.cache_write)
    }

    /// Tokens that were answered, thoughts included.
    pub(super) fn answered(&self) -> u64 {
        if self.apart { self.output.saturating_add(self.reasoning) } else { self.output }
    }
}

/// Characters of a model's name that are kept.
const MAX_MODEL: usize = 128;

fn set(field: &mut u64, from: &Value, names: &[&str]) {
    if let Some(count) = names.iter().find_map(|name| from.get(name)?.as_u64()) {
        *field = count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(events: &[&str], model: &str, counts: [u64; 5], (fresh, answered): (u64, u64)) {
        let mut usage = Usage::default();
        for event in events {
            usage.absorb(&serde_json::from_str(event).unwrap());
        }
        let Usage { input, output, cache_read, cache_write, reasoning, .. } = usage;
        assert_eq!(usage.model.as_deref(), Some(model));
        assert_eq!([input, output, cache_read, cache_write, reasoning], counts);
        assert_eq!((usage.fresh(), usage.answered()), (fresh, answered));
        assert!(usage.told);
    }

    #[test]
    fn every_provider_is_understood() {
        check(
            &[
                r#"{"model":"gpt-4o","choices":[{}],"usage":null}"#,
                r#"{"model":"gpt-4o","usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,
                "prompt_tokens_details":{"cached_tokens":60},"completion_tokens_details":{"reasoning_tokens":5}}}"#,
            ],
            "gpt-4o",
            [100, 20, 60, 0, 5],
            (40, 20),
        );
        check(
            &[
                r#"{"type":"response.completed","response":{"model":"gpt-5","usage":{"input_tokens":100,
                "input_tokens_details":{"cached_tokens":30},"output_tokens":7,
                "output_tokens_details":{"reasoning_tokens":2}}}}"#,
            ],
            "gpt-5",
            [100, 7, 30, 0, 2],
            (70, 7),
        );
        check(
            &[
                r#"{"type":"message_start","message":{"model":"claude-x","usage":{"input_tokens":10,
                "cache_read_input_tokens":50,"cache_creation_input_tokens":5,"output_tokens":1}}}"#,
                r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":33}}"#,
            ],
            "claude-x",
            [10, 33, 50, 5, 0],
            (10, 33),
        );
        check(
            &[r#"[{"modelVersion":"gemini-x","usageMetadata":{"promptTokenCount":9}},
                {"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":4,"thoughtsTokenCount":3,
                "cachedContentTokenCount":2}}]"#],
            "gemini-x",
            [9, 4, 2, 0, 3],
            (7, 7),
        );
        check(
            &[r#"{"model":"c","usage":{"prompt_tokens":100,"completion_tokens":4},"copilot_usage":
                {"token_details":[{"token_type":"input","token_count":10},{"token_type":"cache_read",
                "token_count":80},{"token_type":"cache_write","token_count":10},
                {"token_type":"output","token_count":4}]}}"#],
            "c",
            [10, 4, 80, 10, 0],
            (10, 4),
        );
    }

    #[test]
    fn nonsense_is_no_usage() {
        for text in [r#"{"usage":3}"#, "[]", "null", r#"{"usage":null}"#, r#"{"error":{}}"#] {
            let mut usage = Usage::default();
            usage.absorb(&serde_json::from_str(text).unwrap());
            assert_eq!(usage, Usage::default(), "{text}");
        }
    }
}
