//! What was seen and what was seen before it: rates need two snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;

use pawang_core::{Missing, Row, Snapshot};
use pawang_store::live::Present;

/// Shorter spans give rates that jump.
const RATE_SECONDS_MIN: f64 = 0.9;

/// Texts of statements that are remembered; when there are more, all are learnt again.
const TEXTS_MAX: usize = 5_000;

/// Collector and database of a snapshot.
type Place = (String, Option<String>);

/// The newest present of each instance, and per collector the snapshot before the newest.
#[derive(Default)]
pub(crate) struct Memory {
    instances: Vec<Seen>,
}

/// One instance.
pub(crate) struct Seen {
    /// Its present.
    pub present: Arc<Present>,
    newest: BTreeMap<Place, Arc<Snapshot>>,
    before: BTreeMap<Place, Arc<Snapshot>>,
    /// Texts of statements that were seen running, by their identity.
    texts: BTreeMap<i64, String>,
}

impl Memory {
    /// Takes in what is known now.
    pub(crate) fn see(&mut self, presents: Vec<Arc<Present>>) {
        let mut known: BTreeMap<String, Seen> = std::mem::take(&mut self.instances)
            .into_iter()
            .map(|seen| (seen.present.instance.name.clone(), seen))
            .collect();
        for present in presents {
            let seen = match known.remove(&present.instance.name) {
                Some(mut seen) => {
                    seen.present = present;
                    seen
                }
                None => Seen {
                    present,
                    newest: BTreeMap::new(),
                    before: BTreeMap::new(),
                    texts: BTreeMap::new(),
                },
            };
            self.instances.push(seen.shift());
        }
    }

    /// Returns all instances by name.
    pub(crate) fn instances(&self) -> &[Seen] {
        &self.instances
    }

    /// Returns one instance.
    pub(crate) fn instance(&self, name: &str) -> Option<&Seen> {
        self.instances
            .iter()
            .find(|seen| seen.present.instance.name == name)
    }
}

impl Seen {
    fn shift(mut self) -> Seen {
        let sightings = self.present.facts.sightings.iter();
        for snapshot in sightings.filter_map(|sighting| sighting.seen.as_ref().ok()) {
            let place = (snapshot.collector.clone(), snapshot.database.clone());
            match self.newest.get(&place) {
                Some(newest) if seconds(newest, snapshot) < RATE_SECONDS_MIN => {}
                _ => {
                    if let Some(old) = self.newest.insert(place.clone(), Arc::clone(snapshot)) {
                        self.before.insert(place, old);
                    }
                }
            }
        }
        self.learn();
        self
    }

    /// Keeps the texts of statements that run: pg_stat_statements is read without its texts.
    fn learn(&mut self) {
        let sightings = self.present.facts.sightings.iter();
        let activity = sightings.filter(|sighting| sighting.collector == "activity");
        for snapshot in activity.filter_map(|sighting| sighting.seen.as_ref().ok()) {
            for row in snapshot.rows() {
                let (Some(id), Some(query)) = (row.int("query_id"), row.text("query")) else {
                    continue;
                };
                if self.texts.len() >= TEXTS_MAX {
                    self.texts.clear();
                }
                self.texts.entry(id).or_insert_with(|| query.to_owned());
            }
        }
    }

    /// Returns the text of a statement that was seen running.
    pub(crate) fn text(&self, queryid: i64) -> Option<&str> {
        self.texts.get(&queryid).map(String::as_str)
    }

    /// Returns the newest snapshots of a collector, one per database, or why there is none.
    pub(crate) fn snapshots(&self, collector: &str) -> Result<Vec<&Snapshot>, Option<&Missing>> {
        let sightings = self.present.facts.sightings.iter();
        let asked: Vec<_> = sightings.filter(|s| s.collector == collector).collect();
        let found: Vec<&Snapshot> = asked
            .iter()
            .filter_map(|s| s.seen.as_deref().ok())
            .collect();
        if found.is_empty() {
            let missing = asked.iter().find_map(|s| s.seen.as_ref().err());
            return Err(missing);
        }
        Ok(found)
    }

    /// Returns every row of a collector with its older self and the seconds between the two.
    pub(crate) fn rows(&self, collector: &str) -> Vec<Pair<'_>> {
        let mut pairs = Vec::new();
        for ((name, database), newest) in &self.newest {
            if name != collector {
                continue;
            }
            let before = self.before.get(&(name.clone(), database.clone()));
            let Some(before) = before else {
                pairs.extend(newest.rows().map(|row| Pair::alone(database, row)));
                continue;
            };
            let seconds = seconds(before, newest);
            for (row, older) in newest.paired(before) {
                pairs.push(Pair {
                    database: database.as_deref(),
                    row,
                    older: older.filter(|older| same_life(row, *older, newest)),
                    seconds,
                });
            }
        }
        pairs
    }
}

/// A row with its older self.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    /// The database it was read in.
    pub database: Option<&'a str>,
    /// The newest row.
    pub row: Row<'a>,
    older: Option<Row<'a>>,
    seconds: f64,
}

impl<'a> Pair<'a> {
    fn alone(database: &'a Option<String>, row: Row<'a>) -> Pair<'a> {
        Pair {
            database: database.as_deref(),
            row,
            older: None,
            seconds: 0.0,
        }
    }

    /// Returns how fast a counter grows, per second; `None` when nothing can be said.
    pub(crate) fn rate(&self, column: &str) -> Option<f64> {
        let growth = self.row.growth(self.older?, column)?;
        (self.seconds > 0.0).then(|| growth / self.seconds)
    }

    /// Returns by how much a counter grew between the two snapshots.
    pub(crate) fn growth(&self, column: &str) -> Option<f64> {
        self.row.growth(self.older?, column)
    }
}

/// Says whether counters were neither reset nor began anew in between.
fn same_life(row: Row<'_>, older: Row<'_>, snapshot: &Snapshot) -> bool {
    let marks = ["stats_reset", "stats_since", "relid"];
    let declared = |mark: &&str| snapshot.columns.iter().any(|column| column.name == **mark);
    marks
        .iter()
        .filter(|mark| declared(mark))
        .all(|mark| row.value(mark) == older.value(mark))
}

fn seconds(older: &Snapshot, newer: &Snapshot) -> f64 {
    newer.at.duration_since(older.at).as_secs_f64()
}
