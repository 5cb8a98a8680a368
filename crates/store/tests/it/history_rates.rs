//! Rates against a naive model that knows the truth: never wrong, never negative, never missing without reason.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pawang_core::{Column, ColumnKind, Snapshot, Value};
use pawang_store::history::{Fold, GrowthQuery, Rows, SeriesQuery};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::history::{Opened, columns, facts, open, snapshot, span, time};
use crate::history_exact::{KEPT, tend};

/// What happens to a server between two samples.
#[derive(Clone, Copy, Debug)]
enum Event {
    Nothing,
    /// `pg_stat_reset()`.
    Reset,
    /// A crash or restart.
    Restart,
    /// A standby takes over, with counters of its own.
    Failover,
    /// One table is dropped and made anew under its name.
    Recreated(usize),
    /// pg_stat_statements throws one out, and takes it in again.
    Evicted(usize),
    /// One is out, and seen again later.
    Away(usize),
    /// Nobody looks for a while.
    Gap,
}

const ROWS: usize = 4;
const INTERVAL: i64 = 30;

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        14 => Just(Event::Nothing),
        1 => Just(Event::Reset),
        1 => Just(Event::Restart),
        1 => Just(Event::Failover),
        1 => (0..ROWS).prop_map(Event::Recreated),
        2 => (0..ROWS).prop_map(Event::Evicted),
        1 => (0..ROWS).prop_map(Event::Away),
        1 => Just(Event::Gap),
    ]
}

/// Events, and how much each row grows before each sample.
fn case() -> impl Strategy<Value = Vec<(Event, [u32; ROWS])>> {
    let growths = prop::array::uniform4(prop_oneof![Just(0_u32), 1_u32..50, 1_000_u32..9_000]);
    prop::collection::vec((event(), growths), 2..60)
}

/// The truth: what a sample saw, and what every row really grew by since the one before, where that can be known.
struct Sample {
    at: i64,
    snapshot: Snapshot,
    growth: BTreeMap<String, f64>,
}

struct World {
    columns: Arc<[Column]>,
    at: i64,
    epoch: u32,
    reset_at: i64,
    relids: [i64; ROWS],
    /// Calls and milliseconds of each row.
    counters: [(i64, f64); ROWS],
    /// When each row began to be counted; only the first two tell.
    since: [i64; ROWS],
    away: Option<usize>,
}

impl World {
    fn new() -> World {
        World {
            columns: columns(&[
                ("relname", ColumnKind::Label),
                ("relid", ColumnKind::Info),
                ("calls", ColumnKind::Counter),
                ("total_time", ColumnKind::Counter),
                ("size", ColumnKind::Gauge),
                ("stats_reset", ColumnKind::Info),
                ("stats_since", ColumnKind::Info),
            ]),
            at: 0,
            epoch: 1,
            reset_at: 0,
            relids: [1, 2, 3, 4],
            counters: [(500_000, 1e6); ROWS],
            since: [0; ROWS],
            away: None,
        }
    }

    /// Lets time pass; returns which rows can still be compared with the sample before.
    fn pass(&mut self, event: Event, growths: &[u32; ROWS]) -> [bool; ROWS] {
        self.at += INTERVAL;
        let mut comparable = [true; ROWS];
        let was_away = self.away.take();
        if let Some(row) = was_away {
            comparable[row] = false;
        }
        match event {
            Event::Nothing => {}
            Event::Reset => {
                self.reset_at = self.at;
                self.counters = [(0, 0.0); ROWS];
                comparable = [false; ROWS];
            }
            Event::Restart | Event::Failover => {
                self.epoch += 1;
                // A standby's own counters may be larger: only the epoch tells.
                let counters = if matches!(event, Event::Failover) {
                    900_000_000
                } else {
                    3
                };
                self.counters = [(counters, counters as f64); ROWS];
                comparable = [false; ROWS];
            }
            Event::Recreated(row) => {
                self.relids[row] += 100;
                self.counters[row] = (900_000_000, 0.0);
                comparable[row] = false;
            }
            Event::Evicted(row) => {
                self.counters[row] = (0, 0.0);
                self.since[row] = self.at;
                comparable[row] = false;
            }
            Event::Away(row) => {
                self.away = Some(row);
                comparable[row] = false;
            }
            Event::Gap => {
                self.at += 20 * INTERVAL;
                comparable = [false; ROWS];
            }
        }
        for (counter, growth) in self.counters.iter_mut().zip(growths) {
            counter.0 += i64::from(*growth);
            counter.1 += f64::from(*growth) * 0.125;
        }
        comparable
    }

