//! Server log bytes to records, kinds, statistics and a report: the same report from the same events, whatever the format, the compression
//! or the number of threads.
//!
//! It reads files and prints nothing; it opens no socket.

pub mod advice;
pub mod format;
pub mod kind;
pub mod record;
pub mod render;
pub mod report;
pub mod settings;
pub mod severity;
pub mod tally;
