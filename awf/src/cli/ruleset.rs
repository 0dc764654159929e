//! `--ruleset-file`: domains in YAML.
//!
//! Owns the shape of the file. Takes paths, gives entries of the allow list, or all that is wrong with any
//! of the files at once. Must never skip a key that it does not know: misspelled, `subdomains` would
//! open what it was to keep closed.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::config::read;
use super::domains::{DomainEntry, Origin, read_text};
use super::usage::UsageError;
use crate::host::Caller;

/// The option.
const FLAG: &str = "--ruleset-file";

/// A file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the version is checked by the schema")]
struct Ruleset {
    /// Of the notation.
    #[schemars(extend("const" = 1))]
    version: u64,
    /// Domains.
    rules: Vec<Rule>,
}

/// One domain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// As in `--allow-domains`.
    #[schemars(length(min = 1))]
    domain: String,
    /// Whether what is below it may be reached as well.
    #[serde(default = "yes")]
    subdomains: bool,
}

const fn yes() -> bool {
    true
}

/// Appends the domains of all files, each text once.
pub(super) fn extend(
    allow: &mut Vec<DomainEntry>,
    files: &[String],
    caller: &Caller,
) -> Result<(), UsageError> {
    let mut complaints = Vec::new();
    for name in files {
        let path = caller.cwd.join(name);
        let text = read_text(&path).map_err(|source| UsageError::file(FLAG, &path, source))?;
        match read::read(("ruleset", name), &text) {
            Ok(document) => entries(&path, &document)
                .filter_map(|entry| entry.map_err(|problem| complaints.push(problem)).ok())
                .for_each(|entry| {
                    if !allow.iter().any(|known| known.text == entry.text) {
                        allow.push(entry);
                    }
                }),
            Err(problems) => complaints.extend(problems),
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(UsageError::Rulesets(complaints)) }
}

fn entries<'a>(
    path: &'a Path,
    document: &'a read::Document<Ruleset>,
) -> impl Iterator<Item = Result<DomainEntry, String>> + 'a {
    document.file.rules.iter().enumerate().map(move |(index, rule)| {
        let line = document.lines.get(&format!("rules[{index}].domain")).copied();
        let line = line.unwrap_or_default();
        let domain = rule.domain.trim();
        if domain.is_empty() {
            let place = path.to_string_lossy();
            return Err(format!(
                "ruleset.rules[{index}].domain must be a string that is not empty ({}:{line})",
                place.escape_debug()
            ));
        }
        let alone = if rule.subdomains || domain.starts_with('=') { "" } else { "=" };
        let origin = Origin::Line { flag: FLAG, path: path.to_owned(), line };
        Ok(DomainEntry { text: format!("{alone}{domain}"), origin })
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The entries of files with these texts, behind one of `--allow-domains`; or the complaint, in which the
    /// directory is `@`.
    fn read_all(name: &str, texts: &[&str]) -> Result<Vec<DomainEntry>, String> {
        let directory =
            std::env::temp_dir().join(format!("awf-ruleset-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let mut files = Vec::new();
        for (number, text) in (1..).zip(texts) {
            let path = directory.join(format!("{number}.yml"));
            fs::write(&path, text).unwrap();
            files.push(path.to_str().unwrap().to_owned());
        }
        let mut allow = super::super::domains::from_flag("--allow-domains", "first.com");
        let read = extend(&mut allow, &files, &Caller::sample());
        fs::remove_dir_all(&directory).unwrap();
        let shorten =
            |error: UsageError| error.to_string().replace(directory.to_str().unwrap(), "@");
        read.map(|()| allow).map_err(shorten)
    }

    fn texts(entries: &[DomainEntry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.text.as_str()).collect()
    }

    #[test]
    fn rules_are_appended_each_once_with_their_lines() {
        let one = "version: 1\nrules:\n  - domain: a.com\n  - subdomains: false\n    domain: \" b.com \"\n";
        let two = r#"{"version": 1, "rules": [{"domain": "a.com", "subdomains": true}, {"domain": "a.com",
            "subdomains": false}, {"domain": "first.com"}]}"#;
        let entries = read_all("good", &[one, two]).unwrap();
        assert_eq!(texts(&entries), ["first.com", "a.com", "=b.com", "=a.com"]);
        assert!(entries[2].origin.to_string().ends_with("/1.yml:5"), "{}", entries[2].origin);
        let nothing = read_all("empty", &["version: 1\nrules: []\n"]).unwrap();
        assert_eq!(texts(&nothing), ["first.com"]);
    }

    #[test]
    fn everything_wrong_in_any_file_is_said_at_once_with_file_and_line() {
        let one =
            "version: 2\nrules:\n  - domain: ''\n  - subdomain: false\n    domain: a.com\n  - {}\n";
        let complaint = read_all("bad", &[one, "rules: x\n", "- a\n", "version: [\n"]).unwrap_err();
        for sentence in [
            "ruleset.version must be 1 (@/1.yml:1)",
            "ruleset.rules[0].domain must be a string that is not empty (@/1.yml:3)",
            "ruleset.rules[1].subdomain is not supported; did you mean 'subdomains'? (@/1.yml:4)",
            "ruleset.rules[2].domain is missing (@/1.yml:6)",
            "ruleset.version is missing",
            "ruleset.rules must be a list of rules (@/2.yml:1)",
            "ruleset must be an object",
            "@/4.yml: ",
        ] {
            assert!(complaint.contains(sentence), "{sentence} is missing:\n{complaint}");
        }
    }

    #[test]
    fn what_is_no_ruleset_is_refused() {
        for text in [
            "",
            "version: 1\n",
            "version: '1'\nrules: []\n",
            "version: 1.5\nrules: []\n",
            "version: 1\nversion: 1\nrules: []\n",
            "version: 1\nrules:\n  domain: a.com\n",
            "version: 1\nrules: [a.com]\n",
            "version: 1\nrules:\n  - domain: 7\n",
            "version: 1\nrules:\n  - domain: '  '\n",
            "version: 1\nrules:\n  - domain: a.com\n    subdomains: 'no'\n",
            "version: 1\nrules:\n  - domain: a.com\n    domain: b.com\n",
            "version: 1\nrules: []\n---\nversion: 1\nrules: []\n",
        ] {
            let complaint = read_all("refused", &[text]).unwrap_err();
            assert!(complaint.starts_with("--ruleset-file: "), "{text:?}: {complaint}");
        }
    }
}
