//! An upstream behind TLS is believed only by its certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tollhouse::proxy::{ProxyConfig, UpstreamTrust};

use super::upstream::Origin;
use super::{TestGate, quick, service};

/// A TLS upstream for the name `localhost`, its root, and how many requests it has read.
async fn start() -> (SocketAddr, CertificateDer<'static>, watch::Receiver<usize>) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate").der().clone();
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], private)
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (hits, read) = watch::channel(0);
    TaskTracker::new().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut buffer = [0u8; 4096];
            if let Ok(1..) = stream.read(&mut buffer).await {
                hits.send_modify(|n| *n += 1);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    (address, certificate, read)
}

#[tokio::test]
async fn only_a_believed_certificate_gets_the_request() {
    let (address, root, hits) = start().await;
    let origin = Origin::start().await;
    let only = UpstreamTrust::Only(vec![root]);
    for (host, trust, served) in [
        ("localhost", only.clone(), true),
        ("localhost", UpstreamTrust::Public, false),
        ("127.0.0.1", only, false),
    ] {
        let before = *hits.borrow();
        let mut secure = service(&origin);
        secure.upstream.base = format!("https://{host}:{}/", address.port()).parse().expect("a URL");
        let gate = TestGate::with(vec![secure], ProxyConfig { trust, ..quick() }).await;
        let credential = gate.buy("/ok").await;
        let reply = gate.get("/ok", &credential.line()).await;
        if served {
            assert_eq!((reply.status, reply.text().as_str()), (200, "secret"));
            assert_eq!(gate.settled(&credential).await, (0, 0, 1));
        } else {
            assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_unreachable"), "{host}");
            assert_eq!(gate.settled(&credential).await, (1, 0, 0), "{host}");
        }
        assert_eq!(*hits.borrow() - before, usize::from(served), "{host}");
    }
}

/// A listener that never shakes hands is a slow upstream, not a used unit.
#[tokio::test]
async fn a_handshake_that_never_ends_costs_nothing() {
    let origin = Origin::start().await;
    let mut secure = service(&origin);
    secure.upstream.base = format!("https://{}/", origin.address).parse().expect("a URL");
    secure.upstream.base.set_port(Some(silent().await.port())).expect("a port");
    let config = ProxyConfig { connect_timeout: std::time::Duration::from_millis(300), ..quick() };
    let gate = TestGate::with(vec![secure], config).await;
    let credential = gate.buy("/ok").await;
    let reply = gate.get("/ok", &credential.line()).await;
    assert_eq!((reply.status, reply.code().as_str()), (504, "upstream_timeout"));
    assert_eq!(gate.settled(&credential).await, (1, 0, 0));
}

/// Accepts connections and keeps them, silently.
async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    TaskTracker::new().spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    address
}
