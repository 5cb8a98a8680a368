//! Opens the data directory: lock, migrations, damaged files set aside.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pawang_core::Timestamp;
use rustix::fs::FlockOperation;

use crate::Error;
use crate::database::{self, Durability, file_error};
use crate::history::{Reader, Writer, schema};
use crate::state::State;

const LOCK_FILE: &str = "pawang.lock";
const HISTORY_FILE: &str = "history.db";
const STATE_FILE: &str = "state.db";
/// A lock file holds one number; what is longer was not written by Pawang.
const LOCK_BYTES_MAX: u64 = 32;

/// The data directory of one daemon.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    history: PathBuf,
    state: State,
    writer_taken: AtomicBool,
    generation: AtomicU64,
    history_bytes_max: AtomicU64,
    /// Last, so that it is given back when everything else is closed.
    lock: Option<Lock>,
}

/// A store that was opened, and what there is to know about it.
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Things for people to know, such as a damaged file that was set aside under another name.
    pub notes: Vec<String>,
}

impl Store {
    /// Opens the data directory for the daemon, and makes it when there is none; holds its lock until all clones are
    /// dropped.
    ///
    /// # Errors
    /// The directory cannot be made, another Pawang holds it, or a newer one wrote it.
    pub fn open(directory: &Path, now: Timestamp) -> Result<Opened, Error> {
        make_directory(directory)?;
        let lock = Lock::take(directory)?;
        let mut notes = Vec::new();
        let state = open_state(directory, lock.unclean, now, &mut notes)?;
        let history = directory.join(HISTORY_FILE);
        match open_history(&history, lock.unclean) {
            Err(Error::Damaged { what, .. }) => {
                let aside = database::set_aside(&history, now)?;
                notes.push(format!(
                    "the history was damaged ({what}): it is kept as \"{}\", and a new one has begun",
                    aside.display()
                ));
                open_history(&history, false)?;
            }
            opened => opened?,
        }
        Ok(Opened {
            store: Store::new(history, state, Some(lock)),
            notes,
        })
    }

    /// Opens the data directory for reading beside a daemon, or without one; changes nothing and takes no lock.
    ///
    /// # Errors
    /// There is no history there, or a newer Pawang wrote it.
    pub fn open_to_read(directory: &Path) -> Result<Store, Error> {
        let history = directory.join(HISTORY_FILE);
        database::open_to_read(&history, schema::MIGRATIONS.len())?;
        let state = State::open_to_read(&directory.join(STATE_FILE))?;
        Ok(Store::new(history, state, None))
    }

    /// Opens accounts, tokens and journal beside a daemon, or before its first start; takes no lock.
    ///
    /// # Errors
    /// The directory cannot be made, or the file is damaged or written by a newer Pawang.
    pub fn open_state(directory: &Path) -> Result<State, Error> {
        make_directory(directory)?;
        let path = directory.join(STATE_FILE);
        if path.exists() {
            State::open(&path)
        } else {
            begin_state(directory)
        }
    }

    /// Opens the state while no daemon runs, and keeps one from starting until the guard is dropped.
    ///
    /// # Errors
    /// [`Error::Locked`] while a daemon runs; else as [`Store::open_state`].
    pub fn open_state_alone(directory: &Path) -> Result<(State, Alone), Error> {
        make_directory(directory)?;
        let mut lock = Lock::take(directory)?;
        // Nothing is checked here: whoever opens everything next still has to.
        lock.unchecked = lock.unclean;
        Ok((Store::open_state(directory)?, Alone { _lock: lock }))
    }

    /// Opens accounts, tokens and journal for reading; changes nothing and takes no lock.
    ///
    /// # Errors
    /// There is no such file, or it is damaged or written by a newer Pawang.
    pub fn open_state_to_read(directory: &Path) -> Result<State, Error> {
        State::open_to_read(&directory.join(STATE_FILE))
    }

    /// Returns the one writer; calling it twice is a bug.
    ///
    /// # Errors
    /// The history cannot be opened.
    pub fn writer(&self) -> Result<Writer, Error> {
        assert!(
            self.shared.lock.is_some(),
            "a store opened to read has no writer"
        );
        let taken = self.shared.writer_taken.swap(true, Ordering::SeqCst);
        assert!(!taken, "there is one writer");
        self.new_writer()
    }

    /// Returns a writer in the place of one that was dropped.
    pub(crate) fn new_writer(&self) -> Result<Writer, Error> {
        let path = &self.shared.history;
        let connection = database::open(path, Durability::Checkpoint, schema::MIGRATIONS)?;
        let bytes_max = self.shared.history_bytes_max.load(Ordering::SeqCst);
        let limited = || -> rusqlite::Result<()> {
            let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            let pages = (bytes_max / page.unsigned_abs().max(1)).clamp(1, u64::from(u32::MAX) - 1);
            connection.pragma_update_and_check(None, "max_page_count", pages as i64, |_| Ok(()))
        };
        limited().map_err(|source| Error::of_database(path, source))?;
        Writer::new(connection, path.clone(), self.shared.state.clone())
    }

    /// Returns a reader; readers never block the writer, nor it them.
    ///
    /// # Errors
    /// The history cannot be opened.
    pub fn reader(&self) -> Result<Reader, Error> {
        let path = &self.shared.history;
        let connection = database::open_to_read(path, schema::MIGRATIONS.len())?;
        Reader::new(connection, path.clone(), self.shared.state.clone())
    }

