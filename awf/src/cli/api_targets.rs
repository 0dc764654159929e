//! Where the API proxy sends requests: `--*-api-target`, `--*-api-base-path` and their variables.
//!
//! Owns their notation. Takes the options and the caller's environment, gives host names and paths.
//! Which service is served at all, and by which server if nothing is said, is decided in
//! `plan::api_proxy`. Must never let a credential that someone wrote into an address appear in a
//! complaint.

use super::options::ApiArgs;
use super::usage::UsageError;
use crate::doors::names;
use crate::host::Variables;

/// Port of TLS. The API proxy speaks to no other.
const TLS_PORT: &str = "443";

/// The option that names the variable with `OpenAI`'s URL.
const BASE_URL_ENV: &str = "--openai-base-url-env";

/// What was said of all services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiTargets {
    /// Of `OpenAI`.
    pub openai: Endpoint,
    /// Of Anthropic.
    pub anthropic: Endpoint,
    /// Of Copilot.
    pub copilot: Endpoint,
    /// Of a provider that Copilot is to use with a key of the caller's own.
    pub copilot_provider: Endpoint,
    /// Of Gemini.
    pub gemini: Endpoint,
    /// Of Vertex.
    pub vertex: Endpoint,
}

/// What was said of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The server, a canonical name.
    pub host: Option<String>,
    /// What goes before the path of each request: nothing, or `/` and segments.
    pub base_path: Option<String>,
    /// The header field in which the key is shown, in lower case.
    pub header: Option<String>,
}

/// An option with its value, and the variable that stands in for it.
type Source<'a> = (&'static str, &'a Option<String>, &'static str);

impl ApiTargets {
    /// Reads the options, else the variables.
    pub(super) fn resolve(args: &ApiArgs, env: &Variables) -> Result<Self, UsageError> {
        let endpoint = |target: Source<'_>, path: Source<'_>| Endpoint::read(target, path, env);
        let mut all = Self {
            openai: endpoint(
                ("--openai-api-target", &args.openai_api_target, "OPENAI_API_TARGET"),
                ("--openai-api-base-path", &args.openai_api_base_path, "OPENAI_API_BASE_PATH"),
            )?,
            anthropic: endpoint(
                ("--anthropic-api-target", &args.anthropic_api_target, "ANTHROPIC_API_TARGET"),
                (
                    "--anthropic-api-base-path",
                    &args.anthropic_api_base_path,
                    "ANTHROPIC_API_BASE_PATH",
                ),
            )?,
            copilot: endpoint(
                ("--copilot-api-target", &args.copilot_api_target, "COPILOT_API_TARGET"),
                // The original has the variable without the option.
                ("COPILOT_API_BASE_PATH", &None, "COPILOT_API_BASE_PATH"),
            )?,
            copilot_provider: provider_of_copilot(env)?,
            gemini: endpoint(
                ("--gemini-api-target", &args.gemini_api_target, "GEMINI_API_TARGET"),
                ("--gemini-api-base-path", &args.gemini_api_base_path, "GEMINI_API_BASE_PATH"),
            )?,
            vertex: endpoint(
                ("--vertex-api-target", &args.vertex_api_target, "VERTEX_API_TARGET"),
                ("--vertex-api-base-path", &args.vertex_api_base_path, "VERTEX_API_BASE_PATH"),
            )?,
        };
        let header = |source: Source<'_>| {
            given(source, env).map(|(origin, text)| header(origin, text)).transpose()
        };
        let openai = &args.openai_api_auth_header;
        all.openai.header = header(("--openai-api-auth-header", openai, "AWF_OPENAI_AUTH_HEADER"))?;
        let anthropic = &args.anthropic_api_auth_header;
        all.anthropic.header =
            header(("--anthropic-api-auth-header", anthropic, "AWF_ANTHROPIC_AUTH_HEADER"))?;
        if let Some((host, path)) = openai_base_url(args, env)? {
            // What is named plainly counts more.
            all.openai.host.get_or_insert(host);
            all.openai.base_path.get_or_insert(path);
        }
        Ok(all)
    }
}

impl ApiTargets {
    /// Likewise, with what `--env` gave or the caller's variable says of `OpenAI`'s server, where nothing else does. In the
    /// original that is documented and without effect. It counts only with a key, as it may be about something else.
    pub(super) fn overridden(
        mut self,
        given: &Variables,
        env: &Variables,
    ) -> Result<Self, UsageError> {
        const NAME: &str = "OPENAI_ENDPOINT_OVERRIDE";
        let said = set(given, NAME).or_else(|| set(env, NAME));
        let (Some(text), Some(_key), None) = (said, set(env, "OPENAI_API_KEY"), &self.openai.host)
        else {
            return Ok(self);
        };
        let (host, path) = address(NAME, text)?;
        self.openai.host = Some(host);
        if self.openai.base_path.is_none() && !path.trim_matches('/').is_empty() {
            self.openai.base_path = Some(base_path(NAME, path)?);
        }
        Ok(self)
    }
}

