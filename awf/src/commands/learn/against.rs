//! The difference between what was needed and a list that is there already.
//!
//! Takes the proposal and the entries of the list, gives what is missing, unused and used. Pure; [`Policy`] decides what
//! covers what.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use serde::Serialize;

use super::proposal::{Needs, Proposal, allows};
use crate::policy::{Policy, Protocol, Rule};

/// The difference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// Proposed entries that the list does not cover.
    pub missing: Vec<String>,
    /// Entries of the list that nothing needed, or that others cover.
    pub unused: Vec<String>,
    /// Entries of the list that were needed.
    pub used: Vec<String>,
}

impl Difference {
    /// Compares.
    pub(super) fn of(proposal: &Proposal, needs: &Needs, list: &[String]) -> Result<Self> {
        let policy = match Policy::resolve(list, &[]) {
            Ok((policy, _warnings)) => policy,
            Err(errors) => {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                bail!("--against: {}", errors.join("\n"));
            }
        };
        let mut difference = Self::default();
        for entry in &proposal.entries {
            let covered = |name: &String| {
                needs.get(name).is_some_and(|need| allows(&policy, name, need.uses))
            };
            if !entry.names.iter().all(covered) {
                difference.missing.push(entry.text.clone());
            }
        }
        let hits = hits(&policy, needs);
        let mut seen = BTreeSet::new();
        for text in list.iter().filter(|text| seen.insert(text.as_str())) {
            let used = keys(text).iter().any(|key| hits.contains(key));
            let place = if used { &mut difference.used } else { &mut difference.unused };
            place.push(text.clone());
        }
        Ok(difference)
    }
}

/// Rule and entry by which anything needed is allowed.
fn hits(policy: &Policy, needs: &Needs) -> BTreeSet<(String, String)> {
    let requests = needs
        .iter()
        .flat_map(|(name, need)| need.uses.requests().map(move |request| (name, request)));
    let decisions = requests.map(|(name, (port, scheme))| policy.decide(name, port, scheme));
    decisions.filter_map(|decision| Some((decision.rule.to_owned(), decision.entry?))).collect()
}

/// What [`hits`] has for an entry that decides.
fn keys(text: &str) -> Vec<(String, String)> {
    let Ok((policy, _warnings)) = Policy::resolve(&[text.to_owned()], &[]) else {
        return Vec::new();
    };
    let key = |rule: Rule, entry: &str| (rule.id().to_owned(), entry.to_owned());
    let mut keys: Vec<_> =
        policy.ip_rules().map(|(address, rule)| key(rule, &address.to_string())).collect();
    for protocol in [Protocol::Both, Protocol::Http, Protocol::Https] {
        let names = policy.names(protocol);
        let plain = names.plain().chain(names.exact());
        keys.extend(plain.map(|name| key(Rule::AllowPlain(protocol), name)));
        let patterns = names.patterns();
        keys.extend(patterns.map(|it| key(Rule::AllowPattern(protocol), it.as_str())));
    }
    keys
}
