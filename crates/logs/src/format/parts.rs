//! Puts records together whose lines came one by one and interleaved with those of other processes, as syslog and journald deliver them.
//!
//! Records are handed over in the order of their first line, so that the bytes that are done end where the first open record begins.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};

use super::plain::{self, Filled, Said};
use super::{RECORD_BYTES_MAX, Remarks, Scanner};
use crate::language::words::Label;
use crate::record::{Odd, Sink};

/// Most records that wait for more lines, or for those before them.
const OPEN_MAX: usize = 4096;

/// Most bytes of all of them.
const OPEN_BYTES_MAX: usize = 4 * RECORD_BYTES_MAX;

/// Lines of others after which a record cannot go on: the server writes the lines of a record without a pause.
const LINES_BETWEEN_MAX: u64 = 1024;

/// Most processes of which the last line that was taken is remembered.
const TAKEN_MAX: usize = 4096;

/// The longest line that the server gives to syslog (`PG_SYSLOG_LIMIT`).
const SYSLOG_LINE_BYTES: usize = 900;

/// A piece of a record.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    /// Which host and program it is of, as a hash.
    pub(crate) source: u64,
    pub(crate) pid: u32,
    pub(crate) at: Option<i64>,
    /// The server's own counters: number of the record within its process, and of the line within the record.
    pub(crate) counter: Option<(u64, u64)>,
    pub(crate) text: Cow<'a, [u8]>,
}

