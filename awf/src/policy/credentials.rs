//! What credentials look like in a URL: the table of `--enable-dlp`.
//!
//! Takes the text of a URL, says of which kind a credential in it would be. Pure. It finds what is carried out by oversight,
//! not what somebody hides: an encoding of one's own is seen by nobody. Must never give the text that it found.

use std::sync::OnceLock;

use regex::bytes::{RegexSet, RegexSetBuilder};

/// How often a URL is decoded: as it is, as the server reads it, and as a server behind a redirect would.
const DECODED: usize = 3;

/// Kind and shape. `^` stands for what cannot belong to the same word: `task-...` is no key of `OpenAI`'s.
const SHAPES: [(&str, &str); 15] = [
    ("GitHub personal token", r"ghp_[a-z0-9]{36}"),
    ("GitHub OAuth token", r"gho_[a-z0-9]{36}"),
    ("GitHub app token", r"ghs_[a-z0-9]{36}"),
    ("GitHub user-to-server token", r"ghu_[a-z0-9]{36}"),
    ("GitHub fine-grained token", r"github_pat_[a-z0-9_]{22}"),
    ("OpenAI key", r"^sk-[a-z0-9]{20}"),
    ("OpenAI project key", r"^sk-proj-[a-z0-9_-]{20}"),
    ("Anthropic key", r"^sk-ant-[a-z0-9_-]{20}"),
    ("AWS access key id", r"^akia[a-z0-9]{16}"),
    ("Google API key", r"^aiza[a-z0-9_-]{35}"),
    ("Slack bot token", r"^xoxb-[a-z0-9-]{10}"),
    ("Slack user token", r"^xoxp-[a-z0-9-]{10}"),
    ("bearer parameter", r"[?&]bearer="),
    ("authorization parameter", r"[?&]authorization="),
    ("private key", r"-{2,5}begin[a-z0-9 +_]*private[ +_]key"),
];

fn shapes() -> Option<&'static RegexSet> {
    static SET: OnceLock<Option<RegexSet>> = OnceLock::new();
    SET.get_or_init(|| {
        let shapes = SHAPES.map(|(_kind, shape)| {
            shape
                .strip_prefix('^')
                .map_or_else(|| shape.to_owned(), |shape| format!("(?:\\A|[^a-z0-9]){shape}"))
        });
        RegexSetBuilder::new(shapes).case_insensitive(true).unicode(false).build().ok()
    })
    .as_ref()
}

/// The kind of credential that a URL or a part of one holds.
pub fn found_in(text: &[u8]) -> Option<&'static str> {
    // A table that cannot be read would let everything through; a test reads it.
    let Some(set) = shapes() else { return Some("anything, because the table cannot be read") };
    let mut text = text.to_vec();
    for _ in 0..DECODED {
        if let Some(first) = set.matches(&text).iter().next() {
            return SHAPES.get(first).map(|(kind, _shape)| *kind);
        }
        text = decoded(&text);
    }
    None
}

/// The kinds, for the plan.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    SHAPES.iter().map(|(kind, _shape)| *kind)
}

/// Percent-encoded text (RFC 3986, 2.1). What is no code stays.
pub(super) fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let coded = if *first == b'%' { code(after) } else { None };
        out.push(coded.unwrap_or(*first));
        rest = if coded.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    out
}

/// The byte that stands behind a `%`, if two digits follow it.
pub(super) fn code(after: &[u8]) -> Option<u8> {
    let digit = |at: usize| {
        let digit = char::from(*after.get(at)?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    Some(digit(0)? << 4 | digit(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word of so many characters.
    fn word(length: usize) -> String {
        "aB3dE6".chars().cycle().take(length).collect()
    }

    #[test]
    fn every_shape_is_found_however_it_is_encoded_and_named_by_kind_only() {
        let table = [
            ("ghp_", 36, "GitHub personal token"),
            ("gho_", 36, "GitHub OAuth token"),
            ("ghs_", 36, "GitHub app token"),
            ("ghu_", 36, "GitHub user-to-server token"),
            ("github_pat_", 22, "GitHub fine-grained token"),
            ("sk-", 20, "OpenAI key"),
            ("sk-proj-", 20, "OpenAI project key"),
            ("sk-ant-", 20, "Anthropic key"),
            ("AKIA", 16, "AWS access key id"),
            ("AIza", 35, "Google API key"),
            ("xoxb-", 10, "Slack bot token"),
            ("xoxp-", 10, "Slack user token"),
        ];
        for (prefix, length, kind) in table {
            let key = format!("{prefix}{}", word(length));
            let encoded =
                key.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"));
            for text in [
                format!("/x?k={key}"),
                format!("/{key}/y"),
                key.to_uppercase(),
                format!("/x?{encoded}"),
                format!("/x?{}", encoded.replace('%', "%25")),
            ] {
                assert_eq!(found_in(text.as_bytes()), Some(kind), "{text}");
            }
            // One character short.
            let short = format!("/x?k={prefix}{}", word(length - 1));
            assert_eq!(found_in(short.as_bytes()), None, "{short}");
        }
        for (text, kind) in [
            ("/x?bearer=1", "bearer parameter"),
            ("/x?a=b&Authorization=1", "authorization parameter"),
            ("/x?k=-----BEGIN%20RSA%20PRIVATE%20KEY-----", "private key"),
            ("/x?k=-----BEGIN+PRIVATE+KEY-----", "private key"),
        ] {
            assert_eq!(found_in(text.as_bytes()), Some(kind), "{text}");
        }
    }

    #[test]
    fn ordinary_urls_hold_no_credential() {
        for text in [
            "/",
            "/task-abcdefghijklmnopqrstuvwxyz/desk-0123456789012345678901",
            "/forbearer=1?x=bearer",
            "/x?page=2&q=private%20key",
            "/%%%2/%zz%",
            "/ghp_short/AKIA/xoxb-1",
        ] {
            assert_eq!(found_in(text.as_bytes()), None, "{text}");
        }
    }
}
