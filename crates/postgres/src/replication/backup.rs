//! A base backup as a stream of events, the same for all versions of the protocol.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Buf, Bytes};
use pawang_core::{ByteSize, Lsn};
use tokio::time::Instant;

use super::conversation::SILENCE_MAX;
use super::frame::{Garbled, Reader, row};
use super::{BaseBackupOptions, Replication, Rows, number, text};
use crate::Error;

const COMMAND: &str = "BASE_BACKUP";
/// How long a checkpoint may take that is not spread: it writes all dirty buffers.
pub(super) const CHECKPOINT_MAX: Duration = Duration::from_secs(3600);
/// Bytes in the unit in which servers estimate sizes.
const ESTIMATE_BYTES: u64 = 1024;

/// What comes out of a base backup, in this order: start, archives with their data, the manifest, end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupEvent {
    /// The backup has begun.
    Start {
        /// Where replay begins.
        lsn: Lsn,
        /// The timeline of that position.
        timeline: u32,
        /// Tablespaces besides the data directory.
        tablespaces: Vec<Tablespace>,
        /// The estimated size of everything, when progress was asked for.
        estimate: Option<ByteSize>,
    },
    /// A tar archive begins; what follows is in it. PostgreSQL 14 leaves the two empty blocks at its end out.
    Archive {
        /// Its name: `base.tar`, `16385.tar`, with a suffix when the server compresses.
        name: String,
        /// The tablespace's folder, or its path in the data directory when it is in place; none for the data directory.
        location: Option<PathBuf>,
    },
    /// Bytes of the archive.
    Data(Bytes),
    /// Bytes of the manifest.
    Manifest(Bytes),
    /// How much the server has sent, before its compression.
    Progress(u64),
    /// The server warns, of a page with a wrong checksum for one.
    Warning(String),
    /// The backup is complete.
    End {
        /// Where the data becomes consistent.
        lsn: Lsn,
        /// The timeline of that position.
        timeline: u32,
    },
}

/// A tablespace in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tablespace {
    /// Its object id, which names the link in `pg_tblspc`.
    pub oid: u32,
    /// Its folder, or its path in the data directory when it is in place.
    pub location: PathBuf,
    /// Its estimated size, when progress was asked for.
    pub size: Option<ByteSize>,
}

/// A base backup that is being taken.
pub struct BaseBackup<'a> {
    replication: &'a mut Replication,
    start: Option<BackupEvent>,
    end: Option<BackupEvent>,
    done: bool,
    /// Up to 14 each archive is a copy of its own: the names of those to come. Since 15 there is one copy for all.
    copies: Option<VecDeque<(String, Option<PathBuf>)>>,
    /// Whether what comes is the manifest.
    manifest: bool,
}

