//! The services that the API proxy knows.
//!
//! Owns what is fixed about each: port, server, and which variables hold its credential. All of it is the original's.

use std::net::SocketAddrV4;

use serde::Serialize;

use crate::plan::addresses;

/// A service behind the API proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// `OpenAI`, and what speaks its protocol.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// GitHub Copilot, or the provider that the caller gave it.
    Copilot,
    /// Google Gemini.
    Gemini,
    /// Google Vertex AI.
    Vertex,
}

impl Provider {
    /// All of them, by port.
    pub const ALL: [Self; 5] =
        [Self::OpenAi, Self::Anthropic, Self::Copilot, Self::Gemini, Self::Vertex];

    /// Who answers on this port.
    pub fn at(port: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.port() == port)
    }

    /// Its port at [`addresses::API_PROXY`].
    pub fn port(self) -> u16 {
        addresses::API_PROXY_PORTS.0
            + match self {
                Self::OpenAi => 0,
                Self::Anthropic => 1,
                Self::Copilot => 2,
                Self::Gemini => 3,
                Self::Vertex => 4,
            }
    }

    /// Its address as the agent knows it.
    pub fn address(self) -> SocketAddrV4 {
        SocketAddrV4::new(addresses::API_PROXY, self.port())
    }

    /// Where the agent is sent instead of to the service.
    pub fn url(self) -> String {
        format!("http://{}", self.address())
    }

    /// Its name in JSON, as in the original's.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Copilot => "copilot",
            Self::Gemini => "gemini",
            Self::Vertex => "vertex",
        }
    }

    /// Its name for a reader.
    pub fn title(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::Anthropic => "Anthropic",
            Self::Copilot => "Copilot",
            Self::Gemini => "Gemini",
            Self::Vertex => "Vertex",
        }
    }

    /// The caller's variables that hold its credential, the best first.
    pub fn variables(self) -> &'static [&'static str] {
        match self {
            Self::OpenAi => &["OPENAI_API_KEY"],
            Self::Anthropic => &["ANTHROPIC_API_KEY"],
            Self::Copilot => &["COPILOT_PROVIDER_API_KEY", "COPILOT_GITHUB_TOKEN"],
            Self::Gemini => &["GEMINI_API_KEY"],
            Self::Vertex => &["GOOGLE_API_KEY"],
        }
    }

    /// Its own server. Copilot's is the one for github.com.
    pub fn server(self) -> &'static str {
        match self {
            Self::OpenAi => "api.openai.com",
            Self::Anthropic => "api.anthropic.com",
            Self::Copilot => "api.githubcopilot.com",
            Self::Gemini => "generativelanguage.googleapis.com",
            Self::Vertex => "aiplatform.googleapis.com",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_the_originals() {
        let ports = Provider::ALL.map(Provider::port);
        assert_eq!(ports, [10000, 10001, 10002, 10003, 10004]);
        assert_eq!(ports.map(Provider::at), Provider::ALL.map(Some));
        assert_eq!((Provider::at(9999), Provider::at(10005)), (None, None));
    }

    #[test]
    fn every_credential_stays_outside() {
        let names = Provider::ALL.into_iter().flat_map(Provider::variables);
        for name in names {
            assert!(crate::plan::environment::WITHHELD_NAMES.contains(name), "{name}");
        }
    }
}
