//! The names of postgres_exporter 0.11 (its own, and those of the example queries that come with it), from our snapshots.
//!
//! A counter whose name does not end in `_total` is declared as untyped: the name is somebody else's, and the type would
//! be a mistake to every linter.

use std::collections::BTreeMap;

use pawang_core::{Column, Snapshot, Timestamp, Value};
use pawang_store::live::Present;

use crate::layout::{Family, Kind, Layout, Read};
use crate::name::{self, Scale};
use crate::own;
use crate::setting;
use crate::sheet::{self, Sheet};

/// Metrics of theirs that one collector of ours has.
pub(crate) struct Twin {
    /// The collector.
    pub(crate) collector: &'static str,
    /// What their names begin with.
    prefix: &'static str,
    /// Our columns and their labels.
    labels: &'static [(&'static str, &'static str)],
    /// Whether rows of system schemas are left out.
    user_schemas: bool,
    /// Our column, the rest of their name, what it is.
    columns: &'static [(&'static str, &'static str, Like)],
}

/// What a value of theirs is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Like {
    Counter,
    Gauge,
    /// Seconds where we have milliseconds.
    Seconds,
    /// Seconds since 1970.
    Time,
    /// Called `_total` though it is an instant.
    TotalTime,
    /// The difference to another column of ours.
    Less(&'static str),
}

use Like::{Counter, Gauge, Less, Seconds, Time, TotalTime};

const DATABASE: &[(&str, &str)] = &[("datid", "datid"), ("datname", "datname")];
const TABLE: &[(&str, &str)] = &[("schemaname", "schemaname"), ("relname", "relname")];

