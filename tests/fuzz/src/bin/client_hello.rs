//! The `ClientHello` parser: however the bytes are cut on their way, the answer is that of the whole.

#![no_main]

use awf::doors::names::canonical;
use awf::relay::client_hello::{Hello, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    let first =
        (1..=bytes.len()).map(|end| parse(&bytes[..end])).find(|hello| *hello != Hello::Need);
    assert_eq!(first.unwrap_or(Hello::Need), whole);
    if let Hello::Found(hello) = whole
        && let Some(name) = hello.sni
    {
        assert_eq!(canonical(&name).as_ref(), Ok(&name));
    }
});
