//! The head of an HTTP/1 request: whom it asks for.
//!
//! Takes the bytes a client has sent so far and gives method, target and Host of the first request,
//! or says that more bytes are needed or what is wrong. It consumes nothing, and it never repairs:
//! a head that this module and Squid could read differently (two Hosts, a bare line feed, userinfo,
//! a port that is not a plain number, an authority ended by `#` or `?`) is malformed. Squid judges
//! every request itself; what is read here feeds the relay's own check of name against name, and
//! the record.
//!
//! Sources: RFC 9112 sections 2.2, 3.2 and 5; RFC 9110 section 7.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::doors::names;

/// Bytes after which a request head must be complete; Squid answers 431 above the same size.
pub const MAX_HEAD: usize = 64 * 1024;

/// Header fields a head may have. Browsers send about twenty.
const MAX_FIELDS: usize = 128;

/// Bytes of the longest method (RFC 9110 has none above 7, `WebDAV` and `UPnP` none above 20). It
/// ends the wait on protocols whose greeting looks like an endless method.
const MAX_METHOD: usize = 32;

/// Bytes of the longest User-Agent that is passed on to the log.
const MAX_USER_AGENT: usize = 256;

/// What the bytes of a client amount to so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// A request may still come of it; ask again with more bytes.
    Need,
    /// The whole head is there and sound.
    Request(Request<'a>),
    /// Not HTTP/1, or a request that must not pass, and why.
    Malformed(&'static str),
}

/// The parts of a request head that say whom it is for.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method as sent; methods are case-sensitive.
    pub method: &'a str,
    /// What the request line asks for.
    pub target: Target,
    /// The Host field, if there is one. For [`Target::Connect`] and [`Target::Absolute`] the target
    /// counts and not this.
    pub host: Option<Authority>,
    /// The User-Agent field, if it is plain text of at most 256 bytes.
    pub user_agent: Option<&'a str>,
    /// Bytes of the head, with the empty line that ends it.
    pub length: usize,
}

/// The forms of a request target (RFC 9112, 3.2).
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// `CONNECT host:port`. The port is always there.
    Connect(Authority),
    /// `GET scheme://host[:port]/path`, sent to proxies.
    Absolute {
        /// The scheme in lower case.
        scheme: String,
        /// Host and port of the URL.
        authority: Authority,
    },
    /// A path, or `*`; the Host field names the server.
    Origin,
}

/// A host with the port that was written next to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The server.
    pub host: Host,
    /// Its port, never 0.
    pub port: Option<u16>,
}

/// How a client names a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name in canonical form (see [`names::canonical`]).
    Name(String),
    /// An IP address in its one usual spelling; IPv6 was in brackets.
    Address(IpAddr),
}

/// Reads a request head from the first bytes of a connection; call it again when more have come.
pub fn parse(bytes: &[u8]) -> Head<'_> {
    let seen = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    match read(seen) {
        Ok(Some(request)) => Head::Request(request),
        Ok(None) if seen.len() == MAX_HEAD => Head::Malformed("request head exceeds 64 KiB"),
        Ok(None) => Head::Need,
        Err(reason) => Head::Malformed(reason),
    }
}

fn read(bytes: &[u8]) -> Result<Option<Request<'_>>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    // httparse skips empty lines before the request; we do not, because nobody needs them.
    if bytes.first().is_some_and(|first| !first.is_ascii_alphanumeric()) {
        return Err("not an HTTP request");
    }
    let status = head.parse(bytes).map_err(|error| match error {
        httparse::Error::TooManyHeaders => "more than 128 header fields",
        httparse::Error::Version => "not HTTP/1.0 or HTTP/1.1",
        httparse::Error::HeaderName
        | httparse::Error::HeaderValue
        | httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token => "not an HTTP request",
    })?;
    let length = match status {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => bytes.len(),
    };
    if !bytes.get(..length).is_some_and(has_plain_lines) {
        return Err("line does not end in CR LF");
    }
    let method_end = bytes.iter().take(MAX_METHOD + 1).position(|byte| *byte == b' ');
    if method_end.is_none() && length > MAX_METHOD {
        return Err("not an HTTP request");
    }
    let (httparse::Status::Complete(length), Some(method), Some(path)) =
        (status, head.method, head.path)
    else {
        return Ok(None);
    };
    let target = read_target(method, path)?;
    let host = read_host(head.headers)?;
    let user_agent = read_user_agent(head.headers);
    Ok(Some(Request { method, target, host, user_agent, length }))
}

