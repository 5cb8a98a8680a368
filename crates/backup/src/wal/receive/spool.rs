//! WAL on the receiver's own disk until the repositories have it: one file per segment, `.partial` while it grows.
//!
//! Everything here blocks; whoever receives calls it from a thread for blocking work.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pawang_core::{Kind, Report};

use super::super::SegmentName;
use crate::Error;
use crate::repository::ClusterId;

const PARTIAL: &str = ".partial";
const LOCK: &str = "lock";
/// Copies of one segment that are kept because they differ.
const COPIES_MAX: u32 = 1000;

/// The folder of one cluster in a spool, held by one receiver at a time.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    _lock: File,
}

/// What an earlier run has left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Whole segments that may not be in every repository yet, in order.
    pub(super) whole: Vec<SegmentName>,
    /// Segments that were not whole, with their length, in order.
    pub(super) partial: Vec<(SegmentName, u64)>,
}

/// Bytes of a segment that are to be written.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
}

impl Spool {
    /// Opens the folder of a cluster.
    ///
    /// # Errors
    /// Another receiver holds it, or the spool has WAL of another cluster.
    pub(super) fn open(root: &Path, cluster: &ClusterId) -> Result<Spool, Error> {
        fs::create_dir_all(root).map_err(|source| failed("create", root, source))?;
        let root = &fs::canonicalize(root).map_err(|source| failed("open", root, source))?;
        let entries = fs::read_dir(root).map_err(|source| failed("read", root, source))?;
        for entry in entries {
            let entry = entry.map_err(|source| failed("read", root, source))?;
            let name = entry.file_name();
            let other = name
                .to_str()
                .and_then(|name| name.parse::<ClusterId>().ok());
            if let Some(other) = other.filter(|other| other != cluster) {
                return Err(refused(
                    format!(
                        "the spool \"{}\" holds WAL of cluster {other}, and the server is {cluster}",
                        root.display()
                    ),
                    format!(
                        "after an upgrade: mv {0} {0}.old",
                        root.join(other.to_string()).display()
                    ),
                ));
            }
        }
        let folder = root.join(cluster.to_string());
        fs::create_dir_all(&folder).map_err(|source| failed("create", &folder, source))?;
        for parent in root.ancestors().take(2) {
            // A folder that does not survive a crash takes what was synchronised in it along.
            let synced = File::open(parent).and_then(|parent| parent.sync_all());
            synced.map_err(|source| failed("synchronise", parent, source))?;
        }
        let path = folder.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| failed("open", &path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(refused(
                    format!(
                        "another receiver works with the spool \"{}\"",
                        folder.display()
                    ),
                    format!("fuser -v {}", path.display()),
                ));
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock", &path, source)),
        }
        Ok(Spool {
            folder,
            _lock: lock,
        })
    }

    /// Lists what an earlier run has left.
    pub(super) fn left(&self) -> Result<Left, Error> {
        let reading = |source| failed("read", &self.folder, source);
        let mut left = Left::default();
        for entry in fs::read_dir(&self.folder).map_err(reading)? {
            let entry = entry.map_err(reading)?;
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            if let Ok(segment) = name.parse() {
                left.whole.push(segment);
            } else if let Some(segment) = name.strip_suffix(PARTIAL).and_then(|n| n.parse().ok()) {
                let length = entry.metadata().map_err(reading)?.len();
                left.partial.push((segment, length));
            }
        }
        left.whole.sort_unstable();
        left.partial.sort_unstable();
        Ok(left)
    }

    /// Returns the file of a segment that grows.
    pub(super) fn partial(&self, name: &SegmentName) -> PathBuf {
        self.folder.join(format!("{name}{PARTIAL}"))
    }

    /// Returns the file of a whole segment.
    pub(super) fn whole(&self, name: &SegmentName) -> PathBuf {
        self.folder.join(name.to_string())
    }

