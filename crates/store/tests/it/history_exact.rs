//! What is appended is what is read: hot, sealed and compacted, to the last bit.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use pawang_core::{Column, ColumnKind, Cost, Epoch, Snapshot, Timestamp, Value};
use pawang_store::history::{Retention, Span, TEXT_BYTES_MAX};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::history::{Opened, START, columns, facts, open, row, snapshot, tables, time};

const DAY: i64 = 86_400;

pub(crate) const KEPT: Retention = Retention {
    raw: Duration::from_hours(10_000),
    minute: Duration::from_hours(100_000),
    ten_minutes: Duration::from_hours(100_000),
    bytes: u64::MAX,
};

/// Tends until nothing is left to do.
pub(crate) fn tend(opened: &mut Opened, retention: &Retention, now: Timestamp) {
    while opened.writer.tend(retention, now).unwrap().more {}
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => any::<i64>().prop_map(Value::Int),
        6 => (-3_i64..30).prop_map(Value::Int),
        2 => any::<f64>().prop_map(Value::Float),
        2 => (-10_000_i64..10_000).prop_map(|number| Value::Float(number as f64 / 1000.0)),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-0.0)].prop_map(Value::Float),
        2 => any::<i32>().prop_map(|at| Value::Time(Timestamp::from_second(at.into()).unwrap())),
        1 => any::<i64>().prop_map(|at| Value::Time(Timestamp::from_nanosecond(at.into()).unwrap())),
        1 => Just(Value::Time(Timestamp::MAX)),
        3 => "\\PC{0,12}".prop_map(|text| Value::Text(text.into())),
        1 => Just(Value::Text("nul \0 \u{10ffff} \r\n".into())),
        1 => prop::collection::vec("\\PC{0,4}", 0..3).prop_map(Value::List),
    ]
}

fn kind() -> impl Strategy<Value = ColumnKind> {
    prop_oneof![
        Just(ColumnKind::Label),
        Just(ColumnKind::Counter),
        Just(ColumnKind::Gauge),
        Just(ColumnKind::Info),
    ]
}

/// A few labels, so that rows meet again, also twice in one snapshot.
fn label() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0_i64..4).prop_map(Value::Int),
        "[ab]".prop_map(|text| Value::Text(text.into())),
        Just(Value::Null),
    ]
}

type Step = (i64, bool, Vec<(bool, Vec<Value>, Vec<Value>)>, u32);

/// Seconds since the snapshot before, whether the rows are those of before, rows (kept or not), the timeline.
fn step(width: usize) -> impl Strategy<Value = Step> {
    let labels = prop::collection::vec(label(), width);
    let values = prop::collection::vec(value(), width);
    let seconds = prop_oneof![
        8 => 1_i64..600,
        2 => 3_000_i64..9_000,
        1 => 80_000_i64..100_000,
        1 => -5_000_i64..-1,
    ];
    let rows = prop::collection::vec((any::<bool>(), labels, values), 0..5);
    (seconds, any::<bool>(), rows, 1_u32..3)
}

fn case() -> impl Strategy<Value = (Vec<ColumnKind>, Vec<Step>)> {
    prop::collection::vec(kind(), 1..6).prop_flat_map(|kinds| {
        let width = kinds.len();
        (Just(kinds), prop::collection::vec(step(width), 1..14))
    })
}

