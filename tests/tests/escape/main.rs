//! One case for each idea of getting out: it works in the lab without awf, with awf it is refused at once and on record,
//! and the lab's sink saw nothing of it.
//!
//! [`vectors`] are system calls, [`tls`], [`requests`], [`names`], [`services`] and [`guard`] are conversations, [`surroundings`] is
//! everything around the command. The ideas come from the known bypasses of awf's peers and of the original.

#[path = "../../src/bin/probe/dialogue.rs"]
mod dialogue;
#[path = "../../src/bin/probe/target.rs"]
mod target;

mod accounts;
mod authorities;
mod findings;
mod forgery;
mod guard;
mod names;
mod probe;
mod requests;
mod services;
mod smuggling;
mod surroundings;
mod tls;
mod vectors;
mod wire;
