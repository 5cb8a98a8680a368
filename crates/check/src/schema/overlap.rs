//! Indexes that say the same as another one.

use std::collections::HashMap;

use pawang_core::{Missing, Row, Snapshot, Unit};

use crate::{Check, Direction, Floor, Group, Observation, Scope, View, relation};

const SIZE: Floor = Floor {
    name: "size",
    value: 1024.0 * 1024.0,
    unit: Unit::Bytes,
    ignores: "indexes smaller than this",
};

pub(super) const DUPLICATE_INDEX: Check = Check {
    id: "duplicate-index",
    group: Group::Schema,
    title: "duplicate indexes",
    scope: Scope::Database,
    needs: &["indexes"],
    unit: Unit::Bytes,
    direction: Direction::Above,
    warning: Some(1024.0 * 1024.0),
    critical: None,
    floors: &[SIZE],
    what: "Size of valid indexes that another valid index of the same table repeats: same access method, columns, expressions, \
           operator classes, collations, sort order and predicate. Of each group the one that serves a constraint, \
           replica identity or uniqueness is kept, else the one scanned most.",
    why: "The second index costs as much as the first and answers nothing that the first does not.",
    fix: "DROP INDEX CONCURRENTLY the one named.",
    observe: duplicate_index,
};

pub(super) const REDUNDANT_INDEX: Check = Check {
    id: "redundant-index",
    group: Group::Schema,
    title: "redundant indexes",
    scope: Scope::Database,
    needs: &["indexes"],
    unit: Unit::Bytes,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[SIZE],
    what: "Size of B-tree indexes whose columns are the first columns of another valid B-tree index with the same operator classes, \
           collations, sort order and predicate, and that are neither unique nor serve a constraint. Information: \
           the shorter index is smaller and may be kept for that.",
    why: "The longer index answers the same queries; the shorter one costs every write.",
    fix: "DROP INDEX CONCURRENTLY the shorter one, if its queries are as fast through the longer one.",
    observe: redundant_index,
};

/// What makes two indexes comparable at all: table, access method, predicate.
type Family<'a> = (i64, &'a str, &'a str);

/// Valid indexes of one family that have no expressions in common doubt.
fn families(indexes: &Snapshot) -> HashMap<Family<'_>, Vec<Row<'_>>> {
    let mut families: HashMap<Family<'_>, Vec<Row<'_>>> = HashMap::new();
    let valid = indexes.rows().filter(|row| {
        row.flag("indisvalid") == Some(true)
            && row.text("relkind") == Some("i")
            && !matches!(
                row.text("schemaname"),
                Some("pg_catalog" | "information_schema" | "pg_toast")
            )
    });
    for row in valid {
        let family = (
            row.int("relid").unwrap_or(0),
            row.text("access_method").unwrap_or(""),
            row.text("predicate_hash").unwrap_or(""),
        );
        families.entry(family).or_default().push(row);
    }
    families
}

/// Returns whether dropping the index would drop more than speed.
fn is_needed(row: &Row<'_>) -> bool {
    row.text("constraint_type").is_some()
        || [
            "indisunique",
            "indisprimary",
            "indisexclusion",
            "indisreplident",
            "indisclustered",
            "is_partition",
        ]
        .iter()
        .any(|flag| row.flag(flag) == Some(true))
}

/// Returns the words of one of the vectors of `pg_index`.
fn words<'a>(row: &Row<'a>, column: &str) -> Vec<&'a str> {
    row.text(column).unwrap_or("").split(' ').collect()
}

fn same(one: &Row<'_>, other: &Row<'_>) -> bool {
    [
        "indkey",
        "indclass",
        "indcollation",
        "indoption",
        "indnkeyatts",
        "expressions_hash",
    ]
    .iter()
    .all(|column| one.value(column) == other.value(column))
}

fn duplicate_index(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("size");
    let families = families(view.here("indexes")?);
    let mut observations = Vec::new();
    for mut family in families.into_values().filter(|family| family.len() > 1) {
        // The best to keep comes first.
        family.sort_by_key(|row| {
            (
                !is_needed(row),
                -row.int("idx_scan").unwrap_or(0),
                row.int("indexrelid"),
            )
        });
        for (position, row) in family.iter().enumerate() {
            let kept = family[..position].iter().find(|kept| same(kept, row));
            let size = row.float("size_bytes").unwrap_or(0.0);
            if let Some(kept) = kept.filter(|_| !is_needed(row) && size >= floor) {
                observations.push(observation(
                    row,
                    format!("{} repeat index {}", Unit::Bytes.show(size), label(kept)),
                    kept,
                ));
            }
        }
    }
    Ok(observations)
}

fn redundant_index(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("size");
    let families = families(view.here("indexes")?);
    let mut observations = Vec::new();
    for ((_, method, _), family) in families {
        if method != "btree" {
            continue;
        }
        for row in &family {
            let size = row.float("size_bytes").unwrap_or(0.0);
            if is_needed(row) || size < floor {
                continue;
            }
            if let Some(longer) = family.iter().find(|longer| is_prefix(row, longer)) {
                let mut seen = observation(
                    row,
                    format!(
                        "{} on the first columns of index {}",
                        Unit::Bytes.show(size),
                        label(longer)
                    ),
                    longer,
                );
                seen.level = Some(pawang_core::Level::Info);
                observations.push(seen);
            }
        }
    }
    Ok(observations)
}

/// Returns whether all columns of `short` are the first key columns of `long`, in order and kind.
fn is_prefix(short: &Row<'_>, long: &Row<'_>) -> bool {
    let keys = |row: &Row<'_>| row.int("indnkeyatts").unwrap_or(0);
    // Expressions are only comparable as a whole.
    let plain = |row: &Row<'_>| row.text("expressions_hash").is_none();
    // INCLUDE columns of the shorter one would be lost.
    keys(short) < keys(long)
        && short.int("indnatts") == short.int("indnkeyatts")
        && plain(short)
        && plain(long)
        && ["indkey", "indclass", "indcollation", "indoption"]
            .iter()
            .all(|column| words(long, column).starts_with(&words(short, column)))
}

fn label(row: &Row<'_>) -> String {
    relation::identifier(row.text("indexrelname").unwrap_or("?"))
}

fn observation(row: &Row<'_>, title: String, other: &Row<'_>) -> Observation {
    let schema = row.text("schemaname").unwrap_or("?");
    let index = row.text("indexrelname").unwrap_or("?");
    let mut evidence = row.evidence(&["relname", "key_columns", "idx_scan", "size_bytes"]);
    evidence.push(("kept index".to_owned(), label(other)));
    evidence.push((
        "its columns".to_owned(),
        other.value("key_columns").to_string(),
    ));
    Observation {
        object: format!("{schema}.{index}"),
        value: row.float("size_bytes").unwrap_or(0.0),
        title,
        evidence,
        remedy: Some(format!(
            "DROP INDEX CONCURRENTLY {};",
            relation::quoted(schema, index)
        )),
        ..Observation::default()
    }
}
