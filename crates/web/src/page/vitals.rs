//! The vital signs of an instance: a dozen charts with one time axis.

use std::time::Duration;

use maud::{Markup, html};
use pawang_core::{Evaluation, Level, Missing, Role, Timestamp, Value};
use pawang_store::history::{Fold, Point, Reading, Rows, Series, Span};
use pawang_store::live::Present;

use super::parts::{Ask, combine, series, single, wait_classes};
use super::{PageError, Visit};
use crate::words::duration;
use pawang_chart::Chart;

/// Places of the file systems that are drawn.
const PLACES_MAX: usize = 6;
/// Bars of a chart of events.
const BARS: f64 = 48.0;
/// Standbys that are drawn.
const STANDBYS_MAX: usize = 8;

/// What charts are drawn from.
struct Signs<'a> {
    visit: &'a Visit<'a>,
    name: &'a str,
    present: &'a Present,
    marks: Vec<(Timestamp, String)>,
}

/// Draws all charts that there are facts for.
///
/// # Errors
/// The history does not answer.
pub(super) fn charts(
    visit: &Visit<'_>,
    name: &str,
    present: &Present,
) -> Result<Markup, PageError> {
    let marks = marks(visit, name)?;
    let signs = Signs {
        visit,
        name,
        present,
        marks,
    };
    let all = [
        signs.transactions()?,
        signs.waits()?,
        signs.connections()?,
        signs.cache()?,
        signs.wal()?,
        signs.checkpoints()?,
        signs.lag()?,
        signs.rows()?,
        signs.temporary()?,
        signs.disk()?,
        signs.processor()?,
        signs.memory()?,
    ];
    Ok(html! {
        h2 { "Vital signs" small { "one time axis, UTC" } }
        div .charts { @for chart in all.iter().flatten() { (chart) } }
        @if let Some(why) = unseen_host(present) { p .muted { (why) } }
    })
}

/// Says why there is no chart of the machine.
fn unseen_host(present: &Present) -> Option<String> {
    match present.facts.snapshot("host-cpu", None) {
        Err(Missing::Blind(blind)) => Some(format!(
            "CPU, memory and disk are not shown: {}. {}.",
            blind.sentence(),
            blind.remedy()
        )),
        _ => None,
    }
}

/// Returns what happened to the server within the range: restarts, promotions, changed settings.
fn marks(visit: &Visit<'_>, name: &str) -> Result<Vec<(Timestamp, String)>, PageError> {
    const CHANGES_MAX: usize = 200;
    let mut marks = Vec::new();
    let lives = visit
        .reader
        .changes(name, "server", visit.range.span, CHANGES_MAX)?;
    for change in lives {
        let (Some(column), Some(_), Some(after)) =
            (change.column.as_deref(), &change.before, &change.after)
        else {
            continue;
        };
        match column {
            "postmaster_start_time" => {
                marks.push((change.at, "the server was restarted".to_owned()))
            }
            "in_recovery" if *after == Value::Bool(false) => {
                marks.push((change.at, "the standby was promoted".to_owned()));
            }
            "server_version" => marks.push((change.at, format!("now version {after}"))),
            _ => {}
        }
    }
    let settings = visit
        .reader
        .changes(name, "settings", visit.range.span, CHANGES_MAX)?;
    for change in settings
        .iter()
        .filter(|change| change.column.as_deref() == Some("setting"))
    {
        if let Some(after) = &change.after {
            marks.push((change.at, format!("{} = {after}", change.labels.join("."))));
        }
    }
    marks.sort();
    Ok(marks)
}

