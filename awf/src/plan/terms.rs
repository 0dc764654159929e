//! On which terms a run is judged, as far as that is known before it: for the record's summary.

use std::collections::BTreeMap;

use crate::host::{Host, Variables};
use crate::observe::summary::Terms;
use crate::policy::Policy;

/// What GitHub tells of the job that is of use to a reader of the record, and no secret.
const JOB: [&str; 8] = [
    "GITHUB_REPOSITORY",
    "GITHUB_WORKFLOW",
    "GITHUB_WORKFLOW_REF",
    "GITHUB_JOB",
    "GITHUB_ACTION",
    "GITHUB_RUN_ID",
    "GITHUB_RUN_ATTEMPT",
    "GITHUB_SHA",
];

/// The terms; what only the session learns is missing yet.
pub(super) fn of(host: &Host, in_containers: bool, policy: &Policy) -> Terms {
    let github = JOB.into_iter().filter_map(|name| {
        let value = text(&host.caller.env, name)?;
        Some((name.to_owned(), value))
    });
    Terms {
        awf: env!("CARGO_PKG_VERSION").to_owned(),
        kernel_release: host.kernel.release.clone(),
        runtime: if in_containers { "docker" } else { "native" }.to_owned(),
        mode: policy.mode().to_owned(),
        github: github.collect(),
        profile: String::new(),
        identity: String::new(),
        policy_sha256: String::new(),
        programs: BTreeMap::new(),
    }
}

/// The step of the workflow: job and action.
pub(super) fn step(env: &Variables) -> Option<String> {
    let action = text(env, "GITHUB_ACTION")?;
    Some(text(env, "GITHUB_JOB").map_or_else(|| action.clone(), |job| format!("{job}/{action}")))
}

fn text(env: &Variables, name: &str) -> Option<String> {
    env.get(name).filter(|value| !value.is_empty()).cloned()
}
