//! Whether a request says unmistakably where it ends.
//!
//! Takes a complete head that `relay::http_head` found sound. What two readers could split differently is refused and never
//! repaired (RFC 9112, sections 6.1 and 11.2): how a second request is smuggled in a first one's body. Also refuses what is
//! no request to a web server.

/// Header fields a head may have, as in `relay::http_head`.
pub(super) const MAX_FIELDS: usize = 128;

/// Methods that ask a service for something. TRACE is missing on purpose: its answer repeats the request, with the key.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What is wrong with the head, if anything.
pub fn fault(head: &[u8]) -> Option<&'static str> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    if !request.parse(head).is_ok_and(|status| status.is_complete()) {
        return Some("not an HTTP request");
    }
    if !request.method.is_some_and(|method| METHODS.contains(&method)) {
        return Some("the method is none that a service is asked with");
    }
    if !request.path.is_some_and(|path| path.starts_with('/')) {
        return Some("the request is not for a path: the API proxy is no proxy for other servers");
    }
    let named = |name: &str| {
        let fields = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        fields.map(|field| field.value.trim_ascii()).collect::<Vec<_>>()
    };
    let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
    match (&*lengths, &*codings) {
        ([], []) => None,
        ([length], []) if is_number(length) => None,
        ([_, ..], []) => Some("Content-Length is not one number"),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => {
            (request.version == Some(0)).then_some("Transfer-Encoding in HTTP/1.0")
        }
        ([], _) => Some("Transfer-Encoding is not chunked alone"),
        ([_, ..], _) => Some("both Content-Length and Transfer-Encoding"),
    }
}

fn is_number(text: &[u8]) -> bool {
    // More digits than 18 could overflow somebody's integer.
    (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, fields: &[&str], expected: Option<&str>) {
        let lines: Vec<&str> = [line].into_iter().chain(fields.iter().copied()).collect();
        let head = format!("{}\r\n\r\n", lines.join("\r\n"));
        let found = fault(head.as_bytes());
        assert_eq!(found.is_some(), expected.is_some(), "{head:?}: {found:?}");
        assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{found:?}");
    }

    #[test]
    fn a_request_ends_in_one_way_only() {
        let check = |fields: &[&str], expected| check("POST /v1 HTTP/1.1", fields, expected);
        check(&[], None);
        check(&["Content-Length: 5"], None);
        check(&["Transfer-Encoding: Chunked"], None);
        for pair in [
            ["Content-Length: 5", "Transfer-Encoding: chunked"],
            ["Transfer-Encoding: chunked", "Content-Length: 5"],
            ["transfer-encoding: x", "CONTENT-LENGTH: 5"],
        ] {
            check(&pair, Some("both"));
        }
        check(&["Content-Length: 5", "Content-Length: 5"], Some("one number"));
        for length in ["+5", "5, 5", "", "0x5", "-1", "1 1", "9999999999999999999"] {
            check(&[&format!("Content-Length: {length}")], Some("one number"));
        }
        for coding in ["gzip, chunked", "identity", "xchunked", "chunked, chunked", ""] {
            check(&[&format!("Transfer-Encoding: {coding}")], Some("chunked alone"));
        }
        check(&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], Some("alone"));
    }

    #[test]
    fn only_requests_to_a_web_server_pass() {
        check("CONNECT api.example:443 HTTP/1.1", &[], Some("method"));
        check("TRACE / HTTP/1.1", &[], Some("method"));
        check("get / HTTP/1.1", &[], Some("method"));
        check("GET http://evil.example/ HTTP/1.1", &[], Some("path"));
        check("OPTIONS * HTTP/1.1", &[], Some("path"));
        check("GET / HTTP/1.0", &["Transfer-Encoding: chunked"], Some("1.0"));
        check("GET / HTTP/1.0", &[], None);
    }
}
