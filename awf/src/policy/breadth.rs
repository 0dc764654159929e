//! Says when an entry allows more than its author is likely to mean.
//!
//! Takes a normalised entry, gives a warning or nothing. Knows the public suffix list (compiled in);
//! never refuses an entry.

use std::net::Ipv4Addr;

use psl::Type;

use super::names::Pattern;

/// A warning for a plain name that many unrelated people own names below.
pub(super) fn of_name(name: &str) -> Option<String> {
    let kind = known_suffix(name)?;
    Some(format!("allows every host under {name}, {}; name the hosts you need", owners(kind)))
}

/// A warning for a pattern that matches names of unrelated owners.
pub(super) fn of_pattern(pattern: &Pattern) -> Option<String> {
    let text = pattern.as_str();
    let (_, tail) = text.rsplit_once('*')?;
    let Some(parent) = pattern.parent() else {
        let example = text.replace('*', "evil.com");
        return Some(format!(
            "ends in a wildcard, so it also matches names of strangers such as {example}; write the \
             whole ending, for example {}",
            text.trim_end_matches('*').trim_end_matches('.').to_owned() + ".com"
        ));
    };
    if let Some(kind) = known_suffix(parent) {
        let glued = !tail.starts_with('.') && known_suffix(tail).is_none();
        return Some(if glued && text.starts_with('*') && text.matches('*').count() == 1 {
            format!(
                "has no dot after the *, so it also matches evil{tail}; write {tail} for the domain \
                 and its subdomains, or *.{tail} for the subdomains only"
            )
        } else {
            format!("allows names anywhere under {parent}, {}; name the domain", owners(kind))
        });
    }
    (!tail.starts_with('.') && !parent.contains('.')).then(|| {
        format!("has no dot after the *, so it also matches evil{tail}; write *.{tail} instead")
    })
}

/// A warning for an address where something other than a server may answer.
pub(super) fn of_address(address: Ipv4Addr) -> Option<String> {
    address.is_link_local().then(|| {
        "is link-local; at such addresses cloud machines hand out their credentials".to_owned()
    })
}

/// How `name` is a public suffix, if it is one by a rule of the list (not by its default rule).
fn known_suffix(name: &str) -> Option<Type> {
    let suffix = psl::suffix(name.as_bytes())?;
    (suffix.is_known() && suffix.as_bytes() == name.as_bytes()).then(|| suffix.typ()).flatten()
}

fn owners(kind: Type) -> &'static str {
    match kind {
        Type::Icann => "a public suffix under which anyone can register a name",
        Type::Private => "where customers of one provider publish under names of their choice",
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::Star;
    use super::*;

    fn pattern(text: &str) -> Option<String> {
        of_pattern(&Pattern::new(text.to_owned(), Star::Narrow))
    }

    fn warns(warning: Option<String>, needle: &str) {
        let warning = warning.expect("a warning");
        assert!(warning.contains(needle), "{warning}");
    }

    #[test]
    fn public_suffixes_are_too_broad() {
        warns(of_name("com"), "anyone can register");
        warns(of_name("co.uk"), "anyone can register");
        warns(of_name("github.io"), "customers of one provider");
        warns(pattern("*.com"), "anywhere under com");
        warns(pattern("*.co.uk"), "anywhere under co.uk");
        warns(pattern("*.a.*.com"), "anywhere under com");
        warns(pattern("*.github.io"), "anywhere under github.io");
    }

    #[test]
    fn a_star_glued_to_the_domain_or_at_its_end_is_too_broad() {
        warns(pattern("*github.com"), "also matches evilgithub.com");
        warns(pattern("*example.co.uk"), "write example.co.uk");
        warns(pattern("*host.corp"), "evilhost.corp");
        warns(pattern("github.*"), "github.evil.com");
        warns(pattern("api*"), "ends in a wildcard");
    }

    #[test]
    fn ordinary_entries_do_not_warn() {
        for name in ["github.com", "a.github.io", "intranet", "host.docker.internal", "a.b.co.uk"] {
            assert_eq!(of_name(name), None, "{name}");
        }
        for text in
            ["*.github.com", "api-*.example.com", "*-*.example.com", "a.*.github.com", "*.corp"]
        {
            assert_eq!(pattern(text), None, "{text}");
        }
    }
}
