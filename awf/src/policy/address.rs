//! IP literals as clients spell them.
//!
//! Takes the host part of a request, gives the address it stands for. Never resolves a name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that `host` spells, if it spells one.
///
/// Every spelling that `inet_aton(3)` takes is an IPv4 address (1 to 4 parts; decimal, octal with a
/// leading 0, hex with a leading 0x), with or without trailing dots. An IPv6 address may stand in
/// brackets and carry a zone; an IPv4-mapped one (RFC 4291, section 2.5.5.2) is the IPv4 address
/// inside, because that is where the kernel would connect.
pub fn literal(host: &str) -> Option<IpAddr> {
    if let Some(address) = ipv6(host) {
        return Some(address);
    }
    inet_aton(host.trim_end_matches('.')).map(IpAddr::V4)
}

/// Whether the last label is a number. No such name exists in the DNS (RFC 3696, section 2: a top
/// level domain is not all-numeric); clients and Squid may differ on whether it is an address.
pub(super) fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let hex = |s: &str| s.bytes().all(|b| b.is_ascii_hexdigit());
    digits(last) || last.strip_prefix("0x").is_some_and(hex)
}

fn ipv6(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match inner.split_once('%') {
        // Squid 5.7 does not look for an IPv4 address in front of a zone, so neither does awf.
        Some((address, _zone)) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => inner.parse::<Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical()),
    }
}

fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts = text.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|part| *part > 0xff) {
        return None;
    }
    // The last part fills all the bytes that the leading ones leave over.
    let room_bits = 8 * (4 - u32::try_from(leading.len()).ok()?);
    if u64::from(*last) >> room_bits != 0 {
        return None;
    }
    let high =
        leading.iter().zip([24_u32, 16, 8]).fold(0, |sum, (part, shift)| sum | part << shift);
    Some(Ipv4Addr::from(high | last))
}

fn number(part: &str) -> Option<u32> {
    let (digits, radix) = match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if part.len() > 1 && part.starts_with('0') => (part, 8),
        None => (part, 10),
    };
    // from_str_radix would take a sign.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, address: &str) {
        assert_eq!(literal(host).map(|a| a.to_string()).as_deref(), Some(address), "{host}");
    }

    #[test]
    fn every_ipv4_spelling_is_the_dotted_address() {
        check("127.0.0.1", "127.0.0.1");
        check("127.0.0.1.", "127.0.0.1");
        check("127.0.0.1..", "127.0.0.1");
        check("0x7f000001", "127.0.0.1");
        check("0X7F.1", "127.0.0.1");
        check("2130706433", "127.0.0.1");
        check("127.1", "127.0.0.1");
        check("0177.0.0.1", "127.0.0.1");
        check("0177.0x0.1", "127.0.0.1");
        check("1.2.772", "1.2.3.4");
        check("0", "0.0.0.0");
        check("4294967295", "255.255.255.255");
        check("255.16777215", "255.255.255.255");
    }

    #[test]
    fn ipv6_is_read_with_brackets_and_zone_and_mapped_is_ipv4() {
        check("::1", "::1");
        check("[2001:DB8::1]", "2001:db8::1");
        check("fe80::1%eth0", "fe80::1");
        check("[::ffff:1.2.3.4]", "1.2.3.4");
        check("[::ffff:102:304]", "1.2.3.4");
        check("[::ffff:1.2.3.4%lo]", "::ffff:1.2.3.4");
    }

    #[test]
    fn what_inet_aton_refuses_is_no_literal() {
        for host in [
            "",
            ".",
            "a",
            "1.2.3.4.5",
            "256.0.0.1",
            "1.2.3.256",
            "1.2.65536",
            "1.16777216",
            "08.1.1.1",
            "4294967296",
            "0x",
            "1..2",
            "1.2.3.x",
            "+1.2.3.4",
            "1.2.3.4 ",
            "[1.2.3.4]",
            "1e1",
            "[::1",
        ] {
            assert_eq!(literal(host), None, "{host}");
        }
    }

    #[test]
    fn a_numeric_last_label_is_recognised() {
        for name in ["1.2.3.4.5", "a.1", "0x", "a.0x1f", "08.1.1.08"] {
            assert!(ends_in_number(name), "{name}");
        }
        for name in ["a.1b", "1.a", "", "a.0xg", "x1"] {
            assert!(!ends_in_number(name), "{name}");
        }
    }
}