    fn look(&self) -> Snapshot {
        let rows = (0..ROWS).filter(|row| self.away != Some(*row));
        let rows = rows.map(|row| {
            let (calls, time) = self.counters[row];
            vec![
                Value::Text(format!("t{row}").into()),
                Value::Int(self.relids[row]),
                Value::Int(calls),
                Value::Float(time),
                Value::Int(self.at + row as i64),
                Value::Int(self.reset_at),
                if row < 2 {
                    Value::Int(self.since[row])
                } else {
                    Value::Null
                },
            ]
        });
        let mut seen = snapshot(&self.columns, time(self.at), rows.collect());
        if let Some(epoch) = &mut seen.epoch {
            epoch.timeline = self.epoch;
        }
        seen
    }
}

fn simulate(name: &str, steps: &[(Event, [u32; ROWS])]) -> Vec<Sample> {
    let mut world = World::new();
    let mut samples = Vec::new();
    for (number, (event, growths)) in steps.iter().enumerate() {
        let event = if number == 0 { &Event::Nothing } else { event };
        // The last three intervals tell what is usual: without them a gap cannot be told, and where most of them are gaps it is none.
        let event = match event {
            Event::Gap if number < 4 || gaps(&samples) > 1 => &Event::Nothing,
            // Before PostgreSQL 17 there is no stats_since: what comes back as large as it was looks as if it had stayed.
            Event::Evicted(row)
                if *row > 1 && world.counters[*row].0 <= i64::from(growths[*row]) =>
            {
                &Event::Nothing
            }
            event => event,
        };
        let comparable = world.pass(*event, growths);
        let mut snapshot = world.look();
        snapshot.collector = name.to_owned();
        let growth =
            (0..ROWS).filter(|row| comparable[*row] && number > 0 && world.away != Some(*row));
        let growth = growth.map(|row| (format!("t{row}"), f64::from(growths[row])));
        samples.push(Sample {
            at: world.at,
            growth: growth.collect(),
            snapshot,
        });
    }
    samples
}

/// Returns how many of the last three intervals were gaps.
fn gaps(samples: &[Sample]) -> usize {
    let pairs = samples.windows(2).rev().take(3);
    pairs
        .filter(|pair| pair[1].at - pair[0].at > INTERVAL)
        .count()
}

/// Every pair of samples by itself: growth is exactly the truth, or not told where the truth cannot be known.
fn check_pairs(opened: &Opened, name: &str, samples: &[Sample], stage: &str) {
    for pair in samples.windows(2) {
        let growth = opened.reader.growth(&GrowthQuery {
            instance: "dwh-1",
            collector: name,
            database: None,
            columns: &["calls", "total_time", "size"],
            span: span(pair[0].at, pair[1].at),
        });
        let mut told = BTreeMap::new();
        for row in growth.unwrap() {
            if let Some(calls) = row.growth[0] {
                let time = row.growth[1].unwrap();
                assert!(
                    (time - calls * 0.125).abs() < 1e-6,
                    "{stage}: {time} for {calls} calls"
                );
                assert_eq!(row.seconds, (pair[1].at - pair[0].at) as f64);
                told.insert(row.labels[0].clone(), calls);
            }
        }
        assert_eq!(
            told, pair[1].growth,
            "{stage}: from {} to {}",
            pair[0].at, pair[1].at
        );
    }
}

