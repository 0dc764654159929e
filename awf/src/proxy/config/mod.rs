//! The configuration of one Squid: `squid.conf` and the files it names, from a policy.
//!
//! Takes a `Policy` and where things are, gives text. Pure: writes no file, starts nothing. The
//! rules below must answer every request as `Policy::decide` does; `tests/tests/squid_agreement.rs`
//! holds both to that on the installed Squid.
//!
//! What must never be lost (each was a hole or a crash when measured on Squid 5.7, see
//! ARCHITECTURE.md):
//! - every name list has `-n`; without it an address literal is matched by its PTR record, which
//!   its owner writes;
//! - no `dst` ACL; it makes Squid resolve names that the agent chose, allowed or not;
//! - `hosts_file` lists the client's address; Squid asks DNS for the PTR of every PROXY client;
//! - `half_closed_clients` stays off; on, a client can crash Squid up to version 6;
//! - what the agent can choose goes into JSON with `%#`, never plain;
//! - `-N` and a unique `-n SERVICE` belong on the command line.

mod lists;

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::plan::outward::Outward;
use crate::policy::{LOCAL_DOMAINS, Policy, Protocol, Rule};
pub(crate) use lists::{acl, regexes, suffixes};
use lists::{lines, note_acl};

/// The name that the readiness probe asks for (CONNECT, port 443). It can never be allowed
/// (RFC 6761, section 6.4) and its refusal is not logged, unless the agent asked.
pub const PROBE_NAME: &str = "ready.awf.invalid";
/// PROXY v2 TLV with free metadata for the log (application range, PROXY protocol section 2.2.7).
pub const TLV_METADATA: u8 = 224;
/// PROXY v2 TLV with the secret of this run.
pub const TLV_KEY: u8 = 225;
/// TLV type that marks a request as denied already and shown for the log only, by the value `1`: no
/// rule allows such a request, whatever it asks for.
pub const TLV_SHOWN: u8 = 226;
/// Name of the run's access log, in the original's format, inside `Spec::logs`.
pub const ACCESS_LOG: &str = "access.log";
/// Name of the JSON log inside `Spec::logs`.
pub const AUDIT_LOG: &str = "audit.jsonl";
/// Name of Squid's own log inside `Spec::logs`.
pub const CACHE_LOG: &str = "cache.log";

/// What a configuration is made from.
#[derive(Debug, Clone, Copy)]
pub struct Spec<'a> {
    /// Who may be reached.
    pub policy: &'a Policy,
    /// Loopback port for CONNECT.
    pub tunnel_port: u16,
    /// Loopback port for plain HTTP in absolute form, from clients that know of a proxy.
    pub forward_port: u16,
    /// Loopback port for plain HTTP in origin form, from clients that do not.
    pub accel_port: u16,
    /// The secret of this run, the value of TLV 225: 32 hex digits.
    pub key: &'a str,
    /// How it gets out. With no resolver, Squid reads /etc/resolv.conf.
    pub outward: &'a Outward,
    /// Where the three logs go; also Squid's working directory.
    pub logs: &'a Path,
    /// Where `Rendered::files` will stand.
    pub conf_dir: &'a Path,
    /// The address that the relay gives as the client's in PROXY headers; the probe gives 127.0.0.1.
    pub agent_ip: Ipv4Addr,
}

/// The text of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// `squid.conf`; holds the key, so only Squid may read it.
    pub conf: String,
    /// Name inside `Spec::conf_dir` and content of every file that `conf` names.
    pub files: Vec<(String, String)>,
}

/// Something that squid.conf cannot express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// squid.conf has no quoting that holds for every directive.
    #[error("the path {0:?} has a blank, a quote or a control character; Squid cannot use it")]
    Path(PathBuf),
    /// The key would end the directive or match more than itself.
    #[error("the key for the proxy is not made of 32 hex digits")]
    Key,
}

