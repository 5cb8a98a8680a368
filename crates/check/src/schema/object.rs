//! Columns, triggers, constraints, extensions and collations.

use pawang_core::{Level, Missing, Row, Unit};

use crate::{Check, Direction, Floor, Group, Observation, Scope, View, relation};

pub(super) const COLUMN_LIMIT: Check = Check {
    id: "column-limit",
    group: Group::Schema,
    title: "column numbers running out",
    scope: Scope::Database,
    needs: &["tables"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(1_200.0),
    critical: Some(1_500.0),
    floors: &[],
    what: "Column numbers that a table has used (pg_class.relnatts), dropped columns included; a table has 1,600 in its life.",
    why: "Jobs that add and drop a column in every run use them up, and then no column can be added any more.",
    fix: "Create the table anew (CREATE TABLE ... LIKE, copy, swap names); no rewrite in place returns the numbers.",
    observe: column_limit,
};

pub(super) const DISABLED_TRIGGERS: Check = Check {
    id: "disabled-triggers",
    group: Group::Schema,
    title: "triggers switched off",
    scope: Scope::Database,
    needs: &["disabled-triggers"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Triggers with tgenabled = D (pg_trigger), per table. A warning for triggers of users; critical for the internal ones of \
           foreign keys, which ALTER TABLE ... DISABLE TRIGGER ALL switches off too.",
    why: "A load switched them off and did not switch them on again: audit rows are missing, and foreign keys are not \
          enforced though they look valid.",
    fix: "ALTER TABLE ... ENABLE TRIGGER ALL; then look for rows without a parent: rows written meanwhile were never checked.",
    observe: disabled_triggers,
};

pub(super) const UNLOGGED_TABLES: Check = Check {
    id: "unlogged-tables",
    group: Group::Schema,
    title: "unlogged tables",
    scope: Scope::Database,
    needs: &["unlogged-relations"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[Floor {
        name: "rows",
        value: 1_000.0,
        unit: Unit::Count,
        ignores: "tables with fewer rows",
    }],
    what: "Rows of unlogged tables and materialized views (pg_class.relpersistence = u). Information: staging tables are unlogged on \
           purpose.",
    why: "After a crash they are empty, and they are empty on every standby and in every base backup.",
    fix: "ALTER TABLE ... SET LOGGED; for tables that hold anything that cannot be loaded again (rewrites the table).",
    observe: unlogged_tables,
};

pub(super) const NOT_VALID_CONSTRAINTS: Check = Check {
    id: "not-valid-constraints",
    group: Group::Schema,
    title: "constraints not validated",
    scope: Scope::Database,
    needs: &["constraints"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Constraints added NOT VALID and never validated, and on PostgreSQL 18 those NOT ENFORCED (pg_constraint). A warning for \
           the first, information for the second, which somebody chose.",
    why: "Old rows may break the rule, and the planner does not use a constraint that is not validated.",
    fix: "ALTER TABLE ... VALIDATE CONSTRAINT ...; (reads the table, blocks neither reads nor writes).",
    observe: not_valid,
};

pub(super) const EXTENSION_UPDATE: Check = Check {
    id: "extension-update",
    group: Group::Schema,
    title: "extension updates",
    scope: Scope::Database,
    needs: &["extensions"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Extensions whose version in the database (pg_extension) differs from the one that the server's files offer \
           (pg_available_extensions). A warning when the files are gone, else information.",
    why: "After an upgrade of packages the old SQL definitions keep running against the new library; fixes and new columns \
          are missing.",
    fix: "ALTER EXTENSION name UPDATE; after reading its release notes.",
    observe: extension_update,
};

pub(super) const COLLATION_VERSION: Check = Check {
    id: "collation-version",
    group: Group::Schema,
    title: "collation versions",
    scope: Scope::Database,
    needs: &["collations"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Collations used by indexes, and the database's default (PostgreSQL 15), whose recorded version differs from what the \
           operating system's library or ICU says now. Critical when indexes sort by them, else a warning. Before PostgreSQL 15 the \
           version of the database's default is not recorded.",
    why: "After an operating system upgrade the same strings sort differently: indexes return wrong answers, unique keys \
          accept duplicates, range partitions hold rows of others.",
    fix: "REINDEX the indexes concerned first, then ALTER COLLATION ... REFRESH VERSION; or ALTER DATABASE ... REFRESH COLLATION VERSION;",
    observe: collation_version,
};

fn column_limit(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let tables = view.here("tables")?;
    let many = tables
        .rows()
        .filter(|row| row.float("relnatts").unwrap_or(0.0) >= 500.0);
    let observations = many.map(|row| {
        let count = row.float("relnatts").unwrap_or(0.0);
        Observation {
            object: relation::name(&row),
            value: count,
            title: format!("{count:.0} of 1,600 column numbers are used"),
            evidence: row.evidence(&["relnatts"]),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

fn disabled_triggers(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let disabled = view.here("disabled-triggers")?;
    let observations = disabled.rows().map(|row| {
        let internal = row.flag("internal") == Some(true);
        let count = row.list("triggers").len();
        Observation {
            object: relation::name(&row),
            value: count as f64,
            level: Some(if internal {
                Level::Critical
            } else {
                Level::Warning
            }),
            title: if internal {
                format!(
                    "{count} internal triggers are off: {} not enforced",
                    row.value("constraints")
                )
            } else {
                format!("{count} triggers are off: {}", row.value("triggers"))
            },
            evidence: row.evidence(&["triggers", "constraints"]),
            remedy: Some(format!(
                "ALTER TABLE {} ENABLE TRIGGER {};",
                relation::table(&row),
                if internal { "ALL" } else { "USER" }
            )),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

fn unlogged_tables(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("rows");
    let unlogged = view.here("unlogged-relations")?;
    let observations = unlogged.rows().filter_map(|row| {
        let rows = row
            .float("n_live_tup")
            .unwrap_or(0.0)
            .max(row.float("reltuples").unwrap_or(0.0));
        (rows >= floor).then(|| Observation {
            object: relation::name(&row),
            value: rows,
            level: Some(Level::Info),
            title: format!(
                "{} rows would be lost in a crash and are on no standby",
                Unit::Count.show(rows)
            ),
            evidence: row.evidence(&["relkind", "n_live_tup", "size_bytes"]),
            remedy: Some(format!("ALTER TABLE {} SET LOGGED;", relation::table(&row))),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

fn not_valid(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let constraints = view.here("constraints")?;
    let observations = constraints.rows().map(|row| {
        let chosen = row.flag("conenforced") == Some(false);
        let name = row.text("conname").unwrap_or("?");
        let kind = kind_of_constraint(&row);
        Observation {
            object: format!("{}.{name}", relation::name(&row)),
            value: 1.0,
            level: Some(if chosen { Level::Info } else { Level::Warning }),
            title: if chosen {
                format!("the {kind} is not enforced")
            } else {
                format!("the {kind} was never validated: old rows may break it")
            },
            evidence: row.evidence(&["contype", "convalidated", "conenforced", "size_bytes"]),
            remedy: (!chosen).then(|| {
                format!(
                    "ALTER TABLE {} VALIDATE CONSTRAINT {};",
                    relation::table(&row),
                    relation::identifier(name)
                )
            }),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

fn kind_of_constraint(row: &Row<'_>) -> &'static str {
    match row.text("contype") {
        Some("f") => "foreign key",
        Some("c") => "check constraint",
        Some("n") => "NOT NULL constraint",
        _ => "constraint",
    }
}

fn extension_update(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let extensions = view.here("extensions")?;
    let observations = extensions.rows().filter_map(|row| {
        let name = row.text("extname").unwrap_or("?");
        let installed = row.text("extversion");
        let offered = row.text("default_version");
        if installed == offered {
            return None;
        }
        Some(Observation {
            object: format!("extension \"{name}\""),
            value: 1.0,
            level: Some(if offered.is_some() {
                Level::Info
            } else {
                Level::Warning
            }),
            title: match offered {
                Some(offered) => format!(
                    "version {} is installed, the server offers {offered}",
                    installed.unwrap_or("?")
                ),
                None => format!(
                    "version {} is installed, but its files are not on the server",
                    installed.unwrap_or("?")
                ),
            },
            evidence: row.evidence(&["extversion", "default_version", "nspname"]),
            remedy: offered
                .map(|_| format!("ALTER EXTENSION {} UPDATE;", relation::identifier(name))),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

fn collation_version(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let collations = view.here("collations")?;
    let observations = collations.rows().map(|row| {
        let indexes = row.float("index_count").unwrap_or(0.0);
        let database = view.database.unwrap_or("?");
        let default = row.flag("is_default") == Some(true);
        let name = relation::quoted(
            row.text("nspname").unwrap_or("?"),
            row.text("collname").unwrap_or("?"),
        );
        Observation {
            object: if default {
                "default collation of the database".to_owned()
            } else {
                format!("collation {name}")
            },
            value: indexes,
            level: Some(if indexes > 0.0 {
                Level::Critical
            } else {
                Level::Warning
            }),
            title: format!(
                "recorded version {}, actual version {}; {indexes:.0} indexes sort by it",
                row.text("collversion").unwrap_or("?"),
                row.text("actual_version").unwrap_or("?")
            ),
            evidence: row.evidence(&["collversion", "actual_version", "index_count", "provider"]),
            remedy: Some(if default {
                let database = relation::identifier(database);
                format!("REINDEX DATABASE CONCURRENTLY {database}; ALTER DATABASE {database} REFRESH COLLATION VERSION;")
            } else {
                format!("REINDEX its indexes; ALTER COLLATION {name} REFRESH VERSION;")
            }),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}