fn snapshots(name: &str, kinds: &[ColumnKind], steps: &[Step]) -> Vec<Snapshot> {
    let columns: Arc<[Column]> = kinds
        .iter()
        .enumerate()
        .map(|(number, kind)| Column {
            name: format!("column_{number}"),
            kind: *kind,
            unit: (number == 1).then(|| "bytes".to_owned()),
        })
        .collect();
    let mut at = START * 1_000_000_000;
    let mut rows: Vec<Vec<Value>> = Vec::new();
    let mut all: Vec<Snapshot> = Vec::new();
    for (number, (seconds, same, new, timeline)) in steps.iter().enumerate() {
        // No two of one time, some with a part of a microsecond.
        at += seconds * 1_000_000_000 + number as i64 * 1_000 + i64::from(*same) * 123;
        let merged = new
            .iter()
            .enumerate()
            .map(|(place, (keep, labels, values))| {
                let parts = kinds.iter().zip(labels.iter().zip(values)).enumerate();
                let made = parts.map(|(column, (kind, (label, value)))| match kind {
                    ColumnKind::Label => label.clone(),
                    _ if *keep => rows
                        .get(place)
                        .map_or(Value::Null, |row| row[column].clone()),
                    _ => value.clone(),
                });
                made.collect()
            });
        let merged: Vec<Vec<Value>> = merged.collect();
        if !same {
            rows = merged;
        }
        all.push(Snapshot {
            collector: name.to_owned(),
            database: None,
            at: Timestamp::from_nanosecond(at.into()).unwrap(),
            epoch: (*timeline > 1).then(|| Epoch {
                system_identifier: u64::MAX,
                timeline: *timeline,
                started_at: time(-5),
            }),
            cost: Cost {
                elapsed: Duration::from_millis(number as u64 * 7),
                rows: rows.len() + number,
            },
            columns: Arc::clone(&columns),
            rows: rows.clone(),
        });
    }
    all
}

/// Floats that are no number are equal to nothing, so texts are compared.
fn text(snapshots: &[Snapshot]) -> String {
    format!("{snapshots:?}")
}

fn check(opened: &Opened, name: &str, appended: &[Snapshot], stage: &str) {
    let mut times: Vec<Timestamp> = appended.iter().map(|snapshot| snapshot.at).collect();
    times.sort_unstable();
    times.dedup();
    assert_eq!(times.len(), appended.len(), "the times of a case differ");
    for expected in appended {
        let read = opened
            .reader
            .snapshots_at("dwh-1", name, expected.at)
            .unwrap();
        assert_eq!(text(&read), text(std::slice::from_ref(expected)), "{stage}");
    }
    let span = Span {
        from: times[0],
        to: times[times.len() - 1],
    };
    let mut walked = Vec::new();
    let mut each = |snapshot| {
        walked.push(snapshot);
        ControlFlow::Continue(())
    };
    opened.reader.walk("dwh-1", name, span, &mut each).unwrap();
    let mut expected = appended.to_vec();
    for all in [&mut walked, &mut expected] {
        all.sort_by_key(|snapshot| snapshot.at);
    }
    assert_eq!(text(&walked), text(&expected), "{stage}");
}

#[test]
fn any_snapshot_is_read_as_it_was_appended() {
    let opened = RefCell::new(open());
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(32)
    });
    let all = RefCell::new(Vec::new());
    let number = Cell::new(0);
    let run = runner.run(&case(), |(kinds, steps)| {
        let opened = &mut *opened.borrow_mut();
        number.set(number.get() + 1);
        let name = format!("case-{}", number.get());
        let appended = snapshots(&name, &kinds, &steps);
        for snapshot in &appended {
            opened
                .writer
                .append(&facts(vec![snapshot.clone()]))
                .unwrap();
        }
        opened.writer.commit().unwrap();
        check(opened, &name, &appended, "hot");
        all.borrow_mut().push((name, appended));
        Ok(())
    });
    run.unwrap();
    let (mut opened, all) = (opened.into_inner(), all.into_inner());
    // Hours and days that are finished at one time and not yet at another are read alike.
    for (stage, now) in [
        ("partly sealed", time(2 * DAY)),
        ("sealed", time(30 * DAY)),
        ("sealed again", time(31 * DAY)),
    ] {
        tend(&mut opened, &KEPT, now);
        for (name, appended) in &all {
            check(&opened, name, appended, stage);
        }
    }
}

