//! The domain grammar: whatever two lists say, reading them again changes nothing, spelling changes nothing, and a block
//! list only ever takes away.
//!
//! Input: line 1 the allow list, line 2 the block list, both with commas; every further line a host.

#![no_main]

use awf::doors::names::canonical;
use awf::policy::{Policy, Scheme, literal, suggest};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const REQUESTS: [(u16, Scheme); 5] = [
    (443, Scheme::Tls),
    (80, Scheme::Tls),
    (80, Scheme::Http),
    (443, Scheme::Http),
    (22, Scheme::Tls),
];

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut list = || entries(lines.next().unwrap_or_default());
    let (allow, block) = (list(), list());
    let Ok((policy, _warnings)) = Policy::resolve(&allow, &block) else { return };
    let (allow_again, block_again) = written(&policy);
    let again = Policy::resolve(&allow_again, &block_again).expect("its own text");
    assert_eq!(again.0, policy);
    let unblocked = Policy::resolve(&allow, &[]).expect("half of what was accepted").0;
    for host in lines {
        for (port, scheme) in REQUESTS {
            let allowed = policy.decide(host, port, scheme).allow;
            for spelling in [host.to_ascii_uppercase(), format!("{host}.")] {
                assert_eq!(policy.decide(&spelling, port, scheme).allow, allowed, "{spelling:?}");
            }
            if allowed {
                assert!(port == 80 || (port, scheme) == (443, Scheme::Tls));
                assert!(unblocked.decide(host, port, scheme).allow);
                assert!(literal(host).is_some() || canonical(host.trim_end_matches('.')).is_ok());
            }
        }
        // What the user is told to write must be something that can be written.
        if let Some(list) = suggest(&[host], &allow) {
            Policy::resolve(&entries(&list), &block).expect("the suggested list");
        }
    }
});

fn entries(list: &str) -> Vec<String> {
    list.split(',').map(str::to_owned).collect()
}

/// Both lists as the policy itself would write them.
fn written(policy: &Policy) -> (Vec<String>, Vec<String>) {
    let policy = serde_json::to_value(policy).expect("a policy is JSON");
    let names = |set: &str, scheme: &str| -> Vec<String> {
        let kinds = [("plain", ""), ("exact", "="), ("patterns", "")];
        let members = kinds.iter().flat_map(|(kind, mark)| {
            let names = policy[set][kind].as_array().into_iter().flatten();
            names.filter_map(Value::as_str).map(move |name| format!("{mark}{scheme}{name}"))
        });
        members.collect()
    };
    let ips = policy["ips"].as_object().into_iter().flatten().map(|(ip, _rule)| ip.clone());
    let allow = [names("both", ""), names("http", "http://"), names("https", "https://")].concat();
    let blocked_ips = policy["blocked_ips"].as_array().into_iter().flatten();
    let blocked_ips = blocked_ips.filter_map(Value::as_str).map(str::to_owned);
    (
        allow.into_iter().chain(ips).collect(),
        names("blocked", "").into_iter().chain(blocked_ips).collect(),
    )
}
