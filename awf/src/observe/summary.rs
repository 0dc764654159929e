//! The last record of a run: totals, the kernel's counters, what is missing, and by which programs and policy it was judged.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::Event;

/// The end of a run, as the record tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// [`super::record::SCHEMA`].
    #[serde(rename = "_schema")]
    pub schema: Cow<'static, str>,
    /// [`Event::Summary`].
    pub event: Event,
    /// When the record was closed: RFC 3339, UTC, microseconds.
    pub time: String,
    /// Id of the run.
    pub run: Arc<str>,
    /// When it began: RFC 3339, UTC, microseconds.
    pub began: String,
    /// Exit code of awf; absent if set-up or the run failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// Whether every attempt is on record.
    pub complete: bool,
    /// What is missing.
    pub lost: Lost,
    /// Attempts by what became of them.
    pub attempts: Attempts,
    /// Attempts by the rule that decided.
    pub rules: BTreeMap<String, u64>,
    /// The kernel's counters, which are exact whatever is lost.
    pub kernel: BTreeMap<String, u64>,
    /// Under which conditions the run was judged.
    #[serde(flatten)]
    pub terms: Terms,
}

/// What a run was judged by: known when it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Terms {
    /// Version of awf.
    pub awf: String,
    /// Release of the kernel.
    pub kernel_release: String,
    /// `native` or `docker`.
    pub runtime: String,
    /// `full` or `hardened`.
    pub profile: String,
    /// `enforce`, or `audit` if names that are not allowed were let through.
    pub mode: String,
    /// What tells who a process is: `kernel`, which is exact, or `procfs`, which knows living processes only.
    pub identity: String,
    /// SHA-256 of the policy: the member `policySha256` of `policy-manifest.json`. Hexadecimal.
    pub policy_sha256: String,
    /// The programs that were attached, with the kernel's digest of each (`bpf_prog_info.tag`).
    pub programs: BTreeMap<String, String>,
    /// The job, where the caller's environment tells: repository, workflow, job, action, run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub github: BTreeMap<String, String>,
}

/// Attempts that were judged but are not on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lost {
    /// The kernel found its ring buffer full.
    pub ring: u64,
    /// The queue to the writer was full, or the disk was.
    pub written: u64,
    /// Connections whose origin was not known; they were closed.
    pub stray: u64,
}

impl Lost {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.ring + self.written + self.stray
    }
}

/// Attempts by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempts {
    /// Let through.
    pub allow: u64,
    /// Refused.
    pub deny: u64,
    /// Failed for another reason.
    pub error: u64,
}
