//! A target that nobody asked for yet, judged as a run would judge it, layer by layer.
//!
//! Takes a target and the ground of a run, gives the answer. Pure: resolves no name, so what the guard will say of a name's
//! addresses is left open and said so.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use awf_common::decide::{Destination, Door, Reason, Transport, Verdict, decide};
use serde::Serialize;

use super::remedy;
use super::safe;
use super::target::{Means, Target};
use crate::doors::names;
use crate::enforce::Contents;
use crate::observe::record::to_line;
use crate::observe::rules::{self, Remedy};
use crate::plan::addresses;
use crate::policy::{Decision, Policy, Scheme, Services, UrlRules, UrlVerdict, literal};

/// What a run would judge by.
pub(super) struct Ground {
    /// The lists.
    pub policy: Policy,
    /// What is opened beside them.
    pub services: Services,
    /// Patterns of URLs, if TLS is looked into.
    pub urls: Option<UrlRules>,
    /// The allow list as it would be typed.
    pub allowed: Vec<String>,
    /// What the user should know.
    pub notices: Vec<String>,
    /// Where all this is from.
    pub of: String,
}

/// One layer's view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct View {
    /// `name door`, `kernel`, `relay`, `Squid` or `guard`.
    pub layer: &'static str,
    /// What it does.
    pub says: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    target: Target,
    /// Whether it may pass.
    pub allowed: bool,
    decision: Decided,
    layer: &'static str,
    remedy: Option<Remedy>,
    views: Vec<View>,
    notices: Vec<String>,
    of: String,
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Decided {
    rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_deny: Option<&'static str>,
}

impl From<Decision> for Decided {
    fn from(decision: Decision) -> Self {
        let Decision { rule, entry, reason, would_deny, .. } = decision;
        Self { rule: rule.to_owned(), entry, reason, would_deny }
    }
}

/// A layer's last word, if it has one: whether it passes, and by what.
type Word = Option<Judged>;

