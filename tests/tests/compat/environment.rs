//! Rows of the environment, by real runs.

use std::collections::BTreeMap;
use std::fs;

use awf_tests::{Run, Scratch};
use serde::Deserialize;

use crate::rows::Row;

/// Any value will do.
const ANY: &str = "@set";

/// A row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variables {
    caller: BTreeMap<String, String>,
    #[serde(default)]
    options: String,
    env_file: Option<String>,
    #[serde(default)]
    holds: BTreeMap<String, String>,
    #[serde(default)]
    lacks: Vec<String>,
    differs: Option<String>,
}

impl Row for Variables {
    fn what(&self) -> String {
        let pairs = self.caller.iter().map(|(name, value)| format!("{name}={value}"));
        let file = self.env_file.as_ref().map(|text| format!("--env-file with {text}"));
        let words =
            pairs.chain((!self.options.is_empty()).then(|| self.options.clone())).chain(file);
        words.collect::<Vec<_>>().join(" ")
    }

    fn becomes(&self) -> String {
        let held = self.holds.iter().map(|(name, value)| format!("{name}={value}"));
        let lacked = self.lacks.iter().map(|name| format!("no {name}"));
        held.chain(lacked).collect::<Vec<_>>().join(", ")
    }

    fn differs(&self) -> Option<&str> {
        self.differs.as_deref()
    }

    fn check(&self) -> Result<(), String> {
        let scratch = Scratch::new("compat-env");
        let mut run = Run::new();
        for (name, value) in &self.caller {
            run = run.caller_variable(name, value);
        }
        for word in self.options.split_whitespace() {
            run = run.flag(word);
        }
        if let Some(text) = &self.env_file {
            let path = scratch.path().join("vars");
            fs::write(&path, text).expect("write the file");
            run = run.option("--env-file", &path.to_string_lossy());
        }
        let outcome = run.run("env -0");
        if outcome.code != 0 {
            return Err(format!("code {}: {}", outcome.code, outcome.stderr));
        }
        let found: BTreeMap<&str, &str> =
            outcome.stdout.split('\0').filter_map(|pair| pair.split_once('=')).collect();
        for (name, value) in &self.holds {
            match found.get(name.as_str()) {
                None => return Err(format!("{name} is missing")),
                Some(is) if value != ANY && is != value => {
                    return Err(format!("{name} is {is}, not {value}"));
                }
                Some(_) => {}
            }
        }
        let odd = self.lacks.iter().find(|name| found.contains_key(name.as_str()));
        odd.map_or(Ok(()), |name| Err(format!("{name} is there")))
    }
}
