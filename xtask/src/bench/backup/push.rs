//! WAL through `archive_command`: a server's archiver, played one file at a time, beside pgBackRest with and without its queue.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use pawang_testbed::Stop;
use rustix::process::WaitOptions;

use super::super::measure::children_cpu_ms;
use super::stage::{DATABASE, Stage};
use super::{Goal, Part, at_most};
use crate::run;

/// Files that wait, of 16 MB.
const SEGMENTS: usize = 64;
/// Scale of the load, which writes more than that.
const LOADED: &str = "100";
/// How long the queue of a tool that works in the background may take to be empty.
const LATE_MAX: Duration = Duration::from_secs(120);

/// Ends when no background process of pgBackRest is left.
const QUEUE_WORKS: &str = "while pgrep -f [a]rchive-push:async >/dev/null; do sleep 0.05; done";

/// What it took until all files were archived.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: f64,
    cpu: f64,
    stored_mb: f64,
}

/// Measures how fast what waits is archived.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    let mut stage = Stage::start(binary, 0).await?;
    stage.set_up()?;
    stage.set_up_pgbackrest()?;
    write_wal(&stage).await?;
    stage.cluster.stop(Stop::Fast).await;
    let waiting = waiting(&stage)?;
    let mut costs = Vec::new();
    for (name, queue) in [
        ("`pgbackrest archive-push`", "n"),
        (
            "`pgbackrest archive-push`, archive-async=y, process-max=2",
            "y",
        ),
    ] {
        let command = |file: &str| {
            stage.pgbackrest(&[&format!("--archive-async={queue}"), "archive-push", file])
        };
        let cost = archive(&stage, &waiting, "pgbackrest/archive", command)?;
        println!("{name}: {cost:?}");
        costs.push((name, cost));
        stage.remove("pgbackrest/archive/main/15-1")?;
        stage.remove("spool")?;
    }
    let name = "`pawang wal push`";
    let data = stage.cluster.data_directory().to_owned();
    let config = stage.place("pawang.toml").display().to_string();
    let command = |file: &str| {
        let mut command = stage.pawang(&["wal", "push", "--config", &config, "-i", "dwh-1", file]);
        command.current_dir(&data);
        command
    };
    let cost = archive(&stage, &waiting, "pawang", command)?;
    println!("{name}: {cost:?}");
    costs.push((name, cost));
    Ok(part(&costs))
}

/// Writes WAL as warehouses do: a load, then single transactions.
async fn write_wal(stage: &Stage) -> Result<(), String> {
    stage.cluster.set("wal_keep_size", Some("4GB")).await;
    for words in [
        &["-i", "-q", "-s", LOADED][..],
        &["-n", "-c", "4", "-t", "5000"],
    ] {
        run::quiet(stage.client("pgbench").args(words).arg(DATABASE))?;
    }
    Ok(())
}

/// Returns the files that wait, as the server would name them: the last ones, so that no file was made ahead.
fn waiting(stage: &Stage) -> Result<Vec<String>, String> {
    let folder = stage.cluster.data_directory().join("pg_wal");
    let control = run::quiet(
        Command::new(stage.cluster.bin_directory().join("pg_controldata"))
            .arg(stage.cluster.data_directory()),
    )?;
    let line = control.lines().find(|line| line.contains("REDO WAL file"));
    let last = line
        .and_then(|line| line.rsplit(' ').next())
        .ok_or("pg_controldata told no WAL file")?;
    let entries = fs::read_dir(&folder).map_err(|error| error.to_string())?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| name.len() == 24 && name.as_str() < last)
        .collect();
    names.sort_unstable();
    let names = names.split_off(names.len().saturating_sub(SEGMENTS));
    if names.len() < SEGMENTS {
        return Err(format!("only {} files wait", names.len()));
    }
    Ok(names)
}

/// Plays the server's archiver: a file after the other, each of which is done when its command has ended well.
fn archive(
    stage: &Stage,
    waiting: &[String],
    kept: &str,
    command: impl Fn(&str) -> Command,
) -> Result<Cost, String> {
    let folder: PathBuf = stage.cluster.data_directory().join("pg_wal/archive_status");
    for name in waiting {
        for old in ["ready", "done"] {
            let _ = fs::remove_file(folder.join(format!("{name}.{old}")));
        }
        fs::write(folder.join(format!("{name}.ready")), "").map_err(|error| error.to_string())?;
    }
    stage.settle()?;
    // What works in the background leaves its parent: it becomes a child of this process, and its time is counted here.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| error.to_string())?;
    let before = children_cpu_ms(std::process::id())?;
    let stored_before = stage.megabytes(kept)?;
    let begin = Instant::now();
    for name in waiting {
        let mut command = command(&format!("pg_wal/{name}"));
        command.current_dir(stage.cluster.data_directory());
        while let Err(error) = run::quiet(&mut command) {
            // The server tries again too.
            if begin.elapsed() > LATE_MAX {
                return Err(error);
            }
        }
        let status = |end: &str| folder.join(format!("{name}.{end}"));
        fs::rename(status("ready"), status("done")).map_err(|error| error.to_string())?;
    }
    let wall = begin.elapsed().as_secs_f64();
    run::quiet(Command::new("sh").args(["-c", QUEUE_WORKS]))?;
    while let Ok(Some(_)) = rustix::process::waitpid(None, WaitOptions::NOHANG) {}
    Ok(Cost {
        wall,
        cpu: (children_cpu_ms(std::process::id())? - before) / 1e3,
        stored_mb: stage.megabytes(kept)? - stored_before,
    })
}

fn part(costs: &[(&str, Cost)]) -> Part {
    let gigabytes = SEGMENTS as f64 * 16.0 * 1.048_576 / 1e3;
    let mut text = format!(
        "{SEGMENTS} segments of 16 MB, written by a load and by transactions of pgbench with wal_compression, wait in pg_wal, and the server is stopped; a program plays its \
         archiver, which starts one command for each file. Until the last command has ended well: durable in the repository for Pawang \
         and for pgBackRest; both compress by zstd-1.\n\n\
         | | seconds | MB/s | CPU s per GB | MB stored |\n|---|---:|---:|---:|---:|\n"
    );
    for (name, cost) in costs {
        let _ = writeln!(
            text,
            "| {name} | {:.1} | {:.0} | {:.1} | {:.0} |",
            cost.wall,
            gigabytes * 1e3 / cost.wall,
            cost.cpu / gigabytes,
            cost.stored_mb
        );
    }
    let ours = costs.last().map(|(_, cost)| *cost);
    let rate = ours.map_or(0.0, |cost| gigabytes * 1e3 / cost.wall);
    let cpu = ours.map_or(f64::MAX, |cost| cost.cpu / gigabytes);
    Part {
        title: "WAL: pushed by the archiver",
        text,
        goals: vec![
            Goal {
                text: "at least 300 MB/s",
                reached: format!("{rate:.0} MB/s"),
                met: rate >= 300.0,
            },
            at_most("at most 2 CPU s per GB", cpu, 2.0, "s"),
        ],
    }
}
