//! Opens the data directory: lock, migrations, damaged files set aside.

use std::path::Path;

use pawang_core::Timestamp;

use crate::Error;
use crate::history::{Reader, Writer};
use crate::state::State;

/// The data directory of one daemon.
#[derive(Clone)]
pub struct Store {}

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
    pub fn open(_directory: &Path, _now: Timestamp) -> Result<Opened, Error> {
        Ok(Opened {
            store: Store {},
            notes: Vec::new(),
        })
    }

    /// Opens the data directory for reading beside a daemon, or without one; changes nothing and takes no lock.
    ///
    /// # Errors
    /// There is no history there, or a newer Pawang wrote it.
    pub fn open_to_read(_directory: &Path) -> Result<Store, Error> {
        Ok(Store {})
    }

    /// Returns the one writer; calling it twice is a bug.
    pub fn writer(&self) -> Result<Writer, Error> {
        unreachable!("not written yet")
    }

    /// Returns a reader; readers never block the writer, nor it them.
    pub fn reader(&self) -> Result<Reader, Error> {
        unreachable!("not written yet")
    }

    /// Returns accounts, journal and the like.
    pub fn state(&self) -> &State {
        unreachable!("not written yet")
    }

    /// Returns the bytes that all files take on disk.
    pub fn bytes(&self) -> u64 {
        0
    }
}
