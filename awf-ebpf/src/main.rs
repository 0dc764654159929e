//! awf's kernel programs, one file per hook.
//!
//! Owns: the programs on the agent's cgroup and the guard on the proxy's cgroup. Takes: a frozen configuration
//! ([`settings`]). Gives: verdicts, records and counters. Every early exit chooses a verdict, and the default is refuse.
//! Must never: allow because something inside went wrong, wait for user space, or be attached other than by a link
//! (`BPF_LINK_CREATE`): an unprivileged process can detach a legacy attachment (measured on 6.1 to 7.3).
#![no_std]
#![no_main]
#![expect(
    clippy::inline_always,
    reason = "a call between BPF programs costs stack, of which there are 512 bytes"
)]

mod settings;
mod maps;
mod report;
mod identity;
mod socket;
mod connect;
mod send;
mod answer;
mod origin;
mod packet;
mod guard;
mod lsm;

/// GPL-compatible, as `bpf_get_current_comm` and its like demand (`kernel/bpf/verifier.c`, `check_helper_call`).
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
#[expect(unsafe_code, reason = "the kernel reads the licence from this section")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: a reachable endless loop would be refused by the verifier ("infinite loop detected").
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