/// Renders the configuration.
pub fn render(spec: &Spec<'_>) -> Result<Rendered, SpecError> {
    for path in [spec.logs, spec.conf_dir] {
        let usable = |c: char| c.is_alphanumeric() || "/._-+=@,~:".contains(c);
        if !path.is_absolute() || !path.to_str().is_some_and(|text| text.chars().all(usable)) {
            return Err(SpecError::Path(path.to_owned()));
        }
    }
    if spec.key.len() != 32 || !spec.key.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(SpecError::Key);
    }
    let mut out = Output { spec, conf: String::new(), files: Vec::new() };
    out.process();
    out.doors();
    out.request_acls();
    out.rules();
    out.way_out();
    out.logging();
    for name in STANDARD_PAGES.split(' ') {
        out.files.push((format!("ERR_{name}"), STANDARD_PAGE.to_owned()));
    }
    Ok(Rendered { conf: out.conf, files: out.files })
}

/// Directives that depend on nothing.
const PROCESS: &str = "\
# Process. Run with -N and a unique -n.
pid_filename none
pinger_enable off
shutdown_lifetime 0 seconds
max_filedescriptors 9216
umask 022
logfile_rotate 0
memory_pools off
client_db off
cache deny all
cache_mem 0 MB
memory_cache_shared off
digest_generation off
netdb_filename none
visible_hostname awf.invalid
httpd_suppress_version_string on
email_err_data off
err_page_stylesheet none

# Behaviour. read_timeout also ends idle tunnels. Via is not sent, by header rules instead of
# `via off`, which would warn at every start. Whitespace in a URL is refused, not squeezed out: the
# squeezed name would not be the one that the relay judged.
half_closed_clients off
client_persistent_connections off
read_timeout 24 hours
client_lifetime 24 hours
connect_timeout 30 seconds
dns_timeout 10 seconds
quick_abort_min 0 KB
quick_abort_max 0 KB
http_upgrade_request_protocols websocket allow all
strip_query_terms on
uri_whitespace deny
forwarded_for delete
follow_x_forwarded_for deny all
request_header_access Via deny all
request_header_access Surrogate-Capability deny all
reply_header_access Via deny all
reply_header_access X-Cache deny all
reply_header_access X-Cache-Lookup deny all
";

/// The two kinds of name lists.
const PLAIN: &str = "dstdomain -n";
const REGEX: &str = "dstdom_regex -n -i";
/// ACLs on the request itself, without names. The `note` list does not hold for a value with
/// commas, but nobody can write one who does not know the key.
const REQUEST_ACLS: &str = "\
acl door_tunnel myportname tunnel
acl CONNECT method CONNECT
acl scheme_http proto HTTP
acl port_80 port 80
acl port_443 port 443
acl raw_ipv6 dstdom_regex -n :
acl raw_number dstdom_regex -n -i (^|[.])(0x[0-9a-f]*|[0-9]+)$
acl malformed_name dstdom_regex -n [^a-zA-Z0-9_.-] [^.]{64} ^.{254} ^[.] [.][.]
acl reserved_name dstdom_regex -n -i (^|[.])invalid$
";

/// The original's text format, field by field (`awf logs` and others parse it).
const ACCESS_FORMAT: &str = "logformat firewall_detailed %ts.%03tu %>a:%>p %{Host}>h %<a:%<p %rv \
                             %rm %>Hs %Ss:%Sh %ru \"%{User-Agent}>h\"\n";

/// Keys and order of the original's audit.jsonl, up to `url`; the others are ours. `out` and `in` as
/// the agent sees them. `duration_ms` covers the whole tunnel.
const AUDIT_KEYS: &[(&str, &str)] = &[
    ("timestamp", "\"%{%Y-%m-%dT%H:%M:%S}tg.%03tuZ\""),
    ("event", "\"http_access\""),
    ("client", "\"%>a\""),
    ("host", "\"%#{Host}>h\""),
    ("dest", "\"%<a:%<p\""),
    ("method", "\"%#rm\""),
    ("status", "%>Hs"),
    ("decision", "\"%Ss\""),
    ("url", "\"%#ru\""),
    ("client_port", "%>p"),
    ("hierarchy", "\"%Sh\""),
    ("rule", "\"%#{rule}note\""),
    ("original_dest", "\"%>la:%>lp\""),
    ("bytes_in", "%<st"),
    ("bytes_out", "%>st"),
    ("duration_ms", "%tr"),
    ("error", "\"%#err_code/%#err_detail\""),
    ("meta", "\"%#proxy_protocol::>h{224}\""),
];

