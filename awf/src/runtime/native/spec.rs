//! What the loader tells `awf init`: one [`AgentSpec`], decided completely before anything starts.
//!
//! Owns the data types only. It travels as JSON in a memfd, because an environment can be larger
//! than any socket message. Must never hold a decision: `init` carries out what is written here.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::plan::mounts::MountOp;

/// The command and the confinement it runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// Program and arguments. A program without a slash is looked up in `PATH` of `env`.
    pub argv: Vec<Text>,
    /// The whole environment; nothing is inherited from the loader.
    pub env: Vec<(Text, Text)>,
    /// What must be there for it; if something is missing, the exit code is 127.
    pub needs: Vec<Need>,
    /// Working directory inside the sandbox. If it cannot be entered, the command starts in `/`.
    pub cwd: PathBuf,
    /// User the command runs as. Never 0.
    pub uid: u32,
    /// Primary group of the command. Never 0.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Host name in the sandbox's UTS namespace.
    pub hostname: String,
    /// Give the command a terminal of this size, from the sandbox's own devpts.
    pub tty: Option<Window>,
    /// Resource limits, lowered to the hard limit of the loader where they exceed it.
    pub rlimits: Vec<Rlimit>,
    /// The root file system, in order.
    pub mounts: Vec<MountOp>,
    /// Existing directory of this run, owned by root and closed to others. The root is staged here.
    pub scratch: PathBuf,
    /// Show files of the host's root as the agent's in shared and writable mounts, and store the
    /// agent's as root's. For an `awf` called by the real root, whose files the agent could not
    /// touch otherwise.
    pub map_root: bool,
}

/// A program without which the command makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Its name.
    pub program: String,
    /// Directories in which it may be besides those of `PATH`.
    pub places: Vec<PathBuf>,
    /// What the user is told if it is missing.
    pub why: String,
}

/// Size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// One limit for setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// What is limited.
    pub resource: Resource,
    /// The limit in force, in the unit of setrlimit(2).
    pub soft: u64,
    /// What the command may raise it to.
    pub hard: u64,
}

/// Limits that make sense for a whole command; named as in setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Address space of one process, in bytes.
    AddressSpace,
    /// Core file, in bytes.
    Core,
    /// Data segment of one process, in bytes.
    Data,
    /// Number of open files of one process.
    OpenFiles,
    /// Number of processes of the agent's uid, those on the host included.
    Processes,
}

/// Bytes that are nearly always UTF-8: an argument or a piece of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct Text(pub OsString);

/// JSON has no byte strings; anything that is not UTF-8 becomes an array of numbers.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire {
    Utf8(String),
    Bytes(Vec<u8>),
}

impl From<Text> for Wire {
    fn from(text: Text) -> Self {
        match text.0.into_string() {
            Ok(utf8) => Self::Utf8(utf8),
            Err(other) => Self::Bytes(other.into_vec()),
        }
    }
}

impl From<Wire> for Text {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::Utf8(utf8) => Self(utf8.into()),
            Wire::Bytes(bytes) => Self(OsString::from_vec(bytes)),
        }
    }
}

impl<T: Into<OsString>> From<T> for Text {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_survive_the_wire_even_when_they_are_not_utf8() {
        for bytes in [&b"plain"[..], b"", b"caf\xc3\xa9", b"\xff\xfe", b"a\nb\"c"] {
            let text = Text(OsString::from_vec(bytes.to_vec()));
            let json = serde_json::to_string(&text).unwrap();
            assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text, "{json}");
        }
    }
}
