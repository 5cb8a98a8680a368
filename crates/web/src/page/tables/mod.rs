//! Tables: how large, how busy, how dead; and one table's own page.

mod list;
mod one;

use std::collections::HashMap;

use pawang_core::Timestamp;
use pawang_store::history::Growth;
use pawang_store::live::Present;

use super::parts::{Here, Line, growth, instance_path, known_at, lines_of};
use super::{Page, PageError, Place, Visit};

pub(super) use list::not_seen;

/// What is read of every table, in the order of [`Relation::grown`].
const COLUMNS: [&str; 9] = [
    "size_bytes",
    "seq_scan",
    "idx_scan",
    "n_tup_ins",
    "n_tup_upd",
    "n_tup_del",
    "n_tup_hot_upd",
    "heap_blks_hit",
    "heap_blks_read",
];

/// One table with what belongs to it.
pub(super) struct Relation<'a> {
    /// Its database.
    pub database: &'a str,
    /// `schema.table`.
    pub name: String,
    /// The newest facts.
    pub line: Line<'a>,
    /// Its own size, without TOAST and indexes; `None` until the first VACUUM or ANALYZE counts its pages.
    pub heap_bytes: Option<f64>,
    /// The size of its TOAST table, where that is large enough to be seen.
    pub toast_bytes: f64,
    /// The size of its indexes that are large enough to be seen.
    pub index_bytes: f64,
    /// Share of its pages that a rewrite would give back, where a check estimated it.
    pub bloat_percent: Option<f64>,
    growth: Option<Growth>,
}

/// Draws the list, or with `table` and `database` one table.
///
/// # Errors
/// There is no such instance or table, or the history does not answer.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let here = Here {
        visit,
        path: instance_path(name, "tables"),
        keeps: &["database", "schema", "q", "table", "sort", "show"],
    };
    let relations = read(visit, name, &present)?;
    let (title, body) = match visit.parameter("table") {
        Some(table) if !table.is_empty() => {
            let database = visit.parameter("database").unwrap_or_default();
            let found = relations.iter().find(|relation| {
                relation.name == table && (database.is_empty() || relation.database == database)
            });
            let relation = found.ok_or_else(|| PageError::NotFound {
                what: format!("table \"{table}\" that is large enough to be sampled"),
            })?;
            let title = format!("Table {table}");
            (title, one::draw(visit, name, &present, relation)?)
        }
        _ => ("Tables".to_owned(), list::draw(&here, &present, relations)),
    };
    Ok(Page {
        title,
        place: Place::Tables,
        instance: Some(name.to_owned()),
        body,
        seen_at: seen_at(&present, "tables").or_else(|| known_at(&present)),
    })
}

/// Returns when a collector that is asked in each database saw the oldest of its newest snapshots.
pub(super) fn seen_at(present: &Present, collector: &str) -> Option<Timestamp> {
    let sightings = present.facts.sightings.iter();
    let snapshots = sightings.filter(|sighting| sighting.collector == collector);
    snapshots
        .filter_map(|sighting| Some(sighting.seen.as_ref().ok()?.at))
        .min()
}

/// Returns the rows of a collector from every database that it was seen in.
pub(super) fn everywhere<'a>(present: &'a Present, collector: &str) -> Vec<Line<'a>> {
    let sightings = present.facts.sightings.iter();
    sightings
        .filter(|sighting| sighting.collector == collector)
        .filter_map(|sighting| sighting.seen.as_deref().ok())
        .flat_map(lines_of)
        .collect()
}

/// Returns the growth of rows by database and labels.
pub(super) fn by_place(grown: Vec<Growth>) -> HashMap<(String, Vec<String>), Growth> {
    let key = |row: &Growth| (row.database.clone().unwrap_or_default(), row.labels.clone());
    grown.into_iter().map(|row| (key(&row), row)).collect()
}

