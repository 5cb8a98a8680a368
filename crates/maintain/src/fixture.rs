//! Facts for tests of the planners: every collector answers with its declared columns, and with the rows that a test gives it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::SignedDuration;
use pawang_collect::{Catalog, Scope};
use pawang_core::{
    Blind, Cost, Epoch, Facts, Instance, Missing, Role, Server, Sighting, Snapshot, Timestamp,
    Value,
};

pub(crate) const DATABASE: &str = "sales";
const NOW: &str = "2026-07-15T02:00:00Z";

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::built_in);

/// A value of a row.
#[derive(Clone, Debug)]
pub(crate) struct Cell(pub(crate) Value);

impl From<f64> for Cell {
    fn from(number: f64) -> Cell {
        Cell(Value::Float(number))
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Cell {
        Cell(Value::Int(number))
    }
}

impl From<i32> for Cell {
    fn from(number: i32) -> Cell {
        Cell(Value::Int(number.into()))
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Cell {
        Cell(Value::Bool(flag))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell(Value::Text(text.into()))
    }
}

impl From<Timestamp> for Cell {
    fn from(instant: Timestamp) -> Cell {
        Cell(Value::Time(instant))
    }
}

/// Returns an instant so many seconds before the run.
pub(crate) fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A server as the collectors would see it.
#[derive(Clone)]
pub(crate) struct World {
    major: u32,
    at: Timestamp,
    rows: BTreeMap<String, Vec<BTreeMap<String, Value>>>,
    blind: Vec<String>,
    oids: BTreeMap<String, i64>,
}

impl World {
    /// A server with default settings and without tables.
    pub(crate) fn new(major: u32) -> World {
        let mut world = World {
            major,
            at: now(),
            rows: BTreeMap::new(),
            blind: Vec::new(),
            oids: BTreeMap::new(),
        };
        for (name, value) in [
            ("autovacuum", "on"),
            ("track_counts", "on"),
            ("autovacuum_naptime", "60"),
            ("autovacuum_vacuum_threshold", "50"),
            ("autovacuum_vacuum_scale_factor", "0.2"),
            ("autovacuum_vacuum_insert_threshold", "1000"),
            ("autovacuum_vacuum_insert_scale_factor", "0.2"),
            ("autovacuum_analyze_threshold", "50"),
            ("autovacuum_analyze_scale_factor", "0.1"),
            ("autovacuum_freeze_max_age", "200000000"),
            ("autovacuum_multixact_freeze_max_age", "400000000"),
            ("autovacuum_vacuum_cost_delay", "2"),
            ("autovacuum_vacuum_cost_limit", "-1"),
            ("vacuum_cost_limit", "200"),
            ("vacuum_failsafe_age", "1600000000"),
            ("vacuum_multixact_failsafe_age", "1600000000"),
            ("default_statistics_target", "100"),
            ("TimeZone", "Etc/UTC"),
        ] {
            world.set(name, value);
        }
        if major >= 18 {
            world.set("autovacuum_vacuum_max_threshold", "100000000");
        }
        world
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.at
    }

    /// The same server some time later.
    pub(crate) fn later(mut self, seconds: i64) -> World {
        self.at += SignedDuration::from_secs(seconds);
        self
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let settings = self.rows.entry("settings".to_owned()).or_default();
        settings.retain(|row| row["name"] != Value::Text(name.into()));
        self.row(
            "settings",
            &[("name", name.into()), ("setting", value.into())],
        );
    }

    pub(crate) fn blind(&mut self, collector: &str) {
        self.blind.push(collector.to_owned());
    }

    pub(crate) fn oid(&self, table: &str) -> i64 {
        self.oids[table]
    }

    /// Adds a row; what is not given is NULL.
    pub(crate) fn row(&mut self, collector: &str, columns: &[(&str, Cell)]) {
        self.blind.retain(|name| name != collector);
        let columns = columns.iter().map(|(name, cell)| {
            let value = match (&cell.0, *name) {
                (Value::Text(text), "reloptions" | "columns" | "key_columns") => {
                    Value::List(text.split_whitespace().map(str::to_owned).collect())
                }
                (value, _) => value.clone(),
            };
            ((*name).to_owned(), value)
        });
        self.rows
            .entry(collector.to_owned())
            .or_default()
            .push(columns.collect());
    }

    /// Adds an ordinary table of 100 MB that needs nothing, with some columns changed.
    pub(crate) fn table(&mut self, name: &str, columns: &[(&str, Cell)]) {
        let (schema, table) = name.split_once('.').unwrap();
        let oid = 16_384 + i64::try_from(self.oids.len()).unwrap();
        self.oids.insert(name.to_owned(), oid);
        let mut all: Vec<(&str, Cell)> = vec![
            ("schemaname", schema.into()),
            ("relname", table.into()),
            ("relid", oid.into()),
            ("relkind", "r".into()),
            ("relpersistence", "p".into()),
            ("relpages", 12_800.into()),
            ("relallvisible", 0.into()),
            ("size_bytes", 104_857_600.into()),
        ];
        all.extend_from_slice(columns);
        self.row("tables", &all);
    }

    /// Changes columns of the table that was added under this name.
    pub(crate) fn change(&mut self, name: &str, columns: &[(&str, Cell)]) {
        let oid = Value::Int(self.oid(name));
        let tables = self.rows.get_mut("tables").unwrap();
        let row = tables.iter_mut().find(|row| row["relid"] == oid).unwrap();
        row.extend(
            columns
                .iter()
                .map(|(name, cell)| ((*name).to_owned(), cell.0.clone())),
        );
    }

    pub(crate) fn facts(&self) -> Facts {
        let sightings = CATALOG.collectors.values().map(|collector| {
            let header = &collector.header;
            let database = (header.scope == Scope::Database).then(|| DATABASE.to_owned());
            let rows = self
                .rows
                .get(&collector.name)
                .into_iter()
                .flatten()
                .map(|row| {
                    let declared = |name: &String| header.columns.iter().any(|c| c.name == *name);
                    assert!(row.keys().all(declared), "{}: {row:?}", collector.name);
                    let columns = header.columns.iter();
                    columns
                        .map(|c| row.get(&c.name).cloned().unwrap_or_default())
                        .collect()
                });
            let snapshot = Snapshot {
                collector: collector.name.clone(),
                database: database.clone(),
                at: self.at,
                epoch: Some(Epoch::default()),
                cost: Cost::default(),
                columns: header.columns.clone(),
                rows: rows.collect(),
            };
            let what = "it was not to be seen".to_owned();
            Sighting {
                collector: collector.name.clone(),
                database,
                seen: if self.blind.contains(&collector.name) {
                    Err(Missing::Blind(Blind::Failed { what }))
                } else {
                    Ok(Arc::new(snapshot))
                },
            }
        });
        Facts {
            instance: Instance::default(),
            at: self.at,
            server: Ok(Server {
                version: self.major * 10_000 + 4,
                version_text: String::new(),
                role: Role::Primary,
                epoch: Epoch::default(),
                user: "monitor".to_owned(),
                superuser: false,
                monitor: true,
                database: DATABASE.to_owned(),
                data_directory: None,
                local: true,
            }),
            down: None,
            databases: vec![DATABASE.to_owned()],
            sightings: sightings.collect(),
            notes: Vec::new(),
        }
    }
}
