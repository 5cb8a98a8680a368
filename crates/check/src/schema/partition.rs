//! Partitions: enough ahead, none forgotten, not too many.

use pawang_core::{Level, Missing, Row, Unit};

use crate::{Check, Direction, Floor, Group, Observation, Scope, View, relation};

pub(super) const PARTITIONS_AHEAD: Check = Check {
    id: "partitions-ahead",
    group: Group::Schema,
    title: "partitions ahead of time",
    scope: Scope::Database,
    needs: &["partitions"],
    unit: Unit::Days,
    direction: Direction::Below,
    warning: Some(3.0),
    critical: Some(1.0),
    floors: &[Floor {
        name: "abandoned",
        value: 30.0,
        unit: Unit::Days,
        ignores: "tables whose newest partition ended longer ago than this",
    }],
    what: "Days until the end of the newest partition of tables that are partitioned by range over one date or timestamp column \
           (pg_class.relpartbound). Tables with a partition up to MAXVALUE never run out.",
    why: "At the first row beyond the last partition the load fails, or the rows land in the default partition, which then \
          blocks the creation of the proper one.",
    fix: "Create the next partitions now, then let a job do it (pg_partman, or one of your own) with a few in advance.",
    observe: partitions_ahead,
};

pub(super) const DEFAULT_PARTITION: Check = Check {
    id: "default-partition-rows",
    group: Group::Schema,
    title: "rows in default partitions",
    scope: Scope::Database,
    needs: &["partitions"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(1.0),
    critical: None,
    floors: &[],
    what: "Rows in the default partition of range-partitioned tables (pg_class.reltuples and n_live_tup, both estimates).",
    why: "They belong into a partition that does not exist. Creating it later scans the default partition under an exclusive lock \
          and fails while they are there.",
    fix: "Detach the default partition, create the missing partitions, insert its rows through the parent, attach it again empty.",
    observe: default_partition,
};

pub(super) const PARTITION_COUNT: Check = Check {
    id: "partition-count",
    group: Group::Schema,
    title: "number of partitions",
    scope: Scope::Database,
    needs: &["partitions"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(2_000.0),
    critical: Some(10_000.0),
    floors: &[],
    what: "Direct partitions of each partitioned table (pg_inherits).",
    why: "Planning time, memory per session and locks grow with them; a query that cannot prune locks every one.",
    fix: "Larger ranges, retention (DETACH CONCURRENTLY and drop old ones), or merge old partitions.",
    observe: partition_count,
};

pub(super) const PARTITIONED_STATISTICS: Check = Check {
    id: "partitioned-statistics",
    group: Group::Schema,
    title: "partitioned tables never analyzed",
    scope: Scope::Database,
    needs: &["partitions"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(100_000.0),
    critical: None,
    floors: &[],
    what: "Rows of partitioned tables whose parent was never analyzed. Autovacuum analyzes partitions and never their parent; \
           after pg_stat_reset() the record of an earlier ANALYZE is gone too.",
    why: "Joins and groupings over the whole table are planned without statistics of the whole.",
    fix: "ANALYZE the parent after loads that change the distribution of its data.",
    observe: partitioned_statistics,
};

fn partitions_ahead(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let abandoned = view.floor("abandoned");
    let partitions = view.here("partitions")?;
    let observations = partitions.rows().filter_map(|row| {
        if row.flag("open_ended") == Some(true) {
            return None;
        }
        let bound = row.time("newest_bound")?;
        let days = bound.duration_since(view.now).as_secs_f64() / 86_400.0;
        (days >= -abandoned).then(|| Observation {
            object: relation::name(&row),
            value: days,
            title: if days >= 0.0 {
                format!("the newest partition ends in {days:.1} days")
            } else {
                format!("the newest partition ended {:.1} days ago", -days)
            },
            evidence: row.evidence(&["newest_bound", "partition_count", "default_partition"]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

fn default_partition(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let partitions = view.here("partitions")?;
    let with_default = partitions
        .rows()
        .filter(|row| row.text("default_partition").is_some() && row.text("strategy") == Some("r"));
    let observations = with_default.map(|row| {
        let rows = row
            .float("default_partition_rows")
            .unwrap_or(0.0)
            .max(row.float("default_partition_live").unwrap_or(0.0))
            .max(0.0);
        Observation {
            object: relation::name(&row),
            value: rows,
            title: format!(
                "about {} rows in its default partition {}",
                Unit::Count.show(rows),
                row.text("default_partition").unwrap_or("?")
            ),
            evidence: row.evidence(&[
                "default_partition_schema",
                "default_partition",
                "default_partition_rows",
                "default_partition_live",
            ]),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

fn partition_count(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let partitions = view.here("partitions")?;
    let observations = partitions.rows().map(|row| {
        let count = row.float("partition_count").unwrap_or(0.0);
        Observation {
            object: relation::name(&row),
            value: count,
            level: (count == 0.0).then_some(Level::Info),
            title: format!("{} partitions", Unit::Count.show(count)),
            evidence: row.evidence(&["strategy", "key_type", "partition_count"]),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

fn partitioned_statistics(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let partitions = view.here("partitions")?;
    let never = |row: &Row<'_>| {
        row.time("last_analyze").is_none() && row.flag("relispartition") != Some(true)
    };
    let observations = partitions.rows().filter(never).map(|row| {
        let rows = row.float("leaf_rows").unwrap_or(0.0);
        Observation {
            object: relation::name(&row),
            value: rows,
            title: format!(
                "the parent of {} rows in {} partitions was never analyzed",
                Unit::Count.show(rows),
                row.value("partition_count")
            ),
            evidence: row.evidence(&["leaf_rows", "partition_count", "last_analyze"]),
            remedy: Some(format!("ANALYZE {};", relation::table(&row))),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}
