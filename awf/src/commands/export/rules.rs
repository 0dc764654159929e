//! What a rule means, and what to do about it: for readers who do not know awf. Pure.
//!
//! Takes rule ids, gives sentences. Must never advise to open what no flag opens.

/// How much a refusal by a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Programs try it as a matter of course, and do without.
    Usual,
    /// Something was not listed.
    Notable,
    /// Programs that only do their work do not try it.
    Grave,
}

/// What is said about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// In some words, as the title of what was refused.
    pub title: &'static str,
    /// What the rule is for: a sentence or two.
    pub help: &'static str,
    /// What to do: a sentence.
    pub remedy: &'static str,
    /// How much it says.
    pub weight: Weight,
}

/// Nothing opens it.
const NEVER: &str = "Nothing opens it; find out why the process tried.";

/// What is said about a rule by its id.
pub fn advice(rule: &str) -> Advice {
    names(rule)
        .or_else(|| sockets(rule))
        .or_else(|| requests(rule))
        .or_else(|| models(rule))
        .unwrap_or(Advice {
            title: "Refused by a rule",
            help: "A rule of the policy refused it; its reason is with each attempt.",
            remedy: "Look the rule up in policy-manifest.json beside the record.",
            weight: Weight::Notable,
        })
}

const fn of(
    title: &'static str,
    weight: Weight,
    help: &'static str,
    remedy: &'static str,
) -> Advice {
    Advice { title, help, remedy, weight }
}

/// Rules about destinations.
fn names(rule: &str) -> Option<Advice> {
    Some(match rule {
        "deny-default" => of(
            "Domain not on the allow list",
            Weight::Notable,
            "Only listed domains and their subdomains may be reached. The name itself did not leave the machine either.",
            "If the run needs it, add it to --allow-domains; awf learn proposes a list from a run.",
        ),
        "deny-blocked-plain" | "deny-blocked-regex" => of(
            "Domain on the block list",
            Weight::Notable,
            "The block list wins over the allow list.",
            "If the run needs it, take it off --block-domains.",
        ),
        "deny-raw-ipv4" | "deny-raw-ipv6" => of(
            "Address in the place of a name",
            Weight::Notable,
            "A policy of names says nothing about a bare address, so none passes unless it is listed itself.",
            "Let the program use the name; an IPv4 address can be listed in --allow-domains.",
        ),
        "deny-malformed-name" => of(
            "Name that cannot exist",
            Weight::Notable,
            "No resolver would take the name.",
            "Correct the name where the program has it from.",
        ),
        "inward-address" => of(
            "Name that leads inward",
            Weight::Grave,
            "An allowed name resolved to a private, link-local, loopback or metadata address: a way to this machine's own network.",
            "If the service is meant, open it by --enable-host-access or --topology-attach, not by a domain.",
        ),
        "port" | "deny-unsafe-ports" => of(
            "Port that is not opened",
            Weight::Notable,
            "A policy of domains opens TCP ports 80 and 443 only.",
            "Use HTTPS where the service has it; ports of this machine are opened by --allow-host-ports.",
        ),
        _ => return None,
    })
}

/// Rules of the kernel's programs and of the system call filter.
fn sockets(rule: &str) -> Option<Advice> {
    Some(match rule {
        "udp" => of(
            "UDP",
            Weight::Usual,
            "UDP carries no name that could be judged; only DNS questions to awf pass. QUIC clients fall back to TCP.",
            "Nothing to do where the program falls back; else let it use TCP.",
        ),
        "ipv6" => of(
            "IPv6",
            Weight::Usual,
            "IPv6 leads nowhere inside; clients that know both fall back to IPv4.",
            "Nothing to do where the program falls back; else give it the name and not the address.",
        ),
        "system-call" => of(
            "System call that is closed",
            Weight::Usual,
            "The call would give ways around the sandbox. Runtimes try some of them at their start and do without.",
            "Nothing to do where the program does without; nothing opens it.",
        ),
        "socket-type" => of(
            "Kind of socket that is closed",
            Weight::Grave,
            "Raw, packet and other sockets send what no rule judges; only TCP, UDP, Unix and routing sockets may be made.",
            NEVER,
        ),
        "socket-option" => of(
            "Socket option that is closed",
            Weight::Grave,
            "The option chooses a route or an interface.",
            NEVER,
        ),
        "door" | "foreign-socket" | "packet" | "bpf" | "user-namespace" => of(
            "Way around the sandbox",
            Weight::Grave,
            "The attempt would reach past the rules: awf's own addresses, a socket from outside, a packet without a socket that was judged, eBPF, or a user namespace with capabilities.",
            NEVER,
        ),
        "internal" => of(
            "Fault of awf",
            Weight::Notable,
            "awf met a state that it does not know, and refuses what it cannot judge.",
            "Report it with the record's line.",
        ),
        _ => return None,
    })
}

