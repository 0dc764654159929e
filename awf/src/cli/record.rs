//! How the record of a run is kept: `--record-*` and `--strict-audit`.
//!
//! Takes options, gives [`RecordOptions`] with the key read. Must never change anything.

use std::path::PathBuf;

use super::options::Args;
use super::usage::UsageError;
use crate::host::{self, Caller};
use crate::observe::chain::key::SigningKey;

/// What the record holds, what protects it, and what it is worth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordOptions {
    /// Whether its lines form a hash chain.
    pub chain: bool,
    /// What signs the chain's end.
    pub key: Option<RecordKey>,
    /// Whether executables are digested.
    pub exe_hash: bool,
    /// Whether a run fails if its record is incomplete.
    pub strict: bool,
}

/// A signing key and its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordKey {
    /// Where it is, which the command must not see: without symbolic links.
    pub file: PathBuf,
    /// The key.
    pub key: SigningKey,
}

impl RecordOptions {
    /// Reads the key; a key without a chain would have nothing to sign.
    pub(super) fn of(args: &Args, caller: &Caller) -> Result<Self, UsageError> {
        let key =
            args.record_key.as_deref().map(|text| RecordKey::read(text, caller)).transpose()?;
        Ok(Self {
            chain: args.record_chain || key.is_some(),
            key,
            exe_hash: args.record_exe_hash,
            strict: args.strict_audit,
        })
    }
}

impl RecordKey {
    fn read(text: &str, caller: &Caller) -> Result<Self, UsageError> {
        let file = caller.cwd.join(text);
        let key = SigningKey::read(&file).map_err(|error| {
            let remedy = "name the file that `openssl genpkey -algorithm ed25519` made";
            UsageError::value("--record-key", text, error.to_string(), remedy)
        })?;
        Ok(Self { file: host::real(&file), key })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::observe::chain::key;

    #[test]
    fn a_key_implies_the_chain_and_is_known_by_where_it_really_is() {
        let directory = std::env::temp_dir().join(format!("awf-record-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let file = directory.join("key");
        fs::write(&file, key::SAMPLE).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&file, directory.join("link")).unwrap();
        let caller = Caller { cwd: directory.clone(), ..Caller::sample() };
        let args = Args { record_key: Some("link".to_owned()), ..Args::default() };
        let record = RecordOptions::of(&args, &caller).unwrap();
        assert!(record.chain);
        assert_eq!(record.key.unwrap().file, host::real(&file));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_is_no_key_is_refused_by_the_options_name() {
        for text in ["", "/", "/missing", "/dev/null"] {
            let args = Args { record_key: Some(text.to_owned()), ..Args::default() };
            let error = RecordOptions::of(&args, &Caller::sample()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--record-key '{text}': ")), "{error}");
        }
    }
}
