//! What differs between two reports, such as of the days before and after a deploy. Only what matters: rates per hour that moved further
//! than chance moves them, statements whose mean moved, and what is new or gone.

use std::collections::{BTreeMap, BTreeSet};

use pawang_core::Level;
use serde::Serialize;

use super::part::seconds;
use crate::report::{Report, Shape, Top};

pub use super::diff_words::{markdown, text};

/// How many times more, or fewer, something must come per hour.
pub const RATE_RATIO_MIN: f64 = 1.5;
/// How far apart two rates must be, in standard deviations of counts that chance alone makes.
pub const DEVIATIONS_MIN: f64 = 3.0;
/// How often something harmless must come to be called new or gone.
pub const HARMLESS_COUNT_MIN: u64 = 10;
/// How often a statement must have run in both periods for its mean to be compared.
pub const RUNS_MIN: u64 = 10;
/// How many times slower, or faster, the mean of a statement must be.
pub const MEAN_RATIO_MIN: f64 = 1.5;
/// By how much the mean of a statement must have moved, in microseconds.
pub const MEAN_CHANGE_MIN: u64 = 1_000;
/// Share of the time of its period that a statement must take to be called new or gone.
pub const NEW_SHARE_MIN: f64 = 0.01;
/// How many times more a number of a subject must be.
pub const FIGURE_RATIO_MIN: f64 = 1.3;
/// Most lines of a list.
pub const LINES_MAX: usize = 30;

/// What differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// The period before.
    pub before: Period,
    /// The period after.
    pub after: Period,
    /// Kinds of events whose rates differ, worst first.
    pub kinds: Vec<Change>,
    /// Texts of errors whose rates differ, worst first.
    pub errors: Vec<Change>,
    /// Statements, by the time that the difference costs or saves per hour.
    pub statements: Vec<ShapeChange>,
    /// Numbers of whole subjects: locks, checkpoints, connections, temporary files.
    pub figures: Vec<FigureChange>,
}

/// One of the two periods.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Period {
    /// Time of its first record.
    pub first_at: Option<i64>,
    /// Time of its last record.
    pub last_at: Option<i64>,
    /// Its length in hours; rates are per hour of it.
    pub hours: f64,
    /// Records.
    pub records: u64,
}

/// In which way something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// It is only in the period after.
    New,
    /// There is more of it, or it takes longer.
    More,
    /// There is less of it, or it takes less.
    Less,
    /// It is only in the period before.
    Gone,
}

impl Way {
    /// Returns the kebab-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Way::New => "new",
            Way::More => "more",
            Way::Less => "less",
            Way::Gone => "gone",
        }
    }
}

/// A kind or an error that comes more or less often.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// In which way.
    pub way: Way,
    /// How bad one is.
    pub level: Level,
    /// Kind, or SQLSTATE.
    pub name: String,
    /// A sample, or the normalised text.
    pub text: String,
    /// How often before.
    pub before: u64,
    /// How often after.
    pub after: u64,
    /// How often per hour before.
    pub before_per_hour: f64,
    /// How often per hour after.
    pub after_per_hour: f64,
    /// One of the lists was cut: the smaller count is the most that it can be.
    pub at_most: bool,
}

/// A statement that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShapeChange {
    /// In which way.
    pub way: Way,
    /// Its id.
    pub id: String,
    /// Its normalised text.
    pub text: String,
    /// Runs before.
    pub before_count: u64,
    /// Runs after.
    pub after_count: u64,
    /// Mean microseconds before.
    pub before_mean: u64,
    /// Mean microseconds after.
    pub after_mean: u64,
    /// How many times the mean before that after is; none for what is new or gone.
    pub ratio: Option<f64>,
    /// Microseconds per hour that it takes more now; negative when less.
    pub cost_per_hour: f64,
}

/// A number of a subject that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FigureChange {
    /// In which way.
    pub way: Way,
    /// What it is: `lock waits per hour`.
    pub name: &'static str,
    /// Its unit as the chart crate knows it: empty, `s`, `bytes`, `%`.
    pub unit: &'static str,
    /// Whether more of it is worse.
    pub worse: bool,
    /// Before.
    pub before: f64,
    /// After.
    pub after: f64,
}

