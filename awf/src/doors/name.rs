//! The name door: a DNS resolver for the agent that asks nobody.
//!
//! Takes DNS messages of the agent, over UDP or TCP, and gives each name a synthetic address of the
//! shared [`NameTable`], so that the `connect()` that follows carries the name. It has no upstream
//! and opens no socket: a query can never carry data out. It never decides whether a name is
//! allowed (denied names get an address too, and their connection is refused with the full story),
//! and it never answers with more than a few hundred bytes.
//!
//! Sources: RFC 1035 (format), RFC 2308 (negative answers), RFC 6303 (the SOA of local zones),
//! RFC 6761 (localhost, invalid), RFC 6891 (EDNS), RFC 7686 (onion), RFC 7766 (TCP).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use awf_common::decide::Transport;
use hickory_proto::op::{
    Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode,
};
use hickory_proto::rr::rdata::{A, PTR, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::names::{self, NameTable};

/// Seconds a client may keep an answer. The mapping holds for the whole run; a short time only
/// keeps caches that outlive the run (a browser profile, nscd) from using it in the next one.
const TTL_S: u32 = 60;

/// Bytes of the largest message read. A query is at most 271 bytes without options; resolvers pad
/// to 468 (RFC 8467).
pub(crate) const MAX_MESSAGE: usize = 4096;

/// Bytes of UDP payload the answer claims to take (the value of DNS flag day 2020).
const EDNS_PAYLOAD: u16 = 1232;

/// TCP connections served at once; more wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 64;

/// How long a TCP client may take for its next message.
const TCP_IDLE: Duration = Duration::from_secs(10);

/// Pause after an error of the socket itself, such as running out of descriptors.
const AFTER_ERROR: Duration = Duration::from_millis(20);

/// One question of the agent and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The agent's socket, where a transport brought the question.
    pub client: Option<(Transport, SocketAddr)>,
    /// The name in lower case; bytes that are no plain text are escaped as in zone files.
    pub name: &'a str,
    /// The type asked for.
    pub kind: RecordType,
    /// The answer given.
    pub outcome: &'a Outcome,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The synthetic address of the name.
    Synthetic(Ipv4Addr),
    /// The address of a known host.
    Host(Ipv4Addr),
    /// The name of a synthetic address.
    Pointer(Arc<str>),
    /// The name exists, but has nothing of this type.
    NoData,
    /// Likewise, of a known host: asking for it tells nobody anything.
    HostNoData,
    /// There is no such name.
    NoSuchName,
    /// The table has no address left for this name.
    Exhausted,
    /// Not of the Internet class.
    Refused,
}

/// A resolver without upstream. See the module's text.
pub struct NameDoor {
    table: Arc<NameTable>,
    hosts: HashMap<String, Ipv4Addr>,
    favour: Box<dyn Fn(&str) -> bool + Send + Sync>,
    on_query: Box<dyn Fn(&Asked<'_>) + Send + Sync>,
}

impl fmt::Debug for NameDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameDoor").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl NameDoor {
    /// A door over `table`.
    ///
    /// `hosts` are names with an address of their own (the agent's host name, peers); `localhost`
    /// is known anyway. `favour` says whether the policy allows a canonical name: such names have
    /// addresses in reserve. `on_query` sees each question once, before its answer leaves, on the
    /// thread that serves it, so it must not block.
    pub fn new(
        table: Arc<NameTable>,
        hosts: HashMap<String, Ipv4Addr>,
        favour: impl Fn(&str) -> bool + Send + Sync + 'static,
        on_query: impl Fn(&Asked<'_>) + Send + Sync + 'static,
    ) -> Self {
        let hosts = hosts
            .into_iter()
            .map(|(name, address)| (name.trim_end_matches('.').to_ascii_lowercase(), address))
            .collect();
        Self { table, hosts, favour: Box::new(favour), on_query: Box::new(on_query) }
    }

    /// Answers one message. `None`: nothing to answer (no DNS header, or a response).
    pub fn answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        self.answer_to(None, packet)
    }

