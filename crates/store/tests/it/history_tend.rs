//! Sealing, compacting, rolling up and dropping; the clock may do what it wants.

use std::time::Duration;

use pawang_core::{ColumnKind, Snapshot, Value};
use pawang_store::history::{Fold, GrowthQuery, Reading, Retention, Rows, Series, SeriesQuery};

use crate::history::{Opened, columns, facts, open, row, snapshot, span, tables, time};
use crate::history_exact::{KEPT, tend};

const DAY: i64 = 86_400;

/// A number that looks random and is the same every time.
fn noise(seed: i64) -> i64 {
    let mixed = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as i64
}

/// One row with a counter, a float counter, a gauge and a float gauge, every ten seconds.
fn samples(seconds: i64) -> Vec<(i64, [f64; 4])> {
    let mut sums = (0_i64, 0_i64);
    let steps = (0..seconds / 10).map(|step| {
        sums.0 += noise(step) % 1_000;
        sums.1 += noise(step + 7) % 90_000;
        let gauge = noise(step + 13) % 500 - 100;
        let size = (noise(step + 29) % 100_000) as f64 / 7.0;
        (
            step * 10,
            [sums.0 as f64, sums.1 as f64 / 1000.0, gauge as f64, size],
        )
    });
    steps.collect()
}

fn append(opened: &mut Opened, samples: &[(i64, [f64; 4])]) {
    let columns = columns(&[
        ("relname", ColumnKind::Label),
        ("calls", ColumnKind::Counter),
        ("total_time", ColumnKind::Counter),
        ("sessions", ColumnKind::Gauge),
        ("size", ColumnKind::Gauge),
    ]);
    for (at, [calls, total, sessions, size]) in samples {
        let row = vec![
            Value::Text("a".into()),
            Value::Int(*calls as i64),
            Value::Float(*total),
            Value::Int(*sessions as i64),
            Value::Float(*size),
        ];
        let seen = snapshot(&columns, time(*at), vec![row]);
        opened.writer.append(&facts(vec![seen])).unwrap();
    }
    opened.writer.commit().unwrap();
}

fn series(opened: &Opened, seconds: i64, step: u64) -> Vec<Series> {
    let query = SeriesQuery {
        instance: "dwh-1",
        collector: "tables",
        database: None,
        columns: &["calls", "total_time", "sessions", "size"],
        rows: Rows::All,
        fold: Fold::Each,
        span: span(0, seconds),
        step: Some(Duration::from_secs(step)),
    };
    opened.reader.series(&query).unwrap()
}

/// Aggregates samples in the plainest way: each step has its end and not its beginning.
fn naive(samples: &[(i64, [f64; 4])], column: usize, from: i64, to: i64) -> Option<Reading> {
    let values: Vec<f64> = if column < 2 {
        let pairs = samples
            .windows(2)
            .filter(|pair| pair[1].0 > from && pair[1].0 <= to);
        pairs
            .map(|pair| (pair[1].1[column] - pair[0].1[column]) / 10.0)
            .collect()
    } else {
        let within = samples.iter().filter(|(at, _)| *at > from && *at <= to);
        within.map(|(_, values)| values[column]).collect()
    };
    (!values.is_empty()).then(|| Reading {
        mean: values.iter().sum::<f64>() / values.len() as f64,
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    })
}

fn check_naive(opened: &Opened, samples: &[(i64, [f64; 4])], step: i64, stage: &str) {
    let seconds = samples.len() as i64 * 10;
    for (column, series) in series(opened, seconds, step as u64).iter().enumerate() {
        for (place, point) in series.points.iter().enumerate() {
            let from = place as i64 * step;
            let expected = naive(samples, column, from, from + step);
            let (Some(reading), Some(expected)) = (point.reading, expected) else {
                assert_eq!(
                    point.reading.is_some(),
                    expected.is_some(),
                    "{stage}: {column} {from}"
                );
                continue;
            };
            let range = (expected.max - expected.min).max(expected.max.abs());
            let near =
                |one: f64, other: f64, share: f64| (one - other).abs() <= range * share + 1e-6;
            let name = format!("{} {step} {from}", series.column);
            assert!(
                near(reading.mean, expected.mean, 0.003),
                "{stage}: {name} {reading:?} {expected:?}"
            );
            assert!(
                near(reading.min, expected.min, 0.01),
                "{stage}: {name} {reading:?} {expected:?}"
            );
            assert!(
                near(reading.max, expected.max, 0.01),
                "{stage}: {name} {reading:?} {expected:?}"
            );
        }
    }
}

