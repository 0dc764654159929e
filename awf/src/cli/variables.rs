//! `--env`, `--env-file`, `--exclude-env`.
//!
//! Owns their notation. Takes the options' values and the file, gives names and values. Which value
//! wins is decided in `plan::environment`.

use std::collections::BTreeSet;
use std::path::Path;

use awf_common::one_shot::LIST as ONE_SHOT_TOKENS;

use super::domains::read_text;
use super::one_shot;
use super::usage::UsageError;
use crate::host::Variables;

/// Whether a name is one that awf speaks to itself with. A value from outside could only mislead
/// the parts of awf that run inside the sandbox.
pub fn is_reserved(name: &str) -> bool {
    // gh-aw sets this one for its own programs in the sandbox; awf does not read it.
    name.starts_with("AWF_") && name != "AWF_REFLECT_ENABLED"
}

/// A portable variable name: letters, digits, underscores, not starting with a digit.
pub(super) fn is_name(name: &str) -> bool {
    let mut letters = name.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
}

/// `--env`: the last value of a name wins. Values may hold anything, also line feeds and `=`.
/// Complaints name the variable and never its value, which may be a secret.
pub(super) fn from_flags(values: &[String]) -> Result<Variables, UsageError> {
    let mut variables = Variables::new();
    for value in values {
        let Some((name, content)) = value.split_once('=') else {
            let remedy = "write KEY=VALUE; to pass the caller's value on, --env \"KEY=$KEY\"";
            return Err(UsageError::value("--env", value, "no = in it", remedy));
        };
        if !is_name(name) {
            let remedy = "a name has letters, digits and underscores and starts with no digit";
            return Err(UsageError::value("--env", name, "not a variable name", remedy));
        }
        if name == ONE_SHOT_TOKENS {
            one_shot::check(content)?;
        } else if is_reserved(name) {
            let problem = "names starting with AWF_ are awf's own";
            return Err(UsageError::value("--env", name, problem, "choose another name"));
        }
        variables.insert(name.to_owned(), content.to_owned());
    }
    Ok(variables)
}

/// `--env-file`: KEY=VALUE lines; the value is the rest of the line as it is, quotes included. What
/// is not such a line is skipped, as in the original, but not in silence.
pub(super) fn from_file(path: &Path, notices: &mut Vec<String>) -> Result<Variables, UsageError> {
    let text = read_text(path).map_err(|source| UsageError::file("--env-file", path, source))?;
    let mut variables = Variables::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let reason = match line.split_once('=') {
            Some((name, _)) if is_reserved(name) => "AWF_ names are awf's own",
            Some((name, value)) if is_name(name) && !value.contains('\0') => {
                variables.insert(name.to_owned(), value.to_owned());
                continue;
            }
            Some((name, _)) if name.starts_with("export ") => "write KEY=VALUE without export",
            _ => "not KEY=VALUE",
        };
        notices.push(format!("--env-file {}:{number}: line skipped, {reason}", path.display()));
    }
    Ok(variables)
}

/// `--exclude-env`. Any name will do, but none can contain `=`: someone passed a value.
pub(super) fn excluded(names: &[String]) -> Result<BTreeSet<String>, UsageError> {
    for name in names {
        if name.is_empty() || name.contains('=') {
            let shown = name.split('=').next().unwrap_or_default();
            let remedy = "write the name of a variable alone";
            return Err(UsageError::value("--exclude-env", shown, "not a variable name", remedy));
        }
    }
    Ok(names.iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn values_may_hold_anything() {
        let values = ["A=1", "B=", "C=x=y", "D=a\nb", "_e9=é", "A=2"];
        let expected = [("A", "2"), ("B", ""), ("C", "x=y"), ("D", "a\nb"), ("_e9", "é")];
        assert_eq!(from_flags(&strings(&values)).unwrap(), variables(&expected));
        from_flags(&strings(&["AWF_REFLECT_ENABLED=1"])).unwrap();
    }

    #[test]
    fn names_must_be_names() {
        for value in ["A B=1", "=1", "1A=1", "A-B=1", "é=1", "A", "", "A.B=1", "A\n=1", "AWF_UID=0"]
        {
            let sentence = from_flags(&strings(&[value])).unwrap_err().to_string();
            assert!(sentence.starts_with("--env '"), "{sentence}");
        }
    }

    #[test]
    fn a_refused_variable_does_not_print_its_value() {
        for value in ["A B=s3cret", "AWF_TOKEN=s3cret"] {
            let sentence = from_flags(&strings(&[value])).unwrap_err().to_string();
            assert!(!sentence.contains("s3cret"), "{sentence}");
        }
        let sentence = excluded(&strings(&["TOKEN=s3cret"])).unwrap_err().to_string();
        assert!(!sentence.contains("s3cret"), "{sentence}");
    }

    #[test]
    fn files_hold_one_variable_a_line_and_say_what_they_skip() {
        let path = std::env::temp_dir().join(format!("awf-env-{}", std::process::id()));
        let text =
            "# c\nA=1\r\n\n B=\"q\" # no comment\nexport C=1\n1D=x\nAWF_E=1\nF\nA=2\nG=a=b\n";
        fs::write(&path, text).unwrap();
        let mut notices = Vec::new();
        let read = from_file(&path, &mut notices).unwrap();
        fs::remove_file(&path).unwrap();
        let expected = [("A", "2"), ("B", "\"q\" # no comment"), ("G", "a=b")];
        assert_eq!(read, variables(&expected));
        let prefix = format!("--env-file {}:", path.display());
        let places: Vec<_> = notices.iter().filter_map(|text| text.strip_prefix(&prefix)).collect();
        assert_eq!(places.len(), 4);
        assert_eq!(places[0], "5: line skipped, write KEY=VALUE without export");
        assert_eq!(places[2], "7: line skipped, AWF_ names are awf's own");
    }

    #[test]
    fn a_missing_file_is_named() {
        let sentence = from_file(Path::new("/nowhere"), &mut Vec::new()).unwrap_err().to_string();
        assert!(sentence.starts_with("--env-file '/nowhere': No such file"), "{sentence}");
    }

    #[test]
    fn excluded_names_are_names() {
        assert_eq!(excluded(&strings(&["A", "B", "A"])).unwrap().len(), 2);
        excluded(&strings(&[""])).unwrap_err();
    }
}
