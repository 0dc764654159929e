//! Names and patterns as lists that Squid reads, one a line.

use std::fmt;

use crate::policy::{Names, Pattern, Rule, Star};

/// The name of the ACL that holds a rule's list.
pub(crate) fn acl(rule: Rule) -> String {
    rule.to_string().replace('-', "_")
}

/// The name of the ACL that puts a rule's id into the log.
pub(super) fn note_acl(id: impl fmt::Display) -> String {
    format!("rule_{id}").replace('-', "_")
}

/// A pattern's expression on each line.
pub(crate) fn regexes(names: &Names) -> String {
    lines(names.patterns().map(regex))
}

pub(super) fn lines(items: impl Iterator<Item = String>) -> String {
    items.map(|item| item + "\n").collect()
}

/// Names with the leading dot that makes Squid match subdomains too, then exact ones without it.
pub(crate) fn suffixes(names: &Names) -> String {
    let plain = names.plain().map(|name| format!(".{name}"));
    lines(plain.chain(names.exact().map(str::to_owned)))
}

/// POSIX extended expression for the whole name.
fn regex(pattern: &Pattern) -> String {
    let star = match pattern.star() {
        Star::Narrow => "[a-zA-Z0-9.-]*",
        Star::Wide => "[a-zA-Z0-9._-]*",
    };
    format!("^{}$", pattern.as_str().replace('.', "[.]").replace('*', star))
}
