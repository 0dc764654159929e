//! The name servers of the machine.
//!
//! Owns the choice of files and the parsing of resolv.conf(5). Takes nothing, gives addresses that
//! Squid can use in a container as well: never loopback. Must never send a query.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

/// First what systemd-resolved forwards to, because the file that programs read then names only
/// the stub on loopback.
const FILES: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];

/// Public servers for a machine that names none.
const FALLBACK: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4))];

/// The servers of the first file that names a usable one, else public ones and a notice.
pub(super) fn inspect(notices: &mut Vec<String>) -> Vec<IpAddr> {
    let texts = FILES.iter().filter_map(|path| fs::read_to_string(path).ok());
    choose(texts, notices)
}

fn choose(texts: impl Iterator<Item = String>, notices: &mut Vec<String>) -> Vec<IpAddr> {
    if let Some(servers) = texts.map(|text| parse(&text)).find(|servers| !servers.is_empty()) {
        return servers;
    }
    notices.push(
        "no name server beyond loopback found on this machine; using 8.8.8.8 and 8.8.4.4 \
         (choose others with --dns-servers)"
            .to_owned(),
    );
    FALLBACK.to_vec()
}

/// The usable servers of one file, in order, each once. An address with a zone (`fe80::1%eth0`) is
/// not usable: Squid has no notation for it.
fn parse(text: &str) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let Some(server) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
            continue;
        };
        let plain = server.to_canonical();
        if !plain.is_loopback() && !plain.is_unspecified() && !servers.contains(&plain) {
            servers.push(plain);
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let expected: Vec<IpAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn servers_keep_their_order_and_loopback_is_dropped() {
        check(
            "nameserver 10.0.0.1\nsearch lan\nnameserver 2001:db8::1\n",
            &["10.0.0.1", "2001:db8::1"],
        );
        check("nameserver 127.0.0.53\noptions edns0\n", &[]);
        check("nameserver ::1\nnameserver 127.0.0.1\nnameserver 9.9.9.9 # x\n", &["9.9.9.9"]);
        check("nameserver ::ffff:127.0.0.1\nnameserver 0.0.0.0\n", &[]);
        check("nameserver 1.1.1.1\n  nameserver 1.1.1.1\n#nameserver 2.2.2.2\n", &["1.1.1.1"]);
        check("nameserver fe80::1%eth0\nnameserver\nnameserver nonsense\n", &[]);
    }

    #[test]
    fn the_first_file_with_a_usable_server_wins() {
        let texts = ["nameserver 127.0.0.53", "nameserver 10.0.0.1", "nameserver 10.0.0.2"];
        let mut notices = Vec::new();
        let servers = choose(texts.iter().map(ToString::to_string), &mut notices);
        assert_eq!(servers, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert!(notices.is_empty());
    }

    #[test]
    fn a_machine_without_servers_gets_public_ones_and_is_told() {
        let mut notices = Vec::new();
        assert_eq!(choose([].into_iter(), &mut notices), FALLBACK);
        assert!(notices[0].contains("--dns-servers"));
    }
}
