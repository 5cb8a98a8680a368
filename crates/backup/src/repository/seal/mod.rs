//! Objects that only the holders of a key can read: files of `age` version 1, which stock `age -d` opens.
//!
//! A header says for whom (X25519 stanzas) and holds the key of the file, sealed for each; chunks of 64 KiB follow, each of
//! which is authenticated with its place. A stanza of ours, which others pass over, binds a file to its name: an object cannot
//! be taken for another one. Nothing here says *who* sealed: whoever knows a recipient can.

mod header;
mod key;
mod stream;

use std::io::{self, Write};
use std::num::NonZeroU32;
use std::sync::Arc;

use ring::{hkdf, pbkdf2};
use sha2::{Digest, Sha256};

pub use key::{Identity, Keys, ParseKeyError, Recipient};
pub(crate) use stream::{Opener, Sealer};

use header::Header;

/// What the names of sealed objects end with.
pub(crate) const SUFFIX: &str = ".age";
/// Bytes of the key that a file is sealed with.
const FILE_KEY_BYTES: usize = 16;
/// A header with more is none of ours: a recipient takes about a hundred bytes.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// What it costs to compare a guessed content with a fingerprint, in rounds of HMAC: some milliseconds.
const FINGERPRINT_ROUNDS: NonZeroU32 = NonZeroU32::new(10_000).expect("it is not zero");
const FINGERPRINT_BYTES: usize = 16;

/// Why a sealed object was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No identity is there.
    #[error("it is sealed, and {0}")]
    NoIdentity(String),
    /// None of the identities is that of a recipient.
    #[error("it is sealed for others than the identities that are here ({0})")]
    OtherRecipients(String),
    /// The header names a version that this program does not read.
    #[error("it is sealed in \"{0}\", and this program reads \"age-encryption.org/v1\"")]
    Version(String),
    /// The header is none.
    #[error("its header is damaged: {0}")]
    Header(&'static str),
    /// It was sealed under another name.
    #[error("it was sealed as \"{0}\": objects were exchanged")]
    OtherObject(String),
    /// A chunk is not what was sealed at this place.
    #[error("its chunk {0} is not what was sealed there")]
    Chunk(u64),
    /// The end is missing.
    #[error("it is cut off after {0} chunks")]
    Truncated(u64),
}

/// What is sealed besides the content, for everybody to read: which object it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Its path in the repository, without [`SUFFIX`].
    pub(crate) path: String,
    /// Of an object that was sealed at once.
    pub(crate) sums: Option<Sums>,
}

/// By which a repeated object is told from another one without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    /// [`fingerprint`] of its content.
    pub(crate) fingerprint: String,
    /// SHA-256 of what follows the header, in hexadecimal.
    pub(crate) payload: String,
}

impl Stamp {
    /// Returns that of an object that is sealed as it comes.
    fn named(path: &str) -> Stamp {
        Stamp {
            path: path.to_owned(),
            sums: None,
        }
    }
}

impl SealError {
    /// Tells whether the keys are at fault, and not the object.
    pub fn by_keys(&self) -> bool {
        matches!(
            self,
            SealError::NoIdentity(_) | SealError::OtherRecipients(_)
        )
    }

