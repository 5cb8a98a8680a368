//! Chunks of TimescaleDB, driven by its own functions: one action, and so one transaction, for each chunk.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use pawang_core::plan::{Relation, Task};
use pawang_core::{ByteSize, Missing, Row};

use pawang_config::Area;

use crate::scope::{Findings, Scope, named};

/// TimescaleDB's own jobs get so many of their intervals before somebody does their work.
const INTERVALS_MISSED: f64 = 2.0;
/// Chunks of one hypertable that one plan works on.
const CHUNKS_MAX: usize = 100;
/// What compression reads per second where nobody measured it.
const COMPRESS_BYTES_PER_SECOND: f64 = 10.0 * 1024.0 * 1024.0;

/// Plans what becomes of chunks and of jobs that failed.
pub(crate) fn plan(scope: &Scope<'_>, found: &mut Findings) {
    if let Err(missing) = planned(scope, found) {
        found.left.extend(scope.missing("TimescaleDB", missing));
    }
}

fn planned(scope: &Scope<'_>, found: &mut Findings) -> Result<(), Missing> {
    let hypertables = scope.here("timescaledb-hypertables")?;
    let mut extensions = scope.here("extensions")?.rows();
    let extension = extensions.find(|row| row.text("extname") == Some("timescaledb"));
    let Some(schema) = extension.and_then(|row| row.text("nspname")) else {
        return Ok(());
    };
    let chunks = scope.here("timescaledb-chunks")?;
    for hypertable in hypertables.rows() {
        let same = |row: &Row<'_>| {
            ["hypertable_schema", "hypertable_name"]
                .iter()
                .all(|name| row.text(name) == hypertable.text(name))
        };
        let mine: Vec<Row<'_>> = chunks.rows().filter(same).collect();
        let Some(first) = mine.first() else { continue };
        let table = named(
            first,
            "hypertable_schema",
            "hypertable_name",
            "hypertable_relid",
        );
        if scope.settings(&table).skip {
            continue;
        }
        compress(scope, found, &hypertable, &table, &mine, schema);
        drop_chunks(scope, found, &hypertable, &table, &mine, schema);
    }
    jobs(scope, found, schema)
}

/// Returns the age at which chunks are worked on, and why: by a policy of TimescaleDB that fell behind, else by ours.
fn due(
    row: &Row<'_>,
    after: &str,
    policy: &str,
    interval: &str,
    ours: Option<Duration>,
) -> Option<(f64, String)> {
    let seconds = row.float(after);
    match (row.flag(policy), seconds) {
        (Some(true), Some(seconds)) => {
            let patience = INTERVALS_MISSED * row.float(interval).unwrap_or(86_400.0);
            Some((
                seconds + patience,
                "TimescaleDB's own job has not come".to_owned(),
            ))
        }
        (Some(true), None) => None,
        _ => ours.map(|ours| (ours.as_secs_f64(), "the policy says so".to_owned())),
    }
}

