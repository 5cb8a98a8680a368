//! `cargo xtask bench check`: what one look at a server costs, beside the tools that Debian packages.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::measure::{Cost, cost, peak_memory_mb};
use super::others::{TOOLS, Tool};
use super::{database, page};
use crate::run;
use crate::system::{Need, provide};
use crate::test::build_release;

/// Runs of Pawang in each round; the others take long enough for one to be exact.
const RUNS: u32 = 10;

/// What the runs under locks are called.
const LOCKED: &str = "pawang check while ACCESS EXCLUSIVE is held on every table";
/// How much longer a run may take under locks.
const LOCKED_MAX: f64 = 1.2;
/// How many collectors are told by name.
const COSTLIEST: usize = 10;
/// "postgres" and the one that is measured.
const DATABASES: f64 = 2.0;

/// One database and how often it is measured.
struct Scale {
    title: &'static str,
    command: &'static str,
    tables: u32,
    rounds: u32,
}

const USUAL: Scale = Scale {
    title: "`pawang check`: 500 tables, 1,500 indexes",
    command: "cargo xtask bench check",
    tables: 500,
    rounds: 4,
};
const LARGE: Scale = Scale {
    title: "`pawang check`: 10,000 tables, 30,000 indexes",
    command: "cargo xtask bench check --large",
    tables: 10_000,
    rounds: 1,
};

/// What was measured of one tool.
struct Measured {
    name: String,
    cost: Cost,
    memory_mb: f64,
}

/// A figure that is to be reached, and what was reached.
struct Goal {
    text: &'static str,
    reached: String,
    met: bool,
}

/// Measures, prints and writes the table.
pub(crate) fn run(large: bool) -> Result<(), String> {
    let scale = if large { LARGE } else { USUAL };
    provide(&[Need::Server])?;
    let binary = build_release()?;
    let begin = Instant::now();
    let (measured, version) = run::runtime()?.block_on(measure(&scale, &binary))?;
    let release = run::quiet(Command::new(&binary).arg("--version"))?;
    let mut section = format!(
        "`{}`: {}. {} rounds; in each round Pawang runs {RUNS} times and every other tool once, one process after the \
         other. Means of one run; Pawang connects as a member of pg_monitor, the others as superuser.\n\n",
        scale.command,
        page::circumstances(&version, release.trim()),
        scale.rounds
    );
    section.push_str(&table(&measured));
    section.push_str("\n| goal | reached | |\n|---|---|---|\n");
    for goal in goals(&scale, &measured) {
        let met = if goal.met { "met" } else { "missed" };
        let _ = writeln!(section, "| {} | {} | {met} |", goal.text, goal.reached);
    }
    println!("\n{section}\n({:.0} s)", begin.elapsed().as_secs_f64());
    page::write(scale.title, &section)
}

async fn measure(scale: &Scale, binary: &Path) -> Result<(Vec<Measured>, String), String> {
    println!("\ncreating {} tables", scale.tables);
    let cluster = database::start(scale.tables).await;
    cluster.folder("home/pawang");
    let folder = cluster.folder("home");
    let rows = cluster.sql("postgres", "SHOW server_version").await;
    let version = rows[0][0].clone().unwrap_or_default();
    let pawang = || {
        let mut command = Command::new(binary);
        let url = cluster.url_as("monitor", database::DATABASE);
        command.args(["check", &url]).current_dir(&folder);
        for variable in ["HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
            command.env(variable, &folder);
        }
        command
    };
    let tools: Vec<&Tool> = TOOLS.iter().filter(|tool| tool.installed()).collect();
    // The first run of each finds cold caches and no earlier sample.
    cost(&cluster, &mut [pawang()]).await?;
    let mut ours = Cost::default();
    let mut locked = Cost::default();
    let mut theirs: Vec<(Cost, Vec<String>)> = vec![(Cost::default(), Vec::new()); tools.len()];
    for round in 1..=scale.rounds {
        println!("round {round} of {}", scale.rounds);
        // In turns, so that a machine that changes its speed changes it for both.
        for _ in 0..RUNS {
            ours.add(cost(&cluster, &mut [pawang()]).await?.0);
            let holder = cluster.hold(database::DATABASE, database::LOCK_ALL).await;
            locked.add(cost(&cluster, &mut [pawang()]).await?.0);
            drop(holder);
        }
        for (tool, sum) in tools.iter().zip(&mut theirs) {
            let (cost, blind) = cost(&cluster, &mut tool.commands(&cluster, &folder)).await?;
            sum.0.add(cost);
            sum.1 = blind;
        }
    }
    let mut measured = vec![Measured {
        name: answer(&mut pawang())?,
        cost: ours.per(RUNS * scale.rounds),
        memory_mb: peak_memory_mb(&mut pawang())?,
    }];
    measured.push(Measured {
        name: LOCKED.to_owned(),
        cost: locked.per(RUNS * scale.rounds),
        memory_mb: measured[0].memory_mb,
    });
    for (tool, (cost, blind)) in tools.iter().zip(theirs) {
        let mut commands = tool.commands(&cluster, &folder);
        let mut memory_mb = 0.0_f64;
        for command in &mut commands {
            memory_mb = memory_mb.max(peak_memory_mb(command)?);
        }
        for command in &blind {
            println!("could not tell: {command}");
        }
        let unknown = match blind.len() {
            0 => String::new(),
            count => format!(", {count} could not tell"),
        };
        measured.push(Measured {
            name: format!("{} ({} {}{unknown})", tool.name, commands.len(), tool.noun),
            cost: cost.per(scale.rounds),
            memory_mb,
        });
    }
    Ok((measured, version))
}

