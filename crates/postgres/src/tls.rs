//! TLS as libpq means it: roots, client certificates, and three strengths of verification.

use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::target::{ClientCertificate, RootCertificate, Ssl, SslMode};
use crate::{Error, TlsProblem, certificate};

const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Prepares TLS for one server.
pub(crate) fn connector(ssl: &Ssl, address: &str) -> Result<TlsConnector, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Verifier::new(ssl, address, &provider)?);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &ssl.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let (chain, key) = client_certificate(client)?;
            let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|error| {
                Error::Certificate {
                    path: client.key.clone(),
                    problem: error.to_string(),
                }
            })?;
            // The builder's own way refuses certificates of version 1, which the server may well accept.
            let certified = CertifiedKey::new(chain, key);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
    };
    if ssl.direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Does the handshake with the server that `name` names.
pub(crate) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    connector: &TlsConnector,
    name: &str,
    stream: S,
) -> io::Result<TlsStream<S>> {
    let name = ServerName::try_from(name.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    connector.connect(name, stream).await
}

fn client_certificate(
    client: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let chain = certificates(&client.certificate)?;
    let wrong = |problem: &str| Error::Certificate {
        path: client.key.clone(),
        problem: problem.to_owned(),
    };
    let bytes = crate::file::read(&client.key, FILE_BYTES_MAX)?;
    check_mode(&client.key)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| wrong("it holds no private key in PEM format without a passphrase"))?;
    Ok((chain, key))
}

/// Refuses a key that others may read, as libpq does.
fn check_mode(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).map_err(|source| Error::File {
        path: path.to_path_buf(),
        source,
    })?;
    // A key of root may be readable by a group, which is how Debian shares one.
    let forbidden = if metadata.uid() == 0 { 0o027 } else { 0o077 };
    if metadata.mode() & forbidden != 0 {
        return Err(Error::Certificate {
            path: path.to_path_buf(),
            problem: format!(
                "others may read this key; run: chmod 600 {}",
                path.display()
            ),
        });
    }
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = crate::file::read(path, FILE_BYTES_MAX)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::Certificate {
            path: path.to_path_buf(),
            problem: "it holds no certificate in PEM format".to_owned(),
        }),
        Err(error) => Err(Error::Certificate {
            path: path.to_path_buf(),
            problem: error.to_string(),
        }),
    }
}

/// Verifies as much as the mode demands: always the handshake, then the chain, then the name.
#[derive(Debug)]
struct Verifier {
    /// `None` verifies no chain: nobody told whom to trust.
    chain: Option<Chain>,
    name: bool,
    provider: Arc<CryptoProvider>,
}

/// Whom to trust.
#[derive(Debug)]
struct Chain {
    verifier: Arc<WebPkiServerVerifier>,
    /// The root certificates of the file, for certificates that only OpenSSL understands; `None` with a list of
    /// revoked ones, which such certificates could not be compared with.
    plain_roots: Option<Vec<CertificateDer<'static>>>,
}

impl Verifier {
    fn new(ssl: &Ssl, address: &str, provider: &Arc<CryptoProvider>) -> Result<Verifier, Error> {
        let mode = match ssl.mode {
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
            _ => "require",
        };
        let path = match &ssl.root {
            RootCertificate::Default(path) | RootCertificate::File(path) => Some(path.as_path()),
            RootCertificate::None | RootCertificate::System => None,
        };
        let roots = match (&ssl.root, path) {
            (RootCertificate::System, _) => Some((system_roots(), Vec::new())),
            (_, Some(path)) if path.exists() => Some(file_roots(path)?),
            // A root certificate that was named but is not there must not pass for "no verification wanted".
            (root, path)
                if ssl.mode >= SslMode::VerifyCa
                    || ssl.mode == SslMode::Require && matches!(root, RootCertificate::File(_)) =>
            {
                return Err(Error::Tls {
                    address: address.to_owned(),
                    problem: TlsProblem::NoRoot {
                        path: path
                            .unwrap_or(Path::new("~/.postgresql/root.crt"))
                            .to_path_buf(),
                        mode,
                    },
                });
            }
            _ => None,
        };
        let chain = match roots {
            None => None,
            Some((roots, plain_roots)) => Some(Chain {
                verifier: chain_verifier(roots, ssl, provider)?,
                plain_roots: ssl.revoked.is_none().then_some(plain_roots),
            }),
        };
        Ok(Verifier {
            chain,
            name: ssl.mode == SslMode::VerifyFull,
            provider: Arc::clone(provider),
        })
    }
}

