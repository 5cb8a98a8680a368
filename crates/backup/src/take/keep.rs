//! The thread that keeps what comes: chunks in their order into parts, then the manifest, against which all of it is compared.

use std::io::{self, Read, Write};
use std::sync::mpsc::Sender;

use bytes::{Buf, Bytes};
use pawang_postgres::control_file;
use tokio::sync::{mpsc, oneshot};

use super::contents::Contents;
use super::crew::{Done, PageTally};
use super::local::manifest::ManifestWriter;
use super::manifest::{self, Manifest, ManifestError, WalRange};
use crate::Error;
use crate::repository::{Object, ObjectWriter, Part, PartWriter};

/// So much of `pg_control` is looked at, which is all that it has.
const CONTROL_BYTES_MAX: usize = 8192;

/// What comes, in this order: chunks, then the manifest or, without one, where the backup ends.
pub(super) enum Item {
    /// A chunk that is being worked on.
    Chunk(oneshot::Receiver<io::Result<Done>>),
    /// What pages said that do not come.
    Pages(PageTally),
    /// Bytes of the manifest.
    Manifest(Bytes),
    /// The WAL that the backup needs; the manifest is ours.
    End(WalRange),
}

/// What was kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) parts: Vec<Part>,
    pub(super) manifest_object: Object,
    pub(super) manifest: Manifest,
    pub(super) pages: PageTally,
    /// Sum of the sizes of all files.
    pub(super) data_bytes: u64,
}

/// Buffers that can be used again: of a chunk, and of its frame.
pub(super) type Buffers = (Vec<u8>, Vec<u8>);

/// Keeps.
pub(super) struct Keeper {
    pub(super) parts: PartWriter,
    pub(super) manifest: ObjectWriter,
    /// Writes the manifest, where no server does.
    pub(super) own: Option<ManifestWriter>,
    /// Where used buffers go.
    pub(super) spare: Sender<Buffers>,
    /// What came of `pg_control`.
    pub(super) control: Vec<u8>,
    /// The server, for errors.
    pub(super) address: String,
}

impl Keeper {
    /// Works until everything came, which an end of the items says. It blocks.
    ///
    /// # Errors
    /// The repository refused, or what came is not what the manifest says.
    pub(super) fn work(mut self, mut items: mpsc::Receiver<Item>) -> Result<Kept, Error> {
        let mut contents = Contents::new(self.own.is_some());
        let mut pages = PageTally::default();
        let mut parts = Vec::new();
        let first = loop {
            match items.blocking_recv() {
                Some(Item::Chunk(done)) => {
                    let done = match done.blocking_recv() {
                        Ok(Ok(done)) => done,
                        Ok(Err(error)) => {
                            let local = |error: io::Error| self.incomplete(error.to_string());
                            return Err(Error::of_server(error).unwrap_or_else(local));
                        }
                        Err(_) => return Err(self.incomplete("a worker ended".to_owned())),
                    };
                    self.chunk(done, &mut contents, &mut pages, &mut parts)?;
                }
                Some(Item::Pages(other)) => pages.join(other),
                Some(Item::Manifest(bytes)) => break bytes,
                Some(Item::End(wal)) => return self.end(wal, &contents, pages, parts),
                None => return Err(self.incomplete("it has no manifest".to_owned())),
            }
        };
        let data_bytes = contents.bytes();
        let mut source = ManifestBytes {
            now: first.clone(),
            items,
            object: &mut self.manifest,
        };
        let begun = source.object.write_all(&first);
        let read = begun
            .map_err(|error| ManifestError::Form(error.to_string()))
            .and_then(|()| manifest::read(&mut source, &mut |file| contents.compare(&file)));
        let manifest_object = self.manifest.finish()?;
        let incomplete = |problem| Error::Incomplete {
            address: self.address.clone(),
            problem,
        };
        let manifest = read.map_err(|error| incomplete(error.to_string()))?;
        contents.finish().map_err(incomplete)?;
        self.check_control()?;
        Ok(Kept {
            parts,
            manifest_object,
            manifest,
            pages,
            data_bytes,
        })
    }