/// For the log only, so a strange one is left out.
fn read_user_agent<'a>(fields: &[httparse::Header<'a>]) -> Option<&'a str> {
    let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case("User-Agent"))?;
    let text = std::str::from_utf8(field.value).ok()?;
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (plain && !text.is_empty() && text.len() <= MAX_USER_AGENT).then_some(text)
}

/// Whether CR and LF come in pairs only. Some parsers, httparse among them, end a line at a bare
/// LF, some do not: a field that only one of the two sees is how requests are smuggled.
fn has_plain_lines(bytes: &[u8]) -> bool {
    bytes.split_inclusive(|byte| *byte == b'\n').all(|line| {
        // A CR at the very end may still find its LF in the next segment.
        let end = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\r"));
        let text = end.unwrap_or(line);
        !text.contains(&b'\r') && !text.contains(&b'\n')
    })
}

fn read_target(method: &str, target: &str) -> Result<Target, &'static str> {
    if method == "CONNECT" {
        let authority = read_authority(target)?;
        // Squid 5 takes 443 for a missing port, others take 80.
        authority.port.ok_or("CONNECT without a port")?;
        return Ok(Target::Connect(authority));
    }
    if target.starts_with('/') || target == "*" {
        return Ok(Target::Origin);
    }
    let (scheme, rest) = target.split_once("://").ok_or("request target has no known form")?;
    if !is_scheme(scheme) {
        return Err("request target has no known form");
    }
    // Squid 5 and 6 count `#` and `?` as part of the host, so only `/` or the end may follow it.
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    Ok(Target::Absolute {
        scheme: scheme.to_ascii_lowercase(),
        authority: read_authority(authority)?,
    })
}

/// RFC 3986, 3.1.
fn is_scheme(text: &str) -> bool {
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(rest)
}

fn read_host(fields: &[httparse::Header<'_>]) -> Result<Option<Authority>, &'static str> {
    let mut hosts = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let Some(field) = hosts.next() else {
        return Ok(None);
    };
    if hosts.next().is_some() {
        return Err("two Host fields");
    }
    let text = std::str::from_utf8(field.value).or(Err("Host is not a host name"))?;
    read_authority(text).map(Some)
}

/// Reads `host`, `host:port`, `1.2.3.4:port` or `[v6]:port`.
pub(super) fn read_authority(text: &str) -> Result<Authority, &'static str> {
    const HOST: &str = "host is neither a name nor an address";
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or(HOST)?;
        let address: Ipv6Addr = address.parse().or(Err(HOST))?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(read_port(port)?),
            None if rest.is_empty() => None,
            None => return Err(HOST),
        };
        return Ok(Authority { host: Host::Address(address.into()), port });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(read_port(port)?)),
        None => (text, None),
    };
    let host = match host.parse::<Ipv4Addr>() {
        Ok(address) => Host::Address(address.into()),
        // Other spellings of addresses (`127.1`, `0x7f000001`) end here as errors.
        Err(_) => Host::Name(names::canonical(host).or(Err(HOST))?),
    };
    Ok(Authority { host, port })
}

/// Digits only: `u16::from_str` alone would take `+443`.
fn read_port(text: &str) -> Result<u16, &'static str> {
    const PORT: &str = "port is not a number from 1 to 65535";
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PORT);
    }
    text.parse().ok().filter(|port| *port != 0).ok_or(PORT)
}

