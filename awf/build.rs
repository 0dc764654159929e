//! Places the kernel object and the preload library where `include_bytes!` finds them: built, given, or empty stubs for check
//! and clippy.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

#[path = "../xtask/src/ebpf.rs"]
mod ebpf;
#[path = "../xtask/src/one_shot.rs"]
mod one_shot;

fn main() -> Result<()> {
    let sources = ["../awf-ebpf", "../awf-common", "one-shot", "../Cargo.toml"];
    for path in sources.iter().chain(&["../xtask/src/ebpf.rs", "../xtask/src/one_shot.rs"]) {
        println!("cargo:rerun-if-changed={path}");
    }
    for variable in ["AWF_EBPF_OBJECT", "AWF_EBPF_RUSTC", "AWF_EBPF_STUB"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let stub = env::var_os("AWF_EBPF_STUB").is_some_and(|value| value == "1");
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    ensure!(
        !(stub && release),
        "AWF_EBPF_STUB=1 makes an awf that cannot enforce: it is for check and clippy only"
    );

    let manifest =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?);
    let workspace = manifest.parent().context("the crate lies in the workspace")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    // Directories of their own: cargo holds a lock on the outer one while it runs this script.
    let targets = out.ancestors().nth(5).unwrap_or(&out);
    one_shot::place(workspace, &targets.join("awf-one-shot"), &out.join("awf-one-shot.so"))?;
    ebpf::place(workspace, &targets.join("awf-ebpf"), &out.join("awf-ebpf.o"))
}
