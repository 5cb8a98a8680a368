//! Pages of an instance that tests make up: any facts, any address, a real store.

use std::collections::BTreeMap;
use std::sync::Arc;

use pawang_collect::Catalog;
use pawang_config::{MetricsConfig, QueryText};
use pawang_core::{
    Cost, Epoch, Facts, Instance, Role, Server, Sighting, Snapshot, Timestamp, Value,
};
use pawang_store::live::{BudgetStatus, Live, Present};
use pawang_store::{Recorder, Store};
use tempfile::TempDir;

use crate::page::{Page, PageError, Range, Visit};
use crate::{Settings, Site};

/// A row: columns by name; those not named are NULL.
pub(crate) type Fields<'a> = Vec<(&'a str, Value)>;
/// A page of one instance.
type Render = fn(&Visit<'_>, &str) -> Result<Page, PageError>;

/// The name of the instance, which nobody would choose.
pub(crate) const NAME: &str = "<b onload=x>\"'&";
/// Texts that must stay texts wherever they are shown.
pub(crate) const HOSTILE: &str = "\"><script>alert(1)</script>' onclick='x";

/// A site with one instance.
pub(crate) struct Scene {
    site: Site,
    recorder: Recorder,
    _directory: TempDir,
}

/// Returns the time that all scenes end at.
pub(crate) fn now() -> Timestamp {
    "2026-11-21T15:00:00Z".parse().unwrap()
}

/// Returns a text as a value.
pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// Returns what a collector saw, with the columns that its header declares.
pub(crate) fn seen(
    collector: &str,
    database: Option<&str>,
    at: Timestamp,
    rows: &[Fields<'_>],
) -> Sighting {
    let catalog = Catalog::built_in();
    let columns = Arc::clone(&catalog.collector(collector).header.columns);
    let rows = rows.iter().map(|fields| {
        let mut values = vec![Value::Null; columns.len()];
        for (name, value) in fields {
            let place = columns.iter().position(|column| column.name == *name);
            values[place.unwrap()] = value.clone();
        }
        values
    });
    let rows: Vec<Vec<Value>> = rows.collect();
    let snapshot = Snapshot {
        collector: collector.to_owned(),
        database: database.map(str::to_owned),
        at,
        epoch: Some(Epoch::default()),
        cost: Cost::default(),
        columns,
        rows,
    };
    Sighting {
        collector: collector.to_owned(),
        database: database.map(str::to_owned),
        seen: Ok(Arc::new(snapshot)),
    }
}

impl Scene {
    /// Returns a site whose one instance was seen like this, the last time being the present.
    pub(crate) fn new(rounds: Vec<Vec<Sighting>>) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("data"), now())
            .unwrap()
            .store;
        let mut recorder = Recorder::new(store.clone());
        let live = Arc::new(Live::default());
        for sightings in rounds {
            let facts = facts(sightings);
            recorder.offer(facts.clone());
            live.put(present(facts));
        }
        recorder.flush(now());
        let (commands, _) = tokio::sync::mpsc::channel(1);
        Scene {
            site: Site {
                live,
                store,
                settings: Settings {
                    listen: ([127, 0, 0, 1], 0).into(),
                    sign_in: false,
                    sign_in_configured: None,
                    secure: false,
                    hosts: Vec::new(),
                    query_text: QueryText::Normalised,
                    metrics: MetricsConfig::default(),
                },
                commands,
                setup: tokio::sync::watch::channel(Arc::default()).1,
                logs: Default::default(),
                now,
            },
            recorder,
            _directory: directory,
        }
    }

    /// Draws a page of the instance, without its frame.
    pub(crate) fn draw(&self, render: Render, query: &[(&str, &str)]) -> String {
        let query: Vec<(String, String)> = query
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let range: Range = crate::page::range::parse(&query, now()).unwrap();
        let visit = Visit {
            site: &self.site,
            reader: &self.site.store.reader().unwrap(),
            now: now(),
            range,
            query: &query,
            account: None,
            csrf: None,
        };
        render(&visit, NAME).unwrap().body.into_string()
    }

    /// Keeps the text of a statement.
    pub(crate) fn text(&mut self, queryid: i64, text: &str) {
        self.recorder.text(queryid, text.to_owned());
        self.recorder.flush(now());
    }
}

fn facts(sightings: Vec<Sighting>) -> Facts {
    let at = sightings
        .iter()
        .filter_map(|s| Some(s.seen.as_ref().ok()?.at))
        .max();
    Facts {
        instance: Instance {
            name: NAME.to_owned(),
            ..Instance::default()
        },
        at: at.unwrap_or_else(now),
        server: Ok(Server {
            version: 180_000,
            version_text: "18.0".to_owned(),
            role: Role::Primary,
            epoch: Epoch::default(),
            user: "monitor".to_owned(),
            superuser: false,
            monitor: true,
            database: "postgres".to_owned(),
            data_directory: None,
            local: true,
        }),
        down: None,
        databases: Vec::new(),
        sightings,
        notes: vec![HOSTILE.to_owned()],
    }
}

fn present(facts: Facts) -> Present {
    Present {
        instance: facts.instance.clone(),
        labels: BTreeMap::new(),
        facts: Arc::new(facts),
        evaluation: None,
        since: Arc::default(),
        collectors: Arc::new([]),
        budget: BudgetStatus::default(),
        activity: Arc::new([]),
        answered_at: Some(now()),
    }
}
