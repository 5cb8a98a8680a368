//! Parts are written: complete members of a tar archive, compressed and sent while they come, in bounded memory.

use std::io::{self, Write};
use std::sync::Arc;

use tokio::runtime::Handle;
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

use super::upload::{Destination, Outlet, Upload};
use super::{BackupId, ClusterId, Object, Part, Rate, Repository};
use crate::Error;

/// A part is cut behind the member that brings it to so many bytes.
pub const PART_BYTES: u64 = 256 << 20;
/// The level of compression: more costs twice the time for 3 % of the size.
pub const LEVEL: i32 = 1;
/// Compressed bytes pass through a buffer of this size.
const SCRATCH_BYTES: usize = 128 << 10;

/// How parts are written.
#[derive(Clone, Debug)]
pub struct PartSettings {
    /// The level of zstd.
    pub level: i32,
    /// From how many bytes of the archive on a part is cut behind a member.
    pub part_bytes: u64,
    /// The limit that all writers share.
    pub rate: Option<Arc<Rate>>,
}

/// Writes the parts of a backup, one after the other. It blocks: it belongs into a thread of its own, while the runtime runs.
///
/// Each worker has one, and hands it whole members: `begin`, then `write` and `end_member` until that says that the part is
/// full, then `finish`. A part that is not finished leaves nothing behind.
pub struct PartWriter {
    repository: Repository,
    folder: String,
    settings: PartSettings,
    compressor: Option<Compressor>,
    runtime: Handle,
    open: Option<Open>,
}

/// One context for all parts, and the buffer through which compressed bytes pass.
struct Compressor {
    encoder: Encoder<'static>,
    scratch: Vec<u8>,
}

/// The part that is being written; its sums are of what was taken so far.
struct Open {
    part: Part,
    upload: Outlet,
    /// Whether its frames came whole.
    framed: bool,
}

impl Default for PartSettings {
    fn default() -> PartSettings {
        PartSettings {
            level: LEVEL,
            part_bytes: PART_BYTES,
            rate: None,
        }
    }
}

impl std::fmt::Debug for PartWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = self.open.as_ref().map(|open| &open.part);
        f.debug_struct("PartWriter")
            .field("folder", &self.folder)
            .field("part", &part)
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// Makes a writer of a backup's parts.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn part_writer(
        &self,
        cluster: &ClusterId,
        backup: &BackupId,
        settings: &PartSettings,
    ) -> PartWriter {
        PartWriter {
            repository: self.clone(),
            folder: cluster.backup(backup),
            settings: settings.clone(),
            compressor: None,
            runtime: Handle::current(),
            open: None,
        }
    }
}

impl PartWriter {
    /// Begins a part, numbered among all of the backup; members of a tablespace go into parts of their own.
    ///
    /// # Errors
    /// No thread could be started.
    ///
    /// # Panics
    /// The part before was not finished.
    pub fn begin(&mut self, number: u32, tablespace: Option<u32>) -> Result<(), Error> {
        assert!(self.open.is_none(), "one part is finished before the next");
        let part = Part {
            name: self.repository.data_path(&name(number, tablespace)),
            tablespace,
            bytes: 0,
            raw_bytes: 0,
            members: 0,
            sha256: String::new(),
        };
        let path = format!("{}/{}", self.folder, part.name);
        let destination = Destination {
            store: Arc::clone(self.repository.store()),
            path: path.clone(),
            piece_bytes: self.repository.piece_bytes(),
            rate: self.settings.rate.clone(),
        };
        let failed = |source: io::Error| self.repository.problem("write", &path, source.into());
        if let Some(compressor) = &mut self.compressor {
            compressor.encoder.reinit().map_err(failed)?;
        }
        let sealer = self.repository.sealer(&path)?;
        let upload = Upload::start(destination, &self.runtime).map_err(failed)?;
        let upload = Outlet { upload, sealer };
        self.open = Some(Open {
            part,
            upload,
            framed: false,
        });
        Ok(())
    }

    /// Says whether a part is begun.
    pub fn begun(&self) -> bool {
        self.open.is_some()
    }

