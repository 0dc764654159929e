//! Where a value comes from.
//!
//! Owns the way from an option to the key of the configuration file that spoke for it. Takes what
//! the file filled in, gives places for complaints and for `awf plan`. Must never hold a value.

use std::collections::BTreeMap;
use std::fmt;

use super::usage::UsageError;

/// A place in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as named, `-` for standard input.
    pub file: String,
    /// The key, such as `network.allowDomains`.
    pub key: String,
    /// Its line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, key, line } = self;
        write!(f, "{key} ({}:{line})", file.escape_debug())
    }
}

/// Which options the configuration file spoke for, by long name with its dashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(pub BTreeMap<&'static str, Place>);

impl Origins {
    /// The same complaint, about the place where the value was written.
    pub fn locate(&self, error: UsageError) -> UsageError {
        let place = error.flag().and_then(|flag| self.0.get(flag)).map(ToString::to_string);
        match place {
            Some(place) => UsageError::At { place, error: Box::new(error) },
            None => error,
        }
    }
}
