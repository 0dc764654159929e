//! Places the kernel object where `include_bytes_aligned!` finds it: built, given, or an empty stub for check and clippy.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

#[path = "../xtask/src/ebpf.rs"]
mod ebpf;

fn main() -> Result<()> {
    for path in ["../awf-ebpf", "../awf-common", "../xtask/src/ebpf.rs", "../Cargo.toml"] {
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
    // A directory of its own: cargo holds a lock on the outer one while it runs this script.
    let target_dir = out.ancestors().nth(5).unwrap_or(&out).join("awf-ebpf");
    ebpf::place(workspace, &target_dir, &out.join("awf-ebpf.o"))
}
