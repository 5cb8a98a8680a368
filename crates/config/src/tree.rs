//! The tree of `pawang.toml`: these structs are the format, its JSON schema and its documentation.
//!
//! What is written above a field here is what people read in `docs/reference/config.md`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pawang_core::{Instance, Secret, Unit};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::act::ActConfig;
use crate::alert::AlertConfig;
use crate::backup::{BackupPolicy, RepositoryConfig};
use crate::maintenance::MaintenanceConfig;
use crate::problem::Origin;
use crate::quantity::{Period, Quantity, Size};
use crate::serve::ServeConfig;

/// What Pawang looks after and how it judges it.
///
/// Relative paths start at the folder of the file. Every key is optional unless it says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The servers of the estate, one `[[instance]]` each.
    #[serde(rename = "instance")]
    pub instances: Vec<InstanceConfig>,
    /// Limits of a check for the whole estate: `[check.<id>]`. `pawang check list` shows the ids.
    #[serde(rename = "check")]
    pub checks: BTreeMap<String, CheckConfig>,
    /// Limits for a part of the estate, one `[[override]]` each.
    ///
    /// The most particular one wins: object, then database, instance, group, estate; among equals the later one.
    #[serde(rename = "override")]
    pub overrides: Vec<Override>,
    /// Checks of your own, one `[[user_check]]` each.
    #[serde(rename = "user_check")]
    pub user_checks: Vec<UserCheck>,
    /// Where collectors of your own are found.
    pub collectors: CollectorsConfig,
    /// Folder for what Pawang remembers between two runs; the user's state folder when not set.
    pub state_directory: Option<PathBuf>,
    /// How Pawang behaves towards every server.
    pub defaults: Defaults,
    /// How `pawang serve` observes, remembers and shows.
    pub serve: ServeConfig,
    /// When a finding becomes an alert, who is told, and how.
    pub alert: AlertConfig,
    /// How Pawang behaves while it changes a server.
    pub act: ActConfig,
    /// What `pawang maintain` looks after, when, and how far it may go.
    pub maintenance: MaintenanceConfig,
    /// Places that hold backups and WAL, one `[[repository]]` each.
    #[serde(rename = "repository")]
    pub repositories: Vec<RepositoryConfig>,
    /// When and how backups are taken, how long they are kept, and what is promised.
    pub backup: BackupPolicy,
    /// Things to know about the file that are no errors, such as a password inside a URL.
    #[serde(skip)]
    pub warnings: Vec<String>,
    /// Where each key stands in the file.
    #[serde(skip)]
    pub origin: Origin,
}

/// One PostgreSQL server that Pawang looks after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceConfig {
    /// Name of the server in every output; unique, without spaces.
    #[schemars(extend("format" = "name", "x-unique" = true))]
    pub name: String,
    /// Connection URL or conninfo, as for psql. Empty: the libpq environment (`PGHOST`, `PGSERVICE`, ...).
    ///
    /// Keep passwords out of it: use `password_file`, the parameter `passfile=` (else `~/.pgpass` is read), or `service=`.
    #[serde(default, skip_serializing_if = "no_text")]
    #[schemars(with = "String")]
    pub url: Secret<String>,
    /// File whose first line is the password; only its owner may be able to read it.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Group that shares limits with it, such as `prod`.
    #[serde(default)]
    pub group: Option<String>,
    /// Free texts about the server, such as `{ site = "jakarta" }`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Databases to look into, with `*`; all that accept connections when not set.
    #[serde(default)]
    pub databases: Option<Vec<String>>,
    /// `application_name` of every standby that must be connected to it.
    #[serde(default)]
    pub expected_standbys: Vec<String>,
    /// The server's data directory, when Pawang runs on the same machine and the role may not read the setting.
    #[serde(default)]
    pub data_directory: Option<PathBuf>,
    /// Folder of the server's log files, when it is not `log_directory` of the server itself.
    #[serde(default)]
    pub log_directory: Option<PathBuf>,
    /// URL of the PgBouncer console in front of it: `postgres://stats@host:6432/pgbouncer`.
    #[serde(default, skip_serializing_if = "no_secret")]
    #[schemars(with = "Option<String>")]
    pub pgbouncer: Option<Secret<String>>,
    /// URL of the REST API of its Patroni: `http://host:8008`.
    #[serde(default, skip_serializing_if = "no_secret")]
    #[schemars(with = "Option<String>")]
    pub patroni: Option<Secret<String>>,
    /// Where proof of backups by other programs is found, one `[[instance.backup]]` each.
    #[serde(default)]
    pub backup: Vec<BackupSource>,
    /// What holds for its backups in the repositories where that differs from `[backup]`.
    #[serde(default)]
    pub backup_policy: BackupPolicy,
    /// Loads that must arrive on time, one `[[instance.load]]` each.
    #[serde(default, rename = "load")]
    pub loads: Vec<LoadSource>,
    /// Tables that must stay fresh, one `[[instance.freshness]]` each.
    #[serde(default)]
    pub freshness: Vec<FreshnessSource>,
}

