//! A cluster as the daemon sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pawang_check::{CHECKS, Check, evaluate_all};
use pawang_collect::{Catalog, HostRequest, Request, activity, observe};
use pawang_config::MetricsConfig;
use pawang_core::alert::{AlertsPresent, ChannelStatus};
use pawang_core::{Instance, Sighting, Timestamp};
use pawang_metrics::{Format, Scrape, write};
use pawang_postgres::{Environment, Target};
use pawang_store::live::{BudgetStatus, CollectorStatus, DaemonStatus, Present, RemoteWriteStatus};
use pawang_testbed::{Cluster, Setup};

/// A cluster with a table that was written, deleted from and vacuumed, and a session that waits for a lock.
pub(crate) async fn cluster() -> Cluster {
    let cluster = Cluster::start(&Setup::default()).await;
    let sql = "CREATE TABLE orders (id int PRIMARY KEY, note text);
        CREATE TABLE \"odd \"\"name\\\" (id int PRIMARY KEY);
        INSERT INTO orders SELECT n, repeat('x', 100) FROM generate_series(1, 20000) AS n;
        INSERT INTO \"odd \"\"name\\\" SELECT n FROM generate_series(1, 5000) AS n;
        DELETE FROM orders WHERE id % 10 = 0;
        SELECT count(*) FROM orders WHERE id < 100;";
    cluster.sql("postgres", sql).await;
    cluster.sql("postgres", "VACUUM ANALYZE orders").await;
    cluster
}

/// Asks every collector once and judges with every check, as the daemon does.
pub(crate) async fn present(cluster: &Cluster, name: &str) -> Arc<Present> {
    present_of(cluster, name, &Catalog::built_in(), None).await
}

/// Asks the named collectors, or all, once.
pub(crate) async fn present_of(
    cluster: &Cluster,
    name: &str,
    catalog: &Catalog,
    collectors: Option<&[&str]>,
) -> Arc<Present> {
    let user = cluster.monitor().await;
    let url = cluster.url_as(&user, "postgres");
    let target = Target::parse(&url, &Environment::default()).unwrap();
    let instance = Instance {
        name: name.to_owned(),
        group: Some("prod".to_owned()),
        ..Instance::default()
    };
    let checks_max = if collectors.is_some() { 3 } else { usize::MAX };
    let all = catalog.collectors.keys().cloned();
    let collectors: BTreeSet<String> = match collectors {
        None => all.collect(),
        Some(names) => names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let mut facts = observe(&Request {
        instance: &instance,
        target: &target,
        purpose: "test",
        catalog,
        collectors: &collectors,
        questions: &[],
        databases: &[],
        pgbouncer: None,
        patroni: None,
        host: HostRequest::default(),
        backups: &[],
        now: now(),
    })
    .await;
    // What the daemon adds up from samples of every second.
    let samples = facts
        .sightings
        .iter()
        .find(|sighting| sighting.collector == activity::SAMPLES);
    if let Some(Ok(sample)) = samples.map(|sighting| sighting.seen.clone()) {
        facts.sightings.push(Sighting {
            collector: activity::HISTORY.to_owned(),
            database: None,
            seen: Ok(Arc::new(activity::fold(&[sample], facts.at))),
        });
    }
    let checks: Vec<&'static Check<'_>> = CHECKS.iter().copied().take(checks_max).collect();
    let evaluation = evaluate_all(&checks, &facts, None, &());
    let status = collectors.iter().map(|name| CollectorStatus {
        name: name.clone(),
        interval: Duration::from_secs(10),
        interval_now: Duration::from_secs(10),
        asked_at: Some(facts.at),
        runs: 1,
        ..CollectorStatus::default()
    });
    Arc::new(Present {
        instance,
        labels: BTreeMap::from([("site".to_owned(), "jakarta \"1\"".to_owned())]),
        answered_at: Some(facts.at),
        collectors: status.collect(),
        facts: Arc::new(facts),
        evaluation: Some(Arc::new(evaluation)),
        since: Arc::default(),
        budget: BudgetStatus {
            limit_percent: 0.5,
            used_percent: 0.1,
            stretch: 1.0,
            note: None,
        },
        activity: Arc::new([]),
    })
}

/// A daemon with one remote store.
pub(crate) fn daemon() -> DaemonStatus {
    DaemonStatus {
        version: "0.1.0".to_owned(),
        started_at: now(),
        memory_bytes: 20_000_000,
        remote_writes: vec![RemoteWriteStatus {
            name: "mimir".to_owned(),
            ..RemoteWriteStatus::default()
        }],
        ..DaemonStatus::default()
    }
}

/// Returns a channel that gets nothing through.
fn alerts() -> AlertsPresent {
    AlertsPresent {
        running: true,
        channels: vec![ChannelStatus {
            name: "email \"dba\"".to_owned(),
            kind: "smtp".to_owned(),
            sent: 7,
            waiting: 2,
            dead: 1,
            sent_at: None,
            trouble: Some((now(), "no route".to_owned())),
        }],
        ..AlertsPresent::default()
    }
}

/// Returns what a scrape is answered.
pub(crate) fn scrape(presents: &[Arc<Present>], format: Format, config: &MetricsConfig) -> String {
    scrape_of(presents, format, config, None)
}

/// Returns what a scrape of some collectors is answered.
pub(crate) fn scrape_of(
    presents: &[Arc<Present>],
    format: Format,
    config: &MetricsConfig,
    collect: Option<&[&str]>,
) -> String {
    let mut text = Vec::new();
    let collect = collect.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    let scrape = Scrape {
        format,
        collect,
        config,
        alerts: &alerts(),
        now: now(),
    };
    write(presents, &daemon(), &scrape, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Returns every sample: name and labels as written, and the value.
///
/// # Panics
/// When a series comes twice, or a line is none.
pub(crate) fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value = value
            .replace("+Inf", "inf")
            .parse()
            .unwrap_or_else(|_| panic!("{line}"));
        assert!(
            samples.insert(series.to_owned(), value).is_none(),
            "twice: {series}"
        );
    }
    samples
}

/// Returns the name of a series.
pub(crate) fn name(series: &str) -> &str {
    series.split('{').next().unwrap_or_default()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is the edge that reads the clock"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
