//! Events of the whole server, checkpoints and vacuum.

use pawang_core::Level;

use super::overview::counts;
use super::{Drawing, Part, Row, Table, any, figure, row, trouble};
use crate::render::style::{Clock, bytes, percent, time, whole};
use crate::report::{Crash, Report};

pub(super) fn server<'a>(report: &'a Report, clock: &Clock) -> Part<'a> {
    let server = &report.server;
    if server.events.items.is_empty() && server.crashes.is_empty() {
        return Part::nothing("the server neither started, stopped nor failed");
    }
    let crashes = Table::new(
        "Crashes",
        &["at", "away>", "process", "pid>", "victims>", "why~"],
    )
    .with(server.crashes.iter().map(|crash| crashed(crash, clock)));
    let events = Table::new("In order of time", &["at", "count>", "kind", "message~"]).rows_of(
        &server.events,
        |event| {
            row([
                clock.at(event.at),
                whole(event.count),
                event.kind.clone(),
                event.message.clone(),
            ])
            .level(event.level)
        },
    );
    let figures = vec![
        trouble("crashes", server.crashes.len() as u64, Level::Critical),
        figure("events", whole(server.events.total)),
    ];
    let mut tables = vec![crashes, events];
    tables.retain(|table| !table.rows.is_empty());
    Part {
        figures,
        tables,
        ..Part::default()
    }
}

fn crashed(crash: &Crash, clock: &Clock) -> Row {
    let away = match (crash.at, crash.ready_at) {
        (Some(at), Some(ready)) => time(u64::try_from(ready - at).unwrap_or(0)),
        _ => "still, at the end".to_owned(),
    };
    let end = match (crash.signal, crash.exit_code) {
        (0, code) => format!("exit code {code}"),
        (signal, _) => format!("signal {signal}"),
    };
    let why = if crash.cause.is_empty() {
        end
    } else {
        format!("{end}: {}", crash.cause)
    };
    row([
        clock.at(crash.at),
        away,
        crash.process.clone(),
        crash.pid.to_string(),
        whole(crash.victims),
        why,
    ])
    .level(Level::Critical)
    .code("it was running", crash.statement.clone())
    .more("for", crash.who.clone())
    .more("memory", crash.memory.clone())
}

pub(super) fn checkpoints<'a>(report: &'a Report, _: &Clock) -> Part<'a> {
    let found = &report.checkpoints;
    if found.count == 0 && found.too_frequent == 0 {
        return Part::nothing("the log has no checkpoints: log_checkpoints is off");
    }
    let starts: u64 = found.reasons.values().sum();
    let timed = found.reasons.get("time").copied().unwrap_or(0);
    let mean = found.distance / found.count.max(1);
    let mut figures = vec![
        figure("checkpoints", whole(found.count)),
        figure("by time", percent(timed, starts)),
        trouble("too frequent", found.too_frequent, Level::Warning),
        figure("mean WAL between", bytes(mean)),
        figure("most WAL between", bytes(found.distance_max)),
        figure("buffers written", whole(found.buffers)),
        figure("write, p95", time(found.write.p95)),
        figure("sync, p95", time(found.sync.p95)),
        figure("slowest", time(found.total.max)),
        figure("longest sync of a file", time(found.longest_sync)),
        figure(
            "WAL files added, removed, recycled",
            format!(
                "{}, {}, {}",
                whole(found.added),
                whole(found.removed),
                whole(found.recycled)
            ),
        ),
    ];
    if found.restartpoints > 0 {
        figures.insert(
            1,
            figure("of them restartpoints", whole(found.restartpoints)),
        );
    }
    let mut tables = vec![counts("Why they started", "reason", &found.reasons)];
    tables.retain(|table| !table.rows.is_empty());
    let mut charts = Vec::new();
    if any(&found.series) {
        charts.push(Drawing::one("Checkpoints", "", "completed", &found.series));
    }
    if any(&found.buffers_series) {
        charts.push(Drawing::one(
            "Buffers written by checkpoints",
            "",
            "buffers",
            &found.buffers_series,
        ));
    }
    Part {
        figures,
        tables,
        charts,
        ..Part::default()
    }
}

pub(super) fn vacuums<'a>(report: &'a Report, clock: &Clock) -> Part<'a> {
    let found = &report.vacuums;
    if found.vacuums == 0 && found.analyzes == 0 && found.cancelled == 0 {
        return Part::nothing(
            "the log has no autovacuum: log_autovacuum_min_duration is off, or none took that long",
        );
    }
    let figures = vec![
        figure("vacuums", whole(found.vacuums)),
        figure("analyzes", whole(found.analyzes)),
        figure("time of vacuums", time(found.elapsed.total)),
        figure("longest", time(found.elapsed.max)),
        figure("aggressive", whole(found.aggressive)),
        trouble("against wraparound", found.wraparound, Level::Info),
        trouble("cancelled by a lock", found.cancelled, Level::Warning),
    ];
    let all: u64 = found.tables.items.iter().map(|table| table.elapsed).sum();
    let table = Table::new(
        "By table",
        &[
            "table",
            "time%",
            "vacuums>",
            "analyzes>",
            "rows removed>",
            "dead kept>",
            "WAL>",
            "last",
        ],
    )
    .rows_of(&found.tables, |table| {
        let scans = if table.index_scans > table.vacuums {
            format!(
                "{} in {} vacuums: maintenance_work_mem does not hold the dead rows",
                whole(table.index_scans),
                whole(table.vacuums)
            )
        } else {
            whole(table.index_scans)
        };
        row([
            table.table.clone(),
            time(table.elapsed),
            whole(table.vacuums),
            whole(table.analyzes),
            whole(table.removed),
            whole(table.dead_kept),
            bytes(table.wal_bytes),
            clock.at(table.last_at),
        ])
        .share(table.elapsed, all)
        .more("index scans", scans)
        .more("pages removed", whole(table.pages_removed))
        .more("buffers dirtied", whole(table.dirtied))
    });
    let chart = any(&found.series).then(|| Drawing::one("Vacuums", "", "vacuums", &found.series));
    Part {
        figures,
        tables: vec![table],
        charts: chart.into_iter().collect(),
        ..Part::default()
    }
}
