//! `policy-manifest.json`: the rules of a run, in the order in which they are tried, for whoever reads the logs.
//!
//! Takes the plan, gives the original's format, version 1. Ids and order are those of the policy that relay and Squid judge by;
//! a test holds them to squid.conf. Pure.

use serde_json::{Map, Value, json};

use super::digest::sha256;
use crate::cli::Settings;
use crate::plan::Plan;
use crate::policy::{DANGEROUS_PORTS, Names, Policy, Protocol, Rule, Target};
use crate::proxy::config;

/// The member that holds the policy's digest.
pub const DIGEST: &str = "policySha256";

/// What is true of a rule beside its id.
struct Row {
    rule: Rule,
    acl: String,
    protocol: Protocol,
    domains: Vec<String>,
    description: String,
}

/// The manifest as JSON.
pub fn of(settings: &Settings, plan: &Plan, resolvers: &[String]) -> Value {
    let rows = services(plan).into_iter().chain(rules(&plan.policy));
    let rules: Vec<Value> = (1..).zip(rows).map(|(order, row)| row.to_json(order)).collect();
    let ports = DANGEROUS_PORTS.map(|(port, _what)| port);
    let mut manifest = json!({
        "version": 1,
        "rules": rules,
        "dangerousPorts": ports,
        "dnsServers": resolvers,
        "sslBumpEnabled": settings.inspection.bump,
        "dlpEnabled": settings.inspection.dlp,
        "hostAccessEnabled": settings.host_access.is_some(),
        "allowHostPorts": settings.effective.given("--allow-host-ports"),
    });
    if let Value::Object(members) = &mut manifest {
        if !settings.peers.is_empty() {
            members.insert("topologyPeers".to_owned(), settings.peers.clone().into());
        }
        if plan.policy.is_in_audit_mode() {
            members.insert("auditMode".to_owned(), true.into());
        }
        let digest = digest(members);
        members.insert(DIGEST.to_owned(), digest.into());
        members.insert("generatedAt".to_owned(), format!("{:.3}", jiff::Timestamp::now()).into());
    }
    manifest
}

/// SHA-256 of the policy: of the manifest's compact JSON, keys in order, without this member and the time. Equal policies have
/// equal ones.
fn digest(members: &Map<String, Value>) -> String {
    let text = serde_json::to_vec(members).unwrap_or_default();
    sha256(&text)
}

impl Row {
    fn deny(rule: Rule, acl: &str, description: &str) -> Self {
        let (acl, description) = (acl.to_owned(), description.to_owned());
        Self { rule, acl, protocol: Protocol::Both, domains: Vec::new(), description }
    }

    fn to_json(&self, order: u32) -> Value {
        json!({
            "id": self.rule.id(),
            "order": order,
            "action": if self.rule.allows() { "allow" } else { "deny" },
            "aclName": self.acl,
            "protocol": self.protocol,
            "domains": self.domains,
            "description": self.description,
        })
    }
}

/// What is opened of this machine and of containers, one row for each rule that opens ports of a service.
fn services(plan: &Plan) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for service in plan.services.iter() {
        for opening in &service.openings {
            let known = rows.iter_mut().find(|row| row.rule == opening.rule);
            if let Some(row) = known {
                row.description = format!("{}, {}", row.description, opening.ports);
                continue;
            }
            let what = match service.target {
                Target::Host => "this machine",
                Target::Peer(_) => "a container of --topology-attach",
                Target::ApiProxy => "awf's proxy of model providers",
            };
            rows.push(Row {
                acl: config::acl(opening.rule),
                rule: opening.rule,
                protocol: Protocol::Both,
                domains: service.names.clone(),
                description: format!("ports of {what}: {}", opening.ports),
            });
        }
    }
    rows
}