    fn answer_to(&self, client: Option<(Transport, SocketAddr)>, packet: &[u8]) -> Option<Vec<u8>> {
        let request = match Request::read(packet) {
            Ok(request) => request,
            Err(complaint) => return complaint,
        };
        if request.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
            return request.reply(ResponseCode::BADVERS).to_vec().ok();
        }
        let name = text_of(request.query.name());
        let shown = name.clone().unwrap_or_else(|| request.query.name().to_ascii());
        let outcome = self.decide(name.as_deref(), &request.query);
        let kind = request.query.query_type();
        (self.on_query)(&Asked { client, name: &shown, kind, outcome: &outcome });
        request.answer(&outcome).to_vec().ok()
    }

    /// `name` is the question's in lower case without trailing dot, or `None` if it is no text.
    fn decide(&self, name: Option<&str>, query: &Query) -> Outcome {
        if query.query_class() != DNSClass::IN {
            return Outcome::Refused;
        }
        let is_address = query.query_type() == RecordType::A;
        match name {
            None => Outcome::NoSuchName,
            Some("") => Outcome::NoData,
            Some(name) if is_reverse(name) => self.decide_reverse(name, query.query_type()),
            Some(name) => match self.host(name) {
                Some(address) if is_address => Outcome::Host(address),
                Some(_) => Outcome::HostNoData,
                None if !may_exist(name) => Outcome::NoSuchName,
                // The table is asked for addresses only: other types must not use it up.
                None if !is_address => Outcome::NoData,
                None => self
                    .table
                    .address_of(name, (self.favour)(name))
                    .map_or(Outcome::Exhausted, Outcome::Synthetic),
            },
        }
    }

    fn decide_reverse(&self, name: &str, kind: RecordType) -> Outcome {
        match reversed_address(name).and_then(|address| self.table.name_of(address)) {
            Some(name) if kind == RecordType::PTR => Outcome::Pointer(name),
            Some(_) => Outcome::NoData,
            None => Outcome::NoSuchName,
        }
    }

    fn host(&self, name: &str) -> Option<Ipv4Addr> {
        let local =
            || (name == "localhost" || name.ends_with(".localhost")).then_some(Ipv4Addr::LOCALHOST);
        self.hosts.get(name).copied().or_else(local)
    }

    /// Serves one UDP socket until the future is dropped.
    pub async fn serve_udp(self: Arc<Self>, socket: UdpSocket) {
        let mut packet = vec![0; MAX_MESSAGE];
        loop {
            let (length, client) = match socket.recv_from(&mut packet).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "name door cannot receive");
                    sleep(AFTER_ERROR).await;
                    continue;
                }
            };
            let question = packet.get(..length).unwrap_or_default();
            if let Some(answer) = self.answer_to(Some((Transport::Udp, client)), question)
                && let Err(error) = socket.send_to(&answer, client).await
            {
                tracing::debug!(%error, %client, "name door cannot send");
            }
        }
    }

    /// Serves one TCP socket until the future is dropped, and its connections with it.
    pub async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            if connections.len() >= MAX_CONNECTIONS {
                connections.join_next().await;
            }
            match listener.accept().await {
                Ok((stream, client)) => {
                    connections.spawn(Arc::clone(&self).converse(stream, client));
                }
                Err(error) => {
                    tracing::debug!(%error, "name door cannot accept");
                    sleep(AFTER_ERROR).await;
                }
            }
        }
    }

    /// Answers the messages of one connection in their order, however many the client sends ahead.
    async fn converse(self: Arc<Self>, mut stream: TcpStream, client: SocketAddr) {
        while let Ok(Ok(Some(message))) = timeout(TCP_IDLE, read_message(&mut stream)).await {
            let client = Some((Transport::Tcp, client));
            let Some(answer) = self.answer_to(client, &message) else { return };
            let Ok(length) = u16::try_from(answer.len()) else { return };
            let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
            // A client that does not read is given up as soon as one that does not write.
            let Ok(Ok(())) = timeout(TCP_IDLE, stream.write_all(&framed)).await else { return };
        }
    }
}

