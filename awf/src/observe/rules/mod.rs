//! What the rules of the record mean, and what to do about each: the one place for it.
//!
//! Takes a rule's id, gives sentences for readers who do not know awf. Pure. Must never advise to open what no flag opens.

mod table;

use std::borrow::Cow;

use table::UNKNOWN;

pub use table::RULES;

/// What is said about a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its ids; one that ends with `*` stands for all that begin so.
    pub ids: &'static [&'static str],
    /// What is wrong, in some words that can follow a colon.
    pub title: &'static str,
    /// What the rule is for: a sentence or two.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: Remedy,
    /// How much it says.
    pub weight: Weight,
}

/// How much a refusal by a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Programs try it as a matter of course, and do without; or nothing was refused.
    Usual,
    /// Something was not listed.
    Notable,
    /// Programs that only do their work do not try it.
    Grave,
}

impl Weight {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Usual => "routine",
            Self::Notable => "notable",
            Self::Grave => "grave",
        }
    }
}

/// What helps: some words without a full stop.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// A flag, or a change of the caller's.
    Flag(Cow<'static, str>),
    /// No flag: it is refused in every run.
    Never(Cow<'static, str>),
}

impl Remedy {
    /// The words.
    pub fn text(&self) -> &str {
        match self {
            Self::Flag(text) | Self::Never(text) => text,
        }
    }

    /// Whether the caller could allow it.
    pub const fn allows(&self) -> bool {
        matches!(self, Self::Flag(_))
    }
}

/// The rule of an id, if it is one of awf's.
pub fn find(id: &str) -> Option<&'static Rule> {
    let fits = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(start) => id.starts_with(start),
        None => id == *pattern,
    };
    RULES.iter().find(|rule| rule.ids.iter().any(fits))
}

/// What is said about an id, known or not.
pub fn about(id: &str) -> &'static Rule {
    find(id).unwrap_or(&UNKNOWN)
}

/// Words with a capital.
pub fn capital(words: &str) -> String {
    let mut characters = words.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).collect()
}

/// Words as a sentence.
pub fn sentence(words: &str) -> String {
    capital(words) + "."
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use awf_common::decide::Reason;

    use super::*;

    #[test]
    fn every_reason_of_the_kernel_is_explained() {
        for reason in (0..=u8::MAX).filter_map(Reason::from_number) {
            assert!(find(reason.name()).is_some(), "{}", reason.name());
        }
    }

    /// Ids in the source: literals that begin as ids do, and those that stand where an id stands.
    fn written(text: &str, found: &mut BTreeSet<String>) {
        const BEGINNINGS: [&str; 6] =
            ["deny-", "budget-", "model-", "proxy-denied", "rate-", "api-"];
        // A host and a field of HTTP.
        const OTHERS: [&str; 2] = ["api-proxy", "api-key"];
        let mut before = "";
        for (index, part) in text.split('"').enumerate() {
            let is_word = |part: &str| {
                part.ends_with(|end: char| end.is_ascii_lowercase())
                    && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
            };
            let place = before.trim_end();
            let stands = place.ends_with("::refused(") || place.ends_with(" rule:");
            let begins = BEGINNINGS.iter().any(|beginning| part.starts_with(beginning));
            if index % 2 == 1 && is_word(part) && (begins || stands) && !OTHERS.contains(&part) {
                found.insert(part.to_owned());
            }
            before = part;
        }
    }

    fn sources(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "tests" {
                    sources(&path, found);
                }
            } else if path.extension().is_some_and(|it| it == "rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).unwrap();
                written(text.split("#[cfg(test)]").next().unwrap(), found);
            }
        }
    }

    #[test]
    fn every_rule_that_is_written_anywhere_is_explained() {
        let mut found = BTreeSet::new();
        for part in ["api_proxy", "observe", "policy", "proxy", "relay", "session"] {
            sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(part), &mut found);
        }
        let known = ["deny-sni-mismatch", "proxy-denied", "client-left", "cut", "enforcement-lost"];
        for id in known.into_iter().chain(["api-malformed", "budget-runs", "rate-limit"]) {
            assert!(found.contains(id), "{id} is not found in the source: {found:?}");
        }
        let unexplained: Vec<&String> = found.iter().filter(|id| find(id).is_none()).collect();
        assert!(unexplained.is_empty(), "no row of the table is for {unexplained:?}");
    }

    #[test]
    fn an_id_has_one_rule_and_patterns_come_last() {
        for rule in RULES {
            for id in rule.ids {
                let id = id.replace('*', "x");
                assert_eq!(find(&id).map(|rule| rule.ids), Some(rule.ids), "{id}");
            }
        }
        assert_eq!(find("no-such-rule"), None);
    }

    #[test]
    fn words_become_sentences() {
        assert_eq!(sentence("connect by name"), "Connect by name.");
    }
}