/// Returns the chunks that ended so long ago, the oldest first.
fn over<'a>(scope: &Scope<'_>, chunks: &[Row<'a>], seconds: f64) -> Vec<Row<'a>> {
    let ended = chunks.iter().filter(|chunk| {
        let end = chunk.time("range_end");
        end.is_some_and(|end| scope.now.duration_since(end).as_secs_f64() >= seconds)
    });
    ended.take(CHUNKS_MAX).copied().collect()
}

fn compress(
    scope: &Scope<'_>,
    found: &mut Findings,
    hypertable: &Row<'_>,
    table: &Relation,
    chunks: &[Row<'_>],
    schema: &str,
) {
    let ours = scope.settings(table).compress_after;
    let due = due(
        hypertable,
        "compress_after",
        "compression_policy",
        "compression_interval",
        ours,
    );
    let Some((seconds, who)) = due else { return };
    let open: Vec<Row<'_>> = chunks
        .iter()
        .filter(|row| row.flag("is_compressed") == Some(false))
        .copied()
        .collect();
    let open = over(scope, &open, seconds);
    if hypertable.flag("compression_enabled") != Some(true) {
        if !open.is_empty() {
            let why =
                "compression is not switched on for it: ALTER TABLE ... SET (timescaledb.compress)";
            found.left.push(scope.left(table.to_string(), why));
        }
        return;
    }
    for (index, chunk) in open.into_iter().enumerate() {
        let task = Task::CompressChunk {
            extension_schema: schema.to_owned(),
            chunk: named(&chunk, "chunk_schema", "chunk_name", "chunk_relid"),
        };
        let end = chunk.value("range_end");
        let reason = format!("this chunk of {table} ended at {end} and is not compressed; {who}");
        let mut proposal = scope.proposal(task, reason);
        proposal.evidence = chunk.evidence(&["range_start", "range_end", "size_bytes"]);
        let size = chunk.float("size_bytes").unwrap_or(0.0);
        proposal.cost.read = Some(ByteSize(size as u64));
        proposal.cost.duration = Duration::try_from_secs_f64(size / COMPRESS_BYTES_PER_SECOND).ok();
        found.want(Area::Partitions, 200.0 - index as f64 / 1000.0, proposal);
    }
}

fn drop_chunks(
    scope: &Scope<'_>,
    found: &mut Findings,
    hypertable: &Row<'_>,
    table: &Relation,
    chunks: &[Row<'_>],
    schema: &str,
) {
    let ours = scope.settings(table).partitions_drop_after;
    let due = due(
        hypertable,
        "drop_after",
        "retention_policy",
        "retention_interval",
        ours,
    );
    let Some((seconds, who)) = due else { return };
    let ends = over(scope, chunks, seconds)
        .into_iter()
        .filter_map(|chunk| chunk.time("range_end"));
    let ends: BTreeSet<_> = ends.collect();
    for (index, older_than) in ends.into_iter().enumerate() {
        let task = Task::DropChunks {
            extension_schema: schema.to_owned(),
            hypertable: table.clone(),
            older_than,
        };
        let age = scope.now.duration_since(older_than).as_hours() / 24;
        let reason = format!("its chunks up to {older_than} ended {age} days ago; {who}");
        found.want(
            Area::Partitions,
            100.0 - index as f64 / 1000.0,
            scope.proposal(task, reason),
        );
    }
}

/// Jobs that failed run once more, by TimescaleDB's own function; a job that is paused or not its own is left to people.
fn jobs(scope: &Scope<'_>, found: &mut Findings, schema: &str) -> Result<(), Missing> {
    for row in scope.here("timescaledb-jobs")?.rows() {
        if row.text("last_run_status") != Some("Failed") {
            continue;
        }
        let name = row.text("proc_name").unwrap_or("?");
        let id = row.value("job_id").to_string();
        let object = format!("job {id} ({name})");
        let running = row.text("job_status") == Some("Running");
        if row.flag("scheduled") == Some(false) {
            let why =
                "it failed and is paused: alter_job(.., scheduled => true) when its cause is gone";
            found.left.push(scope.left(object, why));
        } else if !name.starts_with("policy_") {
            let why = "it failed, and it is a job of your own: whether it may run twice is not known here";
            found.left.push(scope.left(object, why));
        } else if let (false, Ok(job)) = (running, id.parse()) {
            let task = Task::RunJob {
                extension_schema: schema.to_owned(),
                job,
            };
            let failures = row.float("consecutive_failures").unwrap_or(1.0);
            let reason = format!("its last {failures:.0} runs failed");
            let mut proposal = scope.proposal(task, reason);
            proposal.evidence = row.evidence(&[
                "proc_name",
                "hypertable_name",
                "last_successful_finish",
                "next_start",
            ]);
            let late = row
                .time("last_successful_finish")
                .map_or(SignedDuration::ZERO, |at| scope.now.duration_since(at));
            proposal.evidence.push((
                "hours since it last succeeded".to_owned(),
                late.as_hours().to_string(),
            ));
            found.want(Area::Partitions, 300.0, proposal);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, ago};
    use crate::{Areas, Policy};

    const DAY: i64 = 86_400;

    fn hypertable(world: &mut World, own: bool) {
        world.row(
            "extensions",
            &[("extname", "timescaledb".into()), ("nspname", "ts".into())],
        );
        world.row(
            "timescaledb-hypertables",
            &[
                ("hypertable_schema", "public".into()),
                ("hypertable_name", "Milk".into()),
                ("compression_enabled", true.into()),
                ("compression_policy", own.into()),
                ("compression_interval", 43_200.0.into()),
                ("compress_after", (7.0 * DAY as f64).into()),
                ("retention_policy", own.into()),
                ("retention_interval", (DAY as f64).into()),
                ("drop_after", (30.0 * DAY as f64).into()),
            ],
        );
        for (name, end, compressed) in [
            ("c40", 40, true),
            ("c20", 20, false),
            ("c7", 7, false),
            ("c1", 1, false),
        ] {
            world.row(
                "timescaledb-chunks",
                &[
                    ("hypertable_schema", "public".into()),
                    ("hypertable_name", "Milk".into()),
                    ("hypertable_relid", 3.into()),
                    ("chunk_schema", "_internal".into()),
                    ("chunk_name", name.into()),
                    ("chunk_relid", 4.into()),
                    ("range_end", ago(end * DAY).into()),
                    ("is_compressed", compressed.into()),
                ],
            );
        }
    }

    fn tasks(world: &World, policy: &Policy) -> Vec<(&'static str, String)> {
        let areas: Areas = [Area::Partitions].into_iter().collect();
        let planned = crate::plan(&areas, &world.facts(), None, policy, world.now());
        let tasks = planned
            .proposals
            .iter()
            .map(|p| (p.task.name(), p.task.object()));
        tasks.collect()
    }

    #[test]
    fn chunks_are_done_one_by_one_where_the_servers_own_job_fell_behind_or_there_is_none() {
        let mut world = World::new(15);
        hypertable(&mut world, true);
        let expected = [
            ("compress-chunk", "_internal.c20".to_owned()),
            ("drop-chunks", "public.Milk".to_owned()),
        ];
        assert_eq!(tasks(&world, &Policy::default()), expected);

        let mut world = World::new(15);
        hypertable(&mut world, false);
        assert_eq!(tasks(&world, &Policy::default()), []);
        let mut policy = Policy::default();
        policy.base.compress_after = Some(Duration::from_secs(5 * 86_400));
        let names: Vec<String> = tasks(&world, &policy)
            .into_iter()
            .map(|(_, name)| name)
            .collect();
        assert_eq!(names, ["_internal.c20", "_internal.c7"]);
    }

    #[test]
    fn failed_jobs_of_its_own_run_again_and_others_are_left() {
        let mut world = World::new(15);
        hypertable(&mut world, false);
        for (id, name, scheduled) in [
            (1, "policy_retention", true),
            (2, "policy_compression", false),
            (3, "load", true),
        ] {
            world.row(
                "timescaledb-jobs",
                &[
                    ("job_id", id.into()),
                    ("proc_name", name.into()),
                    ("scheduled", scheduled.into()),
                    ("last_run_status", "Failed".into()),
                ],
            );
        }
        assert_eq!(
            tasks(&world, &Policy::default()),
            [("run-job", "job 1".to_owned())]
        );
    }
}
