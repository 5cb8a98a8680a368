//! What records add up to. A tally of one part of a log can absorb the tally of the part after it, and the result is the same as that of
//! one reading.
//!
//! Every section has `take` (one record), `absorb` (the section of the bytes right after its own), and `report`. Sections that join
//! records of one session (a wait and its end, a login and its end) keep small events in order and join them in `settle`, which only the
//! first part of a log may do.

mod audit;
mod checkpoints;
pub(crate) mod counts;
mod errors;
mod integrity;
mod kinds;
mod locks;
pub(crate) mod minutes;
pub(crate) mod names;
mod pgbouncer;
mod plans;
mod processes;
mod server;
mod sessions;
mod shapes;
mod statements;
mod table;
mod temp_files;
#[cfg(test)]
mod testing;
mod timeline;
mod totals;
mod trail;
mod vacuums;

pub use shapes::{SHAPES_MAX, ShapeId, Shapes};

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::kind::{Group, KindId, classify, find, kinds as all_kinds};
use crate::language::Translator;
use crate::record::{Odd, Origin, Record, Sink};
use crate::regression;
use crate::report::{Report, Source};
use crate::severity::Severity;

/// What a tally keeps, and what a report shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Leave out records before this instant, in microseconds.
    pub since: Option<i64>,
    /// Leave out records at or after this instant.
    pub until: Option<i64>,
    /// Show statements with their constants and parameters; secrets are redacted all the same.
    pub constants: bool,
    /// Most items of a list in the report.
    pub items: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            since: None,
            until: None,
            constants: false,
            items: 20,
        }
    }
}

/// What the records of a part of a log add up to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    #[serde(skip)]
    translator: Translator,
    shapes: Shapes,
    processes: processes::Processes,
    totals: totals::Totals,
    kinds: kinds::Kinds,
    errors: errors::Errors,
    statements: statements::Statements,
    temp_files: temp_files::TempFiles,
    locks: locks::Locks,
    sessions: sessions::Sessions,
    checkpoints: checkpoints::Checkpoints,
    vacuums: vacuums::Vacuums,
    server: server::Server,
    plans: plans::Plans,
    audit: audit::Audit,
    trail: trail::Trail,
    pgbouncer: pgbouncer::PgBouncer,
    timeline: timeline::Timeline,
    integrity: integrity::Integrity,
}

/// A record with what was found out about it once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// The record.
    pub(crate) record: &'a Record<'a>,
    /// Its kind.
    pub(crate) kind: KindId,
    /// The shape of its statement: the STATEMENT text, or the statement that a duration tells; none when it has neither.
    pub(crate) shape: Option<ShapeId>,
}

impl Tally {
    /// Adds one record; of a localised log, what it says in English.
    pub fn take(&mut self, record: &Record<'_>) {
        let kind = classify(record);
        if !foreign(record, kind) {
            return self.add(record, kind);
        }
        let mut translator = std::mem::take(&mut self.translator);
        match translator.translate(record) {
            Some(english) => self.add(&english, classify(&english)),
            None => self.add(record, kind),
        }
        self.translator = translator;
    }

    fn add(&mut self, record: &Record<'_>, kind: KindId) {
        let group = all_kinds()[usize::from(kind.0)].group;
        let shape = self.shapes.of_record(record, kind);
        let event = Event {
            record,
            kind,
            shape,
        };
        self.integrity.take(&event);
        self.totals.take(&event);
        self.kinds.take(&event);
        self.timeline.take(&event);
        if record.severity >= Severity::Error {
            self.errors.take(&event);
            self.locks.take_error(record);
            self.statements.fail(&event);
            self.trail.fail(&event);
        }
        match group {
            Group::Statements => {
                self.statements.take(&event);
                self.plans.take(&event, &mut self.shapes);
                self.audit.take(&event, &mut self.shapes);
                self.trail.take(&event, &mut self.shapes);
            }
            Group::Locks => self.locks.take(&event, &mut self.shapes, &self.processes),
            Group::Connections => self.sessions.take(&event),
            Group::Server => {
                self.sessions.take(&event);
                self.trail.take_server(&event);
            }
            Group::Wal => self.checkpoints.take(&event),
            Group::Maintenance => self.vacuums.take(&event),
            Group::Resources => self.temp_files.take(&event),
            Group::Replication | Group::Sql | Group::Pgbouncer | Group::Unclassified => {}
        }
        if group == Group::Pgbouncer || record.origin == Origin::PgBouncer {
            self.pgbouncer.take(&event);
        }
        self.server.take(&event, &mut self.shapes, &self.processes);
        // Last: what other sections ask it is what was before this record.
        self.processes.take(&event);
    }

    /// Adds what is no record.
    pub fn take_odd(&mut self, odd: &Odd<'_>) {
        self.integrity.take_odd(odd);
    }