/// The answer to a denied request: which name, which rule, and what the user can do about it.
///
/// `remedy` is one sentence. All three may hold text from the agent or from a policy file; only
/// printable ASCII gets through, so that nobody can add header fields or terminal escapes.
pub fn forbidden(rule: &str, name: &str, remedy: &str) -> Vec<u8> {
    let body = forbidden_text(rule, name, remedy);
    let rule = printable(rule);
    format!(
        "HTTP/1.1 403 Forbidden\r\n\
         Content-Type: text/plain\r\n\
         Content-Length: {}\r\n\
         Cache-Control: no-store\r\n\
         Connection: close\r\n\
         X-AWF-Rule: {rule}\r\n\
         \r\n\
         {body}",
        body.len()
    )
    .into_bytes()
}

/// The same without its head, for clients whose answers have another form.
pub(super) fn forbidden_text(rule: &str, name: &str, remedy: &str) -> String {
    let [rule, name, remedy] = [rule, name, remedy].map(printable);
    format!("awf: {name} is denied by {rule}.\n{remedy}\n")
}

fn printable(raw: &str) -> String {
    raw.chars().map(|c| if matches!(c, ' '..='~') { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(host: &str, port: Option<u16>) -> Authority {
        Authority { host: Host::Name(host.to_owned()), port }
    }

    fn address(host: &str, port: Option<u16>) -> Authority {
        Authority { host: Host::Address(host.parse().unwrap()), port }
    }

    fn request(head: &str) -> Request<'_> {
        match parse(head.as_bytes()) {
            Head::Request(request) => request,
            other => panic!("{head:?}: {other:?}"),
        }
    }

    fn check_malformed(head: &str, want: &'static str) {
        assert_eq!(parse(head.as_bytes()), Head::Malformed(want), "{head:?}");
    }

    #[test]
    fn a_plain_user_agent_is_read_and_a_strange_one_is_left_out() {
        let check = |field: &str, want| {
            assert_eq!(request(&format!("GET / HTTP/1.1\r\n{field}\r\n\r\n")).user_agent, want);
        };
        check("user-agent: curl/8.0", Some("curl/8.0"));
        check("User-Agent: \u{e9}", None);
        check(&format!("User-Agent: {}", "x".repeat(257)), None);
        check("Accept: */*", None);
    }

    #[test]
    fn origin_form_is_named_by_host() {
        let head = "GET /a?b HTTP/1.1\r\nAccept: */*\r\nhOsT: Example.COM.:8080\r\n\r\n";
        let text = format!("{head}body\n");
        let want = Request {
            method: "GET",
            target: Target::Origin,
            host: Some(name("example.com", Some(8080))),
            user_agent: None,
            length: head.len(),
        };
        assert_eq!(request(&text), want);
        assert_eq!(request("OPTIONS * HTTP/1.0\r\n\r\n").host, None);
    }

    #[test]
    fn connect_and_absolute_forms_carry_their_own_host() {
        let connect = request("CONNECT Example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
        assert_eq!(connect.target, Target::Connect(name("example.com", Some(443))));
        let absolute = request("GET HTTP://a.example:81/x HTTP/1.1\r\nHost: b.example\r\n\r\n");
        assert_eq!(
            absolute.target,
            Target::Absolute { scheme: "http".to_owned(), authority: name("a.example", Some(81)) }
        );
        assert_eq!(absolute.host, Some(name("b.example", None)));
        let short = request("GET ftp://a.example HTTP/1.0\r\n\r\n");
        assert_eq!(
            short.target,
            Target::Absolute { scheme: "ftp".to_owned(), authority: name("a.example", None) }
        );
    }

    #[test]
    fn addresses_are_told_from_names() {
        for (host, want) in [
            ("192.0.2.1", address("192.0.2.1", None)),
            ("192.0.2.1:80", address("192.0.2.1", Some(80))),
            ("[2001:db8::1]", address("2001:db8::1", None)),
            ("[2001:DB8::1]:8443", address("2001:db8::1", Some(8443))),
            ("[::ffff:192.0.2.1]:80", address("::ffff:192.0.2.1", Some(80))),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(request(&head).host, Some(want), "{host}");
        }
    }

    #[test]
    fn hosts_that_two_readers_could_read_differently_are_malformed() {
        const HOST: &str = "host is neither a name nor an address";
        for host in [
            "user@example.com",
            "example.com/x",
            "a b.example",
            "a.example,b.example",
            "",
            ".",
            ".example.com",
            "example.com..",
            "127.1",
            "0x7f000001",
            "2130706433",
            "192.0.2.1.",
            "[::1",
            "[::1]x",
            "[fe80::1%25lo]",
            "[]",
            "[example.com]",
            "evil.test#.example.com",
            "evil.test?.example.com",
            "evil.test\\.example.com",
            "evil.test%2eexample.com",
            "b\u{fc}cher.example",
        ] {
            check_malformed(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), HOST);
        }
        check_malformed("GET / HTTP/1.1\r\nHost: a\0.example\r\n\r\n", "not an HTTP request");
    }

    #[test]
    fn ports_are_plain_numbers() {
        const PORT: &str = "port is not a number from 1 to 65535";
        for port in ["", "0", "+443", "-1", "443abc", "65536", "443,80", " 443", "4 43", "::1"] {
            check_malformed(&format!("GET / HTTP/1.1\r\nHost: a.example:{port}\r\n\r\n"), PORT);
        }
        check_malformed("CONNECT a.example HTTP/1.1\r\n\r\n", "CONNECT without a port");
    }

    #[test]
    fn targets_of_no_known_form_are_malformed() {
        const FORM: &str = "request target has no known form";
        const HOST: &str = "host is neither a name nor an address";
        for (line, want) in [
            ("GET a.example", FORM),
            ("GET a.example:80", FORM),
            ("GET http:/a.example", FORM),
            ("GET ://a.example/", FORM),
            ("GET 1http://a.example/", FORM),
            ("GET http://", HOST),
            ("GET http:///x", HOST),
            ("GET http://user:pw@a.example/", "port is not a number from 1 to 65535"),
            ("GET http://user@a.example/", HOST),
            ("GET http://evil.test#.a.example/", HOST),
            ("GET http://evil.test?.a.example/", HOST),
            ("CONNECT http://a.example/", "port is not a number from 1 to 65535"),
            ("CONNECT a.example:443/", "port is not a number from 1 to 65535"),
            ("CONNECT /", HOST),
        ] {
            check_malformed(&format!("{line} HTTP/1.1\r\n\r\n"), want);
        }
    }

    #[test]
    fn two_host_fields_are_malformed_even_when_equal() {
        check_malformed(
            "GET / HTTP/1.1\r\nHost: a.example\r\nHOST: a.example\r\n\r\n",
            "two Host fields",
        );
    }

    #[test]
    fn bare_line_feeds_and_odd_line_ends_are_malformed() {
        const LINE: &str = "line does not end in CR LF";
        check_malformed("GET / HTTP/1.1\nHost: a.example\n\n", LINE);
        check_malformed("GET / HTTP/1.1\r\nHost: a.example\nX: y\r\n\r\n", LINE);
        check_malformed("GET / HTTP/1.1\r\nHost: a.example\n", LINE);
        check_malformed("GET / HTTP/1.1\r\nHost: a.example\r\n\n", LINE);
        for head in [
            "\r\nGET / HTTP/1.1\r\n\r\n",
            "\nGET / HTTP/1.1\r\n\r\n",
            " GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a.example\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a.example\r\n\r\n",
            "GET / HTTP/1.1\r\nX: y\r\n Host: a.example\r\n\r\n",
        ] {
            check_malformed(head, "not an HTTP request");
        }
    }

    #[test]
    fn other_protocols_are_malformed_at_their_first_bytes() {
        for bytes in [
            &b"\x16\x03\x01\x02\x00"[..],
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\0\0\0\x08\x04\xd2\x16\x2f",
            b"{\"hello\":1}",
            b"GET\0/ HTTP/1.1\r\n",
            &[b'A'; 33],
            b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(parse(bytes), Head::Malformed("not an HTTP request"), "{bytes:?}");
        }
        check_malformed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not HTTP/1.0 or HTTP/1.1");
        check_malformed("GET / HTTP/1.2\r\n\r\n", "not HTTP/1.0 or HTTP/1.1");
        check_malformed("GET /\r\n", "not an HTTP request");
    }

    #[test]
    fn every_cut_between_segments_needs_more() {
        let head = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nX-Y: z\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(parse(&head.as_bytes()[..cut]), Head::Need, "{cut}");
        }
        assert_eq!(request(head).length, head.len());
    }

    #[test]
    fn heads_beyond_the_caps_are_malformed() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_HEAD));
        assert_eq!(parse(&long.as_bytes()[..MAX_HEAD - 1]), Head::Need);
        check_malformed(&long, "request head exceeds 64 KiB");
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(129));
        check_malformed(&many, "more than 128 header fields");
    }

    #[test]
    fn the_refusal_names_rule_name_and_remedy() {
        let want = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 78\r\n\
            Cache-Control: no-store\r\nConnection: close\r\nX-AWF-Rule: default-deny\r\n\r\n\
            awf: a.example is denied by default-deny.\nAllow it: --allow-domains a.example\n";
        let got = forbidden("default-deny", "a.example", "Allow it: --allow-domains a.example");
        assert_eq!(String::from_utf8(got).unwrap(), want);
    }

    #[test]
    fn the_refusal_cannot_be_given_more_header_fields() {
        let got = forbidden("r\r\nSet-Cookie: a", "n\x1b[31m\u{fc}", "x\ny");
        let got = String::from_utf8(got).unwrap();
        assert!(got.contains("X-AWF-Rule: r__Set-Cookie: a\r\n\r\nawf: n_[31m_ is"), "{got}");
        assert!(got.ends_with("\nx_y\n"), "{got}");
    }

    #[test]
    fn garbage_never_panics_and_never_yields_a_broken_name() {
        let valid = b"GET http://b.example:80/ HTTP/1.1\r\nHost: a.example:80\r\nX: y\r\n\r\n";
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..200_000 {
            let mut wire = valid.to_vec();
            for _ in 0..=random() % 4 {
                let at = usize::try_from(random()).unwrap() % wire.len();
                let odd = b"\r\n :/@#?[]\\%\0.,\x80\xff0";
                wire[at] = odd[usize::try_from(random()).unwrap() % odd.len()];
            }
            if let Head::Request(request) = parse(&wire) {
                assert!(request.length <= wire.len());
                let in_target = match request.target {
                    Target::Connect(authority) | Target::Absolute { authority, .. } => {
                        Some(authority)
                    }
                    Target::Origin => None,
                };
                for authority in [request.host, in_target].into_iter().flatten() {
                    if let Host::Name(name) = authority.host {
                        assert_eq!(names::canonical(&name).as_ref(), Ok(&name));
                    }
                }
            }
        }
    }

    /// A head that may be sound, with bytes behind it.
    fn wire() -> impl Strategy<Value = Vec<u8>> {
        let target = prop_oneof![
            Just("CONNECT a.example:443"),
            Just("GET http://a.example:80/x?y"),
            Just("GET /x"),
        ];
        let field = "(Host: b.example(:80)?|X: y|host:c|User-Agent: z|Y:)(\r\n|\r\n|\r\n|\n|\r)";
        let odd = prop::sample::select(b"\r\n :/@#?[]\\%\0.,\x80\xff0".to_vec());
        let changes = prop::collection::vec((any::<prop::sample::Index>(), odd), 0..2);
        let fields = prop::collection::vec(field, 0..4);
        (target, fields, changes).prop_map(|(target, fields, changes)| {
            let head = format!("{target} HTTP/1.1\r\n{}\r\nbody", fields.concat());
            let mut wire = head.into_bytes();
            for (at, byte) in changes {
                let at = at.index(wire.len());
                wire[at] = byte;
            }
            wire
        })
    }

    proptest! {
        #[test]
        fn the_first_answer_is_that_of_the_whole_wherever_the_bytes_are_cut(wire in wire()) {
            let answers = (1..=wire.len()).map(|end| parse(&wire[..end]));
            let first = answers.into_iter().find(|answer| *answer != Head::Need);
            match (first.unwrap_or(Head::Need), parse(&wire)) {
                // Which of two faults is told hangs on what has come; that there is one does not.
                (Head::Malformed(_), Head::Malformed(_)) => {}
                (first, whole) => prop_assert_eq!(first, whole),
            }
        }
    }
}
