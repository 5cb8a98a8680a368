//! A backup by `BASE_BACKUP` of the replication protocol: the server decides what is in it.
//!
//! One connection brings the archives.

use bytes::Bytes;
use pawang_core::{ByteSize, Lsn};
use pawang_postgres::replication::{
    BackupEvent, BaseBackup, BaseBackupOptions, Replication, Tablespace as ServerTablespace,
};

use super::checksum::PageRules;
use super::crew::PageCheck;
use super::line::{KeeperEnded, Line};
use super::parent::{self, words};
use super::preflight::{self, Known};
use super::run::Came;
use super::tar::{Piece, Splitter, TarError};
use super::{Progress, TakeRequest};
use crate::Error;
use crate::repository::{Commit, Mode, Position, Tablespace};
use crate::wal::Timeline;

/// Progress is told after so many bytes.
const TELL_EVERY_BYTES: u64 = 4 << 20;
const KILOBYTE: u64 = 1024;

/// Receives a backup, and says on which one it stands.
///
/// # Errors
/// The server or the repository refused, or what came is not whole.
pub(super) async fn receive(
    request: &TakeRequest,
    known: &Known,
    replication: &mut Replication,
    mut parent: Option<Commit>,
    observe: &mut (dyn FnMut(Progress) + Send),
) -> Result<(Came, Option<Commit>), Error> {
    let address = replication.address().to_owned();
    if let Some(commit) = &parent
        && let Err(error) = parent::upload(request, replication, commit).await
    {
        parent::instead(request, &words(error.report()), observe)?;
        parent = None;
    }
    observe(Progress::Checkpoint);
    let wanted = options(request, parent.is_some());
    let backup = match replication.base_backup(&wanted).await {
        Ok(backup) => backup,
        // The server says here that it has no summaries of the WAL since the parent any more.
        Err(error) if parent.is_some() => {
            parent::instead(request, &words(Error::from(error).report()), observe)?;
            parent = None;
            replication.base_backup(&options(request, false)).await?
        }
        Err(error) => return Err(error.into()),
    };
    let came = stream(request, known, backup, &address, observe).await?;
    Ok((came, parent))
}

fn tablespace(found: &ServerTablespace) -> Tablespace {
    Tablespace {
        oid: found.oid,
        location: found.location.to_string_lossy().into_owned(),
    }
}

async fn stream(
    request: &TakeRequest,
    known: &Known,
    mut backup: BaseBackup<'_>,
    address: &str,
    observe: &mut (dyn FnMut(Progress) + Send),
) -> Result<Came, Error> {
    let incomplete = |problem: String| Error::Incomplete {
        address: address.to_owned(),
        problem,
    };
    let Some(BackupEvent::Start {
        lsn,
        timeline,
        tablespaces,
        estimate,
    }) = backup.next().await?
    else {
        return Err(incomplete("it does not say where it begins".to_owned()));
    };
    observe(Progress::Started {
        start: lsn,
        estimate,
    });
    preflight::space(request, known, estimate.unwrap_or_default())?;
    let pages = PageCheck {
        rules: PageRules {
            checksums: known.data_checksums,
            start: lsn,
        },
        geometry: known.geometry,
        source: None,
    };
    let (line, keeping) = Line::start(request, known, &pages, address, None, Vec::new())?;
    let reading = Reading {
        line,
        splitter: None,
        came_bytes: 0,
    };
    let read = reading.all(&mut backup, observe).await;
    let kept = match keeping.await {
        Ok(kept) => kept,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let (stop_timeline, stop) = match (read, &kept) {
        (Ok(stop), _) => stop,
        (Err(Stopped::Server(error)), _) => return Err(error.into()),
        (Err(Stopped::Archive(error)), _) => return Err(incomplete(error.to_string())),
        (Err(Stopped::Keeper), Err(_)) => (timeline, lsn),
        (Err(Stopped::Early | Stopped::Keeper), _) => {
            return Err(incomplete("it ended early".to_owned()));
        }
    };
    let position = |timeline, lsn| Position {
        timeline: Timeline(timeline),
        lsn,
    };
    Ok(Came {
        mode: Mode::Protocol,
        start: position(timeline, lsn),
        stop: position(stop_timeline, stop),
        tablespaces: tablespaces.iter().map(tablespace).collect(),
        kept: kept?,
        relation_files: None,
    })
}

fn options(request: &TakeRequest, incremental: bool) -> BaseBackupOptions {
    let rate = request.rate_max.map(|rate| rate.0 / KILOBYTE);
    BaseBackupOptions {
        label: format!("pawang {}", request.backup),
        checkpoint_fast: request.checkpoint_fast,
        progress: true,
        incremental,
        max_rate_kib: rate.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)),
        // Pages are checked here, and then a wrong one does not cost the backup.
        verify_checksums: false,
        ..BaseBackupOptions::default()
    }
}

