//! Files that options name: lists of domains and of variables, with any bytes in them.

#![no_main]

use std::io::Write as _;
use std::os::fd::AsRawFd as _;

use awf::cli::{Args, Settings, is_reserved};
use awf_fuzz::{caller, is_presentable};
use libfuzzer_sys::fuzz_target;
use nix::sys::memfd::{MFdFlags, memfd_create};

fuzz_target!(|bytes: &[u8]| {
    let mut file = std::fs::File::from(memfd_create("list", MFdFlags::empty()).expect("memory"));
    file.write_all(bytes).expect("memory");
    let path = Some(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let args = Args {
        command: vec!["true".to_owned()],
        allow_domains_file: path.clone(),
        env_file: path,
        ..Args::default()
    };
    match Settings::resolve(&args, &caller()) {
        Ok(settings) => {
            for entry in &settings.allow {
                assert!(!entry.text.is_empty() && !entry.text.contains([',', '#', '\n']));
            }
            for (name, value) in &settings.env_file {
                assert!(!is_reserved(name) && !name.is_empty() && !name.contains(['=', '\0']));
                assert!(!value.contains(['\n', '\0']));
            }
            settings.notices.iter().for_each(|notice| is_presentable(notice));
        }
        Err(error) => is_presentable(&error.to_string()),
    }
});
