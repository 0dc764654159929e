//! Sets of domain names: plain names with everything below them, exact names, and patterns with `*`.
//!
//! Takes names already normalised by `entry` (lower case, ASCII, no outer dots), gives membership.
//! Never judges what an entry was meant to be.

use std::collections::BTreeSet;
use std::fmt;
use std::iter::successors;

use serde::{Serialize, Serializer};

/// What a `*` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Star {
    /// Any run of letters, digits, dots and hyphens, as in the original: in the allow list.
    Narrow,
    /// The same with underscores: in the block list, where an underscore must not be a way around.
    Wide,
}

/// A name with at least one `*`. The run that a `*` stands for crosses label borders; the pattern
/// covers the whole name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    text: String,
    star: Star,
}

impl Pattern {
    pub(super) fn new(normalised: String, star: Star) -> Self {
        Self { text: normalised, star }
    }

    /// What each `*` stands for.
    pub fn star(&self) -> Star {
        self.star
    }

    /// The pattern as written, normalised.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `name` (lower case) fits.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.text.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // Where to go on when the last `*` has to swallow one more byte: (after it, from here).
        // Retrying only the last one is enough: a literal found early leaves the most to the rest.
        let mut retry = None;
        loop {
            match (pattern.get(p), name.get(n)) {
                (Some(b'*'), _) => {
                    p += 1;
                    retry = Some((p, n));
                }
                (Some(expected), Some(found)) if expected == found => {
                    p += 1;
                    n += 1;
                }
                (None, None) => return true,
                _ => match retry {
                    Some((after, from))
                        if name.get(from).copied().is_some_and(|b| self.swallows(b)) =>
                    {
                        retry = Some((after, from + 1));
                        (p, n) = (after, from + 1);
                    }
                    _ => return false,
                },
            }
        }
    }

    fn swallows(&self, byte: u8) -> bool {
        let underscore = byte == b'_' && self.star == Star::Wide;
        byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-' || underscore
    }

    /// The domain that every matching name is below: the whole labels after the last `*`.
    pub(super) fn parent(&self) -> Option<&str> {
        let (_, tail) = self.text.rsplit_once('*')?;
        tail.split_once('.').map(|(_, parent)| parent)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// What a name was found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// The name itself or a parent of it.
    Plain(&'a str),
    /// The name itself, which is listed without what is below.
    Exact(&'a str),
    /// A pattern.
    Pattern(&'a Pattern),
}

impl Found<'_> {
    /// The entry as text.
    pub fn entry(&self) -> &str {
        match self {
            Found::Plain(name) | Found::Exact(name) => name,
            Found::Pattern(pattern) => pattern.as_str(),
        }
    }
}

/// A set of names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Names {
    // Ordered, so that everything made from a policy is the same for the same input. A look-up asks
    // once per label of the name, whatever the size of the set.
    plain: BTreeSet<String>,
    exact: BTreeSet<String>,
    patterns: BTreeSet<Pattern>,
}

impl Names {
    /// Names that stand for themselves and all their subdomains, in order.
    pub fn plain(&self) -> impl ExactSizeIterator<Item = &str> {
        self.plain.iter().map(String::as_str)
    }

    /// Names that stand for themselves alone, in order.
    pub fn exact(&self) -> impl ExactSizeIterator<Item = &str> {
        self.exact.iter().map(String::as_str)
    }

    /// Patterns, in order.
    pub fn patterns(&self) -> impl ExactSizeIterator<Item = &Pattern> {
        self.patterns.iter()
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.exact.is_empty() && self.patterns.is_empty()
    }

    /// The member that covers `name` (lower case, no trailing dot).
    pub fn find(&self, name: &str) -> Option<Found<'_>> {
        let plain = parents_or_self(name).find_map(|suffix| self.plain.get(suffix));
        if let Some(plain) = plain {
            return Some(Found::Plain(plain));
        }
        if let Some(exact) = self.exact.get(name) {
            return Some(Found::Exact(exact));
        }
        self.patterns.iter().find(|pattern| pattern.matches(name)).map(Found::Pattern)
    }

    pub(super) fn insert_plain(&mut self, name: String) {
        self.plain.insert(name);
    }

    pub(super) fn insert_exact(&mut self, name: String) {
        self.exact.insert(name);
    }

    pub(super) fn insert_pattern(&mut self, pattern: Pattern) {
        self.patterns.insert(pattern);
    }

    /// Drops what plain members, here or in `wider`, cover anyway. Squid warns about (and older ones
    /// refuse) a `dstdomain` list that holds a name and its parent. A name that a pattern covers
    /// stays: Squid does not mind, and its subdomains may have underscores.
    pub(super) fn reduce(&mut self, wider: Option<&Names>) {
        let above = |name: &str| {
            let here = parents(name).any(|parent| self.plain.contains(parent));
            here || wider.is_some_and(|wider| wider.holds_above(name))
        };
        let plain: Vec<String> = self.plain.iter().filter(|name| above(name)).cloned().collect();
        let covered = |name: &&String| {
            let same = |wider: &Names| wider.exact.contains(*name) || wider.holds_above(name);
            self.holds_above(name) || wider.is_some_and(same)
        };
        let exact: Vec<String> = self.exact.iter().filter(covered).cloned().collect();
        let above = |pattern: &&Pattern| {
            let within =
                |names: &Names| pattern.parent().is_some_and(|name| names.holds_above(name));
            let same = |names: &Names| names.patterns.contains(*pattern) || within(names);
            within(self) || wider.is_some_and(same)
        };
        let patterns: Vec<Pattern> = self.patterns.iter().filter(above).cloned().collect();
        for name in &plain {
            self.plain.remove(name);
        }
        for name in &exact {
            self.exact.remove(name);
        }
        for pattern in &patterns {
            self.patterns.remove(pattern);
        }
    }

    /// Whether `name` or a parent of it is a plain member.
    fn holds_above(&self, name: &str) -> bool {
        parents_or_self(name).any(|suffix| self.plain.contains(suffix))
    }
}

