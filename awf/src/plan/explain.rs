//! The plan for a reader: what `awf plan` prints.

use std::path::Path;

use serde::Serialize;

use super::containers::Containers;
use super::export::Export;
use super::inspection::InspectionPlan;
use super::limits::Limits;
use super::outward::Outward;
use super::{Plan, mounts, seccomp};
use crate::enforce::{Standing, profile};
use crate::policy::{Policy, Services};
use crate::runtime::native::Text;

impl Plan {
    /// The plan for a reader, in JSON: names of variables without their values, which may be secrets.
    pub fn explain(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct Explained<'a> {
            runtime: &'a str,
            containers: &'a Option<Containers>,
            profile: &'a Standing,
            coverage: Vec<profile::Cover>,
            mode: &'a str,
            policy: &'a Policy,
            services: &'a Services,
            api_proxy: serde_json::Value,
            inspection: &'a InspectionPlan,
            outward: &'a Outward,
            #[serde(skip_serializing_if = "Option::is_none")]
            record_sent_to: Option<String>,
            squid_conf: &'a str,
            command: Vec<String>,
            working_directory: &'a Path,
            uid: u32,
            gid: u32,
            environment: Vec<String>,
            mounts: &'a [mounts::MountOp],
            limits: &'a Limits,
            capabilities: [&'a str; 0],
            no_new_privileges: bool,
            seccomp: &'a [seccomp::Group],
            proxy_logs: &'a Path,
            audit: &'a Path,
            notices: &'a [String],
        }
        let text = |text: &Text| text.0.to_string_lossy().into_owned();
        let conf = self.squid.conf.replace(&self.key, "<key>");
        serde_json::to_value(Explained {
            runtime: &self.runtime,
            containers: &self.containers,
            profile: &self.standing,
            coverage: profile::covers(self.standing.profile),
            mode: self.policy.mode(),
            policy: &self.policy,
            services: &self.services,
            api_proxy: self.api.explain(),
            inspection: &self.inspection,
            outward: &self.outward,
            record_sent_to: self.export.as_ref().map(Export::url),
            squid_conf: &conf,
            command: self.agent.argv.iter().map(text).collect(),
            working_directory: &self.agent.cwd,
            uid: self.agent.uid,
            gid: self.agent.gid,
            environment: self.agent.env.iter().map(|(name, _value)| text(name)).collect(),
            mounts: &self.agent.mounts,
            limits: &self.limits,
            // In none of the five sets, the bounding set included.
            capabilities: [],
            no_new_privileges: true,
            seccomp: seccomp::GROUPS,
            proxy_logs: &self.paths.logs,
            audit: &self.paths.audit,
            notices: &self.notices,
        })
        .unwrap_or_default()
    }
}