impl InstanceConfig {
    /// Returns the noun that the other crates use for this server.
    pub fn instance(&self) -> Instance {
        Instance {
            name: self.name.clone(),
            group: self.group.clone(),
            expected_standbys: self.expected_standbys.clone(),
        }
    }

    /// Says whether the server is one of production: its group or one of its labels begins with `prod`.
    pub fn production(&self) -> bool {
        let mut labels = self.labels.values().chain(&self.group);
        labels.any(|label| label.starts_with("prod"))
    }
}

// An empty `url` and an absent console must not turn into "[redacted]" when the tree is written out.
fn no_text(url: &Secret<String>) -> bool {
    url.reveal().is_empty()
}

fn no_secret(url: &Option<Secret<String>>) -> bool {
    url.is_none()
}

/// Where proof of a backup is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum BackupSource {
    /// Files in a folder on this machine: the newest one that matches is the last backup.
    Directory {
        /// Folder that the backups are written to.
        path: PathBuf,
        /// File or folder names that are backups, with `*`; all when not set.
        #[serde(default)]
        pattern: Option<String>,
        /// A smaller one counts as failed.
        #[serde(default)]
        minimum_size: Option<Size>,
    },
    /// A query that returns (label, finished_at, size_bytes, ok), one row per backup.
    Sql {
        /// Database to run it in; the one of the first connection when not set.
        #[serde(default)]
        database: Option<String>,
        /// The query; it runs read-only.
        #[schemars(length(min = 1))]
        query: String,
    },
    /// A pgBackRest repository on this machine.
    Pgbackrest {
        /// The repository, `repo1-path` of pgBackRest.
        path: PathBuf,
        /// The stanza.
        stanza: String,
    },
}

/// A load (ETL job) that must arrive on time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadSource {
    /// Name of this group of loads.
    #[schemars(extend("format" = "name", "x-unique" = true))]
    pub name: String,
    /// Database to run the query in; the one of the first connection when not set.
    #[serde(default)]
    pub database: Option<String>,
    /// Query that returns (load, finished_at, status, rows_loaded, rows_rejected), one row per load; it runs read-only.
    #[schemars(length(min = 1))]
    pub query: String,
    /// How old the last success of each load may be.
    #[serde(default)]
    pub maximum_age: Option<Period>,
}

/// A table, or several, that must stay fresh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreshnessSource {
    /// Name of the table or of this group of tables.
    #[schemars(extend("format" = "name", "x-unique" = true))]
    pub name: String,
    /// Database to run the query in; the one of the first connection when not set.
    #[serde(default)]
    pub database: Option<String>,
    /// Query that returns (object, last_at), one row per table; it runs read-only.
    #[schemars(length(min = 1))]
    pub query: String,
    /// How old the newest row may be.
    pub maximum_age: Period,
}

