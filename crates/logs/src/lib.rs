//! Server log bytes to records, kinds, statistics and a report: the same report from the same events, whatever the format, the compression
//! or the number of threads.
//!
//! It reads files and prints nothing; it opens no socket.

pub mod advice;
pub mod engine;
mod error;
pub mod follow;
pub mod format;
pub mod input;
pub mod kind;
pub mod record;
pub mod report;
pub mod resume;
pub mod severity;
pub mod tally;

pub use error::Error;
