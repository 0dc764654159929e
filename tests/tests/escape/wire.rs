//! Bytes that clients send.

use crate::dialogue::Step;

/// The proxy's address inside.
pub const PROXY: &str = "172.30.0.10:3128";

/// A TLS 1.2 hello that nginx answers (RFC 5246, 7.4.1.2), with or without a server name.
pub fn hello(name: Option<&str>) -> Vec<u8> {
    record(&handshake(name.map(|name| vec![server_name(name.as_bytes())]).unwrap_or_default()))
}

/// A hello that an encrypted one could hide in: the extension `encrypted_client_hello` (0xfe0d) with random content.
pub fn hello_with_ech(name: &str) -> Vec<u8> {
    let inner = [&[0, 0, 1, 0, 1, 7, 0, 32][..], &[0x55; 32], &[0, 64], &[0x66; 64]].concat();
    record(&handshake(vec![server_name(name.as_bytes()), extension(0xfe0d, &inner)]))
}

/// A hello whose name extension holds these bytes as name.
pub fn hello_with_raw_name(name: &[u8]) -> Vec<u8> {
    record(&handshake(vec![server_name(name)]))
}

/// A hello with two server name extensions (RFC 8446, 4.2 forbids it).
pub fn hello_with_names(first: &str, second: &str) -> Vec<u8> {
    record(&handshake(vec![server_name(first.as_bytes()), server_name(second.as_bytes())]))
}

/// A hello in records of `size` bytes each.
pub fn hello_in_records(name: &str, size: usize) -> Vec<u8> {
    handshake(vec![server_name(name.as_bytes())]).chunks(size).flat_map(record).collect()
}

fn handshake(extensions: Vec<Vec<u8>>) -> Vec<u8> {
    let groups = extension(10, &[0, 4, 0, 0x1d, 0, 0x17]);
    let formats = extension(11, &[1, 0]);
    let signatures = extension(13, &[0, 12, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1]);
    let extensions = [extensions, vec![groups, formats, signatures]].concat().concat();
    let ciphers = [0xc0, 0x2f, 0xc0, 0x30, 0xc0, 0x2b, 0xc0, 0x2c, 0xcc, 0xa8, 0x00, 0x9c];
    let body =
        [&[3, 3][..], &[0x41; 32], &[0], &sized(2, &ciphers), &[1, 0], &sized(2, &extensions)]
            .concat();
    [&[1][..], &sized(3, &body)].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    extension(0, &sized(2, &[&[0][..], &sized(2, name)].concat()))
}

fn extension(number: u16, body: &[u8]) -> Vec<u8> {
    [number.to_be_bytes().as_slice(), &sized(2, body)].concat()
}

fn record(body: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &sized(2, body)].concat()
}

/// The length in `width` bytes, then the body.
fn sized(width: usize, body: &[u8]) -> Vec<u8> {
    [&body.len().to_be_bytes()[8 - width..], body].concat()
}

/// One message.
pub fn say(bytes: impl AsRef<[u8]>) -> Vec<Step> {
    vec![Step::Say(bytes.as_ref().to_vec())]
}

/// One message in segments of `size` bytes.
pub fn say_slowly(bytes: &[u8], size: usize) -> Vec<Step> {
    bytes.chunks(size).flat_map(|part| [Step::Say(part.to_vec()), Step::Pause(5)]).collect()
}

/// A CONNECT, and what is said in the tunnel once it is open.
pub fn connect_then(authority: &str, inside: impl AsRef<[u8]>) -> Vec<Step> {
    vec![
        Step::Say(connect(authority)),
        Step::Hear(b"\r\n\r\n".to_vec()),
        Step::Say(inside.as_ref().to_vec()),
    ]
}

/// A CONNECT's head.
pub fn connect(authority: &str) -> Vec<u8> {
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").into_bytes()
}

/// A GET's head.
pub fn get(target: &str, host: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes()
}

/// A DNS query (RFC 1035, 4.1).
pub fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0x4c, 0x41, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(question(name, kind));
    message
}

/// A question as it stands in a query.
pub fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

/// A query as TCP carries it (RFC 1035, 4.2.2).
pub fn framed(message: &[u8]) -> Vec<u8> {
    sized(2, message)
}
