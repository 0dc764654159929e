//! The `ClientHello` of a TLS connection: which name it asks for.
//!
//! Takes the bytes a client has sent so far, however TCP has cut them and however TLS has cut the
//! message into records, and gives the server name, or says that more bytes are needed, that this
//! is no TLS, or what is wrong. It consumes nothing: the relay forwards the very bytes it was
//! shown. It never guesses: a message that two servers could read differently (two names, a second
//! message in the same record) is malformed.
//!
//! Sources: RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3, RFC 9849 (encrypted
//! `ClientHello`).

use std::borrow::Cow;

use crate::doors::names::{self, NameError};

/// Bytes on the wire after which a `ClientHello` must be complete. Today's largest, with
/// post-quantum key shares, are about 2 KB.
pub const MAX_HELLO: usize = 64 * 1024;

/// TLS records one `ClientHello` may be cut into. Every call reads all of them again, so this
/// bounds the work that one-byte records cause.
const MAX_RECORDS: usize = 256;

/// Bytes a record may carry (RFC 8446, 5.1).
const MAX_FRAGMENT: usize = 1 << 14;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const HOST_NAME: u8 = 0;
const SERVER_NAME: u16 = 0;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// The draft that came before ECH.
const ENCRYPTED_SERVER_NAME: u16 = 0xffce;

/// What the bytes of a client amount to so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// A `ClientHello` may still come of it; ask again with more bytes.
    Need,
    /// The whole message is there and sound.
    Found(ClientHello),
    /// The first bytes are not those of a TLS handshake.
    NotTls,
    /// A handshake that must not pass, and why.
    Malformed(&'static str),
}

/// What the relay wants to know of a `ClientHello`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The server name in canonical form (see [`names::canonical`]), if the client sent one.
    pub sni: Option<String>,
    /// The client sent an encrypted `ClientHello` extension. Browsers send a meaningless one
    /// ("GREASE") to every server, so this alone says nothing about the intent.
    pub ech: bool,
}

/// Reads a `ClientHello` from the first bytes of a connection; call it again when more have come.
pub fn parse(bytes: &[u8]) -> Hello {
    // SSL 3.0 and every later version up to TLS 1.3 have the major version 3 in their records.
    if !matches!(bytes, [] | [HANDSHAKE] | [HANDSHAKE, 3, ..]) {
        return Hello::NotTls;
    }
    let seen = bytes.get(..MAX_HELLO).unwrap_or(bytes);
    match assemble(seen) {
        Ok(Some(message)) => read_hello(&message).map_or_else(Hello::Malformed, Hello::Found),
        Ok(None) if seen.len() == MAX_HELLO => Hello::Malformed("ClientHello exceeds 64 KiB"),
        Ok(None) => Hello::Need,
        Err(reason) => Hello::Malformed(reason),
    }
}

/// The record that ends a connection whose name is denied: alert, fatal, `access_denied`.
///
/// Clients report it as "access denied" (curl, git, go, python, node and java do), where a bare
/// end of stream would look like a broken network.
pub const fn alert_access_denied() -> [u8; 7] {
    // Record type alert(21), record version as in a first flight, two bytes, fatal(2), 49.
    [21, 3, 1, 0, 2, 2, 49]
}

/// Joins the handshake message out of its records. `None`: not all of it has come.
fn assemble(mut wire: &[u8]) -> Result<Option<Cow<'_, [u8]>>, &'static str> {
    let mut message = Cow::Borrowed(&[][..]);
    for _ in 0..MAX_RECORDS {
        let Some((&[kind, major, _, high, low], rest)) = wire.split_first_chunk() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind != HANDSHAKE || major != 3 {
            return Err("ClientHello is interrupted by another record");
        }
        if length == 0 || length > MAX_FRAGMENT {
            return Err("TLS record is empty or longer than 16 KiB");
        }
        // A fragment that has come in part is looked at as well, to fail early.
        let fragment = rest.get(..length).unwrap_or(rest);
        if message.is_empty() {
            message = Cow::Borrowed(fragment);
        } else {
            message.to_mut().extend_from_slice(fragment);
        }
        match message_length(&message)? {
            Some(want) if message.len() == want && fragment.len() == length => {
                return Ok(Some(message));
            }
            // RFC 8446, 5.1: keys change after this message, so it must end with its record.
            Some(want) if message.len() >= want => {
                return Err("TLS record goes on after ClientHello");
            }
            Some(_) | None if fragment.len() < length => return Ok(None),
            Some(_) | None => wire = rest.get(length..).unwrap_or_default(),
        }
    }
    Err("ClientHello is cut into too many records")
}

