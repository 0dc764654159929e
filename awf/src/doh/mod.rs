//! Name queries of Squid's, over HTTPS or to nobody: a resolver on a loopback address of the run's own.
//!
//! Owns that address, which the guard lets Squid ask on port 53 and nothing else. Takes queries for addresses of
//! names that may be reached, gives what the server answers. Must never ask anybody in another way: what
//! cannot be asked is answered SERVFAIL, and the connection does not come about.

mod client;

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::doors::name::{MAX_MESSAGE, Request, read_message, text_of};
use crate::plan::outward::Doh;
use client::Client;

/// The port of every resolver (RFC 1035), and the only one that Squid knows.
const PORT: u16 = 53;
/// Bytes of an answer by datagram for who says nothing else (RFC 1035, 4.2.1).
const SMALL: u16 = 512;
/// Queries that wait for an answer at a time. Squid asks two for a connection.
const WAITING: usize = 512;
/// Connections at a time; Squid uses one, where an answer does not fit into a datagram.
const CONNECTIONS: usize = 16;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// Pause after an error of the socket itself, such as running out of descriptors.
const AFTER_ERROR: Duration = Duration::from_millis(20);

/// Whether a name, in lower case, may be asked for.
type Judge = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// A resolver that serves until it is dropped.
#[derive(Debug)]
pub struct Forwarder {
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Forwarder {
    /// Takes the address and serves it.
    pub async fn start(
        doh: &Doh,
        judge: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<Self> {
        let resolver = Resolver::new(doh, judge);
        Self::serve(doh.listen, resolver).await.context("--dns-over-https")
    }

    /// Takes the address and refuses all queries.
    pub async fn silent(listen: Ipv4Addr) -> Result<Self> {
        let resolver = Resolver { client: None, judge: Box::new(|_name| false) };
        Self::serve(listen, resolver).await.context("--upstream-proxy")
    }

    async fn serve(listen: Ipv4Addr, resolver: Resolver) -> Result<Self> {
        let taken = |error: io::Error| {
            anyhow::anyhow!(
                "listen on {listen}, port {PORT}: {error}; end what takes this port of every address, or let it listen on \
                 127.0.0.1 only"
            )
        };
        let datagrams = UdpSocket::bind((listen, PORT)).await.map_err(taken)?;
        let streams = TcpListener::bind((listen, PORT)).await.map_err(taken)?;
        let resolver = Arc::new(resolver);
        Ok(Self {
            _tasks: [
                AbortOnDropHandle::new(tokio::spawn(Arc::clone(&resolver).serve_udp(datagrams))),
                AbortOnDropHandle::new(tokio::spawn(resolver.serve_tcp(streams))),
            ],
        })
    }
}

/// What both sockets need.
struct Resolver {
    client: Option<Client>,
    judge: Judge,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Resolver {
    fn new(doh: &Doh, judge: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { client: Some(Client::new(doh.clone())), judge: Box::new(judge) }
    }

    async fn serve_udp(self: Arc<Self>, socket: UdpSocket) {
        let (socket, waiting) = (Arc::new(socket), Arc::new(Semaphore::new(WAITING)));
        let mut packet = vec![0; MAX_MESSAGE];
        loop {
            let Ok(permit) = Arc::clone(&waiting).acquire_owned().await else { return };
            let Ok((length, asking)) = socket.recv_from(&mut packet).await else {
                sleep(AFTER_ERROR).await;
                continue;
            };
            let question = packet.get(..length).unwrap_or_default().to_vec();
            let (resolver, socket) = (Arc::clone(&self), Arc::clone(&socket));
            tokio::spawn(async move {
                if let Some(answer) = resolver.answer(&question, true).await
                    && let Err(error) = socket.send_to(&answer, asking).await
                {
                    tracing::debug!("an answer to {asking} cannot be sent: {error}");
                }
                drop(permit);
            });
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            let Ok((stream, _asking)) = listener.accept().await else {
                sleep(AFTER_ERROR).await;
                continue;
            };
            let resolver = Arc::clone(&self);
            tokio::spawn(async move {
                resolver.converse(stream).await;
                drop(permit);
            });
        }
    }

    /// Answers the messages of one connection in their order.
    async fn converse(&self, mut stream: TcpStream) {
        while let Ok(Ok(Some(question))) = timeout(IDLE, read_message(&mut stream)).await {
            let Some(answer) = self.answer(&question, false).await else { return };
            let Ok(length) = u16::try_from(answer.len()) else { return };
            let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
            let Ok(Ok(())) = timeout(IDLE, stream.write_all(&framed)).await else { return };
        }
    }

    /// The answer to one message; `None` if it is no question.
    async fn answer(&self, packet: &[u8], by_datagram: bool) -> Option<Vec<u8>> {
        let request = match Request::read(packet) {
            Ok(request) => request,
            Err(complaint) => return complaint,
        };
        let message = match self.resolve(&request.query).await {
            Ok(found) => {
                let mut message = request.reply(found.metadata.response_code);
                message.answers = found.answers;
                message.authorities = found.authorities;
                message
            }
            Err(code) => request.reply(code),
        };
        let bytes = message.to_vec().ok()?;
        let room = request.edns.map_or(SMALL, |edns| edns.max_payload().max(SMALL));
        if by_datagram && bytes.len() > usize::from(room) {
            return message.truncate().to_vec().ok();
        }
        Some(bytes)
    }

    async fn resolve(&self, query: &Query) -> Result<Message, ResponseCode> {
        let is_for_address = matches!(query.query_type(), RecordType::A | RecordType::AAAA);
        if query.query_class() != DNSClass::IN || !is_for_address {
            return Err(ResponseCode::Refused);
        }
        let name = text_of(query.name()).filter(|name| (self.judge)(name));
        if name.is_none() {
            return Err(ResponseCode::Refused);
        }
        let client = self.client.as_ref().ok_or(ResponseCode::Refused)?;
        client.ask(query).await.ok_or(ResponseCode::ServFail)
    }
}

#[cfg(test)]
mod tests;
