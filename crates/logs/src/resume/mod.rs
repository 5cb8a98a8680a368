//! Reads logs again and again, each byte once: what was read of each file is kept with what it added up to, per hour.
//!
//! The state is a directory; `format/v3.md` says what is in it. A step changes offsets and tallies together or not at all, so a process
//! that is killed at any moment goes on as if it had not begun the step.

mod disk;
mod hours;
mod identify;
mod kept;
mod read;
mod state;

pub use disk::{Disk, RealDisk};
pub use hours::HOURS_MAX;
pub use kept::{KeptHours, directory_of, kept_hours};

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::{Part, Settings};
use crate::error::Error;
use crate::input::Input;
use crate::report::Source;
use state::{Manifest, decode, decode_part, encode, encode_part, state};

/// Bytes that are read between two commits when the caller has no other wish.
pub const STEP_BYTES: u64 = 64 * 1024 * 1024;

/// Files that a state knows; those that are gone for the longest time are forgotten first.
pub const FILES_MAX: usize = 10_000;

/// States of one directory that are set aside.
pub const ASIDE_MAX: usize = 10;

/// What is between the name of a directory and the number of its state that was set aside: no instance's directory has a dot.
const ASIDE: &str = ".aside-";
const MANIFEST: &str = "manifest";
const MANIFEST_NEW: &str = "manifest.new";
const LOCK: &str = "lock";

/// What can be kept per hour.
pub trait Kept: Part + Default + Serialize + DeserializeOwned {}

impl<P: Part + Default + Serialize + DeserializeOwned> Kept for P {}

/// What was read so far.
pub struct Store<P> {
    directory: PathBuf,
    disk: Box<dyn Disk>,
    manifest: Manifest,
    step_bytes: u64,
    /// Held until the store is dropped.
    _lock: File,
    part: std::marker::PhantomData<fn() -> P>,
}

/// What one reading found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The files that had something new, with the bytes and records that are new, and those with trouble.
    pub source: Source,
    /// Bytes that were never read, of all readings.
    pub gaps: Vec<MissingFile>,
    /// Whether the bound ended the reading: the next one goes on where it ended.
    pub more: bool,
}

/// How much one reading may do before it leaves the rest to the next one; what it did is kept.
pub struct Bound<'a> {
    /// Bytes after which it ends, to the nearest look.
    pub bytes: u64,
    /// Says whether to end at the next look.
    pub stop: &'a dyn Fn() -> bool,
}

impl Bound<'_> {
    /// Returns the bound of a reading that goes on to the end.
    pub fn none() -> Bound<'static> {
        Bound {
            bytes: u64::MAX,
            stop: &|| false,
        }
    }
}

/// How far a file was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its name.
    pub name: String,
    /// Its bytes, as they are on disk.
    pub bytes: u64,
    /// Where the next record begins, in what it unpacks to.
    pub read_to: u64,
    /// Whether it is compressed.
    pub compressed: bool,
    /// Whether nothing of it is left to be read.
    pub whole: bool,
}

/// A file that is gone with bytes that were not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingFile {
    /// Its last name.
    pub name: String,
    /// At least how many bytes of it were not read.
    pub bytes: u64,
}

impl<P: Kept> Store<P> {
    /// Opens a state, or begins one; one process at a time may have it open.
    pub fn open(directory: &Path, disk: Box<dyn Disk>, step_bytes: u64) -> Result<Store<P>, Error> {
        std::fs::create_dir_all(directory)
            .map_err(|source| state("create directory", directory, source))?;
        let path = directory.join(LOCK);
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|file| {
                file.try_lock()?;
                Ok(file)
            });
        let lock = lock.map_err(|source| state("lock", &path, source))?;
        let path = directory.join(MANIFEST);
        let manifest = match std::fs::read(&path) {
            Ok(bytes) => decode(&path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Manifest::default(),
            Err(source) => return Err(state("read", &path, source)),
        };
        let store = Store {
            directory: directory.to_owned(),
            disk,
            manifest,
            step_bytes: step_bytes.max(1),
            _lock: lock,
            part: std::marker::PhantomData,
        };
        store.sweep()?;
        Ok(store)
    }

    /// Reads what is new in the files, at a time in seconds since 1970-01-01 UTC.
    ///
    /// The last record of a file that is still written is left for the next time unless the file was quiet for some seconds. A store
    /// whose reading failed must be opened again.
    pub fn run(
        &mut self,
        inputs: &[Input],
        settings: &Settings<'_>,
        now: i64,
    ) -> Result<Step, Error> {
        read::run(self, inputs, settings, now, &Bound::none())
    }

    /// Reads what is new in the files as far as a bound allows, else as [`Store::run`] does.
    pub fn run_within(
        &mut self,
        inputs: &[Input],
        settings: &Settings<'_>,
        now: i64,
        bound: &Bound<'_>,
    ) -> Result<Step, Error> {
        read::run(self, inputs, settings, now, bound)
    }

    /// Drops the hours before one.
    ///
    /// The bytes that they came from stay known, so that they are not read again.
    pub fn forget(&mut self, before: i64) -> Result<(), Error> {
        let kept = self.manifest.hours.split_off(&before);
        let dropped = std::mem::replace(&mut self.manifest.hours, kept);
        if dropped.is_empty() {
            return Ok(());
        }
        self.manifest.generation += 1;
        self.keep_manifest()?;
        for (hour, generation) in dropped {
            self.remove(&self.path(hour, generation))?;
        }
        Ok(())
    }

