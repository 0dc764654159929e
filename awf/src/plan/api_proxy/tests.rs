//! Tests of the decisions about the API proxy.

use std::path::Path;

use super::*;
use crate::cli;
use crate::plan::inspection::InspectionPlan;
use crate::policy::Services;

/// What a caller with these variables gets.
pub(crate) fn sample(vars: &[(&str, &str)]) -> ApiProxyPlan {
    plan(vars, &[])
}

/// What a caller with these variables who typed these options gets.
fn plan(vars: &[(&str, &str)], options: &[&str]) -> ApiProxyPlan {
    let host = host(vars);
    ApiProxyPlan::decide(&settings(&host, options), &host, "awf-1-ab")
}

fn host(vars: &[(&str, &str)]) -> Host {
    let mut host = Host::sample();
    host.caller.env = vars.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    host
}

fn settings(host: &Host, options: &[&str]) -> Settings {
    let line = ["awf"].iter().chain(options).chain(&["--", "true"]).map(Into::into);
    let Ok(cli::Request::Run(args)) = cli::parse(line) else { panic!("{options:?}") };
    Settings::resolve(&args, &host.caller).unwrap()
}

/// Provider, target, base path and authentication of the only route.
#[track_caller]
fn only(vars: &[(&str, &str)], options: &[&str]) -> (Provider, String, String, Auth) {
    let plan = plan(vars, options);
    let [route] = &*plan.routes else { panic!("{plan:?}") };
    (route.provider, route.target.clone(), route.base_path.clone(), route.auth)
}

#[track_caller]
fn check_copilot(vars: &[(&str, &str)], target: &str, auth: Auth) {
    let vars = [vars, &[("COPILOT_GITHUB_TOKEN", "t")]].concat();
    assert_eq!(only(&vars, &[]), (Provider::Copilot, target.to_owned(), String::new(), auth));
}

#[test]
fn nothing_is_served_without_a_credential() {
    for vars in [&[][..], &[("OPENAI_API_KEY", "")], &[("GITHUB_TOKEN", "x")]] {
        let plan = plan(vars, &["--openai-api-target", "o.example"]);
        assert!(plan.routes.is_empty() && plan.entries().is_empty() && plan.summary().is_none());
    }
}

#[test]
fn each_credential_serves_its_own_provider() {
    let check = |name, provider: Provider, base: &str, auth| {
        let expected = (provider, provider.server().to_owned(), base.to_owned(), auth);
        assert_eq!(only(&[(name, "k")], &[]), expected);
    };
    check("OPENAI_API_KEY", Provider::OpenAi, "/v1", Auth::Bearer);
    check("ANTHROPIC_API_KEY", Provider::Anthropic, "", Auth::ApiKey);
    check("COPILOT_GITHUB_TOKEN", Provider::Copilot, "", Auth::Bearer);
    check("GEMINI_API_KEY", Provider::Gemini, "", Auth::GoogleKey);
    check("GOOGLE_API_KEY", Provider::Vertex, "", Auth::GoogleKey);
}

#[test]
fn the_user_may_name_the_server() {
    let options = ["--openai-api-target", "https://llm.example/x", "--openai-api-base-path", "/a/"];
    let expected = (Provider::OpenAi, "llm.example".to_owned(), "/a".to_owned(), Auth::Bearer);
    assert_eq!(only(&[("OPENAI_API_KEY", "k")], &options), expected);
    // The version belongs to OpenAI's own server.
    let (_, _, base_path, _) = only(&[("OPENAI_API_KEY", "k")], &options[..2]);
    assert_eq!(base_path, "");
}

#[test]
fn copilots_server_belongs_to_the_github_of_the_caller() {
    let server = |url| [("GITHUB_SERVER_URL", url)];
    check_copilot(&server("https://github.com"), "api.githubcopilot.com", Auth::Bearer);
    check_copilot(&server("https://acme.ghe.com"), "copilot-api.acme.ghe.com", Auth::Token);
    check_copilot(&server("https://git.corp.example"), ENTERPRISE, Auth::Token);
    check_copilot(&[("COPILOT_API_TARGET", BUSINESS)], BUSINESS, Auth::Token);
}

