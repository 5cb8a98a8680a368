//! Durations of statements, by shape and by who ran them.
//!
//! An execution is a statement of the simple protocol, an Execute or a fetch of the extended one, or a call by the fast path. Parse and
//! Bind are counted by phase alone, so that a statement of the extended protocol is counted once.

mod execution;
mod joins;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use self::execution::{Execution, Run, ShapeTally, kept_parameters, kept_text};
use self::joins::{Bare, Begun, Joined, Joins, session};
use super::counts::{CountsByShape, Order};
use super::minutes::Minutes;
use super::names::{OTHERS, People, by_name};
use super::shapes::{ByShape, SHAPES_MAX};
use super::temp_files::TempFiles;
use super::{Event, Options, ShapeId, Shapes};
use crate::histogram::Histogram;
use crate::kind::{KindId, find};
use crate::record::Record;
use crate::report;
use crate::statement::{Phase, Told, tags, told, verb};

/// Most single executions that are kept.
const SLOWEST_MAX: usize = 200;
/// Microseconds of an hour.
const HOUR: i64 = 3_600_000_000;

/// Durations of statements, by shape and by who ran them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Statements {
    people: People,
    /// Executions by combination of names.
    who: Vec<Histogram>,
    phases: [Histogram; Phase::ALL.len()],
    /// Executions by hour of the day.
    hours: [Histogram; 24],
    shapes: ByShape<ShapeTally>,
    /// Executions of shapes beyond the bound, or without a text.
    others: Histogram,
    slowest: Vec<Execution>,
    /// What is before this part has so many executions that took as long that faster ones are not kept.
    #[serde(skip)]
    floor: u64,
    series: Minutes,
    time_series: Minutes,
    joins: Joins,
    /// Statements that were logged as they began.
    begun: u64,
    /// Of them those with a duration.
    joined: u64,
    timed_out: CountsByShape,
    cancelled: CountsByShape,
}