    /// Opens a segment that grows, and returns how long it is already.
    pub(super) fn grow(&self, name: &SegmentName) -> Result<(File, u64), Error> {
        let path = self.partial(name);
        let open = || {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)?;
            let length = file.metadata()?.len();
            // The name must survive a crash as well as the bytes.
            self.sync()?;
            Ok((file, length))
        };
        open().map_err(|source| failed("open", &path, source))
    }

    /// Says that a segment is whole; its bytes must be durable.
    pub(super) fn seal(&self, name: &SegmentName) -> Result<(), Error> {
        let path = self.partial(name);
        let seal = || {
            fs::rename(&path, self.whole(name))?;
            self.sync()
        };
        seal().map_err(|source| failed("rename", &path, source))
    }

    /// Removes a file of the spool; that it is gone already is no mistake.
    pub(super) fn remove(&self, path: &Path) -> Result<(), Error> {
        match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", path, source))
            }
            _ => Ok(()),
        }
    }

    /// Keeps a copy of a segment that grows under a name of its own, because the server sends something else.
    pub(super) fn keep_copy(&self, name: &SegmentName) -> Result<PathBuf, Error> {
        let from = self.partial(name);
        let mut copies =
            (0..COPIES_MAX).map(|count| self.folder.join(format!("{name}.diverged-{count}")));
        let to = copies
            .find(|path| !path.exists())
            .ok_or_else(|| failed("copy", &from, io::ErrorKind::AlreadyExists.into()))?;
        let copy = || {
            fs::copy(&from, &to)?;
            File::open(&to)?.sync_all()?;
            self.sync()
        };
        copy().map_err(|source| failed("copy", &from, source))?;
        Ok(to)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

/// Says where pieces differ from the first `present` bytes of a file.
pub(super) fn difference(file: &File, present: u64, pieces: &[Piece]) -> io::Result<Option<u64>> {
    let mut there = Vec::new();
    for piece in pieces {
        let known = present.saturating_sub(piece.offset);
        let length = usize::try_from(known)
            .unwrap_or(usize::MAX)
            .min(piece.bytes.len());
        there.resize(length, 0);
        file.read_exact_at(&mut there, piece.offset)?;
        if there[..] != piece.bytes[..length] {
            return Ok(Some(piece.offset));
        }
    }
    Ok(None)
}

/// Writes pieces and returns when they are durable.
///
/// What is there already is written again: after an error of an earlier sync the system may call pages clean that never
/// reached the disk.
pub(super) fn write(file: &File, pieces: &[Piece]) -> io::Result<()> {
    for piece in pieces {
        file.write_all_at(&piece.bytes, piece.offset)?;
    }
    file.sync_data()
}

/// Reads a part of a file.
pub(super) fn read(path: &Path, from: u64, to: u64) -> Result<Vec<u8>, Error> {
    let read = || {
        let length = usize::try_from(to - from).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        File::open(path)?.read_exact_at(&mut bytes, from)?;
        Ok(bytes)
    };
    read().map_err(|source| failed("read", path, source))
}

pub(super) fn failed(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File {
        doing,
        path: path.to_path_buf(),
        source,
    }
}

pub(super) fn refused(primary: impl Into<String>, hint: impl Into<String>) -> Error {
    let report = Report::new(Kind::Refused, primary).with_hint(hint);
    Error::Refused(Box::new(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId {
        system_identifier: 7,
        major: 17,
    };

    fn name() -> SegmentName {
        "000000010000000000000003".parse().unwrap()
    }

    fn piece(offset: u64, text: &'static str) -> Piece {
        Piece {
            offset,
            bytes: Bytes::from_static(text.as_bytes()),
        }
    }

    #[test]
    fn segments_grow_and_become_whole() {
        let place = tempfile::tempdir().unwrap();
        let spool = Spool::open(place.path(), &CLUSTER).unwrap();
        let (file, length) = spool.grow(&name()).unwrap();
        assert_eq!(length, 0);
        write(&file, &[piece(0, "abc"), piece(3, "def")]).unwrap();
        assert_eq!(spool.left().unwrap().partial, [(name(), 6)]);
        assert_eq!(read(&spool.partial(&name()), 2, 5).unwrap(), b"cde");
        assert_eq!(difference(&file, 6, &[piece(2, "cdefgh")]).unwrap(), None);
        assert_eq!(
            difference(&file, 6, &[piece(0, "ab"), piece(2, "xx")]).unwrap(),
            Some(2)
        );
        let copy = spool.keep_copy(&name()).unwrap();
        assert_eq!(fs::read(copy).unwrap(), b"abcdef");
        spool.seal(&name()).unwrap();
        let left = spool.left().unwrap();
        assert_eq!((left.whole, left.partial), (vec![name()], vec![]));
        spool.remove(&spool.whole(&name())).unwrap();
        spool.remove(&spool.whole(&name())).unwrap();
    }

    #[test]
    fn one_receiver_and_one_cluster() {
        let place = tempfile::tempdir().unwrap();
        let held = Spool::open(place.path(), &CLUSTER).unwrap();
        let error = Spool::open(place.path(), &CLUSTER).unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error}");
        drop(held);
        let other = ClusterId {
            major: 18,
            ..CLUSTER
        };
        let error = Spool::open(place.path(), &other).unwrap_err();
        assert!(error.to_string().contains("7-17"), "{error}");
    }
}
