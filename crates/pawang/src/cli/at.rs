//! `pawang at`: what a server looked like at one time.

use jiff::tz::TimeZone;
use pawang_check::forest;
use pawang_core::{Facts, Report, Role, Row, Snapshot, Timestamp};
use pawang_store::history::{Fold, Rows, SeriesQuery, Span};
use pawang_store::state::{FindingQuery, FindingRecord};
use serde::Serialize;

use super::history::History;
use crate::cli::Global;
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::{environment, when};

/// Waits are summed over so long before the instant.
const WAITS_SECONDS: i64 = 60;
const SESSIONS_SHOWN_MAX: usize = 30;
const FINDINGS_MAX: usize = 200;

/// Show what a server looked like at one time: sessions, locks, waits, findings, settings
///
/// Examples:
///   pawang at 03:12 -i dwh-1
///   pawang at "yesterday 14:05" --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// When: 03:12, yesterday, "yesterday 03:12", -2h, "2026-11-20 03:12" or RFC 3339
    #[arg(allow_hyphen_values = true)]
    time: String,
}

#[derive(Serialize)]
struct Picture {
    instance: String,
    at: Timestamp,
    waits: Vec<Wait>,
    findings: Vec<FindingRecord>,
    facts: Facts,
}

#[derive(Serialize)]
struct Wait {
    class: String,
    event: String,
    sessions: f64,
}

/// Runs the command; exit code 1 when nothing was seen at that time.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let history = History::open(global)?;
    let zone = TimeZone::system();
    let at = when::instant(&args.time, environment::now(), &zone)?;
    let mut pictures = Vec::new();
    for instance in history.instances(global)? {
        match picture(&history, &instance, at)? {
            Some(picture) => pictures.push(picture),
            None => output::talk(&nothing(&history, &instance, at)?),
        }
    }
    if global.json {
        output::json("pawang.at/1", &pictures)?;
    } else {
        for picture in &pictures {
            output::data(&text(picture, &zone))?;
        }
    }
    Ok(if pictures.is_empty() {
        Exit::Answer
    } else {
        Exit::Good
    })
}

fn picture(history: &History, instance: &str, at: Timestamp) -> Result<Option<Picture>, Report> {
    let read = |error: pawang_store::Error| error.report();
    let Some(facts) = history.reader.facts_at(instance, at).map_err(read)? else {
        return Ok(None);
    };
    let query = FindingQuery {
        instance: Some(instance),
        open_at: Some(at),
        limit: FINDINGS_MAX,
        ..FindingQuery::default()
    };
    let mut findings = history.reader.findings(&query).map_err(read)?;
    findings.sort_by_key(|record| std::cmp::Reverse(record.finding.level));
    Ok(Some(Picture {
        instance: instance.to_owned(),
        at,
        waits: waits(history, instance, at)?,
        findings,
        facts,
    }))
}

fn nothing(history: &History, instance: &str, at: Timestamp) -> Result<String, Report> {
    let extent = history
        .reader
        .extent(instance)
        .map_err(|error| error.report())?;
    Ok(match extent {
        Some(span) => format!(
            "{instance}: nothing was seen at {at}; there is history from {} to {}",
            span.from, span.to
        ),
        None => format!("{instance}: there is no history"),
    })
}

/// Returns the average active sessions by wait over the minute before.
fn waits(history: &History, instance: &str, at: Timestamp) -> Result<Vec<Wait>, Report> {
    let length = jiff::SignedDuration::from_secs(WAITS_SECONDS);
    let query = SeriesQuery {
        instance,
        collector: "activity-history",
        database: None,
        columns: &["sessions"],
        rows: Rows::All,
        fold: Fold::SumBy(&["wait_event_type", "wait_event"]),
        span: Span {
            from: at.checked_sub(length).unwrap_or(Timestamp::MIN),
            to: at,
        },
        step: Some(length.unsigned_abs()),
    };
    let series = history
        .reader
        .series(&query)
        .map_err(|error| error.report())?;
    let mut waits: Vec<Wait> = series
        .into_iter()
        .filter_map(|series| {
            let readings = series.points.iter().filter_map(|point| point.reading);
            let sessions = readings.map(|reading| reading.mean).reduce(f64::max)?;
            let mut labels = series.labels.into_iter();
            Some(Wait {
                class: labels
                    .next()
                    .filter(|l| !l.is_empty())
                    .unwrap_or_else(|| "CPU".to_owned()),
                event: labels.next().unwrap_or_default(),
                sessions,
            })
        })
        .filter(|wait| wait.sessions > 0.0)
        .collect();
    waits.sort_by(|a, b| b.sessions.total_cmp(&a.sessions));
    Ok(waits)
}

fn text(picture: &Picture, zone: &TimeZone) -> String {
    let clock = |at: Timestamp| {
        at.to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S %Z")
            .to_string()
    };
    let facts = &picture.facts;
    let server = match &facts.server {
        Ok(server) => {
            let role = if server.role == Role::Primary {
                "primary"
            } else {
                "standby"
            };
            format!(
                "PostgreSQL {} {role}, started {}",
                server.short_version(),
                clock(server.epoch.started_at)
            )
        }
        Err(blind) => blind.sentence(),
    };
    let mut out = format!("{} at {}: {server}\n", picture.instance, clock(picture.at));
    let mut part = |title: &str, body: String| {
        out.push_str(&format!("\n{title}\n{body}"));
    };
    part("FINDINGS", findings(&picture.findings, &clock));
    part("SESSIONS", sessions(facts));
    part("WAITS", waits_text(&picture.waits));
    part("LOCKS", locks(facts));
    part("SETTINGS that are not the default", settings(facts));
    out
}

