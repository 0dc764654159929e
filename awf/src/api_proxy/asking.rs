//! A client's request becomes a question: judged, counted, and written anew where that was asked for.
//!
//! Takes the request, gives what is sent to the service and what its answer is to be charged to. A body is read if a model is
//! named in it, within a bound for one and for all; others flow. Must never send what a budget or the policy refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::budget::{Asked, Ledger, Run};
use super::exchange::Exchange;
use super::models::{self, Lists};
use super::prompt::{self, Prompt};
use super::refusal::Refusal;
use super::usage::log::{Answer, Log};
use super::usage::observed::{Reader, Seen};
use super::{ApiProxy, MAX_BODY, outgoing};
use crate::plan::api_proxy::{Provider, Route};

/// Bytes of a body that is read: Anthropic's limit.
const MAX_PROMPT: usize = 32 << 20;
/// KiB of bodies that are read at a time; more wait.
const ROOM: usize = 128 << 10;
/// Bytes of a list of models.
const MAX_LIST: usize = 4 << 20;
/// How long a list of models may take. A client waits for it.
const LIST_PATIENCE: Duration = Duration::from_secs(20);
/// Characters of a client's own request id, the original's.
const MAX_ID: usize = 128;

/// The field with the id of a request.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// A body for a service.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What stays the same for all questions of a run.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) ledger: Arc<Ledger>,
    pub(super) lists: Lists,
    pub(super) log: Arc<Log>,
    room: Arc<Semaphore>,
    number: AtomicU64,
    complained: AtomicBool,
}

impl Desk {
    pub(super) fn new(ledger: Arc<Ledger>, log: Log) -> Self {
        Self {
            ledger,
            log: Arc::new(log),
            lists: Lists::default(),
            room: Arc::new(Semaphore::new(ROOM)),
            number: AtomicU64::new(0),
            complained: AtomicBool::new(false),
        }
    }

    /// The client's own id if it is a plain word, else one of this run.
    pub(super) fn request_id(&self, headers: &HeaderMap, run: &str) -> String {
        let plain = |id: &&str| {
            let word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(word)
        };
        let own = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(plain);
        own.map_or_else(
            || format!("{run}-{}", self.number.fetch_add(1, Ordering::Relaxed) + 1),
            str::to_owned,
        )
    }
}

/// What is sent.
pub(super) struct Question<'a> {
    pub(super) request: Request<Outgoing>,
    pub(super) route: &'a Route,
    pub(super) bill: Bill,
    /// Room for the body. Given back when the answer begins.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// Whom the answer is charged to.
#[derive(Debug)]
pub(super) struct Bill {
    pub(super) is_run: bool,
    pub(super) run: Option<Run>,
    provider: Provider,
    model: Option<String>,
    path: String,
    id: String,
    initiator: Option<String>,
    /// Bytes of the question.
    asked: u64,
    began: Instant,
}

impl Bill {
    /// A reader for the answer, and what is done when it has been read. `None` if nothing is charged.
    pub(super) fn reader(
        self,
        (status, headers): (StatusCode, &HeaderMap),
        desk: &Desk,
    ) -> Result<Option<(Reader, impl FnOnce(Seen) + Send + Unpin + use<>)>, Refusal> {
        if !self.is_run || !status.is_success() {
            return Ok(None);
        }
        let coding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
        let ledger = Arc::clone(&desk.ledger);
        if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            if ledger.counts_tokens() {
                let reason = "the service compresses its answer although it was asked not to, so that no budget could \
                              be kept";
                return Err(Refusal::failed(StatusCode::BAD_GATEWAY, reason.to_owned()));
            }
            return Ok(None);
        }
        let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let streams = kind.to_ascii_lowercase().starts_with(b"text/event-stream");
        let log = Arc::clone(&desk.log);
        let told = move |seen: Seen| {
            let (usage, _estimated) = seen.usage(self.asked);
            let cost = ledger.charge(self.provider, self.model.as_deref(), &usage);
            let answer = Answer {
                request_id: self.id,
                provider: self.provider.name(),
                model: self.model.unwrap_or_else(|| "unknown".to_owned()),
                path: self.path,
                status: status.as_u16(),
                streams,
                initiator: self.initiator,
            };
            let took = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            log.write(&answer, (&seen, self.asked), took, cost);
        };
        Ok(Some((Reader::new(streams), told)))
    }
}

