//! One table: its facts, its findings, its charts, its indexes.

use maud::{Markup, html};
use pawang_core::{Finding, Timestamp, Value};
use pawang_store::history::{Rows, Series};
use pawang_store::live::Present;

use super::{Relation, UNCOUNTED, everywhere};
use crate::page::parts::{
    Ask, combine, dash, figure, instance_path, or_dash, path, percent, shell, single,
};
use crate::page::verdict::title;
use crate::page::{PageError, Visit};
use crate::words;
use pawang_chart::Chart;

/// Size of a block; the server would have to be built anew for another.
const BLOCK: f64 = 8192.0;
/// Columns of the collector that the charts show.
const CHARTED: [&str; 13] = [
    "size_bytes",
    "n_live_tup",
    "n_dead_tup",
    "seq_scan",
    "idx_scan",
    "seq_tup_read",
    "idx_tup_fetch",
    "n_tup_ins",
    "n_tup_upd",
    "n_tup_del",
    "heap_blks_hit",
    "heap_blks_read",
    "frozen_xid_age",
];

/// Draws the page of one table.
///
/// # Errors
/// The history does not answer.
pub(super) fn draw(
    visit: &Visit<'_>,
    name: &str,
    present: &Present,
    relation: &Relation<'_>,
) -> Result<Markup, PageError> {
    let back = path(visit, &instance_path(name, "tables"), &[]);
    Ok(html! {
        p .muted { a href=(back) { "Tables" } " › " (relation.database) " › " (relation.name)
            @if !relation.kind().is_empty() { " (" (relation.kind()) ")" } }
        (findings(visit, present, relation))
        (figures(visit, relation))
        (charts(visit, name, relation)?)
        (indexes(visit, name, present, relation))
        (words::command(&format!("pawang check vacuum -i {}", shell(name))))
    })
}

fn findings(visit: &Visit<'_>, present: &Present, relation: &Relation<'_>) -> Markup {
    let about = |finding: &&Finding| {
        finding.database.as_deref() == Some(relation.database) && finding.object == relation.name
    };
    let found: Vec<&Finding> = present
        .evaluation
        .as_ref()
        .map_or_else(Vec::new, |evaluation| {
            let findings = evaluation.findings().into_iter();
            findings.filter(about).collect()
        });
    html! {
        @if !found.is_empty() { ul .findings { @for finding in found {
            @let href = visit.link(&format!("/findings/{}", words::encode(&finding.fingerprint)));
            li { (words::glyph(finding.level)) " " a href=(href) { (title(finding)) } " " small { (finding.check) } }
        } } }
    }
}

fn figures(visit: &Visit<'_>, relation: &Relation<'_>) -> Markup {
    let line = &relation.line;
    let when = |at: Option<Timestamp>| match at {
        Some(at) => words::ago(visit.now, at),
        None => dash("not since the statistics were reset"),
    };
    let number = |column: &str| or_dash(line.number(column).map(words::number), "not seen");
    let options = match line.value("reloptions") {
        Value::List(options) => options.join(", "),
        _ => String::new(),
    };
    html! {
        dl .figures {
            (figure("size", or_dash(relation.total_bytes().map(words::bytes), UNCOUNTED), "table, TOAST and indexes"))
            (figure("table", or_dash(relation.heap_bytes.map(words::bytes), UNCOUNTED), "the table alone"))
            (figure("TOAST", html! { (words::bytes(relation.toast_bytes)) }, "0 B when too small to be sampled"))
            (figure("indexes", html! { (words::bytes(relation.index_bytes)) }, "those of at least 64 pages"))
            (figure("growth", or_dash(relation.grown("size_bytes").map(words::bytes), "two samples are needed"), "of the table alone, in the range"))
            (figure("live rows", number("n_live_tup"), "estimate of the statistics"))
            (figure("dead rows", number("n_dead_tup"), "estimate of the statistics"))
            (figure("dead", or_dash(relation.dead_percent().map(percent), "it has no rows"), "share of dead row versions"))
            (figure("bloat", or_dash(relation.bloat_percent.map(percent), "not estimated"), "share of its pages that a rewrite would give back"))
            (figure("HOT", or_dash(relation.hot_percent().map(percent), "no updates in the range"), "share of updates that stayed on their page"))
            (figure("vacuumed", when(line.time("last_vacuum")), "by hand"))
            (figure("autovacuumed", when(line.time("last_autovacuum")), "by autovacuum"))
            (figure("analyzed", when(line.time("last_analyze")), "by hand"))
            (figure("autoanalyzed", when(line.time("last_autoanalyze")), "by autovacuum"))
            (figure("changed since analyze", number("n_mod_since_analyze"), "rows"))
            (figure("freeze age", number("frozen_xid_age"), "transactions since its oldest unfrozen row"))
            @if !options.is_empty() { (figure("options", html! { (options) }, "storage parameters")) }
        }
    }
}

