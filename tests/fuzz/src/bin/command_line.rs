//! The command line: any words give settings or one sentence that cannot rewrite a terminal.
//!
//! Input: the words behind the program's name, one a line; they need not be UTF-8.

#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use awf::cli::{Request, Settings, parse};
use awf_fuzz::{caller, is_presentable};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // No argument of a process can hold it.
    if bytes.contains(&0) {
        return;
    }
    let words = bytes.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec()));
    match parse([OsString::from("awf")].into_iter().chain(words)) {
        Ok(Request::Run(args) | Request::Plan(args) | Request::Predownload(args)) => {
            match Settings::resolve(&args, &caller()) {
                Ok(settings) => assert!(!settings.command.trim().is_empty()),
                Err(error) => is_presentable(&error.to_string()),
            }
        }
        Ok(
            Request::CheckConfig(_)
            | Request::Doctor { .. }
            | Request::Init(_)
            | Request::Hold { .. }
            | Request::Read(_)
            | Request::Say(_),
        ) => {}
        Err(error) => is_presentable(&error.to_string()),
    }
});
