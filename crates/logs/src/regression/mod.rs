//! Statements that became slower per call than they usually are at this hour of the week, and why, from hourly sums.
//!
//! Pure: whoever has a history hands over hours. The baseline is the median over two weeks, so that a batch that is always slow on Sunday
//! night is no regression, and the spread is the median absolute deviation, so that one bad hour does not widen it.

#[cfg(feature = "history")]
pub mod history;
mod plans;
mod read;
mod trail;

pub use read::read;
pub use trail::{Happening, Log, PlanSeen, Trail, Use, What};

use std::collections::{BTreeMap, BTreeSet};

use pawang_core::Timestamp;
use serde::Serialize;

use plans::Story;

const HOUR_SECONDS: i64 = 3_600;
/// Something is seen so late at most: settings and objects are looked at every five minutes.
const LATE_SECONDS: i64 = 600;
/// Statistics of a table are old when so large a part of its rows changed since; the server analyses at a tenth by default.
const STALE_SHARE: f64 = 0.2;
/// Events of one kind that are named; more of them are counted.
const NAMED_MAX: usize = 5;
/// Settings that change plans, or the speed of the same plan, by the beginning of their names.
const SLOWS: [&str; 24] = [
    "enable_",
    "work_mem",
    "hash_mem",
    "random_page_cost",
    "seq_page_cost",
    "cpu_",
    "parallel_",
    "max_parallel",
    "effective_",
    "shared_buffers",
    "maintenance_",
    "jit",
    "geqo",
    "from_collapse",
    "join_collapse",
    "default_statistics",
    "plan_cache",
    "constraint_exclusion",
    "temp_buffers",
    "min_parallel",
    "track_io",
    "wal_",
    "synchronous_",
    "checkpoint_",
];
/// Hours of a week.
const WEEK: i64 = 168;
/// Hours of a day.
const DAY: i64 = 24;
/// An hour with fewer calls says nothing about the mean.
pub const CALLS_MIN: f64 = 20.0;
/// So many hours make a baseline.
pub const BASELINE_HOURS_MIN: usize = 3;
/// A statement is slower only from this ratio on.
pub const RATIO_MIN: f64 = 1.5;
/// And only when it takes so much more time in all, in milliseconds.
pub const EXTRA_MS_MIN: f64 = 1_000.0;
/// An hour that exceeds what is usual by less than this share of what the newest one does is noise before the beginning.
const BEGINS_SHARE: f64 = 0.1;
/// How far from the median, in standard deviations that the median absolute deviation stands for.
const DEVIATIONS: f64 = 4.0;
/// What turns the median absolute deviation of normal numbers into their standard deviation.
const OF_NORMAL: f64 = 1.4826;
/// Numbers per call that grew by this ratio explain a time that grew.
const EXPLAINS: f64 = 1.5;

/// What all calls of a statement did within one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hour {
    /// Hours since 1970-01-01 UTC.
    pub hour: i64,
    /// Calls.
    pub calls: f64,
    /// Execution time, in milliseconds.
    pub total_ms: f64,
    /// Rows.
    pub rows: f64,
    /// Blocks found in shared buffers.
    pub hit: f64,
    /// Blocks read.
    pub read: f64,
    /// Temporary blocks, read and written.
    pub temp: f64,
}

/// What kind of thing made a statement slower, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CauseKind {
    /// A table, index or other object that it uses appeared, vanished or changed.
    Schema,
    /// The server log holds another plan of it than before.
    Plan,
    /// A setting that changed.
    Setting,
    /// The server is of another version.
    Upgrade,
    /// Another server is the primary.
    Failover,
    /// The server was started.
    Restart,
    /// Statistics of a table that it uses were gathered anew, or are old.
    Statistics,
    /// What its calls do: more rows, more blocks, more temporary files, or waiting.
    Work,
}

/// Something that happened to the server and may be the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When it happened or was first seen.
    pub at: Timestamp,
    /// What kind of thing it was.
    pub kind: CauseKind,
    /// What it was: `setting work_mem changed from 64MB to 4MB`.
    pub what: String,
    /// How that is known.
    pub evidence: String,
    /// The tables, without schema, of whose statements it may be the cause; none means of every statement.
    pub tables: Vec<String>,
}

