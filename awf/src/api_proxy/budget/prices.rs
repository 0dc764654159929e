//! What models cost.
//!
//! Owns the table. Takes the name of a model, gives its price in dollars for a million tokens and where it was found. Must
//! never guess: a model that nobody has priced has no price.

use crate::cli::{Amount, Budgets, Price};
use crate::plan::api_proxy::Provider;

/// List prices of input, cached input, input that is put into a cache, and output: dollars for a million tokens. Collected on
/// 2026-11-28 from public price tables, the latest of which is of October 2026. Anthropic's writes are those of five
/// minutes.
const TABLE: &[(&str, [f64; 4])] = &[
    ("claude-3-haiku", [0.25, 0.03, 0.3, 1.25]),
    ("claude-3-opus", [15.0, 1.5, 18.75, 75.0]),
    ("claude-3-5-haiku", [0.8, 0.08, 1.0, 4.0]),
    ("claude-3-5-sonnet", [3.0, 0.3, 3.75, 15.0]),
    ("claude-3-7-sonnet", [3.0, 0.3, 3.75, 15.0]),
    ("claude-fable-5", [10.0, 1.0, 12.5, 50.0]),
    ("claude-haiku-4-5", [1.0, 0.1, 1.25, 5.0]),
    ("claude-opus-4", [15.0, 1.5, 18.75, 75.0]),
    ("claude-opus-4-1", [15.0, 1.5, 18.75, 75.0]),
    ("claude-opus-4-5", [5.0, 0.5, 6.25, 25.0]),
    ("claude-opus-4-6", [5.0, 0.5, 6.25, 25.0]),
    ("claude-opus-4-7", [5.0, 0.5, 6.25, 25.0]),
    ("claude-opus-4-8", [5.0, 0.5, 6.25, 25.0]),
    ("claude-opus-5", [5.0, 0.5, 6.25, 25.0]),
    ("claude-sonnet-4", [3.0, 0.3, 3.75, 15.0]),
    ("claude-sonnet-4-5", [3.0, 0.3, 3.75, 15.0]),
    ("claude-sonnet-4-6", [3.0, 0.3, 3.75, 15.0]),
    // 2 and 10 for some months after it came out; the dearer of the two, so that no budget is exceeded.
    ("claude-sonnet-5", [3.0, 0.3, 3.75, 15.0]),
    ("gemini-2-0-flash", [0.1, 0.025, 0.1, 0.4]),
    ("gemini-2-5-flash", [0.3, 0.075, 0.3, 2.5]),
    ("gemini-2-5-flash-lite", [0.1, 0.025, 0.1, 0.4]),
    ("gemini-2-5-pro", [1.25, 0.125, 1.25, 10.0]),
    ("gemini-3-flash", [0.5, 0.05, 0.5, 3.0]),
    ("gemini-3-flash-preview", [0.5, 0.05, 0.5, 3.0]),
    ("gemini-3-pro-preview", [2.0, 0.2, 2.0, 12.0]),
    ("gemini-3-1-pro", [2.0, 0.2, 2.0, 12.0]),
    ("gemini-3-1-pro-preview", [2.0, 0.2, 2.0, 12.0]),
    ("gemini-3-5-flash", [1.5, 0.15, 1.5, 9.0]),
    ("gpt-4-1", [2.0, 0.5, 2.0, 8.0]),
    ("gpt-4-1-mini", [0.4, 0.1, 0.4, 1.6]),
    ("gpt-4-1-nano", [0.1, 0.025, 0.1, 0.4]),
    ("gpt-4o", [2.5, 1.25, 2.5, 10.0]),
    ("gpt-4o-mini", [0.15, 0.075, 0.15, 0.6]),
    ("gpt-5", [1.25, 0.125, 1.25, 10.0]),
    ("gpt-5-codex", [1.25, 0.125, 1.25, 10.0]),
    ("gpt-5-mini", [0.25, 0.025, 0.25, 2.0]),
    ("gpt-5-nano", [0.05, 0.005, 0.05, 0.4]),
    ("gpt-5-pro", [15.0, 15.0, 15.0, 120.0]),
    ("gpt-5-1", [1.25, 0.125, 1.25, 10.0]),
    ("gpt-5-1-codex", [1.25, 0.125, 1.25, 10.0]),
    ("gpt-5-1-codex-max", [1.25, 0.125, 1.25, 10.0]),
    ("gpt-5-1-codex-mini", [0.25, 0.025, 0.25, 2.0]),
    ("gpt-5-2", [1.75, 0.175, 1.75, 14.0]),
    ("gpt-5-2-codex", [1.75, 0.175, 1.75, 14.0]),
    ("gpt-5-3-codex", [1.75, 0.175, 1.75, 14.0]),
    ("gpt-5-4", [2.5, 0.25, 2.5, 15.0]),
    ("gpt-5-4-mini", [0.75, 0.075, 0.75, 4.5]),
    ("gpt-5-4-nano", [0.2, 0.02, 0.2, 1.25]),
    ("gpt-5-4-pro", [30.0, 30.0, 30.0, 180.0]),
    ("gpt-5-5", [5.0, 0.5, 5.0, 30.0]),
    ("gpt-5-5-pro", [30.0, 30.0, 30.0, 180.0]),
    ("o1", [15.0, 7.5, 15.0, 60.0]),
    ("o3", [2.0, 0.5, 2.0, 8.0]),
    ("o3-mini", [1.1, 0.55, 1.1, 4.4]),
    ("o4-mini", [1.1, 0.275, 1.1, 4.4]),
    ("raptor-mini", [0.25, 0.025, 0.25, 2.0]),
];

