//! One request inside TLS: whether it may pass, and what the server gets of it.
//!
//! Takes the head that the client sent, on a connection whose server is known by name. Pure. A request that names another
//! server than its connection is refused: that is how a name that is allowed would stand for one that is not.

use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority as UriAuthority, PathAndQuery, Scheme};
use hyper::{Method, Uri, Version};

use super::{DENY_URL, Finding, Inspect};
use crate::policy::{Decision, UrlVerdict};
use crate::relay::http_head;
use crate::relay::transparent::text_of;

/// Fields about one hop (RFC 9110, 7.6.1), besides those that Connection names. Expect too: it is answered here.
const HOP: [&str; 7] = [
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];
const TLS_PORT: u16 = 443;

/// By which rule a request passes, and why.
pub(super) struct Passed {
    pub(super) rule: String,
    pub(super) reason: String,
}

impl Inspect {
    /// Judges a request on a connection to `name`, which `decision` allowed.
    pub(super) fn judge(
        &self,
        name: &str,
        decision: &Decision,
        parts: &Parts,
    ) -> Result<Passed, Finding> {
        is_for(name, parts)?;
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let kind = self.credential_in(target.as_bytes());
        if let Some(kind) = kind.or_else(|| self.credential_in(name.as_bytes())) {
            return Err(Finding::credential(kind));
        }
        match self.urls.judge(name, target) {
            UrlVerdict::Unconcerned => {
                Ok(Passed { rule: decision.rule.to_owned(), reason: decision.reason.clone() })
            }
            UrlVerdict::Allowed(pattern) => {
                Ok(Passed { rule: "allow-url".to_owned(), reason: format!("it fits {pattern}") })
            }
            UrlVerdict::Denied => Err(Finding {
                rule: DENY_URL,
                reason: "no pattern of --allow-urls allows this URL".to_owned(),
                remedy: format!(
                    "add a pattern for https://{name}{} to --allow-urls",
                    parts.uri.path()
                ),
            }),
        }
    }
}

/// Whether the request is for the server of its connection, and a request to a server at all.
fn is_for(name: &str, parts: &Parts) -> Result<(), Finding> {
    let wrong = |rule, reason: String| {
        let remedy = format!("{reason}; open a connection of its own for each server");
        Err(Finding { rule, reason, remedy })
    };
    if parts.method == Method::CONNECT {
        return wrong("deny-not-http", "CONNECT is for proxies, and this is none".to_owned());
    }
    if parts.uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTPS) {
        return wrong("deny-scheme", "the request is for another scheme than https".to_owned());
    }
    let fields: Vec<&HeaderValue> = parts.headers.get_all(HOST).iter().collect();
    if fields.len() > 1 {
        return wrong("deny-host-mismatch", "the request has two Host fields".to_owned());
    }
    let fields = fields.iter().map(|field| field.to_str().unwrap_or_default());
    let named: Vec<&str> =
        parts.uri.authority().map(UriAuthority::as_str).into_iter().chain(fields).collect();
    if named.is_empty() {
        return wrong("deny-no-host", "the request does not say for which host it is".to_owned());
    }
    for text in named {
        let read = http_head::read_authority(text);
        let same = read.is_ok_and(|read| {
            text_of(&read.host) == name && read.port.is_none_or(|port| port == TLS_PORT)
        });
        if !same {
            let reason = "the request names another host than its connection".to_owned();
            return wrong("deny-host-mismatch", reason);
        }
    }
    Ok(())
}

