//! The preload library for one-shot tokens: a program may ask for a token, and then nobody can read it off the process.
//!
//! awf puts it into the sandbox and names it in `LD_PRELOAD` where a listed token is in the command's environment. The first
//! `getenv` of a listed name takes the value out of `environ` and off the initial stack, which is what `/proc/PID/environ`
//! shows, and keeps it in memory of its own; later calls give the same value. A program that never asks, or reads `environ`
//! by itself (bash, python), passes the variable on. Programs executed are given a token only where this library is loaded:
//! not static ones, and not with another `LD_PRELOAD`; where `LD_PRELOAD` is missing, it is put back.
//!
//! It guards against reading along, not against the program itself: whoever may ask for a token can send it on, and raw
//! system calls, `system` and `popen` (whose shell the C library starts by itself) are not seen.
//!
//! Takes what the C library takes, gives what it gives. Must never need a C library of a certain version, allocate with it,
//! or print: it is a guest in every process, glibc's and musl's. What it cannot guard it does not give.
//!
//! `exports` has the functions that programs call, `tokens` the values, `exec` what is executed with which environment,
//! `image` whether a file is dynamic, `next` the C library's own functions, `sys` system calls.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(test, expect(dead_code, reason = "what programs call is not exported from tests"))]

mod environment;
mod exec;
#[cfg(not(test))]
mod exports;
mod image;
#[cfg(not(test))]
mod next;
mod path;
mod sys;
mod tokens;

/// Nothing here should panic; if it does, no token is given out.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(127)
}
