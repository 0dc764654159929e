//! What every option comes to in the end, and who spoke for it.
//!
//! Takes the options after the configuration file was read and the caller's variables, gives one row for each option: its value
//! and the command line, a place in the file, a variable or the default. Which variables speak for an option, and what its
//! default is, stands in its help text alone. Must never hold the value of a variable that the command gets.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::args;
use super::options::Args;
use crate::host::Variables;

/// An option's value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// The value, as it would be typed; nothing if the option is not given and has no value of its own.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub value: Value,
    /// `command line`, `FILE:LINE key`, `environment NAME` or `default`.
    pub from: String,
}

/// Every option by its long name with its dashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Effective(pub BTreeMap<String, Said>);

impl Effective {
    /// Of the options as they are, and of the caller.
    pub(super) fn of(args: &Args, caller: &Variables) -> Self {
        let defaults = defaults();
        let given = serde_json::to_value(args).unwrap_or_default();
        let Value::Object(given) = given else { return Self::default() };
        let row = |(field, value): (String, Value)| {
            let option = format!("--{}", field.replace('_', "-"));
            let said = if is_given(&value) {
                Said { value: presentable(&option, value), from: from(args, &option) }
            } else {
                unsaid(defaults.get(&option).map(String::as_str), caller)
            };
            (option, said)
        };
        Self(given.into_iter().map(row).collect())
    }

    /// The value of an option, if anybody gave one.
    pub fn given(&self, option: &str) -> Option<&Value> {
        self.0.get(option).filter(|said| said.from != DEFAULT).map(|said| &said.value)
    }
}

const DEFAULT: &str = "default";

fn is_given(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

fn from(args: &Args, option: &str) -> String {
    args.origins.0.get(option).map_or_else(
        || "command line".to_owned(),
        |place| format!("{}:{} {}", place.file.escape_debug(), place.line, place.key),
    )
}

/// Variables are shown by their names: nobody can tell which values are secret.
fn presentable(option: &str, value: Value) -> Value {
    match value {
        Value::Array(items) if option == "--env" => {
            let name = |item: &Value| {
                let text = item.as_str().unwrap_or_default();
                Value::from(text.split('=').next().unwrap_or_default())
            };
            items.iter().map(name).collect()
        }
        other => other,
    }
}

/// What holds if nobody gave the option: the first of its variables that is set, else the default.
fn unsaid(clause: Option<&str>, caller: &Variables) -> Said {
    let clause = clause.unwrap_or_default();
    let names = clause.split(" whose ").next().unwrap_or_default().split('`').skip(1).step_by(2);
    let is_name = |word: &&str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    for name in names.filter(is_name) {
        if let Some(value) = caller.get(name).filter(|value| !value.is_empty()) {
            return Said { value: value.as_str().into(), from: format!("environment {name}") };
        }
    }
    let rest = clause.rsplit("else ").next().unwrap_or_default().replace('`', "");
    let value = if rest.is_empty() { Value::Null } else { rest.into() };
    Said { value, from: DEFAULT.to_owned() }
}

/// What the help text says about the default of each option that has one.
fn defaults() -> BTreeMap<String, String> {
    let parser = args::parser();
    let clause = |arg: &clap::Arg| {
        let text = arg.get_long_help().or_else(|| arg.get_help())?.to_string();
        let (_before, clause) = text.split_once("[default: ")?;
        let clause = clause.split(']').next()?.split_whitespace().collect::<Vec<_>>().join(" ");
        Some((format!("--{}", arg.get_long()?), clause))
    };
    parser.get_arguments().filter_map(clause).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Request, Settings};
    use crate::host::Caller;

    fn effective(env: &[(&str, &str)], line: &[&str]) -> Effective {
        let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let words = ["awf"].iter().chain(line).map(Into::into);
        let Request::Run(args) = args::parse(words).unwrap() else { panic!("no run") };
        Settings::resolve(&args, &Caller { env, ..Caller::sample() }).unwrap().effective
    }

    #[track_caller]
    fn check(effective: &Effective, option: &str, value: impl Into<Value>, from: &str) {
        let expected = Said { value: value.into(), from: from.to_owned() };
        assert_eq!(effective.0.get(option), Some(&expected), "{option}");
    }

    #[test]
    fn every_option_says_where_it_comes_from() {
        let env = [("OPENAI_API_TARGET", "o.example.com"), ("AWF_AUDIT_DIR", "/tmp/awf-audit")];
        let line = ["-d", "example.com", "--env-all", "-e", "A_TOKEN=canary", "--", "true"];
        let found = effective(&env, &line);
        check(&found, "--allow-domains", "example.com", "command line");
        check(&found, "--env-all", true, "command line");
        check(&found, "--env", vec!["A_TOKEN"], "command line");
        check(&found, "--openai-api-target", "o.example.com", "environment OPENAI_API_TARGET");
        check(&found, "--anthropic-api-target", "api.anthropic.com", "default");
        check(&found, "--audit-dir", "/tmp/awf-audit", "environment AWF_AUDIT_DIR");
        check(&found, "--memory-limit", "6g", "default");
        check(&found, "--docker-host", "unix:///var/run/docker.sock", "default");
        check(&found, "--tty", Value::Null, "default");
        assert_eq!(found.given("--env-all"), Some(&Value::Bool(true)));
        assert_eq!(found.given("--tty"), None);
        assert_eq!(found.given("--memory-limit"), None);
    }

    #[test]
    fn the_configuration_file_is_named_with_line_and_key() {
        let path = std::env::temp_dir().join(format!("awf-effective-{}.json", std::process::id()));
        std::fs::write(&path, "{\"network\": {\n\"allowDomains\": [\"a.com\", \"b.com\"]}}")
            .unwrap();
        let name = path.display().to_string();
        let found = effective(&[], &["--config", &name, "--", "true"]);
        std::fs::remove_file(&path).unwrap();
        let from = format!("{name}:2 network.allowDomains");
        check(&found, "--allow-domains", "a.com,b.com", &from);
    }

    #[test]
    fn no_option_of_the_help_text_is_missing() {
        let found = effective(&[], &["--", "true"]);
        let parser = args::parser();
        let options = parser.get_arguments().filter(|arg| !arg.is_hide_set());
        for option in options.filter_map(clap::Arg::get_long) {
            let known = found.0.contains_key(&format!("--{option}"));
            assert!(known || matches!(option, "help" | "version"), "--{option}");
        }
    }
}
