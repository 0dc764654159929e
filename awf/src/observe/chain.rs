//! The hash chain over the lines of a record, and its signature.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::Event;

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
