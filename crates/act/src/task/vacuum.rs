//! VACUUM and ANALYZE.

use pawang_core::plan::{IndexCleanup, Relation, Task, VacuumOptions};

use super::{Probe, Proof, Recipe, ownership, relation_facts, table_numbers};
use crate::quote;

/// From here on the end of VACUUM does not have to look at every table of the database.
const SKIP_DATABASE_STATS: u32 = 160_000;
/// From here on there is a privilege for maintenance.
const MAINTAIN: u32 = 170_000;

pub(super) fn recipe(task: &Task, version: u32) -> Recipe {
    match task {
        Task::Vacuum { table, options } => Recipe {
            sql: vec![format!(
                "VACUUM ({}) {}",
                vacuum_options(options, version),
                quote::relation(table)
            )],
            verify: "the server counts one more VACUUM of the table".to_owned(),
            undo: "nothing to take back: no row changes".to_owned(),
        },
        Task::Analyze { table, columns, .. } => {
            let columns = match columns.as_slice() {
                [] => String::new(),
                columns => format!(" ({})", quote::names(columns)),
            };
            Recipe {
                sql: vec![format!("ANALYZE {}{columns}", quote::relation(table))],
                verify: "the server counts one more ANALYZE of the table".to_owned(),
                undo: "nothing to take back: ANALYZE again makes new statistics".to_owned(),
            }
        }
        _ => unreachable!("only VACUUM and ANALYZE come here"),
    }
}

pub(super) fn probe(task: &Task, version: u32) -> Probe {
    let (table, proof) = match task {
        Task::Vacuum { table, .. } => (table, Proof::Grew("vacuum_count")),
        Task::Analyze { table, .. } => (table, Proof::Grew("analyze_count")),
        _ => unreachable!("only VACUUM and ANALYZE come here"),
    };
    Probe {
        facts: Some(relation_facts(table.oid, "")),
        numbers: Some(table_numbers(table.oid)),
        proof,
        privilege: Some(maintenance(table, table.oid, version)),
    }
}

/// Returns a query of whether the role may maintain a table: VACUUM without that right only warns and does nothing.
pub(super) fn maintenance(table: &Relation, oid: u32, version: u32) -> String {
    if version < MAINTAIN {
        let owner = " OR NOT c.relisshared AND pg_catalog.pg_has_role(current_user,
        (SELECT d.datdba FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()), 'USAGE')";
        return ownership(oid, owner, None);
    }
    let right = format!(
        " OR pg_catalog.has_table_privilege(current_user, {}::pg_catalog.oid, 'MAINTAIN')",
        table.oid
    );
    let grant = format!(
        "{} || pg_catalog.format('%I;', current_user)",
        quote::text(&format!("GRANT MAINTAIN ON {} TO ", quote::relation(table)))
    );
    ownership(oid, &right, Some(grant))
}

fn vacuum_options(options: &VacuumOptions, version: u32) -> String {
    let mut list = Vec::new();
    if options.freeze {
        list.push("FREEZE".to_owned());
    }
    if options.analyze {
        list.push("ANALYZE".to_owned());
    }
    match options.index_cleanup {
        IndexCleanup::Auto => list.push("INDEX_CLEANUP AUTO".to_owned()),
        IndexCleanup::On => list.push("INDEX_CLEANUP ON".to_owned()),
        IndexCleanup::Off => list.push("INDEX_CLEANUP OFF".to_owned()),
    }
    let truncate = if options.truncate { "ON" } else { "OFF" };
    list.push(format!("TRUNCATE {truncate}"));
    if let Some(workers) = options.parallel {
        list.push(format!("PARALLEL {workers}"));
    }
    // Who freezes wants the age of the database to fall; for all others it is a scan of pg_class per table.
    if version >= SKIP_DATABASE_STATS && !options.freeze {
        list.push("SKIP_DATABASE_STATS".to_owned());
    }
    list.join(", ")
}