/// Why reading ended too early.
enum Stopped {
    Server(pawang_postgres::Error),
    Archive(TarError),
    /// The server said no more, but no end either.
    Early,
    /// The thread that keeps what comes ended, and knows why.
    Keeper,
}

impl From<pawang_postgres::Error> for Stopped {
    fn from(error: pawang_postgres::Error) -> Stopped {
        Stopped::Server(error)
    }
}

impl From<KeeperEnded> for Stopped {
    fn from(KeeperEnded: KeeperEnded) -> Stopped {
        Stopped::Keeper
    }
}

impl From<TarError> for Stopped {
    fn from(error: TarError) -> Stopped {
        Stopped::Archive(error)
    }
}

/// The reader of the connection.
struct Reading {
    line: Line,
    /// The archive that comes.
    splitter: Option<Splitter>,
    came_bytes: u64,
}

impl Reading {
    /// Reads to the end, and returns timeline and position of it.
    async fn all(
        mut self,
        backup: &mut BaseBackup<'_>,
        observe: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(u32, Lsn), Stopped> {
        let mut told_bytes = 0;
        while let Some(event) = backup.next().await? {
            match event {
                BackupEvent::Archive { name, .. } => {
                    self.end_archive().await?;
                    let oid = name.split('.').next().and_then(|oid| oid.parse().ok());
                    self.line.cutter.archive(oid);
                    self.splitter = Some(Splitter::default());
                }
                BackupEvent::Data(bytes) => {
                    self.data(&bytes).await?;
                    if self.came_bytes >= told_bytes + TELL_EVERY_BYTES {
                        told_bytes = self.came_bytes;
                        observe(Progress::Came(ByteSize(told_bytes)));
                    }
                }
                BackupEvent::Manifest(bytes) => self.manifest(bytes).await?,
                BackupEvent::Warning(text) => observe(Progress::Note(text)),
                BackupEvent::End { lsn, timeline } => {
                    observe(Progress::Came(ByteSize(self.came_bytes)));
                    return Ok((timeline, lsn));
                }
                BackupEvent::Start { .. } | BackupEvent::Progress(_) => {}
            }
        }
        Err(Stopped::Early)
    }

    async fn data(&mut self, bytes: &Bytes) -> Result<(), Stopped> {
        self.came_bytes += bytes.len() as u64;
        let mut input: &[u8] = bytes;
        let Some(splitter) = &mut self.splitter else {
            return Err(Stopped::Early);
        };
        while let Some(piece) = splitter.next(&mut input)? {
            match piece {
                Piece::Member => {
                    let cutter = &mut self.line.cutter;
                    cutter.member(splitter.member(), splitter.header());
                }
                Piece::Data(data) => self.line.cutter.data(data),
                Piece::Padding(bytes) => self.line.cutter.padding(bytes),
                Piece::End => {}
            }
        }
        Ok(self.line.send().await?)
    }

    async fn manifest(&mut self, bytes: Bytes) -> Result<(), Stopped> {
        self.end_archive().await?;
        Ok(self.line.manifest(bytes).await?)
    }

    async fn end_archive(&mut self) -> Result<(), Stopped> {
        let Some(splitter) = self.splitter.take() else {
            return Ok(());
        };
        splitter.finish()?;
        self.line.cutter.end();
        Ok(self.line.send().await?)
    }
}
