//! The standbys that are connected: how far behind they are, stage by stage.

use std::collections::BTreeMap;

use maud::{Markup, html};
use pawang_core::{Missing, Timestamp};
use pawang_store::history::{Fold, Point, Reading, Series};
use pawang_store::live::Present;

use super::graph::difference;
use crate::page::parts::{Ask, Line, combine, lines, or_dash, series, unseen};
use crate::page::{PageError, Visit};
use crate::words;
use pawang_chart::Chart;

/// Senders that are listed.
const SENDERS_MAX: usize = 100;
/// Standbys that have a line of their own.
const LINES_MAX: usize = 8;

/// Draws list and charts.
///
/// # Errors
/// The history does not answer.
pub(super) fn section(
    visit: &Visit<'_>,
    name: &str,
    present: &Present,
) -> Result<Markup, PageError> {
    let seen = lines(&present.facts, "replication");
    Ok(html! {
        section #senders {
            h2 { "Standbys that receive from it" }
            @match &seen {
                Err(Missing::NotApplicable(why)) => p .muted { (why) },
                Err(missing) => (unseen(missing)),
                Ok(lines) if lines.is_empty() => p .muted { "Nobody is connected." },
                Ok(lines) => (list(lines)),
            }
            (charts(visit, name)?)
        }
    })
}

fn list(lines: &[Line<'_>]) -> Markup {
    html! {
        div .wide { table {
            thead { tr {
                th scope="col" { "Standby" } th scope="col" { "State" } th scope="col" { "Sync" } th scope="col" { "Slot" }
                th .number scope="col" title="written here, not yet sent" { "To send" }
                th .number scope="col" title="sent, not yet written there" { "To write" }
                th .number scope="col" title="written, not yet on its disk" { "To flush" }
                th .number scope="col" title="on its disk, not yet visible there" { "To replay" }
                th .number scope="col" title="from commit here to written there" { "Write lag" }
                th .number scope="col" title="from commit here to its disk" { "Flush lag" }
                th .number scope="col" title="from commit here to visible there" { "Replay lag" }
                th .number scope="col" title="age of its last answer" { "Answered" }
            } }
            tbody { @for line in lines.iter().take(SENDERS_MAX) { tr {
                td { (line.text("application_name").unwrap_or("(no name)")) small { " " (line.text("client_addr").unwrap_or("local")) } }
                td { span .tag.warning[line.word("state") != "streaming"] { (line.word("state")) } }
                td { (line.word("sync_state")) }
                td { (line.word("slot_name")) }
                @for (ahead, behind) in [("current_lsn", "sent_lsn"), ("sent_lsn", "write_lsn"), ("write_lsn", "flush_lsn"), ("flush_lsn", "replay_lsn")] {
                    td .number { (or_dash(difference(line.number(ahead), line.number(behind)).map(words::bytes), "it did not tell")) }
                }
                @for lag in ["write_lag", "flush_lag", "replay_lag"] {
                    td .number { (or_dash(line.number(lag).map(words::duration), "nothing was written lately: it has caught up, or it did not answer")) }
                }
                td .number { (or_dash(line.number("reply_age").map(words::duration), "it never answered")) }
            } } }
        } }
        @if lines.len() > SENDERS_MAX { p .muted { (lines.len() - SENDERS_MAX) " more" } }
    }
}

fn charts(visit: &Visit<'_>, name: &str) -> Result<Markup, PageError> {
    let ask = |columns| Ask {
        collector: "replication",
        columns,
        fold: Fold::Each,
        ..Ask::default()
    };
    let positions = series(visit, name, &ask(&["current_lsn", "replay_lsn"]))?;
    let (current, replayed): (Vec<Series>, Vec<Series>) = positions
        .into_iter()
        .partition(|series| series.column == "current_lsn");
    let mut bytes = Vec::new();
    for ahead in &current {
        let behind = replayed.iter().find(|series| series.labels == ahead.labels);
        if let Some(behind) = behind {
            bytes.push(combine(ahead, behind, |a, b| Some((a - b).max(0.0))));
        }
    }
    let seconds = series(visit, name, &ask(&["replay_lag"]))?;
    if bytes.is_empty() && seconds.is_empty() {
        return Ok(html! {});
    }
    let (bytes, seconds) = (by_standby(bytes), by_standby(seconds));
    let chart = |title, unit, lines: &[(String, Series)]| {
        let lines = lines.iter().take(LINES_MAX);
        Chart {
            title,
            unit,
            span: visit.range.span,
            lines: lines.map(|(name, series)| (name.clone(), series)).collect(),
            stacked: false,
            limits: Vec::new(),
            marks: Vec::new(),
        }
        .draw()
    };
    Ok(html! {
        div .charts {
            (chart("Not yet replayed by standbys", "bytes", &bytes))
            (chart("Replay lag of standbys", "s", &seconds))
        }
    })
}

/// Joins the connections of each standby, the further behind where there were several: a new connection is a new
/// process and the same standby.
fn by_standby(all: Vec<Series>) -> Vec<(String, Series)> {
    let mut standbys: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    for series in all {
        let name = series.labels.first().cloned().unwrap_or_default();
        standbys.entry(name).or_default().push(series);
    }
    let joined = standbys.into_iter().filter_map(|(name, all)| {
        let mut points: BTreeMap<Timestamp, Option<Reading>> = BTreeMap::new();
        for point in all.iter().flat_map(|series| &series.points) {
            let worst = points.entry(point.at).or_default();
            *worst = match (*worst, point.reading) {
                (Some(a), Some(b)) => Some(if a.mean >= b.mean { a } else { b }),
                (a, b) => a.or(b),
            };
        }
        let like = all.into_iter().next()?;
        let points = points
            .into_iter()
            .map(|(at, reading)| Point { at, reading });
        let points = points.collect();
        Some((name, Series { points, ..like }))
    });
    joined.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pawang_core::ColumnKind;

    use super::*;

    #[test]
    fn a_standby_that_connects_anew_is_one_line() {
        let of = |name: &str, pid: &str, values: &[(i64, f64)]| Series {
            database: None,
            labels: vec![name.to_owned(), pid.to_owned()],
            column: "replay_lag".to_owned(),
            kind: ColumnKind::Gauge,
            unit: None,
            step: Duration::from_secs(10),
            points: values
                .iter()
                .map(|(second, value)| Point {
                    at: Timestamp::from_second(*second).unwrap(),
                    reading: Some(Reading {
                        mean: *value,
                        min: *value,
                        max: *value,
                    }),
                })
                .collect(),
        };
        let joined = by_standby(vec![
            of("b", "1", &[(0, 1.0), (10, 2.0)]),
            of("c", "3", &[(0, 9.0)]),
            of("b", "2", &[(10, 5.0), (20, 1.0)]),
        ]);
        let shown: Vec<(&str, Vec<f64>)> = joined
            .iter()
            .map(|(name, series)| {
                let values = series.points.iter().filter_map(|p| Some(p.reading?.mean));
                (name.as_str(), values.collect())
            })
            .collect();
        assert_eq!(shown, [("b", vec![1.0, 5.0, 1.0]), ("c", vec![9.0])]);
    }
}