impl Signs<'_> {
    fn ask(&self, collector: &str, columns: &[&str]) -> Result<Vec<Series>, PageError> {
        single(
            self.visit,
            self.name,
            &Ask {
                collector,
                columns,
                ..Ask::default()
            },
        )
    }

    fn chart<'a>(
        &'a self,
        title: &'a str,
        unit: &'a str,
        lines: Vec<(&str, &'a Series)>,
    ) -> Chart<'a> {
        let lines = lines
            .into_iter()
            .map(|(name, series)| (name.to_owned(), series));
        Chart {
            title,
            unit,
            span: self.visit.range.span,
            lines: lines.collect(),
            stacked: false,
            limits: Vec::new(),
            marks: self.marks.clone(),
        }
    }

    fn transactions(&self) -> Result<Option<Markup>, PageError> {
        let found = self.ask("database", &["xact_commit", "xact_rollback"])?;
        Ok(Some(
            self.chart(
                "Transactions",
                "/s",
                vec![("commits", &found[0]), ("rollbacks", &found[1])],
            )
            .draw(),
        ))
    }

    fn waits(&self) -> Result<Option<Markup>, PageError> {
        let classes = wait_classes(self.visit, self.name)?;
        let lines = classes
            .iter()
            .map(|(name, series)| (name.as_str(), series))
            .collect();
        let chart = Chart {
            stacked: true,
            ..self.chart("Average active sessions by wait", "sessions", lines)
        };
        Ok(Some(chart.draw()))
    }

    fn connections(&self) -> Result<Option<Markup>, PageError> {
        let columns = [
            "client_backends",
            "active",
            "idle_in_transaction",
            "usable_connections",
        ];
        let found = self.ask("sessions", &columns)?;
        let lines = vec![
            ("all", &found[0]),
            ("active", &found[1]),
            ("idle in transaction", &found[2]),
        ];
        let most = found[3].points.iter().rev().find_map(|point| point.reading);
        let limits = most
            .map(|reading| (reading.max, Level::Info))
            .into_iter()
            .collect();
        Ok(Some(
            Chart {
                limits,
                ..self.chart("Connections", "sessions", lines)
            }
            .draw(),
        ))
    }

    fn cache(&self) -> Result<Option<Markup>, PageError> {
        let found = self.ask("database", &["blks_hit", "blks_read"])?;
        let ratio = combine(&found[0], &found[1], |hit, read| {
            (hit + read > 0.0).then(|| 100.0 * hit / (hit + read))
        });
        Ok(Some(
            self.chart("Cache hits", "%", vec![("hit", &ratio)]).draw(),
        ))
    }

    fn wal(&self) -> Result<Option<Markup>, PageError> {
        if self.standby() {
            return Ok(None);
        }
        let found = self.ask("wal", &["wal_bytes"])?;
        Ok(Some(
            self.chart("WAL written", "bytes/s", vec![("WAL", &found[0])])
                .draw(),
        ))
    }

    fn checkpoints(&self) -> Result<Option<Markup>, PageError> {
        let (columns, what) = if self.standby() {
            (
                ["restartpoints_timed", "restartpoints_req"],
                "Restartpoints",
            )
        } else {
            (["num_timed", "num_requested"], "Checkpoints")
        };
        let span = self.visit.range.span;
        let width = span.to.duration_since(span.from).as_secs_f64() / BARS;
        let found = self.ask("checkpointer", &columns)?;
        let counts: Vec<Series> = found.iter().map(|series| counted(series, span)).collect();
        let title = format!("{what} per {}", duration(width));
        let lines = vec![("by time", &counts[0]), ("requested", &counts[1])];
        Ok(Some(self.chart(&title, "", lines).bars()))
    }

    /// How far standbys are behind, as the checks measured it.
    fn lag(&self) -> Result<Option<Markup>, PageError> {
        let (check, title) = if self.standby() {
            ("replay-backlog", "Behind the primary")
        } else {
            ("replication-lag-bytes", "Standbys behind")
        };
        let rows = measures(self.present.evaluation.as_deref(), check);
        let ask = Ask {
            collector: "check-measures",
            columns: &["value"],
            rows: Rows::Only(&rows),
            fold: Fold::Each,
            ..Ask::default()
        };
        if rows.is_empty() {
            return Ok(None);
        }
        let found = series(self.visit, self.name, &ask)?;
        let named = |series: &Series| match series.labels.last().map(String::as_str) {
            None | Some("") => "this standby".to_owned(),
            Some(object) => object.to_owned(),
        };
        let names: Vec<String> = found.iter().map(named).collect();
        let lines = names.iter().map(String::as_str).zip(&found).collect();
        Ok(Some(self.chart(title, "bytes", lines).draw()))
    }

    fn rows(&self) -> Result<Option<Markup>, PageError> {
        if self.standby() {
            return Ok(None);
        }
        let found = self.ask("database", &["tup_inserted", "tup_updated", "tup_deleted"])?;
        let lines = vec![
            ("inserted", &found[0]),
            ("updated", &found[1]),
            ("deleted", &found[2]),
        ];
        Ok(Some(self.chart("Rows changed", "/s", lines).draw()))
    }

    fn temporary(&self) -> Result<Option<Markup>, PageError> {
        let found = self.ask("database", &["temp_bytes"])?;
        Ok(Some(
            self.chart("Temporary files", "bytes/s", vec![("written", &found[0])])
                .draw(),
        ))
    }

    /// Used share of the file systems of the server.
    fn disk(&self) -> Result<Option<Markup>, PageError> {
        if self.remote() {
            return Ok(None);
        }
        let columns = ["total_bytes", "available_bytes"];
        let ask = Ask {
            collector: "host-filesystem",
            columns: &columns,
            fold: Fold::Each,
            ..Ask::default()
        };
        let found = series(self.visit, self.name, &ask)?;
        let of = |column: &'static str| found.iter().filter(move |series| series.column == column);
        let mut used = Vec::new();
        for total in of("total_bytes").take(PLACES_MAX) {
            let Some(available) = of("available_bytes").find(|other| other.labels == total.labels)
            else {
                continue;
            };
            let share = combine(total, available, |total, available| {
                (total > 0.0).then(|| 100.0 * (total - available) / total)
            });
            let labels: Vec<&str> = total
                .labels
                .iter()
                .map(String::as_str)
                .filter(|label| !label.is_empty())
                .collect();
            used.push((labels.join(" "), share));
        }
        let lines = used
            .iter()
            .map(|(name, series)| (name.as_str(), series))
            .collect();
        Ok(Some(self.chart("Disk used", "%", lines).draw()))
    }

    /// Share of all cores by what they do.
    fn processor(&self) -> Result<Option<Markup>, PageError> {
        if self.remote() {
            return Ok(None);
        }
        let columns = [
            "user_ms",
            "nice_ms",
            "system_ms",
            "iowait_ms",
            "steal_ms",
            "irq_ms",
            "softirq_ms",
        ];
        let found = self.ask("host-cpu", &columns)?;
        let cores = self.ask("host-cpu", &["cores"])?;
        // A core has a thousand milliseconds per second.
        let share = |series: &Series| {
            combine(series, &cores[0], |ms, cores| {
                (cores > 0.0).then(|| ms / cores / 10.0)
            })
        };
        let add = |a: &Series, b: &Series| combine(a, b, |a, b| Some(a + b));
        let user = share(&add(&found[0], &found[1]));
        let system = share(&add(&add(&found[2], &found[5]), &found[6]));
        let (wait, steal) = (share(&found[3]), share(&found[4]));
        let lines = vec![
            ("user", &user),
            ("system", &system),
            ("waiting for I/O", &wait),
            ("stolen", &steal),
        ];
        Ok(Some(
            Chart {
                stacked: true,
                ..self.chart("CPU of the machine", "%", lines)
            }
            .draw(),
        ))
    }

    fn memory(&self) -> Result<Option<Markup>, PageError> {
        if self.remote() {
            return Ok(None);
        }
        let found = self.ask(
            "host-memory",
            &["total_bytes", "available_bytes", "cached_bytes"],
        )?;
        let used = combine(&found[0], &found[1], |total, available| {
            Some(total - available)
        });
        let lines = vec![("used", &used), ("cache of files", &found[2])];
        let most = found[0].points.iter().rev().find_map(|point| point.reading);
        let limits = most
            .map(|reading| (reading.max, Level::Info))
            .into_iter()
            .collect();
        Ok(Some(
            Chart {
                limits,
                ..self.chart("Memory of the machine", "bytes", lines)
            }
            .draw(),
        ))
    }

    fn standby(&self) -> bool {
        self.present
            .facts
            .server
            .as_ref()
            .is_ok_and(|server| server.role == Role::Standby)
    }

    fn remote(&self) -> bool {
        self.present
            .facts
            .server
            .as_ref()
            .is_ok_and(|server| !server.local)
    }
}