/// Looks at one answer, so that nobody measures how fast an error is; returns what it is called in the table.
fn answer(pawang: &mut Command) -> Result<String, String> {
    let output = pawang
        .arg("--json")
        .output()
        .map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("the answer is not JSON: {error}"))?;
    let verdicts = answer["data"][0]["verdicts"].as_array();
    let count = |outcome: &str| {
        let verdicts = verdicts.into_iter().flatten();
        verdicts
            .filter(|verdict| verdict["outcome"] == outcome)
            .count()
    };
    let costs = answer["data"][0]["costs"].as_object();
    let mut costs: Vec<(f64, &str)> = costs
        .into_iter()
        .flatten()
        .map(|(name, cost)| {
            let part = |unit: &str| cost["elapsed"][unit].as_f64().unwrap_or(0.0);
            (part("secs") * 1e3 + part("nanos") / 1e6, name.as_str())
        })
        .collect();
    costs.sort_by(|one, other| other.0.total_cmp(&one.0));
    println!("costliest collectors of one run, on the clock:");
    for (elapsed_ms, name) in costs.iter().take(COSTLIEST) {
        println!("{elapsed_ms:8.1} ms  {name}");
    }
    match (count("judged"), count("unknown"), count("not-applicable")) {
        (0, ..) => Err("the server was not judged".to_owned()),
        (judged, unknown, other) => Ok(format!(
            "pawang check ({} checks, {unknown} could not tell, {other} do not apply)",
            judged + unknown + other
        )),
    }
}

fn table(measured: &[Measured]) -> String {
    let mut text = "| | wall ms | own CPU ms | peak MB | statements | connections | statement ms | backend CPU ms |\n\
                    |---|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for Measured {
        name,
        cost,
        memory_mb,
    } in measured
    {
        let _ = writeln!(
            text,
            "| {name} | {:.0} | {:.0} | {memory_mb:.0} | {:.0} | {:.1} | {:.0} | {:.0} |",
            cost.wall_ms,
            cost.cpu_ms,
            cost.statements,
            cost.connections,
            cost.server_ms,
            cost.server_cpu_ms
        );
    }
    let ours = &measured[0].cost;
    for Measured { name, cost, .. } in &measured[1..] {
        let times = |theirs: f64, ours: f64| format!("{:.1}x", theirs / ours.max(f64::EPSILON));
        let _ = writeln!(
            text,
            "| {name} / pawang | {} | {} | | {} | {} | {} | {} |",
            times(cost.wall_ms, ours.wall_ms),
            times(cost.cpu_ms, ours.cpu_ms),
            times(cost.statements, ours.statements),
            times(cost.connections, ours.connections),
            times(cost.server_ms, ours.server_ms),
            times(cost.server_cpu_ms, ours.server_cpu_ms),
        );
    }
    text
}

fn goals(scale: &Scale, measured: &[Measured]) -> Vec<Goal> {
    let ours = &measured[0];
    let mut goals = vec![Goal {
        text: "one connection, and one per further database (there is one)",
        reached: format!("{:.1}", ours.cost.connections),
        met: ours.cost.connections <= DATABASES,
    }];
    if let Some(locked) = measured.iter().find(|tool| tool.name == LOCKED) {
        let times = locked.cost.wall_ms / ours.cost.wall_ms;
        goals.push(Goal {
            text: "normal time + 20 % while every table is locked",
            reached: format!("{times:.2} of it"),
            met: times <= LOCKED_MAX,
        });
    }
    let other = measured
        .iter()
        .find(|tool| tool.name.starts_with("check_postgres"));
    if let Some(other) = other.filter(|_| scale.tables == USUAL.tables) {
        let wall = other.cost.wall_ms / ours.cost.wall_ms;
        let cpu = other.cost.cpu_ms / ours.cost.cpu_ms;
        goals.push(Goal {
            text: "20 times less wall time than check_postgres",
            reached: format!("{wall:.1}"),
            met: wall >= 20.0,
        });
        goals.push(Goal {
            text: "30 times less own CPU than check_postgres",
            reached: format!("{cpu:.1}"),
            met: cpu >= 30.0,
        });
    }
    if scale.tables == LARGE.tables {
        for (text, value, limit) in [
            ("at most 400 ms of server time", ours.cost.server_ms, 400.0),
            ("at most 100 ms of own CPU", ours.cost.cpu_ms, 100.0),
            ("at most 60 MB resident", ours.memory_mb, 60.0),
        ] {
            goals.push(Goal {
                text,
                reached: format!("{value:.0}"),
                met: value <= limit,
            });
        }
    }
    goals
}
