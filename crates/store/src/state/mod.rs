//! What must never be lost: accounts, sessions, tokens, the journal, findings, alerts and what was told of them; and the
//! texts of statements.

mod account;
mod alert;
mod finding;
mod incident;
mod journal;
mod judge;
mod parcel;
mod rescue;
mod schema;
mod silence;
mod statement;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pawang_core::Timestamp;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use account::{Account, ApiToken, Permission, SignIn, token_hash};
pub use alert::{AlertQuery, EventQuery};
pub use finding::{FindingQuery, FindingRecord};
pub use incident::IncidentQuery;
pub use journal::{Entry, JournalCheck, JournalRecord};
pub use parcel::ParcelQuery;

use crate::Error;
use crate::database::{self, Durability};

/// In `meta`: there may have been accounts that are no longer there.
const ACCOUNTS_LOST: &str = "accounts-lost";

/// Records that one answer holds at most.
const ANSWER_MAX: usize = 10_000;
/// What is over is kept so long.
const KEPT_AGE_MAX: Duration = Duration::from_secs(2 * 366 * 86_400);
/// Records that are forgotten at a time.
const FORGET_MAX: i64 = 10_000;

/// The state file, for any thread; every change is durable when its function returns.
#[derive(Clone)]
pub struct State {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    /// Of its own, so that a page does not wait for the disk that somebody else writes to. It is closed first: only one
    /// that writes can put the log back into the file.
    reading: Mutex<Connection>,
    writing: Mutex<Connection>,
    judged: Mutex<judge::Memory>,
}

impl State {
    /// Opens the state for reading and writing.
    pub(crate) fn open(path: &Path) -> Result<State, Error> {
        let (writing, reading) = connections(path)?;
        Ok(State::new(path, writing, reading))
    }

    /// Opens the state for reading; every change is refused.
    pub(crate) fn open_to_read(path: &Path) -> Result<State, Error> {
        let open = || database::open_to_read(path, schema::MIGRATIONS.len());
        Ok(State::new(path, open()?, open()?))
    }

    /// Makes a new state file that remembers whether accounts were lost; it has its name only when it is whole.
    pub(crate) fn begin(path: &Path, lost: bool) -> Result<(), Error> {
        // Two programs may begin at once; each has its own unfinished file, and the first whole one stays.
        let unfinished = database::with_suffix(path, &format!(".new-{}", std::process::id()));
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            done => done.map_err(|source| database::file_error(&unfinished, source))?,
        }
        let connection = database::open(&unfinished, Durability::Commit, schema::MIGRATIONS)?;
        if lost {
            connection
                .execute("INSERT INTO meta VALUES (?1, '')", [ACCOUNTS_LOST])
                .map_err(|source| Error::of_database(&unfinished, source))?;
        }
        connection
            .close()
            .map_err(|(_, source)| Error::of_database(&unfinished, source))?;
        match std::fs::hard_link(&unfinished, path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            done => done.map_err(|source| database::file_error(path, source))?,
        }
        std::fs::remove_file(&unfinished)
            .map_err(|source| database::file_error(&unfinished, source))?;
        database::sync_directory(path)
    }

    /// Sets the damaged file aside while everybody goes on with a new one, which holds what could be saved; returns
    /// what people must know.
    pub(crate) fn renew(&self, what: &str, now: Timestamp) -> Result<String, Error> {
        let path = self.path();
        let aside = {
            let writing = self.shared.writing.lock();
            let mut writing = writing.unwrap_or_else(PoisonError::into_inner);
            let mut reading = self.reading();
            // Until there is a new file everything is refused, which lets nobody in.
            let nothing = || Connection::open_in_memory().map_err(|source| self.error(source));
            (*writing, *reading) = (nothing()?, nothing()?);
            let aside = database::set_aside(path, now)?;
            State::begin(path, true)?;
            (*writing, *reading) = connections(path)?;
            aside
        };
        *self.judged() = judge::Memory::default();
        Ok(self.rescue(&aside, now)?.note(what, &aside))
    }

    /// Reads the file, and tells the first damage.
    pub(crate) fn check(&self, unclean: bool) -> Result<(), Error> {
        database::check(&self.reading(), self.path(), unclean)
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Returns whether there may have been accounts that are no longer there, since the file was damaged or vanished:
    /// nobody may come in without signing in then, until somebody makes an account again.
    ///
    /// # Errors
    /// The file cannot be read; nobody may come in then either.
    pub fn accounts_lost(&self) -> Result<bool, Error> {
        self.read(|connection| {
            connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM meta WHERE name = ?1)",
                [ACCOUNTS_LOST],
                |row| row.get(0),
            )
        })
    }

    fn new(path: &Path, writing: Connection, reading: Connection) -> State {
        State {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                writing: Mutex::new(writing),
                reading: Mutex::new(reading),
                judged: Mutex::default(),
            }),
        }
    }

    fn reading(&self) -> MutexGuard<'_, Connection> {
        let reading = self.shared.reading.lock();
        reading.unwrap_or_else(PoisonError::into_inner)
    }

    fn judged(&self) -> MutexGuard<'_, judge::Memory> {
        let judged = self.shared.judged.lock();
        judged.unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in one view of the file.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        work(&self.reading()).map_err(|source| self.error(source))
    }

    /// Runs `work` in one transaction, which is on disk when this returns.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let writing = self.shared.writing.lock();
        let mut writing = writing.unwrap_or_else(PoisonError::into_inner);
        let run = || {
            let transaction = writing.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        run().map_err(|source| self.error(source))
    }

    fn error(&self, source: rusqlite::Error) -> Error {
        Error::of_database(self.path(), source)
    }
}

fn connections(path: &Path) -> Result<(Connection, Connection), Error> {
    let writing = database::open(path, Durability::Commit, schema::MIGRATIONS)?;
    let reading = database::open_to_read(path, schema::MIGRATIONS.len())?;
    Ok((writing, reading))
}

/// Returns an instant as the files keep it: nanoseconds since 1970.
fn stored(at: Timestamp) -> i64 {
    let nanoseconds = at.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

/// Returns the instant that a file keeps.
fn instant(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into())
        .expect("jiff's instants reach further than 64 bits of nanoseconds")
}

/// Returns a value as the file keeps it.
fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Returns the value that a column keeps as JSON.
fn json_at<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

/// Returns how many records an answer holds.
fn limit(asked: usize) -> i64 {
    asked.min(ANSWER_MAX) as i64
}

/// Returns the error of a value that no version of Pawang writes.
fn unreadable(
    column: usize,
    what: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, what.into())
}
