//! TLS with the server first, then TLS with the command in the server's name.
//!
//! Takes the command's connection, of which its hello was read, and the tunnel to the server. What the two sides speak is
//! what the client offers and the server chooses. Must never: answer the client before the server's certificate was
//! verified for the very name that was judged.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, client, server};

use super::Bump;
use crate::api_proxy::Client;
use crate::relay::say;

/// How long either side may take: two round trips, and a loaded server.
const PATIENCE: Duration = Duration::from_secs(30);
/// Characters of the longest reason.
const MAX_REASON: usize = 200;
/// What can be judged.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// TLS alerts, fatal (RFC 8446, 6.2).
const CERTIFICATE_UNKNOWN: [u8; 7] = alert(46);
const INTERNAL_ERROR: [u8; 7] = alert(80);
const NO_APPLICATION_PROTOCOL: [u8; 7] = alert(120);

const fn alert(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description]
}

/// Both sides.
pub(super) struct Both {
    pub(super) client: server::TlsStream<Client<TcpStream>>,
    pub(super) server: client::TlsStream<TcpStream>,
    /// HTTP/2, else HTTP/1.1.
    pub(super) h2: bool,
}

/// Why there are not both.
pub(super) enum Failed {
    /// The client's hello is none that can be answered.
    Client(String),
    /// The client offers protocols, and none of them is HTTP.
    NotHttp,
    /// The server did not prove that it is who it should be.
    Certificate(String),
    /// The server does not speak TLS with us.
    Server(String),
    /// The client does not speak TLS with us, mostly because it does not believe the authority of the run.
    Unbelieved(String),
}

impl Bump {
    /// Speaks TLS with both sides.
    pub(super) async fn both(
        &self,
        name: &Arc<str>,
        client: Client<TcpStream>,
        server: TcpStream,
    ) -> Result<Both, Failed> {
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), client);
        let mut hello =
            in_time(hello).await.map_err(|error| Failed::Client(format!("TLS: {error}")))?;
        let asked: Option<Vec<Vec<u8>>> =
            hello.client_hello().alpn().map(|list| list.map(<[u8]>::to_vec).collect());
        let offered: Vec<Vec<u8>> = match &asked {
            None => vec![b"http/1.1".to_vec()],
            Some(asked) => {
                asked.iter().filter(|name| PROTOCOLS.contains(&&***name)).cloned().collect()
            }
        };
        if offered.is_empty() {
            say(&mut hello.io, &NO_APPLICATION_PROTOCOL).await;
            return Err(Failed::NotHttp);
        }
        let server = match self.ask(name, server, offered).await {
            Ok(server) => server,
            Err(error) => {
                let fault = error.get_ref().and_then(|error| error.downcast_ref());
                let unproved = matches!(fault, Some(rustls::Error::InvalidCertificate(_)));
                let told = if unproved { CERTIFICATE_UNKNOWN } else { INTERNAL_ERROR };
                say(&mut hello.io, &told).await;
                // It may list every name of a certificate.
                let reason: String =
                    format!("TLS with {name}: {error}").chars().take(MAX_REASON).collect();
                return Err(if unproved {
                    Failed::Certificate(reason)
                } else {
                    Failed::Server(reason)
                });
            }
        };
        let chosen = server.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let h2 = chosen.as_deref() == Some(b"h2");
        // A client without preferences gets none told.
        let told = asked.map(|_| chosen.unwrap_or_else(|| b"http/1.1".to_vec()));
        let config = match self.authority.server(name, told) {
            Ok(config) => config,
            Err(error) => {
                say(&mut hello.io, &INTERNAL_ERROR).await;
                return Err(Failed::Server(format!("a certificate for {name}: {error:#}")));
            }
        };
        match in_time(hello.into_stream(config)).await {
            Ok(client) => Ok(Both { client, server, h2 }),
            Err(error) => Err(Failed::Unbelieved(error.to_string())),
        }
    }

    /// TLS with the server.
    async fn ask(
        &self,
        name: &str,
        server: TcpStream,
        offered: Vec<Vec<u8>>,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut config = (*self.servers).clone();
        config.alpn_protocols = offered;
        in_time(TlsConnector::from(Arc::new(config)).connect(name, server)).await
    }
}

async fn in_time<T>(handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let handshake = timeout(PATIENCE, handshake).await;
    handshake.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
}
