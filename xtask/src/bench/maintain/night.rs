//! A night of maintenance by the program, and by the server's own tools, each from the same database and beside the same load.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pawang_testbed::{Cluster, Stop, until};
use serde_json::Value;
use tokio::time::sleep;

use super::super::database::{self, DATABASE, Rows};
use super::super::measure::children_cpu_ms;
use super::super::serve::{Goal, Part};
use super::load::{Load, Waits};
use crate::run;

const TABLES: u32 = 500;
const ROWS: Rows = Rows {
    small: 1_000,
    large: 200_000,
};
/// Indexes of a large table, all of them bloated.
const INDEXES: u32 = 3;
/// Each contestant has so many nights, in turns with the others.
const NIGHTS: u32 = 2;
/// The load alone, for comparison.
const ALONE: Duration = Duration::from_secs(5);
/// Two connections, as Pawang has lanes.
const JOBS: &str = "-j2";
const POLICY: &str = "[maintenance.policy.nightly]\nareas = [\"vacuum\", \"analyze\", \"reindex\"]\nlanes = 2\n\
    index = { minimum_size = \"1 MB\" }\n";
/// Tables whose dead rows and changes are counted by now.
const NEGLECTED: &str = "SELECT count(*)::text FROM pg_stat_user_tables \
    WHERE schemaname = 'dwh' AND n_dead_tup > 300 AND n_mod_since_analyze > 300";
/// What a night leaves: dead rows, tables whose statistics are late, and megabytes of indexes.
const LEFT: &str = "SELECT (sum(n_dead_tup) / 1000)::bigint::text, (count(*) FILTER (WHERE n_mod_since_analyze > 300))::text, \
    (sum(pg_indexes_size(relid)) / 1048576)::bigint::text FROM pg_stat_user_tables WHERE schemaname = 'dwh'";

/// Who does the work of a night.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contestant {
    Pawang,
    /// REINDEX CONCURRENTLY, as Pawang does it.
    Gentle,
    /// REINDEX, as manuals do it.
    Plain,
}

const CONTESTANTS: [(Contestant, &str); 3] = [
    (
        Contestant::Pawang,
        "`pawang maintain apply --policy nightly`",
    ),
    (
        Contestant::Gentle,
        "`vacuumdb -j2 --analyze`, then `reindexdb -j2 --concurrently`",
    ),
    (
        Contestant::Plain,
        "`vacuumdb -j2 --analyze`, then `reindexdb -j2`",
    ),
];

/// What one night cost.
#[derive(Clone, Debug, Default)]
struct Night {
    wall: Duration,
    own_cpu_ms: f64,
    server_cpu_ms: f64,
    wal_mb: f64,
    waits: Waits,
    /// As [`LEFT`] tells.
    left: Vec<String>,
}

/// Measures the nights.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    println!("creating {TABLES} tables");
    let aged = aged().await;
    let alone = alone(&aged).await?;
    let mut nights: Vec<Vec<Night>> = vec![Vec::new(); CONTESTANTS.len()];
    for _ in 0..NIGHTS {
        for (index, (contestant, name)) in CONTESTANTS.into_iter().enumerate() {
            let night = night(&aged, contestant, binary).await?;
            println!("{name}: {night:?}");
            nights[index].push(night);
        }
    }
    Ok(part(&nights, alone))
}

/// Returns a stopped server: large tables lost most of their rows long ago, and half of all rows changed today.
async fn aged() -> Cluster {
    let mut cluster = database::start_with(TABLES, &ROWS, &[]).await;
    for table in large() {
        // Without them nobody could tell how many pairs a fresh index of two columns would have.
        let statistics =
            format!("CREATE STATISTICS dwh.s{table} (ndistinct) ON unit, day FROM dwh.t{table}");
        let delete = format!("DELETE FROM dwh.t{table} WHERE id % 10 < 7");
        cluster.sql(DATABASE, &statistics).await;
        cluster.sql(DATABASE, &delete).await;
        let vacuum = format!("VACUUM (ANALYZE) dwh.t{table}");
        cluster.sql(DATABASE, &vacuum).await;
    }
    for table in 1..=TABLES {
        let update = format!("UPDATE dwh.t{table} SET unit = unit + 1 WHERE id % 2 = 0");
        cluster.sql(DATABASE, &update).await;
    }
    until("all changes are counted", async || {
        number(&cluster.sql(DATABASE, NEGLECTED).await[0], 0) >= f64::from(TABLES)
    })
    .await;
    // A night is measured on a server that keeps its promises.
    cluster.set("fsync", Some("on")).await;
    cluster.stop(Stop::Fast).await;
    cluster
}