/// The whole: every rate is between the smallest and the largest true rate of the samples that its step touches.
fn check_series(opened: &Opened, name: &str, samples: &[Sample], step: i64, stage: &str) {
    let last = samples.last().unwrap().at;
    let series = opened.reader.series(&SeriesQuery {
        instance: "dwh-1",
        collector: name,
        database: None,
        columns: &["calls"],
        rows: Rows::All,
        fold: Fold::Each,
        span: span(samples[0].at, last),
        step: Some(Duration::from_secs(step as u64)),
    });
    for series in series.unwrap() {
        let label = &series.labels[0];
        for point in &series.points {
            let to = point.at.as_second() - time(0).as_second();
            // The last point ends with the span, not with its step.
            let from = if to == last {
                to - step
            } else {
                to - series.step.as_secs() as i64
            };
            let touched = samples
                .windows(2)
                .filter(|pair| pair[0].at < to && pair[1].at > from);
            let rates = touched.filter_map(|pair| {
                let growth = pair[1].growth.get(label)?;
                Some(growth / (pair[1].at - pair[0].at) as f64)
            });
            let rates: Vec<f64> = rates.collect();
            let Some(reading) = point.reading else {
                // A touch of less than a step's rounding is none.
                continue;
            };
            let low = rates.iter().copied().fold(f64::INFINITY, f64::min);
            let high = rates.iter().copied().fold(0.0, f64::max);
            assert!(
                !rates.is_empty(),
                "{stage}: a rate of {label} at {to} out of nothing"
            );
            assert!(
                reading.min >= 0.0 && reading.min >= low * 0.98 - 1e-9,
                "{stage}: {reading:?} {rates:?}"
            );
            assert!(
                reading.max <= high * 1.02 + 1e-9,
                "{stage}: {reading:?} {rates:?}"
            );
            assert!(reading.mean >= low * 0.999 - 1e-9 && reading.mean <= high * 1.001 + 1e-9);
        }
    }
}

#[test]
fn rates_are_the_truth_or_a_gap() {
    let opened = RefCell::new(open());
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(16)
    });
    let all = RefCell::new(Vec::new());
    let number = Cell::new(0);
    let run = runner.run(&case(), |steps| {
        let opened = &mut *opened.borrow_mut();
        number.set(number.get() + 1);
        let name = format!("case-{}", number.get());
        let samples = simulate(&name, &steps);
        for sample in &samples {
            opened
                .writer
                .append(&facts(vec![sample.snapshot.clone()]))
                .unwrap();
        }
        opened.writer.commit().unwrap();
        check_pairs(opened, &name, &samples, "hot");
        check_series(opened, &name, &samples, 30, "hot");
        all.borrow_mut().push((name, samples));
        Ok(())
    });
    run.unwrap();
    let (mut opened, all) = (opened.into_inner(), all.into_inner());
    for (stage, hours) in [("sealed", 12), ("compacted", 80)] {
        tend(&mut opened, &KEPT, time(hours * 3600));
        for (name, samples) in &all {
            check_pairs(&opened, name, samples, stage);
            check_series(&opened, name, samples, 30, stage);
            check_series(&opened, name, samples, 60, stage);
            check_series(&opened, name, samples, 600, stage);
        }
    }
}

#[test]
fn rows_that_share_their_labels_have_no_rate() {
    let mut opened = open();
    let world = World::new();
    for minute in 0..5 {
        let mut seen = world.look();
        seen.at = time(minute * 60);
        for row in &mut seen.rows {
            row[2] = Value::Int(minute * 10);
        }
        let twin = seen.rows[0].clone();
        seen.rows.insert(1, twin);
        opened.writer.append(&facts(vec![seen])).unwrap();
    }
    opened.writer.commit().unwrap();
    let growth = opened.reader.growth(&GrowthQuery {
        instance: "dwh-1",
        collector: "tables",
        database: None,
        columns: &["calls"],
        span: span(0, 300),
    });
    let growth = growth.unwrap();
    assert_eq!(growth.len(), 4);
    assert_eq!(growth[0].growth, [None], "nobody knows which is which");
    assert_eq!(growth[1].growth, [Some(40.0)]);
}
