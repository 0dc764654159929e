//! What the sink saw, packet by packet: reads a pcap file and takes the headers apart.
//!
//! Takes bytes as tcpdump writes them (the savefile format of pcap-savefile(5), link type Ethernet); gives [`Packet`]s.
//! Pure; must never fail on a packet, however malformed: what cannot be read any deeper is reported as far as it was
//! understood, because "nothing else arrived" must count it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, SystemTime},
};

/// Length of the file header in bytes.
pub(super) const FILE_HEADER: usize = 24;
/// Length of a record's header in bytes: seconds, microseconds, captured length, original length; native byte order.
const RECORD_HEADER: usize = 16;

/// The innermost protocol that was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proto {
    /// ARP; the lab's own neighbours are static, so it is rare, yet possible.
    Arp,
    /// IPv6 neighbour discovery, router discovery and multicast listener reports: `ICMPv6` types 130 to 137, 143.
    Neighbour,
    /// TCP, over either IP version.
    Tcp,
    /// UDP, over either IP version.
    Udp,
    /// ICMP.
    Icmp,
    /// `ICMPv6` other than [`Self::Neighbour`].
    Icmpv6,
    /// Another IP protocol, by number.
    Ip(u8),
    /// Another `EtherType`.
    Ether(u16),
}

/// One packet that left the lab's host namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// When it arrived, by the machine's clock.
    pub time: SystemTime,
    /// Source address; none for ARP and other packets without IP.
    pub src: Option<IpAddr>,
    /// Destination address.
    pub dst: Option<IpAddr>,
    /// What it carries.
    pub proto: Proto,
    /// Source port of TCP and UDP; none in later fragments.
    pub sport: Option<u16>,
    /// Destination port of TCP and UDP.
    pub dport: Option<u16>,
    /// Length on the wire in bytes, Ethernet header included. Segmentation offload makes this up to 64 KiB.
    pub len: u32,
    /// The first bytes after the transport header (or the innermost header that was understood), at most about 500.
    pub payload: Vec<u8>,
}

impl Packet {
    /// Whether this is the IPv6 and ARP chatter any Linux interface makes on its own, rather than somebody's traffic.
    pub fn is_noise(&self) -> bool {
        matches!(self.proto, Proto::Arp | Proto::Neighbour)
    }
}

/// Reads the complete records of `bytes` (without the file's header). Gives the packets and how many bytes they took;
/// a record that is still being written stays for the next time.
pub(super) fn read_records(bytes: &[u8]) -> (Vec<Packet>, usize) {
    let (mut packets, mut used) = (Vec::new(), 0);
    while let Some((packet, length)) = bytes.get(used..).and_then(read_record) {
        packets.push(packet);
        used += length;
    }
    (packets, used)
}

fn read_record(bytes: &[u8]) -> Option<(Packet, usize)> {
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let since_epoch = Duration::from_secs(word(0)?.into()) + Duration::from_micros(word(4)?.into());
    let end = RECORD_HEADER.checked_add(usize::try_from(word(8)?).ok()?)?;
    let mut packet = dissect(bytes.get(RECORD_HEADER..end)?);
    packet.time = SystemTime::UNIX_EPOCH + since_epoch;
    packet.len = word(12)?;
    Some((packet, end))
}

/// A position in a frame that only moves forward and never past the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn short(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }
}

fn dissect(frame: &[u8]) -> Packet {
    let mut packet = Packet {
        time: SystemTime::UNIX_EPOCH,
        src: None,
        dst: None,
        proto: Proto::Ether(0),
        sport: None,
        dport: None,
        len: 0,
        payload: Vec::new(),
    };
    let mut reader = Reader(frame);
    // The answer says how far reading came; whatever was learnt until then is in the packet already.
    let _depth = ethernet(&mut reader, &mut packet);
    packet.payload = reader.0.to_vec();
    packet
}

fn ethernet(reader: &mut Reader<'_>, packet: &mut Packet) -> Option<()> {
    reader.take(12)?;
    let kind = reader.short()?;
    packet.proto = Proto::Ether(kind);
    match kind {
        0x0800 => ipv4(reader, packet),
        0x0806 => {
            packet.proto = Proto::Arp;
            Some(())
        }
        0x86dd => ipv6(reader, packet),
        _ => Some(()),
    }
}

/// RFC 791, 3.1.
fn ipv4(reader: &mut Reader<'_>, packet: &mut Packet) -> Option<()> {
    let header_length = usize::from(reader.byte()? & 0x0f) * 4;
    reader.take(5)?;
    let fragment_offset = reader.short()? & 0x1fff;
    reader.take(1)?;
    let protocol = reader.byte()?;
    packet.proto = Proto::Ip(protocol);
    reader.take(2)?;
    packet.src = Some(Ipv4Addr::from(reader.array::<4>()?).into());
    packet.dst = Some(Ipv4Addr::from(reader.array::<4>()?).into());
    reader.take(header_length.checked_sub(20)?)?;
    transport(reader, packet, protocol, fragment_offset == 0)
}