const STANDARD_PAGE: &str = "awf: the proxy could not serve %M %H port %p (%c %E)\n";
/// Every page that Squid 5 to 7 loads at start; one that is missing costs a warning.
const STANDARD_PAGES: &str = "\
    ACCESS_DENIED ACL_TIME_QUOTA_EXCEEDED AGENT_CONFIGURE AGENT_WPAD CACHE_ACCESS_DENIED \
    CACHE_MGR_ACCESS_DENIED CANNOT_FORWARD CLIENT_GONE CONFLICT_HOST CONNECT_FAIL DIR_LISTING \
    DNS_FAIL ESI FORWARDING_DENIED FTP_DISABLED FTP_FAILURE FTP_FORBIDDEN FTP_NOT_FOUND \
    FTP_PUT_CREATED FTP_PUT_ERROR FTP_PUT_MODIFIED FTP_UNAVAILABLE GATEWAY_FAILURE ICAP_FAILURE \
    INVALID_REQ INVALID_RESP INVALID_URL LIFETIME_EXP NO_RELAY ONLY_IF_CACHED_MISS \
    PRECONDITION_FAILED PROTOCOL_UNKNOWN READ_ERROR READ_TIMEOUT RELAY_REMOTE \
    REQUEST_PARSE_TIMEOUT REQUEST_START_TIMEOUT SECURE_ACCEPT_FAIL SECURE_CONNECT_FAIL \
    SHUTTING_DOWN SOCKET_FAILURE TOO_BIG UNSUP_HTTPVERSION UNSUP_REQ URN_RESOLVE WRITE_ERROR \
    ZERO_SIZE_OBJECT";

struct Output<'a> {
    spec: &'a Spec<'a>,
    conf: String,
    files: Vec<(String, String)>,
}

