//! The formats of a log: bytes to records.

pub mod cloudnative;
pub mod csv;
pub mod detect;
mod field;
pub mod journald;
pub mod json;
mod lines;
mod parts;
pub mod pgbouncer;
mod plain;
pub mod stderr;
pub mod syslog;
mod walk;
pub mod wrapped;

use crate::record::Sink;
use crate::time::Zone;

/// The longest record that a scanner keeps; the rest of a longer one is skipped, its texts are cut and it says so.
pub const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads one format.
///
/// The caller owns the bytes: it reads a piece, calls [`Scanner::scan`], keeps what was not done, appends the next piece and calls again.
pub trait Scanner: Send {
    /// Returns where the first record begins in bytes that were cut out of the middle of a file; none when no record begins in them.
    ///
    /// A guess is allowed (csvlog: the parity of quotes) since the caller compares it with where the piece before really ended.
    fn sync(&self, bytes: &[u8]) -> Option<usize>;

    /// Hands every record that begins before `until` and is whole to the sink, and returns how many bytes are done.
    ///
    /// `bytes` begins where the scan before ended, at `base` of the source; `end` says that no more bytes follow, so that what is there is
    /// whole. A record whose beginning fills [`RECORD_BYTES_MAX`] is handed over cut, and the scanner skips to its end.
    fn scan(
        &mut self,
        bytes: &[u8],
        base: u64,
        until: usize,
        end: bool,
        sink: &mut dyn Sink,
    ) -> usize;

    /// Whether pieces of one file may be scanned apart: syslog and journald may not, since records of several processes interleave.
    fn splittable(&self) -> bool;

    /// Returns what it is not sure of and what it left out, of all that it scanned.
    fn remarks(&self) -> Remarks {
        Remarks::default()
    }
}

/// What a scanner is not sure of, and what it left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// The zones of the times.
    pub zones: Vec<Zone>,
    /// Lines or entries of other programs.
    pub foreign: u64,
}

impl Remarks {
    fn zones(zones: &[Zone]) -> Remarks {
        Remarks {
            zones: zones.to_vec(),
            foreign: 0,
        }
    }
}
