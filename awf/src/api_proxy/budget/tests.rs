//! Tests of the counts.

use super::*;
use crate::cli::{Amount, Price};
use crate::plan::api_proxy::sample;

fn ledger(budgets: Budgets) -> Arc<Ledger> {
    let mut plan = sample(&[]);
    plan.budgets = budgets;
    Ledger::new(&plan)
}

fn run(model: Option<&str>) -> Asked<'_> {
    Asked { provider: Provider::OpenAi, model, is_run: true, has_body: true }
}

fn usage(input: u64, output: u64) -> Usage {
    Usage { input, output, told: true, inclusive: true, ..Usage::default() }
}

/// The rule by which a request is refused.
fn rule(ledger: &Arc<Ledger>, asked: Asked<'_>) -> Option<&'static str> {
    ledger.admit(asked).err().map(|refusal| refusal.rule)
}

#[test]
fn without_budgets_everything_passes_but_the_hard_cap() {
    let ledger = ledger(Budgets::default());
    assert_eq!(rule(&ledger, run(Some("new-model"))), None);
    assert_eq!(rule(&ledger, run(None)), None);
    // 15 dollars a million: 100 dollars are used up.
    ledger.charge(Provider::OpenAi, Some("claude-sonnet-4"), &usage(0, 6_666_666));
    assert_eq!(rule(&ledger, run(None)), None);
    ledger.charge(Provider::OpenAi, Some("claude-sonnet-4"), &usage(0, 1));
    assert_eq!(rule(&ledger, run(None)), Some("budget-ai-credits"));
    let refusal = ledger.admit(run(None)).unwrap_err();
    assert!(format!("{refusal:?}").contains("hard_cap"), "{refusal:?}");
}

#[test]
fn runs_are_counted_while_they_are_under_way() {
    let ledger = ledger(Budgets { runs: Some(2), ..Budgets::default() });
    let first = ledger.admit(run(None)).unwrap();
    let second = ledger.admit(run(None)).unwrap();
    assert_eq!(rule(&ledger, run(None)), Some("budget-runs"));
    drop(second);
    ledger.answered(500, true);
    assert_eq!(rule(&ledger, run(None)), None);
    ledger.answered(200, true);
    drop(first);
    assert_eq!(rule(&ledger, run(None)), None);
    ledger.answered(200, true);
    assert_eq!(rule(&ledger, run(None)), Some("budget-runs"));
    let refusal = ledger.admit(run(None)).unwrap_err();
    assert_eq!(refusal.status, hyper::StatusCode::TOO_MANY_REQUESTS);
}

#[test]
fn misses_count_in_a_row_and_denials_altogether() {
    let ledger =
        ledger(Budgets { cache_misses: Some(2), permission_denied: Some(2), ..Budgets::default() });
    let charge = |usage: &Usage| ledger.charge(Provider::OpenAi, None, usage);
    charge(&usage(5, 1));
    charge(&Usage { cache_read: 3, ..usage(5, 1) });
    charge(&usage(0, 1));
    charge(&usage(5, 1));
    assert_eq!(rule(&ledger, run(None)), None);
    charge(&usage(5, 1));
    assert_eq!(rule(&ledger, run(None)), Some("budget-cache-misses"));
    charge(&Usage { cache_read: 3, ..usage(5, 1) });
    ledger.answered(401, true);
    ledger.answered(200, true);
    assert_eq!(rule(&ledger, run(None)), None);
    ledger.answered(403, false);
    assert_eq!(rule(&ledger, run(None)), Some("budget-permission-denied"));
}

#[test]
fn tokens_have_weights_and_models_too() {
    let budgets = Budgets {
        effective_tokens: Some(1000),
        multipliers: [
            ("claude-opus-4.7".to_owned(), Amount(27.0)),
            ("gpt-4o".to_owned(), Amount(2.0)),
        ]
        .into(),
        multiplier_cap: Some(Amount(5.0)),
        ..Budgets::default()
    };
    let ledger = ledger(budgets);
    let spent = Usage { cache_read: 100, reasoning: 5, ..usage(40, 10) };
    let cost = ledger.charge(Provider::OpenAi, Some("gpt-4o-2024"), &spent);
    // 2 * (40 + 10 + 40 + 20)
    assert_eq!(cost.effective_tokens_this_response, Some(220.0));
    assert_eq!(rule(&ledger, run(Some("gpt-4o-mini"))), None);
    for model in ["claude-opus-4.7-20260501", "copilot/Claude-Opus-4.7", "unknown"] {
        assert_eq!(rule(&ledger, run(Some(model))), Some("model-multiplier"), "{model}");
    }
    assert_eq!(rule(&ledger, run(None)), Some("model-multiplier"));
    let list = Asked { is_run: false, has_body: false, ..run(None) };
    assert_eq!(rule(&ledger, list), None);
    ledger.charge(Provider::OpenAi, Some("gpt-4o"), &usage(390, 0));
    assert_eq!(rule(&ledger, list), Some("budget-effective-tokens"));
}

#[test]
fn credits_are_cents_and_a_model_without_price_is_refused() {
    let one = Price {
        input: Amount(1.0),
        cached: Amount(0.1),
        written: Amount(2.0),
        output: Amount(4.0),
    };
    let mut budgets = Budgets { credits: Some(Amount(1.0)), ..Budgets::default() };
    budgets.prices.insert("openai".to_owned(), [("own".to_owned(), one)].into());
    let ledger = ledger(budgets);
    assert_eq!(rule(&ledger, run(Some("new"))), Some("model-unpriced"));
    assert_eq!(rule(&ledger, run(Some("own"))), None);
    assert_eq!(rule(&ledger, run(None)), None);
    let inclusive = Usage { cache_read: 600, cache_write: 100, ..usage(1000, 500) };
    // 300 + 60 + 200 + 2000 dollars of a million.
    let cost = ledger.charge(Provider::OpenAi, Some("own"), &inclusive);
    assert_eq!(cost.ai_credits_this_response, Some(0.256));
    let additive = Usage { inclusive: false, ..inclusive };
    let cost = ledger.charge(Provider::OpenAi, Some("own"), &additive);
    assert_eq!(cost.ai_credits_this_response, Some(0.326));
    assert_eq!(cost.ai_credits_total, Some(0.582));
    ledger.charge(Provider::OpenAi, Some("own"), &usage(10_000, 0));
    assert_eq!(rule(&ledger, run(Some("own"))), Some("budget-ai-credits"));
    assert_eq!(ledger.reflect()["ai_credits"]["remaining_ai_credits"], 0.0);
    let report = ledger.report();
    assert!(report[0].starts_with("API proxy: 1 request refused: the AI credits"), "{report:?}");
}

#[test]
fn models_are_permitted_by_name() {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let permits = |allowed: Option<&[&str]>, disallowed: &[&str], model: &str| {
        let allowed = allowed.map(list);
        let budgets = Budgets { allowed, disallowed: list(disallowed), ..Budgets::default() };
        let ledger = ledger(budgets);
        ledger.permits(Provider::Copilot, model)
    };
    assert!(permits(None, &[], "auto"));
    assert!(permits(Some(&["claude-*"]), &[], "Claude-x"));
    assert!(permits(Some(&["copilot/claude-*"]), &[], "claude-x"));
    assert!(!permits(Some(&["openai/*"]), &[], "claude-x"));
    assert!(!permits(Some(&["claude-*"]), &["*opus*"], "claude-opus-4"));
    assert!(!permits(Some(&[]), &[], "x"));
    assert!(!permits(Some(&["*"]), &[], "auto"));
    assert!(!permits(None, &["x"], "auto"));
    assert!(permits(Some(&["auto"]), &[], "auto"));
    let ledger = ledger(Budgets { disallowed: list(&["x"]), ..Budgets::default() });
    assert_eq!(rule(&ledger, run(Some(" X "))), Some("model-policy"));
    assert_eq!(rule(&ledger, run(None)), Some("model-policy"));
    assert_eq!(rule(&ledger, run(Some("y"))), None);
}

#[test]
fn patterns() {
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("*", "", true),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c-b", false),
        ("ab*bc", "abc", false),
        ("*sonnet*", "claude-sonnet-4", true),
    ] {
        assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
    }
}