    /// Returns the reason that an error of a reader holds.
    pub(crate) fn of(error: &io::Error) -> Option<&SealError> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<SealError> for io::Error {
    fn from(error: SealError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// Seals an object whose content is at hand; `digest` is the SHA-256 of what its content means.
///
/// # Errors
/// The operating system gives no random numbers.
pub(crate) fn seal(
    recipients: &[Recipient],
    path: &str,
    digest: &[u8; 32],
    content: &[u8],
) -> io::Result<Vec<u8>> {
    let file_key = random::<FILE_KEY_BYTES>()?;
    let mut payload = Vec::with_capacity(content.len() + content.len() / 1024 + 64);
    let mut sealer = Sealer::of_payload(&file_key)?;
    sealer.write(content, &mut payload)?;
    sealer.finish(&mut payload)?;
    let stamp = Stamp {
        path: path.to_owned(),
        sums: Some(Sums {
            fingerprint: fingerprint(path, digest),
            payload: super::upload::hexadecimal(&Sha256::digest(&payload)),
        }),
    };
    let mut sealed = Header::write(recipients, &stamp, &file_key)?;
    sealed.write_all(&payload)?;
    Ok(sealed)
}

/// Opens a whole object.
///
/// # Errors
/// It is not what was sealed under this name, or not for these keys.
pub(crate) fn open(keys: &Arc<Keys>, path: &str, sealed: &[u8]) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(sealed.len());
    let mut opener = Opener::new(sealed, Arc::clone(keys), path);
    io::Read::read_to_end(&mut opener, &mut content)?;
    Ok(content)
}

/// Says whether a sealed object is the same as one that is to be sealed under its name, without a key.
pub(crate) fn same(path: &str, digest: &[u8; 32], sealed: &[u8]) -> bool {
    let mut rest = sealed;
    let Ok(header) = Header::read(&mut rest) else {
        return false;
    };
    header.stamp().is_some_and(|stamp| {
        stamp.path == path
            && stamp.sums.is_some_and(|sums| {
                sums.payload == super::upload::hexadecimal(&Sha256::digest(rest))
                    && sums.fingerprint == fingerprint(path, digest)
            })
    })
}

/// Says without a key what is wrong with the bytes of an object that was sealed at once under a name.
pub(crate) fn rot(path: &str, sealed: &[u8]) -> Option<String> {
    let mut rest = sealed;
    let header = match Header::read(&mut rest) {
        Ok(header) => header,
        Err(error) => return Some(error.to_string()),
    };
    let Some(Stamp {
        path: sealed_as,
        sums: Some(sums),
    }) = header.stamp()
    else {
        return Some("its header does not say what was sealed".to_owned());
    };
    if sealed_as != path {
        return Some(SealError::OtherObject(sealed_as.clone()).to_string());
    }
    let same = sums.payload == super::upload::hexadecimal(&Sha256::digest(rest));
    (!same).then(|| "its bytes are not those that were sealed".to_owned())
}

/// Returns how many bytes an object has when it is sealed at once.
pub(crate) fn sealed_bytes(
    recipients: &[Recipient],
    path: &str,
    content_bytes: u64,
) -> io::Result<u64> {
    let sums = Sums {
        fingerprint: "0".repeat(2 * FINGERPRINT_BYTES),
        payload: "0".repeat(64),
    };
    let stamp = Stamp {
        path: path.to_owned(),
        sums: Some(sums),
    };
    let header = Header::write(recipients, &stamp, &[0; FILE_KEY_BYTES])?;
    Ok(header.len() as u64 + stream::payload_bytes(content_bytes))
}

/// Returns what tells a content from another one of the same name, and costs some milliseconds for each guess at it: a plain
/// hash of a short piece of WAL would tell whoever knows nearly all of it the rest.
pub(crate) fn fingerprint(path: &str, digest: &[u8; 32]) -> String {
    let mut bytes = [0; FINGERPRINT_BYTES];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(
        algorithm,
        FINGERPRINT_ROUNDS,
        path.as_bytes(),
        digest,
        &mut bytes,
    );
    super::upload::hexadecimal(&bytes)
}

/// Derives a key: HKDF with SHA-256.
fn derive(salt: &[u8], secret: &[u8], info: &str) -> [u8; 32] {
    let info = [info.as_bytes()];
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let mut key = [0; 32];
    extracted
        .expand(&info, hkdf::HKDF_SHA256)
        .and_then(|expanded| expanded.fill(&mut key))
        .expect("32 bytes are what SHA-256 gives");
    key
}

fn random<const BYTES: usize>() -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| io::Error::other("the operating system gives no random numbers"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
