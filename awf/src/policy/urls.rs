//! Which URLs may be asked for: the patterns of `--allow-urls`.
//!
//! Takes one pattern as written, gives an answer for any host and path. Pure. A pattern narrows what the domain lists allow
//! and never widens it. It is matched by what the path says to every server: an encoded letter is that letter, and a path
//! that some servers would shorten (`..`, `%2e`, `%2f..`) fits nothing. Must never guess: what could be read in two ways is
//! an error of the pattern or a denial of the request.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Serialize, Serializer};

use super::credentials::{code, decoded};
use crate::doors::names;

/// How often a path is decoded in search of dot segments. Servers decode once, proxies before them once more.
const DECODED: usize = 3;

/// A pattern of URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPattern {
    text: String,
    host: Vec<Part>,
    path: Vec<Part>,
    query: Query,
    /// Written with a slash at its end: the path without it is meant, too.
    slashed: bool,
}

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// These very bytes.
    Text(String),
    /// Any bytes, or none.
    Any,
}

/// What may stand after the `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Query {
    /// Nothing, not even the `?`.
    None,
    /// Whatever there is.
    Any,
    /// What fits.
    Like(Vec<Part>),
}

/// What is wrong with a pattern, and what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternError {
    /// What is wrong.
    pub problem: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// What the patterns say of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlVerdict<'a> {
    /// No pattern is about this host.
    Unconcerned,
    /// This pattern allows it.
    Allowed(&'a UrlPattern),
    /// Patterns are about this host, and none allows it.
    Denied,
}

/// All patterns of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct UrlRules(Vec<UrlPattern>);

impl UrlRules {
    /// Patterns in the order in which they were written.
    pub fn new(patterns: Vec<UrlPattern>) -> Self {
        Self(patterns)
    }

    /// The patterns.
    pub fn patterns(&self) -> &[UrlPattern] {
        &self.0
    }

    /// Whether any pattern is about this host (in canonical form).
    pub fn concern(&self, host: &str) -> bool {
        self.0.iter().any(|pattern| pattern.is_about(host))
    }

    /// Judges a request for `path_and_query` by TLS.
    pub fn judge(&self, host: &str, path_and_query: &str) -> UrlVerdict<'_> {
        let mut about = self.0.iter().filter(|pattern| pattern.is_about(host)).peekable();
        if about.peek().is_none() {
            return UrlVerdict::Unconcerned;
        }
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        if !path.starts_with('/') || is_shortened(path) {
            return UrlVerdict::Denied;
        }
        let (path, query) = (normal(path), query.map(normal));
        let found = about.find(|pattern| pattern.fits(&path, query.as_deref()));
        found.map_or(UrlVerdict::Denied, UrlVerdict::Allowed)
    }
}

impl UrlPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let wrong = |problem, remedy| Err(PatternError { problem, remedy });
        let unfit = |c: char| c.is_whitespace() || c.is_control() || "\"'`;#".contains(c);
        if !text.is_ascii() || text.contains(unfit) {
            let problem = "it has a character that no URL has as it is";
            return wrong(problem, "leave out blanks, quotes, ; and #, and encode others as %XX");
        }
        let Some(rest) = text.strip_prefix("https://") else {
            let problem = "it does not start with https://";
            return wrong(problem, "write it as https://github.com/my-org/*");
        };
        let Some((authority, _path)) = rest.split_once('/') else {
            let problem = "it has no path";
            return wrong(problem, "put / after the host for the root, or /* for all of it");
        };
        let path = rest.get(authority.len()..).unwrap_or_default();
        let host = host_of(authority)?;
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        if is_shortened(&path.replace(".*", "*")) {
            let problem = "its path has . or .. in it";
            return wrong(problem, "write the path that it leads to");
        }
        let normal_path = normal(path);
        let slashed = normal_path.len() > 1 && normal_path.ends_with('/');
        let path = parts(&normal_path, true);
        let query = match query {
            Some(query) => Query::Like(parts(&normal(query), true)),
            None if path.last() == Some(&Part::Any) => Query::Any,
            None => Query::None,
        };
        Ok(Self { text: text.to_owned(), host: parts(&host, false), path, query, slashed })
    }

    /// The host, if the pattern names exactly one.
    pub fn host(&self) -> Option<&str> {
        match &*self.host {
            [Part::Text(host)] => Some(host),
            _ => None,
        }
    }

    fn is_about(&self, host: &str) -> bool {
        fit(&self.host, host)
    }

    fn fits(&self, path: &str, query: Option<&str>) -> bool {
        let query = match (&self.query, query) {
            (Query::Any, _) | (Query::None, None) => true,
            (Query::None, Some(_)) | (Query::Like(_), None) => false,
            (Query::Like(like), Some(query)) => fit(like, query),
        };
        query
            && (fit(&self.path, path)
                || (self.slashed && !path.ends_with('/') && fit(&self.path, &format!("{path}/"))))
    }
}