/// Returns all tables, without TOAST tables: those are part of their owner.
pub(super) fn read<'a>(
    visit: &Visit<'_>,
    name: &str,
    present: &'a Present,
) -> Result<Vec<Relation<'a>>, PageError> {
    let mut grown = by_place(growth(visit, name, "tables", &COLUMNS, visit.range.span)?);
    let all = everywhere(present, "tables");
    let mut toasts: HashMap<(&str, i64), f64> = HashMap::new();
    for line in all.iter().filter(|line| line.word("relkind") == "t") {
        if let Some(owner) = owner_of_toast(line.word("relname")) {
            let key = (line.database().unwrap_or_default(), owner);
            *toasts.entry(key).or_default() += line.number("size_bytes").unwrap_or(0.0);
        }
    }
    let mut indexes: HashMap<(&str, i64), f64> = HashMap::new();
    for line in everywhere(present, "indexes") {
        if let Some(table) = line.int("relid") {
            let key = (line.database().unwrap_or_default(), table);
            *indexes.entry(key).or_default() += line.number("size_bytes").unwrap_or(0.0);
        }
    }
    let bloat = measured(present, "table-bloat");
    let tables = all.iter().filter(|line| line.word("relkind") != "t");
    let relations = tables.map(|line| {
        let database = line.database().unwrap_or_default();
        let key = (database, line.int("relid").unwrap_or_default());
        let labels = vec![
            line.word("schemaname").to_owned(),
            line.word("relname").to_owned(),
        ];
        let name = labels.join(".");
        Relation {
            database,
            line: *line,
            heap_bytes: counted_bytes(line),
            toast_bytes: toasts.get(&key).copied().unwrap_or(0.0),
            index_bytes: indexes.get(&key).copied().unwrap_or(0.0),
            bloat_percent: bloat.get(format!("{database}/{name}").as_str()).copied(),
            growth: grown.remove(&(database.to_owned(), labels)),
            name,
        }
    });
    Ok(relations.collect())
}

/// Returns the size of a table; `None` when it has rows and PostgreSQL has not counted its pages yet.
fn counted_bytes(line: &Line<'_>) -> Option<f64> {
    let bytes = line.number("size_bytes")?;
    let rows = line.number("n_live_tup").unwrap_or(0.0) + line.number("n_dead_tup").unwrap_or(0.0);
    let partitioned = line.word("relkind") == "p";
    (bytes > 0.0 || rows == 0.0 || partitioned).then_some(bytes)
}

/// Says why a table has no size.
const UNCOUNTED: &str = "not known before its first VACUUM or ANALYZE";

/// Returns the owner of a TOAST table: its name carries the number.
fn owner_of_toast(relname: &str) -> Option<i64> {
    relname.strip_prefix("pg_toast_")?.parse().ok()
}

/// Returns what a check measured, by `database/object`.
pub(super) fn measured<'a>(present: &'a Present, check: &str) -> HashMap<&'a str, f64> {
    let evaluation = present.evaluation.iter();
    let verdicts = evaluation.flat_map(|evaluation| &evaluation.verdicts);
    verdicts
        .filter(|verdict| verdict.check == check)
        .flat_map(|verdict| &verdict.measures)
        .map(|measure| (measure.object.as_str(), measure.value))
        .collect()
}

impl Relation<'_> {
    /// Returns table, TOAST and indexes together.
    pub(super) fn total_bytes(&self) -> Option<f64> {
        Some(self.heap_bytes? + self.toast_bytes + self.index_bytes)
    }

    /// Returns how much a counter grew in the range, or where a gauge moved.
    pub(super) fn grown(&self, column: &str) -> Option<f64> {
        let index = COLUMNS.iter().position(|known| *known == column)?;
        self.growth.as_ref()?.growth.get(index).copied().flatten()
    }

    /// Returns how much a counter grew per second.
    fn rate(&self, column: &str) -> Option<f64> {
        let seconds = self.growth.as_ref()?.seconds;
        let grown = self.grown(column)?;
        (seconds > 0.0).then(|| grown / seconds)
    }

    /// Returns the share of dead rows, in percent.
    fn dead_percent(&self) -> Option<f64> {
        let (live, dead) = (
            self.line.number("n_live_tup")?,
            self.line.number("n_dead_tup")?,
        );
        (live + dead > 0.0).then(|| 100.0 * dead / (live + dead))
    }

    /// Returns the share of updates that stayed on their page, in percent.
    fn hot_percent(&self) -> Option<f64> {
        let (all, hot) = (self.grown("n_tup_upd")?, self.grown("n_tup_hot_upd")?);
        (all > 0.0).then(|| 100.0 * hot / all)
    }

    /// Returns when it was vacuumed last, by hand or not.
    fn vacuumed_at(&self) -> Option<Timestamp> {
        self.line
            .time("last_vacuum")
            .max(self.line.time("last_autovacuum"))
    }

    /// Returns when it was analyzed last, by hand or not.
    fn analyzed_at(&self) -> Option<Timestamp> {
        self.line
            .time("last_analyze")
            .max(self.line.time("last_autoanalyze"))
    }

    /// Returns what it is, for people; empty for a plain table.
    fn kind(&self) -> &'static str {
        match self.line.word("relkind") {
            "p" => "partitioned",
            "m" => "materialized view",
            _ if self.line.flag("relispartition") == Some(true) => "partition",
            _ if self.line.word("relpersistence") == "u" => "unlogged",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toast_belongs_to_the_table_in_its_name() {
        for (name, owner) in [
            ("pg_toast_16401", Some(16_401)),
            ("pg_toast_16401_index", None),
            ("orders", None),
        ] {
            assert_eq!(owner_of_toast(name), owner);
        }
    }
}
