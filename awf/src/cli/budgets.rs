//! How much the command may ask of the providers: `--rate-limit-*`, `--max-*`, and the keys of the configuration file
//! under `apiProxy` that no option stands for.
//!
//! Owns their notation and bounds. Takes the options and the file, gives [`Budgets`]. What a budget does is
//! `api_proxy::budget`'s. Must never let a number through that the file or the option did not mean.

use std::collections::BTreeMap;

use super::config::schema::{ApiProxy, Pricing};
use super::options::{Args, BudgetArgs};
use super::usage::UsageError;

/// Rates that hold as soon as another one is given, the original's: requests a minute and an hour, bytes a minute.
const RATES: Rates =
    Rates { requests_a_minute: 600, requests_an_hour: 10_000, bytes_a_minute: 50 << 20 };
/// Dollars for one token above which a price was meant for a million of them.
const DEAR: f64 = 0.01;

/// A number that is finite, and so equal to itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub struct Amount(pub f64);

impl Eq for Amount {}

/// Everything that was said of it. The default is that nothing is limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Answers of models.
    pub runs: Option<u64>,
    /// Credits, a cent each.
    pub credits: Option<Amount>,
    /// Weighted tokens.
    pub effective_tokens: Option<u64>,
    /// Answers in a row without anything from a cache.
    pub cache_misses: Option<u64>,
    /// Answers 401 or 403.
    pub permission_denied: Option<u64>,
    /// Weights of models by name.
    pub multipliers: BTreeMap<String, Amount>,
    /// Weight of the others.
    pub default_multiplier: Option<Amount>,
    /// Largest weight that may be asked.
    pub multiplier_cap: Option<Amount>,
    /// Patterns of models; no other may be asked.
    pub allowed: Option<Vec<String>>,
    /// Patterns of models that may not be asked.
    pub disallowed: Vec<String>,
    /// Rates, for each provider.
    pub rates: Option<Rates>,
    /// Whether models are told when little is left.
    pub steering: bool,
    /// Prices of models that nobody knows.
    pub default_price: Option<Price>,
    /// Prices by provider and model.
    pub prices: BTreeMap<String, BTreeMap<String, Price>>,
    /// What stands for a list of models, by name.
    pub aliases: BTreeMap<String, Vec<String>>,
}

/// Rates of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Requests a minute.
    pub requests_a_minute: u64,
    /// Requests an hour.
    pub requests_an_hour: u64,
    /// Bytes of bodies a minute.
    pub bytes_a_minute: u64,
}

/// Price of a model, in dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Of what is asked.
    pub input: Amount,
    /// Of what is asked and was in the cache.
    pub cached: Amount,
    /// Of what is asked and put into the cache.
    pub written: Amount,
    /// Of what is answered.
    pub output: Amount,
}

impl Budgets {
    /// Reads options and file.
    pub(super) fn resolve(args: &Args) -> Result<Self, UsageError> {
        let (budgets, file) = (&args.budgets, &args.file.api_proxy);
        let credits = file.max_ai_credits.as_ref();
        let mut multipliers = BTreeMap::new();
        for (model, weight) in file.model_multipliers.iter().flatten() {
            multipliers.insert(model.clone(), positive("apiProxy.modelMultipliers", &weight.0)?);
        }
        let typed = budgets.max_model_multiplier.as_deref().unwrap_or_default();
        multipliers.extend(weights(typed)?);
        let default_multiplier = file.default_model_multiplier.as_ref();
        let cap = budgets.max_model_multiplier_cap.as_deref();
        let price = file.default_ai_credits_pricing.as_ref().map(default_price).transpose()?;
        Ok(Self {
            runs: file.max_turns.or(file.max_runs),
            credits: credits
                .map(|number| positive("apiProxy.maxAiCredits", &number.0))
                .transpose()?,
            effective_tokens: file.max_effective_tokens,
            cache_misses: count("--max-cache-misses", budgets.max_cache_misses.as_deref())?,
            permission_denied: count(
                "--max-permission-denied",
                budgets.max_permission_denied.as_deref(),
            )?,
            multipliers,
            default_multiplier: default_multiplier
                .map(|number| positive("apiProxy.defaultModelMultiplier", &number.0))
                .transpose()?,
            multiplier_cap: cap
                .map(|text| amount("--max-model-multiplier-cap", text, text))
                .transpose()?,
            allowed: patterns("apiProxy.allowedModels", file.allowed_models.as_ref())?,
            disallowed: patterns("apiProxy.disallowedModels", file.disallowed_models.as_ref())?
                .unwrap_or_default(),
            rates: rates(budgets)?,
            steering: budgets.enable_token_steering,
            default_price: price,
            prices: overlay(file)?,
            aliases: file.models.clone().unwrap_or_default(),
        })
    }
}

