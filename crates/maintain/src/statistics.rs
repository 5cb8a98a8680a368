//! How exact statistics are: targets of columns that their list of common values does not cover, and columns that go together.

use std::collections::{BTreeMap, BTreeSet};

use pawang_core::plan::{Relation, StatisticsKind, Task};
use pawang_core::{Missing, Row};

use pawang_config::Area;

use crate::scope::{Findings, Scope, relation};

pub(crate) const NEEDS: &[&str] = &[
    "table-shape",
    "indexes",
    "settings",
    "column-targets",
    "statistics-objects",
    "composite-keys",
];

/// The target of a column whose common values do not fit into the list.
const TARGET_SKEWED: i32 = 500;
/// The target of a column with more distinct values than a sample can tell.
const TARGET_MANY: i32 = 1000;
/// A list of common values that covers less is not worth a longer one, and one that covers more is long enough.
const COVERED_SHARE: std::ops::Range<f64> = 0.2..0.95;
/// With fewer distinct values than so many times the list, a longer list would hold them all anyway.
const DISTINCT_PER_ENTRY_MIN: f64 = 5.0;
/// ANALYZE reads so many rows per unit of the target.
const SAMPLE_ROWS_PER_TARGET: f64 = 300.0;
/// From this share of the sample on, the number of distinct values is guessed far too low.
const SAMPLE_SHARE: f64 = 0.1;
/// In smaller tables wrong estimates cost little.
const ROWS_MIN: f64 = 1_000_000.0;
/// Columns go together when they have so many fewer combinations than if they did not.
const DEPENDENCE: f64 = 10.0;
/// Two columns that both follow the order of the table this closely follow each other.
const ORDERED: f64 = 0.95;
/// The longest name that PostgreSQL keeps whole.
const NAME_BYTES_MAX: usize = 63;

/// Plans what statistics should be taken more exactly.
pub(crate) fn plan(scope: &Scope<'_>, found: &mut Findings) {
    if let Err(missing) = planned(scope, found) {
        found.left.extend(scope.missing("statistics", missing));
    }
}

fn planned(scope: &Scope<'_>, found: &mut Findings) -> Result<(), Missing> {
    let default = scope.number("default_statistics_target")?;
    let tables = tables(scope)?;
    let hidden: Vec<String> = tables
        .values()
        .filter(|t| t.hidden)
        .map(|t| t.table.to_string())
        .collect();
    if !hidden.is_empty() {
        let why = format!(
            "the statistics of {} tables cannot be read, {} among them; GRANT pg_read_all_data",
            hidden.len(),
            hidden[0]
        );
        found.left.push(scope.unseen("column statistics", why));
    }
    let set: BTreeSet<(i64, String)> = scope
        .here("column-targets")?
        .rows()
        .filter_map(|row| Some((row.int("relid")?, row.text("attname")?.to_owned())))
        .collect();
    let indexed = indexed(scope)?;
    for (oid, table) in &tables {
        if scope.settings(&table.table).skip {
            continue;
        }
        for (name, column) in &table.columns {
            let used = indexed
                .iter()
                .any(|(relid, columns)| relid == oid && columns.contains(name));
            if used && !set.contains(&(*oid, name.clone())) {
                target(scope, found, table, name, column, default);
            }
        }
    }
    together(scope, found, &tables, &indexed)
}

/// What is known of a column.
struct Column {
    distinct: f64,
    common: f64,
    covered: f64,
    correlation: f64,
}

struct Table {
    table: Relation,
    rows: f64,
    columns: BTreeMap<String, Column>,
    hidden: bool,
}

fn tables(scope: &Scope<'_>) -> Result<BTreeMap<i64, Table>, Missing> {
    let mut tables = BTreeMap::new();
    for row in scope.here("table-shape")?.rows() {
        let rows = row.float("reltuples").unwrap_or(0.0);
        let table = tables
            .entry(row.int("relid").unwrap_or_default())
            .or_insert_with(|| Table {
                table: relation(&row),
                rows,
                columns: BTreeMap::new(),
                hidden: false,
            });
        table.hidden |= row.flag("readable") == Some(false);
        if let (Some(name), Some(column)) = (row.text("attname"), column(&row, rows)) {
            table.columns.insert(name.to_owned(), column);
        }
    }
    Ok(tables)
}

fn column(row: &Row<'_>, rows: f64) -> Option<Column> {
    let distinct = row.float("n_distinct")?;
    Some(Column {
        // Below zero it is a share of the rows.
        distinct: if distinct < 0.0 {
            -distinct * rows
        } else {
            distinct
        },
        common: row.float("mcv_count").unwrap_or(0.0),
        covered: row.float("mcv_share").unwrap_or(0.0),
        correlation: row.float("correlation").unwrap_or(0.0).abs(),
    })
}

