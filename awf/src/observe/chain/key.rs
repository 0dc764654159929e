//! Keys of a record's signature: Ed25519 (RFC 8032), as openssl writes them.
//!
//! Owns their notation (PEM: PKCS#8 for the private one, with or without the public one in it; `SubjectPublicKeyInfo` for
//! the public one) and the check that a private one is private. Must never show a private key, nor keep its file in memory.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::fcntl::OFlag;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use thiserror::Error;
use zeroize::Zeroizing;

/// No file with one key is longer.
const LONGEST: u64 = 16 << 10;
/// What an Ed25519 `SubjectPublicKeyInfo` begins with (RFC 8410 section 4, in DER); the 32 bytes of the key follow.
const PUBLIC: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// Why a file gives no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// A directory, a pipe, a device.
    #[error("it is not a regular file")]
    NoFile,
    /// Others could sign, too.
    #[error("others can read it (mode {mode:04o}); take that from them with chmod 600")]
    Shared {
        /// Its permissions.
        mode: u32,
    },
    /// Something else is in it.
    #[error("there is no Ed25519 private key in it (PEM, PKCS#8, not encrypted)")]
    NotPrivate,
    /// Something else is in it.
    #[error("there is no Ed25519 public key in it (PEM)")]
    NotPublic,
}

/// Signs records.
#[derive(Clone)]
pub struct SigningKey(Arc<Ed25519KeyPair>);

/// Tells who signed a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl SigningKey {
    /// Reads a file that nobody else can read; root's files are root's business.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let file = open(path)?;
        let facts = file.metadata()?;
        let mode = facts.mode() & 0o7777;
        if facts.uid() != 0 && mode & 0o077 != 0 {
            return Err(KeyError::Shared { mode });
        }
        Self::parse(&text(&file)?)
    }

    /// Reads the text of such a file.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text).ok().ok_or(KeyError::NotPrivate)?;
        // OpenSSL leaves the public key out (version 1), so there is nothing to compare the private one with.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        Ok(Self(Arc::new(pair.ok().ok_or(KeyError::NotPrivate)?)))
    }

    /// The key by which others know it.
    pub fn public(&self) -> PublicKey {
        // An Ed25519 key has 32 bytes.
        PublicKey(self.0.public_key().as_ref().try_into().unwrap_or_default())
    }

    /// Signs.
    pub(super) fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.0.sign(text).as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey of {}", self.public())
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.public() == other.public()
    }
}

impl Eq for SigningKey {}

impl PublicKey {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = text(&open(path)?)?;
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&text).ok();
        let key = der.as_ref().and_then(|der| der.strip_prefix(&PUBLIC)).and_then(Self::of);
        key.ok_or(KeyError::NotPublic)
    }

    /// The key of these bytes, if they have the right number.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether it made a signature of this text.
    pub fn made(&self, signature: &[u8], text: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(text, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

/// Opens a regular file, and does not wait for the other end of a pipe.
fn open(path: &Path) -> Result<File, KeyError> {
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(KeyError::NoFile) }
}

/// All of it, if it is as short as a key, else its beginning, in which there is none.
fn text(file: &File) -> io::Result<Zeroizing<Vec<u8>>> {
    // Of this size from the beginning: a growing vector would leave copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(LONGEST).unwrap_or_default()));
    file.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

/// What `openssl genpkey -algorithm ed25519` wrote once, for tests.
#[cfg(test)]
pub(crate) const SAMPLE: &[u8] = b"-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIIx6FLshemXmVySS0Uvt7ZDc5R5wKpEe0AO/BJsAa3cU
-----END PRIVATE KEY-----
";

/// Its public key, as `openssl pkey -pubout` wrote it.
#[cfg(test)]
pub(crate) const SAMPLE_PUBLIC: &[u8] = b"-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAvqo+HpauruZk8A7D5cT26swnuMDWw6NZP10d8uR/GaU=
-----END PUBLIC KEY-----
";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    /// A file of this test's own.
    fn file(name: &str, text: &[u8], mode: u32) -> PathBuf {
        let path = std::env::temp_dir().join(format!("awf-key-{name}-{}", std::process::id()));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn keys_are_read_as_openssl_writes_them() {
        let path = file("public", SAMPLE_PUBLIC, 0o644);
        let public = PublicKey::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let private = SigningKey::parse(SAMPLE).unwrap();
        assert_eq!(private.public(), public);
        assert_eq!(public.to_string(), "vqo+HpauruZk8A7D5cT26swnuMDWw6NZP10d8uR/GaU=");
        assert!(public.made(&private.sign(b"x"), b"x"));
        assert!(!public.made(&private.sign(b"x"), b"y"));
        assert_eq!(format!("{private:?}"), format!("SigningKey of {public}"));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_unless_it_is_roots() {
        let path = file("shared", SAMPLE, 0o640);
        let read = SigningKey::read(&path);
        if nix::unistd::geteuid().is_root() {
            read.unwrap();
            std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        }
        let error = SigningKey::read(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0640"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        SigningKey::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn anything_else_is_no_key() {
        for text in [b"".as_slice(), b"\xff\0", SAMPLE_PUBLIC, &SAMPLE[..80]] {
            assert!(matches!(SigningKey::parse(text), Err(KeyError::NotPrivate)), "{text:?}");
        }
        let private = file("other", SAMPLE, 0o600);
        assert!(matches!(PublicKey::read(&private), Err(KeyError::NotPublic)));
        fs::remove_file(&private).unwrap();
        for path in ["/", "/dev/null"] {
            assert!(matches!(SigningKey::read(Path::new(path)), Err(KeyError::NoFile)), "{path}");
        }
        assert!(matches!(SigningKey::read(Path::new("/none")), Err(KeyError::Unreadable(_))));
    }
}