    fn chunk(
        &mut self,
        done: Done,
        contents: &mut Contents,
        pages: &mut PageTally,
        parts: &mut Vec<Part>,
    ) -> Result<(), Error> {
        let chunk = done.chunk;
        let room = CONTROL_BYTES_MAX.saturating_sub(self.control.len());
        let more = done.control.len().min(room);
        self.control.extend_from_slice(&done.control[..more]);
        for (extent, sum) in chunk.extents.iter().zip(done.sums) {
            let whole = contents.add(extent, sum);
            if let (Some((bytes, crc)), Some(own)) = (whole, &mut self.own) {
                own.file(&extent.file, bytes, extent.modified_s, crc);
                let written = own.flush(&mut self.manifest);
                self.written(written)?;
            }
        }
        pages.join(done.pages);
        if !done.frame.is_empty() {
            if !self.parts.begun() {
                let number = u32::try_from(parts.len()).unwrap_or(u32::MAX);
                self.parts.begin(number, chunk.tablespace)?;
            }
            self.parts
                .write_frame(&done.frame, done.bytes as u64, chunk.members)?;
        }
        if chunk.ends_part && self.parts.begun() {
            parts.push(self.parts.finish()?);
        }
        // Whoever sends chunks may have ended.
        let _used = self.spare.send((chunk.raw, done.frame));
        Ok(())
    }

    /// Ends the manifest that is ours.
    fn end(
        mut self,
        wal: WalRange,
        contents: &Contents,
        pages: PageTally,
        parts: Vec<Part>,
    ) -> Result<Kept, Error> {
        let Some(own) = self.own.take() else {
            return Err(self.incomplete("it has no manifest".to_owned()));
        };
        self.check_control()?;
        let written = own.finish(wal, &mut self.manifest);
        let manifest = self.written(written)?;
        Ok(Kept {
            parts,
            manifest_object: self.manifest.finish()?,
            manifest,
            pages,
            data_bytes: contents.bytes(),
        })
    }

    /// Refuses a `pg_control` that nobody can start from: a server sends it as it reads it, also while it writes it.
    fn check_control(&self) -> Result<(), Error> {
        let read = control_file::parse(&self.control);
        let problem = |problem| format!("\"global/pg_control\" came, and {problem}");
        read.map(drop).map_err(|why| self.incomplete(problem(why)))
    }

    /// Takes what writing the manifest gave; why it failed only the store knows.
    fn written<T>(&mut self, written: io::Result<T>) -> Result<T, Error> {
        written.map_err(|error| match self.manifest.finish() {
            Err(why) => why,
            Ok(_) => self.incomplete(error.to_string()),
        })
    }

    fn incomplete(&self, problem: String) -> Error {
        Error::Incomplete {
            address: self.address.clone(),
            problem,
        }
    }
}

/// The manifest as it comes, which is kept while it is read.
struct ManifestBytes<'a> {
    now: Bytes,
    items: mpsc::Receiver<Item>,
    object: &'a mut ObjectWriter,
}

impl Read for ManifestBytes<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            match self.items.blocking_recv() {
                Some(Item::Manifest(bytes)) => {
                    self.object.write_all(&bytes)?;
                    self.now = bytes;
                }
                Some(_) => return Err(io::Error::other("data after the manifest")),
                None => return Ok(0),
            }
        }
        let bytes = into.len().min(self.now.len());
        self.now.copy_to_slice(&mut into[..bytes]);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Repository;
    use crate::repository::{BackupId, ClusterId, PartSettings};

    #[tokio::test]
    async fn a_control_file_that_nobody_can_start_from_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::directory(folder.path()).unwrap();
        let cluster = ClusterId {
            system_identifier: 7,
            major: 15,
        };
        let id = BackupId::new(jiff::Timestamp::UNIX_EPOCH, [1; 10]);
        let mut keeper = Keeper {
            parts: repository.part_writer(&cluster, &id, &PartSettings::default()),
            manifest: repository.object_writer("manifest", None).unwrap(),
            own: None,
            spare: std::sync::mpsc::channel().0,
            control: Vec::new(),
            address: "db-1".to_owned(),
        };
        let mut whole = vec![0; CONTROL_BYTES_MAX];
        whole[8..12].copy_from_slice(&1300_u32.to_le_bytes());
        whole[12..16].copy_from_slice(&202_209_061_u32.to_le_bytes());
        let sum = crc32c::crc32c(&whole[..288]).to_le_bytes();
        whole[288..292].copy_from_slice(&sum);
        let mut torn = whole.clone();
        torn[200] = 1;
        for (control, problem) in [
            (whole.clone(), None),
            (torn, Some("its checksum is wrong")),
            (whole[..100].to_vec(), Some("it is too short")),
            (Vec::new(), Some("it is too short")),
        ] {
            keeper.control = control;
            let told = keeper.check_control().map_err(|error| error.to_string());
            match problem {
                None => assert_eq!(told, Ok(())),
                Some(problem) => assert!(told.unwrap_err().contains(problem)),
            }
        }
    }
}
