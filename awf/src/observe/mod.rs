//! Step 8 of 9: what happened. Takes refusals of the kernel and endings of connections, gives `egress.jsonl`, the counts
//! and the denial report.
//!
//! Owns: the record's shape and its file. Must never: change a verdict, block an attempt, or lose one without saying so.

pub mod record;
pub mod summary;
pub mod chain;
pub mod digest;
pub mod journal;
pub mod names;
pub mod repeats;
pub mod kernel;
pub mod processes;
pub mod calls;
pub mod report;
pub mod redact;
pub mod rules;
pub mod manifest;
pub mod audit;