/// All metrics that need no more than a column each.
pub(crate) const TWINS: [Twin; 9] = [
    Twin {
        collector: "archiver",
        prefix: "pg_stat_archiver",
        labels: &[],
        user_schemas: false,
        columns: &[
            ("archived_count", "archived_count", Counter),
            ("failed_count", "failed_count", Counter),
            ("last_archived_age", "last_archive_age", Gauge),
        ],
    },
    Twin {
        collector: "bgwriter",
        prefix: "pg_stat_bgwriter",
        labels: &[],
        user_schemas: false,
        columns: &[
            ("buffers_alloc", "buffers_alloc_total", Counter),
            ("buffers_backend", "buffers_backend_total", Counter),
            (
                "buffers_backend_fsync",
                "buffers_backend_fsync_total",
                Counter,
            ),
            ("buffers_clean", "buffers_clean_total", Counter),
            ("maxwritten_clean", "maxwritten_clean_total", Counter),
            ("stats_reset", "stats_reset_total", TotalTime),
        ],
    },
    Twin {
        collector: "checkpointer",
        prefix: "pg_stat_bgwriter",
        labels: &[],
        user_schemas: false,
        columns: &[
            ("buffers_written", "buffers_checkpoint_total", Counter),
            ("num_timed", "checkpoints_timed_total", Counter),
            ("num_requested", "checkpoints_req_total", Counter),
            ("write_time", "checkpoint_write_time_total", Counter),
            ("sync_time", "checkpoint_sync_time_total", Counter),
        ],
    },
    Twin {
        collector: "database",
        prefix: "pg_stat_database",
        labels: DATABASE,
        user_schemas: false,
        columns: &[
            ("numbackends", "numbackends", Gauge),
            ("xact_commit", "xact_commit", Counter),
            ("xact_rollback", "xact_rollback", Counter),
            ("blks_read", "blks_read", Counter),
            ("blks_hit", "blks_hit", Counter),
            ("tup_returned", "tup_returned", Counter),
            ("tup_fetched", "tup_fetched", Counter),
            ("tup_inserted", "tup_inserted", Counter),
            ("tup_updated", "tup_updated", Counter),
            ("tup_deleted", "tup_deleted", Counter),
            ("conflicts", "conflicts", Counter),
            ("temp_files", "temp_files", Counter),
            ("temp_bytes", "temp_bytes", Counter),
            ("deadlocks", "deadlocks", Counter),
            ("checksum_failures", "checksum_failures", Counter),
            ("checksum_last_failure", "checksum_last_failure", Time),
            ("blk_read_time", "blk_read_time", Counter),
            ("blk_write_time", "blk_write_time", Counter),
            ("session_time", "session_time", Counter),
            ("active_time", "active_time", Counter),
            (
                "idle_in_transaction_time",
                "idle_in_transaction_time",
                Counter,
            ),
            ("sessions", "sessions", Counter),
            ("sessions_abandoned", "sessions_abandoned", Counter),
            ("sessions_fatal", "sessions_fatal", Counter),
            ("sessions_killed", "sessions_killed", Counter),
            ("stats_reset", "stats_reset", Time),
            ("confl_tablespace", "conflicts_confl_tablespace", Counter),
            ("confl_lock", "conflicts_confl_lock", Counter),
            ("confl_snapshot", "conflicts_confl_snapshot", Counter),
            ("confl_bufferpin", "conflicts_confl_bufferpin", Counter),
            ("confl_deadlock", "conflicts_confl_deadlock", Counter),
        ],
    },
    Twin {
        collector: "replication",
        prefix: "pg_stat_replication",
        labels: &[
            ("application_name", "application_name"),
            ("client_addr", "client_addr"),
            ("slot_name", "slot_name"),
            ("state", "state"),
        ],
        user_schemas: false,
        columns: &[
            ("current_lsn", "pg_current_wal_lsn_bytes", Gauge),
            ("current_lsn", "pg_wal_lsn_diff", Less("replay_lsn")),
        ],
    },
    Twin {
        collector: "server",
        prefix: "pg_postmaster",
        labels: &[],
        user_schemas: false,
        columns: &[("postmaster_start_time", "start_time_seconds", Time)],
    },
    Twin {
        collector: "statements",
        prefix: "pg_stat_statements",
        labels: &[
            ("rolname", "rolname"),
            ("datname", "datname"),
            ("queryid", "queryid"),
        ],
        user_schemas: false,
        columns: &[
            ("calls", "calls", Counter),
            ("total_exec_time", "total_time_seconds", Seconds),
            ("min_exec_time", "min_time_seconds", Seconds),
            ("max_exec_time", "max_time_seconds", Seconds),
            ("mean_exec_time", "mean_time_seconds", Seconds),
            ("stddev_exec_time", "stddev_time_seconds", Seconds),
            ("rows", "rows", Counter),
            ("shared_blks_hit", "shared_blks_hit", Counter),
            ("shared_blks_read", "shared_blks_read", Counter),
            ("shared_blks_dirtied", "shared_blks_dirtied", Counter),
            ("shared_blks_written", "shared_blks_written", Counter),
            ("local_blks_hit", "local_blks_hit", Counter),
            ("local_blks_read", "local_blks_read", Counter),
            ("local_blks_dirtied", "local_blks_dirtied", Counter),
            ("local_blks_written", "local_blks_written", Counter),
            ("temp_blks_read", "temp_blks_read", Counter),
            ("temp_blks_written", "temp_blks_written", Counter),
            ("blk_read_time", "blk_read_time_seconds", Seconds),
            ("blk_write_time", "blk_write_time_seconds", Seconds),
        ],
    },
    Twin {
        collector: "tables",
        prefix: "pg_stat_user_tables",
        labels: TABLE,
        user_schemas: true,
        columns: &[
            ("seq_scan", "seq_scan", Counter),
            ("seq_tup_read", "seq_tup_read", Counter),
            ("idx_scan", "idx_scan", Counter),
            ("idx_tup_fetch", "idx_tup_fetch", Counter),
            ("n_tup_ins", "n_tup_ins", Counter),
            ("n_tup_upd", "n_tup_upd", Counter),
            ("n_tup_del", "n_tup_del", Counter),
            ("n_tup_hot_upd", "n_tup_hot_upd", Counter),
            ("n_live_tup", "n_live_tup", Gauge),
            ("n_dead_tup", "n_dead_tup", Gauge),
            ("n_mod_since_analyze", "n_mod_since_analyze", Gauge),
            ("last_vacuum", "last_vacuum", Time),
            ("last_autovacuum", "last_autovacuum", Time),
            ("last_analyze", "last_analyze", Time),
            ("last_autoanalyze", "last_autoanalyze", Time),
            ("vacuum_count", "vacuum_count", Counter),
            ("autovacuum_count", "autovacuum_count", Counter),
            ("analyze_count", "analyze_count", Counter),
            ("autoanalyze_count", "autoanalyze_count", Counter),
        ],
    },
    Twin {
        collector: "tables",
        prefix: "pg_statio_user_tables",
        labels: TABLE,
        user_schemas: true,
        columns: &[
            ("heap_blks_read", "heap_blks_read", Counter),
            ("heap_blks_hit", "heap_blks_hit", Counter),
            ("idx_blks_read", "idx_blks_read", Counter),
            ("idx_blks_hit", "idx_blks_hit", Counter),
            ("toast_blks_read", "toast_blks_read", Counter),
            ("toast_blks_hit", "toast_blks_hit", Counter),
            ("tidx_blks_read", "tidx_blks_read", Counter),
            ("tidx_blks_hit", "tidx_blks_hit", Counter),
        ],
    },
];

