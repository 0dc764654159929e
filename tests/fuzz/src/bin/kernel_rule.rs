//! The rules the kernel runs: nothing passes that leaves the agent's namespace or the proxy's guard.
//!
//! Input: 12 bytes that choose the attempt, then addresses and ports of the configuration, then opened ranges.

#![no_main]

use awf_common::config::{Config, GuardConfig, Opening, Openings};
use awf_common::decide::{
    Destination, Door, Reason, Transport, Verdict, decide, packet_stays_inside,
};
use awf_common::guard::{self, Listed, is_inward4, is_inward6};
use awf_common::limits::TCP_PORTS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut words =
        bytes.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    let mut next = || words.next().unwrap_or_default();
    let (choice, address, port) = (next(), next(), low(next()));
    let mut config = Config {
        door: next(),
        agent: next(),
        proxy: next(),
        proxy_port: low(next()),
        transparent_door_port: low(next()),
        proxy_door_port: low(next()),
        name_door_port: low(next()),
        ..Config::CLOSED
    };
    config.tcp_ports = [0; TCP_PORTS].map(|_zero| low(next()));
    let transport = if choice & 1 == 0 { Transport::Tcp } else { Transport::Udp };
    let destination = match choice >> 1 & 3 {
        0 => Destination::V6Local,
        1 => Destination::V6,
        _ => Destination::V4(address),
    };
    let proxy = GuardConfig {
        tcp_ports: config.tcp_ports,
        parent_port: config.proxy_door_port,
        ..GuardConfig::CLOSED
    };
    let inward = if choice & 8 == 0 {
        is_inward4(address)
    } else {
        is_inward6([address, next(), next(), next()])
    };
    proxied(&proxy, transport, inward, port, Listed((choice >> 24) as u8));
    config.service_door_port = low(next());
    let openings =
        Opening::NONE.map(|_end| Opening { address: next(), low: low(next()), high: low(next()) });
    agent((&config, &openings), transport, destination, port);
});

fn agent(
    (config, openings): (&Config, &Openings),
    transport: Transport,
    destination: Destination,
    port: u16,
) {
    let verdict = decide(config, openings, transport, destination, port);
    let Destination::V4(address) = destination else {
        let expected = match destination {
            Destination::V6Local => Verdict::Pass,
            _ => Verdict::Refuse(Reason::Ipv6),
        };
        return assert_eq!(verdict, expected);
    };
    let own = address >> 24 == 127 || address == config.agent || address == 0;
    match verdict {
        Verdict::Refuse(_) => {}
        Verdict::Pass => assert!(own && address != config.door && port != 53),
        Verdict::Lead(Door::Name) => assert_eq!(port, 53),
        Verdict::Lead(Door::Proxy) => {
            assert_eq!(
                (transport, address, port),
                (Transport::Tcp, config.proxy, config.proxy_port)
            );
        }
        Verdict::Lead(Door::Service) => {
            let mut listed = openings.iter().take_while(|one| one.address != 0);
            let holds =
                |one: &Opening| one.address == address && one.low <= port && port <= one.high;
            assert!(transport == Transport::Tcp && !own && port != 0 && listed.any(holds));
        }
        Verdict::Lead(Door::Transparent) => {
            assert!(transport == Transport::Tcp && port != 0 && config.tcp_ports.contains(&port));
        }
    }
    if config.door == 0 {
        assert_eq!(verdict, Verdict::Refuse(Reason::Internal));
    }
    if packet_stays_inside(config, address, port) {
        assert!(config.door != 0 && (own || address == config.door));
    }
}

fn proxied(config: &GuardConfig, transport: Transport, inward: bool, port: u16, listed: Listed) {
    if guard::decide(config, transport, inward, port, listed) != Verdict::Pass {
        return;
    }
    let asks_resolver = port == 53 && listed.says(Listed::RESOLVER);
    let opened = transport == Transport::Tcp && port != 0 && config.tcp_ports.contains(&port);
    let parent = port != 0 && port == config.parent_port && listed.says(Listed::PARENT);
    let asks_parent = transport == Transport::Tcp && parent;
    let outward = !inward && !listed.says(Listed::OWN);
    assert!(asks_resolver || asks_parent || (opened && (outward || listed.says(Listed::ALLOWED))));
}

fn low(word: u32) -> u16 {
    word as u16
}
