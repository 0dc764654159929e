//! An answer that is looked at while it passes.
//!
//! Takes the frames of a body, gives the same frames, and at its end what was used. Keeps of an event stream the line that is
//! being read, of a JSON answer as much as [`WHOLE`]; what is longer passes unread and is estimated. Must never hold a frame
//! back or change one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;

use super::Usage;

/// Bytes of a JSON answer that is kept. Answers of models are a tenth of it.
const WHOLE: usize = 4 << 20;
/// Bytes of a line of an event stream. The last event of `OpenAI`'s responses repeats all that was said.
const LINE: usize = 4 << 20;
/// Bytes of text for one token, if a provider does not tell.
const BYTES_A_TOKEN: u64 = 4;

/// What was seen of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::api_proxy) struct Seen {
    pub(in crate::api_proxy) usage: Usage,
    pub(in crate::api_proxy) bytes: u64,
    /// Events of a stream; each has a token or more.
    events: u64,
    streams: bool,
}

impl Seen {
    /// What was used, estimated as far as it was not told: a client that leaves before the end must not get its answer for
    /// nothing. `asked` is the length of the request.
    pub(in crate::api_proxy) fn usage(&self, asked: u64) -> (Usage, bool) {
        let mut usage = self.usage.clone();
        let answered = if self.streams { self.events } else { self.bytes / BYTES_A_TOKEN };
        let estimated = !usage.told || usage.output == 0 && answered > 0;
        if estimated {
            usage.output = usage.output.max(answered);
        }
        if !usage.told && usage.asked() == 0 {
            usage.input = asked / BYTES_A_TOKEN;
        }
        (usage, estimated)
    }
}

/// Reads an answer as it comes.
#[derive(Debug)]
pub(in crate::api_proxy) struct Reader {
    seen: Seen,
    kept: Vec<u8>,
    /// What is being read was too long to be kept.
    lost: bool,
}

impl Reader {
    pub(in crate::api_proxy) fn new(streams: bool) -> Self {
        Self { seen: Seen { streams, ..Seen::default() }, kept: Vec::new(), lost: false }
    }

    fn read(&mut self, bytes: &[u8]) {
        self.seen.bytes = self.seen.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
        if !self.seen.streams {
            self.keep(bytes, WHOLE);
            return;
        }
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, tail) = rest.split_at(end);
            self.keep(line, LINE);
            self.end_line();
            rest = tail.get(1..).unwrap_or_default();
        }
        self.keep(rest, LINE);
    }

    fn keep(&mut self, bytes: &[u8], most: usize) {
        if self.lost || self.kept.len().saturating_add(bytes.len()) > most {
            self.lost = true;
            self.kept = Vec::new();
        } else {
            self.kept.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        let data = self.kept.strip_prefix(b"data:").map(<[u8]>::trim_ascii);
        if lost || data.is_some_and(|data| !data.is_empty() && data != b"[DONE]") {
            self.seen.events += 1;
        }
        // Most events have only text. Parsing those for nothing would be most of the work.
        let tells = |data: &&[u8]| self.seen.usage.model.is_none() || contains(data, b"sage");
        if let Some(value) = data.filter(tells).and_then(parsed) {
            self.seen.usage.absorb(&value);
        }
        self.kept.clear();
    }

    fn end(mut self) -> Seen {
        if self.seen.streams {
            self.end_line();
        } else if let Some(value) = parsed(&self.kept) {
            self.seen.usage.absorb(&value);
        }
        self.seen
    }
}

fn parsed(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// A body that is looked at. Tells at its end, or when it is dropped before.
pub(in crate::api_proxy) struct Observed<B, F: FnOnce(Seen)> {
    inner: B,
    watch: Option<(Reader, F)>,
}

impl<B, F: FnOnce(Seen)> Observed<B, F> {
    pub(in crate::api_proxy) fn new(inner: B, reader: Reader, told: F) -> Self {
        Self { inner, watch: Some((reader, told)) }
    }

    fn tell(&mut self) {
        if let Some((reader, told)) = self.watch.take() {
            told(reader.end());
        }
    }
}

impl<B, F: FnOnce(Seen)> Drop for Observed<B, F> {
    fn drop(&mut self) {
        self.tell();
    }
}

impl<B, F> Body for Observed<B, F>
where
    B: Body<Data = Bytes> + Unpin,
    F: FnOnce(Seen) + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(bytes), Some((reader, _told))) = (frame.data_ref(), &mut self.watch) {
                    reader.read(bytes);
                }
            }
            // Told before the end is passed on: who has the whole answer may ask again at once.
            Some(Err(_)) | None => self.tell(),
        }
        if self.inner.is_end_stream() {
            self.tell();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(streams: bool, parts: &[&[u8]]) -> Seen {
        let mut reader = Reader::new(streams);
        for part in parts {
            reader.read(part);
        }
        reader.end()
    }

    #[test]
    fn a_stream_is_read_however_it_is_cut() {
        let text = "event: x\r\ndata: {\"model\":\"m\",\"choices\":[]}\r\n\r\ndata: {\"usage\":\
            {\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n"
            .as_bytes();
        let whole = seen(true, &[text]);
        assert_eq!((whole.usage.input, whole.usage.output, whole.events), (3, 2, 2));
        assert_eq!(whole.usage.model.as_deref(), Some("m"));
        for cut in 0..text.len() {
            let (first, second) = text.split_at(cut);
            assert_eq!(seen(true, &[first, second]), whole, "{cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(seen(true, &bytes), whole);
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let part = vec![b'x'; 1 << 20];
        let mut reader = Reader::new(true);
        reader.read(b"data: ");
        for _part in 0..20 {
            reader.read(&part);
            assert!(reader.kept.len() <= LINE);
        }
        reader.read(b"\ndata: {\"usage\":{\"input_tokens\":1}}\n");
        let last = reader.end();
        assert_eq!((last.usage.input, last.events), (1, 2));
        let whole = seen(false, &[&part, &part, &part, &part, &part]);
        assert_eq!(whole.usage(400).0, Usage { input: 100, output: 5 << 18, ..Usage::default() });
    }

    #[test]
    fn what_is_not_told_is_estimated() {
        let cut = seen(true, &[b"data: {\"model\":\"m\"}\n\ndata: {\"a\":1}\n\ndata: {\"b\""]);
        let (usage, estimated) = cut.usage(40);
        assert_eq!((usage.input, usage.output, estimated), (10, 3, true));
        let told = seen(false, &[b"{\"usage\":{\"input_tokens\":1,\"output_tokens\":9}}"]);
        let (usage, estimated) = told.usage(40);
        assert_eq!((usage.input, usage.output, estimated), (1, 9, false));
    }
}
