//! One request on its way through: what became of it, what passed, and its line in the record.
//!
//! The line is written when the last part of the exchange is dropped, so that it is there however the connection ends. It
//! has the path and never the query, in which secrets are common; a path that holds what looks like one is left out.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::http::request::Parts;
use tokio::runtime::Handle;

use super::Finding;
use super::request::Passed;
use crate::api_proxy::{Counters, linger};
use crate::observe::journal::Journal;
use crate::observe::record::{Layer, Record, Verdict};
use crate::policy::credentials;

/// Bytes of the longest path in the record.
const MAX_PATH: usize = 1024;

/// One request.
#[derive(Debug)]
pub(super) struct Exchange {
    /// As it would be written now. Nothing of it was read if there is none.
    record: Mutex<Record>,
    sent: AtomicU64,
    received: AtomicU64,
    /// What passes after a change to another protocol.
    pub(super) after: Arc<Counters>,
    began: Instant,
    journal: Arc<Journal>,
}

impl Exchange {
    /// A request on the connection that `draft` is about.
    pub(super) fn new(draft: &Record, parts: &Parts, journal: Arc<Journal>) -> Self {
        let record = Record {
            time: journal.clock().of_now(),
            method: Some(parts.method.as_str().chars().take(32).collect()),
            path: Some(shown(parts.uri.path())),
            reason: "the connection ended before the server answered".to_owned(),
            ..draft.clone()
        };
        let fields =
            parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        let target = parts.uri.path_and_query().map_or(1, |target| target.as_str().len());
        let head = parts.method.as_str().len() + target + fields.sum::<usize>();
        Self {
            record: Mutex::new(record),
            sent: AtomicU64::new(u64::try_from(head).unwrap_or(u64::MAX)),
            received: AtomicU64::default(),
            after: Arc::default(),
            began: Instant::now(),
            journal,
        }
    }

    fn set(&self, change: impl FnOnce(&mut Record)) {
        if let Ok(mut record) = self.record.lock() {
            change(&mut record);
        }
    }

    /// It passes.
    pub(super) fn passes(&self, passed: &Passed) {
        self.set(|record| {
            record.rule.clone_from(&passed.rule);
            record.layer = Layer::Proxy;
        });
    }

    /// The server answered.
    pub(super) fn answered(&self, passed: Passed, status: u16) {
        self.set(|record| {
            record.reason = passed.reason;
            record.proxy_status = Some(status);
        });
    }

    /// It is refused.
    pub(super) fn refused(&self, finding: &Finding) {
        self.set(|record| {
            record.verdict = Verdict::Deny;
            record.would_deny = None;
            record.layer = Layer::Relay;
            finding.rule.clone_into(&mut record.rule);
            record.reason.clone_from(&finding.reason);
        });
    }

    /// It failed on the way.
    pub(super) fn failed(&self, reason: String) {
        self.set(|record| {
            record.verdict = Verdict::Error;
            record.reason = reason;
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Ok(record) = self.record.get_mut() else { return };
        let (sent, received) = self.after.totals();
        record.bytes_out = Some(self.sent.load(Ordering::Relaxed).saturating_add(sent));
        record.bytes_in = Some(self.received.load(Ordering::Relaxed).saturating_add(received));
        record.duration_ms = u64::try_from(self.began.elapsed().as_millis()).ok();
        if self.journal.covers_now() {
            self.journal.write(record.clone());
        }
    }
}

/// A path as the record has it.
fn shown(path: &str) -> String {
    match credentials::found_in(path.as_bytes()) {
        Some(kind) => format!("(left out: {kind})"),
        None => path.chars().take(MAX_PATH).collect(),
    }
}

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the server.
    Out,
    /// To the command.
    In,
}

/// A body whose bytes count for its exchange.
#[derive(Debug)]
pub(super) struct Counted {
    body: Option<Incoming>,
    exchange: Arc<Exchange>,
    way: Way,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let count = match self.way {
                    Way::Out => &self.exchange.sent,
                    Way::In => &self.exchange.received,
                };
                count.fetch_add(u64::try_from(length).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
            Poll::Ready(Some(Err(_broken))) if self.way == Way::In => {
                self.exchange.failed("the server's answer broke off".to_owned());
            }
            Poll::Ready(Some(Err(_)) | None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Counted {
    pub(super) fn new(body: Incoming, exchange: &Arc<Exchange>, way: Way) -> Self {
        Self { body: Some(body), exchange: Arc::clone(exchange), way }
    }
}

impl Drop for Counted {
    /// A server may answer before it has heard everything. What the client still says is read: over HTTP/2 its stream would be
    /// reset, which curl 7.88 takes for a fault of the answer.
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream())
            && self.way == Way::Out
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(linger(body));
        }
    }
}
