//! Partitions made ahead of time, taken out and dropped when their time is over; those of pg_partman by its own function.

mod bound;
mod name;
mod table;

use std::collections::BTreeMap;

use pawang_core::plan::{Relation, Task};
use pawang_core::{Missing, Row};

use pawang_config::Area;

use crate::scope::{Findings, Scope, named, relation};

use table::Partitioned;

pub(crate) const NEEDS: &[&str] = &[
    "partition-bounds",
    "detached-partitions",
    "partman-config",
    "settings",
    "extensions",
    "timescaledb-hypertables",
    "timescaledb-chunks",
    "timescaledb-jobs",
];

/// Rows of the collector `partition-bounds` at most.
const PARTITIONS_MAX: usize = 20_000;
/// An interrupted detach comes first: it stands in the way of the next one.
const INTERRUPTED: f64 = 1e9;

/// Plans what becomes of partitions.
pub(crate) fn plan(scope: &Scope<'_>, found: &mut Findings) {
    if let Err(missing) = planned(scope, found) {
        found.left.extend(scope.missing("partitions", missing));
    }
}

fn planned(scope: &Scope<'_>, found: &mut Findings) -> Result<(), Missing> {
    let bounds = scope.here("partition-bounds")?;
    if bounds.rows().len() >= PARTITIONS_MAX {
        let why = format!("only {PARTITIONS_MAX} partitions were looked at");
        found.left.push(scope.unseen("further partitions", why));
    }
    let managed = match scope.here("partman-config") {
        Ok(config) => config
            .rows()
            .filter_map(|row| row.int("relid").map(|oid| (oid, row)))
            .collect(),
        Err(missing) => {
            found.left.extend(scope.missing("pg_partman", missing));
            BTreeMap::new()
        }
    };
    let mut tables: BTreeMap<i64, Vec<Row<'_>>> = BTreeMap::new();
    for row in bounds.rows() {
        tables
            .entry(row.int("relid").unwrap_or_default())
            .or_default()
            .push(row);
    }
    for (oid, rows) in &tables {
        let parent = relation(&rows[0]);
        finalize(scope, found, &parent, rows);
        match managed.get(oid) {
            Some(config) => partman(scope, found, &parent, rows, config),
            None if rows[0].text("strategy") == Some("r") => range(scope, found, parent, rows),
            None => {}
        }
    }
    Ok(())
}

/// Ends what an interrupted DETACH CONCURRENTLY left half done.
fn finalize(scope: &Scope<'_>, found: &mut Findings, parent: &Relation, rows: &[Row<'_>]) {
    for row in rows
        .iter()
        .filter(|row| row.flag("detach_pending") == Some(true))
    {
        let task = Task::FinalizeDetach {
            parent: parent.clone(),
            partition: partition(row),
        };
        let reason = "a DETACH CONCURRENTLY of it did not end: its rows are already missing in queries of the whole table".to_owned();
        found.want(Area::Partitions, INTERRUPTED, scope.proposal(task, reason));
    }
}

fn partition(row: &Row<'_>) -> Relation {
    named(row, "partition_schema", "partition_name", "partition_relid")
}

fn range(scope: &Scope<'_>, found: &mut Findings, parent: Relation, rows: &[Row<'_>]) {
    let settings = scope.settings(&parent);
    if settings.skip {
        return;
    }
    match Partitioned::of(scope, &parent, rows) {
        Ok(table) => {
            table.ahead(scope, found, settings.partitions_ahead);
            table.detach(scope, found, &settings);
            table.dropped(scope, found, &settings);
        }
        Err(why) => found.left.push(scope.left(parent.to_string(), why)),
    }
}