    /// Takes bytes of the archive: headers, data and padding of members, in order.
    ///
    /// # Errors
    /// The store refused, now or some pieces ago; the part is gone then.
    ///
    /// # Panics
    /// No part is begun.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let open = self
            .open
            .as_mut()
            .expect("a part is begun before it is written");
        open.part.raw_bytes += bytes.len() as u64;
        let result = Compressor::once(&mut self.compressor, self.settings.level)
            .and_then(|compressor| compressor.compress(bytes, &mut open.upload));
        result.map_err(|source| self.give_up(source))
    }

    /// Takes whole frames that somebody else compressed, which hold so many bytes and members of the archive; a part is
    /// either written so, or with [`PartWriter::write`]. Says whether the part is full.
    ///
    /// # Errors
    /// The store refused, now or some pieces ago; the part is gone then.
    ///
    /// # Panics
    /// No part is begun.
    pub fn write_frame(
        &mut self,
        frame: &[u8],
        raw_bytes: u64,
        members: u32,
    ) -> Result<bool, Error> {
        let open = self
            .open
            .as_mut()
            .expect("a part is begun before it is written");
        open.part.raw_bytes += raw_bytes;
        open.part.members += members;
        open.framed = true;
        let full = open.part.raw_bytes >= self.settings.part_bytes;
        let result = open.upload.write_all(frame);
        result.map(|()| full).map_err(|source| self.give_up(source))
    }

    /// Ends a member; says whether the part is full, so that it should be finished.
    ///
    /// # Panics
    /// No part is begun.
    pub fn end_member(&mut self) -> bool {
        let open = self
            .open
            .as_mut()
            .expect("a part is begun before a member ends");
        open.part.members += 1;
        open.part.raw_bytes >= self.settings.part_bytes
    }

    /// Ends the part, and waits until it is durable.
    ///
    /// # Errors
    /// The store refused; the part is gone then.
    ///
    /// # Panics
    /// No part is begun.
    pub fn finish(&mut self) -> Result<Part, Error> {
        let open = self
            .open
            .as_mut()
            .expect("a part is begun before it is finished");
        let ended = if open.framed {
            Ok(())
        } else {
            Compressor::once(&mut self.compressor, self.settings.level)
                .and_then(|compressor| compressor.end_frame(&mut open.upload))
        };
        if let Err(source) = ended {
            return Err(self.give_up(source));
        }
        let Open {
            mut part, upload, ..
        } = self.open.take().expect("it is begun, as seen above");
        let path = format!("{}/{}", self.folder, part.name);
        let stored = upload
            .finish()
            .map_err(|source| self.repository.failed("write", &path, source))?;
        self.repository.given(&path)?;
        part.bytes = stored.bytes;
        part.sha256 = stored.sha256;
        Ok(part)
    }

    fn give_up(&mut self, source: io::Error) -> Error {
        let Some(open) = self.open.take() else {
            return self
                .repository
                .problem("write", &self.folder, source.into());
        };
        let path = format!("{}/{}", self.folder, open.part.name);
        self.repository
            .failed("write", &path, open.upload.upload.why())
    }
}

/// Writes an object of any size as it comes; it appears whole at its end, or not at all. It blocks, as [`PartWriter`] does.
#[derive(Debug)]
pub struct ObjectWriter {
    repository: Repository,
    path: String,
    upload: Option<Outlet>,
}

impl Repository {
    /// Begins an object with data, which is sealed where the repository is; nothing of it is seen before its end.
    ///
    /// # Errors
    /// No thread could be started.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn object_writer(
        &self,
        path: &str,
        rate: Option<Arc<Rate>>,
    ) -> Result<ObjectWriter, Error> {
        let path = self.data_path(path);
        let sealer = self.sealer(&path)?;
        let destination = Destination {
            store: Arc::clone(self.store()),
            path: path.clone(),
            piece_bytes: self.piece_bytes(),
            rate,
        };
        let upload = Upload::start(destination, &Handle::current())
            .map_err(|source| self.problem("write", &path, source.into()))?;
        Ok(ObjectWriter {
            repository: self.clone(),
            path,
            upload: Some(Outlet { upload, sealer }),
        })
    }
}

impl ObjectWriter {
    /// Ends the object, and waits until it is durable.
    ///
    /// # Errors
    /// The store refused, now or some pieces ago; the object does not exist then.
    pub fn finish(&mut self) -> Result<Object, Error> {
        let failed = |source| self.repository.failed("write", &self.path, source);
        let upload = self.upload.take();
        let upload = upload.ok_or_else(|| failed(super::upload::abandoned()))?;
        let stored = upload.finish().map_err(failed)?;
        self.repository.given(&self.path)?;
        Ok(Object {
            bytes: stored.bytes,
            sha256: stored.sha256,
        })
    }
}

impl Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.upload {
            Some(upload) => upload.write(bytes),
            None => Err(io::Error::other("the object was finished")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a part's name, which says in which order parts are unpacked, and into which tablespace.
fn name(number: u32, tablespace: Option<u32>) -> String {
    match tablespace {
        Some(oid) => format!("part-{number:05}.{oid}.tar.zst"),
        None => format!("part-{number:05}.tar.zst"),
    }
}

impl Compressor {
    /// Returns the one that there is, or makes it: whoever hands over whole frames needs none.
    fn once(there: &mut Option<Compressor>, level: i32) -> io::Result<&mut Compressor> {
        if there.is_none() {
            let mut encoder = Encoder::new(level)?;
            // Stock `zstd -d` then sees rot by itself.
            encoder.set_parameter(CParameter::ChecksumFlag(true))?;
            *there = Some(Compressor {
                encoder,
                scratch: Vec::with_capacity(SCRATCH_BYTES),
            });
        }
        Ok(there.as_mut().expect("it was made just now"))
    }

    fn compress(&mut self, bytes: &[u8], sink: &mut dyn Write) -> io::Result<()> {
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            self.scratch.clear();
            let mut output = OutBuffer::around(&mut self.scratch);
            self.encoder.run(&mut input, &mut output)?;
            sink.write_all(&self.scratch)?;
        }
        Ok(())
    }

    fn end_frame(&mut self, sink: &mut dyn Write) -> io::Result<()> {
        loop {
            self.scratch.clear();
            let mut output = OutBuffer::around(&mut self.scratch);
            let left = self.encoder.finish(&mut output, true)?;
            sink.write_all(&self.scratch)?;
            if left == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_sort_as_they_are_unpacked() {
        assert_eq!(name(7, None), "part-00007.tar.zst");
        assert_eq!(name(12, Some(16385)), "part-00012.16385.tar.zst");
        assert!(name(99, Some(1)) < name(100, None));
    }
}
