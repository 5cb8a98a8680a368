//! The same snapshots, remembered here and sent there, give the same rates.

use std::sync::Arc;
use std::time::Duration;

use pawang_core::{Facts, Sighting, Snapshot, Timestamp};
use pawang_metrics::remote_write::Remote;
use pawang_store::Store;
use pawang_store::history::{Fold, Reader, Rows, SeriesQuery, Span};
use pawang_store::live::Present;
use pawang_testbed::Prometheus;
use tempfile::TempDir;

use crate::remote::{config, drain, look, query};
use crate::scene::now;

const ROUNDS: u64 = 6;
const INTERVAL: Duration = Duration::from_secs(10);

/// Returns what was seen as if it had been seen at another time, so that rounds are exactly one interval apart.
fn at(present: &Present, at: Timestamp) -> Arc<Present> {
    let sightings = present.facts.sightings.iter().map(|sighting| Sighting {
        seen: sighting.seen.clone().map(|snapshot| {
            Arc::new(Snapshot {
                at,
                ..(*snapshot).clone()
            })
        }),
        ..sighting.clone()
    });
    Arc::new(Present {
        facts: Arc::new(Facts {
            at,
            sightings: sightings.collect(),
            ..(*present.facts).clone()
        }),
        ..present.clone()
    })
}

/// Returns the rates that the history has, by time, of one row.
fn here(reader: &Reader, collector: &str, column: &str, row: &str, span: Span) -> Vec<(i64, f64)> {
    let query = SeriesQuery {
        instance: "dwh-1",
        collector,
        database: None,
        columns: &[column],
        rows: Rows::All,
        fold: Fold::Each,
        span,
        step: None,
    };
    let series = reader.series(&query).unwrap();
    let mut series = series
        .iter()
        .filter(|series| row.is_empty() || series.labels.iter().any(|label| label == row));
    let points = &series.next().unwrap().points;
    let read = points
        .iter()
        .filter_map(|point| Some((point.at.as_millisecond(), point.reading?.mean)));
    read.collect()
}

#[tokio::test]
async fn local_and_remote_answer_alike() {
    if !Prometheus::installed() {
        return;
    }
    let prometheus = Prometheus::start().await;
    let cluster = crate::scene::cluster().await;
    let directory = TempDir::new().unwrap();
    let remote = Remote::open(&config(&prometheus.write_url()), directory.path()).unwrap();
    // The history answers at whole steps.
    let end = Timestamp::from_second(now().as_second() / 10 * 10).unwrap();
    let begin = end - INTERVAL * u32::try_from(ROUNDS).unwrap();
    let store = Store::open(directory.path(), begin).unwrap().store;
    let mut writer = store.writer().unwrap();
    for round in 0..=ROUNDS {
        let work = format!(
            "INSERT INTO orders SELECT n, 'x' FROM generate_series({}, {}) AS n",
            100_000 * (round + 1),
            100_000 * (round + 1) + 37 * round
        );
        cluster.sql("postgres", &work).await;
        let seen = look(&cluster, "dwh-1").await;
        let present = at(&seen, begin + INTERVAL * u32::try_from(round).unwrap());
        writer.append(&present.facts).unwrap();
        remote.offer(&present);
    }
    writer.commit().unwrap();
    drain(&remote).await;
    let reader = store.reader().unwrap();
    let span = Span {
        from: begin,
        to: end,
    };
    for (collector, column, row, metric) in [
        ("wal", "wal_bytes", "", "pawang_wal_bytes_total"),
        (
            "database",
            "xact_commit",
            "postgres",
            "pawang_database_xact_commit_total{datname=\"postgres\"}",
        ),
        (
            "database",
            "blk_read_time",
            "postgres",
            "pawang_database_blk_read_time_seconds_total{datname=\"postgres\"}",
        ),
        (
            "tables",
            "n_tup_ins",
            "orders",
            "pawang_tables_n_tup_ins_total{relname=\"orders\"}",
        ),
    ] {
        let rates = here(&reader, collector, column, row, span);
        assert_eq!(rates.len() as u64, ROUNDS, "{metric} {rates:?}");
        for (time, rate) in rates {
            let time = Timestamp::from_millisecond(time).unwrap();
            let there = query(&prometheus, &format!("rate({metric}[10s])"), time).await;
            let there: Vec<f64> = there.into_values().collect();
            let unit = if column.ends_with("_time") { 1e3 } else { 1.0 };
            assert_eq!(there.len(), 1, "{metric}");
            let difference = (there[0] - rate / unit).abs();
            assert!(
                difference <= 1e-6 * rate.abs().max(1.0),
                "{metric} at {time}: {there:?} {rate}"
            );
        }
    }
}

#[tokio::test]
async fn a_clock_that_goes_back_sends_nothing_twice() {
    if !Prometheus::installed() {
        return;
    }
    let prometheus = Prometheus::start().await;
    let cluster = crate::scene::cluster().await;
    let directory = TempDir::new().unwrap();
    let remote = Remote::open(&config(&prometheus.write_url()), directory.path()).unwrap();
    let seen = look(&cluster, "dwh-1").await;
    let middle = now() - INTERVAL;
    remote.offer(&at(&seen, middle));
    drain(&remote).await;
    let sent = remote.status().samples_sent;
    remote.offer(&at(&seen, middle - INTERVAL));
    assert_eq!(remote.status().samples_dropped, sent, "they are counted");
    drain(&remote).await;
    assert_eq!(remote.status().samples_sent, sent);
    remote.offer(&at(&seen, middle + INTERVAL));
    drain(&remote).await;
    assert_eq!(remote.status().samples_sent, 2 * sent);
    assert_eq!(remote.status().trouble, None, "nothing was out of order");
}
