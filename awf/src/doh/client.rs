//! The connection to the server (RFC 8484): TLS, HTTP/2, one message for each request.
//!
//! Owns the connection and that its failure is told once. Must never speak to a server whose certificate is not for
//! its name, follow a redirect, or send more of a query than its name and type.

use std::io;
use std::sync::Arc;
use std::sync::Mutex as PlainMutex;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::api_proxy::way::configure;
use crate::plan::outward::Doh;

/// How long a connection may take for one of the server's addresses.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// How long everything may take. Squid gives up after ten seconds (`dns_timeout`).
const PATIENCE: Duration = Duration::from_secs(8);
/// Bytes of the longest DNS message.
const MAX_ANSWER: usize = 65_535;
/// The media type.
const MESSAGE: &str = "application/dns-message";
/// The protocol that is offered, and must be taken.
const PROTOCOL: &str = "h2";

/// A way to send requests, and the task that moves their bytes.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: Arc<AbortOnDropHandle<()>>,
}

impl Clone for Connection {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), task: Arc::clone(&self.task) }
    }
}

/// Asks the server.
#[derive(Debug)]
pub(super) struct Client {
    doh: Doh,
    tls: OnceCell<Arc<ClientConfig>>,
    connection: Mutex<Option<Connection>>,
    /// What was complained about last; the same again is not told again.
    complaint: PlainMutex<String>,
}

impl Client {
    pub(super) fn new(doh: Doh) -> Self {
        Self {
            doh,
            tls: OnceCell::new(),
            connection: Mutex::default(),
            complaint: PlainMutex::default(),
        }
    }

    /// What the server says; nothing if it could not be asked.
    pub(super) async fn ask(&self, query: &Query) -> Option<Message> {
        let asked = timeout(PATIENCE, self.ask_twice(query)).await;
        let asked =
            asked.unwrap_or_else(|_elapsed| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        match asked {
            Ok(answer) => Some(answer),
            Err(error) => {
                // Whatever is wrong with the connection, the next query gets a new one.
                self.connection.lock().await.take();
                self.complain(&format!("{error:#}"));
                None
            }
        }
    }

    fn complain(&self, reason: &str) {
        let Ok(mut last) = self.complaint.lock() else { return };
        if *last != reason {
            let host = &self.doh.host;
            tracing::warn!("--dns-over-https: no name can be resolved: {host}: {reason}");
            reason.clone_into(&mut last);
        }
    }

    /// A server may close an idle connection whenever it likes: what fails on an old one is asked once more.
    async fn ask_twice(&self, query: &Query) -> Result<Message> {
        let mut message = Message::new(0, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(query.clone());
        let bytes = Bytes::from(message.to_vec().context("write the query")?);
        let (connection, is_old) = self.connection().await?;
        let answer = match post(&self.doh, connection, bytes.clone()).await {
            Err(_gone) if is_old => {
                self.connection.lock().await.take();
                let (connection, _is_old) = self.connection().await?;
                post(&self.doh, connection, bytes).await?
            }
            answer => answer?,
        };
        read(&answer, query)
    }

    /// The connection, and whether it was there already.
    async fn connection(&self) -> Result<(Connection, bool)> {
        let mut slot = self.connection.lock().await;
        if let Some(known) = slot.as_ref().filter(|known| !known.sender.is_closed()) {
            return Ok((known.clone(), true));
        }
        let fresh = self.connect().await?;
        *slot = Some(fresh.clone());
        drop(slot);
        Ok((fresh, false))
    }

    async fn connect(&self) -> Result<Connection> {
        let authorities = || configure(self.doh.authorities.clone(), PROTOCOL);
        let config = self.tls.get_or_try_init(authorities).await;
        let config = Arc::clone(config.context("certification authorities")?);
        let name = ServerName::try_from(self.doh.host.clone()).context("a name for TLS")?;
        let stream = self.reach().await?;
        let stream = TlsConnector::from(config).connect(name, stream).await.context("TLS")?;
        let (_stream, session) = stream.get_ref();
        ensure!(session.alpn_protocol() == Some(PROTOCOL.as_bytes()), "it does not speak HTTP/2");
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .context("HTTP/2")?;
        let task = tokio::spawn(async move {
            // Whoever waits for an answer hears of an error too.
            let _broken = connection.await.is_err();
        });
        Ok(Connection { sender, task: Arc::new(AbortOnDropHandle::new(task)) })
    }

    /// The first of the server's addresses that answers.
    async fn reach(&self) -> Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in &self.doh.servers {
            let connecting = timeout(CONNECT_PATIENCE, TcpStream::connect(address)).await;
            match connecting.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last).context("connect")
    }
}

async fn post(doh: &Doh, mut connection: Connection, query: Bytes) -> Result<Bytes> {
    let host = if doh.host.contains(':') { format!("[{}]", doh.host) } else { doh.host.clone() };
    let port = doh.servers.first().map_or(443, std::net::SocketAddr::port);
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let request = Request::post(format!("https://{host}{port}{}", doh.path))
        .header(CONTENT_TYPE, MESSAGE)
        .header(ACCEPT, MESSAGE)
        .body(Full::new(query))?;
    let answer = connection.sender.send_request(request).await?;
    let status = answer.status();
    if status != StatusCode::OK {
        bail!("it answers with status {status}");
    }
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    ensure!(kind.is_some_and(|kind| kind.starts_with(MESSAGE)), "its answer is no DNS message");
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("its answer cannot be read: {error}"))?;
    // The task must live until here.
    drop(connection);
    Ok(body.to_bytes())
}

/// The answer, if it is one to this question.
fn read(bytes: &[u8], query: &Query) -> Result<Message> {
    let answer = Message::from_vec(bytes).context("its answer is no DNS message")?;
    let is_answer = answer.metadata.message_type == MessageType::Response;
    let is_for_it = answer.queries.len() == 1 && answer.queries.first() == Some(query);
    ensure!(is_answer && is_for_it, "its answer is to another question");
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(answer),
        code => bail!("it says {code}"),
    }
}
