//! One reading: which files there are, what is new in them, and its commits.

use std::io::Read;

use super::hours::{HOURS_MAX, Hours};
use super::identify::{Identity, Sight, identify, read_at_most, skip_to};
use super::state::{FileState, MARK_BYTES, hash};
use super::{Bound, FILES_MAX, Kept, MissingFile, Step, Store};
use crate::engine::{FileHead, HEAD_BYTES, Known, Settings, piece, window::Window};
use crate::error::{Error, cause};
use crate::format::Scanner;
use crate::input::{From, Input};
use crate::report::SourceFile;

/// After so many seconds without a change the last record of a file is whole.
const QUIET_SECONDS: i64 = 2;

/// After so many seconds a last record without a line end is whole too: the server stopped while it wrote it.
const TORN_SECONDS: i64 = 60;

/// Bytes that are scanned before it is looked whether to commit.
const LOOK_BYTES: u64 = 1024 * 1024;

/// Hours that are kept in memory before they are committed.
const HOURS_AT_ONCE: usize = 48;

/// Reads what is new.
pub(super) fn run<P: Kept>(
    store: &mut Store<P>,
    inputs: &[Input],
    settings: &Settings<'_>,
    now: i64,
    bound: &Bound<'_>,
) -> Result<Step, Error> {
    let mut step = Step::default();
    let mut sights = Vec::new();
    for input in inputs {
        if (bound.stop)() {
            step.more = true;
            return Ok(step);
        }
        let seen = match &input.from {
            From::File(path) => Sight::of(path).map_err(|error| cause(&error)),
            From::Reader(_) => Err("a stream has no place to go on from".to_owned()),
        };
        match seen {
            Ok(sight) => sights.push(sight),
            Err(why) => step.source.files.push(SourceFile {
                name: input.name.clone(),
                trouble: Some(format!(
                    "could not read it: {why}; nothing new of it was read"
                )),
                ..SourceFile::default()
            }),
        }
    }
    let identities = identify(&sights, &store.manifest.files);
    let numbers = place(store, &sights, &identities);
    let mut reading = Reading {
        store,
        settings,
        now,
        hours: Hours::default(),
        window: Window::default(),
        uncommitted: 0,
        bound,
        read: 0,
        stopped: false,
    };
    for (sight, number) in sights.iter().zip(numbers) {
        if reading.stopped {
            break;
        }
        if let Some(number) = number
            && let Some(file) = reading.file(sight, number)?
        {
            step.source.files.push(file);
        }
    }
    reading.commit()?;
    step.more = reading.stopped;
    step.source.bytes = step.source.files.iter().map(|file| file.bytes).sum();
    let missing = |state: &FileState| {
        let bytes = state.size.saturating_sub(state.offset);
        (state.gone && !state.compressed && bytes > 0).then(|| MissingFile {
            name: state.name.clone(),
            bytes,
        })
    };
    step.gaps = store.manifest.files.iter().filter_map(missing).collect();
    Ok(step)
}

/// Brings the states up to what is there, and returns which state each file has; none for a copy.
fn place<P>(store: &mut Store<P>, sights: &[Sight], identities: &[Identity]) -> Vec<Option<usize>> {
    let files = &mut store.manifest.files;
    let mut present = vec![false; files.len()];
    let mut numbers = Vec::new();
    for (sight, identity) in sights.iter().zip(identities) {
        let number = match *identity {
            Identity::Copy(_) => {
                numbers.push(None);
                continue;
            }
            Identity::Known(number) => number,
            Identity::New => {
                files.push(FileState::default());
                present.push(true);
                files.len() - 1
            }
        };
        let state = &mut files[number];
        present[number] = true;
        let unchanged = (state.device, state.inode, state.size, state.modified)
            == (sight.device, sight.inode, sight.size, sight.modified);
        state.finished &= unchanged;
        note(state, sight);
        numbers.push(Some(number));
    }
    for (state, present) in files.iter_mut().zip(&present) {
        state.gone = !present;
    }
    // Those that are gone for the longest time stand first.
    let mut excess = files.len().saturating_sub(FILES_MAX);
    let kept: Vec<bool> = files
        .iter()
        .map(|state| {
            let dropped = state.gone && excess > 0;
            excess -= usize::from(dropped);
            !dropped
        })
        .collect();
    let shifted = |number: usize| kept[..number].iter().filter(|&&kept| kept).count();
    let numbers = numbers
        .into_iter()
        .map(|number| number.map(shifted))
        .collect();
    let mut flags = kept.iter();
    files.retain(|_| *flags.next().expect("one for each"));
    numbers
}