/// Length of the handshake message including its own header, once that header is there.
fn message_length(message: &[u8]) -> Result<Option<usize>, &'static str> {
    match *message {
        [CLIENT_HELLO, high, mid, low, ..] => {
            let body = usize::from(high) << 16 | usize::from(mid) << 8 | usize::from(low);
            let whole = body.saturating_add(4);
            if whole > MAX_HELLO { Err("ClientHello exceeds 64 KiB") } else { Ok(Some(whole)) }
        }
        [] | [CLIENT_HELLO, ..] => Ok(None),
        _ => Err("first handshake message is not a ClientHello"),
    }
}

/// Reads a whole handshake message. Everything must add up to the last byte.
fn read_hello(message: &[u8]) -> Result<ClientHello, &'static str> {
    const CUT: &str = "ClientHello ends in the middle of a field";
    let mut fields = Fields(message);
    // Handshake header (4), legacy version (2), random (32).
    fields.take(38).ok_or(CUT)?;
    let session = fields.vec8().ok_or(CUT)?;
    let suites = fields.vec16().ok_or(CUT)?;
    let compression = fields.vec8().ok_or(CUT)?;
    if session.len() > 32 || suites.is_empty() || suites.len() % 2 != 0 || compression.is_empty() {
        return Err("ClientHello has impossible session, cipher or compression fields");
    }

    let mut hello = ClientHello { sni: None, ech: false };
    if fields.0.is_empty() {
        return Ok(hello);
    }
    let mut extensions = Fields(fields.vec16().ok_or(CUT)?);
    if !fields.0.is_empty() {
        return Err("ClientHello goes on after its extensions");
    }
    while !extensions.0.is_empty() {
        let kind = extensions.u16().ok_or(CUT)?;
        let data = extensions.vec16().ok_or(CUT)?;
        match kind {
            // One server would take the first, another the last.
            SERVER_NAME if hello.sni.is_some() => return Err("two server_name extensions"),
            SERVER_NAME => hello.sni = Some(read_server_name(data)?),
            ENCRYPTED_CLIENT_HELLO | ENCRYPTED_SERVER_NAME => hello.ech = true,
            _ => {}
        }
    }
    Ok(hello)
}

/// Reads the extension's list, which must hold exactly one host name and nothing else.
fn read_server_name(data: &[u8]) -> Result<String, &'static str> {
    const SHAPE: &str = "server_name is not a list of exactly one host name";
    let mut outer = Fields(data);
    let mut list = Fields(outer.vec16().ok_or(SHAPE)?);
    let kind = list.u8().ok_or(SHAPE)?;
    let name = list.vec16().ok_or(SHAPE)?;
    if kind != HOST_NAME || !list.0.is_empty() || !outer.0.is_empty() {
        return Err(SHAPE);
    }
    let name = std::str::from_utf8(name).or(Err("server name is not ASCII"))?;
    names::canonical(name).map_err(|error| match error {
        NameError::Empty => "server name is empty",
        NameError::TooLong => "server name is longer than 253 bytes",
        NameError::Label => "server name is not a host name",
        NameError::Address => "server name is an IP address",
    })
}

