//! What a rule means, and what would open what it refused.
//!
//! Takes a rule's id as the record has it, with what was asked for. Pure. Must never promise that a list of domains opens what
//! no list can.

use crate::plan::addresses::HOST_CALLED;
use crate::policy::{Services, suggest};

/// What helps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// A flag, or a change of the command.
    Flag(String),
    /// Nothing: it is refused in every run.
    Never(String),
}

impl Remedy {
    /// The sentence.
    pub fn text(&self) -> &str {
        match self {
            Self::Flag(text) | Self::Never(text) => text,
        }
    }
}

/// What would open what `rule` refused. `allowed` is what the list holds now.
pub fn of(rule: &str, target: &str, port: Option<u16>, allowed: &[String]) -> Remedy {
    let flag = |text: &str| Remedy::Flag(text.to_owned());
    let closed = || closed(target, port);
    let listed = || suggest(&[target], allowed).map(|list| format!("--allow-domains \"{list}\""));
    match rule {
        "deny-default" => closed()
            .or_else(listed)
            .map_or_else(|| never("no list can hold this name"), Remedy::Flag),
        "deny-raw-ipv4" => match closed().or_else(listed) {
            Some(list) => Remedy::Flag(format!("connect by name, or {list}")),
            None => never("use the name of the host"),
        },
        "port" | "deny-unsafe-ports" => closed().map_or_else(
            || never("ports other than 80 (plain HTTP) and 443 (TLS) of the internet stay closed"),
            Remedy::Flag,
        ),
        "deny-blocked-plain" | "deny-blocked-regex" => {
            flag("take it off the block list (--block-domains, --block-domains-file)")
        }
        "deny-url" => flag("add a pattern of the URL to --allow-urls"),
        "inward-address" => flag(
            "--enable-host-access for this machine, --topology-attach for a container, or the address itself in \
             --allow-domains for another machine",
        ),
        "rate-limit" => {
            flag("raise or leave out --rate-limit-rpm, --rate-limit-rph and --rate-limit-bytes-pm")
        }
        "api-not-configured" => flag("give awf the credential of this provider in its environment"),
        rule if rule.starts_with("budget-") => flag("raise the budget of the run"),
        rule if rule.starts_with("model-") => flag("ask a model that the run may ask"),
        rule => never(kept_closed(rule)),
    }
}

fn never(text: &str) -> Remedy {
    Remedy::Never(text.to_owned())
}

/// The flag for a port of this machine.
fn closed(target: &str, port: Option<u16>) -> Option<String> {
    Services::default().why_closed(target, port.unwrap_or(443), &HOST_CALLED)
}

/// What to do where no flag helps.
fn kept_closed(rule: &str) -> &'static str {
    match rule {
        "udp" => {
            "UDP is never let out; names are resolved without it, and QUIC clients fall back to TCP"
        }
        "ipv6" | "deny-raw-ipv6" => {
            "IPv6 leads nowhere; clients fall back to IPv4, so use the name of the host"
        }
        "deny-malformed-name" => "no resolver takes such a name; check its spelling",
        "deny-sni-mismatch" | "deny-host-mismatch" => {
            "a connection and what is said on it must name the same host; use one name for both"
        }
        "deny-dlp" => "take the credential out of the URL and send it in a header",
        "deny-certificate" => {
            "the server must prove its name by a certificate that the command believes"
        }
        "deny-not-http" => "port 80 is for plain HTTP, and --ssl-bump for HTTP inside TLS",
        "deny-not-tls" => "port 443 is for TLS",
        "deny-scheme" | "deny-not-proxy-request" | "deny-not-origin" => {
            "use CONNECT for anything but http:// URLs"
        }
        "deny-no-host" => "send a Host field",
        "socket-type" => "only TCP, UDP and local sockets can be made in the sandbox",
        "user-namespace" => "user namespaces are refused in every run",
        "system-call" => "this system call is refused in every run; most programs do without",
        "client-left" | "cut" => "nothing: the connection ended before it could be judged",
        _ => "this is refused in every run",
    }
}

/// What the rule says, for a person who reads about it for the first time.
pub fn meaning(rule: &str) -> &'static str {
    match rule {
        "deny-default" => "nothing in the allow list covers this name",
        "deny-blocked-plain" | "deny-blocked-regex" => {
            "the block list covers it, and blocked wins over allowed"
        }
        "port" | "deny-unsafe-ports" => "this port is not opened",
        "deny-raw-ipv4" | "deny-raw-ipv6" => "an address was asked for where a name is needed",
        "deny-sni-mismatch" | "deny-host-mismatch" => {
            "the client resolved or asked for one name and then said another, which would be a way around the list"
        }
        "inward-address" => "the name leads to an address inside this machine or its network",
        "udp" => "a datagram was sent, which could carry anything anywhere",
        "ipv6" => "IPv6 was tried, which has no way out",
        "deny-url" => "the host is allowed, but not this URL",
        "deny-dlp" => "the URL holds what looks like a credential",
        "system-call" | "socket-type" | "socket-option" | "bpf" | "user-namespace" => {
            "the program asked the kernel for something that could lead around the sandbox"
        }
        "deny-malformed-name" => "this is not the form of a name",
        "pass" => "it does not leave the sandbox",
        "cut" => "the run ended while the connection was open",
        "allow-audit-mode" => {
            "nothing allows this name, but the run is in audit mode and records it only"
        }
        rule if rule.starts_with("allow-") => "the policy allows it",
        _ => "the reason says it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_names_the_flag_that_helps_and_no_other() {
        let of = |rule, target, port| of(rule, target, Some(port), &["a.com".to_owned()]);
        assert_eq!(
            of("deny-default", "b.com", 443),
            Remedy::Flag("--allow-domains \"a.com,b.com\"".to_owned())
        );
        let host = of("deny-default", "host.docker.internal", 443);
        assert!(host.text().contains("--enable-host-access"), "{host:?}");
        let host = of("port", "172.30.0.1", 5432);
        assert!(host.text().contains("--allow-host-service-ports 5432"), "{host:?}");
        for (rule, target) in [("port", "b.com"), ("udp", "b.com"), ("deny-default", "a b")] {
            assert!(matches!(of(rule, target, 22), Remedy::Never(_)), "{rule}");
        }
    }
}