#[test]
fn rollups_are_what_plain_aggregation_says() {
    let mut opened = open();
    let samples = samples(5 * 3600);
    append(&mut opened, &samples);
    for step in [10, 60, 600, 1800] {
        check_naive(&opened, &samples, step, "hot");
    }
    tend(&mut opened, &KEPT, time(8 * 3600));
    for step in [10, 60, 600, 1800] {
        check_naive(&opened, &samples, step, "sealed");
    }
    // Without samples, rollups answer; without one-minute rollups, ten-minute ones do.
    let minutes = Retention {
        raw: Duration::ZERO,
        ..KEPT
    };
    tend(&mut opened, &minutes, time(3 * DAY));
    assert!(
        opened
            .reader
            .snapshots_at("dwh-1", "tables", time(3600))
            .unwrap()
            .is_empty()
    );
    for step in [60, 600, 1800] {
        check_naive(&opened, &samples, step, "one minute");
    }
    let ten_minutes = Retention {
        minute: Duration::ZERO,
        ..minutes
    };
    tend(&mut opened, &ten_minutes, time(3 * DAY));
    for step in [600, 1800] {
        check_naive(&opened, &samples, step, "ten minutes");
    }
    let fine = series(&opened, 5 * 3600, 60);
    let seen = fine[0]
        .points
        .iter()
        .filter(|point| point.reading.is_some())
        .count();
    assert!(
        seen >= 299,
        "a finer step shows what is left: {seen} of {}",
        fine[0].points.len()
    );
    let nothing = Retention {
        ten_minutes: Duration::ZERO,
        ..ten_minutes
    };
    tend(&mut opened, &nothing, time(3 * DAY));
    assert!(series(&opened, 5 * 3600, 600).is_empty());
}

#[test]
fn growth_of_days_is_exact_from_rollups() {
    let mut opened = open();
    let columns = tables();
    let mut total = 0;
    for minute in 0..2 * 24 * 60 {
        total += noise(minute) % 1_000;
        let seen = snapshot(
            &columns,
            time(minute * 60),
            vec![row("a", 1, total, minute)],
        );
        opened.writer.append(&facts(vec![seen])).unwrap();
    }
    opened.writer.commit().unwrap();
    let first = noise(0) % 1_000;
    let end = (2 * 24 * 60 - 1) * 60;
    for (stage, raw) in [("samples", KEPT.raw), ("rollups", Duration::from_hours(3))] {
        let retention = Retention { raw, ..KEPT };
        tend(&mut opened, &retention, time(end + 900));
        let growth = opened.reader.growth(&GrowthQuery {
            instance: "dwh-1",
            collector: "tables",
            database: None,
            columns: &["n_tup_ins", "n_dead_tup"],
            span: span(0, end),
        });
        let growth = growth.unwrap();
        assert_eq!(growth[0].growth[0], Some((total - first) as f64), "{stage}");
        assert_eq!(
            growth[0].last,
            [Some(total as f64), Some(f64::from(2 * 24 * 60 - 1))],
            "{stage}"
        );
        assert_eq!(growth[0].seconds, end as f64, "{stage}");
    }
}

#[test]
fn a_gap_is_a_gap_at_every_resolution() {
    let mut opened = open();
    let mut samples = samples(4 * 3600);
    samples.retain(|(at, _)| !(3_000..7_800).contains(at));
    append(&mut opened, &samples);
    for now in [time(4 * 3600), time(3 * DAY)] {
        tend(&mut opened, &KEPT, now);
        for step in [10, 60, 600] {
            for series in series(&opened, 4 * 3600, step) {
                for point in &series.points {
                    let to = point.at.as_second() - time(0).as_second();
                    let from = to - step as i64;
                    if from >= 3_000 && to < 7_800 {
                        assert_eq!(point.reading, None, "{} {from}", series.column);
                    }
                    if to <= 2_990 && to > 10 {
                        assert!(point.reading.is_some(), "{} {to}", series.column);
                    }
                }
            }
        }
    }
}

#[test]
fn a_clock_that_is_set_back_loses_nothing() {
    let mut opened = open();
    let columns = tables();
    let mut appended: Vec<Snapshot> = Vec::new();
    // Ten hours ahead by mistake, set right, and on past the hours that were seen before.
    let clock = (0..120)
        .chain((0..120).map(|step| step - 90))
        .map(|step| step * 300 + 36_000);
    for (number, at) in clock.enumerate() {
        let second = i64::from(number >= 120);
        let rows = vec![row("a", 1, number as i64 * 300, number as i64)];
        let seen = snapshot(&columns, time(at + second), rows);
        opened.writer.append(&facts(vec![seen.clone()])).unwrap();
        opened.writer.append(&facts(vec![seen.clone()])).unwrap();
        opened.writer.commit().unwrap();
        tend(&mut opened, &KEPT, time(at));
        appended.push(seen);
    }
    for now in [time(40_000), time(5 * DAY)] {
        tend(&mut opened, &KEPT, now);
        for expected in &appended {
            let read = opened
                .reader
                .snapshots_at("dwh-1", "tables", expected.at)
                .unwrap();
            assert_eq!(read, std::slice::from_ref(expected));
        }
        let growth = opened.reader.growth(&GrowthQuery {
            instance: "dwh-1",
            collector: "tables",
            database: None,
            columns: &["n_tup_ins"],
            span: span(0, 5 * DAY),
        });
        let growth = growth.unwrap();
        assert!(
            growth[0].growth[0].unwrap() <= 239.0 * 300.0,
            "nothing is counted across"
        );
    }
}

