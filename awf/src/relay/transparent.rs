//! The transparent door: clients that know of no proxy.
//!
//! The name the agent resolved decides; SNI and Host must agree with it, and stand in for it where the address was not
//! resolved here. The address itself is never used to connect.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::attempt::{Attempt, Ending};
use super::client_hello::alert_access_denied;
use super::first_bytes::{Unclear, read_head, read_hello};
use super::http_head::{self, Authority, Head, Host, forbidden};
use super::pump::pump;
use super::upstream::Request;
use super::{Relay, explicit, inspect};
use crate::observe::record::NameSource;
use crate::policy::{Decision, Scheme, Service};

/// TLS alert `internal_error`(80), fatal: the fault is neither the client's nor the policy's.
const ALERT_INTERNAL_ERROR: [u8; 7] = [21, 3, 1, 0, 2, 2, 80];
/// HTTP (RFC 9110).
const HTTP_PORT: u16 = 80;

pub(super) async fn serve(relay: &Arc<Relay>, attempt: &mut Attempt, client: TcpStream) -> Ending {
    let services = Arc::clone(&relay.reach.services);
    if let Some(service) = services.at(attempt.address()) {
        return serve_closed(attempt, client, service).await;
    }
    if attempt.origin.port == HTTP_PORT {
        serve_http(relay, attempt, client, BytesMut::new(), None).await
    } else {
        serve_tls(relay, attempt, client).await
    }
}

/// Refuses a web port that is not opened of a service: its address means the service, whatever name the client goes on to say.
async fn serve_closed(attempt: &mut Attempt, mut client: TcpStream, service: &Service) -> Ending {
    let port = attempt.origin.port;
    attempt.is_for(Arc::from(service.name()), NameSource::Service, port);
    let decision = service.decide(port);
    let refusal = if port == HTTP_PORT {
        forbidden(decision.rule, service.name(), &decision.reason)
    } else {
        alert_access_denied().to_vec()
    };
    say(&mut client, &refusal).await;
    Ending::denied(&decision)
}

async fn serve_tls(relay: &Arc<Relay>, attempt: &mut Attempt, mut client: TcpStream) -> Ending {
    let resolved = relay.resolved_name(attempt.origin.address);
    let port = attempt.origin.port;
    if let Some(name) = &resolved {
        attempt.is_for(Arc::clone(name), NameSource::Dns, port);
    }
    let (hello, first) = match read_hello(&mut client, BytesMut::new()).await {
        Ok(read) => read,
        Err(unclear) => return explicit::not_tls(&unclear),
    };
    let (name, source) = match (resolved, hello.sni) {
        (Some(resolved), Some(sni)) if *resolved != *sni => {
            say(&mut client, &alert_access_denied()).await;
            return Ending::refused(
                "deny-sni-mismatch",
                format!("the client resolved {resolved} but its TLS hello names {sni}"),
            );
        }
        (Some(resolved), _) => (resolved, NameSource::Dns),
        (None, Some(sni)) => (Arc::from(sni), NameSource::Sni),
        (None, None) => (Arc::from(attempt.address().to_string()), NameSource::Request),
    };
    attempt.is_for(Arc::clone(&name), source, port);
    let decision = relay.decide(attempt, (&name, port), Scheme::Tls);
    if !decision.allow {
        say(&mut client, &alert_access_denied()).await;
        relay.show_denial(attempt, Request::Tunnel { host: name.to_string(), port });
        return Ending::denied(&decision);
    }
    match relay.upstream.tunnel(&attempt.tag(), &name, port).await {
        Ok(upstream) => carry(relay, attempt, &decision, (client, upstream), &first).await,
        Err(failure) => {
            let alert =
                if failure.is_denial() { alert_access_denied() } else { ALERT_INTERNAL_ERROR };
            say(&mut client, &alert).await;
            Ending::failed(&decision, &failure)
        }
    }
}

