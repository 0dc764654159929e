//! Credentials taken out of everything that a run leaves.
//!
//! Takes the credentials that the run knows by value (variables of the caller and of `--env` and `--env-file`, what the
//! command's text passes where a credential stands) and gives a [`Redactor`], through which every artefact goes. It replaces
//! those values in any form in which they are likely to be written, and whatever has the shape of a credential besides.
//! Must never print what it knows.

mod forms;
mod names;
mod shapes;

use std::collections::BTreeSet;
use std::fmt;

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::Value;

use crate::cli::Settings;
use crate::host::{Host, Variables};

/// What stands in the place of a credential.
pub const REDACTED: &str = "[REDACTED]";
/// A shorter value would be found in innocent words, and hide nothing that is worth much.
const SHORTEST: usize = 8;

/// Takes credentials out of texts.
#[derive(Clone, Default)]
pub struct Redactor {
    values: Option<AhoCorasick>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.values.as_ref().map_or(0, AhoCorasick::patterns_len);
        write!(f, "Redactor({known} forms)")
    }
}

impl Redactor {
    /// Knows the credentials of a run, and what else must not be read (`more`), such as the run's key for the proxy.
    pub fn of(settings: &Settings, host: &Host, more: &[&str]) -> Self {
        let mut values = BTreeSet::new();
        for variables in [&host.caller.env, &settings.env, &settings.env_file] {
            values.extend(credentials(variables));
        }
        values.extend(shapes::passed_in(&settings.command));
        values.extend(more.iter().map(|value| (*value).to_owned()));
        Self::knowing(values)
    }

    fn knowing(values: impl IntoIterator<Item = String>) -> Self {
        let long = values.into_iter().filter(|value| value.trim().len() >= SHORTEST);
        let forms: BTreeSet<String> = long.flat_map(|value| forms::of(&value)).collect();
        // The longest first, so that no rest of a longer credential stays behind a shorter one.
        // In any case: a name that is asked for is written in lower case.
        let build = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(true)
            .build(forms);
        // It fails beyond 2 GiB of patterns, more than an environment holds (execve(2)).
        Self { values: build.ok() }
    }

    /// A text without credentials.
    pub fn text(&self, text: &str) -> String {
        shapes::hide(&self.by_value(text))
    }

    /// The same for a line of the shell's language, where a credential is also told by the option or variable before it.
    pub fn command(&self, line: &str) -> String {
        shapes::hide_passed(&self.text(line))
    }

    /// The same for all texts of a value, the names of members included.
    pub fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.text(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => {
                let redacted =
                    |(name, member): (String, Value)| (self.by_value(&name), self.value(member));
                Value::Object(members.into_iter().map(redacted).collect())
            }
            other => other,
        }
    }

    /// A line of ASCII without known credentials, at the pace of the record.
    pub fn line(&self, line: Vec<u8>) -> Vec<u8> {
        match (&self.values, std::str::from_utf8(&line)) {
            (Some(values), Ok(text)) if values.is_match(text) => self.by_value(text).into_bytes(),
            _ => line,
        }
    }

    fn by_value(&self, text: &str) -> String {
        let Some(values) = &self.values else { return text.to_owned() };
        let mut out = String::with_capacity(text.len());
        values.replace_all_with(text, &mut out, |_match, _found, out| {
            out.push_str(REDACTED);
            true
        });
        out
    }
}

/// The credentials among variables.
fn credentials(variables: &Variables) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in variables {
        if names::is_credential(name) {
            found.push(value.clone());
        }
        if names::holds_headers(name) {
            found.extend(names::header_values(value));
        }
        found.extend(shapes::in_urls(value));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::{Request, parse};
    use crate::host::Caller;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn redactor(env: &[(&str, &str)], line: &[&str]) -> Redactor {
        let caller = Caller { env: variables(env), ..Caller::sample() };
        let words = ["awf"].iter().chain(line).map(Into::into);
        let Request::Run(args) = parse(words).unwrap() else { panic!("no run") };
        let settings = Settings::resolve(&args, &caller).unwrap();
        Redactor::of(&settings, &Host { caller, ..Host::sample() }, &["0123456789abcdef"])
    }

    #[test]
    fn credentials_of_every_source_are_known() {
        let known = redactor(
            &[
                ("GH_TOKEN", "caller-canary"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "x-k=header-canary,a=b"),
            ],
            &["-e", "DB_PASSWORD=option-canary", "--", "curl --token command-canary"],
        );
        for canary in [
            "caller-canary",
            "header-canary",
            "option-canary",
            "command-canary",
            "0123456789abcdef",
        ] {
            assert_eq!(known.text(&format!("a {canary}b")), "a [REDACTED]b");
        }
        assert_eq!(known.text("a=b"), "a=b");
    }

    #[test]
    fn values_of_innocent_variables_and_short_ones_stay() {
        let known = redactor(
            &[
                ("GIT_AUTHOR_NAME", "Ada Lovelace"),
                ("GITHUB_PATH", "/home/ada/paths"),
                ("TOKEN", "short"),
                ("A", "example.com"),
            ],
            &["-e", "NAME=a longer value", "--", "true"],
        );
        let text = "Ada Lovelace /home/ada/paths short example.com a longer value";
        assert_eq!(known.text(text), text);
    }

    #[test]
    fn a_longer_credential_leaves_no_rest_behind_a_shorter_one() {
        let known =
            redactor(&[("A_KEY", "canary-one"), ("B_KEY", "canary-one-and-more")], &["true"]);
        assert_eq!(known.text("canary-one-and-more canary-one"), "[REDACTED] [REDACTED]");
    }

    #[test]
    fn structures_are_redacted_in_all_their_texts() {
        let known = redactor(&[("A_KEY", "can\"ary\\one")], &["true"]);
        let value = json!({"can\"ary\\one": ["x can\"ary\\one", 7, null], "b": {"c": true}});
        let expected = json!({"[REDACTED]": ["x [REDACTED]", 7, null], "b": {"c": true}});
        assert_eq!(known.value(value), expected);
    }

    #[test]
    fn nothing_known_is_printed() {
        let known = redactor(&[("A_KEY", "canary-one")], &["true"]);
        assert!(!format!("{known:?}").contains("canary"));
    }
}
