//! The grammar of one entry of an allow or block list.
//!
//! Takes the text between two commas, gives its normalised meaning or what is wrong with it and
//! what to write instead. An entry that could never match anything is an error, never ignored.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::address::{ends_in_number, literal};
use super::names::{Pattern, Star};
use super::{Protocol, is_reserved};

/// Longest label and longest name (RFC 1035, section 2.3.4; the name without its trailing dot).
const LABEL_MAX_BYTES: usize = 63;
const NAME_MAX_BYTES: usize = 253;
/// Keeps the longest regular expression well under the 2048 bytes that Squid 5.7 reads of one line
/// of a list file (`CONFIG_LINE_LIMIT`); the rest of a longer line would become a pattern of its own.
const STARS_MAX: usize = 16;

/// Which list an entry stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `--allow-domains` and its file.
    Allow,
    /// `--block-domains` and its file.
    Block,
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allowed",
            Self::Block => "blocked",
        })
    }
}

/// An entry that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{list} domain {entry:?}: {problem}")]
pub struct EntryError {
    /// The list it stands in.
    pub list: List,
    /// The entry as given, trimmed.
    pub entry: String,
    /// What is wrong and what to write instead.
    pub problem: Problem,
}

/// Why an entry cannot be used, with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing but a scheme, slashes or a dot.
    #[error("holds no domain name; write a name such as example.com")]
    NoName,
    /// Two dots in a row.
    #[error("has an empty label between two dots; write single dots")]
    DoubleDot,
    /// Matches every name.
    #[error("matches (almost) every name; name the domains that are needed, such as *.example.com")]
    TooBroad,
    /// A character that no name has.
    #[error("has the character {} that no domain name has; `*` is the only wildcard, there are no \
             regular expressions", shown(*.0))]
    Character(char),
    /// A scheme other than http and https.
    #[error("has the unknown scheme {scheme}://; {instead}")]
    Scheme {
        /// The scheme.
        scheme: String,
        /// The remedy.
        instead: String,
    },
    /// A path, query or user.
    #[error("has a {part}, but only whole domains can be listed; {instead}")]
    UrlPart {
        /// The part.
        part: &'static str,
        /// The remedy.
        instead: String,
    },
    /// `=` before something that has no subdomains to leave out.
    #[error(
        "has a = and a wildcard; = means a name without its subdomains, so write one or the other"
    )]
    ExactPattern,
    /// A port.
    #[error(
        "has a port; {instead} (plain HTTP is on port 80 and TLS on 443, other ports stay closed)"
    )]
    Port {
        /// The remedy.
        instead: String,
    },
    /// An address that can never match.
    #[error("is {what}; {instead}")]
    Address {
        /// What it is.
        what: &'static str,
        /// The remedy.
        instead: String,
    },
    /// A label or the whole name is too long, or there are too many wildcards.
    #[error("has {what}; no such name can exist, check the spelling")]
    TooLong {
        /// What is too long.
        what: &'static str,
    },
    /// No ASCII form exists.
    #[error("is no valid international domain name; write its xn-- form")]
    International,
    /// Below `.invalid` (RFC 6761, section 6.4).
    #[error("ends in .invalid, where no name can ever exist; remove it")]
    Reserved,
    /// Another spelling of the keyword that opens this machine, which `cli` replaces.
    #[error("stands for this machine; write localhost, http://localhost or https://localhost")]
    Localhost,
}

fn shown(character: char) -> String {
    if character.is_ascii_graphic() {
        format!("`{character}`")
    } else {
        format!("U+{:04X}", u32::from(character))
    }
}

/// What an entry is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Name(String),
    /// A name without its subdomains.
    Exact(String),
    Pattern(Pattern),
    Address(Ipv4Addr),
}

/// A normalised entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) protocol: Protocol,
    pub(super) subject: Subject,
    /// The name as read, when the entry was an international one.
    pub(super) read_as: Option<String>,
}

