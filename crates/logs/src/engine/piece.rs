//! Pieces of a plain file.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::Chosen;
use super::window::Window;
use crate::format::Scanner;
use crate::record::Sink;

/// Bytes in which the first record of a piece is looked for; when there is none the piece is scanned after the one before it.
const SYNC_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A plain file that is open, with the format of its records.
pub(crate) struct Plain {
    /// The file.
    pub(crate) file: File,
    /// Its size when it was opened: no more is read.
    pub(crate) size: u64,
    /// Its format.
    pub(crate) chosen: Chosen,
}

/// What was found where in a piece.
pub(crate) struct Scanned {
    /// Where the first record begins; none when no record begins in the piece.
    pub(crate) first: Option<u64>,
    /// Where the record after the last begins.
    pub(crate) end: u64,
    /// The scanner as it was at the end.
    pub(crate) scanner: Box<dyn Scanner>,
    /// Why it was not read to its end.
    pub(crate) trouble: Option<String>,
}

/// Reads a file from an offset up to the size that it had when it was opened.
pub(crate) struct From<'a> {
    file: &'a File,
    offset: u64,
    size: u64,
}

impl<'a> From<'a> {
    /// Returns the reader of what follows `offset`.
    pub(crate) fn new(file: &'a File, offset: u64, size: u64) -> From<'a> {
        From { file, offset, size }
    }
}

impl Read for From<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(self.offset);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.file.read_at(&mut into[..most], self.offset)?;
        if count == 0 {
            let offset = self.offset;
            return Err(io::Error::other(format!(
                "it shrank to {offset} bytes or less while it was read"
            )));
        }
        self.offset += count as u64;
        Ok(count)
    }
}

/// Scans a piece whose first record is to be found.
pub(crate) fn scan(
    plain: &Plain,
    range: Range<u64>,
    window: &mut Window,
    sink: &mut dyn Sink,
) -> Scanned {
    let scanner = (plain.chosen.make)();
    if range.start == 0 {
        return scan_from(plain, 0, range.end, scanner, window, sink);
    }
    // The byte before the piece is looked at too: a record that begins with the piece is told by the line end before it.
    let mut source = From::new(&plain.file, range.start - 1, plain.size);
    window.begin(range.start - 1);
    let first = loop {
        let full = !window.fill(&mut source, u64::MAX) || window.ended();
        let rest = window.rest();
        let found = match scanner.sync(rest) {
            Some(0) if !rest.is_empty() => scanner.sync(&rest[1..]).map(|found| found + 1),
            found => found,
        };
        if found.is_some() || full || rest.len() >= SYNC_BYTES_MAX || window.read_to() >= range.end
        {
            break found;
        }
    };
    let first = first.filter(|&first| range.start - 1 + (first as u64) < range.end);
    let Some(first) = first else {
        return Scanned {
            first: None,
            end: range.start,
            scanner,
            trouble: window.trouble(),
        };
    };
    window.skip(first);
    let mut scanned = run(window, &mut source, range.end, scanner, sink);
    scanned.first = Some(range.start - 1 + first as u64);
    scanned
}

/// Scans a piece from where a record is known to begin.
pub(crate) fn scan_from(
    plain: &Plain,
    first: u64,
    until: u64,
    scanner: Box<dyn Scanner>,
    window: &mut Window,
    sink: &mut dyn Sink,
) -> Scanned {
    let mut source = From::new(&plain.file, first, plain.size);
    window.begin(first);
    let mut scanned = run(window, &mut source, until, scanner, sink);
    scanned.first = Some(first);
    scanned
}

fn run(
    window: &mut Window,
    source: &mut From<'_>,
    until: u64,
    mut scanner: Box<dyn Scanner>,
    sink: &mut dyn Sink,
) -> Scanned {
    window.scan(source, scanner.as_mut(), until, false, sink);
    Scanned {
        first: None,
        end: window.base(),
        scanner,
        trouble: window.trouble(),
    }
}
