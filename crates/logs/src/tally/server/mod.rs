//! Events of the whole server, once a minute and kind, and crashes.

mod crash;

use std::collections::BTreeMap;

use pawang_core::Level;
use serde::{Deserialize, Serialize};

use self::crash::{Crashes, Pending, Step, death};
use super::processes::Processes;
use super::table::pairs;
use super::{Event, Options, Shapes};
use crate::extract::{after, redacted};
use crate::kind::{Group, Kind, kinds};
use crate::record::Record;
use crate::report;
use crate::severity::Severity;

/// Most events that are kept: the most severe, and of those the latest.
const EVENTS_MAX: usize = 2_000;

/// Most steps of crashes that wait to be joined.
const PENDING_MAX: usize = 200_000;

/// Longest message that is kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 400;

/// Events of the whole server, and crashes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Server {
    #[serde(with = "pairs")]
    events: BTreeMap<EventKey, ServerEvent>,
    dropped: bool,
    pending: Vec<Pending>,
    crashes: Crashes,
}

/// Order in which events are kept: level, minute, and the kind.
type EventKey = (u8, i64, String);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ServerEvent {
    at: Option<i64>,
    message: String,
    count: u64,
}

impl Server {
    /// Adds one record of any group.
    pub(crate) fn take(&mut self, event: &Event<'_>, shapes: &mut Shapes, processes: &Processes) {
        let record = event.record;
        let kind = &kinds()[usize::from(event.kind.0)];
        let own = matches!(
            kind.group,
            Group::Server | Group::Resources | Group::Wal | Group::Replication | Group::Maintenance
        );
        if !own && record.severity < Severity::Warning && !unknown_to_rules(kind, record) {
            return;
        }
        if own && (kind.level >= Level::Warning || is_milestone(kind, record)) {
            self.list(kind, record);
        }
        self.step(record, kind, shapes, processes);
    }

    fn list(&mut self, kind: &Kind, record: &Record<'_>) {
        let minute = record.at.map_or(i64::MIN, |at| at.div_euclid(60_000_000));
        let key = (rank(kind.level), minute, kind.id.clone());
        self.events
            .entry(key)
            .and_modify(|event| event.count += 1)
            .or_insert_with(|| ServerEvent {
                at: record.at,
                message: redacted(record.message, MESSAGE_BYTES_MAX),
                count: 1,
            });
        self.shrink();
    }

    fn step(
        &mut self,
        record: &Record<'_>,
        kind: &Kind,
        shapes: &mut Shapes,
        processes: &Processes,
    ) {
        let message = record.message;
        let text = || redacted(message, MESSAGE_BYTES_MAX).into();
        let step = if message.starts_with(b"terminating connection because of crash of another ") {
            Step::Victim
        } else if record.severity == Severity::Panic {
            Step::Panic(record.pid, text())
        } else if kind.id == "out-of-memory" || record.sqlstate == *b"53200" {
            Step::Memory(text())
        } else if !record.user.is_empty() {
            // A session can raise any text; the postmaster has no role.
            return;
        } else if message.starts_with(b"database system is ready to accept ") {
            Step::Ready
        } else if let Some(mut death) = death(message) {
            let running = after(record.detail, "Failed process was running: ");
            death.shape = running.map(|statement| shapes.of(statement));
            death.known = processes.last(death.pid).cloned();
            Step::Died(Box::new(death))
        } else {
            return;
        };
        if self.pending.len() < PENDING_MAX {
            let at = record.at;
            self.pending.push(Pending { at, step });
        } else {
            self.dropped = true;
        }
    }

    fn shrink(&mut self) {
        while self.events.len() > EVENTS_MAX {
            self.events.pop_first();
            self.dropped = true;
        }
    }

