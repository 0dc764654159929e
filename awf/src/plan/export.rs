//! Where the record goes when the run is over, and with which header fields.
//!
//! Takes settings, policy and the caller's environment. Must never: name a collector that the policy does not allow, or
//! show the value of a field.

use std::path::PathBuf;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::api_proxy;
use crate::cli::collector::FLAG;
use crate::cli::{Settings, UsageError};
use crate::host::Host;
use crate::policy::{Policy, Scheme};

/// Variable with header fields for the collector: `k=v,k=v`, as W3C Baggage (OTLP specification of exporters).
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// A collector, and what it is told.
#[derive(Clone, Debug)]
pub struct Export {
    /// Whom the certificate must be for.
    pub host: String,
    /// Path of requests.
    pub path: String,
    /// Header fields, which print as `Sensitive`.
    pub headers: HeaderMap,
    /// Files of authorities that are believed.
    pub authorities: Vec<PathBuf>,
}

impl Export {
    /// Decides; `None` if nobody asked for it.
    pub fn decide(
        settings: &Settings,
        host: &Host,
        policy: &Policy,
    ) -> Result<Option<Self>, UsageError> {
        let Some(collector) = &settings.collector else { return Ok(None) };
        let decision = policy.decide(&collector.host, 443, Scheme::Tls);
        if !decision.allow {
            let problem = format!("the policy does not allow it: {}", decision.reason);
            let remedy = format!("add --allow-domains {}", collector.host);
            return Err(UsageError::value(FLAG, &collector.url, problem, remedy));
        }
        let variable = host.caller.env.get(HEADERS).map_or("", String::as_str);
        let headers = headers(variable).ok_or_else(|| {
            let problem = "cannot stand in header fields";
            UsageError::value(HEADERS, "...", problem, "write it as name=value,name=value")
        })?;
        let authorities = api_proxy::authorities(host);
        let (host, path) = (collector.host.clone(), collector.path.clone());
        Ok(Some(Self { host, path, headers, authorities }))
    }

    /// Where requests go.
    pub fn url(&self) -> String {
        format!("https://{}{}", self.host, self.path)
    }
}

fn headers(text: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for field in text.split(',').map(str::trim).filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=')?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        let value: Vec<u8> = percent_decode_str(value.trim()).collect();
        let mut value = HeaderValue::from_bytes(&value).ok()?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn decided(options: &[&str], headers: &str) -> Result<Option<Export>, String> {
        let mut host = Host::sample();
        host.caller.env.insert(HEADERS.to_owned(), headers.to_owned());
        let line = ["awf"].iter().chain(options).chain(&["--", "true"]).map(Into::into);
        let Ok(cli::Request::Run(args)) = cli::parse(line) else {
            return Err(format!("{options:?} is no run"));
        };
        let settings = Settings::resolve(&args, &host.caller).map_err(|error| error.to_string())?;
        let policy = Policy::resolve(&["a.example".to_owned()], &[]).unwrap().0;
        Export::decide(&settings, &host, &policy).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_sent_unless_it_is_asked_for_and_then_to_an_allowed_host_only() {
        assert!(decided(&[], "k=v").unwrap().is_none());
        let export = decided(&["--otlp-endpoint", "https://otel.a.example/x"], "k=hunter2");
        let export = export.unwrap().unwrap();
        assert_eq!((&*export.host, &*export.path), ("otel.a.example", "/x/v1/logs"));
        assert!(!format!("{export:?}").contains("hunter2"));
        let refused = decided(&["--otlp-endpoint", "https://b.example"], "").unwrap_err();
        assert!(refused.contains("add --allow-domains b.example"), "{refused}");
        let refused = decided(&["--otlp-endpoint", "https://a.example"], "hunter2").unwrap_err();
        assert!(refused.starts_with(HEADERS) && !refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn header_fields_are_read_as_exporters_read_them_and_never_print() {
        let read = headers("Authorization=Bearer%20hunter2, x-tenant = a=b ,").unwrap();
        assert_eq!(read["authorization"], "Bearer hunter2");
        assert_eq!(read["x-tenant"], "a=b");
        assert!(!format!("{read:?}").contains("hunter2"));
        assert!(headers("").unwrap().is_empty());
        for wrong in ["no value", "a b=c", "a=%0d%0aX: y", "=x"] {
            assert!(headers(wrong).is_none(), "{wrong}");
        }
    }
}
