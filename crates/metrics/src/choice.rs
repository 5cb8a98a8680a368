//! What is shown and what is not: the few decisions that no rule can make, each in one table.
//!
//! A collector of the user's own is in none of them: its counters and gauges are shown, its other columns are not.

/// Collectors of which nothing is shown, with the reason.
pub(crate) const HIDDEN: [(&str, &str); 7] = [
    (
        "table-shape",
        "input of the bloat estimate, one row per column of every large table",
    ),
    (
        "index-shape",
        "input of the bloat estimate, one row per column of every large index",
    ),
    ("staging-tables", "the same numbers as in `tables`"),
    ("unlogged-relations", "the same numbers as in `tables`"),
    (
        "activity-samples",
        "one row per session and second; `activity-history` has the sums",
    ),
    ("schema-objects", "definitions, not numbers"),
    ("host-clock", "the clock of the server is no metric"),
];

/// Columns of kind counter or gauge that are not shown, with the reason.
pub(crate) const HIDDEN_COLUMNS: [(&str, &str, &str); 9] = [
    ("pgbouncer-pools", "maxwait_us", "the fraction of `maxwait`"),
    (
        "statements",
        "min_plan_time",
        "a minimum since the reset does not move",
    ),
    (
        "statements",
        "mean_plan_time",
        "the quotient of two counters that are shown",
    ),
    (
        "statements",
        "stddev_plan_time",
        "since the reset, not of now",
    ),
    (
        "statements",
        "min_exec_time",
        "a minimum since the reset does not move",
    ),
    (
        "statements",
        "mean_exec_time",
        "the quotient of two counters that are shown",
    ),
    (
        "statements",
        "stddev_exec_time",
        "since the reset, not of now",
    ),
    (
        "statements",
        "shared_blks_written",
        "of the server as a whole it is in `io`",
    ),
    (
        "statements",
        "local_blks_written",
        "of the server as a whole it is in `io`",
    ),
];

/// How an info column becomes a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    /// Yes is 1, no is 0.
    Flag,
    /// It is a number, though nobody compares it over time.
    Number,
    /// Seconds since 1970.
    Time,
}

/// Info columns that are shown as numbers.
pub(crate) const SHOWN: [(&str, &str, As); 48] = [
    ("archiver", "last_archived_time", As::Time),
    ("archiver", "last_failed_time", As::Time),
    ("archiver", "stats_reset", As::Time),
    ("bgwriter", "stats_reset", As::Time),
    ("checkpointer", "checkpoint_time", As::Time),
    ("checkpointer", "timeline_id", As::Number),
    ("checkpointer", "stats_reset", As::Time),
    ("database", "connection_limit", As::Number),
    ("database", "checksum_last_failure", As::Time),
    ("database", "stats_reset", As::Time),
    ("host-filesystem", "read_only", As::Flag),
    ("host-kernel", "overcommit_memory", As::Number),
    ("host-kernel", "overcommit_ratio", As::Number),
    ("host-kernel", "swappiness", As::Number),
    ("indexes", "indisvalid", As::Flag),
    ("indexes", "last_idx_scan", As::Time),
    ("io", "stats_reset", As::Time),
    ("lock-table", "max_locks_per_transaction", As::Number),
    ("patroni-cluster", "timeline", As::Number),
    ("patroni-cluster", "pending_restart", As::Flag),
    ("patroni-node", "timeline", As::Number),
    ("patroni-node", "pending_restart", As::Flag),
    ("patroni-node", "pause", As::Flag),
    ("patroni-node", "cluster_unlocked", As::Flag),
    ("recovery", "last_xact_replay_timestamp", As::Time),
    ("server", "in_recovery", As::Flag),
    ("server", "timeline_id", As::Number),
    ("server", "postmaster_start_time", As::Time),
    ("server", "configuration_load_time", As::Time),
    ("server", "autovacuum_freeze_max_age", As::Number),
    ("server", "autovacuum_multixact_freeze_max_age", As::Number),
    ("session-limits", "connection_limit", As::Number),
    ("sessions", "max_connections", As::Number),
    ("sessions", "superuser_reserved_connections", As::Number),
    ("sessions", "reserved_connections", As::Number),
    ("slots", "active", As::Flag),
    ("slots", "conflicting", As::Flag),
    ("slots", "inactive_since", As::Time),
    ("tables", "last_vacuum", As::Time),
    ("tables", "last_autovacuum", As::Time),
    ("tables", "last_analyze", As::Time),
    ("tables", "last_autoanalyze", As::Time),
    ("timescaledb-jobs", "last_successful_finish", As::Time),
    ("timescaledb-jobs", "next_start", As::Time),
    ("timescaledb-workers", "max_background_workers", As::Number),
    ("wal", "stats_reset", As::Time),
    ("wal-receiver", "last_msg_receipt_time", As::Time),
    ("wal-receiver", "received_tli", As::Number),
];

