//! What a credential looks like, and where in a text one stands.
//!
//! Takes texts, gives them without it, or the credentials themselves. Pure. It knows the tokens that are told by their
//! beginning, header fields, URLs and, in a command's text only, options and variables: there alone `key=` means one.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{REDACTED, names};

/// Tokens that are told by their beginning, more of them than [`crate::policy::credentials`] has: to hide a word too many
/// costs a reader little, to refuse a request too many costs a run. GitHub, GitLab, `OpenAI` and Anthropic, AWS, Google, Slack, npm, Hugging Face,
/// JSON Web Tokens, private keys in PEM.
const TOKENS: &str = r"(?x)
    \b gh[pousr]_ [A-Za-z0-9_]{16,}
  | \b github_pat_ [A-Za-z0-9_]{16,}
  | \b glpat- [A-Za-z0-9_-]{16,}
  | \b sk- [A-Za-z0-9_-]{16,}
  | \b (?: AKIA | ASIA | ABIA | ACCA ) [A-Z0-9]{16} \b
  | \b AIza [A-Za-z0-9_-]{30,}
  | \b ya29\. [A-Za-z0-9._-]{16,}
  | \b xox[abeoprs]- [A-Za-z0-9-]{10,}
  | \b xapp- [A-Za-z0-9-]{10,}
  | \b npm_ [A-Za-z0-9]{30,}
  | \b hf_ [A-Za-z0-9]{30,}
  | \b eyJ [A-Za-z0-9_-]{10,} \. [A-Za-z0-9_-]{10,} \. [A-Za-z0-9_-]*
  | -----BEGIN\ [A-Z\ ]* PRIVATE\ KEY----- (?s: .*? -----END\ [A-Z\ ]* PRIVATE\ KEY----- | .* )
";

