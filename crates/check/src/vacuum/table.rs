//! Dead rows, statistics and freezing, table by table.

use pawang_core::{Level, Missing, Row, Unit};

use super::threshold::{autovacuum, later, object, target};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View, relation};

const SIZE: Floor = Floor {
    name: "size",
    value: 32.0 * 1024.0 * 1024.0,
    unit: Unit::Bytes,
    ignores: "tables smaller than this",
};

const ROWS: Floor = Floor {
    name: "rows",
    value: 10_000.0,
    unit: Unit::Count,
    ignores: "tables with fewer rows",
};

pub(super) const DEAD_TUPLES: Check = Check {
    id: "dead-tuples",
    group: Group::Vacuum,
    title: "dead row versions",
    scope: Scope::Database,
    needs: &["tables"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(10.0),
    critical: Some(50.0),
    floors: &[Floor {
        name: "dead-rows",
        value: 1_000.0,
        unit: Unit::Count,
        ignores: "tables with fewer dead row versions",
    }],
    what: "n_dead_tup as a share of n_live_tup + n_dead_tup (pg_stat_all_tables), TOAST tables too. The counters are \
           estimates and start at zero after a crash or pg_stat_reset(). Space that vacuum freed is not dead: see table-bloat.",
    why: "Every scan reads dead rows and throws them away.",
    fix: "VACUUM (ANALYZE) the table; if they come back, lower autovacuum_vacuum_scale_factor for it; if they stay, see \
          vacuum-held-back.",
    observe: dead_tuples,
};

pub(super) const NEVER_VACUUMED: Check = Check {
    id: "never-vacuumed",
    group: Group::Vacuum,
    title: "tables never vacuumed",
    scope: Scope::Database,
    needs: &["tables"],
    unit: Unit::Bytes,
    direction: Direction::Above,
    warning: Some(32.0 * 1024.0 * 1024.0),
    critical: None,
    floors: &[SIZE],
    what: "Size of tables without any vacuum on record (last_vacuum, last_autovacuum) and without a single page in their \
           visibility map (pg_class.relallvisible = 0), which together rule out that only the statistics were reset.",
    why: "Index-only scans of such a table read every row from the heap, and its first vacuum against wraparound reads and \
          writes all of it at once.",
    fix: "VACUUM (ANALYZE) the table once after its load; keep autovacuum_vacuum_insert_threshold on.",
    observe: never_vacuumed,
};

pub(super) const NEVER_ANALYZED: Check = Check {
    id: "never-analyzed",
    group: Group::Vacuum,
    title: "tables never analyzed",
    scope: Scope::Database,
    needs: &["tables"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(10_000.0),
    critical: None,
    floors: &[ROWS],
    what: "Rows of tables that were never analyzed: neither last_analyze nor last_autoanalyze is set and at least half \
           of the rows count as changed since. After pg_stat_reset() a table counts again from its next changes on. \
           Partitioned parents: see partitioned-statistics.",
    why: "Without statistics the planner guesses, and guesses of joins over large tables turn into nested loops of hours.",
    fix: "ANALYZE the table; make it the last step of the load.",
    observe: never_analyzed,
};

pub(super) const STALE_STATISTICS: Check = Check {
    id: "stale-statistics",
    group: Group::Vacuum,
    title: "stale planner statistics",
    scope: Scope::Database,
    needs: &["tables", "settings"],
    unit: Unit::Ratio,
    direction: Direction::Above,
    warning: Some(2.0),
    critical: None,
    floors: &[Floor {
        name: "changes",
        value: 50_000.0,
        unit: Unit::Count,
        ignores: "tables with fewer changed rows",
    }],
    what: "n_mod_since_analyze as a multiple of the number from which autovacuum analyzes the table: threshold + scale factor x \
           rows, with the table's storage options. At 2 autovacuum has missed its turn.",
    why: "Plans for yesterday's data are wrong for today's load.",
    fix: "ANALYZE the table; make it the last step of the load.",
    observe: stale_statistics,
};

pub(super) const FREEZE_DEBT: Check = Check {
    id: "freeze-debt",
    group: Group::Vacuum,
    title: "pages still to be frozen",
    scope: Scope::Database,
    needs: &["tables", "settings"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(50.0),
    critical: None,
    floors: &[
        SIZE,
        Floor {
            name: "age",
            value: 50.0,
            unit: Unit::Percent,
            ignores: "tables younger than this share of autovacuum_freeze_max_age",
        },
    ],
    what: "Share of a table's pages that are not frozen (pg_class.relallfrozen, PostgreSQL 18) where its relfrozenxid is past half \
           of autovacuum_freeze_max_age: what the coming vacuum against wraparound must read and write.",
    why: "Insert-only tables of a warehouse collect this debt silently and pay it in one go, often in business hours.",
    fix: "VACUUM (FREEZE) the table in a quiet window; freeze old partitions right after their last load.",
    observe: freeze_debt,
};

pub(super) const VISIBILITY_MAP: Check = Check {
    id: "visibility-map",
    group: Group::Vacuum,
    title: "visibility map coverage",
    scope: Scope::Database,
    needs: &["tables"],
    unit: Unit::Percent,
    direction: Direction::Below,
    warning: Some(50.0),
    critical: None,
    floors: &[SIZE],
    what: "Share of pages that are all-visible (pg_class.relallvisible) in tables that are read through indexes and were vacuumed \
           at least once; as of the last vacuum.",
    why: "Index-only scans read the heap for every page outside the map, so a covering index is no faster than a plain one.",
    fix: "VACUUM the table after its load; lower autovacuum_vacuum_insert_scale_factor for it.",
    observe: visibility_map,
};

pub(super) const HOT_UPDATES: Check = Check {
    id: "hot-updates",
    group: Group::Vacuum,
    title: "updates that touch every index",
    scope: Scope::Database,
    needs: &["tables"],
    unit: Unit::Percent,
    direction: Direction::Below,
    warning: None,
    critical: None,
    floors: &[Floor {
        name: "updates",
        value: 100_000.0,
        unit: Unit::Count,
        ignores: "tables with fewer updates",
    }],
    what: "Heap-only updates (n_tup_hot_upd) as a share of all updates since the statistics were reset, of tables with indexes. \
           Information below 10 %; no limit by default, because updates of indexed columns can never be heap-only.",
    why: "An update that is not heap-only writes a new entry into every index of the table and bloats them all.",
    fix: "ALTER TABLE ... SET (fillfactor = 85) and rewrite the table once; drop unused indexes on the columns that change.",
    observe: hot_updates,
};

fn dead_tuples(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("dead-rows");
    let tables = view.here("tables")?;
    let concerned = tables
        .rows()
        .filter(|row| row.float("n_dead_tup").is_some_and(|dead| dead > floor));
    let observations = concerned.map(|row| {
        let dead = row.float("n_dead_tup").unwrap_or(0.0);
        let live = row.float("n_live_tup").unwrap_or(0.0);
        let share = 100.0 * dead / (dead + live);
        Observation {
            object: object(&row),
            value: share,
            title: format!(
                "{dead:.0} of {:.0} row versions are dead ({share:.0} %)",
                dead + live
            ),
            since: later(&row, "last_vacuum", "last_autovacuum"),
            evidence: row.evidence(&[
                "n_dead_tup",
                "n_live_tup",
                "last_vacuum",
                "last_autovacuum",
                "size_bytes",
            ]),
            remedy: Some(format!("VACUUM (ANALYZE) {};", target(&row))),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

fn is_table(row: &Row<'_>) -> bool {
    matches!(row.text("relkind"), Some("r" | "m"))
        && row.text("relpersistence") != Some("t")
        && row.text("schemaname") != Some("pg_catalog")
}

fn never_vacuumed(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("size");
    let tables = view.here("tables")?;
    let never = tables.rows().filter(|row| {
        is_table(row)
            && later(row, "last_vacuum", "last_autovacuum").is_none()
            && row.int("relallvisible") == Some(0)
            && row.float("size_bytes").unwrap_or(0.0) >= floor
    });
    let observations = never.map(|row| Observation {
        object: object(&row),
        value: row.float("size_bytes").unwrap_or(0.0),
        title: format!(
            "{} in {:.0} rows were never vacuumed",
            Unit::Bytes.show(row.float("size_bytes").unwrap_or(0.0)),
            row.float("n_live_tup").unwrap_or(0.0)
        ),
        evidence: row.evidence(&[
            "relpages",
            "relallvisible",
            "n_ins_since_vacuum",
            "frozen_xid_age",
        ]),
        remedy: Some(format!("VACUUM (ANALYZE) {};", target(&row))),
        ..Observation::default()
    });
    Ok(observations.collect())
}

fn never_analyzed(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("rows");
    let tables = view.here("tables")?;
    let never = tables.rows().filter(|row| {
        let rows = row.float("n_live_tup").unwrap_or(0.0);
        is_table(row)
            && later(row, "last_analyze", "last_autoanalyze").is_none()
            && rows >= floor
            && row.float("n_mod_since_analyze").unwrap_or(0.0) >= rows / 2.0
    });
    let observations = never.map(|row| {
        let rows = row.float("n_live_tup").unwrap_or(0.0);
        Observation {
            object: object(&row),
            value: rows,
            title: format!("{} rows were never analyzed", Unit::Count.show(rows)),
            evidence: row.evidence(&["n_live_tup", "n_mod_since_analyze", "reltuples"]),
            remedy: Some(format!("ANALYZE {};", target(&row))),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

fn stale_statistics(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let autovacuum = autovacuum(view)?;
    let floor = view.floor("changes");
    let tables = view.here("tables")?;
    let mut observations = Vec::new();
    for row in tables.rows() {
        let changed = row.float("n_mod_since_analyze").unwrap_or(0.0);
        let last = later(&row, "last_analyze", "last_autoanalyze");
        // Tables that were never analyzed have a check of their own.
        let Some(last) = last.filter(|_| is_table(&row) && changed >= floor) else {
            continue;
        };
        let need = autovacuum.need(&row);
        let ratio = need.analyze_ratio(&row);
        observations.push(Observation {
            object: object(&row),
            value: ratio,
            title: format!(
                "{} rows changed since the last ANALYZE, {ratio:.1} times autovacuum's threshold",
                Unit::Count.show(changed)
            ),
            since: Some(last),
            evidence: [("analyze_threshold".to_owned(), need.analyze_formula)]
                .into_iter()
                .chain(row.evidence(&["n_mod_since_analyze", "last_analyze", "last_autoanalyze"]))
                .collect(),
            remedy: Some(format!("ANALYZE {};", target(&row))),
            ..Observation::default()
        });
    }
    Ok(observations)
}

fn freeze_debt(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    if view.server()?.major() < 18 {
        return Err(Missing::NotApplicable(
            "needs PostgreSQL 18 (pg_class.relallfrozen)".to_owned(),
        ));
    }
    let limit: f64 = view
        .setting("autovacuum_freeze_max_age")?
        .and_then(|text| text.parse().ok())
        .unwrap_or(f64::NAN);
    let (size, age) = (view.floor("size"), view.floor("age"));
    let tables = view.here("tables")?;
    let mut observations = Vec::new();
    for row in tables.rows() {
        let old = 100.0 * row.float("frozen_xid_age").unwrap_or(0.0) / limit;
        let pages = row.float("relpages").unwrap_or(0.0);
        if old < age || row.float("size_bytes").unwrap_or(0.0) < size {
            continue;
        }
        let open = (pages - row.float("relallfrozen").unwrap_or(0.0)).max(0.0);
        let share = 100.0 * open / pages.max(1.0);
        observations.push(Observation {
            object: object(&row),
            value: share,
            title: format!(
                "{share:.0} % of the pages are not frozen at {old:.0} % of autovacuum_freeze_max_age"
            ),
            evidence: row.evidence(&["relpages", "relallfrozen", "frozen_xid_age"]),
            remedy: Some(format!("VACUUM (FREEZE) {};", target(&row))),
            ..Observation::default()
        });
    }
    Ok(observations)
}

fn visibility_map(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("size");
    let tables = view.here("tables")?;
    let concerned = tables.rows().filter(|row| {
        is_table(row)
            && row.int("idx_scan").unwrap_or(0) > 0
            && later(row, "last_vacuum", "last_autovacuum").is_some()
            && row.float("size_bytes").unwrap_or(0.0) >= floor
    });
    let observations = concerned.map(|row| {
        let pages = row.float("relpages").unwrap_or(0.0);
        let share = 100.0 * row.float("relallvisible").unwrap_or(0.0) / pages.max(1.0);
        Observation {
            object: object(&row),
            value: share,
            title: format!("{share:.0} % of the pages are in the visibility map"),
            evidence: row.evidence(&[
                "relpages",
                "relallvisible",
                "idx_scan",
                "last_vacuum",
                "last_autovacuum",
            ]),
            remedy: Some(format!("VACUUM {};", target(&row))),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

fn hot_updates(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("updates");
    let tables = view.here("tables")?;
    let concerned = tables.rows().filter(|row| {
        is_table(row)
            && row.int("index_count").unwrap_or(0) > 0
            && row.float("n_tup_upd").unwrap_or(0.0) >= floor
    });
    let observations = concerned.map(|row| {
        let updates = row.float("n_tup_upd").unwrap_or(0.0);
        let share = 100.0 * row.float("n_tup_hot_upd").unwrap_or(0.0) / updates;
        Observation {
            object: object(&row),
            value: share,
            level: (share < 10.0).then_some(Level::Info),
            title: format!(
                "{share:.0} % of {} updates were heap-only, with {} indexes to maintain",
                Unit::Count.show(updates),
                row.value("index_count")
            ),
            evidence: row.evidence(&["n_tup_upd", "n_tup_hot_upd", "index_count", "reloptions"]),
            remedy: relation::option(row.list("reloptions"), "fillfactor")
                .is_none()
                .then(|| {
                    format!(
                        "ALTER TABLE {} SET (fillfactor = 85);  -- for new pages; a rewrite applies it to all",
                        target(&row)
                    )
                }),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}
