//! Remembers: what Pawang keeps between runs.
//!
//! A one-shot run keeps one small file per instance, the last sample, so that the next run can
//! compute rates and find a data directory when the server is down. The daemon keeps history and
//! state in one data directory, and its present in memory.

mod database;
mod error;
pub mod history;
pub mod live;
mod open;
mod recorder;
mod sample;
pub mod state;
pub mod text;

pub use error::Error;
pub use open::{Alone, Opened, Store};
pub use recorder::{Recorder, WAITING_BYTES_MAX};
pub use sample::{Sample, load, save};
