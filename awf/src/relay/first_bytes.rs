//! Reading what a client says first, until it is understood.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client_hello::{self, ClientHello, Hello};
use super::http_head;

/// How long a client may take to say what it wants. TLS and HTTP clients speak at once; what is silent waits for a server
/// that speaks first, which no allowed protocol does.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes read at a time: a `ClientHello` with post-quantum key shares has about 1,800.
const CHUNK: usize = 4096;

/// Why the first bytes lead nowhere.
#[derive(Debug)]
pub(crate) enum Unclear {
    /// The client closed, or said nothing in time.
    Left,
    /// What it said is not the protocol of the port, or a form of it that must not pass.
    Wrong(&'static str),
}

/// Reads a `ClientHello`; gives it with all bytes read so far.
pub(super) async fn read_hello(
    client: &mut TcpStream,
    read: BytesMut,
) -> Result<(ClientHello, BytesMut), Unclear> {
    read_until(client, read, |bytes| match client_hello::parse(bytes) {
        Hello::Need => None,
        Hello::Found(hello) => Some(Ok(hello)),
        Hello::NotTls => Some(Err("not TLS")),
        Hello::Malformed(reason) => Some(Err(reason)),
    })
    .await
}

/// Reads an HTTP request head; gives all bytes read so far, of which it is the beginning.
pub(crate) async fn read_head<S: AsyncRead + Unpin>(
    client: &mut S,
    read: BytesMut,
) -> Result<BytesMut, Unclear> {
    let ((), bytes) = read_until(client, read, |bytes| match http_head::parse(bytes) {
        http_head::Head::Need => None,
        http_head::Head::Request(_) => Some(Ok(())),
        http_head::Head::Malformed(reason) => Some(Err(reason)),
    })
    .await?;
    Ok(bytes)
}

async fn read_until<S: AsyncRead + Unpin, T>(
    client: &mut S,
    mut bytes: BytesMut,
    understand: impl Fn(&[u8]) -> Option<Result<T, &'static str>>,
) -> Result<(T, BytesMut), Unclear> {
    let reading = async {
        loop {
            if !bytes.is_empty()
                && let Some(understood) = understand(&bytes)
            {
                return understood.map_err(Unclear::Wrong);
            }
            bytes.reserve(CHUNK);
            if client.read_buf(&mut bytes).await.map_or(true, |count| count == 0) {
                return Err(Unclear::Left);
            }
        }
    };
    let understood =
        timeout(PATIENCE, reading).await.map_or(Err(Unclear::Left), |result| result)?;
    Ok((understood, bytes))
}