    /// Returns accounts, journal and the like.
    pub fn state(&self) -> &State {
        &self.shared.state
    }

    /// Returns the data directory.
    pub fn directory(&self) -> &Path {
        let history = &self.shared.history;
        history.parent().unwrap_or(history)
    }

    /// Returns the bytes that all files take on disk.
    pub fn bytes(&self) -> u64 {
        database::bytes(&self.shared.history) + database::bytes(self.shared.state.path())
    }

    /// Returns a number that grows when the history was begun anew: readers made before then see the old one.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::SeqCst)
    }

    /// Sets the size at which the history refuses more, as a full disk would; the wall behind the retention's size.
    ///
    /// It holds from the next writer on; a [`crate::Recorder`] whose disk refuses takes a new one at each flush.
    pub fn limit_history(&self, bytes: u64) {
        let limit = &self.shared.history_bytes_max;
        limit.store(bytes, Ordering::SeqCst);
    }

    /// Sets the damaged history aside and begins a new one; the writer must be dropped. Returns what people must know.
    pub(crate) fn renew_history(&self, now: Timestamp) -> Result<String, Error> {
        let history = &self.shared.history;
        let aside = database::set_aside(history, now)?;
        open_history(history, false)?;
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
        Ok(format!(
            "the history was found damaged: it is kept as \"{}\", and a new one has begun",
            aside.display()
        ))
    }

    /// Sets the damaged state aside and begins a new one with what could be saved. Returns what people must know.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn renew_state(&self, what: &str, now: Timestamp) -> Result<String, Error> {
        self.state().renew(what, now)
    }

    fn new(history: PathBuf, state: State, lock: Option<Lock>) -> Store {
        Store {
            shared: Arc::new(Shared {
                history,
                state,
                writer_taken: AtomicBool::new(false),
                generation: AtomicU64::new(0),
                history_bytes_max: AtomicU64::new(u64::MAX),
                lock,
            }),
        }
    }
}

fn make_directory(directory: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| file_error(directory, source))
}

/// Opens the history once, so that it is whole and its tables are there before anybody reads.
fn open_history(path: &Path, unclean: bool) -> Result<(), Error> {
    let connection = database::open(path, Durability::Checkpoint, schema::MIGRATIONS)?;
    database::check(&connection, path, unclean)
}

/// Opens the state; without a whole one, begins a new one that knows that accounts may be lost.
fn open_state(
    directory: &Path,
    unclean: bool,
    now: Timestamp,
    notes: &mut Vec<String>,
) -> Result<State, Error> {
    let path = directory.join(STATE_FILE);
    if path.exists() {
        match State::open(&path).and_then(|state| state.check(unclean).map(|()| state)) {
            Err(Error::Damaged { what, .. }) => {
                let aside = database::set_aside(&path, now)?;
                let state = begin_state(directory)?;
                notes.push(state.rescue(&aside, now)?.note(&what, &aside));
                return Ok(state);
            }
            opened => return opened,
        }
    } else if lost(directory) {
        notes.push(format!(
            "ACCOUNTS, TOKENS AND JOURNAL ARE MISSING: there is no file \"{}\" though there is a history; \
             nobody can sign in before pawang account create",
            path.display()
        ));
    }
    begin_state(directory)
}

/// Returns whether there was a state in this directory that is no longer there.
fn lost(directory: &Path) -> bool {
    directory.join(HISTORY_FILE).exists() || database::was_set_aside(&directory.join(STATE_FILE))
}

/// Makes a new state; it gets its name when it is whole, so that a crash never leaves one that forgot what was lost.
fn begin_state(directory: &Path) -> Result<State, Error> {
    let path = directory.join(STATE_FILE);
    State::begin(&path, lost(directory))?;
    State::open(&path)
}

/// Keeps a daemon from starting while somebody changes the state without one.
pub struct Alone {
    _lock: Lock,
}

/// The right to write a data directory; the kernel gives it back when the process ends, however it ends.
struct Lock {
    file: File,
    /// Whether the one before did not close it.
    unclean: bool,
    /// Whether that must still be known when this one is given back.
    unchecked: bool,
}

impl Lock {
    fn take(directory: &Path) -> Result<Lock, Error> {
        let path = directory.join(LOCK_FILE);
        let error = |source| file_error(&path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(error)?;
        let taken = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        let mut text = String::new();
        // What is not a number says nothing, and does not matter.
        let _ = (&file).take(LOCK_BYTES_MAX).read_to_string(&mut text);
        match taken {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::Locked {
                    path: directory.to_owned(),
                    pid: text.trim().parse().ok(),
                });
            }
            done => done.map_err(|errno| error(errno.into()))?,
        }
        let unclean = !text.is_empty();
        file.set_len(0).map_err(error)?;
        std::io::Seek::rewind(&mut file).map_err(error)?;
        // A full disk does not keep the daemon from showing what it has.
        let _ = writeln!(file, "{}", std::process::id());
        Ok(Lock {
            file,
            unclean,
            unchecked: false,
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.unchecked {
            // An empty file says that everything was closed; a full disk makes no difference to that.
            let _ = self.file.set_len(0);
        }
    }
}
