//! Whether autovacuum is allowed to work, and whether it keeps up.

use pawang_core::{Level, Missing, Unit};

use super::threshold::{autovacuum, later, object, target};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View, relation};

/// Reading a page that is not in shared buffers costs this many cost units (`vacuum_cost_page_miss` may change it).
const BYTES_PER_PAGE: f64 = 8192.0;
/// A table must be waiting at least this many naptimes before autovacuum is called late.
const NAPTIMES: f64 = 10.0;
/// Autovacuum came by within this many naptimes: what is dead now was dead then.
const JUST_VACUUMED_NAPTIMES: f64 = 3.0;
/// Tables named in one finding.
const NAMES_MAX: usize = 5;

const DEAD_ROWS: Floor = Floor {
    name: "dead-rows",
    value: 10_000.0,
    unit: Unit::Count,
    ignores: "tables with fewer dead and newly inserted rows",
};

pub(super) const AUTOVACUUM_DISABLED: Check = Check {
    id: "autovacuum-disabled",
    group: Group::Vacuum,
    title: "autovacuum switched off",
    scope: Scope::Server,
    needs: &["settings"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "The settings autovacuum and track_counts: autovacuum works only when both are on. One finding, critical.",
    why: "Without autovacuum tables bloat, statistics go stale, and in the end only emergency vacuums against transaction ID \
          wraparound run, at the worst moment.",
    fix: "ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf();",
    observe: autovacuum_disabled,
};

pub(super) const AUTOVACUUM_DISABLED_TABLES: Check = Check {
    id: "autovacuum-disabled-tables",
    group: Group::Vacuum,
    title: "tables without autovacuum",
    scope: Scope::Database,
    needs: &["tables"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[Floor {
        name: "rows",
        value: 10_000.0,
        unit: Unit::Count,
        ignores: "tables with fewer row versions",
    }],
    what: "Tables and TOAST tables whose storage option autovacuum_enabled is off (pg_class.reloptions). A warning each.",
    why: "The option is set for one load and forgotten; the table then bloats, its statistics go stale, and its first vacuum is \
          the one against wraparound.",
    fix: "ALTER TABLE name RESET (autovacuum_enabled); or make sure that a job vacuums and analyzes the table.",
    observe: disabled_tables,
};

pub(super) const VACUUM_DUE: Check = Check {
    id: "vacuum-due",
    group: Group::Vacuum,
    title: "tables due for vacuum",
    scope: Scope::Database,
    needs: &["tables", "settings"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[DEAD_ROWS],
    what: "Dead or newly inserted rows in percent of the number from which autovacuum vacuums the table, by its own formula: \
           threshold + scale factor x rows with the table's storage options, autovacuum_vacuum_max_threshold (PostgreSQL 18) and \
           the insert thresholds. From 100 % it is information: the next worker takes it.",
    why: "It says what autovacuum is about to do, and tells a table that is merely due from one that is left behind \
          (check vacuum-starved).",
    fix: "Nothing, unless it stays due; after a large load VACUUM (ANALYZE) the table yourself instead of waiting.",
    observe: vacuum_due,
};

pub(super) const VACUUM_STARVED: Check = Check {
    id: "vacuum-starved",
    group: Group::Vacuum,
    title: "tables that autovacuum does not reach",
    scope: Scope::Database,
    needs: &["tables", "settings"],
    unit: Unit::Ratio,
    direction: Direction::Above,
    warning: Some(2.0),
    critical: Some(10.0),
    floors: &[DEAD_ROWS],
    what: "How many times over its vacuum threshold (check vacuum-due) a table is that was not vacuumed for ten naptimes. A \
           table is only judged when the server has counted it due for that long or an earlier sample saw it due already.",
    why: "Workers too few, too throttled, blocked by locks or cancelled by DDL leave tables behind; dead rows then grow \
          without limit.",
    fix: "VACUUM (ANALYZE) the table now; then look at autovacuum-workers, autovacuum-throttled and long transactions; for hot \
          tables lower autovacuum_vacuum_scale_factor by ALTER TABLE ... SET.",
    observe: vacuum_starved,
};

pub(super) const VACUUM_HELD_BACK: Check = Check {
    id: "vacuum-held-back",
    group: Group::Vacuum,
    title: "dead rows that vacuum may not remove",
    scope: Scope::Database,
    needs: &["tables", "settings", "horizon"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(10.0),
    critical: Some(50.0),
    floors: &[DEAD_ROWS],
    what: "Dead row versions as a share of all, in tables that were vacuumed within the last three naptimes and still hold more \
           dead rows than autovacuum's threshold: something old can still see them. The oldest holder of the horizon is named.",
    why: "Autovacuum then runs again and again over the same table without effect, while the table bloats.",
    fix: "End the holder: the transaction, the prepared transaction, the replication slot, or the standby's query \
          (pawang check xmin-horizon); then vacuum again.",
    observe: held_back,
};

pub(super) const AUTOVACUUM_WORKERS: Check = Check {
    id: "autovacuum-workers",
    group: Group::Vacuum,
    title: "autovacuum workers all busy",
    scope: Scope::Server,
    needs: &["activity", "settings", "tables"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Running autovacuum workers (pg_stat_activity) as a share of autovacuum_max_workers. A warning when all are busy while \
           more tables are over twice their threshold than there are workers.",
    why: "When every worker is on a large table, small hot tables wait for hours.",
    fix: "Raise autovacuum_vacuum_cost_limit first (the workers share it), then autovacuum_max_workers (restart before \
          PostgreSQL 18).",
    observe: workers,
};

pub(super) const AUTOVACUUM_THROTTLED: Check = Check {
    id: "autovacuum-throttled",
    group: Group::Vacuum,
    title: "autovacuum throttled by cost",
    scope: Scope::Server,
    needs: &["settings"],
    unit: Unit::BytesPerSecond,
    direction: Direction::Below,
    warning: Some(8.0 * 1024.0 * 1024.0),
    critical: None,
    floors: &[],
    what: "How much all autovacuum workers together may dirty per second at most: autovacuum_vacuum_cost_limit / \
           vacuum_cost_page_dirty pages every autovacuum_vacuum_cost_delay. The defaults since PostgreSQL 12 allow 39 MB/s.",
    why: "A limit carried over from old servers (20 ms: 4 MB/s) makes vacuum of a large table take days.",
    fix: "ALTER SYSTEM SET autovacuum_vacuum_cost_delay = '2ms'; ALTER SYSTEM SET autovacuum_vacuum_cost_limit = 1000; SELECT pg_reload_conf();",
    observe: throttled,
};

pub(super) const VACUUM_STUCK: Check = Check {
    id: "vacuum-stuck",
    group: Group::Vacuum,
    title: "vacuum without progress",
    scope: Scope::Server,
    needs: &["progress-vacuum", "activity"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: Some(86_400.0),
    critical: Some(3.0 * 86_400.0),
    floors: &[],
    what: "How long each running VACUUM has been at it (pg_stat_progress_vacuum and the start of its transaction), with its phase \
           and the share of blocks scanned.",
    why: "A vacuum of days holds a worker, and its dead rows come back faster than it removes them.",
    fix: "Look at its wait event and at index_vacuum_count: above 1, raise autovacuum_work_mem; waiting on VacuumDelay, raise \
          the cost limit.",
    observe: stuck,
};

fn autovacuum_disabled(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let off: Vec<&str> = ["autovacuum", "track_counts"]
        .into_iter()
        .filter(|name| view.setting(name).ok().flatten() == Some("off"))
        .collect();
    view.setting("autovacuum")?;
    Ok(vec![Observation {
        value: if off.is_empty() { 0.0 } else { 1.0 },
        level: Some(if off.is_empty() {
            Level::Ok
        } else {
            Level::Critical
        }),
        title: format!("{} off: autovacuum does not work", off.join(" and ")),
        evidence: off
            .iter()
            .map(|name| ((*name).to_owned(), "off".to_owned()))
            .collect(),
        remedy: off
            .first()
            .map(|name| format!("ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();")),
        ..Observation::default()
    }])
}

fn disabled_tables(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("rows");
    let tables = view.here("tables")?;
    let off = tables.rows().filter(|row| {
        let versions =
            row.float("n_live_tup").unwrap_or(0.0) + row.float("n_dead_tup").unwrap_or(0.0);
        relation::option_is_off(row.list("reloptions"), "autovacuum_enabled")
            && versions.max(row.float("reltuples").unwrap_or(0.0)) >= floor
    });
    let observations = off.map(|row| Observation {
        object: object(&row),
        value: 1.0,
        level: Some(Level::Warning),
        title: format!(
            "autovacuum is switched off for this table of {:.0} rows, {:.0} of them dead",
            row.float("n_live_tup").unwrap_or(0.0) + row.float("n_dead_tup").unwrap_or(0.0),
            row.float("n_dead_tup").unwrap_or(0.0)
        ),
        evidence: row.evidence(&["reloptions", "last_vacuum", "last_analyze", "n_dead_tup"]),
        remedy: Some(format!(
            "ALTER TABLE {} RESET ({}autovacuum_enabled);",
            target(&row),
            if row.text("toast_of").is_some() {
                "toast."
            } else {
                ""
            }
        )),
        ..Observation::default()
    });
    Ok(observations.collect())
}

fn vacuum_due(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let autovacuum = autovacuum(view)?;
    let floor = view.floor("dead-rows");
    let tables = view.here("tables")?;
    let mut observations = Vec::new();
    for row in tables.rows() {
        let dead = row.float("n_dead_tup").unwrap_or(0.0);
        let inserted = row.float("n_ins_since_vacuum").unwrap_or(0.0);
        if dead + inserted < floor || row.text("relpersistence") == Some("t") {
            continue;
        }
        let need = autovacuum.need(&row);
        let share = 100.0 * need.vacuum_ratio(&row);
        observations.push(Observation {
            object: object(&row),
            value: share,
            level: (share >= 100.0).then_some(Level::Info),
            title: format!("due: {dead:.0} dead and {inserted:.0} newly inserted rows, {share:.0} % of autovacuum's threshold"),
            evidence: vec![
                ("vacuum_threshold".to_owned(), need.vacuum_formula),
                ("insert_threshold".to_owned(), need.insert.map_or_else(|| "off".to_owned(), |limit| format!("{limit:.0}"))),
                ("n_dead_tup".to_owned(), format!("{dead:.0}")),
                ("n_ins_since_vacuum".to_owned(), format!("{inserted:.0}")),
            ],
            remedy: Some(format!("VACUUM (ANALYZE) {};", target(&row))),
            ..Observation::default()
        });
    }
    Ok(observations)
}

fn vacuum_starved(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let autovacuum = autovacuum(view)?;
    let floor = view.floor("dead-rows");
    let tables = view.here("tables")?;
    let older = view
        .older
        .and_then(|older| older.snapshot("tables", view.database).ok());
    let patience = NAPTIMES * autovacuum.naptime;
    let mut observations = Vec::new();
    for row in tables.rows() {
        let need = autovacuum.need(&row);
        let ratio = need.vacuum_ratio(&row);
        let versions =
            row.float("n_dead_tup").unwrap_or(0.0) + row.float("n_ins_since_vacuum").unwrap_or(0.0);
        if ratio < 1.0 || versions < floor || !need.enabled {
            continue;
        }
        let last = later(&row, "last_vacuum", "last_autovacuum");
        let waited = |since: pawang_core::Timestamp| view.now.duration_since(since).as_secs_f64();
        let old = older.and_then(|older| {
            let mut rows = older.rows();
            let same = rows.find(|old| old.int("relid") == row.int("relid"))?;
            let was_due = autovacuum.need(&same).vacuum_ratio(&same) >= 1.0
                && later(&same, "last_vacuum", "last_autovacuum") == last;
            (was_due && waited(older.at) >= patience).then_some(())
        });
        if last.is_none_or(|last| waited(last) < patience) && old.is_none() {
            continue;
        }
        observations.push(Observation {
            object: object(&row),
            value: ratio,
            title: format!(
                "{ratio:.1} times over autovacuum's threshold and not vacuumed {}",
                last.map_or_else(
                    || "ever".to_owned(),
                    |last| format!("for {}", Unit::Seconds.show(waited(last)))
                )
            ),
            since: last,
            evidence: [("vacuum_threshold".to_owned(), need.vacuum_formula)]
                .into_iter()
                .chain(row.evidence(&["n_dead_tup", "n_ins_since_vacuum", "last_autovacuum"]))
                .collect(),
            remedy: Some(format!("VACUUM (ANALYZE) {};", target(&row))),
            ..Observation::default()
        });
    }
    Ok(observations)
}

fn held_back(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let autovacuum = autovacuum(view)?;
    let floor = view.floor("dead-rows");
    let tables = view.here("tables")?;
    let holder = view.snapshot("horizon").ok().and_then(|horizon| {
        horizon
            .rows()
            .max_by_key(|row| row.int("xmin_age").unwrap_or(0))
    });
    let mut observations = Vec::new();
    for row in tables.rows() {
        let dead = row.float("n_dead_tup").unwrap_or(0.0);
        let live = row.float("n_live_tup").unwrap_or(0.0);
        let Some(last) = later(&row, "last_vacuum", "last_autovacuum") else {
            continue;
        };
        let ago = view.now.duration_since(last).as_secs_f64();
        let need = autovacuum.need(&row);
        let recent = ago <= JUST_VACUUMED_NAPTIMES * autovacuum.naptime.max(1.0);
        if !recent || dead < floor || dead < need.vacuum {
            continue;
        }
        let share = 100.0 * dead / (dead + live).max(1.0);
        let mut evidence = row.evidence(&[
            "n_dead_tup",
            "n_live_tup",
            "last_vacuum",
            "last_autovacuum",
            "autovacuum_count",
        ]);
        if let Some(holder) = holder {
            evidence.push(("oldest holder".to_owned(), holder.label()));
            evidence.extend(holder.evidence(&["xmin_age", "since"]));
        }
        observations.push(Observation {
            object: object(&row),
            value: share,
            title: format!(
                "{dead:.0} dead rows ({share:.0} %) remain though it was vacuumed {} ago",
                Unit::Seconds.show(ago)
            ),
            since: Some(last),
            evidence,
            ..Observation::default()
        });
    }
    Ok(observations)
}

fn workers(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let autovacuum = autovacuum(view)?;
    let most: f64 = view
        .setting("autovacuum_max_workers")?
        .and_then(|text| text.parse().ok())
        .unwrap_or(f64::NAN);
    let activity = view.snapshot("activity")?;
    let running = activity
        .rows()
        .filter(|row| row.text("backend_type") == Some("autovacuum worker"))
        .count() as f64;
    let mut waiting = Vec::new();
    for database in &view.facts.databases {
        if let Ok(tables) = view.facts.snapshot("tables", Some(database)) {
            let late = tables.rows().filter(|row| {
                let need = autovacuum.need(row);
                need.enabled && need.vacuum_ratio(row) >= 2.0
            });
            waiting.extend(late.map(|row| format!("{database}: {}", object(&row))));
        }
    }
    let share = 100.0 * running / most;
    let saturated = running >= most && waiting.len() as f64 > most;
    Ok(vec![Observation {
        value: share,
        level: saturated.then_some(Level::Warning),
        title: format!(
            "all {most:.0} autovacuum workers are busy and {} tables are over twice their threshold",
            waiting.len()
        ),
        evidence: waiting
            .into_iter()
            .take(NAMES_MAX)
            .map(|name| ("waiting".to_owned(), name))
            .collect(),
        ..Observation::default()
    }])
}

fn throttled(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let number = |name: &str| -> Result<f64, Missing> {
        Ok(view
            .setting(name)?
            .and_then(|text| text.parse().ok())
            .unwrap_or(f64::NAN))
    };
    // -1 means "as for VACUUM".
    let or = |name: &str, fallback: &str| match number(name)? {
        value if value < 0.0 => number(fallback),
        value => Ok(value),
    };
    let delay_ms = or("autovacuum_vacuum_cost_delay", "vacuum_cost_delay")?;
    let limit = or("autovacuum_vacuum_cost_limit", "vacuum_cost_limit")?;
    let dirty = number("vacuum_cost_page_dirty")?;
    if delay_ms == 0.0 || dirty == 0.0 {
        return Err(Missing::NotApplicable(
            "autovacuum is not throttled".to_owned(),
        ));
    }
    let rate = limit / dirty * BYTES_PER_PAGE * 1000.0 / delay_ms;
    Ok(vec![Observation {
        value: rate,
        title: format!(
            "all autovacuum workers together may write {} at most",
            Unit::BytesPerSecond.show(rate)
        ),
        evidence: vec![
            (
                "autovacuum_vacuum_cost_delay".to_owned(),
                format!("{delay_ms} ms"),
            ),
            ("autovacuum_vacuum_cost_limit".to_owned(), limit.to_string()),
            ("vacuum_cost_page_dirty".to_owned(), dirty.to_string()),
        ],
        ..Observation::default()
    }])
}

fn stuck(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let activity = view.snapshot("activity")?;
    let progress = view.snapshot("progress-vacuum")?;
    let observations = progress.rows().filter_map(|row| {
        let session = activity
            .rows()
            .find(|session| session.int("pid") == row.int("pid"))?;
        let age = session.float("xact_age_seconds")?;
        let total = row.float("heap_blks_total").unwrap_or(0.0).max(1.0);
        let scanned = 100.0 * row.float("heap_blks_scanned").unwrap_or(0.0) / total;
        Some(Observation {
            object: format!(
                "pid {} in database \"{}\"",
                row.value("pid"),
                row.text("datname").unwrap_or("?")
            ),
            value: age,
            title: format!(
                "has been vacuuming for {}: {}, {scanned:.0} % scanned, index round {}",
                Unit::Seconds.show(age),
                row.text("phase").unwrap_or("?"),
                row.value("index_vacuum_count")
            ),
            since: session.time("xact_start"),
            evidence: session
                .evidence(&["query", "wait_event_type", "wait_event"])
                .into_iter()
                .chain(row.evidence(&["relid", "phase", "heap_blks_total", "heap_blks_scanned"]))
                .collect(),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}