/// Statistics of a table that no longer fit its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Stale {
    /// The table with its schema.
    pub name: String,
    /// The table.
    pub table: String,
    /// When they were gathered last, if ever.
    pub analysed_at: Option<Timestamp>,
    /// Rows that changed since then.
    pub changed: f64,
    /// Rows that it has.
    pub rows: f64,
}

/// What explains a regression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// What kind of thing it is.
    pub kind: CauseKind,
    /// What it is.
    pub what: String,
    /// When it happened or was first seen; nothing when it is no event.
    pub at: Option<Timestamp>,
    /// How it is known.
    pub evidence: String,
    /// Whether it is concluded from numbers alone.
    pub guess: bool,
}

/// A statement that became slower.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Regression {
    /// The first hour from which on it was slower in every hour that says something.
    pub since_hour: i64,
    /// Milliseconds per call before.
    pub before_ms: f64,
    /// Milliseconds per call since.
    pub now_ms: f64,
    /// How many times slower.
    pub ratio: f64,
    /// Calls since.
    pub calls: f64,
    /// Milliseconds that it took more than it would have.
    pub extra_ms: f64,
    /// What explains it, the most telling first.
    pub causes: Vec<Cause>,
    /// What the server log says of its plans, or why the log was not read.
    pub log: String,
}

/// What is known of a regressed statement and of its server.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its text, where that is known.
    pub text: Option<&'a str>,
    /// Its query identifiers: that of now, and those of before an upgrade.
    pub query_ids: &'a [i64],
    /// What happened to the server.
    pub marks: &'a [Mark],
    /// Statistics that no longer fit.
    pub stale: &'a [Stale],
    /// The server's log.
    pub log: &'a Log,
}

/// Says whether the past of a statement that was called within the last hours tells how fast it usually is; `None` when it was not
/// called often enough to tell anything.
pub fn comparable(hours: &[Hour], newest: i64, judged: i64) -> Option<bool> {
    let from = newest - judged + 1;
    let telling = hours.iter().filter(|hour| hour.calls >= CALLS_MIN);
    let (judged, before): (Vec<i64>, Vec<i64>) = telling
        .map(|hour| hour.hour)
        .filter(|hour| *hour <= newest)
        .partition(|hour| *hour >= from);
    (!judged.is_empty()).then_some(before.len() >= BASELINE_HOURS_MIN)
}

/// Finds out whether a statement became slower within the last hours.
///
/// `hours` are those of one statement in any order, two weeks are enough; `judged` is how many of the newest hours are judged. Its causes
/// are what its calls do; [`Regression::explain`] adds what happened to the server.
pub fn regression(hours: &[Hour], newest: i64, judged: i64) -> Option<Regression> {
    let told: BTreeMap<i64, Hour> = hours
        .iter()
        .filter(|hour| hour.calls >= CALLS_MIN && hour.hour <= newest)
        .map(|hour| (hour.hour, *hour))
        .collect();
    let from = newest - judged + 1;
    let before: Vec<Hour> = told.range(..from).map(|(_, hour)| *hour).collect();
    let excess = |hour: &Hour| {
        let usual = Usual::at(&before, hour.hour)?;
        let slow = hour.mean() > usual.limit();
        Some(if slow {
            hour.mean() - usual.median
        } else {
            0.0
        })
    };
    let (mut since, mut newest_excess) = (None, None);
    for hour in told.range(from..).map(|(_, hour)| hour).rev() {
        let excess = excess(hour)?;
        if excess <= BEGINS_SHARE * *newest_excess.get_or_insert(excess) {
            break;
        }
        since = Some(hour.hour);
    }
    let since = since?;
    let mut now = Hour::default();
    let mut expected_ms = 0.0;
    for hour in told.range(since..).map(|(_, hour)| hour) {
        now.add(hour);
        expected_ms += Usual::at(&before, hour.hour)?.median * hour.calls;
    }
    let extra_ms = now.total_ms - expected_ms;
    let before_ms = expected_ms / now.calls;
    let ratio = now.mean() / before_ms.max(f64::MIN_POSITIVE);
    if ratio < RATIO_MIN || extra_ms < EXTRA_MS_MIN {
        return None;
    }
    let mut past = Hour::default();
    before.iter().for_each(|hour| past.add(hour));
    let causes = vec![explained(&past, &now)];
    Some(Regression {
        since_hour: since,
        before_ms,
        now_ms: now.mean(),
        ratio,
        calls: now.calls,
        extra_ms,
        causes,
        log: String::new(),
    })
}

