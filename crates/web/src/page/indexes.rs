//! Indexes: how large, how used, and which of them checks found to be of no use.

use std::collections::HashMap;

use maud::{Markup, html};
use pawang_core::{Timestamp, Value};
use pawang_store::history::Growth;
use pawang_store::live::Present;

use super::parts::{
    Column, Field, Here, Line, Table, choices, dash, figure, filter, growth, instance_path,
    known_at, matches, path, per_second, percent, shell,
};
use super::tables::{by_place, everywhere, measured, not_seen, seen_at};
use super::{Page, PageError, Place, Visit};
use crate::words;

/// What is read of every index, in the order of [`Index::grown`].
const COLUMNS: [&str; 4] = ["size_bytes", "idx_scan", "idx_blks_hit", "idx_blks_read"];
/// Checks that say that an index should not be as it is, with what the list calls it.
const FOUND: [(&str, &str); 5] = [
    ("invalid-index", "invalid"),
    ("duplicate-index", "duplicate"),
    ("redundant-index", "redundant"),
    ("unused-index", "unused"),
    ("index-bloat", "bloated"),
];

/// One index.
struct Index<'a> {
    line: Line<'a>,
    database: &'a str,
    /// `schema.index`.
    name: String,
    bloat_percent: Option<f64>,
    /// Word and fingerprint of what checks found.
    found: Vec<(&'static str, String)>,
    growth: Option<Growth>,
}

/// Draws the page.
///
/// # Errors
/// There is no such instance, or the history does not answer.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let here = Here {
        visit,
        path: instance_path(name, "indexes"),
        keeps: &["database", "schema", "found", "q", "sort", "show"],
    };
    let indexes = read(visit, name, &present)?;
    let reset_at = indexes
        .iter()
        .filter_map(|i| i.line.time("stats_reset"))
        .min();
    let body = html! {
        (not_seen(&present, "indexes"))
        (figures(&indexes))
        (section(&here, name, indexes))
        @if let Some(at) = reset_at { p .muted { "Counters run since " (words::ago(visit.now, at)) " at the longest." } }
        (words::command(&format!("pawang check unused-index -i {}", shell(name))))
    };
    Ok(Page {
        title: "Indexes".to_owned(),
        place: Place::Tables,
        instance: Some(name.to_owned()),
        body,
        seen_at: seen_at(&present, "indexes").or_else(|| known_at(&present)),
    })
}

fn read<'a>(
    visit: &Visit<'_>,
    name: &str,
    present: &'a Present,
) -> Result<Vec<Index<'a>>, PageError> {
    let mut grown = by_place(growth(visit, name, "indexes", &COLUMNS, visit.range.span)?);
    let bloat = measured(present, "index-bloat");
    let found = findings(present);
    let all = everywhere(present, "indexes");
    // An index of a TOAST table is part of what the table's page shows as TOAST.
    let own = all.iter().filter(|line| line.word("table_relkind") != "t");
    let indexes = own.map(|line| {
        let database = line.database().unwrap_or_default();
        let text = |column: &str| line.word(column).to_owned();
        let labels = vec![text("schemaname"), text("relname"), text("indexrelname")];
        let name = format!("{}.{}", labels[0], labels[2]);
        let place = format!("{database}/{name}");
        Index {
            line: *line,
            database,
            bloat_percent: bloat.get(place.as_str()).copied(),
            found: found.get(&place).cloned().unwrap_or_default(),
            growth: grown.remove(&(database.to_owned(), labels)),
            name,
        }
    });
    Ok(indexes.collect())
}

