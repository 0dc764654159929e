//! The authority of a run: made when it begins, believed by nobody but its command.
//!
//! Owns its key, which is in this process's memory only and ends with it; there is no way to get it out of here. Gives
//! what TLS with the command needs for one name. Must never: write a key, or vouch for a name that the relay has not
//! judged.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The original's name of it.
const NAME: &str = "AWF Session CA";
/// The original's.
const LIFE: Duration = Duration::from_hours(24);
/// The sandbox has this machine's clock, but some clients round.
const BEFORE: Duration = Duration::from_hours(1);
/// Names that are remembered. A command can ask for any number below an allowed one.
const REMEMBERED: usize = 512;
/// The longest common name (RFC 5280, appendix A).
const MAX_COMMON_NAME: usize = 64;

/// Name and protocol: with another protocol, TLS is set up otherwise.
type Asked = (Arc<str>, Option<Vec<u8>>);

/// The authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    /// One key for all names: whoever had it would need the agent's connections, too.
    leaf_key: KeyPair,
    ready: Mutex<HashMap<Asked, Arc<ServerConfig>>>,
}

impl Authority {
    /// Draws the keys.
    pub(super) fn make() -> Result<Self> {
        let key = key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        limit(&mut params)?;
        let certificate = params.self_signed(&key).context("make the run's certificate")?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
            leaf_key: self::key()?,
            ready: Mutex::default(),
        })
    }

    /// Its certificate, which is no secret.
    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// How TLS is spoken with the command as this server.
    pub(super) fn server(
        &self,
        name: &Arc<str>,
        protocol: Option<Vec<u8>>,
    ) -> Result<Arc<ServerConfig>> {
        let asked = (Arc::clone(name), protocol);
        let mut ready = self.ready.lock().map_err(|_panic| anyhow!("a certificate failed"))?;
        if let Some(config) = ready.get(&asked) {
            return Ok(Arc::clone(config));
        }
        if ready.len() >= REMEMBERED {
            ready.clear();
        }
        let config = Arc::new(self.configure(name, asked.1.clone())?);
        ready.insert(asked, Arc::clone(&config));
        drop(ready);
        Ok(config)
    }

    fn configure(&self, name: &str, protocol: Option<Vec<u8>>) -> Result<ServerConfig> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        let common = if name.len() <= MAX_COMMON_NAME { name } else { "awf" };
        params.distinguished_name = named(common);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        limit(&mut params)?;
        let leaf = params.signed_by(&self.leaf_key, &self.issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth();
        let mut config = builder.with_single_cert(vec![leaf.der().clone()], key)?;
        config.alpn_protocols = protocol.into_iter().collect();
        Ok(config)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn key() -> Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("draw a key")
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// A serial number of its own, and the time for which it is valid.
fn limit(params: &mut CertificateParams) -> Result<()> {
    let mut serial = [0; 16];
    let luck = ring::default_provider().secure_random;
    luck.fill(&mut serial).map_err(|_error| anyhow!("no random numbers"))?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BEFORE);
    params.not_after = epoch + now.saturating_add(LIFE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_vouched_for_once_and_by_an_authority_that_vouches_for_servers_only() {
        let authority = Authority::make().unwrap();
        let name: Arc<str> = Arc::from("api.example.com");
        let first = authority.server(&name, Some(b"h2".to_vec())).unwrap();
        assert!(Arc::ptr_eq(&first, &authority.server(&name, Some(b"h2".to_vec())).unwrap()));
        assert_eq!(first.alpn_protocols, [b"h2"]);
        assert!(authority.server(&name, None).unwrap().alpn_protocols.is_empty());
        authority.server(&Arc::from("192.0.2.1"), None).unwrap();
        authority.server(&Arc::from("a_b.example"), None).unwrap();
        assert!(authority.certificate().starts_with("-----BEGIN CERTIFICATE-----"));
    }

    #[test]
    fn names_without_end_are_not_all_remembered() {
        let authority = Authority::make().unwrap();
        for number in 0..REMEMBERED + 2 {
            authority.server(&Arc::from(format!("{number}.example")), None).unwrap();
        }
        assert!(authority.ready.lock().unwrap().len() <= REMEMBERED);
    }

    #[test]
    fn no_key_is_shown() {
        let authority = Authority::make().unwrap();
        assert!(!authority.certificate().contains("PRIVATE"));
        assert_eq!(format!("{authority:?}"), "Authority { .. }");
    }
}
