//! Queries: which statements cost most over the range, and what became of them since the day before.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use pawang_core::ByteSize;
use pawang_store::history::Growth;

use super::parts::{
    Column, Field, Here, Table, bar, change, choices, dash, day_before, figure, filter, growth,
    instance_path, known_at, lines, matches, milliseconds, one_line, path, per_second, percent,
    shell, text_of, unseen,
};
use super::{Page, PageError, Place, Visit};
use crate::words;

/// What is read of every statement, in the order of [`Sums`].
pub(super) const COLUMNS: [&str; 9] = [
    "calls",
    "total_exec_time",
    "rows",
    "shared_blks_hit",
    "shared_blks_read",
    "temp_blks_read",
    "temp_blks_written",
    "wal_bytes",
    "total_plan_time",
];
/// Size of a block; the server would have to be built anew for another.
pub(super) const BLOCK: f64 = 8192.0;
/// Characters of a statement in its row.
const QUERY_CHARS: usize = 110;
/// A rate from less time than this is not compared with another.
const COMPARED_SECONDS_MIN: f64 = 300.0;

/// What the calls of one statement did over a span.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub calls: f64,
    pub total_ms: f64,
    pub rows: f64,
    pub hit: f64,
    pub read: f64,
    pub temp: f64,
    pub wal_bytes: f64,
    pub plan_ms: f64,
    pub seconds: f64,
}

/// One statement, all its databases and roles together.
#[derive(Debug, PartialEq)]
struct Statement {
    queryid: String,
    databases: BTreeSet<String>,
    roles: BTreeSet<String>,
    sums: Sums,
    /// Its total time per second a day before, where that was seen.
    before: Option<f64>,
    /// Share of the time of all statements, in percent.
    share: f64,
    text: Option<String>,
}

/// Draws the page.
///
/// # Errors
/// There is no such instance, or the history does not answer.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let here = Here {
        visit,
        path: instance_path(name, "queries"),
        keeps: &["database", "user", "q", "sort", "show"],
    };
    let sight = lines(&present.facts, "statements");
    let seen_at = sight
        .as_ref()
        .ok()
        .and_then(|lines| Some(lines.first()?.seen_at()));
    let (statements, everything) = read(visit, name)?;
    let body = html! {
        @if let Err(missing) = &sight { (unseen(missing)) }
        @if !statements.is_empty() || sight.is_ok() {
            (figures(&statements, everything))
            (section(&here, name, statements))
        }
        (words::command(&format!("pawang check top-statement -i {}", shell(name))))
    };
    Ok(Page {
        title: "Queries".to_owned(),
        place: Place::Queries,
        instance: Some(name.to_owned()),
        body,
        seen_at: seen_at.or_else(|| known_at(&present)),
    })
}

/// Returns the statements of the range, and the milliseconds that all statements of the server took.
fn read(visit: &Visit<'_>, name: &str) -> Result<(Vec<Statement>, f64), PageError> {
    let span = visit.range.span;
    let now = growth(visit, name, "statements", &COLUMNS, span)?;
    let before = match day_before(span) {
        Some(span) => growth(visit, name, "statements", &["total_exec_time"], span)?,
        None => Vec::new(),
    };
    let all = growth(visit, name, "statements-info", &["total_exec_time"], span)?;
    let all: f64 = all.iter().filter_map(|row| *row.growth.first()?).sum();
    let mut statements = together(&now, &before);
    let seen: f64 = statements.iter().map(|s| s.sums.total_ms).sum();
    let everything = all.max(seen);
    for statement in &mut statements {
        statement.share = if everything > 0.0 {
            100.0 * statement.sums.total_ms / everything
        } else {
            0.0
        };
        statement.text = text_of(visit, &statement.queryid)?;
    }
    Ok((statements, everything))
}

/// Adds what the rows of a statement say: one per database, role and nesting.
pub(super) fn add(sums: &mut Sums, row: &Growth) {
    let of = |column: &str| {
        let index = COLUMNS.iter().position(|known| *known == column);
        let value = index.and_then(|index| row.growth.get(index).copied().flatten());
        value.unwrap_or(0.0)
    };
    sums.calls += of("calls");
    sums.total_ms += of("total_exec_time");
    sums.rows += of("rows");
    sums.hit += of("shared_blks_hit");
    sums.read += of("shared_blks_read");
    sums.temp += of("temp_blks_read") + of("temp_blks_written");
    sums.wal_bytes += of("wal_bytes");
    sums.plan_ms += of("total_plan_time");
    sums.seconds = sums.seconds.max(row.seconds);
}

