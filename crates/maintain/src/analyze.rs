//! Statistics that were never taken or that do not fit any more, those of partitioned tables among them.

use std::collections::HashMap;
use std::time::Duration;

use pawang_core::plan::{Cost, Relation, Task};
use pawang_core::{Autovacuum, ByteSize, Missing, Row};

use pawang_config::Area;

use crate::scope::{Findings, Scope, relation, rows};
use crate::vacuum::STARVED;

pub(crate) const NEEDS: &[&str] = &["tables", "settings", "partitions", "table-shape"];

/// ANALYZE reads 300 pages per unit of the statistics target.
const SAMPLE_ROWS_PER_TARGET: f64 = 300.0;
/// What ANALYZE reads per second where nobody measured it: pages here and there.
const SAMPLE_BYTES_PER_SECOND: f64 = 20.0 * 1024.0 * 1024.0;
/// With fewer rows nobody needs statistics of a partitioned table.
const PARENT_ROWS_MIN: f64 = 1_000.0;
/// Statistics that were never taken are more pressing than any that are late.
const NEVER: f64 = 1e9;

/// Plans which tables are analyzed, those without any statistics first.
pub(crate) fn plan(scope: &Scope<'_>, found: &mut Findings) {
    if let Err(missing) = planned(scope, found) {
        found.left.extend(scope.missing("analyze", missing));
    }
}

fn planned(scope: &Scope<'_>, found: &mut Findings) -> Result<(), Missing> {
    let autovacuum = scope.autovacuum()?;
    let target = scope.number("default_statistics_target")?;
    for row in scope.here("tables")?.rows() {
        let Some((urgency, reason)) = due(scope, &autovacuum, &row) else {
            continue;
        };
        let table = relation(&row);
        if scope.settings(&table).skip {
            let why = format!("a rule says so, though {reason}");
            found.left.push(scope.left(table.to_string(), why));
            continue;
        }
        let mut proposal = scope.proposal(task(scope, table), reason);
        let formula = autovacuum.need(&row).analyze_formula;
        proposal.evidence = vec![("analyze threshold".to_owned(), formula)];
        proposal.evidence.extend(row.evidence(&[
            "n_mod_since_analyze",
            "n_live_tup",
            "last_analyze",
            "last_autoanalyze",
        ]));
        proposal.cost = cost(&row, target);
        found.want(Area::Analyze, urgency, proposal);
    }
    parents(scope, found)
}

fn task(scope: &Scope<'_>, table: Relation) -> Task {
    Task::Analyze {
        columns: Vec::new(),
        pace: scope.settings(&table).pace,
        table,
    }
}

fn due(scope: &Scope<'_>, autovacuum: &Autovacuum, row: &Row<'_>) -> Option<(f64, String)> {
    let ordinary = matches!(row.text("relkind"), Some("r" | "m"));
    if !ordinary || row.text("relpersistence") == Some("t") {
        return None;
    }
    let settings = scope.settings(&relation(row));
    let live = rows(row);
    let changed = row.float("n_mod_since_analyze").unwrap_or(0.0);
    let never = row
        .time("last_analyze")
        .max(row.time("last_autoanalyze"))
        .is_none();
    let need = autovacuum.need(row);
    let ratio = need.analyze_ratio(row);
    let share = 100.0 * changed / live.max(1.0);
    // After a reset of the counters nobody knows when; that most rows count as changed says that it was never.
    if never && live >= 1.0 && changed >= live / 2.0 {
        return Some((NEVER, format!("its {live:.0} rows were never analyzed")));
    }
    if ratio >= 1.0 {
        let late = match (need.enabled, ratio >= STARVED) {
            (false, _) => "; autovacuum is off for it",
            (true, true) => "; autovacuum has missed its turn",
            (true, false) => "; autovacuum is due to come",
        };
        return Some((
            ratio,
            format!(
                "{changed:.0} rows changed since the last ANALYZE, {ratio:.1} times autovacuum's threshold{late}"
            ),
        ));
    }
    let by_share = share >= settings.modified_percent && changed >= settings.modified_rows_min;
    by_share.then(|| {
        let limit = settings.modified_percent;
        let reason = format!(
            "{changed:.0} rows changed since the last ANALYZE: {share:.0} % (the policy's limit is {limit} %)"
        );
        (ratio, reason)
    })
}

