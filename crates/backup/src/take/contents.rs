//! What files came, against what the manifest says that must have come.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::cut::Extent;
use super::manifest::{Algorithm, ManifestFile};

/// So many differences are told in full.
const TOLD_MAX: usize = 5;

/// A file that came; a hash stands for its name, since there may be a million.
#[derive(Clone, Copy, Debug)]
struct Came {
    name: u64,
    bytes: u64,
    crc: u32,
}

/// The files that came, and how they differ from the manifest.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// None is remembered where the manifest is ours: it says what came.
    files: Vec<Came>,
    ours: bool,
    /// The sum of the sizes of all files.
    bytes: u64,
    /// The file that is coming: its length and checksum so far.
    coming: (u64, u32),
    sorted: bool,
    named: u64,
    differences: u64,
    told: String,
}

impl Contents {
    /// Begins, with whether the manifest is ours: then there is none to compare with.
    pub(super) fn new(ours: bool) -> Contents {
        Contents {
            ours,
            ..Contents::default()
        }
    }

    /// Adds content of a file, whose extents come in order; returns length and checksum of a file that ends with it.
    pub(super) fn add(&mut self, extent: &Extent, crc: u32) -> Option<(u64, u32)> {
        if extent.offset == 0 {
            self.coming = (0, 0);
        }
        let (bytes, before) = self.coming;
        let crc = crc32c::crc32c_combine(before, crc, extent.bytes);
        self.coming = (bytes + extent.bytes as u64, crc);
        if !extent.ends_file {
            return None;
        }
        self.bytes += self.coming.0;
        if !self.ours {
            self.files.push(Came {
                name: hash(&extent.file),
                bytes: self.coming.0,
                crc,
            });
        }
        Some(self.coming)
    }

    /// Adds what came elsewhere, in whole files.
    pub(super) fn join(&mut self, other: Contents) {
        self.files.extend(other.files);
        self.bytes += other.bytes;
    }

    /// Returns the sum of the sizes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Compares a file with what came; all must have come.
    pub(super) fn compare(&mut self, file: &ManifestFile) {
        if !self.sorted {
            self.files.sort_unstable_by_key(|file| file.name);
            self.sorted = true;
        }
        self.named += 1;
        let name = hash(&file.path);
        let found = self.files.binary_search_by_key(&name, |file| file.name);
        let problem = match found.map(|place| self.files[place]) {
            Err(_) => "did not come".to_owned(),
            Ok(came) if came.bytes != file.bytes => {
                format!("came with {} bytes instead of {}", came.bytes, file.bytes)
            }
            Ok(came) => match &file.checksum {
                Some(checksum)
                    if checksum.algorithm == Algorithm::Crc32c
                        && checksum.digest != came.crc.to_le_bytes() =>
                {
                    "came with another checksum".to_owned()
                }
                _ => return,
            },
        };
        let path = String::from_utf8_lossy(&file.path);
        self.tell(&format!("\"{path}\" {problem}"));
    }

    fn tell(&mut self, difference: &str) {
        self.differences += 1;
        if self.differences <= TOLD_MAX as u64 {
            let comma = if self.told.is_empty() { "" } else { ", " };
            let _ = write!(self.told, "{comma}{difference}");
        }
    }

    /// Returns what differs, after the manifest's last file.
    pub(super) fn finish(mut self) -> Result<(), String> {
        let came = self.files.len() as u64;
        if came > self.named {
            let more = came - self.named;
            self.tell(&format!(
                "files came that the manifest does not name: {more}"
            ));
        }
        match self.differences {
            0 => Ok(()),
            count if count > TOLD_MAX as u64 => Err(format!(
                "{}, and {} more",
                self.told,
                count - TOLD_MAX as u64
            )),
            _ => Err(self.told),
        }
    }
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::take::cut::PageNumbers;
    use crate::take::manifest::FileChecksum;

    fn came(files: &[(&str, &[u8])]) -> Contents {
        let mut contents = Contents::default();
        for (path, content) in files {
            let file: Arc<[u8]> = Arc::from(path.as_bytes());
            let cut = content.len() / 3;
            let mut offset = 0;
            for piece in [&content[..cut], &content[cut..]] {
                let extent = Extent {
                    file: file.clone(),
                    from: 0,
                    bytes: piece.len(),
                    offset,
                    ends_file: offset as usize + piece.len() == content.len(),
                    modified_s: 0,
                    pages: PageNumbers::None,
                };
                offset += piece.len() as u64;
                contents.add(&extent, crc32c::crc32c(piece));
                if extent.ends_file {
                    break;
                }
            }
        }
        contents
    }

    fn named(path: &str, content: &[u8]) -> ManifestFile {
        ManifestFile {
            path: path.into(),
            bytes: content.len() as u64,
            modified: String::new(),
            checksum: Some(FileChecksum {
                algorithm: Algorithm::Crc32c,
                digest: crc32c::crc32c(content).to_le_bytes().to_vec(),
            }),
        }
    }

    #[test]
    fn what_came_is_compared_with_what_is_named() {
        let files: [(&str, &[u8]); 3] = [("a", b"12345"), ("b", b""), ("c", b"xyz")];
        for (named_files, expected) in [
            (vec![("a", "12345"), ("b", ""), ("c", "xyz")], Ok(())),
            (
                vec![("a", "12345"), ("b", ""), ("c", "xyzz")],
                Err("\"c\" came with 3 bytes instead of 4"),
            ),
            (
                vec![("c", "xyy"), ("a", "12345"), ("b", "")],
                Err("\"c\" came with another checksum"),
            ),
            (
                vec![("a", "12345"), ("c", "xyz"), ("b", ""), ("d", "")],
                Err("\"d\" did not come"),
            ),
            (
                vec![("a", "12345"), ("c", "xyz")],
                Err("files came that the manifest does not name: 1"),
            ),
        ] {
            let mut contents = came(&files);
            assert_eq!(contents.bytes(), 8);
            for (path, content) in named_files {
                contents.compare(&named(path, content.as_bytes()));
            }
            assert_eq!(contents.finish(), expected.map_err(str::to_owned));
        }
    }
}
