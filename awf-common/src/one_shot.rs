//! What awf and its preload library (`awf/one-shot`) must agree on: names, and where the library lies.
//!
//! Owns plain constants only.

/// Path of the library inside the sandbox. `LD_PRELOAD` separates by colons and blanks: it has none.
pub const LIBRARY: &str = "/run/awf-one-shot.so";

/// The variable that lists the tokens, separated by commas.
pub const LIST: &str = "AWF_ONE_SHOT_TOKENS";

/// Most names in that list: the original's limit, and the size of the library's table.
pub const MAX_TOKENS: usize = 100;

/// The tokens, unless the user lists others: the original's list.
pub const TOKENS: [&str; 18] = [
    "COPILOT_GITHUB_TOKEN",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITHUB_API_TOKEN",
    "GITHUB_PAT",
    "GH_ACCESS_TOKEN",
    "OPENAI_API_KEY",
    "OPENAI_KEY",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_API_KEY",
    "CODEX_API_KEY",
    "COPILOT_PROVIDER_API_KEY",
    "ADO_MCP_AUTH_TOKEN",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
];
