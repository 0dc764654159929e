//! The record: whatever an attempt calls itself, it is one line of JSON that says exactly that.
//!
//! Input: the fields that others choose, one after the other, separated by zero bytes.

#![no_main]

use awf::observe::record::{Layer, NameSource, ProcessInfo, Record};
use awf_fuzz::is_one_line_of;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut fields = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let mut field = || fields.next().map(|text| text.into_owned());
    let record = Record {
        name: field().map(Into::into),
        name_source: Some(NameSource::Sni),
        rule: field().unwrap_or_default(),
        reason: field().unwrap_or_default(),
        protocol: field().unwrap_or_default(),
        process: ProcessInfo {
            pid: Some(1),
            uid: Some(1000),
            comm: field(),
            exe: field(),
            ..ProcessInfo::default()
        },
        ..Record::denied(field().unwrap_or_default(), "run".into(), Layer::Relay)
    };
    let json = is_one_line_of(&record);
    for (key, said) in [
        ("name", record.name.as_deref()),
        ("rule", Some(&*record.rule)),
        ("reason", Some(&*record.reason)),
        ("protocol", Some(&*record.protocol)),
        ("comm", record.process.comm.as_deref()),
        ("exe", record.process.exe.as_deref()),
        ("time", Some(&*record.time)),
    ] {
        assert_eq!(json[key].as_str(), said, "{key}");
    }
});
