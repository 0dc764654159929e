//! The PROXY protocol header, version 2, by which the relay tells Squid whom it speaks for.
//!
//! Takes the agent's socket, the destination the agent asked for and a few type-length-value
//! fields; gives the bytes that must be the first on the connection to Squid. Squid logs them
//! (`%>a:%>p`, `%>la:%>lp`, `%proxy_protocol::>h{N}`), and the agent cannot forge them because only
//! the relay reaches that port. It never sends anything and never interprets the fields.
//!
//! Format: `HAProxy`'s proxy-protocol.txt, section 2.2 (all numbers big-endian).

use std::net::SocketAddrV4;

/// The twelve bytes that open every version 2 header.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2 in the upper half, command PROXY in the lower.
const VERSION_2_PROXY: u8 = 0x21;

/// `AF_INET` in the upper half, `STREAM` in the lower.
const TCP_OVER_IPV4: u8 = 0x11;

/// Bytes of the two addresses and the two ports.
const ADDRESSES: usize = 12;

/// Bytes of the longest text [`text`] gives. Squid copies the field into every log line.
const MAX_TEXT: usize = 200;

/// The fields do not fit into a header, whose length is a 16-bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("PROXY header fields exceed 65535 bytes")]
pub struct TooLong;

/// Builds the header for a connection from `client` that asked for `original`.
///
/// `tlvs` are (type, value); types 0xE0 to 0xEF are free for custom use. Fields that do not fit are
/// an error and not dropped: they are the record's link to the kernel's events.
pub fn encode(
    client: SocketAddrV4,
    original: SocketAddrV4,
    tlvs: &[(u8, &[u8])],
) -> Result<Vec<u8>, TooLong> {
    let fields: usize = tlvs.iter().map(|(_, value)| value.len().saturating_add(3)).sum();
    let length = u16::try_from(ADDRESSES.saturating_add(fields)).or(Err(TooLong))?;

    let mut header = Vec::with_capacity(usize::from(length) + 16);
    header.extend_from_slice(SIGNATURE);
    header.extend_from_slice(&[VERSION_2_PROXY, TCP_OVER_IPV4]);
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&client.ip().octets());
    header.extend_from_slice(&original.ip().octets());
    header.extend_from_slice(&client.port().to_be_bytes());
    header.extend_from_slice(&original.port().to_be_bytes());
    for (kind, value) in tlvs {
        let size = u16::try_from(value.len()).or(Err(TooLong))?;
        header.push(*kind);
        header.extend_from_slice(&size.to_be_bytes());
        header.extend_from_slice(value);
    }
    Ok(header)
}

/// Makes text from the agent (a process name, an SNI) fit for a field that Squid writes to its
/// logs.
///
/// Everything but printable ASCII becomes `_`, and so do quotes, backslash and percent: Squid's
/// `%#` quoting together with `%proxy_protocol::>h` is unproven, and a log line that is no JSON any
/// more hides the attempt it should show. Longer texts are cut after 200 bytes.
pub fn text(raw: &str) -> String {
    let plain = |c: char| match c {
        '"' | '\'' | '\\' | '%' => '_',
        ' '..='~' => c,
        _ => '_',
    };
    raw.chars().take(MAX_TEXT).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn sockets() -> (SocketAddrV4, SocketAddrV4) {
        (
            SocketAddrV4::new(Ipv4Addr::new(172, 30, 0, 20), 40001),
            SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 66), 443),
        )
    }

    #[test]
    fn header_without_fields_has_the_bytes_of_the_specification() {
        let (client, original) = sockets();
        let want =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xac\x1e\x00\x14\xcb\x00\x71\x42\x9c\x41\x01\xbb";
        assert_eq!(encode(client, original, &[]).unwrap(), want);
    }

    #[test]
    fn fields_follow_the_addresses_and_count_in_the_length() {
        let (client, original) = sockets();
        let header = encode(client, original, &[(0xE0, b"tls;sni"), (0xE1, b"")]).unwrap();
        assert_eq!(&header[14..16], &[0, 12 + 10 + 3]);
        assert_eq!(&header[28..], b"\xe0\x00\x07tls;sni\xe1\x00\x00");
    }

    #[test]
    fn fields_beyond_16_bits_are_an_error() {
        let (client, original) = sockets();
        let largest = vec![b'x'; 65535 - 12 - 3];
        assert_eq!(encode(client, original, &[(0xE0, &largest)]).unwrap().len(), 65535 + 16);
        let too_long = [(0xE0, largest.as_slice()), (0xE1, b"".as_slice())];
        assert_eq!(encode(client, original, &too_long), Err(TooLong));
    }

    #[test]
    fn text_keeps_plain_ascii_only() {
        let (long, cut) = ("x".repeat(500), "x".repeat(200));
        for (raw, want) in [
            ("tls;sni=a.example;pid=7", "tls;sni=a.example;pid=7"),
            ("a\"b'c\\d%e", "a_b_c_d_e"),
            ("line\r\nbreak\0\u{7f}", "line__break__"),
            ("b\u{fc}cher \u{1f980}", "b_cher _"),
            (&long, &cut),
            ("", ""),
        ] {
            assert_eq!(text(raw), want, "{raw:?}");
        }
    }
}