/// Reads a trimmed, non-empty entry. `=` before it means the name without its subdomains, which the
/// original has no notation for; rulesets say it with `subdomains: false`.
pub(super) fn parse(text: &str, list: List) -> Result<Entry, Problem> {
    if let Some(bad) = text.chars().find(|c| is_forbidden(*c)) {
        return Err(Problem::Character(bad));
    }
    let (exact, text) = text.strip_prefix('=').map_or((false, text), |rest| (true, rest));
    let (protocol, rest) = scheme(text)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let authority = authority(rest)?;
    let ascii = to_ascii(authority)?;
    let read_as = (!authority.is_ascii()).then(|| ascii.clone());
    let name = trim_dots(&ascii)?;
    if name == "localhost" && list == List::Allow {
        return Err(Problem::Localhost);
    }
    if is_reserved(name) {
        return Err(Problem::Reserved);
    }
    let subject = if name.contains('*') {
        if exact {
            return Err(Problem::ExactPattern);
        }
        Subject::Pattern(pattern(name, list)?)
    } else if let Some(address) = address(name, protocol, list)? {
        Subject::Address(address)
    } else {
        labels(name)?;
        if exact { Subject::Exact(name.to_owned()) } else { Subject::Name(name.to_owned()) }
    };
    Ok(Entry { protocol, subject, read_as })
}

/// Characters that could end a token, a line or a comment in some file that a list passes through.
fn is_forbidden(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '`' | ';' | '#' | '\\')
}

fn scheme(text: &str) -> Result<(Protocol, &str), Problem> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok((Protocol::Both, text));
    };
    if scheme.eq_ignore_ascii_case("http") {
        Ok((Protocol::Http, rest))
    } else if scheme.eq_ignore_ascii_case("https") {
        Ok((Protocol::Https, rest))
    } else {
        let host = host_of(rest);
        let instead = format!("write {host}, http://{host} or https://{host}");
        Err(Problem::Scheme { scheme: scheme.to_owned(), instead })
    }
}

/// The host in `user@host:port/path?query`, as a suggestion only.
fn host_of(text: &str) -> &str {
    let text = text.split(['/', '?']).next().unwrap_or(text);
    let text = text.rsplit('@').next().unwrap_or(text);
    text.split(':').next().unwrap_or(text)
}

/// Refuses everything a URL may have around its host.
fn authority(text: &str) -> Result<&str, Problem> {
    if text.is_empty() {
        return Err(Problem::NoName);
    }
    let instead = || format!("write {}", host_of(text));
    if let Some((address, bits)) = text.split_once('/')
        && (literal(address).is_some() || address.contains(':'))
        && bits.bytes().all(|b| b.is_ascii_digit())
    {
        let instead = "list single IPv4 addresses or, better, names".to_owned();
        return Err(Problem::Address { what: "an address range", instead });
    }
    if matches!(literal(text), Some(IpAddr::V6(_)))
        || text.starts_with('[')
        || text.matches(':').count() > 1
    {
        let instead = "IPv6 literals are always refused, list the name".to_owned();
        return Err(Problem::Address { what: "an IPv6 address", instead });
    }
    let part = match text.find(['/', '?', '@', ':']).and_then(|at| text.as_bytes().get(at)) {
        None => return Ok(text),
        Some(b':') if !text.contains(['/', '?', '@']) => {
            return Err(Problem::Port { instead: instead() });
        }
        Some(b'@') => "user name",
        Some(b'?') => "query",
        Some(_) if text.contains('@') => "user name",
        Some(_) => "path",
    };
    Err(Problem::UrlPart { part, instead: instead() })
}

/// Lower-case ASCII form (UTS 46, non-transitional).
fn to_ascii(text: &str) -> Result<String, Problem> {
    if text.is_ascii() {
        return Ok(text.to_ascii_lowercase());
    }
    let ascii = idna::domain_to_ascii(text).map_err(|_errors| Problem::International)?;
    // A star inside an international label would be encoded away, and mapping may make one.
    let encoded_star = ascii.split('.').any(|l| l.starts_with("xn--") && l.contains('*'));
    if encoded_star || text.matches('*').count() != ascii.matches('*').count() {
        return Err(Problem::International);
    }
    Ok(ascii)
}

/// Without one leading dot (`.example.com` means `example.com`) and one trailing dot (the root).
fn trim_dots(name: &str) -> Result<&str, Problem> {
    if name.contains("..") {
        return Err(Problem::DoubleDot);
    }
    if name.contains('*') && name.bytes().all(|b| matches!(b, b'*' | b'.')) {
        return Err(Problem::TooBroad);
    }
    let name = name.strip_prefix('.').unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() { Err(Problem::NoName) } else { Ok(name) }
}