impl Diff {
    /// Says whether something got worse: a new or more frequent warning, a slower statement, a number that should be low.
    pub fn worse(&self) -> bool {
        let more = |way: Way| way <= Way::More;
        let change = |change: &Change| more(change.way) && change.level >= Level::Warning;
        self.kinds.iter().chain(&self.errors).any(change)
            || self.statements.iter().any(|shape| shape.way == Way::More)
            || self.figures.iter().any(|figure| figure.worse)
    }
}

/// Compares two reports; both should have been made with long lists.
pub fn diff(before: &Report, after: &Report) -> Diff {
    let periods = (period(before), period(after));
    let hours = (periods.0.hours, periods.1.hours);
    Diff {
        kinds: kinds(before, after, hours),
        errors: errors(before, after, hours),
        statements: statements(before, after, hours),
        figures: figures(before, after, hours),
        before: periods.0,
        after: periods.1,
    }
}

fn period(report: &Report) -> Period {
    Period {
        first_at: report.totals.first_at,
        last_at: report.totals.last_at,
        // A log of one instant has no rate; a second is the least that makes one.
        hours: seconds(report).unwrap_or(1.0).max(1.0) / 3_600.0,
        records: report.totals.records,
    }
}

/// Says whether counts of two periods differ by more than chance, and in which way.
fn moved(before: u64, after: u64, hours: (f64, f64)) -> Option<Way> {
    let (a, b) = (before as f64, after as f64);
    let (rate_a, rate_b) = (a / hours.0, b / hours.1);
    let deviation = (a / hours.0.powi(2) + b / hours.1.powi(2)).sqrt();
    if deviation == 0.0 || (rate_b - rate_a).abs() < DEVIATIONS_MIN * deviation {
        return None;
    }
    let more = rate_b > rate_a;
    let (low, high) = if more {
        (rate_a, rate_b)
    } else {
        (rate_b, rate_a)
    };
    (high >= low * RATE_RATIO_MIN).then_some(if more { Way::More } else { Way::Less })
}

/// Returns the way of counts of which one may be nothing.
fn way(before: u64, after: u64, hours: (f64, f64), level: Level, at_most: bool) -> Option<Way> {
    let counts = level >= Level::Warning || before.max(after) >= HARMLESS_COUNT_MIN;
    match (before, after) {
        _ if !counts => None,
        (0, 0) => None,
        (0, _) if !at_most => Some(Way::New),
        (_, 0) if !at_most => Some(Way::Gone),
        _ => moved(before, after, hours),
    }
}

struct Seen {
    level: Level,
    name: String,
    text: String,
    before: u64,
    after: u64,
    at_most: bool,
}

fn changes(all: impl Iterator<Item = Seen>, hours: (f64, f64)) -> Vec<Change> {
    let change = |seen: Seen| {
        let way = way(seen.before, seen.after, hours, seen.level, seen.at_most)?;
        Some(Change {
            way,
            level: seen.level,
            name: seen.name,
            text: seen.text,
            before: seen.before,
            after: seen.after,
            before_per_hour: seen.before as f64 / hours.0,
            after_per_hour: seen.after as f64 / hours.1,
            at_most: seen.at_most,
        })
    };
    let mut changes: Vec<Change> = all.filter_map(change).collect();
    let grown = |change: &Change| (change.after_per_hour - change.before_per_hour).abs();
    changes.sort_by(|a, b| {
        (b.level.cmp(&a.level).then(a.way.cmp(&b.way)))
            .then(grown(b).total_cmp(&grown(a)))
            .then_with(|| (&a.name, &a.text).cmp(&(&b.name, &b.text)))
    });
    changes.truncate(LINES_MAX);
    changes
}

fn kinds(before: &Report, after: &Report, hours: (f64, f64)) -> Vec<Change> {
    let map = |report: &Report| -> BTreeMap<String, (u64, Level, String)> {
        let kinds = report.kinds.iter();
        kinds
            .map(|kind| {
                (
                    kind.kind.clone(),
                    (kind.count, kind.level, kind.sample.clone()),
                )
            })
            .collect()
    };
    let (old, new) = (map(before), map(after));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let seen = names.into_iter().map(|name| {
        let (a, b) = (old.get(name), new.get(name));
        let told = b.or(a);
        Seen {
            level: told.map_or(Level::Info, |(_, level, _)| *level),
            name: name.clone(),
            text: told.map_or(String::new(), |(_, _, sample)| sample.clone()),
            before: a.map_or(0, |(count, ..)| *count),
            after: b.map_or(0, |(count, ..)| *count),
            at_most: false,
        }
    });
    changes(seen, hours)
}

