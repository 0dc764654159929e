//! Sockets below and beside TCP and UDP: ping, other IP protocols, raw and packet sockets, netlink.

use super::build::{call, kind, raw, right};
use super::{Alone, Control, Group, Vector};

const MODULE: &str = "the kernel may lack the protocol or its module";

const fn ping(words: [&'static str; 3], socket: &'static str, protocol: &'static str) -> Vector {
    kind(Group::Ping, words, socket, protocol).call("socket+sendto").control(Control::Arrives)
}

const fn protocol(words: [&'static str; 3], socket: &'static str, name: &'static str) -> Vector {
    kind(Group::Protocols, words, socket, name).may_lack(MODULE)
}

const fn netlink(words: [&'static str; 3], protocol: &'static str) -> Vector {
    call(Group::Netlink, words, "socket").socket(protocol).recorded("socket-type", protocol)
}

const fn admin(words: [&'static str; 3], call: &'static str) -> Vector {
    right(Group::Netlink, words, call, "CAP_NET_ADMIN")
}

pub(super) const TABLE: &[Vector] = &[
    ping(["ping", "an echo request", "CVE-2015-3636"], "inet/dgram/icmp", "inet/ping"),
    ping(
        ["ping-connect", "a connected one", "kernel: net/ipv4/ping.c"],
        "inet/dgram/icmp",
        "inet/ping",
    )
    .call("socket+connect+send"),
    ping(["ping6", "an echo request over IPv6", "M1"], "inet6/dgram/icmpv6", "inet6/ping"),
    ping(
        ["ping6-connect", "a connected one", "kernel: net/ipv6/ping.c"],
        "inet6/dgram/icmpv6",
        "inet6/ping",
    )
    .call("socket+connect+send"),
    protocol(
        ["mptcp", "several TCP connections as one", "RFC 8684"],
        "inet/stream/262",
        "inet/1/262",
    )
    .call("socket+connect")
    .since(5, 6),
    protocol(["mptcp6", "the same over IPv6", "RFC 8684"], "inet6/stream/262", "inet6/1/262")
        .call("socket+connect")
        .since(5, 6),
    protocol(
        ["sctp", "a stream that connect hooks miss", "RFC 9260"],
        "inet/stream/132",
        "inet/1/132",
    ),
    protocol(
        ["sctp-many", "one socket, many peers", "RFC 9260"],
        "inet/seqpacket/132",
        "inet/5/132",
    ),
    protocol(["sctp6", "the same over IPv6", "RFC 9260"], "inet6/stream/132", "inet6/1/132"),
    protocol(
        ["dccp", "datagrams with congestion control", "RFC 4340"],
        "inet/dccp/33",
        "inet/6/33",
    )
    .gone(6, 16),
    protocol(
        ["smc", "shared memory that falls back to TCP", "RFC 7609"],
        "inet/stream/256",
        "inet/1/256",
    )
    .since(6, 11),
    protocol(["l2tp", "a tunnel over IP", "RFC 3931"], "inet/dgram/115", "inet/2/115"),
    protocol(["l2tp6", "the same over IPv6", "RFC 3931"], "inet6/dgram/115", "inet6/2/115"),
    protocol(
        ["udplite", "UDP with a partial checksum", "RFC 3828"],
        "inet/dgram/136",
        "inet/2/136",
    )
    .call("socket+connect+send")
    .gone(7, 3),
    protocol(["udplite6", "the same over IPv6", "RFC 3828"], "inet6/dgram/136", "inet6/2/136")
        .call("socket+connect+send")
        .gone(7, 3),
    raw(["raw-icmp", "an echo request", "RFC 792"], "inet/raw/1", "inet/raw/1"),
    raw(["raw-igmp", "a membership report", "RFC 3376"], "inet/raw/2", "inet/raw/2"),
    raw(["raw-ipip", "IP in IP", "RFC 2003"], "inet/raw/4", "inet/raw/4"),
    raw(["raw-udp", "UDP with a header of our own", "RFC 768"], "inet/raw/17", "inet/raw/17"),
    raw(["raw-gre", "GRE", "RFC 2784"], "inet/raw/47", "inet/raw/47"),
    raw(["raw-esp", "ESP", "RFC 4303"], "inet/raw/50", "inet/raw/50"),
    raw(["raw-other", "an experimental protocol", "RFC 3692"], "inet/raw/253", "inet/raw/253"),
    raw(
        ["raw-header", "another address in the header", "kernel: IP_HDRINCL"],
        "inet/raw/255",
        "inet/raw/255",
    ),
    raw(["raw6-icmp", "an echo request over IPv6", "RFC 4443"], "inet6/raw/58", "inet6/raw/58"),
    raw(
        ["raw6-header", "another address in the header", "kernel: rawv6_send_hdrinc"],
        "inet6/raw/255",
        "inet6/raw/255",
    ),
    raw(
        ["packet", "frames, past the whole IP stack", "kernel: net/packet"],
        "packet/raw/0",
        "packet/raw/0",
    )
    .alone(Alone::Blind)
    .answers(&[nix::libc::EAFNOSUPPORT]),
    raw(
        ["packet-dgram", "the same with a header by the kernel", "kernel: net/packet"],
        "packet/dgram/0",
        "packet/2/0",
    )
    .alone(Alone::Blind)
    .answers(&[nix::libc::EAFNOSUPPORT]),
    netlink(["nl-xfrm", "IPsec policies", "kernel: net/xfrm"], "netlink/raw/6").may_lack(MODULE),
    netlink(["nl-netfilter", "packet filters", "CVE-2022-1015"], "netlink/raw/12").may_lack(MODULE),
    netlink(
        ["nl-diag", "sockets: list and destroy", "kernel: net/core/sock_diag.c"],
        "netlink/raw/4",
    ),
    netlink(["nl-audit", "the audit log", "kernel: kernel/audit.c"], "netlink/raw/9")
        .may_lack(MODULE),
    netlink(["nl-uevent", "events of devices", "CVE-2009-1185"], "netlink/raw/15"),
    netlink(
        ["nl-generic", "families made by modules", "kernel: net/netlink/genetlink.c"],
        "netlink/raw/16",
    ),
    netlink(
        ["nl-crypto", "the kernel's ciphers", "kernel: crypto/crypto_user.c"],
        "netlink/raw/21",
    )
    .may_lack(MODULE),
    admin(["nl-route", "a route", "egress filters: route changes"], "socket+send(RTM_NEWROUTE)"),
    admin(["nl-link", "an interface", "gh-aw: tunnel devices"], "socket+send(RTM_NEWLINK)"),
    admin(["nl-address", "an address", "kernel: net/ipv4/devinet.c"], "socket+send(RTM_NEWADDR)"),
    admin(
        ["nl-rule", "a routing rule", "kernel: net/core/fib_rules.c"],
        "socket+send(RTM_NEWRULE)",
    ),
    admin(
        ["ioctl-route", "a route, the old way", "kernel: net/ipv4/fib_frontend.c"],
        "ioctl(SIOCADDRT)",
    ),
    admin(
        ["ioctl-address", "an address, the old way", "kernel: net/ipv4/devinet.c"],
        "ioctl(SIOCSIFADDR)",
    ),
    admin(
        ["ioctl-flags", "an interface up or down", "kernel: net/core/dev_ioctl.c"],
        "ioctl(SIOCSIFFLAGS)",
    ),
    call(
        Group::Families,
        ["socketpair", "a pair of another family", "kernel: net/tipc"],
        "socketpair",
    )
    .socket("tipc/seqpacket/0")
    .answers(&[nix::libc::EAFNOSUPPORT])
    .recorded("socket-type", "tipc/5/0")
    .may_lack("the kernel may lack TIPC or its module"),
];
