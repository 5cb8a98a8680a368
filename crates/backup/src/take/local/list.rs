//! The files of relations that a backup read, kept beside it: what tells a later one whether a file is still the same.
//!
//! A relation whose number is used again, a database that is made by copying files and a data directory that was restored have
//! pages whose positions say nothing; all of these are other files, with another number or another time of making.

use std::collections::HashMap;
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use zstd::stream::read::Decoder;

use crate::Error;
use crate::repository::{LEVEL, Object, ObjectWriter};

/// The object in a backup's folder.
pub(crate) const RELATION_FILES: &str = "relation_files.zst";
const FIRST_LINE: &str = "relation files 1";
/// Lines are compressed, each time into one frame, when there are so many bytes of them.
const FRAME_BYTES: usize = 128 << 10;

/// What a file is, however it is named and whatever it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    inode: u64,
    /// When it was made, in nanoseconds since 1970.
    made_at_ns: u64,
}

/// What makes hints in pages trustworthy where they have no checksums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hints {
    /// Whether changes of hints are in WAL, so that they move the position of a page.
    pub(crate) logged: bool,
    /// When the server was started, which is the only time when that may change.
    pub(crate) server_started_s: u64,
}

/// The list of another backup.
#[derive(Debug)]
pub(crate) struct FileList {
    pub(crate) hints: Hints,
    /// By the hash of its path, since there may be a million: what the file was, and how many pages it had.
    files: HashMap<u64, (FileIdentity, u32)>,
}

/// Writes the list of a backup while it is taken.
pub(crate) struct FileListWriter {
    lines: Vec<u8>,
    object: ObjectWriter,
    count: u64,
}

impl FileIdentity {
    /// Returns what a file of a database is whose own file cannot be looked at: it is the same while the database is, since whatever is
    /// written in place of it is logged, but for databases that are copied.
    pub(crate) fn of_database(row: u64, made_at_s: u64) -> FileIdentity {
        FileIdentity {
            inode: row,
            made_at_ns: made_at_s.saturating_mul(1_000_000_000),
        }
    }

    /// Returns what a file is; none where the file system does not say when it was made.
    pub(crate) fn of(metadata: &Metadata) -> Option<FileIdentity> {
        let made_at = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(FileIdentity {
            inode: metadata.ino(),
            made_at_ns: u64::try_from(made_at.as_nanos()).ok()?,
        })
    }
}

impl FileListWriter {
    /// Begins the list.
    pub(crate) fn new(object: ObjectWriter, hints: &Hints) -> FileListWriter {
        let logged = if hints.logged { "logged" } else { "unlogged" };
        let first = format!("{FIRST_LINE}\nhints {logged} {}\n", hints.server_started_s);
        FileListWriter {
            lines: first.into_bytes(),
            object,
            count: 0,
        }
    }

    /// Adds a file with its pages.
    pub(crate) fn add(
        &mut self,
        path: &[u8],
        identity: FileIdentity,
        blocks: u32,
    ) -> Result<(), Error> {
        let FileIdentity { inode, made_at_ns } = identity;
        self.lines.extend_from_slice(path);
        self.lines
            .extend_from_slice(format!(" {blocks} {inode} {made_at_ns}\n").as_bytes());
        self.count += 1;
        if self.lines.len() < FRAME_BYTES {
            return Ok(());
        }
        self.write()
    }

    /// Ends the list; then it is durable.
    pub(crate) fn finish(mut self) -> Result<Object, Error> {
        self.lines
            .extend_from_slice(format!("end {}\n", self.count).as_bytes());
        self.write()?;
        self.object.finish()
    }

    fn write(&mut self) -> Result<(), Error> {
        let written = zstd::bulk::compress(&self.lines, LEVEL)
            .and_then(|frame| self.object.write_all(&frame));
        self.lines.clear();
        // Why it could not be written the object says at its end.
        written.map_err(|source| match self.object.finish() {
            Err(why) => why,
            Ok(_) => Error::File {
                doing: "compress",
                path: RELATION_FILES.into(),
                source,
            },
        })
    }
}

