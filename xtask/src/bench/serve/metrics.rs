//! `/metrics` of 10,000 tables, beside Debian's prometheus-postgres-exporter.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::daemon::Daemon;
use super::{Goal, Part};
use crate::bench::process::Process;
use crate::bench::{database, http};

const TABLES: u32 = 10_000;
const SCRAPES: u32 = 10;
const EXPORTER: &str = "prometheus-postgres-exporter";
const QUERIES: &str = "/usr/share/doc/prometheus-postgres-exporter/examples/queries.yaml";
const READY_MAX: Duration = Duration::from_secs(60);

/// What one scrape costs.
struct Scrape {
    wall_ms: f64,
    cpu_ms: f64,
    memory_mb: f64,
    bytes: usize,
    series: usize,
}

/// Measures both exporters on the same server.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    println!("\ncreating {TABLES} tables");
    let cluster = database::start(TABLES).await;
    let folder = cluster.folder("home");
    let daemon = Daemon::start(
        binary,
        &folder,
        &cluster.url_as("monitor", database::DATABASE),
        1,
    )?;
    let idle = daemon.watch(Duration::from_secs(30))?.0;
    let ours = scrapes(daemon.address, &daemon.process, idle)?;
    daemon.process.end()?;
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = listener.map_err(|error| error.to_string())?;
    let mut command = Command::new(EXPORTER);
    command
        .arg(format!("--web.listen-address={address}"))
        .arg(format!("--extend.query-path={QUERIES}"))
        .env("DATA_SOURCE_NAME", cluster.url(database::DATABASE));
    let exporter = Process::start(&mut command)?;
    let begin = Instant::now();
    while http::get(address, "/", false).is_err() && begin.elapsed() < READY_MAX {
        std::thread::sleep(Duration::from_millis(50));
    }
    let theirs = scrapes(address, &exporter, 0.0)?;
    exporter.end()?;
    let line = |name: &str, scrape: &Scrape| {
        format!(
            "| {name} | {:.0} | {:.0} | {:.0} | {} | {:.1} |\n",
            scrape.wall_ms,
            scrape.cpu_ms,
            scrape.memory_mb,
            scrape.series,
            scrape.bytes as f64 / 1e6
        )
    };
    let text = format!(
        "{TABLES} tables, {} indexes; means of {SCRAPES} scrapes. Pawang answers from its last snapshot: the time that \
         observing took meanwhile ({:.1} % of one core) is not counted. The exporter runs with the queries that it is \
         packaged with.\n\n\
         | `/metrics` | wall ms | own CPU ms | memory MB | series | MB |\n|---|---:|---:|---:|---:|---:|\n{}{}",
        TABLES * 3,
        idle * 1e2,
        line("pawang serve", &ours),
        line(EXPORTER, &theirs)
    );
    let goal = |text, reached, met| Goal { text, reached, met };
    Ok(Part {
        title: "`pawang serve`: `/metrics` of 10,000 tables",
        text,
        goals: vec![
            goal(
                "at most 100 ms of CPU",
                format!("{:.0} ms", ours.cpu_ms),
                ours.cpu_ms <= 100.0,
            ),
            goal(
                "at most 60 MB",
                format!("{:.0} MB", ours.memory_mb),
                ours.memory_mb <= 60.0,
            ),
        ],
    })
}

/// Scrapes several times; `idle` is the share of one core that the program uses anyway.
fn scrapes(address: SocketAddr, process: &Process, idle: f64) -> Result<Scrape, String> {
    let first = http::get(address, "/metrics", false)?;
    if first.status != 200 {
        return Err(format!("{address}/metrics answered {}", first.status));
    }
    let before = process.cpu_seconds()?;
    let begin = Instant::now();
    for _ in 0..SCRAPES {
        http::get(address, "/metrics", false)?;
    }
    let wall = begin.elapsed().as_secs_f64();
    let cpu = process.cpu_seconds()? - before - idle * wall;
    let text = String::from_utf8_lossy(&first.body);
    let series = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(Scrape {
        wall_ms: wall * 1e3 / f64::from(SCRAPES),
        cpu_ms: cpu.max(0.0) * 1e3 / f64::from(SCRAPES),
        memory_mb: process.memory_mb()?.0,
        bytes: first.bytes,
        series: series.count(),
    })
}