/// Metrics that need more than a column: name, help.
pub(crate) const EXTRAS: [(&str, &str); 6] = [
    ("pg_up", "Whether the server answers: 1 is yes, 0 is no."),
    ("pg_static", "Version of the server; always 1."),
    (
        "pg_replication_lag",
        "Seconds since the last replayed transaction; 0 on a primary.",
    ),
    ("pg_stat_activity_count", "Sessions in this state."),
    (
        "pg_stat_activity_max_tx_duration",
        "Seconds that the oldest transaction in this state has run.",
    ),
    (
        "pg_settings",
        "A setting that is a number or a flag, in base units.",
    ),
];

/// States of a session; each is shown for each database, as postgres_exporter does.
const STATES: [&str; 6] = [
    "active",
    "disabled",
    "fastpath function call",
    "idle",
    "idle in transaction",
    "idle in transaction (aborted)",
];

impl Twin {
    /// Returns their names for the columns that a snapshot has.
    pub(crate) fn layout(&self, columns: &[Column]) -> Layout {
        let place = |name: &str| columns.iter().position(|column| column.name == name);
        let families = self.columns.iter().filter_map(|(column, rest, like)| {
            let read = match like {
                Counter | Gauge => Read::Number(Scale::Same),
                Seconds => Read::Number(Scale::Divide(1e3)),
                Time | TotalTime => Read::Time,
                Less(other) => Read::Less(place(other)?),
            };
            Some(self.family(place(column)?, column, rest, *like, read))
        });
        let labels = self.labels.iter();
        let labels =
            labels.filter_map(|(column, label)| Some((place(column)?, (*label).to_owned())));
        Layout {
            server_label: "server",
            database_label: "datname",
            labels: labels.collect(),
            families: families.collect(),
            user_schemas: place("schemaname").filter(|_| self.user_schemas),
        }
    }

    fn family(&self, place: usize, column: &str, rest: &str, like: Like, read: Read) -> Family {
        let name = format!("{}_{rest}", self.prefix);
        let total = name.strip_suffix("_total");
        let (base, kind) = match (like, total) {
            (_, Some(base)) => (base.to_owned(), Kind::Counter),
            (Gauge | Time | Less(_), None) => (name, Kind::Gauge),
            (_, None) => (name, Kind::Unknown),
        };
        Family {
            base,
            kind,
            unit: None,
            help: format!(
                "Column {column} of collector {}, under the name of postgres_exporter.",
                self.collector
            ),
            column: place,
            read,
        }
    }

    /// Returns all their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = (String, &'static str)> + '_ {
        let columns = self.columns.iter();
        columns.map(|(column, rest, _)| (format!("{}_{rest}", self.prefix), *column))
    }
}

