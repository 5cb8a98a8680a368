//! Locks, connections, audit and PgBouncer.

use pawang_core::Level;

use super::overview::{counts, rate, seconds};
use super::{Drawing, Part, Row, Table, any, figure, row, trouble};
use crate::render::style::{Clock, percent, time, whole};
use crate::report::{Blocker, Counted, Deadlock, Report};

/// How many times the median a minute of logins must have to be called a storm.
const STORM_RATIO: u64 = 10;
/// Logins within a minute below which nobody would speak of a storm.
const STORM_MIN: u64 = 60;

pub(super) fn locks<'a>(report: &'a Report, clock: &Clock) -> Part<'a> {
    let locks = &report.locks;
    if locks.waits == 0 && locks.deadlocks.total == 0 && locks.refused.total == 0 {
        return Part::nothing(
            "the log has no lock waits: log_lock_waits is off, or nobody waited longer than deadlock_timeout",
        );
    }
    let refused: u64 = locks.refused.items.iter().map(|item| item.count).sum();
    let figures = vec![
        trouble("deadlocks", locks.deadlocks.total, Level::Warning),
        figure("waits", whole(locks.waits)),
        figure("waited", time(locks.waited.total)),
        figure("longest", time(locks.waited.max)),
        trouble("never ended", locks.unended, Level::Warning),
        trouble("timed out or refused", refused, Level::Warning),
    ];
    let waited = |title: &str, heading: &'static str, items: &crate::report::Top<Counted>| {
        Table::new(title, &["waits>", "waited>", "longest>", "last", heading]).rows_of(
            items,
            |item| {
                row([
                    whole(item.count),
                    time(item.total),
                    time(item.max),
                    clock.at(item.last_at),
                    item.text.clone(),
                ])
                .code(
                    "statement",
                    if heading.ends_with(';') {
                        item.text.clone()
                    } else {
                        String::new()
                    },
                )
            },
        )
    };
    let mut tables = vec![
        Table::new(
            "Who made others wait",
            &[
                "cost%",
                "victims>",
                "pid>",
                "since",
                "waits itself",
                "who~",
                "statement;",
            ],
        )
        .rows_of(&locks.blockers, |blocker| {
            blocked(blocker, locks.waited.total, clock)
        }),
        Table::new(
            "Deadlocks",
            &["at", "victim>", "processes>", "who waited for whom~"],
        )
        .rows_of(&locks.deadlocks, |deadlock| dead(deadlock, clock)),
        waited("Statements that waited", "statement;", &locks.statements),
        waited("What was locked", "object~", &locks.objects),
        waited("Timed out or refused", "statement;", &locks.refused),
    ];
    tables.retain(|table| !table.rows.is_empty());
    let chart = any(&locks.series).then(|| Drawing::one("Lock waits", "", "waits", &locks.series));
    Part {
        figures,
        tables,
        charts: chart.into_iter().collect(),
        ..Part::default()
    }
}

fn blocked(blocker: &Blocker, all: u64, clock: &Clock) -> Row {
    row([
        time(blocker.cost),
        whole(blocker.victims),
        blocker.pid.to_string(),
        clock.at(blocker.at),
        if blocker.root { "no" } else { "yes" }.to_owned(),
        blocker.who.clone(),
        if blocker.statement.is_empty() {
            "(the log has none)".to_owned()
        } else {
            blocker.statement.clone()
        },
    ])
    .share(blocker.cost, all)
    .code("statement", blocker.statement.clone())
}

fn dead(deadlock: &Deadlock, clock: &Clock) -> Row {
    let chain: Vec<String> = deadlock
        .edges
        .iter()
        .map(|edge| format!("{} for {} ({})", edge.waiter, edge.holder, edge.mode))
        .collect();
    let mut shown = row([
        clock.at(deadlock.at),
        deadlock.victim.to_string(),
        deadlock.edges.len().to_string(),
        chain.join(", "),
    ])
    .level(Level::Warning);
    for edge in &deadlock.edges {
        let text = format!(
            "{} waits for {} on {} of {}\n{}",
            edge.waiter, edge.mode, edge.object, edge.holder, edge.statement
        );
        shown = shown.code("process", text.trim_end().to_owned());
    }
    shown
}

