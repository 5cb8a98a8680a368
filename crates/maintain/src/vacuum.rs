//! Removing dead rows: which tables autovacuum is due to visit, which it does not get to, and where it would be useless.

use std::time::Duration;

use pawang_core::plan::{Cost, Relation, Task, VacuumOptions};
use pawang_core::{Autovacuum, ByteSize, Missing, Need, Row, Timestamp};

use pawang_config::Area;

use crate::horizon::Horizon;
use crate::scope::{Findings, Scope, object, rows, target};

pub(crate) const NEEDS: &[&str] = &[
    "tables",
    "settings",
    "horizon",
    "progress-vacuum",
    "replication",
];

/// From so many times its threshold on, autovacuum has missed its turn.
pub(crate) const STARVED: f64 = 2.0;
/// Rows of the collector `tables` at most.
const TABLES_MAX: usize = 10_000;
/// What VACUUM reads per second where nobody measured it.
const READ_BYTES_PER_SECOND: f64 = 50.0 * 1024.0 * 1024.0;
/// Tables named with a holder.
const NAMED_MAX: usize = 5;

/// Plans which tables are vacuumed, the most starved first.
pub(crate) fn plan(scope: &Scope<'_>, found: &mut Findings) {
    if let Err(missing) = planned(scope, found) {
        found.left.extend(scope.missing("vacuum", missing));
    }
}

fn planned(scope: &Scope<'_>, found: &mut Findings) -> Result<(), Missing> {
    let autovacuum = scope.autovacuum()?;
    let tables = scope.here("tables")?;
    if scope.setting("track_counts")? == Some("off") {
        let why =
            "track_counts is off: nobody counts dead rows; ALTER SYSTEM SET track_counts = on";
        found.left.push(scope.unseen("dead rows", why));
        return Ok(());
    }
    if tables.rows().len() >= TABLES_MAX {
        let why = format!("only the {TABLES_MAX} largest tables were looked at");
        found.left.push(scope.unseen("smaller tables", why));
    }
    let mut held = Held::new(Horizon::of(scope)?);
    if !scope.sees_all_sessions() {
        let why = "old transactions of other roles cannot be seen; GRANT pg_monitor";
        found
            .left
            .push(scope.unseen("transactions that hold back vacuum", why));
    }
    let running = running(scope);
    let truncate = scope
        .server("replication")
        .is_ok_and(|standbys| standbys.rows.is_empty());
    for row in tables.rows() {
        let Some(due) = due(scope, &autovacuum, &row) else {
            continue;
        };
        let name = object(&row, &due.table);
        if due.skip {
            let why = format!("a rule says so, though {}", due.reason);
            found.left.push(scope.left(name, why));
        } else if row.text("relpersistence") == Some("t") {
            let why = format!(
                "only its own session can vacuum a temporary table; {}",
                due.reason
            );
            found.left.push(scope.left(name, why));
        } else if let Some(pid) = running
            .iter()
            .find(|(oid, _)| *oid == due.table.oid || row.int("relid") == Some(i64::from(*oid)))
        {
            let why = format!("process {} vacuums it already", pid.1);
            found.left.push(scope.left(name, why));
        } else if held.useless(&row, due.dead_ratio) {
            held.name(name, &row);
        } else {
            want(scope, found, &row, due, truncate);
        }
    }
    // Whoever holds back the work comes before everything else that is left.
    let first = held.left(scope);
    found.left.splice(0..0, first);
    Ok(())
}

/// A table that is to be vacuumed, and why.
struct Due {
    table: Relation,
    skip: bool,
    reason: String,
    need: Need,
    dead_ratio: f64,
    ratio: f64,
}

