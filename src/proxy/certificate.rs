//! The gateway's own certificate, where it speaks TLS: read from files, and changed while it runs.
//!
//! Invariants: a certificate is only taken whole, with the key that belongs to it; what is not right changes
//! nothing. The key does not show in what is logged.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;

/// What the gateway says that it speaks (RFC 7301).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why files make no certificate.
#[derive(Debug, Error)]
pub enum CertificateFault {
    /// The certificate's file cannot be read, or is none.
    #[error("{0}")]
    Certificate(String),
    /// The key's file cannot be read, or is none.
    #[error("{0}")]
    Key(String),
    /// They are two certificates', or of a kind that is not known.
    #[error("{0}")]
    Pair(String),
}

/// A certificate with its chain and its key.
#[derive(Clone)]
pub struct Certificate(Arc<CertifiedKey>);

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

impl Certificate {
    /// Reads PEM: the certificate with those that vouch for it behind it, and its key.
    ///
    /// # Errors
    /// When a file cannot be read or has something else in it, or when the two do not belong together.
    pub fn read(certificate: &Path, key: &Path) -> Result<Certificate, CertificateFault> {
        let chain: Result<Vec<_>, PemError> =
            CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
        let chain = chain.map_err(|error| CertificateFault::Certificate(said(certificate, &error)))?;
        if chain.is_empty() {
            let what = format!("{}: there is no certificate in it", certificate.display());
            return Err(CertificateFault::Certificate(what));
        }
        let key =
            PrivateKeyDer::from_pem_file(key).map_err(|error| CertificateFault::Key(said(key, &error)))?;
        let provider = rustls::crypto::ring::default_provider();
        let pair = CertifiedKey::from_der(chain, key, &provider);
        let pair = pair.map_err(|error| CertificateFault::Pair(format!("they make no pair: {error}")))?;
        Ok(Certificate(Arc::new(pair)))
    }
}

fn said(path: &Path, error: &PemError) -> String {
    let path = path.display();
    match error {
        PemError::Io(error) => format!("{path} cannot be read: {error}"),
        PemError::NoItemsFound => format!("{path}: what is wanted is not in it"),
        other => format!("{path} is not PEM: {other}"),
    }
}

/// Where the gateway's certificate comes from.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate and those that vouch for it, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// What they held when they were read last.
    pub certificate: Certificate,
}

/// The certificate that is shown to customers, whichever it is by now.
#[derive(Clone, Debug)]
pub struct Shown(Arc<RwLock<Certificate>>);

impl Shown {
    /// Begins with `certificate`.
    pub fn new(certificate: Certificate) -> Shown {
        Shown(Arc::new(RwLock::new(certificate)))
    }

    /// Shows `certificate` from now on; connections that there are stay as they are.
    pub fn change(&self, certificate: Certificate) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    /// How the gateway shakes hands: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1, nothing before the handshake's
    /// end (what arrives early can be replayed).
    ///
    /// # Errors
    /// Never with the provider that is built in.
    pub fn server(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(self.clone());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).0))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (
            pem("CERTIFICATE", params.self_signed(&key).unwrap().der()),
            pem("PRIVATE KEY", &key.serialize_der()),
        )
    }

    fn pem(label: &str, der: &[u8]) -> String {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    #[test]
    fn only_a_certificate_and_its_own_key_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (pair(), pair());
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (cert, key) = (file("cert", &one.0), file("key", &one.1));
        assert!(Certificate::read(&cert, &key).is_ok());
        assert!(Certificate::read(&file("chain", &format!("{}{}", one.0, two.0)), &key).is_ok());
        let fault = |cert: &Path, key: &Path| Certificate::read(cert, key).unwrap_err();
        assert!(matches!(fault(&cert, &file("other", &two.1)), CertificateFault::Pair(_)));
        assert!(matches!(fault(&cert, &cert), CertificateFault::Key(_)));
        assert!(matches!(fault(&key, &key), CertificateFault::Certificate(_)));
        assert!(matches!(fault(&file("empty", ""), &key), CertificateFault::Certificate(_)));
        assert!(matches!(fault(&cert, &folder.path().join("none")), CertificateFault::Key(_)));
        let torn = file("torn", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
        assert!(matches!(fault(&torn, &key), CertificateFault::Certificate(_)));
        assert!(!format!("{:?}", Certificate::read(&cert, &key)).contains(&one.1[40..60]));
    }
}
