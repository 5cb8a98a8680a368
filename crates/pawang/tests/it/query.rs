//! What statements cost, as a person asks for it: `query top`, `show`, `regressions`, `explain`.
#![expect(
    clippy::disallowed_methods,
    reason = "the history of this test ends now"
)]

use std::sync::Arc;

use pawang_core::{
    Blind, Column, ColumnKind, Cost, Epoch, Facts, Instance, Sighting, Snapshot, Timestamp, Value,
};
use pawang_store::Store;

use crate::program::{Desk, instance};
use crate::serve::file;

/// Two weeks of samples, half an hour apart.
const SAMPLES: i64 = 2 * 24 * 14;
const HALF_HOUR: i64 = 1_800;
/// The slow statement is slow for so many samples.
const SLOW: i64 = 8;
const STEADY: i64 = 11;
const STEPPED: i64 = -22;

const COUNTERS: [&str; 9] = [
    "calls",
    "total_exec_time",
    "rows",
    "shared_blks_hit",
    "shared_blks_read",
    "temp_blks_read",
    "temp_blks_written",
    "wal_bytes",
    "total_plan_time",
];

fn columns() -> Arc<[Column]> {
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
        unit: None,
    };
    let labels =
        ["datname", "rolname", "toplevel", "queryid"].map(|name| column(name, ColumnKind::Label));
    let counters = COUNTERS.map(|name| column(name, ColumnKind::Counter));
    labels.into_iter().chain(counters).collect()
}

fn row(queryid: i64, calls: i64, milliseconds: i64, blocks: i64) -> Vec<Value> {
    let labels = ["dwh", "etl", "true"].map(|text| Value::Text(text.into()));
    let counters = [calls, milliseconds, calls, blocks, 0, 0, 0, 0, 0].map(Value::Int);
    let queryid = Value::Text(queryid.to_string().into());
    labels
        .into_iter()
        .chain([queryid])
        .chain(counters)
        .collect()
}

/// Writes a history in which one statement is what it always was, and another takes ten times its time for four hours.
fn history(desk: &Desk, now: Timestamp) {
    let store = Store::open(&desk.path("state/data"), now).unwrap().store;
    let mut writer = store.writer().unwrap();
    let columns = columns();
    let (mut calls, mut steady_ms, mut stepped_ms, mut blocks) = (0, 0, 0, 0);
    for sample in 0..SAMPLES {
        let slow = sample >= SAMPLES - SLOW;
        calls += 1_000;
        steady_ms += 5_000;
        stepped_ms += if slow { 50_000 } else { 5_000 };
        blocks += if slow { 400_000 } else { 20_000 };
        let at = Timestamp::from_second(now.as_second() - (SAMPLES - sample) * HALF_HOUR).unwrap();
        let snapshot = Snapshot {
            collector: "statements".to_owned(),
            database: None,
            at,
            epoch: Some(Epoch::default()),
            cost: Cost::default(),
            columns: Arc::clone(&columns),
            rows: vec![
                row(STEADY, calls, steady_ms, calls),
                row(STEPPED, calls, stepped_ms, blocks),
            ],
        };
        let facts = Facts {
            instance: Instance {
                name: "dwh-1".to_owned(),
                ..Instance::default()
            },
            at,
            server: Err(Blind::FirstSample),
            down: None,
            databases: Vec::new(),
            sightings: vec![Sighting {
                collector: snapshot.collector.clone(),
                database: None,
                seen: Ok(Arc::new(snapshot)),
            }],
            notes: Vec::new(),
        };
        writer.append(&facts).unwrap();
    }
    writer
        .text(STEPPED, "SELECT * FROM orders WHERE customer = $1", now)
        .unwrap();
    writer.commit().unwrap();
}

#[test]
fn what_became_slower_is_told_with_its_time_and_its_cause() {
    let desk = Desk::new();
    file(
        &desk,
        &instance("dwh-1", "postgresql://nowhere.invalid/dwh"),
    );
    let missing = desk.pawang(&["query", "top"]);
    missing.is_clear_error(3, &["no history", "pawang serve", "nowhere.invalid"]);
    let missing = desk.pawang(&["query", "top", "--since", "24h"]);
    missing.is_clear_error(4, &["history", "pawang serve"]);
    history(&desk, Timestamp::now());

    let top = desk.pawang(&["query", "top", "--since", "24h"]);
    assert_eq!(top.code, 0, "{top:?}");
    let first = top.stdout.lines().nth(1).unwrap();
    assert!(first.starts_with("-22\t"), "{top:?}");
    assert!(
        first.contains("SELECT * FROM orders WHERE customer = $1"),
        "{top:?}"
    );
    let wrong = desk.pawang(&["query", "top", "--database", "elsewhere"]);
    assert_eq!(wrong.code, 1, "{wrong:?}");

    let slower = desk.pawang(&["query", "regressions"]);
    assert_eq!(slower.code, 1, "{slower:?}");
    assert_eq!(
        slower.stdout.lines().count(),
        2,
        "the steady one is silent: {slower:?}"
    );
    assert!(slower.stdout.contains("\t-22\t"), "{slower:?}");
    assert!(slower.stdout.contains("more blocks per call"), "{slower:?}");
    let data = desk
        .pawang(&["query", "regressions", "--json"])
        .data("pawang.query.regressions/1");
    let ratio = data[0]["regression"]["ratio"].as_f64().unwrap();
    assert!((7.0..=10.5).contains(&ratio), "{data}");
    let hours = data[0]["regression"]["calls"].as_f64().unwrap() / 2_000.0;
    assert!((3.0..=5.0).contains(&hours), "{data}");

    // When all there is is judged, nothing is left to compare it with.
    let young = desk.pawang(&["query", "regressions", "--since", "1000h"]);
    assert_eq!(young.code, 3, "{young:?}");
    assert!(
        young.stderr.contains("none has a past of 3 hours"),
        "{young:?}"
    );

    let one = desk.pawang(&["query", "show", "-22", "--since", "6h"]);
    assert_eq!(one.code, 0, "{one:?}");
    assert!(one.stdout.starts_with("SELECT * FROM orders"), "{one:?}");
    assert!(one.stdout.contains("50 ms"), "{one:?}");
    desk.pawang(&["query", "show", "99"])
        .is_clear_error(1, &["no history of query 99", "query top"]);
}
