//! The contract between awf's kernel programs and its user space.
//!
//! Owns: the rule that judges a destination ([`decide`], [`guard`]), the configuration the programs are loaded with
//! ([`config`]), the records they write ([`event`]) and the numbers both sides share ([`limits`]).
//! Takes and gives plain values, so that the very function that runs in the kernel runs in host tests.
//! Must never: allocate, perform I/O, or depend on `std`.
#![cfg_attr(not(test), no_std)]
#![expect(
    clippy::inline_always,
    reason = "a call between BPF programs costs stack, of which there are 512 bytes"
)]

pub mod config;
pub mod decide;
pub mod event;
pub mod guard;
pub mod limits;
pub mod one_shot;

/// Errno values of the refusals: `include/uapi/asm-generic/errno{-base,}.h`, the same on every architecture awf runs on.
pub mod errno {
    /// Operation not permitted.
    pub const EPERM: u8 = 1;
    /// Protocol not supported.
    pub const EPROTONOSUPPORT: u8 = 93;
    /// Network is unreachable.
    pub const ENETUNREACH: u8 = 101;
    /// Connection refused.
    pub const ECONNREFUSED: u8 = 111;
}
