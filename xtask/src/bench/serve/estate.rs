//! One instance and a hundred: what the daemon costs, and how fast its pages are under load.

use std::path::Path;
use std::time::Duration;

use super::daemon::Daemon;
use super::{Goal, Part};
use crate::bench::{database, http};

const TABLES: u32 = 500;
const MANY: usize = 100;
/// How long a daemon is watched.
const WATCH: Duration = Duration::from_secs(60);
const CLIENTS: usize = 50;
const QUESTIONS: usize = 40;
const PAGES: [(&str, &str); 8] = [
    ("Fleet", "/"),
    ("Instance", "/instances/dwh-1"),
    ("Activity", "/instances/dwh-1/activity"),
    ("Queries", "/instances/dwh-1/queries"),
    ("Tables", "/instances/dwh-1/tables"),
    ("Storage", "/instances/dwh-1/storage"),
    ("Settings", "/instances/dwh-1/settings"),
    ("Setup", "/instances/dwh-1/setup"),
];

/// What was measured.
struct Measured {
    one: (f64, f64),
    many: (f64, f64),
    /// What observing costs the server, in percent of one core.
    budget: f64,
    /// The slowest p99 of all pages.
    worst: Duration,
    /// Bytes of the Instance page over the wire.
    instance_bytes: usize,
    /// The table of pages.
    pages: String,
}

/// Measures both estates.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    println!("\ncreating {TABLES} tables");
    let cluster = database::start(TABLES).await;
    let folder = cluster.folder("home");
    let url = cluster.url_as("monitor", database::DATABASE);
    println!("one instance");
    let daemon = Daemon::start(binary, &folder, &url, 1)?;
    let one = daemon.watch(WATCH)?;
    let mut measured = Measured {
        one,
        many: (0.0, 0.0),
        budget: budget(&daemon)?,
        worst: Duration::ZERO,
        instance_bytes: 0,
        pages: String::new(),
    };
    for (name, path) in PAGES {
        load(&daemon, name, path, &mut measured)?;
    }
    daemon.process.end()?;
    println!("{MANY} instances");
    let daemon = Daemon::start(binary, &folder, &url, MANY)?;
    measured.many = daemon.watch(WATCH)?;
    daemon.process.end()?;
    Ok(part(&measured))
}

/// Asks for one page from many clients.
fn load(daemon: &Daemon, name: &str, path: &str, measured: &mut Measured) -> Result<(), String> {
    let packed = http::get(daemon.address, path, true)?;
    let plain = http::get(daemon.address, path, false)?;
    if plain.status != 200 {
        return Err(format!("page {path} answered {}", plain.status));
    }
    let times = http::load(daemon.address, path, CLIENTS, QUESTIONS)?;
    let (p50, p99) = (http::percentile(&times, 50), http::percentile(&times, 99));
    measured.worst = measured.worst.max(p99);
    if name == "Instance" {
        measured.instance_bytes = packed.bytes;
    }
    measured.pages.push_str(&format!(
        "| {name} | {} | {} | {:.1} | {:.1} |\n",
        packed.bytes,
        plain.bytes,
        p50.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3
    ));
    Ok(())
}

fn part(measured: &Measured) -> Part {
    let Measured {
        one: (one_cpu, one_memory),
        many: (many_cpu, many_memory),
        budget,
        ..
    } = *measured;
    let text = format!(
        "{CLIENTS} clients ask for each page {QUESTIONS} times, a new connection each time and all at once, while the \
         daemon observes a database of {TABLES} tables and {} indexes on the same two cores. Then the same server is \
         observed under {MANY} names.\n\n\
         | page | bytes, gzip | bytes | p50 ms | p99 ms |\n|---|---:|---:|---:|---:|\n{}\n\
         | daemon | share of one core | memory MB |\n|---|---:|---:|\n\
         | 1 instance | {:.1} % | {one_memory:.0} |\n| {MANY} instances | {:.1} % | {many_memory:.0} |\n\n\
         Observing one instance uses {budget:.2} % of one core of its server, by the daemon's own measure.\n",
        TABLES * 3,
        measured.pages,
        one_cpu * 1e2,
        many_cpu * 1e2
    );
    let milliseconds = measured.worst.as_secs_f64() * 1e3;
    let bytes = measured.instance_bytes;
    let goal = |text, reached, met| Goal { text, reached, met };
    Part {
        title: "`pawang serve`: one instance, a hundred, and the pages under load",
        text,
        goals: vec![
            goal(
                "one instance: at most 40 MB",
                format!("{one_memory:.0} MB"),
                one_memory <= 40.0,
            ),
            goal(
                "100 instances: at most 250 MB",
                format!("{many_memory:.0} MB"),
                many_memory <= 250.0,
            ),
            goal(
                "100 instances: at most one core",
                format!("{many_cpu:.2} cores"),
                many_cpu <= 1.0,
            ),
            goal(
                "p99 of a page under 50 ms with 50 clients",
                format!("{milliseconds:.1} ms"),
                milliseconds < 50.0,
            ),
            goal(
                "Instance page at most 150 KB over the wire",
                format!("{} KB", bytes / 1000),
                bytes <= 150_000,
            ),
            goal(
                "at most 0.5 % of one core of the server",
                format!("{budget:.2} %"),
                budget <= 0.5,
            ),
        ],
    }
}

/// Returns what observing costs the server, in percent of one core.
fn budget(daemon: &Daemon) -> Result<f64, String> {
    let answer = daemon.json("/api/v1/instances/dwh-1")?;
    let found = answer["budget-used-percent"].as_f64();
    found.ok_or_else(|| format!("no budget in {answer}"))
}
