//! One file, from its end to its beginning, stretch by stretch.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::{Cut, Search, Stretch};
use crate::engine::{Choose, Chosen, FileHead};
use crate::error::cause;
use crate::format::{RECORD_BYTES_MAX, Scanner};
use crate::input::{MAGIC_BYTES, Peeked, compressed, is_archive};
use crate::record::{Odd, Record, Sink};

/// Bytes at the beginning that tell the format.
pub(super) const HEAD_BYTES: usize = 256 * 1024;
/// Bytes that are read at once, at first and at most: a record is never longer than a scanner keeps, but for one that is cut.
const STRETCH_BYTES: u64 = 512 * 1024;
const STRETCH_BYTES_MAX: u64 = 4 * RECORD_BYTES_MAX as u64;

/// How much later than what is wanted the first record of a file must be for the rest to be left alone: processes write at the same time.
const DISORDER_MICROSECONDS: i64 = 60_000_000;

/// What is known of a file before its format.
pub(super) struct Head<'a> {
    name: &'a str,
    modified: i64,
}

impl Head<'_> {
    /// Chooses the format by the first bytes, which were unpacked.
    pub(super) fn choose(&self, bytes: &[u8], choose: &Choose<'_>) -> Result<Chosen, String> {
        let chosen = choose(&FileHead {
            name: self.name,
            bytes,
            modified: Some(self.modified),
            known: None,
        });
        chosen.map_err(|error| error.to_string())
    }
}

/// The time of the first record that has one.
#[derive(Default)]
struct First(Option<i64>);

impl Sink for First {
    fn record(&mut self, _: u64, record: &Record<'_>) {
        self.0 = self.0.or(record.at);
    }

    fn odd(&mut self, _: u64, _: Odd<'_>) {}
}

impl Search<'_> {
    /// Looks into a file, or says why not, or what of it was not searched.
    pub(super) fn file(&mut self, path: &Path, choose: &Choose<'_>) -> Result<(), String> {
        let file = File::open(path).map_err(|error| cause(&error))?;
        let facts = file.metadata().map_err(|error| cause(&error))?;
        let size = facts.len();
        let head = read(&file, 0, size.min(HEAD_BYTES as u64))?;
        let name = path.display().to_string();
        let facts = Head {
            name: &name,
            modified: facts.mtime(),
        };
        if compressed(&head[..head.len().min(MAGIC_BYTES)]) {
            return self.packed(&file, &facts, choose);
        }
        if is_archive(&mut Peeked::new(&head[..])) {
            return Err("it is an archive".to_owned());
        }
        let chosen = facts.choose(&head, choose)?;
        if self.is_late(&chosen, &head) {
            return Ok(());
        }
        self.plain(&file, size, &chosen)
    }

    /// Says whether all of a file was written after what is wanted, by its first bytes.
    pub(super) fn is_late(&self, chosen: &Chosen, head: &[u8]) -> bool {
        if self.wanted.until.is_none() {
            return false;
        }
        let mut first = First::default();
        let mut scanner = (chosen.make)();
        scanner.scan(head, 0, head.len(), false, &mut first);
        self.late(first.0)
    }

    /// Says whether what follows a record of some time is later than what is wanted.
    pub(super) fn late(&self, at: Option<i64>) -> bool {
        let until = self.wanted.until;
        let until = until.map(|until| until.saturating_add(DISORDER_MICROSECONDS));
        until.is_some() && at >= until
    }

    /// Looks into a file that is not compressed, from its end.
    fn plain(&mut self, file: &File, size: u64, chosen: &Chosen) -> Result<(), String> {
        let (mut end, mut length) = (size, STRETCH_BYTES);
        while end > 0 && self.found.cut.is_none() {
            let start = end.saturating_sub(length);
            let bytes = read(file, start, end - start)?;
            self.found.bytes += bytes.len() as u64;
            self.read_bytes += bytes.len() as u64;
            let scanner = (chosen.make)();
            let skip = match start {
                0 => Some(0),
                _ => scanner.sync(&bytes).filter(|skip| *skip < bytes.len()),
            };
            let Some(skip) = skip else {
                // A record that is longer than the stretch; one that is too long for any is passed over.
                if length >= STRETCH_BYTES_MAX {
                    end = start;
                }
                length = (length * 2).min(STRETCH_BYTES_MAX);
                self.limit();
                continue;
            };
            let first_at = self.stretch(scanner, &bytes[skip..], start + skip as u64);
            end = start + skip as u64;
            // The next stretch is longer: who looks far back reads much.
            length = (length * 2).min(STRETCH_BYTES_MAX);
            let since = self.wanted.since;
            if since.is_some() && first_at.is_some_and(|at| Some(at) < since) {
                return Ok(());
            }
            if end > 0 && self.found.cut.is_none() {
                self.limit();
            }
        }
        Ok(())
    }

    /// Takes the last records of a stretch and returns the time of its first.
    fn stretch(&mut self, mut scanner: Box<dyn Scanner>, bytes: &[u8], base: u64) -> Option<i64> {
        let mut stretch = Stretch {
            matcher: &mut self.matcher,
            most: self.limits.records,
            lines: std::collections::VecDeque::new(),
            dropped: false,
            first_at: None,
        };
        scanner.scan(bytes, base, bytes.len(), true, &mut stretch);
        let Stretch {
            lines,
            dropped,
            first_at,
            ..
        } = stretch;
        self.found.records.extend(lines.into_iter().rev());
        if dropped {
            self.found.cut = Some(Cut::Records);
        }
        first_at
    }

    /// Says so when enough was found or read.
    pub(super) fn limit(&mut self) {
        self.found.cut = if self.found.records.len() >= self.limits.records {
            Some(Cut::Records)
        } else if self.read_bytes >= self.limits.bytes {
            Some(Cut::Bytes)
        } else if (self.limits.stop)() {
            Some(Cut::Time)
        } else {
            None
        };
    }
}

fn read(file: &File, start: u64, length: u64) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(cause(&error)),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
