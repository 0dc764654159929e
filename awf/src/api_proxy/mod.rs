//! Step 6 of 9: services that are asked on the agent's behalf. Takes connections to the API proxy's ports, gives the
//! services' answers.
//!
//! Owns: the credentials, from here to the service. A program in the sandbox talks plain HTTP to a port that stands for one
//! service; its request gets the service's server, path and credential, and goes there by TLS through Squid, which judges
//! and logs it like all others. One request for each connection, so that nothing can follow one that was judged. Must never:
//! let a credential into the sandbox, a log, a record or an error; send one anywhere but to its own service's server; ask a
//! server or a model that the policy denies; go beyond a budget; keep more of a body in memory than tells the model and what
//! was used.

mod asking;
mod budget;
mod client;
mod exchange;
pub mod framing;
mod local;
mod models;
mod outgoing;
mod prompt;
mod refusal;
mod usage;
pub(crate) mod way;

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{EXPECT, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::observe::journal::Journal;
use crate::plan::api_proxy::{ApiProxyPlan, Provider, Route};
use crate::policy::{Policy, Scheme};
use crate::relay::{Unclear, read_head, say};
use asking::{Desk, Outgoing, Question, REQUEST_ID};
use budget::Ledger;
pub(crate) use client::{Client, Counters};
use exchange::Exchange;
pub use exchange::Visit;
use local::Figures;
use refusal::Refusal;
use usage::log::Log;
use usage::observed::Observed;
use way::Connector;
pub use way::Way;
pub(crate) use way::client_config;

/// Port of the services.
const TLS_PORT: u16 = 443;
/// The rule under which a service is asked.
const RULE: &str = "allow-api-proxy";
/// Bytes of the longest request body. Anthropic takes 32 MB, and files belong elsewhere.
const MAX_BODY: usize = 64 << 20;
/// Requests that are with a service at a time; more wait. Each has two descriptors and some 100 KB of buffers.
const REQUESTS: usize = 64;
/// How long a service may think before its answer begins: the time-out of `OpenAI`'s and Anthropic's own clients.
const ANSWER_PATIENCE: Duration = Duration::from_mins(10);
/// How long a connection may stand still. Longer than the above, so that a slow service is answered for.
const IDLE_PATIENCE: Duration = Duration::from_mins(12);
/// Bytes of a refused request that are still read, and for how long, so that the refusal arrives (RFC 9112, 9.6).
const LINGER_BYTES: usize = 1 << 20;
const LINGER: Duration = Duration::from_millis(500);

/// A body of an answer, the service's or ours.
type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// Sends requests to a service.
type Sender = SendRequest<Outgoing>;

/// A connection to a service, and its place among the requests.
struct Held {
    _task: AbortOnDropHandle<()>,
    _place: Result<OwnedSemaphorePermit, AcquireError>,
}

/// What every connection needs.
#[derive(Debug)]
pub struct ApiProxy {
    plan: ApiProxyPlan,
    policy: Arc<Policy>,
    connector: Connector,
    journal: Arc<Journal>,
    figures: Arc<Figures>,
    requests: Arc<Semaphore>,
    desk: Desk,
}

impl ApiProxy {
    /// An API proxy that serves nothing yet. What models use is written to a file that exists already, if one is named.
    pub fn new(
        plan: ApiProxyPlan,
        policy: Arc<Policy>,
        way: Way,
        journal: Arc<Journal>,
        usage: Option<&Path>,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            connector: Connector::new(way, plan.authorities.clone()),
            desk: Desk::new(Ledger::new(&plan), Log::open(usage)?),
            plan,
            policy,
            journal,
            figures: Arc::default(),
            requests: Arc::new(Semaphore::new(REQUESTS)),
        }))
    }

    /// What the user should know at the end: which budgets refused how much.
    pub fn report(&self) -> Vec<String> {
        self.desk.ledger.report()
    }

    /// Serves one connection to its end and puts its request on record. May be dropped at any time; the record is written
    /// all the same.
    pub async fn serve<S>(self: Arc<Self>, stream: S, visit: Visit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_rest(stream, BytesMut::new(), visit).await;
    }

    /// Serves a connection of which the first bytes have been read.
    pub async fn serve_rest<S>(self: Arc<Self>, stream: S, first: BytesMut, visit: Visit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(provider) = Provider::at(visit.port) else { return };
        let target = self.plan.route(provider).map(|route| Arc::from(&*route.target));
        let (journal, figures) = (Arc::clone(&self.journal), Arc::clone(&self.figures));
        let exchange = Arc::new(Exchange::new((provider, target), visit, journal, figures));
        let mut client = Client::after(stream, &first, Arc::clone(&exchange.counters));
        let head = match read_head(&mut client, first).await {
            // Some look whether anyone is there before they ask.
            Err(Unclear::Left) => return,
            Err(Unclear::Wrong(reason)) => Err(reason),
            Ok(bytes) => framing::fault(&bytes).map_or(Ok(bytes), Err),
        };
        match head {
            Ok(bytes) => self.serve_request(client.unread(bytes), &exchange).await,
            Err(reason) => {
                let refusal = Refusal::malformed(reason);
                exchange.is_refused(&refusal);
                say(&mut client, &refusal.bytes()).await;
            }
        }
    }

    async fn serve_request<S>(self: &Arc<Self>, client: Client<S>, exchange: &Arc<Exchange>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| {
            let (proxy, exchange) = (Arc::clone(self), Arc::clone(exchange));
            async move { Ok::<_, Infallible>(proxy.answer(request, &exchange).await) }
        });
        let serving = http1::Builder::new()
            .keep_alive(false)
            .max_headers(framing::MAX_FIELDS)
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(client), service);
        tokio::select! {
            // An error of either side is an ordinary end.
            _ended = serving => {}
            () = stands_still(&exchange.counters) => {}
        }
    }

    async fn answer(&self, request: Request<Incoming>, exchange: &Arc<Exchange>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let asked = (&parts.method, parts.uri.path());
        let known = (&*self.figures, &self.desk);
        if let Some(answer) = local::answer(asked, exchange.provider, &self.plan, known) {
            return answer;
        }
        let id = self.desk.request_id(&parts.headers, &exchange.run());
        let mut answer = match self.ask(&parts, body, (exchange, &id)).await {
            Ok(answer) => answer,
            Err(refusal) => {
                exchange.is_refused(&refusal);
                refusal.response()
            }
        };
        if let Ok(id) = HeaderValue::from_str(&id) {
            answer.headers_mut().entry(REQUEST_ID).or_insert(id);
        }
        answer
    }

    /// Asks the service.
    async fn ask(
        &self,
        parts: &Parts,
        body: Incoming,
        (exchange, id): (&Arc<Exchange>, &str),
    ) -> Result<Response<Body>, Refusal> {
        let mut body = Some(body);
        let asked = self.question(parts, &mut body, (exchange, id)).await;
        let Question { request, route, mut bill, room } = match asked {
            Ok(question) => question,
            Err(refusal) => {
                read_rest(parts, body).await;
                return Err(refusal);
            }
        };
        exchange.asks();
        let (mut sender, held) = match self.reach(exchange, route).await {
            Ok(reached) => reached,
            Err(refusal) => {
                if !parts.headers.contains_key(EXPECT) {
                    linger(request.into_body()).await;
                }
                return Err(refusal);
            }
        };
        let answer = match timeout(ANSWER_PATIENCE, sender.send_request(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(why(&route.target, &error)),
            Err(_elapsed) => {
                let reason = format!("{} did not answer within ten minutes", route.target);
                return Err(Refusal::failed(StatusCode::GATEWAY_TIMEOUT, reason));
            }
        };
        drop(room);
        exchange.answers(answer.status().as_u16());
        self.desk.ledger.answered(answer.status().as_u16(), bill.is_run);
        drop(bill.run.take());
        let (parts, body) = answer.into_parts();
        let told = Arc::clone(exchange);
        let body = body.map_err(move |error| {
            // The connection lasts as long as the body.
            let _last = &held;
            told.breaks_off();
            error
        });
        let mut answer =
            Response::new(match bill.reader((parts.status, &parts.headers), &self.desk)? {
                Some((reader, told)) => Observed::new(body, reader, told).boxed_unsync(),
                None => body.boxed_unsync(),
            });
        *answer.status_mut() = parts.status;
        *answer.headers_mut() = outgoing::strip(&parts.headers, |_name| false);
        Ok(answer)
    }

    /// Takes a place among the requests, and connects.
    async fn reach(&self, exchange: &Exchange, route: &Route) -> Result<(Sender, Held), Refusal> {
        let place = Arc::clone(&self.requests).acquire_owned().await;
        let (sender, task) = self.connector.connect(&exchange.tag(), &route.target).await?;
        Ok((sender, Held { _task: task, _place: place }))
    }

    /// Judges the service that a request is for, and its form.
    fn admit(&self, parts: &Parts, length: u64, provider: Provider) -> Result<&Route, Refusal> {
        let route = self.plan.route(provider).ok_or_else(|| Refusal::unconfigured(provider))?;
        let decision = self.policy.decide(&route.target, TLS_PORT, Scheme::Tls);
        if !decision.allow {
            return Err(Refusal::by_policy(&decision));
        }
        // Others (h2c) may be ignored (RFC 9110, 7.8), and are.
        let upgrade = parts.headers.get(UPGRADE).map(|value| value.as_bytes().to_ascii_lowercase());
        if upgrade.is_some_and(|protocol| protocol.starts_with(b"websocket")) {
            return Err(Refusal::WEBSOCKET);
        }
        if length > u64::try_from(MAX_BODY).unwrap_or(u64::MAX) {
            return Err(Refusal::TOO_LARGE);
        }
        Ok(route)
    }
}

