//! `--dns-over-https`: whom the proxy's name queries go to.
//!
//! Owns the grammar of the URL and what it cannot be said with. Must never look anything up.

use std::net::IpAddr;

use hyper::Uri;

use super::upstream::ParentProxy;
use super::usage::UsageError;
use crate::doors::names;
use crate::policy::literal;

/// The option.
const FLAG: &str = "--dns-over-https";
/// Port of HTTPS.
const HTTPS_PORT: u16 = 443;
/// What servers are found at (RFC 8484 leaves it open, all use it).
const USUAL_PATH: &str = "/dns-query";

/// A server that resolves names over HTTPS (RFC 8484).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DohServer {
    /// The URL as written.
    pub url: String,
    /// Name in lower case, or address without brackets: whom the certificate must be for.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path.
    pub path: String,
}

/// Reads the URL, and refuses what would leave nothing to ask.
pub(super) fn server(
    url: Option<&str>,
    dns_servers: Option<&Vec<IpAddr>>,
    parent: Option<&ParentProxy>,
) -> Result<Option<DohServer>, UsageError> {
    let Some(url) = url else { return Ok(None) };
    if dns_servers.is_some() {
        let problem = "--dns-servers names other servers";
        return Err(UsageError::value(FLAG, url, problem, "leave one of the two out"));
    }
    if let Some(ParentProxy { origin, .. }) = parent {
        let problem =
            format!("the upstream proxy of {origin} resolves the names, and awf asks nobody");
        return Err(UsageError::value(FLAG, url, problem, "leave one of the two out"));
    }
    read(url).map(Some)
}

fn read(url: &str) -> Result<DohServer, UsageError> {
    let refuse = |problem: &str| {
        let remedy = "write it as https://dns.example/dns-query";
        UsageError::value(FLAG, url, problem, remedy)
    };
    if !url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        return Err(refuse("not an https:// URL"));
    }
    // The form in which RFC 8484 writes URLs.
    let plain = url.strip_suffix("{?dns}").unwrap_or(url);
    if plain.contains(['?', '#', '@']) {
        return Err(refuse("only a server, a port and a path can be given"));
    }
    let uri: Uri = plain.parse().map_err(|_error| refuse("not a URL"))?;
    let host = uri.host().unwrap_or_default();
    let authority = uri.authority().map(hyper::http::uri::Authority::as_str).unwrap_or_default();
    let port = match authority.strip_prefix(host).unwrap_or_default() {
        "" => Some(HTTPS_PORT),
        text => text.strip_prefix(':').and_then(|digits| digits.parse().ok()),
    };
    let port = port.filter(|port| *port != 0);
    let port = port.ok_or_else(|| refuse("the port is not a number from 1 to 65535"))?;
    let host = match literal(host) {
        Some(address) => address.to_string(),
        None => names::canonical(host)
            .map_err(|_problem| refuse("neither a host name nor an address"))?,
    };
    let path = if uri.path() == "/" { USUAL_PATH } else { uri.path() };
    Ok(DohServer { url: url.to_owned(), host, port, path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: (&str, u16, &str)) {
        let server = server(Some(url), None, None).unwrap().unwrap();
        assert_eq!((&*server.host, server.port, &*server.path), expected, "{url}");
    }

    #[test]
    fn a_server_is_an_https_url() {
        check("https://dns.google/dns-query", ("dns.google", 443, "/dns-query"));
        check("HTTPS://DNS.Google", ("dns.google", 443, "/dns-query"));
        check("https://dns.google/", ("dns.google", 443, "/dns-query"));
        check("https://1.1.1.1:8443/x", ("1.1.1.1", 8443, "/x"));
        check("https://[2001:db8::1]/x{?dns}", ("2001:db8::1", 443, "/x"));
        assert_eq!(server(None, None, None).unwrap(), None);
    }

    #[test]
    fn everything_else_is_refused() {
        for url in [
            "",
            "dns.google",
            "http://dns.google/dns-query",
            "https://",
            "https://?",
            "https://u@dns.google/",
            "https://dns.google/?a=b",
            "https://dns.google/#x",
            "https://dns.google:0/",
            "https://dns.google:99999/",
            "https://dns.google:/",
            "https://two words/",
            "https://a..b/",
            "https://dns.google/\n",
            "h\u{fc}ttps://x",
        ] {
            let complaint = server(Some(url), None, None).unwrap_err().to_string();
            assert!(complaint.starts_with("--dns-over-https '"), "{url:?}: {complaint}");
        }
    }

    #[test]
    fn it_is_refused_beside_what_asks_others() {
        let servers = vec![IpAddr::from([9, 9, 9, 9])];
        let parent = ParentProxy {
            origin: "HTTPS_PROXY",
            host: "p".to_owned(),
            port: 1,
            direct: Vec::new(),
        };
        let url = Some("https://dns.google/");
        let complaint = server(url, Some(&servers), None).unwrap_err().to_string();
        assert!(complaint.contains("--dns-servers"), "{complaint}");
        let complaint = server(url, None, Some(&parent)).unwrap_err().to_string();
        assert!(complaint.contains("upstream proxy of HTTPS_PROXY"), "{complaint}");
    }
}