pub(super) fn connections<'a>(report: &'a Report, clock: &Clock) -> Part<'a> {
    let sessions = &report.sessions;
    let none = sessions.received == 0 && sessions.authorized == 0 && sessions.lasted.count == 0;
    if none && sessions.refused.total == 0 {
        return Part::nothing(
            "the log has no logins: log_connections and log_disconnections are off",
        );
    }
    let refused: u64 = sessions.refused.items.iter().map(|item| item.count).sum();
    let length = seconds(report);
    let storm = sessions.minute_max >= STORM_MIN
        && sessions.minute_max >= STORM_RATIO.saturating_mul(sessions.minute_median.max(1));
    let mut minute = figure(
        "most in a minute",
        format!(
            "{} at {}",
            whole(sessions.minute_max),
            clock.at(sessions.minute_max_at)
        ),
    );
    if storm {
        minute.level = Level::Warning;
    }
    let mut figures = vec![
        figure("connections", whole(sessions.received)),
        figure("logins", whole(sessions.authorized)),
        figure(
            "rate",
            rate(sessions.authorized.max(sessions.received), length),
        ),
        trouble("refused", refused, Level::Warning),
        minute,
        figure("median minute", whole(sessions.minute_median)),
    ];
    if sessions.lasted.count > 0 {
        figures.push(figure("sessions lasted, p50", time(sessions.lasted.p50)));
        figures.push(figure("longest", time(sessions.lasted.max)));
    }
    if let Some(most) = sessions.open_max {
        let at = clock.at(sessions.open_max_at);
        figures.push(figure(
            "most open at once",
            format!("{} at {at}", whole(most)),
        ));
    }
    let mut notes = Vec::new();
    if storm {
        notes.push(format!(
            "A storm: {} logins within the minute of {}, where the median minute has {}. A pooler would take them.",
            whole(sessions.minute_max),
            clock.at(sessions.minute_max_at),
            whole(sessions.minute_median)
        ));
    }
    let chart =
        any(&sessions.series).then(|| Drawing::one("Logins", "", "logins", &sessions.series));
    Part {
        figures,
        tables: logins(report, clock),
        charts: chart.into_iter().collect(),
        notes,
        nothing: None,
    }
}

/// Returns who was refused, and who logged in from where.
fn logins(report: &Report, clock: &Clock) -> Vec<Table> {
    let sessions = &report.sessions;
    let mut tables = vec![
        Table::new(
            "Refused",
            &["count>", "why", "user", "database", "host", "first", "last"],
        )
        .rows_of(&sessions.refused, |refused| {
            row([
                whole(refused.count),
                refused.kind.clone(),
                refused.user.clone(),
                refused.database.clone(),
                refused.host.clone(),
                clock.at(refused.first_at),
                clock.at(refused.last_at),
            ])
        }),
        counts("By user", "user", &sessions.users),
        counts("By database", "database", &sessions.databases),
        counts("By application", "application", &sessions.applications),
        counts("By host", "host", &sessions.hosts),
    ];
    tables.retain(|table| !table.rows.is_empty());
    tables
}

pub(super) fn audit<'a>(report: &'a Report, clock: &Clock) -> Part<'a> {
    let audit = &report.audit;
    if audit.count == 0 {
        return Part::nothing("the log has no records of pgaudit");
    }
    let mut tables = vec![
        Table::new(
            "Changes of definitions and roles",
            &["at", "user", "database", "command", "object", "statement;"],
        )
        .rows_of(&audit.changes, |change| {
            row([
                clock.at(change.at),
                change.user.clone(),
                change.database.clone(),
                change.command.clone(),
                change.object.clone(),
                change.statement.clone(),
            ])
            .code("statement", change.statement.clone())
        }),
        counts("By class", "class", &audit.classes),
        counts("By command", "command", &audit.commands),
        counts("By user", "user", &audit.users),
        Table::new("By object", &["count>", "share>", "last", "object~"]).rows_of(
            &audit.objects,
            |item| {
                row([
                    whole(item.count),
                    percent(item.count, audit.count),
                    clock.at(item.last_at),
                    item.text.clone(),
                ])
            },
        ),
    ];
    tables.retain(|table| !table.rows.is_empty());
    Part {
        figures: vec![
            figure("records", whole(audit.count)),
            figure("changes", whole(audit.changes.total)),
        ],
        tables,
        ..Part::default()
    }
}

pub(super) fn pgbouncer<'a>(report: &'a Report, clock: &Clock) -> Part<'a> {
    let pooler = &report.pgbouncer;
    if pooler.records == 0 {
        return Part::nothing("there is no log of PgBouncer among the files");
    }
    let errors: u64 = pooler.errors.values().sum();
    let peak = pooler.stats.iter().max_by_key(|line| line.wait_time);
    let mut figures = vec![
        figure("records", whole(pooler.records)),
        figure("logins", whole(pooler.logins)),
        figure("server connections", whole(pooler.server_connections)),
        trouble("errors", errors, Level::Warning),
    ];
    if let Some(peak) = peak {
        let text = format!("{} at {}", time(peak.wait_time), clock.at(peak.at));
        figures.push(figure("longest mean wait", text));
    }
    let busiest = |key: fn(&crate::report::PoolerStats) -> u64| {
        let mut lines: Vec<_> = pooler.stats.iter().collect();
        lines.sort_by(|a, b| key(b).cmp(&key(a)).then(a.at.cmp(&b.at)));
        lines
    };
    let stats = Table::new(
        "Minutes in which clients waited longest",
        &[
            "at",
            "transactions/s>",
            "queries/s>",
            "mean query>",
            "mean wait>",
        ],
    )
    .with(busiest(|line| line.wait_time).into_iter().map(|line| {
        row([
            clock.at(line.at),
            whole(line.xacts),
            whole(line.queries),
            time(line.query_time),
            time(line.wait_time),
        ])
    }));
    let mut tables = vec![
        counts("Errors told to clients", "error", &pooler.errors),
        counts("Why connections were closed", "reason", &pooler.closings),
        stats,
    ];
    tables.retain(|table| !table.rows.is_empty());
    Part {
        figures,
        tables,
        ..Part::default()
    }
}
