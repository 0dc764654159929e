//! Rows of domain lists: what the policy made of them opens and closes.

use awf::policy::{Policy, Scheme};
use serde::Deserialize;

use crate::rows::Row;

/// A row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lists {
    /// Its number in the reference.
    row: u32,
    allow: String,
    #[serde(default)]
    block: String,
    #[serde(default)]
    opens: Vec<String>,
    #[serde(default)]
    closes: Vec<String>,
    warns: Option<String>,
    error: Option<String>,
    differs: Option<String>,
}

fn list(text: &str) -> Vec<String> {
    let text = text.replace("@label300", &"a".repeat(300));
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

/// `tls NAME[:PORT]` or `get NAME`.
fn passes(policy: &Policy, request: &str) -> bool {
    let (verb, target) = request.split_once(' ').expect("verb and name");
    let (scheme, default) = if verb == "get" { (Scheme::Http, 80) } else { (Scheme::Tls, 443) };
    let port = target.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
    let (name, port) = port.filter(|_| !target.ends_with(']')).unwrap_or((target, default));
    policy.decide(name, port, scheme).allow
}

impl Row for Lists {
    fn what(&self) -> String {
        let block =
            if self.block.is_empty() { String::new() } else { format!(" block {}", self.block) };
        format!("{}: allow {}{block}", self.row, self.allow)
    }

    fn becomes(&self) -> String {
        if self.error.is_some() {
            return "refused".to_owned();
        }
        let part = |verb: &str, list: &[String]| {
            (!list.is_empty()).then(|| format!("{verb} {}", list.join(", ")))
        };
        let parts = [part("opens", &self.opens), part("closes", &self.closes)];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    fn differs(&self) -> Option<&str> {
        self.differs.as_deref()
    }

    fn check(&self) -> Result<(), String> {
        let resolved = Policy::resolve(&list(&self.allow), &list(&self.block));
        let (policy, warnings) = match (resolved, &self.error) {
            (Err(errors), Some(part)) => {
                let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                let found = text.contains(part.as_str());
                return found
                    .then_some(())
                    .ok_or_else(|| format!("the error lacks {part}: {text}"));
            }
            (Err(errors), None) => return Err(format!("{errors:?}")),
            (Ok(_), Some(_)) => return Err("accepted".to_owned()),
            (Ok(resolved), None) => resolved,
        };
        if let Some(part) = &self.warns
            && !warnings.iter().any(|warning| warning.contains(part.as_str()))
        {
            return Err(format!("no warning of {part}: {warnings:?}"));
        }
        for (requests, expected) in [(&self.opens, true), (&self.closes, false)] {
            if let Some(odd) = requests.iter().find(|one| passes(&policy, one) != expected) {
                return Err(format!("{odd} is {}", if expected { "closed" } else { "open" }));
            }
        }
        Ok(())
    }
}
