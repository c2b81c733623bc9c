//! Reads `[gateway.tls]`: the certificate that the gateway shows, and its key. The files are read too.

use std::path::{Path, PathBuf};

use super::document::Section;
use super::layer::Layers;
use super::location;
use super::problem::{Bad, Source};
use crate::proxy::{Certificate, CertificateFault, TlsFiles};

/// Reads the table `tls` of `gateway`; files are relative to `base`.
pub(super) fn read(layers: &mut Layers<'_>, gateway: &mut Section<'_, '_>, base: &Path) -> Option<TlsFiles> {
    let mut section = gateway.section("tls");
    let files = files(layers, &mut section, base);
    layers.problems.extend(section.finish());
    files
}

fn files(layers: &mut Layers<'_>, section: &mut Section<'_, '_>, base: &Path) -> Option<TlsFiles> {
    let (cert, key) = (file(layers, section, "cert", base), file(layers, section, "key", base));
    let (source, key, what, help) = match (cert, key) {
        (None, None) => return None,
        (Some((_, said)), None) => {
            (said, "key", "it is missing".to_owned(), "Say the file of the certificate's key too.")
        }
        (None, Some((_, said))) => {
            (said, "cert", "it is missing".to_owned(), "Say the file of the key's certificate too.")
        }
        (Some((cert, said_cert)), Some((key, said_key))) => {
            let fault = match Certificate::read(&cert, &key) {
                Ok(certificate) => return Some(TlsFiles { cert, key, certificate }),
                Err(fault) => fault,
            };
            let help = "Both are PEM files: the certificate with its chain, and its own key.";
            let (said, key) = match fault {
                CertificateFault::Certificate(_) => (said_cert, "cert"),
                CertificateFault::Key(_) | CertificateFault::Pair(_) => (said_key, "key"),
            };
            (said, key, fault.to_string(), help)
        }
    };
    let problem = layers.origin.problem_from(source, &section.name_of(key), Bad::new(what, help));
    layers.problems.push(problem);
    None
}

fn file(
    layers: &mut Layers<'_>,
    section: &mut Section<'_, '_>,
    key: &'static str,
    base: &Path,
) -> Option<(PathBuf, Source)> {
    let (path, source) = location::said(layers, section, key, base)?;
    layers.show(section.name_of(key), path.display().to_string(), source.clone());
    Some((path, source))
}
