//! Whose certificates are trusted: those of the system, and those of a file.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::Error;

const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Returns the root certificates of the system, and those of a file besides.
///
/// # Errors
/// The file cannot be read, or holds none.
pub fn certificates(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!("a root certificate of the system is ignored: {error}");
    }
    let mut certificates = found.certs;
    // Some systems trust certificates that cannot be read.
    certificates.retain(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
    if let Some(path) = file {
        certificates.extend(of_file(path)?);
    }
    Ok(certificates)
}

/// Returns how TLS is spoken with a server that one of these certificates signs.
pub fn client_config(certificates: Vec<CertificateDer<'static>>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn of_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = |problem: String| Error::Certificates {
        path: path.to_owned(),
        problem,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong("it holds no certificate in PEM format".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}
