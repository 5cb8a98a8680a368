//! Everything that Pawang can do to a server: there is no other way than one of these tasks.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{MergeShape, Risk, RowSource, TableShape};
use crate::ByteSize;

/// A relation by its identity and its name: both must still belong together at apply.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// `pg_namespace.nspname`.
    pub schema: String,
    /// `pg_class.relname`.
    pub name: String,
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// Whether VACUUM cleans indexes too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IndexCleanup {
    /// As VACUUM finds best.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never: fastest, for wraparound.
    Off,
}

/// How fast VACUUM and ANALYZE may go, per session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VacuumPace {
    /// `vacuum_cost_delay` in milliseconds; the server's when not set, 0 is full speed.
    pub cost_delay_ms: Option<f64>,
    /// `vacuum_cost_limit`; the server's when not set.
    pub cost_limit: Option<u32>,
}

/// The options of VACUUM that Pawang uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VacuumOptions {
    /// ANALYZE too.
    pub analyze: bool,
    /// FREEZE everything that can be.
    pub freeze: bool,
    /// What becomes of index entries.
    pub index_cleanup: IndexCleanup,
    /// Give empty pages at the end back; off where standbys read the table.
    pub truncate: bool,
    /// Workers for indexes; the server's wish when not set.
    pub parallel: Option<u32>,
    /// How fast.
    pub pace: VacuumPace,
}

/// How a table is written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewriteMethod {
    /// `REPACK (CONCURRENTLY)`, PostgreSQL 19.
    Repack,
    /// Extension pg_squeeze, by its function.
    PgSqueeze,
    /// Extension pg_repack, by its client program, which never ends the sessions of others.
    PgRepack,
    /// `VACUUM FULL`: readers and writers wait until it is done.
    VacuumFull,
}

/// A kind of extended statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatisticsKind {
    /// Which columns determine others.
    Dependencies,
    /// Distinct values of several columns together.
    Ndistinct,
    /// Most common values of several columns together.
    Mcv,
}

/// One session of a server; a process id alone is used again by others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionKey {
    /// `pg_stat_activity.pid`.
    pub pid: i32,
    /// `pg_stat_activity.backend_start`.
    pub backend_start: Timestamp,
}