impl Endpoint {
    fn read(target: Source<'_>, path: Source<'_>, env: &Variables) -> Result<Self, UsageError> {
        let host = given(target, env).map(|(origin, text)| address(origin, text)).transpose()?;
        let base_path =
            given(path, env).map(|(origin, text)| base_path(origin, text)).transpose()?;
        Ok(Self { host: host.map(|(host, _path)| host), base_path, header: None })
    }
}

/// The value and where it was given. An empty one counts as not given.
fn given<'a>(
    (flag, value, variable): Source<'a>,
    env: &'a Variables,
) -> Option<(&'static str, &'a str)> {
    let typed = value.as_deref().filter(|text| !text.is_empty()).map(|text| (flag, text));
    typed.or_else(|| set(env, variable).map(|text| (variable, text)))
}

/// The address counts only with the key that belongs to it: without, Copilot's own token would be sent there.
fn provider_of_copilot(env: &Variables) -> Result<Endpoint, UsageError> {
    const NAME: &str = "COPILOT_PROVIDER_BASE_URL";
    let (Some(text), Some(_key)) = (set(env, NAME), set(env, "COPILOT_PROVIDER_API_KEY")) else {
        return Ok(Endpoint::default());
    };
    let (host, path) = address(NAME, text)?;
    Ok(Endpoint { host: Some(host), base_path: Some(base_path(NAME, path)?), header: None })
}

/// The variable that holds the URL of `OpenAI`'s server, if one is named: the command does not get it.
pub(super) fn base_url_variable<'a>(
    args: &'a ApiArgs,
    env: &'a Variables,
) -> Option<(&'static str, &'a str)> {
    given((BASE_URL_ENV, &args.openai_base_url_env, "OPENAI_BASE_URL_ENV"), env)
}

/// Server and path of that URL. What it holds may be a secret and is in no complaint.
fn openai_base_url(
    args: &ApiArgs,
    env: &Variables,
) -> Result<Option<(String, String)>, UsageError> {
    let Some((origin, name)) = base_url_variable(args, env) else { return Ok(None) };
    let refuse = |problem: &str| {
        let remedy = "put a URL into that variable such as https://api.example.com/v1, without credentials, port, query \
                      and fragment";
        UsageError::value(origin, name, problem, remedy)
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !name.bytes().all(is_name) || name.starts_with(|first: char| first.is_ascii_digit()) {
        let remedy = "write the name of a variable, such as MY_BASE_URL";
        return Err(UsageError::value(origin, name, "not the name of a variable", remedy));
    }
    let url = set(env, name).ok_or_else(|| refuse("the variable is not set"))?;
    let is_plain = url.trim().to_ascii_lowercase().starts_with("https://");
    if !is_plain || url.contains(['@', '?', '#']) {
        return Err(refuse("what the variable holds is no plain https:// URL"));
    }
    let read = address(origin, url).and_then(|(host, path)| Ok((host, base_path(origin, path)?)));
    read.map(Some).map_err(|_shown| refuse("what the variable holds cannot be asked"))
}

/// The name of a header field (RFC 9110, 5.1) that holds a key. Those that mean something else cannot.
fn header(origin: &'static str, text: &str) -> Result<String, UsageError> {
    const TAKEN: [&str; 12] = [
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "proxy-authorization",
        "te",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    ];
    let name = text.trim().to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let problem = if name.is_empty() || !name.bytes().all(token) {
        "not the name of a header"
    } else if TAKEN.contains(&&*name) {
        "this header means something else"
    } else {
        return Ok(name);
    };
    Err(UsageError::value(origin, text, problem, "write a name such as x-api-key"))
}

fn set<'a>(env: &'a Variables, name: &str) -> Option<&'a str> {
    env.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

