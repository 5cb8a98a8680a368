//! Waits, who made others wait, and deadlocks, from the words of real servers.

use super::*;
use crate::tally::testing::kind;

/// A part of a log, in the order that a tally has it.
#[derive(Default)]
struct Log {
    locks: Locks,
    shapes: Shapes,
    processes: Processes,
}

impl Log {
    fn take(&mut self, id: &str, second: i64, pid: u32, statement: &str, record: Record<'_>) {
        let record = Record {
            at: Some(second * 1_000_000),
            pid,
            user: b"app",
            database: b"shop",
            ..record
        };
        let shape = (!statement.is_empty()).then(|| self.shapes.of(statement.as_bytes()));
        let event = Event {
            record: &record,
            kind: kind(id),
            shape,
        };
        if record.severity >= Severity::Error {
            self.locks.take_error(&record);
        }
        if id != "duration" && id != "user-cancel" {
            self.locks.take(&event, &mut self.shapes, &self.processes);
        }
        self.processes.take(&event);
    }

    fn ran(&mut self, second: i64, pid: u32, statement: &str) {
        self.take("duration", second, pid, statement, Record::default());
    }

    fn waits(&mut self, second: i64, pid: u32, holders: &str) {
        let message = format!(
            "process {pid} still waiting for ShareLock on transaction {pid}00 after 1000.000 ms"
        );
        let detail = format!("Processes holding the lock: {holders}. Wait queue: {pid}.");
        let record = Record {
            message: message.as_bytes(),
            detail: detail.as_bytes(),
            ..Record::default()
        };
        self.take(
            "lock-waiting",
            second,
            pid,
            &format!("update {}", "w".repeat(pid as usize)),
            record,
        );
    }

    fn acquired(&mut self, second: i64, pid: u32, milliseconds: u64) {
        let message = format!(
            "process {pid} acquired ShareLock on transaction {pid}00 after {milliseconds}.000 ms"
        );
        let record = Record {
            message: message.as_bytes(),
            ..Record::default()
        };
        self.take(
            "lock-acquired",
            second,
            pid,
            &format!("update {}", "w".repeat(pid as usize)),
            record,
        );
    }

    fn absorb(&mut self, later: Log) {
        self.shapes.absorb(later.shapes);
        self.locks.absorb(later.locks, &self.processes);
        self.processes.absorb(later.processes);
    }

    fn report(&mut self) -> report::Locks {
        self.locks.settle();
        self.locks
            .report(&self.processes, &self.shapes, &Options::default())
    }
}

fn blocker(report: &report::Locks, pid: u32) -> Option<(u64, u64, bool)> {
    let found = report.blockers.items.iter().find(|item| item.pid == pid)?;
    Some((found.cost, found.victims, found.root))
}

#[test]
fn a_chain_costs_its_root() {
    let mut log = Log::default();
    log.ran(1, 3, "begin; update t");
    log.waits(10, 2, "3");
    log.waits(11, 1, "2");
    log.acquired(20, 2, 10_000);
    log.acquired(25, 1, 14_000);
    let report = log.report();
    assert_eq!((report.waits, report.unended), (2, 0));
    assert_eq!(report.waited.total, 24_000_000);
    assert_eq!(blocker(&report, 3), Some((24_000_000, 2, true)));
    assert_eq!(blocker(&report, 2), Some((14_000_000, 1, false)));
    let root = &report.blockers.items[0];
    assert!(!root.statement.is_empty());
    assert_eq!(root.who, "app@shop");
    assert_eq!(root.at, Some(10_000_000));
    assert_eq!(report.objects.items[0].text, "transaction");
    assert_eq!(report.objects.items[0].count, 2);
}

#[test]
fn a_holder_that_begins_to_wait_passes_the_blame_on() {
    let mut log = Log::default();
    log.waits(10, 1, "2");
    log.waits(11, 2, "3");
    log.acquired(20, 2, 9_000);
    log.acquired(25, 1, 15_000);
    let report = log.report();
    assert_eq!(blocker(&report, 3), Some((24_000_000, 2, true)));
    assert_eq!(blocker(&report, 2), Some((15_000_000, 1, false)));
}

