//! TLS of the dashboard itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use pawang_core::{Kind, Report};
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Time between two looks at the files.
const AGAIN: Duration = Duration::from_secs(10);

/// Certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read as PEM.
    #[error("could not read \"{}\" as PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The file has no certificate.
    #[error("there is no certificate in \"{}\"", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not fit together, or are of a kind that nobody accepts.
    #[error("cannot use the key \"{}\" with the certificate \"{}\"", key.display(), certificate.display())]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
    },
}

impl TlsError {
    /// Returns the error for people.
    pub fn report(&self) -> Report {
        Report::from_error(Kind::Usage, self)
            .with_hint("see serve.tls.certificate and serve.tls.key in pawang.toml")
    }
}

/// The certificate in force; its files are looked at again after [`AGAIN`], so that renewing it needs no restart.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    pair: Arc<CertifiedKey>,
    /// When the files were written that the pair, or the last attempt to read one, is of.
    written: Written,
    looked_at: Instant,
}

type Written = [Option<SystemTime>; 2];

impl ResolvesServerCert for Files {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current(Instant::now()))
    }
}

impl Files {
    fn new(certificate: &Path, key: &Path, now: Instant) -> Result<Files, TlsError> {
        let written = written(certificate, key);
        Ok(Files {
            loaded: Mutex::new(Loaded {
                pair: read(certificate, key)?,
                written,
                looked_at: now,
            }),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        })
    }

    /// Returns the certificate in force, after a look at its files when that is due.
    fn current(&self, now: Instant) -> Arc<CertifiedKey> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(loaded.looked_at) < AGAIN {
            return Arc::clone(&loaded.pair);
        }
        loaded.looked_at = now;
        let written = written(&self.certificate, &self.key);
        if written != loaded.written {
            loaded.written = written;
            match read(&self.certificate, &self.key) {
                Ok(pair) => {
                    tracing::info!("the new certificate of the dashboard is in force");
                    loaded.pair = pair;
                }
                // Half of a pair may be written already: the next look, after the other half, brings it.
                Err(error) => tracing::warn!("the old certificate stays: {}", error.report()),
            }
        }
        Arc::clone(&loaded.pair)
    }
}

/// Reads certificate chain and key of the dashboard; when their files change, new connections get the new ones.
///
/// # Errors
/// A file cannot be read, has no certificate or no key, or they do not fit together.
pub fn tls_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let files = Files::new(certificate, key, Instant::now())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(files));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { path, source }
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .map_err(pem(certificate))?
        .collect::<Result<_, _>>()
        .map_err(pem(certificate))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            path: certificate.to_owned(),
        });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(pem(key))?;
    let provider = rustls::crypto::ring::default_provider();
    let pair = CertifiedKey::from_der(chain, private, &provider);
    pair.map(Arc::new).map_err(|source| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })
}

fn written(certificate: &Path, key: &Path) -> Written {
    [certificate, key].map(|path| {
        std::fs::metadata(path)
            .and_then(|data| data.modified())
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a new certificate and its key, or something else, and says when.
    fn write(paths: [&Path; 2], texts: [&str; 2], at: SystemTime) {
        for (path, text) in paths.into_iter().zip(texts) {
            std::fs::write(path, text).unwrap();
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(at).unwrap();
        }
    }

    #[test]
    fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = (directory.path().join("c"), directory.path().join("k"));
        let paths = [certificate.as_path(), key.as_path()];
        let made = || {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            let pem = [made.cert.pem(), made.signing_key.serialize_pem()];
            (pem, made.cert.der().clone())
        };
        let ((first_pem, first), (second_pem, second)) = (made(), made());
        let hour = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(3_600 * hours);
        write(paths, [&first_pem[0], &first_pem[1]], hour(1));
        let begun = Instant::now();
        let files = Files::new(&certificate, &key, begun).unwrap();
        write(paths, [&second_pem[0], &first_pem[1]], hour(2));
        let at = |looks: u32| files.current(begun + AGAIN * looks).cert[0].clone();
        assert_eq!(at(0), first);
        assert_eq!(at(1), first, "half of the new pair is written");
        write(paths, [&second_pem[0], &second_pem[1]], hour(3));
        assert_eq!(at(2), second);
        std::fs::remove_file(&key).unwrap();
        assert_eq!(at(3), second);
    }
}
