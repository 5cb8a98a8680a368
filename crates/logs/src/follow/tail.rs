//! Bytes in, records out: a scanner over a file that grows.

use crate::format::{RECORD_BYTES_MAX, Scanner};
use crate::record::{Odd, Sink};

/// After so many milliseconds without a byte what ends with a line end is a whole record: the server writes a record at once.
pub const QUIET_MILLISECONDS: i64 = 100;

/// After so many milliseconds without a byte any record is taken as it is.
pub const HOLD_MILLISECONDS: i64 = 1000;

/// Bytes that wait for the end of their record; a scanner cuts longer records itself.
const BUFFER_BYTES_MAX: usize = 2 * RECORD_BYTES_MAX;

/// Makes scanners of one format.
pub type Make = Box<dyn Fn() -> Box<dyn Scanner> + Send + Sync>;

/// The end of one file.
pub struct Tail {
    make: Make,
    scanner: Box<dyn Scanner>,
    waiting: Vec<u8>,
    base: u64,
    changed_at: i64,
}

impl Tail {
    /// Begins at an offset of a file, where a record begins.
    pub fn new(make: Make, base: u64) -> Tail {
        Tail {
            scanner: make(),
            make,
            waiting: Vec::new(),
            base,
            changed_at: 0,
        }
    }

    /// Goes on in a format of which more is known now, such as another prefix; what waits for the end of its record stays.
    pub fn renew(&mut self, make: Make) {
        self.scanner = make();
        self.make = make;
    }

    /// Takes the bytes that follow, at a time in milliseconds, and hands over the records that are whole.
    pub fn feed(&mut self, bytes: &[u8], now: i64, sink: &mut dyn Sink) {
        if bytes.is_empty() {
            return;
        }
        self.changed_at = now;
        self.waiting.extend_from_slice(bytes);
        let all = self.waiting.len();
        let done = self
            .scanner
            .scan(&self.waiting, self.base, all, false, sink);
        self.waiting.drain(..done);
        self.base += done as u64;
        if self.waiting.len() > BUFFER_BYTES_MAX {
            self.finish(sink);
        }
    }

    /// Whether the last record waited for long enough.
    pub fn is_due(&self, now: i64) -> bool {
        let hold = if self.waiting.ends_with(b"\n") {
            QUIET_MILLISECONDS
        } else {
            HOLD_MILLISECONDS
        };
        !self.waiting.is_empty() && now.saturating_sub(self.changed_at) >= hold
    }

    /// Hands over the last record when it waited for long enough.
    pub fn tick(&mut self, now: i64, sink: &mut dyn Sink) {
        if self.is_due(now) {
            self.finish(sink);
        }
    }

    /// Hands over what is there, since nothing follows it.
    pub fn finish(&mut self, sink: &mut dyn Sink) {
        if self.waiting.is_empty() {
            return;
        }
        let all = self.waiting.len();
        let done = self.scanner.scan(&self.waiting, self.base, all, true, sink);
        if done < all {
            sink.odd(
                self.base + done as u64,
                Odd::Malformed(&self.waiting[done..]),
            );
        }
        self.base += all as u64;
        self.waiting.clear();
        self.scanner = (self.make)();
    }
}
