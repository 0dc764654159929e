//! The service door: opened ports of this machine and of containers beside it.
//!
//! Takes the address and port that the client asked for, or that it named to the proxy, and connects to the one place which the
//! plan gives for them. Any protocol passes, unread: whoever opens a port opens all that listens there. Must never: connect to
//! anything but loopback and the addresses of this machine, or a peer's own address, on the very port that was asked for.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::Relay;
use super::attempt::{Attempt, Ending};
use super::http_head::{self, Authority, Target as Form, forbidden};
use super::pump::pump;
use super::transparent::{say, text_of};
use crate::api_proxy::{ApiProxy, Visit};
use crate::observe::record::NameSource;
use crate::plan::addresses;
use crate::policy::{Decision, Service, Services, Target};

/// How long a service may take to accept. It is near: the kernel answers for it in microseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way to services.
#[derive(Clone, Debug)]
pub struct Reach {
    /// What is opened.
    pub services: Arc<Services>,
    /// This machine's IPv4 addresses.
    pub own: Vec<Ipv4Addr>,
    /// What answers at the API proxy's ports.
    pub api: Arc<ApiProxy>,
}

impl Reach {
    /// Why a host's port is closed, with the flag that would open it, if it is one that can be opened.
    pub(super) fn why_closed(&self, host: &str, port: u16) -> Option<String> {
        self.services.why_closed(host, port, &addresses::HOST_CALLED)
    }

    async fn connect(&self, target: Target, port: u16) -> io::Result<TcpStream> {
        let connecting = async {
            match target {
                Target::Host => self.connect_to_host(port).await,
                Target::Peer(address) => TcpStream::connect((address, port)).await,
                Target::ApiProxy => {
                    Err(io::Error::other("the API proxy is asked without a connection"))
                }
            }
        };
        let stream = timeout(PATIENCE, connecting).await??;
        // Without it every small answer waits for a delayed acknowledgement (40 ms).
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Loopback first, where most services listen, development servers often on IPv6 only; then the machine's addresses, for
    /// one that is bound to a bridge's only.
    async fn connect_to_host(&self, port: u16) -> io::Result<TcpStream> {
        let loopback = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        let refused = |error: &io::Error| matches!(error.kind(), io::ErrorKind::ConnectionRefused);
        if !loopback.as_ref().err().is_some_and(refused) {
            return loopback;
        }
        if let Ok(stream) = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await {
            return Ok(stream);
        }
        for address in self.own.iter().filter(|address| !address.is_loopback()) {
            if let Ok(stream) = connect_to_own(*address, port).await {
                return Ok(stream);
            }
        }
        loopback
    }
}

/// Connects to an address only while it is this machine's: it could be another machine's by now, but then no socket can be
/// bound to it.
async fn connect_to_own(address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddrV4::new(address, 0).into())?;
    socket.connect(SocketAddrV4::new(address, port).into()).await
}

pub(super) async fn serve(relay: &Arc<Relay>, attempt: &mut Attempt, client: TcpStream) -> Ending {
    let port = attempt.origin.port;
    let services = Arc::clone(&relay.reach.services);
    let Some(service) = services.at(attempt.address()) else {
        return Ending::internal("the kernel opened an address that no service has");
    };
    attempt.is_for(Arc::from(service.name()), NameSource::Service, port);
    let decision = service.decide(port);
    attempt.is_judged(&decision);
    if !decision.allow {
        return Ending::denied(&decision);
    }
    match relay.reach.connect(service.target, port).await {
        Ok(upstream) => carry(attempt, &decision, client, (upstream, &[])).await,
        Err(error) => unreachable(&decision, service, &error),
    }
}

/// Serves a request to the proxy's address that names a service.
pub(super) async fn serve_request(
    relay: &Arc<Relay>,
    attempt: &mut Attempt,
    mut client: TcpStream,
    service: &Service,
    bytes: &[u8],
) -> Ending {
    let http_head::Head::Request(request) = http_head::parse(bytes) else {
        return Ending::internal("a request that was understood is not any more");
    };
    let head = bytes.get(..request.length).unwrap_or_default();
    let rest = bytes.get(request.length..).unwrap_or_default();
    let (port, answer, first) = match &request.target {
        Form::Connect(authority) => (authority.port.unwrap_or(443), ESTABLISHED, rest.to_vec()),
        Form::Absolute { authority, .. } => {
            let origin = [origin_form(head, authority).as_slice(), rest].concat();
            (authority.port.unwrap_or(80), &[][..], origin)
        }
        Form::Origin => return Ending::internal("a request without a host names no service"),
    };
    attempt.is_for(Arc::from(service.name()), NameSource::Request, port);
    let decision = service.decide(port);
    attempt.is_judged(&decision);
    if !decision.allow {
        let refusal = forbidden(decision.rule, service.name(), &decision.reason);
        say(&mut client, &refusal).await;
        return Ending::denied(&decision);
    }
    if service.target == Target::ApiProxy {
        if client.write_all(answer).await.is_ok() {
            attempt.recorded_elsewhere.store(true, Ordering::Relaxed);
            let visit =
                Visit { port, ..Visit::of(&attempt.origin, attempt.client, &relay.journal) };
            Arc::clone(&relay.reach.api).serve_rest(client, (&*first).into(), visit).await;
        }
        return Ending::abandoned();
    }
    match relay.reach.connect(service.target, port).await {
        Ok(upstream) => {
            if client.write_all(answer).await.is_err() {
                return Ending::abandoned();
            }
            carry(attempt, &decision, client, (upstream, &first)).await
        }
        Err(error) => {
            say(&mut client, BAD_GATEWAY).await;
            unreachable(&decision, service, &error)
        }
    }
}

