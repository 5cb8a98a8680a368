//! A backup of files: threads read them while the server is in backup mode, from its data directory here or over SQL.
//!
//! What belongs into it, and what is done about files that change meanwhile, is as with a backup that the server sends.

pub(crate) mod again;
pub(crate) mod list;
pub(crate) mod manifest;
pub(crate) mod parent;
pub(crate) mod place;
mod reader;
pub(crate) mod scan;
mod session;
pub(crate) mod tree;
pub(crate) mod walk;

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pawang_core::{ByteSize, Kind, Lsn, Report};
use pawang_postgres::control_file;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::interval;

use self::again::PageSource;
use self::list::FileListWriter;
use self::manifest::ManifestWriter;
use self::place::{Files, Place};
use self::reader::{Halt, Reader, Shared, Since};
use self::session::BackupMode;
use self::tree::Tree;
use super::checksum::PageRules;
use super::crew::PageCheck;
use super::keep::Kept;
use super::lanes::{Backend, Lane, Lanes, ServerTree};
use super::line::Line;
use super::preflight::{self, Known};
use super::run::Came;
use super::way::FilesWay;
use super::{Progress, TakeRequest};
use crate::Error;
use crate::repository::{Commit, Mode, Rate, Tablespace};

/// Progress is told so often.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// After so many times the session is asked whether it still stands.
const ASK_EVERY_TELLS: u64 = 20;

/// Reads the files of a server, and says on which backup the result stands.
///
/// # Errors
/// A file could not be read, the server left backup mode, or the repository refused.
pub(super) async fn read(
    request: &TakeRequest,
    known: &Known,
    way: FilesWay,
    observe: &mut (dyn FnMut(Progress) + Send),
) -> Result<(Came, Option<Commit>), Error> {
    let FilesWay { place, parent } = way;
    let shared = Shared::default();
    let lanes = lanes(request, &place, &shared).await?;
    let (version_folder, read_as) = (place.version_folder, place.files.mode());
    observe(Progress::Checkpoint);
    let (mode, start) = BackupMode::begin(place.session, request, known).await?;
    let address = place.files.address(&mode);
    let (tree, lanes) = tree(place.files, lanes, &version_folder, start).await?;
    let walked = (Arc::clone(&tree), version_folder.clone());
    let major = known.cluster.major;
    let measured = spawn_blocking(move || {
        let spaces = walked.0.tablespaces()?;
        let bytes = reader::measure(&walked.0, &spaces, &walked.1, major)?;
        Ok::<_, Error>((spaces, bytes))
    });
    let (tablespaces, bytes) = joined(measured).await?;
    observe(Progress::Started {
        start,
        estimate: Some(ByteSize(bytes)),
    });
    let (since, parent) = match parent {
        Some((commit, files)) => {
            let lsn = commit.start.lsn;
            (Some(Since { lsn, files }), Some(commit))
        }
        None => {
            preflight::space(request, known, ByteSize(bytes))?;
            (None, None)
        }
    };
    let pages = check(known, &tree, start);
    let own = ManifestWriter::new(major, known.cluster.system_identifier);
    let (line, keeping) = Line::start(request, known, &pages, &address, Some(own), lanes)?;
    let object = known.cluster.part(&request.backup, list::RELATION_FILES);
    let object = request
        .repository
        .object_writer(&object, request.store_rate.clone())?;
    let reader = Reader {
        line,
        tree,
        tablespaces: tablespaces.clone(),
        version_folder,
        major,
        pages,
        since,
        list: FileListWriter::new(object, &place.hints),
        rate: request
            .rate_max
            .and_then(|rate| NonZeroU64::new(rate.0))
            .map(Rate::new),
        shared: shared.clone(),
        notes: Vec::new(),
        ahead: reader::Ahead::default(),
        now_s: u64::try_from((request.clock)().as_second()).unwrap_or(0),
    };
    let work = Work {
        mode,
        reader,
        keeping,
        shared: Ended(shared),
        parent: parent.as_ref(),
        read_as,
    };
    let came = work.run(tablespaces, observe).await?;
    Ok((came, parent))
}

impl Files {
    /// Returns what errors call them.
    fn address(&self, mode: &BackupMode) -> String {
        match self {
            Files::Here(root) => root.display().to_string(),
            Files::Server(_) => mode.address().to_owned(),
        }
    }
}

/// Opens the lanes that read files which are not here, before anything begins.
async fn lanes(
    request: &TakeRequest,
    place: &Place,
    shared: &Shared,
) -> Result<Option<Lanes>, Error> {
    let Files::Server(count) = &place.files else {
        return Ok(None);
    };
    let backend = Backend::of(&place.session).await?;
    let (target, count, stop) = (request.target.clone(), *count, Arc::clone(&shared.stop));
    let open = move || Lanes::open(&target, count, &backend, &stop);
    joined(spawn_blocking(open)).await.map(Some)
}