fn charts(visit: &Visit<'_>, name: &str, relation: &Relation<'_>) -> Result<Markup, PageError> {
    let labels = [vec![
        relation.line.word("schemaname").to_owned(),
        relation.line.word("relname").to_owned(),
    ]];
    let found = single(
        visit,
        name,
        &Ask {
            collector: "tables",
            database: Some(relation.database),
            columns: &CHARTED,
            rows: Rows::Only(&labels),
            ..Ask::default()
        },
    )?;
    let of = |column: &str| {
        let index = CHARTED.iter().position(|known| *known == column);
        index
            .and_then(|index| found.get(index))
            .expect("one series per column")
    };
    let bytes = |column: &str| combine(of(column), of(column), |blocks, _| Some(blocks * BLOCK));
    let (hit, read) = (bytes("heap_blks_hit"), bytes("heap_blks_read"));
    let chart = |title, unit, lines: &[(&str, &Series)], stacked| {
        let lines = lines
            .iter()
            .map(|(name, series)| ((*name).to_owned(), *series));
        Chart {
            title,
            unit,
            span: visit.range.span,
            lines: lines.collect(),
            stacked,
            limits: Vec::new(),
            marks: Vec::new(),
        }
        .draw()
    };
    Ok(html! {
        div .charts {
            (chart("Size of the table", "bytes", &[("size", of("size_bytes"))], false))
            (chart("Rows", "rows", &[("live", of("n_live_tup")), ("dead", of("n_dead_tup"))], true))
            (chart("Rows changed", "/s", &[("inserted", of("n_tup_ins")), ("updated", of("n_tup_upd")), ("deleted", of("n_tup_del"))], true))
            (chart("Scans", "/s", &[("sequential", of("seq_scan")), ("index", of("idx_scan"))], false))
            (chart("Rows read", "/s", &[("by sequential scans", of("seq_tup_read")), ("by index scans", of("idx_tup_fetch"))], true))
            (chart("Data from cache and from disk", "bytes/s", &[("hit", &hit), ("read", &read)], true))
            (chart("Freeze age", "transactions", &[("age", of("frozen_xid_age"))], false))
        }
    })
}

fn indexes(visit: &Visit<'_>, name: &str, present: &Present, relation: &Relation<'_>) -> Markup {
    let table = relation.line.int("relid");
    let mut own = everywhere(present, "indexes");
    own.retain(|line| {
        line.database() == Some(relation.database) && line.int("relid") == table && table.is_some()
    });
    let link = |index: &str| {
        let pairs = [("q", index), ("database", relation.database)];
        path(visit, &instance_path(name, "indexes"), &pairs)
    };
    html! {
        section {
            h2 { "Indexes" }
            @if own.is_empty() { p .muted { "None that is large enough to be sampled (64 pages)." } }
            @else {
                div .wide { table {
                    thead { tr { th scope="col" { "Index" } th scope="col" { "Columns" } th .number scope="col" { "Size" } th .number scope="col" { "Scans" } } }
                    tbody { @for line in &own { tr {
                        td { a href=(link(line.word("indexrelname"))) { (line.word("indexrelname")) } }
                        td { @if let Value::List(columns) = line.value("key_columns") { (columns.join(", ")) } }
                        td .number { (or_dash(line.number("size_bytes").map(words::bytes), "not seen")) }
                        td .number { (or_dash(line.number("idx_scan").map(words::number), "not seen")) }
                    } } }
                } }
            }
        }
    }
}