impl Regression {
    /// Adds what happened to the server at that time, a plan that changed, and old statistics, as far as they have to do with the
    /// statement; the most telling first.
    pub fn explain(&mut self, known: &Known<'_>) {
        let Known { marks, stale, .. } = *known;
        let story = Story::of(known.log, known.query_ids, known.text, self.since_hour);
        let mut names = known.text.map(names);
        if let Some(names) = &mut names {
            names.extend(story.names);
        }
        self.log = story.told;
        let uses = |tables: &[String]| match &names {
            Some(names) => {
                tables.is_empty()
                    || tables
                        .iter()
                        .any(|table| names.contains(&table.to_lowercase()))
            }
            // Nobody knows what it uses.
            None => true,
        };
        let near = |mark: &&Mark| {
            let begin = (self.since_hour - 1) * HOUR_SECONDS;
            let end = (self.since_hour + 1) * HOUR_SECONDS + LATE_SECONDS;
            (begin..end).contains(&mark.at.as_second()) && uses(&mark.tables)
        };
        let mut causes: Vec<Cause> = marks.iter().filter(near).map(Cause::of).collect();
        let stale = stale.iter().filter(|stale| {
            stale.old() && names.is_some() && uses(std::slice::from_ref(&stale.table))
        });
        causes.extend(stale.map(Stale::cause));
        causes.extend(story.changed);
        causes.sort_by_key(|cause| (cause.kind, cause.idle(), cause.at));
        causes.append(&mut self.causes);
        self.causes = bounded(causes);
    }

    /// Says that the cause is not known and why, when nothing but guesses explains it.
    pub fn unknown(&self) -> Option<String> {
        let known = self.causes.iter().any(|cause| !cause.guess);
        (!known).then(|| format!("the cause is not known: {}", self.log))
    }
}

impl Cause {
    fn of(mark: &Mark) -> Cause {
        Cause {
            kind: mark.kind,
            what: mark.what.clone(),
            at: Some(mark.at),
            evidence: mark.evidence.clone(),
            guess: false,
        }
    }

    /// Says whether it is a setting that hardly makes statements slower.
    fn idle(&self) -> bool {
        let name = self.what.strip_prefix("setting ").unwrap_or_default();
        self.kind == CauseKind::Setting && !SLOWS.iter().any(|slows| name.starts_with(slows))
    }
}

impl Stale {
    fn old(&self) -> bool {
        self.changed >= 1_000.0 && self.changed >= STALE_SHARE * self.rows
    }

    fn cause(&self) -> Cause {
        let when = match self.analysed_at {
            Some(at) => format!("are from {}", at.strftime("%Y-%m-%d %H:%M UTC")),
            None => "were never gathered".to_owned(),
        };
        Cause {
            kind: CauseKind::Statistics,
            what: format!("statistics of {} {when}", self.name),
            at: None,
            evidence: format!("{:.0} of {:.0} rows changed since", self.changed, self.rows),
            guess: false,
        }
    }
}

/// Keeps the first few of each kind, and says how many there were.
fn bounded(causes: Vec<Cause>) -> Vec<Cause> {
    let mut kept: Vec<Cause> = Vec::new();
    let mut more: BTreeMap<CauseKind, usize> = BTreeMap::new();
    for cause in causes {
        if kept.iter().filter(|other| other.kind == cause.kind).count() < NAMED_MAX {
            kept.push(cause);
        } else {
            *more.entry(cause.kind).or_default() += 1;
        }
    }
    for (kind, count) in more {
        let last = kept.iter_mut().rfind(|cause| cause.kind == kind);
        if let Some(last) = last {
            last.what.push_str(&format!(" (and {count} more)"));
        }
    }
    kept
}