/// Returns the files of a server in backup mode, and the lanes that read them if they are not here.
async fn tree(
    files: Files,
    lanes: Option<Lanes>,
    version_folder: &str,
    start: Lsn,
) -> Result<(Arc<Tree>, Vec<Lane>), Error> {
    match (files, lanes) {
        (Files::Here(root), _) => {
            same_server(&root, start)?;
            Ok((Arc::new(Tree::Here(root)), Vec::new()))
        }
        (Files::Server(_), Some(lanes)) => {
            let folder = version_folder.to_owned();
            let asked = spawn_blocking(move || ServerTree::new(lanes.front, &folder));
            let server = joined(asked).await?;
            Ok((Arc::new(Tree::Server(Box::new(server))), lanes.all))
        }
        (Files::Server(_), None) => unreachable!("they were opened"),
    }
}

/// Returns how pages are checked, and where wrong ones are read again at once; others are in the end.
fn check(known: &Known, tree: &Tree, start: Lsn) -> PageCheck {
    PageCheck {
        rules: PageRules {
            checksums: known.data_checksums,
            start,
        },
        geometry: known.geometry,
        source: match tree {
            Tree::Here(root) => Some(PageSource {
                root: Arc::from(root.as_path()),
            }),
            Tree::Server(_) => None,
        },
    }
}

/// What is at work.
struct Work<'a> {
    mode: BackupMode,
    reader: Reader,
    keeping: JoinHandle<Result<Kept, Error>>,
    shared: Ended,
    parent: Option<&'a Commit>,
    read_as: Mode,
}

/// Tells the reader that nobody waits for it any more.
struct Ended(Shared);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl Work<'_> {
    async fn run(
        self,
        tablespaces: Vec<Tablespace>,
        observe: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Came, Error> {
        let reader = self.reader;
        let mut reading = spawn_blocking(move || reader.files());
        let watched = watch(&self.mode, &mut reading, &self.shared.0, observe).await;
        let ended = match watched {
            Ok(Ok(mut reader)) => {
                reader
                    .notes
                    .drain(..)
                    .for_each(|note| observe(Progress::Note(note)));
                match self.mode.stop().await {
                    Ok(stopped) => {
                        let from = self.parent.map(|parent| parent.start);
                        let (start, stop) = (stopped.start, stopped.stop);
                        let ended = spawn_blocking(move || reader.end(&stopped, from));
                        joined(ended).await.map(|files| (start, stop, files))
                    }
                    Err(error) => {
                        drop(reader);
                        Err(Halt::Error(error))
                    }
                }
            }
            Ok(Err(halt)) => Err(halt),
            Err(error) => {
                // None of its threads works on when this returns.
                self.shared.0.stop.store(true, Ordering::Relaxed);
                let _stopped = reading.await;
                Err(Halt::Error(error))
            }
        };
        let kept = match self.keeping.await {
            Ok(kept) => kept,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        match ended {
            Ok((start, stop, relation_files)) => Ok(Came {
                mode: self.read_as,
                start,
                stop,
                tablespaces,
                kept: kept?,
                relation_files: Some(relation_files),
            }),
            Err(Halt::Error(error)) => Err(error),
            Err(Halt::Keeper | Halt::Asked) => {
                Err(kept.err().unwrap_or_else(|| Error::Incomplete {
                    address: "the data directory".to_owned(),
                    problem: "reading ended early".to_owned(),
                }))
            }
        }
    }
}

/// Waits for the reader; ends earlier when the server leaves backup mode.
async fn watch(
    mode: &BackupMode,
    reading: &mut JoinHandle<Result<Reader, Halt>>,
    shared: &Shared,
    observe: &mut (dyn FnMut(Progress) + Send),
) -> Result<Result<Reader, Halt>, Error> {
    let mut tell = interval(TELL_EVERY);
    let mut told = 0u64;
    loop {
        tokio::select! {
            read = &mut *reading => {
                observe(Progress::Came(ByteSize(shared.bytes.load(Ordering::Relaxed))));
                return match read {
                    Ok(read) => Ok(read),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                };
            }
            _ = tell.tick() => {
                observe(Progress::Came(ByteSize(shared.bytes.load(Ordering::Relaxed))));
                told += 1;
                if told.is_multiple_of(ASK_EVERY_TELLS) {
                    mode.alive().await?;
                }
            }
        }
    }
}

/// Refuses a data directory in which the checkpoint is not that began the backup.
fn same_server(root: &Path, start: Lsn) -> Result<(), Error> {
    let control = control_file::read(root)?;
    if control.redo >= start {
        return Ok(());
    }
    let primary = format!(
        "\"{}\" is not the data directory of the server",
        root.display()
    );
    let report = Report::new(Kind::Refused, primary)
        .with_detail(format!(
            "its last checkpoint is of {}, and the backup begins at {start}",
            control.redo
        ))
        .with_hint("pawang backup create --mode protocol");
    Err(Error::Refused(Box::new(report)))
}

/// Waits for a thread; its panic is ours.
async fn joined<T>(thread: JoinHandle<T>) -> T {
    match thread.await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
