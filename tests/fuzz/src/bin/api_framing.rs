//! What the API proxy makes of a request's framing: a request that passes has one length or one coding, whoever reads it.

#![no_main]

use awf::api_proxy::framing::fault;
use awf::relay::http_head::{Head, Target, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Head::Request(request) = parse(bytes) else { return };
    let head = &bytes[..request.length];
    if fault(head).is_some() {
        return;
    }
    assert_eq!(request.target, Target::Origin);
    // A reader that knows nothing of HTTP but lines.
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    let framing = lines.filter(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase();
        let name = String::from_utf8_lossy(&name).trim().to_owned();
        name == "content-length" || name == "transfer-encoding"
    });
    assert!(framing.count() <= 1);
});