/// `a.b.c`, `b.c`, `c`.
fn parents_or_self(name: &str) -> impl Iterator<Item = &str> {
    successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent))
}

/// `b.c`, `c`.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    parents_or_self(name).skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let pattern = Pattern::new(pattern.to_owned(), Star::Narrow);
        for name in matching {
            assert!(pattern.matches(name), "{pattern} should match {name}");
        }
        for name in others {
            assert!(!pattern.matches(name), "{pattern} should not match {name}");
        }
    }

    fn names(plain: &[&str], patterns: &[&str]) -> Names {
        Names {
            plain: plain.iter().map(ToString::to_string).collect(),
            exact: BTreeSet::new(),
            patterns: patterns
                .iter()
                .map(|p| Pattern::new((*p).to_owned(), Star::Narrow))
                .collect(),
        }
    }

    #[test]
    fn a_star_crosses_dots_and_stops_at_underscores() {
        check("*.a.com", &["b.a.com", "c.b.a.com", "-.a.com"], &["a.com", "ba.com", "b_c.a.com"]);
        check("*a.com", &["a.com", "b.a.com", "evila.com"], &["a.com.evil", "a_a.com"]);
        check("a.*", &["a.com", "a.evil.com", "a."], &["a", "b.a.com"]);
        check(
            "a*b*c",
            &["abc", "aXXbYYc".to_lowercase().as_str(), "abbcc"],
            &["ab", "acb", "a_bc"],
        );
        check("x_*.a.com", &["x_.a.com", "x_1.a.com"], &["x__.a.com", "y_1.a.com"]);
        check("*x_y*", &["x_y", "ax_yb", "xx_yy"], &["x_x_y", "x_yx_y"]);
    }

    #[test]
    fn a_wide_star_takes_underscores_too() {
        let pattern = Pattern::new("a-*.b.com".to_owned(), Star::Wide);
        assert!(pattern.matches("a-x_y.b.com") && pattern.matches("a-.b.com"));
        assert!(!pattern.matches("a_x.b.com"));
    }

    #[test]
    fn covered_members_are_dropped() {
        let mut set = names(
            &[
                "a.com",
                "b.a.com",
                "c.b.a.com",
                "ba.com",
                "x.w.org",
                "w.org",
                "u_v.w2.org",
                "y.w2.org",
            ],
            &["*.a.com", "api-*.a.com", "*.w2.org", "a.*"],
        );
        set.reduce(None);
        assert_eq!(
            set,
            names(&["a.com", "ba.com", "w.org", "u_v.w2.org", "y.w2.org"], &["*.w2.org", "a.*"])
        );
    }

    #[test]
    fn an_exact_name_covers_nothing_below_and_goes_where_a_plain_one_covers_it() {
        let mut set = names(&["b.com"], &[]);
        for name in ["a.com", "b.com", "x.b.com", "c.com", "d.com"] {
            set.insert_exact(name.to_owned());
        }
        let mut wider = names(&["c.com"], &[]);
        wider.insert_exact("d.com".to_owned());
        set.reduce(Some(&wider));
        assert_eq!(set.exact().collect::<Vec<_>>(), ["a.com"]);
        assert_eq!(set.find("a.com"), Some(Found::Exact("a.com")));
        assert_eq!(set.find("x.a.com"), None);
    }

    #[test]
    fn members_of_a_wider_set_are_dropped() {
        let mut set = names(&["a.com", "x.a.com", "b.com"], &["*.a.com", "*.c.com", "*.b.com"]);
        set.reduce(Some(&names(&["a.com"], &["*.c.com"])));
        assert_eq!(set, names(&["b.com"], &[]));
    }
}
