//! The part of `pawang.toml` about changing servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What Pawang may do to a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ActConfig {
    /// Roles whose sessions are never cancelled or terminated, with `*`.
    pub protected_roles: Vec<String>,
    /// Applications (`application_name`) whose sessions are never cancelled or terminated, with `*`.
    ///
    /// Sessions of backup programs and of Pawang itself never are, whatever stands here.
    pub protected_applications: Vec<String>,
    /// How many sessions `pawang session terminate --blockers` may end at once, however few there are.
    #[schemars(range(min = 0, max = 10000))]
    pub terminate_sessions_max: u32,
    /// Up to which share of all client sessions it may go beyond that, in percent.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub terminate_percent_max: f64,
}

impl Default for ActConfig {
    fn default() -> ActConfig {
        ActConfig {
            protected_roles: Vec::new(),
            protected_applications: Vec::new(),
            terminate_sessions_max: 3,
            terminate_percent_max: 5.0,
        }
    }
}
