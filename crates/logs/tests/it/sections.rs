//! The sections of the report over an excerpt of a real log, PostgreSQL 15 as csvlog.

use pawang_logs::record::Record;
use pawang_logs::report::{Report, Source};
use pawang_logs::severity::Severity;
use pawang_logs::tally::{Options, Tally};

const EXCERPT: &str = include_str!("../data/sections.csv");

/// Reads csvlog of 26 columns: just enough for these tests.
pub(crate) fn rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            letter => field.push(letter),
        }
    }
    rows
}

/// Returns the record of a row.
pub(crate) fn record(row: &[String]) -> Record<'_> {
    assert_eq!(row.len(), 26, "{row:?}");
    let bytes = |column: usize| row[column].as_bytes();
    let number = |column: usize| row[column].parse().unwrap_or(0);
    let started = row[5].split('.').next().unwrap_or_default();
    Record {
        at: Some(micros(&row[0])),
        pid: number(3),
        session_started: u32::from_str_radix(started, 16).unwrap_or(0),
        line: number(6),
        lines: 1,
        severity: Severity::of(bytes(11)).unwrap_or_default(),
        sqlstate: bytes(12).try_into().unwrap_or_default(),
        user: bytes(1),
        database: bytes(2),
        host: bytes(4),
        message: bytes(13),
        detail: bytes(14),
        hint: bytes(15),
        context: bytes(18),
        statement: bytes(19),
        application: bytes(22),
        backend: bytes(23),
        ..Record::default()
    }
}

/// Returns the microseconds of a time of Jakarta, seven hours before UTC.
fn micros(text: &str) -> i64 {
    let time = text.strip_suffix(" WIB").expect("the log is in WIB");
    let civil: jiff::civil::DateTime = time.parse().expect("it is a time");
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(7));
    let zoned = civil.to_zoned(zone).expect("a fixed offset has all times");
    zoned.timestamp().as_microsecond()
}

fn report() -> Report {
    let mut tally = Tally::default();
    for row in rows(EXCERPT) {
        tally.take(&record(&row));
    }
    tally.settle();
    tally.report(Source::default(), &Options::default())
}

#[test]
fn sessions_of_the_excerpt() {
    let sessions = report().sessions;
    assert_eq!((sessions.received, sessions.authorized), (27, 27));
    assert_eq!(sessions.lasted.count, 23);
    assert_eq!(sessions.users["ahli data"], 1);
    assert_eq!(sessions.databases["Data Mart"], 1);
    assert_eq!(sessions.applications["my app, v=1"], 1);
    assert_eq!(sessions.hosts["[local]"], 27);
    assert!(
        sessions
            .open_max
            .is_some_and(|most| (3..=27).contains(&most))
    );
    assert_eq!(sessions.users.values().sum::<u64>(), 27);
}

#[test]
fn locks_of_the_excerpt() {
    let locks = report().locks;
    assert!((2..=3).contains(&locks.waits), "{}", locks.waits);
    assert!(locks.waited.max >= 509_306);
    assert_eq!(locks.deadlocks.total, 1);
    let deadlock = &locks.deadlocks.items[0];
    assert_eq!(deadlock.victim, 24_229);
    let edges: Vec<(u32, u32)> = deadlock
        .edges
        .iter()
        .map(|edge| (edge.waiter, edge.holder))
        .collect();
    assert_eq!(edges, [(24_229, 24_223), (24_223, 24_229)]);
    assert_eq!(deadlock.edges[0].object, "transaction 731");
    assert!(deadlock.edges.iter().all(|edge| !edge.statement.is_empty()));
    let refused: u64 = locks.refused.items.iter().map(|item| item.count).sum();
    assert_eq!(refused, 1);
    let blockers = locks.blockers.items.iter();
    let costs: Vec<(u32, u64)> = blockers
        .map(|blocker| (blocker.pid, blocker.cost))
        .collect();
    assert_eq!(costs[0], (24_229, 509_306));
    assert!(
        costs
            .iter()
            .any(|&(pid, cost)| pid == 24_223 && cost >= 201_877)
    );
}

#[test]
fn checkpoints_and_vacuums_of_the_excerpt() {
    let report = report();
    let checkpoints = report.checkpoints;
    assert_eq!((checkpoints.count, checkpoints.too_frequent), (2, 1));
    assert_eq!(checkpoints.reasons["wal"], 1);
    assert_eq!(checkpoints.reasons["end-of-recovery immediate wait"], 1);
    assert_eq!(checkpoints.buffers, 3_384);
    assert_eq!(checkpoints.distance_max, 26_867 << 10);
    assert_eq!(checkpoints.total.total, 128_000);
    let vacuums = report.vacuums;
    assert_eq!(
        (vacuums.vacuums, vacuums.aggressive, vacuums.analyzes),
        (6, 2, 25)
    );
    let tables = &vacuums.tables.items;
    let table = tables
        .iter()
        .find(|table| table.table == "postgres.public.t");
    assert_eq!(
        table.map(|table| (table.vacuums, table.removed, table.wal_bytes)),
        Some((1, 1, 28_678))
    );
}

#[test]
fn the_crash_of_the_excerpt() {
    let server = report().server;
    assert_eq!(server.crashes.len(), 1);
    let crash = &server.crashes[0];
    assert_eq!((crash.pid, crash.signal), (24_319, 9));
    assert!(!crash.statement.is_empty());
    let away = crash.ready_at.expect("it came back") - crash.at.expect("it has a time");
    assert_eq!(away, 471_000);
    let kinds: Vec<&str> = server
        .events
        .items
        .iter()
        .map(|event| event.kind.as_str())
        .collect();
    assert!(kinds.contains(&"server-starting"), "{kinds:?}");
    assert!(kinds.contains(&"checkpoint-too-frequent"), "{kinds:?}");
    let ids: Vec<String> = report()
        .advice
        .into_iter()
        .map(|advice| advice.id)
        .collect();
    for id in [
        "server-process-killed",
        "checkpoint-too-frequent",
        "deadlocks",
    ] {
        assert!(ids.iter().any(|found| found == id), "{id} in {ids:?}");
    }
}