/// The host of a pattern, in lower case and without the port, which can only be the usual one.
fn host_of(authority: &str) -> Result<String, PatternError> {
    let wrong = |problem, remedy| Err(PatternError { problem, remedy });
    if authority.contains('@') {
        let problem = "it has a user name, which no request has in its URL";
        return wrong(problem, "leave out what stands before the @");
    }
    let host = match authority.split_once(':') {
        None => authority,
        Some((host, "443")) => host,
        Some(_) => return wrong("TLS is allowed on port 443 only", "leave out the port"),
    };
    if !host.contains(|c: char| c.is_ascii_alphanumeric()) {
        return wrong(
            "it is too broad",
            "name the host, or part of it as in https://*.github.com/*",
        );
    }
    // Any letter may stand for a star: what is left must be a host.
    if names::canonical(&host.replace('*', "x")).is_err() && host.parse::<Ipv4Addr>().is_err() {
        let problem = "what stands before the path is no host name";
        return wrong(problem, "write it as https://github.com/my-org/*, other alphabets as xn--");
    }
    Ok(host.trim_end_matches('.').to_ascii_lowercase())
}

/// Splits at wildcards: `*`, and in a path also `.*`, for those who think in regular expressions.
fn parts(text: &str, dotted: bool) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('*') {
        let before = before.strip_suffix('.').filter(|_| dotted).unwrap_or(before);
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        if parts.last() != Some(&Part::Any) {
            parts.push(Part::Any);
        }
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    parts
}

/// Whether the whole text fits. A literal that is found early leaves the most to the rest.
fn fit(parts: &[Part], text: &str) -> bool {
    let mut rest = text;
    let mut free = false;
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Any => free = true,
            Part::Text(literal) if !free => match rest.strip_prefix(&**literal) {
                Some(after) => rest = after,
                None => return false,
            },
            Part::Text(literal) if at + 1 == parts.len() => return rest.ends_with(&**literal),
            Part::Text(literal) => {
                let Some((_before, after)) = rest.split_once(&**literal) else { return false };
                (rest, free) = (after, false);
            }
        }
    }
    free || rest.is_empty()
}

/// A path or query in the form in which it is compared: what need not be encoded is not, and digits of codes are upper case
/// (RFC 3986, 6.2.2). Slashes stay as many as they are.
fn normal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let coded = code(after.as_bytes());
        match coded {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(char::from(byte));
            }
            Some(_byte) => {
                out.push('%');
                out.push_str(&after.get(..2).unwrap_or_default().to_ascii_uppercase());
            }
            None => out.push('%'),
        }
        rest = if coded.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    out.push_str(rest);
    out
}

/// Whether some server would take segments away from this path: `.` and `..`, however they and the slashes around them are
/// spelled, also with parameters (`..;x`). Clients take them away before they ask.
fn is_shortened(path: &str) -> bool {
    let mut path = path.as_bytes().to_vec();
    for _ in 0..DECODED {
        let dots = path.split(|byte| matches!(byte, b'/' | b'\\')).any(|segment| {
            let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
            matches!(name, b"." | b"..")
        });
        if dots {
            return true;
        }
        path = decoded(&path);
    }
    false
}

