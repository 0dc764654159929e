//! The record on its way to a collector, when it is complete: from the loader, through Squid, to an allowed host.
//!
//! Takes the closed file. Must never: change how the run ends, hold it up for long, or say what the collector was shown.

use std::fs::File;
use std::net::SocketAddrV4;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::api_proxy::Way;
use crate::api_proxy::way::Connector;
use crate::commands::export::opened::Opened;
use crate::commands::export::otlp;
use crate::commands::source;
use crate::plan::addresses;
use crate::plan::export::Export;
use crate::relay::Tag;

/// How long a collector may take for one request, as in the original.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long Squid, which is ended next, has to write the last connection down: it does so after that is closed.
const WRITING_DOWN: Duration = Duration::from_millis(100);
/// How long all of them may take: the caller waits for the end of the run.
const PATIENCE_FOR_ALL: Duration = Duration::from_mins(1);

/// Sends the record to its collector.
#[derive(Debug)]
pub(super) struct Sender {
    export: Export,
    connector: Connector,
    /// Held open: by the end of the run, its path may lead elsewhere.
    record: File,
    /// Before the run's own lines: others may have used the file.
    begin: u64,
    run: Arc<str>,
}

impl Sender {
    /// Before the run's first line is written.
    pub(super) fn new(export: &Export, way: Way, record: &Path, run: Arc<str>) -> Result<Self> {
        let connector = Connector::new(way, export.authorities.clone());
        let record = source::open(&source::resolved(record))?;
        let begin = record.metadata().context("look at the record")?.len();
        Ok(Self { export: export.clone(), connector, record, begin, run })
    }

    /// Sends everything, or says that it could not.
    pub(super) async fn send(&self) {
        let host = &self.export.host;
        let sending = timeout(PATIENCE_FOR_ALL, self.send_all()).await;
        sleep(WRITING_DOWN).await;
        match sending.unwrap_or_else(|_elapsed| bail_late()) {
            Ok(requests) => tracing::info!("Record sent to {host} in {requests} requests"),
            Err(error) => tracing::warn!(
                "the record was not sent to {host}: {error:#}; awf logs export --format otlp gives it as well"
            ),
        }
    }

    async fn send_all(&self) -> Result<usize> {
        let record = self.record.try_clone().context("share the record")?;
        let (begin, run) = (self.begin, Arc::clone(&self.run));
        let (give, mut take) = mpsc::channel(1);
        let reading = spawn_blocking(move || {
            let record = Opened::ended(record, begin, run).context("read the record")?;
            otlp::requests(record.lines, record.summary.as_deref(), |body| {
                // Whoever takes them has given up.
                give.blocking_send(body).map_err(|_given_up| std::io::ErrorKind::BrokenPipe.into())
            })
            .context("read the record")
        });
        let mut requests = 0;
        while let Some(body) = take.recv().await {
            timeout(PATIENCE, self.post(body)).await.unwrap_or_else(|_elapsed| bail_late())?;
            requests += 1;
        }
        reading.await.context("the thread that reads the record died")??;
        Ok(requests)
    }

    async fn post(&self, body: Vec<u8>) -> Result<()> {
        let Export { host, path, headers, .. } = &self.export;
        let tag = Tag {
            client_port: 0,
            original: SocketAddrV4::new(addresses::PROXY, addresses::PROXY_PORT),
            name: host.as_str().into(),
            pid: std::process::id(),
            user_agent: Some("awf-otlp".to_owned()),
            comm: "awf".to_owned(),
        };
        let connected = self.connector.connect(&tag, host).await;
        let (mut sender, _task) =
            connected.map_err(|refusal| anyhow::Error::msg(refusal.reason.into_owned()))?;
        let mut request = Request::post(path.as_str()).body(Full::new(Bytes::from(body)))?;
        *request.headers_mut() = headers.clone();
        let host = HeaderValue::from_str(host)?;
        let json = HeaderValue::from_static("application/json");
        let agent = HeaderValue::from_static(concat!("awf/", env!("CARGO_PKG_VERSION")));
        for (name, value) in [(HOST, host), (CONTENT_TYPE, json), (USER_AGENT, agent)] {
            request.headers_mut().insert(name, value);
        }
        let answer = sender.send_request(request).await.context("no answer")?;
        if !answer.status().is_success() {
            bail!("it answered with status {}", answer.status().as_u16());
        }
        Ok(())
    }
}

fn bail_late<T>() -> Result<T> {
    bail!("it took too long")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use hyper::header::HeaderMap;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::api_proxy::tests::stage::certify;
    use crate::observe::record::{Layer, Record};

    /// What a collector that answers with this status hears, and what becomes of the sending.
    async fn sent(
        records: usize,
        status: &'static str,
        test: &str,
    ) -> (Vec<String>, Result<usize>) {
        let directory = std::env::temp_dir().join(format!("awf-{test}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (record, bundle) = (directory.join("egress.jsonl"), directory.join("ca.pem"));
        let time = "2026-11-28T00:00:01.000001Z".to_owned();
        let line =
            |run: &str| Record::denied(time.clone(), run.into(), Layer::Kernel).to_line().unwrap();
        fs::write(&record, line("earlier")).unwrap();
        let (acceptor, authority) = certify("otel.example");
        fs::write(&bundle, authority).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Way::Direct(listener.local_addr().unwrap());
        let (tell, mut arrived) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (stream, _peer) = listener.accept().await.unwrap();
                let mut stream = acceptor.accept(stream).await.unwrap();
                let mut bytes = Vec::new();
                while !bytes.trim_ascii_end().ends_with(b"}]}]}") {
                    assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
                }
                tell.send(String::from_utf8(bytes).unwrap()).unwrap();
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}");
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _gone = stream.shutdown().await;
            }
        });
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer hunter2"));
        let export = Export {
            host: "otel.example".to_owned(),
            path: "/v1/logs".to_owned(),
            headers,
            authorities: vec![bundle],
        };
        let sender = Sender::new(&export, way, &record, "r".into()).unwrap();
        let others = line("another's");
        let lines = [line("earlier"), others.clone(), line("r").repeat(records), others];
        fs::write(&record, lines.concat()).unwrap();
        let result = sender.send_all().await;
        fs::remove_dir_all(directory).unwrap();
        let mut requests = Vec::new();
        while let Ok(request) = arrived.try_recv() {
            requests.push(request);
        }
        (requests, result)
    }

    #[tokio::test]
    async fn a_collector_gets_the_record_in_requests_with_its_credentials() {
        let (requests, result) = sent(1_001, "200 OK", "otlp-sent").await;
        assert_eq!((requests.len(), result.unwrap()), (2, 2));
        for request in requests {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("POST /v1/logs HTTP/1.1\r\n"), "{head}");
            for field in [
                "host: otel.example",
                "authorization: Bearer hunter2",
                "content-type: application/json",
            ] {
                assert!(head.lines().any(|line| line == field), "{head}");
            }
            let body: serde_json::Value = serde_json::from_str(body.trim_end()).unwrap();
            assert!(body["resourceLogs"].is_array());
            for run in ["earlier", "another's"] {
                assert!(!request.contains(run), "a line of another run was sent");
            }
        }
    }

    #[tokio::test]
    async fn a_collector_that_refuses_is_told_of_without_the_credentials_and_asked_no_more() {
        let (requests, result) = sent(3_001, "401 Unauthorized", "otlp-refused").await;
        let error = format!("{:#}", result.unwrap_err());
        assert_eq!((requests.len(), error.as_str()), (1, "it answered with status 401"));
    }
}
