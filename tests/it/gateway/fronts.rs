//! Listeners in front of one gate: behind a proxy that says whose connection it hands on, and with TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;
use tollhouse::app::Introductions;
use tollhouse::app::listener::{Ending, Front, Versions, serve};
use tollhouse::config::ProxyProtocol;
use tollhouse::request::Proxies;

use super::client::{Reply, exchange};
use super::upstream::Origin;
use super::{CONNECTIONS, PATIENCE, TestGate, head};

fn introductions(protocol: ProxyProtocol, trusted: &str) -> Introductions {
    let trusted = vec![trusted.parse().expect("a network")];
    Introductions { protocol, proxies: Proxies { trusted, ..Proxies::default() } }
}

/// Another listener of `gate`; it ends with it.
async fn front(gate: &TestGate, introductions: Introductions, tls: Option<Arc<ServerConfig>>) -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = tcp.local_addr().expect("an address");
    let front = Front::new(tcp, gate.router.clone(), CONNECTIONS, Versions::OneAndTwo);
    let (tracker, ending) = (TaskTracker::new(), Ending { cut: gate.cut.clone(), ..Ending::default() });
    tracker.clone().spawn(serve(Front { introductions, tls, ..front }, ending, tracker));
    address
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 5000 80\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\x7f\x00\x00\x01\x13\x88\x00\x50";

#[tokio::test]
async fn a_proxy_header_says_who_connects() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let request = head("GET", "/free/ok", "");
    let request = request.as_bytes();
    let trusting = front(&gate, introductions(ProxyProtocol::Any, "127.0.0.0/8"), None).await;
    for (header, client) in [(V1, "192.0.2.7"), (V2, "192.0.2.8")] {
        let answer = exchange(trusting, &[header, request].concat()).await;
        assert_eq!(Reply::read(&answer, false).status, 200);
        assert_eq!(origin.last().header("x-forwarded-for"), [client]);
    }
    let hits = origin.hits();
    // Whoever comes without one from there is nobody.
    assert!(exchange(trusting, request).await.is_empty());
    let only_v2 = front(&gate, introductions(ProxyProtocol::V2, "127.0.0.0/8"), None).await;
    assert!(exchange(only_v2, &[V1, request].concat()).await.is_empty());
    // From elsewhere it is no header but a request that is none, and without it all is as ever.
    let elsewhere = front(&gate, introductions(ProxyProtocol::Any, "10.0.0.0/8"), None).await;
    for header in [V1, V2] {
        let answer = exchange(elsewhere, &[header, request].concat()).await;
        assert!(!String::from_utf8_lossy(&answer).contains(" 200 "), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(origin.hits(), hits);
    assert_eq!(Reply::read(&exchange(elsewhere, request).await, false).status, 200);
    assert_eq!(origin.last().header("x-forwarded-for"), ["127.0.0.1"]);
}

/// Where TLS ends at the gate itself, upstreams read so, whatever a client says.
#[tokio::test]
async fn upstreams_read_that_the_client_came_with_tls() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate: CertificateDer<'static> = params.self_signed(&key).expect("a certificate").der().clone();
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], private)
        .expect("a pair");
    let introductions = introductions(ProxyProtocol::V1, "127.0.0.0/8");
    let secure = front(&gate, introductions, Some(Arc::new(server))).await;

    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut stream = TcpStream::connect(secure).await.expect("it listens");
    stream.write_all(V1).await.expect("the header comes before the handshake");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.expect("a handshake");
    let request = head("GET", "/free/ok", "X-Forwarded-Proto: http\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // An end without TLS's own farewell is an end.
    let _ = read.expect("in time");
    assert_eq!(Reply::read(&answer, false).status, 200);
    assert_eq!(origin.last().header("x-forwarded-proto"), ["https"]);
    assert_eq!(origin.last().header("x-forwarded-for"), ["192.0.2.7"]);
}
