//! Measures what observing costs a server: `cargo run --example budget -p pawang-collect -- [tables]`.
//!
//! It observes a server of its own with so many tables (500 when not said) by one collector at a time, and prints the
//! CPU time that the server's process took per run, what that is of one core at the collector's interval, and what
//! the schedule makes of it. The time that the machine is busy with something else does not count.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a program of its own for whoever develops Pawang"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pawang_collect::schedule::Schedule;
use pawang_collect::{Catalog, HostRequest, Observer, Request, Scope, activity};
use pawang_core::{Facts, Instance, Snapshot, Timestamp};
use pawang_postgres::{Environment, Target};
use pawang_testbed::{Cluster, Setup};

/// Runs of each collector.
const RUNS: u32 = 5;
const SAMPLES: u32 = 200;
const BUDGET_PERCENT: f64 = 0.5;

/// An observer whose process on the server is known.
struct Bench {
    observer: Observer,
    target: Target,
    catalog: Catalog,
    process: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let tables = std::env::args().nth(1);
    let tables: u32 = tables.map_or(500, |text| text.parse().unwrap());
    let cluster = Cluster::start(&Setup {
        settings: &[
            ("shared_preload_libraries", "pg_stat_statements"),
            ("max_locks_per_transaction", "1024"),
            ("fsync", "off"),
            ("autovacuum", "off"),
        ],
        ..Setup::default()
    })
    .await;
    fill(&cluster, tables).await;
    let mut bench = Bench::start(&cluster).await;
    let (round, _) = bench.measure(&[]).await;
    let wanted = bench.catalog.collectors.values();
    let wanted = wanted.filter(|collector| {
        let scope = collector.header.scope;
        matches!(scope, Scope::Server | Scope::Database) && collector.name != activity::SAMPLES
    });
    let wanted: Vec<String> = wanted.map(|collector| collector.name.clone()).collect();
    let mut costs = BTreeMap::new();
    let mut all: Option<Facts> = None;
    for name in wanted {
        let (cost, facts) = bench.measure(&[&name]).await;
        let seen = facts.sightings.iter().any(|sighting| sighting.seen.is_ok());
        if seen {
            costs.insert(name, cost.saturating_sub(round));
        }
        match &mut all {
            Some(all) => all.sightings.extend(facts.sightings),
            None => all = Some(facts),
        }
    }
    let sample = bench.sample().await;
    print(&bench.catalog, &costs, round, all.unwrap(), &sample);
}

impl Bench {
    async fn start(cluster: &Cluster) -> Bench {
        let url = cluster.url_as(&cluster.monitor().await, "postgres");
        let mut bench = Bench {
            observer: Observer::default(),
            target: Target::parse(&url, &Environment::default()).unwrap(),
            catalog: Catalog::built_in(),
            process: String::new(),
        };
        bench.look(&BTreeSet::new()).await;
        let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pawang:budget'";
        bench.process = cluster.sql("postgres", sql).await[0][0].clone().unwrap();
        bench
    }

    async fn look(&mut self, collectors: &BTreeSet<String>) -> Facts {
        let request = request(&self.target, &self.catalog, collectors);
        self.observer.look(&request).await
    }

    /// Returns the CPU time of the server's process per round, and the last round.
    async fn measure(&mut self, collectors: &[&str]) -> (Duration, Facts) {
        let collectors = collectors.iter().map(|name| (*name).to_owned()).collect();
        self.look(&collectors).await;
        let before = self.spent();
        let mut facts = self.look(&collectors).await;
        for _ in 1..RUNS {
            facts = self.look(&collectors).await;
        }
        ((self.spent() - before) / RUNS, facts)
    }

    /// Returns a sample whose cost is the mean CPU time of many.
    async fn sample(&mut self) -> Snapshot {
        let none = BTreeSet::new();
        let request = request(&self.target, &self.catalog, &none);
        let mut sample = self.observer.sample(&request).await.unwrap();
        let process = self.process.clone();
        let before = spent(&process);
        for _ in 0..SAMPLES {
            sample = self.observer.sample(&request).await.unwrap();
        }
        sample.cost.elapsed = (spent(&process) - before) / SAMPLES;
        sample
    }

