//! Parts are read: bytes of the archive, while size and hash of what is stored are checked on the way.
//!
//! A connection that breaks is taken up again at the byte where it broke.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::frames::Frames;
use super::seal::{Opener, SUFFIX};
use super::upload::hexadecimal;
use super::{BackupId, ClusterId, Part, Repository};
use crate::Error;

/// So often it is tried again at one place of a part.
const ATTEMPTS_MAX: u32 = 5;
/// Before the first of them; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const BUFFER_BYTES: usize = 256 << 10;

/// The bytes of a part's archive. It blocks: it belongs into a thread of its own, while the runtime runs.
///
/// Only its end says that all of it was right: whoever uses the bytes before must be ready to throw the result away.
pub struct PartReader {
    frames: Frames<DataReader>,
    expected_raw_bytes: u64,
    shown: String,
}

/// The content of an object with data, opened where it is sealed; what is stored is checked against its size and hash.
///
/// Only its end says that all of it was right. It blocks, as [`PartReader`] does.
pub struct DataReader {
    source: DataSource,
}

enum DataSource {
    Clear(Box<StoredBytes>),
    Sealed(Box<Opener<BufReader<StoredBytes>>>),
}

/// The bytes of an object as they are stored, checked against its size and hash.
pub(crate) struct StoredBytes {
    repository: Repository,
    path: String,
    bytes: u64,
    sha256: String,
    runtime: Handle,
    source: Source,
    read: u64,
    hash: Sha256,
    attempts: u32,
}

enum Source {
    Closed,
    File(File),
    Stream(BoxStream<'static, object_store::Result<Bytes>>, Bytes),
}

impl std::fmt::Debug for PartReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartReader")
            .field("part", &self.shown)
            .field("raw_bytes", &self.frames.raw_bytes())
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// Opens a part for reading; nothing is fetched before the first read.
    ///
    /// # Errors
    /// The decompressor has no memory.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open_part(
        &self,
        cluster: &ClusterId,
        backup: &BackupId,
        part: &Part,
    ) -> Result<PartReader, Error> {
        let path = cluster.part(backup, &part.name);
        let data = self.open_data(&path, part.bytes, &part.sha256);
        let frames =
            Frames::new(data).map_err(|source| self.problem("decompress", &path, source.into()))?;
        Ok(PartReader {
            frames,
            expected_raw_bytes: part.raw_bytes,
            shown: path,
        })
    }

    /// Opens an object with data, by its name as it is stored.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open_data(&self, path: &str, bytes: u64, sha256: &str) -> DataReader {
        let stored = self.stored_bytes(path, bytes, sha256);
        let source = match path.strip_suffix(SUFFIX) {
            None => DataSource::Clear(Box::new(stored)),
            Some(path) => {
                let buffered = BufReader::with_capacity(BUFFER_BYTES, stored);
                let opener = Opener::new(buffered, Arc::clone(&self.keys), path);
                DataSource::Sealed(Box::new(opener))
            }
        };
        DataReader { source }
    }

    /// Opens an object whose size and hash are known, as it is stored.
    pub(crate) fn stored_bytes(&self, path: &str, bytes: u64, sha256: &str) -> StoredBytes {
        StoredBytes {
            repository: self.clone(),
            path: path.to_owned(),
            bytes,
            sha256: sha256.to_owned(),
            runtime: Handle::current(),
            source: Source::Closed,
            read: 0,
            hash: Sha256::new(),
            attempts: 0,
        }
    }
}

impl PartReader {
    /// Passes over so many bytes of the archive; what has not to be decompressed for that is not.
    ///
    /// # Errors
    /// The part ends before, or could not be read.
    pub fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.frames.skip(bytes)
    }
}

