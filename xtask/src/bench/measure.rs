//! What a run costs: on the clock, in the client's processes, and on the server.

use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use pawang_testbed::{Cluster, until};

use super::database::DATABASE;
use crate::run::typed;

/// The kernel counts processor time of processes in these, whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;
/// How often the memory of a running process is looked at.
const MEMORY_INTERVAL: Duration = Duration::from_millis(1);

/// What some runs cost together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) wall_ms: f64,
    /// User and system time of the processes and of their children.
    pub(super) cpu_ms: f64,
    /// User and system time of the server's backends.
    pub(super) server_cpu_ms: f64,
    /// Planning and execution as pg_stat_statements counts them.
    pub(super) server_ms: f64,
    pub(super) statements: f64,
    pub(super) connections: f64,
}

impl Cost {
    /// Returns the cost of one run.
    pub(super) fn per(self, runs: u32) -> Cost {
        let runs = f64::from(runs);
        Cost {
            wall_ms: self.wall_ms / runs,
            cpu_ms: self.cpu_ms / runs,
            server_cpu_ms: self.server_cpu_ms / runs,
            server_ms: self.server_ms / runs,
            statements: self.statements / runs,
            connections: self.connections / runs,
        }
    }

    pub(super) fn add(&mut self, other: Cost) {
        self.wall_ms += other.wall_ms;
        self.cpu_ms += other.cpu_ms;
        self.server_cpu_ms += other.server_cpu_ms;
        self.server_ms += other.server_ms;
        self.statements += other.statements;
        self.connections += other.connections;
    }
}

/// Runs the commands one after the other; returns their cost and which of them could not tell.
pub(super) async fn cost(
    cluster: &Cluster,
    commands: &mut [Command],
) -> Result<(Cost, Vec<String>), String> {
    // One session for all looks, so that looking opens no connections.
    let observer = cluster.connect(DATABASE).await;
    let number = async |sql: &str| -> Result<f64, String> {
        let row = observer.query_one(sql, &[]).await;
        row.map(|row| row.get(0)).map_err(|error| error.to_string())
    };
    number("SELECT 0::float8 AS of_bench FROM (SELECT pg_stat_statements_reset()) AS done").await?;
    let sessions = "SELECT sum(sessions)::float8 AS of_bench FROM pg_stat_database";
    let sessions_before = number(sessions).await?;
    let server_before = children_cpu_ms(cluster.postmaster())?;
    let own_before = children_cpu_ms(std::process::id())?;
    let begin = Instant::now();
    let mut blind = Vec::new();
    for command in commands.iter_mut() {
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|error| format!("could not start {command:?}: {error}"))?;
        if !matches!(status.code(), Some(0..=2)) {
            blind.push(typed(command));
        }
    }
    let wall_ms = begin.elapsed().as_secs_f64() * 1e3;
    let cpu_ms = children_cpu_ms(std::process::id())? - own_before;
    until("the sessions are over", async || {
        // A session of the bench may hold locks meanwhile: it is idle in its transaction.
        let others = "SELECT count(*)::float8 AS of_bench FROM pg_stat_activity \
                      WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() \
                        AND state IS DISTINCT FROM 'idle in transaction'";
        number(others).await == Ok(0.0)
    })
    .await;
    // Whatever this session asks has that name in it.
    let of_others = |sum: &str| {
        format!(
            "SELECT coalesce(sum({sum}), 0)::float8 AS of_bench FROM pg_stat_statements \
             WHERE query !~ 'of_bench'"
        )
    };
    let cost = Cost {
        wall_ms,
        cpu_ms,
        server_cpu_ms: children_cpu_ms(cluster.postmaster())? - server_before,
        server_ms: number(&of_others("total_exec_time + total_plan_time")).await?,
        statements: number(&of_others("calls")).await?,
        connections: number(sessions).await? - sessions_before,
    };
    Ok((cost, blind))
}

/// Runs a command and returns the most memory that its process had in RAM, in megabytes.
pub(super) fn peak_memory_mb(command: &mut Command) -> Result<f64, String> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("could not start {command:?}: {error}"))?;
    peak_memory_of(child).map(|(_, peak)| peak)
}

/// Waits for a process; returns how it ended and the most memory that it had in RAM, in megabytes.
pub(super) fn peak_memory_of(mut child: Child) -> Result<(ExitStatus, f64), String> {
    let mut peak_kb = 0.0;
    let path = format!("/proc/{}/status", child.id());
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok((status, peak_kb / 1024.0));
        }
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak_kb = now.unwrap_or(0.0_f64).max(peak_kb);
        std::thread::sleep(MEMORY_INTERVAL);
    }
}

/// Returns the processor time, in milliseconds, of all children of a process that have ended, and of theirs.
pub(super) fn children_cpu_ms(process: u32) -> Result<f64, String> {
    let path = format!("/proc/{process}/stat");
    let stat =
        fs::read_to_string(&path).map_err(|error| format!("could not read \"{path}\": {error}"))?;
    // The fields follow the program's name, which may itself contain parentheses and blanks.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
    let times = fields.unwrap_or_default().split(' ').skip(13).take(2);
    let ticks: f64 = times.filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks * 1e3 / TICKS_PER_SECOND)
}