#[test]
fn a_writer_that_begins_anew_goes_on_where_the_last_one_ended() {
    let directory = tempfile::tempdir().unwrap();
    let columns = tables();
    for minutes in [
        0..1,
        1..50,
        50..58,
        58..60,
        60..61,
        61..62,
        62..130,
        130..150,
    ] {
        let store = pawang_store::Store::open(directory.path(), time(0))
            .unwrap()
            .store;
        let mut writer = store.writer().unwrap();
        for minute in minutes {
            let at = time(minute * 60);
            let rows = vec![row("a", 1, minute * 60, minute), row("b", 2, 7, 7)];
            writer
                .append(&facts(vec![snapshot(&columns, at, rows)]))
                .unwrap();
            writer.commit().unwrap();
            while writer.tend(&KEPT, at).unwrap().more {}
        }
    }
    let store = pawang_store::Store::open_to_read(directory.path()).unwrap();
    let growth = store
        .reader()
        .unwrap()
        .growth(&pawang_store::history::GrowthQuery {
            instance: "dwh-1",
            collector: "tables",
            database: None,
            columns: &["n_tup_ins"],
            span: crate::history::span(0, 150 * 60),
        });
    let growth = growth.unwrap();
    assert_eq!(
        growth[0].growth,
        [Some(149.0 * 60.0)],
        "restarts are no gaps"
    );
    assert_eq!(growth[0].seconds, 149.0 * 60.0);
}

#[test]
fn long_texts_are_cut_and_marked() {
    let mut opened = open();
    let columns = columns(&[("key", ColumnKind::Label), ("query", ColumnKind::Info)]);
    let long: Box<str> = "ä".repeat(1 << 19).into();
    let rows = vec![vec![Value::Text(long.clone()), Value::Text(long)]];
    let given = snapshot(&columns, time(1), rows);
    opened.writer.append(&facts(vec![given])).unwrap();
    opened.writer.commit().unwrap();
    let read = opened
        .reader
        .snapshots_at("dwh-1", "tables", time(1))
        .unwrap();
    for value in &read[0].rows[0] {
        let text = value.as_text().unwrap();
        assert!(text.len() <= TEXT_BYTES_MAX && text.len() > TEXT_BYTES_MAX - 4);
        assert!(text.starts_with("ää") && text.ends_with("… (cut)"));
    }
}

#[test]
fn new_columns_leave_old_snapshots_readable() {
    let mut opened = open();
    let old = tables();
    let mut more: Vec<Column> = old.to_vec();
    more.insert(
        1,
        Column {
            name: "seq_scan".to_owned(),
            kind: ColumnKind::Counter,
            unit: None,
        },
    );
    let more: Arc<[Column]> = more.into();
    let mut appended = Vec::new();
    for minute in 0..20 {
        let mut row = row("a", 1, minute * 60, 5);
        let columns = if minute < 10 { &old } else { &more };
        if minute >= 10 {
            row.insert(1, Value::Int(minute * 120));
        }
        appended.push(snapshot(columns, time(minute * 60), vec![row]));
    }
    for snapshot in &appended {
        opened
            .writer
            .append(&facts(vec![snapshot.clone()]))
            .unwrap();
    }
    opened.writer.commit().unwrap();
    for now in [time(1200), time(3 * DAY)] {
        tend(&mut opened, &KEPT, now);
        check(&opened, "tables", &appended, "two versions");
        let series = opened.reader.series(&pawang_store::history::SeriesQuery {
            instance: "dwh-1",
            collector: "tables",
            database: None,
            columns: &["n_tup_ins", "seq_scan"],
            rows: pawang_store::history::Rows::All,
            fold: pawang_store::history::Fold::Each,
            span: crate::history::span(0, 1200),
            step: Some(Duration::from_secs(60)),
        });
        let series = series.unwrap();
        let seen = |number: usize| {
            let points = series[number].points.iter();
            points
                .filter_map(|point| point.reading)
                .map(|reading| reading.mean)
                .collect::<Vec<_>>()
        };
        assert_eq!(seen(0), [1.0; 18], "one gap where the columns changed");
        assert_eq!(seen(1), [2.0; 9]);
    }
}
