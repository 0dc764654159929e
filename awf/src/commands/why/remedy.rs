//! What would open what a rule refused, for this very target.
//!
//! Takes a rule's id as the record has it, with what was asked for. Pure. Must never promise that a list of domains opens what
//! no list can.

use crate::observe::rules::{self, Remedy};
use crate::plan::addresses::HOST_CALLED;
use crate::policy::{Services, suggest};

/// What would open what `rule` refused. `allowed` is what the list holds now.
pub fn of(rule: &str, target: &str, port: Option<u16>, allowed: &[String]) -> Remedy {
    let closed = || Services::default().why_closed(target, port.unwrap_or(443), &HOST_CALLED);
    let listed = || suggest(&[target], allowed).map(|list| format!("--allow-domains \"{list}\""));
    let flag = |text: String| Remedy::Flag(text.into());
    let never = |text: &'static str| Remedy::Never(text.into());
    match rule {
        "deny-default" => {
            closed().or_else(listed).map_or_else(|| never("no list can hold this name"), flag)
        }
        "deny-raw-ipv4" => match closed().or_else(listed) {
            Some(list) => flag(format!("connect by name, or {list}")),
            None => never("use the name of the host"),
        },
        "port" | "deny-unsafe-ports" => {
            closed().map_or_else(|| rules::about(rule).remedy.clone(), flag)
        }
        _ => rules::about(rule).remedy.clone(),
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
            Remedy::Flag("--allow-domains \"a.com,b.com\"".into())
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
