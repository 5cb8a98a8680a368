//! The list of tables.

use std::collections::BTreeSet;

use maud::{Markup, html};
use pawang_core::{Missing, Timestamp};
use pawang_store::live::Present;

use super::{Relation, UNCOUNTED};
use crate::page::Visit;
use crate::page::parts::{
    Column, Field, Head, Here, Table, choices, dash, figure, filter, matches, path, per_second,
    percent, unseen,
};
use crate::words;

/// Why a table has no estimate of its bloat.
const NOT_ESTIMATED: &str =
    "not among the 100 largest, not analyzed, or its statistics may not be read";

/// Draws sums, filter and table.
pub(super) fn draw(here: &Here<'_>, present: &Present, mut relations: Vec<Relation<'_>>) -> Markup {
    let missing = not_seen(present, "tables");
    let fields = [
        Field::Choice {
            key: "database",
            title: "Database",
            values: choices(relations.iter().map(|r| r.database)),
        },
        Field::Choice {
            key: "schema",
            title: "Schema",
            values: choices(relations.iter().map(|r| r.line.word("schemaname"))),
        },
        Field::Search {
            key: "q",
            title: "Table",
        },
    ];
    let form = filter(here, &fields);
    let text = here.visit.parameter("q").unwrap_or_default().to_lowercase();
    let all = relations.len();
    relations.retain(|r| {
        matches(here, "database", r.database)
            && matches(here, "schema", r.line.word("schemaname"))
            && (text.is_empty() || r.name.to_lowercase().contains(&text))
    });
    let cut = relations.len() < all;
    html! {
        (missing)
        (figures(&relations))
        (form)
        (table(here, cut).draw(here, relations))
    }
}

/// Says which databases were not seen and why, each reason once.
pub(in crate::page) fn not_seen(present: &Present, collector: &str) -> Markup {
    let sightings = present.facts.sightings.iter();
    let missing: Vec<(&str, &Missing)> = sightings
        .filter(|sighting| sighting.collector == collector)
        .filter_map(|s| Some((s.database.as_deref().unwrap_or(""), s.seen.as_ref().err()?)))
        .collect();
    let reasons: Vec<&Missing> = missing.iter().map(|(_, missing)| *missing).collect();
    let mut shown: Vec<&Missing> = Vec::new();
    for reason in reasons {
        if !shown.contains(&reason) {
            shown.push(reason);
        }
    }
    let asked = present
        .facts
        .sightings
        .iter()
        .any(|s| s.collector == collector);
    html! {
        @if !asked {
            @match &present.facts.server {
                Err(blind) => (words::not_seen(blind)),
                Ok(_) => p .muted { "Not asked yet: the first sample is on its way." },
            }
        }
        @for reason in shown {
            @let databases: BTreeSet<&str> = missing.iter().filter(|(_, m)| m == &reason).map(|(d, _)| *d).collect();
            p .muted { "Not seen in " (databases.into_iter().take(20).collect::<Vec<_>>().join(", ")) ":" }
            (unseen(reason))
        }
    }
}

fn figures(relations: &[Relation<'_>]) -> Markup {
    let total: f64 = relations.iter().filter_map(Relation::total_bytes).sum();
    let grown: Option<f64> = relations
        .iter()
        .filter_map(|r| r.grown("size_bytes"))
        .reduce(|a, b| a + b);
    let dead: f64 = relations
        .iter()
        .filter_map(|r| r.line.number("n_dead_tup"))
        .sum();
    let live: f64 = relations
        .iter()
        .filter_map(|r| r.line.number("n_live_tup"))
        .sum();
    html! {
        dl .figures {
            (figure("tables", html! { (words::number(relations.len() as f64)) }, "of at least 64 pages or 1,000 row versions; smaller ones are not sampled"))
            (figure("size", html! { (words::bytes(total)) }, "tables with their TOAST and indexes"))
            (figure("growth", html! { @match grown { Some(grown) => (words::bytes(grown)), None => (dash("two samples are needed")) } }, "of the tables alone, in the range"))
            (figure("live rows", html! { (words::number(live)) }, "as the statistics estimate them"))
            (figure("dead rows", html! { (words::number(dead)) }, "as the statistics estimate them"))
        }
    }
}

fn table<'a>(here: &'a Here<'a>, filtered: bool) -> Table<'a, Relation<'a>> {
    Table {
        what: "tables",
        sorted: "size",
        columns: sizes(here).into_iter().chain(activity(here)).collect(),
        empty: if filtered {
            html! { p { "No table passes the filter." } }
        } else {
            html! { p { "No table is large enough to be sampled: 64 pages or 1,000 row versions." } }
        },
    }
}

