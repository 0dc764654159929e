//! What may still be asked of the providers, and what has been used.
//!
//! Owns the counts of a run. Takes each request before it is sent and each answer's usage after it, gives leave or a
//! [`Refusal`] in the original's words, in the original's order. A count is checked before and charged after an answer, since
//! nobody knows earlier what one costs; only runs are counted while they are under way. Must never let a request through when
//! the counts cannot be read.

mod answers;
mod prices;
mod rates;
pub(super) mod steering;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::models::glob;
use super::refusal::Refusal;
use super::usage::Usage;
use super::usage::log::Cost;
use crate::cli::Budgets;
use crate::observe::rules;
use crate::plan::api_proxy::{ApiProxyPlan, Provider};
pub(super) use prices::is_called;
use rates::Meter;
use steering::Warnings;

/// Credits that no run may use, whatever is said, the original's: 100 dollars.
const HARD_CAP: f64 = 10_000.0;

/// A request, as far as budgets care.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) provider: Provider,
    /// The model it names.
    pub(super) model: Option<&'a str>,
    /// Whether a model is to answer it.
    pub(super) is_run: bool,
    /// Whether it may hold the name of a model: it has a body.
    pub(super) has_body: bool,
}

/// What was used.
#[derive(Debug, Default)]
struct Used {
    effective: f64,
    credits: f64,
    runs: u64,
    /// Runs whose answer is not there yet.
    under_way: u64,
    misses: u64,
    denied: u64,
    /// Refused requests by rule.
    refused: BTreeMap<&'static str, u64>,
    warnings: Warnings,
}

/// The counts of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    budgets: Budgets,
    timeout: Option<Duration>,
    began: Instant,
    meter: Meter,
    used: Mutex<Used>,
}

/// A run that is under way. It counts when it is answered, and no longer when it is dropped.
#[derive(Debug)]
pub(super) struct Run(Arc<Ledger>);

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(mut used) = self.0.used() {
            used.under_way = used.under_way.saturating_sub(1);
        }
    }
}

impl Ledger {
    pub(super) fn new(plan: &ApiProxyPlan) -> Arc<Self> {
        Arc::new(Self {
            meter: Meter::new(plan.budgets.rates),
            budgets: plan.budgets.clone(),
            timeout: plan.timeout,
            began: Instant::now(),
            used: Mutex::default(),
        })
    }

