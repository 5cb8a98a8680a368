//! Opens one SQLite file: pragmas, migrations, and what its answers mean.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use pawang_core::Timestamp;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::Error;

/// How long a connection waits for another that writes, such as `pawang account create` beside the daemon.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Page cache of one connection.
const CACHE_KIBIBYTES: i64 = 4 << 10;
/// The log file shrinks to this size after a large transaction.
const LOG_BYTES_MAX: i64 = 16 << 20;
/// A file up to this size is read whole whenever it is opened, to find damage.
const CHECKED_BYTES: u64 = 32 << 20;
/// A file up to this size is read whole after a stop that was not clean.
const CHECKED_BYTES_UNCLEAN: u64 = 1 << 30;
/// Names that are tried for one damaged file in one second.
const ASIDE_NAMES_MAX: u32 = 100;

/// When a commit is on disk for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// When it returns: for state.
    Commit,
    /// After a kill of the process always, after a power cut at the next checkpoint: for the history.
    Checkpoint,
}

/// Opens a file for writing, makes it when there is none, and brings its tables up to date.
///
/// `migrations[n]` leads from `user_version` n to n + 1, each in a transaction of its own.
pub(crate) fn open(
    path: &Path,
    durability: Durability,
    migrations: &[&str],
) -> Result<Connection, Error> {
    make_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Only an empty file takes it, and the change to WAL already writes the first page.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        if mode != "wal" {
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        }
        let synchronous = match durability {
            Durability::Commit => "FULL",
            Durability::Checkpoint => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        bound_memory(&connection)?;
        Ok(connection)
    };
    let mut connection = open().map_err(|source| Error::of_database(path, source))?;
    migrate(&mut connection, path, migrations)?;
    Ok(connection)
}

/// Opens a file for reading only; its tables must be of the newest version, `known`.
pub(crate) fn open_to_read(path: &Path, known: usize) -> Result<Connection, Error> {
    std::fs::metadata(path).map_err(|source| file_error(path, source))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<(Connection, i64)> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        bound_memory(&connection)?;
        let found = version(&connection)?;
        Ok((connection, found))
    };
    let (connection, found) = open().map_err(|source| Error::of_database(path, source))?;
    let (path, known) = (path.to_owned(), known as i64);
    match found.cmp(&known) {
        std::cmp::Ordering::Greater => Err(Error::Newer { path, found, known }),
        std::cmp::Ordering::Less => Err(Error::Older { path, found, known }),
        std::cmp::Ordering::Equal => Ok(connection),
    }
}

/// Reads a file whole, when it is small enough for that, and tells the first damage.
pub(crate) fn check(connection: &Connection, path: &Path, unclean: bool) -> Result<(), Error> {
    let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let most = if unclean {
        CHECKED_BYTES_UNCLEAN
    } else {
        CHECKED_BYTES
    };
    if bytes > most {
        return Ok(());
    }
    let answer: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| Error::of_database(path, source))?;
    if answer == "ok" {
        return Ok(());
    }
    Err(Error::Damaged {
        path: path.to_owned(),
        what: answer,
    })
}

/// Gives a damaged file and what belongs to it another name, which it returns.
pub(crate) fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf, Error> {
    let time = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ");
    let names = (1..ASIDE_NAMES_MAX).map(|number| match number {
        1 => with_suffix(path, &format!(".damaged-{time}")),
        _ => with_suffix(path, &format!(".damaged-{time}-{number}")),
    });
    let aside = names
        .into_iter()
        .find(|name| !name.exists())
        .ok_or_else(|| file_error(path, std::io::ErrorKind::AlreadyExists.into()))?;
    // The log goes first: left beside a new file of the old name, it would be taken for that one's.
    for suffix in ["-wal", "-shm", ""] {
        let from = with_suffix(path, suffix);
        match std::fs::rename(&from, with_suffix(&aside, suffix)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            done => done.map_err(|source| file_error(&from, source))?,
        }
    }
    sync_directory(path)?;
    Ok(aside)
}

/// Returns whether a damaged file of this name was ever set aside.
pub(crate) fn was_set_aside(path: &Path) -> bool {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return false;
    };
    let start = format!("{}.damaged-", name.to_string_lossy());
    std::fs::read_dir(directory).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with(&start))
    })
}

/// Returns the bytes that a file takes with its log.
pub(crate) fn bytes(path: &Path) -> u64 {
    ["", "-wal", "-shm"]
        .iter()
        .filter_map(|suffix| std::fs::metadata(with_suffix(path, suffix)).ok())
        .map(|metadata| metadata.len())
        .sum()
}

/// Makes names that were given in the directory of `path` durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), Error> {
    let directory = path.parent().unwrap_or(path);
    std::fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| file_error(directory, source))
}

/// Returns the error of an operating system's answer.
pub(crate) fn file_error(path: &Path, source: std::io::Error) -> Error {
    if source.kind() == std::io::ErrorKind::StorageFull {
        return Error::Full {
            path: path.to_owned(),
            source: rusqlite::Error::ToSqlConversionFailure(source.into()),
        };
    }
    Error::File {
        path: path.to_owned(),
        source,
    }
}

/// Returns the path with something after its file name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes an empty file that only its owner may read; the database gives its log the same mode.
fn make_private(path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Ok(());
    }
    // The log of a file that is gone belongs to nothing, and would be taken for the new one's.
    for suffix in ["-wal", "-shm"] {
        match std::fs::remove_file(with_suffix(path, suffix)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            done => done.map_err(|source| file_error(path, source))?,
        }
    }
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        done => done.map(drop).map_err(|source| file_error(path, source)),
    }
}

fn bound_memory(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -CACHE_KIBIBYTES)?;
    // A disk that cannot be read answers a mapped page with a signal that ends the whole daemon.
    connection
        .pragma_update_and_check(None, "mmap_size", 0, |_| Ok(()))
        .or_else(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => Ok(()),
            error => Err(error),
        })
}

fn migrate(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), Error> {
    let error = |source| Error::of_database(path, source);
    let known = migrations.len() as i64;
    let mut found = version(connection).map_err(error)?;
    while found < known {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(error)?;
        // Another process may have done it while this one waited.
        found = version(&transaction).map_err(error)?;
        let Some(step) = usize::try_from(found)
            .ok()
            .and_then(|at| migrations.get(at))
        else {
            break;
        };
        transaction.execute_batch(step).map_err(error)?;
        found += 1;
        transaction
            .pragma_update(None, "user_version", found)
            .map_err(error)?;
        transaction.commit().map_err(error)?;
    }
    let path = path.to_owned();
    match found {
        _ if found < 0 => Err(Error::Damaged {
            path,
            what: format!("format {found}"),
        }),
        _ if found > known => Err(Error::Newer { path, found, known }),
        _ => Ok(()),
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