/// Tokens of a question above which some models cost more, and by how much: twice the input, half as much again the output.
const LONG: (u64, f64, f64) = (200_000, 2.0, 1.5);
/// Models that do.
const LONG_MODELS: [&str; 6] = [
    "claude-sonnet-4",
    "claude-sonnet-4-5",
    "gemini-2-5-pro",
    "gemini-3-pro-preview",
    "gemini-3-1-pro",
    "gemini-3-1-pro-preview",
];

/// What a model costs that neither question nor answer named: as much as a Claude Sonnet, like the original.
const NAMELESS: [f64; 4] = [3.0, 0.3, 3.75, 15.0];

/// Where a price was found, in the original's words.
pub(super) type Source = &'static str;

/// The price of a model, for a question of so many tokens.
pub(super) fn find(
    budgets: &Budgets,
    provider: Provider,
    model: Option<&str>,
    asked: u64,
) -> Option<(Price, Source)> {
    let Some(model) = model.filter(|model| !model.is_empty()) else {
        return Some((price(NAMELESS), "builtin_fallback"));
    };
    let name = canonical(model);
    let own = |named: &str| is_called(provider, named);
    let overlay =
        budgets.prices.iter().filter(|(named, _prices)| own(named)).find_map(|(_named, prices)| {
            let exact = prices.get(model);
            exact.or_else(|| Some(prices.iter().find(|(other, _)| canonical(other) == name)?.1))
        });
    if let Some(price) = overlay {
        return Some((*price, "provider_overlay"));
    }
    let undated = without_date(&name);
    let known = TABLE.iter().find(|(known, _price)| *known == name || *known == undated);
    if let Some((known, [input, cached, written, output])) = known {
        let is_long = asked > LONG.0 && LONG_MODELS.contains(known);
        let (more, most) = if is_long { (LONG.1, LONG.2) } else { (1.0, 1.0) };
        return Some((
            price([input * more, cached * more, written * more, output * most]),
            "curated",
        ));
    }
    budgets.default_price.map(|price| (price, "configured_default"))
}

fn price([input, cached, written, output]: [f64; 4]) -> Price {
    let [input, cached, written, output] = [input, cached, written, output].map(Amount);
    Price { input, cached, written, output }
}