/// Returns the columns of every index that is used for looking up, by table.
fn indexed(scope: &Scope<'_>) -> Result<Vec<(i64, Vec<String>)>, Missing> {
    let rows = scope.here("indexes")?.rows();
    let valid = rows.filter(|row| {
        row.flag("indisvalid") == Some(true) && row.text("table_relkind") == Some("r")
    });
    let indexes = valid.filter_map(|row| {
        let keys =
            usize::try_from(row.int("indnkeyatts").unwrap_or(i64::MAX)).unwrap_or(usize::MAX);
        let columns = row.list("key_columns").iter().take(keys).cloned().collect();
        Some((row.int("relid")?, columns))
    });
    Ok(indexes.collect())
}

fn target(
    scope: &Scope<'_>,
    found: &mut Findings,
    table: &Table,
    name: &str,
    column: &Column,
    default: f64,
) {
    let full = column.common >= default && COVERED_SHARE.contains(&column.covered);
    let skewed = full && column.distinct >= default * DISTINCT_PER_ENTRY_MIN;
    let many = column.distinct >= default * SAMPLE_ROWS_PER_TARGET * SAMPLE_SHARE
        && column.distinct < table.rows * SAMPLE_SHARE
        && table.rows >= ROWS_MIN * 10.0;
    if table.rows < ROWS_MIN || !(skewed || many) {
        return;
    }
    let (target, reason) = if many {
        let reason = format!(
            "{:.0} distinct values were guessed from a sample of {:.0} of {:.0} rows: there are probably many more",
            column.distinct,
            default * SAMPLE_ROWS_PER_TARGET,
            table.rows
        );
        (TARGET_MANY, reason)
    } else {
        let reason = format!(
            "its {:.0} most common values cover {:.0} % of the rows and {:.0} values share the rest: a longer list tells them apart",
            column.common,
            100.0 * column.covered,
            column.distinct - column.common
        );
        (TARGET_SKEWED, reason)
    };
    if f64::from(target) <= default {
        return;
    }
    let task = Task::SetStatisticsTarget {
        table: table.table.clone(),
        column: name.to_owned(),
        target,
    };
    let mut proposal = scope.proposal(task, reason);
    proposal.evidence = vec![
        (
            "distinct values".to_owned(),
            format!("{:.0}", column.distinct),
        ),
        (
            "share of common values".to_owned(),
            format!("{:.2}", column.covered),
        ),
    ];
    found.want(Area::Statistics, table.rows, proposal);
    let task = Task::Analyze {
        table: table.table.clone(),
        columns: vec![name.to_owned()],
        pace: scope.settings(&table.table).pace,
    };
    let reason = "a new target holds from the next ANALYZE on".to_owned();
    found.want(Area::Statistics, 0.0, scope.proposal(task, reason));
}

/// Columns that go together make estimates of both at once far too low, unless the server keeps statistics of both.
fn together(
    scope: &Scope<'_>,
    found: &mut Findings,
    tables: &BTreeMap<i64, Table>,
    indexed: &[(i64, Vec<String>)],
) -> Result<(), Missing> {
    let mut objects: Vec<(i64, BTreeSet<String>)> = scope
        .here("statistics-objects")?
        .rows()
        .filter_map(|row| {
            Some((
                row.int("relid")?,
                row.list("columns").iter().cloned().collect(),
            ))
        })
        .collect();
    let mut advised = Vec::new();
    for row in scope.here("composite-keys")?.rows() {
        let oid = row.int("relid").unwrap_or_default();
        let referenced = row.float("referenced_rows").unwrap_or(-1.0);
        let columns = row.list("columns").to_vec();
        let Some(table) = tables.get(&oid) else {
            continue;
        };
        let distinct: Option<f64> = columns
            .iter()
            .map(|name| Some(table.columns.get(name)?.distinct))
            .product();
        // There are no more combinations than rows that the key can refer to.
        if let Some(distinct) =
            distinct.filter(|distinct| referenced > 0.0 && *distinct >= referenced * DEPENDENCE)
        {
            let reason = format!(
                "the key \"{}\" allows {referenced:.0} combinations of its columns, and {distinct:.0} are expected without statistics",
                row.text("conname").unwrap_or("?")
            );
            advised.push((oid, columns, reason));
        }
    }
    for (oid, columns) in indexed {
        let Some(table) = tables.get(oid) else {
            continue;
        };
        let ordered = columns.iter().filter(|name| {
            let column = table.columns.get(*name);
            column.is_some_and(|c| {
                c.correlation >= ORDERED && c.distinct > 1.0 && c.distinct < table.rows / DEPENDENCE
            })
        });
        let ordered: Vec<String> = ordered.cloned().collect();
        if ordered.len() >= 2 {
            let reason =
                "columns of one index all follow the order of the table, and so each other";
            advised.push((*oid, ordered, reason.to_owned()));
        }
    }
    for (oid, columns, reason) in advised {
        let wanted: BTreeSet<String> = columns.iter().cloned().collect();
        let covered = objects
            .iter()
            .any(|(relid, columns)| *relid == oid && wanted.is_subset(columns));
        let table = &tables[&oid];
        if covered || table.rows < ROWS_MIN || scope.settings(&table.table).skip {
            continue;
        }
        objects.push((oid, wanted));
        create(scope, found, table, columns, reason);
    }
    Ok(())
}

