//! `backup_manifest` of PostgreSQL, versions 1 and 2, file by file as it is read: a cluster may have a million files.

use std::fmt;
use std::io::{self, BufReader, Read};

use pawang_core::Lsn;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use sha2::{Digest, Sha256};

use crate::wal::Timeline;

/// The versions that are known: 2 since PostgreSQL 17.
const VERSIONS: [u64; 2] = [1, 2];
/// The last line, which names the checksum of all lines before, is shorter.
const LAST_LINE_BYTES_MAX: usize = 512;

/// What a manifest says of the whole backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Its version.
    pub version: u64,
    /// Whose data it is; only of version 2.
    pub system_identifier: Option<u64>,
    /// How many files it names.
    pub files: u64,
    /// Sum of their sizes.
    pub bytes: u64,
    /// The WAL that makes the files consistent.
    pub wal: Vec<WalRange>,
}

/// WAL that a backup needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalRange {
    /// The timeline.
    pub timeline: Timeline,
    /// Where it begins.
    pub start: Lsn,
    /// Where it ends.
    pub end: Lsn,
}

/// A file as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFile {
    /// Its path within the data directory, which need not be UTF-8.
    pub path: Vec<u8>,
    /// Its size.
    pub bytes: u64,
    /// When it was changed, in the manifest's own words.
    pub modified: String,
    /// Its checksum, when one was computed.
    pub checksum: Option<FileChecksum>,
}

/// The checksum of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChecksum {
    /// How it was computed.
    pub algorithm: Algorithm,
    /// Its bytes.
    pub digest: Vec<u8>,
}

/// How the checksums of files are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// CRC-32C, its four bytes in the order of a little-endian machine.
    Crc32c,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// The manifest is not what PostgreSQL writes.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It could not be read, or it is not of its form.
    #[error("cannot read the backup manifest: {0}")]
    Form(String),
    /// It was changed after it was written.
    #[error("the backup manifest was changed: its checksum is {computed}, and it says {stored}")]
    Checksum {
        /// What it says of itself.
        stored: String,
        /// What is true.
        computed: String,
    },
}

impl Algorithm {
    fn named(name: &str) -> Option<Algorithm> {
        Some(match name {
            "CRC32C" => Algorithm::Crc32c,
            "SHA224" => Algorithm::Sha224,
            "SHA256" => Algorithm::Sha256,
            "SHA384" => Algorithm::Sha384,
            "SHA512" => Algorithm::Sha512,
            _ => return None,
        })
    }
}

/// Reads a manifest to its end, hands over each file, and verifies the manifest's own checksum.
///
/// # Errors
/// It is no manifest of a known version, or its checksum is another one. Then nothing that it said before counts.
pub fn read(
    source: &mut dyn Read,
    each: &mut dyn FnMut(ManifestFile),
) -> Result<Manifest, ManifestError> {
    let mut lines = Lines {
        source,
        hash: Sha256::new(),
        held: Vec::new(),
    };
    let mut whole = Whole {
        manifest: Manifest::default(),
        checksum: None,
        each,
    };
    let form = |error: serde_json::Error| ManifestError::Form(error.to_string());
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(&mut lines));
    json.deserialize_map(&mut whole).map_err(form)?;
    json.end().map_err(form)?;
    drop(json);
    let Whole {
        manifest, checksum, ..
    } = whole;
    let stored = checksum.ok_or_else(|| ManifestError::Form("it has no checksum".to_owned()))?;
    if !VERSIONS.contains(&manifest.version) {
        return Err(ManifestError::Form(format!(
            "its version {} is none of 1 and 2",
            manifest.version
        )));
    }
    let computed = lines.finish();
    if computed == stored {
        Ok(manifest)
    } else {
        Err(ManifestError::Checksum { stored, computed })
    }
}

/// Hashes what passes, but for the last line.
struct Lines<'a> {
    source: &'a mut dyn Read,
    hash: Sha256,
    /// What is not hashed yet, since it may be the last line.
    held: Vec<u8>,
}

impl Read for Lines<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.source.read(into)?;
        self.held.extend_from_slice(&into[..bytes]);
        let sure = self.held.len().saturating_sub(LAST_LINE_BYTES_MAX);
        self.hash.update(&self.held[..sure]);
        self.held.drain(..sure);
        Ok(bytes)
    }
}

impl Lines<'_> {
    fn finish(mut self) -> String {
        let lines = self.held.strip_suffix(b"\n").unwrap_or(&self.held);
        let last = lines.iter().rposition(|byte| *byte == b'\n');
        self.hash
            .update(&self.held[..last.map_or(0, |end| end + 1)]);
        hexadecimal(&self.hash.finalize())
    }
}

/// Spells bytes as the manifest does.
pub fn hexadecimal(bytes: &[u8]) -> String {
    use fmt::Write;

    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn bytes_of(hexadecimal: &str) -> Option<Vec<u8>> {
    let digits = hexadecimal.as_bytes();
    let plain = digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit);
    plain.then(|| {
        let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
        let pairs = digits.chunks_exact(2);
        pairs
            .map(|pair| value(pair[0]) << 4 | value(pair[1]))
            .collect()
    })
}

/// The manifest's outermost object.
struct Whole<'a> {
    manifest: Manifest,
    checksum: Option<String>,
    each: &'a mut dyn FnMut(ManifestFile),
}