fn due(scope: &Scope<'_>, autovacuum: &Autovacuum, row: &Row<'_>) -> Option<Due> {
    if !matches!(row.text("relkind"), Some("r" | "m" | "t")) {
        return None;
    }
    let table = target(row, "schemaname");
    let settings = scope.settings(&table);
    let need = autovacuum.need(row);
    let (dead_ratio, insert_ratio) = (need.dead_ratio(row), need.insert_ratio(row));
    let dead = row.float("n_dead_tup").unwrap_or(0.0);
    let live = rows(row);
    let share = 100.0 * dead / (dead + live).max(1.0);
    let by_share = share >= settings.dead_percent && dead >= settings.dead_rows_min;
    let starved = |ratio: f64| match (need.enabled, ratio >= STARVED) {
        (false, _) => "; autovacuum is off for it",
        (true, true) => "; autovacuum has missed its turn",
        (true, false) => "; autovacuum is due to come",
    };
    let reason = if dead_ratio >= 1.0 && dead_ratio >= insert_ratio {
        let late = starved(dead_ratio);
        format!(
            "{dead:.0} row versions are dead ({share:.0} %), {dead_ratio:.1} times autovacuum's threshold{late}"
        )
    } else if insert_ratio >= 1.0 {
        let inserted = row.float("n_ins_since_vacuum").unwrap_or(0.0);
        let late = starved(insert_ratio);
        format!(
            "{inserted:.0} rows were inserted since the last vacuum, {insert_ratio:.1} times autovacuum's threshold{late}"
        )
    } else if by_share {
        let limit = settings.dead_percent;
        format!("{dead:.0} row versions are dead: {share:.0} % (the policy's limit is {limit} %)")
    } else {
        return None;
    };
    Some(Due {
        table,
        skip: settings.skip,
        reason,
        ratio: dead_ratio.max(insert_ratio),
        need,
        dead_ratio,
    })
}

fn want(scope: &Scope<'_>, found: &mut Findings, row: &Row<'_>, due: Due, truncate: bool) {
    let object = object(row, &due.table);
    let reason = match row.text("toast_of") {
        Some(_) => format!("{object}: {}", due.reason),
        None => due.reason,
    };
    let options = VacuumOptions {
        truncate,
        pace: scope.settings(&due.table).pace,
        ..VacuumOptions::default()
    };
    let task = Task::Vacuum {
        table: due.table,
        options,
    };
    let mut proposal = scope.proposal(task, reason);
    proposal.evidence = vec![("vacuum threshold".to_owned(), due.need.vacuum_formula)];
    if !due.need.insert_formula.is_empty() {
        let formula = due.need.insert_formula;
        proposal
            .evidence
            .push(("insert threshold".to_owned(), formula));
    }
    proposal.evidence.extend(row.evidence(&[
        "n_dead_tup",
        "n_live_tup",
        "n_ins_since_vacuum",
        "last_vacuum",
        "last_autovacuum",
        "size_bytes",
    ]));
    proposal.cost = cost(row);
    found.want(Area::Vacuum, due.ratio, proposal);
}

/// Estimates a vacuum: what is not all-visible is read, and at worst a page is written for each dead row.
pub(crate) fn cost(row: &Row<'_>) -> Cost {
    let pages = row.float("relpages").unwrap_or(0.0);
    let size = row.float("size_bytes").unwrap_or(0.0);
    let block = if pages > 0.0 { size / pages } else { 0.0 };
    let unseen = (pages - row.float("relallvisible").unwrap_or(0.0)).max(0.0);
    let dirty = row.float("n_dead_tup").unwrap_or(0.0).min(pages);
    let measured = measured(row).unwrap_or(unseen * block / READ_BYTES_PER_SECOND);
    Cost {
        read: Some(ByteSize((unseen * block) as u64)),
        wal: Some(ByteSize((dirty * block) as u64)),
        duration: Duration::try_from_secs_f64(measured).ok(),
        ..Cost::default()
    }
}

/// Returns how many seconds a vacuum of the table took on average, which PostgreSQL 18 remembers.
fn measured(row: &Row<'_>) -> Option<f64> {
    let sum = |names: [&str; 2]| -> Option<f64> {
        let values: Option<Vec<f64>> = names.iter().map(|name| row.float(name)).collect();
        Some(values?.into_iter().sum())
    };
    let runs = sum(["vacuum_count", "autovacuum_count"])?;
    let time_ms = sum(["total_vacuum_time", "total_autovacuum_time"])?;
    (runs > 0.0).then(|| time_ms / runs / 1000.0)
}

