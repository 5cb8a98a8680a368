//! Autovacuum's settings of single tables, proposed from what was observed between two looks.

use std::collections::BTreeMap;

use pawang_core::plan::{Relation, Task};
use pawang_core::relation::option;
use pawang_core::{Autovacuum, Missing, Row};

use pawang_config::Area;

use crate::scope::{Findings, Scope, relation};

pub(crate) const NEEDS: &[&str] = &["tables", "settings"];

/// Rates of a shorter time are those of one query.
const OBSERVED_SECONDS_MIN: f64 = 3600.0;
/// So many dead rows at a time are plenty for one vacuum; with the default scale factor a huge table collects more.
const DEAD_ROWS_WANTED: f64 = 1_000_000.0;
/// The same for changes between two ANALYZE.
const CHANGES_WANTED: f64 = 1_000_000.0;
/// A threshold is changed only where it is so many times what is wanted.
const EXCESS: f64 = 2.0;
/// A scale factor below this is no better than a plain threshold.
const SCALE_FACTOR_MIN: f64 = 0.0001;
/// A table with fewer rows is never called insert-only.
const INSERT_ONLY_ROWS_MIN: f64 = 1_000_000.0;
/// Share of new rows after which an insert-only table is frozen and put into its visibility map.
const INSERT_SCALE_FACTOR: f64 = 0.05;
/// PostgreSQL's default price of reading a page that is not in shared buffers, and of making one dirty.
const PAGE_MISS_COST: f64 = 2.0;
const PAGE_DIRTY_COST: f64 = 20.0;
/// `vacuum_cost_limit` is not raised further: then the delay is the matter.
const COST_LIMIT_MAX: f64 = 10_000.0;

/// Plans which tables get autovacuum settings of their own.
pub(crate) fn plan(scope: &Scope<'_>, found: &mut Findings) {
    if let Err(missing) = planned(scope, found) {
        found
            .left
            .extend(scope.missing("autovacuum tuning", missing));
    }
}

fn planned(scope: &Scope<'_>, found: &mut Findings) -> Result<(), Missing> {
    let autovacuum = scope.autovacuum()?;
    let pace = Pace::of(scope)?;
    // Scale factors of huge tables need no rates; everything else waits for a second look that is far enough away.
    let growth = scope.growth_here("tables");
    let (rows, seconds) = match growth {
        Ok(growth) if growth.seconds >= OBSERVED_SECONDS_MIN => (growth.rows, growth.seconds),
        _ => {
            let why = "rates need two looks that are an hour apart: only thresholds were judged";
            found.left.push(scope.unseen("autovacuum rates", why));
            (
                scope
                    .here("tables")?
                    .rows()
                    .map(|row| (row, None))
                    .collect(),
                0.0,
            )
        }
    };
    for (row, older) in rows {
        let concerned = matches!(row.text("relkind"), Some("r" | "m"))
            && row.text("relpersistence") != Some("t")
            && !matches!(
                row.text("schemaname"),
                Some("pg_catalog" | "information_schema")
            );
        let table = relation(&row);
        if !concerned || scope.settings(&table).skip {
            continue;
        }
        let observed = older.and_then(|older| Observed::of(&row, &older, seconds));
        let advice = advice(&autovacuum, &pace, &row, observed.as_ref());
        propose(scope, found, &row, table, advice);
    }
    Ok(())
}

/// What a table should be set to, and why.
#[derive(Default)]
struct Advice {
    set: BTreeMap<String, String>,
    reasons: Vec<String>,
}

impl Advice {
    fn set(&mut self, row: &Row<'_>, name: &str, value: f64, reason: String) {
        let value = value.to_string();
        if option(row.list("reloptions"), name) != Some(value.as_str()) {
            self.set.insert(name.to_owned(), value);
            self.reasons.push(reason);
        }
    }
}

/// What happened between two looks, per second.
struct Observed {
    dead: f64,
    inserted: f64,
}