    /// Returns what was added up and goes on empty, with the memory that makes reading fast.
    pub(crate) fn hand_over(&mut self) -> Tally {
        let shapes = self.shapes.hand_over();
        let mut done = std::mem::take(self);
        self.translator = std::mem::take(&mut done.translator);
        std::mem::swap(&mut self.shapes, &mut done.shapes);
        done.shapes = shapes;
        done
    }

    /// Returns the duration below which no single execution of what follows this tally, which holds a log's beginning, is kept.
    pub(crate) fn floor(&self) -> u64 {
        self.statements.floor()
    }

    /// Takes the floor of what is before this tally.
    pub(crate) fn raise(&mut self, floor: u64) {
        self.statements.raise(floor);
    }

    /// Adds the tally of the bytes that follow right after this one's.
    pub fn absorb(&mut self, later: Tally) {
        self.shapes.absorb(later.shapes);
        self.totals.absorb(later.totals);
        self.kinds.absorb(later.kinds);
        self.errors.absorb(later.errors);
        self.statements.absorb(later.statements);
        self.temp_files.absorb(later.temp_files);
        self.locks.absorb(later.locks, &self.processes);
        self.sessions.absorb(later.sessions);
        self.checkpoints.absorb(later.checkpoints);
        self.vacuums.absorb(later.vacuums);
        self.server.absorb(later.server, &self.processes);
        self.plans.absorb(later.plans);
        self.audit.absorb(later.audit);
        self.trail.absorb(later.trail);
        self.pgbouncer.absorb(later.pgbouncer);
        self.timeline.absorb(later.timeline);
        self.integrity.absorb(later.integrity);
        // Last: the sections above ask what was before the part that follows.
        self.processes.absorb(later.processes);
    }

    /// Joins what belongs together, in the order of the log; only for the tally that holds a log's beginning.
    ///
    /// It may be called often, such as after each part that was absorbed: it frees what waits to be joined.
    pub fn settle(&mut self) {
        self.statements.settle();
        self.locks.settle();
        self.sessions.settle();
        self.server.settle();
        self.integrity.settle();
    }

    /// Returns the report; `settle` must have been called.
    pub fn report(&self, source: Source, options: &Options) -> Report {
        let shapes = &self.shapes;
        let mut report = Report {
            source,
            totals: self.totals.report(),
            integrity: self.integrity.report(options),
            kinds: self.kinds.report(),
            unclassified: self.kinds.unclassified(options),
            errors: self.errors.report(shapes, options),
            statements: self.statements.report(shapes, &self.temp_files, options),
            temp_files: self.temp_files.report(shapes, options),
            locks: self.locks.report(&self.processes, shapes, options),
            sessions: self.sessions.report(options),
            checkpoints: self.checkpoints.report(),
            vacuums: self.vacuums.report(options),
            server: self.server.report(shapes, options),
            plans: self.plans.report(shapes, options),
            audit: self.audit.report(shapes, options),
            pgbouncer: self.pgbouncer.report(options),
            timeline: self.timeline.report(),
            advice: Vec::new(),
        };
        report.advice = crate::advice::advise(&report);
        report
    }
}

impl Tally {
    /// Returns what may explain that statements became slower.
    pub fn trail(&self) -> regression::Trail {
        regression::Trail {
            plans: self.plans.seen(),
            happenings: self.trail.happenings(&self.shapes),
            complete: self.plans.complete() && self.trail.complete(),
            span: self.totals.span(),
        }
    }
}

/// Whether a record may be of a localised log: no rule knows it, or its SQLSTATE alone told what it is while its texts matter.
pub(crate) fn foreign(record: &Record<'_>, kind: KindId) -> bool {
    kind == TOLD_BY_TEXT.0 || kind == TOLD_BY_TEXT.1 && !record.detail.starts_with(b"Process ")
}

/// The kind of what no rule knows, and that of deadlocks.
static TOLD_BY_TEXT: LazyLock<(KindId, KindId)> = LazyLock::new(|| {
    let kind = |id| find(id).unwrap_or_else(|| unreachable!("{id} is in kinds.toml"));
    (kind("unclassified"), kind("deadlock"))
});

/// A tally that takes what a scanner finds within a window of time.
#[derive(Debug, Default)]
pub struct Counter {
    /// The tally.
    pub tally: Tally,
    /// The window.
    pub options: Options,
}

impl Sink for Counter {
    fn record(&mut self, _: u64, record: &Record<'_>) {
        let early = |since| record.at.is_some_and(|at| at < since);
        let late = |until| record.at.is_some_and(|at| at >= until);
        if self.options.since.is_some_and(early) || self.options.until.is_some_and(late) {
            return;
        }
        self.tally.take(record);
    }

    fn odd(&mut self, _: u64, odd: Odd<'_>) {
        self.tally.take_odd(&odd);
    }
}
