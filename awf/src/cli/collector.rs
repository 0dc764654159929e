//! `--otlp-endpoint`: where the record goes when the run is over.
//!
//! Owns the grammar of the URL. Must never look anything up, or keep a credential in the URL.

use hyper::Uri;
use hyper::http::uri::Authority;

use super::usage::UsageError;
use crate::doors::names;
use crate::policy::literal;

/// The option.
pub const FLAG: &str = "--otlp-endpoint";
/// What collectors take logs at, below the URL (OTLP specification, "OTLP/HTTP Request").
const LOGS: &str = "/v1/logs";

/// A collector of OpenTelemetry logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// The URL as written.
    pub url: String,
    /// Name in lower case: whom the certificate must be for.
    pub host: String,
    /// Path of requests.
    pub path: String,
}

/// Reads the URL.
pub(super) fn of(url: Option<&str>) -> Result<Option<Collector>, UsageError> {
    url.map(read).transpose()
}

fn read(url: &str) -> Result<Collector, UsageError> {
    let refuse = |shown: &str, problem: &str| {
        UsageError::value(FLAG, shown, problem, "write it as https://collector.example")
    };
    if url.contains('@') {
        // What stands before the sign may be a password.
        let problem = "credentials belong into the variable OTEL_EXPORTER_OTLP_HEADERS";
        return Err(refuse("https://...@...", problem));
    }
    let refuse = |problem: &str| refuse(url, problem);
    if !url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        return Err(refuse("not an https:// URL"));
    }
    if url.contains(['?', '#']) {
        return Err(refuse("only a server and a path can be given"));
    }
    let uri: Uri = url.parse().map_err(|_error| refuse("not a URL"))?;
    let host = uri.host().unwrap_or_default();
    let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
    if !matches!(authority.strip_prefix(host), Some("" | ":443")) {
        return Err(refuse("the proxy opens port 443 only"));
    }
    if literal(host).is_some() {
        return Err(refuse("an address, where a name is needed that --allow-domains can list"));
    }
    let host = names::canonical(host).map_err(|_problem| refuse("not a host name"))?;
    let path = format!("{}{LOGS}", uri.path().trim_end_matches('/'));
    Ok(Collector { url: url.to_owned(), host, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_go_below_the_url() {
        for (url, host, path) in [
            ("https://Otel.example", "otel.example", "/v1/logs"),
            ("HTTPS://otel.example:443/", "otel.example", "/v1/logs"),
            ("https://otel.example/otlp/", "otel.example", "/otlp/v1/logs"),
        ] {
            let read = of(Some(url)).unwrap().unwrap();
            assert_eq!((read.host.as_str(), read.path.as_str()), (host, path));
        }
        assert_eq!(of(None).unwrap(), None);
    }

    #[test]
    fn what_no_collector_can_be_reached_at_is_refused_without_its_password() {
        for url in [
            "",
            "http://otel.example",
            "https://otel.example:4318",
            "https://192.0.2.1",
            "https://[2001:db8::1]",
            "https://otel example",
            "https://otel.example/?key=1",
            "https://me:hunter2@otel.example",
        ] {
            let complaint = of(Some(url)).unwrap_err().to_string();
            assert!(complaint.starts_with("--otlp-endpoint '"), "{url}: {complaint}");
            assert!(!complaint.contains("hunter2"), "{complaint}");
        }
    }
}
