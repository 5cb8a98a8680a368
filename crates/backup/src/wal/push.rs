//! WAL comes into a repository: what PostgreSQL hands to `archive_command`, and what the receiver has sealed.
//!
//! Nothing is ever replaced. What is there with the same content is no mistake, since the server hands a file over again when
//! it did not hear that the first time was good.

use std::path::Path;

use bytes::Bytes;
use pawang_core::{Kind, Report};
use sha2::{Digest, Sha256};

pub use super::frame::{Content, Packed, pack};
use super::frame::{content_digest, hexadecimal, pack_plain};
use super::{History, SegmentName, Timeline};
use crate::Error;
use crate::repository::seal::fingerprint;
use crate::repository::{ClusterId, Repository};

/// What became of WAL that was stored.
pub use crate::repository::Created as Stored;

/// The level of compression of WAL.
pub const LEVEL: i32 = 1;
/// History and backup history files are texts of a few lines.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// So many letters of a hash tell one content from another.
const HASH_LETTERS: usize = 16;

/// A file that PostgreSQL hands to `archive_command`, or asks `restore_command` for, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalFile {
    /// A whole segment.
    Segment(SegmentName),
    /// The last segment of a timeline that was left.
    Partial(SegmentName),
    /// The history of a timeline.
    History(Timeline),
    /// The history of a backup: its segment, and the whole name.
    BackupHistory(SegmentName, String),
}

impl WalFile {
    /// Reads a name; `None` when PostgreSQL has no such files.
    pub fn parse(name: &str) -> Option<WalFile> {
        if let Some(timeline) = name.strip_suffix(".history") {
            return Some(WalFile::History(timeline.parse().ok()?));
        }
        let (segment, rest) = name.split_at_checked(24)?;
        let segment = segment.parse().ok()?;
        match rest {
            "" => Some(WalFile::Segment(segment)),
            ".partial" => Some(WalFile::Partial(segment)),
            _ => {
                let offset = rest.strip_prefix('.')?.strip_suffix(".backup")?;
                // The offset is spelled as a timeline is.
                let _offset: Timeline = offset.parse().ok()?;
                Some(WalFile::BackupHistory(segment, name.to_owned()))
            }
        }
    }
}

/// Stores a whole segment; it is durable when this returns.
///
/// # Errors
/// It is not the segment of the cluster that its name says, the name is taken by another content (then both are kept), or the
/// store refused.
pub async fn store_segment(
    repository: &Repository,
    cluster: &ClusterId,
    name: &SegmentName,
    content: Content,
    level: i32,
) -> Result<Stored, Error> {
    let packed = pack_apart(cluster, name, content, level).await?;
    store_packed(repository, cluster, &packed).await
}

/// Stores a segment that is compressed already.
///
/// # Errors
/// As [`store_segment`].
pub async fn store_packed(
    repository: &Repository,
    cluster: &ClusterId,
    packed: &Packed,
) -> Result<Stored, Error> {
    let path = cluster.segment(&packed.name, packed.walked.header.segment_bytes);
    let name = packed.name.to_string();
    store_frame(repository, cluster, &path, &name, &packed.frame).await
}

/// Stores a file of WAL in all repositories; it is durable in each when this returns good. One that refuses does not keep the
/// file from the others.
///
/// # Errors
/// The first one of the repositories, or the file is not what its name says.
pub async fn push(
    repositories: &[Repository],
    cluster: &ClusterId,
    path: &Path,
    level: i32,
) -> Result<Pushed, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    let file = name.and_then(WalFile::parse).ok_or_else(|| not_wal(path))?;
    let ready = match &file {
        WalFile::Segment(name) | WalFile::Partial(name) => {
            let content = Content::File(path.to_owned());
            let packed = pack_apart(cluster, name, content, level).await?;
            let bytes = packed.walked.header.segment_bytes;
            let object = match &file {
                WalFile::Partial(name) => cluster.partial(name, bytes),
                _ => cluster.segment(name, bytes),
            };
            Ready {
                object,
                frame: packed.frame.clone(),
                packed: matches!(file, WalFile::Segment(_)).then_some(packed),
            }
        }
        WalFile::History(timeline) => {
            let text = read_text(path)?;
            History::parse(*timeline, &text).map_err(|error| {
                let report = Report::from_error(Kind::Refused, &error);
                Error::Refused(Box::new(report.with_hint("pawang wal status")))
            })?;
            Ready::text(cluster.history(*timeline), text)
        }
        WalFile::BackupHistory(segment, name) => {
            let object = cluster.backup_history(segment.timeline, name);
            Ready::text(object, read_text(path)?)
        }
    };
    let mut refused = None;
    let mut stored = Stored::Same;
    for repository in repositories {
        match ready.store(repository, cluster, path).await {
            Ok(Stored::New) => stored = Stored::New,
            Ok(Stored::Same) => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match refused {
        Some(error) => Err(error),
        None => Ok(Pushed {
            object: ready.object,
            bytes: ready.frame.len() as u64,
            stored,
            segment: ready.packed,
        }),
    }
}

/// A file that is in all repositories.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The object's path.
    pub object: String,
    /// Its bytes as stored.
    pub bytes: u64,
    /// Whether it was there before, in all of them.
    pub stored: Stored,
    /// What is known of it, if it is a whole segment.
    pub segment: Option<Packed>,
}

