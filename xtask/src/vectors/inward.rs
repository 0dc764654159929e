//! What comes from outside first, awf's own doors, and what the host has.
//!
//! The rows that need somebody outside are tried with an accomplice there (`probe outside`, `probe knock`).

use nix::libc::{EACCES, ECONNREFUSED, ENOENT, EPERM, ETIMEDOUT};

use super::build::{door, elsewhere, hidden, port};
use super::{Alone, Control, Group, Layer, Vector};

const NO_DAEMON: &str = "the daemon may not run here; unix-run stands for its socket";

/// A socket of the host's, by path: the agent's root has its own inode there, or nothing.
const fn path(words: [&'static str; 3]) -> Vector {
    hidden(Group::Host, words, "connect").socket("unix/stream/0").answers(&[
        ENOENT,
        ECONNREFUSED,
        EACCES,
    ])
}

pub(super) const TABLE: &[Vector] = &[
    elsewhere(
        Group::Inbound,
        ["tcp-inbound", "the answer to a visitor", "harden-runner: ESTABLISHED accepted"],
        "listen+accept+send",
        &[ETIMEDOUT],
    )
    .socket("inet/stream/tcp")
    .control(Control::Arrives)
    .alone(Alone::Drop),
    elsewhere(
        Group::Inbound,
        ["udp-inbound", "the answer to a datagram", "CargoWall: reverse flows"],
        "bind+recvfrom+sendto",
        &[ETIMEDOUT],
    )
    .socket("inet/dgram/udp")
    .control(Control::Arrives)
    .alone(Alone::Drop),
    door(["door-clear", "the transparent door", "awf"], "connect", "tcp"),
    door(["door-proxy", "the proxy's door", "awf"], "connect", "tcp"),
    door(["door-443", "a port behind the doors", "awf"], "connect", "tcp"),
    door(["door-mapped", "the door as an IPv6 address", "RFC 4291 2.5.5.2"], "connect", "tcp"),
    door(
        ["door-fastopen", "data for the door with the SYN", "RFC 7413"],
        "sendto(MSG_FASTOPEN)",
        "tcp",
    ),
    door(["door-udp", "a datagram for the door", "awf"], "sendto", "udp").control(Control::Works),
    door(["bind-door", "a listener at the door's address", "awf"], "bind", "tcp")
        .control(Control::Works),
    door(["bind-door-udp", "the same for datagrams", "awf"], "bind", "udp").control(Control::Works),
    door(["bind-mapped", "the same as an IPv6 address", "RFC 4291 2.5.5.2"], "bind", "tcp")
        .control(Control::Works),
    door(
        ["bind-reuseport", "a share of the door's port", "kernel: SO_REUSEPORT"],
        "setsockopt(SO_ATTACH_REUSEPORT_CBPF)+bind",
        "tcp",
    )
    .control(Control::Works),
    elsewhere(
        Group::Doors,
        ["bind-53", "a resolver in front of the door", "kernel: ip_unprivileged_port_start"],
        "setsockopt(SO_REUSEPORT)+bind",
        &[EACCES],
    )
    .by(Layer::Capability),
    port(["host-own", "a service of the host, by its address", "gh-aw: host services"])
        .of(Group::Host)
        .alone(Alone::Refuse(ECONNREFUSED)),
    elsewhere(
        Group::Host,
        ["host-loopback", "a service of the host, by loopback", "LibreCodeInterpreter #95"],
        "connect",
        &[ECONNREFUSED],
    )
    .socket("inet/stream/tcp"),
    elsewhere(
        Group::Host,
        ["host-any", "a service of the host, by 0.0.0.0", "0.0.0.0 day"],
        "connect",
        &[ECONNREFUSED],
    )
    .socket("inet/stream/tcp"),
    elsewhere(
        Group::Host,
        ["host-loop6", "a service of the host, by ::1", "M1"],
        "connect",
        &[ECONNREFUSED],
    )
    .socket("inet6/stream/tcp"),
    elsewhere(
        Group::Host,
        ["unix-abstract", "a descriptor from a name without a file", "CVE-2020-15257"],
        "connect+recvmsg(SCM_RIGHTS)+send",
        &[ECONNREFUSED],
    )
    .socket("unix/stream/0")
    .control(Control::Arrives),
    path(["unix-tmp", "a descriptor from a socket in /tmp", "kernel: SCM_RIGHTS"])
        .call("connect+recvmsg(SCM_RIGHTS)+send")
        .control(Control::Arrives),
    path(["unix-run", "a descriptor from a socket in /run", "kernel: SCM_RIGHTS"])
        .call("connect+recvmsg(SCM_RIGHTS)+send")
        .control(Control::Arrives),
    path(["unix-docker", "Docker", "M3"]).may_lack(NO_DAEMON),
    path(["unix-containerd", "containerd", "M3"]).may_lack(NO_DAEMON),
    path(["unix-podman", "Podman", "M3"]).may_lack(NO_DAEMON),
    path(["unix-systemd", "systemd: units outside", "cplt #241"]).may_lack(NO_DAEMON),
    path(["unix-dbus", "the system bus", "cplt #241"]).may_lack(NO_DAEMON),
    path(["unix-resolved", "names by varlink", "nono #527"]).may_lack(NO_DAEMON),
    path(["unix-nscd", "names by nscd", "nono #527"]).may_lack(NO_DAEMON),
    elsewhere(
        Group::Host,
        ["pidfd-outside", "a socket out of a process of the host", "kernel: pidfd_getfd"],
        "pidfd_open+pidfd_getfd+send",
        &[nix::libc::ESRCH, EPERM],
    )
    .control(Control::Arrives)
    .since(5, 6)
    .by(Layer::Namespace),
];
