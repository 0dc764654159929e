//! TCP and UDP, by address, by port and by the way the call is made.

use nix::libc::ECONNREFUSED;

use super::build::{port, tcp6, udp, udp6};
use super::{Alone, Control, Layer, Needs, Vector};

pub(super) const TABLE: &[Vector] = &[
    port(["tcp-22", "SSH to a public address", "harden-runner: other ports than 80 and 443"]),
    port(["tcp-853", "DNS over TLS", "CVE-2026-32947"]),
    port(["tcp-3128", "a proxy of somebody else's", "rule for the proxy's port alone"]),
    port(["tcp-5432", "a database", "harden-runner: other ports than 80 and 443"]),
    port(["tcp-8080", "another web port", "harden-runner: other ports than 80 and 443"]),
    port(["tcp-8443", "another TLS port", "harden-runner: other ports than 80 and 443"]),
    port(["tcp-nonblock", "a refusal that comes late", "kernel: net/ipv4/af_inet.c"])
        .call("socket(SOCK_NONBLOCK)+connect+poll"),
    port(["tcp-fastopen", "data with the SYN, without connect", "RFC 7413"])
        .call("sendto(MSG_FASTOPEN)"),
    port(["tcp-fo-connect", "a connect that waits for data", "RFC 7413"])
        .call("setsockopt(TCP_FASTOPEN_CONNECT)+connect+send"),
    port(["tcp-unspec", "a dissolved connection used again", "kernel: tcp_disconnect"])
        .call("connect(AF_UNSPEC)+connect"),
    port(["tcp-bound", "a local port chosen first", "kernel: net/ipv4/af_inet.c"])
        .call("bind+connect"),
    port(["tcp-repair", "a connection made without a handshake", "kernel: TCP_REPAIR"])
        .call("setsockopt(TCP_REPAIR)+connect+send")
        .needs(Needs::Capability("CAP_NET_ADMIN"))
        .control(Control::Arrives)
        .answers(&[nix::libc::EPERM])
        .unrecorded()
        .by(Layer::Capability),
    port(["tcp-mapped", "IPv4 as an IPv6 address", "RFC 4291 2.5.5.2"]).socket("inet6/stream/tcp"),
    port(["tcp-metadata", "the metadata service of a cloud", "harden-runner: open by default"]),
    port([
        "tcp-wireserver",
        "the metadata service of another cloud",
        "harden-runner: open by default",
    ]),
    port(["tcp-private", "a private network", "RFC 1918"]),
    port(["tcp-gateway", "the bridge of Docker", "gh-aw: gateway as relay"]),
    port(["tcp-class-e", "a reserved address that Linux routes", "RFC 1112 4"]),
    port(["proxy-22", "another port of the proxy's address", "nono #1631"]),
    port(["tcp-53", "anything but DNS to port 53", "CVE-2026-32946"])
        .call("connect+send")
        .control(Control::Arrives)
        .answers(&[0])
        .unrecorded()
        .by(Layer::Doors)
        .alone(Alone::Blind),
    udp(["udp-443", "QUIC", "RFC 9000"]),
    udp(["udp-123", "NTP", "RFC 5905"]),
    udp(["udp-514", "syslog", "RFC 5426"]),
    udp(["udp-51820", "WireGuard", "wireguard.com"]),
    udp(["udp-67", "DHCP", "RFC 2131"]),
    udp(["udp-69", "TFTP", "RFC 1350"]),
    udp(["udp-137", "NetBIOS names", "RFC 1002"]),
    udp(["udp-161", "SNMP", "RFC 3417"]),
    udp(["udp-853", "DNS over QUIC", "RFC 9250"]),
    udp(["udp-1194", "OpenVPN", "openvpn.net"]),
    udp(["udp-2152", "GTP", "3GPP TS 29.281"]),
    udp(["udp-3478", "STUN", "RFC 8489"]),
    udp(["udp-4500", "ESP in UDP", "RFC 3948"]),
    udp(["udp-4789", "VXLAN", "RFC 7348"]),
    udp(["udp-connect", "connect, then send", "CVE-2026-25598"]).call("connect+send"),
    udp(["udp-unspec", "connect to this host, dissolve, connect", "kernel: __udp_disconnect"])
        .call("connect(AF_UNSPEC)+connect+send"),
    udp(["udp-unspec-to", "connect to this host, dissolve, sendto", "kernel: __udp_disconnect"])
        .call("connect(AF_UNSPEC)+sendto"),
    udp(["udp-redirected", "a socket of the resolver's, another address", "CVE-2026-25598"])
        .call("connect+sendto"),
    udp(["udp-sendmmsg", "several datagrams in one call", "CVE-2026-25598"]).call("sendmmsg"),
    udp(["udp-mmsg-mixed", "a good address and a bad one in one call", "CVE-2026-25598"])
        .call("sendmmsg"),
    udp(["udp-segment", "one call, cut by the kernel", "kernel: UDP_SEGMENT"])
        .call("setsockopt(UDP_SEGMENT)+sendto"),
    udp(["udp-zerocopy", "pages instead of a copy", "kernel: MSG_ZEROCOPY"])
        .call("setsockopt(SO_ZEROCOPY)+sendto(MSG_ZEROCOPY)"),
    udp(["udp-splice", "from a pipe", "kernel: fs/splice.c"]).call("connect+splice"),
    udp(["udp-vmsplice", "the agent's pages through a pipe", "kernel: fs/splice.c"])
        .call("connect+vmsplice+splice"),
    udp(["udp-sendfile", "from a file", "kernel: fs/splice.c"]).call("connect+sendfile"),
    udp(["udp-recverr", "with the queue of errors", "kernel: IP_RECVERR"])
        .call("setsockopt(IP_RECVERR)+sendto"),
    udp(["udp-foreign", "from an address that is not ours", "kernel: IP_TRANSPARENT"])
        .call("setsockopt(IP_TRANSPARENT)+bind+sendto")
        .needs(Needs::Capability("CAP_NET_ADMIN")),
    udp(["udp-broadcast", "to everybody on the wire", "RFC 919"])
        .call("setsockopt(SO_BROADCAST)+sendto"),
    udp(["udp-directed", "to everybody in a subnet", "RFC 919"])
        .call("setsockopt(SO_BROADCAST)+sendto"),
    udp(["udp-mdns", "multicast DNS", "RFC 6762"]),
    udp(["udp-llmnr", "link-local names", "RFC 4795"]),
    udp(["udp-ssdp", "service discovery", "UPnP 1.1"]),
    udp(["udp-ws-discover", "discovery of web services", "OASIS WS-Discovery 1.1"]),
    udp(["udp-multicast", "any other group", "RFC 1112"]),
    udp(["udp-class-e", "a reserved address that Linux routes", "RFC 1112 4"]),
    udp(["udp-metadata", "the metadata service of a cloud", "harden-runner: open by default"]),
    udp(["udp-mapped", "IPv4 as an IPv6 address", "RFC 4291 2.5.5.2"]).socket("inet6/dgram/udp"),
    udp(["udp-mixed", "an IPv4 address on an IPv6 socket", "kernel: udpv6_sendmsg"])
        .socket("inet6/dgram/udp"),
    udp(["proxy-udp", "UDP to the proxy's address", "RFC 9298"]),
    udp(["memfd-exec", "a program that no file holds", "kernel: memfd_create"])
        .call("memfd_create+execveat+sendto"),
    udp(["udp-53", "anything but DNS to port 53", "CVE-2026-32946"])
        .answers(&[0])
        .unrecorded()
        .by(Layer::Doors)
        .alone(Alone::Blind),
    udp(["late-mark", "sent although an option was refused", "kernel: SO_MARK"])
        .call("setsockopt(SO_MARK)+sendto")
        .answers(&[ECONNREFUSED]),
];

