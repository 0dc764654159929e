//! The way to Squid: PROXY header, request, status.
//!
//! Owns: Squid's three loopback ports and the key that Squid demands. Must never: connect anywhere else.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::proxy_header;
use crate::plan::addresses;
use crate::proxy::config::{TLV_KEY, TLV_METADATA, TLV_SHOWN};
use crate::proxy::{Demand, Ports, State};

/// How long an early connection waits for Squid to start. Squid needs 40 ms; a loaded machine some seconds.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long Squid may take to answer a CONNECT: its own `connect_timeout` for every address, and DNS before that.
const ANSWER_PATIENCE: Duration = Duration::from_mins(2);
/// Bytes of the longest answer head.
const MAX_ANSWER: usize = 16 * 1024;
/// Tries to reach Squid's port while it restarts, and the pause between them: one second in all.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Where Squid listens and how it knows us.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Squid's ports.
    pub ports: Ports,
    /// The per-run secret.
    pub key: Arc<str>,
    /// Squid's state.
    pub state: watch::Receiver<State>,
    /// Tells Squid that it is needed.
    pub demand: Demand,
}

/// What Squid is told of a connection beside the request.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) client_port: u16,
    pub(crate) original: SocketAddrV4,
    pub(crate) name: Arc<str>,
    pub(crate) pid: u32,
    /// What the client calls itself: Squid logs it.
    pub(crate) user_agent: Option<String>,
    pub(crate) comm: String,
}

/// A request for Squid.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// Open a tunnel.
    Tunnel {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// The client's own origin-form request to port 80.
    Origin(Bytes),
    /// The client's own proxy-form request.
    Forward(Bytes),
}

impl Request {
    /// The client's own bytes, which begin with its request line; none of a tunnel.
    pub(super) fn head(&self) -> &[u8] {
        match self {
            Self::Tunnel { .. } => &[],
            Self::Origin(bytes) | Self::Forward(bytes) => bytes,
        }
    }

    /// Bytes of the client's own that are in it.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Tunnel { .. } => 0,
            Self::Origin(bytes) | Self::Forward(bytes) => u64::try_from(bytes.len()).unwrap_or(0),
        }
    }
}

/// Why there is no tunnel.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Squid denied what the policy allows.
    Denied(u16),
    /// The guard refused every address of the name.
    Inward(u16),
    /// The name has no address, or nobody could be asked for one.
    Unresolved(u16),
    /// Squid found no way to try: no address, for a tunnel, or no upstream proxy that answers.
    NoWay(u16),
    /// The origin could not be reached.
    Unreachable(u16),
    /// Squid could not be reached or did not answer.
    Broken(io::Error),
}

impl Failure {
    /// Squid's status, if it gave one.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Denied(status)
            | Self::Inward(status)
            | Self::Unresolved(status)
            | Self::NoWay(status)
            | Self::Unreachable(status) => Some(*status),
            Self::Broken(_) => None,
        }
    }

    /// Whether it is a refusal rather than a fault.
    pub(crate) fn is_denial(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Inward(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(_) => write!(f, "the proxy denied it"),
            Self::Inward(_) => {
                write!(f, "the name leads to a private, link-local, loopback or metadata address")
            }
            Self::Unresolved(status) => {
                write!(f, "the name could not be resolved (proxy status {status})")
            }
            Self::NoWay(status) => write!(
                f,
                "the name could not be resolved, or the upstream proxy could not be reached (proxy status {status})"
            ),
            Self::Unreachable(status) => {
                write!(f, "the destination could not be reached (proxy status {status})")
            }
            Self::Broken(error) => write!(f, "the proxy could not be reached: {error}"),
        }
    }
}

impl Upstream {
    /// Opens a tunnel.
    pub(crate) async fn tunnel(
        &self,
        tag: &Tag,
        host: &str,
        port: u16,
    ) -> Result<TcpStream, Failure> {
        let request = Request::Tunnel { host: host.to_owned(), port };
        let asking = async {
            let mut stream = self.ask(tag, &request, false).await?;
            let answer = read_answer(&mut stream).await?;
            Ok((stream, answer))
        };
        let (stream, answer) = timeout(ANSWER_PATIENCE, asking)
            .await
            .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
            .map_err(Failure::Broken)?;
        match answer.outcome()? {
            200 => Ok(stream),
            403 => Err(Failure::Denied(403)),
            status => Err(Failure::Unreachable(status)),
        }
    }