impl fmt::Display for UrlPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for UrlPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(pattern: &str, problem: &str) {
        let error = UrlPattern::parse(pattern).map(|_| ()).unwrap_err();
        assert!(error.problem.contains(problem), "{pattern}: {error:?}");
    }

    fn rules(patterns: &[&str]) -> UrlRules {
        UrlRules::new(patterns.iter().map(|text| UrlPattern::parse(text).unwrap()).collect())
    }

    /// A pattern with URLs that it allows and URLs that it denies; `-` before one that is not its business.
    #[track_caller]
    fn check(pattern: &str, allowed: &[&str], denied: &[&str]) {
        let rules = rules(&[pattern]);
        let judge = |url: &str| {
            let (host, path) = url.split_once('/').unwrap();
            match rules.judge(host, &format!("/{path}")) {
                UrlVerdict::Allowed(_) => "allowed",
                UrlVerdict::Denied => "denied",
                UrlVerdict::Unconcerned => "unconcerned",
            }
        };
        for url in allowed {
            assert_eq!(judge(url), "allowed", "{pattern}: {url}");
        }
        for url in denied {
            let (url, want) =
                url.strip_prefix('-').map_or((*url, "denied"), |url| (url, "unconcerned"));
            assert_eq!(judge(url), want, "{pattern}: {url}");
        }
    }

    #[test]
    fn patterns_mean_what_the_originals_table_says_where_it_is_right() {
        check(
            "https://github.com/myorg/*",
            &["github.com/myorg/", "github.com/myorg/a/b?c=d", "github.com/myorg//x"],
            &["github.com/", "github.com/myorg", "github.com/myorgs/x", "-evil.com/myorg/x"],
        );
        check(
            "https://github.com/myorg",
            &["github.com/myorg"],
            &["github.com/myorg/", "github.com/myorg?x", "github.com/myorg2", "github.com/MyOrg"],
        );
        check(
            "https://github.com/myorg/",
            &["github.com/myorg", "github.com/myorg/"],
            &["github.com/myorg/x", "github.com/myorg?x", "github.com/"],
        );
        check("https://github.com/*", &["github.com/", "github.com/a/b?c"], &["-x.github.com/"]);
        check(
            "https://*.github.com/*",
            &["gist.github.com/x", "status.github.com/", "a.b.github.com/s?s"],
            &["-github.com/x", "-evilgithub.com/x"],
        );
        check(
            "https://api-*.example.com/v1/*",
            &["api-eu.example.com/v1/x"],
            &["api-eu.example.com/v2/x", "-api.example.com/v1/x"],
        );
        check("https://GitHub.com:443/x/*", &["github.com/x/y"], &["github.com/y"]);
        check("https://192.0.2.1/x", &["192.0.2.1/x"], &["192.0.2.1/"]);
    }

    #[test]
    fn a_root_is_exactly_the_root() {
        check("https://github.com/", &["github.com/"], &["github.com/x", "github.com/?x"]);
    }

    #[test]
    fn what_looks_like_an_expression_is_taken_literally_except_a_dot_and_star() {
        check("https://h.example/v[12]/x", &["h.example/v[12]/x"], &["h.example/v1/x"]);
        check(r"https://h.example/\d+", &[r"h.example/\d+"], &["h.example/1"]);
        check("https://h.example/v1.0", &["h.example/v1.0"], &["h.example/v1x0"]);
        check("https://h.example/a.*b", &["h.example/ab", "h.example/a/s/b"], &["h.example/a"]);
        check("https://h.example/.*", &["h.example/", "h.example/a?b"], &[]);
        check("https://h.example/*.git", &["h.example/a/b.git"], &["h.example/bgit"]);
    }

    #[test]
    fn a_query_is_matched_where_the_pattern_has_one_and_free_behind_a_last_star_only() {
        check(
            "https://h.example/x?y=1",
            &["h.example/x?y=1", "h.example/%78?%79=1"],
            &["h.example/x", "h.example/x?y=2", "h.example/x?y=1&z"],
        );
        check("https://h.example/x?y=*", &["h.example/x?y=1&z"], &["h.example/x?z&y=1"]);
        check(
            "https://h.example/repos/*/pulls",
            &["h.example/repos/a/b/pulls"],
            &["h.example/repos/a/delete?x=/pulls", "h.example/repos/a/pulls?x"],
        );
    }

    #[test]
    fn patterns_that_are_too_broad_or_could_never_fit_are_refused() {
        for broad in ["https://*/*", "https://.*/x", "https://*.*/x", "https://*:443/x"] {
            refused(broad, "too broad");
        }
        for pathless in
            ["https://github.com", "https://*", "https://*.*", "https://.*", "https://*.github.com"]
        {
            refused(pathless, "no path");
        }
        for other in
            ["http://h/x", "github.com/x/*", "HTTPS://github.com/x", "*", ".*", "", "https:/x"]
        {
            refused(other, "https://");
        }
        for odd in [
            "https://h/a b",
            "https://h/'",
            "https://h/\"",
            "https://h/#x",
            "https://h/`",
            "https://h/;",
            "https://h/\0",
            "https://h/\u{e9}",
        ] {
            refused(odd, "character");
        }
        refused("https://user@h.example/x", "user name");
        refused("https://h.example:8443/x", "port");
        for host in
            ["https:///x", "https://a..b/x", "https://h?x/y", "https://[::1]/x", "https://127.1/x"]
        {
            UrlPattern::parse(host).unwrap_err();
        }
        for path in
            ["https://h.example/a/../b", "https://h.example/./b", "https://h.example/%2e%2e/b"]
        {
            refused(path, "..");
        }
    }

    #[test]
    fn no_spelling_of_a_path_gets_around_a_pattern() {
        check(
            "https://h.example/myorg/*",
            &[
                "h.example/%6dyorg/x",
                "h.example/%6Dyorg/%78",
                "h.example/myorg/a..b/...",
                "h.example/myorg/a%2fb",
            ],
            &[
                "h.example/myorg/../secret",
                "h.example/%6dyorg/../secret",
                "h.example/myorg/%2e%2e/secret",
                "h.example/myorg/%2E./secret",
                "h.example/myorg/x%2f..%2f..%2fsecret",
                "h.example/myorg/..%5csecret",
                r"h.example/myorg/..\secret",
                "h.example/myorg/%252e%252e/secret",
                "h.example/myorg/..;x/secret",
                "h.example/myorg/..",
                "h.example/myorg/.",
                "h.example//myorg/x",
                "h.example/MYORG/x",
                "h.example/myorg%2fx",
                "h.example/my%+6frg/x",
            ],
        );
    }

    #[test]
    fn patterns_of_one_host_add_up_and_leave_others_alone() {
        let rules = rules(&["https://h.example/a", "https://*.example/b"]);
        assert!(rules.concern("h.example") && !rules.concern("example"));
        for (path, allowed) in [("/a", true), ("/b", true), ("/c", false)] {
            let verdict = rules.judge("h.example", path);
            assert_eq!(matches!(verdict, UrlVerdict::Allowed(_)), allowed, "{path}");
        }
        assert_eq!(rules.patterns()[0].host(), Some("h.example"));
        assert_eq!(rules.patterns()[1].host(), None);
    }
}