/// An object that can be stored.
struct Ready {
    object: String,
    frame: Bytes,
    packed: Option<Packed>,
}

impl Ready {
    fn text(object: String, text: String) -> Ready {
        Ready {
            object,
            frame: text.into(),
            packed: None,
        }
    }

    async fn store(
        &self,
        repository: &Repository,
        cluster: &ClusterId,
        path: &Path,
    ) -> Result<Stored, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        store_frame(repository, cluster, &self.object, &name, &self.frame).await
    }
}

/// Compresses on a thread of its own, so that several go on at once.
async fn pack_apart(
    cluster: &ClusterId,
    name: &SegmentName,
    content: Content,
    level: i32,
) -> Result<Packed, Error> {
    let (cluster, name) = (*cluster, *name);
    tokio::task::spawn_blocking(move || pack(&cluster, &name, &content, level))
        .await
        .expect("the compression does not panic")
}

async fn store_frame(
    repository: &Repository,
    cluster: &ClusterId,
    object: &str,
    name: &str,
    frame: &Bytes,
) -> Result<Stored, Error> {
    let plain = !object.ends_with(".zst");
    let digest = if plain { text_digest } else { content_digest };
    // From where a timeline came is read by everybody who judges whether WAL is missing.
    let clear = object.ends_with(".history");
    let created = if clear {
        repository.create(object, frame.clone()).await
    } else {
        repository.create_data(object, frame.clone(), digest).await
    };
    match created {
        Err(Error::Exists { .. }) => {}
        other => return other,
    }
    let ours = digest(frame).map_err(|source| Error::File {
        doing: "hash",
        path: name.into(),
        source,
    })?;
    let told = if repository.seals() {
        fingerprint(object, &ours)
    } else {
        // Another level or version of zstd makes other bytes of the same content. One that cannot be read is another content.
        let there = repository.read(object).await?;
        if there.is_some_and(|there| digest(&there).is_ok_and(|hash| hash == ours)) {
            return Ok(Stored::Same);
        }
        hexadecimal(&ours)
    };
    let kept = cluster.conflict(name, &told[..HASH_LETTERS]);
    let copy = if plain {
        pack_plain(frame, LEVEL).map_err(|source| Error::File {
            doing: "compress",
            path: name.into(),
            source,
        })?
    } else {
        frame.clone()
    };
    match repository.create_data(&kept, copy, content_digest).await {
        // It was kept by an earlier try, at another level.
        Ok(_) | Err(Error::Exists { .. }) => Err(Error::Conflict {
            object: object.to_owned(),
            kept,
            place: repository.place().to_owned(),
        }),
        Err(error) => Err(error),
    }
}

pub(crate) fn text_digest(bytes: &[u8]) -> std::io::Result<[u8; 32]> {
    Ok(Sha256::digest(bytes).into())
}

fn read_text(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::File {
        doing: "read",
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes == 0 || bytes > TEXT_BYTES_MAX {
        let told = format!("it has {bytes} bytes");
        return Err(failed(std::io::Error::other(told)));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn not_wal(path: &Path) -> Error {
    let report = Report::new(
        Kind::Refused,
        format!("cannot archive \"{}\"", path.display()),
    );
    let detail = "a name of WAL is 24 hexadecimal digits, or ends in .partial, .backup or .history";
    let hint = "archive_command = 'pawang wal push %p'";
    Error::Refused(Box::new(report.with_detail(detail).with_hint(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_wal_are_told_apart() {
        let segment: SegmentName = "0000000A0000000100000002".parse().unwrap();
        for (name, expected) in [
            ("0000000A0000000100000002", Some(WalFile::Segment(segment))),
            (
                "0000000A0000000100000002.partial",
                Some(WalFile::Partial(segment)),
            ),
            ("0000000A.history", Some(WalFile::History(Timeline(10)))),
            (
                "0000000A0000000100000002.00000028.backup",
                Some(WalFile::BackupHistory(
                    segment,
                    "0000000A0000000100000002.00000028.backup".to_owned(),
                )),
            ),
            ("0000000A0000000100000002.backup", None),
            ("0000000A0000000100000002.../x.backup", None),
            ("0000000a0000000100000002", None),
            ("../../etc/passwd", None),
            ("..history", None),
            ("", None),
            ("0000000A000000010000000\u{e9}", None),
        ] {
            assert_eq!(WalFile::parse(name), expected, "{name}");
        }
    }
}