fn chain_verifier(
    roots: RootCertStore,
    ssl: &Ssl,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let mut builder =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if let Some(path) = &ssl.revoked {
        let bytes = crate::file::read(path, FILE_BYTES_MAX)?;
        let lists: Result<Vec<_>, _> =
            CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
        let lists = lists.map_err(|error| Error::Certificate {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        builder = builder.with_crls(lists).allow_unknown_revocation_status();
    }
    builder.build().map_err(|error| Error::Certificate {
        path: ssl.revoked.clone().unwrap_or_else(|| "root.crt".into()),
        problem: error.to_string(),
    })
}

fn file_roots(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Error> {
    let mut roots = RootCertStore::empty();
    let found = certificates(path)?;
    for certificate in found.clone() {
        roots.add(certificate).map_err(|error| Error::Certificate {
            path: path.to_path_buf(),
            problem: error.to_string(),
        })?;
    }
    Ok((roots, found))
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!("a root certificate of the system is ignored: {error}");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        let host = self.name.then(|| server_name.to_str());
        match chain.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Ok(verified) => Ok(verified),
            // The chain is judged before the name, hence it is good when only the name is not.
            Err(
                error @ rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                ),
            ) => match host {
                Some(host) if !certificate::is_for(end_entity, &host) => Err(error),
                _ => Ok(ServerCertVerified::assertion()),
            },
            Err(error) => {
                let algorithms = &self.provider.signature_verification_algorithms;
                let roots = chain.plain_roots.as_ref();
                match roots.and_then(|r| certificate::verify(end_entity, r, algorithms, now)) {
                    None => Err(error),
                    Some(Err(error)) => Err(error.into()),
                    Some(Ok(())) => match host {
                        Some(host) if !certificate::is_for(end_entity, &host) => {
                            Err(CertificateError::NotValidForName.into())
                        }
                        _ => Ok(ServerCertVerified::assertion()),
                    },
                }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match certificate::verify_handshake(message, certificate, signature, algorithms) {
            Some(result) => result,
            None => {
                rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
            }
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match certificate::verify_handshake(message, certificate, signature, algorithms) {
            Some(result) => result,
            None => {
                rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Finds the TLS library's error among the causes and says what it means.
pub(crate) fn problem(cause: &(dyn StdError + 'static), host: &str) -> Option<TlsProblem> {
    let io = cause.downcast_ref::<io::Error>();
    let inner = io.and_then(io::Error::get_ref);
    let error = match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => error,
        None => cause.downcast_ref::<rustls::Error>()?,
    };
    let other = || TlsProblem::Other {
        message: error.to_string(),
    };
    Some(match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsProblem::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsProblem::NotYetValid
            }
            CertificateError::NotValidForName => TlsProblem::WrongHost {
                host: host.to_owned(),
                presented: Vec::new(),
            },
            CertificateError::NotValidForNameContext { presented, .. } => TlsProblem::WrongHost {
                host: host.to_owned(),
                presented: presented.clone(),
            },
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsProblem::Untrusted
            }
            CertificateError::Revoked => TlsProblem::Revoked,
            _ => other(),
        },
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked),
        ) => TlsProblem::ClientRefused {
            alert: format!("{alert:?}"),
        },
        _ => other(),
    })
}