/// Returns the tables of this database that are being vacuumed, and by which process.
fn running(scope: &Scope<'_>) -> Vec<(u32, String)> {
    let Ok(progress) = scope.server("progress-vacuum") else {
        return Vec::new();
    };
    let here = progress
        .rows()
        .filter(|row| row.text("datname") == Some(scope.database));
    let tables = here.filter_map(|row| {
        let relid = row.value("relid").to_string().parse().ok()?;
        Some((relid, row.value("pid").to_string()))
    });
    tables.collect()
}

/// Tables that a vacuum would not help, because somebody may still see their dead rows.
struct Held<'a> {
    horizon: Horizon<'a>,
    tables: Vec<(String, Timestamp)>,
}

impl<'a> Held<'a> {
    fn new(horizon: Horizon<'a>) -> Held<'a> {
        Held {
            horizon,
            tables: Vec::new(),
        }
    }

    /// A vacuum that ran after the holder came left these rows, and the next one would leave them too.
    fn useless(&self, row: &Row<'_>, dead_ratio: f64) -> bool {
        let last = last_vacuum(row);
        dead_ratio >= 1.0 && last.is_some_and(|last| self.horizon.before(last).is_some())
    }

    fn name(&mut self, object: String, row: &Row<'_>) {
        let dead = row.float("n_dead_tup").unwrap_or(0.0);
        if let Some(last) = last_vacuum(row) {
            self.tables
                .push((format!("{object} ({dead:.0} dead)"), last));
        }
    }

    fn left(&self, scope: &Scope<'_>) -> Vec<pawang_core::plan::Left> {
        let mut left = Vec::new();
        for holder in &self.horizon.holders {
            let mine = self.tables.iter().filter(|(_, last)| {
                self.horizon
                    .before(*last)
                    .is_some_and(|first| std::ptr::eq(first, holder))
            });
            let mine: Vec<&str> = mine.map(|(name, _)| name.as_str()).collect();
            if mine.is_empty() {
                continue;
            }
            let named = mine[..mine.len().min(NAMED_MAX)].join(", ");
            let more = match mine.len().saturating_sub(NAMED_MAX) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let why = format!(
                "it may still see rows that are {} old, so that a vacuum of {named}{more} would remove nothing: {}",
                holder.age(),
                holder.remedy()
            );
            left.push(scope.left(holder.name(), why));
        }
        left
    }
}

fn last_vacuum(row: &Row<'_>) -> Option<Timestamp> {
    row.time("last_vacuum").max(row.time("last_autovacuum"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, ago};
    use crate::{Areas, Policy, plan};

    fn vacuums(world: &World, policy: &Policy) -> (Vec<String>, Vec<String>) {
        let areas: Areas = [Area::Vacuum].into_iter().collect();
        let planned = plan(&areas, &world.facts(), None, policy, world.now());
        (
            planned.proposals.iter().map(|p| p.task.object()).collect(),
            planned
                .left
                .iter()
                .map(|left| left.object.clone())
                .collect(),
        )
    }

    #[test]
    fn tables_are_due_by_autovacuums_own_formula_and_the_most_starved_comes_first() {
        let mut world = World::new(15);
        let table = |world: &mut World, name: &str, rows: f64, dead: f64, options: &str| {
            world.table(
                name,
                &[
                    ("reltuples", rows.into()),
                    ("n_live_tup", rows.into()),
                    ("n_dead_tup", dead.into()),
                    ("reloptions", options.into()),
                ],
            );
        };
        table(&mut world, "public.healthy", 100_000.0, 5_000.0, "");
        table(&mut world, "public.due", 100_000.0, 20_051.0, "");
        table(&mut world, "public.starved", 100_000.0, 90_000.0, "");
        table(
            &mut world,
            "public.own",
            100_000.0,
            9_999.0,
            "autovacuum_vacuum_scale_factor=0.01",
        );
        table(&mut world, "public.just_below", 100_000.0, 20_049.0, "");
        world.table(
            "public.inserted",
            &[
                ("reltuples", 1000.0.into()),
                ("n_ins_since_vacuum", 1300.0.into()),
            ],
        );
        let (due, left) = vacuums(&world, &Policy::default());
        assert_eq!(
            due,
            [
                "public.own",
                "public.starved",
                "public.inserted",
                "public.due"
            ]
        );
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn the_limit_of_eighteen_and_the_share_of_the_policy_count_too() {
        let mut world = World::new(18);
        let numbers = |rows: f64, dead: f64| {
            [
                ("reltuples", rows.into()),
                ("n_live_tup", rows.into()),
                ("n_dead_tup", dead.into()),
            ]
        };
        world.table("public.huge", &numbers(1e9, 1.1e8));
        world.table("public.share", &numbers(200_000.0, 30_000.0));
        let policy = Policy::default();
        assert_eq!(vacuums(&world, &policy).0, ["public.huge"]);
        let mut strict = policy;
        strict.base.dead_percent = 10.0;
        assert_eq!(vacuums(&world, &strict).0, ["public.huge", "public.share"]);
    }

    #[test]
    fn a_toast_table_is_vacuumed_through_its_owner_and_a_temporary_one_not_at_all() {
        let mut world = World::new(15);
        let dead = [
            ("n_dead_tup", 90_000.0.into()),
            ("reltuples", 1000.0.into()),
        ];
        let toast = [
            ("relkind", "t".into()),
            ("toast_of", "public.\"Docs\"".into()),
            ("toast_of_relid", 77.into()),
        ];
        world.table("pg_toast.pg_toast_77", &[&dead[..], &toast[..]].concat());
        world.table(
            "pg_temp_3.t",
            &[&dead[..], &[("relpersistence", "t".into())]].concat(),
        );
        let (due, left) = vacuums(&world, &Policy::default());
        assert_eq!(
            (due, left),
            (
                vec!["public.Docs".to_owned()],
                vec!["pg_temp_3.t".to_owned()]
            )
        );
    }

    #[test]
    fn who_makes_a_vacuum_useless_is_named_first_and_the_table_is_left() {
        let mut world = World::new(15);
        world.row(
            "horizon",
            &[
                ("kind", "session".into()),
                ("name", "4711".into()),
                ("usename", "etl".into()),
                ("state", "idle in transaction".into()),
                ("datname", "sales".into()),
                ("since", ago(3600).into()),
                ("xmin_age", 500_000.into()),
            ],
        );
        let dead = [
            ("n_dead_tup", 90_000.0.into()),
            ("reltuples", 1000.0.into()),
        ];
        world.table(
            "public.held",
            &[&dead[..], &[("last_vacuum", ago(60).into())]].concat(),
        );
        world.table(
            "public.older",
            &[&dead[..], &[("last_vacuum", ago(7200).into())]].concat(),
        );
        let (due, left) = vacuums(&world, &Policy::default());
        assert_eq!(due, ["public.older"]);
        assert_eq!(left, ["session 4711 (etl, idle in transaction)"]);
    }

    #[test]
    fn what_cannot_be_seen_is_told() {
        let mut world = World::new(15);
        world.blind("tables");
        let areas: Areas = [Area::Vacuum].into_iter().collect();
        let planned = plan(
            &areas,
            &world.facts(),
            None,
            &Policy::default(),
            world.now(),
        );
        assert!(planned.left.iter().all(|left| left.blind) && planned.left.len() == 1);
        world.table("public.t", &[]);
        world.set("track_counts", "off");
        let planned = plan(
            &areas,
            &world.facts(),
            None,
            &Policy::default(),
            world.now(),
        );
        assert!(planned.left[0].blind && planned.left[0].why.contains("track_counts"));
    }
}
