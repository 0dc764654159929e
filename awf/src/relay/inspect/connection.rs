//! One connection whose TLS is ended here: HTTP on both sides, request by request.
//!
//! Takes the command's connection and the tunnel to the server. There is one connection to the server for one of the
//! client's, in the same version of HTTP, and it ends when either does. Must never: send on a request that was not judged,
//! or keep a body.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1 as asking1, http2 as asking2};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::{client, server};
use tokio_util::task::AbortOnDropHandle;

use super::Finding;
use super::exchange::{Counted, Exchange, Way};
use super::request::{Passed, address, is_websocket, strip};
use super::tls::{Both, Failed};
use crate::api_proxy::{Client, Counters, read_rest};
use crate::observe::record::Record;
use crate::policy::Decision;
use crate::relay::Relay;
use crate::relay::attempt::{Attempt, Ending};
use crate::relay::http_head::forbidden_text;

/// Fields of one head. Browsers send about twenty.
const MAX_FIELDS: usize = 128;
/// Bytes of all of them, as before TLS.
const MAX_HEAD: u32 = 64 << 10;
/// Bytes on their way in one stream and in all, so that large bodies do not wait for the other side's word.
const WINDOW: u32 = 1 << 20;

type Answer = Response<UnsyncBoxBody<Bytes, hyper::Error>>;
type ToClient = TokioIo<server::TlsStream<Client<TcpStream>>>;
type ToServer = TokioIo<client::TlsStream<TcpStream>>;

/// Asks the server.
enum Sender {
    /// One request after the other.
    One(Box<Mutex<asking1::SendRequest<Counted>>>),
    /// Many at a time.
    Many(asking2::SendRequest<Counted>),
}

/// What all requests of one connection share.
struct Connection {
    relay: Arc<Relay>,
    name: Arc<str>,
    decision: Decision,
    draft: Record,
    sender: Sender,
    /// A request was made: then the connection has no line of its own.
    asked: Arc<AtomicBool>,
    /// The client wants to go on as WebSocket.
    changing: AtomicBool,
}

/// Serves a connection that the policy and Squid allow: `first` is the client's hello.
pub(in crate::relay) async fn serve(
    relay: &Arc<Relay>,
    attempt: &mut Attempt,
    decision: &Decision,
    (client, server): (TcpStream, TcpStream),
    first: &[u8],
) -> Ending {
    let (Some(bump), Some(name)) = (&relay.inspect.bump, attempt.name()) else {
        return Ending::internal("TLS is to be looked into for no name");
    };
    let counters: Arc<Counters> = Arc::default();
    let client = Client::after(client, first, Arc::clone(&counters)).unread(first.into());
    let ending = match bump.both(&name, client, server).await {
        Ok(both) => exchange(relay, attempt, (decision, &name), both).await,
        Err(failed) => failed.ending(decision),
    };
    let (sent, received) = counters.totals();
    attempt.counters.add_sent(sent);
    attempt.counters.add_received(received);
    ending
}

impl Failed {
    fn ending(self, decision: &Decision) -> Ending {
        match self {
            Self::Client(reason) => Ending::refused("deny-not-tls", reason),
            Self::NotHttp => {
                let reason =
                    "the client offers no version of HTTP, and nothing else is let through";
                Ending::refused("deny-not-http", reason)
            }
            Self::Certificate(reason) => Ending::refused("deny-certificate", reason),
            Self::Server(reason) => Ending::unserved(decision, reason),
            Self::Unbelieved(error) => Ending::unserved(
                decision,
                format!(
                    "the client does not take the certificate of this run (--ssl-bump): {error}"
                ),
            ),
        }
    }
}

/// Serves all requests.
async fn exchange(
    relay: &Arc<Relay>,
    attempt: &Attempt,
    (decision, name): (&Decision, &Arc<str>),
    both: Both,
) -> Ending {
    let (client, server, h2) = (TokioIo::new(both.client), TokioIo::new(both.server), both.h2);
    let (sender, upstream) = match ask(server, h2).await {
        Ok(asked) => asked,
        Err(error) => return Ending::unserved(decision, format!("HTTP with {name}: {error}")),
    };
    let asked = Arc::clone(&attempt.recorded_elsewhere);
    let connection = Arc::new(Connection {
        relay: Arc::clone(relay),
        name: Arc::clone(name),
        decision: decision.clone(),
        draft: attempt.record(&relay.journal, Ending::allowed(decision, None)),
        sender,
        asked: Arc::clone(&asked),
        changing: AtomicBool::new(false),
    });
    let served = if h2 {
        serve_many(client, &connection, upstream).await
    } else {
        serve_one(client, &connection, upstream).await
    };
    match served {
        Err(error) if error.is_parse() => {
            asked.store(false, Ordering::Relaxed);
            Ending::refused("deny-not-http", "what the client says inside TLS is not HTTP")
        }
        // Whoever connects and asks nothing has still connected.
        _ => Ending::allowed(decision, Some(200)),
    }
}

async fn ask(server: ToServer, h2: bool) -> hyper::Result<(Sender, AbortOnDropHandle<()>)> {
    if h2 {
        let (sender, connection) = asking2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(server)
            .await?;
        let task = tokio::spawn(async move { drop(connection.await) });
        return Ok((Sender::Many(sender), AbortOnDropHandle::new(task)));
    }
    let (sender, connection) = asking1::Builder::new()
        .preserve_header_case(true)
        .max_headers(MAX_FIELDS)
        .handshake(server)
        .await?;
    let task = tokio::spawn(async move { drop(connection.with_upgrades().await) });
    Ok((Sender::One(Box::new(Mutex::new(sender))), AbortOnDropHandle::new(task)))
}

