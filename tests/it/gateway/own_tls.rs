//! TLS on the gateway itself: ALPN, the certificate that is shown, and one that is changed while it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollhouse::app::listener::Waits;
use tollhouse::proxy::{Certificate, Shown};

use super::client::Reply;
use super::http2::{ask, front_over, request, speak_over};
use super::upstream::Origin;
use super::{PATIENCE, TestGate, head};

/// A certificate for `localhost`, as the gateway reads it and as its client believes it.
fn certificate() -> (Certificate, CertificateDer<'static>) {
    use base64::Engine;
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let root = params.self_signed(&key).expect("a certificate").der().clone();
    let folder = tempfile::tempdir().expect("a folder");
    let pem = |name: &str, label: &str, der: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        let path = folder.path().join(name);
        let pem = format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n");
        std::fs::write(&path, pem).expect("written");
        path
    };
    let (cert, key) = (pem("cert", "CERTIFICATE", &root), pem("key", "PRIVATE KEY", &key.serialize_der()));
    (Certificate::read(&cert, &key).expect("a pair"), root)
}

async fn shake(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    tokio::time::timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream))
        .await
        .expect("a handshake in time")
}

#[tokio::test]
async fn both_versions_are_spoken_by_what_the_client_offers() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let (certificate, root) = certificate();
    let shown = Shown::new(certificate);
    let (address, _ending) =
        front_over(&gate, Waits::default(), Some(shown.server().expect("TLS settings"))).await;

    let stream = shake(address, &root, &[b"h2", b"http/1.1"]).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let mut sender = speak_over(stream, 1 << 16).await;
    let unpaid = ask(&mut sender, request("GET", "/ok", &[]), b"", None).await.expect("an answer");
    assert_eq!(unpaid.status, 402);
    let credential = gate.buy("/ok").await;
    let headers = [("authorization", credential.header.as_str())];
    let paid = ask(&mut sender, request("GET", "/ok", &headers), b"", None).await.expect("an answer");
    assert_eq!((paid.status.as_u16(), paid.body.as_slice()), (200, b"ok".as_slice()));
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));

    for alpn in [&[b"http/1.1".as_slice()][..], &[]] {
        let mut stream = shake(address, &root, alpn).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), alpn.first().copied());
        stream.write_all(head("GET", "/free/ok", "").as_bytes()).await.expect("sent");
        let mut bytes = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("in time");
        assert_eq!(Reply::read(&bytes, false).status, 200);
    }
    assert!(shake(address, &root, &[b"h3"]).await.is_err(), "nothing else is spoken");
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_drops_none() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let ((first, old_root), (second, new_root)) = (certificate(), certificate());
    let shown = Shown::new(first);
    let (address, _ending) =
        front_over(&gate, Waits::default(), Some(shown.server().expect("TLS settings"))).await;
    let stream = shake(address, &old_root, &[b"h2"]).await.expect("a handshake");
    let mut sender = speak_over(stream, 1 << 16).await;
    shown.change(second);
    assert!(shake(address, &old_root, &[b"h2"]).await.is_err(), "the old one is not shown any more");
    assert!(shake(address, &new_root, &[b"h2"]).await.is_ok());
    let answer = ask(&mut sender, request("GET", "/free/ok", &[]), b"", None).await.expect("an answer");
    assert_eq!(answer.status, 200, "what was open stays open");
}

/// Whoever speaks no TLS, or stops in the middle of it, does not keep a place.
#[tokio::test]
async fn a_handshake_that_never_ends_is_not_waited_for() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let shown = Shown::new(certificate().0);
    let waits = Waits { head: Duration::from_millis(200), ..Waits::default() };
    let (address, _ending) = front_over(&gate, waits, Some(shown.server().expect("TLS settings"))).await;
    for text in [b"".as_slice(), b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n"] {
        let mut stream = TcpStream::connect(address).await.expect("the gate listens");
        stream.write_all(text).await.expect("sent");
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed");
        assert!(read.is_err() || !rest.starts_with(b"HTTP/"), "{rest:?}");
    }
    assert_eq!(origin.hits(), 0);
}