    /// Adds the part that follows; `earlier` is what was known of processes when it began.
    pub(crate) fn absorb(&mut self, later: Server, earlier: &Processes) {
        self.dropped |= later.dropped;
        for (key, event) in later.events {
            self.events
                .entry(key)
                .and_modify(|same| same.count += event.count)
                .or_insert(event);
            self.shrink();
        }
        for mut event in later.pending {
            if let Step::Died(death) = &mut event.step
                && death.known.is_none()
            {
                death.known = earlier.last(death.pid).cloned();
            }
            self.pending.push(event);
        }
        let surplus = self.pending.len().saturating_sub(PENDING_MAX);
        self.dropped |= surplus > 0;
        self.pending.truncate(PENDING_MAX);
    }

    /// Joins what belongs together, in order.
    pub(crate) fn settle(&mut self) {
        for event in std::mem::take(&mut self.pending) {
            self.crashes.step(event);
        }
    }

    /// Returns its part of the report.
    pub(crate) fn report(&self, shapes: &Shapes, options: &Options) -> report::Server {
        let event = |(key, event): (&EventKey, &ServerEvent)| report::ServerEvent {
            at: event.at,
            kind: key.2.clone(),
            level: level(key.0),
            message: event.message.clone(),
            count: event.count,
        };
        let shown = self.events.iter().rev().take(options.items);
        let mut shown: Vec<report::ServerEvent> = shown.map(event).collect();
        shown.sort_by(|left, right| (left.at, &left.kind).cmp(&(right.at, &right.kind)));
        report::Server {
            events: report::Top {
                items: shown,
                total: self.events.len() as u64,
                complete: !self.dropped,
            },
            crashes: self.crashes.report(shapes),
        }
    }
}

/// Whether a record that no rule knows may still tell of a crash: the postmaster's words in a version to come.
fn unknown_to_rules(kind: &Kind, record: &Record<'_>) -> bool {
    kind.group == Group::Unclassified && record.user.is_empty()
}

/// Whether a record of level info is a start, a stop, a reload or a promotion.
fn is_milestone(kind: &Kind, record: &Record<'_>) -> bool {
    const STARTS: [&str; 11] = [
        "starting PostgreSQL ",
        "database system is ready to accept ",
        "database system is shut down",
        "database system was shut down ",
        "received SIGHUP, ",
        "received smart shutdown request",
        "received fast shutdown request",
        "received immediate shutdown request",
        "received promote request",
        "selected new timeline ID: ",
        "archive recovery complete",
    ];
    matches!(kind.group, Group::Server | Group::Wal | Group::Replication)
        && record.user.is_empty()
        && STARTS
            .iter()
            .any(|start| record.message.starts_with(start.as_bytes()))
}

fn rank(level: Level) -> u8 {
    match level {
        Level::Ok => 0,
        Level::Info => 1,
        Level::Unknown => 2,
        Level::Warning => 3,
        Level::Critical => 4,
    }
}

