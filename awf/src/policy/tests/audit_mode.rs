//! Audit mode: what it lets through, and what stays denied.

use super::*;

#[test]
fn audit_mode_lets_through_what_only_the_default_denies() {
    let lists = [vec!["a.com", "https://b.com", "*.corp.internal"], vec!["bad.com", "1.2.3.4"]];
    let [allow, block] = lists.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>());
    let policy = Policy::resolve(&allow, &block).unwrap().0;
    let audited = policy.clone().in_audit_mode(true);
    assert_eq!((policy.mode(), audited.mode()), ("enforce", "audit"));
    for (host, port, scheme) in [
        ("evil.com", 443, Scheme::Tls),
        ("EVIL.com.", 80, Scheme::Http),
        ("evil.com", 80, Scheme::Tls),
        ("b.com", 80, Scheme::Http),
    ] {
        let decision = audited.decide(host, port, scheme);
        assert_eq!((decision.allow, decision.rule), (true, "allow-audit-mode"), "{host}");
        assert_eq!(decision.would_deny, Some("deny-default"));
        assert_eq!(policy.decide(host, port, scheme).rule, "deny-default");
    }
    for (host, port, scheme) in [
        ("a.com", 443, Scheme::Tls),
        ("b.com", 443, Scheme::Tls),
        ("x.corp.internal", 443, Scheme::Tls),
        ("x.bad.com", 443, Scheme::Tls),
        ("evil.com", 22, Scheme::Tls),
        ("evil.com", 443, Scheme::Http),
        ("1.2.3.4", 443, Scheme::Tls),
        ("9.9.9.9", 443, Scheme::Tls),
        ("[2001:db8::1]", 443, Scheme::Tls),
        ("a..com", 443, Scheme::Tls),
        ("x.invalid", 443, Scheme::Tls),
    ] {
        assert_eq!(audited.decide(host, port, scheme), policy.decide(host, port, scheme), "{host}");
    }
    for host in ["intranet", "metadata.google.internal", "x.localhost", "printer.local", "a.arpa"] {
        assert_eq!(audited.decide(host, 443, Scheme::Tls).rule, "deny-default", "{host}");
    }
}
