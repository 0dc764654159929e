//! The world the lab plays: every name, where it leads, and every listener, as plain data.
//!
//! Gives tables to `network` (addresses), `servers` (zones, virtual hosts, listeners) and `certs` (subject names), and
//! constants to tests. Decides nothing and touches nothing. Everything here exists only inside the lab's namespaces, so
//! public addresses may be played freely.

/// Address of the lab's host namespace (where awf runs) on its only wire.
pub const HOST_V4: &str = "100.64.77.2";
/// Address of the played internet on that wire; the host's default route.
pub const INTERNET_V4: &str = "100.64.77.1";
/// IPv6 address of the host namespace; global, so that a leak over IPv6 would really leave and be seen.
pub const HOST_V6: &str = "2600:77:1ab::2";
/// IPv6 counterpart of [`INTERNET_V4`].
pub const INTERNET_V6: &str = "2600:77:1ab::1";

/// The DNS servers, in the order of the host namespace's resolv.conf.
pub const DNS_V4: [&str; 2] = ["8.8.8.8", "8.8.4.4"];
/// The same servers over IPv6; not in resolv.conf.
pub const DNS_V6: [&str; 2] = ["2001:4860:4860::8888", "2001:4860:4860::8844"];

/// The attacker: echoes on every port of [`TCP_ECHO_PORTS`], 80 and 443, raw or with TLS.
pub const ATTACKER_V4: &str = "203.0.113.66";
/// The attacker over IPv6.
pub const ATTACKER_V6: &str = "2600:1ab::66";
/// The well-behaved site; web server on 80 and 443, echo on the other ports.
pub const EXAMPLE_V4: &str = "93.184.216.34";
/// The well-behaved site over IPv6.
pub const EXAMPLE_V6: &str = "2606:2800:220:1:248:1893:25c8:1946";
/// The cloud metadata service (port 80, prints a fake secret).
pub const METADATA_V4: &str = "169.254.169.254";
/// A service inside a private network (ports 80 and 443).
pub const INTERNAL_V4: &str = "10.1.2.3";
/// Every name below `bulk.test` leads here.
pub const BULK_V4: &str = "93.184.216.50";
/// And here: without an IPv6 address dnsmasq would call the names NXDOMAIN when asked for one.
pub const BULK_V6: &str = "2606:2800:220:1::50";
/// Swallows every packet without an answer.
pub const BLACKHOLE_V4: &str = "192.0.2.1";
/// Answers every packet with ICMP host unreachable.
pub const UNREACHABLE_V4: &str = "192.0.2.2";
/// Where the sink's own markers go; never answers. See `sink`.
pub const MARKER_V4: &str = "192.0.2.254";

/// TCP ports that echo on *every* address, IPv4 and IPv6.
pub const TCP_ECHO_PORTS: [u16; 6] = [22, 853, 3128, 5432, 8080, 8443];
/// UDP ports that echo on the attacker's and the well-behaved site's addresses.
pub const UDP_ECHO_PORTS: [u16; 3] = [53, 123, 443];

/// What a played name offers on 80 and 443.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Site {
    /// A page that names itself, plus the endpoints of `files/vhost.conf`.
    Page,
    /// A package mirror: files made by `files/packages.py`.
    Mirror,
    /// Git smart HTTP, and archives that redirect to codeload.
    Git,
    /// Archives of the git repository.
    Archives,
    /// No virtual host: served elsewhere, or not at all.
    Elsewhere,
}

/// One played name.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Name {
    /// Host name, lower case, without trailing dot.
    pub name: &'static str,
    /// IPv4 and IPv6 addresses the DNS server answers.
    pub addresses: &'static [&'static str],
    /// What is found there.
    pub site: Site,
}