/// Something that Pawang does to a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Task {
    /// VACUUM of one table.
    Vacuum {
        /// Which.
        table: Relation,
        /// How.
        options: VacuumOptions,
    },
    /// ANALYZE of one table.
    Analyze {
        /// Which.
        table: Relation,
        /// Only these columns; all when empty.
        columns: Vec<String>,
        /// How fast.
        pace: VacuumPace,
    },
    /// REINDEX INDEX CONCURRENTLY.
    Reindex {
        /// Which.
        index: Relation,
        /// Its table.
        table: Relation,
    },
    /// Drops an index that is invalid because an earlier CONCURRENTLY did not end, and that nobody is building.
    DropInvalidIndex {
        /// Which.
        index: Relation,
        /// Its table.
        table: Relation,
    },
    /// Summarizes the new ranges of a BRIN index.
    SummarizeBrin {
        /// Which.
        index: Relation,
        /// Its table.
        table: Relation,
    },
    /// Writes a table anew without its free space.
    Rewrite {
        /// Which.
        table: Relation,
        /// How.
        method: RewriteMethod,
    },
    /// Creates a range partition and attaches it.
    CreatePartition {
        /// The partitioned table.
        parent: Relation,
        /// The name of the partition, in the schema of the parent.
        name: String,
        /// The lower bound as a literal's text, inclusive.
        from: String,
        /// The upper bound as a literal's text, exclusive.
        to: String,
        /// The partition that it shall be like in grants, row security, parameters and tablespace; else like its table.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        like: Option<Relation>,
    },
    /// Takes a partition out of its table, concurrently where the server can.
    DetachPartition {
        /// The partitioned table.
        parent: Relation,
        /// The partition.
        partition: Relation,
        /// CONCURRENTLY: refused by the server where a default partition exists.
        concurrently: bool,
    },
    /// Ends a DETACH CONCURRENTLY that was interrupted.
    FinalizeDetach {
        /// The partitioned table.
        parent: Relation,
        /// The partition.
        partition: Relation,
    },
    /// Drops a table that is no partition any more and whose retention is over.
    DropTable {
        /// Which.
        table: Relation,
    },
    /// Sets or resets storage parameters of a table, such as its autovacuum settings.
    SetStorageParameters {
        /// Which.
        table: Relation,
        /// Name and new value.
        set: BTreeMap<String, String>,
        /// Back to the default.
        reset: Vec<String>,
    },
    /// Sets the statistics target of a column.
    SetStatisticsTarget {
        /// Which table.
        table: Relation,
        /// Which column.
        column: String,
        /// 0 to 10000; -1 is the server's default.
        target: i32,
    },
    /// Creates extended statistics.
    CreateStatistics {
        /// The table.
        table: Relation,
        /// The name of the statistics, in the schema of the table.
        name: String,
        /// The columns, at least two.
        columns: Vec<String>,
        /// Which kinds.
        kinds: Vec<StatisticsKind>,
    },
    /// pg_partman's maintenance of one partitioned table, by its own function.
    PartmanMaintenance {
        /// The schema of the extension.
        extension_schema: String,
        /// The partitioned table.
        parent: Relation,
    },
    /// Compresses one chunk of TimescaleDB, by its own function.
    CompressChunk {
        /// The schema of the extension.
        extension_schema: String,
        /// The chunk.
        chunk: Relation,
    },
    /// Drops the chunks of a hypertable that are older than an instant, by TimescaleDB's own function.
    DropChunks {
        /// The schema of the extension.
        extension_schema: String,
        /// The hypertable.
        hypertable: Relation,
        /// Chunks that end before this are dropped.
        older_than: Timestamp,
    },
    /// Runs a background job of TimescaleDB once.
    RunJob {
        /// The schema of the extension.
        extension_schema: String,
        /// Its number.
        job: i32,
    },
    /// Deletes one file that is provably not needed any more, on this machine.
    DeleteFile {
        /// Where, absolute.
        path: String,
        /// Its size when the plan was made.
        size: ByteSize,
        /// When it was last written.
        modified_at: Timestamp,
    },
    /// Makes tables of a throw-away server again in a new schema, with their rows, in one transaction.
    CopyTables {
        /// The schema, which must not be there yet.
        schema: String,
        /// The tables, each partitioned one before its partitions.
        tables: Vec<TableShape>,
        /// Where the rows are.
        source: RowSource,
    },
    /// Brings rows of a restored copy back into their table, by primary key, in one transaction.
    MergeRows {
        /// The table.
        table: Relation,
        /// From where, and how.
        merge: MergeShape,
    },
    /// Cancels what a session is running.
    CancelBackend {
        /// Which.
        session: SessionKey,
        /// When the statement began that is to be cancelled.
        query_start: Option<Timestamp>,
    },
    /// Ends a session.
    TerminateBackend {
        /// Which.
        session: SessionKey,
    },
}

/// The strongest lock that an action takes on a relation, weakest first; PostgreSQL's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockLevel {
    /// No relation is locked.
    None,
    /// Conflicts with ACCESS EXCLUSIVE only.
    AccessShare,
    /// Conflicts with schema changes, VACUUM and the like; readers and writers go on.
    ShareUpdateExclusive,
    /// Readers go on, writers wait.
    ShareRowExclusive,
    /// Readers and writers wait.
    AccessExclusive,
}

/// How an action waits, retries and gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuardProfile {
    /// Reads: never waits for more than an instant.
    Read,
    /// Needs a lock that stops others: tries for an instant, again and again, with pauses.
    Exclusive,
    /// CONCURRENTLY: waits for old transactions first, then is patient, and cleans up what it left.
    Concurrent,
    /// VACUUM and ANALYZE: slow by its own pace, stopped by the governor.
    Vacuum,
}

impl SessionKey {
    /// Returns the session ID as `%c` of `log_line_prefix` writes it.
    pub fn session_id(&self) -> String {
        format!("{:x}.{:x}", self.backend_start.as_second(), self.pid)
    }
}