#[test]
fn copilots_token_goes_to_no_other_provider() {
    let other = ("COPILOT_PROVIDER_BASE_URL", "https://llm.example/v1");
    check_copilot(&[other], "api.githubcopilot.com", Auth::Bearer);
    let vars = [("COPILOT_GITHUB_TOKEN", "t"), ("COPILOT_PROVIDER_API_KEY", "k"), other];
    let plan = plan(&vars, &[]);
    let [route] = &*plan.routes else { panic!("{plan:?}") };
    assert_eq!((&*route.target, &*route.base_path), ("llm.example", "/v1"));
    assert_eq!((route.credential.expose(), route.auth), ("k", Auth::Bearer));
    let azure = [&vars[..], &[("COPILOT_PROVIDER_TYPE", "azure")]].concat();
    assert_eq!(only(&azure, &[]).3, Auth::AzureKey);
}

#[test]
fn fields_that_a_service_needs_are_added() {
    let fields = |vars: &[(&str, &str)]| {
        let plan = plan(vars, &[]);
        let field = |field: &Field| format!("{}: {} {}", field.name, field.value, field.yields);
        plan.routes[0].fields.iter().map(field).collect::<Vec<_>>()
    };
    assert_eq!(fields(&[("ANTHROPIC_API_KEY", "k")]), ["anthropic-version: 2023-06-01 true"]);
    assert_eq!(
        fields(&[("COPILOT_GITHUB_TOKEN", "k"), ("COPILOT_INTEGRATION_ID", "mine")]),
        [
            "copilot-integration-id: mine false",
            "x-initiator: agent true",
            "x-interaction-id: awf-1-ab false"
        ]
    );
    let elsewhere = [
        ("COPILOT_GITHUB_TOKEN", "k"),
        ("COPILOT_API_TARGET", "c.example"),
        ("COPILOT_INTEGRATION_ID", "a\r\nb: c"),
    ];
    assert_eq!(fields(&elsewhere), ["copilot-integration-id: agentic-workflows false"]);
}

#[test]
fn a_credential_is_read_as_it_was_meant() {
    let credential = |text: &str| {
        let plan = plan(&[("OPENAI_API_KEY", text)], &[]);
        (plan.routes.first().map(|route| route.credential.expose().to_owned()), plan.notices.len())
    };
    for text in ["sk-1", " sk-1\n", "Bearer sk-1", "bearer  sk-1", "token sk-1"] {
        assert_eq!(credential(text), (Some("sk-1".to_owned()), 0), "{text:?}");
    }
    for text in ["sk-placeholder-for-api-proxy", "Bearer  ", "   "] {
        assert_eq!(credential(text), (None, 0), "{text:?}");
    }
    for text in ["sk\r\nX-Evil: 1", "two words", "sk-\u{e9}"] {
        assert_eq!(credential(text), (None, 1), "{text:?}");
    }
}

#[test]
fn no_credential_is_in_any_text_of_the_plan() {
    let names = Provider::ALL.into_iter().flat_map(Provider::variables);
    let vars: Vec<(&str, &str)> = names.map(|name| (*name, "hunter2")).collect();
    let broken = ("OPENAI_API_KEY", "hunter2 x");
    let plans = [plan(&vars, &[]), plan(&[broken], &[])];
    for plan in &plans {
        let texts = [format!("{plan:?}"), plan.explain().to_string(), plan.notices.join(" ")];
        assert!(texts.iter().all(|text| !text.contains("hunter2")), "{texts:?}");
    }
    assert_eq!(plans[0].routes.len(), 5);
    let host = host(&vars);
    let settings = settings(&host, &["--env-all"]);
    let command = crate::plan::environment::agent_environment(
        &settings,
        &host,
        (&Services::default(), &InspectionPlan::default()),
        &plans[0],
    );
    assert!(command.variables.iter().all(|(_, value)| !value.contains("hunter2")));
}

#[test]
fn servers_are_allowed_and_the_plan_says_so() {
    let plan = plan(&[("OPENAI_API_KEY", "k"), ("GEMINI_API_KEY", "k")], &[]);
    let expected = ["https://api.openai.com", "https://generativelanguage.googleapis.com"];
    assert_eq!(plan.entries(), expected);
    assert_eq!(plan.explain()["also_allowed"], json!(expected));
    assert_eq!(plan.explain()["providers"][0]["credential_of"], "OPENAI_API_KEY");
    let summary =
        "API proxy enabled: OpenAI=true, Anthropic=false, Copilot=false, Gemini=true, Vertex=false";
    assert_eq!(plan.summary().as_deref(), Some(summary));
}

