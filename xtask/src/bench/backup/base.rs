//! Base backups of a 4 GB cluster, a week of increments, and restores of both.

use std::fmt::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::super::measure::children_cpu_ms;
use super::super::program::{Run, once};
use super::stage::{DATABASE, Stage};
use super::{Goal, Part, at_most};
use crate::run;

/// pgbench makes 15.3 MB of each, with a tenth of its pages free.
pub(super) const SCALE: u32 = 240;
/// Everybody takes so many full backups, in turns.
const ROUNDS: usize = 2;
/// Where copies of the data directory are put.
pub(super) const BASE_BACKUP: &str = "basebackup";
const COPY: &str = "copy";
/// And so many increments after it.
const INCREMENTS: usize = 7;
/// Each increment sees a row changed on every sixteenth page, another one than before: its new version has room beside it.
const CHANGE: &str = "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 864 = ";
/// So many rows are on a page.
const ROWS_OF_PAGE: usize = 54;

/// What a command cost, and what it left.
#[derive(Clone, Copy, Debug)]
struct Cost {
    run: Run,
    /// Of the server's backends.
    server_cpu: f64,
    stored_mb: f64,
}

/// All runs of one contestant.
pub(super) struct Row {
    name: &'static str,
    costs: Vec<Cost>,
}

impl Row {
    fn mean(&self, of: impl Fn(&Cost) -> f64) -> f64 {
        self.costs.iter().map(of).sum::<f64>() / self.costs.len().max(1) as f64
    }

    pub(super) fn wall(&self) -> f64 {
        self.mean(|cost| cost.run.wall)
    }

    fn cpu(&self) -> f64 {
        self.mean(|cost| cost.run.cpu)
    }

    fn stored(&self) -> f64 {
        self.mean(|cost| cost.stored_mb)
    }

    pub(super) fn peak(&self) -> f64 {
        self.costs
            .iter()
            .map(|cost| cost.run.peak_mb)
            .fold(0.0, f64::max)
    }
}

/// Measures backups, increments and restores.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    println!("creating 4 GB");
    let stage = Stage::start(binary, SCALE).await?;
    stage.set_up()?;
    stage.set_up_pgbackrest()?;
    let data = stage.cluster.data_directory();
    let wal_mb = super::stage::megabytes(&data.join("pg_wal"))?;
    let data_mb = super::stage::megabytes(data)? - wal_mb;
    let full = fulls(&stage)?;
    let increments = increments(&stage).await?;
    let restores = restores(&stage)?;
    Ok(part(data_mb, &full, &increments, &restores))
}

/// Runs a command whose work is kept below a folder.
fn cost(stage: &Stage, mut command: Command, kept: &str) -> Result<Cost, String> {
    stage.settle()?;
    let stored = |stage: &Stage| match stage.place(kept).exists() {
        true => stage.megabytes(kept),
        false => Ok(0.0),
    };
    let before = stored(stage)?;
    let server_before = children_cpu_ms(stage.cluster.postmaster())?;
    let run = once(&mut command)?;
    Ok(Cost {
        run,
        server_cpu: (children_cpu_ms(stage.cluster.postmaster())? - server_before) / 1e3,
        stored_mb: stored(stage)? - before,
    })
}

/// Someone who takes a full backup: a name, where it is kept, and the command.
pub(super) type Contestant<'a> = (&'static str, &'a str, &'a dyn Fn() -> Command);