/// Serves plain HTTP. `expected` is the host a CONNECT named, for clients that tunnel HTTP through the proxy door.
pub(super) async fn serve_http(
    relay: &Arc<Relay>,
    attempt: &mut Attempt,
    mut client: TcpStream,
    read: BytesMut,
    expected: Option<Arc<str>>,
) -> Ending {
    let source = if expected.is_some() { NameSource::Request } else { NameSource::Dns };
    let resolved = expected.or_else(|| relay.resolved_name(attempt.origin.address));
    if let Some(name) = &resolved {
        attempt.is_for(Arc::clone(name), source, HTTP_PORT);
    }
    let bytes = match read_head(&mut client, read).await {
        Ok(bytes) => bytes,
        Err(Unclear::Left) => return Ending::abandoned(),
        Err(Unclear::Wrong(reason)) => {
            say(&mut client, &forbidden("deny-not-http", "-", reason)).await;
            return Ending::refused("deny-not-http", reason);
        }
    };
    let host = match host_of(&bytes, resolved.as_deref()) {
        Ok(host) => host,
        Err((rule, reason)) => {
            say(&mut client, &forbidden(rule, resolved.as_deref().unwrap_or("-"), &reason)).await;
            return Ending::refused(rule, reason);
        }
    };
    let source = if resolved.is_some() { source } else { NameSource::Host };
    attempt.is_for(Arc::clone(&host), source, HTTP_PORT);
    let decision = relay.decide(attempt, (&host, HTTP_PORT), Scheme::Http);
    let request = Request::Origin(bytes.freeze());
    if !decision.allow {
        say(&mut client, &forbidden(decision.rule, &host, &way(relay, &host, HTTP_PORT))).await;
        relay.show_denial(attempt, request);
        return Ending::denied(&decision);
    }
    explicit::forward(relay, attempt, client, &request, &decision).await
}

/// The host a plain request is for, which must be the one the client resolved.
fn host_of(bytes: &[u8], resolved: Option<&str>) -> Result<Arc<str>, (&'static str, String)> {
    let Head::Request(request) = http_head::parse(bytes) else {
        return Err(("deny-not-http", "not an HTTP request".into()));
    };
    if request.target != http_head::Target::Origin {
        return Err(("deny-not-origin", "a proxy request was sent to a web server's port".into()));
    }
    let Some(Authority { host, port }) = request.host else {
        return Err(("deny-no-host", "the request has no Host field".into()));
    };
    if port.is_some_and(|port| port != HTTP_PORT) {
        return Err(("deny-unsafe-ports", "the Host field names another port than 80".into()));
    }
    let host = text_of(&host);
    match resolved {
        Some(resolved) if resolved != host => Err((
            "deny-host-mismatch",
            format!("the client resolved {resolved} but its Host field names {host}"),
        )),
        _ => Ok(Arc::from(host)),
    }
}

/// A host as the policy and Squid want it.
pub(super) fn text_of(host: &Host) -> String {
    match host {
        Host::Name(name) => name.clone(),
        Host::Address(address) => address.to_string(),
    }
}

/// What a denied client is told to do. The list of domains cannot help where a port of this machine is meant.
pub(super) fn way(relay: &Relay, host: &str, port: u16) -> String {
    relay.reach.why_closed(host, port).unwrap_or_else(|| remedy(host))
}

fn remedy(host: &str) -> String {
    if host.parse::<Ipv4Addr>().is_ok() {
        format!("connect by name, or add --allow-domains {host}")
    } else {
        format!("add it with --allow-domains {host}")
    }
}

/// Looks into the connection, if that is asked for; else sends the bytes read so far and then moves what follows, both ways.
pub(super) async fn carry(
    relay: &Arc<Relay>,
    attempt: &mut Attempt,
    decision: &Decision,
    (client, mut upstream): (TcpStream, TcpStream),
    first: &[u8],
) -> Ending {
    if relay.inspect.in_tls() {
        // Large, and most runs do without.
        let serving = inspect::serve(relay, attempt, decision, (client, upstream), first);
        return Box::pin(serving).await;
    }
    if upstream.write_all(first).await.is_ok() {
        attempt.counters.add_sent(u64::try_from(first.len()).unwrap_or(0));
        // An error of either side is an ordinary end; the counters are final either way.
        let _ended = pump(client, upstream, &attempt.counters).await.is_err();
    }
    Ending::allowed(decision, Some(200))
}

/// Bytes of a refused request that are still read, and for how long, so that the refusal arrives: closing a socket with
/// unread bytes resets the connection, and a reset throws away what the client has not read yet (RFC 9112, 9.6).
const LINGER_BYTES: usize = 1 << 20;
const LINGER: Duration = Duration::from_millis(500);

/// Says a last word. A client that has gone does not hear it.
pub(crate) async fn say<S: AsyncRead + AsyncWrite + Unpin>(client: &mut S, bytes: &[u8]) {
    let last_word = async {
        client.write_all(bytes).await?;
        client.shutdown().await?;
        let mut scratch = vec![0; 4096];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match client.read(&mut scratch).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        std::io::Result::Ok(())
    };
    let _unheard = timeout(LINGER, last_word).await.is_err();
}
