//! What chooses a way or a header of its own: socket options, ancillary data; and `io_uring`, which makes the calls itself.

use nix::libc::{EINVAL, ENETUNREACH, EPERM};

use super::build::{call, harmless, message, option};
use super::{Alone, Control, Group, Layer, Needs, Vector};

const NET_RAW: Needs = Needs::Capability("CAP_NET_RAW");
const NET_ADMIN: Needs = Needs::Capability("CAP_NET_ADMIN");

/// An operation of `io_uring`: set-up is refused; without that fence the programs see what it does.
const fn uring(words: [&'static str; 3], operation: &'static str, alone: i32) -> Vector {
    call(Group::Uring, words, operation)
        .control(Control::Arrives)
        .recorded("system-call", "io_uring_setup")
        .alone(Alone::Refuse(alone))
}

/// An option of IPv6, as the table of the kernel's headers numbers it.
const fn option6(words: [&'static str; 3], call: &'static str) -> Vector {
    option(words, call).socket("inet6/dgram/udp")
}

pub(super) const TABLE: &[Vector] = &[
    option(["opt-device", "an interface by name", "kernel: SO_BINDTODEVICE"], "setsockopt(1, 25)"),
    option(
        ["opt-ifindex", "an interface by number", "kernel: SO_BINDTOIFINDEX"],
        "setsockopt(1, 62)",
    )
    .since(5, 1),
    option(["opt-mark", "a mark for routing", "egress filters: exempt mark"], "setsockopt(1, 36)")
        .needs(NET_ADMIN),
    option(
        ["opt-unicast-if", "an interface for unicast", "kernel: IP_UNICAST_IF"],
        "setsockopt(0, 50)",
    ),
    option(
        ["opt-transpar", "an address that is not ours", "kernel: IP_TRANSPARENT"],
        "setsockopt(0, 19)",
    )
    .needs(NET_RAW),
    option(["opt-route", "a source route", "RFC 791 3.1"], "setsockopt(0, 4)"),
    option(["opt-join", "a group: the kernel reports it", "RFC 3376"], "setsockopt(0, 35)"),
    option(["opt-join-src", "a group with a source", "RFC 3376"], "setsockopt(0, 39)"),
    option(["opt-group", "a group, either family", "RFC 3678"], "setsockopt(0, 42)"),
    option6(["opt-join6", "a group of IPv6", "RFC 3810"], "setsockopt(41, 20)"),
    option6(["opt-group6", "a group, either family", "RFC 3678"], "setsockopt(41, 42)"),
    option6(["opt-anycast6", "an anycast address", "RFC 4291 2.6"], "setsockopt(41, 27)")
        .may_lack("the kernel wants a router or a matching prefix"),
    option6(
        ["opt-rthdr", "a route of segments: the hook sees ::1", "RFC 8754"],
        "setsockopt(41, 57)",
    ),
    option6(["opt-hopopts", "options for every hop", "RFC 8200 4.3"], "setsockopt(41, 54)")
        .needs(NET_RAW),
    option6(["opt-dstopts", "options for the destination", "RFC 8200 4.6"], "setsockopt(41, 59)")
        .needs(NET_RAW),
    option6(
        ["opt-unicast-if6", "an interface for unicast", "kernel: IPV6_UNICAST_IF"],
        "setsockopt(41, 76)",
    ),
    option6(
        ["opt-transpar6", "an address that is not ours", "kernel: IPV6_TRANSPARENT"],
        "setsockopt(41, 75)",
    )
    .needs(NET_RAW),
    // Inside there is no other interface to go to, so these stay on loopback.
    message(
        ["msg-pktinfo", "127.0.0.1 by a real interface", "kernel: IP_PKTINFO"],
        "sendmsg(IP_PKTINFO)",
    )
    .answers(&[0])
    .by(Layer::Namespace),
    message(
        ["msg-pktinfo6", "::1 by a real interface", "kernel: IPV6_PKTINFO"],
        "sendmsg(IPV6_PKTINFO)",
    )
    .socket("inet6/dgram/udp")
    .answers(&[0])
    .by(Layer::Namespace),
    message(["msg-route", "a source route", "RFC 791 3.1"], "sendmsg(IP_RETOPTS)")
        .answers(&[EPERM]),
    message(["msg-rthdr", "a route of segments", "RFC 6275 6.4"], "sendmsg(IPV6_RTHDR)")
        .socket("inet6/dgram/udp")
        .may_lack("the kernel may lack mobile IPv6")
        .answers(&[EPERM, EINVAL, ENETUNREACH])
        .alone(Alone::Blind),
    message(["msg-mark", "a mark for one message", "kernel: SO_MARK"], "sendmsg(SO_MARK)")
        .needs(NET_ADMIN)
        .by(Layer::Capability)
        .alone(Alone::Refuse(nix::libc::ECONNREFUSED)),
    uring(
        ["uring-connect", "a connection", "ARMO: Curing"],
        "io_uring(OP_CONNECT)",
        nix::libc::ECONNREFUSED,
    )
    .socket("inet/stream/tcp")
    .control(Control::Works)
    .since(5, 5),
    uring(
        ["uring-sendmsg", "a datagram", "ARMO: Curing"],
        "io_uring(OP_SENDMSG)",
        nix::libc::ECONNREFUSED,
    )
    .socket("inet/dgram/udp")
    .since(5, 3),
    uring(
        ["uring-socket", "a socket past the filter of families", "ARMO: Curing"],
        "io_uring(OP_SOCKET)+sendto",
        nix::libc::ECONNREFUSED,
    )
    .socket("inet/dgram/udp")
    .since(5, 19),
    uring(
        ["uring-send-zc", "a datagram from pages", "kernel: io_uring/net.c"],
        "io_uring(OP_SENDMSG_ZC)",
        nix::libc::ECONNREFUSED,
    )
    .socket("inet/dgram/udp")
    .since(6, 1),
    harmless(["opt-priority", "the order in a queue", "kernel: SO_PRIORITY"], "setsockopt(1, 12)"),
    harmless(["opt-txtime", "when a packet leaves", "kernel: SO_TXTIME"], "setsockopt(1, 61)"),
    harmless(["opt-flowlabel", "a label in the header", "RFC 6437"], "setsockopt(41, 33)"),
    harmless(
        ["landlock", "a fence of the agent's own", "kernel: security/landlock"],
        "landlock_create_ruleset",
    )
    .may_lack("the kernel may run without Landlock")
    .answers(&[0, nix::libc::EOPNOTSUPP, nix::libc::ENOSYS])
    .since(5, 13),
    harmless(
        ["seccomp-self", "a filter of the agent's own", "kernel: kernel/seccomp.c"],
        "seccomp(SET_MODE_FILTER)",
    ),
];