/// Takes length-prefixed fields off the front of a slice.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*first))
    }

    fn vec8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    fn vec16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vec16(body: &[u8]) -> Vec<u8> {
        let mut out = u16::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        out.extend_from_slice(body);
        out
    }

    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [kind.to_be_bytes().to_vec(), vec16(body)].concat()
    }

    fn server_name(name: &[u8]) -> Vec<u8> {
        extension(0, &vec16(&[vec![0], vec16(name)].concat()))
    }

    /// A handshake message with these extensions.
    fn message(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend_from_slice(&[7; 32]);
        body.push(32);
        body.extend_from_slice(&[9; 32]);
        body.extend_from_slice(&vec16(&[0x13, 0x01, 0x13, 0x02]));
        body.extend_from_slice(&[1, 0]);
        body.extend_from_slice(&vec16(extensions));
        wrap(1, &body)
    }

    fn wrap(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind], &length[1..], body].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(|part| [vec![22, 3, 1], vec16(part)].concat()).collect()
    }

    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        records(&message(&extensions.concat()), MAX_FRAGMENT)
    }

    fn found(sni: Option<&str>, ech: bool) -> Hello {
        Hello::Found(ClientHello { sni: sni.map(str::to_owned), ech })
    }

    fn check(extensions: &[Vec<u8>], want: &Hello) {
        assert_eq!(&parse(&hello(extensions)), want);
    }

    #[test]
    fn a_server_name_is_found_and_made_canonical() {
        let supported = extension(43, &[2, 3, 4]);
        check(
            &[supported.clone(), server_name(b"Example.COM")],
            &found(Some("example.com"), false),
        );
        check(&[server_name(b"a_b.x-y.example.")], &found(Some("a_b.x-y.example"), false));
        check(&[supported], &found(None, false));
        check(&[], &found(None, false));
    }

    #[test]
    fn encrypted_client_hello_is_seen() {
        let ech = extension(0xfe0d, &[0; 100]);
        check(&[ech, server_name(b"public.example")], &found(Some("public.example"), true));
        check(&[extension(0xffce, &[0; 9])], &found(None, true));
    }

    #[test]
    fn hello_without_extensions_block_has_no_name() {
        let body = [&[3, 0][..], &[7; 32], &[0, 0, 2, 0, 5, 1, 0]].concat();
        assert_eq!(parse(&records(&wrap(1, &body), 99)), found(None, false));
    }

    #[test]
    fn names_that_no_policy_can_judge_are_malformed() {
        for (name, want) in [
            (&b"192.0.2.1"[..], "server name is an IP address"),
            (b"2001:db8::1", "server name is not a host name"),
            (b"0x7f.1", "server name is an IP address"),
            (b"a..example", "server name is not a host name"),
            (b"a.example\0.evil.test", "server name is not a host name"),
            (b"a example", "server name is not a host name"),
            ("b\u{fc}cher.example".as_bytes(), "server name is not a host name"),
            (b"\xff\xfe.example", "server name is not ASCII"),
            (b"", "server name is empty"),
            (b".", "server name is empty"),
            (&[b'a'; 300], "server name is longer than 253 bytes"),
        ] {
            check(&[server_name(name)], &Hello::Malformed(want));
        }
    }

    #[test]
    fn exactly_one_host_name_is_accepted() {
        let shape = Hello::Malformed("server_name is not a list of exactly one host name");
        let entry = [vec![0], vec16(b"a.example")].concat();
        let other = [vec![1], vec16(b"a.example")].concat();
        check(&[extension(0, &vec16(&[entry.clone(), entry.clone()].concat()))], &shape);
        check(&[extension(0, &vec16(&[entry.clone(), other.clone()].concat()))], &shape);
        check(&[extension(0, &vec16(&other))], &shape);
        check(&[extension(0, &vec16(&[]))], &shape);
        check(&[extension(0, &[])], &shape);
        check(&[extension(0, &[vec16(&entry), vec![0]].concat())], &shape);
        check(
            &[server_name(b"a.example"), server_name(b"a.example")],
            &Hello::Malformed("two server_name extensions"),
        );
    }

    #[test]
    fn every_cut_between_segments_needs_more_and_then_is_found() {
        let message = message(&[extension(43, &[2, 3, 4]), server_name(b"a.example")].concat());
        for record_size in [1, 2, 3, 4, 5, 50, 4096] {
            let wire = records(&message, record_size);
            for cut in 0..wire.len() {
                assert_eq!(parse(&wire[..cut]), Hello::Need, "{record_size} {cut}");
            }
            assert_eq!(parse(&wire), found(Some("a.example"), false), "{record_size}");
        }
    }

    #[test]
    fn bytes_after_the_last_record_belong_to_later_messages() {
        let mut wire = hello(&[server_name(b"a.example")]);
        wire.extend_from_slice(&[23, 3, 3, 0, 1, 0]);
        assert_eq!(parse(&wire), found(Some("a.example"), false));
    }

    #[test]
    fn other_protocols_are_not_tls() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"SSH-2.0-x\r\n",
            b"\x80\x2e\x01\x03\x01",
            b"\x16\x02\x00",
            b"\x17\x03\x03",
            b"\0",
        ] {
            assert_eq!(parse(bytes), Hello::NotTls);
        }
        assert_eq!(parse(b""), Hello::Need);
        assert_eq!(parse(b"\x16"), Hello::Need);
    }

    #[test]
    fn broken_record_layers_are_malformed() {
        let whole = message(&server_name(b"a.example"));
        let first = records(&whole[..20], 20);
        let alert = [21, 3, 1, 0, 2, 1, 0];
        let second = [&whole[..], &whole[..]].concat();
        let mut overlong = records(&whole, 4096);
        overlong[4] += 1;
        for (wire, want) in [
            ([&first[..], &alert].concat(), "ClientHello is interrupted by another record"),
            (vec![22, 3, 1, 0, 0], "TLS record is empty or longer than 16 KiB"),
            (vec![22, 3, 1, 0x40, 1], "TLS record is empty or longer than 16 KiB"),
            (records(&second, 4096), "TLS record goes on after ClientHello"),
            (overlong, "TLS record goes on after ClientHello"),
            (records(&wrap(2, &[0; 40]), 99), "first handshake message is not a ClientHello"),
            (
                records(&message(&extension(21, &[0; 999])), 1),
                "ClientHello is cut into too many records",
            ),
        ] {
            assert_eq!(parse(&wire), Hello::Malformed(want));
        }
    }

    #[test]
    fn lengths_that_do_not_add_up_are_malformed() {
        let whole = message(&server_name(b"a.example"));
        for at in [38, 71, 72, 77, 79, 80, 83, 84, 85, 86, 87, 88, 89] {
            for value in [0, 1, 200] {
                let mut broken = whole.clone();
                if std::mem::replace(&mut broken[at], value) != value {
                    let got = parse(&records(&broken, 4096));
                    assert!(
                        matches!(got, Hello::Malformed(_)) || got == found(None, false),
                        "{at} {value} {got:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_hello_beyond_64_kib_is_malformed() {
        let huge = Hello::Malformed("ClientHello exceeds 64 KiB");
        assert_eq!(parse(&[22, 3, 1, 0x40, 0, 1, 1, 0, 0]), huge);
        let largest = wrap(1, &vec![0; MAX_HELLO - 4]);
        let wire = records(&largest, 16000);
        assert_eq!(parse(&wire[..MAX_HELLO - 1]), Hello::Need);
        assert_eq!(parse(&wire), huge);
    }

    #[test]
    fn the_alert_is_fatal_access_denied() {
        assert_eq!(alert_access_denied(), [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x31]);
    }

    #[test]
    fn garbage_never_panics_and_never_yields_a_broken_name() {
        let valid = hello(&[extension(43, &[2, 3, 4]), server_name(b"a.example")]);
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for round in 0..200_000_u32 {
            let mut wire = valid.clone();
            for _ in 0..=random() % 4 {
                let at = usize::try_from(random()).unwrap() % wire.len();
                wire[at] = random().to_le_bytes()[0];
            }
            if round % 3 == 0 {
                wire.truncate(usize::try_from(random()).unwrap() % wire.len());
            }
            if let Hello::Found(ClientHello { sni: Some(name), .. }) = parse(&wire) {
                assert_eq!(names::canonical(&name).as_ref(), Ok(&name));
            }
        }
    }

    /// A hello that may be sound: records of any size, a few bytes changed.
    fn wire() -> impl Strategy<Value = Vec<u8>> {
        let name = prop::option::of("[a-zA-Z0-9_-]{1,9}(\\.[a-z0-9]{1,5}){0,3}");
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        (name, 1..400_usize, changes, 0..9_usize).prop_map(|(name, size, changes, more)| {
            let name = name.map(|name| server_name(name.as_bytes())).unwrap_or_default();
            let mut wire = records(&message(&[extension(43, &[2, 3, 4]), name].concat()), size);
            for (at, byte) in changes {
                let at = at.index(wire.len());
                wire[at] = byte;
            }
            wire.extend(vec![22; more]);
            wire
        })
    }

    proptest! {
        #[test]
        fn the_first_answer_is_that_of_the_whole_wherever_the_bytes_are_cut(wire in wire()) {
            let answers = (1..=wire.len()).map(|end| parse(&wire[..end]));
            let first = answers.into_iter().find(|answer| *answer != Hello::Need);
            prop_assert_eq!(first.unwrap_or(Hello::Need), parse(&wire));
        }
    }
}
