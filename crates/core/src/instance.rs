//! One server that Pawang looks after.

use serde::{Deserialize, Serialize};

/// One PostgreSQL server of the estate, by the name that people use for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Unique name within the estate, such as `dwh-1`; `host:port` when nothing is configured.
    pub name: String,
    /// The group that shares thresholds with it, such as `prod`.
    pub group: Option<String>,
    /// Application names of the standbys that must be connected to it.
    pub expected_standbys: Vec<String>,
}
