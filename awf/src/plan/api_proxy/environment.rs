//! What the command is told in place of credentials: the addresses of the API proxy, and placeholders.
//!
//! Owns the names and values, which are the original's. Takes the plan of the API proxy, gives variables that no option can
//! change. Must never give a credential.
//!
//! Not set: `CLAUDE_CODE_API_KEY_HELPER`, which names a script of the original's image; Claude Code takes
//! `ANTHROPIC_AUTH_TOKEN` as well.

use super::{ApiProxyPlan, Provider};
use crate::host::Variables;
use crate::plan::addresses;

/// Placeholders. Programs check the form of a key before they use it, so each has the form of its kind.
const OPENAI: &str = "sk-placeholder-for-api-proxy";
const ANTHROPIC: &str = "sk-ant-placeholder-key-for-credential-isolation";
const COPILOT: &str = "ghu_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const GEMINI: &str = "gemini-api-key-placeholder-for-credential-isolation";
const GOOGLE: &str = "google-api-key-placeholder-for-credential-isolation";

/// Models that Copilot's client asks by another protocol than the rest.
const RESPONSES_MODELS: [&str; 2] = ["gpt-5", "o3"];

/// Whether a text is one of the placeholders.
pub(super) fn is_placeholder(text: &str) -> bool {
    [OPENAI, ANTHROPIC, COPILOT, GEMINI, GOOGLE].contains(&text)
}

/// The variables for the services that are served. `caller` has the caller's variables, `known` those that the command
/// gets otherwise.
pub fn variables(plan: &ApiProxyPlan, caller: &Variables, known: &Variables) -> Variables {
    let mut variables = Variables::new();
    let mut set = |name: &str, value: &str| variables.insert(name.to_owned(), value.to_owned());
    set("AWF_API_PROXY_IP", &addresses::API_PROXY.to_string());
    for route in &plan.routes {
        let url = route.provider.url();
        match route.provider {
            Provider::OpenAi => {
                set("OPENAI_BASE_URL", &url);
                set("OPENAI_API_KEY", OPENAI);
                set("CODEX_API_KEY", OPENAI);
            }
            Provider::Anthropic => {
                set("ANTHROPIC_BASE_URL", &url);
                // Not ANTHROPIC_API_KEY: with it clients ask their user whether to trust it.
                set("ANTHROPIC_AUTH_TOKEN", ANTHROPIC);
            }
            Provider::Copilot => {
                set("COPILOT_API_URL", &url);
                set("COPILOT_PROVIDER_BASE_URL", &url);
                set("COPILOT_TOKEN", COPILOT);
                set("COPILOT_OFFLINE", "true");
                for name in route.provider.variables() {
                    if caller.get(*name).is_some_and(|value| !value.is_empty()) {
                        set(name, COPILOT);
                    }
                }
                let model = [known, caller].into_iter().find_map(|from| from.get("COPILOT_MODEL"));
                let starts =
                    |model: &String| RESPONSES_MODELS.iter().any(|name| model.starts_with(name));
                if model.is_some_and(starts) {
                    set("COPILOT_PROVIDER_WIRE_API", "responses");
                }
            }
            Provider::Gemini => {
                set("GOOGLE_GEMINI_BASE_URL", &url);
                set("GEMINI_API_BASE_URL", &url);
                set("GEMINI_API_KEY", GEMINI);
                set("AWF_GEMINI_ENABLED", "1");
            }
            Provider::Vertex => {
                set("GOOGLE_VERTEX_BASE_URL", &url);
                set("GOOGLE_API_KEY", GOOGLE);
            }
        }
    }
    variables
}