/// Returns the most that something can have which a list does not hold: 0 when the list is whole.
fn bound<T>(top: &Top<T>, count: impl Fn(&T) -> u64) -> u64 {
    let whole = top.complete && top.total <= top.items.len() as u64;
    let least = top.items.iter().map(count).min().unwrap_or(0);
    if whole { 0 } else { least }
}

fn errors(before: &Report, after: &Report, hours: (f64, f64)) -> Vec<Change> {
    let map = |report: &Report| -> BTreeMap<(String, String), u64> {
        let errors = report.errors.items.iter();
        errors
            .map(|error| ((error.sqlstate.clone(), error.text.clone()), error.count))
            .collect()
    };
    let (old, new) = (map(before), map(after));
    let bounds = (
        bound(&before.errors, |error| error.count),
        bound(&after.errors, |error| error.count),
    );
    let names: BTreeSet<&(String, String)> = old.keys().chain(new.keys()).collect();
    let seen = names.into_iter().map(|key| {
        let (a, b) = (old.get(key), new.get(key));
        Seen {
            level: Level::Warning,
            name: key.0.clone(),
            text: key.1.clone(),
            before: a.copied().unwrap_or(bounds.0),
            after: b.copied().unwrap_or(bounds.1),
            at_most: (a.is_none() && bounds.0 > 0) || (b.is_none() && bounds.1 > 0),
        }
    });
    changes(seen, hours)
}

fn shapes(report: &Report) -> BTreeMap<&str, &Shape> {
    let statements = &report.statements;
    let rest = [
        &statements.by_max,
        &statements.by_count,
        &statements.by_mean,
    ];
    let all = statements
        .by_time
        .items
        .iter()
        .chain(rest.into_iter().flatten());
    let mut shapes = BTreeMap::new();
    for shape in all {
        shapes.entry(shape.id.as_str()).or_insert(shape);
    }
    shapes
}

fn statements(before: &Report, after: &Report, hours: (f64, f64)) -> Vec<ShapeChange> {
    let (old, new) = (shapes(before), shapes(after));
    let totals = (before.statements.all.total, after.statements.all.total);
    let whole = |report: &Report| bound(&report.statements.by_time, |_| 1) == 0;
    let whole = (whole(before), whole(after));
    let ids: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let change = |id: &str| {
        let (a, b) = (old.get(id), new.get(id));
        let count = |shape: Option<&&Shape>| shape.map_or(0, |shape| shape.durations.count);
        let total = |shape: Option<&&Shape>| shape.map_or(0, |shape| shape.durations.total);
        let mean = |shape: Option<&&Shape>| total(shape) / count(shape).max(1);
        let share = |part: u64, all: u64| part as f64 / all.max(1) as f64;
        let ratio = mean(b).max(1) as f64 / mean(a).max(1) as f64;
        let way = match (a, b) {
            (None, Some(_)) if whole.0 && share(total(b), totals.1) >= NEW_SHARE_MIN => Way::New,
            (Some(_), None) if whole.1 && share(total(a), totals.0) >= NEW_SHARE_MIN => Way::Gone,
            (Some(_), Some(_)) if count(a) >= RUNS_MIN && count(b) >= RUNS_MIN => {
                if mean(a).abs_diff(mean(b)) < MEAN_CHANGE_MIN {
                    return None;
                }
                match ratio {
                    ratio if ratio >= MEAN_RATIO_MIN => Way::More,
                    ratio if ratio <= 1.0 / MEAN_RATIO_MIN => Way::Less,
                    _ => return None,
                }
            }
            _ => return None,
        };
        let known = b.or(a)?;
        Some(ShapeChange {
            way,
            id: id.to_owned(),
            text: known.text.clone(),
            before_count: count(a),
            after_count: count(b),
            before_mean: mean(a),
            after_mean: mean(b),
            ratio: (a.is_some() && b.is_some()).then_some(ratio),
            cost_per_hour: total(b) as f64 / hours.1 - total(a) as f64 / hours.0,
        })
    };
    let mut changes: Vec<ShapeChange> = ids.into_iter().filter_map(change).collect();
    changes.sort_by(|a, b| {
        (b.cost_per_hour.abs().total_cmp(&a.cost_per_hour.abs())).then_with(|| a.id.cmp(&b.id))
    });
    changes.truncate(LINES_MAX);
    changes
}

