//! What the user is told after the run: what was denied, and the flag that would allow it.

use crate::observe::journal::{Denial, Tally};
use crate::observe::rules;
use crate::plan::addresses;
use crate::policy::{Services, suggest};

/// Denied destinations named at most; the record has them all.
const NAMED: usize = 20;

/// The lines of the denial report; empty if nothing was denied that a flag could allow or a reader should know.
pub fn denials(tally: &Tally, allowed: &[String], services: &Services) -> Vec<String> {
    let mut named: Vec<(&Denial, u64)> = Vec::new();
    // Runtimes try io_uring and the like at every start and do without: the record has it, and no flag would change it.
    for (denial, count) in tally.denials.iter().filter(|(denial, _)| denial.rule != "system-call") {
        // Asking for a name and connecting to it are two attempts with one cause.
        match named
            .iter_mut()
            .find(|(known, _count)| known.target == denial.target && known.rule == denial.rule)
        {
            Some((known, sum)) => {
                *sum += count;
                if known.port.is_none() {
                    *known = denial;
                }
            }
            None => named.push((denial, *count)),
        }
    }
    if named.is_empty() {
        return Vec::new();
    }
    let mut lines = vec!["Firewall blocked domains:".to_owned()];
    lines.extend(named.iter().take(NAMED).map(|(denial, count)| line(denial, *count, services)));
    if named.len() > NAMED {
        lines.push(format!("  ... and {} more; see egress.jsonl", named.len() - NAMED));
    }
    lines.push(self::allowed(allowed));
    let missing: Vec<&str> = named
        .iter()
        .filter(|(denial, _count)| {
            is_missing_domain(denial) && why_closed(denial, services).is_none()
        })
        .map(|(denial, _count)| denial.target.as_str())
        .take(NAMED)
        .collect();
    if let Some(list) = suggest(&missing, allowed).filter(|_list| !missing.is_empty()) {
        lines.push(format!("To allow them: --allow-domains \"{list}\""));
    }
    lines
}

/// What may be reached, in the words that tools look for.
pub fn allowed(domains: &[String]) -> String {
    match domains {
        [] => "Allowed domains: (none)".to_owned(),
        domains => format!("Allowed domains: {}", domains.join(", ")),
    }
}

fn line(denial: &Denial, count: u64, services: &Services) -> String {
    let port = denial.port.map(|port| format!(":{port}")).unwrap_or_default();
    let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
    let by = if denial.comm.is_empty() { String::new() } else { format!(" by {}", denial.comm) };
    format!(
        "  - Blocked: {}{port}{by}: {}{times}",
        denial.target,
        why_closed(denial, services).unwrap_or_else(|| explain(&denial.rule, denial.port))
    )
}

/// Why a port of this machine or of a container is closed: the list of domains would not open it.
fn why_closed(denial: &Denial, services: &Services) -> Option<String> {
    let by_port = matches!(
        denial.rule.as_str(),
        "port" | "deny-unsafe-ports" | "deny-default" | "deny-raw-ipv4"
    );
    let port = denial.port.unwrap_or(443);
    services.why_closed(&denial.target, port, &addresses::HOST_CALLED).filter(|_reason| by_port)
}

fn explain(rule: &str, port: Option<u16>) -> String {
    let title = rules::find(rule).map_or(rule, |rule| rule.title);
    match (title.strip_prefix("port not"), port) {
        (Some(rest), Some(port)) => format!("port {port} not{rest}"),
        _ => title.to_owned(),
    }
}

/// Whether adding the name to the allow list would help.
fn is_missing_domain(denial: &Denial) -> bool {
    denial.rule == "deny-default" && denial.target.contains('.')
}