/// Reads one length-prefixed message. `None`: longer than any query, and not worth reading.
pub(crate) async fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_MESSAGE {
        return Ok(None);
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// A query that can be answered.
pub(crate) struct Request {
    asked: Metadata,
    pub(crate) query: Query,
    pub(crate) edns: Option<Edns>,
}

impl Request {
    /// Reads one message, or gives what is to be answered to it: nothing to what is no DNS, and nothing to a response, because
    /// answering answers is how two resolvers keep each other busy for ever.
    pub(crate) fn read(packet: &[u8]) -> Result<Self, Option<Vec<u8>>> {
        let mut decoder = BinDecoder::new(packet);
        let header = Header::read(&mut decoder).or(Err(None))?;
        if header.metadata.message_type == MessageType::Response {
            return Err(None);
        }
        Self::read_behind(&header, &mut decoder)
            .map_err(|code| reply(&header.metadata, code).to_vec().ok())
    }

    /// Checks the counts before anything is read: the decoder would reserve memory for them.
    fn read_behind(header: &Header, decoder: &mut BinDecoder<'_>) -> Result<Self, ResponseCode> {
        let counts = header.counts;
        if header.metadata.op_code != OpCode::Query {
            return Err(ResponseCode::NotImp);
        }
        if counts.queries != 1 || counts.answers != 0 || counts.authorities != 0 {
            return Err(ResponseCode::FormErr);
        }
        let query = Query::read(decoder).or(Err(ResponseCode::FormErr))?;
        let additionals = usize::from(counts.additionals);
        let (_, edns, _) = Message::read_records(decoder, additionals, true, OpCode::Query)
            .or(Err(ResponseCode::FormErr))?;
        Ok(Self { asked: header.metadata, query, edns })
    }

    /// A reply with the question as it was spelled: some resolvers hide a secret in its case
    /// (0x20).
    pub(crate) fn reply(&self, code: ResponseCode) -> Message {
        let mut message = reply(&self.asked, code);
        message.add_query(self.query.clone());
        if let Some(edns) = &self.edns {
            let mut own = Edns::new();
            own.set_max_payload(EDNS_PAYLOAD).set_dnssec_ok(edns.flags().dnssec_ok);
            message.set_edns(own);
        }
        message
    }

    fn answer(&self, outcome: &Outcome) -> Message {
        let (code, data) = match outcome {
            Outcome::Synthetic(address) | Outcome::Host(address) => {
                (ResponseCode::NoError, Some(RData::A(A(*address))))
            }
            Outcome::Pointer(name) => match Name::from_ascii(format!("{name}.")) {
                Ok(name) => (ResponseCode::NoError, Some(RData::PTR(PTR(name)))),
                Err(_) => (ResponseCode::ServFail, None),
            },
            Outcome::NoData | Outcome::HostNoData => (ResponseCode::NoError, None),
            Outcome::NoSuchName => (ResponseCode::NXDomain, None),
            Outcome::Exhausted => (ResponseCode::ServFail, None),
            Outcome::Refused => (ResponseCode::Refused, None),
        };
        let mut message = self.reply(code);
        match (outcome, data) {
            (_, Some(data)) => {
                message.add_answer(Record::from_rdata(self.query.name().clone(), TTL_S, data));
            }
            (Outcome::NoData | Outcome::HostNoData | Outcome::NoSuchName, None) => {
                message.add_authority(authority());
            }
            (_, None) => {}
        }
        message
    }
}

fn reply(asked: &Metadata, code: ResponseCode) -> Message {
    let mut message = Message::response(asked.id, asked.op_code);
    message.metadata = Metadata::response_from_request(asked);
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message
}

/// The record without which resolvers do not cache that a name or type is absent (RFC 2308). It
/// belongs to the root, which contains every name; its contents are those of RFC 6303, section 3.
fn authority() -> Record {
    let nobody =
        Name::root().prepend_label("invalid").and_then(|name| name.prepend_label("nobody"));
    let contact = nobody.unwrap_or_else(|_| Name::root());
    let soa = SOA::new(Name::root(), contact, 1, 3600, 1200, 604_800, TTL_S);
    Record::from_rdata(Name::root(), TTL_S, RData::SOA(soa))
}

/// The name in lower case without trailing dot; `None` if a label holds a dot or anything that is not printed as itself.
pub(crate) fn text_of(name: &Name) -> Option<String> {
    let mut text = String::with_capacity(names::MAX_NAME);
    for label in name {
        if !label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.') {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(std::str::from_utf8(label).ok()?);
    }
    text.make_ascii_lowercase();
    Some(text)
}

/// Whether a name can belong to a server on the Internet. Single labels cannot, and saying so makes
/// the client go through its search list; `invalid` and `onion` must not be answered otherwise.
fn may_exist(name: &str) -> bool {
    names::canonical(name).is_ok()
        && name.rsplit_once('.').is_some_and(|(_, top)| top != "invalid" && top != "onion")
}

fn is_reverse(name: &str) -> bool {
    ["in-addr.arpa", "ip6.arpa"].iter().any(|zone| {
        name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// `4.3.2.1.in-addr.arpa` to 1.2.3.4, in that spelling only.
fn reversed_address(name: &str) -> Option<Ipv4Addr> {
    let mut octets: Vec<&str> = name.strip_suffix(".in-addr.arpa")?.split('.').collect();
    octets.reverse();
    octets.join(".").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn door() -> NameDoor {
        door_over(15, |_| {})
    }

    fn door_over(prefix: u8, hook: impl Fn(&Asked<'_>) + Send + Sync + 'static) -> NameDoor {
        let table = NameTable::new(Ipv4Addr::new(198, 18, 0, 0), prefix).unwrap();
        let hosts = HashMap::from([
            ("Agent-7.".to_owned(), Ipv4Addr::new(172, 30, 0, 20)),
            ("123456789012".to_owned(), Ipv4Addr::new(172, 30, 0, 21)),
        ]);
        NameDoor::new(Arc::new(table), hosts, |name| name.ends_with("allowed.test"), hook)
    }

    /// A query as resolvers send it: id 0x1234, recursion desired.
    fn query(name: &str, kind: RecordType) -> Vec<u8> {
        let labels = name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes);
        query_of(&labels.collect::<Vec<_>>(), u16::from(kind), 1)
    }

    fn query_of(labels: &[&[u8]], kind: u16, class: u16) -> Vec<u8> {
        let mut packet = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
        for label in labels {
            packet.push(u8::try_from(label.len()).unwrap());
            packet.extend_from_slice(label);
        }
        packet.push(0);
        packet.extend_from_slice(&kind.to_be_bytes());
        packet.extend_from_slice(&class.to_be_bytes());
        packet
    }

    fn ask(door: &NameDoor, packet: &[u8]) -> Message {
        let answer = door.answer(packet).unwrap();
        assert!(answer.len() <= 512, "fits without EDNS");
        Message::from_vec(&answer).unwrap()
    }

    fn code(door: &NameDoor, name: &str, kind: RecordType) -> ResponseCode {
        ask(door, &query(name, kind)).metadata.response_code
    }

    fn address(door: &NameDoor, name: &str) -> Option<Ipv4Addr> {
        match ask(door, &query(name, RecordType::A)).answers.first().map(|record| &record.data) {
            Some(RData::A(A(address))) => Some(*address),
            _ => None,
        }
    }

    #[test]
    fn an_address_answer_has_exactly_these_bytes() {
        let got = door().answer(&query("wWw.Allowed.Test", RecordType::A)).unwrap();
        let want = b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\
            \x03wWw\x07Allowed\x04Test\x00\x00\x01\x00\x01\
            \xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc6\x13\x00\x00";
        assert_eq!(got, want);
    }

    #[test]
    fn a_missing_type_is_answered_with_exactly_these_bytes() {
        let got = door().answer(&query("a.test", RecordType::AAAA)).unwrap();
        let want = b"\x12\x34\x81\x80\x00\x01\x00\x00\x00\x01\x00\x00\
            \x01a\x04test\x00\x00\x1c\x00\x01\
            \x00\x00\x06\x00\x01\x00\x00\x00\x3c\x00\x25\
            \x00\x06nobody\x07invalid\x00\
            \x00\x00\x00\x01\x00\x00\x0e\x10\x00\x00\x04\xb0\x00\x09\x3a\x80\x00\x00\x00\x3c";
        assert_eq!(got, want);
    }

    #[test]
    fn names_get_lasting_addresses_whatever_their_case() {
        let door = door();
        let denied = address(&door, "Denied.Test").unwrap();
        assert_eq!(denied, Ipv4Addr::new(198, 18, 0, 1));
        assert_eq!(address(&door, "dENIED.test"), Some(denied));
        assert_eq!(address(&door, "x.allowed.test"), Some(Ipv4Addr::new(198, 19, 0, 0)));
        assert_eq!(address(&door, "_odd.-name-.test"), Some(Ipv4Addr::new(198, 18, 0, 2)));
    }

    #[test]
    fn other_types_have_no_data_and_use_no_address() {
        let door = door();
        for kind in [
            RecordType::AAAA,
            RecordType::HTTPS,
            RecordType::SVCB,
            RecordType::TXT,
            RecordType::MX,
            RecordType::SRV,
            RecordType::NS,
            RecordType::SOA,
            RecordType::CNAME,
            RecordType::ANY,
            RecordType::PTR,
            RecordType::Unknown(65280),
        ] {
            let message = ask(&door, &query("a.test", kind));
            assert_eq!(message.metadata.response_code, ResponseCode::NoError, "{kind}");
            assert!(message.answers.is_empty(), "{kind}");
            assert_eq!(message.authorities.len(), 1, "{kind}");
        }
        assert!(door.table.is_empty());
    }

    #[test]
    fn known_hosts_and_localhost_have_their_addresses() {
        let door = door();
        for (name, want) in [
            ("agent-7", "172.30.0.20"),
            ("AGENT-7", "172.30.0.20"),
            ("123456789012", "172.30.0.21"),
            ("localhost", "127.0.0.1"),
            ("a.b.localhost", "127.0.0.1"),
        ] {
            assert_eq!(address(&door, name), want.parse().ok(), "{name}");
            assert_eq!(code(&door, name, RecordType::AAAA), ResponseCode::NoError, "{name}");
        }
        assert!(door.table.is_empty());
    }

    #[test]
    fn names_that_cannot_exist_do_not() {
        let door = door();
        for name in [
            "router",
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "a b.test",
            "a@b.test",
            "x.invalid",
            "abc.onion",
            "notlocalhost",
        ] {
            assert_eq!(code(&door, name, RecordType::A), ResponseCode::NXDomain, "{name}");
            assert_eq!(code(&door, name, RecordType::AAAA), ResponseCode::NXDomain, "{name}");
            assert_eq!(ask(&door, &query(name, RecordType::A)).authorities.len(), 1, "{name}");
        }
        for labels in [&[&b"a.b"[..], b"test"][..], &[b"\xff\xfe", b"test"], &[b"\0", b"test"]] {
            let message = ask(&door, &query_of(labels, 1, 1));
            assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
        }
        assert_eq!(code(&door, "", RecordType::NS), ResponseCode::NoError);
        assert!(door.table.is_empty());
    }

    #[test]
    fn the_longest_names_are_answered_and_longer_ones_are_format_errors() {
        let label = [b'a'; 63];
        let longest: [&[u8]; 4] = [&label, &label, &label, &label[..61]];
        assert_eq!(ask(&door(), &query_of(&longest, 1, 1)).answers.len(), 1);
        assert_eq!(ask(&door(), &query_of(&longest, 28, 1)).authorities.len(), 1);
        let too_long: [&[u8]; 4] = [&label, &label, &label, &label[..62]];
        let message = ask(&door(), &query_of(&too_long, 1, 1));
        assert_eq!(message.metadata.response_code, ResponseCode::FormErr);
    }

    #[test]
    fn synthetic_addresses_point_back_to_their_names() {
        let door = door();
        let pointer = |name: &str| {
            let message = ask(&door, &query(name, RecordType::PTR));
            let data = message.answers.first().map(|record| record.data.to_string());
            (message.metadata.response_code, data)
        };
        address(&door, "Denied.Test").unwrap();
        let found = (ResponseCode::NoError, Some("denied.test.".to_owned()));
        assert_eq!(pointer("1.0.18.198.in-addr.arpa"), found);
        assert_eq!(pointer("1.0.18.198.IN-ADDR.arpa"), found);
        for name in [
            "2.0.18.198.in-addr.arpa",
            "8.8.8.8.in-addr.arpa",
            "18.198.in-addr.arpa",
            "in-addr.arpa",
            "x.in-addr.arpa",
            "01.0.18.198.in-addr.arpa",
            "1.0.0.0.ip6.arpa",
        ] {
            assert_eq!(pointer(name), (ResponseCode::NXDomain, None), "{name}");
        }
        assert_eq!(code(&door, "1.0.18.198.in-addr.arpa", RecordType::A), ResponseCode::NoError);
        assert_eq!(address(&door, "1.2.18.198.in-addr.arpa"), None);
        assert_eq!(door.table.len(), 1);
    }

    #[test]
    fn a_full_table_fails_for_denied_names_and_serves_allowed_ones() {
        let door = door_over(28, |_| {});
        let denied = (0..50).filter(|n| address(&door, &format!("n{n}.denied.test")).is_some());
        assert_eq!(denied.count(), 7);
        assert_eq!(code(&door, "n49.denied.test", RecordType::A), ResponseCode::ServFail);
        assert!(address(&door, "allowed.test").is_some());
    }

    #[test]
    fn the_record_sees_each_question_with_its_outcome() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let door = door_over(15, move |asked| {
            let line = format!("{} {} {:?}", asked.name, asked.kind, asked.outcome);
            sink.lock().unwrap().push(line);
        });
        door.answer(&query("WWW.Denied.test", RecordType::A));
        door.answer(&query("router", RecordType::AAAA));
        door.answer(&query_of(&[b"a\x07\xff"], 16, 1));
        door.answer(&query_of(&[b"a\n[INFO] b\x1b", b"Test"], 1, 1));
        door.answer(b"junk");
        assert_eq!(
            *seen.lock().unwrap(),
            [
                "www.denied.test A Synthetic(198.18.0.1)",
                "router AAAA NoSuchName",
                "a\\007\\377. TXT NoSuchName",
                "a\\012\\[INFO\\]\\040b\\033.Test. A NoSuchName"
            ]
        );
    }

    #[test]
    fn edns_is_echoed_with_our_size_and_their_flag() {
        let mut packet = query("a.test", RecordType::A);
        packet[11] = 1;
        // OPT: root, type 41, 4096 bytes, DO set, a cookie option that must not come back.
        packet.extend_from_slice(b"\0\x00\x29\x10\x00\0\0\x80\0\x00\x0c\x00\x0a\x00\x08cookies!");
        let message = ask(&door(), &packet);
        let edns = message.edns.as_ref().unwrap();
        assert_eq!((edns.max_payload(), edns.version()), (1232, 0));
        assert!(edns.flags().dnssec_ok && edns.options().as_ref().is_empty());
        assert_eq!(message.answers.len(), 1);

        let version = packet.len() - 17;
        packet[version] = 1;
        let message = ask(&door(), &packet);
        // The same number is BADSIG in messages that are signed.
        assert_eq!(u16::from(message.metadata.response_code), 16);
        assert!(message.answers.is_empty());
        assert!(ask(&door(), &query("a.test", RecordType::A)).edns.is_none());
    }

    #[test]
    fn requests_that_are_no_plain_query_are_turned_down() {
        let plain = query("a.test", RecordType::A);
        let with = |at: usize, value: u8| {
            let mut packet = plain.clone();
            packet[at] = value;
            packet
        };
        for (packet, want) in [
            (with(5, 0), ResponseCode::FormErr),
            (with(5, 2), ResponseCode::FormErr),
            (with(4, 255), ResponseCode::FormErr),
            (with(7, 1), ResponseCode::FormErr),
            (with(9, 1), ResponseCode::FormErr),
            (with(11, 1), ResponseCode::FormErr),
            (with(10, 255), ResponseCode::FormErr),
            (with(2, 0x21), ResponseCode::NotImp),
            (with(2, 0x29), ResponseCode::NotImp),
            (with(2, 0x79), ResponseCode::NotImp),
            (with(12, 200), ResponseCode::FormErr),
            (plain[..plain.len() - 1].to_vec(), ResponseCode::FormErr),
            (query_of(&[b"a", b"test"], 1, 3), ResponseCode::Refused),
            (query_of(&[b"a", b"test"], 1, 255), ResponseCode::Refused),
        ] {
            let message = ask(&door(), &packet);
            assert_eq!(message.metadata.response_code, want, "{packet:?}");
            assert_eq!(message.metadata.id, 0x1234);
            assert!(message.answers.is_empty());
        }
        assert_eq!(door().answer(&plain[..11]), None);
        assert_eq!(door().answer(&with(2, 0x81)), None, "a response is never answered");
    }

    #[test]
    fn garbage_never_panics_and_never_grows() {
        let door = door();
        let mut valid = query("www.allowed.test", RecordType::A);
        valid[11] = 1;
        valid.extend_from_slice(b"\0\x00\x29\x10\x00\0\0\x80\0\x00\x0c\x00\x0a\x00\x08cookies!");
        let mut seed = 0x1234_5678_9abc_def1_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for round in 0..200_000_u32 {
            let mut packet = valid.clone();
            for _ in 0..=random() % 5 {
                let at = usize::try_from(random()).unwrap() % packet.len();
                packet[at] = random().to_le_bytes()[0];
            }
            if round % 4 == 0 {
                packet.truncate(usize::try_from(random()).unwrap() % packet.len());
            }
            if let Some(answer) = door.answer(&packet) {
                assert!(answer.len() <= packet.len() + 64);
            }
        }
    }

    async fn framed(stream: &mut TcpStream) -> Vec<u8> {
        read_message(stream).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn udp_clients_are_served_and_named_in_the_record() {
        let asked = Arc::new(AtomicUsize::new(0));
        let port = Arc::clone(&asked);
        let door = door_over(15, move |asked| {
            port.store(asked.client.unwrap().1.port().into(), Ordering::SeqCst);
        });
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = server.local_addr().unwrap();
        let task = tokio::spawn(Arc::new(door).serve_udp(server));
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut answer = [0; 512];
        for packet in [&b"junk"[..], &[0; 0], &query("a.test", RecordType::A)] {
            client.send_to(packet, to).await.unwrap();
        }
        let length = client.recv(&mut answer).await.unwrap();
        assert_eq!(Message::from_vec(&answer[..length]).unwrap().answers.len(), 1);
        assert_eq!(asked.load(Ordering::SeqCst), usize::from(client.local_addr().unwrap().port()));
        task.abort();
    }

    #[tokio::test]
    async fn tcp_clients_may_send_ahead_and_are_answered_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let task = tokio::spawn(Arc::new(door()).serve_tcp(listener));
        let mut client = TcpStream::connect(to).await.unwrap();
        let mut ahead = Vec::new();
        for n in 0..50 {
            let packet = query(&format!("n{n}.test"), RecordType::A);
            ahead.extend_from_slice(&u16::try_from(packet.len()).unwrap().to_be_bytes());
            ahead.extend_from_slice(&packet);
        }
        // One byte first, so that the length prefix itself comes in two parts.
        client.write_all(&ahead[..1]).await.unwrap();
        sleep(Duration::from_millis(5)).await;
        client.write_all(&ahead[1..]).await.unwrap();
        for n in 0..50 {
            let message = Message::from_vec(&framed(&mut client).await).unwrap();
            assert_eq!(message.queries[0].name().to_string(), format!("n{n}.test."));
        }
        client.write_all(&[0xff, 0xff]).await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "too long a message ends it");
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn silent_tcp_clients_are_let_go_and_make_room_for_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let task = tokio::spawn(Arc::new(door()).serve_tcp(listener));
        let mut silent = Vec::new();
        for _ in 0..=MAX_CONNECTIONS {
            silent.push(TcpStream::connect(to).await.unwrap());
        }
        for client in &mut silent {
            assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        }
        task.abort();
    }
}