fn findings(findings: &[FindingRecord], clock: &dyn Fn(Timestamp) -> String) -> String {
    let mut grid = Grid::new(&["level", "check", "since", "finding"]);
    for record in findings {
        let finding = &record.finding;
        grid.row(vec![
            finding.level.to_string(),
            finding.check.clone(),
            clock(finding.since.unwrap_or(record.opened_at)),
            finding.title.clone(),
        ]);
    }
    or_nothing(&grid, "no finding was open")
}

fn sessions(facts: &Facts) -> String {
    let snapshot = match seen(facts, "activity") {
        Ok(snapshot) => snapshot,
        Err(why) => return why,
    };
    let busy = |row: &Row<'_>| {
        row.text("backend_type") == Some("client backend") && row.text("state") != Some("idle")
    };
    let mut rows: Vec<Row<'_>> = snapshot.rows().filter(busy).collect();
    let age = |row: &Row<'_>| row.float("xact_age_seconds").unwrap_or(0.0);
    rows.sort_by(|a, b| age(b).total_cmp(&age(a)));
    let total = snapshot
        .rows()
        .filter(|row| row.text("backend_type") == Some("client backend"))
        .count();
    let mut grid = Grid::new(&[
        "pid>",
        "database",
        "user",
        "state",
        "transaction>",
        "waits for",
        "query",
    ]);
    for row in rows.iter().take(SESSIONS_SHOWN_MAX) {
        let text = |column: &str| row.text(column).unwrap_or("-").to_owned();
        let wait = match (row.text("wait_event_type"), row.text("wait_event")) {
            (Some(class), Some(event)) => format!("{class}:{event}"),
            _ => "-".to_owned(),
        };
        let age = row.float("xact_age_seconds");
        let age = age.map_or_else(
            || "-".to_owned(),
            |age| pawang_core::Unit::Seconds.show(age),
        );
        let pid = row.int("pid").unwrap_or(0).to_string();
        grid.row(vec![
            pid,
            text("datname"),
            text("usename"),
            text("state"),
            age,
            wait,
            text("query"),
        ]);
    }
    let body = or_nothing(&grid, "no session was busy");
    let more = rows.len().saturating_sub(SESSIONS_SHOWN_MAX);
    let more = if more > 0 {
        format!(", {more} more were busy")
    } else {
        String::new()
    };
    format!(
        "{body}{total} client sessions in all{more} (seen {})\n",
        snapshot.at
    )
}

fn waits_text(waits: &[Wait]) -> String {
    let mut grid = Grid::new(&["class", "event", "sessions>"]);
    for wait in waits.iter().take(SESSIONS_SHOWN_MAX) {
        grid.row(vec![
            wait.class.clone(),
            wait.event.clone(),
            format!("{:.2}", wait.sessions),
        ]);
    }
    or_nothing(&grid, "no active session was sampled in the minute before")
}

fn locks(facts: &Facts) -> String {
    let snapshot = match seen(facts, "blocking") {
        Ok(snapshot) => snapshot,
        Err(why) => return why,
    };
    let mut grid = Grid::new(&["pid", "user", "waits>", "lock", "query"]);
    for branch in forest(snapshot) {
        let text = |column: &str| branch.row.and_then(|row| row.text(column)).unwrap_or("-");
        let wait = branch.row.and_then(|row| row.float("wait_seconds"));
        let wait = wait.map_or_else(
            || "-".to_owned(),
            |wait| pawang_core::Unit::Seconds.show(wait),
        );
        let lock = match branch.row.and_then(|row| row.text("mode")) {
            Some(mode) => format!("{mode} {}", text("relation")),
            None => "-".to_owned(),
        };
        let name = format!("{}{}", "> ".repeat(branch.depth), branch.process);
        grid.row(vec![
            name,
            text("usename").to_owned(),
            wait,
            lock,
            text("query").to_owned(),
        ]);
    }
    or_nothing(&grid, "nobody waited for a lock")
}

fn settings(facts: &Facts) -> String {
    let snapshot = match seen(facts, "settings") {
        Ok(snapshot) => snapshot,
        Err(why) => return why,
    };
    let mut grid = Grid::new(&["setting", "value", "unit", "source"]);
    let changed = |row: &Row<'_>| {
        let quiet = matches!(
            row.text("source"),
            Some("default" | "override" | "client" | "session")
        );
        !quiet && row.text("setting") != row.text("boot_val")
    };
    for row in snapshot.rows().filter(changed) {
        let text = |column: &str| row.text(column).unwrap_or_default().to_owned();
        grid.row(vec![
            text("name"),
            text("setting"),
            text("unit"),
            text("source"),
        ]);
    }
    or_nothing(&grid, "all are the default")
}

/// Returns what a collector of the server saw, or a line that says why it saw nothing.
fn seen<'a>(facts: &'a Facts, collector: &str) -> Result<&'a Snapshot, String> {
    facts
        .snapshot(collector, None)
        .map_err(|_| format!("not seen at that time: collector \"{collector}\"\n"))
}

fn or_nothing(grid: &Grid, nothing: &str) -> String {
    if grid.is_empty() {
        format!("{nothing}\n")
    } else {
        grid.text()
    }
}