impl<'a> BaseBackup<'a> {
    /// Waits until the backup has begun.
    pub(super) async fn begin(
        replication: &'a mut Replication,
        options: &BaseBackupOptions,
        limit: Duration,
    ) -> Result<BaseBackup<'a>, Error> {
        let started = results(replication, limit).await?;
        let listed = results(replication, SILENCE_MAX).await?;
        let position = started.first().and_then(|row| position(row));
        let (lsn, timeline) = position.ok_or_else(|| replication.garbled())?;
        let tablespaces = listed.iter().filter_map(|row| tablespace(row)).collect();
        let sizes = listed.iter().map(|row| number::<u64>(row, 2));
        let estimate = sizes.sum::<Option<u64>>().filter(|_| options.progress);
        let copies = (replication.major() < super::command::PARENTHESES_MAJOR)
            .then(|| listed.iter().map(|row| archive(row)).collect());
        Ok(BaseBackup {
            replication,
            start: Some(BackupEvent::Start {
                lsn,
                timeline,
                tablespaces,
                estimate: estimate.map(kilobytes),
            }),
            end: None,
            done: false,
            copies,
            manifest: false,
        })
    }

    /// Returns what comes next; `None` after the end.
    ///
    /// Nothing is lost when the future is dropped before it is done.
    pub async fn next(&mut self) -> Result<Option<BackupEvent>, Error> {
        if let Some(start) = self.start.take() {
            return Ok(Some(start));
        }
        loop {
            if let Some(warning) = self.replication.talk.warnings.pop_front() {
                return Ok(Some(BackupEvent::Warning(warning)));
            }
            if self.done {
                return Ok(self.end.take());
            }
            let deadline = Instant::now() + SILENCE_MAX;
            let frame = self.replication.answer(deadline, COMMAND, None).await?;
            let event = match frame.kind {
                b'd' => self.data(frame.body),
                b'H' => Ok(self.copy()),
                b'D' => self.ended(frame.body),
                b'c' | b'C' | b'T' => Ok(None),
                b'Z' if self.end.is_some() => {
                    self.replication.idle = true;
                    self.done = true;
                    Ok(None)
                }
                _ => Err(Garbled),
            };
            if let Some(event) = event.map_err(|Garbled| self.replication.garbled())? {
                return Ok(Some(event));
            }
        }
    }

    fn data(&mut self, mut body: Bytes) -> Result<Option<BackupEvent>, Garbled> {
        if self.copies.is_none() {
            match body.first() {
                Some(b'd') => body.advance(1),
                Some(_) => return self.control(body),
                None => return Err(Garbled),
            }
        }
        Ok(match self.manifest {
            _ if body.is_empty() => None,
            true => Some(BackupEvent::Manifest(body)),
            false => Some(BackupEvent::Data(body)),
        })
    }

    /// Reads what is about the data and not data.
    fn control(&mut self, body: Bytes) -> Result<Option<BackupEvent>, Garbled> {
        let mut reader = Reader(body);
        match reader.u8()? {
            b'n' => {
                let name = String::from_utf8_lossy(&reader.text()?).into_owned();
                let location = reader.text()?;
                let location = (!location.is_empty()).then(|| path(&location));
                Ok(Some(BackupEvent::Archive { name, location }))
            }
            b'm' => {
                self.manifest = true;
                Ok(None)
            }
            b'p' => Ok(Some(BackupEvent::Progress(reader.u64()?))),
            _ => Err(Garbled),
        }
    }

    /// A copy begins: all of them since 15, the next archive or the manifest before.
    fn copy(&mut self) -> Option<BackupEvent> {
        match self.copies.as_mut()?.pop_front() {
            Some((name, location)) => Some(BackupEvent::Archive { name, location }),
            None => {
                self.manifest = true;
                None
            }
        }
    }

    fn ended(&mut self, body: Bytes) -> Result<Option<BackupEvent>, Garbled> {
        let (lsn, timeline) = position(&row(body)?).ok_or(Garbled)?;
        self.end = Some(BackupEvent::End { lsn, timeline });
        Ok(None)
    }
}

/// Receives one result set.
async fn results(replication: &mut Replication, limit: Duration) -> Result<Rows, Error> {
    let mut rows = Vec::new();
    let deadline = Instant::now() + limit;
    loop {
        let frame = replication.answer(deadline, COMMAND, None).await?;
        match frame.kind {
            b'T' => {}
            b'D' => rows.push(row(frame.body).map_err(|Garbled| replication.garbled())?),
            b'C' => return Ok(rows),
            _ => return Err(replication.garbled()),
        }
    }
}

fn position(row: &[Option<Bytes>]) -> Option<(Lsn, u32)> {
    Some((number(row, 0)?, number(row, 1)?))
}

/// The row without an object id is the data directory.
fn tablespace(row: &[Option<Bytes>]) -> Option<Tablespace> {
    Some(Tablespace {
        oid: number(row, 0)?,
        location: path(row.get(1)?.as_deref()?),
        size: number(row, 2).map(kilobytes),
    })
}

fn archive(row: &[Option<Bytes>]) -> (String, Option<PathBuf>) {
    let oid = text(row, 0);
    let location = row.get(1).and_then(|bytes| bytes.as_deref().map(path));
    match oid {
        Some(oid) => (format!("{oid}.tar"), location),
        None => ("base.tar".to_owned(), None),
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn kilobytes(count: u64) -> ByteSize {
    ByteSize(count.saturating_mul(ESTIMATE_BYTES))
}
