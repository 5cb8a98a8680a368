//! The history through its public interface: what is appended is what is read.

use std::sync::Arc;
use std::time::Duration;

use pawang_core::{
    Blind, Column, ColumnKind, Cost, Epoch, Facts, Instance, Sighting, Snapshot, Timestamp, Value,
};
use pawang_store::Store;
use pawang_store::history::{Fold, GrowthQuery, Reader, Rows, SeriesQuery, Span, Writer};

pub(crate) const START: i64 = 1_760_000_400;

pub(crate) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

pub(crate) fn columns(declared: &[(&str, ColumnKind)]) -> Arc<[Column]> {
    let columns = declared.iter().map(|(name, kind)| Column {
        name: (*name).to_owned(),
        kind: *kind,
        unit: None,
    });
    columns.collect()
}

pub(crate) fn tables() -> Arc<[Column]> {
    columns(&[
        ("relname", ColumnKind::Label),
        ("relid", ColumnKind::Info),
        ("n_tup_ins", ColumnKind::Counter),
        ("n_dead_tup", ColumnKind::Gauge),
        ("stats_reset", ColumnKind::Info),
    ])
}

pub(crate) fn snapshot(columns: &Arc<[Column]>, at: Timestamp, rows: Vec<Vec<Value>>) -> Snapshot {
    Snapshot {
        collector: "tables".to_owned(),
        database: Some("app".to_owned()),
        at,
        epoch: Some(Epoch {
            system_identifier: 7,
            timeline: 1,
            started_at: time(-1000),
        }),
        cost: Cost {
            elapsed: Duration::from_millis(3),
            rows: rows.len(),
        },
        columns: Arc::clone(columns),
        rows,
    }
}

pub(crate) fn facts(snapshots: Vec<Snapshot>) -> Facts {
    Facts {
        instance: Instance {
            name: "dwh-1".to_owned(),
            ..Instance::default()
        },
        at: snapshots.first().map_or(time(0), |snapshot| snapshot.at),
        server: Err(Blind::FirstSample),
        down: None,
        databases: vec!["app".to_owned()],
        sightings: snapshots
            .into_iter()
            .map(|snapshot| Sighting {
                collector: snapshot.collector.clone(),
                database: snapshot.database.clone(),
                seen: Ok(Arc::new(snapshot)),
            })
            .collect(),
        notes: Vec::new(),
    }
}

/// A table with its counter and its gauge.
pub(crate) fn row(name: &str, relid: i64, inserted: i64, dead: i64) -> Vec<Value> {
    vec![
        Value::Text(name.into()),
        Value::Int(relid),
        Value::Int(inserted),
        Value::Int(dead),
        Value::Null,
    ]
}

pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) writer: Writer,
    pub(crate) reader: Reader,
    _directory: tempfile::TempDir,
}

pub(crate) fn open() -> Opened {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), time(0)).unwrap().store;
    Opened {
        writer: store.writer().unwrap(),
        reader: store.reader().unwrap(),
        store,
        _directory: directory,
    }
}

pub(crate) fn span(from: i64, to: i64) -> Span {
    Span {
        from: time(from),
        to: time(to),
    }
}

fn minutes(opened: &mut Opened, count: i64) -> Vec<Snapshot> {
    let columns = tables();
    let snapshots: Vec<Snapshot> = (0..count)
        .map(|minute| {
            let rows = vec![
                row("a", 1, minute * 60, minute),
                row("b", if minute < 10 { 2 } else { 3 }, minute * 600, 5),
            ];
            snapshot(&columns, time(minute * 60), rows)
        })
        .collect();
    for snapshot in &snapshots {
        opened
            .writer
            .append(&facts(vec![snapshot.clone()]))
            .unwrap();
    }
    opened.writer.commit().unwrap();
    snapshots
}

