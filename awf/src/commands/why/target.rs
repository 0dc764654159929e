//! What `awf why` is asked about: a URL, or a host or an address with or without port.
//!
//! Takes the text, gives host, port and means. Must never judge: that is the policy's, whatever the spelling.

use anyhow::{Result, bail};
use serde::Serialize;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Name or address, as typed.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How.
    pub means: Means,
    /// Path and query, of a URL.
    pub path: Option<String>,
}

/// How something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Means {
    /// TLS, or a stream that must be TLS to pass.
    Tls,
    /// Plain HTTP.
    Http,
    /// Datagrams.
    Udp,
}

/// Schemes with their ports.
const SCHEMES: [(&str, Option<u16>, Means); 10] = [
    ("https", Some(443), Means::Tls),
    ("wss", Some(443), Means::Tls),
    ("http", Some(80), Means::Http),
    ("ws", Some(80), Means::Http),
    ("ssh", Some(22), Means::Tls),
    ("git", Some(9418), Means::Tls),
    ("ftp", Some(21), Means::Tls),
    ("quic", Some(443), Means::Udp),
    ("tcp", None, Means::Tls),
    ("udp", None, Means::Udp),
];

impl Target {
    /// Reads what was typed.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let path = path.split('#').next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_user, host)| host);
        let (host, port) = split_port(authority)?;
        if host.is_empty() {
            bail!(
                "{text:?} names no host; write https://example.com/, example.com:443 or udp://9.9.9.9:53"
            );
        }
        let known = |name: &str| SCHEMES.iter().find(|(scheme, ..)| *scheme == name);
        let (usual, means) = match scheme.as_deref() {
            None => (Some(443), if port == Some(80) { Means::Http } else { Means::Tls }),
            Some(name) => match known(name) {
                Some((_scheme, usual, means)) => (*usual, *means),
                None => (None, Means::Tls),
            },
        };
        let Some(port) = port.or(usual) else {
            bail!("the port of {text:?} is not known; write it, such as tcp://example.com:5432");
        };
        let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
        let path = scheme.is_some().then_some(path).filter(|path| !path.is_empty());
        Ok(Self { host: host.to_owned(), port, means, path })
    }
}

/// Host and port of an authority; an IPv6 address may do without brackets if it does without a port.
fn split_port(authority: &str) -> Result<(&str, Option<u16>)> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(Some(port)),
        _ => bail!("{text:?} is no port"),
    };
    if let Some((inside, after)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'))
    {
        return match after.strip_prefix(':') {
            Some(text) => Ok((inside, port(text)?)),
            None if after.is_empty() => Ok((inside, None)),
            None => bail!("{authority:?} is no host with a port"),
        };
    }
    match authority.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Ok((authority, None)),
        Some((host, text)) => Ok((host, port(text)?)),
        None => Ok((authority, None)),
    }
}