fn note(state: &mut FileState, sight: &Sight) {
    state.name.clone_from(&sight.name);
    state.device = sight.device;
    state.inode = sight.inode;
    state.size = sight.size;
    state.modified = sight.modified;
    state.compressed = sight.compressed;
    let head = &sight.head[..sight.head.len().min(MARK_BYTES)];
    state.head_bytes = u32::try_from(head.len()).expect("a mark is small");
    state.head_hash = hash(head);
}

struct Reading<'a, 'b, P> {
    store: &'a mut Store<P>,
    settings: &'a Settings<'b>,
    now: i64,
    hours: Hours<P>,
    window: Window,
    uncommitted: u64,
    bound: &'a Bound<'a>,
    /// Bytes of all files.
    read: u64,
    /// Whether the bound ended it.
    stopped: bool,
}

impl<P: Kept> Reading<'_, '_, P> {
    /// Reads what is new in one file, if there is anything.
    fn file(&mut self, sight: &Sight, number: usize) -> Result<Option<SourceFile>, Error> {
        let state = &self.store.manifest.files[number];
        if state.finished || (!sight.compressed && state.offset >= sight.size) {
            return Ok(None);
        }
        if self.is_over() {
            self.stopped = true;
            return Ok(None);
        }
        let mut file = SourceFile {
            name: sight.name.clone(),
            compression: sight.compressed.then(|| "compressed".to_owned()),
            ..SourceFile::default()
        };
        match self.content(sight, number, &mut file) {
            Ok(()) => Ok(Some(file)),
            Err(Stop::State(error)) => Err(error),
            Err(Stop::File(why)) => {
                file.trouble = Some(why);
                Ok(Some(file))
            }
            Err(Stop::Bound) => {
                self.stopped = true;
                Ok(None)
            }
        }
    }

    /// Says whether the bound ends the reading.
    fn is_over(&self) -> bool {
        self.read >= self.bound.bytes || (self.bound.stop)()
    }

    fn content(&mut self, sight: &Sight, number: usize, file: &mut SourceFile) -> Result<(), Stop> {
        let nothing = |error: &std::io::Error| {
            Stop::File(format!("{}; nothing new of it was read", cause(error)))
        };
        let state = &self.store.manifest.files[number];
        let offset = state.begin();
        let (head, mut reader): (_, Box<dyn Read + '_>) = if sight.compressed {
            let head = sight.content(HEAD_BYTES).map_err(|error| nothing(&error))?;
            let found = skip_to(sight, state, offset, self.bound.stop);
            let found = found.map_err(|error| nothing(&error))?;
            if found.is_none() && (self.bound.stop)() {
                return Err(Stop::Bound);
            }
            let Some(rest) = found else {
                let why = "it begins as a file that was read before and goes on otherwise; nothing of it was read";
                return Err(Stop::File(why.to_owned()));
            };
            (head, rest)
        } else {
            let head = read_at_most(&sight.file, 0, HEAD_BYTES).map_err(|error| nothing(&error))?;
            (
                head,
                Box::new(piece::From::new(&sight.file, offset, sight.size)),
            )
        };
        let mut scanner = self.scanner(&head, sight, number, file)?;
        let whole = sight.compressed || self.is_quiet(sight);
        let done = self.scan(
            reader.as_mut(),
            scanner.as_mut(),
            whole,
            sight,
            number,
            file,
        );
        file.remark(scanner.remarks());
        done
    }