/// Returns one entry per statement that was called in the span.
fn together(now: &[Growth], before: &[Growth]) -> Vec<Statement> {
    let label = |row: &Growth, index: usize| row.labels.get(index).cloned().unwrap_or_default();
    let mut past: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for row in before {
        let entry = past.entry(label(row, 3)).or_default();
        entry.0 += row.growth.first().copied().flatten().unwrap_or(0.0);
        entry.1 = entry.1.max(row.seconds);
    }
    let mut found: BTreeMap<String, Statement> = BTreeMap::new();
    for row in now {
        let queryid = label(row, 3);
        let statement = found.entry(queryid.clone()).or_insert_with(|| Statement {
            before: past
                .get(&queryid)
                .filter(|(total, seconds)| *seconds >= COMPARED_SECONDS_MIN && *total > 0.0)
                .map(|(total, seconds)| total / seconds),
            queryid,
            databases: BTreeSet::new(),
            roles: BTreeSet::new(),
            sums: Sums::default(),
            share: 0.0,
            text: None,
        });
        add(&mut statement.sums, row);
        statement.databases.insert(label(row, 0));
        statement.roles.insert(label(row, 1));
    }
    let mut statements: Vec<Statement> = found.into_values().collect();
    statements.retain(|statement| statement.sums.calls > 0.0 || statement.sums.total_ms > 0.0);
    statements
}

impl Statement {
    fn mean_ms(&self) -> Option<f64> {
        (self.sums.calls > 0.0).then(|| self.sums.total_ms / self.sums.calls)
    }

    fn rate(&self, value: f64) -> Option<f64> {
        (self.sums.seconds > 0.0).then(|| value / self.sums.seconds)
    }

    fn change(&self) -> Option<f64> {
        let now = self
            .rate(self.sums.total_ms)
            .filter(|_| self.sums.seconds >= COMPARED_SECONDS_MIN);
        Some(now? / self.before?)
    }
}

fn figures(statements: &[Statement], everything: f64) -> Markup {
    let seconds = statements
        .iter()
        .map(|s| s.sums.seconds)
        .fold(0.0, f64::max);
    let calls: f64 = statements.iter().map(|s| s.sums.calls).sum();
    let shown: f64 = statements.iter().map(|s| s.sums.total_ms).sum();
    let load = (seconds > 0.0).then(|| everything / 1_000.0 / seconds);
    html! {
        dl .figures {
            (figure("statements", html! { (statements.len()) }, "called in the range, among the costliest by time, calls, reads, temporary blocks and WAL"))
            (figure("calls", html! { @if seconds > 0.0 { (per_second(calls / seconds)) } @else { (dash("two samples are needed")) } }, "calls of these statements per second"))
            (figure("busy", html! { @if let Some(load) = load { (words::number(load)) } @else { (dash("two samples are needed")) } }, "sessions that execute statements on average: total time over elapsed time"))
            (figure("total time", html! { (milliseconds(everything)) }, "time that all statements of the server took"))
            @if everything > 0.0 { (figure("seen here", html! { (percent(100.0 * shown / everything)) }, "share of the total time that the statements below took")) }
        }
    }
}