/// A number of a report.
type Value = fn(&Report) -> f64;

/// What is compared: name, unit, whether more of it is worse, whether it is per hour, and how it is read.
const MEASURES: [(&str, &str, bool, bool, Value); 18] = [
    ("statements per hour", "", false, true, |r| {
        r.statements.all.count as f64
    }),
    ("statements, p50", "s", true, false, |r| {
        seconds_of(r.statements.all.p50)
    }),
    ("statements, p95", "s", true, false, |r| {
        seconds_of(r.statements.all.p95)
    }),
    ("statements, p99", "s", true, false, |r| {
        seconds_of(r.statements.all.p99)
    }),
    ("lock waits per hour", "", true, true, |r| {
        r.locks.waits as f64
    }),
    ("time waited for locks per hour", "s", true, true, |r| {
        seconds_of(r.locks.waited.total)
    }),
    ("deadlocks per hour", "", true, true, |r| {
        r.locks.deadlocks.total as f64
    }),
    ("checkpoints per hour", "", false, true, |r| {
        r.checkpoints.count as f64
    }),
    ("checkpoints that were requested", "%", true, false, |r| {
        requested(r)
    }),
    ("checkpoint sync, p95", "s", true, false, |r| {
        seconds_of(r.checkpoints.sync.p95)
    }),
    (
        "WAL between checkpoints per hour",
        "bytes",
        false,
        true,
        |r| r.checkpoints.distance as f64,
    ),
    ("logins per hour", "", false, true, |r| {
        r.sessions.authorized as f64
    }),
    ("logins in the busiest minute", "", true, false, |r| {
        r.sessions.minute_max as f64
    }),
    ("most sessions at once", "", true, false, |r| {
        r.sessions.open_max.unwrap_or(0) as f64
    }),
    ("temporary files per hour", "bytes", true, true, |r| {
        r.temp_files.bytes as f64
    }),
    ("time of autovacuum per hour", "s", false, true, |r| {
        seconds_of(r.vacuums.elapsed.total)
    }),
    ("autovacuums cancelled per hour", "", true, true, |r| {
        r.vacuums.cancelled as f64
    }),
    ("crashes", "", true, false, |r| {
        r.server.crashes.len() as f64
    }),
];

