//! Rows of URL patterns.

use std::collections::BTreeMap;

use awf::policy::UrlVerdict;
use serde::Deserialize;

use crate::options::{Sense, caller, scratch, sense};
use crate::rows::Row;

/// A row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patterns {
    urls: String,
    #[serde(default)]
    opens: Vec<String>,
    #[serde(default)]
    closes: Vec<String>,
    error: Option<String>,
    differs: Option<String>,
}

impl Row for Patterns {
    fn what(&self) -> String {
        self.urls.clone()
    }

    fn becomes(&self) -> String {
        let verb = if self.error.is_some() { "refused".to_owned() } else { self.opens.join(", ") };
        if self.error.is_some() { verb } else { format!("opens {verb}") }
    }

    fn differs(&self) -> Option<&str> {
        self.differs.as_deref()
    }

    fn check(&self) -> Result<(), String> {
        let scratch = scratch();
        let words = ["-d", "github.com", "--ssl-bump", "--allow-urls", &self.urls, "--", "true"];
        let words: Vec<String> = words.map(str::to_owned).to_vec();
        match (sense(&words, &caller(&BTreeMap::new(), &scratch)), &self.error) {
            (Sense::Error(error), Some(part)) if error.contains(part.as_str()) => Ok(()),
            (Sense::Error(error), _) => Err(error),
            (_, Some(_)) => Err("accepted".to_owned()),
            (Sense::Print(text), None) => Err(text),
            (Sense::Run(settings), None) => {
                let passes = |url: &String| {
                    let rest = url.strip_prefix("https://").expect("a URL");
                    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                    matches!(settings.inspection.urls.judge(host, path), UrlVerdict::Allowed(_))
                };
                if let Some(url) = self.opens.iter().find(|url| !passes(url)) {
                    return Err(format!("{url} is closed"));
                }
                self.closes
                    .iter()
                    .find(|url| passes(url))
                    .map_or(Ok(()), |url| Err(format!("{url} is open")))
            }
        }
    }
}