fn section(here: &Here<'_>, name: &str, mut statements: Vec<Statement>) -> Markup {
    let fields = [
        Field::Choice {
            key: "database",
            title: "Database",
            values: choices(
                statements
                    .iter()
                    .flat_map(|s| &s.databases)
                    .map(String::as_str),
            ),
        },
        Field::Choice {
            key: "user",
            title: "User",
            values: choices(statements.iter().flat_map(|s| &s.roles).map(String::as_str)),
        },
        Field::Search {
            key: "q",
            title: "Query",
        },
    ];
    let form = filter(here, &fields);
    let text = here.visit.parameter("q").unwrap_or_default().to_lowercase();
    let all = statements.len();
    statements.retain(|s| {
        let contains = |t: &String| t.to_lowercase().contains(&text);
        s.databases
            .iter()
            .any(|name| matches(here, "database", name))
            && s.roles.iter().any(|name| matches(here, "user", name))
            && (text.is_empty() || s.queryid == text || s.text.as_ref().is_some_and(contains))
    });
    let cut = statements.len() < all;
    html! { section #statements { (form) (table(here, name, cut).draw(here, statements)) } }
}

fn table<'a>(here: &'a Here<'a>, name: &'a str, filtered: bool) -> Table<'a, Statement> {
    type S = Statement;
    let size = |blocks: f64| ByteSize((blocks * BLOCK) as u64).to_string();
    Table {
        what: "statements",
        sorted: "total",
        columns: vec![
            Column::text(("query", "Query", "normalised text"), |s: &S| s.text.clone().unwrap_or_default(), move |s| link(here, name, s)).wordy(),
            Column::text(("database", "Database", "where it was called"), |s: &S| joined(&s.databases), |s| html! { (one_line(&joined(&s.databases), 24)) }),
            Column::number(("total", "Total time", "execution time in the range"), |s: &S| Some(s.sums.total_ms), milliseconds),
            Column::number(("share", "Share", "of the time of all statements"), |s: &S| Some(s.share), percent)
                .shown(|s| html! { (bar(s.share, false)) (percent(s.share)) }),
            Column::number(("change", "vs day before", "total time per second against the same stretch a day before"), Statement::change, change)
                .shown(|s| s.change().map_or_else(|| dash("not seen a day before"), |ratio| html! { span .change.worse[ratio >= 1.5].better[ratio <= 0.67] { (change(ratio)) } })),
            Column::number(("calls", "Calls", "calls in the range"), |s: &S| Some(s.sums.calls), words::number),
            Column::number(("rate", "Calls/s", "calls per second"), |s: &S| s.rate(s.sums.calls), per_second),
            Column::number(("mean", "Mean", "time per call"), Statement::mean_ms, milliseconds),
            Column::number(("rows", "Rows", "rows returned or changed"), |s: &S| Some(s.sums.rows), words::number),
            Column::number(("hit", "Hit", "data found in shared buffers"), |s: &S| Some(s.sums.hit), size),
            Column::number(("read", "Read", "data read into shared buffers"), |s: &S| Some(s.sums.read), size),
            Column::number(("temp", "Temp", "temporary data read and written"), |s: &S| Some(s.sums.temp), size),
            Column::number(("wal", "WAL", "WAL written"), |s: &S| Some(s.sums.wal_bytes), words::bytes),
            Column::number(("plan", "Planning", "planning time; zero unless pg_stat_statements.track_planning is on"), |s: &S| Some(s.sums.plan_ms), milliseconds),
        ],
        empty: if filtered {
            html! { p { "No statement passes the filter." } }
        } else {
            html! { p { "No statement was called in this stretch of time, or only one sample was taken; samples are a minute apart." } }
        },
    }
}

fn link(here: &Here<'_>, name: &str, statement: &Statement) -> Markup {
    let page = format!("queries/{}", statement.queryid);
    let href = path(here.visit, &instance_path(name, &page), &[]);
    let text = statement.text.as_deref();
    html! {
        a .sql href=(href) title=[text] {
            (text.map_or_else(|| format!("query {}", statement.queryid), |text| one_line(text, QUERY_CHARS)))
        }
    }
}

fn joined(names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(database: &str, queryid: &str, calls: Option<f64>, total: Option<f64>) -> Growth {
        let mut growth = vec![Some(0.0); COLUMNS.len()];
        growth[0] = calls;
        growth[1] = total;
        Growth {
            database: None,
            labels: [database, "app", "true", queryid]
                .map(str::to_owned)
                .to_vec(),
            growth,
            last: vec![None; COLUMNS.len()],
            seconds: 3_600.0,
        }
    }

    #[test]
    fn a_statement_is_the_sum_of_its_databases_and_resets_are_no_growth() {
        let now = [
            row("a", "1", Some(10.0), Some(7_200.0)),
            row("b", "1", Some(5.0), Some(0.0)),
            row("a", "2", None, None),
            row("a", "3", Some(0.0), Some(0.0)),
        ];
        let mut yesterday = row("a", "1", None, None);
        yesterday.growth = vec![Some(3_600.0)];
        let statements = together(&now, &[yesterday]);
        assert_eq!(statements.len(), 1, "no calls, no row");
        let one = &statements[0];
        assert_eq!((one.sums.calls, one.sums.total_ms), (15.0, 7_200.0));
        assert_eq!(one.mean_ms(), Some(480.0));
        assert_eq!(one.change(), Some(2.0));
        assert_eq!(joined(&one.databases), "a, b");
    }

    #[test]
    fn what_was_not_seen_before_is_not_compared() {
        let now = [row("a", "1", Some(1.0), Some(1.0))];
        let mut short = row("a", "1", None, None);
        short.growth = vec![Some(3_600.0)];
        short.seconds = 10.0;
        for before in [Vec::new(), vec![short]] {
            assert_eq!(together(&now, &before)[0].change(), None);
        }
    }
}