impl Observed {
    fn of(row: &Row<'_>, older: &Row<'_>, seconds: f64) -> Option<Observed> {
        let rate = |name| Some(row.growth(*older, name)? / seconds);
        Some(Observed {
            dead: rate("n_tup_upd")? + rate("n_tup_del")?,
            inserted: rate("n_tup_ins")?,
        })
    }
}

/// How fast autovacuum may go, as the server is set.
struct Pace {
    delay_ms: f64,
    limit: f64,
}

impl Pace {
    fn of(scope: &Scope<'_>) -> Result<Pace, Missing> {
        let or = |value: f64, other: &str| match value {
            value if value >= 0.0 => Ok(value),
            _ => scope.number(other),
        };
        Ok(Pace {
            delay_ms: or(
                scope.number("autovacuum_vacuum_cost_delay")?,
                "vacuum_cost_delay",
            )?,
            limit: or(
                scope.number("autovacuum_vacuum_cost_limit")?,
                "vacuum_cost_limit",
            )?,
        })
    }

    /// Returns the shortest time in which autovacuum may read a table and clean pages, by its cost settings alone.
    fn seconds(&self, pages: f64, dirty: f64) -> f64 {
        let cost = pages * PAGE_MISS_COST + dirty * PAGE_DIRTY_COST;
        cost / self.limit.max(1.0) * self.delay_ms / 1000.0
    }
}

fn advice(
    autovacuum: &Autovacuum,
    pace: &Pace,
    row: &Row<'_>,
    observed: Option<&Observed>,
) -> Advice {
    let mut advice = Advice::default();
    let rows = row.float("reltuples").unwrap_or(0.0);
    let need = autovacuum.need(row);
    if need.vacuum > DEAD_ROWS_WANTED * EXCESS {
        let factor = scale_factor(DEAD_ROWS_WANTED, rows);
        let reason = format!("autovacuum waits for {:.0} dead rows", need.vacuum);
        advice.set(row, "autovacuum_vacuum_scale_factor", factor, reason);
    }
    if need.analyze > CHANGES_WANTED * EXCESS {
        let factor = scale_factor(CHANGES_WANTED, rows);
        let reason = format!(
            "autovacuum waits for {:.0} changes before it analyzes",
            need.analyze
        );
        advice.set(row, "autovacuum_analyze_scale_factor", factor, reason);
    }
    let Some(observed) = observed else {
        return advice;
    };
    let insert_limit = rows * INSERT_SCALE_FACTOR;
    let insert_only =
        observed.dead == 0.0 && observed.inserted > 0.0 && rows >= INSERT_ONLY_ROWS_MIN;
    if insert_only
        && need
            .insert
            .is_none_or(|limit| limit > insert_limit * EXCESS)
    {
        let reason =
            "rows are only ever inserted: small vacuums freeze them while they are still in memory"
                .to_owned();
        advice.set(
            row,
            "autovacuum_vacuum_insert_scale_factor",
            INSERT_SCALE_FACTOR,
            reason,
        );
    }
    let pages = row.float("relpages").unwrap_or(0.0);
    let threshold = need.vacuum.min(DEAD_ROWS_WANTED * EXCESS);
    let every = threshold / observed.dead.max(f64::MIN_POSITIVE);
    let takes = pace.seconds(pages, threshold.min(pages));
    let own = option(row.list("reloptions"), "autovacuum_vacuum_cost_limit");
    if takes > every && own.is_none() {
        // Twice as fast as needed, in round numbers.
        let wanted = (pace.limit * 2.0 * takes / every / 100.0).ceil() * 100.0;
        let reason = format!(
            "{:.0} rows die per second, so that a vacuum is due every {every:.0} s and takes at least {takes:.0} s at its cost limit",
            observed.dead
        );
        advice.set(
            row,
            "autovacuum_vacuum_cost_limit",
            wanted.min(COST_LIMIT_MAX),
            reason,
        );
    }
    advice
}

