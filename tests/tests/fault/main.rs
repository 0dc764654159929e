//! Signals to every process, lost enforcement, broken machines, nonsense input, strain: nothing leaks, nothing stays behind, and awf says what is wrong.
//!
//! Every test has a [`world::World`] of its own, so that what a run leaves can be told from what others leave. All tests
//! of this binary allow the same names and no others ([`world::ALLOWED`]): whatever else reaches the lab's sink while
//! they run is a leak, whoever caused it.

mod bpf;
mod broken;
mod doctor;
mod enforcement;
mod faults;
mod input;
mod kill;
mod memory;
mod report;
mod shell;
mod soak;
mod stop;
mod strain;
mod world;