fn create(
    scope: &Scope<'_>,
    found: &mut Findings,
    table: &Table,
    columns: Vec<String>,
    reason: String,
) {
    let mut name = format!("{}_{}_stat", table.table.name, columns.join("_"));
    if name.len() > NAME_BYTES_MAX {
        // The oid keeps it apart from others that would be cut to the same.
        name = format!("statistics_of_{}_{}", table.table.oid, columns.len());
    }
    let task = Task::CreateStatistics {
        table: table.table.clone(),
        name,
        columns,
        kinds: vec![
            StatisticsKind::Dependencies,
            StatisticsKind::Ndistinct,
            StatisticsKind::Mcv,
        ],
    };
    found.want(Area::Statistics, table.rows, scope.proposal(task, reason));
    let task = Task::Analyze {
        table: table.table.clone(),
        columns: Vec::new(),
        pace: scope.settings(&table.table).pace,
    };
    let reason = "new statistics are empty until the next ANALYZE".to_owned();
    found.want(Area::Statistics, 0.0, scope.proposal(task, reason));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Cell, World};
    use crate::{Areas, Policy};

    fn shape(world: &mut World, name: &str, n_distinct: f64, share: f64, correlation: f64) {
        world.row(
            "table-shape",
            &[
                ("schemaname", "dw".into()),
                ("relname", "sales".into()),
                ("relid", 1.into()),
                ("reltuples", 5e6.into()),
                ("attname", name.into()),
                ("readable", true.into()),
                ("n_distinct", n_distinct.into()),
                ("mcv_count", 100.into()),
                ("mcv_share", share.into()),
                ("correlation", correlation.into()),
            ],
        );
    }

    fn index(world: &mut World, columns: &str) {
        world.row(
            "indexes",
            &[
                ("relid", 1.into()),
                ("indisvalid", true.into()),
                ("table_relkind", "r".into()),
                ("key_columns", columns.into()),
                ("indnkeyatts", 2.into()),
            ],
        );
    }

    fn tasks(world: &World) -> Vec<(&'static str, String)> {
        let areas: Areas = [Area::Statistics].into_iter().collect();
        let planned = crate::plan(
            &areas,
            &world.facts(),
            None,
            &Policy::default(),
            world.now(),
        );
        planned
            .proposals
            .iter()
            .map(|p| (p.task.name(), p.task.object()))
            .collect()
    }

    #[test]
    fn a_list_that_is_too_short_gets_longer_once() {
        let mut world = World::new(15);
        shape(&mut world, "customer", 40_000.0, 0.5, 0.1);
        shape(&mut world, "status", 120.0, 0.9, 0.1);
        shape(&mut world, "unused", 40_000.0, 0.5, 0.1);
        index(&mut world, "customer status");
        let expected = [
            ("set-statistics-target", "dw.sales.customer".to_owned()),
            ("analyze", "dw.sales".to_owned()),
        ];
        assert_eq!(tasks(&world), expected);
        world.row(
            "column-targets",
            &[("relid", 1.into()), ("attname", "customer".into())],
        );
        assert_eq!(tasks(&world), []);
    }

    #[test]
    fn columns_that_go_together_get_statistics_of_both_once() {
        for by_key in [true, false] {
            let mut world = World::new(15);
            let correlation = if by_key { 0.1 } else { 0.99 };
            shape(&mut world, "region", 50.0, 1.0, correlation);
            shape(&mut world, "shop", 900.0, 1.0, correlation);
            if by_key {
                world.row(
                    "composite-keys",
                    &[
                        ("relid", 1.into()),
                        ("conname", "fk".into()),
                        ("columns", "region shop".into()),
                        ("referenced_rows", 900.0.into()),
                    ],
                );
            } else {
                index(&mut world, "region shop");
            }
            let expected = [
                ("create-statistics", "dw.sales_region_shop_stat".to_owned()),
                ("analyze", "dw.sales".to_owned()),
            ];
            assert_eq!(tasks(&world), expected);
            world.row(
                "statistics-objects",
                &[("relid", 1.into()), ("columns", "region shop".into())],
            );
            assert_eq!(tasks(&world), []);
        }
    }

    #[test]
    fn statistics_that_cannot_be_read_are_told() {
        let mut world = World::new(15);
        world.row(
            "table-shape",
            &[("relid", 1.into()), ("readable", Cell::from(false))],
        );
        let areas: Areas = [Area::Statistics].into_iter().collect();
        let planned = crate::plan(
            &areas,
            &world.facts(),
            None,
            &Policy::default(),
            world.now(),
        );
        assert!(planned.left.iter().any(|left| left.blind));
    }
}
