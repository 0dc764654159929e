//! The audit files: what was decided before a run, for whoever asks later.
//!
//! Takes settings, facts and the plan, gives names and texts without credentials. Pure; `session` writes them. Must never give a
//! text that did not go through the [`Redactor`].

use serde_json::{Value, json};

use super::manifest;
use super::redact::Redactor;
use crate::cli::{Settings, Supply};
use crate::host::Host;
use crate::plan::Plan;
use crate::plan::containers::{Container, Containers};

/// The redacted plan.
pub const PLAN: &str = "awf-plan.redacted.json";

/// What a run leaves besides logs.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The files.
    pub files: Vec<File>,
    /// For whatever else is written.
    pub redactor: Redactor,
    /// The plan for a reader.
    pub plan: Value,
    /// SHA-256 of the policy, as the manifest has it.
    pub policy_sha256: String,
    /// Whether what helps to find a fault is left if the command fails.
    pub diagnostic: bool,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether one that is there already stays as it is.
    pub keeps: bool,
}

impl Audit {
    /// Decides what is left of a plan.
    pub fn of(settings: &Settings, host: &Host, plan: &Plan) -> Self {
        let redactor = Redactor::of(settings, host, &[&plan.key]);
        let resolvers = settings.dns_servers.as_ref().unwrap_or(&host.resolvers);
        let resolvers: Vec<String> = resolvers.iter().map(ToString::to_string).collect();
        let shown = shown_plan(settings, plan, &redactor);
        let manifest = manifest::of(settings, plan, &resolvers);
        let policy_sha256 =
            manifest.get(manifest::DIGEST).and_then(Value::as_str).unwrap_or_default().to_owned();
        let json = |value: Value| format!("{:#}\n", redactor.value(value));
        let file = |name: &str, text: String| File { name: name.to_owned(), text, keeps: false };
        let config = format!("{:#}\n", config(settings, &redactor));
        let conf = plan.squid.conf.replace(&plan.key, "<key>");
        let mut files = vec![
            // The original's: several runs may share a directory, and the first one counts.
            File { keeps: true, ..file("awf-resolved-config.json", config) },
            file("policy-manifest.json", json(manifest)),
            file("squid.conf", redactor.text(&conf)),
            file(PLAN, format!("{shown:#}\n")),
        ];
        let lists = plan.squid.files.iter().filter(|(name, _text)| is_list(name));
        files.extend(lists.map(|(name, text)| file(name, redactor.text(text))));
        if let Some(containers) = &plan.containers {
            files.push(file("image-manifest.json", json(images(containers))));
        }
        Self { files, redactor, plan: shown, policy_sha256, diagnostic: settings.diagnostic_logs }
    }
}

/// Whether a file of Squid's configuration says what is allowed or blocked; the others are templates.
fn is_list(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|extension| extension == "list")
}

/// The plan, and where each setting comes from.
fn shown_plan(settings: &Settings, plan: &Plan, redactor: &Redactor) -> Value {
    let mut shown = redactor.value(plan.explain());
    if let Value::Object(members) = &mut shown {
        if let Some(Value::Array(words)) = members.get_mut("command") {
            let hide = |word: &Value| redactor.command(word.as_str().unwrap_or_default()).into();
            *words = words.iter().map(hide).collect();
        }
        members.insert("origins".to_owned(), options(settings, redactor));
    }
    shown
}

fn options(settings: &Settings, redactor: &Redactor) -> Value {
    redactor.value(serde_json::to_value(&settings.effective).unwrap_or_default())
}

/// The effective configuration: every option with its place of origin, and the command.
fn config(settings: &Settings, redactor: &Redactor) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "agentCommand": redactor.command(&settings.command),
        "options": options(settings, redactor),
        "notices": settings.notices.iter().map(|text| redactor.text(text)).collect::<Vec<_>>(),
    })
}

/// Which images, and where from.
fn images(containers: &Containers) -> Value {
    let row = |container: &Container| {
        let source = if containers.daemon.images.contains(&container.image) {
            "present"
        } else if containers.supply == Supply::Build && container.is_own {
            "build"
        } else {
            "registry"
        };
        json!({"image": container.image, "source": source})
    };
    json!({"agent": row(&containers.agent), "squid": row(&containers.proxy)})
}