/// pg_partman knows itself what to do; it is only asked when something is missing.
fn partman(
    scope: &Scope<'_>,
    found: &mut Findings,
    parent: &Relation,
    rows: &[Row<'_>],
    config: &Row<'_>,
) {
    let endless = config.flag("infinite_time_partitions") == Some(true);
    let ready = Partitioned::of(scope, parent, rows).map(|table| match endless {
        true => table.ready(scope),
        // It counts from the newest rows, and makes nothing while none come.
        false => table.ready(scope).max(table.after_rows()),
    });
    let premake = config.float("premake").unwrap_or(0.0);
    let ready = match ready {
        Ok(ready) => ready,
        Err(why) => {
            let why =
                format!("pg_partman looks after it, and whether it keeps up cannot be told: {why}");
            found.left.push(scope.left(parent.to_string(), why));
            return;
        }
    };
    if (ready as f64) >= premake {
        return;
    }
    let Some(schema) = config.text("extension_schema") else {
        return;
    };
    let task = Task::PartmanMaintenance {
        extension_schema: schema.to_owned(),
        parent: parent.clone(),
    };
    let automatic = match config.text("automatic_maintenance") {
        Some("on") => "its background worker did not come",
        _ => "its automatic maintenance is off",
    };
    let reason = format!(
        "{ready} partitions stand ready and pg_partman is set to keep {premake:.0}; {automatic}"
    );
    let mut proposal = scope.proposal(task, reason);
    proposal.evidence = config.evidence(&[
        "partition_interval",
        "premake",
        "automatic_maintenance",
        "infinite_time_partitions",
        "retention",
    ]);
    found.want(Area::Partitions, premake - ready as f64, proposal);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::World;
    use crate::{Areas, Planned, Policy};

    fn planned(world: &World, policy: &Policy) -> Planned {
        let areas: Areas = [Area::Partitions].into_iter().collect();
        crate::plan(&areas, &world.facts(), None, policy, world.now())
    }

    fn partitions(world: &mut World, kind: &str, list: &[(&str, &str)]) {
        for (index, (name, bound)) in list.iter().enumerate() {
            world.row(
                "partition-bounds",
                &[
                    ("schemaname", "dw".into()),
                    ("relname", "sales".into()),
                    ("relid", 1.into()),
                    ("partition_schema", "dw".into()),
                    ("partition_name", (*name).into()),
                    (
                        "partition_relid",
                        (100 + i64::try_from(index).unwrap()).into(),
                    ),
                    ("strategy", "r".into()),
                    ("key_columns", "at".into()),
                    ("key_type", kind.into()),
                    ("partition_kind", "r".into()),
                    ("bound", (*bound).into()),
                    ("is_default", (*bound == "DEFAULT").into()),
                    ("detach_pending", false.into()),
                    (
                        "reltuples",
                        (if *bound == "DEFAULT" { 0.0 } else { 10.0 }).into(),
                    ),
                ],
            );
        }
    }

    fn months(world: &mut World, last: i8) {
        let list: Vec<(String, String)> = (1..=last)
            .map(|month| {
                let end = jiff::civil::date(2026 + i16::from(month / 12), month % 12 + 1, 1);
                (
                    format!("sales_2026_{month:02}"),
                    format!("FOR VALUES FROM ('2026-{month:02}-01') TO ('{end}')"),
                )
            })
            .collect();
        let list: Vec<(&str, &str)> = list.iter().map(|(n, b)| (n.as_str(), b.as_str())).collect();
        partitions(world, "date", &list);
    }

    #[test]
    fn partitions_are_made_ahead_and_then_nothing_is_to_be_done() {
        // The run is in July.
        for (last, expected) in [
            (
                7,
                vec![
                    "sales_2026_08",
                    "sales_2026_09",
                    "sales_2026_10",
                    "sales_2026_11",
                ],
            ),
            (9, vec!["sales_2026_10", "sales_2026_11"]),
            (11, vec![]),
            (12, vec![]),
            (
                5,
                vec![
                    "sales_2026_06",
                    "sales_2026_07",
                    "sales_2026_08",
                    "sales_2026_09",
                    "sales_2026_10",
                    "sales_2026_11",
                ],
            ),
        ] {
            let mut world = World::new(15);
            months(&mut world, last);
            let planned = planned(&world, &Policy::default());
            let made: Vec<&str> = planned
                .proposals
                .iter()
                .map(|proposal| match &proposal.task {
                    Task::CreatePartition { name, .. } => name.as_str(),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(made, expected, "{last}");
            assert_eq!(planned.left, []);
        }
    }

    #[test]
    fn rows_in_the_default_partition_come_first() {
        let mut world = World::new(15);
        months(&mut world, 7);
        partitions(&mut world, "date", &[("sales_default", "DEFAULT")]);
        assert_eq!(
            planned(&world, &Policy::default()).proposals.len(),
            4,
            "an empty one is no matter"
        );
        let mut world = World::new(15);
        months(&mut world, 7);
        world.row(
            "partition-bounds",
            &[
                ("schemaname", "dw".into()),
                ("relname", "sales".into()),
                ("relid", 1.into()),
                ("partition_name", "sales_default".into()),
                ("partition_kind", "r".into()),
                ("bound", "DEFAULT".into()),
                ("is_default", true.into()),
                ("n_live_tup", 12.into()),
            ],
        );
        let planned = planned(&world, &Policy::default());
        assert_eq!(planned.proposals, []);
        assert!(
            planned.left[0].why.contains("12 rows"),
            "{:?}",
            planned.left
        );
    }

    #[test]
    fn old_partitions_are_taken_out_and_dropped_later() {
        let day = std::time::Duration::from_secs(86_400);
        let mut world = World::new(15);
        months(&mut world, 12);
        for name in ["sales_2025_12", "sales_2025_11", "sales_archive"] {
            world.row(
                "detached-partitions",
                &[
                    ("schemaname", "dw".into()),
                    ("relname", "sales".into()),
                    ("relid", 1.into()),
                    ("detached_name", name.into()),
                    ("detached_relid", 50.into()),
                ],
            );
        }
        let mut policy = Policy::default();
        policy.base.partitions_keep = Some(day * 100);
        policy.base.partitions_drop_after = Some(day * 210);
        let planned = planned(&world, &policy);
        let tasks: Vec<(&str, String)> = planned
            .proposals
            .iter()
            .map(|proposal| (proposal.task.name(), proposal.task.object()))
            .collect();
        let expected = [
            ("detach-partition", "dw.sales_2026_01"),
            ("detach-partition", "dw.sales_2026_02"),
            ("detach-partition", "dw.sales_2026_03"),
            ("drop-table", "dw.sales_2025_11"),
        ];
        assert_eq!(tasks, expected.map(|(task, name)| (task, name.to_owned())));
        assert!(matches!(
            planned.proposals[0].task,
            Task::DetachPartition {
                concurrently: true,
                ..
            }
        ));
        assert!(
            planned
                .left
                .iter()
                .any(|left| left.object == "dw.sales_archive")
        );
        policy.base.partitions_keep_min = 5;
        let fewer = super::tests::planned(&world, &policy);
        assert_eq!(fewer.proposals.len(), 2, "one of six ended, and the drop");
    }

    #[test]
    fn what_cannot_be_continued_is_left_with_its_reason() {
        for (kind, list, why) in [
            (
                "text",
                &[("a", "FOR VALUES FROM ('a') TO ('b')")][..],
                "a key of type text",
            ),
            (
                "int4",
                &[
                    ("a_0", "FOR VALUES FROM (0) TO (10)"),
                    ("a_10", "FOR VALUES FROM (10) TO (30)"),
                ][..],
                "not all of one length",
            ),
            (
                "int4",
                &[
                    ("a_0", "FOR VALUES FROM (0) TO (10)"),
                    ("a_10", "FOR VALUES FROM (10) TO (MAXVALUE)"),
                ][..],
                "MAXVALUE",
            ),
        ] {
            let mut world = World::new(15);
            partitions(&mut world, kind, list);
            let planned = planned(&world, &Policy::default());
            assert_eq!(planned.proposals, []);
            assert!(planned.left[0].why.contains(why), "{:?}", planned.left);
        }
    }

    #[test]
    fn an_interrupted_detach_is_ended_and_pg_partman_is_asked_when_it_fell_behind() {
        let mut world = World::new(15);
        months(&mut world, 8);
        world.row(
            "partman-config",
            &[
                ("parent_table", "dw.sales".into()),
                ("extension_schema", "partman".into()),
                ("relid", 1.into()),
                ("premake", 4.into()),
                ("automatic_maintenance", "on".into()),
            ],
        );
        let planned = planned(&world, &Policy::default());
        assert_eq!(planned.proposals.len(), 1);
        assert_eq!(planned.proposals[0].task.name(), "partman-maintenance");
        assert!(
            planned.proposals[0].reason.starts_with("1 partitions"),
            "{:?}",
            planned.proposals
        );
    }
}