async fn serve_one(
    client: ToClient,
    connection: &Arc<Connection>,
    mut upstream: AbortOnDropHandle<()>,
) -> hyper::Result<()> {
    let service = service_fn(|request| Arc::clone(connection).answer(request));
    let serving = http1::Builder::new()
        .preserve_header_case(true)
        .max_headers(MAX_FIELDS)
        .header_read_timeout(None)
        .serve_connection(client, service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => return ended,
        _ended = &mut upstream => {}
    }
    // Its last answer is still on its way. A change of protocol also ends HTTP with the server, and must be told.
    if !connection.changing.load(Ordering::Relaxed) {
        serving.as_mut().graceful_shutdown();
    }
    serving.await
}

async fn serve_many(
    client: ToClient,
    connection: &Arc<Connection>,
    mut upstream: AbortOnDropHandle<()>,
) -> hyper::Result<()> {
    let service = service_fn(|request| Arc::clone(connection).answer(request));
    let serving = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(MAX_HEAD)
        .serve_connection(client, service);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => return ended,
        _ended = &mut upstream => {}
    }
    serving.as_mut().graceful_shutdown();
    serving.await
}

impl Connection {
    /// Answers one request: the server's answer, or ours. An error ends the connection without one, so that the client asks
    /// again on another.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Answer> {
        self.asked.store(true, Ordering::Relaxed);
        let (parts, body) = request.into_parts();
        let exchange =
            Arc::new(Exchange::new(&self.draft, &parts, Arc::clone(&self.relay.journal)));
        match self.relay.inspect.judge(&self.name, &self.decision, &parts) {
            Ok(passed) => self.pass_on((parts, body), passed, &exchange).await,
            Err(finding) => {
                exchange.refused(&finding);
                read_rest(&parts, Some(body)).await;
                Ok(self.refusal(&finding))
            }
        }
    }

    async fn pass_on(
        &self,
        (mut parts, body): (Parts, Incoming),
        passed: Passed,
        exchange: &Arc<Exchange>,
    ) -> io::Result<Answer> {
        exchange.passes(&passed);
        let h2 = matches!(self.sender, Sender::Many(_));
        let changes = is_websocket(&parts) && !h2;
        let change = parts.extensions.remove::<OnUpgrade>().filter(|_| changes);
        if changes {
            self.changing.store(true, Ordering::Relaxed);
        }
        address(&mut parts, &self.name, h2);
        let body = Counted::new(body, exchange, Way::Out);
        let mut answer = match self.send(Request::from_parts(parts, body)).await {
            Ok(answer) => answer,
            Err(Unsent::Gone) => {
                exchange
                    .failed("the server had closed the connection; it was not asked".to_owned());
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Err(Unsent::Broken(error)) => {
                let reason = format!("HTTP with {}: {error}", self.name);
                exchange.failed(reason.clone());
                return Ok(say(StatusCode::BAD_GATEWAY, format!("awf: {reason}\n")));
            }
        };
        exchange.answered(passed, answer.status().as_u16());
        let changed = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        if changed {
            let Some(change) = change else {
                let reason = "the server changes to another protocol, for which nobody has asked";
                exchange.failed(reason.to_owned());
                return Ok(say(StatusCode::BAD_GATEWAY, format!("awf: {reason}\n")));
            };
            self.tunnel(change, hyper::upgrade::on(&mut answer), exchange);
        }
        let (mut parts, body) = answer.into_parts();
        strip(&mut parts.headers, changed);
        parts.version = if h2 { Version::HTTP_2 } else { Version::HTTP_11 };
        let body = Counted::new(body, exchange, Way::In);
        Ok(Response::from_parts(parts, body.boxed_unsync()))
    }

    async fn send(&self, request: Request<Counted>) -> Result<Response<Incoming>, Unsent> {
        match &self.sender {
            Sender::One(sender) => {
                let mut sender = sender.lock().await;
                sender.ready().await.map_err(|_closed| Unsent::Gone)?;
                let asking = sender.send_request(request);
                drop(sender);
                asking.await.map_err(Unsent::Broken)
            }
            Sender::Many(sender) => {
                let mut sender = sender.clone();
                sender.ready().await.map_err(|_closed| Unsent::Gone)?;
                sender.send_request(request).await.map_err(Unsent::Broken)
            }
        }
    }

    /// Moves what follows a change of protocol, until either side ends or the run does.
    fn tunnel(&self, client: OnUpgrade, server: OnUpgrade, exchange: &Arc<Exchange>) {
        let (cut, exchange) = (self.relay.cut.clone(), Arc::clone(exchange));
        let moving = async move {
            let (client, server) = tokio::try_join!(client, server)?;
            let counters = Arc::clone(&exchange.after);
            let mut client = Client::after(TokioIo::new(client), &[], counters);
            let mut server = TokioIo::new(server);
            // An error of either side is an ordinary end.
            let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await.is_err();
            Ok::<_, hyper::Error>(())
        };
        self.relay.tasks.spawn(async move { drop(cut.run_until_cancelled(moving).await) });
    }

    fn refusal(&self, finding: &Finding) -> Answer {
        let text = forbidden_text(finding.rule, &self.name, &finding.remedy);
        let mut answer = say(StatusCode::FORBIDDEN, text);
        answer.headers_mut().insert("x-awf-rule", HeaderValue::from_static(finding.rule));
        answer
    }
}

/// Why a request has no answer.
enum Unsent {
    /// The server has closed the connection; it has not seen the request.
    Gone,
    /// It may have.
    Broken(hyper::Error),
}

/// An answer of awf's own.
fn say(status: StatusCode, text: String) -> Answer {
    let mut answer =
        Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