impl<'de> Visitor<'de> for &mut Whole<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a backup manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "PostgreSQL-Backup-Manifest-Version" => self.manifest.version = map.next_value()?,
                "System-Identifier" => self.manifest.system_identifier = Some(map.next_value()?),
                "Files" => map.next_value_seed(Files(self))?,
                "WAL-Ranges" => {
                    let ranges: Vec<RawRange> = map.next_value()?;
                    self.manifest.wal = ranges.into_iter().map(WalRange::from).collect();
                }
                "Manifest-Checksum" => self.checksum = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// The list of files, which is never held.
struct Files<'a, 'b>(&'a mut Whole<'b>);

impl<'de> DeserializeSeed<'de> for Files<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Files<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(raw) = list.next_element::<RawFile>()? {
            let file = raw.file().map_err(A::Error::custom)?;
            self.0.manifest.files += 1;
            self.0.manifest.bytes = self.0.manifest.bytes.saturating_add(file.bytes);
            (self.0.each)(file);
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(rename = "Path")]
    path: Option<String>,
    #[serde(rename = "Encoded-Path")]
    encoded_path: Option<String>,
    #[serde(rename = "Size")]
    bytes: u64,
    #[serde(rename = "Last-Modified", default)]
    modified: String,
    #[serde(rename = "Checksum-Algorithm")]
    algorithm: Option<String>,
    #[serde(rename = "Checksum")]
    checksum: Option<String>,
}

impl RawFile {
    fn file(self) -> Result<ManifestFile, &'static str> {
        let path = match (self.path, self.encoded_path) {
            (Some(path), None) => path.into_bytes(),
            (None, Some(encoded)) => bytes_of(&encoded).ok_or("a path that is not hexadecimal")?,
            _ => return Err("a file without one path"),
        };
        let checksum = match (self.algorithm.as_deref(), self.checksum) {
            (None | Some("NONE"), None) => None,
            (Some(name), Some(digest)) => Some(FileChecksum {
                algorithm: Algorithm::named(name).ok_or("an algorithm that does not exist")?,
                digest: bytes_of(&digest).ok_or("a checksum that is not hexadecimal")?,
            }),
            _ => return Err("a checksum and its algorithm, of which one is missing"),
        };
        Ok(ManifestFile {
            path,
            bytes: self.bytes,
            modified: self.modified,
            checksum,
        })
    }
}

#[derive(Deserialize)]
struct RawRange {
    #[serde(rename = "Timeline")]
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: Lsn,
    #[serde(rename = "End-LSN")]
    end: Lsn,
}

impl From<RawRange> for WalRange {
    fn from(raw: RawRange) -> WalRange {
        WalRange {
            timeline: Timeline(raw.timeline),
            start: raw.start,
            end: raw.end,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODY: &str = r#"{ "PostgreSQL-Backup-Manifest-Version": 2,
"System-Identifier": 7300000000000000001,
"Files": [
{ "Path": "backup_label", "Size": 227, "Last-Modified": "2026-11-22 08:00:00 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "0a0b0c0d" },
{ "Encoded-Path": "62ff", "Size": 0, "Last-Modified": "2026-11-22 08:00:00 GMT" }
],
"WAL-Ranges": [
{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" }
],
"#;

    fn manifest(body: &str) -> String {
        let checksum = hexadecimal(&Sha256::digest(body));
        format!("{body}\"Manifest-Checksum\": \"{checksum}\"}}\n")
    }

    fn read_text(text: &str) -> Result<(Manifest, Vec<ManifestFile>), ManifestError> {
        let mut files = Vec::new();
        read(&mut text.as_bytes(), &mut |file| files.push(file)).map(|whole| (whole, files))
    }

    #[test]
    fn a_manifest_is_read_file_by_file() {
        let (whole, files) = read_text(&manifest(BODY)).unwrap();
        assert_eq!((whole.version, whole.files, whole.bytes), (2, 2, 227));
        assert_eq!(whole.system_identifier, Some(7_300_000_000_000_000_001));
        let range = WalRange {
            timeline: Timeline(1),
            start: Lsn(0x200_0028),
            end: Lsn(0x200_0100),
        };
        assert_eq!(whole.wal, [range]);
        assert_eq!(files[0].path, b"backup_label");
        let checksum = files[0].checksum.as_ref().unwrap();
        assert_eq!(checksum.algorithm, Algorithm::Crc32c);
        assert_eq!(checksum.digest, [10, 11, 12, 13]);
        assert_eq!(files[1].path, b"b\xff");
        assert_eq!(files[1].checksum, None);
    }

    #[test]
    fn a_manifest_that_was_changed_is_refused() {
        let whole = manifest(BODY);
        let changed = whole.replace("\"Size\": 227", "\"Size\": 228");
        assert!(matches!(
            read_text(&changed),
            Err(ManifestError::Checksum { .. })
        ));
        for cut in [0, 10, whole.len() / 2, whole.len() - 3] {
            let got = read_text(&whole[..cut]);
            assert!(matches!(got, Err(ManifestError::Form(_))), "{cut}");
        }
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for (from, to) in [
            ("Version\": 2", "Version\": 3"),
            ("\"Path\": \"backup_label\", ", ""),
            ("\"CRC32C\"", "\"MD5\""),
            ("0a0b0c0d", "0a0b0c0"),
            ("62ff", "62fg"),
            ("0/2000028", "x"),
        ] {
            let text = manifest(&BODY.replace(from, to));
            assert!(
                matches!(read_text(&text), Err(ManifestError::Form(_))),
                "{to}"
            );
        }
    }

    proptest! {
        #[test]
        fn names_of_any_bytes_come_back(path in proptest::collection::vec(any::<u8>(), 1..40)) {
            let text = manifest(&BODY.replace("62ff", &hexadecimal(&path)));
            prop_assert_eq!(&read_text(&text).unwrap().1[1].path, &path);
        }
    }
}
