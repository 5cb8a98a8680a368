//! Replication slots: what they keep back, and for whom.

use maud::{Markup, html};
use pawang_core::Missing;
use pawang_store::history::{Fold, Series};
use pawang_store::live::Present;

use super::graph::difference;
use crate::page::parts::{Ask, Line, combine, dash, lines, or_dash, series, unseen};
use crate::page::{PageError, Visit};
use crate::words;
use pawang_chart::Chart;

/// Slots that are listed.
const SLOTS_MAX: usize = 100;
/// Slots that have a line of their own.
const LINES_MAX: usize = 8;

/// Draws list, chart, and what this server subscribes to.
///
/// # Errors
/// The history does not answer.
pub(super) fn section(
    visit: &Visit<'_>,
    name: &str,
    present: &Present,
) -> Result<Markup, PageError> {
    let seen = lines(&present.facts, "slots");
    let subscriptions = lines(&present.facts, "subscriptions").unwrap_or_default();
    Ok(html! {
        section #slots {
            h2 { "Replication slots" }
            @match &seen {
                Err(Missing::NotApplicable(why)) => p .muted { (why) },
                Err(missing) => (unseen(missing)),
                Ok(lines) if lines.is_empty() => p .muted { "There are none." },
                Ok(lines) => { (list(lines)) (chart(visit, name)?) },
            }
        }
        @if !subscriptions.is_empty() { (subscribed(&subscriptions)) }
    })
}

fn list(lines: &[Line<'_>]) -> Markup {
    let retained =
        |line: &Line<'_>| difference(line.number("current_lsn"), line.number("restart_lsn"));
    let mut rows: Vec<&Line<'_>> = lines.iter().collect();
    rows.sort_by(|a, b| {
        retained(b)
            .unwrap_or(-1.0)
            .total_cmp(&retained(a).unwrap_or(-1.0))
    });
    html! {
        div .wide { table {
            thead { tr {
                th scope="col" { "Slot" } th scope="col" { "Kind" } th scope="col" { "In use" }
                th .number scope="col" title="WAL that it keeps from being removed" { "Keeps WAL" }
                th .number scope="col" title="WAL that may still be written before it is lost (max_slot_wal_keep_size)" { "Room left" }
                th scope="col" title="reserved: within max_wal_size; extended: beyond; unreserved: may be lost at the next checkpoint; lost" { "WAL status" }
                th .number scope="col" title="age of the oldest transaction that it keeps vacuum from removing rows of" { "Holds back" }
                th .number scope="col" { "Idle for" }
            } }
            tbody { @for line in rows.iter().take(SLOTS_MAX) { tr {
                td { (line.word("slot_name")) }
                td { (line.word("slot_type")) @if let Some(database) = line.text("database") { small { " " (database) " " (line.word("plugin")) } }
                    @if line.flag("temporary") == Some(true) { small { " temporary" } } }
                td { @match line.flag("active") { Some(true) => { "yes" small { " pid " (line.int("active_pid").unwrap_or_default()) } }, _ => span .tag.warning { "no" } } }
                td .number { (or_dash(retained(line).map(words::bytes), "it reserves no WAL")) }
                td .number { @match line.number("safe_wal_size") { Some(bytes) => (words::bytes(bytes)), None => (dash("no limit: max_slot_wal_keep_size is -1, or the slot is lost")) } }
                td { (line.word("wal_status")) @if let Some(why) = line.text("invalidation_reason") { span .tag.critical { (why) } } }
                td .number { (or_dash(oldest(line).map(|age| format!("{} xacts", words::number(age))), "it holds nothing back")) }
                td .number { (or_dash(line.number("inactive_age").map(words::duration), "in use, or not told before PostgreSQL 17")) }
            } } }
        } }
        @if lines.len() > SLOTS_MAX { p .muted { (lines.len() - SLOTS_MAX) " more" } }
    }
}

fn oldest(line: &Line<'_>) -> Option<f64> {
    let ages = [line.number("xmin_age"), line.number("catalog_xmin_age")];
    ages.into_iter().flatten().reduce(f64::max)
}

fn chart(visit: &Visit<'_>, name: &str) -> Result<Markup, PageError> {
    let ask = Ask {
        collector: "slots",
        columns: &["current_lsn", "restart_lsn"],
        fold: Fold::Each,
        ..Ask::default()
    };
    let (current, restart): (Vec<Series>, Vec<Series>) = series(visit, name, &ask)?
        .into_iter()
        .partition(|series| series.column == "current_lsn");
    let kept: Vec<(String, Series)> = current
        .iter()
        .filter_map(|ahead| {
            let behind = restart
                .iter()
                .find(|series| series.labels == ahead.labels)?;
            let name = ahead.labels.first().cloned().unwrap_or_default();
            Some((name, combine(ahead, behind, |a, b| Some((a - b).max(0.0)))))
        })
        .collect();
    let lines = kept.iter().take(LINES_MAX);
    let chart = Chart {
        title: "WAL kept by slots",
        unit: "bytes",
        span: visit.range.span,
        lines: lines.map(|(name, series)| (name.clone(), series)).collect(),
        stacked: false,
        limits: Vec::new(),
        marks: Vec::new(),
    };
    Ok(html! { div .charts { (chart.draw()) } })
}

fn subscribed(lines: &[Line<'_>]) -> Markup {
    html! {
        section #subscriptions {
            h2 { "Subscriptions of this server" }
            div .wide { table {
                thead { tr { th scope="col" { "Subscription" } th scope="col" { "Database" } th scope="col" { "Worker" } th scope="col" { "Enabled" } th .number scope="col" { "Last message" } } }
                tbody { @for line in lines.iter().take(SLOTS_MAX) { tr {
                    td { (line.word("subname")) } td { (line.word("datname")) }
                    td { @match line.int("pid") { Some(pid) => { (line.text("worker_type").unwrap_or("worker")) " pid " (pid) }, None => span .tag.warning { "none runs" } } }
                    td { @match line.flag("subenabled") { Some(true) => "yes", Some(false) => { span .tag.warning { "no" } }, None => "–" } }
                    td .number { (or_dash(line.number("last_msg_receipt_age").map(words::duration), "none came")) }
                } } }
            } }
        }
    }
}