/// Returns the metrics that need more than a column.
pub(crate) fn extras(present: &Present, now: Timestamp) -> Vec<Sheet<'_>> {
    let server = present.instance.name.as_str();
    let up = Value::Bool(present.facts.server.is_ok());
    let mut sheets = vec![own::sheet(Some(server), &[], &[metric(0)], vec![vec![up]])];
    if let Ok(found) = &present.facts.server {
        let version = [&found.version_text, &found.short_version()]
            .map(|text| Value::Text(text.as_str().into()));
        let row = version.into_iter().chain([Value::Int(1)]).collect();
        let labels = ["version", "short_version"];
        sheets.push(own::sheet(Some(server), &labels, &[metric(1)], vec![row]));
    }
    if let Some(lag) = replication_lag(present, now) {
        let row = vec![Value::Float(lag)];
        sheets.push(own::sheet(Some(server), &[], &[metric(2)], vec![row]));
    }
    let labels = ["datname", "state"];
    let metrics = [metric(3), metric(4)];
    sheets.push(own::sheet(
        Some(server),
        &labels,
        &metrics,
        activity(present, now),
    ));
    if let Some(settings) = sheet::current(present, "settings", now).next() {
        sheets.push(self::settings(server, settings));
    }
    sheets
}

fn metric(place: usize) -> own::Metric {
    let (name, help) = EXTRAS[place];
    // `_count` and the like belong to histograms; only what has no type may end so.
    let kind = if name.ends_with("_count") {
        Kind::Unknown
    } else {
        Kind::Gauge
    };
    (name, kind, None, help)
}

fn replication_lag(present: &Present, now: Timestamp) -> Option<f64> {
    let server = sheet::current(present, "server", now).next()?.first()?;
    if server.flag("in_recovery") != Some(true) {
        return Some(0.0);
    }
    let recovery = sheet::current(present, "recovery", now).next()?.first()?;
    recovery
        .float("last_xact_replay_age")
        .map(|age| age.max(0.0))
}

/// Returns a row per database and state, whether or not a session is in it.
fn activity(present: &Present, now: Timestamp) -> Vec<Vec<Value>> {
    let (Some(sessions), Some(databases)) = (
        sheet::current(present, "activity", now).next(),
        sheet::current(present, "database", now).next(),
    ) else {
        return Vec::new();
    };
    let mut states: BTreeMap<(&str, &str), (i64, f64)> = BTreeMap::new();
    for database in databases.rows().filter_map(|row| row.text("datname")) {
        for state in STATES.iter().filter(|_| !database.is_empty()) {
            states.insert((database, state), (0, 0.0));
        }
    }
    for row in sessions.rows() {
        if let (Some(database), Some(state)) = (row.text("datname"), row.text("state"))
            && let Some((count, longest)) = states.get_mut(&(database, state))
        {
            *count += 1;
            *longest = longest.max(row.float("xact_age_seconds").unwrap_or(0.0));
        }
    }
    let states = states.into_iter();
    let rows = states.map(|((database, state), (count, longest))| {
        let labels = [database, state].map(|text| Value::Text(text.into()));
        let numbers = [Value::Int(count), Value::Float(longest)];
        labels.into_iter().chain(numbers).collect()
    });
    rows.collect()
}

/// Returns one metric per setting.
fn settings<'a>(server: &'a str, snapshot: &Snapshot) -> Sheet<'a> {
    let mut families = Vec::new();
    let mut row = Vec::new();
    for setting in snapshot.rows() {
        let (Some(found), Some(name)) = (setting::number(&setting), setting.text("name")) else {
            continue;
        };
        let unit = found
            .unit
            .map(|unit| format!("_{unit}"))
            .unwrap_or_default();
        let name = format!("pg_settings_{}{unit}", name::plain(name));
        families.push(Family {
            kind: if ["_count", "_sum", "_bucket", "_total"]
                .iter()
                .any(|end| name.ends_with(end))
            {
                Kind::Unknown
            } else {
                Kind::Gauge
            },
            base: name,
            unit: None,
            help: EXTRAS[5].1.to_owned(),
            column: row.len(),
            read: Read::Number(Scale::Same),
        });
        row.push(Value::Float(found.value));
    }
    own::finish(Some(server), &[], families, vec![row])
}