/// Returns the words of a statement that may be names, in lower case.
fn names(text: &str) -> BTreeSet<String> {
    let words =
        text.split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != '$');
    words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

impl Hour {
    /// Returns milliseconds per call.
    fn mean(&self) -> f64 {
        self.total_ms / self.calls.max(1.0)
    }

    fn add(&mut self, other: &Hour) {
        self.calls += other.calls;
        self.total_ms += other.total_ms;
        self.rows += other.rows;
        self.hit += other.hit;
        self.read += other.read;
        self.temp += other.temp;
    }
}

/// What a statement usually takes per call.
struct Usual {
    median: f64,
    deviation: f64,
}

impl Usual {
    /// From the same hour of other weeks if there are enough of them, else of other days, else from all hours.
    fn at(before: &[Hour], hour: i64) -> Option<Usual> {
        let same = |period: i64| -> Vec<f64> {
            let alike = before
                .iter()
                .filter(|past| (past.hour - hour) % period == 0);
            alike.map(Hour::mean).collect()
        };
        let means = [WEEK, DAY, 1].into_iter().map(same);
        let mut means = means
            .into_iter()
            .find(|means| means.len() >= BASELINE_HOURS_MIN)?;
        let median = median(&mut means);
        let mut distances: Vec<f64> = means.iter().map(|mean| (mean - median).abs()).collect();
        let deviation = self::median(&mut distances) * OF_NORMAL;
        Some(Usual { median, deviation })
    }

    fn limit(&self) -> f64 {
        (self.median + DEVIATIONS * self.deviation).max(self.median * RATIO_MIN)
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[middle - 1] + values[middle]) / 2.0
    } else {
        values[middle]
    }
}

