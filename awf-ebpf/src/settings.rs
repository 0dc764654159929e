//! The configuration, in `.rodata`: written by user space before the load and frozen by the kernel.

use awf_common::config::{Config, GuardConfig, Layout, Opening, Openings, TaskLayout};
use awf_common::decide::Opened;
use awf_common::limits::OPENINGS;
use aya_ebpf::Global;

/// For the programs on the agent's cgroup.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "user space finds the variable by its symbol name")]
static AGENT: Global<Config> = Global::new(Config::CLOSED);

/// What the service door opens. Read range by range, never as a whole: it is as large as the stack.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "user space finds the variable by its symbol name")]
static SERVICES: Global<Openings> = Global::new(Opening::NONE);

/// For the programs on the proxy's cgroup.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "user space finds the variable by its symbol name")]
static PROXY: Global<GuardConfig> = Global::new(GuardConfig::CLOSED);

/// For the LSM programs.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "user space finds the variable by its symbol name")]
static LAYOUT: Global<Layout> = Global::new(Layout::UNKNOWN);

/// For whatever tells who a process is.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "user space finds the variable by its symbol name")]
static TASKS: Global<TaskLayout> = Global::new(TaskLayout::UNKNOWN);

/// The agent's configuration.
#[inline(always)]
pub(crate) fn agent() -> Config {
    AGENT.load()
}

/// [`SERVICES`] as the rule reads it.
pub(crate) struct Services;

impl Opened for Services {
    #[inline(always)]
    #[expect(unsafe_code, reason = "a volatile read, as in `Global::load`, but of one element")]
    fn at(&self, index: usize) -> Opening {
        if index >= OPENINGS {
            return Opening::END;
        }
        let first = (&raw const SERVICES).cast::<Opening>();
        // SAFETY: `Global` is transparent, and the index was checked to be inside the array.
        let range = unsafe { first.add(index) };
        // SAFETY: aligned, initialised, and never written once the program runs.
        unsafe { range.read_volatile() }
    }
}

/// The guard's configuration.
#[inline(always)]
pub(crate) fn proxy() -> GuardConfig {
    PROXY.load()
}

/// Where the kernel keeps what tells who a process is. A field is read with [`read`]: a copy of all would take much of the stack,
/// and the compiler would take a plain read for one of the value in the object file.
#[inline(always)]
#[expect(unsafe_code, reason = "the value behind `Global`, which has no way to give it")]
pub(crate) fn tasks() -> &'static TaskLayout {
    let tasks = (&raw const TASKS).cast::<TaskLayout>();
    // SAFETY: `Global` is transparent; the value is never written once the program runs.
    unsafe { &*tasks }
}

/// A field of [`tasks`].
#[inline(always)]
#[expect(unsafe_code, reason = "a volatile read, as in `Global::load`")]
pub(crate) fn read(field: &u32) -> u32 {
    let field: *const u32 = field;
    // SAFETY: it comes from a reference.
    unsafe { field.read_volatile() }
}

/// Where the kernel keeps what the LSM programs read.
#[inline(always)]
pub(crate) fn layout() -> Layout {
    LAYOUT.load()
}