/// Returns the columns that say what a row is.
fn sizes<'a>(here: &'a Here<'a>) -> Vec<Column<'a, Relation<'a>>> {
    type R<'a> = Relation<'a>;
    vec![
        Column::text(
            ("table", "Table", "schema and name"),
            |r: &R<'a>| r.name.clone(),
            move |r| link(here.visit, here, r),
        ),
        Column::text(
            ("database", "Database", ""),
            |r: &R<'a>| r.database.to_owned(),
            |r| html! { (r.database) },
        ),
        Column::number(
            ("size", "Size", "table, TOAST and indexes"),
            Relation::total_bytes,
            words::bytes,
        )
        .shown(size),
        Column::number(
            ("growth", "Growth", "of the table alone, in the range"),
            |r: &R<'a>| r.grown("size_bytes"),
            words::bytes,
        ),
        Column::number(
            ("rows", "Rows", "estimate of the statistics"),
            |r: &R<'a>| r.line.number("n_live_tup"),
            words::number,
        ),
        Column::number(
            ("dead", "Dead", "dead row versions"),
            |r: &R<'a>| r.line.number("n_dead_tup"),
            words::number,
        ),
        Column::number(
            ("dead_share", "Dead %", "share of dead row versions"),
            Relation::dead_percent,
            percent,
        ),
        Column::share(
            (
                "bloat",
                "Bloat",
                "share of pages that a rewrite would give back",
            ),
            |r: &R<'a>| r.bloat_percent,
            NOT_ESTIMATED,
        ),
    ]
}

/// Returns the columns that say how it is.
fn activity<'a>(here: &'a Here<'a>) -> Vec<Column<'a, Relation<'a>>> {
    type R<'a> = Relation<'a>;
    let now = here.visit.now;
    let rate = |head: Head, column: &'static str| {
        Column::number(head, move |r: &R<'a>| r.rate(column), per_second)
    };
    vec![
        rate(
            ("seq", "Seq scans", "sequential scans per second"),
            "seq_scan",
        ),
        rate(("idx", "Idx scans", "index scans per second"), "idx_scan"),
        rate(("ins", "Inserts", "rows inserted per second"), "n_tup_ins"),
        rate(("upd", "Updates", "rows updated per second"), "n_tup_upd"),
        rate(("del", "Deletes", "rows deleted per second"), "n_tup_del"),
        Column::share(
            ("hot", "HOT", "share of updates that stayed on their page"),
            Relation::hot_percent,
            "no updates in the range",
        ),
        when(
            ("vacuum", "Vacuum", "last VACUUM or autovacuum"),
            now,
            Relation::vacuumed_at,
        ),
        when(
            ("analyze", "Analyze", "last ANALYZE or autoanalyze"),
            now,
            Relation::analyzed_at,
        ),
        Column::number(
            (
                "freeze",
                "Freeze age",
                "transactions since its oldest unfrozen row",
            ),
            |r: &R<'a>| r.line.number("frozen_xid_age"),
            words::number,
        ),
    ]
}

fn size(relation: &Relation<'_>) -> Markup {
    let (Some(total), Some(heap)) = (relation.total_bytes(), relation.heap_bytes) else {
        return dash(UNCOUNTED);
    };
    let toast = words::bytes(relation.toast_bytes);
    let indexes = words::bytes(relation.index_bytes);
    html! { span title={ "table " (words::bytes(heap)) ", TOAST " (toast) ", indexes " (indexes) } { (words::bytes(total)) } }
}

fn when<'a>(
    head: Head,
    now: Timestamp,
    at: fn(&Relation<'a>) -> Option<Timestamp>,
) -> Column<'a, Relation<'a>> {
    let seconds = move |r: &Relation<'a>| at(r).map(|at| words::seconds_since(now, at));
    Column::number(head, seconds, words::age).shown(move |r| match at(r) {
        Some(at) => html! { time datetime=(words::instant(at)) title=(words::exact(at)) { (words::age(words::seconds_since(now, at))) } },
        None => dash("not since the statistics were reset"),
    })
}

fn link(visit: &Visit<'_>, here: &Here<'_>, relation: &Relation<'_>) -> Markup {
    let pairs = [
        ("table", relation.name.as_str()),
        ("database", relation.database),
    ];
    html! {
        a href=(path(visit, &here.path, &pairs)) { (relation.name) }
        @if !relation.kind().is_empty() { small { " " (relation.kind()) } }
    }
}
