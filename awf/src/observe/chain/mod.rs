//! The hash chain over the lines of a record, and its signature.
//!
//! Takes lines, gives them back sealed: each with a last member `chain`, the SHA-256 of the chain's value before it (32 zero
//! bytes before the first line) followed by the line without that member. The value after the last line is what is signed.
//! So a line can neither be changed, moved, added nor taken away without the signing key, but for the end of a record that
//! nobody signed. Must never: look at what a line says, or write the private key anywhere.

pub mod key;

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::digest::hexadecimal;
use super::record::{Event, SCHEMA};
use key::{PublicKey, SigningKey};

/// How the member begins that each line of a chain ends with.
const MEMBER: &[u8] = b",\"chain\":\"";
/// How it ends, together with the line.
const END: &[u8] = b"\"}";
/// Digits of a value.
const DIGITS: usize = 64;

/// The chain's value behind some line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain([u8; 32]);

/// How a line stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It is the line that was written there.
    Holds,
    /// It is another, or stands elsewhere than it was written.
    Broken,
    /// It does not belong to a chain.
    None,
}

/// The last line of a signed record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Signature {
    /// [`super::record::SCHEMA`].
    #[serde(rename = "_schema")]
    pub schema: Cow<'static, str>,
    /// [`Event::Signature`].
    pub event: Event,
    /// Id of the run.
    pub run: Arc<str>,
    /// The chain's last value before this line: hexadecimal.
    pub signed: String,
    /// Ed25519 public key: base64.
    pub key: String,
    /// Ed25519 signature (RFC 8032) of the 32 bytes of `signed`: base64.
    pub signature: String,
}

impl Chain {
    /// The chain before the first line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Seals a line, a JSON object with or without its line feed, and gives it with a line feed.
    pub fn seal(&mut self, mut line: Vec<u8>) -> Vec<u8> {
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        self.advance(&line);
        line.pop();
        line.extend_from_slice(MEMBER);
        line.extend_from_slice(self.text().as_bytes());
        line.extend_from_slice(END);
        line.push(b'\n');
        line
    }

    /// Compares a line, as it stands in the file, with what [`Self::seal`] gave; and goes on as if it were that.
    pub fn follow(&mut self, line: &[u8]) -> Link {
        let ended = line.ends_with(b"\n");
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let Some((body, value)) = split(line) else { return Link::None };
        let mut whole = body.to_vec();
        whole.push(b'}');
        self.advance(&whole);
        if ended && value == self.text().as_bytes() { Link::Holds } else { Link::Broken }
    }

    /// Signs all lines so far.
    pub fn sign(&self, key: &SigningKey, run: Arc<str>) -> Signature {
        Signature {
            schema: SCHEMA.into(),
            event: Event::Signature,
            run,
            signed: self.text(),
            key: STANDARD.encode(key.public().bytes()),
            signature: STANDARD.encode(key.sign(&self.0)),
        }
    }

    /// The value: hexadecimal.
    pub fn text(&self) -> String {
        hexadecimal(&self.0)
    }

    fn advance(&mut self, line: &[u8]) {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.0);
        context.update(line);
        // SHA-256 has 32 bytes.
        self.0 = context.finish().as_ref().try_into().unwrap_or_default();
    }
}

impl Signature {
    /// The key that made it, if it is one of the lines up to this value of the chain.
    pub fn signer(&self, chain: &Chain) -> Option<PublicKey> {
        let key = PublicKey::of(&STANDARD.decode(&self.key).ok()?)?;
        let signature = STANDARD.decode(&self.signature).ok()?;
        (self.signed == chain.text() && key.made(&signature, &chain.0)).then_some(key)
    }
}

