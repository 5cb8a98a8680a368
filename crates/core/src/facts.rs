//! Everything that one run saw of one instance.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Blind, DownFacts, Instance, Missing, Server, Snapshot};

/// What became of one collector in one database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// The collector's name.
    pub collector: String,
    /// The database it was read in, for collectors of scope `database`.
    pub database: Option<String>,
    /// What it saw, or why it saw nothing.
    pub seen: Result<Arc<Snapshot>, Missing>,
}

/// Everything that one run saw of one instance: the input of every check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Which server.
    pub instance: Instance,
    /// When the run began.
    pub at: Timestamp,
    /// What the server says about itself, or why it could not be asked.
    pub server: Result<Server, Blind>,
    /// What files and processes tell when the server lets nobody in.
    #[serde(default)]
    pub down: Option<Box<DownFacts>>,
    /// The databases that were looked into, by name.
    pub databases: Vec<String>,
    /// One entry per collector (and database) that was asked.
    pub sightings: Vec<Sighting>,
    /// Things to know about the run itself.
    pub notes: Vec<String>,
}

impl Facts {
    /// Returns what `collector` saw in `database` (`None` for collectors of the whole server).
    ///
    /// # Errors
    /// The reason why it saw nothing; a collector that was not asked reads as [`Blind::Failed`].
    pub fn snapshot(&self, collector: &str, database: Option<&str>) -> Result<&Snapshot, Missing> {
        let mut sightings = self.sightings.iter();
        let found =
            sightings.find(|s| s.collector == collector && s.database.as_deref() == database);
        match (found, &self.server) {
            (Some(sighting), _) => sighting.seen.as_deref().map_err(Clone::clone),
            (None, Err(blind)) => Err(blind.clone().into()),
            (None, Ok(_)) => Err(Blind::Failed {
                what: format!("collector \"{collector}\" was not asked"),
            }
            .into()),
        }
    }
}