    fn scanner(
        &mut self,
        head: &[u8],
        sight: &Sight,
        number: usize,
        file: &mut SourceFile,
    ) -> Result<Box<dyn Scanner>, Stop> {
        let state = &mut self.store.manifest.files[number];
        let known = (!state.known.format.is_empty()).then_some(&state.known);
        let head = FileHead {
            name: &sight.name,
            bytes: head,
            modified: Some(sight.modified),
            known,
        };
        let chosen = (self.settings.choose)(&head)
            .map_err(|error| Stop::File(format!("{error}; nothing new of it was read")))?;
        file.format.clone_from(&chosen.format);
        file.prefixes.clone_from(&chosen.prefixes);
        file.match_rate = chosen.match_rate;
        state.known = Known {
            format: chosen.format,
            prefixes: chosen.prefixes,
        };
        Ok((chosen.make)())
    }

    /// Whether the last record of a file is whole, though nothing follows it.
    fn is_quiet(&self, sight: &Sight) -> bool {
        let quiet = self.now.saturating_sub(sight.modified);
        let last = read_at_most(&sight.file, sight.size.saturating_sub(1), 1);
        quiet >= TORN_SECONDS || (quiet >= QUIET_SECONDS && last.is_ok_and(|last| last == b"\n"))
    }

    fn scan(
        &mut self,
        reader: &mut dyn Read,
        scanner: &mut dyn Scanner,
        whole: bool,
        sight: &Sight,
        number: usize,
        file: &mut SourceFile,
    ) -> Result<(), Stop> {
        let state = &self.store.manifest.files[number];
        self.window.begin(state.begin());
        self.hours.room = HOURS_MAX.saturating_sub(self.store.manifest.hours.len());
        self.hours.turn(state.hour);
        self.hours.inside = state.inside;
        if state.inside {
            self.window.skip_inside(reader, scanner);
            file.bytes += self.window.base().saturating_sub(state.offset);
        }
        let look = LOOK_BYTES.min(self.store.step_bytes);
        let counted = self.hours.records;
        loop {
            let before = self.window.base();
            self.window.scan(
                reader,
                scanner,
                before.saturating_add(look),
                !whole,
                &mut self.hours,
            );
            let done = self.window.base();
            self.uncommitted += done - before;
            let stopped = self.window.ended() && (done == before || self.window.rest().is_empty());
            let trouble = self.window.trouble();
            let state = &mut self.store.manifest.files[number];
            file.bytes += done - before;
            file.records = self.hours.records - counted;
            state.offset = done;
            state.hour = self.hours.hour;
            state.inside = self.hours.inside;
            mark(state, sight).map_err(|error| Stop::File(cause(&error)))?;
            state.finished = sight.compressed && stopped && trouble.is_none();
            if self.uncommitted >= self.store.step_bytes || self.hours.len() >= HOURS_AT_ONCE {
                self.commit().map_err(Stop::State)?;
            }
            if let Some(why) = trouble {
                return Err(Stop::File(format!(
                    "{why}: {done} bytes were read, what follows was not"
                )));
            }
            self.read += done - before;
            self.stopped = !stopped && self.is_over();
            if stopped || self.stopped {
                return Ok(());
            }
        }
    }

    fn commit(&mut self) -> Result<(), Error> {
        let parts = self.hours.take();
        self.uncommitted = 0;
        self.store.commit(parts)
    }
}

/// Why a file was not read to its end.
enum Stop {
    /// The state could not be kept: the reading ends.
    State(Error),
    /// The file could not be read: the others are.
    File(String),
    /// The bound ended the reading before anything new of the file was read.
    Bound,
}

/// Keeps the hash of the bytes before the next record.
fn mark(state: &mut FileState, sight: &Sight) -> std::io::Result<()> {
    state.last_bytes = 0;
    if !sight.compressed {
        let count = state.offset.min(MARK_BYTES as u64);
        let last = read_at_most(
            &sight.file,
            state.offset - count,
            usize::try_from(count).expect("a mark is small"),
        )?;
        state.last_bytes = u32::try_from(last.len()).expect("a mark is small");
        state.last_hash = hash(&last);
    }
    Ok(())
}
