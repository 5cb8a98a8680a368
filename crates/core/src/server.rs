//! What a server says about itself when Pawang connects.

use serde::{Deserialize, Serialize};

use crate::snapshot::Epoch;

/// Whether a server accepts writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Accepts writes.
    Primary,
    /// In recovery: replays WAL.
    Standby,
}

/// What a server says about itself when Pawang connects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// `server_version_num`, such as 150018.
    pub version: u32,
    /// `server_version`, such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub version_text: String,
    /// Primary or standby.
    pub role: Role,
    /// Identity and lifetime of the counters.
    pub epoch: Epoch,
    /// The role that Pawang connected as.
    pub user: String,
    /// Whether that role is a superuser.
    pub superuser: bool,
    /// Whether that role has the privileges of `pg_monitor`.
    pub monitor: bool,
    /// The database of the first connection.
    pub database: String,
    /// `data_directory`, when the role may see it.
    pub data_directory: Option<String>,
    /// Whether the server runs on the machine that Pawang runs on.
    pub local: bool,
}

impl Server {
    /// Returns the major version, such as 15.
    pub fn major(&self) -> u32 {
        self.version / 10_000
    }

    /// Returns the version as PostgreSQL writes it, such as `15.18`.
    pub fn short_version(&self) -> String {
        format!("{}.{}", self.version / 10_000, self.version % 10_000)
    }
}