/// Returns the rows of `check-measures` that a check of the whole server has, at most some.
fn measures(evaluation: Option<&Evaluation>, check: &str) -> Vec<Vec<String>> {
    let verdicts = evaluation
        .into_iter()
        .flat_map(|evaluation| &evaluation.verdicts);
    let measured = verdicts
        .filter(|verdict| verdict.check == check)
        .flat_map(|verdict| &verdict.measures);
    measured
        .take(STANDBYS_MAX)
        .map(|measure| vec![check.to_owned(), String::new(), measure.object.clone()])
        .collect()
}

/// Returns how often a counter counted in each of [`BARS`] equal parts of a span; a part that was not seen is a gap.
fn counted(series: &Series, span: Span) -> Series {
    let length = span.to.duration_since(span.from).as_secs_f64();
    let step = series.step.as_secs_f64();
    let mut sums = [None::<f64>; BARS as usize];
    for point in &series.points {
        let Some(reading) = point.reading else {
            continue;
        };
        let middle = point.at.duration_since(span.from).as_secs_f64() - step / 2.0;
        let index = (middle / length * BARS).clamp(0.0, BARS - 1.0) as usize;
        *sums[index].get_or_insert(0.0) += reading.mean * step;
    }
    let width = Duration::from_secs_f64(length / BARS);
    let points = (1_u32..).zip(sums).map(|(number, sum)| Point {
        at: span.from + width * number,
        // Rates are rounded, counts are whole.
        reading: sum.map(f64::round).map(|sum| Reading {
            mean: sum,
            min: sum,
            max: sum,
        }),
    });
    Series {
        step: width,
        points: points.collect(),
        ..series.clone()
    }
}

#[cfg(test)]
mod tests {
    use pawang_core::ColumnKind;

    use super::*;

    #[test]
    fn bars_count_and_leave_gaps_where_nothing_was_seen() {
        let from: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let span = Span {
            from,
            to: from + Duration::from_secs(48 * 60),
        };
        let point = |seconds: u64, rate: Option<f64>| Point {
            at: from + Duration::from_secs(seconds),
            reading: rate.map(|rate| Reading {
                mean: rate,
                min: rate,
                max: rate,
            }),
        };
        let series = Series {
            database: None,
            labels: Vec::new(),
            column: "num_timed".to_owned(),
            kind: ColumnKind::Counter,
            unit: None,
            step: Duration::from_secs(10),
            points: vec![
                point(10, Some(0.1)),
                point(20, Some(0.0)),
                point(70, None),
                point(130, Some(0.2)),
            ],
        };
        let counts: Vec<Option<f64>> = counted(&series, span)
            .points
            .iter()
            .map(|point| point.reading.map(|reading| reading.mean))
            .collect();
        assert_eq!(counts[..4], [Some(1.0), None, Some(2.0), None]);
        assert_eq!(counts.len(), 48);
    }
}
