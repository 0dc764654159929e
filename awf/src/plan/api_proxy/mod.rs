//! What the API proxy serves: services with their servers, paths and credentials.
//!
//! Takes settings and the caller's environment, gives a [`ApiProxyPlan`]. Pure. A service is served if its credential is in the
//! caller's own environment; what `--env` and `--env-file` say is for the command. Must never give a credential to a server
//! that it is not for: Copilot's token goes to Copilot's servers or to the one that the user named, never to
//! `COPILOT_PROVIDER_BASE_URL`.

pub mod environment;
pub mod provider;
pub mod secret;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::{ApiTargets, Budgets, Endpoint, Settings};
use crate::host::{Host, Variables};
use crate::plan::environment::server_host;
pub use provider::Provider;
pub use secret::Secret;

/// Version of Anthropic's protocol that a client means which names none.
const ANTHROPIC_VERSION: &str = "2023-06-01";
/// What the original calls itself to Copilot unless `COPILOT_INTEGRATION_ID` says otherwise.
const INTEGRATION: &str = "agentic-workflows";
/// Copilot's servers for GitHub Enterprise Server and for those with plans for companies, which take a token by another
/// scheme than api.githubcopilot.com does.
const ENTERPRISE: &str = "api.enterprise.githubcopilot.com";
const BUSINESS: &str = "api.business.githubcopilot.com";

/// Everything that the API proxy does.
#[derive(Clone, Debug, Default)]
pub struct ApiProxyPlan {
    /// One for each service whose credential is there, by port.
    pub routes: Vec<Route>,
    /// How much may be asked.
    pub budgets: Budgets,
    /// When the command is ended, if it is.
    pub timeout: Option<Duration>,
    /// Files with the certification authorities that may vouch for servers.
    pub authorities: Vec<PathBuf>,
    /// What the user should be told once.
    pub notices: Vec<String>,
}

/// One service.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which.
    pub provider: Provider,
    /// Its server, a canonical name. Port 443, TLS.
    pub target: String,
    /// What goes before the path of each request: nothing, or `/` and segments.
    pub base_path: String,
    /// How the credential is shown.
    pub auth: Auth,
    /// The field in which it is shown instead, as it is.
    pub header: Option<String>,
    /// The caller's variable that holds the credential.
    pub variable: &'static str,
    /// The credential.
    pub credential: Secret,
    /// Other fields that every request gets.
    pub fields: Vec<Field>,
}

/// How a credential is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: token`.
    Token,
    /// `x-api-key`, Anthropic's.
    ApiKey,
    /// `api-key`, Azure's.
    AzureKey,
    /// `x-goog-api-key`.
    GoogleKey,
}

/// A header field that is added to requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in lower case.
    pub name: &'static str,
    /// Its value, of printable ASCII.
    pub value: String,
    /// Whether the client's own value stays, if it sends one.
    pub yields: bool,
}

impl Auth {
    /// The header field, in lower case, and what stands in it before the credential.
    pub fn field(self) -> (&'static str, &'static str) {
        match self {
            Self::Bearer => ("authorization", "Bearer "),
            Self::Token => ("authorization", "token "),
            Self::ApiKey => ("x-api-key", ""),
            Self::AzureKey => ("api-key", ""),
            Self::GoogleKey => ("x-goog-api-key", ""),
        }
    }
}

impl Route {
    /// The header field of the credential, in lower case, and what stands in it before the credential.
    pub fn auth_field(&self) -> (&str, &'static str) {
        match self.header.as_deref() {
            Some("authorization") => ("authorization", "Bearer "),
            Some(name) => (name, ""),
            None => self.auth.field(),
        }
    }
}

impl ApiProxyPlan {
    /// Decides. `run` is the id of the run.
    pub fn decide(settings: &Settings, host: &Host, run: &str) -> Self {
        let mut notices = Vec::new();
        let caller = Caller { env: &host.caller.env, targets: &settings.api, run };
        let routes = Provider::ALL
            .into_iter()
            .filter_map(|provider| caller.route(provider, &mut notices))
            .collect();
        let (budgets, timeout) = (settings.budgets.clone(), settings.timeout);
        Self { routes, budgets, timeout, authorities: authorities(host), notices }
    }