impl Task {
    /// Returns the task's name, as its tag in JSON has it.
    pub fn name(&self) -> &'static str {
        match self {
            Task::Vacuum { .. } => "vacuum",
            Task::Analyze { .. } => "analyze",
            Task::Reindex { .. } => "reindex",
            Task::DropInvalidIndex { .. } => "drop-invalid-index",
            Task::SummarizeBrin { .. } => "summarize-brin",
            Task::Rewrite { .. } => "rewrite",
            Task::CreatePartition { .. } => "create-partition",
            Task::DetachPartition { .. } => "detach-partition",
            Task::FinalizeDetach { .. } => "finalize-detach",
            Task::DropTable { .. } => "drop-table",
            Task::SetStorageParameters { .. } => "set-storage-parameters",
            Task::SetStatisticsTarget { .. } => "set-statistics-target",
            Task::CreateStatistics { .. } => "create-statistics",
            Task::PartmanMaintenance { .. } => "partman-maintenance",
            Task::CompressChunk { .. } => "compress-chunk",
            Task::DropChunks { .. } => "drop-chunks",
            Task::RunJob { .. } => "run-job",
            Task::DeleteFile { .. } => "delete-file",
            Task::CopyTables { .. } => "copy-tables",
            Task::MergeRows { .. } => "merge-rows",
            Task::CancelBackend { .. } => "cancel-backend",
            Task::TerminateBackend { .. } => "terminate-backend",
        }
    }

    /// Returns what it is done to, as people write it.
    pub fn object(&self) -> String {
        match self {
            Task::Vacuum { table, .. }
            | Task::Analyze { table, .. }
            | Task::Rewrite { table, .. }
            | Task::DropTable { table }
            | Task::MergeRows { table, .. }
            | Task::SetStorageParameters { table, .. } => table.to_string(),
            Task::Reindex { index, .. }
            | Task::DropInvalidIndex { index, .. }
            | Task::SummarizeBrin { index, .. } => index.to_string(),
            Task::CreatePartition { parent, name, .. } => format!("{}.{name}", parent.schema),
            Task::DetachPartition { partition, .. } | Task::FinalizeDetach { partition, .. } => {
                partition.to_string()
            }
            Task::SetStatisticsTarget { table, column, .. } => format!("{table}.{column}"),
            Task::CreateStatistics { table, name, .. } => format!("{}.{name}", table.schema),
            Task::PartmanMaintenance { parent, .. } => parent.to_string(),
            Task::CompressChunk { chunk, .. } => chunk.to_string(),
            Task::DropChunks { hypertable, .. } => hypertable.to_string(),
            Task::RunJob { job, .. } => format!("job {job}"),
            Task::DeleteFile { path, .. } => path.clone(),
            Task::CopyTables { schema, .. } => schema.clone(),
            Task::CancelBackend { session, .. } | Task::TerminateBackend { session } => {
                format!("pid {}", session.pid)
            }
        }
    }

    /// Returns the table that no other lane may touch meanwhile; `None` when it touches none.
    pub fn table(&self) -> Option<&Relation> {
        match self {
            Task::Vacuum { table, .. }
            | Task::Analyze { table, .. }
            | Task::Rewrite { table, .. }
            | Task::DropTable { table }
            | Task::SetStorageParameters { table, .. }
            | Task::SetStatisticsTarget { table, .. }
            | Task::CreateStatistics { table, .. }
            | Task::MergeRows { table, .. }
            | Task::Reindex { table, .. }
            | Task::DropInvalidIndex { table, .. }
            | Task::SummarizeBrin { table, .. } => Some(table),
            Task::CreatePartition { parent, .. }
            | Task::DetachPartition { parent, .. }
            | Task::FinalizeDetach { parent, .. }
            | Task::PartmanMaintenance { parent, .. } => Some(parent),
            Task::CompressChunk { chunk, .. } => Some(chunk),
            Task::DropChunks { hypertable, .. } => Some(hypertable),
            Task::RunJob { .. }
            | Task::DeleteFile { .. }
            | Task::CopyTables { .. }
            | Task::CancelBackend { .. }
            | Task::TerminateBackend { .. } => None,
        }
    }

    /// Returns the strongest lock that it takes on a relation that others use.
    pub fn lock(&self) -> LockLevel {
        match self {
            Task::Vacuum { .. }
            | Task::Analyze { .. }
            | Task::Reindex { .. }
            | Task::SummarizeBrin { .. }
            | Task::DropInvalidIndex { .. }
            | Task::SetStatisticsTarget { .. }
            | Task::CreateStatistics { .. }
            | Task::CreatePartition { .. }
            | Task::SetStorageParameters { .. }
            | Task::Rewrite {
                method: RewriteMethod::Repack,
                ..
            } => LockLevel::ShareUpdateExclusive,
            // The partition itself is locked for an instant, the partitioned table is not.
            Task::DetachPartition { .. } | Task::FinalizeDetach { .. } | Task::DropTable { .. } => {
                LockLevel::AccessExclusive
            }
            Task::Rewrite { .. }
            | Task::PartmanMaintenance { .. }
            | Task::CompressChunk { .. }
            | Task::DropChunks { .. }
            | Task::RunJob { .. } => LockLevel::AccessExclusive,
            Task::MergeRows { .. } => LockLevel::ShareRowExclusive,
            Task::DeleteFile { .. }
            | Task::CopyTables { .. }
            | Task::CancelBackend { .. }
            | Task::TerminateBackend { .. } => LockLevel::None,
        }
    }

    /// Returns how it waits, retries and gives up.
    pub fn guard(&self) -> GuardProfile {
        match self {
            Task::Vacuum { .. } | Task::Analyze { .. } | Task::SummarizeBrin { .. } => {
                GuardProfile::Vacuum
            }
            Task::Reindex { .. }
            | Task::DropInvalidIndex { .. }
            | Task::DetachPartition {
                concurrently: true, ..
            } => GuardProfile::Concurrent,
            Task::DeleteFile { .. }
            | Task::CancelBackend { .. }
            | Task::TerminateBackend { .. } => GuardProfile::Read,
            _ => GuardProfile::Exclusive,
        }
    }

    /// Returns how much can go wrong.
    pub fn risk(&self) -> Risk {
        match self {
            Task::Vacuum { .. }
            | Task::Analyze { .. }
            | Task::SummarizeBrin { .. }
            | Task::SetStatisticsTarget { .. }
            | Task::CreateStatistics { .. }
            | Task::SetStorageParameters { .. } => Risk::Low,
            Task::Reindex { .. }
            | Task::DropInvalidIndex { .. }
            | Task::CreatePartition { .. }
            | Task::FinalizeDetach { .. }
            | Task::DetachPartition { .. }
            | Task::PartmanMaintenance { .. }
            | Task::CompressChunk { .. }
            | Task::RunJob { .. }
            | Task::CancelBackend { .. }
            | Task::CopyTables { .. }
            | Task::Rewrite {
                method: RewriteMethod::Repack | RewriteMethod::PgSqueeze | RewriteMethod::PgRepack,
                ..
            } => Risk::Medium,
            Task::Rewrite { .. }
            | Task::DropTable { .. }
            | Task::DropChunks { .. }
            | Task::MergeRows { .. }
            | Task::DeleteFile { .. }
            | Task::TerminateBackend { .. } => Risk::High,
        }
    }
}

impl fmt::Display for LockLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LockLevel::None => "none",
            LockLevel::AccessShare => "ACCESS SHARE",
            LockLevel::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            LockLevel::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            LockLevel::AccessExclusive => "ACCESS EXCLUSIVE",
        })
    }
}

impl GuardProfile {
    /// Returns its name and what it means, for people.
    pub fn words(self) -> &'static str {
        match self {
            GuardProfile::Read => "read: never waits for more than an instant",
            GuardProfile::Exclusive => {
                "exclusive: tries for 100 ms, again and again, so that nobody queues behind it"
            }
            GuardProfile::Concurrent => {
                "concurrent: waits for old transactions first, then is patient, and cleans up after itself"
            }
            GuardProfile::Vacuum => "vacuum: slow by its own pace, stopped by the governor",
        }
    }
}
