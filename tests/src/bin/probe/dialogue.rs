//! A conversation with a server, as data: the tests write it, the probe holds it.

use serde::{Deserialize, Serialize};

/// What to say to whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dialogue {
    /// Becomes the task's name (at most 15 bytes), by which its record is found.
    pub name: String,
    /// `host:port`; the host is resolved as any client would.
    pub to: String,
    /// Whether it is a datagram.
    pub udp: bool,
    /// In order; none if it is enough to connect.
    pub steps: Vec<Step>,
}

/// One step of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// Send these bytes in one segment.
    Say(Vec<u8>),
    /// Read until these bytes were there.
    Hear(Vec<u8>),
    /// Wait some milliseconds.
    Pause(u64),
}

/// How a conversation ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Name of the dialogue.
    pub name: String,
    /// 0, or the errno of the first call that failed; -2 if the name was not resolved.
    pub errno: i32,
    /// Everything the server said.
    pub heard: Vec<u8>,
    /// Whether the server closed.
    pub closed: bool,
    /// Microseconds from the first call to the end.
    pub micros: u64,
}
