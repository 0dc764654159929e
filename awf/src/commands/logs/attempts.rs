//! `egress.jsonl`, as far as it completes Squid's logs: who made a request, and what Squid never saw.
//!
//! Takes lines; gives what is needed of them, borrowed from the line, because a record may be long. Must never count a
//! damaged line as an attempt.

use std::borrow::Cow;
use std::io::BufRead;

use anyhow::Result;
use serde::Deserialize;

use crate::commands::lines;
use crate::observe::record::{Event, Layer, Verdict};
use crate::observe::summary::Lost;

/// What is needed of a line. Members of other events are absent.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(rename = "_schema", borrow)]
    schema: Cow<'a, str>,
    #[serde(default)]
    event: Event,
    #[serde(borrow, default)]
    pub(super) time: Cow<'a, str>,
    #[serde(default)]
    pub(super) until: Option<String>,
    #[serde(default = "one")]
    pub(super) count: u64,
    #[serde(default)]
    verdict: Option<Verdict>,
    #[serde(default)]
    layer: Option<Layer>,
    #[serde(borrow, default)]
    pub(super) rule: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) reason: Cow<'a, str>,
    #[serde(default)]
    pub(super) pid: Option<u32>,
    #[serde(borrow, default)]
    pub(super) comm: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) exe: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) protocol: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) address: Cow<'a, str>,
    #[serde(default)]
    pub(super) port: Option<u16>,
    #[serde(borrow, default)]
    pub(super) name: Cow<'a, str>,
    #[serde(default)]
    pub(super) client_port: Option<u16>,
    #[serde(default)]
    pub(super) duration_ms: u64,
    #[serde(default)]
    lost: Option<Lost>,
    #[serde(default)]
    complete: bool,
}

const fn one() -> u64 {
    1
}

/// A line, told apart.
#[derive(Debug)]
pub(super) enum Read<'a> {
    /// An attempt, what became of it, and who judged it.
    Attempt(Box<Line<'a>>, Verdict, Layer),
    /// The end of the run: what is missing, and whether nothing is.
    End(Lost, bool),
    /// The signature.
    Other,
    /// No line of a record.
    Damaged,
}

/// Reads a line.
pub(super) fn parse(text: &[u8]) -> Read<'_> {
    let Ok(line) = serde_json::from_slice::<Line<'_>>(text) else { return Read::Damaged };
    if !line.schema.starts_with("awf-egress/v1") {
        return Read::Damaged;
    }
    match (line.event, line.verdict, line.layer, line.lost) {
        (Event::Attempt, Some(verdict), Some(layer), _) => {
            Read::Attempt(Box::new(line), verdict, layer)
        }
        (Event::Summary, _, _, Some(lost)) => Read::End(lost, line.complete),
        (Event::Signature, ..) => Read::Other,
        _ => Read::Damaged,
    }
}

/// Gives every line of a record to `see`.
pub(super) fn each(
    mut file: impl BufRead,
    mut see: impl FnMut(Read<'_>) -> Result<()>,
) -> Result<()> {
    let mut line = Vec::new();
    while lines::next(&mut file, &mut line)? {
        if !line.trim_ascii().is_empty() {
            see(parse(&line))?;
        }
    }
    Ok(())
}