#[test]
fn of_several_holders_the_free_one_pays() {
    let mut log = Log::default();
    log.waits(10, 2, "9");
    log.waits(11, 1, "2, 3");
    log.acquired(20, 1, 9_000);
    let report = log.report();
    assert_eq!(blocker(&report, 3), Some((9_000_000, 1, true)));
    assert_eq!(blocker(&report, 2), None);
    assert_eq!(
        blocker(&report, 9),
        Some((1_000_000 + 9_000_000, 2, true)),
        "through 2"
    );
}

#[test]
fn waits_that_never_end_count_with_what_was_told_last() {
    let mut log = Log::default();
    log.waits(10, 1, "2");
    log.take(
        "user-cancel",
        11,
        1,
        "update t",
        Record {
            severity: Severity::Error,
            message: b"canceling statement due to user request",
            ..Record::default()
        },
    );
    log.waits(20, 3, "2");
    let report = log.report();
    assert_eq!((report.waits, report.unended), (2, 2));
    assert_eq!(report.waited.total, 2_000_000);
    assert_eq!(blocker(&report, 2), Some((2_000_000, 2, true)));
    // The report changes nothing: the wait may end in bytes to come.
    log.acquired(30, 3, 11_000);
    let report = log.report();
    assert_eq!((report.waits, report.unended), (2, 1));
    assert_eq!(report.waited.total, 12_000_000);
}

#[test]
fn a_cycle_of_waits_ends() {
    let mut log = Log::default();
    log.waits(10, 1, "2");
    log.waits(11, 2, "1");
    let message = b"process 2 detected deadlock while waiting for ShareLock on transaction 200 after 1000.5 ms";
    let record = Record {
        message,
        detail: b"Process holding the lock: 1. Wait queue: .",
        ..Record::default()
    };
    log.take("deadlock", 12, 2, "", record);
    let record = Record {
        severity: Severity::Error,
        message: b"deadlock detected",
        detail: b"Process 2 waits for ShareLock on transaction 200; blocked by process 1.
Process 1 waits for ShareLock on transaction 100; blocked by process 2.
Process 2: update a
Process 1: update b",
        ..Record::default()
    };
    log.take("deadlock", 12, 2, "update a", record);
    log.acquired(12, 1, 2_000);
    let report = log.report();
    assert_eq!((report.waits, report.unended), (2, 1));
    assert_eq!(report.deadlocks.total, 1);
    let deadlock = &report.deadlocks.items[0];
    assert_eq!((deadlock.victim, deadlock.edges.len()), (2, 2));
    assert_eq!(deadlock.edges[1].holder, 2);
    assert!(!deadlock.edges[1].statement.is_empty());
}

#[test]
fn refusals_are_counted_by_statement() {
    let mut log = Log::default();
    for text in [
        "canceling statement due to lock timeout",
        "could not obtain lock on row in relation \"t\"",
        "could not obtain lock on relation \"t\"",
    ] {
        let record = Record {
            severity: Severity::Error,
            message: text.as_bytes(),
            ..Record::default()
        };
        log.take("lock-timeout", 1, 5, "select t", record);
    }
    let report = log.report();
    assert_eq!(report.refused.items[0].count, 3);
    assert_eq!(report.waits, 0);
}

#[test]
fn a_blocker_is_known_from_an_earlier_part_or_from_later() {
    let build = |split: Option<usize>| {
        let mut parts = vec![Log::default()];
        let steps: [&dyn Fn(&mut Log); 5] = [
            &|log| log.ran(1, 3, "select earlier"),
            &|log| log.waits(10, 2, "3"),
            &|log| log.waits(11, 1, "4"),
            &|log| log.ran(12, 4, "select later, longer"),
            &|log| log.acquired(20, 2, 10_000),
        ];
        for (index, step) in steps.iter().enumerate() {
            if split == Some(index) {
                parts.push(Log::default());
            }
            step(parts.last_mut().expect("there is one"));
        }
        let mut parts = parts.into_iter();
        let mut first = parts.next().expect("there is one");
        for part in parts {
            first.absorb(part);
        }
        first.report()
    };
    let whole = build(None);
    assert_eq!(whole.blockers.items.len(), 2);
    assert!(
        whole
            .blockers
            .items
            .iter()
            .all(|item| !item.statement.is_empty() && item.who == "app@shop")
    );
    for split in 0..5 {
        assert_eq!(build(Some(split)), whole, "split at {split}");
    }
}