impl Read for PartReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let read = there.len().min(out.len());
        out[..read].copy_from_slice(&there[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for PartReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.frames.fill()?.is_empty() && self.frames.raw_bytes() != self.expected_raw_bytes {
            return Err(wrong(format!(
                "\"{}\" has {} bytes of archive, and its commit says {}",
                self.shown,
                self.frames.raw_bytes(),
                self.expected_raw_bytes
            )));
        }
        self.frames.fill()
    }

    fn consume(&mut self, bytes: usize) {
        self.frames.consume(bytes);
    }
}

impl std::fmt::Debug for DataReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sealed = matches!(self.source, DataSource::Sealed(_));
        f.debug_struct("DataReader")
            .field("sealed", &sealed)
            .finish_non_exhaustive()
    }
}

impl Read for DataReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            DataSource::Clear(stored) => stored.read(out),
            DataSource::Sealed(opener) => opener.read(out),
        }
    }
}

impl Read for StoredBytes {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.read == self.bytes {
                return self.end();
            }
            match self.read_some(out) {
                Ok(0) if out.is_empty() => return Ok(0),
                Ok(0) if matches!(self.source, Source::File(_)) => {
                    return Err(self.wrong_size(self.read));
                }
                Ok(0) => self.again(io::Error::from(io::ErrorKind::UnexpectedEof))?,
                Ok(read) => {
                    self.hash.update(&out[..read]);
                    self.read += read as u64;
                    self.attempts = 0;
                    return Ok(read);
                }
                Err(error) => self.again(error)?,
            }
        }
    }
}

impl StoredBytes {
    fn read_some(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.bytes - self.read).unwrap_or(usize::MAX);
        let length = out.len().min(room);
        let out = &mut out[..length];
        match &mut self.source {
            Source::Closed => {
                self.source = self.open()?;
                self.read_some(out)
            }
            Source::File(file) => file.read(out),
            Source::Stream(stream, chunk) => {
                while chunk.is_empty() {
                    match self.runtime.block_on(stream.next()) {
                        Some(next) => *chunk = next.map_err(io::Error::from)?,
                        None => return Ok(0),
                    }
                }
                let taken = chunk.split_to(out.len().min(chunk.len()));
                out[..taken.len()].copy_from_slice(&taken);
                Ok(taken.len())
            }
        }
    }

    fn open(&self) -> io::Result<Source> {
        let options = GetOptions {
            range: (self.read > 0).then_some(GetRange::Offset(self.read)),
            ..GetOptions::default()
        };
        let path = ObjectPath::from(self.path.as_str());
        let got = self
            .runtime
            .block_on(self.repository.store().get_opts(&path, options))?;
        if got.meta.size != self.bytes {
            return Err(self.wrong_size(got.meta.size));
        }
        Ok(match got.payload {
            GetResultPayload::File(mut file, _) => {
                file.seek(SeekFrom::Start(self.read))?;
                Source::File(file)
            }
            GetResultPayload::Stream(stream) => Source::Stream(stream, Bytes::new()),
        })
    }

    /// Waits before the next attempt, or gives up: what is not there, or is something else, does not become right.
    fn again(&mut self, error: io::Error) -> io::Result<()> {
        let lasting = matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidData
        );
        self.attempts += 1;
        if lasting || self.attempts > ATTEMPTS_MAX {
            return Err(error);
        }
        self.source = Source::Closed;
        std::thread::sleep(FIRST_WAIT * 2u32.pow(self.attempts - 1));
        Ok(())
    }

    fn end(&mut self) -> io::Result<usize> {
        let found = hexadecimal(&self.hash.clone().finalize());
        if found == self.sha256 {
            return Ok(0);
        }
        Err(wrong(format!(
            "\"{}\" in repository {} has the SHA-256 {found}, and its commit says {}",
            self.path,
            self.repository.place(),
            self.sha256
        )))
    }

    fn wrong_size(&self, found: u64) -> io::Error {
        wrong(format!(
            "\"{}\" in repository {} has {found} bytes, and its commit says {}",
            self.path,
            self.repository.place(),
            self.bytes
        ))
    }
}

fn wrong(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
