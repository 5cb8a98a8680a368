//! WAL through a replication slot: how long after its commit a transaction is durable in the spool.

use std::path::Path;
use std::time::{Duration, Instant};

use pawang_testbed::until;

use super::super::process::Process;
use super::stage::{DATABASE, Stage};
use super::{Part, at_most};

/// Commits whose time is taken.
const COMMITS: usize = 2_000;
const REST: Duration = Duration::from_millis(2);

/// Measures the lag of commits while pgbench writes beside them.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    let stage = Stage::start(binary, 20).await?;
    stage.set_up()?;
    let receiver = Process::start(&mut stage.pawang(&["wal", "stream", "-i", "dwh-1", "--json"]))?;
    until("the receiver streams", async || {
        let sql = "SELECT count(*)::text FROM pg_stat_replication WHERE state = 'streaming'";
        stage.cluster.sql("postgres", sql).await[0][0].as_deref() == Some("1")
    })
    .await;
    let mut load = stage.client("pgbench");
    load.args(["-n", "-c", "4", "-T", "3600", DATABASE]);
    let load = Process::start(&mut load)?;
    let lags = lags(&stage).await?;
    let cpu = receiver.cpu_seconds()?;
    let (_, peak) = receiver.memory_mb()?;
    drop(load);
    receiver.end()?;
    Ok(part(lags, cpu, peak))
}

/// Returns for some commits how long it took until the server was told that they are durable, least first.
async fn lags(stage: &Stage) -> Result<Vec<Duration>, String> {
    let client = stage.cluster.connect(DATABASE).await;
    let written = "SELECT pg_logical_emit_message(true, 'bench', 'commit')::text";
    let durable = client
        .prepare("SELECT flush_lsn >= $1::text::pg_lsn FROM pg_stat_replication")
        .await
        .map_err(told)?;
    let mut lags = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        client.query_one(written, &[]).await.map_err(told)?;
        let begin = Instant::now();
        let row = client
            .query_one("SELECT pg_current_wal_flush_lsn()::text", &[])
            .await
            .map_err(told)?;
        let position: String = row.get(0);
        while !client
            .query_one(&durable, &[&position])
            .await
            .map_err(told)?
            .get::<_, Option<bool>>(0)
            .unwrap_or(false)
        {}
        lags.push(begin.elapsed());
        tokio::time::sleep(REST).await;
    }
    lags.sort_unstable();
    Ok(lags)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn part(lags: Vec<Duration>, cpu: f64, peak: f64) -> Part {
    let at = |share: f64| lags[((lags.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let text = format!(
        "{COMMITS} commits, two milliseconds after one another, while four clients of pgbench write. From the commit until \
         `flush_lsn` of pg_stat_replication has passed it: the receiver has told the server that it is on its disk. Asked as fast as \
         answers come, so that asking is in the figure.\n\n\
         | p50 ms | p99 ms | longest ms | own CPU s | peak MB |\n|---:|---:|---:|---:|---:|\n| {:.1} | {:.1} | {:.1} | {cpu:.1} | {peak:.0} |\n",
        at(0.5),
        at(0.99),
        at(1.0),
    );
    Part {
        title: "WAL: streamed, and how late it is durable",
        text,
        goals: vec![at_most("p99 at most 100 ms", at(0.99), 100.0, "ms")],
    }
}
