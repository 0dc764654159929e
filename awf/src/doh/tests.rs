//! The resolver against a real server: TLS, HTTP/2 and DNS, on loopback.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write as _;
use std::net::Ipv6Addr;
use std::os::fd::IntoRawFd as _;
use std::path::PathBuf;

use bytes::Bytes;
use hickory_proto::op::{MessageType, OpCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::memfd::{MFdFlags, memfd_create};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;

/// What a server does.
#[derive(Clone, Copy)]
enum Manner {
    /// Answers with this many addresses.
    Answers(u8),
    /// Answers NXDOMAIN.
    KnowsNothing,
    /// Answers another question.
    Confused,
    /// Answers with an error.
    Refuses,
    /// Closes each connection after one answer.
    Forgetful,
}

/// A server whose certificate is for `names`, and how it is asked.
async fn server(manner: Manner, names: &[&str]) -> (Doh, Resolver) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    // In memory, as long as the process lives: nothing is left behind.
    let mut file = File::from(memfd_create("bundle", MFdFlags::empty()).unwrap());
    file.write_all(certificate.pem().as_bytes()).unwrap();
    let bundle = PathBuf::from(format!("/proc/self/fd/{}", file.into_raw_fd()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _client)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let serving = http2::Builder::new(TokioExecutor::new()).serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |it| serve(manner, it)),
                );
                if let Manner::Forgetful = manner {
                    drop(timeout(Duration::from_millis(200), serving).await);
                } else {
                    drop(serving.await);
                }
            });
        }
    });
    let doh = Doh {
        listen: Ipv4Addr::LOCALHOST,
        servers: vec![address],
        host: "dns.example".to_owned(),
        path: "/dns-query".to_owned(),
        authorities: vec![bundle],
    };
    let resolver = Resolver::new(&doh, |name| name == "allowed.com");
    (doh, resolver)
}

async fn serve(
    manner: Manner,
    request: HttpRequest<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/dns-query"));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut message = Message::from_vec(&body).unwrap().into_response();
    assert_eq!(message.metadata.id, 0, "a query that caches may share");
    let name = message.queries[0].name().clone();
    match manner {
        Manner::Answers(count) => (1..=count).for_each(|last| {
            let address = RData::A(A([93, 184, 216, last].into()));
            message.add_answer(Record::from_rdata(name.clone(), 60, address));
        }),
        Manner::Forgetful => {
            let address = RData::A(A([93, 184, 216, 1].into()));
            message.add_answer(Record::from_rdata(name, 60, address));
        }
        Manner::KnowsNothing => message.metadata.response_code = ResponseCode::NXDomain,
        Manner::Confused => {
            message.queries = vec![Query::query(Name::root(), RecordType::A)];
        }
        Manner::Refuses => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::FORBIDDEN;
            return Ok(response);
        }
    }
    let body = Full::new(Bytes::from(message.to_vec().unwrap()));
    Ok(Response::builder().header("content-type", "application/dns-message").body(body).unwrap())
}

async fn ask(resolver: &Resolver, name: &str, kind: RecordType) -> Message {
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    let answer = resolver.answer(&question.to_vec().unwrap(), true).await.expect("an answer");
    let answer = Message::from_vec(&answer).unwrap();
    assert_eq!((answer.metadata.id, &answer.queries), (7, &question.queries));
    answer
}

fn code(answer: &Message) -> (ResponseCode, usize) {
    (answer.metadata.response_code, answer.answers.len())
}

#[tokio::test]
async fn allowed_names_are_asked_for_and_no_others() {
    let (_doh, resolver) = server(Manner::Answers(2), &["dns.example"]).await;
    for name in ["allowed.com.", "ALLOWED.com."] {
        assert_eq!(code(&ask(&resolver, name, RecordType::A).await), (ResponseCode::NoError, 2));
    }
    for (name, kind) in [
        ("denied.com.", RecordType::A),
        ("x.allowed.com.", RecordType::AAAA),
        ("allowed.com.", RecordType::TXT),
        (".", RecordType::A),
    ] {
        assert_eq!(code(&ask(&resolver, name, kind).await), (ResponseCode::Refused, 0), "{name}");
    }
    assert_eq!(resolver.answer(b"short", true).await, None);
    let response = Message::new(7, MessageType::Response, OpCode::Query).to_vec().unwrap();
    assert_eq!(resolver.answer(&response, true).await, None);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_into_a_datagram_is_cut() {
    let (_doh, resolver) = server(Manner::Answers(100), &["dns.example"]).await;
    let answer = ask(&resolver, "allowed.com.", RecordType::A).await;
    assert!(answer.metadata.truncation && answer.answers.is_empty(), "{answer:?}");
}

#[tokio::test]
async fn that_a_name_does_not_exist_is_an_answer() {
    let (_doh, resolver) = server(Manner::KnowsNothing, &["dns.example"]).await;
    let answer = ask(&resolver, "allowed.com.", RecordType::A).await;
    assert_eq!(code(&answer), (ResponseCode::NXDomain, 0));
}

#[tokio::test]
async fn whatever_fails_is_servfail_and_said_once() {
    let failed = (ResponseCode::ServFail, 0);
    for (manner, names) in [
        (Manner::Answers(1), &["other.example"][..]),
        (Manner::Confused, &["dns.example"]),
        (Manner::Refuses, &["dns.example"]),
    ] {
        let (_doh, resolver) = server(manner, names).await;
        for _again in 0..2 {
            let answer = ask(&resolver, "allowed.com.", RecordType::A).await;
            assert_eq!(code(&answer), failed);
        }
    }
    let (doh, _resolver) = server(Manner::Answers(1), &["dns.example"]).await;
    let strangers = Doh { authorities: Vec::new(), ..doh.clone() };
    // A port that nobody listens on: the discard service's.
    let nobody = Doh { servers: vec![(Ipv6Addr::LOCALHOST, 9).into()], ..doh };
    for doh in [strangers, nobody] {
        let resolver = Resolver::new(&doh, |_name| true);
        assert_eq!(code(&ask(&resolver, "allowed.com.", RecordType::A).await), failed);
    }
}

#[tokio::test]
async fn a_server_may_close_an_idle_connection() {
    let (_doh, resolver) = server(Manner::Forgetful, &["dns.example"]).await;
    for _again in 0..3 {
        let answer = ask(&resolver, "allowed.com.", RecordType::A).await;
        assert_eq!(code(&answer), (ResponseCode::NoError, 1));
        sleep(Duration::from_millis(300)).await;
    }
}