/// The rules of the domain lists, in the order of [`Policy::decide`].
fn rules(policy: &Policy) -> Vec<Row> {
    let mut rows = vec![
        Row::deny(
            Rule::DenyUnsafePorts,
            "safe_ports",
            "any port but 80 (plain HTTP) and 443 (TLS)",
        ),
        Row::deny(Rule::DenyRawIpv6, "raw_ipv6", "IPv6 addresses in the place of names"),
        Row::deny(Rule::DenyMalformedName, "malformed_name", "names that no resolver would take"),
    ];
    let listed = |rule: Rule, protocol, domains: Vec<String>, description: &str| {
        let description = description.to_owned();
        let row = Row { acl: config::acl(rule), rule, protocol, domains, description };
        (!row.domains.is_empty()).then_some(row)
    };
    let ips = policy.blocked_ips().map(|address| address.to_string());
    let blocked = ips.chain(suffixes(policy.blocked())).collect();
    let (both, why) = (Protocol::Both, "blocked names with their subdomains, and addresses");
    rows.extend(listed(Rule::DenyBlockedPlain, both, blocked, why));
    for (address, rule) in policy.ip_rules() {
        rows.extend(listed(rule, both, vec![address.to_string()], "an allowed address"));
    }
    rows.push(Row::deny(Rule::DenyRawIpv4, "raw_number", "IPv4 addresses in the place of names"));
    let patterns = config::regexes(policy.blocked()).lines().map(str::to_owned).collect();
    rows.extend(listed(Rule::DenyBlockedPattern, both, patterns, "blocked patterns"));
    for protocol in [Protocol::Http, Protocol::Https, Protocol::Both] {
        let names = policy.names(protocol);
        let what = match protocol {
            Protocol::Both => "",
            Protocol::Http => ", plain HTTP only",
            Protocol::Https => ", TLS only",
        };
        let (plain, pattern) = (Rule::AllowPlain(protocol), Rule::AllowPattern(protocol));
        let why = format!("allowed names with their subdomains{what}");
        rows.extend(listed(plain, protocol, suffixes(names).collect(), &why));
        let patterns = config::regexes(names).lines().map(str::to_owned).collect();
        rows.extend(listed(pattern, protocol, patterns, &format!("allowed patterns{what}")));
    }
    if policy.is_in_audit_mode() {
        let what = "audit mode: every name of the internet that nothing allows is let through";
        let (rule, description) = (Rule::AllowAuditMode, what.to_owned());
        rows.push(Row {
            acl: "all".to_owned(),
            rule,
            protocol: both,
            domains: Vec::new(),
            description,
        });
    }
    rows.push(Row::deny(Rule::DenyDefault, "all", "everything that nothing allows"));
    rows
}

fn suffixes(names: &Names) -> impl Iterator<Item = String> {
    config::suffixes(names).lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::Path;

    use super::*;
    use crate::plan::outward::Outward;

    fn policy(allow: &[&str], block: &[&str]) -> Policy {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        Policy::resolve(&owned(allow), &owned(block)).unwrap().0
    }

    /// Rule ids of squid.conf in the order of their first use, without those that guard the doors.
    fn of_squid(policy: &Policy) -> Vec<String> {
        let spec = config::Spec {
            policy,
            tunnel_port: 1,
            forward_port: 2,
            accel_port: 3,
            key: "0123456789abcdef0123456789abcdef",
            outward: &Outward::default(),
            logs: Path::new("/logs"),
            conf_dir: Path::new("/conf"),
            agent_ip: Ipv4Addr::new(172, 30, 0, 20),
        };
        let conf = config::render(&spec).unwrap().conf;
        let ids = conf.lines().filter_map(|line| line.split_once("annotate_transaction rule="));
        let ids = ids.map(|(_acl, id)| id.to_owned());
        let guards = ["deny-unkeyed", "deny-manager", "deny-method"];
        ids.filter(|id| !guards.contains(&id.as_str())).collect()
    }

    #[test]
    fn ids_and_order_are_those_of_squid() {
        let allow = [
            "a.com",
            "*.b.com",
            "http://c.com",
            "https://d.com",
            "https://x*.e.com",
            "http://y*.f.com",
            "192.0.2.1",
        ];
        let full = policy(&allow, &["bad.com", "ad*.bad.com", "192.0.2.9"]);
        let audited = full.clone().in_audit_mode(true);
        for policy in [policy(&[], &[]), full, audited] {
            let rows = rules(&policy);
            let ours: Vec<String> = rows.iter().map(|row| row.rule.id().to_owned()).collect();
            let mut squids = of_squid(&policy);
            // Said first about names that cannot exist, and last about everything.
            squids.retain(|id| id != "deny-default");
            assert_eq!(ours.split_last().map(|(last, _)| last.as_str()), Some("deny-default"));
            assert_eq!(ours[..ours.len() - 1], squids);
        }
    }

    #[test]
    fn rows_have_the_form_that_readers_of_the_original_expect() {
        let rows = rules(&policy(&["a.com", "https://x*.e.com"], &[]));
        let row = rows.iter().find(|row| row.rule.id() == "allow-both-plain").unwrap();
        let expected = json!({
            "id": "allow-both-plain", "order": 4, "action": "allow", "aclName": "allow_both_plain",
            "protocol": "both", "domains": [".a.com"],
            "description": "allowed names with their subdomains",
        });
        assert_eq!(row.to_json(4), expected);
        let pattern = rows.iter().find(|row| row.rule.id() == "allow-https-only-regex").unwrap();
        assert!(pattern.acl.contains("regex") && pattern.domains[0].starts_with('^'));
    }
}
