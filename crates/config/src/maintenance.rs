//! `[maintenance]`: what is looked after, when, and how far it may go.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::{Period, Size};

/// What is looked after by `pawang maintain`, when, and how far it may go.
///
/// A policy says when and how much; what it says about tables holds for all of them, and each `[[maintenance.rule]]` that
/// matches a table changes that, key by key, the later rule over the earlier one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaintenanceConfig {
    /// Policies by name, one `[maintenance.policy.<id>]` each.
    #[serde(rename = "policy")]
    pub policies: BTreeMap<String, MaintenancePolicy>,
    /// What holds for a part of the tables, one `[[maintenance.rule]]` each.
    #[serde(rename = "rule")]
    pub rules: Vec<MaintenanceRule>,
}

/// A subject of maintenance.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// Freezing what comes near the end of transaction numbers.
    Wraparound,
    /// Partitions made ahead, and taken out when their time is over; those of pg_partman and TimescaleDB too.
    Partitions,
    /// Indexes that an interrupted build left.
    Leftovers,
    /// Removing dead rows.
    Vacuum,
    /// Statistics that were never taken or that do not fit any more.
    Analyze,
    /// How exact the statistics of a column are, and statistics over several columns.
    Statistics,
    /// Autovacuum's settings of single tables.
    Tuning,
    /// Building bloated indexes anew.
    Reindex,
    /// Writing bloated tables anew.
    Rewrite,
    /// Files that nobody needs any more: logs, archived WAL, temporary files.
    Cleanup,
}

impl Area {
    /// Every subject, the most pressing first.
    pub const ALL: [Area; 10] = [
        Area::Wraparound,
        Area::Partitions,
        Area::Leftovers,
        Area::Vacuum,
        Area::Analyze,
        Area::Statistics,
        Area::Tuning,
        Area::Reindex,
        Area::Rewrite,
        Area::Cleanup,
    ];

    /// Returns its name as it is written in the file.
    pub fn name(self) -> &'static str {
        match self {
            Area::Wraparound => "wraparound",
            Area::Partitions => "partitions",
            Area::Leftovers => "leftovers",
            Area::Vacuum => "vacuum",
            Area::Analyze => "analyze",
            Area::Statistics => "statistics",
            Area::Tuning => "tuning",
            Area::Reindex => "reindex",
            Area::Rewrite => "rewrite",
            Area::Cleanup => "cleanup",
        }
    }
}

/// An action that happens only where a policy names it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum HighRisk {
    /// VACUUM FULL: readers and writers wait until it is done.
    VacuumFull,
    /// Dropping a table that was taken out of its partitioned table.
    DropTable,
    /// Dropping chunks of TimescaleDB.
    DropChunks,
    /// Deleting files.
    DeleteFile,
}

impl HighRisk {
    /// Returns its name as it is written in the file.
    pub fn name(self) -> &'static str {
        match self {
            HighRisk::VacuumFull => "vacuum-full",
            HighRisk::DropTable => "drop-table",
            HighRisk::DropChunks => "drop-chunks",
            HighRisk::DeleteFile => "delete-file",
        }
    }
}

/// When something is looked after, what, and how far it may go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaintenancePolicy {
    /// When the daemon applies it: `sun 02:00-06:00 Asia/Jakarta`, `first sun 00:00-04:00`, `cron 0 2 * * 0 for 4 h`.
    ///
    /// Nothing is begun outside of it, and what runs at its end is stopped. Without it only a person applies the policy.
    pub window: Option<String>,
    /// What is looked after; everything but `tuning`, `rewrite` and `cleanup` when not set.
    pub areas: Option<Vec<Area>>,
    /// Only these instances, with `*`; all when not set.
    pub instances: Option<Vec<String>>,
    /// Only these databases, with `*`; all when not set.
    pub databases: Option<Vec<String>>,
    /// How much one run may do; what does not fit is left for the next one.
    pub budget: BudgetConfig,
    /// How many actions run at the same time, never two on one table; 2 when not set.
    #[schemars(range(min = 1, max = 16))]
    pub lanes: Option<u32>,
    /// Actions of high risk that may happen without being confirmed one by one.
    pub allow: Vec<HighRisk>,
    /// When dead rows are removed.
    pub vacuum: VacuumConfig,
    /// When statistics are taken.
    pub analyze: AnalyzeConfig,
    /// When an index is built anew.
    pub index: IndexConfig,
    /// When a table is written anew.
    pub table: TableConfig,
    /// How partitioned tables grow and shrink.
    pub partitions: PartitionsConfig,
    /// Which files are deleted.
    pub cleanup: CleanupConfig,
}

