//! Errors, slow statements, temporary files and plans.

use std::collections::BTreeMap;

use pawang_core::Level;

use super::overview::counted;
use super::{Drawing, Part, Row, Table, any, figure, row, trouble};
use crate::render::style::{Clock, bytes, percent, time, whole};
use crate::report::{Counted, Durations, ErrorText, PlanShape, Report, Shape, Slow};
use crate::severity::Severity;

pub(super) fn errors<'a>(report: &'a Report, clock: &Clock) -> Part<'a> {
    let errors = &report.errors;
    if errors.items.is_empty() {
        return Part::nothing("no statement failed and no session ended by force");
    }
    let totals = &report.totals.severities;
    let of = |severity| totals.get(&severity).copied().unwrap_or(0);
    let all: u64 = errors.items.iter().map(|error| error.count).sum();
    let table = Table::new(
        "",
        &["severity", "count%", "state", "first", "last", "what~"],
    );
    let table = table.rows_of(errors, |error| {
        error_row(error, clock).share(error.count, all)
    });
    let figures = vec![
        trouble("PANIC", of(Severity::Panic), Level::Critical),
        trouble("FATAL", of(Severity::Fatal), Level::Warning),
        trouble("ERROR", of(Severity::Error), Level::Warning),
        figure("texts", whole(errors.total)),
    ];
    Part {
        figures,
        tables: vec![table],
        ..Part::default()
    }
}

fn error_row(error: &ErrorText, clock: &Clock) -> Row {
    let level = match error.severity {
        Severity::Panic => Level::Critical,
        Severity::Fatal | Severity::Error => Level::Warning,
        _ => Level::Info,
    };
    row([
        error.severity.as_str().to_owned(),
        whole(error.count),
        error.sqlstate.clone(),
        clock.at(error.first_at),
        clock.at(error.last_at),
        error.text.clone(),
    ])
    .level(level)
    .more("kind", error.kind.clone())
    .code("earliest", error.sample.clone())
    .code("detail", error.detail.clone())
    .code("statement", error.statement.clone())
    .more("databases", counted(&error.databases))
    .more("users", counted(&error.users))
}

pub(super) fn slow<'a>(report: &'a Report, clock: &Clock) -> Part<'a> {
    let statements = &report.statements;
    if statements.all.count == 0 {
        return Part::nothing(if statements.without_duration > 0 {
            "the log has statements but no durations: log_min_duration_statement is off"
        } else {
            "the log has no durations: log_min_duration_statement is off, or nothing was that slow"
        });
    }
    let all = &statements.all;
    let figures = vec![
        figure("statements", whole(all.count)),
        figure("time", time(all.total)),
        figure("shapes", whole(statements.by_time.total)),
        figure("p50", time(all.p50)),
        figure("p95", time(all.p95)),
        figure("p99", time(all.p99)),
        figure("slowest", time(all.max)),
        trouble(
            "timed out",
            sum(&statements.timed_out.items),
            Level::Warning,
        ),
        trouble("cancelled", sum(&statements.cancelled.items), Level::Info),
    ];
    let mut by_time = shapes(
        "By time in all",
        statements.by_time.items.iter(),
        all.total,
        clock,
    );
    by_time.rest = statements
        .by_time
        .total
        .saturating_sub(by_time.rows.len() as u64);
    by_time.complete = statements.by_time.complete;
    let mut tables = vec![
        by_time,
        shapes("By slowest", statements.by_max.iter(), all.total, clock),
        shapes("By mean", statements.by_mean.iter(), all.total, clock),
        shapes("By count", statements.by_count.iter(), all.total, clock),
        Table::new(
            "Slowest executions",
            &["took>", "ended", "user", "database", "statement;"],
        )
        .with(statements.slowest.iter().map(|slow| single(slow, clock))),
        counted_table("Timed out", &statements.timed_out.items, clock),
        counted_table("Cancelled", &statements.cancelled.items, clock),
    ];
    tables.extend(by_name(report));
    tables.retain(|table| !table.rows.is_empty());
    Part {
        figures,
        tables,
        charts: drawings(report),
        ..Part::default()
    }
}