/// RFC 8200, 3 and 4.
fn ipv6(reader: &mut Reader<'_>, packet: &mut Packet) -> Option<()> {
    reader.take(6)?;
    let mut next = reader.byte()?;
    packet.proto = Proto::Ip(next);
    reader.take(1)?;
    packet.src = Some(Ipv6Addr::from(reader.array::<16>()?).into());
    packet.dst = Some(Ipv6Addr::from(reader.array::<16>()?).into());
    let mut first_fragment = true;
    // Hop-by-hop options, routing, fragment, destination options.
    while matches!(next, 0 | 43 | 44 | 60) {
        let following = reader.byte()?;
        if next == 44 {
            reader.take(1)?;
            first_fragment = reader.short()? >> 3 == 0;
            reader.take(4)?;
        } else {
            let units_of_8 = usize::from(reader.byte()?);
            reader.take(6 + 8 * units_of_8)?;
        }
        next = following;
        packet.proto = Proto::Ip(next);
    }
    transport(reader, packet, next, first_fragment)
}

fn transport(
    reader: &mut Reader<'_>,
    packet: &mut Packet,
    protocol: u8,
    first_fragment: bool,
) -> Option<()> {
    packet.proto = match protocol {
        1 => Proto::Icmp,
        6 => Proto::Tcp,
        17 => Proto::Udp,
        58 if first_fragment && matches!(reader.0.first(), Some(130..=137 | 143)) => {
            Proto::Neighbour
        }
        58 => Proto::Icmpv6,
        other => Proto::Ip(other),
    };
    if first_fragment && matches!(packet.proto, Proto::Tcp | Proto::Udp) {
        packet.sport = Some(reader.short()?);
        packet.dport = Some(reader.short()?);
        if packet.proto == Proto::Udp {
            reader.take(4)?;
        } else {
            reader.take(8)?;
            let header_length = usize::from(reader.byte()? >> 4) * 4;
            reader.take(header_length.checked_sub(13)?)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u16, body: &[u8]) -> Vec<u8> {
        [&[0; 12], &kind.to_be_bytes()[..], body].concat()
    }

    fn v4(protocol: u8, fragment: u16, body: &[u8]) -> Vec<u8> {
        let mut header = vec![0x45, 0, 0, 0, 0, 0];
        header.extend(fragment.to_be_bytes());
        header.extend([64, protocol, 0, 0, 100, 64, 77, 2, 203, 0, 113, 66]);
        frame(0x0800, &[&header, body].concat())
    }

    fn v6(next: u8, body: &[u8]) -> Vec<u8> {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        header.extend(Ipv6Addr::LOCALHOST.octets());
        header.extend(Ipv6Addr::LOCALHOST.octets());
        frame(0x86dd, &[&header, body].concat())
    }

    #[test]
    fn udp_has_ports_and_payload() {
        let packet = dissect(&v4(17, 0, b"\x00\x35\x01\xbb\0\0\0\0secret"));
        assert_eq!((packet.sport, packet.dport), (Some(53), Some(443)));
        assert_eq!(packet.dst, Some("203.0.113.66".parse().unwrap()));
        assert_eq!(packet.payload, b"secret");
    }

    #[test]
    fn later_fragments_keep_their_protocol_without_ports() {
        let packet = dissect(&v4(17, 0x0001, b"\x00\x35\x01\xbb"));
        assert_eq!((packet.proto, packet.dport), (Proto::Udp, None));
    }

    #[test]
    fn multicast_reports_behind_hop_by_hop_options_are_noise() {
        let packet = dissect(&v6(0, &[58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0]));
        assert!(packet.is_noise());
    }

    #[test]
    fn echo_requests_are_not_noise() {
        assert!(!dissect(&v6(58, &[128, 0, 0, 0])).is_noise());
        assert!(!dissect(&v4(1, 0, &[8, 0, 0, 0])).is_noise());
    }

    #[test]
    fn unknown_protocols_are_reported_by_number() {
        assert_eq!(dissect(&v4(132, 0, &[])).proto, Proto::Ip(132));
        assert_eq!(dissect(&frame(0x88b5, &[])).proto, Proto::Ether(0x88b5));
        assert_eq!(dissect(&[]).proto, Proto::Ether(0));
    }

    #[test]
    fn truncated_frames_are_still_packets() {
        let whole = v4(6, 0, &[0; 20]);
        for length in 0..whole.len() {
            assert_eq!(dissect(&whole[..length]).time, SystemTime::UNIX_EPOCH);
        }
    }

    #[test]
    fn a_half_written_record_waits() {
        let body = v4(17, 0, &[0; 8]);
        let length = u32::try_from(body.len()).unwrap().to_ne_bytes();
        let record = [&[0; 8], &length[..], &length[..], &body].concat();
        let two = [record.clone(), record.clone()].concat();
        assert_eq!(read_records(&two).0.len(), 2);
        assert_eq!(read_records(&two[..two.len() - 1]).1, record.len());
    }
}