/// Returns what checks found, by `database/schema.index`.
fn findings(present: &Present) -> HashMap<String, Vec<(&'static str, String)>> {
    let mut all: HashMap<String, Vec<(&'static str, String)>> = HashMap::new();
    let evaluation = present.evaluation.iter();
    let verdicts = evaluation.flat_map(|evaluation| &evaluation.verdicts);
    for finding in verdicts.flat_map(|verdict| &verdict.findings) {
        let word = FOUND.iter().find(|(check, _)| *check == finding.check);
        if let (Some((_, word)), Some(database)) = (word, &finding.database) {
            let place = format!("{database}/{}", finding.object);
            all.entry(place)
                .or_default()
                .push((word, finding.fingerprint.clone()));
        }
    }
    all
}

impl Index<'_> {
    fn grown(&self, column: &str) -> Option<f64> {
        let index = COLUMNS.iter().position(|known| *known == column)?;
        self.growth.as_ref()?.growth.get(index).copied().flatten()
    }

    fn scans_per_second(&self) -> Option<f64> {
        let seconds = self.growth.as_ref()?.seconds;
        let scans = self.grown("idx_scan")?;
        (seconds > 0.0).then(|| scans / seconds)
    }

    fn hit_percent(&self) -> Option<f64> {
        let (hit, read) = (self.grown("idx_blks_hit")?, self.grown("idx_blks_read")?);
        (hit + read > 0.0).then(|| 100.0 * hit / (hit + read))
    }

    /// Returns what it is for besides speed.
    fn kind(&self) -> &'static str {
        let flag = |column: &str| self.line.flag(column) == Some(true);
        if flag("indisprimary") {
            "primary key"
        } else if flag("indisexclusion") {
            "exclusion"
        } else if flag("indisunique") {
            "unique"
        } else {
            ""
        }
    }

    fn broken(&self) -> Option<&'static str> {
        let is_off = |column: &str| self.line.flag(column) == Some(false);
        if self.line.flag("in_progress") == Some(true) {
            Some("being built")
        } else if is_off("indisvalid") || is_off("indisready") || is_off("indislive") {
            Some("invalid")
        } else {
            None
        }
    }

    fn columns(&self) -> String {
        match self.line.value("key_columns") {
            Value::List(columns) => columns.join(", "),
            _ => String::new(),
        }
    }
}

fn figures(indexes: &[Index<'_>]) -> Markup {
    let size = |of: &dyn Fn(&Index<'_>) -> bool| -> f64 {
        let of = indexes.iter().filter(|index| of(index));
        of.filter_map(|index| index.line.number("size_bytes")).sum()
    };
    let never = |index: &Index<'_>| index.line.number("idx_scan") == Some(0.0);
    let (hit, read) = indexes.iter().fold((0.0, 0.0), |(hit, read), index| {
        let of = |column| index.grown(column).unwrap_or(0.0);
        (hit + of("idx_blks_hit"), read + of("idx_blks_read"))
    });
    let hit = (hit + read > 0.0).then(|| 100.0 * hit / (hit + read));
    html! {
        dl .figures {
            (figure("indexes", html! { (words::number(indexes.len() as f64)) }, "of at least 64 pages, and all that are not valid"))
            (figure("size", html! { (words::bytes(size(&|_| true))) }, "all of them"))
            (figure("never scanned", html! { (words::number(indexes.iter().filter(|i| never(i)).count() as f64)) small { " " (words::bytes(size(&never))) } }, "since their counters began; unique ones serve even so"))
            (figure("invalid", html! { (indexes.iter().filter(|i| i.broken() == Some("invalid")).count()) }, "they cost writes and answer nothing"))
            (figure("cache hits", super::parts::or_dash(hit.map(percent), "nothing was read in the range"), "share of index blocks found in shared buffers, in the range"))
        }
    }
}

fn section(here: &Here<'_>, name: &str, mut indexes: Vec<Index<'_>>) -> Markup {
    let choice = |key, title, values| Field::Choice { key, title, values };
    let fields = [
        choice(
            "database",
            "Database",
            choices(indexes.iter().map(|i| i.database)),
        ),
        choice(
            "schema",
            "Schema",
            choices(indexes.iter().map(|i| i.line.word("schemaname"))),
        ),
        choice(
            "found",
            "Found",
            choices(FOUND.iter().map(|(_, word)| *word)),
        ),
        Field::Search {
            key: "q",
            title: "Index or table",
        },
    ];
    let form = filter(here, &fields);
    let text = here.visit.parameter("q").unwrap_or_default().to_lowercase();
    let found = here.visit.parameter("found").unwrap_or_default();
    let all = indexes.len();
    indexes.retain(|i| {
        matches(here, "database", i.database)
            && matches(here, "schema", i.line.word("schemaname"))
            && (found.is_empty() || i.found.iter().any(|(word, _)| *word == found))
            && (text.is_empty()
                || i.name.to_lowercase().contains(&text)
                || i.line.word("relname").to_lowercase().contains(&text))
    });
    let cut = indexes.len() < all;
    html! { section #indexes { (form) (table(here, name, cut).draw(here, indexes)) } }
}

fn table<'a>(here: &'a Here<'a>, name: &'a str, filtered: bool) -> Table<'a, Index<'a>> {
    Table {
        what: "indexes",
        sorted: "size",
        columns: named(here.visit, name)
            .into_iter()
            .chain(measures(here.visit))
            .collect(),
        empty: if filtered {
            html! { p { "No index passes the filter." } }
        } else {
            html! { p { "No index is large enough to be sampled (64 pages)." } }
        },
    }
}

/// Returns the columns that say what an index is.
fn named<'a>(visit: &'a Visit<'a>, name: &'a str) -> Vec<Column<'a, Index<'a>>> {
    type I<'a> = Index<'a>;
    vec![
        Column::text(
            ("index", "Index", "schema and name"),
            |i: &I<'a>| i.name.clone(),
            |i| html! { (i.name) small { " " (i.line.word("access_method")) } },
        ),
        Column::text(
            ("table", "Table", "table it belongs to"),
            |i: &I<'a>| i.line.word("relname").to_owned(),
            move |i| table_link(visit, name, i),
        ),
        Column::text(
            (
                "columns",
                "Columns",
                "key columns, and those that it carries along",
            ),
            |i: &I<'a>| i.columns(),
            |i| html! { (i.columns()) },
        ),
        Column::text(
            ("database", "Database", ""),
            |i: &I<'a>| i.database.to_owned(),
            |i| html! { (i.database) },
        ),
        Column::text(
            ("kind", "Kind", "what it is for besides speed"),
            |i: &I<'a>| i.kind().to_owned(),
            |i| html! { (i.kind()) @if let Some(word) = i.broken() { span .pill.warning { (word) } } },
        ),
    ]
}