/// Returns the time of statements by who ran them, from where, how and when.
fn by_name(report: &Report) -> Vec<Table> {
    let statements = &report.statements;
    let mut tables = Vec::new();
    for (title, name, map) in [
        ("By user", "user", &statements.users),
        ("By database", "database", &statements.databases),
        ("By application", "application", &statements.applications),
        ("By host", "host", &statements.hosts),
        ("By command", "command", &statements.verbs),
        ("By phase", "phase", &statements.phases),
    ] {
        tables.push(durations(title, name, map.iter(), true));
    }
    let hours: BTreeMap<String, &Durations> = statements
        .hours
        .iter()
        .map(|(hour, durations)| (format!("{hour:02}:00"), durations))
        .collect();
    tables.push(durations(
        "By hour of the day (UTC)",
        "hour",
        hours.iter().map(|(hour, durations)| (hour, *durations)),
        false,
    ));
    tables
}

fn drawings(report: &Report) -> Vec<Drawing<'_>> {
    let statements = &report.statements;
    let mut charts = Vec::new();
    if any(&statements.series) {
        charts.push(Drawing::one(
            "Statements",
            "",
            "executions",
            &statements.series,
        ));
    }
    if any(&statements.time_series) {
        charts.push(Drawing {
            divisor: 1e6,
            peak: false,
            ..Drawing::one("Their time", "s", "time", &statements.time_series)
        });
    }
    charts
}

fn sum(items: &[Counted]) -> u64 {
    items.iter().map(|item| item.count).sum()
}

fn shapes<'s>(
    title: &str,
    shapes: impl Iterator<Item = &'s Shape>,
    all: u64,
    clock: &Clock,
) -> Table {
    let table = Table::new(
        title,
        &[
            "time%",
            "share>",
            "count>",
            "mean>",
            "p95>",
            "slowest>",
            "statement;",
        ],
    );
    table.with(shapes.map(|shape| one_shape(shape, all, clock)))
}

/// Returns a shape with its numbers, and what else is known of it.
fn one_shape(shape: &Shape, all: u64, clock: &Clock) -> Row {
    let durations = &shape.durations;
    let mean = durations.total / durations.count.max(1);
    let slowest = shape.slowest.as_ref();
    let hours = shape.hours.iter().max_by_key(|(_, count)| **count);
    let hour = hours.map(|(hour, count)| format!("{hour:02}:00 UTC, {} of them", whole(*count)));
    let tags = shape
        .tags
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    row([
        time(durations.total),
        percent(durations.total, all),
        whole(durations.count),
        time(mean),
        time(durations.p95),
        time(durations.max),
        shape.text.clone(),
    ])
    .share(durations.total, all)
    .code("statement", shape.text.clone())
    .more("id", shape.id.clone())
    .more("first", clock.full(shape.first_at))
    .more("last", clock.full(shape.last_at))
    .more(
        "p50, p99",
        format!("{}, {}", time(durations.p50), time(durations.p99)),
    )
    .more("users", counted(&shape.users))
    .more("databases", counted(&shape.databases))
    .more("applications", counted(&shape.applications))
    .more("busiest hour", hour.unwrap_or_default())
    .more(
        "temporary files",
        if shape.temp_bytes > 0 {
            bytes(shape.temp_bytes)
        } else {
            String::new()
        },
    )
    .more("tags", tags.collect::<Vec<_>>().join(", "))
    .more(
        "slowest",
        slowest
            .map(|slow| execution(slow, clock))
            .unwrap_or_default(),
    )
    .code(
        "its text",
        slowest
            .filter(|slow| slow.text != shape.text)
            .map(|slow| slow.text.clone())
            .unwrap_or_default(),
    )
    .code(
        "its parameters",
        slowest
            .map(|slow| slow.parameters.clone())
            .unwrap_or_default(),
    )
}

/// Returns one execution in a line: `41 s at 03:12:07 by etl in dwh from 10.0.0.4 (nightly)`.
fn execution(slow: &Slow, clock: &Clock) -> String {
    let mut text = format!("{} until {}", time(slow.duration), clock.full(slow.at));
    for (word, name) in [
        ("by", &slow.user),
        ("in", &slow.database),
        ("from", &slow.host),
        ("with", &slow.application),
    ] {
        if !name.is_empty() {
            text.push_str(&format!(" {word} {name}"));
        }
    }
    text
}