/// What a line or a journal entry is.
#[derive(Debug)]
pub(crate) enum Entry<'a> {
    /// A piece of a record.
    Piece(Piece<'a>),
    /// It is of another program.
    Foreign,
    /// It says nothing.
    Nothing,
    /// It is no entry.
    Odd(Odd<'a>),
}

/// Finds entries.
pub(crate) trait Entries {
    /// Returns the entry at the beginning and its length; none when it is not whole.
    fn next<'b>(&self, bytes: &'b [u8], end: bool) -> Option<(usize, Entry<'b>)>;
}

/// Puts pieces together.
#[derive(Default)]
pub(crate) struct Assembly {
    /// Reads the text of a record with its prefix; none when there is no prefix.
    inner: Option<Box<dyn Scanner>>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Entries seen in this scan.
    entries: u64,
    /// Processes of records that were handed over, with the offset of their last line.
    taken: VecDeque<(u64, u32, u64)>,
    /// The greatest of these offsets.
    taken_last: u64,
    /// Entries of other programs, and where the next that counts may begin.
    foreign: u64,
    foreign_from: u64,
    /// Offsets of pieces that were met beyond what was asked for, between those of their process, and belong to no record.
    strays: BTreeSet<u64>,
    scratch: Vec<u8>,
}

/// A record that waits.
#[derive(Debug)]
struct Waiting {
    said: Said,
    source: u64,
    number: Option<u64>,
    /// Length of the last piece.
    last_length: usize,
    last_entry: u64,
    last_offset: u64,
    /// Whether nothing more can belong to it.
    complete: bool,
    text: Vec<u8>,
    odd: Option<Sort>,
}

/// Which sort of no record waits.
#[derive(Clone, Copy, Debug)]
enum Sort {
    Raw,
    Malformed,
}

impl Assembly {
    pub(crate) fn new(inner: Option<Box<dyn Scanner>>) -> Assembly {
        Assembly {
            inner,
            ..Assembly::default()
        }
    }

    /// Returns what was left out, and the zones of the texts.
    pub(crate) fn remarks(&self) -> Remarks {
        let inner = self.inner.as_ref().map(|inner| inner.remarks());
        Remarks {
            foreign: self.foreign,
            ..inner.unwrap_or_default()
        }
    }

    /// Tells whether the texts have times of their own.
    pub(crate) fn has_times(&self) -> bool {
        let inner = self.inner.as_ref();
        inner.is_some_and(|inner| !inner.remarks().zones.is_empty())
    }

    /// Scans bytes as [`Scanner::scan`] does.
    pub(crate) fn scan(
        &mut self,
        entries: &impl Entries,
        bytes: &[u8],
        base: u64,
        until: usize,
        end: bool,
        sink: &mut dyn Sink,
    ) -> usize {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.entries = 0;
        self.strays = self.strays.split_off(&base);
        let mut position = 0;
        // Where the first record begins that is no longer asked for.
        let mut beyond = None;
        while beyond.is_none() || !self.waiting.is_empty() {
            let Some((length, entry)) = entries.next(&bytes[position..], end) else {
                break;
            };
            self.entries += 1;
            let offset = base + position as u64;
            let is_beyond = position >= until;
            if is_beyond {
                beyond = beyond.or(Some(position));
            }
            match entry {
                Entry::Piece(piece) => self.piece(piece, offset, is_beyond),
                Entry::Odd(odd) if !is_beyond => self.odd(&odd, offset),
                Entry::Foreign if !is_beyond && offset >= self.foreign_from => {
                    // What waits is read again, so that its neighbours come twice.
                    self.foreign += 1;
                    self.foreign_from = offset + 1;
                }
                Entry::Odd(_) | Entry::Foreign | Entry::Nothing => {}
            }
            position += length;
            self.hand_over(false, sink);
        }
        if end && position >= bytes.len() {
            self.hand_over(true, sink);
        }
        match (self.waiting.front(), beyond) {
            (Some(first), _) => usize::try_from(first.said.offset - base).unwrap_or(position),
            (None, Some(beyond)) => beyond,
            (None, None) => position,
        }
    }

    fn piece(&mut self, piece: Piece<'_>, offset: u64, is_beyond: bool) {
        let is_same = |taken: &&(u64, u32, u64)| taken.0 == piece.source && taken.1 == piece.pid;
        let again = offset <= self.taken_last && !self.strays.contains(&offset);
        if again
            && let Some(taken) = self.taken.iter().rev().find(is_same)
            && taken.2 >= offset
        {
            return;
        }
        let is_open = |waiting: &&mut Waiting| {
            waiting.odd.is_none()
                && !waiting.complete
                && waiting.source == piece.source
                && waiting.said.pid == piece.pid
        };
        let open = self.waiting.iter_mut().rev().find(is_open);
        let begins = match piece.counter {
            Some((_, line)) => line == 1,
            None => !is_continued(&piece.text),
        };
        if !begins {
            let number = piece.counter.map(|(number, _)| number);
            match open {
                Some(open) if open.number == number => {
                    let length = open.text.len();
                    open.add(&piece, offset, self.entries);
                    self.waiting_bytes += open.text.len() - length;
                }
                Some(_) if is_beyond => {
                    self.strays.insert(offset);
                }
                None if is_beyond => {}
                _ => self.odd(&Odd::Raw(&piece.text), offset),
            }
            return;
        }
        if let Some(open) = open {
            open.complete = true;
        }
        if is_beyond {
            return;
        }
        let text = piece.text[..piece.text.len().min(RECORD_BYTES_MAX)].to_vec();
        self.wait(Waiting {
            said: Said {
                offset,
                at: piece.at,
                pid: piece.pid,
                cut: piece.text.len() > RECORD_BYTES_MAX,
            },
            source: piece.source,
            number: piece.counter.map(|(number, _)| number),
            last_length: piece.text.len(),
            last_entry: self.entries,
            last_offset: offset,
            complete: false,
            text,
            odd: None,
        });
    }

    /// Lets what is no record wait for its turn, since what is read again must not be told again.
    fn odd(&mut self, odd: &Odd<'_>, offset: u64) {
        let (sort, bytes) = match odd {
            Odd::Raw(bytes) => (Sort::Raw, bytes),
            Odd::Forged(bytes) | Odd::Malformed(bytes) => (Sort::Malformed, bytes),
        };
        self.wait(Waiting {
            said: Said {
                offset,
                ..Said::default()
            },
            source: 0,
            number: None,
            last_length: 0,
            last_entry: 0,
            last_offset: offset,
            complete: true,
            text: bytes.to_vec(),
            odd: Some(sort),
        });
    }

    fn wait(&mut self, waiting: Waiting) {
        self.waiting_bytes += waiting.text.len();
        self.waiting.push_back(waiting);
    }

    /// Hands those over that are complete and have none before them that is not; with `all` also those that wait.
    fn hand_over(&mut self, all: bool, sink: &mut dyn Sink) {
        while let Some(first) = self.waiting.front() {
            let is_late = self.entries - first.last_entry > LINES_BETWEEN_MAX;
            let is_full = self.waiting.len() > OPEN_MAX || self.waiting_bytes > OPEN_BYTES_MAX;
            if !(all || first.complete || is_late || is_full) {
                return;
            }
            let Some(first) = self.waiting.pop_front() else {
                return;
            };
            self.waiting_bytes -= first.text.len();
            self.emit(first, sink);
        }
    }

    fn emit(&mut self, mut first: Waiting, sink: &mut dyn Sink) {
        match first.odd {
            Some(Sort::Raw) => return sink.odd(first.said.offset, Odd::Raw(&first.text)),
            Some(Sort::Malformed) => {
                return sink.odd(first.said.offset, Odd::Malformed(&first.text));
            }
            None => {}
        }
        if self.taken.len() == TAKEN_MAX {
            self.taken.pop_front();
        }
        if first.last_offset > first.said.offset {
            let last = (first.source, first.said.pid, first.last_offset);
            self.taken.push_back(last);
            self.taken_last = self.taken_last.max(first.last_offset);
        }
        match &mut self.inner {
            Some(inner) => {
                first.text.push(b'\n');
                let mut filled = Filled {
                    said: first.said,
                    sink,
                };
                inner.scan(&first.text, 0, first.text.len(), true, &mut filled);
            }
            None => plain::read(&first.text, &mut self.scratch, first.said, sink),
        }
    }
}

impl Waiting {
    /// Adds the text of a piece.
    fn add(&mut self, piece: &Piece<'_>, offset: u64, entry: u64) {
        let text = &*piece.text;
        let is_same_line = piece.counter.is_some() && continues_line(self.last_length, text);
        if self.text.len() + text.len() + 1 > RECORD_BYTES_MAX {
            self.said.cut = true;
        } else {
            if !is_same_line {
                self.text.push(b'\n');
            }
            self.text.extend_from_slice(text);
        }
        self.last_length = text.len();
        self.last_entry = entry;
        self.last_offset = offset;
    }
}

/// Tells whether a line without counter goes on with the record before it.
fn is_continued(text: &[u8]) -> bool {
    text.starts_with(b"\t") || !matches!(plain::marker(text), Some((Label::Severity(_), _)))
}

/// Tells whether a piece is the rest of a line that was too long for syslog: the server splits before the last space that fits.
fn continues_line(last_length: usize, text: &[u8]) -> bool {
    if text.starts_with(b"\t") {
        return false;
    }
    let word = text
        .iter()
        .skip(1)
        .take_while(|byte| !byte.is_ascii_whitespace())
        .count();
    // A character of several bytes is never split, so that up to three bytes less may fit.
    last_length + word + 1 > SYSLOG_LINE_BYTES - 4
        && (text.starts_with(b" ") || last_length > SYSLOG_LINE_BYTES - 4)
}
