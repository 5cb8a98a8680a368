//! Whatever the snapshots hold, a scrape is one that Prometheus takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pawang_config::MetricsConfig;
use pawang_core::{
    Blind, Column, ColumnKind, Cost, Facts, Instance, Sighting, Snapshot, Timestamp, Value,
};
use pawang_metrics::Format;
use pawang_store::live::{BudgetStatus, Present};
use proptest::prelude::*;

use crate::scene::{name, samples, scrape};

fn column() -> impl Strategy<Value = Column> {
    let names = prop::sample::select(vec![
        "pid_",
        "relname",
        "database",
        "server",
        "__name__",
        "total_time",
        "time",
        "size_bytes",
        "size",
        "x_count",
        "x_total",
        "a_b",
        "b",
        "le",
        "é",
        "9",
    ]);
    let kinds = prop::sample::select(vec![
        ColumnKind::Label,
        ColumnKind::Counter,
        ColumnKind::Gauge,
        ColumnKind::Info,
    ]);
    let units = prop::sample::select(vec![
        None,
        Some("bytes"),
        Some("ms"),
        Some("rows"),
        Some("percent"),
    ]);
    (names, kinds, units).prop_map(|(name, kind, unit)| Column {
        name: name.to_owned(),
        kind,
        unit: unit.map(str::to_owned),
    })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        "[ab\\\\\"\n{},=é ]{0,3}".prop_map(|text| Value::Text(text.into())),
        Just(Value::Text("x".repeat(2_000).into())),
    ]
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let collectors = prop::sample::select(vec![
        "a",
        "a-b",
        "tables",
        "up",
        "instance",
        "activity",
        "replication",
    ]);
    let databases = prop::option::of(prop::sample::select(vec!["db", "d\"b"]));
    let columns = prop::collection::vec(column(), 1..6);
    (collectors, databases, columns).prop_flat_map(|(collector, database, mut columns)| {
        let mut names = BTreeSet::new();
        columns.retain(|column| names.insert(column.name.clone()));
        let row = prop::collection::vec(value(), columns.len());
        prop::collection::vec(row, 0..12).prop_map(move |rows| Snapshot {
            collector: collector.to_owned(),
            database: database.map(str::to_owned),
            at: Timestamp::UNIX_EPOCH,
            epoch: None,
            cost: Cost::default(),
            columns: columns.clone().into(),
            rows,
        })
    })
}

fn present(name: &str, snapshots: Vec<Snapshot>) -> Arc<Present> {
    let instance = Instance {
        name: name.to_owned(),
        ..Instance::default()
    };
    let sightings = snapshots.into_iter().map(|snapshot| Sighting {
        collector: snapshot.collector.clone(),
        database: snapshot.database.clone(),
        seen: Ok(Arc::new(snapshot)),
    });
    Arc::new(Present {
        facts: Arc::new(Facts {
            instance: instance.clone(),
            at: Timestamp::UNIX_EPOCH,
            server: Err(Blind::FirstSample),
            down: None,
            databases: Vec::new(),
            sightings: sightings.collect(),
            notes: Vec::new(),
        }),
        instance,
        labels: BTreeMap::from([
            ("role".to_owned(), "x".to_owned()),
            ("Role".to_owned(), "y".to_owned()),
        ]),
        evaluation: None,
        since: Arc::default(),
        collectors: Arc::new([]),
        budget: BudgetStatus::default(),
        activity: Arc::new([]),
        answered_at: None,
    })
}

/// Checks what the format demands: one head per name, before its samples, which lie together; labels with a name each.
fn check(text: &str) {
    let mut heads = BTreeSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            current = head.split(' ').next().unwrap().to_owned();
            assert!(heads.insert(current.clone()), "two heads: {head}");
        } else if !line.starts_with('#') {
            assert_eq!(name(line).split(' ').next().unwrap(), current, "{line}");
        }
    }
    samples(text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn no_series_comes_twice(
        one in prop::collection::vec(snapshot(), 0..5),
        other in prop::collection::vec(snapshot(), 0..5),
        series_per_collector in 1_u32..40,
    ) {
        let config = MetricsConfig {
            series_per_collector,
            postgres_exporter_names: true,
            ..MetricsConfig::default()
        };
        let presents = [present("a", one.clone()), present("b\"", other), present("a", one)];
        let text = scrape(&presents, Format::Prometheus, &config);
        check(&text);
        for collector in ["a-b", "tables"] {
            let text = crate::scene::scrape_of(&presents, Format::Prometheus, &config, Some(&[collector]));
            let ours = samples(&text).into_keys().filter(|series| series.starts_with("pawang_"));
            let of_a = ours.filter(|series| series.contains("server=\"a\"")).count();
            prop_assert!(of_a <= series_per_collector as usize, "{of_a} {text}");
        }
    }
}
