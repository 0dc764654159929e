//! The parts of xtask that the privileged tests use too.

pub mod lab;
