//! How rows are written: a constructor for each way of being refused, and what a row changes of it.

use nix::libc::{
    EACCES, EAFNOSUPPORT, ECONNREFUSED, ENETUNREACH, ENODATA, ENOENT, EPERM, EPROTONOSUPPORT,
    EROFS, ESOCKTNOSUPPORT,
};

use super::{Alone, Control, Group, Layer, Lives, Needs, Recorded, Vector};

/// What exists only inside cannot be reached outside.
const DOORS: Control =
    Control::Untried("the doors exist only inside; door-udp and bind-door stand for them");

/// A name, what it is, and where the idea is from.
type Words = [&'static str; 3];

const fn row(group: Group, words: Words) -> Vector {
    let [name, what, reference] = words;
    Vector {
        name,
        what,
        reference,
        group,
        socket: "",
        call: "",
        needs: Needs::Nothing,
        control: Control::Works,
        lives: Lives { since: (0, 0), gone: (u32::MAX, 0) },
        errnos: &[EPERM],
        record: None,
        layer: Layer::Programs,
        alone: Alone::Blind,
    }
}

/// TCP to a port that no policy opens.
pub(super) const fn port(words: Words) -> Vector {
    row(Group::Tcp, words)
        .socket("inet/stream/tcp")
        .call("socket+connect")
        .answers(&[ECONNREFUSED])
        .recorded("port", "tcp")
        .alone(Alone::Refuse(ECONNREFUSED))
}

/// A datagram to anybody but a resolver.
pub(super) const fn udp(words: Words) -> Vector {
    row(Group::Udp, words)
        .socket("inet/dgram/udp")
        .call("sendto")
        .control(Control::Arrives)
        .answers(&[ECONNREFUSED])
        .recorded("udp", "udp")
        .alone(Alone::Refuse(ECONNREFUSED))
}

/// TCP over IPv6.
pub(super) const fn tcp6(words: Words) -> Vector {
    row(Group::Ipv6, words)
        .socket("inet6/stream/tcp")
        .call("socket+connect")
        .answers(&[ENETUNREACH])
        .recorded("ipv6", "tcp")
        .alone(Alone::Refuse(ENETUNREACH))
}

/// A datagram over IPv6.
pub(super) const fn udp6(words: Words) -> Vector {
    tcp6(words)
        .socket("inet6/dgram/udp")
        .call("sendto")
        .control(Control::Arrives)
        .recorded("ipv6", "udp")
}

/// A socket of INET or INET6 that is neither TCP nor UDP.
pub(super) const fn kind(
    group: Group,
    words: Words,
    socket: &'static str,
    protocol: &'static str,
) -> Vector {
    row(group, words)
        .socket(socket)
        .call("socket")
        .answers(&[EPROTONOSUPPORT, ESOCKTNOSUPPORT])
        .recorded("socket-type", protocol)
        .alone(Alone::Refuse(EPROTONOSUPPORT))
}

/// A raw socket, whose attempt the filter of system calls tells of; without it the programs refuse.
pub(super) const fn raw(words: Words, socket: &'static str, protocol: &'static str) -> Vector {
    kind(Group::Raw, words, socket, protocol)
        .call("socket+sendto")
        .needs(Needs::Capability("CAP_NET_RAW"))
        .control(Control::Arrives)
        .answers(&[EPERM])
        .by(Layer::Seccomp)
}

/// A family that no program sees.
pub(super) const fn family(words: Words, socket: &'static str, protocol: &'static str) -> Vector {
    row(Group::Families, words)
        .socket(socket)
        .call("socket")
        .control(Control::MayLack("the kernel may lack the family or its module"))
        .answers(&[EAFNOSUPPORT])
        .recorded("socket-type", protocol)
        .by(Layer::Seccomp)
}

/// A socket option that chooses the way.
pub(super) const fn option(words: Words, call: &'static str) -> Vector {
    row(Group::Options, words)
        .socket("inet/dgram/udp")
        .call(call)
        .recorded("socket-option", call)
        .alone(Alone::Refuse(EPERM))
}

/// Ancillary data.
pub(super) const fn message(words: Words, call: &'static str) -> Vector {
    row(Group::Messages, words)
        .socket("inet/dgram/udp")
        .call(call)
        .control(Control::Arrives)
        .alone(Alone::Drop)
}

/// A door, named directly.
pub(super) const fn door(words: Words, call: &'static str, protocol: &'static str) -> Vector {
    row(Group::Doors, words)
        .call(call)
        .control(DOORS)
        .recorded("door", protocol)
        .alone(Alone::Refuse(EPERM))
}

/// A right that the filter of system calls refuses; no socket and no destination is involved, so it is not on record.
pub(super) const fn call(group: Group, words: Words, call: &'static str) -> Vector {
    row(group, words).call(call).by(Layer::Seccomp)
}

/// A right that only a capability gives.
pub(super) const fn right(
    group: Group,
    words: Words,
    call: &'static str,
    needs: &'static str,
) -> Vector {
    row(group, words).call(call).needs(Needs::Capability(needs)).by(Layer::Capability)
}

/// A file that is not there, or not for the agent.
pub(super) const fn hidden(group: Group, words: Words, call: &'static str) -> Vector {
    row(group, words)
        .call(call)
        .needs(Needs::Root)
        .answers(&[ENOENT, EACCES, EROFS, EPERM, ENODATA])
        .by(Layer::Mount)
}

/// Something of the host's that the agent's namespaces do not have.
pub(super) const fn elsewhere(
    group: Group,
    words: Words,
    call: &'static str,
    errnos: &'static [i32],
) -> Vector {
    row(group, words).call(call).answers(errnos).by(Layer::Namespace)
}

/// Allowed inside, because what it changes stays inside.
pub(super) const fn harmless(words: Words, call: &'static str) -> Vector {
    row(Group::Harmless, words).call(call).answers(&[0]).by(Layer::Namespace)
}

impl Vector {
    pub(super) const fn of(mut self, group: Group) -> Self {
        self.group = group;
        self
    }

    pub(super) const fn socket(mut self, socket: &'static str) -> Self {
        self.socket = socket;
        self
    }

    pub(super) const fn call(mut self, call: &'static str) -> Self {
        self.call = call;
        self
    }

    pub(super) const fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    pub(super) const fn control(mut self, control: Control) -> Self {
        self.control = control;
        self
    }

    pub(super) const fn may_lack(self, why: &'static str) -> Self {
        self.control(Control::MayLack(why))
    }

    pub(super) const fn untried(self, why: &'static str) -> Self {
        self.control(Control::Untried(why))
    }

    pub(super) const fn since(mut self, major: u32, minor: u32) -> Self {
        self.lives.since = (major, minor);
        self
    }

    pub(super) const fn gone(mut self, major: u32, minor: u32) -> Self {
        self.lives.gone = (major, minor);
        self
    }

    pub(super) const fn answers(mut self, errnos: &'static [i32]) -> Self {
        self.errnos = errnos;
        self
    }

    pub(super) const fn recorded(mut self, rule: &'static str, protocol: &'static str) -> Self {
        self.record = Some(Recorded { rule, protocol });
        self
    }

    pub(super) const fn unrecorded(mut self) -> Self {
        self.record = None;
        self
    }

    pub(super) const fn by(mut self, layer: Layer) -> Self {
        self.layer = layer;
        self
    }

    pub(super) const fn alone(mut self, alone: Alone) -> Self {
        self.alone = alone;
        self
    }
}
