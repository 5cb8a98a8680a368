//! The bytes between a file and a scanner: one buffer that is used again and again.

use std::io::{self, Read};

use crate::format::{RECORD_BYTES_MAX, Scanner};
use crate::record::Sink;

/// Bytes read at once: what was copied from the kernel is still in the processor's own cache when it is scanned.
const READ_BYTES: usize = 256 * 1024;

/// Bytes read at once beyond the end of a piece, for its last record.
const BEYOND_BYTES: u64 = 64 * 1024;

/// Bytes that a window holds at first.
const WINDOW_BYTES: usize = 2 * READ_BYTES;

/// Bytes that a window may grow to: the longest record, what a scanner needs to see after it, and one more read.
const WINDOW_BYTES_MAX: usize = 2 * RECORD_BYTES_MAX + 2 * READ_BYTES;

/// Bytes that were read and not yet scanned.
pub(crate) struct Window {
    bytes: Vec<u8>,
    from: usize,
    filled: usize,
    /// Where in the source its first byte is.
    base: u64,
    ended: bool,
    trouble: Option<String>,
}

impl Default for Window {
    fn default() -> Window {
        Window {
            bytes: vec![0; WINDOW_BYTES],
            from: 0,
            filled: 0,
            base: 0,
            ended: false,
            trouble: None,
        }
    }
}

impl Window {
    /// Empties it for a source, or a part of one that begins at `base`.
    pub(crate) fn begin(&mut self, base: u64) {
        if self.bytes.len() > WINDOW_BYTES {
            self.bytes.truncate(WINDOW_BYTES);
            self.bytes.shrink_to_fit();
        }
        self.from = 0;
        self.filled = 0;
        self.base = base;
        self.ended = false;
        self.trouble = None;
    }

    /// Returns the bytes that were not scanned yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.from..self.filled]
    }

    /// Returns where the source was scanned up to.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Returns where the source was read up to.
    pub(crate) fn read_to(&self) -> u64 {
        self.base + self.rest().len() as u64
    }

    /// Whether no more bytes follow what is there.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Returns why the source ended, when it did not end well.
    pub(crate) fn trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    /// Leaves bytes at the front out.
    pub(crate) fn skip(&mut self, count: usize) {
        self.from += count;
        self.base += count as u64;
        debug_assert!(
            self.from <= self.filled,
            "a scanner is done with bytes that it was given"
        );
    }

    /// Reads more, not far beyond `until`, and returns whether there was room for more.
    pub(crate) fn fill(&mut self, source: &mut dyn Read, until: u64) -> bool {
        if self.ended {
            return true;
        }
        if self.bytes.len() - self.filled < READ_BYTES {
            self.bytes.copy_within(self.from..self.filled, 0);
            self.filled -= self.from;
            self.from = 0;
            if self.bytes.len() - self.filled < READ_BYTES {
                if self.bytes.len() >= WINDOW_BYTES_MAX {
                    return false;
                }
                self.bytes
                    .resize((self.bytes.len() * 2).min(WINDOW_BYTES_MAX), 0);
            }
        }
        let wanted = until
            .saturating_add(BEYOND_BYTES)
            .saturating_sub(self.read_to());
        let wanted = usize::try_from(wanted)
            .unwrap_or(READ_BYTES)
            .clamp(BEYOND_BYTES as usize, READ_BYTES);
        let most = (self.filled + wanted).min(self.bytes.len());
        loop {
            match source.read(&mut self.bytes[self.filled..most]) {
                Ok(0) => self.ended = true,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.ended = true;
                    self.trouble = Some(crate::error::cause(&error));
                }
            }
            return true;
        }
    }

    /// Leaves out what remains of a record whose beginning was cut before; the window begins with the last byte that was done.
    pub(crate) fn skip_inside(&mut self, source: &mut dyn Read, scanner: &dyn Scanner) {
        loop {
            let rest = self.rest();
            if let Some(found) = scanner.sync(rest).filter(|&found| found > 0) {
                return self.skip(found);
            }
            if self.ended {
                return self.skip(rest.len());
            }
            // The last byte may be the line end before the next record.
            self.skip(rest.len().saturating_sub(1));
            if !self.fill(source, u64::MAX) {
                return;
            }
        }
    }

    /// Scans records that begin before `until` of the source, and returns when one was met that begins at or after it, or at the end.
    ///
    /// With `partial` the source's end is not the end of its last record, which is left in the window.
    pub(crate) fn scan(
        &mut self,
        source: &mut dyn Read,
        scanner: &mut dyn Scanner,
        until: u64,
        partial: bool,
        sink: &mut dyn Sink,
    ) {
        let mut looked = 0;
        loop {
            // What ends with trouble may end in the middle of a record, which must not be taken for a whole one.
            let end = self.ended && !partial && self.trouble.is_none();
            if self.rest().len() > looked || end {
                let base = self.base;
                let rest = &self.bytes[self.from..self.filled];
                let before = usize::try_from(until.saturating_sub(base)).unwrap_or(usize::MAX);
                let done = scanner.scan(rest, base, before.min(rest.len()), end, sink);
                assert!(
                    done <= rest.len(),
                    "a scanner is done with bytes that it was given"
                );
                self.skip(done);
                // A scanner that skips the rest of a record which is too long goes on until it has met its end.
                looked = self.rest().len();
                if self.base >= until && (done == 0 || looked > 0) {
                    return;
                }
            }
            if self.ended {
                return;
            }
            if !self.fill(source, until) {
                self.ended = true;
                self.trouble = Some(format!(
                    "no end of the record at byte {} was found",
                    self.base
                ));
                return;
            }
        }
    }
}