#[test]
fn the_callers_own_authorities_count() {
    let check = |vars: &[(&str, &str)], expected: &[&str]| {
        let expected: Vec<&Path> = expected.iter().map(Path::new).collect();
        assert_eq!(plan(vars, &[]).authorities, expected);
    };
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    check(&[], &[bundle]);
    check(&[("SSL_CERT_FILE", "/lab/ca.pem")], &["/lab/ca.pem"]);
    check(&[("NODE_EXTRA_CA_CERTS", "/lab/ca.pem")], &[bundle, "/lab/ca.pem"]);
    check(&[("SSL_CERT_FILE", "/a"), ("NODE_EXTRA_CA_CERTS", "/a")], &["/a"]);
    check(&[("SSL_CERT_FILE", "relative")], &[bundle]);
}

/// The variables of the command that begin with one of the prefixes.
#[track_caller]
fn check_variables(vars: &[(&str, &str)], options: &[&str], expected: &[(&str, &str)]) {
    let host = host(vars);
    let settings = settings(&host, options);
    let plan = ApiProxyPlan::decide(&settings, &host, "run");
    let command = crate::plan::environment::agent_environment(
        &settings,
        &host,
        (&Services::default(), &InspectionPlan::default()),
        &plan,
    );
    let prefixes =
        ["OPENAI", "CODEX", "ANTHROPIC", "CLAUDE", "COPILOT", "GEMINI", "GOOGLE", "AWF_GEMINI"];
    let found: Vec<(&str, &str)> = command
        .variables
        .iter()
        .filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_command_gets_placeholders() {
    check_variables(
        &[("OPENAI_API_KEY", "real")],
        &["-e", "OPENAI_BASE_URL=http://evil.example", "--exclude-env", "OPENAI_API_KEY"],
        &[
            ("CODEX_API_KEY", "sk-placeholder-for-api-proxy"),
            ("OPENAI_API_KEY", "sk-placeholder-for-api-proxy"),
            ("OPENAI_BASE_URL", "http://172.30.0.30:10000"),
        ],
    );
    check_variables(
        &[("ANTHROPIC_API_KEY", "real")],
        &["--env-all"],
        &[
            ("ANTHROPIC_AUTH_TOKEN", "sk-ant-placeholder-key-for-credential-isolation"),
            ("ANTHROPIC_BASE_URL", "http://172.30.0.30:10001"),
        ],
    );
    check_variables(
        &[("GEMINI_API_KEY", "real"), ("GOOGLE_API_KEY", "real")],
        &["--env-all"],
        &[
            ("AWF_GEMINI_ENABLED", "1"),
            ("GEMINI_API_BASE_URL", "http://172.30.0.30:10003"),
            ("GEMINI_API_KEY", "gemini-api-key-placeholder-for-credential-isolation"),
            ("GOOGLE_API_KEY", "google-api-key-placeholder-for-credential-isolation"),
            ("GOOGLE_GEMINI_BASE_URL", "http://172.30.0.30:10003"),
            ("GOOGLE_VERTEX_BASE_URL", "http://172.30.0.30:10004"),
        ],
    );
    check_variables(&[], &["-e", "OPENAI_API_KEY=mine"], &[]);
}

#[test]
fn copilot_gets_placeholders_for_what_the_caller_has() {
    let placeholder = format!("ghu_{}", "a".repeat(36));
    let url = "http://172.30.0.30:10002";
    check_variables(
        &[("COPILOT_GITHUB_TOKEN", "real"), ("COPILOT_MODEL", "gpt-5.1-codex")],
        &[],
        &[
            ("COPILOT_API_URL", url),
            ("COPILOT_GITHUB_TOKEN", &placeholder),
            ("COPILOT_OFFLINE", "true"),
            ("COPILOT_PROVIDER_BASE_URL", url),
            ("COPILOT_PROVIDER_WIRE_API", "responses"),
            ("COPILOT_TOKEN", &placeholder),
        ],
    );
    check_variables(
        &[
            ("COPILOT_PROVIDER_API_KEY", "real"),
            ("COPILOT_PROVIDER_BASE_URL", "https://llm.example/v1"),
        ],
        &["--env-all", "-e", "COPILOT_MODEL=claude"],
        &[
            ("COPILOT_API_URL", url),
            ("COPILOT_MODEL", "claude"),
            ("COPILOT_OFFLINE", "true"),
            ("COPILOT_PROVIDER_API_KEY", &placeholder),
            ("COPILOT_PROVIDER_BASE_URL", url),
            ("COPILOT_TOKEN", &placeholder),
        ],
    );
}