const fn name(name: &'static str, addresses: &'static [&'static str], site: Site) -> Name {
    Name { name, addresses, site }
}

/// Every name the DNS server knows; `*.bulk.test` comes on top, everything else is NXDOMAIN.
pub const NAMES: &[Name] = &[
    name("example.com", &[EXAMPLE_V4, EXAMPLE_V6], Site::Page),
    name("www.example.com", &[EXAMPLE_V4, EXAMPLE_V6], Site::Page),
    name("api.example.com", &["93.184.216.35"], Site::Page),
    name("a.b.example.com", &["93.184.216.35"], Site::Page),
    name("example.org", &["93.184.216.36", "2606:2800:220:1::36"], Site::Page),
    name("example.net", &["93.184.216.37"], Site::Page),
    name("denied.example.net", &["93.184.216.38", "2606:2800:220:1::38"], Site::Page),
    name("github.com", &["140.82.112.3"], Site::Git),
    name("codeload.github.com", &["140.82.112.10"], Site::Archives),
    name("api.github.com", &["140.82.112.6"], Site::Page),
    name("cdn-a.test", &["151.101.1.91"], Site::Page),
    name("cdn-b.test", &["151.101.1.91"], Site::Page),
    name("ws.test", &["93.184.216.40"], Site::Page),
    name("sse.test", &["93.184.216.41"], Site::Page),
    name("files.test", &["93.184.216.42"], Site::Page),
    name("h2.test", &["93.184.216.43"], Site::Page),
    name("pypi.lab.test", &["93.184.216.44"], Site::Mirror),
    name("npm.lab.test", &["93.184.216.45"], Site::Mirror),
    name("crates.lab.test", &["93.184.216.46"], Site::Mirror),
    name("goproxy.lab.test", &["93.184.216.47"], Site::Mirror),
    name("xn--mnchen-3ya.test", &["93.184.216.48"], Site::Page),
    name("v6only.test", &["2600:1ab::6"], Site::Page),
    name("mixed.test", &[EXAMPLE_V4, INTERNAL_V4], Site::Page),
    name("attacker.test", &[ATTACKER_V4, ATTACKER_V6], Site::Elsewhere),
    name("private.test", &[INTERNAL_V4], Site::Elsewhere),
    name("metadata.test", &[METADATA_V4], Site::Elsewhere),
    name("cgnat.test", &["100.64.1.1"], Site::Elsewhere),
    name("ula.test", &["fd00::1"], Site::Elsewhere),
    name("linklocal6.test", &["fe80::1"], Site::Elsewhere),
    name("mapped.test", &["::ffff:10.1.2.3"], Site::Elsewhere),
    name("loop.test", &["127.0.0.1"], Site::Elsewhere),
    name("loop6.test", &["::1"], Site::Elsewhere),
    name("zero.test", &["0.0.0.0"], Site::Elsewhere),
    name("blackhole.test", &[BLACKHOLE_V4], Site::Elsewhere),
    name("unreachable.test", &[UNREACHABLE_V4], Site::Elsewhere),
];

/// Zones in which the leaf certificate covers every name of one more label.
pub const WILDCARD_ZONES: [&str; 6] =
    ["example.com", "example.org", "example.net", "github.com", "lab.test", "bulk.test"];

/// Addresses that servers bind by themselves, so they must exist on the internet side's loopback. All other addresses
/// are answered there too, by route, through wildcard sockets.
pub fn bound_addresses() -> impl Iterator<Item = &'static str> {
    DNS_V4.into_iter().chain(DNS_V6).chain(ECHO_ADDRESSES)
}

/// The addresses with echo listeners of their own.
pub const ECHO_ADDRESSES: [&str; 4] = [ATTACKER_V4, ATTACKER_V6, EXAMPLE_V4, EXAMPLE_V6];

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, net::IpAddr};

    #[test]
    fn every_address_is_spelled_canonically() {
        let spelled = NAMES
            .iter()
            .flat_map(|name| name.addresses)
            .copied()
            .chain(bound_addresses())
            .chain([BULK_V6]);
        for text in spelled {
            assert_eq!(text.parse::<IpAddr>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn names_are_unique() {
        assert_eq!(NAMES.iter().map(|name| name.name).collect::<BTreeSet<_>>().len(), NAMES.len());
    }

    #[test]
    fn every_name_is_in_the_module_doc() {
        let doc = include_str!("mod.rs");
        for Name { name, .. } in NAMES {
            assert!(doc.contains(name), "{name} is missing in mod.rs");
        }
    }
}