/// A body that has been read.
struct Read {
    bytes: Bytes,
    room: OwnedSemaphorePermit,
}

impl ApiProxy {
    /// Judges a request and writes it for the service. Leaves the body where it is if it was not read.
    pub(super) async fn question(
        &self,
        parts: &Parts,
        body: &mut Option<Incoming>,
        (exchange, id): (&Exchange, &str),
    ) -> Result<Question<'_>, Refusal> {
        let provider = exchange.provider;
        let hint = body.as_ref().map(hyper::body::Body::size_hint).unwrap_or_default();
        let route = self.admit(parts, hint.lower(), provider)?;
        let mut request = outgoing::request(parts, route)?;
        let ledger = &self.desk.ledger;
        let told = hint.exact();
        ledger.meter(provider, told.unwrap_or(0))?;
        let is_run = prompt::is_run(parts);
        let read = if is_run || prompt::is_json(parts) && self.cares() {
            Some(self.read(told, body).await?)
        } else {
            None
        };
        let mut asked = told.unwrap_or(0);
        if let (Some(read), None) = (&read, told) {
            asked = u64::try_from(read.bytes.len()).unwrap_or(u64::MAX);
            ledger.meter_bytes(provider, asked);
        }
        let mut prompt = match read.as_ref().map(|read| Prompt::read(&read.bytes)) {
            Some(Ok(prompt)) => Some(prompt),
            Some(Err(reason)) if ledger.judges_models() => return Err(Refusal::malformed(reason)),
            _ => None,
        };
        let mut changed = false;
        if let Some(prompt) = &mut prompt {
            changed = self.name_model(prompt, exchange, route).await;
        }
        let named = prompt.as_ref().and_then(Prompt::model);
        let (model, run) = self.judge(parts, named, (provider, is_run))?;
        if let Some(prompt) = prompt.as_mut().filter(|_prompt| is_run) {
            changed |= self.complete(prompt, provider);
        }
        let headers = request.headers_mut();
        if is_run {
            // An answer is read as it comes.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(REQUEST_ID, id);
        }
        let initiator = headers.get("x-initiator").and_then(|value| value.to_str().ok());
        let bill = Bill {
            initiator: initiator.map(str::to_owned),
            path: parts.uri.path().to_owned(),
            id: id.to_owned(),
            began: Instant::now(),
            provider,
            model,
            is_run,
            run,
            asked,
        };
        let written = prompt.filter(|_prompt| changed).map(|prompt| Bytes::from(prompt.write()));
        let (body, room) = match (read, body.take()) {
            (Some(read), _) => (full(written.unwrap_or(read.bytes)), Some(read.room)),
            (None, Some(body)) => (Limited::new(body, MAX_BODY).boxed_unsync(), None),
            (None, None) => (full(Bytes::new()), None),
        };
        Ok(Question { request: request.map(|()| body), route, bill, room })
    }

    /// Judges the model that a body or a path names, and takes the run into account.
    fn judge(
        &self,
        parts: &Parts,
        named: Option<String>,
        (provider, is_run): (Provider, bool),
    ) -> Result<(Option<String>, Option<Run>), Refusal> {
        let ledger = &self.desk.ledger;
        let in_path = prompt::model_in(parts.uri.path());
        let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method);
        // Who says two names is judged by both: it depends on the service which one counts.
        if let (Some(model), Some(_other)) = (in_path, &named) {
            ledger.admit(Asked { provider, model: Some(model), is_run: false, has_body })?;
        }
        let model = named.or_else(|| in_path.map(str::to_owned));
        let run = ledger.admit(Asked { provider, model: model.as_deref(), is_run, has_body })?;
        Ok((model, run))
    }

    /// Whether bodies matter that are no questions to a model, such as those that make embeddings.
    fn cares(&self) -> bool {
        self.desk.ledger.judges_models() || !self.plan.budgets.aliases.is_empty()
    }

    /// Reads a body when there is room for it.
    async fn read(&self, told: Option<u64>, body: &mut Option<Incoming>) -> Result<Read, Refusal> {
        let length = told.map_or(MAX_PROMPT, |told| usize::try_from(told).unwrap_or(usize::MAX));
        if length > MAX_PROMPT {
            return Err(Refusal::PROMPT_TOO_LARGE);
        }
        let places = u32::try_from(length / 1024 + 1).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.desk.room).acquire_many_owned(places).await;
        let room = room.map_err(|_closed| Refusal::INTERNAL)?;
        let Some(body) = body.take() else { return Ok(Read { bytes: Bytes::new(), room }) };
        match Limited::new(body, MAX_PROMPT).collect().await {
            Ok(collected) => Ok(Read { bytes: collected.to_bytes(), room }),
            Err(error) if error.is::<LengthLimitError>() => Err(Refusal::PROMPT_TOO_LARGE),
            Err(_broken) => Err(Refusal::malformed("the body broke off")),
        }
    }

    /// Puts the model in place of a name that stands for it. Gives whether anything changed.
    async fn name_model(&self, prompt: &mut Prompt, exchange: &Exchange, route: &Route) -> bool {
        let aliases = &self.plan.budgets.aliases;
        let Some(name) = prompt.model().filter(|name| models::is_alias(aliases, name)) else {
            return false;
        };
        let Some(known) = self.list(exchange, route).await else { return false };
        let ledger = &self.desk.ledger;
        let permits = |model: &str| ledger.permits(route.provider, model);
        match models::resolve(aliases, route.provider, &name, (&known, &permits)) {
            Some(model) => {
                tracing::debug!(
                    "model {name:?} stands for {model:?} of {}",
                    route.provider.title()
                );
                prompt.set_model(&model);
                true
            }
            None => false,
        }
    }

    /// Adds the warning that is due, and asks for counts.
    fn complete(&self, prompt: &mut Prompt, provider: Provider) -> bool {
        let ledger = &self.desk.ledger;
        let warning = if ledger.steers() { ledger.warning() } else { None };
        let warned = warning.is_some_and(|text| prompt.warn(provider, &text));
        let tells = matches!(provider, Provider::OpenAi | Provider::Copilot);
        (tells && prompt.ask_for_usage()) || warned
    }

    /// The provider's list of models. Without it names go on as they are, which is said once.
    async fn list(&self, exchange: &Exchange, route: &Route) -> Option<Vec<String>> {
        let mut known = self.desk.lists.of(route.provider)?.lock().await;
        if known.is_none() {
            let fetched = timeout(LIST_PATIENCE, self.fetch(exchange, route)).await;
            match fetched.unwrap_or_else(|_elapsed| Err("no answer in time".to_owned())) {
                Ok(list) => *known = Some(list),
                Err(reason) => {
                    if !self.desk.complained.swap(true, Ordering::Relaxed) {
                        let title = route.provider.title();
                        tracing::warn!(
                            "{title}'s list of models: {reason}; names of apiProxy.models go on as they are"
                        );
                    }
                }
            }
        }
        known.clone()
    }

    async fn fetch(&self, exchange: &Exchange, route: &Route) -> Result<Vec<String>, String> {
        let path = models::path(route.provider).ok_or("it tells none")?;
        let request = Request::get(path).body(()).map_err(|error| error.to_string())?;
        let said = |refusal: Refusal| refusal.reason.into_owned();
        let mut request = outgoing::request(&request.into_parts().0, route).map_err(said)?;
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let connected = self.connector.connect(&exchange.tag(), &route.target).await;
        let (mut sender, _task) = connected.map_err(said)?;
        let empty: Outgoing = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let answer = sender.send_request(request.map(|()| empty)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the answer is {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_LIST).collect().await;
        let bytes = body.map_err(|error| error.to_string())?.to_bytes();
        models::read(&bytes).ok_or_else(|| "the answer is no list".to_owned())
    }
}

fn full(bytes: Bytes) -> Outgoing {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

impl Refusal {
    const PROMPT_TOO_LARGE: Self = Self::denied(
        StatusCode::PAYLOAD_TOO_LARGE,
        "payload_too_large",
        "api-too-large",
        "a question to a model has at most 32 MiB",
    );
}
