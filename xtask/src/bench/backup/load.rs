//! What a backup costs those who use the server meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use super::super::process::Process;
use super::stage::{DATABASE, Stage};
use super::{Goal, Part};
use crate::run;

/// About a gigabyte, so that a limited backup lasts as long as a run of pgbench.
const SCALE: u32 = 64;
const SECONDS: &str = "20";
/// What the backup may send at most.
const RATE: &str = "30MB";
/// Transactions per second that are asked for: a server that is used, not one that is full.
const PER_SECOND: &str = "300";
/// A backup begins with a checkpoint, which takes its time.
const BEGIN_MAX: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Runs of each kind, in turns.
const ROUNDS: usize = 3;

/// Measures pgbench's p95 latency with and without a backup.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    let stage = Stage::start(binary, SCALE).await?;
    stage.set_up()?;
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // A backup begins with a checkpoint, behind which the first change of each page writes the whole of it to WAL: both have that.
        stage.cluster.sql("postgres", "CHECKPOINT").await;
        quiet.push(p95(&stage)?);
        let words = [
            "backup",
            "create",
            "--type",
            "full",
            "--mode",
            "protocol",
            "--max-rate",
            RATE,
            "--spread",
            "-q",
        ];
        // What the load before made dirty is not to delay the backup's own checkpoint.
        stage.cluster.sql("postgres", "CHECKPOINT").await;
        let backup = Process::start(&mut stage.pawang(&words))?;
        begun(&stage).await?;
        busy.push(p95(&stage)?);
        if !is_sending(&stage).await {
            return Err("the backup ended before the load: nothing was measured".to_owned());
        }
        drop(backup);
        stage.settle()?;
    }
    println!("quiet {quiet:?}, with a backup {busy:?}");
    Ok(part(mean(&quiet), mean(&busy)))
}

/// Waits until the server sends the files of a backup.
async fn begun(stage: &Stage) -> Result<(), String> {
    let begin = Instant::now();
    while !is_sending(stage).await {
        if begin.elapsed() > BEGIN_MAX {
            return Err(format!("no backup began within {BEGIN_MAX:?}"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn is_sending(stage: &Stage) -> bool {
    let sql = "SELECT 1 FROM pg_stat_progress_basebackup WHERE phase = 'streaming database files'";
    !stage.cluster.sql("postgres", sql).await.is_empty()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Runs pgbench and returns the latency that 95 of 100 transactions did not exceed, in milliseconds.
fn p95(stage: &Stage) -> Result<f64, String> {
    let folder = stage.cluster.folder("latency");
    let prefix = folder.join("log").display().to_string();
    let mut command = stage.client("pgbench");
    command.args([
        "-n",
        "-c",
        "4",
        "-T",
        SECONDS,
        "-R",
        PER_SECOND,
        "-l",
        "--log-prefix",
        &prefix,
        DATABASE,
    ]);
    run::quiet(&mut command)?;
    let mut latencies: Vec<f64> = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        // The third field is the time that the transaction took, in microseconds.
        let took = text
            .lines()
            .filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok());
        latencies.extend(took.map(|took| took / 1e3));
        std::fs::remove_file(&path).map_err(|error| error.to_string())?;
    }
    latencies.sort_unstable_by(f64::total_cmp);
    let at = latencies.len() * 95 / 100;
    latencies
        .get(at)
        .copied()
        .ok_or_else(|| "pgbench wrote no latency".to_owned())
}

fn part(quiet: f64, busy: f64) -> Part {
    let text = format!(
        "pgbench of scale {SCALE} asks for {PER_SECOND} transactions a second over four connections, for {SECONDS} s, behind a checkpoint; with and without \
         `pawang backup create --max-rate {RATE}` beside it, {ROUNDS} times in turns. The load, the server and the backup share two \
         processors.\n\n| | p95 ms |\n|---|---:|\n| quiet | {quiet:.2} |\n| during a full backup | {busy:.2} |\n"
    );
    let ratio = busy / quiet.max(0.001);
    Part {
        title: "Backups: what others notice of one",
        text,
        goals: vec![Goal {
            text: "p95 latency at most 1.2 of quiet, with the rate limit on",
            reached: format!("{ratio:.2} of it"),
            met: ratio <= 1.2,
        }],
    }
}
