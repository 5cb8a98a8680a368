//! Indexes: built anew, leftovers dropped, BRIN summarized.

use pawang_core::plan::{Relation, Task};

use super::vacuum::maintenance;
use super::{Facts, Probe, Proof, Recipe, ownership, relation_facts};
use crate::quote;

/// REINDEX CONCURRENTLY of these could leave rows out of the index (fixed in 14.4).
const LOSING: std::ops::Range<u32> = 140_000..140_004;

/// The server cuts names here.
const NAME_BYTES_MAX: usize = 63;

/// Every index of the table of an index, for finding leftovers: `oid`, `name`, whether it is valid, and whether
/// somebody builds it right now.
pub(crate) const SIBLINGS: &str =
    "SELECT c.oid::pg_catalog.text AS oid, n.nspname AS schema, c.relname AS name,
    (i.indisvalid AND i.indisready AND i.indislive)::pg_catalog.text AS whole,
    EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS p
        WHERE p.relid = i.indrelid OR p.index_relid = c.oid)::pg_catalog.text AS building
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE i.indrelid = ";

pub(super) fn recipe(task: &Task, version: u32) -> Result<Recipe, String> {
    match task {
        Task::Reindex { index, .. } => {
            if LOSING.contains(&version) {
                return Err(
                    "REINDEX CONCURRENTLY of PostgreSQL 14.0 to 14.3 can lose rows of the index; update to 14.4 or later"
                        .to_owned(),
                );
            }
            if is_system(&index.schema) {
                return Err("REINDEX CONCURRENTLY does not work on system catalogs".to_owned());
            }
            Ok(Recipe {
                sql: vec![format!("REINDEX INDEX CONCURRENTLY {}", quote::relation(index))],
                verify: "the index is a new one, valid, and nothing is left of the old one".to_owned(),
                undo: "nothing to take back: the index means the same; an interrupted one leaves an invalid index that is dropped"
                    .to_owned(),
            })
        }
        Task::DropInvalidIndex { index, .. } => Ok(Recipe {
            sql: vec![format!(
                "DROP INDEX CONCURRENTLY {}",
                quote::relation(index)
            )],
            verify: "the index is gone".to_owned(),
            undo: "create the index again by its definition".to_owned(),
        }),
        Task::SummarizeBrin { index, .. } => Ok(Recipe {
            sql: vec![format!(
                "SELECT pg_catalog.brin_summarize_new_values({})",
                quote::regclass(index)
            )],
            verify: "the server accepts it".to_owned(),
            undo: "nothing to take back: no row changes".to_owned(),
        }),
        _ => unreachable!("only tasks of indexes come here"),
    }
}

pub(super) fn probe(task: &Task, version: u32) -> Probe {
    let (Task::Reindex { index, table }
    | Task::DropInvalidIndex { index, table }
    | Task::SummarizeBrin { index, table }) = task
    else {
        unreachable!("only tasks of indexes come here");
    };
    let oid = index.oid;
    let proof = match task {
        Task::Reindex { .. } => Proof::Became(rebuilt(index, table)),
        Task::DropInvalidIndex { .. } => Proof::Holds(format!(
            "SELECT (NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = {oid}))::pg_catalog.text"
        )),
        _ => Proof::Success,
    };
    let facts = relation_facts(
        oid,
        ",
    (SELECT a.amname FROM pg_catalog.pg_am AS a WHERE a.oid = c.relam) AS method,
    (SELECT i.indrelid::pg_catalog.text FROM pg_catalog.pg_index AS i WHERE i.indexrelid = c.oid) AS table,
    (SELECT (i.indisvalid AND i.indisready AND i.indislive)::pg_catalog.text
        FROM pg_catalog.pg_index AS i WHERE i.indexrelid = c.oid) AS valid,
    (SELECT i.indisexclusion::pg_catalog.text FROM pg_catalog.pg_index AS i WHERE i.indexrelid = c.oid) AS exclusion,
    pg_catalog.pg_get_indexdef(c.oid) AS definition",
    );
    let privilege = match task {
        Task::Reindex { .. } => maintenance(table, table.oid, version),
        _ => ownership(oid, "", None),
    };
    Probe {
        facts: Some(facts),
        // By name: afterwards it is another index.
        numbers: Some(format!(
            "SELECT pg_catalog.pg_relation_size(c.oid)::pg_catalog.text AS index_bytes,
    (SELECT pg_catalog.pg_relation_size(i.indrelid)
        FROM pg_catalog.pg_index AS i WHERE i.indexrelid = c.oid)::pg_catalog.text AS table_bytes,
    c.oid::pg_catalog.text AS oid
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = {} AND c.relname = {}",
            quote::text(&index.schema),
            quote::text(&index.name)
        )),
        proof,
        privilege: Some(privilege),
    }
}