impl Refusal {
    const WEBSOCKET: Self = Self::denied(
        StatusCode::NOT_IMPLEMENTED,
        "websocket_not_supported",
        "api-websocket",
        "the API proxy does not carry WebSockets; use plain requests",
    );
    const TOO_LARGE: Self = Self::denied(
        StatusCode::PAYLOAD_TOO_LARGE,
        "payload_too_large",
        "api-too-large",
        "the request has more than 64 MiB",
    );
}

/// Why there is no answer. Hyper's words hold nothing of the request.
fn why(target: &str, error: &hyper::Error) -> Refusal {
    if error.source().is_some_and(<dyn std::error::Error>::is::<LengthLimitError>) {
        return Refusal::TOO_LARGE;
    }
    Refusal::failed(StatusCode::BAD_GATEWAY, format!("HTTP with {target}: {error}"))
}

/// Reads what a client still sends that is to be refused. One that waits to be told to send is told nothing.
pub(crate) async fn read_rest(parts: &Parts, body: Option<Incoming>) {
    if let Some(body) = body.filter(|_body| !parts.headers.contains_key(EXPECT)) {
        linger(body).await;
    }
}

/// Reads what is left of a request: closing a socket with unread bytes resets the connection.
pub(crate) async fn linger<B: hyper::body::Body<Data = Bytes> + Unpin>(body: B)
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let reading = async {
        let mut body = Limited::new(body, LINGER_BYTES);
        while let Some(Ok(_frame)) = body.frame().await {}
    };
    let _still = timeout(LINGER, reading).await.is_err();
}

/// Returns when no byte has moved for long.
async fn stands_still(counters: &Counters) {
    let mut seen = None;
    while seen != Some(counters.totals()) {
        seen = Some(counters.totals());
        sleep(IDLE_PATIENCE).await;
    }
}

fn body(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
pub(crate) mod tests;