/// A positive integer. The words are the original's.
fn count(flag: &'static str, text: Option<&str>) -> Result<Option<u64>, UsageError> {
    let Some(text) = text else { return Ok(None) };
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
    match number.flatten() {
        Some(number @ 1..) => Ok(Some(number)),
        _ => Err(UsageError::value(flag, text, "must be a positive integer", "write 1 or more")),
    }
}

fn amount(flag: &'static str, text: &str, shown: &str) -> Result<Amount, UsageError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let number = text.parse().ok().filter(|number: &f64| plain && number.is_finite());
    number.filter(|number| *number > 0.0).map(Amount).ok_or_else(|| {
        UsageError::value(flag, shown, "not a number above 0", "write a number such as 5 or 0.5")
    })
}

fn positive(flag: &'static str, number: &serde_json::Number) -> Result<Amount, UsageError> {
    let text = number.to_string();
    amount(flag, &text, &text)
}

/// `MODEL:NUMBER,...`, split at the last colon: names of models may have one.
fn weights(list: &str) -> Result<Vec<(String, Amount)>, UsageError> {
    const FLAG: &str = "--max-model-multiplier";
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| match entry.rsplit_once(':') {
            Some((model, number)) if !model.trim().is_empty() => {
                Ok((model.trim().to_owned(), amount(FLAG, number.trim(), entry)?))
            }
            _ => {
                let remedy = "write MODEL:NUMBER, such as claude-opus-4.7:27";
                Err(UsageError::value(FLAG, entry, "not a model with its weight", remedy))
            }
        })
        .collect()
}

fn rates(args: &BudgetArgs) -> Result<Option<Rates>, UsageError> {
    let minute = count("--rate-limit-rpm", args.rate_limit_rpm.as_deref())?;
    let hour = count("--rate-limit-rph", args.rate_limit_rph.as_deref())?;
    let bytes = count("--rate-limit-bytes-pm", args.rate_limit_bytes_pm.as_deref())?;
    let given = minute.or(hour).or(bytes).is_some();
    Ok((given && !args.no_rate_limit).then(|| Rates {
        requests_a_minute: minute.unwrap_or(RATES.requests_a_minute),
        requests_an_hour: hour.unwrap_or(RATES.requests_an_hour),
        bytes_a_minute: bytes.unwrap_or(RATES.bytes_a_minute),
    }))
}

/// An empty list of allowed models allows none, as its words say.
fn patterns(
    flag: &'static str,
    list: Option<&Vec<String>>,
) -> Result<Option<Vec<String>>, UsageError> {
    for pattern in list.into_iter().flatten() {
        if pattern.trim().is_empty() {
            let remedy = "write names of models, such as claude-sonnet-*";
            return Err(UsageError::value(flag, pattern, "an empty name", remedy));
        }
    }
    Ok(list.map(|list| list.iter().map(|pattern| pattern.trim().to_owned()).collect()))
}

fn default_price(price: &Pricing) -> Result<Price, UsageError> {
    const FLAG: &str = "apiProxy.defaultAiCreditsPricing";
    let read = |number: &super::config::schema::Price| Amount(number.0.as_f64().unwrap_or(0.0));
    let (Some(input), Some(output)) = (&price.input, &price.output) else {
        let remedy =
            "write dollars for a million tokens, such as {\"input\": 3.0, \"output\": 15.0}";
        return Err(UsageError::value(FLAG, "", "input and output must both be there", remedy));
    };
    let input = read(input);
    Ok(Price {
        cached: price.cached_input.as_ref().map_or(Amount(input.0 * 0.1), read),
        written: price.cache_write.as_ref().map_or(input, read),
        output: read(output),
        input,
    })
}

/// Prices of models by provider, in the shape of models.dev, of which only the prices are read.
fn overlay(file: &ApiProxy) -> Result<BTreeMap<String, BTreeMap<String, Price>>, UsageError> {
    let mut providers = BTreeMap::new();
    for (provider, described) in file.providers.iter().flatten() {
        let mut prices = BTreeMap::new();
        let models = described.get("models").and_then(|models| models.as_object());
        for (model, described) in models.into_iter().flatten() {
            let cost = described.get("cost").and_then(|cost| cost.as_object());
            if let Some(price) = cost.map(|cost| priced(model, cost)).transpose()? {
                prices.insert(model.clone(), price);
            }
        }
        providers.insert(provider.clone(), prices);
    }
    Ok(providers)
}

