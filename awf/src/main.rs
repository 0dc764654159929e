//! `awf`: see the library for the tour.

use std::process::ExitCode;

fn main() -> ExitCode {
    awf::run(std::env::args_os().collect())
}