    fn spent(&self) -> Duration {
        spent(&self.process)
    }
}

/// Returns the CPU time that a process has taken.
fn spent(process: &str) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn print(
    catalog: &Catalog,
    costs: &BTreeMap<String, Duration>,
    round: Duration,
    mut facts: Facts,
    sample: &Snapshot,
) {
    let now = Timestamp::now();
    let collectors = catalog.collectors.values();
    let mut schedule = Schedule::new(collectors, BUDGET_PERCENT, 1, now);
    for sighting in &mut facts.sightings {
        if let (Ok(snapshot), Some(cost)) = (&mut sighting.seen, costs.get(&sighting.collector)) {
            Arc::make_mut(snapshot).cost.elapsed = *cost;
        }
    }
    schedule.sampled(sample, now);
    schedule.record(&facts, now);
    let percent =
        |cost: Duration, interval: Duration| 100.0 * cost.as_secs_f64() / interval.as_secs_f64();
    let mut rows: Vec<(String, Duration, f64, f64)> = Vec::new();
    for status in schedule.status() {
        let cost = match status.name.as_str() {
            activity::SAMPLES => Some(sample.cost.elapsed),
            name => costs.get(name).copied(),
        };
        if let Some(cost) = cost {
            let asked = percent(cost, status.interval);
            let now = percent(cost, status.interval_now);
            rows.push((status.name, cost, asked, now));
        }
    }
    // Most rounds are those of the shortest interval.
    let each = percent(round, Duration::from_secs(10));
    rows.push(("(each round)".to_owned(), round, each, each));
    rows.sort_by(|a, b| b.2.total_cmp(&a.2));
    println!(
        "{:<26} {:>9} {:>12} {:>9}",
        "collector", "CPU ms", "% of a core", "in force"
    );
    for (name, cost, asked, now) in &rows {
        let milliseconds = cost.as_secs_f64() * 1e3;
        println!("{name:<26} {milliseconds:>9.2} {asked:>12.4} {now:>9.4}");
    }
    let sum =
        |column: fn(&(String, Duration, f64, f64)) -> f64| rows.iter().map(column).sum::<f64>();
    println!(
        "{:<26} {:>9} {:>12.4} {:>9.4}",
        "all",
        "",
        sum(|row| row.2),
        sum(|row| row.3)
    );
    println!("{}", schedule.budget().note.unwrap_or_default());
}

fn request<'a>(
    target: &'a Target,
    catalog: &'a Catalog,
    collectors: &'a BTreeSet<String>,
) -> Request<'a> {
    static INSTANCE: std::sync::LazyLock<Instance> = std::sync::LazyLock::new(Instance::default);
    Request {
        instance: &INSTANCE,
        target,
        purpose: "budget",
        catalog,
        collectors,
        questions: &[],
        databases: &[],
        pgbouncer: None,
        patroni: None,
        host: HostRequest::default(),
        backups: &[],
        now: Timestamp::now(),
    }
}

/// Creates tables with three indexes each, some rows in all of them, and statements that differ.
async fn fill(cluster: &Cluster, tables: u32) {
    let create = "CREATE EXTENSION pg_stat_statements";
    cluster.sql("postgres", create).await;
    let client = cluster.connect("postgres").await;
    for i in 0..tables {
        let sql = format!(
            "CREATE TABLE t{i} (id bigint PRIMARY KEY, at timestamptz DEFAULT now(), customer int NOT NULL, \
             amount numeric(12,2), note text, CHECK (amount >= 0)); \
             CREATE INDEX ON t{i} (customer); CREATE INDEX ON t{i} (at, customer); \
             INSERT INTO t{i} SELECT i, now(), i % 100, i, 'note' FROM generate_series(1, 1000) AS i; \
             ANALYZE t{i}; SELECT count(*) FROM t{i} WHERE customer = 7"
        );
        client.batch_execute(&sql).await.unwrap();
    }
}
