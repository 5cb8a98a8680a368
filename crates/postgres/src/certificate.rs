//! Certificates as the short recipes of openssl and of PostgreSQL's manual make them: version 1, a name only in the
//! subject, or one self-signed certificate that is its own authority.
//!
//! libpq accepts them and webpki does not. Only the shortest chain is verified here: the certificate itself, or one
//! signature by a root certificate of the file.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, PeerMisbehaved};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::CN;
use x509_cert::der::oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, SHA_1_WITH_RSA_ENCRYPTION,
    SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, NameConstraints, SubjectAltName};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// Returns the digest of a certificate by which SCRAM binds itself to TLS; `None` where RFC 5929 names no digest.
pub(crate) fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let algorithm = Certificate::from_der(certificate).ok()?.signature_algorithm;
    match algorithm.oid {
        // The RFC takes SHA-256 where the certificate was signed with a weaker digest.
        SHA_1_WITH_RSA_ENCRYPTION | SHA_256_WITH_RSA_ENCRYPTION | ECDSA_WITH_SHA_256 => {
            Some(Sha256::digest(certificate).to_vec())
        }
        SHA_384_WITH_RSA_ENCRYPTION | ECDSA_WITH_SHA_384 => {
            Some(Sha384::digest(certificate).to_vec())
        }
        SHA_512_WITH_RSA_ENCRYPTION | ECDSA_WITH_SHA_512 => {
            Some(Sha512::digest(certificate).to_vec())
        }
        _ => None,
    }
}

/// Says whether a certificate carries a host's name: in its alternative names, else, if it has none, in its subject.
pub(crate) fn is_for(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return false;
    };
    let certificate = &certificate.tbs_certificate;
    match certificate.get::<SubjectAltName>() {
        Ok(Some((_, names))) => names.0.iter().any(|name| match name {
            GeneralName::DnsName(name) => matches(name.as_str(), host),
            GeneralName::IpAddress(address) => is_address(address.as_bytes(), host),
            _ => false,
        }),
        Ok(None) => common_names(certificate).any(|name| matches(&name, host)),
        Err(_) => false,
    }
}

fn common_names(certificate: &x509_cert::TbsCertificate) -> impl Iterator<Item = String> + '_ {
    let attributes = certificate.subject.0.iter().flat_map(|name| name.0.iter());
    attributes
        .filter(|attribute| attribute.oid == CN)
        .filter_map(|attribute| {
            let value = &attribute.value;
            let utf8 = value
                .decode_as::<Utf8StringRef<'_>>()
                .map(|text| text.as_str().to_owned());
            utf8.or_else(|_| {
                let printable = value.decode_as::<PrintableStringRef<'_>>();
                printable.map(|text| text.as_str().to_owned())
            })
            .or_else(|_| {
                value
                    .decode_as::<Ia5StringRef<'_>>()
                    .map(|text| text.as_str().to_owned())
            })
            .ok()
        })
}

fn is_address(bytes: &[u8], host: &str) -> bool {
    match host.parse() {
        Ok(std::net::IpAddr::V4(address)) => bytes == address.octets(),
        Ok(std::net::IpAddr::V6(address)) => bytes == address.octets(),
        Err(_) => false,
    }
}

/// Compares names without regard to case; a leading `*.` stands for one label, but never for a part of an address.
fn matches(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let rest = pattern.strip_prefix("*.").filter(|rest| rest.contains('.'));
    match (rest, host.split_once('.')) {
        (Some(rest), Some((label, tail))) => {
            !label.is_empty()
                && host.parse::<std::net::IpAddr>().is_err()
                && rest.eq_ignore_ascii_case(tail)
        }
        _ => false,
    }
}