    /// The service of a provider, if it is served.
    pub fn route(&self, provider: Provider) -> Option<&Route> {
        self.routes.iter().find(|route| route.provider == provider)
    }

    /// What must be allowed for it. As in the original it is allowed to the command too.
    pub fn entries(&self) -> Vec<String> {
        let mut entries: Vec<String> =
            self.routes.iter().map(|route| format!("https://{}", route.target)).collect();
        entries.sort_unstable();
        entries.dedup();
        entries
    }

    /// One line for a reader; `None` if nothing is served.
    pub fn summary(&self) -> Option<String> {
        let served =
            |provider: Provider| format!("{}={}", provider.title(), self.route(provider).is_some());
        let all: Vec<String> = Provider::ALL.into_iter().map(served).collect();
        (!self.routes.is_empty()).then(|| format!("API proxy enabled: {}", all.join(", ")))
    }

    /// For `awf plan`: everything but the credentials.
    pub fn explain(&self) -> Value {
        #[derive(Serialize)]
        struct Served<'a> {
            provider: Provider,
            url: String,
            target: &'a str,
            base_path: &'a str,
            credential_of: &'a str,
            shown_in: &'a str,
        }
        let served = |route: &'_ Route| {
            serde_json::to_value(Served {
                provider: route.provider,
                url: route.provider.url(),
                target: &route.target,
                base_path: &route.base_path,
                credential_of: route.variable,
                shown_in: route.auth_field().0,
            })
            .unwrap_or_default()
        };
        json!({
            "providers": self.routes.iter().map(served).collect::<Vec<_>>(),
            "also_allowed": self.entries(),
            "also_allowed_to": "API proxy and command, as if --allow-domains named them",
        })
    }
}

/// What decides about a service.
struct Caller<'a> {
    env: &'a Variables,
    targets: &'a ApiTargets,
    run: &'a str,
}