#[test]
fn the_file_stays_within_its_size_and_shrinks() {
    let mut opened = open();
    let columns = tables();
    for hour in 0..50 {
        for step in 0..12 {
            let at = hour * 3600 + step * 300;
            let rows = (0..60).map(|row_number| {
                let seed = at * 1_000 + row_number;
                row(
                    &format!("table_{row_number}"),
                    row_number,
                    seed + noise(seed),
                    noise(seed + 1),
                )
            });
            let seen = snapshot(&columns, time(at), rows.collect());
            opened.writer.append(&facts(vec![seen])).unwrap();
        }
        opened.writer.commit().unwrap();
        tend(&mut opened, &KEPT, time(hour * 3600));
    }
    tend(&mut opened, &KEPT, time(4 * DAY));
    let full = std::fs::metadata(opened.store.directory().join("history.db"))
        .unwrap()
        .len();
    let newest = opened.reader.extent("dwh-1").unwrap().unwrap().to;
    let small = Retention {
        bytes: full / 4,
        ..KEPT
    };
    tend(&mut opened, &small, time(4 * DAY));
    drop(opened.reader);
    drop(opened.writer);
    let path = opened.store.directory().join("history.db");
    let left = std::fs::metadata(&path).unwrap().len();
    assert!(left < full / 2, "{left} of {full} bytes are left");
    let reader = opened.store.reader().unwrap();
    let extent = reader.extent("dwh-1").unwrap().unwrap();
    assert_eq!(extent.to, newest, "the oldest goes first");
    assert!(extent.from > time(3600));
}

#[test]
fn an_instance_that_is_gone_is_kept_until_its_time() {
    let mut opened = open();
    append(&mut opened, &samples(3600));
    let mut other = facts(vec![snapshot(
        &tables(),
        time(10 * DAY),
        vec![row("a", 1, 1, 1)],
    )]);
    other.instance.name = "dwh-2".to_owned();
    let week = Retention {
        raw: Duration::from_hours(7 * 24),
        minute: Duration::from_hours(8 * 24),
        ten_minutes: Duration::from_hours(9 * 24),
        bytes: u64::MAX,
    };
    tend(&mut opened, &week, time(6 * DAY));
    assert_eq!(opened.reader.instances().unwrap(), ["dwh-1"]);
    assert!(
        !opened
            .reader
            .snapshots_at("dwh-1", "tables", time(3590))
            .unwrap()
            .is_empty()
    );
    opened.writer.append(&other).unwrap();
    tend(&mut opened, &week, time(10 * DAY));
    assert!(series(&opened, 3600, 600).is_empty());
    assert_eq!(opened.reader.extent("dwh-1").unwrap(), None);
}

#[test]
fn a_session_that_was_seen_in_one_sample_of_six_counts_for_one_sixth() {
    let mut opened = open();
    let columns = columns(&[
        ("wait_event_type", ColumnKind::Label),
        ("sessions", ColumnKind::Gauge),
    ]);
    for step in 0..3 * 360 {
        let row =
            |class: &str, sessions: f64| vec![Value::Text(class.into()), Value::Float(sessions)];
        let mut rows = vec![row("CPU", 2.0)];
        if step % 6 == 0 {
            rows.push(row("Lock", 3.0));
        }
        let seen = Snapshot {
            collector: "activity-history".to_owned(),
            ..snapshot(&columns, time(step * 10), rows)
        };
        opened.writer.append(&facts(vec![seen])).unwrap();
    }
    opened.writer.commit().unwrap();
    tend(&mut opened, &KEPT, time(2 * DAY));
    let query = SeriesQuery {
        instance: "dwh-1",
        collector: "activity-history",
        database: None,
        columns: &["sessions"],
        rows: Rows::All,
        fold: Fold::SumBy(&["wait_event_type"]),
        span: span(600, 9_600),
        step: Some(Duration::from_secs(600)),
    };
    let series = opened.reader.series(&query).unwrap();
    let means = |class: &str| -> Vec<f64> {
        let found = series
            .iter()
            .find(|series| series.labels == [class])
            .unwrap();
        let readings = found.points.iter().filter_map(|point| point.reading);
        readings.map(|reading| reading.mean).collect()
    };
    for (class, expected) in [("CPU", 2.0), ("Lock", 0.5)] {
        let means = means(class);
        assert!(means.len() > 10, "{class}: {means:?}");
        // The place of a mean between smallest and largest is kept in 255 steps.
        let near = |mean: &f64| (mean - expected).abs() < 0.02;
        assert!(means.iter().all(near), "{class}: {means:?}");
    }
}