/// A line without its last member and closing brace, and that member's value.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, value) = line.strip_suffix(END)?.split_last_chunk::<DIGITS>()?;
    Some((body.strip_suffix(MEMBER)?, value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines as the journal would write them.
    fn sealed(texts: &[String]) -> (Vec<Vec<u8>>, Chain) {
        let mut chain = Chain::new();
        let lines = texts.iter().map(|text| {
            let line = super::super::record::to_line(&serde_json::json!({ "name": text })).unwrap();
            chain.seal(line)
        });
        let lines = lines.collect();
        (lines, chain)
    }

    /// Whether the chain holds, and its value at the end: what a signature is compared with.
    fn followed(file: &[u8]) -> (bool, Chain) {
        let mut chain = Chain::new();
        let mut holds = true;
        for line in file.split_inclusive(|byte| *byte == b'\n') {
            holds &= chain.follow(line) == Link::Holds;
        }
        (holds, chain)
    }

    #[test]
    fn the_value_of_a_line_is_what_sha256sum_says() {
        let mut chain = Chain::new();
        let line = String::from_utf8(chain.seal(b"{\"a\":1}\n".to_vec())).unwrap();
        // (head -c32 /dev/zero; printf '{"a":1}') | sha256sum
        let value = "b06a229070741292512e8760f470dd7a4c46ccfdf253df781d88dabe58c1ccb1";
        assert_eq!(line, format!("{{\"a\":1,\"chain\":\"{value}\"}}\n"));
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }

    #[test]
    fn a_line_without_the_member_is_no_link() {
        for line in ["", "{}\n", "{\"a\":1}\n", "{\"chain\":\"00\"}\n"] {
            assert_eq!(Chain::new().follow(line.as_bytes()), Link::None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn lines_as_they_were_written_hold(texts in prop::collection::vec(any::<String>(), 1..6)) {
            let (lines, chain) = sealed(&texts);
            prop_assert_eq!(followed(&lines.concat()), (true, chain));
        }

        #[test]
        fn a_changed_byte_is_found(
            texts in prop::collection::vec("[a-z]{0,8}", 1..6), at: prop::sample::Index, flip in 1..=255_u8,
        ) {
            let (lines, _chain) = sealed(&texts);
            let mut file = lines.concat();
            let at = at.index(file.len());
            file[at] ^= flip;
            prop_assert!(!followed(&file).0);
        }

        #[test]
        fn a_byte_more_or_less_is_found(
            texts in prop::collection::vec("[a-z]{0,8}", 1..6), at: prop::sample::Index, more: Option<u8>,
        ) {
            let (lines, chain) = sealed(&texts);
            let mut file = lines.concat();
            let at = at.index(file.len());
            match more {
                Some(byte) => file.insert(at, byte),
                None => { file.remove(at); }
            }
            prop_assume!(file != lines.concat());
            prop_assert_ne!(followed(&file), (true, chain));
        }

        #[test]
        fn a_removed_line_is_found(texts in prop::collection::vec("[a-z]{0,8}", 1..6), at: prop::sample::Index) {
            let (mut lines, chain) = sealed(&texts);
            lines.remove(at.index(texts.len()));
            // The last one leaves a chain that holds: its value is another, which is what a signature tells.
            prop_assert_ne!(followed(&lines.concat()), (true, chain));
        }

        #[test]
        fn swapped_lines_are_found(
            texts in prop::collection::vec("[a-z]{0,8}", 2..6), one: prop::sample::Index, other: prop::sample::Index,
        ) {
            let (mut lines, _chain) = sealed(&texts);
            let (one, other) = (one.index(texts.len()), other.index(texts.len()));
            prop_assume!(one != other);
            lines.swap(one, other);
            prop_assert!(!followed(&lines.concat()).0);
        }

        #[test]
        fn an_inserted_line_is_found(
            texts in prop::collection::vec("[a-z]{0,8}", 1..6), from: prop::sample::Index, to: prop::sample::Index,
        ) {
            let (mut lines, _chain) = sealed(&texts);
            let line = lines[from.index(texts.len())].clone();
            lines.insert(to.index(texts.len() + 1), line);
            prop_assert!(!followed(&lines.concat()).0);
        }
    }

    #[test]
    fn a_signature_is_of_these_lines_and_by_this_key() {
        let key = SigningKey::parse(key::SAMPLE).unwrap();
        let (_lines, chain) = sealed(&["a".to_owned()]);
        let signature = chain.sign(&key, "r".into());
        assert_eq!(signature.signer(&chain), Some(key.public()));
        assert_eq!(signature.signer(&Chain::new()), None);
        let of_other_lines = Signature { signed: Chain::new().text(), ..signature.clone() };
        assert_eq!(of_other_lines.signer(&Chain::new()), None);
        let by_nobody = Signature { signature: signature.key.clone(), ..signature };
        assert_eq!(by_nobody.signer(&chain), None);
    }
}