const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const BAD_GATEWAY: &[u8] =
    b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

async fn carry(
    attempt: &Attempt,
    decision: &Decision,
    client: TcpStream,
    (mut upstream, first): (TcpStream, &[u8]),
) -> Ending {
    if upstream.write_all(first).await.is_ok() {
        attempt.counters.add_sent(u64::try_from(first.len()).unwrap_or(0));
        // An error of either side is an ordinary end; the counters are final either way.
        let _ended = pump(client, upstream, &attempt.counters).await.is_err();
    }
    Ending::served(decision)
}

fn unreachable(decision: &Decision, service: &Service, error: &io::Error) -> Ending {
    Ending::unserved(decision, format!("{} did not accept the connection: {error}", service.name()))
}

/// The fields of a request that concern the way to the proxy and not the server (RFC 9110, 7.6.1), and Host, which a proxy
/// makes anew from the target (RFC 9112, 3.2.2).
const OF_THE_WAY: [&str; 6] =
    ["connection", "proxy-connection", "keep-alive", "proxy-authorization", "te", "host"];

/// A request in proxy form as the server itself wants it: small servers know no other. The connection ends with the answer,
/// because a later request on it could be meant for another host.
fn origin_form(head: &[u8], authority: &Authority) -> Vec<u8> {
    let mut lines =
        head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next().unwrap_or_default().splitn(3, |byte| *byte == b' ');
    let mut word = || words.next().unwrap_or_default();
    let (method, target, version) = (word(), word(), word());
    let authority_begins =
        target.windows(3).position(|part| part == b"://").map_or(0, |at| at.saturating_add(3));
    let rest = target.get(authority_begins..).unwrap_or_default();
    // An authority that ends in anything but a slash is no request for the reader.
    let path_begins = rest.iter().position(|byte| *byte == b'/');
    let path = path_begins.and_then(|at| rest.get(at..)).unwrap_or(b"/");
    let port = authority.port.map(|port| format!(":{port}")).unwrap_or_default();
    let own = format!("\r\nHost: {}{port}\r\nConnection: close\r\n", text_of(&authority.host));
    let mut out = [method, b" ", path, b" ", version, own.as_bytes()].concat();
    for field in lines.filter(|field| !field.is_empty()) {
        let name = field.split(|byte| *byte == b':').next().unwrap_or_default();
        if !OF_THE_WAY.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name)) {
            out.extend_from_slice(field);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::api_proxy::Way;
    use crate::observe::journal::{Journal, Keeping};
    use crate::plan::api_proxy::ApiProxyPlan;
    use std::net::TcpListener;

    #[track_caller]
    fn check(request: &str, expected: &str) {
        let http_head::Head::Request(parsed) = http_head::parse(request.as_bytes()) else {
            panic!("{request:?} is no request");
        };
        let Form::Absolute { authority, .. } = parsed.target else { panic!("{request:?}") };
        let origin = origin_form(request.as_bytes(), &authority);
        assert_eq!(String::from_utf8(origin).unwrap(), expected);
    }

    #[test]
    fn a_proxy_request_becomes_the_servers_own() {
        check(
            "GET http://host.docker.internal:3000/a?b=c HTTP/1.1\r\nHost: evil\r\nAccept: */*\r\n\
             Proxy-Connection: Keep-Alive\r\nConnection: keep-alive\r\n\r\n",
            "GET /a?b=c HTTP/1.1\r\nHost: host.docker.internal:3000\r\nConnection: close\r\nAccept: */*\r\n\r\n",
        );
        check(
            "POST http://172.30.0.1/?x=http://y/z HTTP/1.0\r\nContent-Length: 3\r\n\r\n",
            "POST /?x=http://y/z HTTP/1.0\r\nHost: 172.30.0.1\r\nConnection: close\r\nContent-Length: 3\r\n\r\n",
        );
        check(
            "GET http://gateway HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n",
        );
    }

    fn reach(own: &[Ipv4Addr]) -> Reach {
        let journal =
            Journal::open("run".into(), Path::new("/dev/null"), Keeping::default()).unwrap();
        let way = Way::Direct(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1).into());
        let api =
            ApiProxy::new(ApiProxyPlan::default(), Arc::default(), way, journal, None).unwrap();
        Reach { services: Arc::default(), own: own.to_vec(), api }
    }

    /// Another address of loopback plays the machine's own one: nothing else is on every machine.
    const OWN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

    #[tokio::test]
    async fn the_host_is_looked_for_on_loopback() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = reach(&[]).connect(Target::Host, port).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
        drop(listener);
        let error = reach(&[]).connect(Target::Host, port).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn only_an_address_of_this_machine_is_taken_for_its_own() {
        let listener = TcpListener::bind((OWN, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = connect_to_own(OWN, port).await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), OWN);
        let other = Ipv4Addr::new(192, 0, 2, 1);
        let error = connect_to_own(other, port).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[tokio::test]
    async fn a_peer_is_its_address_and_nothing_else() {
        let listener = TcpListener::bind((OWN, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = reach(&[]).connect(Target::Peer(OWN), port).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
        let loopback = Target::Peer(Ipv4Addr::LOCALHOST);
        reach(&[OWN]).connect(loopback, port).await.unwrap_err();
        reach(&[OWN]).connect(Target::ApiProxy, port).await.unwrap_err();
    }
}
