//! First bytes: no connection is a TLS hello to one reader and an HTTP request to another.

#![no_main]

use awf::relay::client_hello::{self, Hello};
use awf::relay::http_head::{self, Head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let hello = client_hello::parse(bytes);
    let head = http_head::parse(bytes);
    let may_be_tls = matches!(hello, Hello::Need | Hello::Found(_));
    let may_be_http = matches!(head, Head::Need | Head::Request(_));
    assert!(bytes.is_empty() || !(may_be_tls && may_be_http), "{hello:?} {head:?}");
});