pub(super) const IPV6: &[Vector] = &[
    tcp6(["tcp6", "IPv6", "M1"]),
    tcp6(["tcp6-443", "IPv6, the port of the web", "M1"]),
    tcp6(["tcp6-80", "IPv6, the port of the web", "M1"]),
    tcp6(["tcp6-nat64", "IPv4 behind a translator", "RFC 6052"]),
    tcp6(["tcp6-6to4", "IPv4 in an IPv6 prefix", "RFC 3056"]),
    tcp6(["tcp6-compat", "an IPv4-compatible address", "RFC 4291 2.5.5.1"]),
    tcp6(["tcp6-translate", "an IPv4-translated address", "RFC 2765 2.1"]),
    tcp6(["tcp6-ula", "a private network", "RFC 4193"]),
    udp6(["udp6-443", "QUIC over IPv6", "M1"]),
    udp6(["udp6-53", "DNS over IPv6", "M1"]),
    udp6(["udp6-nat64", "IPv4 behind a translator", "RFC 6052"]),
    udp6(["udp6-connect", "connect, then send", "M1"]).call("connect+send"),
    udp6(["udp6-linklocal", "a neighbour", "RFC 4291 2.5.6"]).control(Control::Works),
    udp6(["udp6-multicast", "multicast DNS", "RFC 6762"]),
    udp6(["udp6-dhcp", "DHCPv6 to all servers", "RFC 8415"]),
];
