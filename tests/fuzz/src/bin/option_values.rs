//! Values of options: what is accepted has the promised shape, what is not is refused in one sentence.
//!
//! Input: one option a line, the first character choosing which.

#![no_main]

use std::path::Component;

use awf::cli::{Args, Settings, is_reserved};
use awf::policy::{PortRange, UrlVerdict};
use awf_fuzz::{caller, is_presentable};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // No argument of a process can hold it.
    if text.contains('\0') {
        return;
    }
    let mut args = Args { command: vec!["true".to_owned()], ..Args::default() };
    for line in text.split('\n') {
        let mut letters = line.chars();
        let option = letters.next();
        let value = letters.as_str().to_owned();
        match option {
            Some('v') => args.mount.push(value),
            Some('e') => args.env.push(value),
            Some('x') => args.exclude_env.push(value),
            Some('d') => args.allow_domains = Some(value),
            Some('b') => args.block_domains = Some(value),
            Some('n') => args.proxy.dns_servers = Some(value),
            Some('o') => args.allow_host_ports = Some(value),
            Some('s') => args.allow_host_service_ports = Some(value),
            Some('u') => args.proxy.allow_urls = Some(value),
            Some('B') => args.proxy.ssl_bump = true,
            Some('a') => args.topology_attach.push(value),
            Some('h') => args.enable_host_access = true,
            Some('w') => args.container_workdir = Some(value),
            Some('l') => args.proxy_logs_dir = Some(value),
            Some('m') => args.memory_limit = Some(value),
            Some('c') => args.cpu_limit = Some(value),
            Some('p') => args.pids_limit = Some(value),
            Some('t') => args.agent_timeout = Some(value),
            Some('C') => args.command = vec![value],
            _ => {}
        }
    }
    let settings = match Settings::resolve(&args, &caller()) {
        Ok(settings) => settings,
        Err(error) => return is_presentable(&error.to_string()),
    };
    for mount in &settings.mounts {
        assert!(mount.source.is_absolute() && mount.target.is_absolute());
        assert!(mount.target.components().count() > 1);
        assert!(mount.target.components().all(|part| part != Component::ParentDir));
    }
    for (name, value) in &settings.env {
        assert!(!is_reserved(name) && !name.is_empty() && !name.contains(['=', '\0']), "{name:?}");
        assert!(!value.contains('\0'), "no environment can hold {value:?}");
    }
    if let Some(access) = &settings.host_access {
        let ordered = |range: &PortRange| range.low != 0 && range.low <= range.high;
        assert!(access.ports.iter().all(|range| ordered(range) && range.dangerous().is_none()));
        assert!(access.service_ports.iter().all(|port| *port != 0));
    }
    let is_plain =
        |name: &String| name.len() > 1 && !name.contains(|c: char| c.is_control() || c == '/');
    assert!(settings.peers.iter().all(is_plain));
    if let Some(directory) = &settings.container_workdir {
        assert!(directory.is_absolute());
    }
    if let Some(directory) = &settings.proxy_logs_dir {
        // Squid's configuration names it.
        assert!(directory.is_absolute());
        assert!(!directory.to_string_lossy().contains(char::is_control), "{directory:?}");
    }
    for pattern in settings.inspection.urls.patterns() {
        assert!(pattern.to_string().starts_with("https://"));
        let verdict =
            settings.inspection.urls.judge("h.example", &text.replace(char::is_control, "/"));
        assert!(verdict != UrlVerdict::Denied || settings.inspection.urls.concern("h.example"));
    }
    assert!(settings.memory_bytes > 0 && settings.pids > 0);
});
