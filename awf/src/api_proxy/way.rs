//! The way to a service: a tunnel through Squid, TLS in it, HTTP in that.
//!
//! Owns which authorities are believed. Must never: reach a server but through Squid, speak to one whose certificate is not
//! for its name, or follow a redirect.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::refusal::Refusal;
use crate::relay::{Failure, Tag, Upstream};

/// How long TLS may take: two round trips, and a loaded server.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a bundle of authorities. Debian's has 220,000.
const MAX_BUNDLE: u64 = 16 << 20;

/// How a server is reached.
#[derive(Debug)]
pub enum Way {
    /// Through Squid.
    Squid(Upstream),
    /// At this address, whatever its name.
    #[cfg(test)]
    Direct(std::net::SocketAddr),
}

impl Way {
    async fn open(&self, tag: &Tag, host: &str) -> Result<TcpStream, Failure> {
        match self {
            Self::Squid(upstream) => upstream.tunnel(tag, host, super::TLS_PORT).await,
            #[cfg(test)]
            Self::Direct(address) => TcpStream::connect(address).await.map_err(Failure::Broken),
        }
    }
}

/// Connects to servers.
#[derive(Debug)]
pub(crate) struct Connector {
    way: Way,
    authorities: Vec<PathBuf>,
    /// Read when the first server is asked; most runs never do. It also keeps TLS sessions for the next request.
    tls: OnceCell<Arc<ClientConfig>>,
}

impl Connector {
    pub(crate) fn new(way: Way, authorities: Vec<PathBuf>) -> Self {
        Self { way, authorities, tls: OnceCell::new() }
    }

    /// A connection on which one request can be sent, and the task that serves it.
    pub(crate) async fn connect<B>(
        &self,
        tag: &Tag,
        host: &str,
    ) -> Result<(SendRequest<B>, AbortOnDropHandle<()>), Refusal>
    where
        B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let failed = |reason: String| Refusal::failed(StatusCode::BAD_GATEWAY, reason);
        let config =
            self.tls.get_or_try_init(|| configure(self.authorities.clone(), "http/1.1")).await;
        let config =
            config.map_err(|error| failed(format!("certification authorities: {error}")))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| failed(format!("{host} cannot be asked by TLS: {error}")))?;
        let stream = self.way.open(tag, host).await.map_err(|failure| Refusal::by_way(&failure))?;
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        let stream = timeout(HANDSHAKE_PATIENCE, handshake)
            .await
            .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| failed(format!("TLS with {host}: {error}")))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(format!("HTTP with {host}: {error}")))?;
        let task = tokio::spawn(async move {
            // Whoever waits for the answer hears of an error too.
            let _broken = connection.await.is_err();
        });
        Ok((sender, AbortOnDropHandle::new(task)))
    }
}

/// What a client of these authorities needs, which offers one protocol.
pub(crate) async fn configure(
    files: Vec<PathBuf>,
    protocol: &str,
) -> io::Result<Arc<ClientConfig>> {
    let config = spawn_blocking(move || client_config(&files)).await;
    let mut config = config.map_err(io::Error::other)??;
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(Arc::new(config))
}

/// How servers are spoken to whose certificates these files vouch for.
pub(crate) fn client_config(files: &[PathBuf]) -> io::Result<ClientConfig> {
    let roots = read_roots(files)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read_roots(files: &[PathBuf]) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for file in files {
        let pem = read(file).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", file.display()))
        })?;
        // What is no certificate, or none that anybody could believe, is left out, as everywhere.
        let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        roots.add_parsable_certificates(certificates);
    }
    if roots.is_empty() {
        let reason = "none found; install ca-certificates or set SSL_CERT_FILE";
        return Err(io::Error::new(io::ErrorKind::NotFound, reason));
    }
    Ok(roots)
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    File::open(file)?.take(MAX_BUNDLE).read_to_end(&mut pem)?;
    Ok(pem)
}
