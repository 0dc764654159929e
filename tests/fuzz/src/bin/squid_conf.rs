//! Squid's configuration: no accepted policy, path or key can add a line, a token or a file of its own to it.
//!
//! Input: line 1 the allow list, line 2 the block list, line 3 the directory of logs, line 4 that of the configuration,
//! line 5 the key.

#![no_main]

use std::net::Ipv4Addr;
use std::path::Path;

use awf::plan::outward::Outward;
use awf::policy::Policy;
use awf::proxy::config::{Spec, render};
use libfuzzer_sys::fuzz_target;

/// Squid 5.7 reads no more of one line of a list (`CONFIG_LINE_LIMIT`); the rest would be an entry of its own.
const LINE_MAX: usize = 2047;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let (allow, block) = (list(line()), list(line()));
    let (logs, conf_dir, key) = (line(), line(), line());
    let Ok((policy, _warnings)) = Policy::resolve(&allow, &block) else { return };
    let Ok(rendered) = render(&spec(&policy, logs, conf_dir, key)) else { return };

    // A configuration for nobody has every directive; a policy adds lines of three kinds only.
    let nothing = Policy::default();
    let bare = render(&spec(&nothing, logs, conf_dir, key)).expect("the same paths and key");
    let known: Vec<&str> = bare.conf.lines().collect();
    for line in rendered.conf.lines().filter(|line| !known.contains(line)) {
        let expected = [
            "acl rule_",
            "acl allow_",
            "acl deny_",
            "http_access allow !shown ",
            "http_access deny ",
            "deny_info 403:ERR_AWF_",
        ];
        assert!(expected.iter().any(|start| line.starts_with(start)), "{line:?}");
        let text = line.replace(conf_dir, "");
        assert!(
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" _-.:!=\"/".contains(&byte)),
            "{line:?}"
        );
    }
    for (name, content) in rendered.files.iter().filter(|(name, _content)| name.ends_with(".list"))
    {
        assert!(
            name.bytes().all(|byte| byte.is_ascii_lowercase() || b"-.".contains(&byte)),
            "{name:?}"
        );
        for line in content.lines() {
            assert!((1..=LINE_MAX).contains(&line.len()), "{line:?}");
            assert!(
                line.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-[]*^$".contains(&byte)),
                "{line:?}"
            );
        }
    }
});

static OUTWARD: std::sync::OnceLock<Outward> = std::sync::OnceLock::new();

fn spec<'a>(policy: &'a Policy, logs: &'a str, conf_dir: &'a str, key: &'a str) -> Spec<'a> {
    Spec {
        policy,
        tunnel_port: 3101,
        forward_port: 3102,
        accel_port: 3103,
        key,
        outward: OUTWARD.get_or_init(Outward::default),
        logs: Path::new(logs),
        conf_dir: Path::new(conf_dir),
        agent_ip: Ipv4Addr::new(172, 30, 0, 20),
    }
}