/// Returns why an index with these facts must not be treated so.
pub(super) fn refusal(task: &Task, facts: &Facts) -> Option<String> {
    let fact = |name: &str| facts.get(name).map_or("", String::as_str);
    match task {
        Task::Reindex { .. } if fact("exclusion") == "true" => Some(
            "it belongs to an exclusion constraint, which REINDEX CONCURRENTLY cannot build"
                .to_owned(),
        ),
        Task::Reindex { .. } if fact("relkind") == "I" => {
            Some("it is partitioned: its partitions have the entries".to_owned())
        }
        Task::DropInvalidIndex { .. } if fact("valid") == "true" => {
            Some("the index is valid".to_owned())
        }
        _ => None,
    }
}

/// Returns which indexes of a table are left of an interrupted REINDEX CONCURRENTLY of ours: not whole, made since it
/// began or the old index itself, with the name that the server gives them, and not being built by anybody.
///
/// Rows are those of [`SIBLINGS`]; `before` has the identities of the indexes that were there when it began.
pub(crate) fn leftovers(rows: &[Facts], index: &Relation, before: &[u32]) -> Vec<Relation> {
    let ours = |row: &&Facts| {
        let fact = |name: &str| row.get(name).map_or("", String::as_str);
        let oid: u32 = fact("oid").parse().unwrap_or(0);
        let new = !before.contains(&oid) && leftover_name(fact("name"), &index.name, "_ccnew");
        let old = oid == index.oid && leftover_name(fact("name"), &index.name, "_ccold");
        fact("whole") == "false" && fact("building") == "false" && (new || old)
    };
    rows.iter()
        .filter(ours)
        .map(|row| Relation {
            oid: row.get("oid").and_then(|oid| oid.parse().ok()).unwrap_or(0),
            schema: row.get("schema").cloned().unwrap_or_default(),
            name: row.get("name").cloned().unwrap_or_default(),
        })
        .collect()
}

/// Says whether the server would name a leftover of `index` so: it cuts a long name, and counts when the name is taken.
fn leftover_name(name: &str, index: &str, suffix: &str) -> bool {
    let Some(at) = name.rfind(suffix) else {
        return false;
    };
    let (stem, number) = (&name[..at], &name[at + suffix.len()..]);
    let cut = index.len() + suffix.len() + number.len() > NAME_BYTES_MAX
        && name.len() + char::MAX_LEN_UTF8 > NAME_BYTES_MAX
        && index.starts_with(stem);
    number.chars().all(|c| c.is_ascii_digit()) && (stem == index || cut)
}

fn is_system(schema: &str) -> bool {
    schema == "pg_catalog" || schema == "information_schema" || schema == "pg_toast"
}

fn rebuilt(index: &Relation, table: &Relation) -> String {
    format!(
        "SELECT (i.indisvalid AND c.oid <> {})::pg_catalog.text
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE i.indrelid = {} AND n.nspname = {} AND c.relname = {}",
        index.oid,
        table.oid,
        quote::text(&index.schema),
        quote::text(&index.name)
    )
}