    fn used(&self) -> Option<MutexGuard<'_, Used>> {
        self.used.lock().ok()
    }

    fn seconds(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    /// Whether the model of a request must be known before it is sent.
    pub(super) fn judges_models(&self) -> bool {
        let budgets = &self.budgets;
        budgets.credits.is_some()
            || budgets.multiplier_cap.is_some()
            || budgets.allowed.is_some()
            || !budgets.disallowed.is_empty()
    }

    /// Whether what an answer uses must be known.
    pub(super) fn counts_tokens(&self) -> bool {
        let budgets = &self.budgets;
        budgets.credits.is_some()
            || budgets.effective_tokens.is_some()
            || budgets.cache_misses.is_some()
    }

    pub(super) fn steers(&self) -> bool {
        self.budgets.steering
    }

    /// Counts a request whose body has so many bytes, as far as it says.
    pub(super) fn meter(&self, provider: Provider, bytes: u64) -> Result<(), Refusal> {
        self.meter
            .take(provider, bytes, self.seconds())
            .map_err(|exceeded| self.note(answers::rate(provider, &exceeded)))
    }

    /// Counts bytes of a body that did not say.
    pub(super) fn meter_bytes(&self, provider: Provider, bytes: u64) {
        self.meter.add_bytes(provider, bytes);
    }

    /// Judges a request. The run counts from now on.
    pub(super) fn admit(self: &Arc<Self>, asked: Asked<'_>) -> Result<Option<Run>, Refusal> {
        let mut used = self.used.lock().map_err(|_poisoned| Refusal::INTERNAL)?;
        let judged = self.judge_counts(&used, asked.is_run);
        let judged = judged.map_or_else(|| self.judge_model(asked), Some);
        if let Some(refusal) = judged {
            *used.refused.entry(refusal.rule).or_default() += 1;
            return Err(refusal);
        }
        if !asked.is_run {
            return Ok(None);
        }
        used.under_way = used.under_way.saturating_add(1);
        drop(used);
        Ok(Some(Run(Arc::clone(self))))
    }

    fn judge_counts(&self, used: &Used, is_run: bool) -> Option<Refusal> {
        let budgets = &self.budgets;
        if let Some(most) = budgets.effective_tokens
            && used.effective >= float(most)
        {
            return Some(answers::effective_tokens(used.effective, most));
        }
        if let Some(most) = budgets.runs {
            let under_way = if is_run { used.under_way } else { 0 };
            if used.runs.saturating_add(under_way) >= most {
                return Some(answers::runs(used.runs, most));
            }
        }
        if let Some(most) = budgets.cache_misses.filter(|most| used.misses >= *most) {
            return Some(answers::cache_misses(used.misses, most));
        }
        if let Some(most) = budgets.permission_denied.filter(|most| used.denied >= *most) {
            return Some(answers::permission_denied(used.denied, most));
        }
        let most = self.most_credits();
        (used.credits >= most).then(|| answers::credits(used.credits, most, most >= HARD_CAP))
    }

    fn most_credits(&self) -> f64 {
        self.budgets.credits.map_or(HARD_CAP, |credits| credits.0.min(HARD_CAP))
    }

    /// Judges the model by name. One that must be judged and is not named is refused.
    fn judge_model(&self, asked: Asked<'_>) -> Option<Refusal> {
        let budgets = &self.budgets;
        if !asked.has_body {
            return None;
        }
        if let Some(cap) = budgets.multiplier_cap {
            match asked.model {
                Some(model) => {
                    let weight = self.multiplier(model);
                    if weight > cap.0 {
                        return Some(answers::multiplier(model, weight, cap.0));
                    }
                }
                None if asked.is_run => return Some(answers::unverifiable(cap.0)),
                None => {}
            }
        }
        let has_policy = budgets.allowed.is_some() || !budgets.disallowed.is_empty();
        match asked.model {
            Some(model) if has_policy && !self.permits(asked.provider, model) => {
                return Some(answers::policy(Some(model)));
            }
            None if has_policy && asked.is_run => return Some(answers::policy(None)),
            _ => {}
        }
        let model = asked.model.filter(|_model| budgets.credits.is_some())?;
        let price = prices::find(budgets, asked.provider, Some(model), 0);
        price.is_none().then(|| answers::unpriced(model))
    }

    /// Whether the lists of models permit one. What is on both is denied; `auto`, which may become anything, must be allowed by
    /// its name.
    pub(super) fn permits(&self, provider: Provider, model: &str) -> bool {
        let budgets = &self.budgets;
        let full = format!("{}/{model}", provider.name());
        let fits = |pattern: &String| glob(pattern, model) || glob(pattern, &full);
        if budgets.disallowed.iter().any(fits) {
            return false;
        }
        let named = |pattern: &String| pattern.rsplit('/').next() == Some("auto");
        if model.eq_ignore_ascii_case("auto") {
            let limited = budgets.allowed.is_some() || !budgets.disallowed.is_empty();
            return !limited || budgets.allowed.iter().flatten().any(named);
        }
        budgets.allowed.as_ref().is_none_or(|allowed| allowed.iter().any(fits))
    }

    /// The weight of a model: its own, that of the longest name that it continues after a `-`, the default, or the largest
    /// there is.
    fn multiplier(&self, model: &str) -> f64 {
        let weights = &self.budgets.multipliers;
        let model = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
        let continued = |name: &str| {
            let rest = model.strip_prefix(&name.to_ascii_lowercase());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let named = weights.iter().filter(|(name, _weight)| continued(name));
        let own = named.max_by_key(|(name, _weight)| name.len()).map(|(_name, weight)| weight.0);
        let other = || self.budgets.default_multiplier.map(|weight| weight.0);
        let largest = || weights.values().map(|weight| weight.0).reduce(f64::max);
        own.or_else(other).or_else(largest).unwrap_or(1.0)
    }

    /// Counts the status of an answer.
    pub(super) fn answered(&self, status: u16, is_run: bool) {
        let Some(mut used) = self.used() else { return };
        if matches!(status, 401 | 403) {
            used.denied = used.denied.saturating_add(1);
        }
        if is_run && (200..300).contains(&status) {
            used.runs = used.runs.saturating_add(1);
        }
    }

    /// Charges what an answer used.
    pub(super) fn charge(&self, provider: Provider, model: Option<&str>, usage: &Usage) -> Cost {
        let budgets = &self.budgets;
        let names = [usage.model.as_deref(), model];
        let Some(mut used) = self.used() else { return Cost::default() };
        if usage.cache_read > 0 {
            used.misses = 0;
        } else if usage.told && usage.input > 0 {
            used.misses = used.misses.saturating_add(1);
        }
        let mut cost = Cost::default();
        let weight = names.into_iter().flatten().next().map_or(1.0, |name| self.multiplier(name));
        let tokens = weight * effective(usage);
        used.effective += tokens;
        if budgets.effective_tokens.is_some() {
            cost.effective_tokens_this_response = Some(rounded(tokens));
            cost.effective_tokens_total = Some(rounded(used.effective));
            cost.model_multiplier = Some(weight);
        }
        // An answer may name another model than was asked for: the price of the one that has any.
        let find = |model| prices::find(budgets, provider, model, usage.asked());
        let found = match names {
            [None, None] => find(None),
            names => names.into_iter().flatten().find_map(|name| find(Some(name))),
        };
        if let Some((price, source)) = found {
            let millions = |count: u64, price: f64| float(count) / 1e6 * price;
            let dollars = millions(usage.fresh(), price.input.0)
                + millions(usage.cache_read, price.cached.0)
                + millions(usage.cache_write, price.written.0)
                + millions(usage.answered(), price.output.0);
            let credits = dollars * 100.0;
            used.credits += credits;
            cost.ai_credits_this_response = Some(rounded(credits));
            cost.ai_credits_total = Some(rounded(used.credits));
            cost.ai_credits_pricing_source = Some(source);
            cost.ai_credits_fallback_pricing_used = Some(source == "builtin_fallback");
        }
        drop(used);
        cost
    }

    /// The sentence for the model of the next request, if one is due.
    pub(super) fn warning(&self) -> Option<String> {
        let mut used = self.used()?;
        let share = |used: f64, most: Option<f64>| most.map(|most| used / most);
        let tokens = share(used.effective, self.budgets.effective_tokens.map(float));
        let credits = share(used.credits, self.budgets.credits.map(|_own| self.most_credits()));
        let elapsed = self.began.elapsed().as_secs_f64();
        let time = share(elapsed, self.timeout.map(|timeout| timeout.as_secs_f64()));
        used.warnings.next([tokens, credits, time])
    }

    /// Puts a refusal that was decided elsewhere on the account.
    fn note(&self, refusal: Refusal) -> Refusal {
        if let Some(mut used) = self.used() {
            *used.refused.entry(refusal.rule).or_default() += 1;
        }
        refusal
    }

    /// For `/reflect`, in the original's words.
    pub(super) fn reflect(&self) -> Value {
        let Some(used) = self.used() else { return json!({}) };
        let budgets = &self.budgets;
        let left = |most: Option<u64>, used: u64| most.map(|most| most.saturating_sub(used));
        let credits = budgets.credits.map(|_own| self.most_credits());
        json!({
            "model_aliases": (!budgets.aliases.is_empty()).then_some(&budgets.aliases),
            "ai_credits": {
                "enabled": credits.is_some(),
                "max_ai_credits": credits,
                "total_ai_credits": rounded(used.credits),
                "remaining_ai_credits": credits.map(|most| rounded((most - used.credits).max(0.0))),
            },
            "effective_tokens": {
                "enabled": budgets.effective_tokens.is_some(),
                "max_effective_tokens": budgets.effective_tokens,
                "total_effective_tokens": rounded(used.effective),
            },
            "runs": {
                "enabled": budgets.runs.is_some(),
                "max_runs": budgets.runs,
                "invocation_count": used.runs,
                "remaining_runs": left(budgets.runs, used.runs),
            },
            "cache_misses": {
                "enabled": budgets.cache_misses.is_some(),
                "max_cache_misses": budgets.cache_misses,
                "consecutive_cache_misses": budgets.cache_misses.map_or(0, |_most| used.misses),
                "remaining_cache_misses": left(budgets.cache_misses, used.misses),
            },
            "permission_denied": {
                "enabled": budgets.permission_denied.is_some(),
                "max_permission_denied": budgets.permission_denied,
                "denied_count": budgets.permission_denied.map_or(0, |_most| used.denied),
            },
        })
    }

    /// For `/health`.
    pub(super) fn rates(&self) -> Value {
        self.meter.health(self.seconds())
    }

    /// What the user should know at the end: which budgets refused how much.
    pub(super) fn report(&self) -> Vec<String> {
        let Some(used) = self.used() else { return Vec::new() };
        let line = |(rule, count): (&&'static str, &u64)| {
            let times = if *count == 1 { "request" } else { "requests" };
            format!("API proxy: {count} {times} refused: {}", rules::about(rule).title)
        };
        used.refused.iter().map(line).collect()
    }
}

/// The weights are the original's.
fn effective(usage: &Usage) -> f64 {
    float(usage.input)
        + 0.1 * float(usage.cache_read)
        + 4.0 * (float(usage.output) + float(usage.reasoning))
}

#[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

/// To six decimals, like the original's.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests;