/// Info columns that are shown as labels of `pawang_<collector>_info`, because they have few values.
pub(crate) const DESCRIBED: [(&str, &[&str]); 13] = [
    ("extensions", &["extversion", "default_version"]),
    ("host-filesystem", &["mount_point", "device", "file_system"]),
    ("patroni-cluster", &["role", "state"]),
    (
        "patroni-node",
        &["name", "scope", "state", "role", "patroni_version"],
    ),
    (
        "pgbouncer-databases",
        &["host", "port", "database", "pool_mode"],
    ),
    ("pgbouncer-version", &["version"]),
    ("publications", &["puballtables"]),
    ("recovery", &["pause_state"]),
    ("replication", &["state", "sync_state"]),
    (
        "server",
        &["server_version", "cluster_name", "system_identifier"],
    ),
    (
        "slots",
        &[
            "slot_type",
            "plugin",
            "database",
            "wal_status",
            "invalidation_reason",
        ],
    ),
    (
        "timescaledb-jobs",
        &[
            "application_name",
            "proc_name",
            "hypertable_name",
            "job_status",
        ],
    ),
    ("wal-receiver", &["status", "sender_host", "slot_name"]),
];

/// Collectors whose rows carry a process id, and what tells their rows apart instead: a process id is a new series
/// with every connection.
pub(crate) const LABELS_INSTEAD: [(&str, &[&str]); 2] = [
    (
        "replication",
        &["application_name", "client_addr", "slot_name"],
    ),
    (
        "subscriptions",
        &["datname", "subname", "relid", "worker_type"],
    ),
];

/// Returns whether nothing of a collector is shown.
pub(crate) fn hidden(collector: &str) -> bool {
    HIDDEN.iter().any(|(name, _)| *name == collector)
}

/// Returns whether a counter or gauge is not shown.
pub(crate) fn hidden_column(collector: &str, column: &str) -> bool {
    let mut hidden = HIDDEN_COLUMNS.iter();
    hidden.any(|(of, name, _)| *of == collector && *name == column)
}

/// Returns how an info column is shown.
pub(crate) fn shown(collector: &str, column: &str) -> Option<As> {
    let mut shown = SHOWN.iter();
    let found = shown.find(|(of, name, _)| *of == collector && *name == column);
    found.map(|(_, _, how)| *how)
}

/// Returns the info columns that describe a row.
pub(crate) fn described(collector: &str) -> &'static [&'static str] {
    let found = DESCRIBED.iter().find(|(name, _)| *name == collector);
    found.map_or(&[], |(_, columns)| columns)
}

/// Returns the columns that tell rows apart in place of the label columns.
pub(crate) fn labels_instead(collector: &str) -> Option<&'static [&'static str]> {
    let found = LABELS_INSTEAD.iter().find(|(name, _)| *name == collector);
    found.map(|(_, columns)| *columns)
}
