//! What is kept between two readings, and its bytes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::Known;
use crate::error::Error;

/// Bytes at the beginning of a file, and before the next record, by which it is known again.
pub(super) const MARK_BYTES: usize = 4096;

/// The version that is written, and the only one that is read: postcard tells nothing of what it holds, so that each change of the layout of
/// a tally or of the manifest needs another one.
const VERSION: u32 = 3;

const MAGIC: &[u8; 4] = b"PWLS";

/// Bytes of the envelope before its content.
const ENVELOPE_BYTES: usize = 32;

/// The largest state file that is read; a larger one was not written by this program.
const CONTENT_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Half of a SHA-256.
pub(super) type Hash = [u8; 16];

/// What was read of which file, and which tallies are valid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) generation: u64,
    pub(super) files: Vec<FileState>,
    pub(super) hours: BTreeMap<i64, u64>,
}

/// How far a file was read, and how it is known again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct FileState {
    pub(super) name: String,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) modified: i64,
    pub(super) head_bytes: u32,
    pub(super) head_hash: Hash,
    pub(super) offset: u64,
    pub(super) last_bytes: u32,
    pub(super) last_hash: Hash,
    pub(super) inside: bool,
    pub(super) known: Known,
    pub(super) hour: i64,
    pub(super) compressed: bool,
    pub(super) finished: bool,
    pub(super) gone: bool,
}

impl FileState {
    /// Returns where to read on: inside of a cut record from the byte before, which may be the line end before the next record.
    pub(super) fn begin(&self) -> u64 {
        self.offset - u64::from(self.inside).min(self.offset)
    }
}

/// Returns the first half of the SHA-256 of bytes.
pub(super) fn hash(bytes: &[u8]) -> Hash {
    let whole = Sha256::digest(bytes);
    let mut half = Hash::default();
    half.copy_from_slice(&whole[..16]);
    half
}

/// Returns a manifest's bytes.
pub(super) fn encode(manifest: &Manifest) -> Vec<u8> {
    envelope(&postcard::to_stdvec(manifest).expect("a manifest is plain data"))
}

/// Returns the manifest of bytes.
pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Manifest, Error> {
    from_postcard(path, content(path, bytes)?)
}

/// Returns a tally's bytes.
pub(super) fn encode_part<P: Serialize>(path: &Path, part: &P) -> Result<Vec<u8>, Error> {
    let plain = postcard::to_stdvec(part).map_err(|error| damaged(path, &error.to_string()))?;
    let packed =
        zstd::encode_all(&plain[..], 1).map_err(|source| state("compress", path, source))?;
    Ok(envelope(&packed))
}

/// Returns the tally of bytes.
pub(super) fn decode_part<P: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<P, Error> {
    let packed = content(path, bytes)?;
    let plain = zstd::decode_all(packed).map_err(|error| damaged(path, &error.to_string()))?;
    from_postcard(path, &plain)
}

fn from_postcard<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Error> {
    postcard::from_bytes(bytes).map_err(|error| damaged(path, &error.to_string()))
}

fn envelope(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENVELOPE_BYTES + content.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&hash(content));
    bytes.extend_from_slice(content);
    bytes
}

fn content<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
    let Some((head, content)) = bytes.split_at_checked(ENVELOPE_BYTES) else {
        return Err(damaged(path, "it is too short"));
    };
    if &head[..4] != MAGIC {
        return Err(damaged(path, "it does not begin as such a file does"));
    }
    let version = u32::from_le_bytes(head[4..8].try_into().expect("these are four bytes"));
    if version < VERSION {
        return Err(Error::Earlier {
            path: path.to_owned(),
            found: version,
            known: VERSION,
        });
    }
    if version > VERSION {
        return Err(Error::Later {
            path: path.to_owned(),
            found: version,
            known: VERSION,
        });
    }
    let length = u64::from_le_bytes(head[8..16].try_into().expect("these are eight bytes"));
    if length != content.len() as u64
        || content.len() > CONTENT_BYTES_MAX
        || head[16..] != hash(content)
    {
        return Err(damaged(path, "its content is not what was written"));
    }
    Ok(content)
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

/// Returns the error of something that was done to a file of the state.
pub(super) fn state(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::State {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choose::{Wish, choose};
    use crate::engine::{Settings, read};
    use crate::input::Input;
    use crate::tally::{Options, Tally};

    #[test]
    fn damage_and_later_versions_are_told() {
        let path = Path::new("manifest");
        let manifest = Manifest {
            generation: 7,
            ..Manifest::default()
        };
        let bytes = encode(&manifest);
        assert_eq!(decode(path, &bytes).unwrap(), manifest);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(decode(path, &damaged).is_err(), "byte {at}");
            assert!(decode(path, &bytes[..at]).is_err(), "cut at {at}");
        }
        let version = |version: u8| {
            let mut bytes = bytes.clone();
            bytes[4] = version;
            decode(path, &bytes).unwrap_err()
        };
        assert_eq!(
            version(4).to_string(),
            "state file \"manifest\" has version 4, this program reads up to 3"
        );
        let earlier = version(1);
        assert_eq!(
            earlier.to_string(),
            "state file \"manifest\" has version 1 of an earlier program, this one reads 3"
        );
        assert!(earlier.begin_anew() && !version(4).begin_anew());
    }

    /// The fields of each type that a tally of logs of every kind has, as `Debug` shows them.
    fn layout() -> String {
        let mut tally = Tally::default();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        for name in ["stderr.log", "forms.log", "sections.csv", "pgbouncer.log"] {
            let settings = Settings {
                threads: 1,
                piece_bytes: 1 << 20,
                choose: &|head| choose(head, &Wish::default()),
            };
            let input = Input::file(folder.join(name));
            let outcome = read(vec![input], &settings, &Options::default()).unwrap();
            tally.absorb(outcome.tally);
        }
        let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut open: Vec<String> = Vec::new();
        for line in format!("{tally:#?}{:#?}", Manifest::default()).lines() {
            let line = line.trim();
            let field = line.split_once(": ").filter(|(name, _)| {
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            });
            if let (Some((name, _)), Some(of)) = (field, open.last()) {
                let fields = types.entry(of.clone()).or_default();
                if !of.is_empty() && !fields.iter().any(|known| known == name) {
                    fields.push(name.to_owned());
                }
            }
            if line.ends_with(['{', '[', '(']) {
                let name = field.map_or(line, |(_, value)| value);
                let name = name.strip_suffix(" {").unwrap_or_default();
                let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
                open.push(if plain {
                    name.to_owned()
                } else {
                    String::new()
                });
            } else if line.starts_with(['}', ']', ')']) {
                open.pop();
            }
        }
        types.retain(|_, fields| !fields.is_empty());
        format!("{types:?}")
    }

    #[test]
    fn another_layout_has_another_version() {
        let layout = layout();
        let told = u64::from_le_bytes(*hash(layout.as_bytes()).first_chunk().unwrap());
        assert_eq!(
            (VERSION, format!("{told:016x}")),
            (3, "d1290c99f4750e00".to_owned()),
            "what is kept has another layout: raise VERSION, name the version in format, and write its hash here: {layout}"
        );
    }
}
