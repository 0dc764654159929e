//! What can be wrong with a command line.
//!
//! Owns the sentences. Each names the option, the value and what to do. Control characters in
//! values are shown escaped, so that a message cannot rewrite the terminal it is printed on.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A command line that cannot be obeyed. Ends the run with [`crate::exit::Exit::Usage`].
#[derive(Debug, Error)]
pub enum UsageError {
    /// An option that awf does not know.
    #[error("unknown option '{}'; {remedy}", option.escape_debug())]
    UnknownOption {
        /// As typed.
        option: String,
        /// What to type instead.
        remedy: String,
    },
    /// A command line that the parser cannot read, in the parser's own words.
    #[error("{sentence}")]
    Syntax {
        /// The parser's words.
        sentence: String,
    },
    /// Nothing to run.
    #[error(
        "no command given\n  example: awf --allow-domains example.com -- curl https://example.com"
    )]
    NoCommand,
    /// A subcommand behind options, which would otherwise be run as a program.
    #[error(
        "'{verb}' must come first: awf {verb} [options] -- command; \
         to run a program of that name put -- before it"
    )]
    VerbAfterOptions {
        /// The subcommand.
        verb: String,
    },
    /// A value that an option cannot take.
    #[error("{flag} '{}': {problem}; {remedy}", value.escape_debug())]
    Value {
        /// The option's long name.
        flag: &'static str,
        /// As typed.
        value: String,
        /// What is wrong with it.
        problem: String,
        /// What to type instead.
        remedy: String,
    },
    /// An option of the original that awf does not obey.
    #[error("{option}: refused, because {reason}")]
    Refused {
        /// As typed.
        option: String,
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// What is wrong was written in the configuration file.
    #[error("{place}: {error}")]
    At {
        /// File, key and line.
        place: String,
        /// What is wrong.
        error: Box<Self>,
    },
    /// The configuration file, all that is wrong with it.
    #[error("Error loading --config: {}", .0.join("\n  "))]
    Config(Vec<String>),
    /// Rulesets, all that is wrong with them.
    #[error("--ruleset-file: {}", .0.join("\n  "))]
    Rulesets(Vec<String>),
    /// A file that an option names cannot be read.
    #[error("{flag} '{}': {source}; name a readable text file", path.to_string_lossy().escape_debug())]
    File {
        /// The option's long name.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl UsageError {
    /// The option it is about, by long name with its dashes.
    pub(super) fn flag(&self) -> Option<&str> {
        match self {
            Self::Value { flag, .. } | Self::File { flag, .. } => Some(flag),
            Self::Refused { option, .. } => option.split(' ').next(),
            _ => None,
        }
    }

    /// A value that an option cannot take.
    pub(crate) fn value(
        flag: &'static str,
        value: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        // One sentence: only clap's own are of several lines.
        let problem = presentable(&problem.into()).replace('\n', "\u{fffd}");
        let remedy = remedy.into();
        Self::Value { flag, value: value.to_owned(), problem, remedy }
    }

    /// A file that an option names cannot be read.
    pub(super) fn file(flag: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { flag, path: path.to_owned(), source }
    }
}

/// A sentence that quotes what was typed, without its control characters.
pub(super) fn presentable(sentence: &str) -> String {
    sentence.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}