/// The server of `host`, `host:443` or `https://host/path`, and the path.
///
/// The original drops the port and asks 443 whatever was written; here the key goes to the server that was named or nowhere.
fn address<'a>(origin: &'static str, text: &'a str) -> Result<(String, &'a str), UsageError> {
    let refuse = |problem: &str| {
        let shown = text.rsplit('@').next().unwrap_or_default();
        let remedy =
            "write the name of a server that speaks TLS on port 443, such as api.example.com";
        Err(UsageError::value(origin, shown, problem, remedy))
    };
    let text = text.trim();
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
        Some(_) => return refuse("the API proxy speaks https:// only"),
        None => text,
    };
    let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |end| rest.split_at(end));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return refuse("an address must hold no credentials");
    }
    let host = match authority.split_once(':') {
        Some((host, TLS_PORT)) => host,
        Some(_) => return refuse("the API proxy speaks to port 443 only"),
        None => authority,
    };
    match names::canonical(host) {
        Ok(host) if host.contains('.') => Ok((host, path)),
        Ok(_) => refuse("not the full name of a server"),
        Err(error) => refuse(&error.to_string()),
    }
}

/// A path without its last `/`, of plain segments: with `..` it could lead out of itself.
fn base_path(origin: &'static str, text: &str) -> Result<String, UsageError> {
    let path = text.trim().trim_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:!$&'()*+,;=".contains(&byte);
    let segment = |text: &str| !matches!(text, "" | "." | "..") && text.bytes().all(plain);
    if path.split('/').all(segment) {
        Ok(format!("/{path}"))
    } else {
        let remedy = "write a path such as /v1 or /serving-endpoints";
        Err(UsageError::value(origin, text, "not a plain path", remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn resolve(args: &ApiArgs, pairs: &[(&str, &str)]) -> Result<ApiTargets, UsageError> {
        ApiTargets::resolve(args, &env(pairs))
    }

    #[test]
    fn an_override_of_openais_server_counts_with_a_key_and_where_nothing_else_is_said() {
        const NAME: &str = "OPENAI_ENDPOINT_OVERRIDE";
        let openai = |said: &[(&str, &str)], pairs: &[(&str, &str)]| {
            let targets = resolve(&ApiArgs::default(), pairs).unwrap();
            targets.overridden(&env(said), &env(pairs)).map(|targets| targets.openai)
        };
        let expected = |host: &str, path: Option<&str>| Endpoint {
            host: Some(host.to_owned()),
            base_path: path.map(str::to_owned),
            header: None,
        };
        let key = ("OPENAI_API_KEY", "x");
        let pairs = [key, (NAME, "https://b.example/v2")];
        assert_eq!(openai(&[], &pairs).unwrap(), expected("b.example", Some("/v2")));
        assert_eq!(openai(&[(NAME, "a.example")], &pairs).unwrap(), expected("a.example", None));
        let named = [key, (NAME, "b.example"), ("OPENAI_API_TARGET", "c.example")];
        assert_eq!(openai(&[], &named).unwrap(), expected("c.example", None));
        assert_eq!(openai(&[], &[(NAME, "http://localhost:1")]).unwrap(), Endpoint::default());
        let wrong = openai(&[], &[key, (NAME, "http://localhost:1")]).unwrap_err().to_string();
        assert!(wrong.starts_with("OPENAI_ENDPOINT_OVERRIDE '"), "{wrong}");
    }

    #[test]
    fn the_option_beats_the_variable() {
        let pairs = [("OPENAI_API_TARGET", "b.example"), ("OPENAI_API_BASE_PATH", "v2/")];
        let typed = ApiArgs { openai_api_target: Some("a.example".into()), ..ApiArgs::default() };
        let expected = |host: &str| Endpoint {
            host: Some(host.to_owned()),
            base_path: Some("/v2".to_owned()),
            header: None,
        };
        assert_eq!(resolve(&typed, &pairs).unwrap().openai, expected("a.example"));
        assert_eq!(resolve(&ApiArgs::default(), &pairs).unwrap().openai, expected("b.example"));
        let empty = ApiArgs { openai_api_target: Some(String::new()), ..ApiArgs::default() };
        assert_eq!(resolve(&empty, &pairs).unwrap().openai, expected("b.example"));
        assert_eq!(resolve(&ApiArgs::default(), &[]).unwrap(), ApiTargets::default());
    }

    #[test]
    fn every_service_has_its_own() {
        let name = |name: &str| Some(name.to_owned());
        let args = ApiArgs {
            openai_api_target: name("o.example"),
            anthropic_api_target: name("a.example"),
            copilot_api_target: name("c.example"),
            gemini_api_target: name("g.example"),
            vertex_api_target: name("v.example"),
            openai_api_base_path: name("/o"),
            anthropic_api_base_path: name("/a"),
            gemini_api_base_path: name("/g"),
            vertex_api_base_path: name("/v"),
            ..ApiArgs::default()
        };
        let found = resolve(&args, &[]).unwrap();
        let all = [&found.openai, &found.anthropic, &found.copilot, &found.gemini, &found.vertex];
        let hosts = all.map(|endpoint| endpoint.host.as_deref().unwrap());
        assert_eq!(hosts, ["o.example", "a.example", "c.example", "g.example", "v.example"]);
        let paths = all.map(|endpoint| endpoint.base_path.as_deref());
        assert_eq!(paths, [Some("/o"), Some("/a"), None, Some("/g"), Some("/v")]);
    }

    #[test]
    fn a_server_may_be_written_as_an_address() {
        for text in ["A.example", "https://a.example/x?y", "HTTPS://a.example.", "a.example:443/"] {
            assert_eq!(address("--x", text).unwrap().0, "a.example", "{text}");
        }
        assert_eq!(address("--x", "https://a.example/v1/?q#f").unwrap().1, "/v1/");
    }

    #[test]
    fn a_server_that_would_not_be_asked_is_refused() {
        for (text, problem) in [
            ("http://a.example", "https:// only"),
            ("ftp://a.example", "https:// only"),
            ("a.example:8443", "port 443 only"),
            ("https://a.example:80", "port 443 only"),
            ("localhost", "full name"),
            ("10.0.0.1", "an IP address"),
            ("[::1]:443", "port 443 only"),
            ("a b.example", "label"),
            ("https://", "empty"),
        ] {
            let error = address("--x", text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn no_complaint_shows_a_password() {
        for text in
            ["https://me:hunter2@a.example", "http://hunter2@a.example", "hunter2@a.example:1"]
        {
            let error = address("--x", text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_base_path_leads_down_only() {
        for (text, expected) in [("", ""), ("/", ""), ("v1", "/v1"), ("/a/b/", "/a/b")] {
            assert_eq!(base_path("--x", text).unwrap(), expected);
        }
        for text in ["/a/../b", "..", "/a//b", "/a?b", "/%2e%2e", "a b", "/a\r\nX: y", "\\a"] {
            assert!(base_path("--x", text).is_err(), "{text}");
        }
    }

    #[test]
    fn copilots_other_provider_needs_its_own_key() {
        let url = ("COPILOT_PROVIDER_BASE_URL", "https://llm.example/openai/v1");
        let args = ApiArgs::default();
        assert_eq!(resolve(&args, &[url]).unwrap().copilot_provider, Endpoint::default());
        let found = resolve(&args, &[url, ("COPILOT_PROVIDER_API_KEY", "k")]).unwrap();
        let expected = Endpoint {
            host: Some("llm.example".to_owned()),
            base_path: Some("/openai/v1".to_owned()),
            header: None,
        };
        assert_eq!(found.copilot_provider, expected);
        let plain = ("COPILOT_PROVIDER_BASE_URL", "http://localhost:11434");
        assert_eq!(resolve(&args, &[plain]).unwrap().copilot_provider, Endpoint::default());
    }

    #[test]
    fn a_key_may_have_a_header_of_its_own() {
        let args = |name: &str| ApiArgs {
            openai_api_auth_header: Some(name.to_owned()),
            ..ApiArgs::default()
        };
        let found = resolve(&args("X-Key"), &[("AWF_ANTHROPIC_AUTH_HEADER", "y")]).unwrap();
        assert_eq!(found.openai.header.as_deref(), Some("x-key"));
        assert_eq!(found.anthropic.header.as_deref(), Some("y"));
        for name in ["a b", "a:", "Host", "content-length", " ", "x\r\ny"] {
            let error = resolve(&args(name), &[]).unwrap_err().to_string();
            assert!(error.starts_with("--openai-api-auth-header"), "{error}");
        }
    }

    #[test]
    fn a_url_may_be_in_a_variable_that_nobody_shows() {
        let args = ApiArgs { openai_base_url_env: Some("MINE".to_owned()), ..ApiArgs::default() };
        let found = resolve(&args, &[("MINE", "https://hunter2.example/v2/")]).unwrap().openai;
        assert_eq!(found.host.as_deref(), Some("hunter2.example"));
        assert_eq!(found.base_path.as_deref(), Some("/v2"));
        for url in [
            "",
            "hunter2.example",
            "http://hunter2.example",
            "https://me:hunter2@a.example",
            "https://a.example/?hunter2",
            "https://hunter2.example:8443",
            "https://hunter2",
            "https://a.example/../hunter2",
        ] {
            let error = resolve(&args, &[("MINE", url)]).unwrap_err().to_string();
            assert!(error.starts_with("--openai-base-url-env 'MINE': "), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
