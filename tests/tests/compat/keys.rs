//! Rows of the configuration file: a value of the right kind and what it means, one of a wrong kind and what is said.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::options::{Sense, caller, filled, holds, scratch, sense};
use crate::rows::Row;

/// A row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The key, its parts divided by points.
    key: String,
    good: Option<Value>,
    means: Option<String>,
    says: Option<String>,
    /// The good value is understood and refused with these words.
    refused: Option<String>,
    bad: Option<Value>,
    must: Option<String>,
    /// What of the bad value is wrong, behind the key.
    #[serde(default)]
    at: String,
    differs: Option<String>,
}

impl Entry {
    /// What awf makes of a file with this value only.
    fn sense(&self, value: &Value, scratch: &awf_tests::Scratch) -> Sense {
        let document =
            self.key.rsplit('.').fold(value.clone(), |below, part| json!({ part: below }));
        let path = scratch.path().join("config.json");
        fs::write(&path, filled(&document.to_string(), scratch)).expect("write the file");
        let words = ["--config", &path.to_string_lossy(), "--", "true"].map(str::to_owned).to_vec();
        sense(&words, &caller(&BTreeMap::new(), scratch))
    }

    fn check_good(&self, value: &Value) -> Result<(), String> {
        let scratch = scratch();
        match (self.sense(value, &scratch), &self.refused) {
            (Sense::Error(error), refused @ Some(_)) => {
                holds("the refusal", &error, refused.as_ref(), &scratch)
            }
            (Sense::Error(error), None) => Err(error),
            (_, Some(_)) => Err("accepted".to_owned()),
            (Sense::Print(text), None) => Err(text),
            (Sense::Run(settings), None) => {
                holds("the notices", &settings.notices.join("\n"), self.says.as_ref(), &scratch)?;
                holds("the meaning", &format!("{settings:?}"), self.means.as_ref(), &scratch)
            }
        }
    }

    fn check_bad(&self, value: &Value) -> Result<(), String> {
        let must = self.must.as_deref().unwrap_or_default();
        let scratch = scratch();
        match self.sense(value, &scratch) {
            Sense::Error(error) => {
                let sentence = format!("config.{}{} must be {must} (", self.key, self.at);
                holds("the error", &error, Some(&sentence), &scratch)
            }
            _ => Err(format!("{value} is accepted")),
        }
    }
}

impl Row for Entry {
    fn what(&self) -> String {
        let value = self.good.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{}: {value}", self.key)
    }

    fn becomes(&self) -> String {
        match (&self.refused, &self.says) {
            (Some(words), _) => format!("refused: {words}"),
            (None, Some(words)) => format!("told: {words}"),
            _ => "accepted".to_owned(),
        }
    }

    fn differs(&self) -> Option<&str> {
        self.differs.as_deref()
    }

    fn check(&self) -> Result<(), String> {
        self.good.as_ref().map_or(Ok(()), |value| self.check_good(value))?;
        self.bad.as_ref().map_or(Ok(()), |value| self.check_bad(value))
    }
}
