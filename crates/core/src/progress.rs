//! What the server is busy with and how far it got: every `pg_stat_progress_*` in one shape, with rate and time left.

use std::time::Duration;

use serde::Serialize;

use crate::{Facts, Row, Snapshot};

/// The collectors that are read.
pub const NEEDS: &[&str] = &[
    "progress-vacuum",
    "progress-analyze",
    "progress-cluster",
    "progress-repack",
    "progress-create-index",
    "progress-basebackup",
    "progress-copy",
    "activity",
];

/// A command that runs, how far it got, and what it waits for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Running {
    /// The process.
    pub pid: i64,
    /// Its database; nothing for a base backup.
    pub database: Option<String>,
    /// The relation's oid.
    pub relation_oid: Option<u32>,
    /// What runs: `VACUUM`, `CREATE INDEX CONCURRENTLY`, `COPY FROM`, ...
    pub command: String,
    /// PostgreSQL's own name of the phase.
    pub phase: String,
    /// What is counted in this phase.
    pub unit: &'static str,
    /// So many are done.
    pub done: Option<f64>,
    /// Of so many.
    pub total: Option<f64>,
    /// How many per second, between two looks.
    pub rate: Option<f64>,
    /// Time until the end of this phase at that rate.
    pub left: Option<Duration>,
    /// What else is to be known, such as rounds over the indexes.
    pub detail: Vec<(&'static str, f64)>,
    /// Who runs it.
    pub user: Option<String>,
    /// By which application.
    pub application: Option<String>,
    /// Since how many seconds.
    pub seconds: Option<f64>,
    /// What the process waits for, as `class:event`; nothing while it works.
    pub waits_for: Option<String>,
}

impl Running {
    /// Returns how far the phase is, in percent.
    pub fn percent(&self) -> Option<f64> {
        let total = self.total.filter(|total| *total > 0.0)?;
        Some((100.0 * self.done? / total).clamp(0.0, 100.0))
    }
}

/// How far one phase is.
struct Step {
    unit: &'static str,
    done: &'static str,
    total: &'static str,
}

const fn step(unit: &'static str, done: &'static str, total: &'static str) -> Step {
    Step { unit, done, total }
}

/// Returns everything that runs, by process; rates where `older` saw the same process in the same phase.
pub fn running(facts: &Facts, older: Option<&Facts>) -> Vec<Running> {
    let mut all = look(facts);
    let before = older.map(look).unwrap_or_default();
    let seconds = older
        .map(|older| seconds_between(older, facts))
        .unwrap_or_default();
    for one in &mut all {
        let same = |old: &&Running| {
            old.pid == one.pid
                && old.command == one.command
                && old.phase == one.phase
                && old.unit == one.unit
        };
        let grown = before
            .iter()
            .find(same)
            .and_then(|old| Some(one.done? - old.done?));
        one.rate = grown
            .filter(|grown| *grown >= 0.0 && seconds > 0.0)
            .map(|grown| grown / seconds);
        let open = one
            .total
            .zip(one.done)
            .map(|(total, done)| (total - done).max(0.0));
        one.left = open
            .zip(one.rate.filter(|rate| *rate > 0.0))
            .and_then(|(open, rate)| Duration::try_from_secs_f64(open / rate).ok());
    }
    all.sort_by_key(|one| one.pid);
    all
}

/// Returns the seconds between two looks by the server's clock of the progress views themselves.
fn seconds_between(older: &Facts, newer: &Facts) -> f64 {
    let at = |facts: &Facts| {
        facts
            .snapshot("progress-vacuum", None)
            .ok()
            .map(|seen| seen.at)
    };
    match (at(older), at(newer)) {
        (Some(older), Some(newer)) => newer.duration_since(older).as_secs_f64(),
        _ => 0.0,
    }
}

fn look(facts: &Facts) -> Vec<Running> {
    let mut all = Vec::new();
    for (collector, read) in READERS {
        if let Ok(snapshot) = facts.snapshot(collector, None) {
            all.extend(snapshot.rows().map(|row| read(&row)));
        }
    }
    // Since 19, CLUSTER and VACUUM FULL are in both views.
    all.dedup_by(|later, earlier| later.pid == earlier.pid && later.phase == earlier.phase);
    if let Ok(activity) = facts.snapshot("activity", None) {
        all.iter_mut().for_each(|one| name_session(one, activity));
    }
    all
}