    /// Sends a request and gives the connection, on which the answer has yet to come.
    pub(super) async fn send(&self, tag: &Tag, request: &Request) -> io::Result<TcpStream> {
        self.ask(tag, request, false).await
    }

    /// Shows Squid a request that was denied already, for its log. No rule of Squid's allows it.
    pub(super) async fn show(&self, tag: &Tag, request: &Request) -> io::Result<u16> {
        let mut stream = self.ask(tag, request, true).await?;
        Ok(read_answer(&mut stream).await?.status)
    }

    async fn ask(&self, tag: &Tag, request: &Request, shown: bool) -> io::Result<TcpStream> {
        self.wait_until_ready().await?;
        let (port, bytes) = match request {
            Request::Tunnel { host, port } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let agent = tag.user_agent.as_deref();
                let agent =
                    agent.map(|agent| format!("User-Agent: {agent}\r\n")).unwrap_or_default();
                let head =
                    format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{agent}\r\n");
                (self.ports.tunnel, head.into())
            }
            Request::Origin(bytes) => (self.ports.accel, bytes.clone()),
            Request::Forward(bytes) => (self.ports.forward, bytes.clone()),
        };
        let mut message = self.header(tag, shown)?;
        message.extend_from_slice(&bytes);
        let mut stream = self.connect(port).await?;
        stream.write_all(&message).await?;
        Ok(stream)
    }

    fn header(&self, tag: &Tag, shown: bool) -> io::Result<Vec<u8>> {
        let client = SocketAddrV4::new(addresses::AGENT, tag.client_port);
        let metadata =
            proxy_header::text(&format!("pid={};comm={};name={}", tag.pid, tag.comm, tag.name));
        let shown: &[u8] = if shown { b"1" } else { b"0" };
        let fields = [
            (TLV_METADATA, metadata.as_bytes()),
            (TLV_KEY, self.key.as_bytes()),
            (TLV_SHOWN, shown),
        ];
        proxy_header::encode(client, tag.original, &fields).map_err(io::Error::other)
    }

    async fn wait_until_ready(&self) -> io::Result<()> {
        self.demand.raise();
        let mut state = self.state.clone();
        let settled =
            timeout(START_PATIENCE, state.wait_for(|state| *state != State::Starting)).await;
        match settled {
            Ok(Ok(state)) if matches!(*state, State::Ready { .. }) => Ok(()),
            Ok(_) => Err(io::Error::other("the proxy is not running")),
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Connects to one of Squid's ports; it closes them for a moment while it restarts.
    async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let mut tries = 0;
        loop {
            match TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && tries < TRIES => {
                    tries += 1;
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The head of Squid's answer.
struct Answer {
    status: u16,
    /// The error Squid names where the answer is its own.
    error: Option<String>,
}

impl Answer {
    /// `None` while the head is incomplete.
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        if head.parse(bytes).map_err(io::Error::other)?.is_partial() {
            return Ok(None);
        }
        let status = head.code.ok_or(io::ErrorKind::InvalidData)?;
        let named =
            head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("X-Squid-Error"));
        let error = named.map(|field| String::from_utf8_lossy(field.value).into_owned());
        Ok(Some(Self { status, error }))
    }

    /// What it means for the record. The guard refuses with EPERM, which nothing else on Squid's way gives.
    fn outcome(&self) -> Result<u16, Failure> {
        match (self.status, self.error.as_deref()) {
            (503, Some("ERR_CONNECT_FAIL 1")) => Err(Failure::Inward(503)),
            (status, Some(error)) if error.starts_with("ERR_DNS_FAIL") => {
                Err(Failure::Unresolved(status))
            }
            (status, Some(error)) if error.starts_with("ERR_CANNOT_FORWARD") => {
                Err(Failure::NoWay(status))
            }
            (403, Some(error)) if error.contains("ERR_AWF") => Err(Failure::Denied(403)),
            (status @ 500..=599, Some(_)) => Err(Failure::Unreachable(status)),
            (status, _) => Ok(status),
        }
    }
}

/// What became of a plain request, from the first bytes of the answer; `None` if they are no complete head. An origin that
/// gives itself out as Squid can only make its own connection look refused.
pub(super) fn outcome_of(answer: &[u8]) -> Result<Option<u16>, Failure> {
    match Answer::parse(answer) {
        Ok(Some(answer)) => answer.outcome().map(Some),
        Ok(None) | Err(_) => Ok(None),
    }
}

async fn read_answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(answer) = Answer::parse(&bytes)? {
            return Ok(answer);
        }
        if bytes.len() > MAX_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}
