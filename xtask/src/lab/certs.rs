//! The lab's test CA and its one leaf certificate, made anew for every lab.
//!
//! Takes a state directory; leaves `ca.pem`, `ca.key`, `leaf.pem` and `leaf.key` in it. The CA must never enter the
//! trust store of the machine: tests hand `ca.pem` to the client or the sandbox under test.

use super::{
    process::{finish, tool},
    world,
};
use anyhow::{Context as _, Result};
use std::{fs, path::Path};

/// Lifetime of CA and leaf. A lab lives for hours; a forgotten key should not be worth anything later.
const DAYS: &str = "30";

/// Makes CA and leaf in `state`.
pub(super) fn make(state: &Path) -> Result<()> {
    let config = include_str!("files/openssl.cnf").replace("@NAMES@", &subject_alternative_names());
    fs::write(state.join("openssl.cnf"), config).context("write the configuration of openssl")?;
    issue(state, "ca", "/O=awf lab/CN=awf lab test CA", &[])?;
    issue(state, "leaf", "/O=awf lab/CN=awf lab origin", &["-CA", "ca.pem", "-CAkey", "ca.key"])
}

/// Makes key and certificate `what`, self-signed unless `signer` says by whom. P-256, because RSA keys take a second.
fn issue(state: &Path, what: &str, subject: &str, signer: &[&str]) -> Result<()> {
    let mut openssl = tool("openssl")?;
    openssl.current_dir(state).args(["req", "-x509", "-config", "openssl.cnf", "-days", DAYS]);
    openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    openssl.args(["-extensions", what, "-subj", subject]).args(signer);
    openssl.args(["-keyout", &format!("{what}.key"), "-out", &format!("{what}.pem")]);
    finish(&mut openssl)
}

fn subject_alternative_names() -> String {
    let names = world::NAMES.iter().map(|name| format!("DNS:{}", name.name));
    let wildcards = world::WILDCARD_ZONES.iter().map(|zone| format!("DNS:*.{zone}"));
    let addresses = world::ECHO_ADDRESSES.iter().chain([&world::INTERNAL_V4]);
    let literals = addresses.map(|address| format!("IP:{address}"));
    names.chain(wildcards).chain(literals).collect::<Vec<_>>().join(",")
}