fn address(name: &str, protocol: Protocol, list: List) -> Result<Option<Ipv4Addr>, Problem> {
    let Some(IpAddr::V4(address)) = literal(name) else {
        if ends_in_number(name) {
            let instead = "check the spelling".to_owned();
            return Err(Problem::Address { what: "neither a name nor an address", instead });
        }
        return Ok(None);
    };
    let instead = format!("write {address}");
    if name != address.to_string() {
        return Err(Problem::Address { what: "an unusual spelling of an IPv4 address", instead });
    }
    if list == List::Block {
        return Ok(Some(address));
    }
    if protocol != Protocol::Both {
        return Err(Problem::Address { what: "an IPv4 address with a scheme", instead });
    }
    let [first, ..] = address.octets();
    if first == 0 || address.is_loopback() || address.is_multicast() || address.is_broadcast() {
        let instead = "no proxy connects there, remove it".to_owned();
        return Err(Problem::Address { what: "not the address of another machine", instead });
    }
    Ok(Some(address))
}

fn pattern(name: &str, list: List) -> Result<Pattern, Problem> {
    let mut pattern = name.to_owned();
    while pattern.contains("**") {
        pattern = pattern.replace("**", "*");
    }
    labels(&pattern)?;
    if ends_in_number(&pattern) {
        let instead = "list single IPv4 addresses or, better, names".to_owned();
        return Err(Problem::Address { what: "an address with a wildcard", instead });
    }
    let bare = pattern.split('.').filter(|label| *label == "*").count();
    let other = pattern.split('.').count() - bare;
    if bare > 1 && other <= 1 {
        return Err(Problem::TooBroad);
    }
    if pattern.matches('*').count() > STARS_MAX {
        return Err(Problem::TooLong { what: "more than 16 wildcards" });
    }
    let star = match list {
        List::Allow => Star::Narrow,
        List::Block => Star::Wide,
    };
    Ok(Pattern::new(pattern, star))
}