/// Autovacuum analyzes partitions and never their partitioned table, whose statistics plans over all of them need.
fn parents(scope: &Scope<'_>, found: &mut Findings) -> Result<(), Missing> {
    let tables = scope.here("tables")?.rows();
    let parents = tables.filter(|row| row.text("relkind") == Some("p"));
    let found_rows: HashMap<i64, f64> = parents
        .filter_map(|row| Some((row.int("relid")?, row.float("reltuples")?)))
        .collect();
    for row in scope.here("partitions")?.rows() {
        let leaves = row.float("leaf_rows").unwrap_or(0.0);
        let table = relation(&row);
        if leaves < PARENT_ROWS_MIN {
            continue;
        }
        let settings = scope.settings(&table);
        let known = row
            .int("relid")
            .and_then(|oid| found_rows.get(&oid).copied());
        let known = known.unwrap_or(-1.0);
        let moved = 100.0 * (leaves - known).abs() / known.max(1.0);
        let (urgency, reason) = match row.time("last_analyze") {
            // A reset of the counters forgets when, but not how many rows were found then.
            None if known <= 0.0 => (
                NEVER,
                format!(
                    "the {leaves:.0} rows of its partitions were never analyzed together, and autovacuum never does that"
                ),
            ),
            _ if moved >= settings.modified_percent => (
                moved / settings.modified_percent,
                format!(
                    "its partitions have {leaves:.0} rows and had {known:.0} when they were last analyzed together"
                ),
            ),
            _ => continue,
        };
        if settings.skip {
            let why = format!("a rule says so, though {reason}");
            found.left.push(scope.left(table.to_string(), why));
            continue;
        }
        let mut proposal = scope.proposal(task(scope, table), reason);
        proposal.evidence = row.evidence(&["partition_count", "leaf_rows", "last_analyze"]);
        found.want(Area::Analyze, urgency, proposal);
    }
    Ok(())
}

/// Estimates ANALYZE: it reads a sample, at most the table.
fn cost(row: &Row<'_>, target: f64) -> Cost {
    let pages = row.float("relpages").unwrap_or(0.0);
    let size = row.float("size_bytes").unwrap_or(0.0);
    let block = if pages > 0.0 { size / pages } else { 0.0 };
    let read = pages.min(SAMPLE_ROWS_PER_TARGET * target) * block;
    Cost {
        read: Some(ByteSize(read as u64)),
        duration: Duration::try_from_secs_f64(read / SAMPLE_BYTES_PER_SECOND).ok(),
        ..Cost::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Cell, World, ago};
    use crate::{Areas, Policy, plan};

    fn analyzed(world: &World, policy: &Policy) -> Vec<String> {
        let areas: Areas = [Area::Analyze].into_iter().collect();
        let planned = plan(&areas, &world.facts(), None, policy, world.now());
        assert!(planned.left.is_empty(), "{:?}", planned.left);
        planned.proposals.iter().map(|p| p.task.object()).collect()
    }

    #[test]
    fn never_analyzed_comes_first_and_a_reset_of_the_counters_is_no_reason() {
        let mut world = World::new(15);
        let rows = |rows: f64, changed: f64| {
            vec![
                ("reltuples", rows.into()),
                ("n_live_tup", rows.into()),
                ("n_mod_since_analyze", changed.into()),
            ]
        };
        let done = ("last_autoanalyze", ago(86_400).into());
        let with = |mut columns: Vec<_>| {
            columns.push(done.clone());
            columns
        };
        world.table("public.never", &rows(5000.0, 5000.0));
        world.table("public.reset", &rows(5000.0, 0.0));
        let few = [
            ("n_live_tup", 7.0.into()),
            ("n_mod_since_analyze", 7.0.into()),
        ];
        world.table(
            "public.since",
            &[&few[..], &[("reltuples", 3000.0.into())]].concat(),
        );
        world.table("public.fresh", &with(rows(100_000.0, 9_000.0)));
        world.table("public.stale", &with(rows(100_000.0, 30_000.0)));
        assert_eq!(
            analyzed(&world, &Policy::default()),
            ["public.never", "public.stale"]
        );
        let mut strict = Policy::default();
        strict.base.modified_percent = 5.0;
        strict.base.modified_rows_min = 1000.0;
        assert_eq!(
            analyzed(&world, &strict),
            ["public.never", "public.stale", "public.fresh"]
        );
    }

    #[test]
    fn a_partitioned_table_is_analyzed_by_hand_when_its_partitions_grew() {
        for (last, known, leaf, expected) in [
            (None, -1.0, 5000.0, true),
            (Some(ago(60)), 5000.0, 5100.0, false),
            (Some(ago(60)), 5000.0, 9000.0, true),
            (None, 5000.0, 5000.0, false),
            (None, -1.0, 10.0, false),
        ] {
            let mut world = World::new(15);
            let last = last.map_or(Cell(pawang_core::Value::Null), Cell::from);
            world.table(
                "dw.sales",
                &[("relkind", "p".into()), ("reltuples", known.into())],
            );
            let parent = [
                ("schemaname", "dw".into()),
                ("relname", "sales".into()),
                ("relid", world.oid("dw.sales").into()),
                ("leaf_rows", leaf.into()),
                ("last_analyze", last),
            ];
            world.row("partitions", &parent);
            assert_eq!(
                analyzed(&world, &Policy::default()).len(),
                usize::from(expected),
                "{leaf}"
            );
        }
    }
}