/// Limits of one check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckConfig {
    /// Whether the check runs; checks run unless this is `false`.
    pub enabled: Option<bool>,
    /// From here on it is a warning; a number in the check's unit, a text with a unit, or `"never"`.
    pub warning: Option<Quantity>,
    /// From here on it is critical; a number in the check's unit, a text with a unit, or `"never"`.
    pub critical: Option<Quantity>,
    /// Below these an object is not judged at all, such as `size = "100 MB"`.
    pub floors: BTreeMap<String, Quantity>,
}

/// Limits of one check, or of several, for a part of the estate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Id of the check, with `*`.
    pub check: String,
    /// Only instances of these groups, with `*`.
    #[serde(default)]
    pub group: Option<String>,
    /// Only these instances, with `*`.
    #[serde(default)]
    pub instance: Option<String>,
    /// Only these databases, with `*`.
    #[serde(default)]
    pub database: Option<String>,
    /// Only these objects, with `*`, such as `staging.*`.
    #[serde(default)]
    pub object: Option<String>,
    /// Whether the check runs there.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// From here on it is a warning; as in `[check.<id>]`.
    #[serde(default)]
    pub warning: Option<Quantity>,
    /// From here on it is critical; as in `[check.<id>]`.
    #[serde(default)]
    pub critical: Option<Quantity>,
    /// Below these an object is not judged at all; as in `[check.<id>]`.
    #[serde(default)]
    pub floors: BTreeMap<String, Quantity>,
}

/// A check of your own: one query that returns (object, value).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserCheck {
    /// Kebab-case id, used like the id of any other check.
    #[schemars(extend("format" = "kebab-case", "x-unique" = true))]
    pub id: String,
    /// What it is about, in a few words.
    #[schemars(length(min = 1))]
    pub title: String,
    /// Query that returns two columns, object (text) and value (number), one row per object; it runs read-only.
    #[schemars(length(min = 1))]
    pub sql: String,
    /// Database to run it in; the one of the first connection when not set.
    #[serde(default)]
    pub database: Option<String>,
    /// Which side of the limits is wrong.
    #[serde(default)]
    pub direction: Direction,
    /// From here on it is a warning.
    #[serde(default)]
    pub warning: Option<Quantity>,
    /// From here on it is critical.
    #[serde(default)]
    pub critical: Option<Quantity>,
    /// Unit of the value.
    #[serde(default = "count")]
    #[schemars(schema_with = "unit_schema")]
    pub unit: Unit,
    /// What to do when it fires.
    #[serde(default)]
    pub hint: Option<String>,
    /// Instances to run it on, with `*`; all when not set.
    #[serde(default)]
    pub instances: Option<Vec<String>>,
}

/// Which side of a limit is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Values at or above the limit are wrong.
    #[default]
    Above,
    /// Values at or below the limit are wrong.
    Below,
}

/// Where collectors of your own are found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CollectorsConfig {
    /// Folder with one folder per collector, each with `collector.toml` and its SQL files.
    pub directory: Option<PathBuf>,
}

/// How Pawang behaves towards every server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// How long a connection attempt may take.
    pub connect_timeout: Period,
    /// `statement_timeout` of every statement that Pawang sends while it observes.
    pub statement_timeout: Period,
    /// `lock_timeout` of every statement that Pawang sends while it observes.
    pub lock_timeout: Period,
    /// How many servers are read at the same time.
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: u32,
    /// Profile of checks that `pawang check` runs when none is named.
    pub profile: Option<String>,
}

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults {
            connect_timeout: Period(Duration::from_secs(5)),
            statement_timeout: Period(Duration::from_secs(10)),
            lock_timeout: Period(Duration::from_millis(100)),
            concurrency: 8,
            profile: None,
        }
    }
}

fn count() -> Unit {
    Unit::Count
}

fn unit_schema(_: &mut SchemaGenerator) -> Schema {
    let units = [
        Unit::Count,
        Unit::Percent,
        Unit::Bytes,
        Unit::Seconds,
        Unit::Milliseconds,
        Unit::Days,
        Unit::PerSecond,
        Unit::BytesPerSecond,
        Unit::Ratio,
        Unit::State,
    ];
    json_schema!({"type": "string", "enum": units})
}