/// Returns the scale factor that gives a threshold, to one digit that counts.
fn scale_factor(wanted: f64, rows: f64) -> f64 {
    let exact = wanted / rows.max(1.0);
    let digits = (-exact.log10().floor()).clamp(1.0, 4.0) as i32;
    let power = 10_f64.powi(digits);
    ((exact * power).round() / power).max(SCALE_FACTOR_MIN)
}

fn propose(
    scope: &Scope<'_>,
    found: &mut Findings,
    row: &Row<'_>,
    table: Relation,
    advice: Advice,
) {
    if advice.set.is_empty() {
        return;
    }
    let task = Task::SetStorageParameters {
        table,
        set: advice.set,
        reset: Vec::new(),
    };
    let mut proposal = scope.proposal(task, advice.reasons.join("; "));
    proposal.evidence = row.evidence(&["reltuples", "n_dead_tup", "size_bytes", "reloptions"]);
    found.want(
        Area::Tuning,
        row.float("size_bytes").unwrap_or(0.0),
        proposal,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::World;
    use crate::{Areas, Policy, plan};

    fn settings(older: &World, newer: &World) -> Vec<(String, Vec<(String, String)>)> {
        let areas: Areas = [Area::Tuning].into_iter().collect();
        let facts = older.facts();
        let planned = plan(
            &areas,
            &newer.facts(),
            Some(&facts),
            &Policy::default(),
            newer.now(),
        );
        let proposals = planned
            .proposals
            .into_iter()
            .map(|proposal| match proposal.task {
                Task::SetStorageParameters { table, set, .. } => {
                    (table.name, set.into_iter().collect())
                }
                other => panic!("{other:?}"),
            });
        proposals.collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn huge_insert_only_and_busy_tables_get_settings_of_their_own_and_keep_them() {
        let mut older = World::new(15);
        let counters = |inserted: f64, dead: f64| {
            vec![
                ("n_tup_ins", inserted.into()),
                ("n_tup_upd", dead.into()),
                ("n_tup_del", 0.0.into()),
            ]
        };
        let with = |rows: f64, more: Vec<(&'static str, crate::fixture::Cell)>| {
            let mut columns = more;
            columns.push(("reltuples", rows.into()));
            columns
        };
        older.table("dw.huge", &with(1e9, counters(1.0, 1.0)));
        older.table("dw.log", &with(5e6, counters(0.0, 0.0)));
        older.table("dw.busy", &with(1e5, counters(0.0, 0.0)));
        older.table("dw.calm", &with(1e5, counters(0.0, 0.0)));
        let mut newer = older.clone().later(7200);
        newer.change("dw.log", &counters(3e5, 0.0));
        newer.change("dw.busy", &counters(0.0, 7200.0 * 20_000.0));
        newer.change("dw.busy", &[("relpages", 1_000_000.into())]);
        let found = settings(&older, &newer);
        let huge = vec![
            pair("autovacuum_analyze_scale_factor", "0.001"),
            pair("autovacuum_vacuum_scale_factor", "0.001"),
        ];
        assert!(found.contains(&("huge".to_owned(), huge)), "{found:?}");
        let log = vec![pair("autovacuum_vacuum_insert_scale_factor", "0.05")];
        assert!(found.contains(&("log".to_owned(), log)), "{found:?}");
        let busy = found.iter().find(|(name, _)| name == "busy").unwrap();
        assert_eq!(busy.1[0].0, "autovacuum_vacuum_cost_limit");
        assert!(!found.iter().any(|(name, _)| name == "calm"));

        for (name, set) in found {
            let options = set
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let cell = crate::fixture::Cell(pawang_core::Value::List(options));
            newer.change(&format!("dw.{name}"), &[("reloptions", cell)]);
        }
        assert_eq!(
            settings(&older, &newer),
            [],
            "what was applied is not proposed again"
        );
    }

    #[test]
    fn scale_factors_are_round() {
        for (rows, expected) in [(1e7, 0.1), (3e7, 0.03), (1e9, 0.001), (1e12, 0.0001)] {
            assert!((scale_factor(1e6, rows) - expected).abs() < 1e-12, "{rows}");
        }
    }
}