fn single(slow: &Slow, clock: &Clock) -> Row {
    row([
        time(slow.duration),
        clock.at(slow.at),
        slow.user.clone(),
        slow.database.clone(),
        slow.text.clone(),
    ])
    .code("statement", slow.text.clone())
    .code("parameters", slow.parameters.clone())
    .more("application", slow.application.clone())
    .more("host", slow.host.clone())
}

fn durations<'d>(
    title: &'static str,
    name: &'static str,
    map: impl Iterator<Item = (&'d String, &'d Durations)>,
    by_time: bool,
) -> Table {
    let mut all: Vec<(&String, &Durations)> = map.collect();
    if by_time {
        all.sort_by(|a, b| b.1.total.cmp(&a.1.total).then(a.0.cmp(b.0)));
    }
    let total: u64 = all.iter().map(|(_, durations)| durations.total).sum();
    let table = Table::new(
        title,
        &[
            name, "time%", "share>", "count>", "p50>", "p95>", "p99>", "slowest>",
        ],
    );
    table.with(all.into_iter().map(|(name, durations)| {
        row([
            if name.is_empty() { "(none)" } else { name }.to_owned(),
            time(durations.total),
            percent(durations.total, total),
            whole(durations.count),
            time(durations.p50),
            time(durations.p95),
            time(durations.p99),
            time(durations.max),
        ])
        .share(durations.total, total)
    }))
}

fn counted_table(title: &str, items: &[Counted], clock: &Clock) -> Table {
    Table::new(title, &["count>", "last", "statement;"]).with(items.iter().map(|item| {
        row([whole(item.count), clock.at(item.last_at), item.text.clone()])
            .code("statement", item.text.clone())
    }))
}

pub(super) fn temp<'a>(report: &'a Report, clock: &Clock) -> Part<'a> {
    let files = &report.temp_files;
    if files.count == 0 {
        return Part::nothing(
            "the log has no temporary files: log_temp_files is off, or all fitted into work_mem",
        );
    }
    let figures = vec![
        figure("files", whole(files.count)),
        figure("written", bytes(files.bytes)),
        figure("largest", bytes(files.max)),
    ];
    let table = Table::new(
        "",
        &[
            "written%",
            "share>",
            "files>",
            "largest>",
            "last",
            "statement;",
        ],
    );
    let table = table.rows_of(&files.statements, |item| {
        row([
            bytes(item.total),
            percent(item.total, files.bytes),
            whole(item.count),
            bytes(item.max),
            clock.at(item.last_at),
            if item.text.is_empty() {
                "(not told)".to_owned()
            } else {
                item.text.clone()
            },
        ])
        .share(item.total, files.bytes)
        .code("statement", item.text.clone())
    });
    let chart = any(&files.series)
        .then(|| Drawing::one("Temporary files", "bytes", "written", &files.series));
    Part {
        figures,
        tables: vec![table],
        charts: chart.into_iter().collect(),
        ..Part::default()
    }
}

pub(super) fn plans<'a>(report: &'a Report, _: &Clock) -> Part<'a> {
    let plans = &report.plans;
    if plans.count == 0 {
        return Part::nothing(
            "the log has no plans: auto_explain is not loaded, or nothing was that slow",
        );
    }
    let figures = vec![
        figure("plans", whole(plans.count)),
        figure("different", whole(plans.plans.total)),
        trouble("not readable", plans.unread, Level::Unknown),
    ];
    let table = Table::new(
        "",
        &["time>", "count>", "slowest>", "findings>", "statement;"],
    );
    Part {
        figures,
        tables: vec![table.rows_of(&plans.plans, plan)],
        ..Part::default()
    }
}

fn plan(plan: &PlanShape) -> Row {
    let mut shown = row([
        time(plan.total),
        whole(plan.count),
        time(plan.max),
        plan.findings.len().to_string(),
        plan.text.clone(),
    ]);
    shown.level = plan.findings.iter().map(|finding| finding.level).max();
    for finding in &plan.findings {
        let node = if finding.node.is_empty() {
            String::new()
        } else {
            format!("{}: ", finding.node)
        };
        let text = format!("{node}{}. {}", finding.title, finding.remedy);
        shown = shown.more("finding", text);
    }
    shown
        .code("statement", plan.text.clone())
        .code("plan of the slowest", plan.sample.clone())
        .more("fingerprint", plan.plan.clone())
}
