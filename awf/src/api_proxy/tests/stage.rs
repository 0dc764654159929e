//! A service behind real TLS, an API proxy that reaches it, and clients that write raw bytes.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsAcceptor;

use super::super::{ApiProxy, Visit, Way};
use crate::cli::Budgets;
use crate::observe::journal::{Journal, Keeping};
use crate::observe::record::ProcessInfo;
use crate::plan::api_proxy::{Provider, sample};
use crate::policy::Policy;

/// The credential that must never be seen but by the service.
pub(super) const SECRET: &str = "sk-hunter2-real";

/// What the service does with a request.
#[derive(Clone)]
pub(super) enum Script {
    /// Says this and closes.
    Say(String),
    /// Says the first part, waits, says the second.
    Twice(String, Arc<Notify>, String),
    /// Never answers; tells when the connection has ended.
    Hold(Arc<Notify>),
}

/// What is different from the ordinary.
pub(super) struct Setting {
    pub(super) vars: Vec<(&'static str, &'static str)>,
    /// The name in the service's certificate.
    pub(super) certified: &'static str,
    pub(super) believed: bool,
    pub(super) blocked: &'static str,
    pub(super) script: Script,
    pub(super) budgets: Budgets,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            vars: vec![("OPENAI_API_KEY", SECRET)],
            certified: Provider::OpenAi.server(),
            believed: true,
            blocked: "",
            script: Script::Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned()),
            budgets: Budgets::default(),
        }
    }
}

pub(super) struct Stage {
    pub(super) proxy: Arc<ApiProxy>,
    journal: Arc<Journal>,
    directory: PathBuf,
    arrived: mpsc::UnboundedReceiver<String>,
}

impl Stage {
    pub(super) async fn set(setting: Setting) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("awf-api-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (acceptor, authority) = certify(setting.certified);
        let bundle = directory.join("ca.pem");
        fs::write(&bundle, if setting.believed { authority } else { certify("other.example").1 })
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, arrived) = mpsc::unbounded_channel();
        tokio::spawn(serve(listener, acceptor, setting.script, tell));
        let mut plan = sample(&setting.vars);
        plan.authorities = vec![bundle];
        plan.budgets = setting.budgets;
        let blocked = [setting.blocked.to_owned()];
        let policy = Policy::resolve(&plan.entries(), &blocked).unwrap().0;
        let record = directory.join("egress.jsonl");
        fs::write(&record, "").unwrap();
        let journal = Journal::open("run".into(), &record, Keeping::default()).unwrap();
        journal.begin();
        let way = Way::Direct(address);
        let usage = directory.join("token-usage.jsonl");
        fs::write(&usage, "").unwrap();
        let policy = Arc::new(policy);
        let proxy = ApiProxy::new(plan, policy, way, Arc::clone(&journal), Some(&usage)).unwrap();
        Self { proxy, journal, directory, arrived }
    }

    /// What a client that sends these bytes to `OpenAI`'s port hears until the connection ends.
    pub(super) async fn ask(&self, bytes: &str) -> String {
        self.ask_at(10000, bytes).await
    }

    pub(super) async fn ask_at(&self, port: u16, bytes: &str) -> String {
        let (mut client, served) = tokio::io::duplex(1 << 16);
        let serving = tokio::spawn(Arc::clone(&self.proxy).serve(served, visit(port)));
        let (mut reads, mut writes) = tokio::io::split(&mut client);
        let mut answer = String::new();
        // The proxy may answer and close before it has read everything.
        let (_written, read) =
            tokio::join!(writes.write_all(bytes.as_bytes()), reads.read_to_string(&mut answer));
        read.unwrap();
        drop(client);
        serving.await.unwrap();
        answer
    }

    /// The next request at the service, if one has come.
    pub(super) fn arrived(&mut self) -> Option<String> {
        self.arrived.try_recv().ok()
    }

    pub(super) async fn next_arrived(&mut self) -> String {
        self.arrived.recv().await.unwrap()
    }

    /// Lines of what was used.
    pub(super) fn usage(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.directory.join("token-usage.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Ends the record and gives its lines.
    pub(super) fn record(&self) -> Vec<serde_json::Value> {
        self.journal.close(|_tally, _lost| None);
        let text = fs::read_to_string(self.directory.join("egress.jsonl")).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// A client at this port.
pub(super) fn visit(port: u16) -> Visit {
    let process = ProcessInfo { comm: Some("curl".to_owned()), ..ProcessInfo::default() };
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    let ktime_ns = u64::try_from(now.tv_sec() * 1_000_000_000 + now.tv_nsec()).unwrap();
    Visit { port, client_port: 40001, ktime_ns, process, socket: (1, 2) }
}

/// Both ends of a TCP connection.
pub(super) async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, served) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), served.unwrap().0)
}

/// A server with a certificate for this name, and the authority that vouches for it.
pub(crate) fn certify(name: &str) -> (TlsAcceptor, String) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), pem)
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    script: Script,
    tell: mpsc::UnboundedSender<String>,
) {
    loop {
        let (stream, _peer) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
        let request = read_request(&mut stream).await;
        tell.send(request).unwrap();
        match &script {
            Script::Say(answer) => {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            Script::Twice(first, wait, second) => {
                stream.write_all(first.as_bytes()).await.unwrap();
                wait.notified().await;
                stream.write_all(second.as_bytes()).await.unwrap();
            }
            Script::Hold(ended) => {
                let _closed = stream.read(&mut [0; 16]).await;
                ended.notify_one();
            }
        }
        let _gone = stream.shutdown().await;
    }
}

/// A request with its body, as its own framing has it.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().unwrap());
            let chunked = head.contains("transfer-encoding: chunked");
            if if chunked { body.ends_with("0\r\n\r\n") } else { body.len() >= length } {
                return text.into_owned();
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap() == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}