#[test]
fn what_was_appended_is_read_at_any_instant() {
    let mut opened = open();
    let snapshots = minutes(&mut opened, 90);
    assert_eq!(opened.reader.instances().unwrap(), ["dwh-1"]);
    assert_eq!(opened.reader.collectors("dwh-1").unwrap(), ["tables"]);
    assert_eq!(
        opened.reader.extent("dwh-1").unwrap(),
        Some(span(0, 89 * 60))
    );
    for (minute, expected) in snapshots.iter().enumerate() {
        for late in [0, 59] {
            let at = time(minute as i64 * 60 + late);
            let read = opened.reader.snapshots_at("dwh-1", "tables", at).unwrap();
            assert_eq!(
                read,
                std::slice::from_ref(expected),
                "minute {minute} + {late} s"
            );
        }
    }
    let read = |at| opened.reader.snapshots_at("dwh-1", "tables", at).unwrap();
    assert_eq!(read(time(-1)), [], "before the first");
    assert_eq!(
        read(time(89 * 60 + 601)),
        [],
        "ten intervals after the last"
    );
    let facts = opened.reader.facts_at("dwh-1", time(30)).unwrap().unwrap();
    assert_eq!(facts.sightings.len(), 1);
    assert_eq!(facts.at, time(0));
}

#[test]
fn rates_and_growth_stop_where_a_table_was_made_anew() {
    let mut opened = open();
    minutes(&mut opened, 61);
    let query = SeriesQuery {
        instance: "dwh-1",
        collector: "tables",
        database: None,
        columns: &["n_tup_ins", "n_dead_tup"],
        rows: Rows::All,
        fold: Fold::Each,
        span: span(0, 3600),
        step: Some(Duration::from_secs(60)),
    };
    let series = opened.reader.series(&query).unwrap();
    assert_eq!(series.len(), 4);
    let means = |number: usize| -> Vec<Option<f64>> {
        let points = series[number].points.iter();
        points
            .map(|point| point.reading.map(|reading| reading.mean))
            .collect()
    };
    assert_eq!(
        (series[0].labels[0].as_str(), series[0].column.as_str()),
        ("a", "n_tup_ins")
    );
    assert_eq!(means(0), vec![Some(1.0); 60]);
    let gauge: Vec<Option<f64>> = (1..=60).map(|minute| Some(f64::from(minute))).collect();
    assert_eq!(means(1), gauge);
    let mut expected = vec![Some(10.0); 60];
    expected[9] = None;
    assert_eq!(means(2), expected, "relid changed at minute 10");
    let sum = SeriesQuery {
        fold: Fold::SumBy(&[]),
        ..query
    };
    let series = opened.reader.series(&sum).unwrap();
    assert_eq!(series.len(), 2);
    let sums = series[0]
        .points
        .iter()
        .map(|point| point.reading.unwrap().mean);
    let mut expected = vec![11.0; 60];
    expected[9] = 1.0;
    assert_eq!(sums.collect::<Vec<_>>(), expected);
    let growth = opened.reader.growth(&GrowthQuery {
        instance: "dwh-1",
        collector: "tables",
        database: Some("app"),
        columns: &["n_tup_ins", "n_dead_tup"],
        span: span(0, 3600),
    });
    let growth = growth.unwrap();
    assert_eq!(growth[0].growth, [Some(3600.0), Some(60.0)]);
    assert_eq!(growth[0].last, [Some(3600.0), Some(60.0)]);
    assert_eq!(growth[0].seconds, 3600.0);
    assert_eq!(growth[1].growth, [Some(35_400.0), Some(0.0)]);
    assert_eq!(growth[1].seconds, 3540.0);
}

#[test]
fn changes_are_told_and_nothing_else() {
    let mut opened = open();
    minutes(&mut opened, 90);
    let read = |from, to| {
        opened
            .reader
            .changes("dwh-1", "tables", span(from, to), 100)
            .unwrap()
    };
    let changes = read(0, 5400);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].at, time(600));
    assert_eq!(changes[0].labels, ["b"]);
    assert_eq!(changes[0].column.as_deref(), Some("relid"));
    assert_eq!(
        (&changes[0].before, &changes[0].after),
        (&Some(Value::Int(2)), &Some(Value::Int(3)))
    );
    assert_eq!(read(0, 599), []);
    assert_eq!(read(601, 5400), []);
}