/// What holds for a part of the tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceRule {
    /// Tables as `schema.table`, with `*`: `dw.fact_*`.
    #[serde(rename = "match")]
    #[schemars(length(min = 1))]
    pub pattern: String,
    /// Only in these databases, with `*`.
    #[serde(default)]
    pub database: Option<String>,
    /// Only in these policies; in all when not set.
    #[serde(default)]
    pub policies: Option<Vec<String>>,
    /// Whether the tables are left alone, whatever is the matter with them, short of wraparound.
    #[serde(default)]
    pub skip: Option<bool>,
    /// When dead rows are removed.
    #[serde(default)]
    pub vacuum: VacuumConfig,
    /// When statistics are taken.
    #[serde(default)]
    pub analyze: AnalyzeConfig,
    /// When an index is built anew.
    #[serde(default)]
    pub index: IndexConfig,
    /// When a table is written anew.
    #[serde(default)]
    pub table: TableConfig,
    /// How partitioned tables grow and shrink.
    #[serde(default)]
    pub partitions: PartitionsConfig,
}

/// How much one run may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetConfig {
    /// Longest time of one run, as far as it can be told beforehand.
    pub duration: Option<Period>,
    /// Most WAL of one run, as far as it can be told beforehand.
    pub wal: Option<Size>,
}

/// When dead rows are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VacuumConfig {
    /// Share of row versions that are dead, from which a table is vacuumed though autovacuum would wait; 20 when not set.
    #[schemars(range(min = 1, max = 100))]
    pub dead_percent: Option<f64>,
    /// With fewer dead row versions a table is never due by its share; 10000 when not set.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub dead_rows_min: Option<f64>,
    /// Age in percent of autovacuum_freeze_max_age from which a table is frozen; 75 when not set.
    #[schemars(range(min = 5, max = 100))]
    pub freeze_age_percent: Option<f64>,
    /// `vacuum_cost_delay` of our sessions in milliseconds; that of the server when not set.
    #[schemars(range(min = 0, max = 100))]
    pub cost_delay_ms: Option<f64>,
    /// `vacuum_cost_limit` of our sessions; that of the server when not set.
    #[schemars(range(min = 1, max = 10_000))]
    pub cost_limit: Option<u32>,
}

/// When statistics are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AnalyzeConfig {
    /// Share of rows that changed since the last ANALYZE, from which a table is analyzed though autovacuum would wait; 20
    /// when not set.
    #[schemars(range(min = 1, max = 1000))]
    pub modified_percent: Option<f64>,
    /// With fewer changed rows a table is never due by its share; 10000 when not set.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub modified_rows_min: Option<f64>,
}

/// When an index is built anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IndexConfig {
    /// Share of its size that is bloat, from which it is built anew; 40 when not set.
    #[schemars(range(min = 5, max = 99))]
    pub bloat_percent: Option<f64>,
    /// A smaller one is left alone; 100 MB when not set.
    pub minimum_size: Option<Size>,
}

/// How a table is written anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RewriteChoice {
    /// The gentlest that the server has: REPACK (CONCURRENTLY), pg_squeeze, pg_repack, VACUUM FULL.
    #[default]
    Auto,
    /// REPACK (CONCURRENTLY) of PostgreSQL 19.
    Repack,
    /// The extension pg_squeeze.
    PgSqueeze,
    /// The extension pg_repack.
    PgRepack,
    /// VACUUM FULL: readers and writers wait until it is done.
    VacuumFull,
}

/// When a table is written anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TableConfig {
    /// Share of its size that is free space, from which it is written anew; 50 when not set.
    #[schemars(range(min = 5, max = 99))]
    pub free_percent: Option<f64>,
    /// A smaller one is left alone; 1 GB when not set.
    pub minimum_size: Option<Size>,
    /// How; the gentlest that the server has when not set.
    pub method: Option<RewriteChoice>,
}

/// How partitioned tables grow and shrink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PartitionsConfig {
    /// How many range partitions stand ready after the one in use; 4 when not set, 0 makes none.
    #[schemars(range(min = 0, max = 100))]
    pub ahead: Option<u32>,
    /// Partitions whose range ended longer ago are taken out of their table; never when not set.
    pub keep: Option<Period>,
    /// Tables that were taken out so are dropped when their range ended longer ago; never when not set.
    ///
    /// It must be allowed too: `allow = ["drop-table"]`.
    pub drop_after: Option<Period>,
    /// At least so many partitions with an ended range are kept whatever their age; 1 when not set.
    #[schemars(range(min = 1, max = 10_000))]
    pub keep_at_least: Option<u32>,
    /// Chunks of TimescaleDB that are older are compressed where the hypertable has no compression policy of its own.
    pub compress_after: Option<Period>,
}

/// Which files are deleted, on the machine that Pawang runs on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CleanupConfig {
    /// Log files of the server that were last written longer ago are deleted; never when not set.
    pub logs_after: Option<Period>,
    /// So many newest log files are kept whatever their age; 7 when not set.
    #[schemars(range(min = 1, max = 100_000))]
    pub logs_at_least: Option<u32>,
    /// Folder that `archive_command` writes to, when it is on this machine and no tool of its own looks after it.
    pub archive_directory: Option<PathBuf>,
    /// Archived WAL older than this, and older than what the oldest kept backup needs, is deleted; never when not set.
    pub archive_after: Option<Period>,
    /// So many newest segments are kept whatever their age; 64 when not set.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub archive_at_least: Option<u32>,
    /// Temporary files of processes that are gone are deleted when they are older than this; never when not set.
    pub temporary_after: Option<Period>,
}