fn priced(
    model: &str,
    cost: &serde_json::Map<String, serde_json::Value>,
) -> Result<Price, UsageError> {
    let refuse = |problem: String| {
        let remedy = "write dollars for one token, such as \"3e-06\"";
        UsageError::value("apiProxy.providers", model, problem, remedy)
    };
    let read = |name: &str| {
        let Some(value) = cost.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
        let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        match number {
            Some(number) if number >= DEAR => {
                let problem = format!("{number} dollars for one token cannot be meant as {name}");
                Err(refuse(problem))
            }
            Some(number) if number >= 0.0 => Ok(Some(Amount(number * 1e6))),
            _ => Err(refuse(format!("its {name} is no price"))),
        }
    };
    let (Some(input), Some(output)) = (read("input")?, read("output")?) else {
        return Err(refuse("its cost must have input and output".to_owned()));
    };
    Ok(Price {
        cached: read("cache_read")?.unwrap_or(Amount(input.0 * 0.1)),
        written: read("cache_write")?.unwrap_or(input),
        input,
        output,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::schema;

    fn file(json: &str) -> Args {
        let mut args = Args::default();
        let file: schema::File = serde_json::from_str(json).unwrap();
        args.file.api_proxy = file.api_proxy;
        args
    }

    #[track_caller]
    fn refused(args: &Args, start: &str) {
        let sentence = Budgets::resolve(args).unwrap_err().to_string();
        assert!(sentence.starts_with(start), "{sentence}");
    }

    #[test]
    fn nothing_said_is_nothing_limited() {
        assert_eq!(Budgets::resolve(&Args::default()).unwrap(), Budgets::default());
    }

    #[test]
    fn one_rate_brings_the_others() {
        let of = |rpm: &str, off| {
            let rate_limit_rpm = Some(rpm.to_owned());
            rates(&BudgetArgs { rate_limit_rpm, no_rate_limit: off, ..Default::default() })
        };
        assert_eq!(of("7", false).unwrap(), Some(Rates { requests_a_minute: 7, ..RATES }));
        assert_eq!(of("7", true).unwrap(), None);
        for text in ["0", "-1", "", "1.5", "x", "+5", "99999999999999999999"] {
            let sentence = of(text, true).unwrap_err().to_string();
            assert!(sentence.starts_with(&format!("--rate-limit-rpm '{text}': must be")));
        }
    }

    #[test]
    fn the_new_name_of_a_key_beats_the_old() {
        let runs = |json| Budgets::resolve(&file(json)).unwrap().runs;
        assert_eq!(runs(r#"{"apiProxy":{"maxRuns":500}}"#), Some(500));
        assert_eq!(runs(r#"{"apiProxy":{"maxRuns":500,"maxTurns":4}}"#), Some(4));
    }

    #[test]
    fn weights_have_a_model_and_a_number() {
        let found = weights("a:b:2, c : 0.5,").unwrap();
        assert_eq!(found, [("a:b".to_owned(), Amount(2.0)), ("c".to_owned(), Amount(0.5))]);
        for list in ["a", ":2", "a:0", "a:-1", "a:inf", "a:NaN", "a:"] {
            assert!(weights(list).is_err(), "{list}");
        }
        let mut args = file(r#"{"apiProxy":{"modelMultipliers":{"a":1,"b":2}}}"#);
        args.budgets.max_model_multiplier = Some("a:3".to_owned());
        let found = Budgets::resolve(&args).unwrap().multipliers;
        assert_eq!(found, [("a".to_owned(), Amount(3.0)), ("b".to_owned(), Amount(2.0))].into());
        args.budgets.max_model_multiplier_cap = Some("nan".to_owned());
        refused(&args, "--max-model-multiplier-cap 'nan': not a number above 0");
    }

    #[test]
    fn prices_are_of_a_million_or_of_one_token() {
        let args = file(
            r#"{"apiProxy":{"defaultAiCreditsPricing":{"input":0,"output":0},
                "providers":{"copilot":{"models":{"k":{"cost":{"input":"3e-06","output":1.5e-05}}}}}}}"#,
        );
        let found = Budgets::resolve(&args).unwrap();
        assert_eq!(found.default_price.unwrap().written, Amount(0.0));
        let price = found.prices["copilot"]["k"];
        assert_eq!(
            (price.input, price.output, price.written),
            (Amount(3.0), Amount(15.0), price.input)
        );
        refused(
            &file(
                r#"{"apiProxy":{"providers":{"x":{"models":{"k":{"cost":{"input":0.6,"output":2}}}}}}}"#,
            ),
            "apiProxy.providers 'k': 0.6 dollars for one token",
        );
        refused(
            &file(r#"{"apiProxy":{"defaultAiCreditsPricing":{"input":3}}}"#),
            "apiProxy.defaultAiCreditsPricing '': input and output",
        );
    }
}
