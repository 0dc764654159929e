//! The HTTP head parser: however the bytes are cut on their way, the answer is that of the whole.

#![no_main]

use awf::doors::names::canonical;
use awf::relay::http_head::{Authority, Head, Host, Target, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    let first = (1..=bytes.len()).map(|end| parse(&bytes[..end])).find(|head| *head != Head::Need);
    match (first.unwrap_or(Head::Need), &whole) {
        // Which of two faults is told depends on what has come; that there is one does not.
        (Head::Malformed(_), Head::Malformed(_)) => {}
        (first, whole) => assert_eq!(first, *whole),
    }
    if let Head::Request(request) = whole {
        assert!(request.length <= bytes.len());
        if let Target::Connect(authority) | Target::Absolute { authority, .. } = &request.target {
            is_canonical(authority);
        }
        if let Some(authority) = &request.host {
            is_canonical(authority);
        }
    }
});

fn is_canonical(authority: &Authority) {
    assert_ne!(authority.port, Some(0));
    if let Host::Name(name) = &authority.host {
        assert_eq!(canonical(name).as_ref(), Ok(name));
    }
}