type Reader = fn(&Row<'_>) -> Running;

const READERS: [(&str, Reader); 7] = [
    ("progress-vacuum", vacuum),
    ("progress-analyze", analyze),
    ("progress-repack", repack),
    ("progress-cluster", cluster),
    ("progress-create-index", create_index),
    ("progress-basebackup", base_backup),
    ("progress-copy", copy),
];

fn name_session(one: &mut Running, activity: &Snapshot) {
    let Some(row) = activity.rows().find(|row| row.int("pid") == Some(one.pid)) else {
        return;
    };
    let text = |name: &str| {
        row.text(name)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    one.user = text("usename");
    let program = text("application_name");
    one.application = match row.text("backend_type") {
        Some("client backend") | None => program,
        Some(other) => Some(other.to_owned()),
    };
    one.seconds = row
        .float("xact_age_seconds")
        .or(row.float("query_age_seconds"));
    one.waits_for = match (row.text("wait_event_type"), row.text("wait_event")) {
        (Some("Activity" | "Client"), _) | (None, _) | (_, None) => None,
        (Some(class), Some(event)) => Some(format!("{class}:{event}")),
    };
}

fn base(row: &Row<'_>, command: &str, phase: &str, step: Option<Step>) -> Running {
    let (unit, done, total) = match step {
        Some(step) => (step.unit, row.float(step.done), row.float(step.total)),
        None => ("", None, None),
    };
    Running {
        pid: row.int("pid").unwrap_or_default(),
        database: None,
        relation_oid: None,
        command: command.to_owned(),
        phase: phase.to_owned(),
        unit,
        done,
        // The server writes 0 where it does not know.
        total: total.filter(|total| *total > 0.0),
        rate: None,
        left: None,
        detail: Vec::new(),
        user: None,
        application: None,
        seconds: None,
        waits_for: None,
    }
}

fn of_relation(row: &Row<'_>, command: &str, phase: &str, step: Option<Step>) -> Running {
    let oid = row.value("relid").to_string().parse().ok();
    Running {
        database: row.text("datname").map(str::to_owned),
        relation_oid: oid.filter(|oid| *oid != 0),
        ..base(row, command, phase, step)
    }
}

fn vacuum(row: &Row<'_>) -> Running {
    let phase = row.text("phase").unwrap_or_default();
    let step = match phase {
        "scanning heap" => Some(step("blocks", "heap_blks_scanned", "heap_blks_total")),
        "vacuuming heap" => Some(step("blocks", "heap_blks_vacuumed", "heap_blks_total")),
        // Before 17 nobody counts the indexes.
        "vacuuming indexes" | "cleaning up indexes" => {
            Some(step("indexes", "indexes_processed", "indexes_total"))
        }
        _ => None,
    };
    let mut one = of_relation(row, "VACUUM", phase, step);
    // Dead row versions were counted until 16; since 17 their bytes are, and the number of their item identifiers.
    let dead = row
        .float("num_dead_tuples")
        .or(row.float("num_dead_item_ids"));
    let rounds = row.float("index_vacuum_count");
    let bytes = row.float("dead_tuple_bytes");
    let found = [
        ("index rounds", rounds),
        ("dead row versions", dead),
        ("dead bytes", bytes),
    ];
    one.detail = known(&found);
    one
}

fn analyze(row: &Row<'_>) -> Running {
    let phase = row.text("phase").unwrap_or_default();
    let step = match phase {
        "acquiring sample rows" => Some(step("blocks", "sample_blks_scanned", "sample_blks_total")),
        "acquiring inherited sample rows" => {
            Some(step("tables", "child_tables_done", "child_tables_total"))
        }
        "computing extended statistics" => {
            Some(step("statistics", "ext_stats_computed", "ext_stats_total"))
        }
        _ => None,
    };
    of_relation(row, "ANALYZE", phase, step)
}

fn rewrite(row: &Row<'_>, written: &'static str) -> Running {
    let phase = row.text("phase").unwrap_or_default();
    let step = (phase == "seq scanning heap").then_some(step(
        "blocks",
        "heap_blks_scanned",
        "heap_blks_total",
    ));
    let command = row.text("command").unwrap_or("CLUSTER");
    let mut one = of_relation(row, command, phase, step);
    let rebuilt = row.float("index_rebuild_count");
    one.detail = known(&[
        ("rows written", row.float(written)),
        ("indexes rebuilt", rebuilt),
    ]);
    one
}

fn cluster(row: &Row<'_>) -> Running {
    rewrite(row, "heap_tuples_written")
}

fn repack(row: &Row<'_>) -> Running {
    rewrite(row, "heap_tuples_inserted")
}

fn create_index(row: &Row<'_>) -> Running {
    let phase = row.text("phase").unwrap_or_default();
    let step = if phase.starts_with("waiting for") {
        step("sessions waited for", "lockers_done", "lockers_total")
    } else if row.float("tuples_total").unwrap_or(0.0) > 0.0 && phase.contains("tuples") {
        step("rows", "tuples_done", "tuples_total")
    } else {
        step("blocks", "blocks_done", "blocks_total")
    };
    let command = row.text("command").unwrap_or("CREATE INDEX");
    let mut one = of_relation(row, command, phase, Some(step));
    let waited = row.float("current_locker_pid").filter(|pid| *pid > 0.0);
    let partitions = row.float("partitions_total").filter(|total| *total > 0.0);
    let done = partitions.and(row.float("partitions_done"));
    one.detail = known(&[
        ("waits for pid", waited),
        ("partitions done", done),
        ("partitions", partitions),
    ]);
    one
}

fn base_backup(row: &Row<'_>) -> Running {
    let step = step("bytes", "backup_streamed", "backup_total");
    let phase = row.text("phase").unwrap_or_default();
    base(row, "BASE BACKUP", phase, Some(step))
}

fn copy(row: &Row<'_>) -> Running {
    let command = row.text("command").unwrap_or("COPY");
    let step = step("bytes", "bytes_processed", "bytes_total");
    // COPY has no phases; where its data come from or go to stands in their place.
    let kind = row.text("type").unwrap_or_default().to_lowercase();
    let mut one = of_relation(row, command, &kind, Some(step));
    let rare = |name: &str| row.float(name).filter(|rows| *rows > 0.0);
    one.detail = known(&[
        ("rows", row.float("tuples_processed")),
        ("rows excluded", rare("tuples_excluded")),
        ("rows skipped", rare("tuples_skipped")),
    ]);
    one
}

fn known(found: &[(&'static str, Option<f64>)]) -> Vec<(&'static str, f64)> {
    found
        .iter()
        .filter_map(|(name, value)| Some((*name, (*value)?)))
        .collect()
}
