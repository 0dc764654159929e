//! Whole runs of the native runtime in the lab: what the command gets, what it does not get, and what a run leaves.

mod stage;
mod api_proxy;
mod attribution;
mod audit;
mod calls;
mod canary;
mod commands;
mod confinement;
mod endings;
mod environment;
mod files;
mod inspect;
mod many;
mod one_shot;
mod outward;
mod records;
mod services;
mod shown;
mod sockets;
mod streams;
mod words;
