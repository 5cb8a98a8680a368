//! One table of a 4 GB cluster as it was some minutes ago.

use std::path::Path;

use pawang_testbed::until;

use super::super::program::once;
use super::base::SCALE;
use super::stage::{DATABASE, Stage};
use super::{Part, at_most};
use crate::run;

const ROWS: u32 = 1_000_000;

/// Measures the restore of a table whose rows were deleted.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    println!("creating 4 GB");
    let stage = Stage::start_with(binary, SCALE, &[("archive_mode", "on")]).await?;
    stage.set_up()?;
    let sql = async |sql: &str| stage.cluster.sql(DATABASE, sql).await;
    sql(&format!(
        "CREATE TABLE fact AS SELECT g AS id, now() AS at, repeat('x', 60) AS note FROM generate_series(1, {ROWS}) AS g"
    ))
    .await;
    sql("ALTER TABLE fact ADD PRIMARY KEY (id)").await;
    sql("CHECKPOINT").await;
    stage
        .cluster
        .set("archive_command", Some(&stage.archive_command()))
        .await;
    run::quiet(&mut stage.pawang(&["backup", "create", "--type", "full", "-q"]))?;
    // What was written until the moment is replayed.
    run::quiet(
        stage
            .client("pgbench")
            .args(["-n", "-c", "4", "-t", "2000", DATABASE]),
    )?;
    let moment =
        sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || ' UTC'").await;
    let moment = moment[0][0].clone().ok_or("the server told no time")?;
    sql("DELETE FROM fact WHERE id % 2 = 0").await;
    let end = sql("SELECT pg_walfile_name(pg_switch_wal())").await;
    let end = end[0][0].clone().ok_or("the server told no file")?;
    until("the WAL is stored", async || {
        let stored = sql("SELECT last_archived_wal FROM pg_stat_archiver").await;
        stored[0][0].as_ref().is_some_and(|stored| *stored >= end)
    })
    .await;
    // The scratch server belongs to the user who runs servers, and so does its folder.
    let scratch = stage.cluster.folder("scratch").display().to_string();
    let words = [
        "restore",
        "-i",
        "dwh-1",
        "--table",
        "public.fact",
        "--to",
        &moment,
        "--into-schema",
        "restored",
        "--yes",
        "-q",
        "--scratch",
        &scratch,
    ];
    let cost = once(&mut stage.pawang(&words))?;
    let back = sql("SELECT count(*)::text FROM restored.fact").await;
    if back[0][0].as_deref() != Some(ROWS.to_string().as_str()) {
        return Err(format!("{:?} rows came back of {ROWS}", back[0][0]));
    }
    let text = format!(
        "A table of {ROWS} rows in a cluster of pgbench with scale {SCALE}; half of its rows are deleted after 8,000 more transactions. \
         `pawang restore --table` restores the cluster into a scratch server, recovers it to the moment before the DELETE, copies the \
         table into a new schema of the server, and compares it with what is there.\n\n\
         | seconds | own CPU s | peak MB |\n|---:|---:|---:|\n| {:.1} | {:.1} | {:.0} |\n",
        cost.wall, cost.cpu, cost.peak_mb
    );
    Ok(Part {
        title: "Restores: one table to a past minute",
        text,
        goals: vec![at_most("at most 60 s", cost.wall, 60.0, "s")],
    })
}