/// Lets everybody take full backups in turns.
pub(super) fn in_turns(
    stage: &Stage,
    rounds: usize,
    contestants: &[Contestant<'_>],
) -> Result<Vec<Row>, String> {
    let begun = contestants.iter().map(|(name, ..)| Row {
        name,
        costs: Vec::new(),
    });
    let mut rows: Vec<Row> = begun.collect();
    for _ in 0..rounds {
        for ((name, kept, make), row) in contestants.iter().zip(&mut rows) {
            let cost = cost(stage, make(), kept)?;
            println!("{name}: {cost:?}");
            row.costs.push(cost);
            for folder in [BASE_BACKUP, COPY] {
                stage.remove(folder)?;
            }
        }
    }
    Ok(rows)
}

/// Returns the command of PostgreSQL's own backup.
pub(super) fn base_backup(stage: &Stage) -> Command {
    let mut command = stage.client("pg_basebackup");
    command
        .args(["-c", "fast", "-X", "fetch", "-D"])
        .arg(stage.place(BASE_BACKUP));
    command
}

/// Returns the command of a full backup of ours.
pub(super) fn full(stage: &Stage, how: &[&str]) -> Command {
    let create = ["backup", "create", "--type", "full", "-q", "--mode"];
    stage.pawang(&[&create[..], how].concat())
}

fn fulls(stage: &Stage) -> Result<Vec<Row>, String> {
    let copy = || {
        let mut command = Command::new("cp");
        command
            .arg("-a")
            .args([stage.cluster.data_directory(), &stage.place(COPY)]);
        command
    };
    let contestants: [Contestant<'_>; 5] = [
        (
            "`pgbackrest backup --type=full`, process-max=2",
            "pgbackrest",
            &|| stage.pgbackrest(&["--type=full", "backup"]),
        ),
        ("`pawang backup create --mode local`", "pawang", &|| {
            full(stage, &["local"])
        }),
        ("`pawang backup create --mode protocol`", "pawang", &|| {
            full(stage, &["protocol"])
        }),
        ("`pg_basebackup`, nothing compressed", BASE_BACKUP, &|| {
            base_backup(stage)
        }),
        ("`cp -a`, nothing compressed or checked", COPY, &copy),
    ];
    in_turns(stage, ROUNDS, &contestants)
}

async fn increments(stage: &Stage) -> Result<Vec<Row>, String> {
    let mut rows = [
        "`pgbackrest backup --type=incr`",
        "`pawang backup create --type incremental --mode local`",
    ]
    .map(|name| Row {
        name,
        costs: Vec::new(),
    });
    let ours = [
        "backup",
        "create",
        "--type",
        "incremental",
        "--mode",
        "local",
        "-q",
    ];
    for number in 0..INCREMENTS {
        let change = format!("{CHANGE}{}", number * ROWS_OF_PAGE + 1);
        stage.cluster.sql(DATABASE, &change).await;
        stage.cluster.sql(DATABASE, "CHECKPOINT").await;
        for row in &mut rows {
            let cost = match row.name.contains("pgbackrest") {
                true => cost(
                    stage,
                    stage.pgbackrest(&["--type=incr", "backup"]),
                    "pgbackrest",
                )?,
                false => cost(stage, stage.pawang(&ours), "pawang")?,
            };
            println!("{}: {cost:?}", row.name);
            row.costs.push(cost);
        }
    }
    Ok(rows.into())
}

/// Returns the names of the newest full backup, and of the last one of all, as each tool has them.
fn names(stage: &Stage) -> Result<[[String; 2]; 2], String> {
    let json = |command: &mut Command| -> Result<Value, String> {
        serde_json::from_str(&run::quiet(command)?).map_err(|error| error.to_string())
    };
    let theirs = json(&mut stage.pgbackrest(&["info", "--output=json"]))?;
    let theirs = &theirs[0]["backup"];
    let ours = json(&mut stage.pawang(&["backup", "list", "--json"]))?;
    let ours = &ours["data"][0]["repositories"][0]["survey"]["Ok"]["backups"];
    let pick = |backups: &Value, name: &str, kind: &str| -> Result<[String; 2], String> {
        let backups = backups
            .as_array()
            .ok_or_else(|| format!("no backups in {backups}"))?;
        let mut named: Vec<(&str, bool)> = backups
            .iter()
            .filter_map(|it| Some((it[name].as_str()?, it[kind] == "full")))
            .collect();
        named.sort_unstable();
        let full = named.iter().rev().find(|(_, full)| *full);
        let last = named.last();
        match (full, last) {
            (Some((full, _)), Some((last, _))) => Ok([(*full).to_owned(), (*last).to_owned()]),
            _ => Err("there is no backup".to_owned()),
        }
    };
    Ok([pick(theirs, "label", "type")?, pick(ours, "id", "kind")?])
}

fn restores(stage: &Stage) -> Result<Vec<Row>, String> {
    let [theirs, ours] = names(stage)?;
    let into = stage.place("restored").display().to_string();
    let pgbackrest = |name: &str| {
        let (path, set) = (format!("--pg1-path={into}"), format!("--set={name}"));
        stage.pgbackrest(&[&path, &set, "--type=immediate", "restore"])
    };
    let pawang = |name: &str| {
        stage.pawang(&[
            "restore",
            "--into",
            &into,
            "--backup",
            name,
            "--to",
            "immediate",
            "-q",
        ])
    };
    let contestants: [(&str, &dyn Fn() -> Command); 4] = [
        (
            "`pgbackrest restore` of a full backup, process-max=2",
            &|| pgbackrest(&theirs[0]),
        ),
        ("`pgbackrest restore` of the seventh increment", &|| {
            pgbackrest(&theirs[1])
        }),
        ("`pawang restore` of a full backup", &|| pawang(&ours[0])),
        ("`pawang restore` of the seventh increment", &|| {
            pawang(&ours[1])
        }),
    ];
    let mut rows: Vec<Row> = Vec::new();
    for round in 0..ROUNDS {
        for (at, (name, make)) in contestants.iter().enumerate() {
            stage.remove("restored")?;
            // pgBackRest wants the directory to be there, as a server would have made it.
            std::fs::DirBuilder::new()
                .mode(0o700)
                .create(&into)
                .map_err(|error| format!("could not create {into}: {error}"))?;
            let cost = cost(stage, make(), "restored")?;
            println!("{name}: {cost:?}");
            if round == 0 {
                rows.push(Row {
                    name,
                    costs: Vec::new(),
                });
            }
            rows[at].costs.push(cost);
        }
    }
    stage.remove("restored")?;
    Ok(rows)
}

fn part(data_mb: f64, full: &[Row], increments: &[Row], restores: &[Row]) -> Part {
    let mut text = format!(
        "{data_mb:.0} MB of pgbench (scale {SCALE}, fillfactor 90), with data checksums, beside its WAL, which only `cp` copies; both tools \
         compress by zstd-1 and verify the checksum of every page. Means of {ROUNDS} full backups in turns, of {INCREMENTS} increments, \
         before each of which a row of every sixteenth page was changed, and of {ROUNDS} restores in turns. Memory is the most that the \
         command's first process had; what a tool's other processes take comes on top.\n\n\
         What a chain costs more than a full backup: a page changes with its row, and again when the next change cleans it up, so the \
         increments hold about 2.8 GB, of which 1.7 GB are the newest of their pages. They are decompressed on top of the full backup, \
         and their pages are written one by one, eight kB at a time, into files that several of them share.\n\n"
    );
    for (title, rows) in [
        ("full backup", full),
        ("increment", increments),
        ("restore", restores),
    ] {
        table(title, rows, &mut text);
    }
    Part {
        title: "Backups: 4 GB, seven increments, and restores",
        text,
        goals: goals(full, increments, restores),
    }
}

/// Writes what everybody's runs cost.
pub(super) fn table(title: &str, rows: &[Row], text: &mut String) {
    let _ = write!(
        text,
        "| {title} | seconds | own CPU s | backend CPU s | peak MB | MB written |\n|---|---:|---:|---:|---:|---:|\n"
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.1} | {:.1} | {:.0} | {:.0} |",
            row.name,
            row.wall(),
            row.cpu(),
            row.mean(|cost| cost.server_cpu),
            row.peak(),
            row.stored()
        );
    }
    text.push('\n');
}

fn goals(full: &[Row], increments: &[Row], restores: &[Row]) -> Vec<Goal> {
    let (peer, local, protocol) = (&full[0], &full[1], &full[2]);
    let (one, seven) = (&restores[2], &restores[3]);
    vec![
        at_most(
            "full backup, local: at most 0.55 of pgBackRest's time",
            local.wall() / peer.wall(),
            0.55,
            "of it",
        ),
        at_most("full backup, local: at most 9 CPU s", local.cpu(), 9.0, "s"),
        at_most(
            "full backup: at most 40 MB resident",
            local.peak().max(protocol.peak()),
            40.0,
            "MB",
        ),
        at_most(
            "full backup, protocol: at most 18 s",
            protocol.wall(),
            18.0,
            "s",
        ),
        at_most(
            "increment, 6 % of the pages: at most 33 MB",
            increments[1].stored(),
            33.0,
            "MB",
        ),
        at_most(
            "increment: at most 2.6 CPU s",
            increments[1].cpu(),
            2.6,
            "s",
        ),
        at_most("restore: at most 14 s", one.wall(), 14.0, "s"),
        at_most(
            "restore of seven increments: at most 1.15 of a full one",
            seven.wall() / one.wall(),
            1.15,
            "of it",
        ),
    ]
}