impl Statements {
    /// Adds one record.
    #[inline]
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let record = event.record;
        let Some(told) = told(record.message) else {
            return;
        };
        let Some(duration) = told.duration else {
            return self.begin(event, told);
        };
        if told.phase == Phase::Bare {
            return self.end(record, duration);
        }
        self.phases[told.phase as usize].add(duration);
        if told.phase.runs() {
            let run = Run {
                duration,
                at: record.at,
                who: self.people.number(record),
                shape: event.shape,
                text: told.text,
                detail: record.detail,
                kept: None,
            };
            self.run(&run);
        }
    }

    /// Adds an error: a statement that began has no duration.
    pub(crate) fn fail(&mut self, event: &Event<'_>) {
        static TIMED_OUT: LazyLock<Option<KindId>> = LazyLock::new(|| find("statement-timeout"));
        static CANCELLED: LazyLock<Option<KindId>> = LazyLock::new(|| find("user-cancel"));
        let record = event.record;
        if Some(event.kind) == *TIMED_OUT {
            self.timed_out.add(event.shape, 0, record.at);
        } else if Some(event.kind) == *CANCELLED {
            self.cancelled.add(event.shape, 0, record.at);
        }
        if let Some(key) = session(record) {
            self.joins.fail(key);
        }
    }

    fn begin(&mut self, event: &Event<'_>, told: Told<'_>) {
        self.begun += 1;
        let Some(key) = session(event.record) else {
            return;
        };
        let begun = Begun {
            shape: event.shape,
            fetch: told.phase == Phase::Fetch,
            extended: told.phase == Phase::Execute,
            text: kept_text(told.text),
            parameters: kept_parameters(event.record.detail),
            tags: tags(told.text),
        };
        self.joins.begin(key, begun);
    }

    fn end(&mut self, record: &Record<'_>, duration: u64) {
        let bare = Bare {
            at: record.at,
            duration,
            who: self.people.number(record),
        };
        let joined = session(record).map_or(Joined::Alone, |key| self.joins.end(key, bare));
        match joined {
            Joined::With(begun) => self.run_begun(bare, &begun),
            Joined::Later => {}
            Joined::Alone => self.phases[Phase::Bare as usize].add(duration),
        }
    }

    fn run_begun(&mut self, bare: Bare, begun: &Begun) {
        self.joined += 1;
        self.phases[begun.phase() as usize].add(bare.duration);
        let run = Run {
            duration: bare.duration,
            at: bare.at,
            who: bare.who,
            shape: begun.shape,
            text: begun.text.as_bytes(),
            detail: b"",
            kept: Some((&begun.parameters, &begun.tags)),
        };
        self.run(&run);
    }

    /// Adds one execution.
    #[inline]
    fn run(&mut self, run: &Run<'_>) {
        let mut hour = None;
        if let Some(at) = run.at {
            self.series.add(at, 1);
            self.time_series.add(at, run.duration);
            let index = (at.div_euclid(HOUR)).rem_euclid(24) as usize;
            self.hours[index].add(run.duration);
            hour = Some(index);
        }
        let who = run.who as usize;
        if who >= self.who.len() {
            self.who.resize_with(who + 1, Histogram::default);
        }
        self.who[who].add(run.duration);
        match run.shape {
            Some(id) if self.shapes.len() < SHAPES_MAX || self.shapes.contains_key(&id) => {
                self.shapes
                    .entry(id)
                    .or_default()
                    .add(run, hour, &self.people);
            }
            _ => self.others.add(run.duration),
        }
        let shown = self.slowest.len() < SLOWEST_MAX;
        let precedes = || {
            self.slowest
                .last()
                .is_some_and(|last| run.may_precede(last))
        };
        if run.duration >= self.floor && (shown || precedes()) {
            self.take_slow(run.keep());
        }
    }

    /// Returns the shortest duration that is kept, when as many are as may be.
    pub(crate) fn floor(&self) -> u64 {
        let last = self.slowest.get(SLOWEST_MAX - 1);
        last.map_or(self.floor, |last| last.duration.max(self.floor))
    }

    /// Takes the floor of what is before this part.
    pub(crate) fn raise(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
    }

    #[inline(never)]
    fn take_slow(&mut self, execution: Execution) {
        let people = &self.people;
        let index = self
            .slowest
            .partition_point(|other| other.precedes(&execution, people));
        self.slowest.insert(index, execution);
        self.slowest.truncate(SLOWEST_MAX);
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, other: Statements) {
        let numbers = self.people.absorb(&other.people);
        for (number, histogram) in numbers.iter().zip(&other.who) {
            let number = *number as usize;
            if number >= self.who.len() {
                self.who.resize_with(number + 1, Histogram::default);
            }
            self.who[number].merge(histogram);
        }
        for (mine, theirs) in self.phases.iter_mut().zip(&other.phases) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.hours.iter_mut().zip(&other.hours) {
            mine.merge(theirs);
        }
        self.absorb_shapes(other.shapes, &numbers);
        self.others.merge(&other.others);
        for mut execution in other.slowest {
            execution.who = numbers[execution.who as usize];
            self.take_slow(execution);
        }
        self.series.absorb(other.series);
        self.time_series.absorb(other.time_series);
        self.begun += other.begun;
        self.joined += other.joined;
        self.timed_out.absorb(other.timed_out);
        self.cancelled.absorb(other.cancelled);
        let mut ended = Vec::new();
        self.joins.absorb(other.joins, &numbers, |bare, begun| {
            ended.push((bare, begun))
        });
        for (bare, begun) in ended {
            match begun {
                Some(begun) => self.run_begun(bare, &begun),
                None => self.phases[Phase::Bare as usize].add(bare.duration),
            }
        }
    }

    fn absorb_shapes(&mut self, others: ByShape<ShapeTally>, numbers: &[u32]) {
        let mut shapes: Vec<(ShapeId, ShapeTally)> = others.into_iter().collect();
        shapes.sort_unstable_by_key(|(id, _)| *id);
        for (id, mut shape) in shapes {
            shape.renumber(numbers);
            if self.shapes.len() < SHAPES_MAX || self.shapes.contains_key(&id) {
                self.shapes
                    .entry(id)
                    .or_default()
                    .absorb(shape, &self.people);
            } else {
                self.others.merge(&shape.durations);
            }
        }
    }

    /// Joins what belongs together: it is joined as it comes, and what has come alone until the end is reported as such.
    pub(crate) fn settle(&mut self) {}

    /// Returns its part of the report.
    pub(crate) fn report(
        &self,
        shapes: &Shapes,
        temp_files: &TempFiles,
        options: &Options,
    ) -> report::Statements {
        let mut phases = self.phases.clone();
        for head in self.joins.heads() {
            phases[Phase::Bare as usize].add(head.duration);
        }
        let mut all = Histogram::default();
        for phase in Phase::ALL.into_iter().filter(|phase| phase.runs()) {
            all.merge(&phases[phase as usize]);
        }
        if self.begun == 0
            && phases[..Phase::Bare as usize]
                .iter()
                .all(|phase| phase.count() == 0)
        {
            // `log_duration` alone: nothing tells the phase, and nothing else tells of statements.
            all.merge(&phases[Phase::Bare as usize]);
        }
        let by = |name: fn(&super::names::Who) -> &str| {
            by_name(self.people.iter().map(name).zip(&self.who))
        };
        let mut lists = self.lists(shapes, temp_files, options);
        report::Statements {
            all: all.durations(),
            phases: Phase::ALL
                .into_iter()
                .map(|phase| (phase.as_str().to_owned(), &phases[phase as usize]))
                .filter(|(_, histogram)| histogram.count() > 0)
                .map(|(name, histogram)| (name, histogram.durations()))
                .collect(),
            by_time: report::Top {
                items: lists.remove(0),
                total: self.shapes.len() as u64,
                complete: shapes.complete() && self.shapes.len() < SHAPES_MAX,
            },
            by_max: lists.remove(0),
            by_count: lists.remove(0),
            by_mean: lists.remove(0),
            slowest: self
                .slowest
                .iter()
                .take(options.items)
                .map(|execution| execution.report(&self.people, shapes, options))
                .collect(),
            users: by(|who| &who.user),
            databases: by(|who| &who.database),
            applications: by(|who| &who.application),
            hosts: by(|who| &who.host),
            hours: (0..)
                .zip(&self.hours)
                .filter(|(_, hour)| hour.count() > 0)
                .map(|(hour, histogram)| (hour, histogram.durations()))
                .collect(),
            verbs: self.verbs(shapes),
            series: self.series.series(),
            time_series: self.time_series.series_over(self.series.span()),
            without_duration: self.begun - self.joined,
            timed_out: self.timed_out.report(shapes, Order::Count, options.items),
            cancelled: self.cancelled.report(shapes, Order::Count, options.items),
        }
    }

    /// Returns the shapes by total, slowest, number and mean.
    fn lists(
        &self,
        shapes: &Shapes,
        temp_files: &TempFiles,
        options: &Options,
    ) -> Vec<Vec<report::Shape>> {
        type Key = fn(&Histogram) -> (u64, u64);
        let keys: [Key; 4] = [
            |durations| (durations.total(), durations.count()),
            |durations| (durations.max(), durations.total()),
            |durations| (durations.count(), durations.total()),
            // The mean in full: its whole part, then its rest as a fraction of 2^32.
            |durations| {
                let mean =
                    (u128::from(durations.total()) << 32) / u128::from(durations.count().max(1));
                ((mean >> 32) as u64, mean as u64 & 0xffff_ffff)
            },
        ];
        let mut all: Vec<(&ShapeId, &ShapeTally)> = self.shapes.iter().collect();
        keys.into_iter()
            .map(|key| {
                all.sort_by_key(|(id, tally)| {
                    (Reverse(key(&tally.durations)), shapes.text(**id), **id)
                });
                let first = all.iter().take(options.items);
                first
                    .map(|(id, tally)| report::Shape {
                        temp_bytes: temp_files.bytes(**id),
                        ..tally.report(**id, &self.people, shapes, options)
                    })
                    .collect()
            })
            .collect()
    }

    fn verbs(&self, shapes: &Shapes) -> BTreeMap<String, report::Durations> {
        let known = self.shapes.iter().map(|(id, tally)| {
            let word = verb(shapes.text(*id));
            (
                if word.is_empty() { OTHERS } else { word },
                &tally.durations,
            )
        });
        by_name(known.chain([(OTHERS, &self.others)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::KindId;

    fn take(statements: &mut Statements, shapes: &mut Shapes, message: &str, fails: bool) {
        let record = Record {
            at: Some(0),
            pid: 1,
            message: message.as_bytes(),
            detail: b"parameters: $1 = '7'",
            ..Record::default()
        };
        let kind = KindId(0);
        let shape = shapes.of_record(&record, kind);
        let event = Event {
            record: &record,
            kind,
            shape,
        };
        if fails {
            statements.fail(&event);
        } else {
            statements.take(&event);
        }
    }

    #[test]
    fn an_error_ends_a_statement_and_an_execute_keeps_its_parameters() {
        let mut statements = Statements::default();
        let mut shapes = Shapes::default();
        take(
            &mut statements,
            &mut shapes,
            "execute p: select $1 /*a='b'*/",
            false,
        );
        take(&mut statements, &mut shapes, "duration: 3.000 ms", false);
        take(
            &mut statements,
            &mut shapes,
            "statement: select 2, 3",
            false,
        );
        take(&mut statements, &mut shapes, "boom", true);
        take(&mut statements, &mut shapes, "duration: 9.000 ms", false);
        let options = Options {
            constants: true,
            ..Options::default()
        };
        let report = statements.report(&shapes, &TempFiles::default(), &options);
        assert_eq!(report.phases["execute"].max, 3000);
        assert_eq!(report.phases["unknown"].max, 9000);
        assert_eq!((report.all.count, report.without_duration), (1, 1));
        let shape = &report.by_time.items[0];
        assert_eq!(
            (shape.text.as_str(), shape.tags["a"].as_str()),
            ("select ?", "b")
        );
        assert_eq!(report.slowest[0].parameters, "$1 = '7'");
        assert_eq!(shape.slowest, Some(report.slowest[0].clone()));
    }

    #[test]
    fn what_is_below_the_floor_is_counted_and_not_kept() {
        let (mut statements, mut shapes) = (Statements::default(), Shapes::default());
        let mut run = |statements: &mut Statements, microseconds: u64| {
            let message = format!("duration: 0.{microseconds:03} ms  statement: select 1");
            take(statements, &mut shapes, &message, false);
        };
        for duration in 100..100 + SLOWEST_MAX as u64 {
            assert_eq!(statements.floor(), 0);
            run(&mut statements, duration);
        }
        assert_eq!(statements.floor(), 100);
        let mut later = Statements::default();
        later.raise(statements.floor());
        for duration in [99, 100, 101, 1] {
            run(&mut later, duration);
        }
        let kept: Vec<u64> = later.slowest.iter().map(|one| one.duration).collect();
        assert_eq!(kept, [101, 100]);
        statements.absorb(later);
        assert_eq!(
            (statements.floor(), statements.slowest.len()),
            (101, SLOWEST_MAX)
        );
        assert_eq!(statements.hours[0].count(), SLOWEST_MAX as u64 + 4);
    }
}