fn large() -> impl Iterator<Item = u32> {
    (1..=TABLES).filter(|table| database::large(*table))
}

fn number(row: &[Option<String>], column: usize) -> f64 {
    let text = row.get(column).and_then(Option::as_deref);
    text.and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

async fn alone(aged: &Cluster) -> Result<Waits, String> {
    let cluster = aged.duplicate().await;
    let load = Load::start(&cluster, TABLES, ROWS.small).await;
    sleep(ALONE).await;
    load.end().await
}

/// Returns how many bytes of WAL were ever written.
async fn wal(cluster: &Cluster) -> f64 {
    let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::text";
    number(&cluster.sql("postgres", sql).await[0], 0)
}

async fn night(aged: &Cluster, contestant: Contestant, binary: &Path) -> Result<Night, String> {
    let cluster = aged.duplicate().await;
    let commands = match contestant {
        Contestant::Pawang => vec![pawang(&cluster, binary)?],
        Contestant::Gentle => tools(&cluster, &["--concurrently"]),
        Contestant::Plain => tools(&cluster, &[]),
    };
    let load = Load::start(&cluster, TABLES, ROWS.small).await;
    let (wal_before, server_before) = (wal(&cluster).await, children_cpu_ms(cluster.postmaster())?);
    let own_before = children_cpu_ms(std::process::id())?;
    let begin = Instant::now();
    let worked = tokio::task::spawn_blocking(move || work(commands)).await;
    let wall = begin.elapsed();
    let own_cpu_ms = children_cpu_ms(std::process::id())? - own_before;
    // The sessions of the load go on: only those of the contestant have ended.
    until("the contestant's sessions are over", async || {
        let others = "SELECT count(*)::text FROM pg_stat_activity \
            WHERE backend_type = 'client backend' AND application_name <> 'testbed'";
        number(&cluster.sql("postgres", others).await[0], 0) == 0.0
    })
    .await;
    let server_cpu_ms = children_cpu_ms(cluster.postmaster())? - server_before;
    let wal_mb = (wal(&cluster).await - wal_before) / f64::from(1 << 20);
    let waits = load.end().await?;
    let output = worked.map_err(|error| error.to_string())??;
    if contestant == Contestant::Pawang {
        all_done(&output)?;
    }
    let left = cluster.sql(DATABASE, LEFT).await.remove(0);
    Ok(Night {
        wall,
        own_cpu_ms,
        server_cpu_ms,
        wal_mb,
        waits,
        left: left.into_iter().flatten().collect(),
    })
}

fn pawang(cluster: &Cluster, binary: &Path) -> Result<Command, String> {
    let folder = cluster.folder("night");
    let config = format!(
        "state_directory = \"state\"\n[[instance]]\nname = \"dwh-1\"\nurl = \"{}\"\ndatabases = [\"{DATABASE}\"]\n{POLICY}",
        cluster.url(DATABASE)
    );
    std::fs::write(folder.join("pawang.toml"), config)
        .map_err(|error| format!("could not write below {folder:?}: {error}"))?;
    let mut command = run::command(&binary.to_string_lossy());
    let words = [
        "maintain", "apply", "--policy", "nightly", "--yes", "-q", "--json",
    ];
    command.args(words).current_dir(&folder).env("HOME", folder);
    Ok(command)
}

/// Returns the commands of the server's own tools for the same work: all tables, and the indexes of the large ones.
fn tools(cluster: &Cluster, how: &[&str]) -> Vec<Command> {
    let tool = |name: &str| {
        let mut command = Command::new(cluster.bin_directory().join(name));
        command
            .args(["-q", "-U", "postgres", "-d", DATABASE, JOBS, "-h"])
            .arg(cluster.socket_directory())
            .args(["-p", &cluster.port().to_string()]);
        command
    };
    let mut vacuum = tool("vacuumdb");
    vacuum.arg("--analyze");
    let mut reindex = tool("reindexdb");
    reindex.args(how);
    for table in large() {
        reindex.arg(format!("--table=dwh.t{table}"));
    }
    vec![vacuum, reindex]
}

/// Runs one command after the other; returns what the last one wrote.
fn work(commands: Vec<Command>) -> Result<Vec<u8>, String> {
    let mut last = Vec::new();
    for mut command in commands {
        let output = command.stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("could not start {command:?}: {error}"))?;
        if !output.status.success() {
            return Err(format!(
                "{} ended with {}: {}{}",
                run::typed(&command),
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        last = output.stdout;
    }
    Ok(last)
}

/// Refuses a night in which Pawang did less than the tools do.
fn all_done(output: &[u8]) -> Result<(), String> {
    let answer: Value = serde_json::from_slice(output).map_err(|error| error.to_string())?;
    let actions = answer["data"]["plan"]["actions"].as_array();
    let of_kind = |kind: &str| {
        let of_kind = |action: &&Value| action["task"]["kind"] == kind;
        actions.map_or(0, |actions| actions.iter().filter(of_kind).count())
    };
    let wanted = TABLES as usize;
    let indexes = large().count() * INDEXES as usize;
    // Catalogs may be due too, as they are for vacuumdb.
    if of_kind("vacuum") < wanted || of_kind("reindex") < indexes {
        return Err(format!(
            "the plan has {} vacuums of {wanted} and {} indexes of {indexes}",
            of_kind("vacuum"),
            of_kind("reindex")
        ));
    }
    Ok(())
}

fn part(nights: &[Vec<Night>], alone: Waits) -> Part {
    let mut text = format!(
        "{TABLES} tables with three indexes each; half of all rows changed since the last vacuum, and {} large tables had lost 70 % of their \
         {} rows before it, so that all their indexes are bloated. The nightly policy vacuums and analyzes all tables and rebuilds these \
         {} indexes. The tools do the same: `reindexdb` is given these tables by name. Each night begins with a copy of the same data \
         directory; two readers and two writers work on single rows of random tables meanwhile. Means of {NIGHTS} nights in turns, the \
         longest of all.\n\n\
         | | seconds | own CPU s | backend CPU s | WAL MB | longest statement of the load ms | p99 ms | statements over 100 ms | of |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        large().count(),
        ROWS.large,
        large().count() * INDEXES as usize,
    );
    for ((_, name), nights) in CONTESTANTS.iter().zip(nights) {
        let _ = writeln!(
            text,
            "| {name} | {:.1} | {:.1} | {:.1} | {:.0} | {:.0} | {:.0} | {} | {} |",
            mean(nights, |night| night.wall.as_secs_f64()),
            mean(nights, |night| night.own_cpu_ms / 1e3),
            mean(nights, |night| night.server_cpu_ms / 1e3),
            mean(nights, |night| night.wal_mb),
            longest(nights),
            mean(nights, |night| night.waits.p99.as_secs_f64() * 1e3),
            nights
                .iter()
                .map(|night| night.waits.noticed)
                .sum::<usize>(),
            nights
                .iter()
                .map(|night| night.waits.statements)
                .sum::<usize>(),
        );
    }
    let _ = writeln!(
        text,
        "| the load alone, {} s | | | | | {:.0} | {:.0} | {} | {} |\n\n\
         What the last night left:\n\n| | thousand dead rows | tables with late statistics | index MB |\n|---|---:|---:|---:|",
        ALONE.as_secs(),
        alone.longest.as_secs_f64() * 1e3,
        alone.p99.as_secs_f64() * 1e3,
        alone.noticed,
        alone.statements
    );
    for ((_, name), nights) in CONTESTANTS.iter().zip(nights) {
        let left = nights.last().map(|night| night.left.join(" | "));
        let _ = writeln!(text, "| {name} | {} |", left.unwrap_or_default());
    }
    Part {
        title: "`pawang maintain`: a night on 500 tables",
        text,
        goals: goals(nights),
    }
}

fn mean(nights: &[Night], of: impl Fn(&Night) -> f64) -> f64 {
    nights.iter().map(of).sum::<f64>() / nights.len().max(1) as f64
}

/// Returns the longest statement of the load in all nights, in milliseconds.
fn longest(nights: &[Night]) -> f64 {
    let longest = nights.iter().map(|night| night.waits.longest).max();
    longest.unwrap_or_default().as_secs_f64() * 1e3
}

fn goals(nights: &[Vec<Night>]) -> Vec<Goal> {
    let [ours, gentle, plain] = nights else {
        return Vec::new();
    };
    let wall = |nights: &[Night]| mean(nights, |night| night.wall.as_secs_f64());
    let slower = |text, than: &[Night]| Goal {
        text,
        reached: format!("{:.1} s against {:.1} s", wall(ours), wall(than)),
        met: wall(ours) <= wall(than),
    };
    let blocking = |text, than: &[Night]| Goal {
        text,
        reached: format!("{:.0} ms against {:.0} ms", longest(ours), longest(than)),
        met: longest(ours) <= longest(than),
    };
    vec![
        slower(
            "no slower than `vacuumdb` and `reindexdb --concurrently`",
            gentle,
        ),
        blocking(
            "less blocking than `vacuumdb` and `reindexdb --concurrently`",
            gentle,
        ),
        blocking("less blocking than `vacuumdb` and `reindexdb`", plain),
    ]
}