/// Returns what grew together with the time of a call.
fn explained(past: &Hour, now: &Hour) -> Cause {
    let per_call = |value: fn(&Hour) -> f64| {
        (
            value(past) / past.calls.max(1.0),
            value(now) / now.calls.max(1.0),
        )
    };
    let grew =
        |(before, after): (f64, f64), least: f64| after >= least && after > before * EXPLAINS;
    let rows = per_call(|hour| hour.rows);
    let blocks = per_call(|hour| hour.hit + hour.read);
    let read = per_call(|hour| hour.read);
    let temp = per_call(|hour| hour.temp);
    let told = |what: &str, guess: bool, unit: &str, (before, after): (f64, f64)| Cause {
        kind: CauseKind::Work,
        what: what.to_owned(),
        at: None,
        evidence: format!("{before:.1} {unit} per call before, {after:.1} now"),
        guess,
    };
    if grew(rows, 1.0) {
        told("it returns more rows per call", false, "rows", rows)
    } else if grew(temp, 1.0) {
        let what = "it writes more temporary blocks per call: too little work_mem for its data, or its plan may have changed";
        told(what, true, "temporary blocks", temp)
    } else if grew(blocks, 10.0) {
        let what = "it touches more blocks per call for the same rows: its plan may have changed, or its tables are bloated";
        told(what, true, "blocks", blocks)
    } else if grew(read, 1.0) {
        told(
            "it reads more blocks per call that were in memory before",
            false,
            "blocks read",
            read,
        )
    } else {
        let what = "it does the same work per call: it waits, for locks, disks or processors";
        told(what, true, "blocks", blocks)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEWEST: i64 = 490_000;

    fn hour(hour: i64, mean: f64) -> Hour {
        let calls = 1_000.0;
        Hour {
            hour,
            calls,
            total_ms: mean * calls,
            rows: calls,
            hit: 10.0 * calls,
            read: 0.0,
            temp: 0.0,
        }
    }

    fn weeks(mean: impl Fn(i64) -> f64) -> Vec<Hour> {
        (NEWEST - 336..=NEWEST)
            .map(|at| hour(at, mean(at)))
            .collect()
    }

    fn find(hours: &[Hour]) -> Option<Regression> {
        regression(hours, NEWEST, 24)
    }

    #[test]
    fn who_has_no_past_is_not_compared_and_who_was_not_called_says_nothing() {
        let compared = |hours: &[Hour]| comparable(hours, NEWEST, 24);
        let now = hour(NEWEST, 1.0);
        let past = [1, 2, 3].map(|at| hour(NEWEST - 24 - at, 1.0));
        assert_eq!(compared(&[now]), Some(false));
        assert_eq!(compared(&[&past[1..], &[now]].concat()), Some(false));
        assert_eq!(compared(&[&past[..], &[now]].concat()), Some(true));
        assert_eq!(compared(&past), None);
        let rare = Hour { calls: 1.0, ..now };
        assert_eq!(compared(&[&past[..], &[rare]].concat()), None);
    }

    #[test]
    fn what_is_as_it_was_is_no_regression() {
        assert_eq!(find(&weeks(|_| 5.0)), None);
        assert_eq!(find(&weeks(|at| 5.0 + (at % 7) as f64 * 0.2)), None);
        assert_eq!(find(&[]), None);
        assert_eq!(
            find(&[hour(NEWEST, 100.0)]),
            None,
            "without a past nothing is slower"
        );
    }

    #[test]
    fn a_step_is_found_with_its_hour_and_its_cost() {
        let mut hours = weeks(|at| if at > NEWEST - 5 { 40.0 } else { 5.0 });
        hours
            .iter_mut()
            .filter(|hour| hour.hour > NEWEST - 5)
            .for_each(|hour| hour.hit *= 20.0);
        let found = find(&hours).expect("five hours at eight times the time");
        assert_eq!(found.since_hour, NEWEST - 4);
        assert!((found.ratio - 8.0).abs() < 0.01, "{found:?}");
        assert!((found.extra_ms - 5.0 * 35_000.0).abs() < 1.0, "{found:?}");
        assert!(
            found.causes[0].what.contains("more blocks per call"),
            "{found:?}"
        );
    }

    #[test]
    fn noise_before_a_step_is_not_its_beginning() {
        let hours = weeks(|at| match NEWEST - at {
            0..2 => 500.0,
            2 => 20.0,
            _ => 5.0,
        });
        assert_eq!(find(&hours).expect("two slow hours").since_hour, NEWEST - 1);
        let growing = weeks(|at| match NEWEST - at {
            0 => 500.0,
            1 => 150.0,
            2 => 80.0,
            _ => 5.0,
        });
        assert_eq!(find(&growing).expect("it grows").since_hour, NEWEST - 2);
    }

    fn mark(hour: i64, kind: CauseKind, what: &str, tables: &[&str]) -> Mark {
        Mark {
            at: Timestamp::from_second(hour * HOUR_SECONDS + 60).expect("a time of this century"),
            kind,
            what: what.to_owned(),
            evidence: "seen".to_owned(),
            tables: tables.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn explained_by(text: Option<&str>, marks: &[Mark], stale: &[Stale]) -> Vec<String> {
        let hours = weeks(|at| if at > NEWEST - 3 { 40.0 } else { 5.0 });
        let mut found = find(&hours).expect("three hours at eight times the time");
        let log = Log {
            read: Err("nobody reads it".to_owned()),
        };
        found.explain(&Known {
            text,
            query_ids: &[],
            marks,
            stale,
            log: &log,
        });
        found.causes.into_iter().map(|cause| cause.what).collect()
    }

    #[test]
    fn what_happened_then_to_what_it_uses_is_named_the_most_telling_first() {
        use CauseKind::{Restart, Schema, Setting};
        let marks = [
            mark(NEWEST - 3, Restart, "the server was started", &[]),
            mark(NEWEST - 2, Setting, "setting cluster_name changed", &[]),
            mark(NEWEST - 2, Setting, "setting work_mem changed", &[]),
            mark(NEWEST - 50, Restart, "an earlier start", &[]),
            Mark {
                at: Timestamp::from_second((NEWEST - 1) * HOUR_SECONDS + LATE_SECONDS)
                    .expect("a time of this century"),
                ..mark(NEWEST - 1, Restart, "a later start", &[])
            },
            mark(NEWEST - 2, Schema, "index orders_day is gone", &["Orders"]),
            mark(NEWEST - 2, Schema, "index items_day is gone", &["items"]),
        ];
        let text = "SELECT * FROM \"Orders\" WHERE day = $1";
        let waits = "it does the same work per call: it waits, for locks, disks or processors";
        assert_eq!(
            explained_by(Some(text), &marks, &[]),
            [
                "index orders_day is gone",
                "setting work_mem changed",
                "setting cluster_name changed",
                "the server was started",
                waits
            ]
        );
        let all = explained_by(None, &marks, &[]);
        assert_eq!(all.len(), 6, "without a text any of them may be: {all:?}");
    }

    #[test]
    fn without_a_log_and_a_cause_it_says_so() {
        let hours = weeks(|at| if at > NEWEST - 3 { 40.0 } else { 5.0 });
        let mut found = find(&hours).expect("three hours at eight times the time");
        let log = Log {
            read: Err("nobody reads it".to_owned()),
        };
        let mut known = Known {
            text: None,
            query_ids: &[],
            marks: &[],
            stale: &[],
            log: &log,
        };
        found.explain(&known);
        assert_eq!(
            found.unknown().as_deref(),
            Some("the cause is not known: the server log was not read: nobody reads it")
        );
        let marks = [mark(
            NEWEST - 2,
            CauseKind::Restart,
            "the server was started",
            &[],
        )];
        known.marks = &marks;
        found.explain(&known);
        assert_eq!(found.unknown(), None);
    }

    #[test]
    fn old_statistics_of_its_tables_are_a_cause_and_many_events_are_counted() {
        let stale = |name: &str, changed: f64| Stale {
            name: format!("public.{name}"),
            table: name.to_owned(),
            analysed_at: None,
            changed,
            rows: 10_000.0,
        };
        let stale = [
            stale("orders", 9_000.0),
            stale("items", 9_000.0),
            stale("days", 900.0),
        ];
        let told = explained_by(Some("select from orders, days"), &[], &stale);
        assert_eq!(told[0], "statistics of public.orders were never gathered");
        assert_eq!(told.len(), 2, "{told:?}");
        let many: Vec<Mark> = (0..8)
            .map(|n| {
                mark(
                    NEWEST - 2,
                    CauseKind::Schema,
                    &format!("index {n} is gone"),
                    &[],
                )
            })
            .collect();
        let told = explained_by(None, &many, &[]);
        assert_eq!(told.len(), NAMED_MAX + 1);
        assert_eq!(told[NAMED_MAX - 1], "index 4 is gone (and 3 more)");
    }

    #[test]
    fn a_slow_hour_of_every_day_and_one_that_is_over_are_silent() {
        let nightly = weeks(|at| if at % 24 == NEWEST % 24 { 50.0 } else { 5.0 });
        assert_eq!(find(&nightly), None);
        let over = weeks(|at| if at == NEWEST - 2 { 50.0 } else { 5.0 });
        assert_eq!(find(&over), None);
    }

    #[test]
    fn few_calls_and_small_costs_are_silent() {
        let mut rare = weeks(|at| if at > NEWEST - 5 { 40.0 } else { 5.0 });
        rare.iter_mut()
            .for_each(|hour| hour.calls = CALLS_MIN - 1.0);
        assert_eq!(find(&rare), None);
        let cheap = weeks(|at| if at > NEWEST - 5 { 0.04 } else { 0.005 });
        assert_eq!(find(&cheap), None);
    }

    proptest! {
        #[test]
        fn noise_of_a_fifth_is_silent_and_a_step_of_six_is_found(
            noise in prop::collection::vec(-1.0_f64..1.0, 337),
            step in 1_i64..24,
        ) {
            let wobbling = |at: i64| 10.0 * (1.0 + noise[usize::try_from(at - NEWEST + 336).expect("within")] / 5.0);
            let quiet = find(&weeks(wobbling));
            prop_assert!(quiet.is_none(), "{quiet:?}");
            let stepped = weeks(|at| wobbling(at) * if at > NEWEST - step { 6.0 } else { 1.0 });
            let found = find(&stepped);
            prop_assert!(found.is_some_and(|found| found.since_hour == NEWEST - step + 1));
        }
    }
}