impl FileList {
    /// Reads a list to its end.
    pub(crate) fn read(stored: impl io::Read) -> io::Result<FileList> {
        let wrong = |line: &str| {
            let problem = format!("its line \"{}\" cannot be", line.escape_debug());
            io::Error::new(io::ErrorKind::InvalidData, problem)
        };
        let mut lines = BufReader::new(Decoder::new(stored)?).lines();
        let mut next = || lines.next().transpose().map(Option::unwrap_or_default);
        let first = next()?;
        if first != FIRST_LINE {
            return Err(wrong(&first));
        }
        let second = next()?;
        let hints = hints(&second).ok_or_else(|| wrong(&second))?;
        let mut files = HashMap::new();
        loop {
            let line = next()?;
            if let Some(count) = line.strip_prefix("end ") {
                if count.parse() != Ok(files.len()) || !next()?.is_empty() {
                    return Err(wrong(&line));
                }
                return Ok(FileList { hints, files });
            }
            let (path, file) = file(&line).ok_or_else(|| wrong(&line))?;
            files.insert(hash(path.as_bytes()), file);
        }
    }

    /// Returns how many pages of a file the backup has, when it had this very file.
    pub(crate) fn blocks(&self, path: &[u8], identity: FileIdentity) -> Option<u32> {
        let (known, blocks) = self.files.get(&hash(path))?;
        (*known == identity).then_some(*blocks)
    }

    /// Says whether it has no files.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

fn hints(line: &str) -> Option<Hints> {
    let (logged, started) = line.strip_prefix("hints ")?.split_once(' ')?;
    Some(Hints {
        logged: match logged {
            "logged" => true,
            "unlogged" => false,
            _ => return None,
        },
        server_started_s: started.parse().ok()?,
    })
}

fn file(line: &str) -> Option<(&str, (FileIdentity, u32))> {
    let mut words = line.split(' ');
    let path = words.next()?;
    let blocks = words.next()?.parse().ok()?;
    let identity = FileIdentity {
        inode: words.next()?.parse().ok()?,
        made_at_ns: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some((path, (identity, blocks)))
}

fn hash(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Repository;

    #[tokio::test]
    async fn a_list_knows_its_files_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::directory(folder.path()).unwrap();
        let object = repository.object_writer("list", None).unwrap();
        let hints = Hints {
            logged: true,
            server_started_s: 1_763_800_000,
        };
        let identity = |inode| FileIdentity {
            inode,
            made_at_ns: 1_763_800_000_123_456_789,
        };
        let write = move || {
            let mut writer = FileListWriter::new(object, &hints);
            for number in 0..30_000u32 {
                let path = format!("base/5/{number}");
                writer
                    .add(path.as_bytes(), identity(number.into()), number + 1)
                    .unwrap();
            }
            (writer.finish().unwrap(), hints)
        };
        let (object, hints) = tokio::task::spawn_blocking(write).await.unwrap();
        let stored = repository.read("list").await.unwrap().unwrap();
        assert_eq!(stored.len() as u64, object.bytes);
        let list = FileList::read(&*stored).unwrap();
        assert_eq!(list.hints, hints);
        assert_eq!(list.blocks(b"base/5/7", identity(7)), Some(8));
        assert_eq!(list.blocks(b"base/5/29999", identity(29_999)), Some(30_000));
        assert_eq!(list.blocks(b"base/5/7", identity(8)), None);
        assert_eq!(list.blocks(b"base/6/7", identity(7)), None);
        let later = FileIdentity {
            made_at_ns: 1,
            ..identity(7)
        };
        assert_eq!(list.blocks(b"base/5/7", later), None);
        for length in [0, 9, stored.len() / 2, stored.len() - 1] {
            assert!(FileList::read(&stored[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let read = |text: &str| FileList::read(&*zstd::bulk::compress(text.as_bytes(), 1).unwrap());
        let good = "relation files 1\nhints unlogged 5\nbase/5/1 2 3 4\nend 1\n";
        assert!(!read(good).unwrap().is_empty());
        for (from, to) in [
            ("files 1", "files 2"),
            ("unlogged", "maybe"),
            ("2 3 4", "2 3"),
            ("2 3 4", "2 3 4 5"),
            ("end 1", "end 2"),
            ("end 1\n", ""),
            ("end 1\n", "end 1\nbase/5/2 2 3 4\n"),
        ] {
            assert!(read(&good.replace(from, to)).is_err(), "{to}");
        }
    }
}
