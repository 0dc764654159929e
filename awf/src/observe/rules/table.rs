//! The rules, each with its words.

use std::borrow::Cow;

use super::Remedy::{Flag, Never};
use super::Weight::{Grave, Notable, Usual};
use super::{Remedy, Rule, Weight};

const fn rule(
    ids: &'static [&'static str],
    title: &'static str,
    weight: Weight,
    meaning: &'static str,
    remedy: Remedy,
) -> Rule {
    Rule { ids, title, meaning, remedy, weight }
}

const fn flag(text: &'static str) -> Remedy {
    Flag(Cow::Borrowed(text))
}

const fn never(text: &'static str) -> Remedy {
    Never(Cow::Borrowed(text))
}

/// What nothing opens, and what no program needs for its work.
const UNEXPECTED: Remedy = never("nothing opens it; find out why the process tried");
/// Nothing is to be done.
const NOTHING: Remedy = never("nothing is to be done");

const BUDGET: &str = "The run has a budget for what models use.";
const RAISE: Remedy = flag("raise it if the run should go on");
const MODELS: &str = "The run names the models that may be asked, or what they may cost.";

pub(super) static UNKNOWN: Rule = rule(
    &[],
    "refused by a rule",
    Notable,
    "A rule of the policy decided; its reason is with each attempt.",
    never("look the rule up in policy-manifest.json beside the record"),
);

