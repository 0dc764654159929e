//! `--env AWF_ONE_SHOT_TOKENS=A,B`: the one of awf's variables that a user may set.
//!
//! Owns the notation of the list. Takes its text, gives names; a list that is blank means the standard one.

use awf_common::one_shot::{LIST, MAX_TOKENS};

use super::usage::UsageError;
use super::variables::is_name;

/// The names in a list.
pub fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// Refuses a list that cannot be obeyed to the letter.
pub(super) fn check(list: &str) -> Result<(), UsageError> {
    let remedy = "write at most 100 names of variables, separated by commas";
    let refuse = |value: &str, problem: &str| {
        Err(UsageError::value("--env", &format!("{LIST}={value}"), problem, remedy))
    };
    // A value in place of a name may be a secret, and is not repeated.
    if names(list).any(|name| !is_name(name)) {
        return refuse("...", "something in it is not a variable name");
    }
    let count = names(list).count();
    if count > MAX_TOKENS {
        return refuse("...", &format!("{count} names are too many"));
    }
    // The list guards itself no more than it could guard the loader's own variables.
    if let Some(name) = names(list).find(|name| name.starts_with("AWF_") || *name == "LD_PRELOAD") {
        return refuse(name, "awf and the dynamic loader need this variable");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_separated_by_commas() {
        assert_eq!(names(" A, B,,_c9 ,").collect::<Vec<_>>(), ["A", "B", "_c9"]);
        assert_eq!(names(" , ").count(), 0);
    }

    #[test]
    fn what_is_no_name_is_refused_and_not_repeated() {
        let many = "A,".repeat(MAX_TOKENS);
        for good in ["", " ", "A", "A, B", &many] {
            check(good).unwrap();
        }
        let more = format!("{many}A");
        for bad in ["A B", "1A", "TOKEN=s3cret", "A;B", "LD_PRELOAD", "AWF_ONE_SHOT_TOKENS", &more]
        {
            let sentence = check(bad).unwrap_err().to_string();
            assert!(sentence.starts_with("--env 'AWF_ONE_SHOT_TOKENS="), "{sentence}");
            assert!(!sentence.contains("s3cret"), "{sentence}");
        }
    }
}