/// A credential is what the group `value` matches.
const HEADERS: &str = r#"(?xi)
    \b (?: proxy- )? authorization ["']? \s* [:=] \s* ["']?
    (?: (?: bearer | basic | token | digest | negotiate | apikey ) \s+ )? (?<value> [^\s"']+ )
"#;
const KEY_HEADERS: &str = r#"(?xi)
    \b (?: x- )? (?: goog- )? (?: api-key | auth-token | private-token | set-cookie | cookie ) ["']? \s* : \s* ["']?
    (?<value> [^"'\r\n]+ )
"#;
const BEARER: &str = r"(?i)\bbearer\s+(?<value>[A-Za-z0-9._~+/=-]{8,})";
/// `scheme://user:password@`; of a name alone, the name may be a token.
const USER: &str = r#"(?xi) \b [a-z][a-z0-9+.-]* :// (?<value> [^\s/?\#@"']+ ) @ "#;
const QUERY: &str = r#"(?xi) [?&;]
    (?: [\w.-]* (?: token | secret | passw(?:or)?d | key | signature | credential ) [\w.-]* | sig | auth | pwd ) =
    (?<value> [^&\s"'\#;]+ )
"#;
const OPTION: &str = r#"(?xi) (?: ^ | \s ) ["']? --?
    [a-z0-9-]* (?: token | passw(?:or)?d | secret | api-?key | private-?key | credential ) [a-z0-9-]* (?: \s+ | = )
    (?<value> "[^"]*" | '[^']*' | [^\s;&|"']+ )
"#;
/// curl's, with or without a blank.
const USER_OPTION: &str = r#"(?x) (?: ^ | \s ) (?: -u \s* | --(?:proxy-)?user [\s=] ) ["']? [^\s:"']+ :
    (?<value> [^\s"']+ )
"#;
const ASSIGNMENT: &str = r#"(?x) (?: ^ | [^\w] ) (?<name> [A-Za-z_][A-Za-z0-9_]* ) =
    (?<value> "[^"]*" | '[^']*' | [^\s;&|"']+ )
"#;

static TOKEN_SHAPES: LazyLock<Vec<Regex>> = LazyLock::new(|| compile(&[TOKENS]));
static ANYWHERE: LazyLock<Vec<Regex>> =
    LazyLock::new(|| compile(&[HEADERS, KEY_HEADERS, BEARER, USER, QUERY]));
static IN_URLS: LazyLock<Vec<Regex>> = LazyLock::new(|| compile(&[USER, QUERY]));
static IN_COMMANDS: LazyLock<Vec<Regex>> =
    LazyLock::new(|| compile(&[OPTION, USER_OPTION, ASSIGNMENT]));

fn compile(patterns: &[&str]) -> Vec<Regex> {
    // They are constants, and a test compiles them all.
    patterns.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect()
}

/// A text without what looks like a credential anywhere.
pub(super) fn hide(text: &str) -> String {
    let tokens = TOKEN_SHAPES
        .iter()
        .fold(text.to_owned(), |text, shape| shape.replace_all(&text, REDACTED).into_owned());
    ANYWHERE.iter().fold(tokens, |text, place| hide_values(&text, place))
}

/// A command's text without what stands where a credential is passed.
pub(super) fn hide_passed(text: &str) -> String {
    IN_COMMANDS.iter().fold(text.to_owned(), |text, place| hide_values(&text, place))
}

/// The credentials that a command's text passes.
pub(super) fn passed_in(text: &str) -> Vec<String> {
    let places = IN_COMMANDS.iter().chain(ANYWHERE.iter());
    places.flat_map(|place| values(text, place)).collect()
}

/// The credentials of the URLs in a text: the password, or a name alone, which may be a token.
pub(super) fn in_urls(text: &str) -> Vec<String> {
    IN_URLS.iter().flat_map(|place| values(text, place)).collect()
}

fn values(text: &str, place: &Regex) -> Vec<String> {
    let all = place.captures_iter(text).filter(counts);
    let value = all.filter_map(|found| Some(found.name("value")?.as_str().to_owned()));
    let parts = |value: String| {
        let bare = value.trim_matches(['"', '\'']).to_owned();
        let password = bare.split_once(':').map(|(_user, password)| password.to_owned());
        [Some(bare), password].into_iter().flatten()
    };
    value.flat_map(parts).filter(|value| !is_reference(value)).collect()
}

fn hide_values(text: &str, place: &Regex) -> String {
    let replaced = |found: &Captures<'_>| {
        let (all, value) = (found.get(0), found.name("value"));
        match all.zip(value) {
            Some((all, value)) if counts(found) && !is_reference(value.as_str()) => {
                let (before, after) = (value.start() - all.start(), value.end() - all.start());
                let part = |range: &str| range.to_owned();
                let text = all.as_str();
                let head = text.get(..before).map(part).unwrap_or_default();
                head + REDACTED + text.get(after..).unwrap_or_default()
            }
            all => all.map(|(all, _value)| all.as_str().to_owned()).unwrap_or_default(),
        }
    };
    place.replace_all(text, replaced).into_owned()
}

/// Whether an assignment is one of a credential; other places always are.
fn counts(found: &Captures<'_>) -> bool {
    found.name("name").is_none_or(|name| names::is_credential(name.as_str()))
}

/// Whether a word only names a variable, or was replaced already.
fn is_reference(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'']);
    let name = |c: char| c.is_ascii_alphanumeric() || "_{}$()".contains(c);
    value.starts_with('$') && value.chars().all(name) || value.contains(REDACTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        for pattern in
            [TOKENS, HEADERS, KEY_HEADERS, BEARER, USER, QUERY, OPTION, USER_OPTION, ASSIGNMENT]
        {
            Regex::new(pattern).unwrap();
        }
    }

    #[test]
    fn tokens_are_told_by_their_beginning() {
        for token in [
            "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
            "github_pat_11ABCDEFG0_abcdefghijklmnop",
            "sk-proj-abcdefghijklmnop_qrst",
            "sk-ant-api03-abcdefghijklmnop",
            "AKIAIOSFODNN7EXAMPLE",
            "AIzaSyA1234567890abcdefghijklmnopqrstuv",
            "xoxb-1234567890-abcdef",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        ] {
            assert_eq!(hide(&format!("a '{token}' b")), "a '[REDACTED]' b", "{token}");
        }
        for innocent in ["task-force-of-the-city", "ghp_short", "sk-x", "https://example.com/a?b=c"]
        {
            assert_eq!(hide(innocent), innocent);
        }
    }

    #[test]
    fn credentials_in_headers_and_urls_are_hidden_and_the_rest_stays() {
        let check = |text: &str, expected: &str| assert_eq!(hide(text), expected);
        check("-H 'Authorization: Bearer abc'", "-H 'Authorization: Bearer [REDACTED]'");
        check("-H \"authorization: token abc\" x", "-H \"authorization: token [REDACTED]\" x");
        check("Proxy-Authorization: Basic dTpw", "Proxy-Authorization: Basic [REDACTED]");
        check("x-api-key: abc\nHost: a", "x-api-key: [REDACTED]\nHost: a");
        check("Cookie: a=b; c=d", "Cookie: [REDACTED]");
        check("https://u:p@example.com/x", "https://[REDACTED]@example.com/x");
        check(
            "https://e.com/?a=1&access_token=abc&b=2",
            "https://e.com/?a=1&access_token=[REDACTED]&b=2",
        );
        check("Authorization: Bearer $TOKEN", "Authorization: Bearer $TOKEN");
    }

    #[test]
    fn credentials_that_a_command_passes_are_hidden_and_known() {
        let check = |line: &str, hidden: &str, known: &[&str]| {
            assert_eq!(hide(&hide_passed(line)), hidden);
            let found = passed_in(line);
            for value in known {
                assert!(found.iter().any(|found| found == value), "{value}: {found:?}");
            }
        };
        check("x --token abc y", "x --token [REDACTED] y", &["abc"]);
        check("x --api-key='a b' y", "x --api-key=[REDACTED] y", &["a b"]);
        check("curl -u ada:pw https://e.com", "curl -u ada:[REDACTED] https://e.com", &["pw"]);
        check("DB_PASSWORD=pw NAME=x run", "DB_PASSWORD=[REDACTED] NAME=x run", &["pw"]);
        check(
            "git clone https://x:tok@e.com/r",
            "git clone https://[REDACTED]@e.com/r",
            &["x:tok", "tok"],
        );
        check("TOKEN=$OTHER run", "TOKEN=$OTHER run", &[]);
        check("echo keys and tokens", "echo keys and tokens", &[]);
    }
}