fn seconds_of(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

/// Returns which share of checkpoints something else than the clock started, in percent.
fn requested(report: &Report) -> f64 {
    let reasons = &report.checkpoints.reasons;
    let all: u64 = reasons.values().sum();
    let timed = reasons.get("time").copied().unwrap_or(0);
    all.saturating_sub(timed) as f64 * 100.0 / all.max(1) as f64
}

fn figures(before: &Report, after: &Report, hours: (f64, f64)) -> Vec<FigureChange> {
    let change =
        |(name, unit, worse, hourly, value): (&'static str, &'static str, bool, bool, Value)| {
            let lengths = if hourly { hours } else { (1.0, 1.0) };
            figure(
                name,
                unit,
                worse,
                value(before) / lengths.0,
                value(after) / lengths.1,
            )
        };
    MEASURES.into_iter().filter_map(change).collect()
}

fn figure(
    name: &'static str,
    unit: &'static str,
    worse: bool,
    before: f64,
    after: f64,
) -> Option<FigureChange> {
    let least = before.min(after);
    let most = before.max(after);
    // Below these nobody would care, however many times more it is.
    let floor = match unit {
        "s" => 0.001,
        "bytes" => 1_048_576.0,
        "%" => 5.0,
        _ => 1.0,
    };
    if most < floor || most - least < floor * 0.5 || most < least * FIGURE_RATIO_MIN {
        return None;
    }
    let way = match (before > 0.0, after > 0.0) {
        (false, _) => Way::New,
        (_, false) => Way::Gone,
        _ if after > before => Way::More,
        _ => Way::Less,
    };
    Some(FigureChange {
        way,
        name,
        unit,
        worse: worse && after > before,
        before,
        after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Durations, ErrorText, KindCount};

    const HOUR: i64 = 3_600_000_000;

    fn report(hours: i64, kinds: &[(&str, Level, u64)], shapes: &[(&str, u64, u64)]) -> Report {
        let mut report = Report::default();
        report.totals.first_at = Some(0);
        report.totals.last_at = Some(hours * HOUR);
        report.kinds = kinds
            .iter()
            .map(|(kind, level, count)| KindCount {
                kind: (*kind).to_owned(),
                level: *level,
                count: *count,
                first_at: None,
                last_at: None,
                sample: String::new(),
            })
            .collect();
        let shape = |(id, count, mean): &(&str, u64, u64)| Shape {
            id: (*id).to_owned(),
            text: format!("select {id}"),
            durations: Durations {
                count: *count,
                total: count * mean,
                ..Durations::default()
            },
            ..Shape::default()
        };
        report.statements.by_time.items = shapes.iter().map(shape).collect();
        report.statements.by_time.total = shapes.len() as u64;
        report.statements.all.total = shapes.iter().map(|(_, count, mean)| count * mean).sum();
        report
    }

    #[test]
    fn rates_are_compared_per_hour_and_chance_is_no_difference() {
        for (before, after, hours, way) in [
            (100, 200, (1.0, 2.0), None),
            (100, 200, (1.0, 1.0), Some(Way::More)),
            (200, 100, (1.0, 1.0), Some(Way::Less)),
            (2, 4, (1.0, 1.0), None),
            (10_000, 11_000, (1.0, 1.0), None),
            (0, 0, (1.0, 1.0), None),
        ] {
            assert_eq!(moved(before, after, hours), way, "{before} {after}");
        }
    }

    #[test]
    fn new_and_gone_kinds_are_told_and_harmless_ones_only_when_frequent() {
        let before = report(
            1,
            &[("deadlock", Level::Warning, 1), ("login", Level::Info, 3)],
            &[],
        );
        let after = report(
            1,
            &[
                ("disk-full", Level::Critical, 1),
                ("notice", Level::Info, 3),
            ],
            &[],
        );
        let found = diff(&before, &after);
        let told: Vec<_> = found
            .kinds
            .iter()
            .map(|c| (c.name.as_str(), c.way))
            .collect();
        assert_eq!(told, [("disk-full", Way::New), ("deadlock", Way::Gone)]);
        assert!(found.worse());
        assert!(!diff(&before, &before).worse());
        assert!(diff(&after, &after).kinds.is_empty());
    }

    #[test]
    fn statements_are_compared_by_their_mean() {
        let before = report(
            1,
            &[],
            &[
                ("a", 100, 2_000),
                ("b", 100, 9_000),
                ("c", 3, 2_000),
                ("d", 100, 10),
            ],
        );
        let after = report(
            2,
            &[],
            &[
                ("a", 100, 20_000),
                ("b", 100, 3_000),
                ("c", 3, 90_000),
                ("d", 100, 90),
            ],
        );
        let found = diff(&before, &after);
        let told: Vec<_> = found
            .statements
            .iter()
            .map(|s| (s.id.as_str(), s.way))
            .collect();
        assert_eq!(told, [("a", Way::More), ("b", Way::Less)]);
        assert_eq!(found.statements[0].ratio, Some(10.0));
    }

    #[test]
    fn a_cut_list_calls_nothing_new() {
        let error = |text: &str, count| ErrorText {
            text: text.to_owned(),
            count,
            ..ErrorText::default()
        };
        let mut before = report(1, &[], &[("a", 10, 2_000)]);
        before.errors.items = vec![error("x", 100)];
        before.errors.total = 7;
        before.statements.by_time.total = 9;
        let mut after = report(1, &[], &[("a", 10, 2_000), ("b", 10, 2_000)]);
        after.errors.items = vec![error("y", 90), error("z", 900), error("x", 101)];
        after.errors.total = 3;
        let found = diff(&before, &after);
        let told: Vec<_> = found
            .errors
            .iter()
            .map(|c| (c.text.as_str(), c.way, c.at_most))
            .collect();
        assert_eq!(told, [("z", Way::More, true)]);
        assert!(found.statements.is_empty());
    }
}
