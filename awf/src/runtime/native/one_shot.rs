//! The preload library for one-shot tokens in the sandbox, and the proof that it is loaded.
//!
//! Owns the library's bytes, which are built with awf (`awf/build.rs`). A dynamic loader that cannot load what `LD_PRELOAD`
//! names only warns and goes on, and every token would be open. So, in the command's own confinement and before it starts,
//! the shell is started as the command will be, but without tokens and without the user's variables, and looks among its own
//! mappings. The library is linked so that the loader must resolve everything it needs before the shell's first line.
//! Must never run anything of the user's: `bash -c` without `BASH_ENV` reads no file.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use awf_common::one_shot::{LIBRARY, LIST};

use super::spec::AgentSpec;
use crate::plan::mounts::MountOp;

/// The library.
pub(super) static BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/awf-one-shot.so"));

/// Shell that succeeds only with the library in its memory; of builtins, because nothing else need be there.
const LOOK: &str =
    r#"while read -r line; do [[ $line == *"$0" ]] && exit 0; done </proc/self/maps; exit 1"#;

/// Shows that the command's shell loads the library, if the plan has it.
pub(super) fn prove(spec: &AgentSpec) -> Result<()> {
    if !spec.mounts.iter().any(|op| matches!(op, MountOp::OneShotLibrary { .. })) {
        return Ok(());
    }
    let output = Command::new("/bin/bash")
        .args(["-c", LOOK, LIBRARY])
        .env_clear()
        .env("LD_PRELOAD", LIBRARY)
        .env(LIST, "AWF_NO_TOKEN")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .context("start the shell to see whether it loads the library for one-shot tokens")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = if said.trim().is_empty() { "is it static?" } else { said.trim() };
        bail!(
            "/bin/bash does not load the library that guards one-shot tokens ({said}); without it every program could \
             read them. Leave the tokens out (--exclude-env NAME), or list others to be guarded (--env {LIST}=NAME)"
        );
    }
    Ok(())
}
