//! Remembers: what Pawang keeps between runs.
//!
//! A one-shot run keeps one small file per instance, the last sample, so that the next run can
//! compute rates and find a data directory when the server is down.

mod sample;

pub use sample::{Error, Sample, load, save};
