//! Reads inputs with threads, so that what they add up to is the same for any number of threads and any size of pieces.
//!
//! A plain file is cut into pieces; a record belongs to the piece in which it begins. Pieces are scanned apart and joined in order, and a
//! piece whose first record is not where the piece before ended is scanned again from there. What cannot be cut is read as a stream.

mod merge;
mod open;
mod part;
pub(crate) mod piece;
pub(crate) mod pipe;
mod queue;
pub(crate) mod stream;
pub(crate) mod window;

pub use part::Part;

use crate::error::Error;
use crate::format::Scanner;
use crate::input::Input;
use crate::report::Source;
use crate::tally::{Counter, Options, Tally};

/// Bytes of the beginning of a file, after decompression, that tell its format.
pub const HEAD_BYTES: usize = 1024 * 1024;

/// Bytes of a piece when the caller has no other wish.
pub const PIECE_BYTES: u64 = 32 * 1024 * 1024;

/// Most threads that read.
pub const THREADS_MAX: usize = 256;

/// How to read.
pub struct Settings<'a> {
    /// Threads that scan.
    pub threads: usize,
    /// Bytes of a piece of a file, after which a stream's tally is joined too.
    pub piece_bytes: u64,
    /// Chooses the format of a file by its beginning.
    pub choose: &'a Choose<'a>,
}

/// Chooses the format of a file by its beginning.
pub type Choose<'a> = dyn Fn(&FileHead<'_>) -> Result<Chosen, Error> + Sync + 'a;

/// The beginning of a file.
#[derive(Clone, Copy, Debug)]
pub struct FileHead<'a> {
    /// Its name as given.
    pub name: &'a str,
    /// Its first [`HEAD_BYTES`], after decompression, or all of it when it is shorter.
    pub bytes: &'a [u8],
    /// When it was last written, in seconds since 1970-01-01 UTC, for formats whose times have no year; none for a reader.
    pub modified: Option<i64>,
    /// How its earlier part was read, when this reading goes on with it.
    pub known: Option<&'a Known>,
}

/// How a file was read before.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Known {
    /// Its format.
    pub format: String,
    /// Its prefixes.
    pub prefixes: Vec<String>,
}

/// The format of a file.
pub struct Chosen {
    /// Makes a scanner of it; each piece has its own.
    pub make: Box<dyn Fn() -> Box<dyn Scanner> + Send + Sync>,
    /// Its name, as people say it.
    pub format: String,
    /// The prefixes, for formats that have one.
    pub prefixes: Vec<String>,
    /// Share of lines that the prefixes match, where they were guessed.
    pub match_rate: Option<f64>,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What the records add up to; settled.
    pub tally: Tally,
    /// The files and what was wrong with them.
    pub source: Source,
}

/// Reads inputs in their order and returns the tally of their records within the window of the options.
pub fn read(
    inputs: Vec<Input>,
    settings: &Settings<'_>,
    options: &Options,
) -> Result<Outcome, Error> {
    let counter = Counter {
        tally: Tally::default(),
        options: options.clone(),
    };
    let (counter, source) = read_into(inputs, settings, counter)?;
    Ok(Outcome {
        tally: counter.tally,
        source,
    })
}

/// Reads inputs in their order into `first`, which must be empty; what it becomes is settled.
///
/// Trouble with one input is stated in its [`crate::report::SourceFile`] and the others are read.
pub fn read_into<P: Part>(
    inputs: Vec<Input>,
    settings: &Settings<'_>,
    first: P,
) -> Result<(P, Source), Error> {
    if inputs.is_empty() {
        return Err(Error::NoInput);
    }
    let mut merge = merge::Merge::new(first, settings.piece_bytes.max(1));
    if settings.threads <= 1 {
        for input in inputs {
            merge.read_alone(input, settings);
        }
    } else {
        queue::read_together(inputs, settings, &mut merge);
    }
    Ok(merge.finish())
}
