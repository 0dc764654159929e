//! The PROXY header: a reader of the specification finds exactly what was written, whatever the fields hold.
//!
//! Input: 12 bytes of addresses and ports, then fields: type, length (two bytes), value.

#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};

use awf::relay::proxy_header::{encode, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((ends, rest)) = bytes.split_first_chunk::<12>() else { return };
    let written = fields(rest).0;
    let [client, original] = sockets(ends);
    let header = encode(client, original, &written).expect("no longer than the input");
    assert_eq!(&header[..14], b"\r\n\r\n\0\r\nQUIT\n\x21\x11");
    assert_eq!(usize::from(u16::from_be_bytes([header[14], header[15]])), header.len() - 16);
    let (ends, rest) = header[16..].split_first_chunk().expect("addresses");
    assert_eq!(sockets(ends), [client, original]);
    assert_eq!(fields(rest), (written, &[][..]));

    let shown = text(&String::from_utf8_lossy(bytes));
    assert!(shown.len() <= 200);
    assert!(shown.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"'\\%".contains(&byte)));
});

/// Client and original destination (proxy-protocol.txt, section 2.2: both addresses, then both ports).
fn sockets(bytes: &[u8; 12]) -> [SocketAddrV4; 2] {
    let [a, b, c, d, e, f, g, h, ports @ ..] = *bytes;
    let [client, original] = [[ports[0], ports[1]], [ports[2], ports[3]]].map(u16::from_be_bytes);
    [
        SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), client),
        SocketAddrV4::new(Ipv4Addr::new(e, f, g, h), original),
    ]
}

/// Whole fields and what is left behind them.
fn fields(mut bytes: &[u8]) -> (Vec<(u8, &[u8])>, &[u8]) {
    let mut found = Vec::new();
    while let Some((&[kind, high, low], rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((value, rest)) = rest.split_at_checked(length) else { break };
        found.push((kind, value));
        bytes = rest;
    }
    (found, bytes)
}
