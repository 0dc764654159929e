//! The proxy door: clients that speak to the proxy's address.
//!
//! A CONNECT is held after Squid's yes until the client's TLS hello names the same host: domain fronting and tunnels of
//! other protocols end here. Plain requests go to a port of Squid that refuses CONNECT.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::attempt::{Attempt, Ending};
use super::client_hello::alert_access_denied;
use super::first_bytes::{Unclear, read_head, read_hello};
use super::http_head::{self, Authority, Head, Target, forbidden};
use super::pump::pump;
use super::transparent::{carry, say, serve_http, text_of, way};
use super::upstream::{Request, outcome_of};
use super::{Relay, service};
use crate::observe::record::NameSource;
use crate::policy::{Decision, Scheme};

const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const BAD_GATEWAY: &[u8] =
    b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

pub(super) async fn serve(
    relay: &Arc<Relay>,
    attempt: &mut Attempt,
    mut client: TcpStream,
) -> Ending {
    let bytes = match read_head(&mut client, BytesMut::new()).await {
        Ok(bytes) => bytes,
        Err(Unclear::Left) => return Ending::abandoned(),
        Err(Unclear::Wrong(reason)) => {
            say(&mut client, &forbidden("deny-not-http", "-", reason)).await;
            return Ending::refused("deny-not-http", reason);
        }
    };
    let Head::Request(request) = http_head::parse(&bytes) else {
        return Ending::internal("a request that was understood is not any more");
    };
    attempt.is_by(request.user_agent);
    let services = Arc::clone(&relay.reach.services);
    if let Some(service) = host_of(&request.target).and_then(|host| services.named(&host)) {
        return service::serve_request(relay, attempt, client, service, &bytes).await;
    }
    match request.target {
        Target::Connect(authority) => {
            let rest = BytesMut::from(bytes.get(request.length..).unwrap_or_default());
            serve_connect(relay, attempt, client, &authority, rest).await
        }
        Target::Absolute { scheme, authority } if scheme == "http" => {
            let port = authority.port.unwrap_or(80);
            let host: Arc<str> = Arc::from(text_of(&authority.host));
            attempt.is_for(Arc::clone(&host), NameSource::Request, port);
            let decision = relay.decide(attempt, (&host, port), Scheme::Http);
            let request = Request::Forward(bytes.freeze());
            if !decision.allow {
                say(&mut client, &forbidden(decision.rule, &host, &way(relay, &host, port))).await;
                relay.show_denial(attempt, request);
                return Ending::denied(&decision);
            }
            forward(relay, attempt, client, &request, &decision).await
        }
        Target::Absolute { scheme, .. } => {
            let reason = format!("the proxy does not fetch {scheme} URLs itself; use CONNECT");
            say(&mut client, &forbidden("deny-scheme", "-", &reason)).await;
            Ending::refused("deny-scheme", reason)
        }
        Target::Origin => {
            let reason = "a web server's request was sent to the proxy";
            say(&mut client, &forbidden("deny-not-proxy-request", "-", reason)).await;
            Ending::refused("deny-not-proxy-request", reason)
        }
    }
}

/// The host that a proxy request names. Only plain HTTP is fetched.
fn host_of(target: &Target) -> Option<String> {
    match target {
        Target::Connect(authority) => Some(text_of(&authority.host)),
        Target::Absolute { scheme, authority } if scheme == "http" => {
            Some(text_of(&authority.host))
        }
        Target::Absolute { .. } | Target::Origin => None,
    }
}

async fn serve_connect(
    relay: &Arc<Relay>,
    attempt: &mut Attempt,
    mut client: TcpStream,
    authority: &Authority,
    rest: BytesMut,
) -> Ending {
    let port = authority.port.unwrap_or(443);
    let host: Arc<str> = Arc::from(text_of(&authority.host));
    attempt.is_for(Arc::clone(&host), NameSource::Request, port);
    let decision = relay.decide(attempt, (&host, port), Scheme::Tls);
    if !decision.allow {
        say(&mut client, &forbidden(decision.rule, &host, &way(relay, &host, port))).await;
        relay.show_denial(attempt, Request::Tunnel { host: host.to_string(), port });
        return Ending::denied(&decision);
    }
    if port == 80 {
        // A raw tunnel to port 80 would let every request name another host: serve it as the plain HTTP it must be.
        if client.write_all(ESTABLISHED).await.is_err() {
            return Ending::abandoned();
        }
        return serve_http(relay, attempt, client, rest, Some(host)).await;
    }
    let upstream = match relay.upstream.tunnel(&attempt.tag(), &host, port).await {
        Ok(upstream) => upstream,
        Err(failure) => {
            if failure.is_denial() {
                say(&mut client, &forbidden("inward-address", &host, &failure.to_string())).await;
            } else {
                say(&mut client, BAD_GATEWAY).await;
            }
            return Ending::failed(&decision, &failure);
        }
    };
    if client.write_all(ESTABLISHED).await.is_err() {
        return Ending::abandoned();
    }
    let (hello, first) = match read_hello(&mut client, rest).await {
        Ok(read) => read,
        Err(unclear) => return not_tls(&unclear),
    };
    if let Some(sni) = hello.sni.filter(|sni| **sni != *host) {
        say(&mut client, &alert_access_denied()).await;
        return Ending::refused(
            "deny-sni-mismatch",
            format!("the client asked the proxy for {host} but its TLS hello names {sni}"),
        );
    }
    carry(relay, attempt, &decision, (client, upstream), &first).await
}

/// Hands a plain request to Squid, which closes the connection after its answer: a later request on it could name another
/// host, unseen by the relay.
pub(super) async fn forward(
    relay: &Arc<Relay>,
    attempt: &Attempt,
    mut client: TcpStream,
    request: &Request,
    decision: &Decision,
) -> Ending {
    let host = attempt.name().unwrap_or_else(|| "-".into());
    if let Some(finding) = relay.inspect.against_plain(&host, request.head()) {
        // Squid is not shown it: its log would have the URL.
        say(&mut client, &forbidden(finding.rule, &host, &finding.remedy)).await;
        return Ending::refused(finding.rule, finding.reason);
    }
    match relay.upstream.send(&attempt.tag(), request).await {
        Ok(upstream) => {
            attempt.counters.add_sent(request.length());
            // An error of either side is an ordinary end; the counters are final either way.
            let _ended = pump(client, upstream, &attempt.counters).await.is_err();
            match outcome_of(&attempt.counters.answer()) {
                Ok(status) => Ending::allowed(decision, status),
                Err(failure) => Ending::failed(decision, &failure),
            }
        }
        Err(error) => {
            say(&mut client, BAD_GATEWAY).await;
            Ending::failed(decision, &super::upstream::Failure::Broken(error))
        }
    }
}

/// What first bytes that are no TLS hello end as.
pub(super) fn not_tls(unclear: &Unclear) -> Ending {
    match unclear {
        Unclear::Left => Ending::abandoned(),
        Unclear::Wrong(reason) => Ending::refused("deny-not-tls", *reason),
    }
}