/// All rules. An id has the first that fits.
pub static RULES: &[Rule] = &[
    // Destinations.
    rule(
        &["deny-default"],
        "domain not in allowlist",
        Notable,
        "Only listed domains and their subdomains may be reached. The name itself did not leave the machine either.",
        flag("add it to --allow-domains if the run needs it; awf learn proposes a list from a run"),
    ),
    rule(
        &["deny-blocked-plain", "deny-blocked-regex"],
        "domain is on the block list",
        Notable,
        "The block list wins over the allow list.",
        flag(
            "take it off the block list (--block-domains, --block-domains-file) if the run needs it",
        ),
    ),
    rule(
        &["deny-raw-ipv4"],
        "connections need a name, not an address",
        Notable,
        "A policy of names says nothing about a bare address, so none passes unless it is listed itself.",
        flag("connect by name, or list the address in --allow-domains"),
    ),
    rule(
        &["deny-raw-ipv6"],
        "connections need a name, not an address",
        Notable,
        "A policy of names says nothing about a bare address, and IPv6 leads nowhere.",
        never("connect by name; clients fall back to IPv4"),
    ),
    rule(
        &["deny-malformed-name"],
        "no such name can exist",
        Notable,
        "No resolver would take the name.",
        never("correct the name where the program has it from"),
    ),
    rule(
        &["inward-address"],
        "the name leads to a private or metadata address",
        Grave,
        "An allowed name resolved to a private, link-local, loopback or metadata address: a way to this machine's own network.",
        flag(
            "use --enable-host-access for this machine, --topology-attach for a container, or list the address itself in \
             --allow-domains for another machine",
        ),
    ),
    rule(
        &["port", "deny-unsafe-ports"],
        "port not allowed, only 80 and 443",
        Notable,
        "A policy of domains opens TCP ports 80 (plain HTTP) and 443 (TLS) only. Ports of this machine are another matter: \
         --allow-host-ports opens them.",
        never("other ports of the internet stay closed, so use HTTPS"),
    ),
    // The kernel's programs and the system call filter.
    rule(
        &["udp"],
        "UDP not allowed",
        Usual,
        "A datagram could carry anything anywhere; only DNS questions pass, to awf itself.",
        never(
            "programs that fall back to TCP, as QUIC clients do, need nothing; let others use TCP",
        ),
    ),
    rule(
        &["ipv6"],
        "IPv6 not allowed",
        Usual,
        "IPv6 leads nowhere inside; names resolve to IPv4.",
        never(
            "programs that fall back to IPv4 need nothing; give others the name and not the address",
        ),
    ),
    rule(
        &["system-call"],
        "this system call is not allowed",
        Usual,
        "The call would give ways around the sandbox. Runtimes try some such calls at their start and do without.",
        never("programs that do without it need nothing; no flag opens it"),
    ),
    rule(
        &["socket-type"],
        "this kind of socket is not allowed",
        Grave,
        "Raw, packet and other sockets send what no rule judges; only TCP, UDP, Unix and routing sockets may be made.",
        UNEXPECTED,
    ),
    rule(
        &["socket-option"],
        "this socket option is not allowed",
        Grave,
        "The option chooses a route or an interface.",
        UNEXPECTED,
    ),
    rule(
        &["foreign-socket"],
        "the socket was made outside the sandbox",
        Grave,
        "No rule judged the socket when it was made, and it may lead elsewhere.",
        UNEXPECTED,
    ),
    rule(
        &["door"],
        "this address belongs to awf",
        Grave,
        "A connection straight to one of awf's own listening sockets would have no destination that could be judged.",
        UNEXPECTED,
    ),
    rule(
        &["packet"],
        "the packet belongs to no judged socket",
        Grave,
        "The backstop behind all rules dropped a packet that none of them had led to awf.",
        UNEXPECTED,
    ),
    rule(
        &["user-namespace"],
        "user namespaces are not allowed",
        Grave,
        "In a user namespace a process has capabilities, with which it could make networks and mounts of its own.",
        UNEXPECTED,
    ),
    rule(
        &["bpf"],
        "calls of bpf(2) are not allowed",
        Grave,
        "Whoever may load programs into the kernel could replace awf's.",
        UNEXPECTED,
    ),
    rule(
        &["internal"],
        "a state that awf does not know",
        Notable,
        "What cannot be judged is refused.",
        never("report it with the record's line"),
    ),
    rule(
        &["enforcement-lost"],
        "enforcement was lost",
        Grave,
        "Programs were detached or replaced, or a process left the sandbox's cgroup; the command was killed.",
        never("find out what else acts as root on this machine"),
    ),
    // What is said on an open connection.
    rule(
        &["deny-sni-mismatch", "deny-host-mismatch"],
        "the names do not agree",
        Grave,
        "The client resolved or asked for one name and then said another: how a forbidden server hides behind an allowed one (domain fronting).",
        never("let the program open a connection of its own for each server"),
    ),
    rule(
        &["deny-not-tls"],
        "port 443 is for TLS only",
        Notable,
        "Port 443 is for TLS with the server's name, which is what is judged.",
        never("let the program use HTTPS with the server's name"),
    ),
    rule(
        &["deny-not-http"],
        "only HTTP passes here",
        Notable,
        "Port 80, and with --ssl-bump the inside of TLS, is for HTTP, whose Host is judged.",
        never("let the program use HTTPS, without --ssl-bump if it speaks something else inside"),
    ),
    rule(
        &["deny-no-host"],
        "the request names no host",
        Notable,
        "The Host of a request is what is judged.",
        never("let the program send a Host field"),
    ),
    rule(
        &["deny-scheme", "deny-not-origin", "deny-not-proxy-request", "deny-method"],
        "the request is not for this place",
        Notable,
        "The proxy takes CONNECT and http:// URLs, a web server's port takes requests for a path.",
        never("let the program use CONNECT for anything but http:// URLs"),
    ),
    rule(
        &["deny-certificate"],
        "the server did not prove its name",
        Grave,
        "With --ssl-bump awf itself checks the server's certificate.",
        flag("correct the server's certificate, or give awf its authority by SSL_CERT_FILE"),
    ),
    rule(
        &["deny-url"],
        "no pattern of --allow-urls allows this URL",
        Notable,
        "The host is allowed, but --allow-urls names the URLs of it that may be asked for.",
        flag("add a pattern of the URL to --allow-urls if the run needs it"),
    ),
    rule(
        &["deny-dlp"],
        "the URL held what looks like a credential",
        Grave,
        "URLs end up in logs, also in those of others.",
        never("find out where the process has it from; send credentials in a header"),
    ),
    rule(
        &["deny-unkeyed", "deny-manager"],
        "the proxy itself was asked",
        Grave,
        "Only awf's relay may use Squid.",
        UNEXPECTED,
    ),
    rule(
        &["proxy-denied"],
        "the proxy refused it",
        Notable,
        "Squid's own rules, which are made from the same policy, refused what awf's relay had let pass.",
        never(
            "see Squid's log for its reason; report it with both lines if the policy allows the request",
        ),
    ),
    // The proxy of model providers.
    rule(
        &["api-not-configured"],
        "no credential for this service of the API proxy",
        Notable,
        "The API proxy puts in the credential from awf's own environment, and there is none.",
        flag("give awf the credential of this provider in its environment"),
    ),
    rule(
        &["api-malformed", "api-too-large", "api-websocket"],
        "the API proxy takes no such request",
        Notable,
        "The API proxy adds a credential, so that it takes only requests that it understands.",
        never("let the client send a usual request"),
    ),
    rule(
        &["rate-limit"],
        "faster than --rate-limit-* allows",
        Notable,
        "The run has a limit of requests or bytes by the minute or hour.",
        flag(
            "wait as the answer says, or raise --rate-limit-rpm, --rate-limit-rph or --rate-limit-bytes-pm",
        ),
    ),
    rule(
        &["budget-effective-tokens"],
        "the budget apiProxy.maxEffectiveTokens is used up",
        Notable,
        BUDGET,
        RAISE,
    ),
    rule(
        &["budget-runs"],
        "the budget apiProxy.maxTurns (or maxRuns) is used up",
        Notable,
        BUDGET,
        RAISE,
    ),
    rule(
        &["budget-ai-credits"],
        "the AI credits of the run are used up (apiProxy.maxAiCredits)",
        Notable,
        BUDGET,
        RAISE,
    ),
    rule(
        &["budget-cache-misses"],
        "--max-cache-misses answers in a row used no cache",
        Notable,
        BUDGET,
        RAISE,
    ),
    rule(
        &["budget-permission-denied"],
        "providers denied the key as often as --max-permission-denied",
        Notable,
        "The providers themselves refuse the credential.",
        flag("give awf a credential that the provider accepts"),
    ),
    rule(
        &["model-policy"],
        "the lists apiProxy.allowedModels and disallowedModels do not permit the model",
        Notable,
        MODELS,
        flag("let the client ask another model, or add this one to the list"),
    ),
    rule(
        &["model-multiplier"],
        "the model weighs more than --max-model-multiplier-cap",
        Notable,
        MODELS,
        flag("let the client ask another model, or raise the cap"),
    ),
    rule(
        &["model-unpriced"],
        "the model has no price in apiProxy.defaultAiCreditsPricing",
        Notable,
        MODELS,
        flag("let the client ask another model, or give this one a price"),
    ),
    // What was not refused.
    rule(
        &["pass"],
        "it does not leave the sandbox",
        Usual,
        "The sandbox itself is meant.",
        NOTHING,
    ),
    rule(
        &["client-left", "cut"],
        "the connection ended before it could be judged",
        Usual,
        "The client left, or the run ended, before the client had said what it wanted.",
        NOTHING,
    ),
    rule(
        &["allow-audit-mode"],
        "allowed by audit mode only",
        Notable,
        "Nothing allows this name, but the run is in audit mode, which records and lets through.",
        flag("add it to --allow-domains if the run needs it"),
    ),
    rule(
        &[
            "allow-host-access",
            "allow-host-port",
            "allow-host-service-port",
            "allow-topology-peer-*",
        ],
        "this port was opened",
        Usual,
        "A flag opened this port of this machine or of a container.",
        NOTHING,
    ),
    rule(
        &["allow-*"],
        "the policy allows it",
        Usual,
        "An entry of the allow list covers it, and none of the block list does.",
        NOTHING,
    ),
];