/// Whether a name in a configuration means this provider.
pub(in crate::api_proxy) fn is_called(provider: Provider, name: &str) -> bool {
    let others: &[&str] = match provider {
        Provider::OpenAi | Provider::Anthropic => &[],
        Provider::Copilot => &["github-copilot"],
        Provider::Gemini => &["google"],
        Provider::Vertex => &["google-vertex", "google"],
    };
    name.eq_ignore_ascii_case(provider.name())
        || others.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// The name without its provider, in lower case, with one separator: `copilot/claude-sonnet-4.6` is `claude-sonnet-4-6`.
fn canonical(model: &str) -> String {
    let name = model.rsplit('/').next().unwrap_or_default().trim().to_ascii_lowercase();
    name.replace(['.', '_', '@'], "-")
}

/// The name without `-20250929`, `-2025-09-29` or `-latest` at its end.
fn without_date(name: &str) -> &str {
    if let Some(name) = name.strip_suffix("-latest") {
        return name;
    }
    let stem = name.trim_end_matches(|byte: char| byte.is_ascii_digit() || byte == '-');
    let date = name.get(stem.len()..).unwrap_or_default();
    let count = |groups: &[usize]| {
        let from = groups.iter().sum::<usize>() + groups.len();
        let start = date.len().checked_sub(from)?;
        let found = date.get(start..)?.strip_prefix('-')?.split('-').map(str::len);
        found.eq(groups.iter().copied()).then(|| name.len() - from)
    };
    let end = count(&[8]).or_else(|| count(&[4, 2, 2]));
    end.and_then(|end| name.get(..end)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(model: &str, asked: u64) -> Option<f64> {
        let found = find(&Budgets::default(), Provider::Copilot, Some(model), asked);
        found.map(|(price, _source)| price.input.0)
    }

    #[test]
    fn one_model_has_many_names() {
        for name in [
            "copilot/claude-sonnet-4.6",
            "claude_sonnet_4_6",
            "Claude-Sonnet-4-6",
            "claude-sonnet-4-6-20260101",
            "claude-sonnet-4-6@20260101",
            "claude-sonnet-4-6-2026-01-01",
            "claude-sonnet-4-6-latest",
        ] {
            assert_eq!(input(name, 0), Some(3.0), "{name}");
        }
        assert_eq!(input("gpt-4o-2024-08-06", 0), Some(2.5));
        assert_eq!(input("claude-opus-4-20250514", 0), Some(15.0));
    }

    #[test]
    fn a_model_is_not_priced_by_its_family() {
        for name in ["gpt-5-turbo", "gpt-5-2026", "claude-opus", "gpt-5-pro-max", "x"] {
            assert_eq!(input(name, 0), None, "{name}");
        }
        assert_eq!(input("gpt-5-pro", 0), Some(15.0));
    }

    #[test]
    fn a_long_question_costs_more() {
        assert_eq!(input("gemini-2.5-pro", 200_000), Some(1.25));
        assert_eq!(input("gemini-2.5-pro", 200_001), Some(2.5));
        assert_eq!(input("gpt-5", 900_000), Some(1.25));
    }

    #[test]
    fn what_the_caller_says_comes_first_and_last() {
        let own = price([9.0, 9.0, 9.0, 9.0]);
        let mut budgets = Budgets { default_price: Some(price([1.0; 4])), ..Budgets::default() };
        budgets.prices.insert("github-copilot".into(), [("gpt-5".to_owned(), own)].into());
        let source = |provider, model| find(&budgets, provider, model, 0).unwrap().1;
        assert_eq!(source(Provider::Copilot, Some("gpt-5")), "provider_overlay");
        assert_eq!(source(Provider::OpenAi, Some("gpt-5")), "curated");
        assert_eq!(source(Provider::OpenAi, Some("new")), "configured_default");
        assert_eq!(source(Provider::OpenAi, None), "builtin_fallback");
    }
}