/// Whether it passes, by what, and in which layer.
type Judged = (bool, Decided, &'static str);

/// Judges.
pub(super) fn answer(target: &Target, ground: &Ground) -> Answer {
    let mut views = Vec::new();
    let mut see = |layer: &'static str, says: String| views.push(View { layer, says });
    let (address, word) = resolve(target, ground, &mut see);
    let word = word.or_else(|| ask_kernel(target, ground, address, &mut see));
    let (allowed, decision, layer) = word.unwrap_or_else(|| ask_relay(target, ground, &mut see));
    let remedy = (!allowed).then(|| remedy_of(&decision, target, ground));
    Answer {
        target: target.clone(),
        allowed,
        decision,
        layer,
        remedy,
        views,
        notices: ground.notices.clone(),
        of: ground.of.clone(),
    }
}

fn remedy_of(decision: &Decided, target: &Target, ground: &Ground) -> Remedy {
    let name = target.host.trim_end_matches('.').to_ascii_lowercase();
    let why = ground.services.why_closed(&name, target.port, &addresses::HOST_CALLED);
    match why.filter(|_why| matches!(&*decision.rule, "port" | "deny-unsafe-ports")) {
        Some(why) => Remedy::Flag(why.into()),
        None => remedy::of(&decision.rule, &target.host, Some(target.port), &ground.allowed),
    }
}

fn denied(rule: &str, reason: impl Into<String>, layer: &'static str) -> Judged {
    (false, decided(rule, reason), layer)
}

fn decided(rule: &str, reason: impl Into<String>) -> Decided {
    Decided { rule: rule.to_owned(), entry: None, reason: reason.into(), would_deny: None }
}

/// What the client learns of the name.
fn resolve(
    target: &Target,
    ground: &Ground,
    see: &mut impl FnMut(&'static str, String),
) -> (Option<IpAddr>, Word) {
    const LAYER: &str = "name door";
    if let Some(address) = literal(&target.host) {
        see(LAYER, format!("is not asked: this is the address {address}"));
        return (Some(address), None);
    }
    let Ok(name) = names::canonical(&target.host) else {
        see(LAYER, "answers that there is no such name".to_owned());
        let decision = ground.policy.decide(&target.host, 443, Scheme::Tls);
        return (None, Some((false, decision.into(), LAYER)));
    };
    if name == "localhost" || name.ends_with(".localhost") {
        see(LAYER, "answers with 127.0.0.1, which is the sandbox itself".to_owned());
        return (Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), None);
    }
    if let Some(service) = ground.services.named(&name) {
        see(LAYER, format!("answers with {}, where {name} is in the sandbox", service.address));
        return (Some(IpAddr::V4(service.address)), None);
    }
    let top = name.rsplit_once('.').map(|(_rest, top)| top);
    if top.is_none_or(|top| matches!(top, "invalid" | "onion")) {
        let proxied = "only a client that asks the proxy for it gets further";
        see(LAYER, format!("answers that there is no such name; {proxied}"));
        let decision = ground.policy.decide(&name, 443, Scheme::Tls);
        // A client that asks the proxy by name is judged all the same.
        let word = (!decision.allow).then(|| (false, decision.into(), LAYER));
        return (None, word);
    }
    see(LAYER, "answers with an address of its own; no query leaves".to_owned());
    (Some(IpAddr::V4(addresses::SYNTHETIC)), None)
}

/// The rule of the programs on the command's cgroup.
fn ask_kernel(
    target: &Target,
    ground: &Ground,
    address: Option<IpAddr>,
    see: &mut impl FnMut(&'static str, String),
) -> Word {
    const LAYER: &str = "kernel";
    let contents = Contents::of(&ground.policy, &[], &[]).opening(&ground.services);
    let Ok(contents) = contents else {
        let reason = "more ports are opened than the kernel is told";
        return Some(denied("internal", reason, LAYER));
    };
    let transport = if target.means == Means::Udp { Transport::Udp } else { Transport::Tcp };
    let destination = match address? {
        IpAddr::V4(address) => Destination::V4(address.to_bits()),
        IpAddr::V6(address) if address.is_loopback() || address.is_unspecified() => {
            Destination::V6Local
        }
        IpAddr::V6(_) => Destination::V6,
    };
    match decide(&contents.agent, &contents.openings, transport, destination, target.port) {
        Verdict::Pass => {
            see(LAYER, "lets it pass: it stays inside the sandbox".to_owned());
            Some((true, decided("pass", "the sandbox itself is meant"), LAYER))
        }
        Verdict::Lead(Door::Name) => {
            see(LAYER, "leads it to the name door, which every port 53 is".to_owned());
            Some((true, decided("pass", "awf's own resolver answers, and no query leaves"), LAYER))
        }
        Verdict::Lead(Door::Proxy) => {
            see(LAYER, "leads it to the proxy's door".to_owned());
            Some((
                true,
                decided("pass", "this is awf's proxy; what is asked of it is judged"),
                LAYER,
            ))
        }
        Verdict::Lead(Door::Transparent | Door::Service) => {
            see(LAYER, "leads the connection to the relay".to_owned());
            None
        }
        Verdict::Refuse(reason) => {
            let name = reason.name();
            see(LAYER, format!("refuses it at once ({name})"));
            let by_proxy = reason == Reason::Ipv6 && transport == Transport::Tcp;
            if by_proxy {
                see(
                    "relay",
                    "refuses the address as well, if the proxy is asked for it".to_owned(),
                );
            }
            Some(denied(name, refusal(reason, target), LAYER))
        }
    }
}

fn refusal(reason: Reason, target: &Target) -> String {
    match reason {
        Reason::Udp => "datagrams are not let out".to_owned(),
        Reason::Ipv6 => "IPv6 leads nowhere".to_owned(),
        Reason::Port => format!("port {} is not opened", target.port),
        other => other.name().to_owned(),
    }
}

/// The policy itself, which relay and Squid judge by.
fn ask_relay(
    target: &Target,
    ground: &Ground,
    see: &mut impl FnMut(&'static str, String),
) -> Judged {
    let host = target.host.trim_end_matches('.').to_ascii_lowercase();
    if let Some(service) = ground.services.named(&host) {
        let decision = service.decide(target.port);
        let does = if decision.allow { "hands it to" } else { "keeps it from" };
        see("relay", format!("{does} the service ({})", decision.rule));
        return (decision.allow, decision.into(), "relay");
    }
    let scheme = if target.means == Means::Http { Scheme::Http } else { Scheme::Tls };
    let decision = ground.policy.decide(&host, target.port, scheme);
    if !decision.allow {
        see("relay", format!("refuses it ({})", decision.rule));
        see("Squid", "is not asked; it would say the same".to_owned());
        return (false, decision.into(), "relay");
    }
    if let Some((rule, entry, reason)) = url_verdict(target, ground, &host) {
        see("relay", format!("looks into the connection and finds {rule}"));
        if rule == "deny-url" {
            return (false, decided(rule, reason), "relay");
        }
        see("Squid", format!("lets the tunnel pass ({})", decision.rule));
        see("guard", GUARD.to_owned());
        return (true, Decided { entry: Some(entry), ..decided(rule, reason) }, "relay");
    }
    let means = if scheme == Scheme::Http { "HTTP" } else { "TLS" };
    see("relay", format!("lets it pass ({}), if it is {means} for this very host", decision.rule));
    if literal(&host).is_some() {
        see("Squid", format!("lets it pass ({})", decision.rule));
        see(
            "guard",
            "lets it pass, as the address is listed, unless it is this machine's".to_owned(),
        );
    } else {
        see("Squid", format!("lets it pass ({}), and resolves the name", decision.rule));
        see("guard", GUARD.to_owned());
    }
    (true, decision.into(), "Squid")
}

const GUARD: &str = "refuses it after all if the name leads to an address inside (private, link-local, loopback, metadata)";

/// What the patterns of `--allow-urls` say.
fn url_verdict(
    target: &Target,
    ground: &Ground,
    host: &str,
) -> Option<(&'static str, String, String)> {
    let urls = ground.urls.as_ref().filter(|_urls| target.means == Means::Tls)?;
    match urls.judge(host, target.path.as_deref().unwrap_or("/")) {
        UrlVerdict::Unconcerned => None,
        UrlVerdict::Allowed(pattern) => {
            Some(("allow-url", pattern.to_string(), format!("{pattern} allows this URL")))
        }
        UrlVerdict::Denied => {
            let reason = "the host has patterns in --allow-urls, and none allows this URL";
            Some(("deny-url", String::new(), reason.to_owned()))
        }
    }
}

impl Answer {
    /// For people.
    pub(super) fn pretty(&self) -> String {
        let Self { target, decision, .. } = self;
        let verdict = if self.allowed { "Allowed" } else { "Denied" };
        let means = match target.means {
            Means::Tls => "TCP",
            Means::Http => "HTTP",
            Means::Udp => "UDP",
        };
        let host = if target.host.contains(':') {
            format!("[{}]", target.host)
        } else {
            target.host.clone()
        };
        let mut text = format!("{verdict}: {} port {} by {means}\n", safe(&host), target.port);
        let mut row = |label: &str, says: &str| {
            text += format!("  {label:<13} {says}").trim_end();
            text.push('\n');
        };
        let about = rules::about(&decision.rule);
        row("rule", &format!("{}: {}", decision.rule, about.title));
        row("meaning", about.meaning);
        if let Some(entry) = &decision.entry {
            row("entry", &safe(entry));
        }
        row("layer", self.layer);
        row("reason", &safe(&decision.reason));
        if let Some(rule) = decision.would_deny {
            row("otherwise", &format!("{rule} would deny it outside audit mode"));
        }
        if let Some(remedy) = &self.remedy {
            let label = if remedy.allows() { "remedy" } else { "no flag helps" };
            row(label, &safe(remedy.text()));
        }
        row("policy of", &self.of);
        row("layers", "");
        for View { layer, says } in &self.views {
            row(&format!("  {layer}"), &safe(says));
        }
        for notice in &self.notices {
            row("note", &safe(notice));
        }
        text
    }

    /// For programs: one line of printable ASCII.
    pub(super) fn json(&self) -> Result<String> {
        let remedy = self.remedy.as_ref();
        let value = serde_json::json!({
            "_schema": "awf-why/v1",
            "host": self.target.host,
            "port": self.target.port,
            "means": self.target.means,
            "allowed": self.allowed,
            "decision": self.decision,
            "meaning": rules::about(&self.decision.rule).meaning,
            "layer": self.layer,
            "remedy": remedy.map(Remedy::text),
            "can_be_allowed": remedy.map(Remedy::allows),
            "layers": self.views,
            "policy_of": self.of,
            "notes": self.notices,
        });
        Ok(String::from_utf8(to_line(&value)?)?)
    }
}