    /// Returns the bytes of files that are there and were not read yet; of compressed ones nobody knows.
    pub fn behind_bytes(&self) -> u64 {
        let files = self.manifest.files.iter();
        let plain = files.filter(|file| !file.gone && !file.compressed);
        plain
            .map(|file| file.size.saturating_sub(file.offset))
            .sum()
    }

    /// Returns how far each file was read that is there, in the order in which they were met.
    pub fn progress(&self) -> impl Iterator<Item = Progress> + '_ {
        let files = self.manifest.files.iter().filter(|file| !file.gone);
        files.map(|file| Progress {
            name: file.name.clone(),
            bytes: file.size,
            read_to: file.offset,
            compressed: file.compressed,
            whole: match file.compressed {
                true => file.finished,
                false => file.offset >= file.size,
            },
        })
    }

    /// Returns the hours that have records, as seconds since 1970-01-01 UTC divided by 3600.
    pub fn hours(&self) -> impl Iterator<Item = i64> + '_ {
        self.manifest.hours.keys().copied()
    }

    /// Returns what the records of some hours add up to, without reading any log.
    pub fn sum(&self, hours: Range<i64>) -> Result<P, Error> {
        let mut sum = P::default();
        for (&hour, &generation) in self.manifest.hours.range(hours) {
            sum.absorb(self.load(hour, generation)?);
            // It frees what waits to be joined.
            sum.settle();
        }
        Ok(sum)
    }

    fn path(&self, hour: i64, generation: u64) -> PathBuf {
        path_of(&self.directory, hour, generation)
    }

    fn load(&self, hour: i64, generation: u64) -> Result<P, Error> {
        let path = self.path(hour, generation);
        let bytes = std::fs::read(&path).map_err(|source| state("read", &path, source))?;
        decode_part(&path, &bytes)
    }

    /// Adds parts and takes over what was read of the files, together.
    fn commit(&mut self, parts: BTreeMap<i64, P>) -> Result<(), Error> {
        let generation = self.manifest.generation + 1;
        let mut replaced = Vec::new();
        for (hour, part) in parts {
            let part = match self.manifest.hours.get(&hour) {
                None => part,
                Some(&before) => {
                    let mut whole = self.load(hour, before)?;
                    whole.absorb(part);
                    replaced.push(self.path(hour, before));
                    whole
                }
            };
            let path = self.path(hour, generation);
            let bytes = encode_part(&path, &part)?;
            self.disk
                .write(&path, &bytes)
                .map_err(|source| state("write", &path, source))?;
            self.manifest.hours.insert(hour, generation);
        }
        self.manifest.generation = generation;
        self.sync()?;
        self.keep_manifest()?;
        for path in replaced {
            self.remove(&path)?;
        }
        Ok(())
    }

    fn keep_manifest(&self) -> Result<(), Error> {
        let (new, path) = (
            self.directory.join(MANIFEST_NEW),
            self.directory.join(MANIFEST),
        );
        let bytes = encode(&self.manifest);
        self.disk
            .write(&new, &bytes)
            .map_err(|source| state("write", &new, source))?;
        self.disk
            .rename(&new, &path)
            .map_err(|source| state("rename", &new, source))?;
        self.sync()
    }

    fn remove(&self, path: &Path) -> Result<(), Error> {
        self.disk
            .remove(path)
            .map_err(|source| state("remove", path, source))
    }

    fn sync(&self) -> Result<(), Error> {
        self.disk
            .sync_directory(&self.directory)
            .map_err(|source| state("sync", &self.directory, source))
    }

    /// Removes what an interrupted step left.
    fn sweep(&self) -> Result<(), Error> {
        let hours = self.manifest.hours.iter();
        let valid: HashSet<PathBuf> = hours
            .map(|(&hour, &generation)| self.path(hour, generation))
            .collect();
        let entries = std::fs::read_dir(&self.directory);
        for entry in entries.map_err(|source| state("read directory", &self.directory, source))? {
            let path = entry
                .map_err(|source| state("read directory", &self.directory, source))?
                .path();
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            let tally = name.starts_with("hour-") && name.ends_with(".tally");
            if name == MANIFEST_NEW || (tally && !valid.contains(&path)) {
                self.remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Sets a state aside that cannot be read any more, so that another one can be begun; returns where it is then.
///
/// It is never removed: when there are [`ASIDE_MAX`] already, somebody must look at them first.
pub fn set_aside(directory: &Path) -> Result<PathBuf, Error> {
    let mut name = directory.as_os_str().to_owned();
    name.push(ASIDE);
    for number in 1..=ASIDE_MAX {
        let mut name = name.clone();
        name.push(number.to_string());
        let aside = PathBuf::from(name);
        if aside.exists() {
            continue;
        }
        return std::fs::rename(directory, &aside)
            .map(|()| aside)
            .map_err(|source| state("set aside", directory, source));
    }
    let source = io::Error::other(format!("{ASIDE_MAX} states were set aside already"));
    Err(state("set aside", directory, source))
}

/// Returns the file of an hour.
fn path_of(directory: &Path, hour: i64, generation: u64) -> PathBuf {
    directory.join(format!("hour-{hour}-{generation}.tally"))
}