/// Rules about what is said on an open connection.
fn requests(rule: &str) -> Option<Advice> {
    Some(match rule {
        "deny-sni-mismatch" | "deny-host-mismatch" => of(
            "Two names for one connection",
            Weight::Grave,
            "The name in TLS or in the request differs from the one that was asked for: how a forbidden server hides behind an allowed one (domain fronting).",
            "Let the program open a connection of its own for each server.",
        ),
        "deny-not-tls"
        | "deny-not-http"
        | "deny-no-host"
        | "deny-scheme"
        | "deny-not-origin"
        | "deny-not-proxy-request"
        | "deny-method" => of(
            "Protocol that is not HTTP or TLS with a name",
            Weight::Notable,
            "Port 443 is for TLS and port 80 for HTTP, each with the server's name, which is what is judged.",
            "Let the program use HTTPS with the server's name.",
        ),
        "deny-certificate" => of(
            "Server that did not prove its name",
            Weight::Grave,
            "Where requests are looked into, awf itself checks the server's certificate.",
            "Correct the server's certificate, or give the authority by SSL_CERT_FILE.",
        ),
        "deny-url" => of(
            "URL that no pattern allows",
            Weight::Notable,
            "The domain is allowed, but --allow-urls names the URLs below it.",
            "If the run needs it, add a pattern to --allow-urls.",
        ),
        "deny-dlp" => of(
            "Credential in a URL",
            Weight::Grave,
            "The URL held what looks like a credential, and URLs end up in logs.",
            "Find out where the process has it from; send credentials in a header.",
        ),
        "deny-unkeyed" | "deny-manager" => of(
            "Request to the proxy itself",
            Weight::Grave,
            "Only awf's relay may use Squid.",
            NEVER,
        ),
        _ => return None,
    })
}

/// Rules of the proxy of model providers.
fn models(rule: &str) -> Option<Advice> {
    Some(match rule {
        "api-not-configured" | "api-malformed" | "api-too-large" | "api-websocket" => of(
            "Request that the API proxy does not take",
            Weight::Notable,
            "The API proxy adds a credential of its own, so that it takes only requests that it understands.",
            "Give awf the credential of the service, or let the client send a usual request.",
        ),
        "rate-limit" => of(
            "Too many requests at a time",
            Weight::Notable,
            "The run has a limit of requests or bytes by the minute or hour.",
            "Wait as the answer says, or raise --rate-limit-*.",
        ),
        rule if rule.starts_with("budget-") => of(
            "Budget used up",
            Weight::Notable,
            "The run has a budget for what models use.",
            "Raise the budget if the run should go on.",
        ),
        rule if rule.starts_with("model-") => of(
            "Model that the run may not ask",
            Weight::Notable,
            "The run names the models that may be asked, or what they may cost.",
            "Let the client ask an allowed model.",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use awf_common::decide::Reason;

    use super::*;

    #[test]
    fn every_reason_of_the_kernel_has_advice_of_its_own() {
        let unknown = advice("no such rule");
        for reason in (0..=u8::MAX).filter_map(Reason::from_number) {
            assert_ne!(advice(reason.name()), unknown, "{}", reason.name());
        }
    }
}
