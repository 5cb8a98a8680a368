//! The operating system under a local server.

use std::path::PathBuf;

use pawang_core::{Blind, Facts, Sighting, Timestamp};

use crate::Collector;

/// What is known of the host before it is looked at.
#[derive(Clone, Debug, Default)]
pub struct HostRequest {
    /// The data directory, from the configuration or from an earlier run.
    pub data_directory: Option<PathBuf>,
    /// The directory of the server log, likewise.
    pub log_directory: Option<PathBuf>,
}

/// Reads the wanted host collectors, or says why they cannot be read here.
pub fn observe(
    request: &HostRequest,
    facts: &Facts,
    wanted: &[&Collector],
    now: Timestamp,
) -> Vec<Sighting> {
    let _ = (request, facts, now);
    let blind = |collector: &&Collector| Sighting {
        collector: collector.name.clone(),
        database: None,
        seen: Err(Blind::NotLocal {
            what: "the host".to_owned(),
        }
        .into()),
    };
    wanted.iter().map(blind).collect()
}