impl Caller<'_> {
    fn route(&self, provider: Provider, notices: &mut Vec<String>) -> Option<Route> {
        let (variable, credential) = provider.variables().iter().find_map(|name| {
            let found = self.credential(name, notices)?;
            Some((*name, found))
        })?;
        let own_key = variable == "COPILOT_PROVIDER_API_KEY";
        let target = self.target(provider, own_key);
        Some(Route {
            base_path: self.base_path(provider, own_key, &target),
            auth: self.auth(provider, own_key, &target),
            header: self.endpoint(provider).header.clone(),
            fields: self.fields(provider, &target, notices),
            provider,
            target,
            variable,
            credential,
        })
    }

    /// What a variable holds, without the scheme that some write before it. Placeholders of awf's or the original's own
    /// mean that awf runs inside a sandbox, and that nothing is there.
    fn credential(&self, name: &str, notices: &mut Vec<String>) -> Option<Secret> {
        let text = self.env.get(name)?.trim();
        let scheme = text.split(' ').next().unwrap_or_default();
        let known = ["bearer", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        let text = text.strip_prefix(scheme).filter(|_rest| known).unwrap_or(text).trim();
        if text.is_empty() || environment::is_placeholder(text) {
            return None;
        }
        let secret = Secret::of(text);
        if secret.is_none() {
            notices.push(format!(
                "{name} is left out: it holds other characters than a credential can, such as spaces"
            ));
        }
        secret
    }

    fn endpoint(&self, provider: Provider) -> &Endpoint {
        match provider {
            Provider::OpenAi => &self.targets.openai,
            Provider::Anthropic => &self.targets.anthropic,
            Provider::Copilot => &self.targets.copilot,
            Provider::Gemini => &self.targets.gemini,
            Provider::Vertex => &self.targets.vertex,
        }
    }

    /// What the user named, else what belongs to the credential.
    fn target(&self, provider: Provider, own_key: bool) -> String {
        let other = own_key.then(|| self.targets.copilot_provider.host.clone()).flatten();
        let named = self.endpoint(provider).host.clone().or(other);
        named.unwrap_or_else(|| match provider {
            Provider::Copilot => self.copilot_server(),
            Provider::OpenAi | Provider::Anthropic | Provider::Gemini | Provider::Vertex => {
                provider.server().to_owned()
            }
        })
    }

    /// The Copilot server that belongs to the caller's GitHub.
    fn copilot_server(&self) -> String {
        match server_host(self.env) {
            None => Provider::Copilot.server().to_owned(),
            Some(github) => github.strip_suffix(".ghe.com").map_or_else(
                || ENTERPRISE.to_owned(),
                |tenant| format!("copilot-api.{tenant}.ghe.com"),
            ),
        }
    }

    fn base_path(&self, provider: Provider, own_key: bool, target: &str) -> String {
        let other = own_key.then(|| self.targets.copilot_provider.base_path.clone()).flatten();
        let named = self.endpoint(provider).base_path.clone().or(other);
        // Clients leave the version to the base URL, which here has none.
        let versioned = provider == Provider::OpenAi && target == provider.server();
        named.unwrap_or_else(|| if versioned { "/v1".to_owned() } else { String::new() })
    }

    fn auth(&self, provider: Provider, own_key: bool, target: &str) -> Auth {
        let azure = self.env.get("COPILOT_PROVIDER_TYPE").is_some_and(|kind| kind == "azure");
        match provider {
            Provider::OpenAi => Auth::Bearer,
            Provider::Anthropic => Auth::ApiKey,
            Provider::Gemini | Provider::Vertex => Auth::GoogleKey,
            Provider::Copilot if own_key && azure => Auth::AzureKey,
            Provider::Copilot if own_key => Auth::Bearer,
            Provider::Copilot => {
                let company = [ENTERPRISE, BUSINESS].contains(&target);
                if company || target.ends_with(".ghe.com") { Auth::Token } else { Auth::Bearer }
            }
        }
    }

    /// Fields without which a service answers otherwise, or not at all.
    fn fields(&self, provider: Provider, target: &str, notices: &mut Vec<String>) -> Vec<Field> {
        let field = |name, value: &str, yields| Field { name, value: value.to_owned(), yields };
        match provider {
            Provider::OpenAi | Provider::Gemini | Provider::Vertex => Vec::new(),
            Provider::Anthropic => vec![field("anthropic-version", ANTHROPIC_VERSION, true)],
            Provider::Copilot => {
                let printable = |text: &&String| text.bytes().all(|b| matches!(b, b'!'..=b'~'));
                let named = self.env.get("COPILOT_INTEGRATION_ID").filter(|id| !id.is_empty());
                if named.is_some_and(|id| !printable(&id)) {
                    notices.push("COPILOT_INTEGRATION_ID is left out: it is not one word".into());
                }
                let integration = named.filter(printable).map_or(INTEGRATION, String::as_str);
                let mut fields = vec![field("copilot-integration-id", integration, false)];
                if target.ends_with(".githubcopilot.com") {
                    fields.push(field("x-initiator", "agent", true));
                    fields.push(field("x-interaction-id", self.run, false));
                }
                fields
            }
        }
    }
}

/// The caller's own bundle, else the machine's, and what the caller adds to either.
pub fn authorities(host: &Host) -> Vec<PathBuf> {
    let file = |name: &str| host.caller.env.get(name).filter(|path| path.starts_with('/'));
    let bundle = file("SSL_CERT_FILE").map(PathBuf::from).or_else(|| host.ca_bundle.clone());
    let more = file("NODE_EXTRA_CA_CERTS").map(PathBuf::from);
    let mut files: Vec<PathBuf> = bundle.into_iter().chain(more).collect();
    files.dedup();
    files
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::sample;
