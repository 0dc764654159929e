//! The configuration, in `.rodata`: written by user space before the load and frozen by the kernel.

use awf_common::config::{Config, GuardConfig, Layout};
use aya_ebpf::Global;

/// For the programs on the agent's cgroup.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "user space finds the variable by its symbol name")]
static AGENT: Global<Config> = Global::new(Config::CLOSED);

/// For the programs on the proxy's cgroup.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "user space finds the variable by its symbol name")]
static PROXY: Global<GuardConfig> = Global::new(GuardConfig::CLOSED);

/// For the LSM programs.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "user space finds the variable by its symbol name")]
static LAYOUT: Global<Layout> = Global::new(Layout::UNKNOWN);

/// The agent's configuration.
#[inline(always)]
pub(crate) fn agent() -> Config {
    AGENT.load()
}

/// The guard's configuration.
#[inline(always)]
pub(crate) fn proxy() -> GuardConfig {
    PROXY.load()
}

/// Where the kernel keeps what the LSM programs read.
#[inline(always)]
pub(crate) fn layout() -> Layout {
    LAYOUT.load()
}
