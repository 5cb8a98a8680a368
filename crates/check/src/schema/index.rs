//! Indexes that are broken, unused, missing or too many.

use pawang_core::{Level, Missing, Role, Row, Unit};

use crate::{Check, Direction, Floor, Group, Observation, Scope, View, relation};

/// First and last releases in which CREATE INDEX CONCURRENTLY and REINDEX CONCURRENTLY could corrupt an index.
const UNSAFE_RELEASES: std::ops::RangeInclusive<u32> = 140_000..=140_003;

pub(super) const INVALID_INDEX: Check = Check {
    id: "invalid-index",
    group: Group::Schema,
    title: "indexes that are not valid",
    scope: Scope::Database,
    needs: &["indexes"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Indexes with indisvalid, indisready or indislive off (pg_index), except on tables where \
           pg_stat_progress_create_index shows one being built. A warning each; critical when it should enforce uniqueness.",
    why: "A failed CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY leaves an index that no query uses but every write \
          maintains; a unique one enforces nothing.",
    fix: "DROP INDEX CONCURRENTLY the leftover (names ending in _ccnew or _ccold), or REINDEX INDEX CONCURRENTLY it.",
    observe: invalid_index,
};

pub(super) const UNUSED_INDEX: Check = Check {
    id: "unused-index",
    group: Group::Schema,
    title: "unused indexes",
    scope: Scope::Database,
    needs: &["indexes", "database", "replication"],
    unit: Unit::Bytes,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[
        Floor {
            name: "size",
            value: 10.0 * 1024.0 * 1024.0,
            unit: Unit::Bytes,
            ignores: "indexes smaller than this",
        },
        Floor {
            name: "age",
            value: 30.0,
            unit: Unit::Days,
            ignores: "statistics younger than this: nothing is called unused before",
        },
    ],
    what: "Size of indexes that were never scanned since the statistics were reset (pg_stat_all_indexes.idx_scan = 0) and that serve \
           no constraint, uniqueness, replica identity, clustering or partitioned index. Scans on standbys are counted \
           on the standbys only; when this server has some, the finding is information instead of a warning. \
           Quarterly reports may need longer than the age.",
    why: "An unused index costs cache, WAL and time on every write, and keeps updates from being heap-only.",
    fix: "Ask every standby the same question, then DROP INDEX CONCURRENTLY; keep its definition to undo it.",
    observe: unused_index,
};

pub(super) const MISSING_FK_INDEX: Check = Check {
    id: "missing-fk-index",
    group: Group::Schema,
    title: "foreign keys without index",
    scope: Scope::Database,
    needs: &["foreign-keys"],
    unit: Unit::Bytes,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[Floor {
        name: "size",
        value: 10.0 * 1024.0 * 1024.0,
        unit: Unit::Bytes,
        ignores: "referencing tables smaller than this",
    }],
    what: "Size of tables whose foreign key is not covered by the first columns of any valid, not partial index, in any order. \
           A warning where rows of the referenced table were deleted or its keys updated since the statistics were reset, \
           information elsewhere.",
    why: "Deleting or re-keying one referenced row then scans the whole referencing table, under a lock.",
    fix: "CREATE INDEX CONCURRENTLY on the referencing columns, unless referenced rows are never deleted.",
    observe: missing_fk_index,
};

pub(super) const SEQUENTIAL_SCANS: Check = Check {
    id: "sequential-scans",
    group: Group::Schema,
    title: "tables read sequentially",
    scope: Scope::Database,
    needs: &["tables"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[
        Floor {
            name: "scans",
            value: 100.0,
            unit: Unit::Count,
            ignores: "tables with fewer sequential scans",
        },
        Floor {
            name: "rows-per-scan",
            value: 10_000.0,
            unit: Unit::Count,
            ignores: "tables whose scans read fewer rows",
        },
    ],
    what: "Rows read per sequential scan of tables that are scanned sequentially more often than through an index, since \
           the statistics were reset; tables without any index count with zero index scans. Information, no limit by \
           default: reports of a warehouse scan on purpose.",
    why: "A lookup that reads the whole table costs more with every load; on tables without an index nothing else is possible.",
    fix: "Find the statements (pawang check statements), EXPLAIN them, and index the columns they filter by.",
    observe: sequential_scans,
};

pub(super) const INDEX_COUNT: Check = Check {
    id: "index-count",
    group: Group::Schema,
    title: "many indexes on one table",
    scope: Scope::Database,
    needs: &["tables"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(20.0),
    critical: None,
    floors: &[Floor {
        name: "size",
        value: 10.0 * 1024.0 * 1024.0,
        unit: Unit::Bytes,
        ignores: "tables smaller than this",
    }],
    what: "Number of indexes of each table (pg_index).",
    why: "Every insert, and every update that is not heap-only, writes to all of them; planning looks at all of them.",
    fix: "Start with unused-index, duplicate-index and redundant-index.",
    observe: index_count,
};

pub(super) const REINDEX_UNSAFE: Check = Check {
    id: "reindex-concurrently-unsafe",
    group: Group::Schema,
    title: "release that corrupts concurrent indexes",
    scope: Scope::Server,
    needs: &["settings"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "The server's version: in PostgreSQL 14.0 to 14.3 CREATE INDEX CONCURRENTLY and REINDEX CONCURRENTLY could leave rows out of \
           the index (fixed in 14.4). Critical.",
    why: "Such an index silently misses rows: queries return less than the table holds, and unique indexes accept duplicates.",
    fix: "Update to the latest 14 minor release, check B-tree indexes with amcheck (bt_index_check(index, true)), and REINDEX those built \
          concurrently before.",
    observe: reindex_unsafe,
};

fn name(row: &Row<'_>) -> String {
    format!(
        "{}.{}",
        row.text("schemaname").unwrap_or("?"),
        row.text("indexrelname").unwrap_or("?")
    )
}

fn quoted(row: &Row<'_>) -> String {
    relation::quoted(
        row.text("schemaname").unwrap_or("?"),
        row.text("indexrelname").unwrap_or("?"),
    )
}

fn invalid_index(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let indexes = view.here("indexes")?;
    let broken = indexes.rows().filter(|row| {
        ["indisvalid", "indisready", "indislive"]
            .iter()
            .any(|flag| row.flag(flag) == Some(false))
            && row.flag("in_progress") != Some(true)
            && row.text("relpersistence") != Some("t")
    });
    let observations = broken.map(|row| {
        let unique = row.flag("indisunique") == Some(true);
        let partitioned = row.text("relkind") == Some("I");
        Observation {
            object: name(&row),
            value: 1.0,
            level: Some(if unique {
                Level::Critical
            } else {
                Level::Warning
            }),
            title: if partitioned {
                "the partitioned index lacks an index on at least one partition".to_owned()
            } else {
                format!(
                    "the index on {} is not valid: {}",
                    relation::name(&row),
                    if unique {
                        "no query uses it, every write maintains it, and it does not enforce uniqueness"
                    } else {
                        "no query uses it and every write maintains it"
                    }
                )
            },
            evidence: row.evidence(&["indisvalid", "indisready", "indislive", "size_bytes"]),
            remedy: Some(if partitioned {
                "ALTER INDEX ... ATTACH PARTITION the missing ones".to_owned()
            } else if row.flag("indisprimary") == Some(true) || row.text("constraint_type").is_some() {
                format!("REINDEX INDEX CONCURRENTLY {};", quoted(&row))
            } else {
                format!("DROP INDEX CONCURRENTLY {};", quoted(&row))
            }),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

/// Returns the days that this database's counters have been running, at least.
fn statistics_age(view: &View<'_>) -> Result<f64, Missing> {
    let databases = view.snapshot("database")?;
    let here = databases
        .rows()
        .find(|row| row.text("datname") == view.database);
    // Never reset: then at least since the start of the server, which keeps counters over a clean restart.
    let since = here.and_then(|row| row.time("stats_reset"));
    let since = match since {
        Some(reset) => reset,
        None => view.server()?.epoch.started_at,
    };
    Ok(view.now.duration_since(since).as_secs_f64() / 86_400.0)
}

fn unused_index(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    if view.server()?.role == Role::Standby {
        return Err(Missing::NotApplicable(
            "the server is a standby: the primary decides about indexes".to_owned(),
        ));
    }
    let age = statistics_age(view)?;
    let (size, oldest) = (view.floor("size"), view.floor("age"));
    let indexes = view.here("indexes")?;
    if age < oldest {
        return Err(Missing::NotApplicable(format!(
            "the statistics are {age:.0} days old, and {oldest:.0} are needed to call an index unused"
        )));
    }
    // From PostgreSQL 19 on the counters of one index can be reset alone.
    let reset_recently = |row: &Row<'_>| {
        let reset = row.time("stats_reset");
        reset.is_some_and(|at| view.now.duration_since(at).as_secs_f64() < oldest * 86_400.0)
    };
    let standbys = view
        .snapshot("replication")
        .map_or(0, |snapshot| snapshot.rows().len());
    let unused = indexes.rows().filter(|row| {
        row.int("idx_scan") == Some(0)
            && !reset_recently(row)
            && row.float("size_bytes").unwrap_or(0.0) >= size
            && row.flag("indisvalid") == Some(true)
            && row.text("constraint_type").is_none()
            && row.text("relkind") == Some("i")
            && row.text("table_relkind") != Some("t")
            && row.text("schemaname") != Some("pg_catalog")
            && [
                "indisunique",
                "indisprimary",
                "indisexclusion",
                "indisreplident",
                "indisclustered",
                "is_partition",
            ]
            .iter()
            .all(|flag| row.flag(flag) == Some(false))
    });
    let observations = unused.map(|row| Observation {
        object: name(&row),
        value: row.float("size_bytes").unwrap_or(0.0),
        level: Some(if standbys == 0 {
            Level::Warning
        } else {
            Level::Info
        }),
        title: format!(
            "{} on {} not scanned once in {age:.0} days{}",
            Unit::Bytes.show(row.float("size_bytes").unwrap_or(0.0)),
            relation::name(&row),
            if standbys == 0 {
                String::new()
            } else {
                format!(" on the primary; scans on its {standbys} standbys are not counted here")
            }
        ),
        evidence: row.evidence(&["key_columns", "idx_scan", "last_idx_scan", "size_bytes"]),
        remedy: Some(format!("DROP INDEX CONCURRENTLY {};", quoted(&row))),
        ..Observation::default()
    });
    Ok(observations.collect())
}

fn missing_fk_index(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("size");
    let keys = view.here("foreign-keys")?;
    let large = keys
        .rows()
        .filter(|row| row.float("size_bytes").unwrap_or(0.0) >= floor);
    let observations = large.map(|row| {
        let changes = row.int("referenced_deletes").unwrap_or(0)
            + row.int("referenced_updates").unwrap_or(0);
        let columns: Vec<String> = row
            .list("columns")
            .iter()
            .map(|column| relation::identifier(column))
            .collect();
        Observation {
            object: format!(
                "{}.{}",
                relation::name(&row),
                row.text("conname").unwrap_or("?")
            ),
            value: row.float("size_bytes").unwrap_or(0.0),
            level: Some(if changes > 0 {
                Level::Warning
            } else {
                Level::Info
            }),
            title: format!(
                "no index for the foreign key to {}.{}, whose rows were deleted or updated {changes} times",
                row.text("referenced_schema").unwrap_or("?"),
                row.text("referenced_table").unwrap_or("?")
            ),
            evidence: row.evidence(&[
                "columns",
                "size_bytes",
                "reltuples",
                "referenced_deletes",
                "referenced_updates",
            ]),
            remedy: Some(format!(
                "CREATE INDEX CONCURRENTLY ON {} ({});",
                relation::table(&row),
                columns.join(", ")
            )),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

fn is_user_table(row: &Row<'_>) -> bool {
    matches!(row.text("relkind"), Some("r" | "m"))
        && row.text("relpersistence") != Some("t")
        && !matches!(
            row.text("schemaname"),
            Some("pg_catalog" | "information_schema")
        )
}

fn sequential_scans(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let (scans_floor, rows_floor) = (view.floor("scans"), view.floor("rows-per-scan"));
    let tables = view.here("tables")?;
    let mut observations = Vec::new();
    for row in tables.rows().filter(is_user_table) {
        let scans = row.float("seq_scan").unwrap_or(0.0);
        // NULL for a table without indexes.
        let by_index = row.float("idx_scan").unwrap_or(0.0);
        let per_scan = row.float("seq_tup_read").unwrap_or(0.0) / scans.max(1.0);
        if scans < scans_floor || scans <= by_index || per_scan < rows_floor {
            continue;
        }
        let indexes = row.int("index_count").unwrap_or(0);
        observations.push(Observation {
            object: relation::name(&row),
            value: per_scan,
            level: Some(Level::Info),
            title: format!(
                "{} sequential scans of {} rows each, against {} index scans ({})",
                Unit::Count.show(scans),
                Unit::Count.show(per_scan.round()),
                Unit::Count.show(by_index),
                if indexes == 0 {
                    "it has no index".to_owned()
                } else {
                    format!("it has {indexes} indexes")
                }
            ),
            evidence: row.evidence(&[
                "seq_scan",
                "seq_tup_read",
                "idx_scan",
                "last_seq_scan",
                "n_live_tup",
            ]),
            ..Observation::default()
        });
    }
    Ok(observations)
}

fn index_count(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("size");
    let tables = view.here("tables")?;
    let large = tables
        .rows()
        .filter(|row| is_user_table(row) && row.float("size_bytes").unwrap_or(0.0) >= floor);
    let observations = large.map(|row| {
        let count = row.float("index_count").unwrap_or(0.0);
        Observation {
            object: relation::name(&row),
            value: count,
            title: format!("{count:.0} indexes"),
            evidence: row.evidence(&["index_count", "n_tup_ins", "n_tup_upd", "size_bytes"]),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

fn reindex_unsafe(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let server = view.server()?;
    if server.major() != 14 {
        return Err(Missing::NotApplicable(
            "concerns PostgreSQL 14.0 to 14.3".to_owned(),
        ));
    }
    let concerned = UNSAFE_RELEASES.contains(&server.version);
    Ok(vec![Observation {
        value: if concerned { 1.0 } else { 0.0 },
        level: Some(if concerned {
            Level::Critical
        } else {
            Level::Ok
        }),
        title: format!(
            "version {} can corrupt indexes that are built concurrently",
            server.short_version()
        ),
        evidence: vec![("server_version".to_owned(), server.version_text.clone())],
        ..Observation::default()
    }])
}
