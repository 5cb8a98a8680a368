//! Server log bytes to records, kinds, statistics and a report: the same report from the same events, whatever the format, the compression
//! or the number of threads.
//!
//! It reads files and prints nothing; it opens no socket.

pub mod advice;
pub mod choose;
pub mod engine;
mod error;
mod extract;
pub mod follow;
pub mod format;
pub mod histogram;
pub mod input;
pub mod kind;
pub mod language;
pub mod looks;
pub mod plan;
pub mod prefix;
pub mod record;
pub mod regression;
pub mod render;
pub mod report;
pub mod resume;
pub mod search;
mod secret;
pub mod settings;
pub mod severity;
pub mod statement;
pub mod tally;
pub mod threshold;
pub mod time;

pub use error::Error;