/// Returns the columns that say how large and how used an index is.
fn measures<'a>(visit: &'a Visit<'a>) -> Vec<Column<'a, Index<'a>>> {
    type I<'a> = Index<'a>;
    let now = visit.now;
    vec![
        Column::number(
            ("size", "Size", ""),
            |i: &I<'a>| i.line.number("size_bytes"),
            words::bytes,
        ),
        Column::number(
            ("growth", "Growth", "in the range"),
            |i: &I<'a>| i.grown("size_bytes"),
            words::bytes,
        ),
        Column::number(
            ("rate", "Scans/s", "scans per second in the range"),
            Index::scans_per_second,
            per_second,
        ),
        Column::number(
            ("scans", "Scans", "since its counters began"),
            |i: &I<'a>| i.line.number("idx_scan"),
            words::number,
        ),
        Column::number(
            ("unused", "Last used", "the longest unused first"),
            move |i: &I<'a>| unused_seconds(now, i),
            words::age,
        )
        .shown(move |i| last_used(now, i)),
        Column::share(
            (
                "hit",
                "Hits",
                "share of its blocks found in shared buffers, in the range",
            ),
            Index::hit_percent,
            "nothing was read in the range",
        ),
        Column::share(
            (
                "bloat",
                "Bloat",
                "share of its pages that REINDEX would give back, by the check index-bloat",
            ),
            |i: &I<'a>| i.bloat_percent,
            "not estimated",
        ),
        Column::text(
            ("found", "Found", "what checks found"),
            |i: &I<'a>| {
                i.found
                    .first()
                    .map_or(String::new(), |(word, _)| (*word).to_owned())
            },
            move |i| found(visit, i),
        ),
    ]
}

/// Returns for how long an index was not used; one that never was is unused for longer than any.
fn unused_seconds(now: Timestamp, index: &Index<'_>) -> Option<f64> {
    let used_at = index.line.time("last_idx_scan");
    let never = index.line.number("idx_scan") == Some(0.0);
    match used_at {
        Some(at) => Some(words::seconds_since(now, at)),
        None => never.then_some(f64::INFINITY),
    }
}

fn last_used(now: Timestamp, index: &Index<'_>) -> Markup {
    match (
        index.line.time("last_idx_scan"),
        index.line.number("idx_scan"),
    ) {
        (Some(at), _) => words::ago(now, at),
        (None, Some(0.0)) => html! { small title="since its counters began" { "never" } },
        (None, _) => dash("PostgreSQL tells it from 16 on"),
    }
}

fn table_link(visit: &Visit<'_>, name: &str, index: &Index<'_>) -> Markup {
    let table = format!(
        "{}.{}",
        index.line.word("schemaname"),
        index.line.word("relname")
    );
    let pairs = [("table", table.as_str()), ("database", index.database)];
    html! { a href=(path(visit, &instance_path(name, "tables"), &pairs)) { (index.line.word("relname")) } }
}

fn found(visit: &Visit<'_>, index: &Index<'_>) -> Markup {
    html! { @for (word, fingerprint) in &index.found {
        a .pill.warning href=(visit.link(&format!("/findings/{}", words::encode(fingerprint)))) { (word) } " "
    } }
}