/// Whether the client asks to go on as WebSocket, of which only the beginning is HTTP.
pub(super) fn is_websocket(parts: &Parts) -> bool {
    parts.version == Version::HTTP_11
        && parts
            .headers
            .get(UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Makes the head the server's: its own form of target, and nothing about the client's hop. `h2` is what the server speaks.
pub(super) fn address(parts: &mut Parts, name: &str, h2: bool) {
    let upgrade = is_websocket(parts);
    strip(&mut parts.headers, upgrade);
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    if h2 {
        parts.version = Version::HTTP_2;
        parts.headers.remove(HOST);
        uri.scheme = Some(Scheme::HTTPS);
        uri.authority = UriAuthority::try_from(name).ok();
    } else {
        parts.version = Version::HTTP_11;
        (uri.scheme, uri.authority) = (None, None);
        if let Ok(host) = HeaderValue::from_str(name) {
            parts.headers.insert(HOST, host);
        }
    }
    // Of parts that were a URI before, one is always made; an empty one asks for nothing.
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
}

/// Takes out what is about one hop only. A change to another protocol is for both.
pub(super) fn strip(headers: &mut HeaderMap, upgrade: bool) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let changed = headers.get(UPGRADE).cloned().filter(|_| upgrade);
    for name in named.iter().map(HeaderName::as_str).chain(HOP) {
        // gRPC asks for trailers by it.
        if name != "te" {
            headers.remove(name);
        }
    }
    if headers.get("te").is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        headers.remove("te");
    }
    if let Some(changed) = changed {
        headers.insert(UPGRADE, changed);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;
    use crate::policy::{Policy, Scheme as Way, UrlPattern, UrlRules};

    fn parts(target: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[track_caller]
    fn check(inspect: &Inspect, parts: &Parts, rule: &str) {
        let (policy, _) = Policy::resolve(&["a.example".to_owned()], &[]).unwrap();
        let decision = policy.decide("a.example", 443, Way::Tls);
        let found = inspect.judge("a.example", &decision, parts);
        let found = match &found {
            Ok(passed) => &*passed.rule,
            Err(finding) => finding.rule,
        };
        assert_eq!(found, rule, "{parts:?}");
    }

    #[test]
    fn a_request_is_for_the_server_of_its_connection() {
        let inspect = Inspect::default();
        let allowed = "allow-both-plain";
        check(&inspect, &parts("/", &[("host", "A.example.")]), allowed);
        check(&inspect, &parts("/", &[("host", "a.example:443")]), allowed);
        check(&inspect, &parts("https://a.example/x", &[]), allowed);
        check(&inspect, &parts("https://a.example/x", &[("host", "a.example")]), allowed);
        check(&inspect, &parts("/", &[]), "deny-no-host");
        check(&inspect, &parts("http://a.example/", &[]), "deny-scheme");
        let mismatch = "deny-host-mismatch";
        check(&inspect, &parts("/", &[("host", "b.example")]), mismatch);
        check(&inspect, &parts("/", &[("host", "a.example:8443")]), mismatch);
        check(&inspect, &parts("/", &[("host", "user@a.example")]), mismatch);
        check(&inspect, &parts("/", &[("host", "")]), mismatch);
        check(&inspect, &parts("https://b.example/x", &[("host", "a.example")]), mismatch);
        check(&inspect, &parts("https://a.example/x", &[("host", "b.example")]), mismatch);
        check(&inspect, &parts("/", &[("host", "a.example"), ("host", "a.example")]), mismatch);
        let mut connect = parts("a.example:443", &[("host", "a.example")]);
        connect.method = Method::CONNECT;
        check(&inspect, &connect, "deny-not-http");
    }

    #[test]
    fn credentials_come_before_patterns_and_neither_is_told() {
        let pattern = UrlPattern::parse("https://a.example/x/*").unwrap();
        let inspect =
            Inspect { urls: UrlRules::new(vec![pattern]), dlp: true, ..Inspect::default() };
        let host = [("host", "a.example")];
        check(&inspect, &parts("/x/y", &host), "allow-url");
        check(&inspect, &parts("/y", &host), DENY_URL);
        let key = format!("/x/y?k=ghp_{}", "a".repeat(36));
        check(&inspect, &parts(&key, &host), super::super::DENY_DLP);
        let found =
            inspect.against_plain("b.example", format!("GET {key} HTTP/1.1\r\n").as_bytes());
        let found = found.unwrap();
        assert!(!format!("{found:?}").contains("aaa") && found.reason.contains("GitHub"));
        let plain = |host| inspect.against_plain(host, b"GET / HTTP/1.1\r\nReferer: ?bearer=\r\n");
        assert_eq!(plain("a.example").unwrap().rule, DENY_URL);
        assert_eq!(plain("b.example"), None);
    }

    #[test]
    fn the_server_gets_its_own_form_and_nothing_of_the_clients_hop() {
        let fields = [
            ("host", "A.example:443"),
            ("connection", "x-own, keep-alive"),
            ("x-own", "1"),
            ("te", "trailers"),
            ("x", "y"),
        ];
        let mut head = parts("https://a.example/x?y", &fields);
        address(&mut head, "a.example", false);
        assert_eq!((head.uri.to_string().as_str(), head.version), ("/x?y", Version::HTTP_11));
        let mut left: Vec<String> =
            head.headers.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        left.sort();
        assert_eq!(left, [r#"host="a.example""#, r#"te="trailers""#, r#"x="y""#]);
        let mut head = parts("/x?y", &[("host", "a.example")]);
        address(&mut head, "a.example", true);
        assert_eq!(head.uri.to_string(), "https://a.example/x?y");
        assert!(head.headers.is_empty());
    }

    #[test]
    fn a_change_to_web_sockets_is_passed_on_and_no_other() {
        for (protocol, kept) in [("websocket", true), ("h2c", false)] {
            let fields = [("host", "a.example"), ("connection", "Upgrade"), ("upgrade", protocol)];
            let mut head = parts("/", &fields);
            address(&mut head, "a.example", false);
            assert_eq!(head.headers.contains_key(UPGRADE), kept);
            assert_eq!(head.headers.contains_key(CONNECTION), kept);
        }
    }
}
