//! Names that stand for models: `apiProxy.models`.
//!
//! Owns how a name is followed. Takes the names of the configuration and the list of models that the provider tells, gives the
//! model. The first pattern that fits any wins; of several that fit it, the one with the highest numbers. Pure but for the
//! lists, which are asked for once, when the first request needs one.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;
use tokio::sync::Mutex;

use super::budget::is_called;
use crate::plan::api_proxy::Provider;

/// Names that lead to names, at most: more is a circle.
const DEPTH: usize = 16;
/// Models of a list that are read.
const MODELS: usize = 5000;

/// Lists of models by provider, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Lists([Mutex<Option<Vec<String>>>; Provider::ALL.len()]);

impl Lists {
    /// The place of a provider's list. Held while it is asked for, so that it is asked for once.
    pub(super) fn of(&self, provider: Provider) -> Option<&Mutex<Option<Vec<String>>>> {
        let index = Provider::ALL.iter().position(|known| *known == provider)?;
        self.0.get(index)
    }

    /// What is known now, for `/reflect`.
    pub(super) fn known(&self, provider: Provider) -> Option<Vec<String>> {
        self.of(provider)?.try_lock().ok()?.clone()
    }
}

/// Where a provider tells its models.
pub(super) fn path(provider: Provider) -> Option<&'static str> {
    match provider {
        Provider::OpenAi | Provider::Copilot => Some("/models"),
        Provider::Anthropic => Some("/v1/models?limit=1000"),
        Provider::Gemini => Some("/v1beta/models?pageSize=1000"),
        Provider::Vertex => None,
    }
}

/// The names in a provider's answer.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<String>> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let list = value.get("data").or_else(|| value.get("models")).unwrap_or(&value).as_array()?;
    let name = |model: &Value| {
        let name = model.get("id").or_else(|| model.get("name"))?.as_str()?;
        Some(name.strip_prefix("models/").unwrap_or(name).to_owned())
    };
    Some(list.iter().filter_map(name).take(MODELS).collect())
}

/// Whether a name stands for others.
pub(super) fn is_alias(aliases: &BTreeMap<String, Vec<String>>, name: &str) -> bool {
    find(aliases, name).is_some()
}

fn find<'a>(aliases: &'a BTreeMap<String, Vec<String>>, name: &str) -> Option<&'a Vec<String>> {
    let same = |(known, _list): &(&String, &Vec<String>)| known.eq_ignore_ascii_case(name.trim());
    aliases.iter().find(same).map(|(_known, list)| list).filter(|_list| !name.is_empty())
}

/// Whether a model may be asked.
type Permits<'a> = &'a dyn Fn(&str) -> bool;

/// The model that a name stands for. `None` if the provider has a model of that very name, or none that fits.
pub(super) fn resolve(
    aliases: &BTreeMap<String, Vec<String>>,
    provider: Provider,
    name: &str,
    (models, permits): (&[String], Permits<'_>),
) -> Option<String> {
    if models.iter().any(|model| model == name) {
        return None;
    }
    let search = Search { aliases, provider, models, permits };
    search.follow(name, &mut Vec::new())
}

struct Search<'a> {
    aliases: &'a BTreeMap<String, Vec<String>>,
    provider: Provider,
    models: &'a [String],
    permits: Permits<'a>,
}

impl<'a> Search<'a> {
    /// Depth first, in the order of the lists; `way` are the names that led here.
    fn follow(&self, name: &str, way: &mut Vec<&'a str>) -> Option<String> {
        let list = find(self.aliases, name)?;
        for entry in list {
            let found = match entry.split_once('/') {
                Some((provider, pattern)) if is_called(self.provider, provider) => {
                    self.best(pattern)
                }
                Some(_other) => None,
                None if way.len() >= DEPTH || way.contains(&&**entry) => None,
                None if is_alias(self.aliases, entry) => {
                    way.push(entry);
                    let found = self.follow(entry, way);
                    way.pop();
                    found
                }
                None => self.best(entry),
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// What a pattern may carry behind a `?`, such as `effort=high`, is for gh-aw.
    fn best(&self, pattern: &str) -> Option<String> {
        let pattern = pattern.split('?').next().unwrap_or_default();
        let fits = |model: &&String| glob(pattern, model) && (self.permits)(model);
        self.models.iter().filter(fits).max_by(|a, b| by_numbers(a, b)).cloned()
    }
}

/// Compares names by the numbers in them, a date last; of equal ones the shorter is the greater: it is the plain one.
fn by_numbers(a: &str, b: &str) -> Ordering {
    let numbers = |name: &str| -> Vec<u64> {
        let parts = name.split(|letter: char| !letter.is_ascii_digit());
        let parts = parts.filter(|digits| !digits.is_empty() && digits.len() < 8);
        parts.filter_map(|digits| digits.parse().ok()).collect()
    };
    numbers(a).cmp(&numbers(b)).then(b.len().cmp(&a.len())).then(a.cmp(b))
}

/// Whether a pattern with `*` fits, whatever the case.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.trim().to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(end) = rest.find(part).map(|start| start + part.len()) else { return false };
        rest = rest.get(end..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODELS: [&str; 6] = [
        "claude-sonnet-4.5",
        "claude-sonnet-4.6",
        "claude-sonnet-4.6-20260101",
        "claude-haiku-4.5",
        "gpt-5-mini",
        "auto",
    ];

    fn resolved(name: &str) -> Option<String> {
        let aliases: BTreeMap<String, Vec<String>> = serde_json::from_value(serde_json::json!({
            "sonnet": ["anthropic/*sonnet*", "copilot/*sonnet*"],
            "small": ["mini", "haiku"],
            "mini": ["copilot/gpt-5*mini*?effort=low"],
            "haiku": ["copilot/*haiku*"],
            "other": ["openai/*"],
            "circle": ["circle", "round", "haiku"],
            "round": ["circle"],
            "auto": ["sonnet"],
            "denied": ["copilot/gpt-9", "copilot/claude-sonnet-4.5"],
        }))
        .unwrap();
        let models = MODELS.map(str::to_owned);
        let permits = |model: &str| model != "gpt-9";
        resolve(&aliases, Provider::Copilot, name, (&models, &permits))
    }

    #[test]
    fn a_name_stands_for_the_first_that_is_there() {
        assert_eq!(resolved("sonnet").as_deref(), Some("claude-sonnet-4.6"));
        assert_eq!(resolved("Small").as_deref(), Some("gpt-5-mini"));
        assert_eq!(resolved("circle").as_deref(), Some("claude-haiku-4.5"));
        assert_eq!(resolved("denied").as_deref(), Some("claude-sonnet-4.5"));
        for name in ["other", "claude-sonnet-4.5", "auto", "unknown", ""] {
            assert_eq!(resolved(name), None, "{name}");
        }
    }

    #[test]
    fn lists_are_read() {
        for list in [
            r#"{"data":[{"id":"a"},{"id":"b"}]}"#,
            r#"{"models":[{"name":"models/a"},{"name":"models/b"}]}"#,
            r#"[{"id":"a"},{"name":"b"},3]"#,
        ] {
            assert_eq!(read(list.as_bytes()).unwrap(), ["a", "b"], "{list}");
        }
        assert_eq!(read(b"{}"), None);
    }
}