fn labels(name: &str) -> Result<(), Problem> {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
    if let Some(bad) = name.chars().find(|c| !allowed(c)) {
        return Err(Problem::Character(bad));
    }
    let literal_bytes = |text: &str| text.bytes().filter(|b| *b != b'*').count();
    if name.split('.').any(|label| literal_bytes(label) > LABEL_MAX_BYTES) {
        return Err(Problem::TooLong { what: "a label of more than 63 characters" });
    }
    if literal_bytes(name) > NAME_MAX_BYTES {
        return Err(Problem::TooLong { what: "more than 253 characters" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match parse(text.trim(), List::Allow) {
            Ok(entry) => {
                let subject = match entry.subject {
                    Subject::Name(name) => name,
                    Subject::Exact(name) => format!("={name}"),
                    Subject::Pattern(pattern) => format!("pattern {pattern}"),
                    Subject::Address(address) => format!("address {address}"),
                };
                format!("{:?} {subject}", entry.protocol)
            }
            Err(problem) => format!("error: {problem}"),
        }
    }

    /// Rows of the original's example table (reference/awf-surface.md, 7.3) that stay or are
    /// normalised.
    #[test]
    fn usable_entries_are_normalised() {
        for (text, meaning) in [
            ("github.com", "Both github.com"),
            ("GitHub.COM", "Both github.com"),
            ("github.com.", "Both github.com"),
            (".github.com", "Both github.com"),
            ("api.github.com", "Both api.github.com"),
            ("*.github.com", "Both pattern *.github.com"),
            ("*.GitHub.com", "Both pattern *.github.com"),
            ("*github.com", "Both pattern *github.com"),
            ("github.*", "Both pattern github.*"),
            ("api-*.example.com", "Both pattern api-*.example.com"),
            ("*-*.example.com", "Both pattern *-*.example.com"),
            ("**.github.com", "Both pattern *.github.com"),
            ("a.*.github.com", "Both pattern a.*.github.com"),
            ("*.a.*.com", "Both pattern *.a.*.com"),
            ("*.*.github.com", "Both pattern *.*.github.com"),
            ("*.com", "Both pattern *.com"),
            ("1.2.3.*", "Both pattern 1.2.3.*"),
            ("com", "Both com"),
            ("a", "Both a"),
            ("http://legacy.com", "Http legacy.com"),
            ("https://secure.com", "Https secure.com"),
            ("https://*.github.com", "Https pattern *.github.com"),
            ("http://*.example.com", "Http pattern *.example.com"),
            ("https://github.com/", "Https github.com"),
            ("github.com/", "Both github.com"),
            ("HTTPS://github.com", "Https github.com"),
            ("1.2.3.4", "Both address 1.2.3.4"),
            ("1.2.3.4.", "Both address 1.2.3.4"),
            ("172.30.0.1", "Both address 172.30.0.1"),
            ("foo.localhost", "Both foo.localhost"),
            ("host.docker.internal", "Both host.docker.internal"),
            ("xn--bcher-kva.ch", "Both xn--bcher-kva.ch"),
            ("bücher.ch", "Both xn--bcher-kva.ch"),
            ("*.BÜCHER.ch", "Both pattern *.xn--bcher-kva.ch"),
            ("git_hub.com", "Both git_hub.com"),
            ("-github.com", "Both -github.com"),
            (" github.com\t", "Both github.com"),
            ("*.github.com.", "Both pattern *.github.com"),
            ("all", "Both all"),
            ("none", "Both none"),
        ] {
            assert_eq!(read(text), meaning, "{text:?}");
        }
    }

    /// Rows of the same table that never matched anything, or were refused, and what the error says.
    const UNUSABLE: &[(&str, &str)] = &[
        ("*", "matches (almost) every name"),
        ("*.*", "matches (almost) every name"),
        ("*.*.*", "matches (almost) every name"),
        ("*.*.com", "matches (almost) every name"),
        ("**.*.com", "matches (almost) every name"),
        ("*.", "matches (almost) every name"),
        (".*", "matches (almost) every name"),
        ("ftp://github.com/x", "unknown scheme ftp://; write github.com,"),
        ("github.com/path", "has a path, but only whole domains can be listed; write github.com"),
        ("https://github.com/org/repo", "write github.com"),
        ("github.com:8443", "has a port; write github.com"),
        ("https://github.com:8443", "has a port; write github.com"),
        ("https://github.com:8443/x", "has a path"),
        ("github.com?x=1", "has a query"),
        (
            "user@github.com",
            "has a user name, but only whole domains can be listed; write github.com",
        ),
        ("user:pass@github.com", "has a user name"),
        ("https://1.2.3.4", "an IPv4 address with a scheme; write 1.2.3.4"),
        ("10.0.0.0/8", "an address range"),
        ("2001:db8::/32", "an address range"),
        ("2001:db8::1", "an IPv6 address"),
        ("[2001:db8::1]", "an IPv6 address"),
        ("[2001:db8::1]:443", "an IPv6 address"),
        ("*.1.2.3", "an address with a wildcard"),
        ("0.0.0.0", "not the address of another machine"),
        ("127.0.0.1", "not the address of another machine"),
        ("0x01020304", "an unusual spelling of an IPv4 address; write 1.2.3.4"),
        ("1.2.3.4.5", "neither a name nor an address"),
        ("localhost.", "stands for this machine"),
        ("LOCALHOST", "stands for this machine"),
        ("http://localhost/", "stands for this machine"),
        ("a.invalid", "no name can ever exist"),
        ("*.INVALID.", "no name can ever exist"),
        ("http://", "no domain name"),
        ("https://", "no domain name"),
        ("https:///", "no domain name"),
        ("/", "no domain name"),
        ("github..com", "empty label"),
        ("..", "empty label"),
        ("...", "empty label"),
        ("github.com..", "empty label"),
        (".", "no domain name"),
        ("git hub.com", "U+0020"),
        ("github.com\nhttp_access allow all", "U+000A"),
        ("github.com\0", "U+0000"),
        ("github.com;rm", "`;`"),
        ("github.com#x", "`#`"),
        ("\"github.com", "`\"`"),
        ("git'hub.com", "`'`"),
        ("git`hub.com", "```"),
        ("git\\hub.com", "`\\`"),
        ("$(id).com", "`$`"),
        ("a|b.com", "`|`"),
        ("(a).com", "`(`"),
        ("[a-z].com", "an IPv6 address"),
        ("^github.com$", "`^`"),
        ("!github.com", "`!`"),
        ("git\u{202e}hub.com", "international"),
        ("b*ü.ch", "international"),
        ("\u{ff0a}.github.com", "international"),
    ];

    #[test]
    fn unusable_entries_say_what_to_write() {
        for (text, needle) in UNUSABLE {
            let meaning = read(text);
            assert!(
                meaning.starts_with("error: ") && meaning.contains(needle),
                "{text:?}: {meaning}"
            );
        }
        assert!(read(&format!("{}.com", "a".repeat(300))).contains("63 characters"));
        assert!(read(&["a".repeat(50).as_str(); 6].join(".")).contains("253 characters"));
        assert!(read(&format!("{}.com", "a*".repeat(17))).contains("16 wildcards"));
    }

    #[test]
    fn the_block_list_takes_any_address_and_localhost() {
        for text in ["127.0.0.1", "https://1.2.3.4", "localhost"] {
            assert!(parse(text, List::Block).is_ok(), "{text}");
        }
        parse("10.0.0.0/8", List::Block).expect_err("a range blocks nothing");
    }
}
