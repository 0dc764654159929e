//! The request as the service gets it.
//!
//! Takes the client's request and the route, gives a request head for the service's server and no other: its Host, its
//! credential, the client's path below its base path. Pure. Must never pass on anything that the client wrote into a field
//! that identifies it, or that speaks to the next hop only.

use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, StatusCode, Uri};

use super::refusal::Refusal;
use crate::plan::api_proxy::{Provider, Route};

/// Fields about this hop (RFC 9110, 7.6.1), besides those that Connection names. Expect too: it is answered here.
const HOP: [&str; 11] = [
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields by which the client would show credentials or an address of its own. The length is told again by whoever writes
/// the body.
const OWN: [&str; 14] = [
    "api-key",
    "authorization",
    "content-length",
    "cookie",
    "cookie2",
    "forwarded",
    "host",
    "ocp-apim-subscription-key",
    "proxy-authorization",
    "via",
    "x-api-key",
    "x-goog-api-key",
    "x-goog-iam-authorization-token",
    "x-real-ip",
];

/// Likewise, whatever follows.
const OWN_PREFIXES: [&str; 2] = ["x-amz-", "x-forwarded-"];

/// Parameters by which Google's services take credentials.
const KEY_PARAMETERS: [&str; 5] = ["access_token", "api_key", "apikey", "key", "oauth_token"];

/// The head of the request for the service.
pub(super) fn request(parts: &Parts, route: &Route) -> Result<Request<()>, Refusal> {
    let mut request = Request::new(());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri(&parts.uri, route)?;
    let mut headers = strip(&parts.headers, |name| {
        OWN.contains(&name) || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    });
    for field in &route.fields {
        if !(field.yields && headers.contains_key(field.name)) {
            headers.insert(field.name, value(&field.value)?);
        }
    }
    headers.insert(HOST, value(&route.target)?);
    let (name, scheme) = route.auth_field();
    let mut credential = value(&format!("{scheme}{}", route.credential.expose()))?;
    credential.set_sensitive(true);
    let name = HeaderName::from_bytes(name.as_bytes()).or(Err(Refusal::INTERNAL))?;
    headers.insert(name, credential);
    *request.headers_mut() = headers;
    Ok(request)
}

/// The fields that go through to the other side, in both directions.
pub(super) fn strip(headers: &HeaderMap, also: impl Fn(&str) -> bool) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let stays = |name: &HeaderName| {
        let name = name.as_str();
        !(HOP.contains(&name) || named.iter().any(|other| other == name) || also(name))
    };
    let kept = headers.iter().filter(|(name, _value)| stays(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Our own values are checked by the plan; what could end a field is refused here once more.
fn value(text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(text).or(Err(Refusal::INTERNAL))
}

/// The client's path below the base path, unless it is there already, as in the original.
fn uri(uri: &Uri, route: &Route) -> Result<Uri, Refusal> {
    let path = uri.path();
    if !path.starts_with('/') || leaves(path) {
        return Err(Refusal::PATH);
    }
    let base = &*route.base_path;
    let below =
        path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let base = if below { "" } else { base };
    let query = match route.provider {
        Provider::Gemini | Provider::Vertex => uri.query().and_then(without_keys),
        Provider::OpenAi | Provider::Anthropic | Provider::Copilot => {
            uri.query().map(str::to_owned)
        }
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let target: PathAndQuery = format!("{base}{path}{query}").parse().or(Err(Refusal::PATH))?;
    Ok(Uri::from(target))
}

/// Whether a path could be read as one to somewhere else: another server (`//server`), or above the base path. No service
/// has such paths.
fn leaves(path: &str) -> bool {
    let plain =
        path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    let plain = plain.replace('\\', "/");
    plain.starts_with("//") || plain.split('/').any(|segment| segment == "." || segment == "..")
}

/// The query without credentials; `None` if nothing is left.
fn without_keys(query: &str) -> Option<String> {
    let is_key = |parameter: &&str| {
        let name = parameter.split('=').next().unwrap_or_default();
        let name = decoded(name);
        KEY_PARAMETERS.iter().any(|key| name.eq_ignore_ascii_case(key.as_bytes()))
    };
    let kept: Vec<&str> = query.split('&').filter(|parameter| !is_key(parameter)).collect();
    let kept = kept.join("&");
    (!kept.is_empty()).then_some(kept)
}

/// Percent-encoded text (RFC 3986, 2.1).
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|_digits| *first == b'%');
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    bytes
}

impl Refusal {
    /// A path that could lead elsewhere.
    const PATH: Self = Self::denied(
        StatusCode::BAD_REQUEST,
        "invalid_path",
        "api-malformed",
        "the path must begin with one / and have no . or .. in it",
    );
    /// A state that must not be.
    pub(super) const INTERNAL: Self = Self::denied(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "internal",
        "the request could not be written",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::api_proxy::sample;

    fn route(variable: &str, value: &str) -> Route {
        sample(&[(variable, value)]).routes.remove(0)
    }

    fn sent(route: &Route, uri: &str, fields: &[(&str, &str)]) -> Result<Request<()>, Refusal> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        super::request(&request.body(()).unwrap().into_parts().0, route)
    }

    #[track_caller]
    fn check_path(route: &Route, path: &str, expected: &str) {
        assert_eq!(sent(route, path, &[]).unwrap().uri().to_string(), expected);
    }

    #[test]
    fn the_base_path_comes_first_and_once() {
        let openai = route("OPENAI_API_KEY", "k");
        check_path(&openai, "/chat/completions", "/v1/chat/completions");
        check_path(&openai, "/v1/responses?a=b", "/v1/responses?a=b");
        check_path(&openai, "/v1", "/v1");
        check_path(&openai, "/v1beta/x", "/v1/v1beta/x");
        check_path(
            &route("ANTHROPIC_API_KEY", "k"),
            "/v1/messages?beta=true",
            "/v1/messages?beta=true",
        );
    }

    #[test]
    fn a_path_that_could_lead_elsewhere_is_refused() {
        let openai = route("OPENAI_API_KEY", "k");
        for path in [
            "//evil.example/",
            "/\\evil.example/",
            "/v1/../admin",
            "/..",
            "/./x",
            "/v1/%2e%2E/admin",
            "/v1/.%2e/admin",
            "/v1%2f..%2fadmin",
            "/v1%5c..%5cadmin",
            "/%2f/evil.example",
        ] {
            let status = sent(&openai, path, &[]).map(|_| ()).unwrap_err().status;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        }
        check_path(&openai, "/files/a..b/...", "/v1/files/a..b/...");
        // Names another server in the query only, where it is text.
        check_path(&openai, "/a?b=//c/../d", "/v1/a?b=//c/../d");
    }

    #[test]
    fn keys_in_a_query_stay_here() {
        let gemini = route("GEMINI_API_KEY", "k");
        check_path(&gemini, "/v1/m?key=a&alt=sse&%6bey=b&API_KEY=c&apiKey", "/v1/m?alt=sse");
        check_path(&gemini, "/v1/m?key=a", "/v1/m");
        check_path(&gemini, "/v1/m?monkey=a&x=key", "/v1/m?monkey=a&x=key");
    }

    #[test]
    fn the_clients_own_credentials_stay_here() {
        let fields = [
            ("host", "evil.example"),
            ("authorization", "Bearer own"),
            ("x-api-key", "own"),
            ("api-key", "own"),
            ("x-goog-api-key", "own"),
            ("cookie", "own=1"),
            ("proxy-authorization", "own"),
            ("x-amz-security-token", "own"),
            ("x-forwarded-for", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4"),
            ("via", "1.1 own"),
            ("connection", "x-secret, close"),
            ("x-secret", "own"),
            ("te", "trailers"),
            ("expect", "100-continue"),
            ("accept", "text/event-stream"),
        ];
        for (variable, name, shown) in [
            ("OPENAI_API_KEY", "authorization", "Bearer real"),
            ("ANTHROPIC_API_KEY", "x-api-key", "real"),
            ("COPILOT_GITHUB_TOKEN", "authorization", "Bearer real"),
            ("GEMINI_API_KEY", "x-goog-api-key", "real"),
            ("GOOGLE_API_KEY", "x-goog-api-key", "real"),
        ] {
            let route = route(variable, "real");
            let request = sent(&route, "/x", &fields).unwrap();
            let headers = request.headers();
            assert_eq!(headers["host"], *route.target);
            assert_eq!(headers[name], shown);
            assert_eq!(headers["accept"], "text/event-stream");
            assert_eq!(headers.len(), 3 + route.fields.len(), "{headers:?}");
            assert!(!format!("{request:?}").contains("real"), "{request:?}");
        }
    }

    #[test]
    fn the_clients_version_of_the_protocol_stays() {
        let route = route("ANTHROPIC_API_KEY", "real");
        let version = |fields: &[(&str, &str)]| {
            sent(&route, "/x", fields).unwrap().headers()["anthropic-version"].clone()
        };
        assert_eq!(version(&[]), "2023-06-01");
        assert_eq!(version(&[("anthropic-version", "2030-01-01")]), "2030-01-01");
    }
}
