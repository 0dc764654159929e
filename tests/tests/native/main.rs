//! Whole runs of the native runtime in the lab: what the command gets, what it does not get, and what a run leaves.

mod stage;
mod api_proxy;
mod calls;
mod confinement;
mod endings;
mod environment;
mod files;
mod many;
mod outward;
mod records;
mod services;
mod sockets;
mod streams;
mod words;
