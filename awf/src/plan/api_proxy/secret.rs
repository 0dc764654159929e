//! A credential that nobody can print.
//!
//! Owns the text, wipes it when it is dropped, and shows it to one caller only: who writes it into a request.

use std::fmt;

use zeroize::Zeroizing;

/// A credential. It has no text form, and its `Debug` form says only that there is one.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a value of the environment; `None` if it cannot stand in a header field (RFC 9110, 5.5): it would end the
    /// field, or be sent otherwise than it was meant.
    pub(super) fn of(text: &str) -> Option<Self> {
        let printable = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
        printable.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The text, for the request that it belongs to.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_stand_in_a_header_field_is_no_secret() {
        for text in ["", "a b", "a\r\nX: y", "a\n", "\u{e9}", "a\0", "\u{7f}", "\t"] {
            assert!(Secret::of(text).is_none(), "{text:?}");
        }
        assert_eq!(Secret::of("sk-proj_A.b/c+d==").unwrap().expose(), "sk-proj_A.b/c+d==");
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::of("sk-real").unwrap();
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "<secret> Some(<secret>)");
    }
}