impl Output<'_> {
    fn line(&mut self, line: &str) {
        self.conf.push_str(line);
        self.conf.push('\n');
    }

    fn process(&mut self) {
        self.conf.push_str(PROCESS);
        self.line(&format!("coredump_dir {}", self.spec.logs.display()));
        for server in &self.spec.outward.resolvers {
            self.line(&format!("dns_nameservers {server}"));
        }
        // The names only serve the reverse look-up of the addresses.
        let agent = self.spec.agent_ip;
        let hosts = format!("{agent} agent.awf.invalid\n127.0.0.1 probe.awf.invalid\n");
        self.files.push(("hosts".to_owned(), hosts));
        self.files.push(("mime.conf".to_owned(), String::new()));
        let conf_dir = self.spec.conf_dir.display();
        self.line(&format!("hosts_file {conf_dir}/hosts\nmime_table {conf_dir}/mime.conf"));
        self.line(&format!("icon_directory {conf_dir}\nerror_directory {conf_dir}"));
    }

    fn doors(&mut self) {
        self.line("\n# Doors. A connection without PROXY header or from elsewhere is dropped.");
        let Spec { tunnel_port, forward_port, accel_port, .. } = *self.spec;
        for (port, options, name) in [
            (tunnel_port, "", "tunnel"),
            (forward_port, "", "forward"),
            (accel_port, " accel vhost allow-direct", "accel"),
        ] {
            let options = format!("{options} require-proxy-header name={name}");
            self.line(&format!("http_port 127.0.0.1:{port}{options}"));
        }
        self.line("proxy_protocol_access allow localhost\nproxy_protocol_access deny all");
    }

    fn request_acls(&mut self) {
        self.line("\n# The request. Whoever does not know the key of this run may do nothing.");
        for (name, kind) in [("key", TLV_KEY), ("shown", TLV_SHOWN)] {
            let value = format!("awf_{name}=\"%proxy_protocol::>h{{{kind}}}\"");
            self.line(&format!("acl read_{name} annotate_transaction {value}"));
        }
        self.line(&format!("acl keyed note awf_key {}\nacl shown note awf_shown 1", self.spec.key));
        let ports: Vec<String> = self.spec.policy.tcp_ports().iter().map(u16::to_string).collect();
        self.line(&format!("acl safe_ports port {}", ports.join(" ")));
        self.conf.push_str(REQUEST_ACLS);
    }

    /// First match wins; the order is that of `Policy::decide`.
    fn rules(&mut self) {
        self.line("\n# Rules");
        let policy = self.spec.policy;
        self.deny("deny-unkeyed", "read_key read_shown !keyed", "not a connection of this run");
        self.deny("deny-manager", "manager", "the proxy cannot be managed from here");
        for condition in ["door_tunnel !CONNECT", "!door_tunnel CONNECT", "!CONNECT !scheme_http"] {
            self.deny("deny-method", condition, "this door does not serve such requests");
        }
        let ports = "only ports 80 (plain HTTP) and 443 (TLS) are allowed";
        self.deny(Rule::DenyUnsafePorts, "!safe_ports", ports);
        self.deny(Rule::DenyUnsafePorts, "!CONNECT !port_80", ports);
        self.deny(Rule::DenyRawIpv6, "raw_ipv6", "use the name of the host");
        self.deny(Rule::DenyMalformedName, "malformed_name", "no resolver would take this name");
        let remedy = "to allow it, use --allow-domains %H";
        self.deny(Rule::DenyDefault, "reserved_name", remedy);

        let blocked = "it is on the block list";
        let ips = lines(policy.blocked_ips().map(|address| address.to_string()));
        let blocked_plain = ips + &suffixes(policy.blocked());
        if self.list(Rule::DenyBlockedPlain, PLAIN, blocked_plain) {
            self.deny(Rule::DenyBlockedPlain, &acl(Rule::DenyBlockedPlain), blocked);
        }
        for (address, rule) in policy.ip_rules() {
            self.line(&format!("acl {} dstdomain -n {address}", acl(rule)));
            self.allow(rule, &acl(rule));
        }
        self.deny(Rule::DenyRawIpv4, "raw_number", remedy);
        if self.list(Rule::DenyBlockedPattern, REGEX, regexes(policy.blocked())) {
            self.deny(Rule::DenyBlockedPattern, &acl(Rule::DenyBlockedPattern), blocked);
        }
        for (protocol, requests) in [
            (Protocol::Http, "!CONNECT "),
            (Protocol::Https, "CONNECT port_443 "),
            (Protocol::Both, ""),
        ] {
            let names = policy.names(protocol);
            for (rule, kind, content) in [
                (Rule::AllowPlain(protocol), PLAIN, suffixes(names)),
                (Rule::AllowPattern(protocol), REGEX, regexes(names)),
            ] {
                if self.list(rule, kind, content) {
                    self.allow(rule, &format!("{requests}{}", acl(rule)));
                }
            }
        }
        if policy.is_in_audit_mode() {
            let local = LOCAL_DOMAINS.join("|");
            self.line(&format!("acl local_name dstdom_regex -n -i ^[^.]+$ (^|[.])({local})$"));
            self.deny(Rule::DenyDefault, "local_name", remedy);
            self.allow(Rule::AllowAuditMode, "all");
        }
        self.deny(Rule::DenyDefault, "all", remedy);
    }

    /// Where allowed requests go. A parent is an address, and no name is resolved for it, nor for what it is asked for.
    fn way_out(&mut self) {
        let outward = self.spec.outward;
        if outward.parents.is_empty() {
            return;
        }
        self.line("\n# The way out");
        for (number, parent) in (1..).zip(&outward.parents) {
            let (address, port) = (parent.ip(), parent.port());
            let options = "no-query no-digest no-netdb-exchange no-tproxy default";
            self.line(&format!(
                "cache_peer {address} parent {port} 0 {options} name=parent{number}"
            ));
        }
        if !outward.direct.is_empty() {
            let conf_dir = self.spec.conf_dir.display();
            self.line(&format!("acl direct dstdomain -n \"{conf_dir}/direct.list\""));
            self.line("always_direct allow direct");
            let domains = lines(outward.direct.iter().map(|domain| format!(".{domain}")));
            self.files.push(("direct.list".to_owned(), domains));
        }
        self.line("never_direct allow all");
    }

    /// Defines the ACL of a rule from a file; an empty list defines none and gives false.
    fn list(&mut self, rule: Rule, kind: &str, content: String) -> bool {
        if content.is_empty() {
            return false;
        }
        let file = format!("{rule}.list");
        let conf_dir = self.spec.conf_dir.display();
        self.line(&format!("acl {} {kind} \"{conf_dir}/{file}\"", acl(rule)));
        self.files.push((file, content));
        true
    }

    fn allow(&mut self, rule: Rule, condition: &str) {
        self.note(rule);
        self.line(&format!("http_access allow !shown {condition} {}", note_acl(rule)));
    }

    fn deny(&mut self, id: impl fmt::Display, condition: &str, remedy: &str) {
        let acl = note_acl(&id);
        let page = format!("ERR_AWF_{id}").to_ascii_uppercase().replace('-', "_");
        if !self.files.iter().any(|(file, _)| *file == page) {
            self.note(&id);
            self.line(&format!("deny_info 403:{page} {acl}"));
            self.files.push((page, format!("awf: %M %H port %p refused ({id}): {remedy}\n")));
        }
        self.line(&format!("http_access deny {condition} {acl}"));
    }

    /// Defines the ACL that always matches and puts the rule's id into the log; being the last of
    /// its line it also picks the error page.
    fn note(&mut self, id: impl fmt::Display) {
        self.line(&format!("acl {} annotate_transaction rule={id}", note_acl(&id)));
    }

    fn logging(&mut self) {
        self.line("\n# Logs. The probe is not logged, except when the agent uses its name.");
        self.conf.push_str(ACCESS_FORMAT);
        let mut audit = format!("{{\"_schema\":\"audit/v{}\"", env!("CARGO_PKG_VERSION"));
        for (key, value) in AUDIT_KEYS {
            audit = audit + ",\"" + key + "\":" + value;
        }
        self.line(&format!("logformat audit_jsonl {audit}}}"));
        self.line(&format!("acl from_agent src {}", self.spec.agent_ip));
        self.line(&format!("acl probe_name dstdomain -n {PROBE_NAME}"));
        self.line("acl loggable any-of from_agent !probe_name");
        for (file, format) in [(ACCESS_LOG, "firewall_detailed"), (AUDIT_LOG, "audit_jsonl")] {
            let path = self.spec.logs.join(file);
            self.line(&format!("access_log stdio:{} logformat={format} loggable", path.display()));
        }
        self.line(&format!("cache_log {}", self.spec.logs.join(CACHE_LOG).display()));
        self.line("cache_store_log none");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn policy(allow: &[&str], block: &[&str]) -> Policy {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        Policy::resolve(&owned(allow), &owned(block)).expect("a usable policy").0
    }

    fn spec(policy: &Policy) -> Spec<'_> {
        Spec {
            policy,
            tunnel_port: 3101,
            forward_port: 3102,
            accel_port: 3103,
            key: KEY,
            outward: asking(),
            logs: Path::new("/run/awf/logs"),
            conf_dir: Path::new("/run/awf/squid"),
            agent_ip: Ipv4Addr::new(172, 30, 0, 20),
        }
    }

    /// A name server, and nothing between.
    fn asking() -> &'static Outward {
        static ASKING: std::sync::LazyLock<Outward> = std::sync::LazyLock::new(|| Outward {
            resolvers: vec![[192, 0, 2, 53].into()],
            ..Outward::default()
        });
        &ASKING
    }

    fn file<'a>(rendered: &'a Rendered, name: &str) -> Option<&'a str> {
        let mut found = rendered.files.iter().filter(|(file, _)| file == name);
        let content = found.next().map(|(_, content)| content.as_str());
        assert!(found.next().is_none(), "{name} is there twice");
        content
    }

    /// After an intended change: `UPDATE_GOLDEN=1 cargo test -p awf golden`, then read the diff.
    #[test]
    fn a_small_policy_renders_as_the_golden_file() {
        let policy = policy(
            &[
                "github.com",
                "*.example.com",
                "http://legacy.com",
                "http://*.old.com",
                "https://secure.com",
                "https://api-*.new.com",
                "=https://exact.com",
                "1.2.3.4",
            ],
            &["internal.github.com", "secret-*.github.com", "5.6.7.8"],
        );
        let rendered = render(&spec(&policy)).expect("a usable spec");
        let mut text = rendered.conf.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        for (name, content) in &rendered.files {
            if !name.starts_with("ERR_") || name.contains("AWF") {
                text = text + "\n=== " + name + "\n" + content;
            }
        }
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proxy/testdata/small.conf");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &text).expect("write the golden file");
        }
        assert_eq!(text, std::fs::read_to_string(&golden).expect("read the golden file"));
    }

    #[test]
    fn behind_a_parent_nothing_goes_direct_but_what_is_listed() {
        let policy = policy(&["github.com"], &[]);
        let way_out = |outward: &Outward| {
            let rendered = render(&Spec { outward, ..spec(&policy) }).expect("a usable spec");
            let way = rendered.conf.split("# The way out\n").nth(1).map(str::to_owned);
            let way = way.and_then(|way| way.split("\n\n").next().map(str::to_owned));
            (way.unwrap_or_default(), file(&rendered, "direct.list").map(str::to_owned))
        };
        assert_eq!(way_out(asking()), (String::new(), None));
        let parents = ["10.0.0.1:8080", "[fd00::1]:8080"].map(|text| text.parse().expect("it"));
        let mut outward = Outward { parents: parents.to_vec(), ..asking().clone() };
        let options = "0 no-query no-digest no-netdb-exchange no-tproxy default";
        let peers = format!(
            "cache_peer 10.0.0.1 parent 8080 {options} name=parent1\n\
             cache_peer fd00::1 parent 8080 {options} name=parent2\n"
        );
        assert_eq!(way_out(&outward), (format!("{peers}never_direct allow all"), None));
        outward.direct = vec!["corp.example".to_owned()];
        let direct =
            "acl direct dstdomain -n \"/run/awf/squid/direct.list\"\nalways_direct allow direct\n";
        let expected = format!("{peers}{direct}never_direct allow all");
        assert_eq!(way_out(&outward), (expected, Some(".corp.example\n".to_owned())));
    }

    #[test]
    fn an_empty_policy_has_no_allow_rule_and_no_list() {
        let rendered = render(&spec(&Policy::default())).expect("a usable spec");
        assert!(!rendered.conf.contains("http_access allow"));
        assert!(!rendered.files.iter().any(|(name, _)| name.contains(".list")));
    }

    #[test]
    fn rules_that_must_never_be_broken_hold() {
        let policy = policy(&["a.com", "*.b.com", "1.2.3.4"], &["c.com", "*d.com"]);
        let rendered = render(&spec(&policy)).expect("a usable spec");
        for line in rendered.conf.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["acl", _, kind, flag, ..] = words.as_slice() {
                assert!(!kind.starts_with("dstdom") || *flag == "-n", "{line}");
                assert!(!matches!(*kind, "dst" | "srcdomain" | "src_dom_regex"), "{line}");
            }
        }
        let access = rendered.conf.lines().filter(|line| line.starts_with("http_access "));
        let access: Vec<&str> = access.collect();
        assert_eq!(
            access.first(),
            Some(&"http_access deny read_key read_shown !keyed rule_deny_unkeyed")
        );
        assert_eq!(access.last(), Some(&"http_access deny all rule_deny_default"));
        assert!(rendered.conf.contains("\nhalf_closed_clients off\n"));
        assert!(!rendered.files.iter().any(|(_, content)| content.contains(KEY)));
    }

    #[test]
    fn a_pattern_becomes_an_anchored_expression() {
        let policy = policy(&["api-*.git_hub.com"], &[]);
        let rendered = render(&spec(&policy)).expect("a usable spec");
        let list = file(&rendered, "allow-both-regex.list");
        assert_eq!(list, Some("^api-[a-zA-Z0-9.-]*[.]git_hub[.]com$\n"));
    }

    #[test]
    fn no_line_of_a_list_is_longer_than_squid_reads() {
        let stars = "a*".repeat(16);
        let longest =
            format!("{stars}.{}.{}.{}.com", "b".repeat(63), "c".repeat(63), "d".repeat(63));
        let policy = policy(&[&longest], &[]);
        let rendered = render(&spec(&policy)).expect("a usable spec");
        let list = file(&rendered, "allow-both-regex.list").expect("a list");
        assert!(list.lines().all(|line| line.len() < 2000), "{}", list.len());
    }

    #[test]
    fn what_squid_conf_cannot_express_is_refused() {
        let policy = Policy::default();
        for path in ["/a b", "/a\nhttp_access allow all", "/a\"b", "relative", "/a#b"] {
            let spec = Spec { logs: Path::new(path), ..spec(&policy) };
            assert_eq!(render(&spec), Err(SpecError::Path(path.into())));
        }
        for key in
            ["", "0123", "0123456789abcdef0123456789abcde ", "0123456789abcdef0123456789abcde,"]
        {
            assert_eq!(render(&Spec { key, ..spec(&policy) }), Err(SpecError::Key));
        }
    }
}