/// Verifies a certificate that is itself in the file of roots, or one of version 1 that a root signed.
///
/// Returns `None` for all others that are not self-signed: they are webpki's to judge.
pub(crate) fn verify(
    end_entity: &CertificateDer<'_>,
    roots: &[CertificateDer<'_>],
    algorithms: &WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> Option<Result<(), CertificateError>> {
    let certificate = Certificate::from_der(end_entity).ok()?;
    if roots.iter().any(|root| root == end_entity) {
        return Some(in_time(&certificate, now));
    }
    let inner = &certificate.tbs_certificate;
    if inner.version != Version::V1 {
        // webpki calls a self-signed authority no server's certificate; that nobody trusts it says more.
        let self_signed = inner.subject == inner.issuer;
        return self_signed.then_some(Err(CertificateError::UnknownIssuer));
    }
    let signed = roots.iter().any(|root| {
        Certificate::from_der(root).is_ok_and(|root| {
            is_authority(&root, now) && has_signed(&root, &certificate, algorithms)
        })
    });
    Some(match signed {
        true => in_time(&certificate, now),
        false => Err(CertificateError::UnknownIssuer),
    })
}

fn in_time(certificate: &Certificate, now: UnixTime) -> Result<(), CertificateError> {
    let validity = &certificate.tbs_certificate.validity;
    let now = now.as_secs();
    if now < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet);
    }
    if now > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired);
    }
    Ok(())
}

/// Says whether a root may sign, and without constraints that would have to be checked.
fn is_authority(root: &Certificate, now: UnixTime) -> bool {
    let certificate = &root.tbs_certificate;
    // Version 1 has no extensions; that it is in the file makes it an authority.
    let may_sign = certificate.version == Version::V1
        || matches!(certificate.get::<BasicConstraints>(), Ok(Some((_, constraints))) if constraints.ca);
    may_sign
        && matches!(certificate.get::<NameConstraints>(), Ok(None))
        && in_time(root, now).is_ok()
}

fn has_signed(
    root: &Certificate,
    certificate: &Certificate,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let inner = &certificate.tbs_certificate;
    // DER is canonical, so that encoding again gives the bytes that were signed; if not, no signature fits.
    let (Ok(message), Some(signature), Ok(algorithm)) = (
        inner.to_der(),
        certificate.signature.as_bytes(),
        certificate.signature_algorithm.to_der(),
    ) else {
        return false;
    };
    inner.issuer == root.tbs_certificate.subject
        && inner.signature == certificate.signature_algorithm
        && algorithms
            .all
            .iter()
            .filter(|candidate| content(&algorithm) == Some(candidate.signature_alg_id().as_ref()))
            .any(|candidate| {
                fits(
                    *candidate,
                    &root.tbs_certificate.subject_public_key_info,
                    &message,
                    signature,
                )
            })
}

/// Verifies that the server holds the key of a version 1 certificate; returns `None` for other versions.
pub(crate) fn verify_handshake(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Option<Result<HandshakeSignatureValid, rustls::Error>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    if certificate.tbs_certificate.version != Version::V1 {
        return None;
    }
    let key = &certificate.tbs_certificate.subject_public_key_info;
    let scheme = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signature.scheme);
    let Some((_, candidates)) = scheme else {
        return Some(Err(
            PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into(),
        ));
    };
    let valid = candidates
        .iter()
        .any(|candidate| fits(*candidate, key, message, signature.signature()));
    Some(match valid {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(CertificateError::BadSignature.into()),
    })
}

fn fits(
    algorithm: &dyn SignatureVerificationAlgorithm,
    key: &SubjectPublicKeyInfoOwned,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Ok(key_algorithm) = key.algorithm.to_der() else {
        return false;
    };
    content(&key_algorithm) == Some(algorithm.public_key_alg_id().as_ref())
        && key
            .subject_public_key
            .as_bytes()
            .is_some_and(|key| algorithm.verify_signature(key, message, signature).is_ok())
}

/// Returns an algorithm identifier without the header of its sequence, which is short for all that are supported.
fn content(sequence: &[u8]) -> Option<&[u8]> {
    match sequence {
        [0x30, length @ ..0x80, content @ ..] if content.len() == usize::from(*length) => {
            Some(content)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn names_match_as_in_libpq() {
        for (pattern, host, expected) in [
            ("db.example", "DB.example", true),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "a.db.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.com", "example.com", false),
            ("*.0.0.1", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("d*.example.com", "db.example.com", false),
            ("", "db", false),
        ] {
            assert_eq!(matches(pattern, host), expected, "{pattern} {host}");
        }
    }
}