fn level(rank: u8) -> Level {
    match rank {
        0 => Level::Ok,
        1 => Level::Info,
        2 => Level::Unknown,
        3 => Level::Warning,
        _ => Level::Critical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::ShapeId;
    use crate::tally::testing::kind;

    #[derive(Default)]
    struct Log {
        server: Server,
        shapes: Shapes,
        processes: Processes,
    }

    impl Log {
        fn take(&mut self, id: &str, second: i64, record: Record<'_>) {
            let record = Record {
                at: Some(second * 1_000_000),
                ..record
            };
            let event = Event {
                record: &record,
                kind: kind(id),
                shape: (record.pid > 100).then_some(ShapeId(7)),
            };
            self.server.take(&event, &mut self.shapes, &self.processes);
            self.processes.take(&event);
        }

        fn say(&mut self, id: &str, second: i64, message: &str) {
            self.take(
                id,
                second,
                Record {
                    message: message.as_bytes(),
                    ..Record::default()
                },
            );
        }

        fn report(mut self) -> report::Server {
            self.server.settle();
            self.server.report(&self.shapes, &Options::default())
        }
    }

    fn crash(log: &mut Log) {
        log.take(
            "backend-crash",
            700,
            Record {
                message: b"server process (PID 4242) was terminated by signal 9: Killed",
                detail: b"Failed process was running: select pg_sleep(30)",
                ..Record::default()
            },
        );
    }

    #[test]
    fn a_crash_is_told_whole() {
        let mut log = Log::default();
        log.take(
            "duration",
            100,
            Record {
                pid: 4_242,
                user: b"etl",
                database: b"dwh",
                message: b"duration: 1 ms",
                ..Record::default()
            },
        );
        log.say("out-of-memory", 50, "out of memory");
        log.say("out-of-memory", 650, "out of memory");
        log.say("out-of-memory", 660, "out of memory");
        crash(&mut log);
        for _ in 0..3 {
            log.take(
                "crash-victim",
                701,
                Record {
                    severity: Severity::Warning,
                    user: b"app",
                    message: b"terminating connection because of crash of another server process",
                    ..Record::default()
                },
            );
        }
        log.say(
            "server-ready",
            705,
            "database system is ready to accept connections",
        );
        log.say(
            "server-ready",
            999,
            "database system is ready to accept connections",
        );
        let report = log.report();
        let crash = &report.crashes[0];
        assert_eq!((crash.pid, crash.signal, crash.victims), (4_242, 9, 3));
        assert_eq!(crash.process, "server process");
        assert!(crash.cause.contains("kernel"), "{}", crash.cause);
        assert!(
            crash
                .statement
                .to_lowercase()
                .starts_with("select pg_sleep")
        );
        assert_eq!(crash.who, "etl@dwh");
        assert!(crash.memory.contains("2 times"), "{}", crash.memory);
        assert_eq!(crash.ready_at, Some(705_000_000));
    }

    #[test]
    fn a_panic_explains_an_abort() {
        let mut log = Log::default();
        log.take(
            "unclassified",
            1,
            Record {
                pid: 9,
                severity: Severity::Panic,
                message: b"could not write to file \"pg_wal/xlogtemp.9\": No space left on device",
                ..Record::default()
            },
        );
        log.say(
            "backend-crash",
            2,
            "WAL writer process (PID 9) was terminated by signal 6: Aborted",
        );
        let report = log.report();
        assert!(report.crashes[0].cause.contains("No space left on device"));
        assert_eq!(report.crashes[0].ready_at, None);
    }

    #[test]
    fn a_session_cannot_feign_a_crash() {
        let mut log = Log::default();
        log.take(
            "backend-crash",
            1,
            Record {
                user: b"mallory",
                message: b"server process (PID 1) was terminated by signal 11: Segmentation fault",
                ..Record::default()
            },
        );
        assert!(log.report().crashes.is_empty());
    }

    #[test]
    fn events_are_listed_once_a_minute() {
        let mut log = Log::default();
        log.say("server-starting", 0, "starting PostgreSQL 15.18");
        for second in [10, 20, 30, 70] {
            log.say(
                "checkpoint-too-frequent",
                second,
                "checkpoints are occurring too frequently (9 seconds apart)",
            );
        }
        log.say("checkpoint-done", 80, "checkpoint complete: ");
        log.say("temp-file", 80, "temporary file: path \"x\", size 1");
        log.say("lock-waiting", 80, "process 1 still waiting");
        let report = log.report();
        let events = report.events.items.iter();
        let events: Vec<(&str, u64)> = events
            .map(|event| (event.kind.as_str(), event.count))
            .collect();
        assert_eq!(
            events,
            [
                ("server-starting", 1),
                ("checkpoint-too-frequent", 3),
                ("checkpoint-too-frequent", 1)
            ]
        );
        assert_eq!(report.events.total, 3);
    }

    #[test]
    fn the_most_severe_events_stay() {
        let mut log = Log::default();
        log.say("oom-killed", 0, "server process (PID 1) was terminated");
        for minute in 0..3_000 {
            log.say(
                "checkpoint-too-frequent",
                minute * 60,
                "checkpoints are occurring too frequently",
            );
        }
        let report = log.report();
        assert_eq!(report.events.items[0].kind, "oom-killed");
        assert_eq!(report.events.items[0].level, Level::Critical);
        assert!(!report.events.complete);
        assert_eq!(report.events.items.len(), Options::default().items);
    }
}
